//! Domains of a tenant's own, proven by a real name server.

use std::time::{Duration, Instant};

use futures::future::join_all;
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    dns_server::DnsServer,
    support::{Answer, Api, PASSWORD, text},
};

const DOMAINS: &str = "/v1/tenant/domains";

async fn bed(dns: &DnsServer) -> TestBed {
    TestBed::with(&[("tenancy.dns_servers", &dns.address())]).await
}

async fn claim(api: &Api, token: &str, domain: &str) -> Value {
    let body = json!({ "domain": domain });
    api.post_as(token, DOMAINS, body).await.expect(201)
}

async fn verify(api: &Api, token: &str, domain: &Value) -> Answer {
    let path = format!("{DOMAINS}/{}/verify", text(domain, "id"));
    Api::send(api.request(Method::POST, &path).bearer_auth(token)).await
}

fn publish(dns: &DnsServer, domain: &Value) {
    let record = &domain["dns_record"];
    dns.publish(&text(record, "name"), &text(record, "value"));
}

/// Signs in by the host alone.
async fn login_at(api: &Api, host: &str, email: &str) -> Answer {
    let body = json!({ "email": email, "password": PASSWORD });
    let request = api.request(Method::POST, "/v1/auth/login").header("host", host);
    Api::send(request.json(&body)).await
}

/// Asks until the status is there; how long that took.
async fn status_after(api: &Api, host: &str, email: &str, status: u16) -> Duration {
    let started = Instant::now();
    while login_at(api, host, email).await.status != status {
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{host} never answered {status}"
        );
    }
    started.elapsed()
}

#[tokio::test]
async fn a_proven_domain_names_its_tenant_on_every_process_until_it_is_deleted() {
    let dns = DnsServer::start().await;
    let bed = bed(&dns).await;
    let (first, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    let admin = first.admin().await;
    let (_, owner) = first.tenant(&admin, "acme").await;
    let (host, email) = ("login.acme.com", "owner@acme.test");

    let domain = claim(&first, &owner, "Login.ACME.com.").await;
    assert_eq!(
        (&domain["domain"], &domain["verified_at"]),
        (&json!(host), &Value::Null)
    );
    let record = &domain["dns_record"];
    assert_eq!(
        (&record["type"], &record["name"]),
        (&json!("TXT"), &json!("_latchkey.login.acme.com"))
    );
    assert!(text(record, "value").starts_with("latchkey-verification="));
    // Before it is proven it is nobody's, and both processes have it in mind as such.
    for api in [&first, &second] {
        login_at(api, host, email).await.refused(400, "tenant_required");
    }
    verify(&first, &owner, &domain)
        .await
        .refused(409, "dns_record_missing");
    dns.publish("_latchkey.login.acme.com", "v=spf1 -all");
    verify(&first, &owner, &domain)
        .await
        .refused(409, "dns_record_missing");

    publish(&dns, &domain);
    let proven = verify(&first, &owner, &domain).await.expect(200);
    assert!(proven["verified_at"].is_string(), "{proven}");
    login_at(&first, host, email).await.expect(200);
    let took = status_after(&second, host, email, 200).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    // It is proven: DNS is asked no more.
    let asked = dns.asked();
    assert_eq!(verify(&second, &owner, &domain).await.expect(200), proven);
    assert_eq!(dns.asked(), asked);

    let path = format!("{DOMAINS}/{}", text(&domain, "id"));
    assert_eq!(first.get_as(&owner, &path).await.expect(200), proven);
    Api::send(first.request(Method::DELETE, &path).bearer_auth(&owner))
        .await
        .expect(204);
    login_at(&first, host, email)
        .await
        .refused(400, "tenant_required");
    let took = status_after(&second, host, email, 400).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    first.get_as(&owner, &path).await.refused(404, "not_found");
}

#[tokio::test]
async fn of_two_tenants_that_prove_one_domain_at_once_one_has_it() {
    let dns = DnsServer::start().await;
    let bed = bed(&dns).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, acme) = api.tenant(&admin, "acme").await;
    let (_, globex) = api.tenant(&admin, "globex").await;
    let mut claims = Vec::new();
    for owner in [&acme, &globex] {
        let domain = claim(&api, owner, "shared.example").await;
        publish(&dns, &domain);
        claims.push((owner, domain));
    }
    let answers = join_all((0..100).map(|number| {
        let (owner, domain) = &claims[number % 2];
        verify(&api, owner, domain)
    }))
    .await;
    let winner = usize::from(answers[0].status != 200);
    for (number, answer) in answers.into_iter().enumerate() {
        if number % 2 == winner {
            answer.expect(200);
        } else {
            answer.refused(409, "domain_taken");
        }
    }
    assert_eq!(
        api.scalar("SELECT count(*) FROM tenant_domains WHERE verified_at IS NOT NULL")
            .await,
        1
    );
}

#[tokio::test]
async fn s25_who_has_not_proven_a_domain_learns_nothing_of_who_has() {
    let dns = DnsServer::start().await;
    let bed = bed(&dns).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, acme) = api.tenant(&admin, "acme").await;
    let (_, globex) = api.tenant(&admin, "globex").await;
    let mine = claim(&api, &acme, "id.acme.com").await;
    publish(&dns, &mine);
    verify(&api, &acme, &mine).await.expect(200);

    let theirs = claim(&api, &globex, "id.acme.com").await;
    assert_ne!(mine["dns_record"]["value"], theirs["dns_record"]["value"]);
    // The record that stands there is another tenant's.
    verify(&api, &globex, &theirs)
        .await
        .refused(409, "dns_record_missing");
    publish(&dns, &theirs);
    verify(&api, &globex, &theirs).await.refused(409, "domain_taken");

    // Another tenant's domain answers as one that is not there.
    let foreign = format!("{DOMAINS}/{}", text(&mine, "id"));
    let absent = format!("{DOMAINS}/{}", Uuid::nil());
    for (method, end) in [(Method::GET, ""), (Method::DELETE, ""), (Method::POST, "/verify")] {
        let send = |path: &str| {
            let request = api.request(method.clone(), &format!("{path}{end}"));
            Api::send(request.bearer_auth(&globex).header("x-request-id", "the-same"))
        };
        let (foreign, absent) = (send(&foreign).await, send(&absent).await);
        assert_eq!((foreign.status, &foreign.text), (absent.status, &absent.text));
        foreign.refused(404, "not_found");
    }
    let listed = api.get_as(&globex, DOMAINS).await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert_eq!(listed["data"][0]["id"], theirs["id"]);
}

#[tokio::test]
async fn what_nobody_can_have_is_refused_by_its_place() {
    let dns = DnsServer::start().await;
    let bed = bed(&dns).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    for (domain, code) in [
        ("127.0.0.1", "invalid_format"),
        ("[2001:db8::1]", "invalid_format"),
        ("acme.com:443", "invalid_format"),
        ("localhost", "invalid_format"),
        ("example.test", "reserved"),
        ("globex.example.test", "reserved"),
        ("ID.example.TEST", "reserved"),
    ] {
        let body = json!({ "domain": domain });
        let problem = api.post_as(&owner, DOMAINS, body).await;
        let problem = problem.refused(422, "validation_failed");
        assert_eq!(
            (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]),
            (&json!("/domain"), &json!(code)),
            "{domain}"
        );
    }
    claim(&api, &owner, "bücher.example").await;
    let again = json!({ "domain": "xn--bcher-kva.example" });
    api.post_as(&owner, DOMAINS, again)
        .await
        .refused(409, "domain_exists");
}

#[tokio::test]
async fn a_dns_that_fails_or_is_silent_says_nothing_of_the_record() {
    let dns = DnsServer::start().await;
    let bed = bed(&dns).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let domain = claim(&api, &owner, "id.acme.com").await;
    publish(&dns, &domain);
    dns.fail();
    let answer = verify(&api, &owner, &domain).await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.refused(503, "unavailable");
    drop(dns);
    let started = Instant::now();
    verify(&api, &owner, &domain).await.refused(503, "unavailable");
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn of_100_claims_at_once_a_tenant_gets_as_many_as_it_may() {
    let dns = DnsServer::start().await;
    let bed = bed(&dns).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let claims = (0..100).map(|number| {
        let body = json!({ "domain": format!("d{number}.acme.com") });
        api.post_as(&owner, DOMAINS, body)
    });
    let (mut claimed, mut refused) = (0, 0);
    for answer in join_all(claims).await {
        if answer.status == 201 {
            claimed += 1;
        } else {
            answer.refused(409, "limit_reached");
            refused += 1;
        }
    }
    assert_eq!((claimed, refused), (20, 80));
    let page = api
        .get_as(&owner, &format!("{DOMAINS}?limit=15"))
        .await
        .expect(200);
    let next = format!("{DOMAINS}?limit=15&cursor={}", text(&page, "next_cursor"));
    let next = api.get_as(&owner, &next).await.expect(200);
    assert_eq!(
        (
            page["data"].as_array().unwrap().len(),
            next["data"].as_array().unwrap().len()
        ),
        (15, 5)
    );
}
