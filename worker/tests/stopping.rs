//! Workers that are asked to stop while somebody lets them wait for longer than they may.

use std::{io::Read as _, time::Duration};

use latchkey_shared::{entity::DeliveryState, mail::Letter};
use latchkey_testing::RealProcess;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    mailing::{send, until},
    world::World,
};

/// Far less than a lease of those that these tests wait for.
const SOON: Duration = Duration::from_secs(10);

async fn next(listener: &TcpListener) -> BufReader<TcpStream> {
    let accepted = timeout(SOON, listener.accept()).await;
    BufReader::new(accepted.expect("a connection soon").unwrap().0)
}

async fn line(connection: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    let read = timeout(SOON, connection.read_line(&mut line)).await;
    assert!(read.expect("a line soon").unwrap() > 0, "it was closed");
    line.trim_end().to_owned()
}

/// Reads until the line, and returns what stands behind the prefix before it.
async fn read_until(connection: &mut BufReader<TcpStream>, last: &str, prefix: &str) -> String {
    let mut found = String::new();
    loop {
        let line = line(connection).await;
        if line == last {
            return found;
        }
        if let Some(value) = line.strip_prefix(prefix) {
            value.clone_into(&mut found);
        }
    }
}

/// What has come since, and whether the other end has closed the connection by now.
fn rest(connection: BufReader<TcpStream>) -> (String, bool) {
    let mut rest = connection.buffer().to_vec();
    // It never blocks, as Tokio left it.
    let mut connection = connection.into_inner().into_std().unwrap();
    let closed = connection.read_to_end(&mut rest).is_ok();
    (String::from_utf8(rest).unwrap(), closed)
}

/// Takes a mail, and says nothing to it.
async fn take_mail(conversation: &mut BufReader<TcpStream>) -> String {
    conversation.write_all(b"220 here\r\n").await.unwrap();
    for (command, answer) in [
        ("EHLO", "250 well\r\n"),
        ("MAIL", "250 well\r\n"),
        ("RCPT", "250 well\r\n"),
        ("DATA", "354 go on\r\n"),
    ] {
        let said = line(conversation).await;
        assert!(said.starts_with(command), "{said}");
        conversation.write_all(answer.as_bytes()).await.unwrap();
    }
    read_until(conversation, ".", "Message-ID: ").await
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_ends_and_the_next_worker_makes_it_at_once() {
    let world = World::with(&[("worker.drain", "0.5"), ("webhooks.timeout", "60")]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world
        .endpoint(&format!("http://{}/", listener.local_addr().unwrap()))
        .await;
    let mut stopped = RealProcess::worker(&world.bed).await;
    world.publish("order.placed", json!({})).await;
    let mut first = next(&listener).await;
    let id = read_until(&mut first, "", "webhook-id: ").await;
    let _next = RealProcess::worker(&world.bed).await;

    let called_again = async {
        let second = next(&listener).await;
        (second, rest(first))
    };
    let (ended, (mut second, (_, closed))) = tokio::join!(stopped.terminate(), called_again);
    assert!(ended, "{}", stopped.printed());
    assert!(closed, "two calls at once");
    assert_eq!(read_until(&mut second, "", "webhook-id: ").await, id);
    second
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    let delivered = world.attempted(1).await;
    assert_eq!(delivered.state, DeliveryState::Succeeded);
    assert_eq!(
        (delivered.attempts, world.attempts(delivered.id).await.len()),
        (1, 1)
    );
    let generation = "SELECT generation::bigint AS count FROM deliveries";
    assert_eq!(world.count(generation).await, 2);
}

#[tokio::test]
async fn a_mail_that_outlasts_the_drain_is_sent_by_the_next_worker_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let world = World::with(&[
        ("worker.drain", "0.5"),
        ("mail.transport", "smtp"),
        ("mail.smtp_url", &url),
    ])
    .await;
    let mut stopped = RealProcess::worker(&world.bed).await;
    let mail = send(&world, "bob@example.com", Letter::AlreadyRegistered).await;
    let mut first = next(&listener).await;
    let id = take_mail(&mut first).await;
    let _next = RealProcess::worker(&world.bed).await;

    let sent_again = async {
        let second = next(&listener).await;
        (second, rest(first))
    };
    let (ended, (mut second, (said, closed))) = tokio::join!(stopped.terminate(), sent_again);
    assert!(ended, "{}", stopped.printed());
    assert!(closed || said == "QUIT\r\n", "two at once: {said}");
    assert_eq!(take_mail(&mut second).await, id);
    second.write_all(b"250 taken\r\n").await.unwrap();
    until(
        &world,
        mail,
        "state = 'succeeded' AND attempts = 1 AND generation = 2 AND lease_until IS NULL",
    )
    .await;
}
