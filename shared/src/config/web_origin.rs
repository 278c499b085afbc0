//! Where pages come from that may call the API.

use toml::Value;
use url::Url;

use super::setting::Setting;

const EXPECTED: &str = "expects origins as browsers send them, such as https://app.example.com or http://localhost:5173: \
    no path, not even /, no user, and no port that is the scheme's own";
const EACH: &str = "expects each origin by itself: with * every page on the web could use a token that it got hold of, from \
    the browser of whoever visits it";

/// An origin as a browser writes it in `Origin` (RFC 6454 section 6.2): scheme, host, and the port where it is not the
/// scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin(String);

impl WebOrigin {
    /// What `Origin` says, byte for byte.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for WebOrigin {
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = String::from_value(value)?.trim().to_owned();
        if text.contains('*') {
            return Err(EACH.to_owned());
        }
        // What a browser would write otherwise would never be met.
        let is_origin = Url::parse(&text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
        });
        if is_origin {
            Ok(Self(text))
        } else {
            Err(EXPECTED.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use toml::Value;

    use super::{EACH, EXPECTED, WebOrigin};
    use crate::config::setting::Setting;

    fn read(text: &str) -> Result<WebOrigin, String> {
        WebOrigin::from_value(&Value::String(text.to_owned()))
    }

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for good in [
            "https://app.example.com",
            "https://app.example.com:8443",
            "https://xn--bcher-kva.example",
            "http://localhost:5173",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
        ] {
            assert_eq!(read(good).unwrap().as_str(), good);
        }
        for other in [
            "",
            "null",
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://app.example.com/app",
            "https://app.example.com?page",
            "https://app.example.com#page",
            "https://u:p@app.example.com",
            "https://u@app.example.com",
            "https://app.example.com:443",
            "http://app.example.com:80",
            "https://App.example.com",
            "https://bücher.example",
            "https://app.example.com https://other.example.com",
            "ftp://app.example.com",
            "file:///app",
        ] {
            assert_eq!(read(other).unwrap_err(), EXPECTED, "{other}");
        }
    }

    #[test]
    fn no_entry_stands_for_several_origins() {
        for several in ["*", "https://*", "https://*.example.com", "http://localhost:*"] {
            assert_eq!(read(several).unwrap_err(), EACH, "{several}");
        }
    }
}
