//! Refresh tokens: one live child, whatever happens at once.

use std::collections::HashSet;

use chrono::TimeDelta;
use latchkey_shared::retention;
use latchkey_testing::TestBed;
use serde_json::json;

use crate::{
    sessions::refused_within_a_second,
    support::{ADMIN, Api, text},
};

#[tokio::test]
async fn s19_100_parallel_refreshes_have_one_live_child() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    api.admin().await;
    let login = api.login("platform", ADMIN).await;
    let token = text(&login, "refresh_token");

    let answers = futures::future::join_all((0..100).map(|_| api.refresh(&token))).await;
    let children: HashSet<String> = answers
        .into_iter()
        .map(|answer| text(&answer.expect(200), "refresh_token"))
        .collect();
    assert_eq!(children.len(), 1, "every caller got the same successor");
    let session = text(&login, "session_id");
    let live =
        format!("SELECT count(*) FROM refresh_tokens WHERE session_id = '{session}' AND used_at IS NULL");
    assert_eq!(api.scalar(&live).await, 1);
}

#[tokio::test]
async fn s19_a_replay_after_the_grace_window_ends_the_family_on_every_process() {
    let bed = TestBed::new().await;
    let (api, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    api.admin().await;
    let login = api.login("platform", ADMIN).await;
    let parent = text(&login, "refresh_token");
    let child = api.refresh(&parent).await.expect(200);
    let replayed = api.refresh(&parent).await.expect(200);
    assert_eq!(child["refresh_token"], replayed["refresh_token"]);
    for token in [&login, &child] {
        second
            .get_as(&text(token, "access_token"), "/v1/auth/me")
            .await
            .expect(200);
    }

    bed.clock.advance(TimeDelta::seconds(11));
    let replays = futures::future::join_all((0..20).map(|_| api.refresh(&parent))).await;
    for replay in replays {
        replay.refused(401, "invalid_refresh_token");
    }
    api.refresh(&text(&child, "refresh_token"))
        .await
        .refused(401, "invalid_refresh_token");
    for token in [&login, &child] {
        let access = text(token, "access_token");
        refused_within_a_second(&second, &access).await;
        api.get_as(&access, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
    }
    second
        .refresh(&text(&child, "refresh_token"))
        .await
        .refused(401, "invalid_refresh_token");
    let ended = "SELECT count(*) FROM sessions WHERE revoke_reason = 'refresh_token_reuse'";
    assert_eq!(api.scalar(ended).await, 1);
}

/// A tenant may have sessions end after minutes, and a used token's row goes when it could not be used any more.
#[tokio::test]
async fn s19_a_replay_ends_the_family_however_late_it_comes() {
    let bed = TestBed::with(&[("tokens.refresh_ttl", "600")]).await;
    let api = Api::start(&bed).await;
    api.admin().await;
    let login = api.login("platform", ADMIN).await;
    let stolen = text(&login, "refresh_token");
    let rows = format!(
        "SELECT count(*) FROM refresh_tokens WHERE session_id = '{}'",
        text(&login, "session_id")
    );
    let mut thief = login;
    for _ in 0..4 {
        thief = api.refresh(&text(&thief, "refresh_token")).await.expect(200);
        bed.clock.advance(TimeDelta::seconds(400));
    }
    retention::delete_expired(&api.context, 1000).await.unwrap();
    assert_eq!(
        api.scalar(&rows).await,
        1,
        "those that could not be used any more are gone"
    );
    // Who has not had it cannot end the session with what it looks like.
    let at = stolen.len() - 10;
    let changed = if stolen.as_bytes()[at] == b'A' { "B" } else { "A" };
    let forged = format!("{}{changed}{}", &stolen[..at], &stolen[at + 1..]);
    api.refresh(&forged).await.refused(401, "invalid_refresh_token");
    thief = api.refresh(&text(&thief, "refresh_token")).await.expect(200);

    for _ in 0..2 {
        api.refresh(&stolen).await.refused(401, "invalid_refresh_token");
    }
    api.refresh(&text(&thief, "refresh_token"))
        .await
        .refused(401, "invalid_refresh_token");
    api.get_as(&text(&thief, "access_token"), "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    let ended = "SELECT count(*) FROM audit_events WHERE detail->>'reason' = 'refresh_token_reuse'";
    assert_eq!(api.scalar(ended).await, 1);
}

#[tokio::test]
async fn a_token_that_was_left_unused_for_too_long_is_no_replay() {
    let bed = TestBed::with(&[("tokens.refresh_ttl", "600")]).await;
    let api = Api::start(&bed).await;
    api.admin().await;
    let idle = text(&api.login("platform", ADMIN).await, "refresh_token");
    bed.clock.advance(TimeDelta::seconds(700));
    retention::delete_expired(&api.context, 1000).await.unwrap();
    api.refresh(&idle).await.refused(401, "invalid_refresh_token");
    assert_eq!(
        api.scalar("SELECT count(*) FROM sessions WHERE revoked_at IS NOT NULL")
            .await,
        0
    );
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_refreshed_and_at_its_absolute_end() {
    let bed = TestBed::with(&[("tokens.refresh_ttl", "3600"), ("tokens.session_ttl", "5400")]).await;
    let api = Api::start(&bed).await;
    api.admin().await;
    let idle = text(&api.login("platform", ADMIN).await, "refresh_token");
    let mut used = text(&api.login("platform", ADMIN).await, "refresh_token");
    bed.clock.advance(TimeDelta::seconds(3000));
    used = text(&api.refresh(&used).await.expect(200), "refresh_token");
    bed.clock.advance(TimeDelta::seconds(1200));
    api.refresh(&idle).await.refused(401, "invalid_refresh_token");
    let last = api.refresh(&used).await.expect(200);
    assert!(last["refresh_expires_in"].as_i64().unwrap() <= 1200, "{last}");
    bed.clock.advance(TimeDelta::seconds(1201));
    api.refresh(&text(&last, "refresh_token"))
        .await
        .refused(401, "invalid_refresh_token");
}

#[tokio::test]
async fn s20_a_refresh_that_races_a_logout_leaves_nothing_that_works() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    api.admin().await;
    for _ in 0..10 {
        let login = api.login("platform", ADMIN).await;
        let (access, refresh) = (text(&login, "access_token"), text(&login, "refresh_token"));
        let refreshes = futures::future::join_all((0..10).map(|_| api.refresh(&refresh)));
        let logout = api.post_as(&access, "/v1/auth/logout", json!({}));
        let (answers, logout) = tokio::join!(refreshes, logout);
        logout.expect(204);
        api.get_as(&access, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
        for answer in answers.iter().filter(|answer| answer.status == 200) {
            let child = answer.json();
            api.get_as(&text(&child, "access_token"), "/v1/auth/me")
                .await
                .refused(401, "unauthenticated");
            api.refresh(&text(&child, "refresh_token"))
                .await
                .refused(401, "invalid_refresh_token");
        }
    }
}

#[tokio::test]
async fn s20_a_disabled_user_refreshes_and_signs_in_no_more() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    api.admin().await;
    let login = api.login("platform", ADMIN).await;
    api.execute("UPDATE users SET status = 'disabled'").await;
    api.refresh(&text(&login, "refresh_token"))
        .await
        .refused(401, "invalid_refresh_token");
    let body = json!({ "email": ADMIN, "password": crate::support::PASSWORD });
    api.post("platform", "/v1/auth/login", body)
        .await
        .refused(401, "invalid_credentials");
}

#[tokio::test]
async fn s19_a_repeated_refresh_gives_no_more_than_the_session_has_left() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    api.user("acme", "ada@acme.test").await;
    let parent = text(&api.login("acme", "ada@acme.test").await, "refresh_token");
    bed.clock.advance(TimeDelta::seconds(300));
    let first = api.refresh(&parent).await.expect(200);
    bed.clock.advance(TimeDelta::seconds(5));
    let again = api.refresh(&parent).await.expect(200);
    let left = |answer: &serde_json::Value| answer["refresh_expires_in"].as_i64().unwrap();
    // Of whole seconds.
    assert!((5..=6).contains(&(left(&first) - left(&again))), "{again}");
    let owner = text(&api.login("acme", "owner@acme.test").await, "access_token");
    let last = async |seconds: u32| {
        let body = json!({ "sessions": { "absolute_seconds": seconds } });
        let patch = api.request(reqwest::Method::PATCH, "/v1/tenant/settings");
        let patch = patch.bearer_auth(&owner).header("if-match", "*");
        Api::send(patch.json(&body)).await
    };
    last(310).await.expect(200);
    let again = api.refresh(&parent).await.expect(200);
    assert!(left(&again) <= 5, "{again}");
    // The session has lasted for longer than the tenant lets one last by now.
    last(60).await.expect(200);
    api.refresh(&parent).await.refused(401, "invalid_refresh_token");
    api.refresh(&text(&first, "refresh_token"))
        .await
        .refused(401, "invalid_refresh_token");
}
