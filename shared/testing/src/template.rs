//! Databases: one template a test binary, one clone a test.

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use tokio::sync::OnceCell;
use url::Url;
use uuid::Uuid;

const OWNER: &str = "latchkey_test_owner";
const APP: &str = "latchkey_test_app";
const PASSWORD: &str = "test";
// Test binaries, and processes of one binary, make roles and templates one after the other.
const TEMPLATE_LOCK: i64 = 0x7465_7374;

/// A database that only one test uses.
pub(crate) struct Clone {
    pub(crate) owner_url: String,
    pub(crate) app_url: String,
}

pub(crate) async fn clone() -> Clone {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let template = TEMPLATE.get_or_init(template).await;
    let name = format!("latchkey_test_{}", Uuid::new_v4().simple());
    let admin = connect(&admin_url()).await;
    let create = format!("CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {template} STRATEGY FILE_COPY");
    admin.execute_unprepared(&create).await.unwrap();
    admin.close().await.unwrap();
    Clone {
        owner_url: url_of(OWNER, &name),
        app_url: url_of(APP, &name),
    }
}

/// The name tells the binary: a build with another schema makes a template of its own.
async fn template() -> String {
    let built = std::env::current_exe()
        .unwrap()
        .metadata()
        .unwrap()
        .modified()
        .unwrap();
    let built = built.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("latchkey_template_{built:x}");
    let admin = connect(&admin_url()).await;
    admin
        .execute_unprepared(&format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})"))
        .await
        .unwrap();
    for role in [OWNER, APP] {
        let create = format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' NOSUPERUSER NOBYPASSRLS");
        if !exists(&admin, "pg_roles WHERE rolname", role).await {
            admin.execute_unprepared(&create).await.unwrap();
        }
    }
    if !exists(&admin, "pg_database WHERE datname", &name).await {
        let unfinished = format!("{name}_unfinished");
        admin
            .execute_unprepared(&format!("DROP DATABASE IF EXISTS {unfinished}"))
            .await
            .unwrap();
        admin
            .execute_unprepared(&format!("CREATE DATABASE {unfinished} OWNER {OWNER}"))
            .await
            .unwrap();
        latchkey_migration::migrate(&url_of(OWNER, &unfinished), APP)
            .await
            .unwrap();
        admin
            .execute_unprepared(&format!("ALTER DATABASE {unfinished} RENAME TO {name}"))
            .await
            .unwrap();
    }
    admin.close().await.unwrap();
    name
}

async fn exists(db: &DatabaseConnection, from: &str, name: &str) -> bool {
    let select = format!("SELECT 1 AS found FROM {from} = '{name}'");
    db.query_one_raw(Statement::from_string(DbBackend::Postgres, select))
        .await
        .unwrap()
        .is_some()
}

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

pub(crate) async fn checkpoint() {
    let admin = connect(&admin_url()).await;
    admin.execute_unprepared("CHECKPOINT").await.unwrap();
    admin.close().await.unwrap();
}

fn admin_url() -> String {
    std::env::var("LATCHKEY_TEST_POSTGRES_URL")
        .expect("LATCHKEY_TEST_POSTGRES_URL names a superuser of a PostgreSQL server; `./dev test` sets it")
}

fn url_of(role: &str, database: &str) -> String {
    let mut url = Url::parse(&admin_url()).unwrap();
    url.set_username(role).unwrap();
    url.set_password(Some(PASSWORD)).unwrap();
    url.set_path(database);
    url.into()
}
