//! How one setting is read from TOML or from an environment variable's text.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;
use toml::Value;
use url::Url;

use super::Rate;

/// A type a setting may have.
pub trait Setting: Sized {
    /// Reads the value.
    ///
    /// # Errors
    /// With what was expected. The value itself is never repeated: it may be a secret.
    fn from_value(value: &Value) -> Result<Self, String>;
}

impl Setting for String {
    fn from_value(value: &Value) -> Result<Self, String> {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| "expects text".to_owned())
    }
}

/// Types that a string says as well as TOML's own value does.
macro_rules! parsed {
    ($($type:ty: $expected:literal)*) => {$(
        impl Setting for $type {
            fn from_value(value: &Value) -> Result<Self, String> {
                let text = match value {
                    Value::String(text) => text.trim().to_owned(),
                    Value::Integer(number) => number.to_string(),
                    Value::Float(number) => number.to_string(),
                    Value::Boolean(flag) => flag.to_string(),
                    _ => String::new(),
                };
                text.parse().map_err(|_| concat!("expects ", $expected).to_owned())
            }
        }
    )*};
}

parsed! {
    bool: "true or false"
    u16: "a whole number from 0 to 65535"
    u32: "a whole number, not negative"
    u64: "a whole number, not negative"
    usize: "a whole number, not negative"
    f64: "a number"
    SocketAddr: "an address with a port, as 127.0.0.1:8080"
    IpNet: "an address range, as 10.0.0.0/8"
    Url: "an absolute URL"
    Rate: "a number of requests and a number of seconds, as 30/60"
}

/// Instants are added up from durations, and nobody means more than that.
const LONGEST: Duration = Duration::from_hours(100 * 366 * 24);

/// Durations are written in seconds, fractions allowed.
impl Setting for Duration {
    fn from_value(value: &Value) -> Result<Self, String> {
        let seconds = f64::from_value(value)?;
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|duration| *duration <= LONGEST)
            .ok_or_else(|| "expects seconds, not negative and no more than a century".to_owned())
    }
}

/// A TOML array, or a string with commas between the parts.
impl<T: Setting> Setting for Vec<T> {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(items) => items.iter().map(T::from_value).collect(),
            Value::String(text) => text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| T::from_value(&Value::String(part.to_owned())))
                .collect(),
            _ => Err("expects a list".to_owned()),
        }
    }
}
