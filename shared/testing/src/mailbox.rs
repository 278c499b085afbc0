//! Mails as they arrived: `.eml` files, written by the worker or by an SMTP server.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::time::{Instant, sleep};

/// Nothing that a test waits for takes longer, on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// A mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The whole text, line breaks as `\n`.
    pub raw: String,
    /// The decoded plain-text part.
    pub text: String,
    /// The decoded HTML part.
    pub html: String,
}

impl Mail {
    /// Reads a message as lettre writes it.
    #[must_use]
    pub fn parse(raw: &str) -> Self {
        let raw = raw.replace("\r\n", "\n");
        let part = |content_type: &str| {
            let (_, part) = raw
                .split_once(&format!("Content-Type: {content_type}"))
                .unwrap_or_default();
            let (headers, body) = part.split_once("\n\n").unwrap_or_default();
            let body = body.split("\n--").next().unwrap_or_default();
            decode(headers, body)
        };
        Self {
            text: part("text/plain"),
            html: part("text/html"),
            raw,
        }
    }

    /// A header's value, with its folded lines joined.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let (headers, _) = self.raw.split_once("\n\n")?;
        let unfolded = headers.replace("\n ", " ").replace("\n\t", " ");
        let value = unfolded
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")))?;
        Some(value.to_owned())
    }

    /// The token in the link of the plain-text part.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        let (_, rest) = self.text.split_once("token=")?;
        rest.split(|c: char| c.is_whitespace() || c == '&').next()
    }
}

/// A directory into which mails fall.
pub struct Mailbox(PathBuf);

impl Mailbox {
    /// The mails below `directory`.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// All mails to the address that are there now, oldest first.
    #[must_use]
    pub fn to(&self, address: &str) -> Vec<Mail> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&self.0)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
            .collect();
        files.sort();
        files
            .iter()
            .map(|path| Mail::parse(&std::fs::read_to_string(path).unwrap()))
            .filter(|mail| mail.header("To").is_some_and(|to| to.contains(address)))
            .collect()
    }

    /// The newest mail to the address, once there are `count` of them.
    pub async fn wait(&self, address: &str, count: usize) -> Mail {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let mails = self.to(address);
            if mails.len() >= count {
                return mails[mails.len() - 1].clone();
            }
            assert!(
                Instant::now() < deadline,
                "{} of {count} mails to {address} in time",
                mails.len()
            );
            // A directory tells nobody what falls into it.
            sleep(Duration::from_millis(5)).await;
        }
    }
}

fn decode(headers: &str, body: &str) -> String {
    if headers.contains("quoted-printable") {
        let bytes = quoted_printable::decode(body, quoted_printable::ParseMode::Robust).unwrap();
        return String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
    }
    if headers.contains("base64") {
        let bytes = STANDARD
            .decode(body.split_whitespace().collect::<String>())
            .unwrap();
        return String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
    }
    body.to_owned()
}
