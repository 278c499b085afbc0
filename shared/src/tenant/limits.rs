//! A tenant's own share of the rate limits. Pure.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{config::Rate, limit::Class};

const WINDOW: Duration = Duration::from_mins(1);

/// Requests to the tenant in a minute, by their class; none where the configured limit holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RateLimits {
    /// Those that check a password or a second factor.
    pub sign_in: Option<NonZeroU32>,
    /// Those that send mail.
    pub mail: Option<NonZeroU32>,
    /// Those that bring a token of their own.
    pub token: Option<NonZeroU32>,
}

impl RateLimits {
    /// The tenant's own limit on a class.
    #[must_use]
    pub fn of(&self, class: Class) -> Option<Rate> {
        let count = match class {
            Class::SignIn => self.sign_in,
            Class::Mail => self.mail,
            Class::Token => self.token,
        };
        count.map(|count| Rate {
            count,
            window: WINDOW,
        })
    }
}
