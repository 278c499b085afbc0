//! The letters there are, and how each becomes a mail.
//!
//! A template's first line is the subject. HTML is escaped by the template engine; names from users are cut to
//! one short line before any template sees them.

use std::sync::LazyLock;

use minijinja::{Environment, context};
use url::Url;

use super::Message;
use crate::{error::Internal, secret::Secret};

/// The longest name that is repeated in a mail; more is a message of its own.
const MAX_NAME: usize = 80;

/// What a mail is about.
#[derive(Clone, Debug)]
pub enum Letter {
    /// Someone gave this address; only its owner can follow the link.
    VerifyEmail {
        /// Proves it.
        token: Secret<String>,
    },
    /// Someone tried to register with an address that has an account already.
    AlreadyRegistered,
    /// The address is invited into the tenant.
    Invitation {
        /// Accepts it.
        token: Secret<String>,
        /// The name of who invites, where it was a person.
        inviter: Option<String>,
    },
    /// An account's owner may choose a new password; only the reader of this mail can.
    ResetPassword {
        /// Goes into the link.
        token: Secret<String>,
    },
    /// The password was changed by someone who knew the old one.
    PasswordChanged,
    /// The password was replaced by way of a mail.
    PasswordReset,
    /// Proves the address that is to take the place of another.
    ChangeEmail {
        /// Goes into the link.
        token: Secret<String>,
    },
    /// Tells the present address that another is to take its place.
    EmailChangeRequested,
    /// Tells the former address that another has taken its place.
    EmailChanged,
    /// Someone failed to sign in too often; the link lifts the lock.
    AccountLocked {
        /// Goes into the link.
        token: Secret<String>,
    },
    /// A second factor was set up.
    MfaEnabled,
    /// The second factor was removed.
    MfaDisabled,
    /// New recovery codes were made; the old ones no longer work.
    RecoveryCodesReplaced,
    /// A recovery code stood in for the second factor.
    RecoveryCodeUsed,
    /// The account is gone.
    AccountDeleted,
}

impl Letter {
    /// The word in the database and in metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::VerifyEmail { .. } => "verify_email",
            Self::AlreadyRegistered => "already_registered",
            Self::Invitation { .. } => "invitation",
            Self::ResetPassword { .. } => "reset_password",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::ChangeEmail { .. } => "change_email",
            Self::EmailChangeRequested => "email_change_requested",
            Self::EmailChanged => "email_changed",
            Self::AccountLocked { .. } => "account_locked",
            Self::MfaEnabled => "mfa_enabled",
            Self::MfaDisabled => "mfa_disabled",
            Self::RecoveryCodesReplaced => "recovery_codes_replaced",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::AccountDeleted => "account_deleted",
        }
    }

    /// The page that the mail leads to, and the token it takes along.
    fn link(&self, public_url: &Url) -> String {
        let (page, token) = match self {
            Self::VerifyEmail { token } | Self::ChangeEmail { token } => ("verify-email", Some(token)),
            Self::Invitation { token, .. } => ("accept-invitation", Some(token)),
            Self::ResetPassword { token } => ("reset-password", Some(token)),
            Self::AccountLocked { token } => ("unlock", Some(token)),
            Self::AlreadyRegistered
            | Self::PasswordChanged
            | Self::PasswordReset
            | Self::EmailChangeRequested
            | Self::EmailChanged
            | Self::MfaEnabled
            | Self::MfaDisabled
            | Self::RecoveryCodesReplaced
            | Self::RecoveryCodeUsed
            | Self::AccountDeleted => ("login", None),
        };
        let mut link = public_url.clone();
        link.set_path(&format!("{}/{page}", public_url.path().trim_end_matches('/')));
        link.set_fragment(None);
        link.set_query(None);
        if let Some(token) = token {
            link.query_pairs_mut().append_pair("token", token.expose());
        }
        link.into()
    }
}

macro_rules! templates {
    ($($kind:literal)*) => {
        &[$(
            (concat!($kind, ".txt"), include_str!(concat!("templates/", $kind, ".txt"))),
            (concat!($kind, ".html"), include_str!(concat!("templates/", $kind, ".html"))),
        )*]
    };
}

const TEMPLATES: &[(&str, &str)] = templates! {
    "verify_email" "already_registered" "invitation" "reset_password" "password_changed" "password_reset" "change_email" "email_change_requested" "email_changed" "account_locked" "mfa_enabled" "mfa_disabled" "recovery_codes_replaced" "recovery_code_used" "account_deleted"
};

/// Escaping follows the template's name: `.html` is, `.txt` is not.
static ENVIRONMENT: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
});

/// Renders the letter.
///
/// # Errors
/// When a template is at fault.
pub(super) fn render(
    public_url: &Url,
    tenant_name: &str,
    to: &str,
    letter: &Letter,
) -> Result<Message, Internal> {
    let environment = ENVIRONMENT
        .as_ref()
        .map_err(|error| Internal::fault(error.to_string()))?;
    let inviter = match letter {
        Letter::Invitation { inviter, .. } => inviter.as_deref().map(one_line),
        _ => None,
    };
    let values = context! { tenant => one_line(tenant_name), inviter, link => letter.link(public_url) };
    let render = |kind: &str| -> Result<String, minijinja::Error> {
        environment
            .get_template(&format!("{}.{kind}", letter.kind()))?
            .render(&values)
    };
    let (text, html) = (render("txt")?, render("html")?);
    let (subject, text) = text.split_once('\n').unwrap_or((&text, ""));
    Ok(Message {
        to: to.to_owned(),
        subject: subject.to_owned(),
        text: text.trim_start().to_owned(),
        html,
    })
}

/// A name as it may stand in a subject: no control characters, so no header can follow it, and short.
fn one_line(name: &str) -> String {
    let printable = |c: char| {
        if c.is_control() || c == '\u{2028}' || c == '\u{2029}' {
            ' '
        } else {
            c
        }
    };
    let words: String = name.chars().map(printable).collect();
    words
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(MAX_NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [Letter; 4] {
        let token = || Secret::new("lko_abc-_".to_owned());
        [
            Letter::VerifyEmail { token: token() },
            Letter::AlreadyRegistered,
            Letter::Invitation {
                token: token(),
                inviter: None,
            },
            Letter::Invitation {
                token: token(),
                inviter: Some("Ada\r\nBcc: x@example.com <b>".to_owned()),
            },
        ]
    }

    fn rendered(letter: &Letter) -> Message {
        let public_url = Url::parse("https://id.example.com/auth/").unwrap();
        render(&public_url, "Acme <i>\r\nX: y", "ada@example.com", letter).unwrap()
    }

    #[test]
    fn every_letter_renders_with_its_link_in_both_parts() {
        for letter in all() {
            let message = rendered(&letter);
            let link = match letter {
                Letter::VerifyEmail { .. } => "https://id.example.com/auth/verify-email?token=lko_abc-_",
                Letter::AlreadyRegistered => "https://id.example.com/auth/login",
                _ => "https://id.example.com/auth/accept-invitation?token=lko_abc-_",
            };
            assert!(message.text.contains(link), "{}", message.text);
            // The engine escapes `/` as well.
            assert!(
                message.html.replace("&#x2f;", "/").contains(link),
                "{}",
                message.html
            );
        }
    }

    #[test]
    fn a_name_adds_neither_a_line_nor_markup() {
        for letter in all() {
            let message = rendered(&letter);
            assert!(
                !message.subject.chars().any(char::is_control),
                "{}",
                message.subject
            );
            assert!(message.subject.contains("Acme <i> X: y"), "{}", message.subject);
            assert!(
                !message.html.contains("<i>") && !message.html.contains("<b>"),
                "{}",
                message.html
            );
        }
    }

    #[test]
    fn a_name_is_cut() {
        assert_eq!(one_line(&"é".repeat(1000)).chars().count(), MAX_NAME);
    }
}
