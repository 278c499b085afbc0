//! A change of the password: what it ends, and what races it.

use futures::future::{join, join_all};
use latchkey_testing::TestBed;
use serde_json::{Value, json};

use super::{
    ADA, GRACE, OTHER, acme, ask_for_address, change, count, forgot, last_subject, reset, sign_in, submit,
    verify,
};
use crate::support::{Answer, Api, PASSWORD, text};

#[tokio::test]
async fn a_change_of_password_ends_all_that_came_of_the_old_one_but_the_session_it_was_made_in() {
    let bed = TestBed::new().await;
    let (api, another) = (Api::start(&bed).await, Api::start_another(&bed).await);
    acme(&api).await;
    let (mine, other) = (api.login("acme", ADA).await, api.login("acme", ADA).await);
    let (my_token, others_token) = (text(&mine, "access_token"), text(&other, "access_token"));
    another.get_as(&others_token, "/v1/auth/me").await.expect(200);
    let mailed = forgot(&api, ADA).await;
    ask_for_address(&api, &my_token, GRACE).await.expect(202);
    let address = api.mailed_token(GRACE).await;
    api.execute(
        "UPDATE devices SET trusted_until = now() + interval '1 day';
         INSERT INTO mfa_challenges (hash, tenant_id, user_id, created_at, expires_at)
         SELECT 'x', tenant_id, id, now(), now() + interval '5 minutes' FROM users WHERE email = 'ada@example.com'",
    )
    .await;

    change(&api, &my_token, PASSWORD, OTHER).await.expect(204);

    api.get_as(&others_token, "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    api.refresh(&text(&other, "refresh_token"))
        .await
        .refused(401, "invalid_refresh_token");
    let me = api.get_as(&my_token, "/v1/auth/me").await.expect(200);
    assert_eq!(me["user"]["pending_email"], Value::Null);
    api.refresh(&text(&mine, "refresh_token")).await.expect(200);
    reset(&api, &mailed, "yet another password")
        .await
        .refused(400, "invalid_token");
    verify(&api, &address).await.refused(400, "invalid_token");
    assert_eq!(count(&api, "mfa_challenges").await, 0);
    let trusted = "devices d JOIN users u ON u.id = d.user_id WHERE u.email = 'ada@example.com' AND trusted_until IS NOT NULL";
    assert_eq!(count(&api, trusted).await, 0);
    sign_in(&api, ADA, PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    sign_in(&api, ADA, OTHER).await.expect(200);

    assert_eq!(last_subject(&api, ADA).await, "Your password was changed");
    for told in [
        "events WHERE type = 'password.changed'",
        "audit_events WHERE action = 'user.change_password' AND outcome = 'success'",
        "sessions WHERE revoke_reason = 'password_changed'",
    ] {
        assert_eq!(count(&api, told).await, 1, "{told}");
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(1);
    while another.get_as(&others_token, "/v1/auth/me").await.status == 200 {
        assert!(
            std::time::Instant::now() < deadline,
            "another process still takes the token"
        );
    }
}

#[tokio::test]
async fn without_the_present_password_nothing_changes() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    change(&api, &token, "not the password", OTHER)
        .await
        .refused(401, "invalid_credentials");
    let body = json!({ "new_email": GRACE, "password": "not the password" });
    let refused = api.post_as(&token, "/v1/auth/email/change", body).await;
    refused.refused(401, "invalid_credentials");
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    submit(&api, "/v1/auth/password/change", body)
        .await
        .refused(401, "unauthenticated");
    api.login("acme", ADA).await;
    assert!(api.mails(GRACE).await.is_empty());
}

#[tokio::test]
async fn s20_of_100_parallel_changes_one_succeeds() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    let new: Vec<String> = (0..100).map(|number| format!("{OTHER} and {number}")).collect();
    let answers = join_all(new.iter().map(|new| change(&api, &token, PASSWORD, new))).await;
    let mut set = Vec::new();
    for (answer, new) in answers.into_iter().zip(&new) {
        if answer.status == 204 {
            set.push(new);
        } else {
            answer.refused(401, "invalid_credentials");
        }
    }
    assert_eq!(set.len(), 1);
    sign_in(&api, ADA, set[0]).await.expect(200);
}

#[tokio::test]
async fn s20_of_refreshes_and_sign_ins_that_race_a_change_nothing_is_left() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let mut current = PASSWORD.to_owned();
    for round in 0..3 {
        // Sign-ins that came after the change have failed, and may have locked the account.
        api.execute("DELETE FROM lockouts").await;
        let mine = sign_in(&api, ADA, &current).await.expect(200);
        let mut others = Vec::new();
        for _ in 0..20 {
            others.push(sign_in(&api, ADA, &current).await.expect(200));
        }
        let new = format!("{OTHER} in round {round}");
        let mut racing: Vec<futures::future::BoxFuture<'_, Answer>> = Vec::new();
        for other in &others {
            for _ in 0..4 {
                racing.push(Box::pin(async {
                    api.refresh(&text(other, "refresh_token")).await
                }));
            }
            racing.push(Box::pin(sign_in(&api, ADA, &current)));
        }
        let token = text(&mine, "access_token");
        let (changed, raced) = join(change(&api, &token, &current, &new), join_all(racing)).await;
        changed.expect(204);
        for answer in raced {
            assert!(answer.status == 200 || answer.status == 401, "{answer:?}");
            if answer.status == 200 {
                others.push(answer.json());
            }
        }
        for other in &others {
            let (access, refresh) = (text(other, "access_token"), text(other, "refresh_token"));
            api.get_as(&access, "/v1/auth/me")
                .await
                .refused(401, "unauthenticated");
            api.refresh(&refresh).await.refused(401, "invalid_refresh_token");
        }
        api.get_as(&token, "/v1/auth/me").await.expect(200);
        let live = "sessions s JOIN users u ON u.id = s.user_id WHERE u.email = 'ada@example.com' AND revoked_at IS NULL";
        assert_eq!(count(&api, live).await, 1);
        api.post_as(&token, "/v1/auth/logout", json!({}))
            .await
            .expect(204);
        current = new;
    }
}
