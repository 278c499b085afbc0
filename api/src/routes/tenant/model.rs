//! The shapes of a tenant, its settings and its usage.

use chrono::NaiveDate;
use latchkey_shared::{
    mail::Branding,
    tenant::{
        EmailVerification, LockoutPolicy, MfaPolicy, MfaRequirement, PasswordPolicy, RateLimits,
        Registration, SessionPolicy, Settings, Tenant, TenantStatus,
        usage::{Day, TenantUsage, Totals},
    },
};
use poem_openapi::{Enum, Object};
use uuid::Uuid;

use super::settings::WebhooksView;
use crate::time::Timestamp;

/// An enum of the domain and how it is written, both ways.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident $schema:literal of $domain:ident { $($(#[$word:meta])* $variant:ident)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Enum)]
        #[oai(rename = $schema, rename_all = "snake_case")]
        pub(in crate::routes) enum $name {
            $($(#[$word])* $variant,)*
        }

        impl From<$domain> for $name {
            fn from(word: $domain) -> Self {
                match word {
                    $($domain::$variant => Self::$variant,)*
                }
            }
        }

        impl From<$name> for $domain {
            fn from(word: $name) -> Self {
                match word {
                    $($name::$variant => Self::$variant,)*
                }
            }
        }
    )*};
}

words! {
    /// Whether a tenant's users and keys work.
    TenantStatusView "TenantStatus" of TenantStatus {
        /// They do.
        Active
        /// They do not, until it is activated again.
        Suspended
        /// They do not, and the tenant is removed at `delete_at` unless it is activated before.
        Deleting
        /// What it holds is being removed.
        Purging
    }
    /// Who may register.
    RegistrationView "Registration" of Registration {
        /// Anyone.
        Open
        /// Only who was invited.
        Closed
    }
    /// Whether an address must be proven before it can sign in.
    EmailVerificationView "EmailVerification" of EmailVerification {
        /// It must.
        Required
        /// It need not.
        Optional
    }
    /// Who needs a second factor.
    MfaRequirementView "MfaRequirement" of MfaRequirement {
        /// Nobody can set one up; who has one is still asked for it.
        Off
        /// Who has set one up.
        Optional
        /// Everyone. Who has none can do nothing but set one up.
        Required
        /// Who holds one of the roles named, and who has set one up.
        RequiredForRoles
    }
}

/// A tenant.
#[derive(Object)]
#[oai(rename = "Tenant")]
pub(in crate::routes) struct TenantView {
    id: Uuid,
    slug: String,
    name: String,
    status: TenantStatusView,
    settings: SettingsView,
    rate_limits: RateLimitsView,
    /// Address ranges that are not public and that its webhooks may be sent to all the same; the platform sets them.
    webhook_allowed_cidrs: Vec<String>,
    /// When what the tenant holds is removed; null unless it is to be deleted.
    delete_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        let Tenant {
            id,
            slug,
            name,
            status,
            settings,
            rate_limits,
            webhook_cidrs,
            version: _,
            delete_at,
            created_at,
            updated_at,
        } = tenant;
        Self {
            id: id.0,
            slug,
            name,
            status: status.into(),
            settings: settings.into(),
            rate_limits: rate_limits.into(),
            webhook_allowed_cidrs: webhook_cidrs,
            delete_at: delete_at.map(Into::into),
            created_at: created_at.into(),
            updated_at: updated_at.into(),
        }
    }
}

/// The tenant's own share of the limits, in requests a minute; null where the configured limit holds.
#[derive(Object)]
#[oai(rename = "TenantRateLimits")]
struct RateLimitsView {
    /// Those that check a password or a second factor.
    sign_in: Option<u32>,
    /// Those that send mail.
    mail: Option<u32>,
    /// Those that bring a token of their own and name the tenant.
    token: Option<u32>,
}

impl From<RateLimits> for RateLimitsView {
    fn from(limits: RateLimits) -> Self {
        let RateLimits { sign_in, mail, token } = limits;
        Self {
            sign_in: sign_in.map(Into::into),
            mail: mail.map(Into::into),
            token: token.map(Into::into),
        }
    }
}

/// What a tenant's administrators have chosen, and the defaults of what they have not.
#[derive(Object)]
#[oai(rename = "TenantSettings")]
struct SettingsView {
    /// Who may register.
    registration: RegistrationView,
    /// Whether an address must be proven before it can sign in.
    email_verification: EmailVerificationView,
    passwords: PasswordsView,
    mfa: MfaView,
    sessions: SessionsView,
    lockout: LockoutView,
    branding: BrandingView,
    webhooks: WebhooksView,
}

impl From<Settings> for SettingsView {
    fn from(settings: Settings) -> Self {
        let Settings {
            registration,
            email_verification,
            passwords,
            mfa,
            sessions,
            lockout,
            branding,
            webhooks,
        } = settings;
        Self {
            registration: registration.into(),
            email_verification: email_verification.into(),
            passwords: passwords.into(),
            mfa: mfa.into(),
            sessions: sessions.into(),
            lockout: lockout.into(),
            branding: branding.into(),
            webhooks: webhooks.into(),
        }
    }
}

/// What passwords must be.
#[derive(Object)]
#[oai(rename = "PasswordPolicy")]
struct PasswordsView {
    /// Characters.
    min_length: u16,
    /// So many former passwords may not be used again.
    history: u8,
}

impl From<PasswordPolicy> for PasswordsView {
    fn from(policy: PasswordPolicy) -> Self {
        let PasswordPolicy { min_length, history } = policy;
        Self { min_length, history }
    }
}

/// Who needs a second factor.
#[derive(Object)]
#[oai(rename = "MfaPolicy")]
struct MfaView {
    requirement: MfaRequirementView,
    /// The names of the roles that need one, where it depends on roles.
    roles: Vec<String>,
    /// For so many days a device may be remembered; 0 for not at all.
    remember_device_days: u16,
}

impl From<MfaPolicy> for MfaView {
    fn from(policy: MfaPolicy) -> Self {
        let MfaPolicy {
            requirement,
            roles,
            remember_device_days,
        } = policy;
        Self {
            requirement: requirement.into(),
            roles,
            remember_device_days,
        }
    }
}

/// How long sessions last, and how many a user may have.
#[derive(Object)]
#[oai(rename = "SessionPolicy")]
struct SessionsView {
    /// Seconds without a refresh until one ends; null where the installation's own limit holds alone.
    idle_seconds: Option<u32>,
    /// Seconds until one ends; null where the installation's own limit holds alone.
    absolute_seconds: Option<u32>,
    /// Beyond so many the oldest of a user ends.
    max_per_user: u16,
}

impl From<SessionPolicy> for SessionsView {
    fn from(policy: SessionPolicy) -> Self {
        let SessionPolicy {
            idle_seconds,
            absolute_seconds,
            max_per_user,
        } = policy;
        Self {
            idle_seconds,
            absolute_seconds,
            max_per_user,
        }
    }
}

/// What happens to who fails too often.
#[derive(Object)]
#[oai(rename = "LockoutPolicy")]
struct LockoutView {
    /// The failure that begins to lock.
    threshold: u16,
    /// After so many within a day nothing but an unlock or the day's end helps.
    daily_limit: u16,
}

impl From<LockoutPolicy> for LockoutView {
    fn from(policy: LockoutPolicy) -> Self {
        let LockoutPolicy {
            threshold,
            daily_limit,
        } = policy;
        Self {
            threshold,
            daily_limit,
        }
    }
}

/// How mails look.
#[derive(Object)]
#[oai(rename = "Branding")]
struct BrandingView {
    /// Stands in the place of the tenant's name.
    product_name: Option<String>,
    /// `#rrggbb`, of buttons.
    accent_color: Option<String>,
    /// An https URL.
    logo_url: Option<String>,
    /// Where replies go.
    support_email: Option<String>,
}

impl From<Branding> for BrandingView {
    fn from(branding: Branding) -> Self {
        let Branding {
            product_name,
            accent_color,
            logo_url,
            support_email,
        } = branding;
        Self {
            product_name,
            accent_color,
            logo_url,
            support_email,
        }
    }
}

/// What a tenant has and does.
#[derive(Object)]
#[oai(rename = "TenantUsage")]
pub(in crate::routes) struct UsageView {
    totals: TotalsView,
    /// Newest first; a day on which nothing happened is absent.
    days: Vec<DayView>,
}

/// What a tenant has now.
#[derive(Object)]
#[oai(rename = "UsageTotals")]
struct TotalsView {
    /// Accounts.
    users: i64,
    /// Sessions that go on.
    sessions: i64,
    webhook_endpoints: i64,
    /// Domains, proven or not.
    domains: i64,
}

/// What a tenant did on a day.
#[derive(Object)]
#[oai(rename = "UsageDay")]
struct DayView {
    /// In UTC.
    day: NaiveDate,
    /// Sessions that were begun.
    sign_ins: i64,
    /// Accounts that were made.
    registrations: i64,
    /// Sessions that went on.
    refreshes: i64,
    /// Mails that were queued.
    mails: i64,
    /// Events that happened, Latchkey's and the tenant's own.
    events: i64,
}

impl From<TenantUsage> for UsageView {
    fn from(usage: TenantUsage) -> Self {
        let TenantUsage { days, totals } = usage;
        let Totals {
            users,
            sessions,
            webhook_endpoints,
            domains,
        } = totals;
        Self {
            totals: TotalsView {
                users,
                sessions,
                webhook_endpoints,
                domains,
            },
            days: days.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Day> for DayView {
    fn from(day: Day) -> Self {
        let Day {
            day,
            sign_ins,
            registrations,
            refreshes,
            mails,
            events,
        } = day;
        Self {
            day,
            sign_ins,
            registrations,
            refreshes,
            mails,
            events,
        }
    }
}
