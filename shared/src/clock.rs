//! Where the time comes from.
//!
//! Rules take `now` as an argument; a request or a job reads the clock once and passes the instant along.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// Now, to the microsecond: what PostgreSQL can keep.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's own clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }
}

/// An instant as the contract writes it: RFC 3339 in UTC, always with milliseconds. For what is written as JSON; `chrono`
/// writes as many digits as there are.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp(pub DateTime<Utc>);

impl Timestamp {
    /// The text.
    #[must_use]
    pub fn text(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        DateTime::<Utc>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_always_has_three_digits_of_milliseconds() {
        let whole = DateTime::UNIX_EPOCH;
        assert_eq!(Timestamp(whole).text(), "1970-01-01T00:00:00.000Z");
        let finer = whole + chrono::TimeDelta::microseconds(1_999);
        assert_eq!(Timestamp(finer).text(), "1970-01-01T00:00:00.001Z");
    }
}
