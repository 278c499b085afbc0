//! Pages of other origins call the API from a browser (Fetch Standard, HTTP CORS protocol).

use std::collections::BTreeSet;

use latchkey_api::spec;
use latchkey_testing::{RealProcess, TestBed};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::{
    gateway::Gateway,
    rate_limits,
    support::{ADMIN, Answer, Api, PASSWORD, text},
};

const APP: &str = "https://app.example.com";
const LOCAL: &str = "http://localhost:5173";
const ORIGINS: (&str, &str) = (
    "server.allowed_origins",
    "https://app.example.com, http://localhost:5173",
);
/// Each is another origin than those, or none.
const FOREIGN: [&str; 8] = [
    "https://evil.example",
    "https://app.example.com.evil.example",
    "https://evil-app.example.com",
    "https://app.example.com:8443",
    "http://app.example.com",
    "https://App.example.com",
    "http://localhost:5174",
    "null",
];

/// What a browser sends before it lets a page of the origin call.
fn asked(request: RequestBuilder, origin: &str) -> RequestBuilder {
    request
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type,x-tenant-id",
        )
}

async fn preflight(api: &Api, path: &str, origin: &str) -> Answer {
    Api::send(asked(api.request(Method::OPTIONS, path), origin)).await
}

fn values<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let values = answer.headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

/// The words of a header that is a list, in lower case.
fn listed(answer: &Answer, name: &str) -> BTreeSet<String> {
    let lists = values(answer, name).join(",");
    lists.split(',').map(|word| word.trim().to_lowercase()).collect()
}

/// Pages of the origin may read it, and nobody's cookies come into it.
fn is_for(answer: &Answer, origin: &str) {
    let allowed = values(answer, "access-control-allow-origin");
    assert_eq!(allowed, [origin], "{answer:?}");
    assert_eq!(values(answer, "vary"), ["Origin"], "{answer:?}");
    let credentials = "access-control-allow-credentials";
    assert!(!answer.headers.contains_key(credentials), "{answer:?}");
}

/// Nothing in it is meant for browsers.
fn is_for_no_page(answer: &Answer) {
    let mut names = answer.headers.keys();
    let any = names.any(|name| name.as_str().starts_with("access-control-"));
    assert!(!any, "{answer:?}");
}

/// The headers that the document has of requests and of answers, in lower case.
fn documented() -> (BTreeSet<String>, BTreeSet<String>) {
    let document = spec::document().unwrap();
    let (mut of_requests, mut of_answers) = (BTreeSet::new(), BTreeSet::new());
    let paths = document["paths"].as_object().unwrap().values();
    for operation in paths.flat_map(|path| path.as_object().unwrap().values()) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let headers = parameters.filter(|parameter| parameter["in"] == "header");
        of_requests.extend(headers.map(|header| text(header, "name").to_lowercase()));
        for answer in operation["responses"].as_object().unwrap().values() {
            let headers = answer["headers"].as_object().into_iter().flatten();
            of_answers.extend(headers.map(|(name, _)| name.to_lowercase()));
        }
    }
    (of_requests, of_answers)
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test]
async fn a_browser_is_told_what_a_page_may_send() {
    let bed = TestBed::with(&[ORIGINS]).await;
    let api = Api::start(&bed).await;
    for origin in [APP, LOCAL] {
        // Whether there is such a path, the call itself will show.
        for path in [
            "/v1/auth/login",
            "/v1/users/import",
            "/openapi.json",
            "/v1/nothing",
        ] {
            let answer = preflight(&api, path, origin).await;
            is_for(&answer, origin);
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
            assert_eq!(
                listed(&answer, "access-control-allow-methods"),
                set(&["delete", "get", "patch", "post", "put"])
            );
            assert_eq!(values(&answer, "access-control-max-age"), ["600"]);
            assert!(answer.headers.contains_key("x-request-id"));
        }
    }
    let sent = listed(
        &preflight(&api, "/v1/users", APP).await,
        "access-control-allow-headers",
    );
    let besides = set(&["authorization", "content-type", "traceparent", "x-request-id"]);
    let (of_requests, _) = documented();
    assert!(of_requests.contains("if-match"), "{of_requests:?}");
    assert_eq!(sent, &of_requests | &besides);
}

#[tokio::test]
async fn a_page_reads_every_answer_also_a_refusal() {
    let bed = TestBed::with(&[ORIGINS]).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, of_answers) = documented();
    assert!(of_answers.contains("etag"), "{of_answers:?}");
    let read = &of_answers | &set(&["x-request-id"]);
    for (method, path, token, status) in [
        (Method::GET, "/health/live", admin.as_str(), 200),
        (Method::GET, "/openapi.json", &admin, 200),
        (Method::GET, "/v1/auth/me", &admin, 200),
        (Method::GET, "/v1/tenants?limit=many", &admin, 400),
        (
            Method::GET,
            "/v1/webhooks/deliveries?event_type=a%00b",
            &admin,
            400,
        ),
        (Method::GET, "/v1/auth/me", "none", 401),
        (Method::GET, "/v1/nothing", &admin, 404),
        (Method::DELETE, "/v1/webhooks/endpoints", &admin, 405),
        // No preflight: it names no method.
        (Method::OPTIONS, "/v1/webhooks/endpoints", &admin, 405),
    ] {
        let request = api.request(method, path).bearer_auth(token);
        let answer = Api::send(request.header("origin", LOCAL)).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        is_for(&answer, LOCAL);
        assert_eq!(listed(&answer, "access-control-expose-headers"), read);
    }
    // To a program that is no browser nothing is said of pages, but a cache has to know that others are told.
    let answer = Api::send(api.request(Method::GET, "/openapi.json")).await;
    is_for_no_page(&answer);
    assert_eq!(values(&answer, "vary"), ["Origin"]);
}

#[tokio::test]
async fn another_origin_is_served_as_a_program_is_and_its_pages_are_told_nothing() {
    let bed = TestBed::with(&[ORIGINS]).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    for origin in FOREIGN {
        let answer = preflight(&api, "/v1/auth/login", origin).await;
        is_for_no_page(&answer);
        assert_eq!(values(&answer, "vary"), ["Origin"], "{origin}");
        assert_eq!(answer.headers["allow"], "POST");
        answer.refused(405, "method_not_allowed");

        let request = api.request(Method::GET, "/v1/auth/me").bearer_auth(&admin);
        let answer = Api::send(request.header("origin", origin)).await;
        is_for_no_page(&answer);
        assert_eq!(values(&answer, "vary"), ["Origin"], "{origin}");
        assert_eq!(answer.expect(200)["user"]["email"], ADMIN);
    }
}

#[tokio::test]
async fn swagger_ui_is_for_no_other_page() {
    let bed = TestBed::with(&[ORIGINS]).await;
    let api = Api::start(&bed).await;
    for path in ["/docs", "/docs/start.js", "/docs/none"] {
        let request = api.request(Method::GET, path).header("origin", APP);
        is_for_no_page(&Api::send(request).await);
        let answer = preflight(&api, path, APP).await;
        is_for_no_page(&answer);
        assert!(answer.status.is_client_error(), "{answer:?}");
    }
    let beside = api.request(Method::GET, "/docsy").header("origin", APP);
    is_for(&Api::send(beside).await, APP);
}

#[tokio::test]
async fn without_the_setting_no_answer_speaks_of_origins() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let answers = [
        preflight(&api, "/v1/auth/login", APP).await,
        preflight(&api, "/v1/auth/login", "null").await,
        Api::send(api.request(Method::GET, "/health/live").header("origin", APP)).await,
        Api::send(api.request(Method::GET, "/v1/auth/me").header("origin", APP)).await,
    ];
    let statuses = answers.each_ref().map(|answer| answer.status.as_u16());
    assert_eq!(statuses, [405, 405, 200, 401]);
    for answer in &answers {
        is_for_no_page(answer);
        assert!(!answer.headers.contains_key("vary"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_page_that_has_to_wait_reads_for_how_long_and_preflights_are_not_counted() {
    let bed = rate_limits::bed(&[ORIGINS, ("limits.token_per_address", "1/3600")]).await;
    let api = Api::start(&bed).await;
    for (status, code) in [(400, "invalid_token"), (429, "rate_limited")] {
        for _ in 0..3 {
            let answer = preflight(&api, "/v1/auth/unlock", APP).await;
            assert_eq!(answer.status.as_u16(), 204, "{answer:?}");
            assert!(!answer.headers.contains_key("ratelimit"), "{answer:?}");
        }
        let request = api
            .request(Method::POST, "/v1/auth/unlock")
            .header("origin", APP)
            .json(&json!({ "token": "none" }));
        let answer = Api::send(request).await;
        is_for(&answer, APP);
        let read = listed(&answer, "access-control-expose-headers");
        for name in ["ratelimit", "ratelimit-policy", "retry-after"] {
            assert!(read.contains(name), "{name}: {answer:?}");
        }
        answer.refused(status, code);
    }
}

#[tokio::test]
async fn a_preflight_needs_no_tenant_no_token_no_postgres_and_no_redis() {
    let settings = [ORIGINS, ("redis.url", "redis://127.0.0.1:9/0")];
    let bed = TestBed::with(&settings).await;
    let api = Api::start(&bed).await;
    bed.context.postgres.clone().close().await;
    let ready = api.request(Method::GET, "/health/ready");
    let ready = Api::send(ready.header("origin", APP)).await;
    is_for(&ready, APP);
    let ready = ready.expect(503);
    let gone = json!("unavailable");
    assert_eq!((&ready["postgres"], &ready["redis"]), (&gone, &gone));

    for path in ["/v1/auth/login", "/v1/auth/me", "/v1/users/import"] {
        let answer = preflight(&api, path, APP).await;
        is_for(&answer, APP);
        assert_eq!(answer.status.as_u16(), 204, "{answer:?}");
    }
    let login = api
        .request(Method::POST, "/v1/auth/login")
        .header("x-tenant-id", "platform")
        .header("origin", APP)
        .json(&json!({ "email": ADMIN, "password": PASSWORD }));
    let answer = Api::send(login).await;
    is_for(&answer, APP);
    answer.refused(503, "unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_lets_preflights_pass_and_pages_read_what_it_refuses_itself() {
    let bed = TestBed::new().await;
    let settings = [ORIGINS, ("server.trusted_proxies", "127.0.0.1/32")];
    let api = RealProcess::api_with(&bed, &settings).await;
    let named = [(
        "# https://app.example.com $http_origin;",
        "https://app.example.com $http_origin;",
    )];
    let gateway = Gateway::changed(&[&api.base_url], &named).await;
    let paths = [
        "/v1/auth/login",
        "/v1/users/import",
        "/v1/users/export",
        "/openapi.json",
        "/.well-known/jwks.json",
    ];
    for path in paths {
        let answer = Api::send(asked(gateway.request(Method::OPTIONS, path), APP)).await;
        assert_eq!(answer.status.as_u16(), 204, "{path}: {answer:?}");
        is_for(&answer, APP);
    }
    // Of the API's answers it changes nothing.
    let refused = gateway.request(Method::GET, "/v1/auth/me").header("origin", APP);
    let refused = Api::send(refused).await;
    assert_eq!(refused.status.as_u16(), 401);
    is_for(&refused, APP);

    for (path, status) in [("/wp-login.php", 404), ("/v1/users/import", 405)] {
        let request = |origin: &str| gateway.request(Method::GET, path).header("origin", origin);
        let answer = Api::send(request(APP)).await;
        is_for(&answer, APP);
        assert_eq!(
            listed(&answer, "access-control-expose-headers"),
            set(&["retry-after", "x-request-id"])
        );
        assert_eq!(answer.json()["status"], status);
        for origin in FOREIGN {
            // The gateway tells letters of either case apart no more than hosts do; no browser sends large ones.
            if !origin.eq_ignore_ascii_case(APP) {
                is_for_no_page(&Api::send(request(origin)).await);
            }
        }
    }

    // They are in the figures, as what succeeded.
    let metrics = reqwest::get(&api.metrics_url).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let preflights: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("latchkey_http_requests_total") && line.contains("\"preflight\""))
        .collect();
    let [line] = preflights.as_slice() else {
        panic!("{preflights:?}");
    };
    assert!(line.contains("\"204\"") && line.ends_with(" 5"), "{line}");
}
