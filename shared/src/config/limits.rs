//! How often is too often. Pure, but for the reading.

use std::{num::NonZeroU32, str::FromStr, time::Duration};

use super::{Environment, Source};

/// Load from one developer's machine has one address and one tenant; limits on either would be met at once.
const EASE_IN_DEVELOPMENT: u32 = 1000;
const MAX_COUNT: u32 = 1_000_000;
const MAX_SECONDS: u64 = 24 * 60 * 60;

/// So many requests in so much time: all at once, or spread over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub count: NonZeroU32,
    /// Whole seconds.
    pub window: Duration,
}

/// The text is no [`Rate`].
#[derive(Debug, thiserror::Error)]
#[error("this is not a rate")]
pub struct InvalidRate;

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let (count, seconds) = text.split_once('/').ok_or(InvalidRate)?;
        let count: NonZeroU32 = count.trim().parse().map_err(|_| InvalidRate)?;
        let seconds: u64 = seconds.trim().parse().map_err(|_| InvalidRate)?;
        if count.get() > MAX_COUNT || !(1..=MAX_SECONDS).contains(&seconds) {
            return Err(InvalidRate);
        }
        Ok(Self {
            count,
            window: Duration::from_secs(seconds),
        })
    }
}

impl Rate {
    const fn of(count: u32, seconds: u64) -> Self {
        let count = match NonZeroU32::new(count) {
            Some(count) => count,
            None => NonZeroU32::MIN,
        };
        Self {
            count,
            window: Duration::from_secs(seconds),
        }
    }

    fn eased(self, by: u32) -> Self {
        Self {
            count: self
                .count
                .saturating_mul(NonZeroU32::new(by).unwrap_or(NonZeroU32::MIN)),
            window: self.window,
        }
    }
}

/// What becomes of a limited request while Redis is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutRedis {
    /// Each process counts for itself.
    Local,
    /// It is answered 503.
    Closed,
}

/// The limits on one class of requests.
#[derive(Clone, Copy, Debug)]
pub struct ClassLimits {
    /// On those from one client address.
    pub per_address: Rate,
    /// On those to one tenant.
    pub per_tenant: Option<Rate>,
    /// On those about one e-mail address.
    pub per_account: Option<Rate>,
    /// What becomes of them while Redis is away.
    pub without_redis: WithoutRedis,
}

/// How often is too often.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `sign_in_…`: requests that check a password or a second factor.
    pub sign_in: ClassLimits,
    /// `mail_…`: requests that send mail.
    pub mail: ClassLimits,
    /// `token_…`: requests that bring a token of their own: to refresh, to verify, to accept.
    pub token: ClassLimits,
    /// `redis_timeout`: a request waits no longer to be counted.
    pub redis_timeout: Duration,
}

impl Limits {
    pub(super) fn read(source: &mut Source, environment: Environment) -> Self {
        let ease = match environment {
            Environment::Production => 1,
            Environment::Development => EASE_IN_DEVELOPMENT,
        };
        let mut rate = |key, count, seconds| source.or(key, Rate::of(count, seconds));
        let mut limits = Self {
            sign_in: ClassLimits {
                per_address: rate("limits.sign_in_per_address", 30, 60).eased(ease),
                per_tenant: Some(rate("limits.sign_in_per_tenant", 3000, 60).eased(ease)),
                // Lockout watches over each account, and does not tell.
                per_account: None,
                without_redis: WithoutRedis::Local,
            },
            mail: ClassLimits {
                per_address: rate("limits.mail_per_address", 20, 600).eased(ease),
                per_tenant: Some(rate("limits.mail_per_tenant", 1000, 600).eased(ease)),
                per_account: Some(rate("limits.mail_per_account", 10, 3600)),
                without_redis: WithoutRedis::Local,
            },
            token: ClassLimits {
                per_address: rate("limits.token_per_address", 300, 60).eased(ease),
                // The token names its tenant, and is not read before the limits are.
                per_tenant: None,
                per_account: None,
                without_redis: WithoutRedis::Local,
            },
            redis_timeout: source.or("limits.redis_timeout", Duration::from_millis(50)),
        };
        for (key, class) in [
            ("limits.sign_in_without_redis", &mut limits.sign_in),
            ("limits.mail_without_redis", &mut limits.mail),
            ("limits.token_without_redis", &mut limits.token),
        ] {
            class.without_redis = without_redis(source, key);
        }
        limits
    }
}

fn without_redis(source: &mut Source, key: &str) -> WithoutRedis {
    match source.or(key, "local".to_owned()).as_str() {
        "local" => WithoutRedis::Local,
        "closed" => WithoutRedis::Closed,
        _ => {
            source.fault(format!("{key}: expects local or closed"));
            WithoutRedis::Closed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_count_and_seconds() {
        assert_eq!("30/60".parse::<Rate>().unwrap(), Rate::of(30, 60));
        assert_eq!(" 1 / 86400 ".parse::<Rate>().unwrap(), Rate::of(1, 86_400));
        for text in [
            "",
            "30",
            "0/60",
            "30/0",
            "-1/60",
            "1.5/60",
            "30/86401",
            "1000001/60",
            "30/60/1",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
