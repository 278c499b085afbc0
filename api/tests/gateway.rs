//! The gateway of `deploy/gateway/nginx.conf`, with a real nginx before a real API.

use std::{
    fmt::Write,
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use latchkey_testing::{RealProcess, TestBed};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use reqwest::{Certificate, Client, Method, Version, redirect::Policy};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::support::{ADMIN, Api, PASSWORD, ndjson};

const CONFIG: &str = include_str!("../../deploy/gateway/nginx.conf");
const HOST: &str = "auth.example.com";

/// A running gateway. Dropped, it ends.
pub(crate) struct Gateway {
    nginx: Child,
    client: Client,
    /// Speaks HTTP/1.1.
    old_client: Client,
    http: SocketAddr,
    https: SocketAddr,
    _files: TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Its workers end with their master only if it is asked.
        let _ = Command::new("kill").arg(self.nginx.id().to_string()).status();
        let _ = self.nginx.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Where Debian puts it, not every user looks.
fn nginx() -> &'static str {
    let runs = |program: &&&str| {
        Command::new(program)
            .arg("-v")
            .stderr(Stdio::null())
            .status()
            .is_ok()
    };
    ["nginx", "/usr/sbin/nginx"]
        .iter()
        .find(runs)
        .unwrap_or_else(|| panic!("there is no nginx; `./dev test` installs it"))
}

/// The certificate of the authority, once a host's own and its key are written down.
pub(crate) fn certify(directory: &Path, host: &str) -> String {
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    fs::write(directory.join("fullchain.pem"), certificate.pem()).unwrap();
    fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    authority.pem()
}

impl Gateway {
    /// In front of the APIs, as an operator would set it up: with addresses and a certificate of one's own.
    async fn before(apis: &[&str]) -> Self {
        Self::changed(apis, &[]).await
    }

    /// As [`Self::before`], with changes of what is written there.
    pub(crate) async fn changed(apis: &[&str], changes: &[(&str, &str)]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let directory = files.path().display().to_string();
        let authority = certify(files.path(), HOST);
        let (http, https) = (free_address(), free_address());
        let servers = apis.iter().fold(String::new(), |mut text, api| {
            let address = api.trim_start_matches("http://");
            writeln!(text, "server {address} max_fails=2 fail_timeout=5s;").unwrap();
            text
        });
        let mut config = CONFIG.to_owned();
        for (written, ours) in [
            (
                "server 127.0.0.1:8080 max_fails=2 fail_timeout=5s;",
                servers.as_str(),
            ),
            ("listen 80;", &format!("listen {http};")),
            ("listen 443 ssl http2;", &format!("listen {https} ssl http2;")),
            ("listen [::]:80;", ""),
            ("listen [::]:443 ssl http2;", ""),
            ("/etc/ssl/latchkey", &directory),
        ]
        .iter()
        .chain(changes)
        {
            assert!(config.contains(written), "{written} is not in the configuration");
            config = config.replace(*written, ours);
        }
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = kinds.iter().fold(String::new(), |mut text, of| {
            writeln!(text, "{of}_temp_path {directory}/{of};").unwrap();
            text
        });
        let whole = format!(
            "daemon off; worker_processes 1; pid {directory}/pid; error_log {directory}/error.log;\n\
             events {{}}\nhttp {{\naccess_log off;\n{temporary}{config}}}\n"
        );
        let path = files.path().join("nginx.conf");
        fs::write(&path, whole).unwrap();
        // As root its workers are somebody else, who is to find the files.
        let user = if fs::metadata("/proc/self").is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0)
        {
            "user root;"
        } else {
            ""
        };
        let nginx = Command::new(nginx())
            .args(["-p", &directory, "-c", path.to_str().unwrap(), "-g", user])
            .spawn()
            .unwrap();
        let client = || {
            Client::builder()
                .tls_certs_only([Certificate::from_pem(authority.as_bytes()).unwrap()])
                .resolve(HOST, https)
                .redirect(Policy::none())
        };
        let gateway = Self {
            nginx,
            client: client().build().unwrap(),
            old_client: client().http1_only().build().unwrap(),
            http,
            https,
            _files: files,
        };
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(https).await.is_err() {
            assert!(Instant::now() < until, "nginx does not listen");
            sleep(Duration::from_millis(20)).await;
        }
        gateway
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("https://{HOST}:{}{path}", self.https.port());
        self.client.request(method, url)
    }

    /// What it answers to bytes, over TCP without TLS.
    async fn in_clear(&self, to: SocketAddr, request: &str) -> String {
        let mut connection = TcpStream::connect(to).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(Duration::from_secs(20), connection.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        answer
    }
}

/// The API trusts the gateway, and nobody else.
async fn api_of(bed: &TestBed) -> RealProcess {
    RealProcess::api_with(bed, &[("server.trusted_proxies", "127.0.0.1/32")]).await
}

async fn sign_in(gateway: &Gateway) -> Value {
    let login = gateway
        .request(Method::POST, "/v1/auth/login")
        .header("x-tenant-id", "platform")
        .header("x-forwarded-for", "198.51.100.7")
        .json(&json!({ "email": ADMIN, "password": PASSWORD }));
    let answer = login.send().await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

/// In clear nothing is asked that holds a credential.
async fn refuse_credentials_in_clear(gateway: &Gateway) {
    let moved = gateway
        .in_clear(
            gateway.http,
            &format!("GET /docs HTTP/1.0\r\nhost: {HOST}\r\n\r\n"),
        )
        .await;
    assert!(
        moved.starts_with("HTTP/1.1 308") && moved.contains(&format!("Location: https://{HOST}/docs")),
        "{moved}"
    );
    let refused = gateway
        .in_clear(
            gateway.http,
            &format!("POST /v1/auth/login HTTP/1.0\r\nhost: {HOST}\r\n\r\n"),
        )
        .await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_passes_on_what_is_the_apis_and_nothing_else() {
    let bed = TestBed::new().await;
    Api::start(&bed).await.admin().await;
    let api = api_of(&bed).await;
    let gateway = Gateway::before(&[&api.base_url]).await;

    // s29: what a client says of where it comes from does not pass.
    let token = sign_in(&gateway).await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let sessions = gateway.request(Method::GET, "/v1/sessions").bearer_auth(&token);
    let sessions: Value = sessions.send().await.unwrap().json().await.unwrap();
    assert_eq!(sessions["data"][0]["address"], "127.0.0.1", "{sessions}");

    refuse_credentials_in_clear(&gateway).await;
    for path in [
        "/health/live",
        "/health/ready",
        "/openapi.json",
        "/docs",
        "/.well-known/jwks.json",
    ] {
        let answer = gateway.request(Method::GET, path).send().await.unwrap();
        assert!(
            answer.status().is_success() || answer.status().is_redirection(),
            "{path}: {answer:?}"
        );
    }
    let before = requests(&api).await;
    for (method, path, status, code) in [
        (Method::GET, "/", 404, "route_not_found"),
        (Method::GET, "/.git/config", 404, "route_not_found"),
        (Method::GET, "/metrics", 404, "route_not_found"),
        (Method::GET, "/v1/../metrics", 404, "route_not_found"),
        (Method::GET, "/%2e%2e/metrics", 404, "route_not_found"),
        (Method::GET, "/wp-login.php", 404, "route_not_found"),
        (Method::TRACE, "/v1/users", 405, "method_not_allowed"),
        (Method::POST, "/openapi.json", 405, "method_not_allowed"),
        (Method::GET, "/v1/users/import", 405, "method_not_allowed"),
    ] {
        let answer = gateway.request(method.clone(), path).send().await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(
            (&problem["code"], &problem["status"]),
            (&json!(code), &json!(status)),
            "{problem}"
        );
    }
    let large = gateway
        .request(Method::POST, "/v1/auth/login")
        .header("content-type", "application/json")
        .body(vec![b' '; 600 * 1024]);
    let answer = large.send().await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "body_too_large");
    assert_eq!(requests(&api).await, before, "none of them reached the API");

    // An import is larger, and is answered line by line.
    let lines =
        (0..3_000).map(|number| json!({ "email": format!("{number}@example.com"), "name": "x".repeat(190) }));
    let import = gateway
        .request(Method::POST, "/v1/users/import")
        .bearer_auth(&token)
        .header("content-type", "application/x-ndjson")
        .body(ndjson(lines));
    let report = import.send().await.unwrap().text().await.unwrap();
    assert!(
        report.lines().last().unwrap().contains(r#""created":3000"#),
        "{:?}",
        report.lines().last()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gateway_cannot_read_it_refuses_as_the_api_would() {
    let gateway = Gateway::before(&["http://127.0.0.1:9"]).await;
    let long = gateway
        .old_client
        .get(format!("https://{HOST}:{}/health/live", gateway.https.port()))
        .header("x-large", "x".repeat(20 * 1024));
    let answer = long.send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(answer.headers().contains_key("strict-transport-security"));
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "bad_request");
    for request in [
        format!("GET /docs HTTP/1.0\r\nhost: {HOST}\r\n\r\n"),
        "no request at all\r\n\r\n".to_owned(),
    ] {
        let answer = gateway.in_clear(gateway.https, &request).await;
        assert!(
            answer.contains("application/problem+json") && answer.contains("bad_request"),
            "{answer}"
        );
    }
}

/// So many the API has answered.
async fn requests(api: &RealProcess) -> u64 {
    let metrics = reqwest::get(&api.metrics_url)
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("latchkey_http_requests_total"));
    counted
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_refuses_a_flood_and_goes_on_without_one_of_two_apis() {
    let bed = TestBed::new().await;
    Api::start(&bed).await.admin().await;
    let (mut one, two) = tokio::join!(api_of(&bed), api_of(&bed));
    let gateway = Gateway::before(&[&one.base_url, &two.base_url]).await;

    one.kill().await;
    for _ in 0..20 {
        sign_in(&gateway).await;
    }

    let flood = (0..400).map(|_| gateway.request(Method::GET, "/health/live").send());
    let answers = futures::future::join_all(flood).await;
    let mut refused = 0;
    for answer in answers {
        let answer = answer.unwrap();
        if answer.status() == 429 {
            refused += 1;
            assert_eq!(answer.headers()["retry-after"], "1");
            for kept in ["x-request-id", "cache-control", "strict-transport-security"] {
                assert!(answer.headers().contains_key(kept), "{kept}");
            }
            assert_eq!(answer.json::<Value>().await.unwrap()["code"], "rate_limited");
        } else {
            assert_eq!(answer.status(), 200);
        }
    }
    assert!((50..400).contains(&refused), "{refused} of 400 were refused");

    drop(two);
    sleep(Duration::from_secs(2)).await;
    let answer = gateway.request(Method::GET, "/health/live").send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert!(answer.headers().contains_key("strict-transport-security"));
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_counts_nothing_of_own_services_and_leads_to_the_front_end() {
    let bed = TestBed::new().await;
    let api = api_of(&bed).await;
    // Any server does for one of pages.
    let pages = api.metrics_url.trim_end_matches("/metrics");
    let changes = [
        ("# 10.20.0.0/16 1;", "127.0.0.1/32 1;"),
        (
            "return 404;\n        # proxy_pass http://127.0.0.1:3000;",
            &format!("proxy_pass {pages};"),
        ),
    ];
    let gateway = Gateway::changed(&[&api.base_url], &changes).await;
    let many = (0..400).map(|_| gateway.request(Method::GET, "/health/live").send());
    for answer in futures::future::join_all(many).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    let page = gateway.request(Method::GET, "/metrics?token=none");
    let answer = page.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("retry-after"));
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("latchkey_http_requests_total")
    );
}
