//! What a tenant's administrators choose, and what they may. Pure.

use email_address::EmailAddress;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::mail::Branding;

/// What a tenant's administrators choose. What they have not chosen has the safe value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Who may register.
    pub registration: Registration,
    /// Whether an address must be proven before it can sign in.
    pub email_verification: EmailVerification,
    /// What passwords must be.
    pub passwords: PasswordPolicy,
    /// Who needs a second factor.
    pub mfa: MfaPolicy,
    /// How long sessions last, and how many a user may have.
    pub sessions: SessionPolicy,
    /// What happens to who fails too often.
    pub lockout: LockoutPolicy,
    /// How mails look.
    pub branding: Branding,
    /// What is kept of webhooks.
    pub webhooks: WebhookPolicy,
}

/// What passwords must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PasswordPolicy {
    /// Characters, 8 to 64.
    pub min_length: u16,
    /// So many former passwords may not be used again, 24 at most.
    pub history: u8,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self {
            min_length: 8,
            history: 0,
        }
    }
}

/// Who needs a second factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MfaPolicy {
    /// Who.
    pub requirement: MfaRequirement,
    /// The names of the roles that need one, where it depends on roles.
    pub roles: Vec<String>,
    /// For so many days a device may be remembered; 0 for not at all.
    pub remember_device_days: u16,
}

impl Default for MfaPolicy {
    fn default() -> Self {
        Self {
            requirement: MfaRequirement::Optional,
            roles: Vec::new(),
            remember_device_days: 30,
        }
    }
}

/// Who needs a second factor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MfaRequirement {
    /// Nobody can set one up; who has one is still asked for it.
    Off,
    /// Who has set one up.
    #[default]
    Optional,
    /// Everyone.
    Required,
    /// Who holds one of the roles named, and who has set one up.
    RequiredForRoles,
}

/// How long sessions last, and how many a user may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionPolicy {
    /// Seconds without a refresh until one ends; the installation's own limit holds in any case.
    pub idle_seconds: Option<u32>,
    /// Seconds until one ends; the installation's own limit holds in any case.
    pub absolute_seconds: Option<u32>,
    /// Beyond so many the oldest of a user ends.
    pub max_per_user: u16,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self {
            idle_seconds: None,
            absolute_seconds: None,
            max_per_user: 100,
        }
    }
}

/// What happens to who fails too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockoutPolicy {
    /// The failure that begins to lock.
    pub threshold: u16,
    /// After so many within a day nothing but an unlock or the day's end helps.
    pub daily_limit: u16,
}

impl Default for LockoutPolicy {
    fn default() -> Self {
        Self {
            threshold: 5,
            daily_limit: 100,
        }
    }
}

/// What is kept of webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookPolicy {
    /// For so many days what events say and receivers answer is kept; the installation's own limit holds in any case.
    /// `outbox` reads this from the row.
    pub payload_retention_days: Option<u16>,
}

/// Who may register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Anyone.
    #[default]
    Open,
    /// Only who was invited.
    Closed,
}

/// Whether an address must be proven before it can sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmailVerification {
    /// It must.
    #[default]
    Required,
    /// It need not.
    Optional,
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingFault {
    /// Which, as a JSON pointer (RFC 6901).
    pub pointer: &'static str,
    /// A stable word.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

/// Collects faults.
#[derive(Default)]
struct Faults(Vec<SettingFault>);

impl Faults {
    fn add(&mut self, pointer: &'static str, code: &'static str, detail: impl Into<String>) {
        self.0.push(SettingFault {
            pointer,
            code,
            detail: detail.into(),
        });
    }

    fn range(&mut self, pointer: &'static str, value: u32, (min, max): (u32, u32)) {
        if value < min {
            self.add(pointer, "too_small", format!("must be at least {min}"));
        } else if value > max {
            self.add(pointer, "too_large", format!("must be at most {max}"));
        }
    }

    fn text(&mut self, pointer: &'static str, text: &str, max: usize) {
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            self.add(pointer, "invalid_format", "must be text on one line");
        } else if text.chars().count() > max {
            self.add(pointer, "too_long", format!("must have at most {max} characters"));
        }
    }
}

/// A year: what lasts longer does not end.
const YEAR_SECONDS: u32 = 365 * 24 * 60 * 60;

impl Settings {
    /// Every setting that cannot be, or does not go with another.
    #[must_use]
    pub fn faults(&self) -> Vec<SettingFault> {
        let Self {
            registration: _,
            email_verification: _,
            passwords,
            mfa,
            sessions,
            lockout,
            branding,
            webhooks,
        } = self;
        let mut faults = Faults::default();
        faults.range("/passwords/min_length", passwords.min_length.into(), (8, 64));
        faults.range("/passwords/history", passwords.history.into(), (0, 24));
        mfa.judge(&mut faults);
        sessions.judge(&mut faults);
        // Fewer would lock out who mistypes; more would let a guesser go on for days.
        faults.range("/lockout/threshold", lockout.threshold.into(), (3, 50));
        let daily = (lockout.threshold.max(3).into(), 1000);
        faults.range("/lockout/daily_limit", lockout.daily_limit.into(), daily);
        judge_branding(branding, &mut faults);
        if let Some(days) = webhooks.payload_retention_days {
            faults.range("/webhooks/payload_retention_days", days.into(), (1, 400));
        }
        faults.0
    }
}

impl MfaPolicy {
    fn judge(&self, faults: &mut Faults) {
        if self.roles.len() > 50 {
            faults.add("/mfa/roles", "too_many", "must hold at most 50");
        }
        for role in &self.roles {
            faults.text("/mfa/roles", role, 100);
        }
        if self.requirement == MfaRequirement::RequiredForRoles && self.roles.is_empty() {
            faults.add(
                "/mfa/roles",
                "required",
                "must name the roles that need a second factor",
            );
        }
        let days = self.remember_device_days.into();
        faults.range("/mfa/remember_device_days", days, (0, 365));
    }
}

impl SessionPolicy {
    fn judge(&self, faults: &mut Faults) {
        for (pointer, seconds) in [
            ("/sessions/idle_seconds", self.idle_seconds),
            ("/sessions/absolute_seconds", self.absolute_seconds),
        ] {
            if let Some(seconds) = seconds {
                faults.range(pointer, seconds, (60, YEAR_SECONDS));
            }
        }
        if let (Some(idle), Some(absolute)) = (self.idle_seconds, self.absolute_seconds)
            && idle > absolute
        {
            let detail = "must not be longer than absolute_seconds";
            faults.add("/sessions/idle_seconds", "too_large", detail);
        }
        faults.range("/sessions/max_per_user", self.max_per_user.into(), (1, 1000));
    }
}

fn judge_branding(branding: &Branding, faults: &mut Faults) {
    let Branding {
        product_name,
        accent_color,
        logo_url,
        support_email,
    } = branding;
    if let Some(name) = product_name {
        faults.text("/branding/product_name", name, 100);
    }
    let is_color = |text: &str| {
        let digits = text.strip_prefix('#').unwrap_or_default();
        digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    if accent_color.as_deref().is_some_and(|color| !is_color(color)) {
        faults.add("/branding/accent_color", "invalid_format", "must be #rrggbb");
    }
    let is_https =
        |text: &str| text.len() <= 2048 && Url::parse(text).is_ok_and(|url| url.scheme() == "https");
    if logo_url.as_deref().is_some_and(|url| !is_https(url)) {
        faults.add("/branding/logo_url", "invalid_format", "must be an https URL");
    }
    let is_address = |text: &str| text.is_ascii() && EmailAddress::is_valid(text);
    if support_email
        .as_deref()
        .is_some_and(|address| !is_address(address))
    {
        let detail = "must be an e-mail address in ASCII";
        faults.add("/branding/support_email", "invalid_format", detail);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(settings: serde_json::Value) -> Vec<&'static str> {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        settings.faults().iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn what_nobody_has_chosen_is_without_fault() {
        assert!(Settings::default().faults().is_empty());
    }

    #[test]
    fn each_fault_is_named_by_its_place() {
        let all = json!({
            "passwords": { "min_length": 7, "history": 25 },
            "mfa": { "requirement": "required_for_roles", "remember_device_days": 366 },
            "sessions": { "idle_seconds": 59, "max_per_user": 0 },
            "lockout": { "threshold": 2, "daily_limit": 1001 },
            "branding": { "product_name": " ", "accent_color": "red", "logo_url": "http://a.test/x.png",
                          "support_email": "a@b.test\r\nBcc: eve@example.com" },
            "webhooks": { "payload_retention_days": 0 },
        });
        assert_eq!(
            pointers(all),
            [
                "/passwords/min_length",
                "/passwords/history",
                "/mfa/roles",
                "/mfa/remember_device_days",
                "/sessions/idle_seconds",
                "/sessions/max_per_user",
                "/lockout/threshold",
                "/lockout/daily_limit",
                "/branding/product_name",
                "/branding/accent_color",
                "/branding/logo_url",
                "/branding/support_email",
                "/webhooks/payload_retention_days",
            ]
        );
    }

    #[test]
    fn what_does_not_go_together_is_a_fault() {
        assert_eq!(
            pointers(json!({ "sessions": { "idle_seconds": 7200, "absolute_seconds": 3600 } })),
            ["/sessions/idle_seconds"]
        );
        assert_eq!(
            pointers(json!({ "lockout": { "threshold": 20, "daily_limit": 10 } })),
            ["/lockout/daily_limit"]
        );
    }
}
