//! What an operator runs by hand.

use std::{net::TcpListener, path::Path, time::Duration};

use latchkey_testing::{PrivateRedis, TestBed};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use serde_json::json;
use tokio::time::timeout;
use url::Url;

use crate::{
    audit::{seal_all, tamper},
    gateway::certify,
    support::{ADMIN, Api, PASSWORD, code_and_text, command},
};

#[tokio::test]
async fn s37_a_server_with_unsafe_settings_says_what_the_check_says_and_does_not_start() {
    let bed = TestBed::new().await;
    // Both databases, to a server that has begun.
    let databases = TcpListener::bind("127.0.0.1:0").unwrap();
    databases.set_nonblocking(true).unwrap();
    let there = databases.local_addr().unwrap();
    let in_production = |arguments: &[&str]| {
        let mut command = command(&bed, arguments);
        command
            .env("LATCHKEY__SERVER__ENVIRONMENT", "production")
            .env("LATCHKEY__SERVER__PUBLIC_URL", "http://id.example.com")
            .env("LATCHKEY__TOKENS__KEYS", "k1:c2hvcnQ=")
            .env("LATCHKEY__POSTGRES__URL", format!("postgres://u:p@{there}/none"))
            .env("LATCHKEY__REDIS__URL", format!("redis://{there}/0"));
        command
    };
    let (code, faults) = code_and_text(&mut in_production(&["config", "check"]));
    assert_eq!(code, Some(1));
    for fault in [
        "server.public_url: ",
        "server.trusted_proxies: ",
        "tokens.keys: ",
        "mail.transport: ",
        "passwords: ",
    ] {
        assert!(faults.contains(&format!("\n{fault}")), "{fault} in {faults}");
    }
    for arguments in [&["serve"][..], &[]] {
        let mut server = tokio::process::Command::from(in_production(arguments));
        let ended = timeout(Duration::from_secs(20), server.kill_on_drop(true).output()).await;
        let output = ended.unwrap().unwrap();
        let told = [output.stdout, output.stderr].concat();
        assert_eq!(
            (output.status.code(), String::from_utf8(told).unwrap()),
            (Some(1), faults.clone())
        );
    }
    // It listens once it has asked them.
    assert!(databases.accept().is_err(), "it has started to start");
}

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
async fn an_operator_resets_the_factor_that_an_only_owner_has_lost() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    api.admin().await;
    let session = api.login("platform", ADMIN).await;
    // Sealed with a key that is lost as well.
    api.execute(
        "INSERT INTO totp_factors (id, tenant_id, user_id, sealed, created_at, confirmed_at)
         SELECT id, tenant_id, id, '', created_at, created_at FROM users",
    )
    .await;
    assert_eq!(api.login("platform", ADMIN).await["status"], "mfa_required");
    let reset = |tenant: &str, email: &str| {
        let arguments = ["users", "reset-mfa", "--tenant", tenant, "--email", email];
        code_and_text(&mut command(&bed, &arguments))
    };
    for (tenant, email, fault) in [
        ("nobody", ADMIN, "there is no such tenant"),
        ("platform", "nobody@platform.test", "there is no such user"),
    ] {
        let (code, text) = reset(tenant, email);
        assert!(code == Some(1) && text.contains(fault), "{text}");
    }
    assert_eq!(api.login("platform", ADMIN).await["status"], "mfa_required");

    let (code, text) = reset("platform", "Admin@Platform.test");
    assert!(
        code == Some(0) && text.contains("the second factor was removed"),
        "{text}"
    );
    api.refresh(session["refresh_token"].as_str().unwrap())
        .await
        .refused(401, "invalid_refresh_token");
    let live = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL";
    assert_eq!(api.scalar(live).await, 0);
    assert_eq!(api.login("platform", ADMIN).await["status"], "authenticated");
    for told in [
        "SELECT count(*) FROM audit_events WHERE action = 'user.reset_mfa' AND actor_kind = 'system'",
        "SELECT count(*) FROM events WHERE type = 'mfa.disabled'",
        "SELECT count(*) FROM mails WHERE kind = 'mfa_disabled'",
    ] {
        assert_eq!(api.scalar(told).await, 1, "{told}");
    }
    let (code, text) = reset("platform", ADMIN);
    assert!(code == Some(0) && text.contains("nothing was changed"), "{text}");
    assert_eq!(api.scalar(live).await, 1);
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
        "audit trail: ",
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
    assert!(text.contains("ok   redis: answers"), "{text}");

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_knows_every_place_that_names_a_data_key() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let body = json!({ "url": "https://hooks.example.com/", "event_types": ["*"] });
    api.post_as(&admin, "/v1/webhooks/endpoints", body)
        .await
        .expect(201);
    api.tenant(&admin, "acme").await;
    seal_all(&api.context).await;
    // A mail that was sent holds nothing any more.
    for sql in [
        "UPDATE mails SET sealed = '' WHERE id = (SELECT min(id::text)::uuid FROM mails)",
        "UPDATE audit_seals SET key_id = 'a' WHERE seq = 1",
        "UPDATE audit_events SET mac_key = 'b' WHERE id = (SELECT audit_id FROM audit_seals WHERE seq = 1 LIMIT 1)",
        "UPDATE audit_chains SET key_id = 'i'",
        "UPDATE webhook_endpoints SET sealed_secret = '\\x0163', sealed_headers = '\\x0164'",
        "INSERT INTO webhook_former_secrets SELECT id, tenant_id, id, '\\x0165', now(), now() FROM webhook_endpoints",
        "INSERT INTO totp_factors SELECT id, tenant_id, id, '\\x0166', 0, now(), NULL FROM users LIMIT 1",
        "INSERT INTO mails SELECT r.* FROM mails m, jsonb_populate_record(m,
             jsonb_build_object('id', gen_random_uuid(), 'sealed', '\\x026767')) r LIMIT 1",
        "INSERT INTO idempotency_keys SELECT id, '', '', gen_random_uuid(), true, '\\x0168', now(), now(), now()
         FROM tenants LIMIT 1",
    ] {
        tamper(&bed, sql).await;
    }
    let (code, text) = code_and_text(&mut command(&bed, &["doctor"]));
    assert!(
        code == Some(1)
            && text.contains("FAIL data keys: in use, and not in secrets.data_keys: c, d, e, f, gg, h, i\n"),
        "{text}"
    );
    // Those that only verify.
    assert!(
        text.contains("WARN audit trail: ") && text.contains("secrets.data_keys does not have: a, b\n"),
        "{text}"
    );
}

/// A server that speaks nothing but TLS.
async fn redis_over_tls(port: u16, files: &Path) -> PrivateRedis {
    let tls = port.to_string();
    let arguments = [
        ["--port", "0"],
        ["--tls-port", &tls],
        ["--tls-auth-clients", "no"],
        ["--tls-cert-file", "fullchain.pem"],
        ["--tls-key-file", "key.pem"],
        ["--tls-ca-cert-file", "authority.pem"],
    ];
    PrivateRedis::with(port, files, arguments.as_flattened()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_reached_over_tls_where_its_certificate_is_to_be_trusted() {
    let (bed, files) = (TestBed::new().await, tempfile::tempdir().unwrap());
    let authority = files.path().join("authority.pem");
    std::fs::write(&authority, certify(files.path(), "localhost")).unwrap();
    let port = PrivateRedis::free_port();
    let _redis = redis_over_tls(port, files.path()).await;
    let doctor = |host: &str, trusted: &Path| {
        let mut doctor = command(&bed, &["doctor"]);
        doctor
            .env("LATCHKEY__REDIS__URL", format!("rediss://{host}:{port}"))
            .env("SSL_CERT_FILE", trusted);
        code_and_text(&mut doctor)
    };
    let (code, text) = doctor("localhost", &authority);
    assert!(code == Some(0) && text.contains("ok   redis: answers"), "{text}");
    let other = tempfile::tempdir().unwrap();
    let stranger = other.path().join("authority.pem");
    std::fs::write(&stranger, certify(other.path(), "localhost")).unwrap();
    for (host, trusted) in [("localhost", &stranger), ("127.0.0.1", &authority)] {
        let (code, text) = doctor(host, trusted);
        assert!(code == Some(1) && text.contains("FAIL redis: "), "{host}: {text}");
    }
}
