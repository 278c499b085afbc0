//! A letter: a kind of mail with what only this one of its kind says. Pure.

use url::Url;

use super::Kind;
use crate::{
    crypto::token::{self, Token},
    secret::Secret,
};

/// What is to be told.
#[derive(Clone, Debug)]
pub enum Letter {
    /// See [`Kind::VerifyEmail`].
    VerifyEmail {
        /// Proves the address.
        token: Secret<String>,
    },
    /// See [`Kind::AlreadyRegistered`].
    AlreadyRegistered,
    /// See [`Kind::RegisteredAgain`].
    RegisteredAgain {
        /// Chooses the password, and proves the address.
        token: Secret<String>,
    },
    /// See [`Kind::Invitation`].
    Invitation {
        /// Accepts it.
        token: Secret<String>,
        /// The name of who invites, where it was a person.
        inviter: Option<String>,
    },
    /// See [`Kind::ResetPassword`].
    ResetPassword {
        /// Chooses the password.
        token: Secret<String>,
    },
    /// See [`Kind::AccountCreated`].
    AccountCreated {
        /// Chooses the password.
        token: Secret<String>,
    },
    /// See [`Kind::NewPasswordRequired`].
    NewPasswordRequired {
        /// Chooses the password.
        token: Secret<String>,
    },
    /// See [`Kind::PasswordChanged`].
    PasswordChanged,
    /// See [`Kind::PasswordReset`].
    PasswordReset,
    /// See [`Kind::ChangeEmail`].
    ChangeEmail {
        /// Proves the address.
        token: Secret<String>,
    },
    /// See [`Kind::EmailChangeRequested`].
    EmailChangeRequested,
    /// See [`Kind::EmailChanged`].
    EmailChanged,
    /// See [`Kind::AccountLocked`].
    AccountLocked {
        /// Lifts the lock.
        token: Secret<String>,
    },
    /// See [`Kind::MfaEnabled`].
    MfaEnabled,
    /// See [`Kind::MfaDisabled`].
    MfaDisabled,
    /// See [`Kind::RecoveryCodesReplaced`].
    RecoveryCodesReplaced,
    /// See [`Kind::RecoveryCodeUsed`].
    RecoveryCodeUsed,
    /// See [`Kind::AccountDeleted`].
    AccountDeleted,
    /// See [`Kind::ApiKeyLeaked`].
    ApiKeyLeaked {
        /// Its name and hint.
        key: String,
        /// Whether it was revoked.
        revoked: bool,
    },
    /// See [`Kind::WebhookDisabled`].
    WebhookDisabled {
        /// Its host and path.
        endpoint: String,
        /// What it did, in words.
        reason: &'static str,
    },
}

impl Letter {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::VerifyEmail { .. } => Kind::VerifyEmail,
            Self::AlreadyRegistered => Kind::AlreadyRegistered,
            Self::RegisteredAgain { .. } => Kind::RegisteredAgain,
            Self::Invitation { .. } => Kind::Invitation,
            Self::ResetPassword { .. } => Kind::ResetPassword,
            Self::AccountCreated { .. } => Kind::AccountCreated,
            Self::NewPasswordRequired { .. } => Kind::NewPasswordRequired,
            Self::PasswordChanged => Kind::PasswordChanged,
            Self::PasswordReset => Kind::PasswordReset,
            Self::ChangeEmail { .. } => Kind::ChangeEmail,
            Self::EmailChangeRequested => Kind::EmailChangeRequested,
            Self::EmailChanged => Kind::EmailChanged,
            Self::AccountLocked { .. } => Kind::AccountLocked,
            Self::MfaEnabled => Kind::MfaEnabled,
            Self::MfaDisabled => Kind::MfaDisabled,
            Self::RecoveryCodesReplaced => Kind::RecoveryCodesReplaced,
            Self::RecoveryCodeUsed => Kind::RecoveryCodeUsed,
            Self::AccountDeleted => Kind::AccountDeleted,
            Self::ApiKeyLeaked { .. } => Kind::ApiKeyLeaked,
            Self::WebhookDisabled { .. } => Kind::WebhookDisabled,
        }
    }

    /// One of the kind, as a preview shows it.
    #[must_use]
    pub fn sample(kind: Kind) -> Self {
        let token = Secret::new("lko_sample".to_owned());
        match kind {
            Kind::VerifyEmail => Self::VerifyEmail { token },
            Kind::AlreadyRegistered => Self::AlreadyRegistered,
            Kind::RegisteredAgain => Self::RegisteredAgain { token },
            Kind::Invitation => Self::Invitation {
                token,
                inviter: Some("Ada Lovelace".to_owned()),
            },
            Kind::ResetPassword => Self::ResetPassword { token },
            Kind::AccountCreated => Self::AccountCreated { token },
            Kind::NewPasswordRequired => Self::NewPasswordRequired { token },
            Kind::PasswordChanged => Self::PasswordChanged,
            Kind::PasswordReset => Self::PasswordReset,
            Kind::ChangeEmail => Self::ChangeEmail { token },
            Kind::EmailChangeRequested => Self::EmailChangeRequested,
            Kind::EmailChanged => Self::EmailChanged,
            Kind::AccountLocked => Self::AccountLocked { token },
            Kind::MfaEnabled => Self::MfaEnabled,
            Kind::MfaDisabled => Self::MfaDisabled,
            Kind::RecoveryCodesReplaced => Self::RecoveryCodesReplaced,
            Kind::RecoveryCodeUsed => Self::RecoveryCodeUsed,
            Kind::AccountDeleted => Self::AccountDeleted,
            Kind::ApiKeyLeaked => Self::ApiKeyLeaked {
                key: "Nightly export (lk_live_…x7Qz)".to_owned(),
                revoked: true,
            },
            Kind::WebhookDisabled => Self::WebhookDisabled {
                endpoint: "example.com/hooks".to_owned(),
                reason: "every call has failed for days",
            },
        }
    }

    /// The name of who invites, if anyone does.
    pub(super) fn inviter(&self) -> Option<&str> {
        match self {
            Self::Invitation { inviter, .. } => inviter.as_deref(),
            _ => None,
        }
    }

    const fn token(&self) -> Option<&Secret<String>> {
        match self {
            Self::VerifyEmail { token }
            | Self::RegisteredAgain { token }
            | Self::Invitation { token, .. }
            | Self::ResetPassword { token }
            | Self::AccountCreated { token }
            | Self::NewPasswordRequired { token }
            | Self::ChangeEmail { token }
            | Self::AccountLocked { token } => Some(token),
            Self::AlreadyRegistered
            | Self::PasswordChanged
            | Self::PasswordReset
            | Self::EmailChangeRequested
            | Self::EmailChanged
            | Self::MfaEnabled
            | Self::MfaDisabled
            | Self::RecoveryCodesReplaced
            | Self::RecoveryCodeUsed
            | Self::AccountDeleted
            | Self::ApiKeyLeaked { .. }
            | Self::WebhookDisabled { .. } => None,
        }
    }

    /// What is stored of its token, if it carries one.
    pub(super) fn token_hash(&self) -> Option<Vec<u8>> {
        let token = Token::parse(token::Kind::OneTime, self.token()?.expose())?;
        Some(token.hash())
    }

    /// The page that the mail leads to, and the token it takes along.
    pub(super) fn link(&self, public_url: &Url) -> String {
        let mut link = public_url.clone();
        let base = public_url.path().trim_end_matches('/');
        link.set_path(&format!("{base}/{}", self.kind().page()));
        link.set_fragment(None);
        link.set_query(None);
        if let Some(token) = self.token() {
            link.query_pairs_mut().append_pair("token", token.expose());
        }
        link.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_token_in_its_link_or_none() {
        let public_url = Url::parse("https://id.example.com/auth/?a=b#c").unwrap();
        for &kind in Kind::ALL {
            let letter = Letter::sample(kind);
            assert_eq!(letter.kind(), kind);
            let page = format!("https://id.example.com/auth/{}", kind.page());
            let token = if kind.needs_link() {
                "?token=lko_sample"
            } else {
                ""
            };
            assert_eq!(letter.link(&public_url), format!("{page}{token}"));
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
    }
}
