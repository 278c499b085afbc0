//! Migrations that need the lock of a table which somebody is using.

use std::{process::Stdio, time::Duration};

use latchkey_migration::{Patience, migrate_with};
use latchkey_testing::TestBed;
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, Statement,
    TransactionTrait,
};
use tokio::time::{sleep, timeout};
use url::Url;

use crate::support::command;

const CHANGE: &str = "m20261127_000038_live_endpoints";
const DEADLINE: Duration = Duration::from_secs(20);

/// A database that lacks the change, and a transaction that keeps it from being made.
async fn kept_from_migrating(bed: &TestBed) -> (DatabaseConnection, DatabaseTransaction) {
    let owner = Database::connect(&bed.owner_url).await.unwrap();
    let undo = format!(
        "DROP INDEX webhook_endpoints_live, webhook_endpoints_deleted;
         DELETE FROM seaql_migrations WHERE version = '{CHANGE}'"
    );
    owner.execute_unprepared(&undo).await.unwrap();
    let holder = owner.begin().await.unwrap();
    let lock = "LOCK TABLE webhook_endpoints IN ROW EXCLUSIVE MODE";
    holder.execute_unprepared(lock).await.unwrap();
    (owner, holder)
}

async fn finds(db: &DatabaseConnection, rows: &str) -> bool {
    let select = format!("SELECT 1 AS found FROM {rows}");
    let found = db.query_one_raw(Statement::from_string(DbBackend::Postgres, select));
    found.await.unwrap().is_some()
}

async fn is_made(db: &DatabaseConnection) -> bool {
    finds(db, &format!("seaql_migrations WHERE version = '{CHANGE}'")).await
        && finds(db, "pg_class WHERE relname = 'webhook_endpoints_deleted'").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_waits_for_a_lock_lets_others_pass_and_goes_on_once_it_is_free() {
    let bed = TestBed::new().await;
    let (owner, holder) = kept_from_migrating(&bed).await;
    let mut migrate = tokio::process::Command::from(command(&bed, &["migrate"]));
    migrate
        .env("LATCHKEY__POSTGRES__MIGRATE_URL", &bed.owner_url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let migrating = migrate.spawn().unwrap();
    // Clones of one template have the same numbers for their tables.
    let waits = "pg_locks l JOIN pg_database d ON d.oid = l.database
                 WHERE d.datname = current_database() AND l.relation = 'webhook_endpoints'::regclass AND NOT l.granted";
    let waiting = async {
        while !finds(&owner, waits).await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap();

    // It stands behind the migration, and that behind a lock which stays.
    let write = "UPDATE webhook_endpoints SET url = url WHERE false";
    let written = timeout(Duration::from_secs(10), owner.execute_unprepared(write)).await;
    written.unwrap().unwrap();
    assert!(!is_made(&owner).await);

    holder.commit().await.unwrap();
    let output = timeout(DEADLINE, migrating.wait_with_output()).await;
    let output = output.unwrap().unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains(&format!("{CHANGE} waits for a lock")) && told.contains("the database is at "),
        "{told}"
    );
    assert!(is_made(&owner).await);
}

#[tokio::test]
async fn a_migration_that_gets_no_lock_fails_by_its_name_and_leaves_nothing() {
    let bed = TestBed::new().await;
    let (owner, holder) = kept_from_migrating(&bed).await;
    let app = Url::parse(&bed.app_url()).unwrap();
    let patience = Patience {
        lock: Duration::from_millis(100),
        pauses: vec![Duration::from_millis(10), Duration::from_millis(20)],
    };
    let migrate = || migrate_with(&bed.owner_url, app.username(), &patience);
    let failed = timeout(DEADLINE, migrate()).await.unwrap();
    let fault = failed.unwrap_err().to_string();
    assert!(
        fault.contains(CHANGE) && fault.contains("lock timeout"),
        "{fault}"
    );
    assert!(!is_made(&owner).await);

    holder.rollback().await.unwrap();
    migrate().await.unwrap();
    assert!(is_made(&owner).await);
}
