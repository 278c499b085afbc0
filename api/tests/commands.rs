//! What an operator runs by hand.

use latchkey_testing::TestBed;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use serde_json::json;
use url::Url;

use crate::{
    audit::seal_all,
    support::{ADMIN, Api, PASSWORD, code_and_text, command},
};

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
    let of_bed = bed.app_url().rsplit('/').next().unwrap().to_owned();
    let (database, role) = (format!("{of_bed}_2"), format!("an app% {of_bed}"));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_finds_what_does_not_work_and_goes_on() {
    let bed = TestBed::new().await;
    let doctor = |changes: &[(&str, &str)]| {
        let mut command = command(&bed, &["doctor"]);
        for (key, value) in changes {
            command.env(format!("LATCHKEY__{key}"), value);
        }
        code_and_text(&mut command)
    };
    let (code, text) = doctor(&[]);
    assert_eq!(code, Some(0), "{text}");
    for of in [
        "passwords: a hash takes",
        "mail: goes into files",
        "redis: answers",
        "schema: ",
        "clock: ",
        "data keys: ",
        "workers: nothing waits",
    ] {
        assert!(text.contains(&format!("ok   {of}")), "{of}: {text}");
    }

    let (code, text) = doctor(&[
        ("REDIS__URL", "redis://:hunter2@127.0.0.1:1"),
        ("MAIL__TRANSPORT", "smtp"),
        ("MAIL__SMTP_URL", "smtp://u:hunter2@127.0.0.1:1"),
        ("TENANCY__DEFAULT_TENANT", "nobody"),
    ]);
    assert_eq!(code, Some(1), "{text}");
    for of in ["mail: 127.0.0.1:1", "redis: ", "tenant: "] {
        assert!(text.contains(&format!("FAIL {of}")), "{of}: {text}");
    }
    assert!(
        text.contains("ok   schema") && !text.contains("hunter2"),
        "{text}"
    );

    let (code, text) = doctor(&[("POSTGRES__URL", "postgres://u:hunter2@127.0.0.1:1/none")]);
    assert!(
        code == Some(1) && text.contains("FAIL postgres: ") && !text.contains("hunter2"),
        "{text}"
    );

    // Another key than the one that sealed, and nobody who seals or delivers.
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    seal_all(&api.context).await;
    api.tenant(&admin, "acme").await;
    let ago = "now() - interval '5 minutes'";
    api.execute(&format!("UPDATE mails SET next_attempt_at = {ago}"))
        .await;
    let other_key = "2:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=";
    let (code, text) = doctor(&[("SECRETS__DATA_KEYS", other_key)]);
    assert!(
        code == Some(1) && text.contains("FAIL data keys: in use, and not in"),
        "{text}"
    );
    assert!(text.contains("WARN workers: mails wait for 3"), "{text}");
}
