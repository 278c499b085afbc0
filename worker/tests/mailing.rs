//! Mails, as files and over SMTP.

use std::{path::Path, process::Stdio};

use chrono::TimeDelta;
use latchkey_shared::{
    crypto::token::{self, Token},
    id::MailId,
    mail::{self, Brand, Branding, Kind, Letter, To},
    principal::{Actor, Origin},
    retention,
    secret::Secret,
};
use latchkey_testing::{Mail, Mailbox};
use sea_orm::{ConnectionTrait, raw_sql};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::Instant,
};
use uuid::Uuid;

use crate::world::{DEADLINE, World};

pub(crate) async fn send(world: &World, to: &str, letter: Letter) -> MailId {
    send_as(world, Brand::named("Acmé GmbH"), to, letter).await
}

async fn send_as(world: &World, brand: Brand<'_>, to: &str, letter: Letter) -> MailId {
    let origin = Origin::default();
    let mut change = world
        .context()
        .change(world.tenant, Actor::System, &origin)
        .await
        .unwrap();
    let id = mail::queue(&mut change, brand, To::address(to), letter)
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

/// Waits until the mail is as the condition says.
pub(crate) async fn until(world: &World, id: MailId, so: &str) {
    let deadline = Instant::now() + DEADLINE;
    while world
        .count(&format!("SELECT count(*) FROM mails WHERE id = '{id}' AND {so}"))
        .await
        == 0
    {
        assert!(Instant::now() < deadline, "never: {so}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn s30_a_server_that_answers_too_late_is_not_taken_to_have_answered_for_the_next_mail() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, port) = smtp_server(directory.path()).await;
    let url = format!("smtp://127.0.0.1:{port}");
    let world = World::with(&[
        ("mail.transport", "smtp"),
        ("mail.smtp_url", &url),
        ("mail.timeout", "1"),
    ])
    .await;
    let worker = world.worker().await;
    let slow = send(&world, "slow@example.com", invitation()).await;
    until(&world, slow, "last_error = 'timeout'").await;
    let full = send(&world, "full@example.com", invitation()).await;
    until(&world, full, "attempts = 1").await;
    until(
        &world,
        full,
        "state = 'pending' AND last_error = 'the server answers 452'",
    )
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn a_mailbox_that_is_not_there_is_tried_once() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, port) = smtp_server(directory.path()).await;
    let url = format!("smtp://127.0.0.1:{port}");
    let world = World::with(&[("mail.transport", "smtp"), ("mail.smtp_url", &url)]).await;
    let worker = world.worker().await;
    let id = send(&world, "nobody@example.com", invitation()).await;
    let gone = "state = 'failed' AND attempts = 1 AND sealed = ''
                AND last_error = 'the server answers 550: there is no such mailbox'";
    until(&world, id, gone).await;
    worker.stop().await;
}

/// A mail to Bob with a token, which was issued for that user, and until when it is of use.
async fn mail_a_token(world: &World, user: Uuid, of_use: TimeDelta) -> MailId {
    let origin = Origin::default();
    let change = world
        .context()
        .change(world.tenant, Actor::System, &origin)
        .await
        .unwrap();
    let token = Token::new(token::Kind::OneTime, world.tenant, &*world.context().random);
    let (tenant, now, hash) = (world.tenant, change.now, token.hash());
    let expires_at = now + of_use;
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "INSERT INTO one_time_tokens (hash, tenant_id, purpose, subject_id, address, created_at, expires_at)
             VALUES ({hash}, {tenant}, 'reset_password', {user}, 'bob@example.com', {now}, {expires_at})
             ON CONFLICT (tenant_id, purpose, subject_id) DO UPDATE SET hash = excluded.hash"
        ))
        .await
        .unwrap();
    change.commit().await.unwrap();
    let token = token.into_text();
    send(world, "bob@example.com", Letter::ResetPassword { token }).await
}

#[tokio::test]
async fn a_mail_ends_with_the_token_that_it_carries() {
    let world = World::new().await;
    let mut users = (0..3).map(|_| world.context().uuid(world.context().clock.now()));
    let [expiring, asking, using] = [(); 3].map(|()| users.next().unwrap());
    let hour = TimeDelta::hours(1);
    let expired = mail_a_token(&world, expiring, TimeDelta::seconds(10)).await;
    let former = mail_a_token(&world, asking, hour).await;
    let latest = mail_a_token(&world, asking, hour).await;
    let used = mail_a_token(&world, using, hour).await;
    world
        .execute(&format!(
            "DELETE FROM one_time_tokens WHERE subject_id = '{using}'"
        ))
        .await;
    world.advance(16);
    let worker = world.worker().await;
    let over = "state = 'failed' AND attempts = 0 AND sealed = '' AND next_attempt_at IS NULL
                AND finished_at IS NOT NULL AND last_error = 'its token is of no use any more'";
    for id in [expired, former, used] {
        until(&world, id, over).await;
    }
    until(&world, latest, "state = 'succeeded'").await;
    let mailbox = Mailbox::new(world.bed.mails.path());
    mailbox.wait("bob@example.com", 1).await;
    worker.stop().await;
    assert_eq!(std::fs::read_dir(world.bed.mails.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn what_was_mailed_is_known_for_a_month_and_who_was_invited_for_a_quarter() {
    let world = World::new().await;
    let worker = world.worker().await;
    let sent = send(&world, "bob@example.com", Letter::AlreadyRegistered).await;
    until(&world, sent, "state = 'succeeded'").await;
    worker.stop().await;
    let waiting = send(&world, "bob@example.com", Letter::AlreadyRegistered).await;
    let (tenant, now) = (world.tenant, world.context().clock.now());
    // Of each what ended first counts: accepted, taken back, run out; the last is open for long.
    world
        .execute(&format!(
            "INSERT INTO invitations (id, tenant_id, email, email_canonical, role_ids, created_at, expires_at,
                                      accepted_at, revoked_at)
             SELECT latchkey_uuid_v7(now()), '{tenant}', 'x', n, '{{}}', '{now}'::timestamptz,
                    '{now}'::timestamptz + make_interval(days => CASE n WHEN 'open' THEN 400 ELSE 7 END),
                    CASE n WHEN 'accepted' THEN '{now}'::timestamptz END,
                    CASE n WHEN 'revoked' THEN '{now}'::timestamptz END
             FROM unnest(ARRAY['accepted', 'revoked', 'expired', 'open']) AS n"
        ))
        .await;
    let left = async || {
        retention::delete_expired(world.context(), 100).await.unwrap();
        let mails = format!("SELECT count(*) FROM mails WHERE id IN ('{sent}', '{waiting}')");
        (
            world.count(&mails).await,
            world.count("SELECT count(*) FROM invitations").await,
        )
    };
    let day = 24 * 3600;
    world.advance(29 * day);
    assert_eq!(left().await, (2, 4));
    world.advance(2 * day);
    assert_eq!(left().await, (1, 4), "what waits stays");
    world.advance(60 * day);
    assert_eq!(left().await, (1, 2), "accepted and taken back");
    world.advance(7 * day);
    assert_eq!(left().await, (1, 1), "run out a week later");
}

/// Every kind, the page that its link opens, and whether a token goes along. A kind that is added must be added here.
const KINDS: &[(&str, &str, bool)] = &[
    ("verify_email", "verify-email", true),
    ("already_registered", "login", false),
    ("registered_again", "reset-password", true),
    ("invitation", "accept-invitation", true),
    ("reset_password", "reset-password", true),
    ("account_created", "reset-password", true),
    ("new_password_required", "reset-password", true),
    ("password_changed", "forgot-password", false),
    ("password_reset", "forgot-password", false),
    ("change_email", "verify-email", true),
    ("email_change_requested", "forgot-password", false),
    ("email_changed", "", false),
    ("account_locked", "unlock", true),
    ("mfa_enabled", "forgot-password", false),
    ("mfa_disabled", "forgot-password", false),
    ("recovery_codes_replaced", "forgot-password", false),
    ("recovery_code_used", "forgot-password", false),
    ("account_deleted", "", false),
    ("api_key_leaked", "login", false),
    ("webhook_disabled", "login", false),
];

#[tokio::test]
async fn every_kind_of_mail_arrives_over_smtp_whole() {
    let known: Vec<&str> = KINDS.iter().map(|(kind, ..)| *kind).collect();
    let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(all, known, "this test must know every kind");

    let directory = tempfile::tempdir().unwrap();
    let (_server, port) = smtp_server(directory.path()).await;
    let url = format!("smtp://127.0.0.1:{port}");
    let world = World::with(&[("mail.transport", "smtp"), ("mail.smtp_url", &url)]).await;
    let worker = world.worker().await;
    let branding = Branding {
        product_name: Some("Rocket".to_owned()),
        support_email: Some("help@acme.test".to_owned()),
        ..Branding::default()
    };
    let brand = Brand {
        name: "Acme",
        branding: Some(&branding),
    };
    for (kind, page, token) in KINDS {
        let to = format!("{kind}@example.com");
        let letter = Letter::sample(Kind::parse(kind).unwrap());
        let id = send_as(&world, brand, &to, letter).await;
        let mail = Mailbox::new(directory.path()).wait(&to, 1).await;
        let header = |name: &str| {
            mail.header(name)
                .unwrap_or_else(|| panic!("{kind} has no {name}"))
        };
        assert_eq!(header("To"), to);
        assert_eq!(header("From"), "Latchkey <no-reply@example.test>");
        assert_eq!(header("Reply-To"), "help@acme.test");
        assert_eq!(header("Message-ID"), format!("<{id}@example.test>"));
        assert_eq!(header("Auto-Submitted"), "auto-generated");
        assert!(
            header("Content-Type").starts_with("multipart/alternative"),
            "{}",
            mail.raw
        );
        assert!(!header("Subject").trim().is_empty() && mail.header("Date").is_some());
        assert!(mail.html.trim_end().ends_with("</html>"), "{}", mail.html);
        for part in [&mail.text, &mail.html] {
            assert!(
                part.contains("Rocket") && !part.contains("{{") && !part.contains("{%"),
                "{part}"
            );
        }
        let suffix = if *token { "?token=lko_sample" } else { "" };
        let links = usize::from(!page.is_empty());
        let link = format!("https://id.example.test/{page}{suffix}\n");
        assert_eq!(mail.text.matches(&link).count(), links, "{kind}: {}", mail.text);
        assert_eq!(mail.text.matches("://").count(), links, "{kind}: {}", mail.text);
        assert_eq!(mail.text.matches("token=").count(), usize::from(*token), "{kind}");
        let html = mail.html.replace("&#x2f;", "/");
        assert_eq!(html.contains(link.trim_end()), links == 1, "{kind}: {html}");
    }
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
