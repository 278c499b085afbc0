//! How a mail leaves: over SMTP, or into a directory.

use std::{error::Error, io, path::PathBuf, time::SystemTime};

use chrono::{DateTime, Utc};
use latchkey_shared::{
    config::{Config, MailTransport},
    id::MailId,
    mail::Message,
};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    message::{
        Body, Mailbox, MultiPart, SinglePart,
        header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{self, PoolConfig, extension::ClientId},
};

/// Why no mail could ever be sent.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// `mail.from` is no mailbox.
    #[error("mail.from: expects `Name <address>`")]
    From,
    /// `mail.smtp_url` cannot be used. The error itself may repeat the password in it.
    #[error("mail.smtp_url: expects smtp://… or smtps://…")]
    Url,
}

/// Why this mail was not sent. No text of the server's: it repeats addresses.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// The data key is missing, or the row was altered.
    #[error("the sealed mail does not open")]
    Sealed,
    /// Nothing that could be written on an envelope.
    #[error("the recipient is not an address")]
    Recipient,
    /// The server takes too long.
    #[error("timeout")]
    Timeout,
    /// The server knows no such mailbox.
    #[error("the server answers {0}: there is no such mailbox")]
    NoMailbox(u16),
    /// The server answers with a failure.
    #[error("the server answers {0}")]
    Refused(u16),
    /// There is no talking to the server.
    #[error("no connection to the server")]
    Connection,
    /// The directory cannot be written.
    #[error("writing the file: {0}")]
    File(io::ErrorKind),
}

impl SendError {
    /// Whether another attempt could end otherwise. Servers answer 5xx for a wrong password of ours as well, so that by
    /// itself is no reason to give a mail up; but those who send to mailboxes that are not there are taken for spammers.
    pub(super) const fn may_pass(&self) -> bool {
        !matches!(self, Self::Recipient | Self::NoMailbox(_))
    }
}

pub(super) struct Transport {
    from: Mailbox,
    way: Way,
}

enum Way {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Directory(PathBuf),
}

impl Transport {
    pub(super) fn new(config: &Config) -> Result<Self, TransportError> {
        let from = config.mail.from.parse().map_err(|_| TransportError::From)?;
        let way = match &config.mail.transport {
            MailTransport::Smtp(url) => {
                let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose())
                    .map_err(|_| TransportError::Url)?
                    .timeout(Some(config.mail.timeout))
                    // One connection a mail: the pool would also keep those whose mail ran out of time, and the server's
                    // late answer to that would be taken for its answer to the next.
                    .pool_config(PoolConfig::new().max_size(0));
                // Servers judge by this name; the container's own means nothing to them.
                if let Some(host) = config.server.public_url.domain() {
                    builder = builder.hello_name(ClientId::Domain(host.to_owned()));
                }
                Way::Smtp(builder.build())
            }
            MailTransport::File(directory) => Way::Directory(directory.clone()),
        };
        Ok(Self { from, way })
    }

    pub(super) async fn send(
        &self,
        id: MailId,
        now: DateTime<Utc>,
        message: &Message,
    ) -> Result<(), SendError> {
        let mail = self.mail(id, now, message)?;
        match &self.way {
            Way::Smtp(smtp) => smtp
                .send(mail)
                .await
                .map(drop)
                .map_err(|error| smtp_error(&error)),
            Way::Directory(directory) => write(directory, id, &mail.formatted())
                .await
                .map_err(|error| SendError::File(error.kind())),
        }
    }

    fn mail(&self, id: MailId, now: DateTime<Utc>, message: &Message) -> Result<lettre::Message, SendError> {
        let Message {
            to,
            reply_to,
            subject,
            text,
            html,
        } = message;
        let to: Address = to.parse().map_err(|_| SendError::Recipient)?;
        // RFC 3834: keeps absence notes from being sent back.
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let mut builder = lettre::Message::builder();
        // Nobody loses a mail because of where its answer would go.
        if let Some(address) = reply_to.as_ref().and_then(|address| address.parse().ok()) {
            builder = builder.reply_to(Mailbox::new(None, address));
        }
        builder
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .date(SystemTime::from(now))
            // The same for every attempt, so that a mail that arrives twice is seen to be one.
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .multipart(
                MultiPart::alternative()
                    .singlepart(plain(text))
                    .singlepart(SinglePart::html(html.clone())),
            )
            .map_err(|_| SendError::Recipient)
    }
}

/// A link must stay on one line for whoever reads the source, so text goes out as it is wherever SMTP takes it.
fn plain(text: &str) -> SinglePart {
    // RFC 5322 section 2.1.1.
    let fits = text.is_ascii() && text.lines().all(|line| line.len() <= 998);
    if !fits {
        return SinglePart::plain(text.to_owned());
    }
    let text: String = text.lines().flat_map(|line| [line, "\r\n"]).collect();
    let body = Body::dangerous_pre_encoded(text.into_bytes(), ContentTransferEncoding::SevenBit);
    SinglePart::builder().header(ContentType::TEXT_PLAIN).body(body)
}

fn smtp_error(error: &smtp::Error) -> SendError {
    match error.status() {
        Some(code) if error.is_permanent() && is_about_the_mailbox(error) => {
            SendError::NoMailbox(u16::from(code))
        }
        Some(code) => SendError::Refused(u16::from(code)),
        None if error.is_timeout() => SendError::Timeout,
        None => SendError::Connection,
    }
}

/// Whether the server gives an enhanced status code of the class of bad mailboxes (RFC 3463 section 3.2: 5.1.x).
fn is_about_the_mailbox(error: &smtp::Error) -> bool {
    error
        .source()
        .is_some_and(|words| words.to_string().starts_with("5.1."))
}

/// Whoever watches the directory sees whole mails only.
async fn write(directory: &std::path::Path, id: MailId, mail: &[u8]) -> io::Result<()> {
    tokio::fs::create_dir_all(directory).await?;
    let unfinished = directory.join(format!("{id}.part"));
    tokio::fs::write(&unfinished, mail).await?;
    tokio::fs::rename(unfinished, directory.join(format!("{id}.eml"))).await
}
