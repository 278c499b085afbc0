//! Users, as their administrators find, make, change and delete them.

mod import;
mod races;
mod standing;

use latchkey_shared::postgres::CrossTenant;
use latchkey_testing::TestBed;
use reqwest::Method;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Answer, Api, PASSWORD, text};

/// Sends a request as somebody, with a body where there is one.
async fn ask(api: &Api, token: &str, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let request = api.request(method, path).bearer_auth(token);
    Api::send(match body {
        Some(body) => request.json(body),
        None => request,
    })
    .await
}

/// The id of one of the tenant's roles.
pub(crate) async fn role(api: &Api, tenant: Uuid, name: &str) -> String {
    let tx = api
        .context
        .postgres
        .cross_tenant(CrossTenant::Deliver)
        .await
        .unwrap();
    let select = format!("SELECT id::text AS id FROM roles WHERE tenant_id = '{tenant}' AND name = '{name}'");
    let row = tx
        .query_one_raw(Statement::from_string(DbBackend::Postgres, select))
        .await;
    row.unwrap().unwrap().try_get("", "id").unwrap()
}

/// A role of the tenant's own that lets one write users, and nothing else.
async fn clerk_role(api: &Api, tenant: Uuid) -> String {
    let id = Uuid::from_u128(tenant.as_u128() ^ 1);
    let role = json!({ "id": id, "name": "clerk", "name_canonical": "clerk", "builtin": false,
                       "permissions": ["users:read", "users:write"] });
    api.execute(&format!(
        "INSERT INTO roles SELECT (jsonb_populate_record(r, '{role}')).* FROM roles r
         WHERE r.tenant_id = '{tenant}' AND r.name = 'member'"
    ))
    .await;
    id.to_string()
}

/// A user with the password of the tests and those roles, who may sign in.
pub(crate) async fn made(api: &Api, token: &str, email: &str, roles: &[&str]) -> String {
    let body = json!({ "email": email, "password": PASSWORD, "email_verified": true, "role_ids": roles });
    text(&api.post_as(token, "/v1/users", body).await.expect(201), "id")
}

/// The access token of a new session.
async fn token(api: &Api, tenant: &str, email: &str) -> String {
    text(&api.login(tenant, email).await, "access_token")
}

#[tokio::test]
async fn a_user_is_made_with_a_password() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, owner) = api.tenant(&admin, "acme").await;
    let body =
        json!({ "email": "Ada@Example.com", "name": "Ada", "password": PASSWORD, "external_id": "crm-1" });
    let answer = api.post_as(&owner, "/v1/users", body.clone()).await;
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let ada = answer.expect(201);
    assert_eq!(location, format!("/v1/users/{}", text(&ada, "id")));
    assert_eq!(ada["email"], "Ada@example.com");
    assert_eq!(
        (&ada["email_verified"], &ada["mfa_enabled"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(
        (&ada["external_id"], &ada["status"]),
        (&json!("crm-1"), &json!("active"))
    );
    assert_eq!(
        ada["roles"],
        json!([{ "id": role(&api, tenant, "member").await, "name": "member" }])
    );
    assert_eq!(api.get_as(&owner, &location).await.expect(200), ada);

    // Her address is yet to be proven, as for everybody who registers.
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    api.post("acme", "/v1/auth/login", login)
        .await
        .refused(403, "email_not_verified");
    let proof = json!({ "token": api.mailed_token("Ada@example.com").await });
    let verify = api.request(Method::POST, "/v1/auth/email/verify").json(&proof);
    Api::send(verify).await.expect(200);
    api.login("acme", "ada@example.com").await;

    api.post_as(&owner, "/v1/users", body)
        .await
        .refused(409, "email_taken");
    let same_id = json!({ "email": "bob@example.com", "password": PASSWORD, "external_id": "crm-1" });
    api.post_as(&owner, "/v1/users", same_id)
        .await
        .refused(409, "external_id_taken");
    for (weak, pointer) in [
        (
            json!({ "email": "bob@example.com", "password": "password1" }),
            "/password",
        ),
        (
            json!({ "email": "bob@example.com", "role_ids": [Uuid::nil()] }),
            "/role_ids/0",
        ),
        (json!({ "email": "nobody" }), "/email"),
        (
            json!({ "email": "bob@example.com", "status": "active" }),
            "/status",
        ),
    ] {
        let problem = api
            .post_as(&owner, "/v1/users", weak)
            .await
            .refused(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let found = "SELECT count(*) FROM users WHERE email_canonical = 'bob@example.com'";
    assert_eq!(api.scalar(found).await, 0);
    let told = "SELECT count(*) FROM audit_events a JOIN events e USING (tenant_id)
        WHERE a.action = 'user.create' AND e.type = 'user.registered' AND e.user_id = a.target_id";
    assert_eq!(api.scalar(told).await, 1);
}

#[tokio::test]
async fn a_user_who_is_made_without_a_password_chooses_it_by_mail() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let body = json!({ "email": "ada@example.com" });
    let ada = api.post_as(&owner, "/v1/users", body).await.expect(201);
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    api.post("acme", "/v1/auth/login", login)
        .await
        .refused(401, "invalid_credentials");

    let mails = api.mails("ada@example.com").await;
    assert_eq!(mails.len(), 1);
    assert!(
        mails[0].subject.contains("You have an account"),
        "{}",
        mails[0].subject
    );
    let choose = json!({ "token": api.mailed_token("ada@example.com").await, "new_password": PASSWORD });
    let choose = api.request(Method::POST, "/v1/auth/password/reset").json(&choose);
    Api::send(choose).await.expect(204);
    let signed_in = api.login("acme", "ada@example.com").await;
    assert_eq!(signed_in["user"]["id"], ada["id"]);
    assert_eq!(signed_in["user"]["email_verified"], true);
}

#[tokio::test]
async fn users_are_found_by_address_state_and_role_a_page_at_a_time() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, owner) = api.tenant(&admin, "acme").await;
    api.tenant(&admin, "globex").await;
    let (administers, member) = (
        role(&api, tenant, "admin").await,
        role(&api, tenant, "member").await,
    );
    let mut ids = Vec::new();
    for n in 0..5 {
        bed.clock.advance(chrono::TimeDelta::milliseconds(2));
        let roles = if n % 2 == 0 {
            vec![&*administers, &*member]
        } else {
            vec![&*member]
        };
        ids.push(made(&api, &owner, &format!("user{n}@example.com"), &roles).await);
    }
    let barred = format!("/v1/users/{}/disable", ids[1]);
    api.post_as(&owner, &barred, json!({})).await.expect(204);

    let list = async |query: &str| {
        let page = api
            .get_as(&owner, &format!("/v1/users?{query}"))
            .await
            .expect(200);
        let emails = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| text(user, "email"));
        (
            emails.collect::<Vec<_>>(),
            page["next_cursor"].as_str().map(str::to_owned),
        )
    };
    let user = |n: usize| format!("user{n}@example.com");
    assert_eq!(
        list("").await.0,
        [
            user(4),
            user(3),
            user(2),
            user(1),
            user(0),
            "owner@acme.test".to_owned()
        ]
    );
    assert_eq!(list("email=USER3@example.com").await.0, [user(3)]);
    assert_eq!(list("email=user3@example.com&role=admin").await.0, [""; 0]);
    assert_eq!(
        list("email=user2@example.com&role=admin&status=active").await.0,
        [user(2)]
    );
    assert_eq!(list("email=owner@globex.test").await.0, [""; 0]);
    assert_eq!(list("status=disabled").await.0, [user(1)]);
    assert_eq!(list("role=admin").await.0, [user(4), user(2), user(0)]);
    assert_eq!(
        list(&format!("role={member}&status=active")).await.0,
        [user(4), user(3), user(2), user(0)]
    );
    assert_eq!(list("role=nobody").await.0, [""; 0]);
    for query in ["", "role=member&", "status=active&"] {
        let (first, cursor) = list(&format!("{query}limit=2")).await;
        assert_eq!(first, [user(4), user(3)]);
        let (second, _) = list(&format!("{query}limit=2&cursor={}", cursor.unwrap())).await;
        assert_eq!(second[0], user(2), "{query}");
    }
    for query in ["email=nobody", "status=gone", "limit=0", "cursor=x"] {
        let answer = api.get_as(&owner, &format!("/v1/users?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
    }
}

#[tokio::test]
async fn a_user_is_changed_and_whoever_follows_is_told() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let ada = made(&api, &owner, "ada@example.com", &[]).await;
    made(&api, &owner, "bob@example.com", &[]).await;
    let path = format!("/v1/users/{ada}");
    let change = async |body: Value| ask(&api, &owner, Method::PATCH, &path, Some(&body)).await;
    let changed = change(json!({ "name": "Ada", "external_id": "7" }))
        .await
        .expect(200);
    assert_eq!(
        (&changed["name"], &changed["external_id"]),
        (&json!("Ada"), &json!("7"))
    );
    let cleared = change(json!({ "external_id": null })).await.expect(200);
    assert_eq!(
        (&cleared["name"], &cleared["external_id"]),
        (&json!("Ada"), &Value::Null)
    );
    change(json!({})).await.expect(200);
    let events = "SELECT count(*) FROM events WHERE type = 'user.updated'";
    assert_eq!(api.scalar(events).await, 2, "what changes nothing is no event");

    // The token is good at the new address alone, and the present one is told.
    let pending = change(json!({ "email": "ada@example.org" })).await.expect(200);
    assert_eq!(
        (&pending["email"], &pending["pending_email"]),
        (&json!("ada@example.com"), &json!("ada@example.org"))
    );
    assert!(
        api.mails("ada@example.com")
            .await
            .last()
            .unwrap()
            .subject
            .contains("about to change")
    );
    let proof = json!({ "token": api.mailed_token("ada@example.org").await });
    let verify = api.request(Method::POST, "/v1/auth/email/verify").json(&proof);
    Api::send(verify).await.expect(200);
    let moved = api.get_as(&owner, &path).await.expect(200);
    assert_eq!(
        (&moved["email"], &moved["pending_email"]),
        (&json!("ada@example.org"), &Value::Null)
    );
    api.login("acme", "ada@example.org").await;
    change(json!({ "email": "BOB@example.com" }))
        .await
        .refused(409, "email_taken");
    // Nothing of a person stays in the audit trail.
    // As a word: an id may spell it.
    let traces = r"SELECT count(*) FROM audit_events WHERE detail::text ~* '\yada\y'";
    assert_eq!(api.scalar(traces).await, 0);
}

#[tokio::test]
async fn s25_another_tenants_user_is_answered_as_one_that_never_was() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let (globex, other) = api.tenant(&admin, "globex").await;
    let foreign = made(&api, &other, "ada@globex.test", &[]).await;
    let session = text(&api.login("globex", "ada@globex.test").await, "session_id");
    let foreign_role = role(&api, globex, "member").await;
    let absent = Uuid::from_u128(bed.context.uuid(bed.context.clock.now()).as_u128()).to_string();
    let name = json!({ "name": "Eve" });
    let operations = [
        (Method::GET, "/v1/users/{}", None),
        (Method::PATCH, "/v1/users/{}", Some(&name)),
        (Method::DELETE, "/v1/users/{}", None),
        (Method::POST, "/v1/users/{}/disable", None),
        (Method::POST, "/v1/users/{}/enable", None),
        (Method::POST, "/v1/users/{}/unlock", None),
        (Method::POST, "/v1/users/{}/password-reset", None),
        (Method::POST, "/v1/users/{}/reset-mfa", None),
        (Method::GET, "/v1/users/{}/sessions", None),
        (Method::DELETE, "/v1/users/{}/sessions", None),
        (
            Method::DELETE,
            &*format!("/v1/users/{{}}/sessions/{session}"),
            None,
        ),
    ];
    let without_id = |answer: Answer| {
        let mut problem = answer.refused(404, "not_found");
        problem["request_id"] = Value::Null;
        problem
    };
    for (method, path, body) in operations {
        let ask = async |id: &str| ask(&api, &owner, method.clone(), &path.replace("{}", id), body).await;
        assert_eq!(
            without_id(ask(&foreign).await),
            without_id(ask(&absent).await),
            "{method} {path}"
        );
    }
    let create = async |role: &str| {
        let body = json!({ "email": "eve@acme.test", "role_ids": [role] });
        let mut problem = api
            .post_as(&owner, "/v1/users", body)
            .await
            .refused(422, "validation_failed");
        problem["request_id"] = Value::Null;
        problem
    };
    assert_eq!(create(&foreign_role).await, create(&absent).await);
    let list = async |role: &str| api.get_as(&owner, &format!("/v1/users?role={role}")).await.text;
    assert_eq!(list(&foreign_role).await, list(&absent).await);
    // The session is another user's.
    let ada = made(&api, &owner, "ada@acme.test", &[]).await;
    let path = format!("/v1/users/{ada}/sessions/{session}");
    ask(&api, &owner, Method::DELETE, &path, None)
        .await
        .refused(404, "not_found");
    let tokens = token(&api, "globex", "ada@globex.test").await;
    api.get_as(&tokens, "/v1/auth/me").await.expect(200);
}

#[tokio::test]
async fn s27_nobody_makes_or_takes_over_who_may_do_more() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let platform = api.admin().await;
    let (tenant, owner) = api.tenant(&platform, "acme").await;
    let (owns, administers) = (
        role(&api, tenant, "owner").await,
        role(&api, tenant, "admin").await,
    );
    let clerks = clerk_role(&api, tenant).await;
    made(&api, &owner, "admin@acme.test", &[&administers]).await;
    made(&api, &owner, "clerk@acme.test", &[&clerks]).await;
    let second = made(&api, &owner, "second@acme.test", &[&owns]).await;
    let victim = made(&api, &owner, "victim@acme.test", &[&administers]).await;
    let member = made(&api, &owner, "member@acme.test", &[]).await;
    let (admin, clerk) = (
        token(&api, "acme", "admin@acme.test").await,
        token(&api, "acme", "clerk@acme.test").await,
    );

    for (who, role) in [(&admin, &owns), (&clerk, &owns), (&clerk, &administers)] {
        let body = json!({ "email": "eve@acme.test", "role_ids": [role] });
        api.post_as(who, "/v1/users", body)
            .await
            .refused(403, "escalation");
    }
    let address = json!({ "email": "eve@acme.test" });
    let operations = |id: &str| {
        [
            (Method::PATCH, format!("/v1/users/{id}"), Some(&address)),
            (Method::DELETE, format!("/v1/users/{id}"), None),
            (Method::POST, format!("/v1/users/{id}/disable"), None),
            (Method::POST, format!("/v1/users/{id}/enable"), None),
            (Method::POST, format!("/v1/users/{id}/password-reset"), None),
            (Method::POST, format!("/v1/users/{id}/unlock"), None),
            (Method::POST, format!("/v1/users/{id}/reset-mfa"), None),
            (Method::DELETE, format!("/v1/users/{id}/sessions"), None),
        ]
    };
    for (who, whom) in [(&admin, &second), (&clerk, &second), (&clerk, &victim)] {
        for (method, path, body) in operations(whom) {
            ask(&api, who, method, &path, body)
                .await
                .refused(403, "escalation");
        }
    }
    let own = text(&api.get_as(&owner, "/v1/auth/me").await.expect(200)["user"], "id");
    for (method, path, body) in operations(&own) {
        ask(&api, &owner, method, &path, body)
            .await
            .refused(409, "own_account");
    }
    assert!(api.mails("eve@acme.test").await.is_empty());
    // What is below them they may do.
    let reset = format!("/v1/users/{member}/password-reset");
    ask(&api, &clerk, Method::POST, &reset, None).await.expect(202);
    let barred = format!("/v1/users/{victim}/disable");
    ask(&api, &admin, Method::POST, &barred, None).await.expect(204);
    let gone = format!("/v1/users/{second}");
    ask(&api, &owner, Method::DELETE, &gone, None).await.expect(204);
    // And without the permission, nothing.
    let nobody = token(&api, "acme", "clerk@acme.test").await;
    api.execute(&format!(
        "UPDATE roles SET permissions = '{{}}' WHERE id = '{clerks}'"
    ))
    .await;
    let fresh = Api::start_another(&bed).await;
    fresh.get_as(&nobody, "/v1/users").await.refused(403, "forbidden");
}

#[tokio::test]
async fn s27_an_address_that_an_administrator_asked_for_is_void_once_they_could_not_ask_for_it() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let platform = api.admin().await;
    let (tenant, owner) = api.tenant(&platform, "acme").await;
    let (owns, administers) = (
        role(&api, tenant, "owner").await,
        role(&api, tenant, "admin").await,
    );
    let eve = made(&api, &owner, "eve@acme.test", &[&administers]).await;
    let as_eve = token(&api, "acme", "eve@acme.test").await;
    let body = json!({ "name": "Sync", "environment": "live", "scopes": ["users:write", "users:read"] });
    let key = api.post_as(&as_eve, "/v1/api-keys", body).await.expect(201);
    let (key, key_id) = (text(&key, "key"), text(&key["api_key"], "id"));

    let cases = [
        ("nothing", &as_eve),
        ("promoted", &as_eve),
        ("revoked", &key),
        ("barred", &as_eve),
    ];
    for (way, by) in cases {
        let user = made(&api, &owner, &format!("{way}@acme.test"), &[]).await;
        let elsewhere = format!("{way}@evil.test");
        let body = json!({ "email": elsewhere });
        ask(&api, by, Method::PATCH, &format!("/v1/users/{user}"), Some(&body))
            .await
            .expect(200);
        let proof = json!({ "token": api.mailed_token(&elsewhere).await });
        match way {
            "promoted" => {
                let roles = format!("/v1/users/{user}/roles");
                let owner_role = json!({ "role_id": owns });
                api.post_as(&owner, &roles, owner_role).await.expect(204);
            }
            "revoked" => {
                let key = format!("/v1/api-keys/{key_id}");
                ask(&api, &owner, Method::DELETE, &key, None).await.expect(204);
            }
            "barred" => {
                let barred = format!("/v1/users/{eve}/disable");
                api.post_as(&owner, &barred, json!({})).await.expect(204);
            }
            _ => {}
        }
        let verify = Api::send(api.request(Method::POST, "/v1/auth/email/verify").json(&proof)).await;
        if way == "nothing" {
            verify.expect(200);
        } else {
            verify.refused(400, "invalid_token");
        }
        let moved = format!("SELECT count(*) FROM users WHERE email = '{elsewhere}'");
        assert_eq!(api.scalar(&moved).await, i64::from(way == "nothing"), "{way}");
    }
}

#[tokio::test]
async fn an_export_has_every_user_and_no_secret() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, owner) = api.tenant(&admin, "acme").await;
    let (_, other) = api.tenant(&admin, "globex").await;
    made(&api, &other, "elsewhere@globex.test", &[]).await;
    // More than a page.
    api.execute(&format!(
        "INSERT INTO users (id, tenant_id, email, email_canonical, password_hash, status, created_at, updated_at)
         SELECT gen_random_uuid(), '{tenant}', n || '@example.com', n || '@example.com', '$argon2id$canary', 'active',
                now(), now() FROM generate_series(1, 1234) AS n"
    ))
    .await;
    let answer = api.get_as(&owner, "/v1/users/export").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    for hidden in ["argon2", "canary", "globex", "password_hash", "import_mac"] {
        assert!(!answer.text.contains(hidden), "{hidden} is exported");
    }
    let lines: Vec<Value> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let emails: std::collections::BTreeSet<String> = lines.iter().map(|line| text(line, "email")).collect();
    assert_eq!((lines.len(), emails.len()), (1235, 1235));
    let own = lines
        .iter()
        .find(|line| line["email"] == "owner@acme.test")
        .unwrap();
    assert_eq!(own["roles"][0]["name"], "owner");
    let written = "SELECT count(*) FROM audit_events WHERE action = 'user.export_all'";
    assert_eq!(api.scalar(written).await, 1);
}

#[tokio::test]
async fn s21_an_export_ends_with_the_right_to_it_and_does_not_look_complete() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, owner) = api.tenant(&admin, "acme").await;
    // More than is on the way to a client that does not read.
    api.execute(&format!(
        "INSERT INTO users (id, tenant_id, email, email_canonical, name, password_hash, status, created_at, updated_at)
         SELECT gen_random_uuid(), '{tenant}', n || '@example.com', n || '@example.com', repeat('x', 200), '', 'active',
                now(), now() FROM generate_series(1, 30000) AS n"
    ))
    .await;
    let key = json!({ "name": "export", "environment": "live", "scopes": ["users:read"] });
    let key = api.post_as(&owner, "/v1/api-keys", key).await.expect(201);
    let revoke = format!("/v1/api-keys/{}", text(&key["api_key"], "id"));
    let request = api.request(Method::GET, "/v1/users/export");
    let mut export = request.bearer_auth(text(&key, "key")).send().await.unwrap();
    assert_eq!(export.status(), 200);
    export.chunk().await.unwrap().unwrap();
    ask(&api, &owner, Method::DELETE, &revoke, None).await.expect(204);
    let broken_off = loop {
        match export.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken_off, "it looks as if that were all");
}
