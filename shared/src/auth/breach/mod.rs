//! Passwords that are known to have leaked.
//!
//! Two collections can be asked, both off by default: a file of hashes on this machine, and a service that is told
//! the first five digits of a hash and answers with every hash that begins so (k-anonymity). SHA-1 is how these
//! collections are written; nothing is protected by it.
//!
//! What must never happen: a password, or enough of its hash to tell it, that leaves the process; a new password that
//! is refused because a collection does not answer.

mod file;

use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use futures::future::BoxFuture;

use self::file::BreachFile;
pub use self::file::BreachFileError;
use crate::{config, secret::Secret};

/// The digits of a hash that are told.
const PREFIX: usize = 5;

/// Why a collection gave no answer.
pub type NoAnswer = Box<dyn std::error::Error + Send + Sync>;

/// A service that knows leaked hashes by their beginning.
pub trait BreachRange: Send + Sync {
    /// What follows `prefix` in each hash that it knows, as lines of `SUFFIX:COUNT`.
    fn suffixes<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<String, NoAnswer>>;
}

/// The collections that are asked.
pub(super) struct Breaches {
    file: Option<Arc<BreachFile>>,
    range: Option<Arc<dyn BreachRange>>,
}

impl Breaches {
    pub(super) fn open(
        settings: &config::Passwords,
        range: Option<Arc<dyn BreachRange>>,
    ) -> Result<Self, BreachFileError> {
        let file = settings.breach_file.as_deref().map(BreachFile::open);
        Ok(Self {
            file: file.transpose()?.map(Arc::new),
            range,
        })
    }

    /// Whether one of the collections holds the password.
    pub(super) async fn contain(&self, password: &Secret<String>) -> bool {
        if self.file.is_none() && self.range.is_none() {
            return false;
        }
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, password.expose().as_bytes());
        let hash = hex::encode_upper(hash);
        if let Some(file) = &self.file
            && heard("file", in_file(Arc::clone(file), hash.clone()).await)
        {
            return true;
        }
        match &self.range {
            Some(range) => heard("range", in_range(&**range, &hash).await),
            None => false,
        }
    }
}

async fn in_file(file: Arc<BreachFile>, hash: String) -> Result<bool, NoAnswer> {
    Ok(tokio::task::spawn_blocking(move || file.contains(&hash)).await??)
}

async fn in_range(range: &dyn BreachRange, hash: &str) -> Result<bool, NoAnswer> {
    let (prefix, wanted) = hash.split_at(PREFIX);
    let answer = range.suffixes(prefix).await?;
    Ok(answer.lines().any(|line| names(line, wanted)))
}

/// A count of 0 is padding: it hides how long the true answer is.
fn names(line: &str, wanted: &str) -> bool {
    let (suffix, count) = line.trim().split_once(':').unwrap_or((line.trim(), "1"));
    suffix.eq_ignore_ascii_case(wanted) && count.trim() != "0"
}

/// Without an answer the password passes: the check is a help, not a gate.
fn heard(collection: &'static str, answer: Result<bool, NoAnswer>) -> bool {
    let outcome = match &answer {
        Ok(true) => "found",
        Ok(false) => "clean",
        Err(_) => "unavailable",
    };
    metrics::counter!("latchkey_breach_checks_total", "collection" => collection, "outcome" => outcome)
        .increment(1);
    answer.unwrap_or_else(|error| {
        tracing::warn!(collection, %error, "a new password was not checked for breaches");
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Service(Result<&'static str, &'static str>);

    impl BreachRange for Service {
        fn suffixes<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<String, NoAnswer>> {
            assert_eq!(prefix, "5BAA6", "only the first five digits are told");
            Box::pin(async { self.0.map(str::to_owned).map_err(Into::into) })
        }
    }

    // SHA-1 of "password": 5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8.
    async fn is_found(answer: Result<&'static str, &'static str>) -> bool {
        let breaches = Breaches {
            file: None,
            range: Some(Arc::new(Service(answer))),
        };
        breaches.contain(&Secret::new("password".to_owned())).await
    }

    #[tokio::test]
    async fn s07_a_suffix_with_a_count_is_a_breach_and_padding_is_not() {
        assert!(
            is_found(Ok(
                "0018A45C4D1DEF81644B54AB7F969B88D65:1\r\n1E4C9B93F3F0682250B6CF8331B7EE68FD8:9659365\r\n"
            ))
            .await
        );
        assert!(is_found(Ok("1e4c9b93f3f0682250b6cf8331b7ee68fd8:2")).await);
        assert!(!is_found(Ok("1E4C9B93F3F0682250B6CF8331B7EE68FD8:0")).await);
        assert!(!is_found(Ok("1E4C9B93F3F0682250B6CF8331B7EE68FD9:7")).await);
        assert!(!is_found(Ok("")).await);
        assert!(!is_found(Err("no route to host")).await);
    }
}
