//! The kinds of mail there are, and what each may say. Pure.

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident $word:literal)*) => {
        /// What a mail is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {$(
            $(#[doc = $doc])+
            $variant,
        )*}

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word in the database, in paths and in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {$(Self::$variant => $word),*}
            }

            /// When it is sent, in a sentence.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {$(Self::$variant => concat!($($doc),+).trim_ascii()),*}
            }

            /// Its words: see [`super::words`].
            pub(super) const fn source(self) -> &'static str {
                match self {$(Self::$variant => include_str!(concat!("templates/", $word, ".txt"))),*}
            }
        }
    };
}

kinds! {
    /// Someone gave this address; only its owner can follow the link.
    VerifyEmail "verify_email"
    /// Someone tried to register with an address that has an account already.
    AlreadyRegistered "already_registered"
    /// Someone registered with an address that another has registered before, and that nobody has confirmed; only its owner
    /// can choose the password.
    RegisteredAgain "registered_again"
    /// The address is invited into the tenant.
    Invitation "invitation"
    /// An account's owner may choose a new password; only the reader of this mail can.
    ResetPassword "reset_password"
    /// An administrator has made an account; its owner chooses the password.
    AccountCreated "account_created"
    /// An administrator has ended the password; its owner chooses another.
    NewPasswordRequired "new_password_required"
    /// The password was changed by someone who knew the old one.
    PasswordChanged "password_changed"
    /// The password was replaced by way of a mail.
    PasswordReset "password_reset"
    /// Proves the address that is to take the place of another.
    ChangeEmail "change_email"
    /// Tells the present address that another is to take its place.
    EmailChangeRequested "email_change_requested"
    /// Tells the former address that another has taken its place.
    EmailChanged "email_changed"
    /// Someone failed to sign in too often; the link lifts the lock.
    AccountLocked "account_locked"
    /// A second factor was set up.
    MfaEnabled "mfa_enabled"
    /// The second factor was removed.
    MfaDisabled "mfa_disabled"
    /// New recovery codes were made; the old ones no longer work.
    RecoveryCodesReplaced "recovery_codes_replaced"
    /// A recovery code stood in for the second factor.
    RecoveryCodeUsed "recovery_code_used"
    /// The account is gone.
    AccountDeleted "account_deleted"
    /// An API key was seen where it should not be.
    ApiKeyLeaked "api_key_leaked"
    /// A webhook endpoint was turned off because of how it answered.
    WebhookDisabled "webhook_disabled"
}

/// A value that a template may name: its name, and what it holds.
pub type Variable = (&'static str, &'static str);

const COMMON: &[Variable] = &[
    ("product", "The product's name, or else the tenant's."),
    ("tenant", "The tenant's name."),
    ("email", "The address that the mail goes to."),
    (
        "link",
        "The page to go on at; with the token where the kind has one.",
    ),
    (
        "place",
        "When and from where: `on 24 November 2026 at 09:30 UTC, from 203.0.113.9 with Firefox`.",
    ),
    ("time", "When, as `24 November 2026 at 09:30 UTC`."),
    ("address", "The client's address; empty where it is unknown."),
    ("device", "The client's program; empty where it is unknown."),
    (
        "support_email",
        "Where questions go; empty where the tenant has not chosen one.",
    ),
    ("accent_color", "As `#1f6feb`."),
    (
        "button_color",
        "Black or white, whichever can be read on the accent colour.",
    ),
    (
        "logo_url",
        "An https URL; empty where the tenant has not chosen one.",
    ),
];

const KEY: Variable = ("key", "The key's name, and as much of it as may be shown.");
const KEY_STATE: Variable = ("key_state", "Whether the key was revoked, in words.");
const ENDPOINT: Variable = ("endpoint", "The endpoint's host and path.");
const REASON: Variable = ("reason", "What the endpoint did, in words.");
const INVITER: Variable = ("inviter", "Who invites; empty where that was no person.");

impl Kind {
    /// The kind of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }

    /// Whether it carries a token, so that it is of no use without its link.
    #[must_use]
    pub const fn needs_link(self) -> bool {
        match self {
            Self::VerifyEmail
            | Self::RegisteredAgain
            | Self::Invitation
            | Self::ResetPassword
            | Self::AccountCreated
            | Self::NewPasswordRequired
            | Self::ChangeEmail
            | Self::AccountLocked => true,
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
            | Self::ApiKeyLeaked
            | Self::WebhookDisabled => false,
        }
    }

    /// The page that its link opens, below the public URL.
    #[must_use]
    pub const fn page(self) -> &'static str {
        match self {
            Self::VerifyEmail | Self::ChangeEmail => "verify-email",
            Self::Invitation => "accept-invitation",
            Self::RegisteredAgain
            | Self::ResetPassword
            | Self::AccountCreated
            | Self::NewPasswordRequired => "reset-password",
            Self::AccountLocked => "unlock",
            Self::AlreadyRegistered
            | Self::EmailChanged
            | Self::AccountDeleted
            | Self::ApiKeyLeaked
            | Self::WebhookDisabled => "login",
            Self::PasswordChanged
            | Self::PasswordReset
            | Self::EmailChangeRequested
            | Self::MfaEnabled
            | Self::MfaDisabled
            | Self::RecoveryCodesReplaced
            | Self::RecoveryCodeUsed => "forgot-password",
        }
    }

    /// What a template of this kind may name.
    pub fn variables(self) -> impl Iterator<Item = Variable> {
        let own: &[Variable] = match self {
            Self::Invitation => &[INVITER],
            Self::ApiKeyLeaked => &[KEY, KEY_STATE],
            Self::WebhookDisabled => &[ENDPOINT, REASON],
            _ => &[],
        };
        COMMON.iter().chain(own).copied()
    }
}
