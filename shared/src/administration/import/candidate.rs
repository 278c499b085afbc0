//! One line of an import: a user to be. Pure.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::{
    config::Key,
    crypto::{imported::ImportedHash, imported::InvalidHash, mac},
    id::TenantId,
    secret::Secret,
    user::{Email, UserStatus},
};

/// RFC 4226 section 4 asks for 128 bits. More than a block of the hash adds nothing.
const TOTP_SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// A user to be, as the line says.
pub struct Candidate {
    /// The address.
    pub email: String,
    /// What the user goes by.
    pub name: Option<String>,
    /// Whether the address was proven.
    pub email_verified: bool,
    /// Whether the user may sign in.
    pub status: UserStatus,
    /// When the account was made elsewhere.
    pub created_at: Option<DateTime<Utc>>,
    /// The names of the roles; `member` where it says nothing.
    pub roles: Option<Vec<String>>,
    /// What the other system calls the user.
    pub external_id: Option<String>,
    /// The hash of the password, as its scheme writes it.
    pub password_hash: Option<Secret<String>>,
    /// The secret of the authenticator, in base32.
    pub totp_secret: Option<Secret<String>>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A JSON pointer into the line (RFC 6901).
    pub pointer: &'static str,
    /// A stable word.
    pub code: &'static str,
    /// In words, without the value.
    pub detail: String,
}

impl Fault {
    /// A fault of the field at `pointer`.
    pub(super) fn new(pointer: &'static str, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            pointer,
            code,
            detail: detail.into(),
        }
    }
}

/// A line that says what it can mean.
pub(super) struct Judged {
    pub(super) email: Email,
    pub(super) name: Option<String>,
    pub(super) email_verified: bool,
    pub(super) status: UserStatus,
    pub(super) created_at: Option<DateTime<Utc>>,
    pub(super) roles: Option<BTreeSet<String>>,
    pub(super) external_id: Option<String>,
    pub(super) password_hash: Option<ImportedHash>,
    pub(super) totp_secret: Option<Secret<Vec<u8>>>,
}

impl Candidate {
    /// What the line means, or all that is wrong with it.
    pub(super) fn judge(self, now: DateTime<Utc>) -> Result<Judged, Vec<Fault>> {
        let mut faults = Vec::new();
        let email = Email::parse(&self.email)
            .map_err(|error| faults.push(Fault::new("/email", "invalid_format", error.to_string())));
        if self
            .created_at
            .is_some_and(|at| at > now || at < DateTime::UNIX_EPOCH)
        {
            let detail = "An account was made in the past, and not before 1970.";
            faults.push(Fault::new("/created_at", "out_of_range", detail));
        }
        let hash = self.password_hash.map(|hash| ImportedHash::parse(hash.expose()));
        let password_hash = hash
            .transpose()
            .map_err(|error| faults.push(Fault::new("/password_hash", hash_code(error), error.to_string())));
        let secret = self.totp_secret.map(|secret| totp_secret(&secret)).transpose();
        let totp_secret = secret.map_err(|fault| faults.push(fault));
        match (email, password_hash, totp_secret) {
            (Ok(email), Ok(password_hash), Ok(totp_secret)) if faults.is_empty() => Ok(Judged {
                email,
                name: self.name,
                email_verified: self.email_verified,
                status: self.status,
                created_at: self.created_at,
                roles: self.roles.map(|roles| roles.into_iter().collect()),
                external_id: self.external_id,
                password_hash,
                totp_secret,
            }),
            _ => Err(faults),
        }
    }
}

const fn hash_code(error: InvalidHash) -> &'static str {
    match error {
        InvalidHash::UnknownScheme => "unknown_scheme",
        InvalidHash::Malformed => "invalid_format",
        InvalidHash::TooCostly => "too_costly",
    }
}

fn totp_secret(text: &Secret<String>) -> Result<Secret<Vec<u8>>, Fault> {
    let text: String = text
        .expose()
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '='))
        .collect();
    let alphabet = base32::Alphabet::Rfc4648 { padding: false };
    base32::decode(alphabet, &text.to_ascii_uppercase())
        .filter(|secret| TOTP_SECRET_BYTES.contains(&secret.len()))
        .map(Secret::new)
        .ok_or_else(|| {
            Fault::new(
                "/totp_secret",
                "invalid_format",
                "The secret is 16 to 64 bytes in base32.",
            )
        })
}

impl Judged {
    /// Tells this line from every other one, also where it is written in another way. Keyed, for it covers a hash and a
    /// secret, and the tenant's, for nobody is to find the same line in two.
    pub(super) fn mac(&self, key: &Key, tenant: TenantId) -> [u8; 32] {
        let Self {
            email,
            name,
            email_verified,
            status,
            created_at,
            roles,
            external_id,
            password_hash,
            totp_secret,
        } = self;
        let text = |text: &Option<String>| text.as_ref().map(|text| format!("={text}")).unwrap_or_default();
        let made = created_at.map(|at| at.timestamp_micros().to_string());
        let roles = roles.as_ref().map(|roles| {
            let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
            // No name holds a line break.
            roles.join("\n")
        });
        let hash = password_hash.as_ref().map(ImportedHash::stored);
        let texts = [
            email.written().to_owned(),
            text(name),
            text(&made),
            text(&roles),
            text(external_id),
            text(&hash),
        ];
        let flags = [u8::from(*email_verified), u8::from(*status == UserStatus::Active)];
        let secret = totp_secret
            .as_ref()
            .map_or(&[] as &[u8], |secret| secret.expose());
        let mut parts: Vec<&[u8]> = vec![b"import", tenant.0.as_bytes(), &flags, secret];
        parts.extend(texts.iter().map(String::as_bytes));
        mac(key.bytes.expose(), &parts)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn line(email: &str) -> Candidate {
        Candidate {
            email: email.to_owned(),
            name: None,
            email_verified: true,
            status: UserStatus::Active,
            created_at: None,
            roles: None,
            external_id: None,
            password_hash: None,
            totp_secret: None,
        }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    #[test]
    fn a_line_is_told_all_that_is_wrong_with_it() {
        let wrong = Candidate {
            created_at: Some(now() + chrono::TimeDelta::seconds(1)),
            password_hash: Some(Secret::new("$2b$31$x".to_owned())),
            totp_secret: Some(Secret::new("GEZDGNBV".to_owned())),
            ..line("nobody")
        };
        let faults = wrong.judge(now()).err().unwrap();
        let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer).collect();
        assert_eq!(
            pointers,
            ["/email", "/created_at", "/password_hash", "/totp_secret"]
        );
    }

    #[test]
    fn two_lines_are_the_same_if_all_of_them_is() {
        let key = Key {
            id: "1".to_owned(),
            bytes: Secret::new(vec![7; 32]),
        };
        let tenant = TenantId(Uuid::nil());
        let mac = |line: Candidate| line.judge(now()).ok().unwrap().mac(&key, tenant);
        let base = || line("ada@example.com");
        let roles = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(mac(base()), mac(base()));
        assert_eq!(
            mac(Candidate {
                roles: roles(&["a", "b"]),
                ..base()
            }),
            mac(Candidate {
                roles: roles(&["b", "a", "b"]),
                ..base()
            })
        );
        for other in [
            line("ada@example.org"),
            Candidate {
                name: Some(String::new()),
                ..base()
            },
            Candidate {
                email_verified: false,
                ..base()
            },
            Candidate {
                status: UserStatus::Disabled,
                ..base()
            },
            Candidate {
                created_at: Some(DateTime::UNIX_EPOCH),
                ..base()
            },
            Candidate {
                roles: roles(&[]),
                ..base()
            },
            Candidate {
                external_id: Some("7".to_owned()),
                ..base()
            },
            Candidate {
                totp_secret: Some(Secret::new("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".to_owned())),
                ..base()
            },
        ] {
            assert_ne!(mac(base()), mac(other));
        }
    }
}
