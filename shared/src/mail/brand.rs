//! In whose name a mail goes out, and how it looks. Pure.

use email_address::EmailAddress;
use serde::{Deserialize, Serialize};
use url::Url;

/// Of buttons, where the tenant has not chosen a colour.
const ACCENT: &str = "#1f6feb";

/// In whose name a mail goes out.
#[derive(Clone, Copy, Debug)]
pub struct Brand<'a> {
    /// The tenant's name.
    pub name: &'a str,
    /// How its mails look.
    pub branding: Option<&'a Branding>,
}

impl<'a> Brand<'a> {
    /// A name alone.
    #[must_use]
    pub const fn named(name: &'a str) -> Self {
        Self { name, branding: None }
    }
}

/// How a tenant's mails look. What is not chosen looks like ours, and so does what cannot be used: a wrong
/// colour must not cost anyone a mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Branding {
    /// Stands in the place of the tenant's name.
    pub product_name: Option<String>,
    /// `#rrggbb`, of buttons.
    pub accent_color: Option<String>,
    /// An https URL.
    pub logo_url: Option<String>,
    /// Where replies go.
    pub support_email: Option<String>,
}

impl Brand<'_> {
    pub(super) fn product(&self) -> &str {
        let chosen = self
            .branding
            .and_then(|branding| branding.product_name.as_deref());
        chosen.filter(|name| !name.trim().is_empty()).unwrap_or(self.name)
    }

    pub(super) fn accent_color(&self) -> &str {
        let chosen = self
            .branding
            .and_then(|branding| branding.accent_color.as_deref());
        chosen.filter(|color| channels(color).is_some()).unwrap_or(ACCENT)
    }

    /// What can be read on the accent colour: by the weights of ITU-R BT.601.
    pub(super) fn button_color(&self) -> &'static str {
        let [red, green, blue] = channels(self.accent_color()).unwrap_or_default();
        if 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue) > 150_000 {
            "#000000"
        } else {
            "#ffffff"
        }
    }

    pub(super) fn logo_url(&self) -> Option<String> {
        let chosen = self.branding?.logo_url.as_deref()?;
        let url = Url::parse(chosen).ok().filter(|url| url.scheme() == "https")?;
        Some(url.into())
    }

    pub(super) fn support_email(&self) -> Option<&str> {
        let chosen = self.branding?.support_email.as_deref()?;
        let plain = chosen.is_ascii() && !chosen.contains(|c: char| c.is_control() || c.is_whitespace());
        (plain && EmailAddress::is_valid(chosen)).then_some(chosen)
    }
}

/// The channels of `#rrggbb`.
fn channels(color: &str) -> Option<[u8; 3]> {
    let digits = color
        .strip_prefix('#')
        .filter(|digits| digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    let channel = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    Some([channel(0)?, channel(2)?, channel(4)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_looks_like_ours() {
        let hostile = Branding {
            product_name: Some("  ".to_owned()),
            accent_color: Some("red; background: url(https://eve.test)".to_owned()),
            logo_url: Some("javascript:alert(1)".to_owned()),
            support_email: Some("a@b.test\r\nBcc: eve@example.com".to_owned()),
        };
        let brand = Brand {
            name: "Acme",
            branding: Some(&hostile),
        };
        assert_eq!((brand.product(), brand.accent_color()), ("Acme", ACCENT));
        assert_eq!((brand.logo_url(), brand.support_email()), (None, None));
    }

    #[test]
    fn a_button_can_be_read_on_any_colour() {
        for (color, text) in [
            ("#ffffff", "#000000"),
            ("#ffee00", "#000000"),
            ("#101010", "#ffffff"),
        ] {
            let branding = Branding {
                accent_color: Some(color.to_owned()),
                ..Branding::default()
            };
            let brand = Brand {
                name: "Acme",
                branding: Some(&branding),
            };
            assert_eq!((brand.accent_color(), brand.button_color()), (color, text));
        }
    }
}
