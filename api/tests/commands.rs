//! What an operator runs by hand.

use latchkey_testing::TestBed;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use crate::support::{ADMIN, Api, PASSWORD, code_and_text, command};

fn with_database(url: &str, database: &str) -> Url {
    let mut url = Url::parse(url).unwrap();
    url.set_path(database);
    url
}

async fn execute(db: &DatabaseConnection, sql: &str) {
    db.execute_unprepared(sql)
        .await
        .unwrap_or_else(|error| panic!("{error}: {sql}"));
}

#[tokio::test]
async fn a_database_is_migrated_for_whichever_role_the_url_names_or_left_alone() {
    let bed = TestBed::new().await;
    let superuser = std::env::var("LATCHKEY_TEST_POSTGRES_URL").unwrap();
    let admin = Database::connect(&superuser).await.unwrap();
    let id = Uuid::new_v4().simple();
    let (database, role) = (format!("latchkey_test_{id}"), format!("an app% {id}"));
    execute(
        &admin,
        &format!("CREATE DATABASE {database} OWNER latchkey_test_owner"),
    )
    .await;
    let mut app = with_database(&bed.app_url(), &database);
    app.set_username(&role.replace('%', "%25")).unwrap();
    let migrate = || {
        code_and_text(
            command(&bed, &["migrate"])
                .env("LATCHKEY__POSTGRES__URL", app.as_str())
                .env(
                    "LATCHKEY__POSTGRES__MIGRATE_URL",
                    with_database(&bed.owner_url, &database).as_str(),
                ),
        )
    };

    let (code, text) = migrate();
    assert!(
        code == Some(1) && text.contains(&format!("{role:?} does not exist")),
        "{text}"
    );
    let migrated = Database::connect(with_database(&superuser, &database).as_str())
        .await
        .unwrap();
    execute(&migrated, "CREATE TABLE users ()").await;
    execute(&migrated, "DROP TABLE users").await;

    execute(&admin, &format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'test'")).await;
    let (code, text) = migrate();
    assert_eq!(code, Some(0), "{text}");
    execute(&migrated, &format!("SET ROLE \"{role}\"; SELECT FROM users")).await;
    let (code, text) = migrate();
    assert_eq!(code, Some(0), "again: {text}");

    migrated.close().await.unwrap();
    execute(&admin, &format!("DROP DATABASE {database}")).await;
    execute(&admin, &format!("DROP ROLE \"{role}\"")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bootstrap_makes_an_owner_once_and_calls_nobody_else_one() {
    let bed = TestBed::new().await;
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&password, PASSWORD).unwrap();
    let bootstrap = |email: &str| {
        let file = password.path().to_str().unwrap();
        let arguments = ["bootstrap", "--email", email, "--password-file", file];
        code_and_text(&mut command(&bed, &arguments))
    };
    let (code, text) = bootstrap(ADMIN);
    assert!(
        code == Some(0) && text.contains("the administrator was made"),
        "{text}"
    );
    let (code, text) = bootstrap(ADMIN);
    assert!(
        code == Some(0) && text.contains("the administrator is there"),
        "{text}"
    );

    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let body = json!({ "email": "colleague@example.com" });
    api.post_as(&admin, "/v1/users", body).await.expect(201);
    let (code, text) = bootstrap("Colleague@example.com");
    assert!(code == Some(1) && text.contains("no active owner"), "{text}");
    api.execute("UPDATE users SET status = 'disabled'").await;
    let (code, text) = bootstrap(ADMIN);
    assert!(code == Some(1) && text.contains("no active owner"), "{text}");
}
