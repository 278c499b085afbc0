//! What may be set, and how it is kept.

use std::io::Write;

use futures::future::join_all;
use latchkey_shared::auth::Auth;
use latchkey_testing::{Answer as Scripted, RealProcess, Receiver, TestBed};
use serde_json::json;

use super::{
    ADA, GRACE, OTHER, OTHERS_HASH, acme, acme_with, change, count, forgot, reconfigured, reset, sign_in,
    verify, weak,
};
use crate::support::{Api, PASSWORD, text};

#[tokio::test]
async fn s07_a_password_is_refused_by_its_rule_and_accepted_by_its_length_alone() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let register = |password: &str| {
        let body = json!({ "email": "grace.hopper@example.com", "password": password });
        api.post("acme", "/v1/auth/register", body)
    };
    for (password, code) in [
        ("sevench", "too_short"),
        (&*"x".repeat(257), "too_long"),
        ("Grace.Hopper@Example.com", "is_address"),
        ("grace.hopper", "is_address"),
        ("acme corporation", "is_tenant_name"),
        ("Password1", "too_common"),
        ("QWERTYUIOP", "too_common"),
    ] {
        weak(register(password).await, "/password", code);
    }
    for password in [
        "lower case",
        "\u{1f511}\u{1f511}\u{1f511}\u{1f511}\u{1f511}\u{1f511}\u{1f511}\u{1f511}",
        "73950183",
    ] {
        register(password).await.expect(202);
    }
    // All of 256 characters count.
    let longest = "\u{fc}".repeat(256);
    let body = json!({ "email": GRACE, "password": longest });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    verify(&api, &api.mailed_token(GRACE).await).await.expect(200);
    sign_in(&api, GRACE, &longest).await.expect(200);
    let cut = "\u{fc}".repeat(255);
    sign_in(&api, GRACE, &cut)
        .await
        .refused(401, "invalid_credentials");
}

#[tokio::test]
async fn s07_each_way_to_a_password_has_the_tenants_rules() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme_with(&api, r#"{"passwords": {"min_length": 14}}"#).await;
    api.user("acme", ADA).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    let thirteen = "thirteen char";
    let body = json!({ "email": GRACE, "password": thirteen });
    let registered = api.post("acme", "/v1/auth/register", body).await;
    weak(registered, "/password", "too_short");
    weak(
        change(&api, &token, PASSWORD, thirteen).await,
        "/new_password",
        "too_short",
    );
    let mailed = forgot(&api, ADA).await;
    weak(reset(&api, &mailed, thirteen).await, "/new_password", "too_short");
    // None of that has used up the token.
    reset(&api, &mailed, "fourteen chars").await.expect(204);
}

#[tokio::test]
async fn s07_a_leaked_password_is_found_in_the_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(
        file,
        "{}:5\r\n{OTHERS_HASH}:1\r\n{}:2\r",
        "0".repeat(40),
        "F".repeat(40)
    )
    .unwrap();
    let bed = TestBed::with(&[("passwords.breach_file", file.path().to_str().unwrap())]).await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    weak(
        change(&api, &token, PASSWORD, OTHER).await,
        "/new_password",
        "breached",
    );
    change(&api, &token, PASSWORD, "another cup at five")
        .await
        .expect(204);

    writeln!(file, "{}:2", "0".repeat(40)).unwrap();
    let refused = Auth::start(bed.another_process().await, None)
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("is not sorted by hash"), "{refused}");
}

#[tokio::test]
async fn s07_a_leaked_password_is_found_by_the_service_which_learns_five_digits() {
    let service = Receiver::start().await;
    let bed = TestBed::with(&[("passwords.breach_range_url", &service.url("/range/"))]).await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    // Registration asked too, and heard nothing: an answer without a line.
    service.next().await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    let (prefix, suffix) = OTHERS_HASH.split_at(5);
    let lines = format!("{}:7\r\n{suffix}:3\r\n", "0".repeat(35));
    service.answer([Scripted::Status(200, vec![], lines.into_bytes())]);
    weak(
        change(&api, &token, PASSWORD, OTHER).await,
        "/new_password",
        "breached",
    );
    let asked = service.next().await;
    assert_eq!(
        (asked.path.as_str(), asked.header("add-padding")),
        (&*format!("/range/{prefix}"), "true")
    );
    assert!(asked.body.is_empty());

    // Whatever keeps it from answering, the password passes.
    let padding = Scripted::Status(200, vec![], format!("{suffix}:0").into_bytes());
    service.answer([
        Scripted::status(500),
        Scripted::Silence,
        Scripted::Endless,
        padding,
    ]);
    let mut current = PASSWORD.to_owned();
    for number in 0..4 {
        let new = format!("{OTHER} and {number}");
        change(&api, &token, &current, &new).await.expect(204);
        current = new;
    }
    service.stop().await;
    change(&api, &token, &current, OTHER).await.expect(204);
}

#[tokio::test]
async fn s07_a_service_that_does_not_answer_is_counted() {
    let bed = TestBed::with(&[("passwords.breach_range_url", "http://127.0.0.1:9/range")]).await;
    let helper = Api::start(&bed).await;
    acme(&helper).await;
    let api = RealProcess::api(&bed).await;
    let token = text(&helper.login("acme", ADA).await, "access_token");
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    let path = format!("{}/v1/auth/password/change", api.base_url);
    let changed = helper.client.post(path).bearer_auth(&token).json(&body);
    Api::send(changed).await.expect(204);
    let metrics = Api::send(helper.client.get(&api.metrics_url)).await.text;
    let line = r#"latchkey_breach_checks_total{collection="range",outcome="unavailable"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn the_present_password_and_those_the_tenant_remembers_are_refused() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme_with(&api, r#"{"passwords": {"history": 2}}"#).await;
    api.user("acme", ADA).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    let passwords = [
        PASSWORD,
        "the second password",
        "the third password",
        "the fourth password",
    ];
    for pair in passwords.windows(2) {
        weak(
            change(&api, &token, pair[0], pair[0]).await,
            "/new_password",
            "used_before",
        );
        change(&api, &token, pair[0], pair[1]).await.expect(204);
    }
    // Two are remembered besides the present one; the first is forgotten, its hash as well.
    for remembered in &passwords[1..] {
        weak(
            change(&api, &token, passwords[3], remembered).await,
            "/new_password",
            "used_before",
        );
    }
    assert_eq!(count(&api, "former_passwords").await, 2);
    let mailed = forgot(&api, ADA).await;
    weak(
        reset(&api, &mailed, passwords[2]).await,
        "/new_password",
        "used_before",
    );
    reset(&api, &mailed, PASSWORD).await.expect(204);
    assert_eq!(count(&api, "former_passwords").await, 2);
}

#[tokio::test]
async fn s08_a_sign_in_rehashes_when_the_cost_rises_and_when_peppers_change() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let like = |pattern: &str| format!("users WHERE email = '{ADA}' AND password_hash LIKE '{pattern}'");
    assert_eq!(count(&api, &like("$argon2id$v=19$m=64,t=1,p=1$%")).await, 1);

    let (one, two) = (
        "p1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "p2:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=",
    );
    let both = format!("{two},{one}");
    // The base64 of p1 is cDE, that of p2 cDI.
    for (memory_kib, peppers, pattern) in [
        ("128", None, "%$m=128,t=1,p=1$%"),
        ("64", None, "%$m=128,t=1,p=1$%"),
        ("128", Some(one), "%$m=128,t=1,p=1,keyid=cDE$%"),
        ("128", Some(&*both), "%$m=128,t=1,p=1,keyid=cDI$%"),
    ] {
        let mut changes = vec![("passwords.memory_kib", memory_kib)];
        changes.extend(peppers.map(|peppers| ("passwords.peppers", peppers)));
        let now = Api::serve(reconfigured(&bed, &changes).await).await;
        sign_in(&now, ADA, "not the password")
            .await
            .refused(401, "invalid_credentials");
        // Many at once: none of them takes another's rehash for a change of the password.
        let signed_in = join_all((0..20).map(|_| sign_in(&now, ADA, PASSWORD))).await;
        for answer in signed_in {
            answer.expect(200);
        }
        assert_eq!(count(&api, &like(pattern)).await, 1, "{memory_kib} {peppers:?}");
    }
    // Without its pepper a hash is worth nothing, and that is not told.
    sign_in(&api, ADA, PASSWORD)
        .await
        .refused(401, "invalid_credentials");
}
