//! Health, metrics and the end of the process.

use std::time::Duration;

use latchkey_testing::{PrivateRedis, RealProcess, TestBed, Way};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::support::{ADMIN, Api, PASSWORD, code_and_text, command};

#[tokio::test]
async fn a_process_is_ready_with_postgres_and_degraded_without_redis() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    assert_eq!(
        Api::send(api.request(Method::GET, "/health/live"))
            .await
            .expect(200),
        json!({ "status": "live" })
    );
    let ready = Api::send(api.request(Method::GET, "/health/ready"))
        .await
        .expect(200);
    assert_eq!(
        ready,
        json!({ "status": "ready", "postgres": "ok", "redis": "ok", "signals": "ok", "draining": false })
    );

    let bed = TestBed::with(&[("redis.url", "redis://127.0.0.1:9/0")]).await;
    let api = Api::start(&bed).await;
    let ready = Api::send(api.request(Method::GET, "/health/ready"))
        .await
        .expect(200);
    assert_eq!(
        (&ready["status"], &ready["redis"]),
        (&json!("degraded"), &json!("unavailable"))
    );
}

#[tokio::test]
async fn a_database_that_is_yet_to_be_migrated_is_not_ready_and_a_newer_one_is() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = sea_orm::Database::connect(&bed.owner_url).await.unwrap();
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m99991231_000000_later', 0)";
    sea_orm::ConnectionTrait::execute_unprepared(&owner, newer)
        .await
        .unwrap();
    Api::send(api.request(Method::GET, "/health/ready"))
        .await
        .expect(200);
    let older = "DELETE FROM seaql_migrations WHERE version <> (SELECT min(version) FROM seaql_migrations)";
    sea_orm::ConnectionTrait::execute_unprepared(&owner, older)
        .await
        .unwrap();
    let ready = Api::send(api.request(Method::GET, "/health/ready"))
        .await
        .expect(503);
    assert_eq!(
        (&ready["status"], &ready["postgres"]),
        (&json!("not_ready"), &json!("wrong_version"))
    );
}

#[tokio::test]
async fn a_process_that_hears_of_no_revocations_is_not_ready() {
    let bed = TestBed::new().await;
    let (stop, deaf) = (CancellationToken::new(), CancellationToken::new());
    let api = Api::serve_deaf(bed.context.clone(), stop).await;
    let ready = async || Api::send(api.request(Method::GET, "/health/ready")).await;
    let not_ready = json!({
        "status": "not_ready", "postgres": "ok", "redis": "ok", "signals": "stale", "draining": false
    });
    assert_eq!(ready().await.expect(503), not_ready);

    api.hear(deaf.clone()).await;
    assert_eq!(ready().await.expect(200)["signals"], "ok");
    let token = api.admin().await;
    api.get_as(&token, "/v1/auth/me").await.expect(200);

    deaf.cancel();
    let until = Instant::now() + Duration::from_secs(20);
    let stale = loop {
        let answer = ready().await;
        if answer.status == 503 {
            break answer;
        }
        assert!(Instant::now() < until, "{answer:?}");
        sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(stale.expect(503), not_ready);
    assert!(api.context.signals.unheard() >= Duration::from_secs(2));
    api.get_as(&token, "/v1/auth/me")
        .await
        .refused(503, "unavailable");
}

/// For how many seconds the process has heard nothing, as its metrics tell.
fn unheard(metrics: &str) -> f64 {
    let told = metrics
        .lines()
        .find_map(|line| line.strip_prefix("latchkey_signals_unheard_seconds "));
    told.unwrap_or_else(|| panic!("not told in {metrics}"))
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_loses_both_databases_tells_for_how_long_it_has_heard_nothing() {
    let mut redis = PrivateRedis::start(PrivateRedis::free_port()).await;
    let bed = TestBed::with(&[("redis.url", &redis.url())]).await;
    let mut way = Way::to(&bed.app_url()).await;
    let api = RealProcess::api_with(&bed, &[("postgres.url", &way.url)]).await;
    let until = async |so: fn(f64) -> bool, status: u16, signals: &str| {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let metrics = reqwest::get(&api.metrics_url).await.unwrap();
            let unheard = unheard(&metrics.text().await.unwrap());
            let ready = reqwest::get(format!("{}/health/ready", api.base_url)).await;
            let ready = ready.unwrap();
            let told = (ready.status().as_u16(), ready.json::<Value>().await.unwrap());
            if so(unheard) && told.0 == status && told.1["signals"] == signals {
                return;
            }
            assert!(Instant::now() < until, "{unheard} s: {told:?}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    until(|unheard| unheard < 2.0, 200, "ok").await;
    redis.kill().await;
    way.close().await;
    until(|unheard| unheard > 4.0, 503, "stale").await;
    way.open().await;
    until(|unheard| unheard < 2.0, 200, "ok").await;
}

#[tokio::test]
async fn metrics_are_on_a_listener_of_their_own_in_seconds() {
    let bed = TestBed::new().await;
    let api = RealProcess::api(&bed).await;
    let client = Client::builder().build().unwrap();
    client
        .get(format!("{}/health/live", api.base_url))
        .send()
        .await
        .unwrap();
    let metrics = client
        .get(&api.metrics_url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics.contains("latchkey_http_request_seconds_bucket"),
        "{metrics}"
    );
    assert!(metrics.contains(r#"route="/health/live""#), "{metrics}");
    assert!(unheard(&metrics) < 2.0, "{metrics}");
    let public = client
        .get(format!("{}/metrics", api.base_url))
        .send()
        .await
        .unwrap();
    assert_eq!(public.status(), 404);
}

#[tokio::test]
async fn s38_sigterm_fails_no_request_in_flight_and_turns_readiness_first() {
    let settings = [
        ("passwords.memory_kib", "19456"),
        ("passwords.iterations", "2"),
        ("server.drain_notice", "0.5"),
    ];
    let bed = TestBed::with(&settings).await;
    let helper = Api::start(&bed).await;
    helper.admin().await;
    let mut api = RealProcess::api(&bed).await;
    let client = Client::builder()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let ready = format!("{}/health/ready", api.base_url);
    let login = client
        .post(format!("{}/v1/auth/login", api.base_url))
        .header("x-tenant-id", "platform")
        .json(&json!({ "email": ADMIN, "password": PASSWORD }));
    let in_flight: Vec<_> = (0..10)
        .map(|_| tokio::spawn(login.try_clone().unwrap().send()))
        .collect();

    let ended = tokio::spawn(async move { api.terminate().await });
    let mut turned = false;
    while let Ok(answer) = client.get(&ready).send().await {
        turned |= answer.status() == 503;
    }
    assert!(turned, "it said that it is not ready while it still answered");
    for request in in_flight {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
    assert!(ended.await.unwrap(), "it ended with 0");
}

/// Asks until nobody answers: when the last answer was whole, and when the request began that had none.
async fn ask_on(url: String, token: String) -> (Instant, Instant) {
    let client = Client::builder().build().unwrap();
    let mut pace = interval(Duration::from_millis(40));
    let mut answered = Instant::now();
    loop {
        pace.tick().await;
        let begun = Instant::now();
        let Ok(answer) = client.get(&url).bearer_auth(&token).send().await else {
            return (answered, begun);
        };
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
        answered = Instant::now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s38_sigterm_under_load_refuses_only_who_comes_after_readiness_has_turned() {
    const NOTICE: Duration = Duration::from_secs(2);
    let bed = TestBed::with(&[("server.drain_notice", "2")]).await;
    let helper = Api::start(&bed).await;
    let token = helper.admin().await;
    let mut api = RealProcess::api(&bed).await;
    let load: Vec<_> = (0..8)
        .map(|_| tokio::spawn(ask_on(format!("{}/v1/auth/me", api.base_url), token.clone())))
        .collect();
    // In flight until after nobody is let in any more: half of its body is still to come.
    let body = json!({ "email": ADMIN, "password": PASSWORD }).to_string();
    let (first, rest) = body.split_at(body.len() / 2);
    let mut slow = TcpStream::connect(api.base_url.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    let head = format!(
        "POST /v1/auth/login HTTP/1.1\r\nhost: here\r\nx-tenant-id: platform\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{first}",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();

    let (client, ready) = (&helper.client, format!("{}/health/ready", api.base_url));
    assert_eq!(client.get(&ready).send().await.unwrap().status(), 200);
    let asked_to_end = Instant::now();
    let ended = tokio::spawn(async move { api.terminate().await });
    let mut turned = None;
    while let Ok(answer) = client.get(&ready).send().await {
        if answer.status() == 503 {
            turned.get_or_insert_with(Instant::now);
        }
        sleep(Duration::from_millis(20)).await;
    }
    let turned = turned.expect("it said that it is not ready while it still answered");
    slow.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for asking in load {
        let (answered, refused) = asking.await.unwrap();
        assert!(
            answered > turned,
            "it answers on while it says that it is not ready"
        );
        // A request on its way at the very end of the notice may come too late; one of its first half may not.
        let after = refused - asked_to_end;
        assert!(after > NOTICE / 2, "refused {after:?} after SIGTERM");
    }
    assert!(ended.await.unwrap(), "it ended with 0");
}

#[tokio::test]
async fn s38_a_client_is_told_to_let_its_connection_go_and_an_unused_one_holds_nothing_up() {
    let bed = TestBed::with(&[("server.drain_notice", "2"), ("server.drain", "60")]).await;
    let mut api = RealProcess::api(&bed).await;
    let address = api.base_url.strip_prefix("http://").unwrap().to_owned();
    let mut unused = TcpStream::connect(&address).await.unwrap();
    let mut connection = TcpStream::connect(&address).await.unwrap();
    let ended = tokio::spawn(async move { timeout(Duration::from_secs(40), api.terminate()).await });

    let answers = async {
        let mut received = String::new();
        // It may have begun to end after it had said that it is ready.
        while !received.contains("connection: close\r\n") {
            assert!(!received.contains(" 503 "), "it goes on: {received}");
            received.clear();
            connection
                .write_all(b"GET /health/ready HTTP/1.1\r\nhost: here\r\n\r\n")
                .await
                .unwrap();
            while !received.ends_with('}') {
                let mut part = [0; 4096];
                let length = connection.read(&mut part).await.unwrap();
                assert!(length > 0, "it broke off: {received}");
                received.push_str(std::str::from_utf8(&part[..length]).unwrap());
            }
        }
        connection.read_to_string(&mut received).await.unwrap();
    };
    timeout(Duration::from_secs(20), answers)
        .await
        .expect("the answer is the last, and the connection closed");
    assert_eq!(
        ended.await.unwrap(),
        Ok(true),
        "it ended with 0, and did not wait for who asks nothing"
    );
    assert_eq!(unused.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn processes_tell_of_what_alerts_wait_for_before_it_happens() {
    const ALERTS: &str = include_str!("../../deploy/monitoring/alerts.yaml");
    let bed = TestBed::new().await;
    let (api, worker) = tokio::join!(RealProcess::api(&bed), RealProcess::worker(&bed));
    let mut waited_for: Vec<String> = ALERTS
        .split("increase(")
        .skip(1)
        .map(|rise| rise.split(['{', '[']).next().unwrap().to_owned())
        .collect();
    assert!(waited_for.len() >= 6, "{waited_for:?}");
    waited_for.extend(["fresh", "retry", "mail"].map(|lane| {
        let name = "latchkey_queue_handler_panics_total";
        format!("{name}{{lane=\"{lane}\"}} 0")
    }));
    let given_up = r#"latchkey_mail_attempts_total{kind="invitation",outcome="given_up"} 0"#;
    waited_for.push(given_up.to_owned());
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let mut told = String::new();
        for url in [&api.metrics_url, &worker.metrics_url] {
            told += &reqwest::get(url).await.unwrap().text().await.unwrap();
        }
        let is_told = |what: &String| {
            let mut lines = told.lines();
            lines.any(|line| line.starts_with(what.as_str()) && line.ends_with(" 0"))
        };
        waited_for.retain(|what| !is_told(what));
        if waited_for.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "{waited_for:?} are not in:\n{told}");
    }
}

#[tokio::test]
async fn s37_unsafe_production_settings_refuse_to_start_and_name_every_fault() {
    let bed = TestBed::new().await;
    let mut check = command(&bed, &["config", "check"]);
    check
        .env("LATCHKEY__SERVER__ENVIRONMENT", "production")
        .env("LATCHKEY__SERVER__PUBLIC_URL", "http://id.example.com")
        .env("LATCHKEY__TOKENS__KEYS", "k1:c2hvcnQ=")
        .env("LATCHKEY__WORKER__CONCURENCY", "8")
        .env("LATCHKEY__MAIL__TIMEOUT", "0")
        .env("LATCHKEY__TOKENS__REFRESH_TTL", "1e18")
        .env("LATCHKEY__MAIL__FROM", "nobody")
        .env("LATCHKEY__LOG__LEVEL", "latchkey=loud")
        .env("LATCHKEY__SECRETS__CURRENT_DATA_KEY", "c2hvcnQ")
        .env(
            "LATCHKEY__PASSWORDS__BREACH_RANGE_URL",
            "https://u:c2hvcnQ@example.com/range",
        );
    let (code, faults) = code_and_text(&mut check);
    assert_eq!(code, Some(1));
    for fault in [
        "server.public_url",
        "server.trusted_proxies",
        "tokens.keys: key 0 is shorter",
        "mail.transport",
        "passwords",
        "worker.concurency: is not a setting",
        "mail.timeout: must be longer than nothing",
        "tokens.refresh_ttl: expects seconds",
        "mail.from: expects",
        "log.level: ",
        "secrets.current_data_key: names none of secrets.data_keys",
        "passwords.breach_range_url: expects an http or https URL without user",
    ] {
        assert!(faults.contains(fault), "{fault} is not named in:\n{faults}");
    }
    assert!(!faults.contains("c2hvcnQ"), "a secret is shown:\n{faults}");
}

#[tokio::test]
async fn s37_production_names_its_gateway_and_mails_in_private() {
    let bed = TestBed::with(&[
        ("server.environment", "production"),
        ("server.trusted_proxies", "10.0.0.0/8"),
        ("passwords.memory_kib", "19456"),
        ("passwords.iterations", "2"),
        ("mail.transport", "smtp"),
        ("mail.smtp_url", "smtps://u:p@mail.example.com"),
    ])
    .await;
    let check = |key: &'static str, value: &str| {
        let name = format!("LATCHKEY__{}", key.to_uppercase().replace('.', "__"));
        code_and_text(command(&bed, &["config", "check"]).env(name, value))
    };
    for (key, good) in [
        ("server.trusted_proxies", "10.0.0.0/8,fd00::/8"),
        ("server.allowed_origins", ""),
        (
            "server.allowed_origins",
            "https://app.example.com, http://localhost:5173,http://[::1]:5173",
        ),
        ("mail.smtp_url", "smtp://mail.example.com:587?tls=required"),
        ("mail.smtp_url", "smtp://127.0.0.1:25"),
        ("mail.smtp_url", "smtp://[::1]:25"),
        ("mail.from", "no-reply@example.com"),
        ("mail.from", "Büro, Inc. <no-reply@example.com>"),
    ] {
        assert_eq!(check(key, good).0, Some(0), "{key}={good}");
    }
    for (key, unsafe_value) in [
        ("server.trusted_proxies", ""),
        ("server.trusted_proxies", "10.0.0.0/8,0.0.0.0/0"),
        ("server.trusted_proxies", "::/0"),
        ("server.allowed_origins", "http://app.example.com"),
        ("server.allowed_origins", "https://app.example.com/"),
        ("server.allowed_origins", "*"),
        ("server.public_url", "http://id.example.com"),
        ("server.public_url", "https://u:p@id.example.com"),
        ("mail.smtp_url", "smtp://mail.example.com:587"),
        ("mail.smtp_url", "smtp://mail.example.com?tls=opportunistic"),
        ("mail.from", "Latchkey <no-reply>"),
        ("webhooks.allowed_cidrs", "0.0.0.0/0"),
    ] {
        let (code, faults) = check(key, unsafe_value);
        assert_eq!(code, Some(1), "{key}={unsafe_value}");
        assert!(
            faults.contains("1 fault(s)") && faults.contains(&format!("\n{key}: ")),
            "{faults}"
        );
    }
}

#[tokio::test]
async fn who_sends_no_request_does_not_keep_a_connection() {
    let bed = TestBed::with(&[("server.keep_alive", "0.5")]).await;
    let api = Api::start(&bed).await;
    let address = api.base_url.strip_prefix("http://").unwrap();
    for sent in [
        "",
        "GET /health/live HTTP/1.1\r\nhost: here\r\nx-slow: ",
        "GET /health/live HTTP/1.1\r\nhost: here\r\n\r\n",
    ] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let closed = timeout(Duration::from_secs(20), connection.read_to_string(&mut answer)).await;
        assert!(closed.is_ok(), "it stays open: {sent:?}");
        assert_eq!(answer.contains("200 OK"), sent.ends_with("\r\n\r\n"), "{answer}");
    }
}
