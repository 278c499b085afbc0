//! Nobody learns from an answer, or from its time, whether an address has an account.

use std::{sync::Arc, time::Instant};

use futures::future::BoxFuture;
use latchkey_shared::config::Config;
use latchkey_testing::{Prove, TestBed};
use serde_json::{Value, json};

use crate::support::{Answer, Api, PASSWORD, text};

/// Mean and variance of a sample, in milliseconds.
fn moments(sample: &[f64]) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "samples are small")]
    let n = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / n;
    let variance = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, variance)
}

/// Welch's t statistic: how many standard errors lie between two means.
fn welch_t(one: &[f64], other: &[f64]) -> f64 {
    let ((mean_1, variance_1), (mean_2, variance_2)) = (moments(one), moments(other));
    #[expect(clippy::cast_precision_loss, reason = "samples are small")]
    let error = (variance_1 / one.len() as f64 + variance_2 / other.len() as f64).sqrt();
    (mean_1 - mean_2) / error
}

#[tokio::test]
async fn s01_unknown_wrong_locked_and_disabled_answer_alike_in_bytes_and_in_time() {
    let samples = Prove::size(40, 1000);
    let settings = [("passwords.memory_kib", "19456"), ("passwords.iterations", "2")];
    let bed = TestBed::with(&settings).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    for address in ["ada@example.com", "bob@example.com", "eva@example.com"] {
        api.user("acme", address).await;
    }
    api.execute("UPDATE users SET status = 'disabled' WHERE email = 'bob@example.com'")
        .await;
    // As many as lock for the day: longer than the samples take.
    let wrong = json!({ "email": "eva@example.com", "password": "not the password" });
    for _ in 0..100 {
        api.post("acme", "/v1/auth/login", wrong.clone()).await;
    }

    let cases = [
        (
            "unknown",
            json!({ "email": "eve@example.com", "password": "not the password" }),
        ),
        (
            "wrong",
            json!({ "email": "ada@example.com", "password": "not the password" }),
        ),
        (
            "disabled",
            json!({ "email": "bob@example.com", "password": PASSWORD }),
        ),
        (
            "locked, right",
            json!({ "email": "eva@example.com", "password": PASSWORD }),
        ),
        ("locked, wrong", wrong),
    ];
    let mut times = [const { Vec::new() }; 5];
    let mut bodies: Vec<Value> = Vec::new();
    // In turn, so that whatever slows the machine slows them alike; the first round warms up.
    for round in 0..=samples {
        for (of, (_, body)) in cases.iter().enumerate() {
            let started = Instant::now();
            let answer = api.post("acme", "/v1/auth/login", body.clone()).await;
            let elapsed = started.elapsed().as_secs_f64() * 1000.0;
            let mut problem = answer.refused(401, "invalid_credentials");
            problem.as_object_mut().unwrap().remove("request_id");
            bodies.push(problem);
            if round > 0 {
                times[of].push(elapsed);
            }
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:#?}");
    let pairs = (0..cases.len()).flat_map(|one| (one + 1..cases.len()).map(move |other| (one, other)));
    for (one, other) in pairs {
        let t = welch_t(&times[one], &times[other]);
        let means = (moments(&times[one]).0, moments(&times[other]).0);
        println!(
            "{} {:.2} ms, {} {:.2} ms over {samples} samples each: t = {t:.2}",
            cases[one].0, means.0, cases[other].0, means.1
        );
        assert!(
            t.abs() < 4.0,
            "{} and {} can be told apart: t = {t:.2}",
            cases[one].0,
            cases[other].0
        );
    }
}

#[tokio::test]
async fn s02_registration_and_resend_answer_alike_for_known_and_unknown_addresses() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    api.user("acme", "verified@example.com").await;
    let register = |email: &str| {
        api.post(
            "acme",
            "/v1/auth/register",
            json!({ "email": email, "password": PASSWORD }),
        )
    };
    register("waiting@example.com").await.expect(202);

    let sent = json!({ "status": "verification_sent" });
    for email in ["verified@example.com", "waiting@example.com", "new@example.com"] {
        assert_eq!(register(email).await.expect(202), sent, "{email}");
    }
    for email in [
        "verified@example.com",
        "waiting@example.com",
        "nobody@example.com",
    ] {
        let resent = api
            .post("acme", "/v1/auth/email/verify/resend", json!({ "email": email }))
            .await;
        assert_eq!(resent.expect(202), sent, "{email}");
    }
    // Each owner hears by mail what the answer did not say.
    let mails = api.mails("verified@example.com").await;
    assert!(
        !mails.last().unwrap().text.contains("token="),
        "an account that is verified needs no token"
    );
    assert!(api.mailed_token("waiting@example.com").await.starts_with("lko_"));
    assert!(api.mails("nobody@example.com").await.is_empty());
}

/// Sends the cases in turn, so that whatever slows the machine slows them alike, and wants their answers to be equal and
/// their times to come from one distribution. The first round warms up.
async fn tell_apart<'a>(names: &[&str], samples: usize, ask: impl Fn(usize, usize) -> BoxFuture<'a, Answer>) {
    let mut times = vec![Vec::new(); names.len()];
    let mut answers = Vec::new();
    for round in 0..=samples {
        for (of, times) in times.iter_mut().enumerate() {
            let started = Instant::now();
            let answer = ask(of, round).await;
            let elapsed = started.elapsed().as_secs_f64() * 1000.0;
            answers.push((answer.status.as_u16(), answer.expect(202)));
            if round > 0 {
                times.push(elapsed);
            }
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    for one in 0..names.len() {
        for other in one + 1..names.len() {
            let t = welch_t(&times[one], &times[other]);
            let means = (moments(&times[one]).0, moments(&times[other]).0);
            let (one, other) = (names[one], names[other]);
            println!(
                "{one} {:.2} ms, {other} {:.2} ms over {samples} samples each: t = {t:.2}",
                means.0, means.1
            );
            assert!(t.abs() < 4.0, "{one} and {other} can be told apart: t = {t:.2}");
        }
    }
}

/// Where an address may be mailed as often as the samples ask for: past the budget every answer would be the same
/// no-op.
async fn mailing_bed() -> TestBed {
    TestBed::with(&[("limits.mail_per_account", "1000000/3600")]).await
}

/// The tenant `acme` with an account of each kind.
async fn accounts_of_each_kind(api: &Api) {
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    for address in ["verified@example.com", "disabled@example.com"] {
        api.user("acme", address).await;
    }
    let body = json!({ "email": "waiting@example.com", "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    api.execute("UPDATE users SET status = 'disabled' WHERE email = 'disabled@example.com'")
        .await;
}

#[tokio::test]
async fn s02_registration_takes_as_long_for_every_address() {
    let bed = mailing_bed().await;
    let api = &Api::start(&bed).await;
    accounts_of_each_kind(api).await;
    let names = ["register: new", "verified", "waiting"];
    tell_apart(&names, Prove::size(40, 1000), |of, round| {
        let new = format!("new-{round}@example.com");
        let email = [&*new, "verified@example.com", "waiting@example.com"][of].to_owned();
        let body = json!({ "email": email, "password": PASSWORD });
        Box::pin(api.post("acme", "/v1/auth/register", body))
    })
    .await;
}

#[tokio::test]
async fn s02_forgotten_passwords_answer_alike_and_take_as_long_for_every_address() {
    let bed = mailing_bed().await;
    let api = &Api::start(&bed).await;
    accounts_of_each_kind(api).await;
    let disabled_mails = api.mails("disabled@example.com").await.len();
    let names = ["forgot: unknown", "verified", "waiting", "disabled"];
    let addresses = [
        "unknown@example.com",
        "verified@example.com",
        "waiting@example.com",
        "disabled@example.com",
    ];
    tell_apart(&names, Prove::size(40, 1000), |of, _| {
        let body = json!({ "email": addresses[of] });
        Box::pin(api.post("acme", "/v1/auth/password/forgot", body))
    })
    .await;
    // Who may sign in, or could once the address is proven, gets the mail; nobody else does.
    for address in ["verified@example.com", "waiting@example.com"] {
        assert!(
            api.mails(address)
                .await
                .last()
                .unwrap()
                .text
                .contains("/reset-password?token=")
        );
    }
    assert!(api.mails("unknown@example.com").await.is_empty());
    assert_eq!(api.mails("disabled@example.com").await.len(), disabled_mails);
}

#[tokio::test]
async fn s02_resending_takes_as_long_for_every_address() {
    let bed = mailing_bed().await;
    let api = &Api::start(&bed).await;
    accounts_of_each_kind(api).await;
    let names = ["resend: unknown", "verified", "waiting"];
    let addresses = [
        "unknown@example.com",
        "verified@example.com",
        "waiting@example.com",
    ];
    tell_apart(&names, Prove::size(40, 1000), |of, _| {
        let body = json!({ "email": addresses[of] });
        Box::pin(api.post("acme", "/v1/auth/email/verify/resend", body))
    })
    .await;
}

#[tokio::test]
async fn s02_a_change_of_address_takes_as_long_to_a_taken_one() {
    let bed = mailing_bed().await;
    let api = &Api::start(&bed).await;
    accounts_of_each_kind(api).await;
    api.user("acme", "ada@example.com").await;
    let token = text(&api.login("acme", "ada@example.com").await, "access_token");
    let names = ["change: free", "verified", "waiting"];
    let addresses = [
        "unknown@example.com",
        "verified@example.com",
        "waiting@example.com",
    ];
    tell_apart(&names, Prove::size(40, 1000), |of, _| {
        let (body, token) = (
            json!({ "new_email": addresses[of], "password": PASSWORD }),
            token.clone(),
        );
        Box::pin(async move { api.post_as(&token, "/v1/auth/email/change", body).await })
    })
    .await;
}

/// What a sign-in comes to, but for the answer's id.
async fn attempt(api: &Api, email: &str, password: &str) -> (u16, Value) {
    let body = json!({ "email": email, "password": password });
    let answer = api.post("acme", "/v1/auth/login", body).await;
    let status = answer.status.as_u16();
    let mut said = answer.json();
    said.as_object_mut().unwrap().remove("request_id");
    (status, said)
}

/// The password of whoever registers addresses to see which of them are known.
const PROBE: &str = "an owl reads every second ledger";

async fn probe(api: &Api, email: &str) -> Answer {
    let body = json!({ "email": email, "password": PROBE });
    api.post("acme", "/v1/auth/register", body).await
}

#[tokio::test]
async fn s02_registering_and_then_signing_in_tells_nothing() {
    let bed = TestBed::new().await;
    let api = &Api::start(&bed).await;
    accounts_of_each_kind(api).await;
    api.user("acme", "gone@example.com").await;
    api.execute(
        "UPDATE users SET status = 'disabled', email_verified_at = NULL, email_proven = false WHERE email = 'gone@example.com'",
    )
    .await;
    let addresses = ["new", "verified", "waiting", "disabled", "gone"].map(|of| format!("{of}@example.com"));
    let sent = json!({ "status": "verification_sent" });
    for email in &addresses {
        for password in [PROBE, "not the password"] {
            assert_eq!(attempt(api, email, password).await.0, 401, "{email}");
        }
        assert_eq!(probe(api, email).await.expect(202), sent, "{email}");
    }
    let mut answers = Vec::new();
    for email in &addresses {
        let mut of_this = Vec::new();
        for password in [PROBE, "not the password", PROBE, PROBE] {
            of_this.push(attempt(api, email, password).await);
        }
        // Locked after two of these: in the same words as if it were not.
        for _ in 0..8 {
            of_this.push(attempt(api, email, "not the password").await);
        }
        of_this.push(attempt(api, email, PROBE).await);
        let statuses: Vec<u16> = of_this.iter().map(|(status, _)| *status).collect();
        assert_eq!(
            statuses,
            [403, 401, 403, 403, 401, 401, 401, 401, 401, 401, 401, 401, 401],
            "{email}"
        );
        answers.push(of_this);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");

    // Nobody came in by it, and the owner still does.
    api.execute("DELETE FROM lockouts").await;
    api.login("acme", "verified@example.com").await;
    assert_eq!(attempt(api, "verified@example.com", PROBE).await.0, 403);
    // A later attempt takes the place of an earlier one, also where that made the account, and back.
    for email in ["verified@example.com", "new@example.com"] {
        let body = json!({ "email": email, "password": "a heron reads every third ledger" });
        api.post("acme", "/v1/auth/register", body).await.expect(202);
        assert_eq!(attempt(api, email, PROBE).await.0, 401, "{email}");
        let latest = attempt(api, email, "a heron reads every third ledger").await;
        assert_eq!(latest.0, 403, "{email}");
        probe(api, email).await.expect(202);
        assert_eq!(attempt(api, email, PROBE).await.0, 403, "{email}");
    }
    let sessions =
        "SELECT count(*) FROM sessions WHERE user_id IN (SELECT id FROM users WHERE decoy_hash IS NOT NULL)";
    assert_eq!(api.scalar(sessions).await, 1);
}

#[tokio::test]
async fn s02_a_decoy_does_not_help_to_guess_the_password() {
    let bed = TestBed::new().await;
    let api = &Api::start(&bed).await;
    accounts_of_each_kind(api).await;
    probe(api, "verified@example.com").await.expect(202);
    for _ in 0..3 {
        for _ in 0..4 {
            attempt(api, "verified@example.com", "not the password").await;
        }
        attempt(api, "verified@example.com", PROBE).await;
    }
    assert_eq!(api.scalar("SELECT max(failures) FROM lockouts").await, 12);
}

#[tokio::test]
async fn s02_signing_in_after_registering_takes_as_long_for_every_address() {
    let samples = Prove::size(40, 1000);
    let settings = [
        ("limits.mail_per_account", "1000000/3600"),
        ("passwords.memory_kib", "19456"),
        ("passwords.iterations", "2"),
    ];
    let bed = TestBed::with(&settings).await;
    let api = &Api::start(&bed).await;
    accounts_of_each_kind(api).await;
    let mut times = [const { Vec::new() }; 4];
    let mut answers = Vec::new();
    for round in 0..=samples {
        let new = format!("new-{round}@example.com");
        for (of, email) in [&*new, "verified@example.com"].into_iter().enumerate() {
            let started = Instant::now();
            probe(api, email).await.expect(202);
            let registered = started.elapsed().as_secs_f64() * 1000.0;
            let started = Instant::now();
            answers.push(attempt(api, email, PROBE).await);
            let signed_in = started.elapsed().as_secs_f64() * 1000.0;
            if round > 0 {
                times[of].push(registered);
                times[2 + of].push(signed_in);
            }
        }
    }
    assert_eq!(answers[0].0, 403);
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    for (what, new, proven) in [("register", 0, 1), ("sign in after it", 2, 3)] {
        let t = welch_t(&times[new], &times[proven]);
        let (of_new, of_proven) = (moments(&times[new]).0, moments(&times[proven]).0);
        println!(
            "{what}: new {of_new:.2} ms, proven {of_proven:.2} ms over {samples} samples each: t = {t:.2}"
        );
        assert!(t.abs() < 4.0, "{what}: they can be told apart: t = {t:.2}");
    }
}

#[tokio::test]
async fn s01_an_account_from_before_the_cost_rose_takes_as_long_as_none() {
    let samples = Prove::size(40, 1000);
    let bed = TestBed::with(&[("passwords.memory_kib", "9728"), ("passwords.iterations", "2")]).await;
    let old = Api::start(&bed).await;
    let admin = old.admin().await;
    old.tenant(&admin, "acme").await;
    old.user("acme", "ada@example.com").await;
    let mut context = bed.another_process().await;
    let passwords =
        latchkey_testing::config(&[("passwords.memory_kib", "19456"), ("passwords.iterations", "2")]);
    context.config = Arc::new(Config {
        passwords: passwords.passwords,
        ..(*context.config).clone()
    });
    let api = Api::serve(context).await;
    let mut times = [const { Vec::new() }; 2];
    for round in 0..=samples {
        for (of, email) in ["ada@example.com", "eve@example.com"].into_iter().enumerate() {
            let started = Instant::now();
            let body = json!({ "email": email, "password": "not the password" });
            let answer = api.post("acme", "/v1/auth/login", body).await;
            let elapsed = started.elapsed().as_secs_f64() * 1000.0;
            answer.refused(401, "invalid_credentials");
            if round > 0 {
                times[of].push(elapsed);
            }
        }
    }
    let t = welch_t(&times[0], &times[1]);
    let (cheaper, unknown) = (moments(&times[0]).0, moments(&times[1]).0);
    println!(
        "hashed at half the cost {cheaper:.2} ms, unknown {unknown:.2} ms over {samples} samples each: t = {t:.2}"
    );
    // Without the rest of the work it would be faster by half a hash; what remains is how memory behaves.
    assert!(
        (cheaper - unknown).abs() < 0.15 * unknown,
        "{cheaper:.2} ms against {unknown:.2} ms"
    );
}

#[tokio::test]
async fn s06_each_spelling_of_an_address_reaches_the_same_account() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    api.user("acme", "Ren\u{e9}@example.com").await;
    for spelling in [
        "ren\u{e9}@example.com",
        "REN\u{c9}@EXAMPLE.COM",
        "rene\u{301}@example.com",
    ] {
        api.login("acme", spelling).await;
    }
    assert_eq!(
        api.scalar("SELECT count(*) FROM users WHERE email ILIKE 'ren%'")
            .await,
        1
    );
}
