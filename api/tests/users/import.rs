//! Users from another system.

use std::{collections::BTreeMap, time::Duration};

use latchkey_shared::administration::BATCH;
use latchkey_testing::TestBed;
use reqwest::{Method, header};
use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{clerk_role, made, token};
use crate::{
    second_factor::pyotp,
    support::{Answer, Api, PASSWORD, ndjson, text},
};

const BCRYPT: &str = "$2b$05$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS";
/// Each with its password.
const HASHES: &[(&str, &str)] = &[
    (BCRYPT, PASSWORD),
    (
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "password",
    ),
    (
        "$argon2i$m=65536,t=2,p=1$c29tZXNhbHQ$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ",
        "password",
    ),
    (
        "$scrypt$ln=10,r=8,p=1$c2l4dGVlbiBieXRlIHNhbA$fkwR3uWGPzRraH3qW0DU7e/gfwfns+6gVs7PC/51uEA",
        PASSWORD,
    ),
    (
        "$pbkdf2-sha256$i=1000$c2l4dGVlbiBieXRlIHNhbA$YLxwtZTyajzXVfC/M84LAbZcd133GcmpwHnZkrWBmAo",
        PASSWORD,
    ),
    (
        "$pbkdf2-sha512$i=1000,l=64$c2l4dGVlbiBieXRlIHNhbA$Yap+zHg43MoT6Aovnx0eLwd0TXFYg0nTMon6xsLiI5UfcQFWyGnOyld7BLRRM3dgQN1DX79ugzzjp6FrKmgAag",
        PASSWORD,
    ),
];

async fn send(api: &Api, token: &str, body: String) -> Answer {
    let request = api.request(Method::POST, "/v1/users/import").bearer_auth(token);
    Api::send(
        request
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .body(body),
    )
    .await
}

/// What became of each line by its number, and the summary.
async fn import(api: &Api, token: &str, lines: &[Value]) -> (BTreeMap<u64, Value>, Value) {
    let body = ndjson(lines);
    read(&send(api, token, body).await)
}

fn read(answer: &Answer) -> (BTreeMap<u64, Value>, Value) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let mut lines: Vec<Value> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let summary = lines.pop().unwrap();
    (
        lines
            .into_iter()
            .map(|line| (line["line"].as_u64().unwrap(), line))
            .collect(),
        summary,
    )
}

async fn login(api: &Api, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    api.post("acme", "/v1/auth/login", body).await
}

#[tokio::test]
async fn each_kind_of_hash_opens_its_account_and_is_replaced_by_ours() {
    let bed = TestBed::with(&[(
        "passwords.peppers",
        "p1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    )])
    .await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let email = |n: usize| format!("user{n}@example.com");
    let lines: Vec<Value> = (0..HASHES.len())
        .map(|n| json!({ "email": email(n), "email_verified": true, "password_hash": HASHES[n].0 }))
        .collect();
    let (_, summary) = import(&api, &owner, &lines).await;
    assert_eq!(summary["created"], HASHES.len());
    let imported = "SELECT count(*) FROM users WHERE password_hash LIKE '$imported$%'";
    let ours = "SELECT count(*) FROM users WHERE email LIKE 'user%' AND password_hash ~ '^.argon2id.v=19.m=64,t=1,p=1,keyid='";
    for (n, (hash, password)) in HASHES.iter().enumerate() {
        login(&api, &email(n), "not the password")
            .await
            .refused(401, "invalid_credentials");
        let left = i64::try_from(HASHES.len() - n).unwrap();
        assert_eq!(
            api.scalar(imported).await,
            left,
            "a wrong password replaces nothing"
        );
        login(&api, &email(n), password).await.expect(200);
        assert_eq!(api.scalar(imported).await, left - 1, "{hash}");
        login(&api, &email(n), password).await.expect(200);
        login(&api, &email(n), "not the password")
            .await
            .refused(401, "invalid_credentials");
    }
    assert_eq!(api.scalar(ours).await, i64::try_from(HASHES.len()).unwrap());
}

#[tokio::test]
async fn s07_an_imported_bcrypt_hash_opens_for_no_longer_password() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    // Of 72 times x: bcrypt itself takes it for the hash of every longer one.
    let hash = "$2b$05$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q";
    let line = json!({ "email": "ada@example.com", "email_verified": true, "password_hash": hash });
    import(&api, &owner, &[line]).await;
    login(&api, "ada@example.com", &"x".repeat(73))
        .await
        .refused(401, "invalid_credentials");
    login(&api, "ada@example.com", &"x".repeat(72)).await.expect(200);
}

#[tokio::test]
async fn s02_a_registration_at_an_imported_account_changes_nothing_and_tells_nothing() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    for (n, (hash, password)) in HASHES.iter().enumerate() {
        let email = format!("user{n}@example.com");
        let line = json!({ "email": email, "email_verified": true, "password_hash": hash });
        import(&api, &owner, &[line]).await;
        let body = json!({ "email": email, "password": "somebody else's password" });
        api.post("acme", "/v1/auth/register", body).await.expect(202);
        // As an account that was made by it, and waits to be proven.
        login(&api, &email, "somebody else's password")
            .await
            .refused(403, "email_not_verified");
        login(&api, &email, password).await.expect(200);
        login(&api, &email, "somebody else's password")
            .await
            .refused(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn an_imported_authenticator_is_asked_for_and_its_codes_are_right() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let line = json!({ "email": "ada@example.com", "email_verified": true, "password_hash": BCRYPT,
                       "totp_secret": "gezd gnbv gy3t qojq GEZD GNBV GY3T QOJQ" });
    let (lines, _) = import(&api, &owner, &[line]).await;
    assert_eq!(lines[&1]["status"], "created", "{lines:?}");
    let challenge = login(&api, "ada@example.com", PASSWORD).await.expect(200);
    assert_eq!(challenge["status"], "mfa_required");
    let code = pyotp("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", bed.context.clock.now());
    let body = json!({ "mfa_token": challenge["mfa_token"], "method": "totp", "code": code });
    let verify = || api.request(Method::POST, "/v1/auth/mfa/verify").json(&body);
    Api::send(verify()).await.expect(200);
    let sealed = "SELECT count(*) FROM totp_factors WHERE confirmed_at IS NOT NULL AND position('12345678' IN encode(sealed, 'escape')) = 0";
    assert_eq!(api.scalar(sealed).await, 1);
    let user = text(&lines[&1], "user_id");
    let seen = api.get_as(&owner, &format!("/v1/users/{user}")).await.expect(200);
    assert_eq!(seen["mfa_enabled"], true);
}

#[tokio::test]
async fn each_faulty_line_is_told_of_by_itself_and_the_others_go_in() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    api.user("acme", "registered@example.com").await;
    let too_long = format!("{{\"email\": \"{}\"}}", "x".repeat(70_000));
    let good = |n: usize| {
        json!({ "email": format!("good{n}@example.com"), "external_id": n.to_string() }).to_string()
    };
    let lines = [
        (good(0), None),
        ("{".to_owned(), Some(("", "malformed_json"))),
        ("[]".to_owned(), Some(("", "wrong_type"))),
        ("{}".to_owned(), Some(("/email", "required"))),
        (json!({ "email": "x@y.test", "password": "x" }).to_string(), Some(("/password", "unknown_field"))),
        (too_long, Some(("", "too_long"))),
        (json!({ "email": "nobody" }).to_string(), Some(("/email", "invalid_format"))),
        (json!({ "email": "registered@example.com" }).to_string(), Some(("/email", "exists"))),
        (json!({ "email": "a@example.com", "external_id": "0" }).to_string(), Some(("/external_id", "taken"))),
        (json!({ "email": "a@example.com", "roles": ["ghost"] }).to_string(), Some(("/roles", "unknown_role"))),
        (json!({ "email": "a@example.com", "password_hash": "$2b$31$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS" }).to_string(), Some(("/password_hash", "too_costly"))),
        (json!({ "email": "a@example.com", "password_hash": "md5:d41d8cd9" }).to_string(), Some(("/password_hash", "unknown_scheme"))),
        (json!({ "email": "a@example.com", "password_hash": "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc" }).to_string(), Some(("/password_hash", "too_costly"))),
        (json!({ "email": "a@example.com", "totp_secret": "short" }).to_string(), Some(("/totp_secret", "invalid_format"))),
        (json!({ "email": "a@example.com", "created_at": "2999-01-01T00:00:00Z" }).to_string(), Some(("/created_at", "out_of_range"))),
        (json!({ "email": "a@example.com", "created_at": "yesterday" }).to_string(), Some(("/created_at", "invalid_format"))),
        (json!({ "email": "GOOD0@example.com", "name": "another" }).to_string(), Some(("/email", "exists"))),
        ("\u{feff}{}".to_owned(), Some(("", "malformed_json"))),
        ("[".repeat(60_000), Some(("", "malformed_json"))),
        (good(1), None),
    ];
    let body: Vec<&str> = lines.iter().map(|(line, _)| line.as_str()).collect();
    // Empty lines are counted, and say nothing; the last needs no line break.
    let (told, summary) = read(&send(&api, &owner, body.join("\r\n\n")).await);
    assert_eq!(told.len(), lines.len());
    for (n, (line, fault)) in lines.iter().enumerate() {
        let told = &told[&(2 * n as u64 + 1)];
        let cut: String = line.chars().take(80).collect();
        match fault {
            None => assert_eq!(told["status"], "created", "{cut}: {told}"),
            Some((pointer, code)) => {
                assert_eq!(told["status"], "failed", "{cut}: {told}");
                assert_eq!(
                    (&told["errors"][0]["pointer"], &told["errors"][0]["code"]),
                    (&json!(pointer), &json!(code)),
                    "{cut}"
                );
            }
        }
    }
    assert_eq!(
        summary,
        json!({ "complete": true, "detail": null, "created": 2, "unchanged": 0, "failed": lines.len() - 2 })
    );
}

#[tokio::test]
async fn a_file_is_sent_again_and_nothing_is_done_twice() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let line = |n: usize| {
        json!({ "email": format!("user{n}@example.com"), "name": "As it was", "email_verified": true,
                "status": if n == 1 { "disabled" } else { "active" }, "created_at": "2019-05-04T03:02:01Z",
                "roles": ["member", "admin"], "external_id": n.to_string(), "password_hash": BCRYPT })
    };
    // More than a batch, and one of them twice.
    let mut lines: Vec<Value> = (0..300).map(line).collect();
    lines.push(line(7));
    let (_, first) = import(&api, &owner, &lines).await;
    assert_eq!(
        (&first["created"], &first["unchanged"], &first["failed"]),
        (&json!(300), &json!(1), &json!(0))
    );
    let users = api
        .get_as(&owner, "/v1/users?email=user2@example.com")
        .await
        .expect(200);
    let user = &users["data"][0];
    assert_eq!(
        (&user["created_at"], &user["name"]),
        (&json!("2019-05-04T03:02:01.000Z"), &json!("As it was"))
    );
    assert_eq!(user["roles"][0]["name"], "admin");
    login(&api, "user1@example.com", PASSWORD)
        .await
        .refused(401, "invalid_credentials");

    // Their lives go on; the lines are still the same.
    login(&api, "user2@example.com", PASSWORD).await.expect(200);
    let path = format!("/v1/users/{}", text(user, "id"));
    super::ask(
        &api,
        &owner,
        Method::PATCH,
        &path,
        Some(&json!({ "name": "Renamed" })),
    )
    .await
    .expect(200);
    let events = "SELECT count(*) FROM events WHERE type = 'user.registered'";
    let before = api.scalar(events).await;
    let (_, second) = import(&api, &owner, &lines).await;
    assert_eq!(
        (&second["created"], &second["unchanged"], &second["failed"]),
        (&json!(0), &json!(301), &json!(0))
    );
    assert_eq!(api.scalar(events).await, before);
    assert_eq!(api.get_as(&owner, &path).await.expect(200)["name"], "Renamed");
    let written = "SELECT count(*) FROM audit_events WHERE action = 'user.import'";
    assert_eq!(api.scalar(written).await, 300);

    // Another line for the same address is another account, and overwrites nothing.
    let mut other = line(2);
    other["password_hash"] = json!("$2b$05$abcdefghijklmnopqrstuuXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX");
    let (lines, _) = import(&api, &owner, &[other]).await;
    assert_eq!(lines[&1]["errors"][0]["code"], "exists");
    login(&api, "user2@example.com", PASSWORD).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_imports_of_the_same_users_at_once_make_each_of_them_once() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let lines: Vec<Value> = (0..50)
        .map(|n| json!({ "email": format!("user{n}@example.com"), "external_id": n.to_string() }))
        .collect();
    let reversed: Vec<Value> = lines.iter().rev().cloned().collect();
    let imports = (0..100).map(|n| import(&api, &owner, if n % 2 == 0 { &lines } else { &reversed }));
    let summaries = futures::future::join_all(imports).await;
    let of = |field: &str| {
        summaries
            .iter()
            .map(|(_, summary)| summary[field].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!((of("created"), of("unchanged"), of("failed")), (50, 99 * 50, 0));
    assert_eq!(
        api.scalar("SELECT count(*) FROM users WHERE email LIKE 'user%'")
            .await,
        50
    );
}

#[tokio::test]
async fn imports_that_wait_for_one_another_hold_up_nobody_else() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, owner) = api.tenant(&admin, "acme").await;
    let db = Database::connect(&bed.owner_url).await.unwrap();
    let turn = db.begin().await.unwrap();
    turn.execute_unprepared(&format!(
        "SELECT pg_advisory_xact_lock(hashtextextended('import ' || '{tenant}', 0))"
    ))
    .await
    .unwrap();
    let lines = [json!({ "email": "ada@example.com" })];
    // Many more than the process has connections.
    let imports = (0..40).map(|_| import(&api, &owner, &lines));
    let (imported, ()) = tokio::join!(futures::future::join_all(imports), async {
        api.until_waiting(2).await;
        for _ in 0..3 {
            api.login("acme", "owner@acme.test").await;
        }
        turn.rollback().await.unwrap();
    });
    let created: u64 = imported
        .iter()
        .map(|(_, summary)| summary["created"].as_u64().unwrap())
        .sum();
    assert_eq!(created, 1);
}

#[tokio::test]
async fn s27_nobody_imports_who_may_do_more() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, owner) = api.tenant(&admin, "acme").await;
    let clerks = clerk_role(&api, tenant).await;
    made(&api, &owner, "clerk@acme.test", &[&clerks]).await;
    let clerk = token(&api, "acme", "clerk@acme.test").await;
    let lines: Vec<Value> = ["owner", "admin", "clerk", "member"]
        .iter()
        .map(|role| json!({ "email": format!("{role}@example.com"), "roles": [role] }))
        .collect();
    let (told, _) = import(&api, &clerk, &lines).await;
    let told: Vec<&Value> = told.values().collect();
    for line in &told[..2] {
        assert_eq!(
            (&line["status"], &line["errors"][0]["code"]),
            (&json!("failed"), &json!("escalation"))
        );
    }
    assert!(
        told[2..].iter().all(|line| line["status"] == "created"),
        "{told:?}"
    );
    let made = "SELECT count(*) FROM users WHERE email IN ('owner@example.com', 'admin@example.com')";
    assert_eq!(api.scalar(made).await, 0);
}

/// An import whose body is still being sent.
struct Sending {
    connection: TcpStream,
    answered: String,
}

impl Sending {
    async fn begin(api: &Api, credential: &str) -> Self {
        let address = api.base_url.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /v1/users/import HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {credential}\r\n\
             content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        Self {
            connection,
            answered: String::new(),
        }
    }

    async fn send(&mut self, lines: &[Value]) {
        let lines = ndjson(lines);
        let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
        self.connection.write_all(chunk.as_bytes()).await.unwrap();
    }

    /// Reads until the answer holds that.
    async fn read_until(&mut self, text: &str) {
        while !self.answered.contains(text) {
            let mut part = vec![0; 64 * 1024];
            let read = timeout(Duration::from_secs(20), self.connection.read(&mut part));
            let read = read.await.unwrap().unwrap();
            assert!(read > 0, "{}", self.answered);
            self.answered += std::str::from_utf8(&part[..read]).unwrap();
        }
    }
}

#[tokio::test]
async fn s21_an_import_ends_with_the_right_to_it() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, owner) = api.tenant(&admin, "acme").await;
    let clerks = clerk_role(&api, tenant).await;
    let clerk = made(&api, &owner, "clerk@acme.test", &[&clerks]).await;
    let session = token(&api, "acme", "clerk@acme.test").await;
    let key = json!({ "name": "import", "environment": "live", "scopes": ["users:write"] });
    let key = api.post_as(&owner, "/v1/api-keys", key).await.expect(201);
    let revoke = format!("/v1/api-keys/{}", text(&key["api_key"], "id"));
    let disable = format!("/v1/users/{clerk}/disable");
    for (name, credential, method, end) in [
        ("session", session, Method::POST, disable),
        ("key", text(&key, "key"), Method::DELETE, revoke),
    ] {
        let lines: Vec<Value> = (0..BATCH)
            .map(|number| json!({ "email": format!("{name}-{number}@example.com") }))
            .collect();
        let mut sending = Sending::begin(&api, &credential).await;
        sending.send(&lines).await;
        sending.read_until(&format!("\"line\":{BATCH},")).await;
        let ended = Api::send(api.request(method, &end).bearer_auth(&owner)).await;
        assert_eq!(ended.status, 204, "{ended:?}");
        sending
            .send(&[json!({ "email": format!("late-{name}@example.com") })])
            .await;
        sending.connection.write_all(b"0\r\n\r\n").await.unwrap();
        sending.read_until("\"complete\":false").await;
    }
    let count = "SELECT count(*) FROM users WHERE email LIKE '%@example.com'";
    assert_eq!(api.scalar(count).await, 2 * i64::try_from(BATCH).unwrap());
    let late = "SELECT count(*) FROM users WHERE email LIKE 'late-%'";
    assert_eq!(api.scalar(late).await, 0);
}

#[tokio::test]
async fn s39_a_body_that_is_no_file_of_lines_is_refused_at_once() {
    let bed = TestBed::with(&[("server.max_import_bytes", "1000")]).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let import = || {
        api.request(Method::POST, "/v1/users/import")
            .bearer_auth(&owner)
            .body("{}")
    };
    Api::send(import()).await.refused(415, "unsupported_media_type");
    let json = import().header(header::CONTENT_TYPE, "application/json");
    Api::send(json).await.refused(415, "unsupported_media_type");
    send(&api, &owner, " ".repeat(1001))
        .await
        .refused(413, "body_too_large");
    let (lines, summary) = read(&send(&api, &owner, String::new()).await);
    assert!(lines.is_empty());
    assert_eq!(
        summary,
        json!({ "complete": true, "detail": null, "created": 0, "unchanged": 0, "failed": 0 })
    );
    let member = json!({ "email": "ada@example.com" }).to_string();
    let anonymous = api
        .request(Method::POST, "/v1/users/import")
        .header(header::CONTENT_TYPE, "application/x-ndjson");
    Api::send(anonymous.body(member))
        .await
        .refused(401, "unauthenticated");
}
