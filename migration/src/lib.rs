//! The schema, one change a file.
//!
//! Changes are plain SQL: what PostgreSQL runs is what stands here. Files are never edited once released; the
//! next change is the next file. No file imports the live entities, which describe the schema's present only.

mod m20261101_000001_foundations;
mod m20261101_000002_tenants;
mod m20261101_000003_users;
mod m20261101_000004_sessions;
mod m20261101_000005_audit;
mod m20261101_000006_mail;
mod m20261101_000007_webhooks;
mod m20261124_000008_passwords;
mod m20261124_000009_second_factors;
mod m20261124_000010_session_details;
mod m20261124_000011_lockouts;
mod m20261124_000012_personal_data;
mod m20261124_000013_decoys;
mod m20261125_000014_actors_and_signals;
mod m20261125_000015_tenants;
mod m20261125_000016_roles;
mod m20261125_000017_administration;
mod m20261125_000018_api_keys;
mod m20261125_000019_idempotency;
mod m20261126_000020_audit_chain;
mod m20261126_000022_webhook_partitions;
mod m20261126_000023_failing_endpoints;
mod m20261126_000024_webhook_endpoints;
mod m20261126_000025_event_types;
mod m20261126_000026_erased_events;
mod m20261126_000027_moving_deliveries;
mod m20261126_000028_asymmetric_signatures;
mod m20261126_000029_attempts_of_endpoints;
mod m20261127_000030_due_by_lane;
mod m20261127_000031_webhook_ranges;
mod m20261127_000032_proven_addresses;
mod m20261127_000033_invitations_by_keys;
mod m20261127_000034_traces;
mod m20261127_000035_mails_end;
mod m20261127_000036_asked_addresses;
mod m20261127_000037_ended_passwords;
mod m20261127_000038_live_endpoints;
mod patience;

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement},
};

pub use self::patience::Patience;

/// All changes in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261101_000001_foundations::Migration),
            Box::new(m20261101_000002_tenants::Migration),
            Box::new(m20261101_000003_users::Migration),
            Box::new(m20261101_000004_sessions::Migration),
            Box::new(m20261101_000005_audit::Migration),
            Box::new(m20261101_000006_mail::Migration),
            Box::new(m20261101_000007_webhooks::Migration),
            Box::new(m20261124_000008_passwords::Migration),
            Box::new(m20261124_000009_second_factors::Migration),
            Box::new(m20261124_000010_session_details::Migration),
            Box::new(m20261124_000011_lockouts::Migration),
            Box::new(m20261124_000012_personal_data::Migration),
            Box::new(m20261124_000013_decoys::Migration),
            Box::new(m20261125_000014_actors_and_signals::Migration),
            Box::new(m20261125_000015_tenants::Migration),
            Box::new(m20261125_000016_roles::Migration),
            Box::new(m20261125_000017_administration::Migration),
            Box::new(m20261125_000018_api_keys::Migration),
            Box::new(m20261125_000019_idempotency::Migration),
            Box::new(m20261126_000020_audit_chain::Migration),
            Box::new(m20261126_000022_webhook_partitions::Migration),
            Box::new(m20261126_000023_failing_endpoints::Migration),
            Box::new(m20261126_000024_webhook_endpoints::Migration),
            Box::new(m20261126_000025_event_types::Migration),
            Box::new(m20261126_000026_erased_events::Migration),
            Box::new(m20261126_000027_moving_deliveries::Migration),
            Box::new(m20261126_000028_asymmetric_signatures::Migration),
            Box::new(m20261126_000029_attempts_of_endpoints::Migration),
            Box::new(m20261127_000030_due_by_lane::Migration),
            Box::new(m20261127_000031_webhook_ranges::Migration),
            Box::new(m20261127_000032_proven_addresses::Migration),
            Box::new(m20261127_000033_invitations_by_keys::Migration),
            Box::new(m20261127_000034_traces::Migration),
            Box::new(m20261127_000035_mails_end::Migration),
            Box::new(m20261127_000036_asked_addresses::Migration),
            Box::new(m20261127_000037_ended_passwords::Migration),
            Box::new(m20261127_000038_live_endpoints::Migration),
        ]
    }
}

/// The name of the newest change: the version that a binary expects of its database.
#[must_use]
pub fn expected_version() -> String {
    Migrator::migrations()
        .last()
        .map(|migration| migration.name().to_owned())
        .unwrap_or_default()
}

// Any number that no other program takes a lock on: the letters "latchkey".
const MIGRATION_LOCK: i64 = 0x6c61_7463_686b_6579;

/// Brings the database up to date and grants the application's role what it needs, and no more.
///
/// Runs under an advisory lock, so that two deployments at once take turns. `owner_url` is the role that owns
/// the tables, `app_role` the one that the processes sign in with. A change that gets no lock within 5 s lets everybody else
/// go on and is tried again five times, which stdout tells.
///
/// # Errors
/// When there is no such role; then nothing was changed. When the database refuses, or a change got none of its locks, which
/// is named; changes that were applied stay applied.
pub async fn migrate(owner_url: &str, app_role: &str) -> Result<(), DbErr> {
    migrate_with(owner_url, app_role, &Patience::default()).await
}

/// As [`migrate`], with more or less patience.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_with(owner_url: &str, app_role: &str, patience: &Patience) -> Result<(), DbErr> {
    // The lock belongs to the connection: one connection carries both it and the changes, however long they take.
    let mut options = ConnectOptions::new(owner_url);
    options
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .sqlx_logging(false);
    let db = Database::connect(options).await?;
    db.execute_unprepared(&format!("SELECT pg_advisory_lock({MIGRATION_LOCK})"))
        .await?;
    let migrated = migrate_and_grant(&db, app_role, patience).await;
    db.close().await?;
    migrated
}

async fn migrate_and_grant(
    db: &DatabaseConnection,
    app_role: &str,
    patience: &Patience,
) -> Result<(), DbErr> {
    let role = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT FROM pg_roles WHERE rolname = $1",
        [app_role.into()],
    );
    if db.query_one_raw(role).await?.is_none() {
        let fault = format!("the application's role {app_role:?} does not exist: create it first");
        return Err(DbErr::Custom(fault));
    }
    // Not before the advisory lock was taken: another deployment may take its time.
    patience::set_lock_timeout(db, patience).await?;
    patience::apply(db, &grants(app_role), patience).await
}

/// What the application's role may do: read and write rows, never change a table; the audit trail only grows.
fn grants(app_role: &str) -> String {
    let role = format!("\"{}\"", app_role.replace('"', "\"\""));
    format!(
        "GRANT USAGE ON SCHEMA public TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};
         REVOKE UPDATE, DELETE, TRUNCATE ON audit_events, audit_seals FROM {role};
         REVOKE DELETE, TRUNCATE ON audit_chains FROM {role};
         REVOKE UPDATE, TRUNCATE ON audit_unsealed FROM {role};
         REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON seaql_migrations FROM {role};
         GRANT EXECUTE ON FUNCTION latchkey_make_partition(timestamptz, timestamptz),
             latchkey_drop_partition(timestamptz), latchkey_rows_outside_partitions(),
             latchkey_delete_outside_partitions(timestamptz, integer) TO {role};"
    )
}

/// Row-level security for a table that has a `tenant_id`: rows of another tenant do not exist.
fn isolate(table: &str) -> String {
    isolate_by(table, "tenant_id")
}

fn isolate_by(table: &str, column: &str) -> String {
    format!(
        "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
         ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
         CREATE POLICY tenant_isolation ON {table}
             USING ({column} = (SELECT latchkey_tenant()) OR (SELECT latchkey_cross_tenant()));"
    )
}

/// Declares a migration that runs SQL, then isolates the tables named.
macro_rules! sql_migration {
    ($up:expr $(, isolate $($table:literal)+)?) => {
        use sea_orm_migration::{prelude::*, sea_orm::ConnectionTrait};

        #[derive(DeriveMigrationName)]
        pub(crate) struct Migration;

        #[async_trait::async_trait]
        impl MigrationTrait for Migration {
            async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
                let db = manager.get_connection();
                db.execute_unprepared($up).await?;
                $($(db.execute_unprepared(&crate::isolate($table)).await?;)+)?
                Ok(())
            }

            async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
                Err(DbErr::Migration("changes are not undone; restore a backup".to_owned()))
            }
        }
    };
}
use sql_migration;
