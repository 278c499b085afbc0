//! Time-based codes (RFC 6238) as every authenticator app computes them: SHA-1, six digits, thirty seconds. Pure.

use chrono::{DateTime, Utc};
use qrcode::{QrCode, render::svg};
use totp_rs::{Algorithm, Builder, Totp};

use crate::{
    error::Internal,
    random::{self, Random},
    secret::Secret,
};

/// RFC 4226 section 4 recommends 160 bits.
const SECRET_BYTES: usize = 20;
const DIGITS: u8 = 6;
const STEP_SECONDS: u64 = 30;
/// RFC 6238 section 5.2: one step either way for slow fingers and clocks that differ.
const STEPS_EITHER_WAY: u16 = 1;
/// A name longer than this helps nobody to find the entry in an app, and swells the QR code.
const MAX_NAME: usize = 64;

/// What an authenticator app is told, once.
pub struct Setup {
    /// The shared secret, in base32.
    pub secret: Secret<String>,
    /// The same with names and parameters, as apps read it.
    pub otpauth_uri: Secret<String>,
    /// The same as a QR code: an `svg` element.
    pub qr_svg: Secret<String>,
}

/// A new shared secret.
pub(super) fn new_secret(random: &dyn Random) -> Secret<Vec<u8>> {
    Secret::new(random::array::<SECRET_BYTES>(random).to_vec())
}

/// What an app is told of the secret: `issuer` and `account` are the names it shows.
pub(super) fn describe(secret: &Secret<Vec<u8>>, issuer: &str, account: &str) -> Result<Setup, Internal> {
    let totp = builder(secret)
        .with_issuer(Some(name(issuer)))
        .with_account_name(name(account))
        .build()
        .map_err(Internal::fault)?;
    let uri = totp.to_url().map_err(Internal::fault)?;
    let code = QrCode::new(&uri).map_err(Internal::fault)?;
    let image = code.render::<svg::Color<'_>>().min_dimensions(240, 240).build();
    // Without the XML declaration, it can stand inside a page.
    let start = image.find("<svg").unwrap_or_default();
    Ok(Setup {
        secret: Secret::new(totp.secret().to_base32()),
        otpauth_uri: Secret::new(uri),
        qr_svg: Secret::new(image[start..].to_owned()),
    })
}

/// The time step that the code belongs to, if it is one of those around `now`. Compares in constant time.
pub(super) fn step_of(
    secret: &Secret<Vec<u8>>,
    code: &str,
    now: DateTime<Utc>,
) -> Result<Option<i64>, Internal> {
    let totp: Totp = builder(secret).build().map_err(Internal::fault)?;
    let seconds = u64::try_from(now.timestamp()).map_err(Internal::fault)?;
    let digits: String = code.split_whitespace().collect();
    let step = totp.check(&digits, seconds);
    step.map(i64::try_from).transpose().map_err(Internal::fault)
}

fn builder(secret: &Secret<Vec<u8>>) -> Builder {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_step_duration(STEP_SECONDS)
        .with_skew(STEPS_EITHER_WAY)
        .with_secret(secret.expose().clone())
}

/// A colon parts issuer from account, so neither may hold one.
fn name(text: &str) -> String {
    text.replace(':', " ").chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238 appendix B.
    fn secret() -> Secret<Vec<u8>> {
        Secret::new(b"12345678901234567890".to_vec())
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn the_codes_of_the_rfc_are_right_at_their_times() {
        // Appendix B has eight digits; six are their end.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(step_of(&secret(), code, at(seconds)).unwrap(), Some(seconds / 30));
        }
    }

    #[test]
    fn a_code_counts_one_step_either_way_and_no_further() {
        let step = |seconds| step_of(&secret(), "005924", at(seconds)).unwrap();
        let own = 1_234_567_890 / 30;
        for (offset, expected) in [(-60, None), (-30, Some(own)), (30, Some(own)), (60, None)] {
            assert_eq!(step(1_234_567_890 + offset), expected, "{offset}");
        }
    }

    #[test]
    fn only_six_digits_are_a_code() {
        for code in ["", "00592", "0059240", "+05924", "00592a", "०००००१"] {
            assert_eq!(
                step_of(&secret(), code, at(1_234_567_890)).unwrap(),
                None,
                "{code}"
            );
        }
        assert!(
            step_of(&secret(), "005 924", at(1_234_567_890))
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn an_app_is_told_names_without_colons() {
        let setup = describe(&secret(), "Acme: Inc", "ada@example.com").unwrap();
        assert_eq!(setup.secret.expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(
            setup.otpauth_uri.expose(),
            "otpauth://totp/Acme%20%20Inc:ada%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Acme%20%20Inc"
        );
        assert!(setup.qr_svg.expose().starts_with("<svg"));
        let long = describe(&secret(), &"ä".repeat(200), &"ö".repeat(200));
        assert!(long.is_ok());
    }
}
