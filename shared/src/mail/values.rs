//! What templates are filled with. Pure.
//!
//! Each value is one short line without control characters, whoever it came from: a name, an address or a
//! `User-Agent` adds neither a header nor a line to a mail.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use minijinja::{HtmlEscape, Value};
use url::Url;

use super::{Brand, Letter, link::StandIn};
use crate::principal::Origin;

/// The longest name that is repeated in a mail; more is a message of its own.
const MAX_NAME: usize = 80;
/// The longest subject.
const MAX_SUBJECT: usize = 200;

/// Programs that people know by name, most specific first: most of them also claim to be the ones after them.
const PROGRAMS: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// What a mail is rendered from, besides its words.
#[derive(Clone, Copy)]
pub(super) struct Occasion<'a> {
    pub(super) public_url: &'a Url,
    pub(super) brand: Brand<'a>,
    pub(super) to: &'a str,
    pub(super) origin: &'a Origin,
    pub(super) now: DateTime<Utc>,
}

/// The values by name.
pub(super) struct Values(BTreeMap<&'static str, String>);

impl Values {
    pub(super) fn of(occasion: Occasion<'_>, letter: &Letter) -> Self {
        let Occasion {
            public_url,
            brand,
            to,
            origin,
            now,
        } = occasion;
        let time = now.format("%-d %B %Y at %H:%M UTC").to_string();
        let address = origin.address.map(|address| address.to_string());
        let device = origin.user_agent.as_deref().and_then(program);
        let place = place(&time, address.as_deref(), device);
        let empty = String::new;
        let mut values = BTreeMap::from([
            ("product", one_line(brand.product())),
            ("tenant", one_line(brand.name)),
            ("email", to.to_owned()),
            ("link", letter.link(public_url)),
            ("place", place),
            ("time", time),
            ("address", address.unwrap_or_else(empty)),
            ("device", device.map_or_else(empty, str::to_owned)),
            (
                "support_email",
                brand.support_email().map_or_else(empty, str::to_owned),
            ),
            ("accent_color", brand.accent_color().to_owned()),
            ("button_color", brand.button_color().to_owned()),
            ("logo_url", brand.logo_url().unwrap_or_else(empty)),
        ]);
        if let Letter::Invitation { .. } = letter {
            values.insert("inviter", letter.inviter().map_or_else(empty, one_line));
        }
        if let Letter::ApiKeyLeaked { key, revoked } = letter {
            let state = if *revoked {
                "It was revoked"
            } else {
                "It still works"
            };
            values.insert("key", one_line(key));
            values.insert("key_state", state.to_owned());
        }
        if let Letter::WebhookDisabled { endpoint, reason } = letter {
            values.insert("endpoint", one_line(endpoint));
            values.insert("reason", (*reason).to_owned());
        }
        Self(values)
    }

    pub(super) fn link(&self) -> &str {
        self.0.get("link").map_or("", String::as_str)
    }

    /// For our own templates, which escape by themselves, or make plain text.
    pub(super) fn plain(&self) -> Value {
        Value::from_pairs(self.0.iter().map(|(name, value)| (*name, value.clone())))
    }

    /// For a tenant's own template of plain text.
    pub(super) fn plain_without_link(&self, stand_in: &StandIn<'_>) -> Value {
        Value::from_pairs(
            self.without_link(stand_in)
                .map(|(name, value)| (name, value.to_owned())),
        )
    }

    /// For a tenant's own HTML: escaped here, so that no template can forget to, or choose not to.
    pub(super) fn escaped_without_link(&self, stand_in: &StandIn<'_>) -> Value {
        let escape = |value: &str| Value::from_safe_string(HtmlEscape(value).to_string());
        Value::from_pairs(
            self.without_link(stand_in)
                .map(|(name, value)| (name, escape(value))),
        )
    }

    fn without_link<'a>(
        &'a self,
        stand_in: &'a StandIn<'_>,
    ) -> impl Iterator<Item = (&'static str, &'a str)> {
        let value = |name: &str, value: &'a String| if name == "link" { stand_in.word() } else { value };
        self.0.iter().map(move |(name, of)| (*name, value(name, of)))
    }
}

/// When and from where.
fn place(time: &str, address: Option<&str>, device: Option<&str>) -> String {
    match (address, device) {
        (Some(address), Some(device)) => format!("on {time}, from {address} with {device}"),
        (Some(address), None) => format!("on {time}, from {address}"),
        (None, _) => format!("on {time}"),
    }
}

/// The program in a `User-Agent` (RFC 9110 section 10.1.5): one that is known, or none. The header is the
/// client's to choose, so that nothing else of it is repeated.
fn program(user_agent: &str) -> Option<&'static str> {
    PROGRAMS
        .iter()
        .find(|(token, _)| user_agent.contains(token))
        .map(|(_, name)| *name)
}

/// A name as it may stand anywhere.
fn one_line(name: &str) -> String {
    line(name, MAX_NAME)
}

/// Text as it may stand in a header.
pub(super) fn subject_line(text: &str) -> String {
    line(text, MAX_SUBJECT)
}

fn line(text: &str, longest: usize) -> String {
    let printable = |c: char| match c {
        '\u{2028}' | '\u{2029}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    };
    let words: String = text.chars().map(printable).collect();
    words
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(longest)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_and_cut() {
        assert_eq!(one_line("Ada\r\nBcc: x@y\u{2028}z"), "Ada Bcc: x@y z");
        assert_eq!(one_line(&"é".repeat(1000)).chars().count(), MAX_NAME);
    }

    #[test]
    fn of_a_user_agent_only_a_known_name_is_repeated() {
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        let edge = "Mozilla/5.0 AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0";
        assert_eq!(program(firefox), Some("Firefox"));
        assert_eq!(program(edge), Some("Edge"));
        assert_eq!(program("call 555-0100 to keep your account"), None);
    }
}
