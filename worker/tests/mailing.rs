//! Mails, as files and over SMTP.

use std::{path::Path, process::Stdio};

use latchkey_shared::{
    id::MailId,
    mail::{self, Brand, Letter, To},
    principal::{Actor, Origin},
    secret::Secret,
};
use latchkey_testing::{Mail, Mailbox};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::world::World;

async fn send(world: &World, to: &str, letter: Letter) -> MailId {
    let origin = Origin::default();
    let mut change = world
        .context()
        .change(world.tenant, Actor::System, &origin)
        .await
        .unwrap();
    let id = mail::queue(&mut change, Brand::named("Acmé GmbH"), To::address(to), letter)
        .await
        .unwrap();
    change.commit().await.unwrap();
    id
}

fn invitation() -> Letter {
    Letter::Invitation {
        token: Secret::new("lko_canary-3".to_owned()),
        inviter: Some("Ada <b>".to_owned()),
    }
}

fn assert_is_the_invitation(mail: &Mail, id: MailId, to: &str) {
    assert_eq!(mail.header("To").unwrap(), to);
    assert_eq!(mail.header("From").unwrap(), "Latchkey <no-reply@example.test>");
    assert_eq!(mail.header("Message-ID").unwrap(), format!("<{id}@example.test>"));
    assert_eq!(mail.header("Auto-Submitted").unwrap(), "auto-generated");
    assert!(mail.header("Date").is_some());
    assert!(
        mail.header("Content-Type")
            .unwrap()
            .starts_with("multipart/alternative"),
        "{}",
        mail.raw
    );
    assert_eq!(mail.token(), Some("lko_canary-3"));
    assert!(
        mail.text
            .contains("https://id.example.test/accept-invitation?token=lko_canary-3"),
        "{}",
        mail.text
    );
    assert!(
        mail.text.contains("Ada <b> invites you to join Acmé GmbH"),
        "{}",
        mail.text
    );
    assert!(mail.html.contains("Ada &lt;b&gt; invites you"), "{}", mail.html);
}

#[tokio::test]
async fn a_mail_becomes_a_file() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = send(&world, "bob@example.com", invitation()).await;
    let mail = Mailbox::new(world.bed.mails.path())
        .wait("bob@example.com", 1)
        .await;
    worker.stop().await;
    assert_is_the_invitation(&mail, id, "bob@example.com");
}

#[tokio::test]
async fn s36_neither_a_recipient_nor_a_token_stands_in_the_database() {
    let world = World::new().await;
    send(&world, "bob@example.com", invitation()).await;
    let found = "SELECT count(*) FROM mails t WHERE t::text LIKE '%canary-3%' OR t::text LIKE '%bob@%'
                    OR t::text LIKE '%' || encode('canary-3', 'hex') || '%'";
    assert_eq!(world.count(found).await, 0);
    let worker = world.worker().await;
    Mailbox::new(world.bed.mails.path())
        .wait("bob@example.com", 1)
        .await;
    worker.stop().await;
    assert_eq!(
        world
            .count("SELECT count(*) FROM mails WHERE state = 'succeeded' AND sealed = ''")
            .await,
        1
    );
}

#[tokio::test]
async fn s30_a_mail_whose_job_was_lost_is_sent() {
    let world = World::new().await;
    send(&world, "bob@example.com", Letter::AlreadyRegistered).await;
    world.lose_queue().await;
    let worker = world.worker().await;
    world.advance(16);
    Mailbox::new(world.bed.mails.path())
        .wait("bob@example.com", 1)
        .await;
    worker.stop().await;
}

#[tokio::test]
async fn a_mail_server_gets_the_mail_and_one_that_puts_it_off_gets_it_again() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, port) = smtp_server(directory.path()).await;
    let url = format!("smtp://127.0.0.1:{port}");
    let world = World::with(&[("mail.transport", "smtp"), ("mail.smtp_url", &url)]).await;
    let worker = world.worker().await;
    let mailbox = Mailbox::new(directory.path());

    let id = send(&world, "bob@example.com", invitation()).await;
    assert_is_the_invitation(&mailbox.wait("bob@example.com", 1).await, id, "bob@example.com");

    let id = send(&world, "greylisted@example.com", invitation()).await;
    while world
        .count("SELECT count(*) FROM mails WHERE last_error = 'the server answers 451'")
        .await
        == 0
    {
        tokio::task::yield_now().await;
    }
    world.advance(6);
    assert_is_the_invitation(
        &mailbox.wait("greylisted@example.com", 1).await,
        id,
        "greylisted@example.com",
    );
    worker.stop().await;
}

/// Starts the server; it ends when the handle is dropped.
async fn smtp_server(directory: &Path) -> (Child, u16) {
    let python = std::env::var("LATCHKEY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp_server.py");
    let mut server = Command::new(&python)
        .arg(script)
        .arg(directory)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let port = lines.next_line().await.unwrap().unwrap_or_else(|| {
        panic!("{python} has no aiosmtpd; LATCHKEY_TEST_PYTHON names one that has, and `./dev test` makes it")
    });
    (server, port.parse().unwrap())
}
