//! Row-level security: what the database refuses when the code forgets.

use std::sync::Arc;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use latchkey_shared::{
    context::Context,
    crypto::token::{Kind, Token},
    id::TenantId,
    postgres::{CrossTenant, Postgres},
    random::OsRandom,
};
use latchkey_testing::TestBed;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    personal_data,
    support::{ADMIN, Api, PASSWORD, text},
};

/// A table and the column that says whose a row is.
#[derive(Debug)]
pub(crate) struct TenantTable {
    pub(crate) name: String,
    pub(crate) column: &'static str,
}

#[tokio::test]
async fn s26_a_transaction_whose_beginning_nobody_waits_for_lends_the_next_one_nothing() {
    let bed = TestBed::new().await;
    let mut settings = bed.context.config.postgres.clone();
    settings.max_connections = 1;
    let postgres = Postgres::connect(&settings).await.unwrap();
    for polls in 1..40 {
        {
            let beginning = postgres.cross_tenant(CrossTenant::Deliver);
            let mut beginning = std::pin::pin!(beginning);
            for _ in 0..polls {
                if futures::poll!(beginning.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let next = postgres.tenant(TenantId(Uuid::nil())).await.unwrap();
        let left =
            "SELECT current_setting('latchkey.scope', true) || current_setting('plan_cache_mode') AS left";
        let left: String = rows(&next, left).await[0].try_get("", "left").unwrap();
        assert_eq!(left, "auto", "after {polls} polls");
    }
}

async fn rows(db: &impl ConnectionTrait, sql: &str) -> Vec<sea_orm::QueryResult> {
    db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await
        .unwrap()
}

async fn count(db: &impl ConnectionTrait, table: &str) -> i64 {
    rows(db, &format!("SELECT count(*) AS n FROM {table}")).await[0]
        .try_get("", "n")
        .unwrap()
}

/// From the catalogue, so that a table that is added tomorrow is looked at tomorrow.
pub(crate) async fn tenant_tables(db: &DatabaseConnection) -> Vec<TenantTable> {
    let with_column = "SELECT table_name::text AS name FROM information_schema.columns
        WHERE table_schema = 'public' AND column_name = 'tenant_id' ORDER BY 1";
    let mut tables: Vec<TenantTable> = rows(db, with_column)
        .await
        .into_iter()
        .map(|row| TenantTable {
            name: row.try_get("", "name").unwrap(),
            column: "tenant_id",
        })
        .collect();
    tables.push(TenantTable {
        name: "tenants".to_owned(),
        column: "id",
    });
    tables
}

/// The names of those that have a `tenant_id`.
pub(crate) async fn tables(context: &Context) -> Vec<String> {
    let db = Database::connect(context.config.postgres.url.expose())
        .await
        .unwrap();
    let tables = tenant_tables(&db).await.into_iter();
    let tables = tables.filter(|table| table.column == "tenant_id");
    tables.map(|table| table.name).collect()
}

/// A tenant with a row in every table, and one with few.
pub(crate) async fn furnish(api: &Api) -> (Uuid, Uuid) {
    let admin = api.admin().await;
    let (acme, owner) = api.tenant(&admin, "acme").await;
    let (globex, _) = api.tenant(&admin, "globex").await;
    api.user("acme", "ada@example.com").await;
    let body = json!({ "email": "bob@example.com", "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    let endpoint = json!({ "url": "http://127.0.0.1:9/hook" });
    api.post_as(&owner, "/v1/webhooks/endpoints", endpoint)
        .await
        .expect(201);
    let event = json!({ "type": "invoice.paid", "payload": {} });
    api.post_as(&owner, "/v1/webhooks/events", event)
        .await
        .expect(202);
    let event_type = json!({ "name": "invoice.paid", "description": "An invoice was paid." });
    api.post_as(&owner, "/v1/webhooks/event-types", event_type)
        .await
        .expect(201);
    let permission = json!({ "name": "invoices:approve" });
    api.post_as(&owner, "/v1/permissions", permission)
        .await
        .expect(201);
    // What follows waits for its seal.
    crate::audit::seal_all(&api.context).await;
    api.post_as(&owner, "/v1/auth/logout", json!({}))
        .await
        .expect(204);
    api.execute(&format!(
        "INSERT INTO tenant_domains (id, tenant_id, domain, verification, created_at)
         VALUES (gen_random_uuid(), '{acme}', 'a.test', 'x', now());
         INSERT INTO tenant_usage (tenant_id, day, sign_ins, registrations, refreshes, mails, events)
         VALUES ('{acme}', '2026-11-25', 1, 1, 1, 1, 1);
         INSERT INTO attempts (id, tenant_id, delivery_id, number, started_at, duration_ms, outcome, response_headers)
         SELECT gen_random_uuid(), tenant_id, id, 1, now(), 5, 'succeeded', '{{}}' FROM deliveries LIMIT 1;
         INSERT INTO payload_marks (tenant_id, marked_to) VALUES ('{acme}', gen_random_uuid());
         INSERT INTO fanouts (id, tenant_id, event_ids, event_type, endpoint_ids, created_at, touched_at)
         SELECT id, tenant_id, ARRAY[id], type, ARRAY[id], now(), now() FROM events WHERE tenant_id = '{acme}' LIMIT 1;
         INSERT INTO webhook_former_secrets (id, tenant_id, endpoint_id, sealed_secret, created_at, ends_at)
         SELECT gen_random_uuid(), tenant_id, id, '', now(), now() FROM webhook_endpoints LIMIT 1;
         INSERT INTO webhook_recoveries (id, tenant_id, endpoint_id, since, until, cursor, created_at)
         SELECT gen_random_uuid(), tenant_id, id, now(), now(), id, now() FROM webhook_endpoints LIMIT 1;
         INSERT INTO former_passwords (id, tenant_id, user_id, password_hash, created_at)
         SELECT gen_random_uuid(), tenant_id, id, '', now() FROM users WHERE tenant_id = '{acme}' LIMIT 1;
         INSERT INTO totp_factors (id, tenant_id, user_id, sealed, created_at)
         SELECT gen_random_uuid(), tenant_id, id, '', now() FROM users WHERE tenant_id = '{acme}' LIMIT 1;
         INSERT INTO recovery_codes (hash, tenant_id, user_id, created_at)
         SELECT '', tenant_id, id, now() FROM users WHERE tenant_id = '{acme}' LIMIT 1;
         INSERT INTO mfa_challenges (hash, tenant_id, user_id, created_at, expires_at)
         SELECT '', tenant_id, id, now(), now() FROM users WHERE tenant_id = '{acme}' LIMIT 1;
         INSERT INTO lockouts (tenant_id, credential, failures, first_at, last_at, expires_at)
         VALUES ('{acme}', '', 1, now(), now(), now());
         INSERT INTO idempotency_keys (tenant_id, key, fingerprint, claim, lease_until, created_at, expires_at)
         VALUES ('{acme}', '', '', gen_random_uuid(), now(), now(), now());
         INSERT INTO mail_templates (tenant_id, kind, subject, text, html, updated_at)
         VALUES ('{acme}', 'verify_email', '', '', '', now());
         INSERT INTO service_accounts (id, tenant_id, name, status, created_at, updated_at)
         VALUES (gen_random_uuid(), '{acme}', 'a', 'active', now(), now());
         INSERT INTO service_account_roles (tenant_id, service_account_id, role_id, created_at)
         SELECT s.tenant_id, s.id, r.id, now() FROM service_accounts s JOIN roles r ON r.tenant_id = s.tenant_id LIMIT 1;
         INSERT INTO api_keys (id, tenant_id, hash, hint, name, environment, scopes, allowed_cidrs, metadata, created_at, updated_at)
         VALUES (gen_random_uuid(), '{acme}', '', '', 'a', 'live', '{{}}', '{{}}', '{{}}', now(), now());
         INSERT INTO api_key_usage (tenant_id, key_id, hour, verified, denied)
         SELECT tenant_id, id, now(), 1, 0 FROM api_keys LIMIT 1;"
    ))
    .await;
    (acme, globex)
}

#[tokio::test]
async fn s26_a_query_that_forgets_the_tenant_sees_nothing_and_a_write_for_another_fails() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let (acme, globex) = furnish(&api).await;
    let db = Database::connect(bed.app_url()).await.unwrap();
    let tables = tenant_tables(&db).await;
    assert!(tables.len() >= 15, "{tables:?}");

    for TenantTable { name, column } in &tables {
        assert_eq!(count(&db, name).await, 0, "{name}: a query without its tenant");

        let all = db.begin().await.unwrap();
        all.execute_unprepared("SELECT set_config('latchkey.scope', 'cross_tenant', true)")
            .await
            .unwrap();
        let of_acme = format!("SELECT to_jsonb(t) AS row FROM {name} t WHERE {column} = '{acme}' LIMIT 1");
        let found = rows(&all, &of_acme).await;
        assert!(
            !found.is_empty(),
            "{name}: this test must put a row into every table"
        );
        let row: Value = found[0].try_get("", "row").unwrap();
        all.rollback().await.unwrap();

        let other = db.begin().await.unwrap();
        let state = format!("SELECT set_config('latchkey.tenant_id', '{globex}', true)");
        other.execute_unprepared(&state).await.unwrap();
        let foreign = rows(
            &other,
            &format!("SELECT 1 AS n FROM {name} WHERE {column} = '{acme}'"),
        )
        .await;
        assert!(foreign.is_empty(), "{name}: another tenant's rows");
        let write = format!("INSERT INTO {name} SELECT * FROM jsonb_populate_record(NULL::{name}, $1)");
        let write = Statement::from_sql_and_values(DbBackend::Postgres, write, [row.into()]);
        let refused = other.execute_raw(write).await.unwrap_err().to_string();
        assert!(refused.contains("row-level security"), "{name}: {refused}");
    }
}

#[tokio::test]
async fn s26_a_role_that_the_policies_do_not_hold_is_refused_at_the_start() {
    let bed = TestBed::new().await;
    let config = latchkey_testing::config(&[("postgres.url", &bed.owner_url)]);
    let opened = Context::open(config, bed.clock.clone(), Arc::new(OsRandom::new())).await;
    let refused = opened.err().unwrap().to_string();
    assert!(refused.contains("row-level security"), "{refused}");
}

#[tokio::test]
async fn s26_the_applications_role_owns_nothing_and_cannot_step_around_the_policies() {
    let bed = TestBed::new().await;
    let db = Database::connect(bed.app_url()).await.unwrap();
    let role = rows(&db, "SELECT rolsuper OR rolbypassrls OR rolcreaterole AS mighty FROM pg_roles WHERE rolname = current_user").await;
    assert!(!role[0].try_get::<bool>("", "mighty").unwrap());
    let owned = rows(
        &db,
        "SELECT relname::text AS name FROM pg_class WHERE relowner = current_user::regrole",
    )
    .await;
    assert!(owned.is_empty());
    let open = "SELECT relname::text AS name FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE attname = 'tenant_id' AND relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
          AND NOT (relrowsecurity AND relforcerowsecurity)";
    assert!(
        rows(&db, open).await.is_empty(),
        "a table without forced row-level security"
    );
}

/// Every row of every table, as a dump has it: bytes in hexadecimal.
pub(crate) async fn dump(bed: &TestBed) -> Vec<String> {
    let tables = personal_data::dump(bed).await.into_iter();
    let named = tables.flat_map(|(table, rows)| rows.into_iter().map(move |row| format!("{table}: {row}")));
    named.collect()
}

/// No row holds a piece of the secret: neither of its text, nor of the bytes that this stands for.
pub(crate) fn none_holds(dump: &[String], text: &str, bytes: &[u8]) {
    let pieces = |of: &[u8]| -> Vec<Vec<u8>> {
        let length = of.len().clamp(1, 16);
        of.chunks_exact(length).map(<[u8]>::to_vec).collect()
    };
    let mut found: Vec<String> = pieces(bytes).iter().map(hex::encode).collect();
    for piece in pieces(text.as_bytes()) {
        found.push(hex::encode(&piece));
        found.push(String::from_utf8(piece).unwrap());
    }
    assert!(!found.is_empty());
    for row in dump {
        let held = found.iter().find(|piece| row.contains(*piece));
        assert!(held.is_none(), "{held:?} of {text} is in {row}");
    }
}

/// A token of each kind, and of each purpose of those that are mailed. None ends another.
async fn tokens_of_each_kind(api: &Api, owner: &str) -> Vec<(Kind, String)> {
    let (ada, bob) = ("ada@example.com", "bob@example.com");
    let mailed = async |to: &str| (Kind::OneTime, api.mailed_token(to).await);
    api.user("acme", ada).await;
    let login = api.login("acme", ada).await;
    let device = text(&login, "device_token");
    let refreshed = api.refresh(&text(&login, "refresh_token")).await.expect(200);
    let mut tokens = vec![
        (Kind::Device, device.clone()),
        (Kind::Refresh, text(&login, "refresh_token")),
        (Kind::Refresh, text(&refreshed, "refresh_token")),
    ];
    let register = json!({ "email": bob, "password": PASSWORD });
    api.post("acme", "/v1/auth/register", register).await.expect(202);
    tokens.push(mailed(bob).await);
    let invitation = json!({ "email": "carol@example.com" });
    api.post_as(owner, "/v1/invitations", invitation)
        .await
        .expect(201);
    tokens.push(mailed("carol@example.com").await);
    let change = json!({ "new_email": "lovelace@example.com", "password": PASSWORD });
    api.post_as(&text(&refreshed, "access_token"), "/v1/auth/email/change", change)
        .await
        .expect(202);
    tokens.push(mailed("lovelace@example.com").await);
    api.post("acme", "/v1/auth/password/forgot", json!({ "email": ada }))
        .await
        .expect(202);
    tokens.push(mailed(ada).await);
    for _ in 0..5 {
        let wrong = json!({ "email": ada, "password": "not the password" });
        api.post("acme", "/v1/auth/login", wrong)
            .await
            .refused(401, "invalid_credentials");
    }
    tokens.push(mailed(ada).await);
    api.execute(
        "INSERT INTO totp_factors (id, tenant_id, user_id, sealed, created_at, confirmed_at)
         SELECT gen_random_uuid(), tenant_id, id, '', now(), now() FROM users WHERE email = 'ada@example.com'",
    )
    .await;
    // Others' failures do not lock the device.
    let body = json!({ "email": ada, "password": PASSWORD, "device_token": device });
    let asked = api.post("acme", "/v1/auth/login", body).await.expect(200);
    tokens.push((Kind::Mfa, text(&asked, "mfa_token")));
    tokens
}

#[tokio::test]
async fn s36_a_dump_of_the_database_holds_no_usable_secret() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let tokens = tokens_of_each_kind(&api, &owner).await;
    let access = text(&api.login("platform", ADMIN).await, "access_token");
    let endpoint = json!({ "url": "http://127.0.0.1:9/hook", "headers": { "X-Token": "canary-7c2e" } });
    let endpoint = api
        .post_as(&owner, "/v1/webhooks/endpoints", endpoint)
        .await
        .expect(201);
    let key = json!({ "name": "k", "environment": "live", "scopes": [] });
    let key = api.post_as(&owner, "/v1/api-keys", key).await.expect(201);

    let dump = dump(&bed).await;
    for (kind, token) in &tokens {
        // What is stored is this: the token is still good, and the dump shows bytes.
        let hash = hex::encode(Token::parse(*kind, token).unwrap().hash());
        assert!(
            dump.iter().any(|row| row.contains(&hash)),
            "{kind:?}: no hash of {token}"
        );
        // The tenant's id before the secret, and a session's after it, are in many rows.
        let encoded = &token[4..];
        let bytes = URL_SAFE_NO_PAD.decode(encoded).unwrap();
        none_holds(&dump, &encoded[22..64], &bytes[16..48]);
    }
    let (_, signature) = access.rsplit_once('.').unwrap();
    none_holds(&dump, signature, &URL_SAFE_NO_PAD.decode(signature).unwrap());
    let secret = text(&endpoint, "secret");
    let secret = secret.trim_start_matches("whsec_");
    none_holds(&dump, secret, &STANDARD.decode(secret).unwrap());
    none_holds(&dump, text(&key, "key").trim_start_matches("lk_live_"), &[]);
    for secret in ["canary-7c2e", PASSWORD] {
        none_holds(&dump, secret, &[]);
    }
}
