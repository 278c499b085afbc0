//! What a tenant's services are told of a key.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use super::{World, path};
use crate::{
    service_accounts::delete_as,
    support::{Api, text},
};

#[tokio::test]
async fn each_reason_has_its_code() {
    let world = World::new().await;
    let (key, shown) = world
        .key_with(&["users:read"], json!({ "metadata": { "plan": "pro" } }))
        .await;
    let verified = world
        .verify(json!({ "key": key, "permissions": ["users:read"] }))
        .await;
    assert_eq!(
        verified,
        json!({ "valid": true, "code": "valid", "key_id": shown["id"], "owner": shown["owner"],
                "environment": "live", "scopes": ["users:read"], "expires_at": null,
                "metadata": { "plan": "pro" } })
    );
    let lacking = world
        .verify(json!({ "key": key, "permissions": ["users:read", "users:write"] }))
        .await;
    assert_eq!(
        (&lacking["valid"], &lacking["code"]),
        (&json!(false), &json!("insufficient_permissions"))
    );
    let unknown = world.verify(json!({ "key": "lk_live_nonsense" })).await;
    assert_eq!(
        unknown,
        json!({ "valid": false, "code": "not_found", "key_id": null, "owner": null, "environment": null,
                "scopes": [], "expires_at": null, "metadata": null })
    );

    let (held, _) = world
        .key_with(
            &[],
            json!({ "allowed_cidrs": ["203.0.113.0/24", "2001:db8::/32"] }),
        )
        .await;
    for (address, code) in [
        (json!("203.0.113.9"), "valid"),
        (json!("::ffff:203.0.113.9"), "valid"),
        (json!("2001:db8::1"), "valid"),
        (json!("203.0.114.9"), "ip_denied"),
        (json!(null), "ip_denied"),
    ] {
        let asked = json!({ "key": held, "client_ip": address });
        assert_eq!(world.verify(asked).await["code"], code, "{address}");
    }
    world
        .api
        .post_as(
            &world.owner,
            "/v1/api-keys/verify",
            json!({ "key": held, "client_ip": "here" }),
        )
        .await
        .refused(422, "validation_failed");

    delete_as(&world.api, &world.owner, &path(&shown))
        .await
        .expect(204);
    assert_eq!(world.code(&key).await, "revoked");
    let soon = world.bed.context.clock.now() + TimeDelta::minutes(5);
    let (short, _) = world.key_with(&[], json!({ "expires_at": soon })).await;
    assert_eq!(world.code(&short).await, "valid");
    // From memory, too, it ends in time.
    world.bed.clock.advance(chrono::TimeDelta::minutes(5));
    assert_eq!(world.code(&short).await, "expired");
    world
        .api
        .get_as(&short, "/v1/api-keys/self")
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn s28_what_is_wrong_with_a_key_is_not_told_to_who_brings_it() {
    let world = World::new().await;
    let soon = world.bed.context.clock.now() + TimeDelta::minutes(5);
    let (expired, _) = world
        .key_with(&["users:read"], json!({ "expires_at": soon }))
        .await;
    let (revoked, shown) = world.key(&["users:read"]).await;
    let (elsewhere, _) = world
        .key_with(&["users:read"], json!({ "allowed_cidrs": ["203.0.113.0/24"] }))
        .await;
    delete_as(&world.api, &world.owner, &path(&shown))
        .await
        .expect(204);
    world.bed.clock.advance(chrono::TimeDelta::minutes(5));
    let mut unknown = expired.clone();
    unknown.replace_range(10..11, if &expired[10..11] == "a" { "b" } else { "a" });
    let mut told = Vec::new();
    for key in [&expired, &revoked, &elsewhere, &unknown] {
        let answer = world.api.get_as(key, "/v1/webhooks/endpoints").await;
        let challenge = answer.headers["www-authenticate"].clone();
        let mut body = answer.refused(401, "unauthenticated");
        body.as_object_mut().unwrap().remove("request_id");
        told.push((challenge, body));
    }
    assert!(told.windows(2).all(|two| two[0] == two[1]), "{told:?}");
}

#[tokio::test]
async fn s29_a_keys_addresses_are_those_that_configured_proxies_report() {
    let settings = [("server.trusted_proxies", "127.0.0.1/32")];
    let (open, behind) = (World::new().await, World::with(&settings).await);
    for (world, forwarded, is_good) in [
        (&open, "203.0.113.9", false),
        (&behind, "203.0.113.9", true),
        (&behind, "198.51.100.1", false),
        // Who stands left of the nearest stranger may say what they like.
        (&behind, "203.0.113.9, 198.51.100.1", false),
    ] {
        let more = json!({ "allowed_cidrs": ["203.0.113.0/24"] });
        let (key, _) = world.key_with(&[], more).await;
        let request = world
            .api
            .request(reqwest::Method::GET, "/v1/api-keys/self")
            .bearer_auth(&key)
            .header("x-forwarded-for", forwarded);
        let answer = Api::send(request).await;
        assert_eq!(answer.status.is_success(), is_good, "{forwarded}: {answer:?}");
    }
}

#[tokio::test]
async fn uses_are_counted_by_the_hour_and_the_first_is_stamped_at_once() {
    let world = World::new().await;
    let api = &world.api;
    let (key, shown) = world.key(&[]).await;
    assert_eq!(shown["last_used_at"], json!(null));
    api.get_as(&key, "/v1/api-keys/self").await.expect(200);
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while api.get_as(&world.owner, &path(&shown)).await.expect(200)["last_used_at"].is_null() {
        assert!(
            std::time::Instant::now() < deadline,
            "the first use is not stamped"
        );
    }
    let usage = format!("{}/usage", path(&shown));
    let hours = api.get_as(&world.owner, &usage).await.expect(200);
    assert_eq!(
        (&hours["data"][0]["verified"], &hours["data"][0]["denied"]),
        (&json!(1), &json!(0))
    );
    for _ in 0..3 {
        let asked = json!({ "key": key, "permissions": ["users:read"] });
        assert_eq!(
            text(&world.verify(asked).await, "code"),
            "insufficient_permissions"
        );
    }
    world.bed.clock.advance(chrono::TimeDelta::hours(1));
    let owner = text(&api.login("acme", "owner@acme.test").await, "access_token");
    api.get_as(&key, "/v1/api-keys/self").await.expect(200);
    // Another key's first use takes along what waits.
    let other = api
        .post_as(&owner, "/v1/api-keys", super::request(&[], json!({})))
        .await
        .expect(201);
    api.get_as(&text(&other, "key"), "/v1/api-keys/self")
        .await
        .expect(200);
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    loop {
        let hours = api.get_as(&owner, &usage).await.expect(200);
        let counts: Vec<_> = hours["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hour| {
                (
                    hour["verified"].as_i64().unwrap(),
                    hour["denied"].as_i64().unwrap(),
                )
            })
            .collect();
        if counts == [(1, 0), (1, 3)] {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{hours}");
    }
    let too_long = format!("{usage}?since=2020-01-01T00:00:00Z");
    api.get_as(&owner, &too_long)
        .await
        .refused(400, "invalid_parameter");
}
