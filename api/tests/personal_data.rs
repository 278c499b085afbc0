//! What is stored about a user: classified, exported, and gone with the account.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use latchkey_shared::{
    entity::TenantStatus,
    id::{TenantId, UserId},
    lockout::{Budget, Credential},
    privacy::{
        ROWS_PER_TABLE,
        classification::{Class, Ending, TABLES},
    },
    retention,
    tenant::{RateLimits, Settings, Tenant},
    user::Email,
    version::Version,
};
use latchkey_testing::{Prove, TestBed};
use reqwest::Method;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    own_account::{ADA, delete, me_as},
    support::{Api, PASSWORD, text},
};

/// Every row of every table, as the owner of them all sees it, by table.
pub(crate) async fn dump(bed: &TestBed) -> BTreeMap<String, Vec<String>> {
    let db = Database::connect(&bed.owner_url).await.unwrap();
    let all = db.begin().await.unwrap();
    all.execute_unprepared("SELECT set_config('latchkey.scope', 'cross_tenant', true)")
        .await
        .unwrap();
    let tables: BTreeSet<String> = columns(&db).await.into_iter().map(|(table, _)| table).collect();
    let mut dump = BTreeMap::new();
    for table in tables {
        let select = Statement::from_string(
            DbBackend::Postgres,
            format!("SELECT t::text AS row FROM {table} t"),
        );
        let rows = all.query_all_raw(select).await.unwrap();
        let rows = rows.into_iter().map(|row| row.try_get("", "row").unwrap());
        dump.insert(table, rows.collect());
    }
    dump
}

/// Each table with each of its columns, from the catalogue.
async fn columns(db: &DatabaseConnection) -> Vec<(String, String)> {
    let select = "SELECT c.table_name::text AS name, c.column_name::text AS column_name
        FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
        WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' ORDER BY 1, 2";
    let rows = db
        .query_all_raw(Statement::from_string(DbBackend::Postgres, select))
        .await
        .unwrap();
    rows.into_iter()
        .map(|row| {
            (
                row.try_get("", "name").unwrap(),
                row.try_get("", "column_name").unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn every_column_of_every_table_is_classified_once() {
    let bed = TestBed::new().await;
    let db = Database::connect(&bed.owner_url).await.unwrap();
    let there: BTreeSet<(String, String)> = columns(&db).await.into_iter().collect();
    let mut classified = BTreeSet::new();
    for table in TABLES {
        for (column, class) in table.columns() {
            let name = (table.name.to_owned(), column.to_owned());
            assert!(
                classified.insert(name),
                "{}.{column} is classified twice: {class:?}",
                table.name
            );
        }
        assert!(
            table.columns().any(|(column, _)| column == table.newest),
            "{} has no {}",
            table.name,
            table.newest
        );
    }
    let undecided: Vec<_> = there.difference(&classified).collect();
    let gone: Vec<_> = classified.difference(&there).collect();
    assert!(
        undecided.is_empty() && gone.is_empty(),
        "decide about {undecided:?}; these are no more: {gone:?}"
    );
}

/// What must not be found anywhere once the account is gone.
const TRACES: &[&str] = &[
    "ada.lovelace@example.com",
    "Ada King",
    "ada.byron@example.com",
    "198.51.100.77",
    "AdaBrowser",
    "the lighthouse laptop",
];

/// A user with a row in every table that has users' rows; the access token.
async fn furnish(api: &Api, tenant: Uuid) -> (Uuid, String) {
    let body = json!({ "email": ADA, "password": PASSWORD, "name": "Ada King" });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    let body = json!({ "token": api.mailed_token(ADA).await });
    Api::send(api.request(Method::POST, "/v1/auth/email/verify").json(&body))
        .await
        .expect(200);
    let body = json!({ "email": ADA, "password": PASSWORD, "device_label": "the lighthouse laptop" });
    let login = api
        .request(Method::POST, "/v1/auth/login")
        .header("x-tenant-id", "acme")
        .header("x-forwarded-for", "198.51.100.77")
        .header("user-agent", "AdaBrowser/1.0")
        .json(&body);
    let login = Api::send(login).await.expect(200);
    let user: Uuid = login["user"]["id"].as_str().unwrap().parse().unwrap();
    let of = Tenant {
        id: TenantId(tenant),
        slug: "acme".to_owned(),
        name: "Acme".to_owned(),
        status: TenantStatus::Active,
        settings: Settings::default(),
        rate_limits: RateLimits::default(),
        webhook_cidrs: Vec::new(),
        version: Version::FIRST,
        delete_at: None,
        created_at: api.context.clock.now(),
        updated_at: api.context.clock.now(),
    };
    let email = Email::parse(ADA).unwrap();
    let budget = |credential: Credential<'_>| {
        hex::encode(Budget::of(&api.context.config, &of, credential).credential())
    };
    let (password, factor) = (
        budget(Credential::Password(&email)),
        budget(Credential::SecondFactor(UserId(user))),
    );
    api.execute(&format!(
        "UPDATE users SET pending_email = 'ada.byron@example.com' WHERE id = '{user}';
         INSERT INTO former_passwords VALUES (gen_random_uuid(), '{tenant}', '{user}', '$argon2id$canary', now());
         INSERT INTO totp_factors VALUES (gen_random_uuid(), '{tenant}', '{user}', '\\xc0ffeec0ffee', 7, now(), NULL);
         INSERT INTO recovery_codes VALUES ('\\xbeefbeefbeef', '{tenant}', '{user}', now());
         INSERT INTO mfa_challenges VALUES ('\\xf00df00df00d', '{tenant}', '{user}', NULL, 'Canary phone', now(), now() + interval '1 hour');
         INSERT INTO one_time_tokens VALUES
             ('\\xabbaabbaabba', '{tenant}', 'change_email', '{user}', 'ada.byron@example.com', now(), now() + interval '1 day');
         INSERT INTO invitations VALUES
             (gen_random_uuid(), '{tenant}', '{ADA}', '{canonical}', '{{}}', NULL, now(), NULL, now(), NULL, NULL);
         INSERT INTO lockouts VALUES ('{tenant}', '\\x{password}', 3, now(), now(), NULL, NULL, now() + interval '1 day');
         INSERT INTO lockouts VALUES ('{tenant}', '\\x{factor}', 1, now(), now(), NULL, NULL, now() + interval '1 day');
         INSERT INTO audit_events (id, tenant_id, created_at, actor_kind, actor_id, action, target_kind, target_id, outcome,
                                   address, detail)
         VALUES (gen_random_uuid(), '{tenant}', now(), 'user', gen_random_uuid(), 'user.unlock', 'user', '{user}',
                 'success', '192.0.2.99', '{{}}');
         INSERT INTO api_keys (id, tenant_id, user_id, hash, hint, name, environment, scopes, allowed_cidrs, metadata,
                               created_at, updated_at)
         VALUES (gen_random_uuid(), '{tenant}', '{user}', '\\xdeeddeeddeed', 'lk_live_…', 'Ada King''s key', 'live', '{{}}', '{{}}',
                 '{{\"for\": \"the lighthouse laptop\"}}', now(), now());
         INSERT INTO api_key_usage (tenant_id, key_id, hour, verified, denied)
         SELECT tenant_id, id, now(), 1, 0 FROM api_keys",
        canonical = ADA.to_lowercase(),
    ))
    .await;
    (user, text(&login, "access_token"))
}

/// Every text in it, with the name it stands under.
fn scalars(value: &Value) -> Vec<(&str, &str)> {
    let fields = value.as_object().into_iter().flatten();
    let named = fields.map(|(name, value)| (name.as_str(), value));
    let listed = value.as_array().into_iter().flatten().map(|value| ("", value));
    let within = named
        .chain(listed)
        .flat_map(|(name, value)| match value.as_str() {
            Some(text) => vec![(name, text)],
            None => scalars(value),
        });
    within.collect()
}

/// Whether an instant is written as the contract writes them: UTC, in milliseconds.
fn is_contracts(instant: &str) -> bool {
    instant.len() == "2026-01-01T00:00:00.000Z".len() && instant.ends_with('Z')
}

#[tokio::test]
async fn everything_stored_about_a_user_is_exported_and_then_gone() {
    let bed = TestBed::with(&[("server.trusted_proxies", "127.0.0.1/32")]).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, _) = api.tenant(&admin, "acme").await;
    api.user("acme", "bob@example.com").await;
    let (user, token) = furnish(&api, tenant).await;
    for body in [json!({ "name": "Ada King Noel" }), json!({ "name": "Ada King" })] {
        me_as(&api, &token, Method::PATCH, body).await.expect(200);
    }

    let answer = api.get_as(&token, "/v1/auth/me/export").await;
    for hidden in [
        "$argon2id",
        "c0ffeec0ffee",
        "beefbeefbeef",
        "f00df00df00d",
        "abbaabbaabba",
        "\\\\xdeeddeeddeed",
        "bob@example.com",
        "192.0.2.99",
    ] {
        assert!(!answer.text.contains(hidden), "{hidden} is exported");
    }
    let export = answer.expect(200);
    assert_eq!(
        (&export["complete"], &export["user_id"]),
        (&json!(true), &json!(user.to_string()))
    );
    let reason = text(&export["kept_after_deletion"], "audit_events");
    assert!(reason.contains("Nothing deletes these rows"), "{reason}");
    for table in TABLES.iter().filter(|table| table.rows.is_some()) {
        let section = &export["tables"][table.name];
        let rows = section["rows"].as_array().unwrap();
        assert!(
            !rows.is_empty(),
            "this test must give the user a row in {}",
            table.name
        );
        assert_eq!(section["total"], rows.len(), "{}", table.name);
        for (column, class) in table.columns() {
            let shown = &rows[0][column];
            match class {
                Class::Secret => assert!(shown["present"].is_boolean(), "{}.{column}: {shown}", table.name),
                _ => assert!(
                    rows[0].get(column).is_some(),
                    "{}.{column} is missing",
                    table.name
                ),
            }
        }
    }
    for (column, value) in scalars(&export) {
        let is_instant = value.parse::<DateTime<Utc>>().is_ok();
        assert!(!is_instant || is_contracts(value), "{column}: {value}");
    }
    let created_at = &export["tables"]["users"]["rows"][0]["created_at"];
    let me = api.get_as(&token, "/v1/auth/me").await.expect(200);
    assert_eq!(created_at, &me["user"]["created_at"]);
    let exported = export.to_string().to_lowercase();
    for trace in TRACES {
        assert!(
            exported.contains(&trace.to_lowercase()),
            "{trace} is stored and not exported"
        );
    }

    delete(&api, &token).await.expect(204);
    let kept: Vec<&str> = TABLES
        .iter()
        .filter(|table| table.rows.is_some() && matches!(table.ending, Ending::Stay(_)))
        .map(|table| table.name)
        .collect();
    for (table, rows) in dump(&bed).await {
        for row in rows.iter().map(|row| row.to_lowercase()) {
            for trace in TRACES {
                let trace = trace.to_lowercase();
                // The audit trail keeps the addresses that its actors came from, and nothing else of them.
                let allowed = kept.contains(&table.as_str()) && trace == "198.51.100.77";
                let there = row.contains(&trace) || row.contains(&hex::encode(&trace));
                assert!(!there || allowed, "{table} still holds {trace}: {row}");
            }
            if row.contains(&user.to_string()) {
                let by_id =
                    ["audit_events", "signals"].contains(&table.as_str()) || row.contains("user.deleted");
                assert!(by_id, "{table} still names the account: {row}");
            }
        }
    }
    println!("kept: {kept:?}");
    let erased = "SELECT count(*) FROM events WHERE type = 'user.registered' AND user_id IS NULL
                  AND body::json -> 'data' ->> 'erased' = 'true' AND body::json ->> 'timestamp' IS NOT NULL";
    assert_eq!(api.scalar(erased).await, 1);
    // Bob, and what the tenant owns, are as they were.
    api.login("acme", "bob@example.com").await;
}

#[tokio::test]
async fn s30_an_event_under_way_keeps_its_bytes_until_it_has_arrived() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let endpoint = json!({ "url": "http://127.0.0.1:9/hook", "event_types": ["user.registered"] });
    api.post_as(&owner, "/v1/webhooks/endpoints", endpoint)
        .await
        .expect(201);
    api.user("acme", ADA).await;
    api.execute(
        "INSERT INTO attempts (id, tenant_id, delivery_id, number, started_at, duration_ms, outcome, response_headers,
                               response_body)
         SELECT gen_random_uuid(), tenant_id, id, 1, now(), 5, 'failed', '{\"x-echo\": \"Ada.Lovelace\"}', 'Ada.Lovelace'
         FROM deliveries",
    )
    .await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    delete(&api, &token).await.expect(204);

    let with_data =
        "SELECT count(*) FROM events WHERE type = 'user.registered' AND body LIKE '%Ada.Lovelace%'";
    let answers = "SELECT count(*) FROM attempts t WHERE t::text LIKE '%Ada.Lovelace%'";
    retention::delete_expired(&api.context, 1000).await.unwrap();
    assert_eq!((api.scalar(with_data).await, api.scalar(answers).await), (1, 1));

    api.execute("UPDATE deliveries SET state = 'succeeded', next_attempt_at = NULL, finished_at = now()")
        .await;
    retention::delete_expired(&api.context, 1000).await.unwrap();
    assert_eq!((api.scalar(with_data).await, api.scalar(answers).await), (0, 0));
    let marked = "SELECT count(*) FROM events WHERE erase OR user_id IS NOT NULL AND user_id NOT IN (SELECT id FROM users)";
    assert_eq!(api.scalar(marked).await, 0);
    let events = api.get_as(&owner, "/v1/webhooks/events").await.expect(200);
    let erased = events["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["payload"]["erased"] == true);
    assert!(erased.is_some(), "{events}");
}

#[tokio::test]
async fn an_account_with_very_many_rows_is_exported_in_part_and_deleted_whole() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    api.user("acme", ADA).await;
    let login = api.login("acme", ADA).await;
    let (token, user) = (text(&login, "access_token"), text(&login["user"], "id"));
    let many: i64 = Prove::size(6_000, 100_000);
    api.execute(&format!(
        "INSERT INTO sessions (id, tenant_id, user_id, address, user_agent, created_at, expires_at, revoked_at)
         SELECT gen_random_uuid(), tenant_id, id, '192.0.2.1', 'x', now() - n * interval '1 minute', now(), now()
         FROM users, generate_series(1, {many}) n WHERE id = '{user}';
         INSERT INTO refresh_tokens (hash, tenant_id, session_id, created_at, expires_at)
         SELECT uuid_send(id), tenant_id, id, now(), now() FROM sessions;
         INSERT INTO events (id, tenant_id, type, body, user_id, created_at)
         SELECT gen_random_uuid(), tenant_id, 'user.updated', '{{\"timestamp\": \"2026-01-01T00:00:00Z\"}}', id, now()
         FROM users, generate_series(1, {many}) n WHERE id = '{user}'"
    ))
    .await;

    let started = std::time::Instant::now();
    let answer = api.get_as(&token, "/v1/auth/me/export").await;
    let (took, size) = (started.elapsed(), answer.text.len());
    let export = answer.expect(200);
    assert_eq!(export["complete"], false);
    let sessions = &export["tables"]["sessions"];
    assert!(sessions["total"].as_i64().unwrap() > many);
    assert_eq!(
        sessions["rows"].as_array().unwrap().len(),
        ROWS_PER_TABLE as usize
    );

    let started = std::time::Instant::now();
    delete(&api, &token).await.expect(204);
    println!(
        "{many} sessions and events: {size} bytes in {took:?}, deleted in {:?}",
        started.elapsed()
    );
    while retention::delete_expired(&api.context, 1000).await.unwrap() == 1000 {}
    for table in ["sessions", "refresh_tokens", "events WHERE erase OR user_id"] {
        let left = match table.split_once(" WHERE ") {
            Some((events, _)) => format!("SELECT count(*) FROM {events} WHERE erase OR user_id = '{user}'"),
            None => format!("SELECT count(*) FROM {table} t WHERE t::text LIKE '%{user}%'"),
        };
        assert_eq!(api.scalar(&left).await, 0, "{table}");
    }
}
