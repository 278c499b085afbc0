//! A change of the address.

use chrono::TimeDelta;
use futures::future::join_all;
use latchkey_testing::TestBed;
use serde_json::{Value, json};

use super::{
    ADA, GRACE, OTHER, acme, ask_for_address, count, forgot, last_subject, reset, sign_in, verify, weak,
};
use crate::support::{Api, PASSWORD, text};

#[tokio::test]
async fn an_address_changes_when_the_new_one_is_proven() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let (mine, other) = (api.login("acme", ADA).await, api.login("acme", ADA).await);
    let token = text(&mine, "access_token");
    let sent = ask_for_address(&api, &token, "Ada.L@Example.com")
        .await
        .expect(202);
    assert_eq!(sent, json!({ "status": "verification_sent" }));
    assert_eq!(
        last_subject(&api, ADA).await,
        "Your e-mail address is about to change"
    );
    let me = api.get_as(&token, "/v1/auth/me").await.expect(200);
    assert_eq!(
        (&me["user"]["email"], &me["user"]["pending_email"]),
        (&json!(ADA), &json!("Ada.L@example.com"))
    );
    sign_in(&api, "ada.l@example.com", PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    let reset_mail = forgot(&api, ADA).await;

    let verified = verify(&api, &api.mailed_token("Ada.L@example.com").await)
        .await
        .expect(200);
    assert_eq!(
        verified,
        json!({ "user_id": me["user"]["id"], "email": "Ada.L@example.com" })
    );
    assert_eq!(last_subject(&api, ADA).await, "Your e-mail address was changed");
    for session in [&mine, &other] {
        let me = api
            .get_as(&text(session, "access_token"), "/v1/auth/me")
            .await
            .expect(200);
        assert_eq!(
            (&me["user"]["email"], &me["user"]["pending_email"]),
            (&json!("Ada.L@example.com"), &Value::Null)
        );
    }
    sign_in(&api, ADA, PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    sign_in(&api, "ada.l@example.com", PASSWORD).await.expect(200);
    reset(&api, &reset_mail, OTHER)
        .await
        .refused(400, "invalid_token");
    assert_eq!(count(&api, "events WHERE type = 'user.updated'").await, 1);
    assert_eq!(
        count(&api, "audit_events WHERE action = 'user.change_email'").await,
        1
    );
}

#[tokio::test]
async fn s02_a_taken_address_shows_nowhere_but_in_its_own_mailbox() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    api.user("acme", GRACE).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    let mut seen = Vec::new();
    for new in ["free@example.com", GRACE] {
        let before = api.mails(ADA).await.len();
        let answer = ask_for_address(&api, &token, new).await;
        let me = api.get_as(&token, "/v1/auth/me").await.expect(200);
        assert_eq!(me["user"]["pending_email"], new);
        let notices: Vec<String> = api
            .mails(ADA)
            .await
            .split_off(before)
            .into_iter()
            .map(|mail| mail.text)
            .collect();
        seen.push((answer.status, answer.text, notices));
    }
    assert_eq!(seen[0], seen[1]);
    let mail = api.mails(GRACE).await.pop().unwrap();
    assert!(!mail.text.contains("token="), "{}", mail.text);
    // The earlier request is over, though the address it was for is free.
    verify(&api, &api.mailed_token("free@example.com").await)
        .await
        .refused(400, "invalid_token");
    let own = ask_for_address(&api, &token, "ADA@example.com").await;
    weak(own, "/new_email", "unchanged");
}

#[tokio::test]
async fn s09_of_100_parallel_proofs_of_a_new_address_one_succeeds() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    ask_for_address(&api, &token, GRACE).await.expect(202);
    let mailed = api.mailed_token(GRACE).await;
    let answers = join_all((0..100).map(|_| verify(&api, &mailed))).await;
    let (verified, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((verified.len(), refused.len()), (1, 99));
    for answer in refused {
        answer.refused(400, "invalid_token");
    }
    assert_eq!(count(&api, "events WHERE type = 'user.updated'").await, 1);
}

#[tokio::test]
async fn s09_a_token_for_an_address_expires_is_superseded_and_good_for_nothing_else() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    ask_for_address(&api, &token, "first@example.com")
        .await
        .expect(202);
    ask_for_address(&api, &token, "second@example.com")
        .await
        .expect(202);
    let (first, second) = (
        api.mailed_token("first@example.com").await,
        api.mailed_token("second@example.com").await,
    );
    verify(&api, &first).await.refused(400, "invalid_token");
    reset(&api, &second, OTHER).await.refused(400, "invalid_token");
    bed.clock.advance(TimeDelta::hours(25));
    verify(&api, &second).await.refused(400, "invalid_token");
    let me = api.login("acme", ADA).await;
    assert_eq!(me["user"]["email"], ADA);
}

#[tokio::test]
async fn of_two_who_ask_for_one_address_the_first_to_prove_it_has_it() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    api.user("acme", GRACE).await;
    let mut mailed = Vec::new();
    for email in [ADA, GRACE] {
        let token = text(&api.login("acme", email).await, "access_token");
        ask_for_address(&api, &token, "shared@example.com")
            .await
            .expect(202);
        mailed.push(api.mailed_token("shared@example.com").await);
    }
    let answers = join_all(mailed.iter().map(|token| verify(&api, token))).await;
    let (verified, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((verified.len(), refused.len()), (1, 1));
    for answer in refused {
        answer.refused(400, "invalid_token");
    }
    assert_eq!(count(&api, "users WHERE email = 'shared@example.com'").await, 1);
}
