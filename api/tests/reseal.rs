//! Data keys that go: everything is sealed anew, and works without the key that sealed it before.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use latchkey_shared::{
    clock::Clock,
    config::{Config, Process, Source},
    context::Context,
    crypto::seal::{open, seal},
    random::OsRandom,
    reseal::reseal,
    webhook::work,
};
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    audit::{seal_all, tamper},
    second_factor::pyotp,
    support::{Answer, Api, PASSWORD, code_and_text, command, text},
};

const SETTING: &str = "LATCHKEY__SECRETS__DATA_KEYS";
/// That of every test.
const OLD: &str = "1:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
const NEW: &str = "2:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=";
/// How everything begins that the new key has sealed.
const BEGINNING: &[u8] = b"\x012";

fn both() -> String {
    format!("{NEW},{OLD}")
}

/// A process with those data keys.
async fn process_with(bed: &TestBed, keys: &str) -> Context {
    let mut env = bed.environment();
    env.retain(|(name, _)| name != SETTING);
    env.push((SETTING.to_owned(), keys.to_owned()));
    let config = Config::read(Process::Api, Source::new(None, env)).unwrap();
    Context::open(config, bed.clock.clone(), Arc::new(OsRandom::new()))
        .await
        .unwrap()
}

fn run(bed: &TestBed, arguments: &[&str], keys: &str) -> (Option<i32>, String) {
    code_and_text(command(bed, arguments).env(SETTING, keys))
}

fn reseal_by_command(bed: &TestBed) -> (Option<i32>, String) {
    run(bed, &["keys", "reseal"], &both())
}

/// So many values of the column are not under the new key.
async fn under_another(api: &Api, table: &str, column: &str) -> i64 {
    let beginning = hex::encode(BEGINNING);
    api.scalar(&format!(
        "SELECT count(*) FROM {table} WHERE {column} <> '' AND substring({column} FROM 1 FOR 2) <> '\\x{beginning}'"
    ))
    .await
}

/// An endpoint with a header of its own, for `invoice.paid`: its path and its secret.
async fn endpoint(api: &Api, owner: &str) -> (String, String) {
    let body = json!({
        "url": "https://hooks.example.com/a", "event_types": ["invoice.paid"], "headers": { "X-Token": "canary-61b0" }
    });
    let created = api.post_as(owner, "/v1/webhooks/endpoints", body).await;
    let path = created.headers["location"].to_str().unwrap().to_owned();
    (path, text(&created.expect(201), "secret"))
}

async fn rotate(api: &Api, owner: &str, path: &str) -> Answer {
    let request = api.request(Method::POST, &format!("{path}/secret/rotate"));
    let request = request.bearer_auth(owner).header("idempotency-key", "a");
    Api::send(request.json(&json!({}))).await
}

/// Gives the user an authenticator: its secret.
async fn enrol(bed: &TestBed, api: &Api, access: &str) -> String {
    let body = json!({ "password": PASSWORD });
    let setup = api.post_as(access, "/v1/mfa/totp/setup", body).await.expect(200);
    let secret = text(&setup, "secret");
    let body = json!({ "code": pyotp(&secret, bed.clock.now()) });
    api.post_as(access, "/v1/mfa/totp/confirm", body)
        .await
        .expect(200);
    // That code is used up.
    bed.clock.advance(TimeDelta::seconds(60));
    secret
}

async fn sign_in_by_both(bed: &TestBed, api: &Api, email: &str, secret: &str) -> Answer {
    let asked = api.login("acme", email).await;
    assert_eq!(asked["status"], "mfa_required", "{asked}");
    let code = pyotp(secret, bed.clock.now());
    let body = json!({ "mfa_token": text(&asked, "mfa_token"), "method": "totp", "code": code });
    Api::send(api.request(Method::POST, "/v1/auth/mfa/verify").json(&body)).await
}

/// What a worker would sign a delivery with, the newest secret first, and the headers that it would add.
async fn signs_with(api: &Api, owner: &str) -> (Vec<String>, Value) {
    let body = json!({ "type": "invoice.paid", "payload": {} });
    api.post_as(owner, "/v1/webhooks/events", body).await.expect(202);
    let deliveries = api.get_as(owner, "/v1/webhooks/deliveries").await.expect(200);
    let id: Uuid = text(&deliveries["data"][0], "id").parse().unwrap();
    let claimed = work::claim(&api.context, vec![id], Duration::from_secs(30))
        .await
        .unwrap();
    let (secrets, headers) = claimed[0].open(&api.context.config.secrets.data_keys).unwrap();
    let secrets = secrets.iter().map(|secret| secret.text().expose().clone());
    (secrets.collect(), json!(headers))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s36_a_data_key_can_go_once_everything_is_sealed_anew() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let mut owners = Vec::new();
    for slug in ["acme", "globex"] {
        let (_, owner) = api.tenant(&admin, slug).await;
        let (path, former) = endpoint(&api, &owner).await;
        let newest = text(&rotate(&api, &owner, &path).await.expect(200), "secret");
        owners.push((owner, path, [newest, former]));
    }
    // More than a page holds, and all of them over.
    api.execute(
        "INSERT INTO webhook_former_secrets (id, tenant_id, endpoint_id, sealed_secret, created_at, ends_at)
         SELECT gen_random_uuid(), tenant_id, id, sealed_secret, created_at, created_at
         FROM webhook_endpoints, generate_series(1, 225)",
    )
    .await;
    let totp = enrol(&bed, &api, &owners[0].0).await;
    seal_all(&api.context).await;
    drop(api);

    let (code, first) = reseal_by_command(&bed);
    assert_eq!(code, Some(0), "{first}");
    for line in [
        "webhook_endpoints.sealed_secret: 2 sealed anew, 0 were already, 0 do not open",
        "webhook_endpoints.sealed_headers: 2 sealed anew, 0 were already, 0 do not open",
        "webhook_former_secrets.sealed_secret: 452 sealed anew, 0 were already, 0 do not open",
        "totp_factors.sealed: 1 sealed anew, 0 were already, 0 do not open",
        "idempotency_keys.sealed: 2 sealed anew, 0 were already, 0 do not open",
        "audit_chains.mac: 3 sealed anew, 0 were already, 0 do not open",
        "nothing is sealed under another key",
    ] {
        assert!(first.contains(line), "{line}: {first}");
    }
    let (code, again) = reseal_by_command(&bed);
    assert_eq!(code, Some(0), "{again}");
    assert_eq!(again.matches(": 0 sealed anew, ").count(), 7, "{again}");
    assert!(again.contains("webhook_former_secrets.sealed_secret: 0 sealed anew, 452 were already"));

    // An answer is found by the oldest key.
    let api = Api::serve(process_with(&bed, &both()).await).await;
    assert_eq!(under_another(&api, "idempotency_keys", "sealed").await, 0);
    for (owner, path, _) in &owners {
        let replayed = rotate(&api, owner, path).await;
        assert_eq!(replayed.headers["idempotent-replayed"], "true");
    }
    drop(api);

    let (code, told) = run(&bed, &["doctor"], NEW);
    assert!(code == Some(0) && told.contains("ok   data keys: "), "{told}");
    assert!(
        told.contains("WARN audit trail: cannot be verified as a whole"),
        "{told}"
    );
    let api = Api::serve(process_with(&bed, NEW).await).await;
    for (owner, _, secrets) in &owners {
        let (signing, headers) = signs_with(&api, owner).await;
        assert_eq!(
            (&signing[..], headers),
            (&secrets[..], json!({ "x-token": "canary-61b0" }))
        );
    }
    assert!(!api.mails("owner@globex.test").await.is_empty());
    sign_in_by_both(&bed, &api, "owner@acme.test", &totp)
        .await
        .expect(200);
    // Workers go on with chains that the old key had ended.
    seal_all(&api.context).await;
    let told = "SELECT count(*) FROM audit_events WHERE action = 'platform.reseal' AND actor_kind = 'system'";
    assert_eq!(api.scalar(told).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s36_what_does_not_open_is_named_and_left_and_the_rest_is_sealed_anew() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (acme, owner) = api.tenant(&admin, "acme").await;
    api.tenant(&admin, "globex").await;
    let (path, _) = endpoint(&api, &owner).await;
    let endpoint = path.rsplit('/').next().unwrap();
    seal_all(&api.context).await;
    let mail = api
        .scalar_text("SELECT id FROM mails ORDER BY created_at LIMIT 1")
        .await;
    for sql in [
        format!(
            "UPDATE mails SET sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1) WHERE id = '{mail}'"
        ),
        // Of a key that nobody has.
        "UPDATE webhook_endpoints SET sealed_headers = '\\x0139'".to_owned(),
        format!("UPDATE audit_chains SET mac = '\\x00' WHERE tenant_id = '{acme}'"),
    ] {
        tamper(&bed, &sql).await;
    }
    let altered = format!(
        "SELECT (SELECT encode(sealed, 'hex') FROM mails WHERE id = '{mail}')
             || (SELECT encode(sealed_headers, 'hex') FROM webhook_endpoints)
             || (SELECT encode(mac, 'hex') FROM audit_chains WHERE tenant_id = '{acme}')"
    );
    let before = api.scalar_text(&altered).await;
    for _ in 0..2 {
        let (code, told) = reseal_by_command(&bed);
        assert!(code == Some(1) && told.contains("3 values do not open"), "{told}");
        for line in [
            format!("mails.sealed: does not open: {mail}\n"),
            format!("webhook_endpoints.sealed_headers: does not open: {endpoint}\n"),
            format!("audit_chains.mac: does not open: {acme}\n"),
        ] {
            assert!(told.contains(&line), "{line}: {told}");
        }
        assert_eq!(api.scalar_text(&altered).await, before);
        assert_eq!(under_another(&api, "mails", "sealed").await, 1);
        assert_eq!(under_another(&api, "webhook_endpoints", "sealed_secret").await, 0);
        let chains = "SELECT count(*) FROM audit_chains WHERE key_id <> '2'";
        assert_eq!(api.scalar(chains).await, 1);
    }
}

#[tokio::test]
async fn s36_a_secret_that_changes_while_everything_is_sealed_anew_is_not_written_over() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let (path, _) = endpoint(&api, &owner).await;
    let id: Uuid = path.rsplit('/').next().unwrap().parse().unwrap();
    // By a process that does not use the new key yet, and is about to commit.
    let old_ring = &api.context.config.secrets.data_keys;
    let sealed = seal(old_ring, id, b"changed meanwhile", &OsRandom::new()).unwrap();
    let change = format!(
        "UPDATE webhook_endpoints SET sealed_secret = '\\x{}'",
        hex::encode(sealed)
    );
    let held = api.under_way(&change).await;

    let context = process_with(&bed, &both()).await;
    // Mails come after endpoints: whoever has sealed them has passed by the one that is held.
    let commit = async {
        while under_another(&api, "mails", "sealed").await > 0 {
            tokio::task::yield_now().await;
        }
        held.commit().await.unwrap();
    };
    let at_once = async { futures::join!(reseal(&context), commit) };
    let (done, ()) = timeout(Duration::from_secs(20), at_once).await.unwrap();
    let done = done.unwrap();
    let of_secrets = &done.columns[0];
    assert_eq!(
        (of_secrets.anew, of_secrets.held, done.is_complete),
        (1, 0, true),
        "{done:?}"
    );
    let there = api
        .scalar_text("SELECT encode(sealed_secret, 'hex') FROM webhook_endpoints")
        .await;
    let there = hex::decode(there).unwrap();
    assert!(there.starts_with(BEGINNING));
    let opened = open(&context.config.secrets.data_keys, id, &there).unwrap();
    assert_eq!(opened.expose(), b"changed meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s36_no_column_of_sealed_values_is_left_out() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let columns = api
        .scalar_text(
            "SELECT string_agg(table_name || '.' || column_name, ' ') FROM information_schema.columns
             WHERE table_schema = current_schema() AND data_type = 'bytea' AND column_name LIKE 'sealed%'",
        )
        .await;
    let (code, told) = reseal_by_command(&bed);
    assert_eq!(code, Some(0), "{told}");
    let columns: Vec<&str> = columns.split(' ').collect();
    for column in &columns {
        assert!(
            told.contains(&format!("{column}: 0 sealed anew")),
            "{column}: {told}"
        );
    }
    // And the ends of chains.
    assert_eq!(
        told.matches(" sealed anew, ").count(),
        columns.len() + 1,
        "{told}"
    );
}
