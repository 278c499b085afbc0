//! Recovery codes: what gets its owner in when the authenticator is lost. Pure.
//!
//! A code reads `7Q4M-0XKD-93RT-AHBN`: 80 random bits in Crockford's base32, whose letters are hard to confuse. Only a
//! keyed hash of it is stored, so that a dump of the database does not help to guess one.

use base32::Alphabet;

use crate::{
    config::Key,
    crypto::mac,
    id::{TenantId, UserId},
    random::{self, Random},
    secret::Secret,
};

/// So many are made at a time.
pub(super) const COUNT: usize = 10;
const BYTES: usize = 10;
const GROUP: usize = 4;

/// A recovery code, read.
pub(super) struct RecoveryCode(Secret<[u8; BYTES]>);

impl RecoveryCode {
    /// A code that nobody can guess.
    pub(super) fn new(random: &dyn Random) -> Self {
        Self(Secret::new(random::array(random)))
    }

    /// Reads what someone has typed: case, spaces and dashes do not matter, nor do letters that look like digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let typed: String = text.chars().filter(|c| *c != '-' && !c.is_whitespace()).collect();
        // The decoder drops what does not fill a byte: another length would be another spelling of the same code.
        if typed.len() != BYTES * 8 / 5 {
            return None;
        }
        let bytes = base32::decode(Alphabet::Crockford, &typed)?;
        Some(Self(Secret::new(bytes.try_into().ok()?)))
    }

    /// For its one reader.
    pub(super) fn text(&self) -> Secret<String> {
        let encoded = base32::encode(Alphabet::Crockford, self.0.expose());
        let letters: Vec<char> = encoded.chars().collect();
        let groups: Vec<String> = letters.chunks(GROUP).map(String::from_iter).collect();
        Secret::new(groups.join("-"))
    }

    /// What is stored of it.
    pub(super) fn hash(&self, key: &Key, tenant: TenantId, user: UserId) -> Vec<u8> {
        let parts = [
            b"recovery code" as &[u8],
            tenant.0.as_bytes(),
            user.0.as_bytes(),
            self.0.expose(),
        ];
        mac(key.bytes.expose(), &parts).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = RecoveryCode(Secret::new(*b"\x00\x01\x10\xff\x80\x42\x13\x37\xab\xcd"));
        let text = code.text();
        assert_eq!(text.expose(), "000H-1ZW0-889K-FAYD");
        let typed = [
            text.expose().clone(),
            text.expose().to_lowercase(),
            text.expose().replace('-', ""),
            text.expose().replace('-', " "),
            text.expose().replace('0', "o").replace('1', "l"),
        ];
        for typed in typed {
            let read = RecoveryCode::parse(&typed).unwrap();
            assert_eq!(read.0.expose(), code.0.expose(), "{typed}");
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for text in [
            "",
            "000H-1ZW0-89SK-FAY",
            "000H-1ZW0-889K-FAYD-0",
            "000H-1ZW0-89SK-FAYU",
            "ÄÄÄH-1ZW0-89",
            "123456",
        ] {
            assert!(RecoveryCode::parse(text).is_none(), "{text}");
        }
    }
}
