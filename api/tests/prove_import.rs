//! An import of any size takes no more memory than a small one.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use latchkey_testing::{Prove, RealProcess, TestBed};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::support::{Api, ndjson};

/// A user of that number; each tenth line is faulty, and each tenth is the one before it again.
fn line(n: usize) -> Value {
    match n % 10 {
        3 => json!({ "email": "nobody", "name": n.to_string() }),
        7 => line(n - 1),
        _ => {
            json!({ "email": format!("user{n}@example.com"), "name": format!("User {n}"), "email_verified": true,
                     "external_id": format!("crm-{n}"), "roles": ["member"],
                     "password_hash": "$2b$05$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS" })
        }
    }
}

/// What an import has come to.
struct Outcome {
    summary: Value,
    lines: usize,
    took: Duration,
}

/// Sends so many lines in chunks and reads the answer meanwhile, as one connection of HTTP/1.1 does.
async fn import(api: &RealProcess, token: &str, size: usize) -> Outcome {
    let started = Instant::now();
    let address = api.base_url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (reader, mut writer) = stream.into_split();
    let head = format!(
        "POST /v1/users/import HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    );
    let sending = async move {
        writer.write_all(head.as_bytes()).await.unwrap();
        for first in (0..size).step_by(100) {
            let lines = ndjson((first..size.min(first + 100)).map(line));
            let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
            writer.write_all(chunk.as_bytes()).await.unwrap();
        }
        writer.write_all(b"0\r\n\r\n").await.unwrap();
        writer
    };
    let reading = async move {
        let (mut lines, mut last, mut text) = (0, String::new(), String::new());
        let mut reader = BufReader::new(reader);
        while reader.read_line(&mut text).await.unwrap() > 0 {
            // Chunks may cut a line in two; the sizes between them stand alone.
            if text.contains("\"line\":") {
                lines += 1;
            }
            if text.contains("\"complete\":") {
                last.clone_from(&text);
            }
            text.clear();
        }
        (lines, last)
    };
    let (_, (lines, last)) = futures::join!(sending, reading);
    Outcome {
        summary: serde_json::from_str(&last).unwrap_or_else(|_| panic!("no summary: {last:?}")),
        lines,
        took: started.elapsed(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_streams_in_bounded_memory_and_can_be_repeated() {
    const BOUND: u64 = 48 << 20;
    let size = Prove::size(1_000, 100_000);
    let bed = TestBed::with(&[("log.level", "warn"), ("tokens.access_ttl", "3600")]).await;
    let helper = Api::start(&bed).await;
    let admin = helper.admin().await;
    let (_, owner) = helper.tenant(&admin, "acme").await;
    let api = RealProcess::api(&bed).await;
    // Connections and caches are there from here on.
    import(&api, &owner, 300).await;

    let (before, most, done) = (api.memory(), AtomicU64::new(0), AtomicBool::new(false));
    let watching = async {
        while !done.load(Ordering::Relaxed) {
            most.fetch_max(api.memory(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let importing = async {
        let first = import(&api, &owner, size).await;
        let again = import(&api, &owner, size).await;
        done.store(true, Ordering::Relaxed);
        (first, again)
    };
    let ((), (first, again)) = futures::join!(watching, importing);
    let grown = most.load(Ordering::Relaxed).saturating_sub(before);
    println!(
        "{size} lines: imported in {:?}, again in {:?}; memory {} MiB, grown by {} MiB at most",
        first.took,
        again.took,
        before >> 20,
        grown >> 20
    );
    let good = size - size / 10;
    for outcome in [&first, &again] {
        assert_eq!(outcome.summary["complete"], true);
        assert_eq!(outcome.summary["failed"], size / 10, "{}", outcome.summary);
        assert_eq!(outcome.lines, size, "a result for each line");
    }
    let of = |outcome: &Outcome, field: &str| outcome.summary[field].as_u64().unwrap();
    assert_eq!(of(&first, "created") + of(&first, "unchanged"), good as u64);
    assert_eq!((of(&again, "created"), of(&again, "unchanged")), (0, good as u64));
    let users = i64::try_from(size - 2 * size / 10).unwrap();
    assert_eq!(
        helper
            .scalar("SELECT count(*) FROM users WHERE email LIKE 'user%'")
            .await,
        users
    );
    assert!(grown < BOUND, "the import took {grown} bytes");
}

/// As many clients are written: everything is sent before anything is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_before_it_has_sent_everything_is_waited_for() {
    let size = Prove::size(1_000, 20_000);
    let bed = TestBed::with(&[("log.level", "warn")]).await;
    let helper = Api::start(&bed).await;
    let admin = helper.admin().await;
    let (_, owner) = helper.tenant(&admin, "acme").await;
    let body = ndjson((0..size).map(line));
    let address = helper.base_url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/users/import HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {owner}\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)
        .await
        .unwrap();
    assert!(
        answer.contains("\"complete\":true"),
        "{}",
        &answer[..answer.len().min(500)]
    );
    assert_eq!(answer.matches("\"line\":").count(), size);
}
