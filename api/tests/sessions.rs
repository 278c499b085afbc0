//! One's sessions: seen, counted and ended.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{ADMIN, Answer, Api, PASSWORD, text};

async fn end(api: &Api, token: &str, id: &str) -> Answer {
    let path = format!("/v1/sessions/{id}");
    Api::send(api.request(Method::DELETE, &path).bearer_auth(token)).await
}

async fn listed(api: &Api, token: &str) -> Vec<Value> {
    let page = api.get_as(token, "/v1/sessions?limit=100").await.expect(200);
    page["data"].as_array().unwrap().clone()
}

/// Until a process that hears of it from another refuses the token: within a second.
pub(crate) async fn refused_within_a_second(api: &Api, token: &str) {
    let deadline = Instant::now() + Duration::from_secs(1);
    while api.get_as(token, "/v1/auth/me").await.status != 401 {
        assert!(Instant::now() < deadline, "an ended session still counts");
    }
}

/// An API over a platform tenant whose settings were changed before it was first looked at.
async fn with_settings(bed: &TestBed, settings: &str) -> Api {
    let api = Api::start(bed).await;
    api.admin().await;
    api.execute(&format!("UPDATE tenants SET settings = settings || '{settings}'"))
        .await;
    Api::start_another(bed).await
}

#[tokio::test]
async fn own_sessions_are_listed_newest_first_and_can_be_ended() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    api.admin().await;
    let body = json!({ "email": ADMIN, "password": PASSWORD, "device_label": "Ada's laptop" });
    let named = api.post("platform", "/v1/auth/login", body).await.expect(200);
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0";
    let login = api
        .request(Method::POST, "/v1/auth/login")
        .header("x-tenant-id", "platform")
        .header("user-agent", firefox)
        .json(&json!({ "email": ADMIN, "password": PASSWORD }));
    let current = Api::send(login).await.expect(200);
    let token = text(&current, "access_token");

    let sessions = listed(&api, &token).await;
    assert_eq!(sessions.len(), 3);
    let newest = &sessions[0];
    assert_eq!(newest["id"], current["session_id"]);
    assert_eq!(newest["current"], true);
    assert_eq!(newest["device_label"], "Firefox on Linux");
    assert_eq!(newest["user_agent"], firefox);
    assert_eq!(newest["address"], "127.0.0.1");
    assert_eq!(newest["methods"], json!(["pwd"]));
    assert_eq!(newest["created_at"], newest["last_seen_at"]);
    assert_eq!(sessions[1]["device_label"], "Ada's laptop");
    assert_eq!(sessions[1]["current"], false);

    let first = api.get_as(&token, "/v1/sessions?limit=2").await.expect(200);
    assert_eq!(first["has_more"], true);
    let next = format!("/v1/sessions?limit=2&cursor={}", text(&first, "next_cursor"));
    let second = api.get_as(&token, &next).await.expect(200);
    assert_eq!(second["data"].as_array().unwrap().len(), 1);
    assert_eq!(second["data"][0]["id"], sessions[2]["id"]);

    let id = text(&named, "session_id");
    end(&api, &token, &id).await.expect(204);
    api.get_as(&text(&named, "access_token"), "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    api.refresh(&text(&named, "refresh_token"))
        .await
        .refused(401, "invalid_refresh_token");
    end(&api, &token, &id).await.refused(404, "not_found");
    assert_eq!(listed(&api, &token).await.len(), 2);
    let told = format!(
        "SELECT count(*) FROM audit_events WHERE action = 'session.revoke' AND target_id = '{id}'
         AND detail->>'reason' = 'ended_by_user'"
    );
    assert_eq!(api.scalar(&told).await, 1);
}

#[tokio::test]
async fn s25_anothers_session_is_as_absent_as_one_that_never_was() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    api.user("acme", "ada@example.com").await;
    let ada = api.login("acme", "ada@example.com").await;
    for id in [text(&ada, "session_id"), Uuid::nil().to_string()] {
        for token in [&owner, &admin] {
            let refused = end(&api, token, &id).await.refused(404, "not_found");
            assert_eq!(refused["detail"], "You have no such session.");
        }
    }
    api.get_as(&text(&ada, "access_token"), "/v1/auth/me")
        .await
        .expect(200);
}

#[tokio::test]
async fn logging_out_everywhere_ends_every_session_with_its_row_event_and_signal() {
    let bed = TestBed::new().await;
    let (api, other) = (Api::start(&bed).await, Api::start_another(&bed).await);
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    api.user("acme", "ada@example.com").await;
    let logins = futures::future::join_all((0..10).map(|_| api.login("acme", "ada@example.com"))).await;
    let token = text(&logins[0], "access_token");
    api.post_as(&token, "/v1/auth/logout-all", json!({}))
        .await
        .expect(204);
    for login in &logins {
        for process in [&api, &other] {
            refused_within_a_second(process, &text(login, "access_token")).await;
        }
        api.refresh(&text(login, "refresh_token"))
            .await
            .refused(401, "invalid_refresh_token");
    }
    api.get_as(&owner, "/v1/auth/me").await.expect(200);
    for (rows, condition) in [
        ("audit_events", "action = 'session.revoke'"),
        ("events", "type = 'session.revoked'"),
        ("signals", "kind = 'session_revoked'"),
    ] {
        let count = format!("SELECT count(*) FROM {rows} WHERE {condition}");
        assert_eq!(api.scalar(&count).await, 10, "{rows}");
    }
}

#[tokio::test]
async fn beyond_the_limit_the_oldest_sessions_end_also_under_100_parallel_sign_ins() {
    let bed = TestBed::new().await;
    let api = with_settings(&bed, r#"{"sessions": {"max_per_user": 5}}"#).await;
    let logins = futures::future::join_all((0..100).map(|_| api.login("platform", ADMIN))).await;
    let mut live = 0;
    for login in &logins {
        let answer = api.get_as(&text(login, "access_token"), "/v1/auth/me").await;
        live += usize::from(answer.status == 200);
    }
    assert_eq!(live, 5);
    let rows = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL";
    assert_eq!(api.scalar(rows).await, 5);

    bed.clock.advance(TimeDelta::seconds(1));
    let newest = text(&api.login("platform", ADMIN).await, "access_token");
    assert_eq!(listed(&api, &newest).await.len(), 5);
    let ended = "SELECT count(*) FROM audit_events WHERE detail->>'reason' = 'too_many_sessions'";
    assert_eq!(
        api.scalar(ended).await,
        97,
        "one each for 101 and the first sign-in's"
    );
}

#[tokio::test]
async fn a_tenant_shortens_how_long_sessions_last() {
    let bed = TestBed::new().await;
    let api = with_settings(
        &bed,
        r#"{"sessions": {"idle_seconds": 600, "absolute_seconds": 1000}}"#,
    )
    .await;
    let login = api.login("platform", ADMIN).await;
    let (idle, idle_access) = (text(&login, "refresh_token"), text(&login, "access_token"));
    let used = api.login("platform", ADMIN).await;
    assert!(used["refresh_expires_in"].as_i64().unwrap() <= 600, "{used}");
    bed.clock.advance(TimeDelta::seconds(500));
    // A proof does not make it longer: the session is refreshed, or ends.
    let body = json!({ "password": PASSWORD });
    let proven = api
        .post_as(&idle_access, "/v1/auth/reauthenticate", body)
        .await
        .expect(200);
    assert!(proven["expires_in"].as_i64().unwrap() <= 100, "{proven}");
    let used = api.refresh(&text(&used, "refresh_token")).await.expect(200);
    assert!(used["refresh_expires_in"].as_i64().unwrap() <= 500, "{used}");
    assert!(used["expires_in"].as_i64().unwrap() <= 500, "{used}");
    bed.clock.advance(TimeDelta::seconds(200));
    api.refresh(&idle).await.refused(401, "invalid_refresh_token");
    for access in [&idle_access, &text(&proven, "access_token")] {
        api.get_as(access, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
    }
    bed.clock.advance(TimeDelta::seconds(301));
    api.refresh(&text(&used, "refresh_token"))
        .await
        .refused(401, "invalid_refresh_token");
}

#[tokio::test]
async fn when_a_session_was_seen_is_written_down_before_the_process_ends() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let token = api.admin().await;
    bed.clock.advance(TimeDelta::minutes(3));
    for _ in 0..10 {
        api.get_as(&token, "/v1/auth/me").await.expect(200);
    }
    let other = Api::start_another(&bed).await;
    drop(api);
    let seen = "SELECT count(*) FROM sessions WHERE last_seen_at > created_at + interval '2 minutes'";
    let deadline = Instant::now() + Duration::from_secs(5);
    while other.scalar(seen).await == 0 {
        assert!(Instant::now() < deadline, "it was not written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Nine wrong passwords: the password is locked for a minute.
async fn fail(api: &Api, device_token: Option<&str>) {
    let body = json!({ "email": ADMIN, "password": "not the password", "device_token": device_token });
    for _ in 0..9 {
        api.post("platform", "/v1/auth/login", body.clone())
            .await
            .refused(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn s03_a_lock_holds_on_refresh_for_the_device_that_failed_and_uses_no_token_up() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    api.admin().await;
    let login = api.login("platform", ADMIN).await;
    fail(&api, None).await;
    let refreshed = api.refresh(&text(&login, "refresh_token")).await;
    let refresh = text(&refreshed.expect(200), "refresh_token");

    fail(&api, login["device_token"].as_str()).await;
    let locked = api.refresh(&refresh).await;
    let garbage = api.refresh("lkr_garbage").await;
    let without_id = |answer: Answer| {
        let mut problem = answer.refused(401, "invalid_refresh_token");
        problem.as_object_mut().unwrap().remove("request_id");
        problem
    };
    assert_eq!(
        without_id(locked),
        without_id(garbage),
        "a lock looks like any refusal"
    );
    bed.clock.advance(TimeDelta::seconds(61));
    api.refresh(&refresh).await.expect(200);
}

#[tokio::test]
async fn s20_100_refreshes_that_race_any_end_of_the_session_leave_nothing_that_works() {
    let bed = TestBed::new().await;
    let (api, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    api.user("acme", "ada@example.com").await;
    for way in ["logout", "end", "logout_all", "disable"] {
        let login = api.login("acme", "ada@example.com").await;
        let (access, refresh) = (text(&login, "access_token"), text(&login, "refresh_token"));
        second.get_as(&access, "/v1/auth/me").await.expect(200);
        let processes = [&api, &second].into_iter().cycle().take(100);
        let refreshes = futures::future::join_all(processes.map(|process| process.refresh(&refresh)));
        let disable = format!("/v1/users/{}/disable", text(&login["user"], "id"));
        let ending = async {
            match way {
                "logout" => api.post_as(&access, "/v1/auth/logout", json!({})).await,
                "end" => end(&api, &access, &text(&login, "session_id")).await,
                "logout_all" => api.post_as(&access, "/v1/auth/logout-all", json!({})).await,
                _ => api.post_as(&owner, &disable, json!({})).await,
            }
        };
        let (answers, ended) = tokio::join!(refreshes, ending);
        ended.expect(204);
        let mut tokens = vec![refresh];
        let mut accesses = vec![access];
        for answer in &answers {
            if answer.status == 200 {
                let child = answer.json();
                tokens.push(text(&child, "refresh_token"));
                accesses.push(text(&child, "access_token"));
            } else {
                assert_eq!(answer.status, 401, "{way}: {answer:?}");
            }
        }
        tokens.dedup();
        for access in &accesses {
            api.get_as(access, "/v1/auth/me")
                .await
                .refused(401, "unauthenticated");
            refused_within_a_second(&second, access).await;
        }
        for token in &tokens {
            for process in [&api, &second] {
                process.refresh(token).await.refused(401, "invalid_refresh_token");
            }
        }
    }
}
