//! Signatures: what other libraries make of them, and which secrets sign.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use futures::future::join_all;
use latchkey_shared::{
    id::EndpointId,
    principal::Origin,
    retention,
    webhook::{self, EndpointPatch},
};
use latchkey_testing::{Received, Receiver};
use serde_json::json;

use crate::world::World;

async fn rotate(world: &World, id: EndpointId, overlap: u64) -> String {
    let overlap = Duration::from_secs(overlap);
    let secret = webhook::rotate_secret(world.context(), &world.proof(), &Origin::default(), id, overlap)
        .await
        .unwrap();
    secret.expose().clone()
}

fn verifies(secret: &str, got: &Received) -> bool {
    let verifier = standardwebhooks::Webhook::new(secret).unwrap();
    verifier.verify(&got.body, &got.headers).is_ok()
}

#[tokio::test]
async fn s33_during_an_overlap_both_secrets_verify_and_afterwards_the_newest_alone() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let created = world.endpoint(&receiver.url("/")).await;
    let (id, old) = (created.endpoint.id, created.secret.expose().clone());
    let worker = world.worker().await;
    let new = rotate(&world, id, 60).await;
    world.publish("order.placed", json!({})).await;
    let during = receiver.next().await;
    assert!(verifies(&old, &during) && verifies(&new, &during));
    let signatures: Vec<&str> = during.header("webhook-signature").split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert!(signatures.iter().all(|signature| signature.starts_with("v1,")));

    world.advance(61);
    world.publish("order.placed", json!({})).await;
    let after = receiver.next().await;
    assert!(!verifies(&old, &after) && verifies(&new, &after));
    assert!(!after.header("webhook-signature").contains(' '));
    // Without an overlap the newest alone signs at once, whatever was left of earlier ones.
    rotate(&world, id, 60).await;
    let only = rotate(&world, id, 0).await;
    world.publish("order.placed", json!({})).await;
    let last = receiver.next().await;
    assert!(!verifies(&new, &last) && verifies(&only, &last));
    assert!(!last.header("webhook-signature").contains(' '));
    worker.stop().await;
}

/// As a receiver does that has the public key and no library of ours (RFC 8032).
fn verifies_asymmetrically(public_key: &str, got: &Received) -> bool {
    let decode = |text: &str| STANDARD.decode(text).unwrap();
    let key = decode(public_key.strip_prefix("whpk_").unwrap());
    let key = VerifyingKey::from_bytes(&key.try_into().unwrap()).unwrap();
    let (id, timestamp) = (got.header("webhook-id"), got.header("webhook-timestamp"));
    let signed = [format!("{id}.{timestamp}.").as_bytes(), &got.body].concat();
    let mut signatures = got
        .header("webhook-signature")
        .split(' ')
        .filter_map(|one| one.strip_prefix("v1a,"));
    signatures.any(|signature| {
        let signature = Signature::from_slice(&decode(signature)).unwrap();
        key.verify_strict(&signed, &signature).is_ok()
    })
}

#[tokio::test]
async fn s33_an_asymmetric_signature_is_verified_by_the_public_key_and_both_keys_of_an_overlap() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let created = world.endpoint(&receiver.url("/")).await;
    let id = created.endpoint.id;
    assert_eq!(created.endpoint.public_key, None);
    let turn = async |on| {
        let patch = EndpointPatch {
            asymmetric: Some(on),
            ..EndpointPatch::default()
        };
        webhook::update_endpoint(world.context(), &world.proof(), &Origin::default(), id, patch)
            .await
            .unwrap()
            .public_key
    };
    let old = turn(true).await.unwrap();
    assert_eq!(
        turn(true).await.as_ref(),
        Some(&old),
        "asked twice, it is the same"
    );
    let worker = world.worker().await;
    let secret = rotate(&world, id, 60).await;
    let endpoint = webhook::get_endpoint(world.context(), &world.proof(), id)
        .await
        .unwrap();
    let new = endpoint.public_key.unwrap();
    assert_ne!(old, new);
    let publish = async || {
        world.publish("order.placed", json!({})).await;
        receiver.next().await
    };
    let during = publish().await;
    assert!(verifies_asymmetrically(&old, &during) && verifies_asymmetrically(&new, &during));
    // Who knows nothing of it is not disturbed.
    assert!(verifies(created.secret.expose(), &during) && verifies(&secret, &during));
    let forged = Received {
        body: b"{}".to_vec(),
        ..during
    };
    assert!(!verifies_asymmetrically(&new, &forged));

    world.advance(61);
    let after = publish().await;
    assert!(!verifies_asymmetrically(&old, &after) && verifies_asymmetrically(&new, &after));
    assert_eq!(turn(false).await, None);
    let without = publish().await;
    assert!(!without.header("webhook-signature").contains("v1a") && verifies(&secret, &without));
    worker.stop().await;
}

#[tokio::test]
async fn s36_a_secret_that_has_ended_is_wiped() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let created = world.endpoint(&receiver.url("/")).await;
    let former = "SELECT count(*) FROM webhook_former_secrets";
    let secret = rotate(&world, created.endpoint.id, 60).await;
    for text in [created.secret.expose(), &secret] {
        let plain = text.strip_prefix("whsec_").unwrap();
        let found = format!(
            "SELECT count(*) FROM webhook_former_secrets t
             WHERE t::text LIKE '%' || encode(decode('{plain}', 'base64'), 'hex') || '%'"
        );
        assert_eq!(world.count(&found).await, 0);
    }
    retention::delete_expired(world.context(), 100).await.unwrap();
    assert_eq!(world.count(former).await, 1);
    world.advance(60);
    retention::delete_expired(world.context(), 100).await.unwrap();
    assert_eq!(world.count(former).await, 0);
    rotate(&world, created.endpoint.id, 60).await;
    let id = created.endpoint.id;
    webhook::delete_endpoint(world.context(), &world.proof(), &Origin::default(), id)
        .await
        .unwrap();
    assert_eq!(world.count(former).await, 0);
}

#[tokio::test]
async fn a_hundred_rotations_at_once_leave_five_secrets_and_the_newest_signs() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let id = world.endpoint(&receiver.url("/")).await.endpoint.id;
    let secrets = join_all((0..100).map(|_| rotate(&world, id, 60))).await;
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    let got = receiver.next().await;
    let signatures = got.header("webhook-signature").split(' ').count();
    assert_eq!(signatures, webhook::MAX_SECRETS as usize);
    let verifying = secrets.iter().filter(|secret| verifies(secret, &got)).count();
    assert_eq!(verifying, signatures, "each is one that somebody was shown");
    let audited = "SELECT count(*) FROM audit_events WHERE action = 'webhook_endpoint.rotate_secret'";
    assert_eq!(world.count(audited).await, 100);
    worker.stop().await;
}

const PYTHON: &str = r#"
import json, sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
given = json.load(sys.stdin)
for secret in given["secrets"]:
    Webhook(secret).verify(given["body"], given["headers"])
for secret, body in [(given["other"], given["body"]), (given["secrets"][0], given["body"] + " ")]:
    try:
        Webhook(secret).verify(body, given["headers"])
    except WebhookVerificationError:
        continue
    sys.exit("a forgery was taken")
print("verified")
"#;

const NODE: &str = r#"
const { Webhook } = require(process.env.STANDARDWEBHOOKS);
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
for (const secret of given.secrets) new Webhook(secret).verify(given.body, given.headers);
for (const [secret, body] of [[given.other, given.body], [given.secrets[0], given.body + " "]]) {
  let taken = true;
  try { new Webhook(secret).verify(body, given.headers); } catch { taken = false; }
  if (taken) throw new Error("a forgery was taken");
}
console.log("verified");
"#;

fn run(mut command: Command, script: &str, input: &str) {
    let mut child = command
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "verified",
        "{errors}"
    );
}

#[tokio::test]
async fn s33_other_libraries_verify_both_secrets_of_an_overlap() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let created = world.endpoint(&receiver.url("/")).await;
    let other = world.endpoint_for(&receiver.url("/"), &["no.such"]).await;
    let new = rotate(&world, created.endpoint.id, 60).await;
    let worker = world.worker().await;
    world.publish("order.placed", json!({"who": "Ünal"})).await;
    let got = receiver.next().await;
    worker.stop().await;
    let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: serde_json::Map<_, _> = headers
        .map(|name| (name.to_owned(), json!(got.header(name))))
        .into_iter()
        .collect();
    let input = json!({
        "secrets": [created.secret.expose(), new], "other": other.secret.expose(),
        "headers": headers, "body": String::from_utf8(got.body).unwrap(),
    });

    let python = std::env::var("LATCHKEY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command.arg("-c");
    run(command, PYTHON, &input.to_string());
    let Ok(directory) = std::env::var("LATCHKEY_TEST_STANDARDWEBHOOKS") else {
        println!(
            "NOT PROVEN: JavaScript. LATCHKEY_TEST_STANDARDWEBHOOKS names no directory that has the library; \
             `./dev prove` sets it"
        );
        return;
    };
    let mut command = Command::new("node");
    let module = Path::new(&directory).join("node_modules/standardwebhooks");
    command.env("STANDARDWEBHOOKS", module).arg("-e");
    run(command, NODE, &input.to_string());
}
