//! Who asks too often is told when to come back.

use std::time::{Duration, Instant};

use futures::future::join_all;
use latchkey_shared::limit::{Class, Scope, Subject};
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Api, PASSWORD, text};

/// In development the limits by address are out of a test's reach.
const PRODUCTION: [(&str, &str); 7] = [
    ("server.environment", "production"),
    ("server.trusted_proxies", "192.0.2.1/32"),
    ("mail.transport", "smtp"),
    ("mail.smtp_url", "smtp://127.0.0.1:1"),
    ("passwords.memory_kib", "19456"),
    ("passwords.iterations", "2"),
    // A busy machine is no outage.
    ("limits.redis_timeout", "5"),
];
const AWAY: (&str, &str) = ("redis.url", "redis://127.0.0.1:1");

pub(crate) async fn bed(changes: &[(&str, &str)]) -> TestBed {
    let settings: Vec<(&str, &str)> = PRODUCTION.iter().chain(changes).copied().collect();
    TestBed::with(&settings).await
}

/// A request of the class `token` that reaches no database.
async fn ask(api: &Api, forwarded_for: &str) -> Answer {
    let request = api
        .request(Method::POST, "/v1/auth/unlock")
        .header("x-forwarded-for", forwarded_for)
        .json(&json!({ "token": "none" }));
    Api::send(request).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers[name].to_str().unwrap()
}

#[tokio::test]
async fn the_limit_is_exact_and_the_refusal_says_when_to_come_back() {
    let bed = bed(&[("limits.token_per_address", "3/3600")]).await;
    let api = Api::start(&bed).await;
    for left in [2, 1, 0] {
        let answer = ask(&api, "").await;
        assert_eq!(header(&answer, "ratelimit-policy"), r#""token";q=3;w=3600"#);
        let (seconds, limit) = (3600 - left * 1200, header(&answer, "ratelimit"));
        assert_eq!(limit, format!(r#""token";r={left};t={seconds}"#));
        answer.refused(400, "invalid_token");
    }
    let answer = ask(&api, "").await;
    let wait: u64 = header(&answer, "retry-after").parse().unwrap();
    assert!((1100..=1200).contains(&wait), "{answer:?}");
    assert_eq!(header(&answer, "ratelimit"), format!(r#""token";r=0;t={wait}"#));
    answer.refused(429, "rate_limited");
    // Other classes, and what has no limit, go on.
    Api::send(api.request(Method::GET, "/health/live"))
        .await
        .expect(200);
    let unlimited = Api::send(api.request(Method::GET, "/v1/auth/me")).await;
    assert!(!unlimited.headers.contains_key("ratelimit"));
    unlimited.refused(401, "unauthenticated");
}

#[tokio::test]
async fn of_100_parallel_requests_the_limit_passes_over_two_processes() {
    let bed = bed(&[("limits.token_per_address", "10/3600")]).await;
    let (one, other) = (Api::start(&bed).await, Api::start_another(&bed).await);
    let answers = join_all((0..100).map(|number| ask(if number % 2 == 0 { &one } else { &other }, ""))).await;
    let passed = answers.iter().filter(|answer| answer.status == 400).count();
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert_eq!((passed, refused), (10, 90));
}

#[tokio::test]
async fn a_refused_request_uses_nothing_up() {
    let limits = [
        ("limits.sign_in_per_address", "5/3600"),
        ("limits.sign_in_per_tenant", "2/3600"),
    ];
    let bed = bed(&limits).await;
    let limits = &bed.context.limits;
    let tenant = Subject::Tenant(latchkey_shared::id::TenantId(uuid::Uuid::nil()), None);
    let address = Subject::Address("192.0.2.1".parse().unwrap());
    for _ in 0..2 {
        let verdict = limits.judge(Class::SignIn, &[address, tenant]).await.unwrap();
        assert_eq!(verdict.refused_for(), None);
    }
    for _ in 0..20 {
        let verdict = limits.judge(Class::SignIn, &[address, tenant]).await.unwrap();
        assert!(verdict.refused_for().is_some());
        assert_eq!(verdict.of(Scope::Address).unwrap().remaining, 3);
    }
    let verdict = limits.judge(Class::SignIn, &[address]).await.unwrap();
    assert_eq!(
        (
            verdict.refused_for(),
            verdict.of(Scope::Address).unwrap().remaining
        ),
        (None, 2)
    );
}

#[tokio::test]
async fn a_limit_is_whole_again_in_its_time_and_leaves_nothing_in_redis() {
    let bed = bed(&[("limits.token_per_address", "2/1")]).await;
    let limits = &bed.context.limits;
    let address = [Subject::Address("192.0.2.1".parse().unwrap())];
    let mut passed = 0;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2900) {
        let verdict = limits.judge(Class::Token, &address).await.unwrap();
        match verdict.refused_for() {
            None => passed += 1,
            Some(wait) => tokio::time::sleep(wait).await,
        }
    }
    // Two at once, then one each half second.
    assert!((5..=8).contains(&passed), "{passed} passed");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut redis = bed.context.redis.connection();
    let pattern = format!("{}:{{limit}}*", bed.context.config.redis.key_prefix);
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(pattern)
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test]
async fn a_tenants_limit_holds_over_all_addresses_and_tells_nobody_how_busy_it_is() {
    let limits = [
        ("limits.sign_in_per_tenant", "4/3600"),
        ("server.trusted_proxies", "127.0.0.0/8"),
    ];
    let bed = bed(&limits).await;
    let api = Api::start(&bed).await;
    api.admin().await;
    let mut statuses = Vec::new();
    for number in 0..8 {
        let request = api
            .request(Method::POST, "/v1/auth/login")
            .header("x-tenant-id", "platform")
            .header("x-forwarded-for", format!("192.0.2.{number}"))
            .json(&json!({ "email": "nobody@example.com", "password": PASSWORD }));
        let answer = Api::send(request).await;
        assert_eq!(header(&answer, "ratelimit-policy"), r#""sign_in";q=30;w=60"#);
        assert_eq!(answer.status == 429, answer.headers.contains_key("retry-after"));
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses[..4], [401; 4]);
    // A request that has the tenant looked up again, because it has just changed, is not counted for it.
    let passed = statuses.iter().filter(|status| **status == 401).count();
    assert!(passed <= 5, "{statuses:?}");
}

#[tokio::test]
async fn s29_a_spoofed_header_changes_neither_limits_nor_audit() {
    let limits = ("limits.token_per_address", "2/3600");
    let open = bed(&[limits]).await;
    let api = Api::start(&open).await;
    for (number, status) in [400, 400, 429, 429].into_iter().enumerate() {
        let answer = ask(&api, &format!("192.0.2.{number}")).await;
        assert_eq!(answer.status.as_u16(), status);
    }
    api.admin().await;
    let request = api
        .request(Method::POST, "/v1/auth/login")
        .header("x-tenant-id", "platform")
        .header("x-forwarded-for", "192.0.2.1")
        .json(&json!({ "email": "nobody@example.com", "password": PASSWORD }));
    Api::send(request).await.refused(401, "invalid_credentials");
    let spoofed = "SELECT count(*) FROM audit_events WHERE address = '192.0.2.1'";
    assert_eq!(api.scalar(spoofed).await, 0);

    // Behind a proxy of ours, the address it has seen counts, whatever the client claims before it.
    let proxied = bed(&[limits, ("server.trusted_proxies", "127.0.0.0/8")]).await;
    let api = Api::start(&proxied).await;
    for (number, status) in [400, 400, 429].into_iter().enumerate() {
        let answer = ask(&api, &format!("192.0.2.{number}, 198.51.100.7")).await;
        assert_eq!(answer.status.as_u16(), status);
    }
    ask(&api, "198.51.100.8").await.refused(400, "invalid_token");
    // One IPv6 network is one client.
    for (address, status) in [
        ("2001:db8:1:2::1", 400),
        ("2001:db8:1:2::2", 400),
        ("2001:db8:1:2:f:f:f:f", 429),
        ("2001:db8:1:3::1", 400),
    ] {
        assert_eq!(ask(&api, address).await.status.as_u16(), status, "{address}");
    }
}

#[tokio::test]
async fn in_development_limits_by_address_are_a_thousand_times_higher() {
    let bed = TestBed::with(&[("limits.token_per_address", "2/3600")]).await;
    let api = Api::start(&bed).await;
    let answer = ask(&api, "").await;
    assert_eq!(header(&answer, "ratelimit-policy"), r#""token";q=2000;w=3600"#);
    let account = bed.context.config.limits.mail.per_account.unwrap();
    assert_eq!(account.count.get(), 10);
}

#[tokio::test]
async fn without_redis_each_process_counts_for_itself() {
    let bed = bed(&[("limits.token_per_address", "3/3600"), AWAY]).await;
    let (one, other) = (Api::start(&bed).await, Api::start_another(&bed).await);
    for api in [&one, &other] {
        for left in [2, 1, 0] {
            let answer = ask(api, "").await;
            assert!(header(&answer, "ratelimit").starts_with(&format!(r#""token";r={left};"#)));
            answer.refused(400, "invalid_token");
        }
        ask(api, "").await.refused(429, "rate_limited");
    }
}

#[tokio::test]
async fn without_redis_a_closed_class_is_unavailable() {
    let bed = bed(&[("limits.token_without_redis", "closed"), AWAY]).await;
    let api = Api::start(&bed).await;
    let answer = ask(&api, "").await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.refused(503, "unavailable");
    // Sign-in is not closed.
    api.admin().await;
}

#[tokio::test]
async fn a_redis_that_does_not_answer_costs_one_timeout_and_not_one_a_request() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let bed = TestBed::with(&[("redis.url", &url)]).await;
    let address = [Subject::Address("192.0.2.1".parse().unwrap())];
    let started = Instant::now();
    for _ in 0..200 {
        bed.context.limits.judge(Class::Token, &address).await.unwrap();
    }
    // Two hundred timeouts would be ten seconds.
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn an_address_gets_ten_mails_an_hour_and_nobody_is_told() {
    let bed = TestBed::with(&[("limits.redis_timeout", "5")]).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    let resend = |email: &str| {
        let body = json!({ "email": email });
        api.post("acme", "/v1/auth/email/verify/resend", body)
    };
    let register = |email: &str| {
        let body = json!({ "email": email, "password": PASSWORD });
        api.post("acme", "/v1/auth/register", body)
    };
    let sent: Value = register("ada@example.com").await.expect(202);
    for answer in join_all((0..20).map(|_| resend("ada@example.com"))).await {
        assert_eq!(answer.expect(202), sent);
    }
    assert_eq!(register("ada@example.com").await.expect(202), sent);
    assert_eq!(api.mails("ada@example.com").await.len(), 10);
    // Spellings share the limit, tenants and other addresses do not.
    assert_eq!(resend("ADA@example.com").await.expect(202), sent);
    assert_eq!(api.mails("ada@example.com").await.len(), 10);
    api.user("acme", "bob@example.com").await;
}

#[tokio::test]
async fn no_e_mail_address_reaches_redis() {
    let bed = TestBed::with(&[("limits.redis_timeout", "5")]).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    let mut redis = bed.context.redis.connection();
    let prefix = format!("{}:{{limit}}", bed.context.config.redis.key_prefix);
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{prefix}*"))
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!(keys.iter().any(|key| key.contains(":mail:account:")), "{keys:?}");
    // What is drawn by lot may spell anything but the sign.
    let mut named = keys.iter().map(|key| &key[prefix.len()..]);
    assert!(
        named.all(|key| !key.contains("ada@") && !key.contains("127.0.0.1")),
        "{keys:?}"
    );
}

#[tokio::test]
async fn what_administrators_have_hashed_and_mailed_costs_their_tenants_share() {
    let bed = TestBed::with(&[
        ("limits.redis_timeout", "5"),
        ("limits.mail_per_account", "1/3600"),
    ])
    .await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, owner) = api.tenant(&admin, "acme").await;
    let share = json!({ "rate_limits": { "sign_in": 1, "mail": 4 } });
    let request = api.request(Method::PATCH, &format!("/v1/tenants/{tenant}"));
    Api::send(request.bearer_auth(&admin).json(&share))
        .await
        .expect(200);
    let create = |body: Value| api.post_as(&owner, "/v1/users", body);
    let with_password = |name: &str| {
        let email = format!("{name}@example.com");
        create(json!({ "email": email, "password": PASSWORD, "email_verified": true }))
    };
    let too_often = |answer: Answer| {
        let wait: u64 = header(&answer, "retry-after").parse().unwrap();
        assert!((1..=3600).contains(&wait), "{answer:?}");
        answer.refused(429, "rate_limited");
    };

    let ada = text(&with_password("ada").await.expect(201), "id");
    // For one that is there nothing is hashed, however often it is asked for.
    for _ in 0..3 {
        with_password("ada").await.refused(409, "email_taken");
    }
    too_often(with_password("bob").await);

    // One mail each to one address for one purpose, and four for them all.
    let reset = format!("/v1/users/{ada}/password-reset");
    api.post_as(&owner, &reset, json!({})).await.expect(202);
    too_often(api.post_as(&owner, &reset, json!({})).await);
    let invite = async |name: &str| {
        let body = json!({ "email": format!("{name}@example.com") });
        api.post_as(&owner, "/v1/invitations", body).await
    };
    invite("cleo").await.expect(201);
    too_often(invite("cleo").await);
    create(json!({ "email": "dora@example.com" })).await.expect(201);
    let request = api.request(Method::PATCH, &format!("/v1/users/{ada}"));
    let readdress = json!({ "email": "lovelace@example.com" });
    Api::send(request.bearer_auth(&owner).json(&readdress))
        .await
        .expect(200);
    too_often(create(json!({ "email": "emil@example.com" })).await);
    too_often(invite("emil").await);
    assert_eq!(
        api.scalar("SELECT count(*) FROM users WHERE email LIKE 'emil%'")
            .await,
        0
    );
}
