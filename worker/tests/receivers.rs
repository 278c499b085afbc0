//! Every kind of receiver, and what becomes of a delivery to it.
//!
//! Each row of the table is a receiver that answers one call in its own way, and the documented outcome of that call:
//! the delivery's state, the error class, the status, and when the next attempt is due.

use std::{
    future::{pending, poll_fn},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::{
    entity::{DeliveryState, ErrorClass},
    principal::Origin,
    webhook::{self, Delivery},
};
use latchkey_testing::{Answer, RealProcess, Receiver};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::world::World;

const TIMEOUT: Duration = Duration::from_secs(1);

/// What becomes of a delivery after its first call.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Succeeded,
    /// Tried again so many seconds later, with the schedule's first wait as the least.
    Again(i64),
    /// Given up at once.
    Failed,
}

/// A first call's outcome, its error class and its status.
type Expected = (Outcome, Option<ErrorClass>, Option<i16>);

const TAKEN: Outcome = Outcome::Succeeded;
/// The schedule's first wait, in seconds.
const FIRST_WAIT: i64 = 5;
const LATER: Outcome = Outcome::Again(FIRST_WAIT);

/// Calls the receiver once and compares.
async fn expect(world: &World, name: &str, url: &str, expected: Expected) {
    let endpoint = world.endpoint(url).await.endpoint;
    let worker = world.worker().await;
    world.publish("order.placed", json!({ "to": name })).await;
    let delivery = world.attempted(1).await;
    worker.stop().await;
    judge(world, name, &delivery, expected).await;
    let (context, proof) = (world.context(), world.proof());
    webhook::delete_endpoint(context, &proof, &Origin::default(), endpoint.id)
        .await
        .unwrap();
    world.execute("DELETE FROM deliveries").await;
}

async fn judge(world: &World, name: &str, delivery: &Delivery, (outcome, class, status): Expected) {
    let [attempt] = world.attempts(delivery.id).await.try_into().unwrap();
    let detail = &attempt.error_detail;
    assert_eq!(
        (attempt.error_class, attempt.status),
        (class, status),
        "{name}: {detail:?}"
    );
    assert_eq!(
        (attempt.number, attempt.succeeded),
        (1, class.is_none()),
        "{name}"
    );
    let state = match outcome {
        Outcome::Succeeded => DeliveryState::Succeeded,
        Outcome::Again(_) => DeliveryState::Pending,
        Outcome::Failed => DeliveryState::Failed,
    };
    assert_eq!((delivery.state, delivery.attempts), (state, 1), "{name}");
    assert_eq!(
        delivery.finished_at.is_some(),
        state != DeliveryState::Pending,
        "{name}"
    );
    match (outcome, delivery.next_attempt_at) {
        (Outcome::Again(seconds), Some(at)) => {
            let wait = (at - attempt.started_at).num_milliseconds() - i64::from(attempt.duration_ms);
            // The schedule's own wait varies by a fifth; the receiver's wish is granted to the second, and the test's own steps take
            // a moment.
            let about = seconds * 1000;
            let either_way = if seconds == FIRST_WAIT { about / 5 } else { 2000 };
            assert!((wait - about).abs() <= either_way + 500, "{name}: {wait} ms");
        }
        (_, at) => assert_eq!(at, None, "{name}"),
    }
}

/// Answers one request over HTTP.
async fn answers(world: &World, name: &str, answer: Answer, expected: Expected) {
    let receiver = Receiver::start().await;
    receiver.answer([answer]);
    expect(world, name, &receiver.url("/"), expected).await;
    assert_eq!(receiver.rest().await.len(), 1, "{name}: called once");
}

/// A receiver that reads a request, sends these bytes and hangs up.
async fn hangs_up_after(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_request(&mut stream).await;
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
        }
    });
    url
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    // The body of each event here is small and comes with, or right behind, the head; it ends the data.
    while !read.ends_with(b"}}") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => read.extend_from_slice(&buffer[..length]),
        }
    }
}

#[tokio::test]
async fn each_answer_has_its_outcome() {
    let world = World::with(&[("webhooks.timeout", "1")]).await;
    let failed = |status| (LATER, Some(ErrorClass::HttpStatus), Some(status));
    for status in [200, 201, 202, 204] {
        let answer = Answer::status(u16::try_from(status).unwrap());
        answers(&world, "takes it", answer, (TAKEN, None, Some(status))).await;
    }
    answers(
        &world,
        "talks without end",
        Answer::Endless,
        (TAKEN, None, Some(200)),
    )
    .await;
    for status in [400, 401, 404, 429, 500, 502, 503, 504] {
        answers(
            &world,
            "fails",
            Answer::status(u16::try_from(status).unwrap()),
            failed(status),
        )
        .await;
    }
    for status in [301, 302, 303, 307, 308] {
        let answer = Answer::with_header(u16::try_from(status).unwrap(), "location", "https://example.com/");
        answers(
            &world,
            "leads elsewhere",
            answer,
            (LATER, Some(ErrorClass::Redirect), Some(status)),
        )
        .await;
    }
    let gone = (Outcome::Failed, Some(ErrorClass::HttpStatus), Some(410));
    answers(&world, "is gone", Answer::status(410), gone).await;
}

#[tokio::test]
async fn of_an_answer_so_much_is_kept_and_no_more() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    let mut headers = vec![("x-long", "v".repeat(2_000))];
    headers.extend((0..60).map(|number| ("x-many", number.to_string())));
    let body = ["a\0b", &"c".repeat(20_000)].concat().into_bytes();
    receiver.answer([Answer::Status(200, headers, body)]);
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    let delivery = world.attempted(1).await;
    worker.stop().await;
    let [attempt] = world.attempts(delivery.id).await.try_into().unwrap();
    let kept = &attempt.response_headers;
    assert_eq!(kept["x-long"].as_str().map(str::len), Some(1024));
    let many = kept["x-many"].as_str().unwrap().split(", ").count();
    // The server's own headers are among the fifty.
    assert!((40..50).contains(&many), "{many}");
    let body = attempt.response_body.unwrap();
    assert!(body.starts_with("a\u{fffd}bccc"));
    assert_eq!(body.chars().count(), 16 * 1024);
}

/// What `Retry-After` says.
enum Wish {
    Text(&'static str),
    /// The date that it is so many seconds from now.
    In(i64),
}

#[tokio::test]
async fn a_wish_for_patience_is_granted_where_it_may_be_uttered() {
    let world = World::new().await;
    let text = |wish| match wish {
        Wish::Text(text) => text.to_owned(),
        Wish::In(seconds) => {
            let at: DateTime<Utc> = world.context().clock.now() + TimeDelta::seconds(seconds);
            at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
        }
    };
    let wishes = [
        ("seconds", 429, Wish::Text("3600"), 3600),
        ("seconds", 503, Wish::Text("120"), 120),
        ("a date", 429, Wish::In(7200), 7200),
        ("a date", 503, Wish::In(600), 600),
        ("more than a day", 429, Wish::Text("31536000"), 86_400),
        ("less than the schedule", 429, Wish::Text("1"), FIRST_WAIT),
        ("a date that is past", 503, Wish::In(-60), FIRST_WAIT),
        ("nonsense", 429, Wish::Text("soon"), FIRST_WAIT),
        ("of a status that has none", 500, Wish::Text("3600"), FIRST_WAIT),
    ];
    for (name, status, wish, seconds) in wishes {
        let answer = Answer::with_header(status, "retry-after", &text(wish));
        let status = i16::try_from(status).unwrap();
        let expected = (
            Outcome::Again(seconds),
            Some(ErrorClass::HttpStatus),
            Some(status),
        );
        answers(&world, name, answer, expected).await;
    }
}

#[tokio::test]
async fn a_call_without_an_answer_says_why() {
    let world = World::with(&[("webhooks.timeout", "1")]).await;
    let failed = |class| (LATER, Some(class), None);
    answers(&world, "hangs", Answer::Silence, failed(ErrorClass::Timeout)).await;
    let (slow, slower) = (
        Receiver::slow(TIMEOUT / 2).await,
        Receiver::slow(TIMEOUT * 2).await,
    );
    expect(&world, "is slow", &slow.url("/"), (TAKEN, None, Some(204))).await;
    expect(
        &world,
        "is too slow",
        &slower.url("/"),
        failed(ErrorClass::Timeout),
    )
    .await;
    let closed = Receiver::start().await;
    closed.stop().await;
    expect(&world, "is away", &closed.url("/"), failed(ErrorClass::Connect)).await;
    expect(
        &world,
        "has no address",
        "http://name.invalid/",
        failed(ErrorClass::Dns),
    )
    .await;

    let hung_up = failed(ErrorClass::ConnectionClosed);
    for (name, said, expected) in [
        ("says nothing", &b""[..], hung_up),
        ("stops in the head", b"HTTP/1.1 200 OK\r\ncontent-le", hung_up),
        (
            "speaks no HTTP",
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            failed(ErrorClass::InvalidResponse),
        ),
        // The status has said what became of the event.
        (
            "stops in the body",
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
            (TAKEN, None, Some(200)),
        ),
    ] {
        expect(&world, name, &hangs_up_after(said).await, expected).await;
    }
}

#[tokio::test]
async fn a_receiver_that_fails_now_and_then_has_its_events_in_the_end() {
    const EVENTS: usize = 6;
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    receiver.answer((0..EVENTS * 2).map(|call| Answer::status(if call % 2 == 0 { 500 } else { 204 })));
    let worker = world.worker().await;
    world.publish_many(EVENTS).await;
    // Each round of the schedule half of what is left gets through.
    for round in 0.. {
        let deliveries = world.deliveries().await;
        if deliveries
            .iter()
            .all(|delivery| delivery.state == DeliveryState::Succeeded)
        {
            break;
        }
        assert!(round < 1_000, "{deliveries:?}");
        if deliveries
            .iter()
            .all(|delivery| delivery.attempts > 0 || delivery.state != DeliveryState::Pending)
        {
            world.advance(6 * 3600);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.stop().await;
    let calls = receiver.rest().await;
    let recorded = world.count("SELECT count(*) FROM attempts").await;
    assert_eq!(i64::try_from(calls.len()).unwrap(), recorded);
    let taken = world
        .count("SELECT count(*) FROM attempts WHERE outcome = 'succeeded'")
        .await;
    assert_eq!(taken, i64::try_from(EVENTS).unwrap());
}

/// Certificates of one authority, and one of nobody's.
struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "The authority");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { authority }
    }

    /// A server's, for the name, valid for so many years until then.
    fn issue(&self, name: &str, last_year: i32) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = Self::params(name, last_year);
        acceptor(&params.signed_by(&key, &self.authority).unwrap(), &key)
    }

    fn params(name: &str, last_year: i32) -> CertificateParams {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        params
    }
}

fn acceptor(certificate: &rcgen::Certificate, key: &KeyPair) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A receiver that answers 204 to whoever trusts it.
async fn over_tls(acceptor: TlsAcceptor) -> SocketAddr {
    async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        let _ = stream.flush().await;
        pending::<()>().await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream).await;
                }
            });
        }
    });
    address
}

/// A receiver that talks without end over HTTP/2, to whoever lets it; how many bytes that were.
async fn endless_over_http2(acceptor: &TlsAcceptor) -> (SocketAddr, Arc<AtomicUsize>) {
    let mut config = rustls::ServerConfig::clone(acceptor.config());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let said = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&said);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let said = Arc::clone(&counted);
            tokio::spawn(async move {
                let head = hyper::Response::new(());
                let mut body = respond.send_response(head, false).unwrap();
                loop {
                    body.reserve_capacity(16 * 1024);
                    let Some(Ok(room)) = poll_fn(|cx| body.poll_capacity(cx)).await else {
                        return;
                    };
                    if body.send_data(vec![b'a'; room].into(), false).is_err() {
                        return;
                    }
                    said.fetch_add(room, Ordering::Relaxed);
                }
            });
        }
    });
    (address, said)
}

#[tokio::test]
async fn s32_an_endless_body_over_http2_costs_little_more_than_what_is_kept() {
    let world = World::new().await;
    let certificates = Certificates::new();
    let trusted = world.bed.mails.path().join("authority.pem");
    std::fs::write(&trusted, certificates.authority.pem()).unwrap();
    let (address, said) = endless_over_http2(&certificates.issue("127.0.0.1", 2100)).await;
    world.endpoint(&format!("https://{address}/")).await;
    let worker = RealProcess::worker_trusting(&world.bed, &trusted).await;
    world.publish("order.placed", json!({})).await;
    let delivery = world.attempted(1).await;
    drop(worker);
    assert_eq!(delivery.state, DeliveryState::Succeeded);
    let [attempt] = world.attempts(delivery.id).await.try_into().unwrap();
    assert_eq!(attempt.response_body.map(|body| body.len()), Some(16 * 1024));
    let said = said.load(Ordering::Relaxed);
    assert!(said <= 128 * 1024, "{said} bytes");
}

#[tokio::test]
async fn only_a_receiver_with_a_certificate_to_be_trusted_is_told_anything() {
    let world = World::new().await;
    let certificates = Certificates::new();
    let trusted = world.bed.mails.path().join("authority.pem");
    std::fs::write(&trusted, certificates.authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = Certificates::params("127.0.0.1", 2100).self_signed(&key).unwrap();
    let plain = Receiver::start().await;
    let refused = |why| ((LATER, Some(ErrorClass::Tls), None), why);
    let cases = [
        (
            "good",
            over_tls(certificates.issue("127.0.0.1", 2100)).await,
            ((TAKEN, None, Some(204)), ""),
        ),
        (
            "expired",
            over_tls(certificates.issue("127.0.0.1", 2021)).await,
            refused("xpired"),
        ),
        (
            "another's",
            over_tls(certificates.issue("example.com", 2100)).await,
            refused("not valid for name"),
        ),
        (
            "its own",
            over_tls(acceptor(&own, &key)).await,
            refused("UnknownIssuer"),
        ),
        ("none", plain.address(), refused("corrupt message")),
    ];
    let worker = RealProcess::worker_trusting(&world.bed, &trusted).await;
    for (name, address, (expected, why)) in cases {
        let endpoint = world.endpoint(&format!("https://{address}/")).await.endpoint;
        world.publish("order.placed", json!({ "to": name })).await;
        let delivery = world.attempted(1).await;
        let [attempt] = world.attempts(delivery.id).await.try_into().unwrap();
        assert_eq!(
            (attempt.error_class, attempt.status),
            (expected.1, expected.2),
            "{name}: {:?}",
            attempt.error_detail
        );
        let detail = attempt.error_detail.unwrap_or_default();
        assert!(detail.contains(why), "{name}: {detail}");
        let (context, proof) = (world.context(), world.proof());
        webhook::delete_endpoint(context, &proof, &Origin::default(), endpoint.id)
            .await
            .unwrap();
        world.execute("DELETE FROM deliveries").await;
    }
    drop(worker);
    assert!(plain.rest().await.is_empty());
}
