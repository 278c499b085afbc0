//! How a key is written. Pure.
//!
//! `lk_live_` or `lk_test_`, 43 base62 characters that hold 256 random bits, and 6 that hold the CRC-32 of all before
//! them. The prefix lets scanners find a leaked key, the checksum lets us refuse a made-up one without asking anybody;
//! neither is a secret, and neither proves anything: only the hash in the database does.

use aws_lc_rs::digest::{SHA256, digest};

use crate::{
    entity::KeyEnvironment,
    random::{self, Random},
    secret::Secret,
};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LIVE: &str = "lk_live_";
const TEST: &str = "lk_test_";
const SECRET_BYTES: usize = 32;
/// 62^43 is more than 2^256.
const SECRET_CHARACTERS: usize = 43;
/// 62^6 is more than 2^32.
const CHECK_CHARACTERS: usize = 6;
const LENGTH: usize = LIVE.len() + SECRET_CHARACTERS + CHECK_CHARACTERS;
/// So many of its last characters are shown: of the checksum, which tells of 256 bits at most 24.
const SHOWN: usize = 4;

/// What is stored of a key: its SHA-256.
pub type KeyHash = [u8; 32];

/// A key in clear: made here or received from a client.
#[derive(Clone)]
pub struct KeyText {
    environment: KeyEnvironment,
    text: Secret<String>,
}

impl KeyText {
    /// A new key that nobody can guess.
    pub fn new(environment: KeyEnvironment, random: &dyn Random) -> Self {
        let secret = base62(random::array::<SECRET_BYTES>(random));
        let mut text = format!("{}{secret}", prefix(environment));
        text.push_str(&check(&text));
        Self {
            environment,
            text: Secret::new(text),
        }
    }

    /// Reads what a client sent; `None` for what was never one of ours. Nothing outside is asked.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let environment = match text.get(..LIVE.len())? {
            LIVE => KeyEnvironment::Live,
            TEST => KeyEnvironment::Test,
            _ => return None,
        };
        if text.len() != LENGTH
            || !text
                .bytes()
                .skip(LIVE.len())
                .all(|byte| byte.is_ascii_alphanumeric())
        {
            return None;
        }
        let (checked, sum) = text.split_at(LENGTH - CHECK_CHARACTERS);
        (check(checked) == sum).then(|| Self {
            environment,
            text: Secret::new(text.to_owned()),
        })
    }

    /// Whether the text claims to be a key, so that it is judged as one and as nothing else.
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with(LIVE) || text.starts_with(TEST)
    }

    /// What it is meant for.
    #[must_use]
    pub fn environment(&self) -> KeyEnvironment {
        self.environment
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, self.text.expose().as_bytes()).as_ref());
        hash
    }

    /// What may be shown of it.
    #[must_use]
    pub fn hint(&self) -> String {
        let last = self.text.expose().get(LENGTH - SHOWN..).unwrap_or_default();
        format!("{}…{last}", prefix(self.environment))
    }

    /// The text, for its one recipient.
    #[must_use]
    pub fn into_text(self) -> Secret<String> {
        self.text
    }
}

const fn prefix(environment: KeyEnvironment) -> &'static str {
    match environment {
        KeyEnvironment::Live => LIVE,
        KeyEnvironment::Test => TEST,
    }
}

/// The number as 43 digits to the base of 62.
fn base62(mut number: [u8; SECRET_BYTES]) -> String {
    let mut digits = [0; SECRET_CHARACTERS];
    for digit in digits.iter_mut().rev() {
        // Long division by 62; what remains is the next digit.
        let mut rest = 0;
        for byte in &mut number {
            let part = rest * 256 + u32::from(*byte);
            *byte = u8::try_from(part / 62).unwrap_or_default();
            rest = part % 62;
        }
        *digit = ALPHABET[rest as usize];
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

fn check(text: &str) -> String {
    let mut sum = crc32fast::hash(text.as_bytes());
    let mut digits = [0; CHECK_CHARACTERS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(sum % 62) as usize];
        sum /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    struct Fixed(u8);

    impl Random for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn a_key_is_read_back_and_shows_little_of_itself() {
        for (environment, prefix) in [
            (KeyEnvironment::Live, "lk_live_"),
            (KeyEnvironment::Test, "lk_test_"),
        ] {
            let key = KeyText::new(environment, &OsRandom::new());
            let text = key.clone().into_text();
            assert_eq!(text.expose().len(), 57);
            assert!(text.expose().starts_with(prefix));
            let read = KeyText::parse(text.expose()).unwrap();
            assert_eq!((read.hash(), read.environment()), (key.hash(), environment));
            assert_eq!(key.hint(), format!("{prefix}…{}", &text.expose()[53..]));
        }
    }

    #[test]
    fn the_extremes_fill_all_digits() {
        let text = |byte| KeyText::new(KeyEnvironment::Live, &Fixed(byte)).into_text();
        assert!(
            text(0)
                .expose()
                .starts_with(&format!("lk_live_{}", "0".repeat(43)))
        );
        // 2^256 - 1 to the base of 62.
        assert_eq!(
            &text(255).expose()[8..51],
            "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1"
        );
    }

    #[test]
    fn s39_whatever_is_changed_in_a_key_is_noticed() {
        let text = KeyText::new(KeyEnvironment::Test, &OsRandom::new()).into_text();
        let text = text.expose();
        for at in 0..text.len() {
            for other in ["", "0", "z", "_", "ä", "00"] {
                let mut changed = text.clone();
                changed.replace_range(at..=at, other);
                assert!(
                    changed == *text || KeyText::parse(&changed).is_none(),
                    "{at} {other}"
                );
            }
        }
        for foreign in ["", "lk_live_", "lk_prod_", "lkr_", "ä", "lk_liveä"] {
            assert!(KeyText::parse(foreign).is_none(), "{foreign}");
        }
        assert!(KeyText::parse(&format!("{text} ")).is_none());
    }
}
