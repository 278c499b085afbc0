//! The rows of the database, as they are now.
//!
//! Entities carry no behaviour: what a row may become is decided by the feature that owns it, and no other
//! feature writes it.

pub mod api_key;
pub mod attempt;
pub mod audit_event;
pub mod delivery;
pub mod device;
pub mod event;
pub mod event_type;
pub mod former_password;
pub mod invitation;
pub mod mail;
pub mod mfa_challenge;
pub mod permission;
pub mod recovery_code;
pub mod refresh_token;
pub mod role;
pub mod role_assignment;
pub mod service_account;
pub mod session;
pub mod tenant;
pub mod tenant_domain;
pub mod totp_factor;
pub mod user;
pub mod webhook_endpoint;

use schemars::JsonSchema;
use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::Serialize;

/// Declares an enum that is stored as text.
macro_rules! text_enum {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, JsonSchema)]
        #[sea_orm(rs_type = "String", db_type = "Text")]
        #[serde(rename_all = "snake_case")]
        pub enum $name {$(
            $(#[$variant_doc])*
            #[sea_orm(string_value = $text)]
            $variant,
        )*}

        impl $name {
            /// The word in the database and in events.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {$(Self::$variant => $text),*}
            }
        }
    )*};
}

text_enum! {
    /// Whether a tenant's users and keys work.
    TenantStatus {
        /// They do.
        Active = "active"
        /// They do not, until it is activated again.
        Suspended = "suspended"
        /// They do not, and the tenant will be removed unless it is activated before.
        Deleting = "deleting"
        /// What it holds is being removed. It does not come back.
        Purging = "purging"
    }
    /// Whether a user may sign in.
    UserStatus {
        /// The user may.
        Active = "active"
        /// An administrator has barred the user.
        Disabled = "disabled"
    }
    /// Whether a service account's keys work.
    ServiceAccountStatus {
        /// They do.
        Active = "active"
        /// They do not, until it is enabled again.
        Disabled = "disabled"
    }
    /// What an API key is meant for. The tenant decides what it makes of that.
    KeyEnvironment {
        /// The real thing.
        Live = "live"
        /// Trying things out.
        Test = "test"
    }
    /// Why a session was ended.
    SessionRevokeReason {
        /// Its user asked for it, in the session itself.
        Logout = "logout"
        /// Its user asked for it, in another session.
        EndedByUser = "ended_by_user"
        /// Its user ended all sessions at once.
        LogoutAll = "logout_all"
        /// Its user has begun more sessions than the tenant allows, and this was the oldest.
        TooManySessions = "too_many_sessions"
        /// One of its refresh tokens came back after its time: someone else has it.
        RefreshTokenReuse = "refresh_token_reuse"
        /// It was begun before the address was proven, by whoever registered it first.
        AccountTakenOver = "account_taken_over"
        /// The account's second factor was set up, replaced or reset since it was begun.
        SecondFactorChanged = "second_factor_changed"
        /// The password was changed in another session.
        PasswordChanged = "password_changed"
        /// The password was reset by mail.
        PasswordReset = "password_reset"
        /// The account was deleted.
        AccountDeleted = "account_deleted"
        /// An administrator disabled the account.
        AccountDisabled = "account_disabled"
        /// An administrator ended it.
        EndedByAdministrator = "ended_by_administrator"
        /// An administrator asked for a new password.
        NewPasswordRequired = "new_password_required"
    }
    /// Why an API key was revoked.
    KeyRevokeReason {
        /// Somebody asked for it.
        Revoked = "revoked"
        /// Somebody asked for it, together with others.
        Batch = "batch"
        /// It was seen where it should not be.
        Leaked = "leaked"
        /// The service account that it acted for was deleted.
        OwnerDeleted = "owner_deleted"
        /// It was made before the address was proven, by whoever had the account first.
        AccountTakenOver = "account_taken_over"
        /// An administrator asked its user for a new password.
        NewPasswordRequired = "new_password_required"
    }
    /// What an endpoint did, so that it was turned off.
    Offence {
        /// It answered 410.
        Gone = "gone"
        /// Every call has failed for as long as `webhooks.disable_after` allows.
        Failing = "failing"
    }
    /// Where a mail stands.
    MailState {
        /// To be sent, now or later.
        Pending = "pending"
        /// The mail server has it.
        Succeeded = "succeeded"
        /// Given up.
        Failed = "failed"
    }
    /// Where a delivery stands.
    DeliveryState {
        /// To be attempted, now or later.
        Pending = "pending"
        /// The endpoint has accepted it.
        Succeeded = "succeeded"
        /// Given up after the schedule's last attempt.
        Failed = "failed"
        /// Its endpoint is gone or turned off.
        Cancelled = "cancelled"
    }
    /// What kept a call from being a success.
    ErrorClass {
        /// The host's name has no address.
        Dns = "dns"
        /// The host, or one of its addresses, is not public.
        RefusedAddress = "refused_address"
        /// Nobody took the connection.
        Connect = "connect"
        /// The connection could not be made safe: the certificate is not to be trusted, or there is no TLS.
        Tls = "tls"
        /// There was no answer in time.
        Timeout = "timeout"
        /// The connection ended before the answer was there.
        ConnectionClosed = "connection_closed"
        /// What came back is no HTTP.
        InvalidResponse = "invalid_response"
        /// The answer leads elsewhere; redirects are not followed.
        Redirect = "redirect"
        /// The answer's status is no success.
        HttpStatus = "http_status"
        /// The call could not be made, for a reason on our side.
        Other = "other"
    }
}
