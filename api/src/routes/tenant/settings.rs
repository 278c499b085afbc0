//! What to change of a tenant's settings: a merge patch whose fields are those of the settings.

use latchkey_shared::tenant::WebhookPolicy;
use poem_openapi::{
    Object,
    types::{Example, MaybeUndefined},
};

use super::model::{EmailVerificationView, MfaRequirementView, RegistrationView};

/// What to change of the settings. What is absent stays, null goes back to the default.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct UpdateTenantSettingsRequest {
    /// Who may register.
    registration: MaybeUndefined<RegistrationView>,
    /// Whether an address must be proven before it can sign in.
    email_verification: MaybeUndefined<EmailVerificationView>,
    passwords: MaybeUndefined<PasswordsPatch>,
    mfa: MaybeUndefined<MfaPatch>,
    sessions: MaybeUndefined<SessionsPatch>,
    lockout: MaybeUndefined<LockoutPatch>,
    branding: MaybeUndefined<BrandingPatch>,
    webhooks: MaybeUndefined<WebhooksPatch>,
}

impl Example for UpdateTenantSettingsRequest {
    fn example() -> Self {
        let mfa = MfaPatch {
            requirement: MaybeUndefined::Value(MfaRequirementView::RequiredForRoles),
            roles: MaybeUndefined::Value(vec!["owner".to_owned(), "admin".to_owned()]),
            remember_device_days: MaybeUndefined::Undefined,
        };
        Self {
            registration: MaybeUndefined::Value(RegistrationView::Closed),
            email_verification: MaybeUndefined::Undefined,
            passwords: MaybeUndefined::Undefined,
            mfa: MaybeUndefined::Value(mfa),
            sessions: MaybeUndefined::Undefined,
            lockout: MaybeUndefined::Undefined,
            branding: MaybeUndefined::Undefined,
            webhooks: MaybeUndefined::Undefined,
        }
    }
}

/// What passwords must be.
#[derive(Object)]
#[oai(rename = "PasswordPolicyPatch", deny_unknown_fields)]
struct PasswordsPatch {
    /// Characters.
    #[oai(validator(minimum(value = "8"), maximum(value = "64")))]
    min_length: MaybeUndefined<u16>,
    /// So many former passwords may not be used again.
    #[oai(validator(minimum(value = "0"), maximum(value = "24")))]
    history: MaybeUndefined<u8>,
}

/// Who needs a second factor.
#[derive(Object)]
#[oai(rename = "MfaPolicyPatch", deny_unknown_fields)]
struct MfaPatch {
    requirement: MaybeUndefined<MfaRequirementView>,
    /// Replaces the list of the roles that need one, where it depends on roles.
    #[oai(validator(max_items = 50))]
    roles: MaybeUndefined<Vec<String>>,
    /// For so many days a device may be remembered; 0 for not at all.
    #[oai(validator(minimum(value = "0"), maximum(value = "365")))]
    remember_device_days: MaybeUndefined<u16>,
}

/// How long sessions last, and how many a user may have.
#[derive(Object)]
#[oai(rename = "SessionPolicyPatch", deny_unknown_fields)]
struct SessionsPatch {
    /// Seconds without a refresh until one ends; the installation's own limit holds in any case.
    #[oai(validator(minimum(value = "60"), maximum(value = "31536000")))]
    idle_seconds: MaybeUndefined<u32>,
    /// Seconds until one ends; the installation's own limit holds in any case.
    #[oai(validator(minimum(value = "60"), maximum(value = "31536000")))]
    absolute_seconds: MaybeUndefined<u32>,
    /// Beyond so many the oldest of a user ends.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
    max_per_user: MaybeUndefined<u16>,
}

/// What happens to who fails too often.
#[derive(Object)]
#[oai(rename = "LockoutPolicyPatch", deny_unknown_fields)]
struct LockoutPatch {
    /// The failure that begins to lock.
    #[oai(validator(minimum(value = "3"), maximum(value = "50")))]
    threshold: MaybeUndefined<u16>,
    /// After so many within a day nothing but an unlock or the day's end helps; not below the threshold.
    #[oai(validator(minimum(value = "3"), maximum(value = "1000")))]
    daily_limit: MaybeUndefined<u16>,
}

/// How mails look.
#[derive(Object)]
#[oai(rename = "BrandingPatch", deny_unknown_fields)]
struct BrandingPatch {
    /// Stands in the place of the tenant's name.
    #[oai(validator(min_length = 1, max_length = 100))]
    product_name: MaybeUndefined<String>,
    /// `#rrggbb`, of buttons.
    #[oai(validator(min_length = 7, max_length = 7))]
    accent_color: MaybeUndefined<String>,
    /// An https URL.
    #[oai(validator(min_length = 1, max_length = 2048))]
    logo_url: MaybeUndefined<String>,
    /// Where replies go.
    #[oai(validator(min_length = 3, max_length = 254))]
    support_email: MaybeUndefined<String>,
}

/// What is kept of webhooks.
#[derive(Object)]
#[oai(rename = "WebhookPolicyPatch", deny_unknown_fields)]
struct WebhooksPatch {
    /// For so many days what events say and receivers answer is kept; the installation's own limit holds in any case.
    #[oai(validator(minimum(value = "1"), maximum(value = "400")))]
    payload_retention_days: MaybeUndefined<u16>,
}

/// What is kept of webhooks.
#[derive(Object)]
#[oai(rename = "WebhookPolicy")]
pub(super) struct WebhooksView {
    /// For so many days what events say and receivers answer is kept; null where the installation's own limit holds
    /// alone.
    payload_retention_days: Option<u16>,
}

impl From<WebhookPolicy> for WebhooksView {
    fn from(policy: WebhookPolicy) -> Self {
        let WebhookPolicy {
            payload_retention_days,
        } = policy;
        Self {
            payload_retention_days,
        }
    }
}
