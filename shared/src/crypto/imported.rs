//! Password hashes that other systems made, as an import brings them. Pure.
//!
//! | scheme | written as | at most |
//! |---|---|---|
//! | Argon2i, 2d, 2id (RFC 9106) | `$argon2id$v=19$m=65536,t=3,p=4$<salt>$<hash>` | 128 MiB, m·t 1 GiB, 16 lanes |
//! | bcrypt | `$2b$12$<salt and hash>`, also `$2a$` and `$2y$` | cost 14 |
//! | scrypt (RFC 7914) | `$scrypt$ln=17,r=8,p=1$<salt>$<hash>` | 128 MiB, 128·N·r·p 256 MiB |
//! | PBKDF2 (RFC 8018) with SHA-256 or SHA-512 | `$pbkdf2-sha256$i=600000$<salt>$<hash>` | 2,000,000 iterations |
//!
//! Django and passlib write some of them in a way of their own, which is read as well.
//!
//! What costs more is refused when it comes, not when its owner signs in: one line of an import could otherwise keep a
//! hashing thread busy for minutes, as often as anybody likes to try. Each bound is about a second of one core. No
//! pepper of ours went into such a hash; it is replaced by one of our own as soon as its password has proven right.
//!
//! How long it takes to compare a password with one differs from what our own hashes take. Until its owner has signed in
//! once, an imported account can be told from none by time, though by nothing else.

use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version, password_hash::phc::PasswordHash};
use aws_lc_rs::{constant_time, pbkdf2};
use base64::{
    Engine, alphabet,
    engine::{
        DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD_NO_PAD as BASE64,
    },
};

use super::password::HashError;
use crate::secret::Secret;

/// Sets a stored hash apart from our own, which are read otherwise.
const MARK: &str = "$imported";

const MAX_KIB: u32 = 128 * 1024;
const MAX_ARGON2_WORK_KIB: u64 = 1024 * 1024;
const MAX_ARGON2_LANES: u32 = 16;
const MIN_BCRYPT_COST: u32 = 4;
const MAX_BCRYPT_COST: u32 = 14;
const MAX_SCRYPT_WORK_KIB: u64 = 256 * 1024;
const MAX_PBKDF2_ITERATIONS: u32 = 2_000_000;
/// Fewer bytes could be met by chance.
const MIN_OUTPUT: usize = 16;

/// bcrypt reads so much of a password, its closing NUL included, and ignores the rest.
const BCRYPT_BYTES: usize = 72;
const BCRYPT_SALT_CHARS: usize = 22;
const BCRYPT_OUTPUT: usize = 23;
/// `$2b$12$` and the salt.
const BCRYPT_HEAD: usize = 7 + BCRYPT_SALT_CHARS;

/// The last character of a salt has two bits that mean nothing, and not everybody writes them as zero.
const BCRYPT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Why a hash is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    /// It is of none of the schemes.
    #[error(
        "a hash begins with $argon2id$, $argon2i$, $argon2d$, $2a$, $2b$, $2y$, $scrypt$, $pbkdf2-sha256$ or $pbkdf2-sha512$; \
         or as Django writes it, with argon2$, bcrypt$, scrypt$ or pbkdf2_sha256$"
    )]
    UnknownScheme,
    /// Its scheme is known, and the rest is not written as it should be.
    #[error("the hash is not written as its scheme is")]
    Malformed,
    /// To compare a password with it would take too long, or too much memory.
    #[error("the hash costs more to check than this server does for a sign-in")]
    TooCostly,
}

/// A hash that another system made.
pub struct ImportedHash {
    scheme: Scheme,
    salt: Vec<u8>,
    output: Vec<u8>,
    /// All but the output.
    head: String,
}

enum Scheme {
    Argon2(Algorithm, Version, Params),
    Bcrypt { cost: u32 },
    Scrypt(scrypt::Params),
    Pbkdf2(pbkdf2::Algorithm, NonZeroU32),
}

/// What a password comes to.
pub(super) struct Repeated {
    output: Vec<u8>,
    /// Whether the scheme has read all of the password.
    whole: bool,
}

impl ImportedHash {
    /// Reads a hash as its scheme writes it.
    ///
    /// # Errors
    /// See [`InvalidHash`].
    pub fn parse(text: &str) -> Result<Self, InvalidHash> {
        let respelt = respelt(text);
        let text = respelt.as_deref().unwrap_or(text);
        let scheme = text.strip_prefix('$').and_then(|text| text.split('$').next());
        match scheme.unwrap_or_default() {
            "2a" | "2b" | "2y" => Self::bcrypt(text),
            "argon2i" | "argon2d" | "argon2id" | "scrypt" | "pbkdf2-sha256" | "pbkdf2-sha512" => {
                Self::phc(text)
            }
            _ => Err(InvalidHash::UnknownScheme),
        }
    }

    /// As the database keeps it.
    #[must_use]
    pub fn stored(&self) -> String {
        self.encode(&self.output)
    }

    /// What the database keeps, if it is an imported hash.
    pub(super) fn of_stored(stored: &str) -> Option<Result<Self, InvalidHash>> {
        stored.strip_prefix(MARK).map(Self::parse)
    }

    /// As the database would keep what another password comes to.
    pub(super) fn stored_of(&self, repeated: &Repeated) -> String {
        self.encode(&repeated.output)
    }

    fn encode(&self, output: &[u8]) -> String {
        let head = &self.head;
        match self.scheme {
            Scheme::Bcrypt { .. } => format!("{MARK}{head}{}", BCRYPT_BASE64.encode(output)),
            _ => format!("{MARK}{head}{}", BASE64.encode(output)),
        }
    }

    /// Whether the password is the one behind this hash. One that the scheme would cut is none: whoever has it set a new
    /// one by mail.
    pub(super) fn is_of(&self, repeated: &Repeated) -> bool {
        repeated.whole && self.has_output_of(repeated)
    }

    /// Whether this is the decoy of the other hash, and the password the one behind it.
    pub(super) fn is_decoy_of(&self, other: &Self, repeated: &Repeated) -> bool {
        self.head == other.head && self.has_output_of(repeated)
    }

    fn has_output_of(&self, repeated: &Repeated) -> bool {
        constant_time::verify_slices_are_equal(&self.output, &repeated.output).is_ok()
    }

    /// Hashes a password in the way of this hash.
    pub(super) fn repeat(&self, password: &Secret<String>) -> Result<Repeated, HashError> {
        let password = password.expose().as_bytes();
        let mut output = vec![0; self.output.len()];
        let mut whole = true;
        match &self.scheme {
            Scheme::Argon2(algorithm, version, params) => {
                // Memory of its own, which goes with it: what the threads keep is sized for our own hashes.
                let argon2 = Argon2::new(*algorithm, *version, params.clone());
                argon2.hash_password_into(password, &self.salt, &mut output)?;
            }
            Scheme::Bcrypt { cost } => {
                whole = password.len() <= BCRYPT_BYTES;
                let mut read: Vec<u8> = password.to_vec();
                read.push(0);
                read.truncate(BCRYPT_BYTES);
                let mut salt = [0; 16];
                salt.copy_from_slice(&self.salt);
                output.copy_from_slice(&bcrypt::bcrypt(*cost, salt, &read)[..BCRYPT_OUTPUT]);
            }
            Scheme::Scrypt(params) => scrypt::scrypt(password, &self.salt, params, &mut output)
                .map_err(|_| HashError::Imported(InvalidHash::Malformed))?,
            Scheme::Pbkdf2(algorithm, iterations) => {
                pbkdf2::derive(*algorithm, *iterations, &self.salt, password, &mut output);
            }
        }
        Ok(Repeated { output, whole })
    }

    fn bcrypt(text: &str) -> Result<Self, InvalidHash> {
        let (head, output) = text.split_at_checked(BCRYPT_HEAD).ok_or(InvalidHash::Malformed)?;
        let (prefix, salt) = head.split_at_checked(7).ok_or(InvalidHash::Malformed)?;
        let cost = prefix.get(4..6).filter(|_| prefix.ends_with('$'));
        let cost = cost.filter(|cost| cost.bytes().all(|byte| byte.is_ascii_digit()));
        let cost = cost
            .and_then(|cost| cost.parse().ok())
            .ok_or(InvalidHash::Malformed)?;
        let decode = |text: &str, bytes: usize| {
            let decoded = BCRYPT_BASE64.decode(text).ok();
            decoded
                .filter(|decoded| decoded.len() == bytes)
                .ok_or(InvalidHash::Malformed)
        };
        let (salt, output) = (decode(salt, 16)?, decode(output, BCRYPT_OUTPUT)?);
        if cost > MAX_BCRYPT_COST {
            return Err(InvalidHash::TooCostly);
        }
        if cost < MIN_BCRYPT_COST {
            return Err(InvalidHash::Malformed);
        }
        Ok(Self {
            scheme: Scheme::Bcrypt { cost },
            salt,
            output,
            head: head.to_owned(),
        })
    }

    fn phc(text: &str) -> Result<Self, InvalidHash> {
        let phc = PasswordHash::new(text).map_err(|_| InvalidHash::Malformed)?;
        let (Some(salt), Some(output)) = (&phc.salt, &phc.hash) else {
            return Err(InvalidHash::Malformed);
        };
        let (head, _) = text.rsplit_once('$').ok_or(InvalidHash::Malformed)?;
        if output.len() < MIN_OUTPUT {
            return Err(InvalidHash::Malformed);
        }
        let scheme = match phc.algorithm.as_str() {
            "scrypt" => scrypt_of(&phc)?,
            "pbkdf2-sha256" => pbkdf2_of(&phc, pbkdf2::PBKDF2_HMAC_SHA256)?,
            "pbkdf2-sha512" => pbkdf2_of(&phc, pbkdf2::PBKDF2_HMAC_SHA512)?,
            _ => argon2_of(&phc)?,
        };
        Ok(Self {
            scheme,
            salt: salt.to_vec(),
            output: output.as_bytes().to_vec(),
            head: format!("{head}$"),
        })
    }
}

/// A hash of Django's or of passlib's, as its scheme writes it elsewhere.
fn respelt(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('$').collect();
    match parts[..] {
        // passlib has no name before the iterations, and an alphabet of its own.
        ["", scheme, iterations, salt, hash]
            if scheme.starts_with("pbkdf2-") && iterations.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            let [salt, hash] = [salt, hash].map(|text| text.replace('.', "+"));
            Some(format!("${scheme}$i={iterations}${salt}${hash}"))
        }
        // Django's salt is a text, and is hashed as that.
        ["pbkdf2_sha256", iterations, salt, hash] => {
            let (salt, hash) = (BASE64.encode(salt), hash.trim_end_matches('='));
            Some(format!("$pbkdf2-sha256$i={iterations}${salt}${hash}"))
        }
        ["scrypt", n, salt, r, p, hash] => {
            let n = n.parse().ok().filter(|n: &u32| n.is_power_of_two())?;
            let (ln, salt, hash) = (n.ilog2(), BASE64.encode(salt), hash.trim_end_matches('='));
            Some(format!("$scrypt$ln={ln},r={r},p={p}${salt}${hash}"))
        }
        ["argon2", ..] => text.strip_prefix("argon2").map(str::to_owned),
        ["bcrypt", "", ..] => text.strip_prefix("bcrypt$").map(str::to_owned),
        _ => None,
    }
}

fn argon2_of(phc: &PasswordHash) -> Result<Scheme, InvalidHash> {
    let algorithm = match phc.algorithm.as_str() {
        "argon2i" => Algorithm::Argon2i,
        "argon2d" => Algorithm::Argon2d,
        _ => Algorithm::Argon2id,
    };
    // The reference implementation leaves the version out where it is the first one.
    let version = Version::try_from(phc.version.unwrap_or(0x10)).map_err(|_| InvalidHash::Malformed)?;
    let params = Params::try_from(phc).map_err(|_| InvalidHash::Malformed)?;
    // Whose secret went into it is not known here.
    if !params.keyid().is_empty() {
        return Err(InvalidHash::Malformed);
    }
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > MAX_KIB || work > MAX_ARGON2_WORK_KIB || params.p_cost() > MAX_ARGON2_LANES {
        return Err(InvalidHash::TooCostly);
    }
    Ok(Scheme::Argon2(algorithm, version, params))
}

fn scrypt_of(phc: &PasswordHash) -> Result<Scheme, InvalidHash> {
    let [ln, r, p] = decimals(phc, ["ln", "r", "p"])?;
    // N·r·128 bytes: what one lane takes, and all of them together work through.
    let lane = 1u64.checked_shl(ln).and_then(|n| n.checked_mul(u64::from(r)));
    let lane_kib = lane
        .and_then(|blocks| blocks.checked_mul(128))
        .map(|bytes| bytes >> 10);
    let lane_kib = lane_kib.filter(|_| ln < 32).ok_or(InvalidHash::TooCostly)?;
    let work = lane_kib.checked_mul(u64::from(p)).ok_or(InvalidHash::TooCostly)?;
    if lane_kib > u64::from(MAX_KIB) || work > MAX_SCRYPT_WORK_KIB || r > 64 || p > 64 {
        return Err(InvalidHash::TooCostly);
    }
    let ln = u8::try_from(ln).map_err(|_| InvalidHash::Malformed)?;
    let params = scrypt::Params::new(ln, r, p).map_err(|_| InvalidHash::Malformed)?;
    Ok(Scheme::Scrypt(params))
}

fn pbkdf2_of(phc: &PasswordHash, algorithm: pbkdf2::Algorithm) -> Result<Scheme, InvalidHash> {
    let [iterations] = decimals(phc, ["i"])?;
    if iterations > MAX_PBKDF2_ITERATIONS {
        return Err(InvalidHash::TooCostly);
    }
    let iterations = NonZeroU32::new(iterations).ok_or(InvalidHash::Malformed)?;
    Ok(Scheme::Pbkdf2(algorithm, iterations))
}

/// The parameters of those names, all of which must be there; `l`, the output's length, may be told besides.
fn decimals<const N: usize>(phc: &PasswordHash, names: [&str; N]) -> Result<[u32; N], InvalidHash> {
    let known = |name: &str| name == "l" || names.contains(&name);
    if phc.params.iter().any(|(name, _)| !known(name.as_str())) {
        return Err(InvalidHash::Malformed);
    }
    let mut values = [0; N];
    for (value, name) in values.iter_mut().zip(names) {
        *value = phc.params.get_decimal(name).ok_or(InvalidHash::Malformed)?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opens(hash: &str, password: &str) -> bool {
        let hash = ImportedHash::parse(hash).unwrap();
        let repeated = hash.repeat(&Secret::new(password.to_owned())).unwrap();
        let kept = ImportedHash::of_stored(&hash.stored()).unwrap().unwrap();
        assert_eq!(kept.is_of(&repeated), hash.is_of(&repeated));
        hash.is_of(&repeated)
    }

    #[test]
    fn each_schemes_published_hashes_are_read() {
        for (hash, password) in VECTORS {
            assert!(opens(hash, password), "{hash}");
            assert!(!opens(hash, "something else"), "{hash}");
        }
    }

    #[test]
    fn bcrypt_cuts_no_password_for_us() {
        let hash =
            ImportedHash::parse("$2b$04$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.").unwrap();
        let repeat = |text: String| hash.repeat(&Secret::new(text)).unwrap();
        let long = repeat("x".repeat(72));
        let stored = hash.stored_of(&long);
        let cut = ImportedHash::of_stored(&stored).unwrap().unwrap();
        assert!(cut.is_of(&long));
        assert!(!cut.is_of(&repeat("x".repeat(73))));
        assert!(!cut.is_of(&repeat("x".repeat(71))));
    }

    #[test]
    fn s39_what_is_malformed_or_costs_too_much_is_refused() {
        let salt_and_hash = "c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let phc = |head: &str| ImportedHash::parse(&format!("{head}${salt_and_hash}")).err();
        for (head, refused) in [
            ("$argon2id$v=19$m=65536,t=3,p=4", None),
            ("$argon2i$m=4096,t=3,p=1", None),
            ("$argon2id$v=19$m=4194304,t=1,p=1", Some(InvalidHash::TooCostly)),
            ("$argon2id$v=19$m=131072,t=9,p=1", Some(InvalidHash::TooCostly)),
            ("$argon2id$v=19$m=1024,t=1,p=17", Some(InvalidHash::TooCostly)),
            (
                "$argon2id$v=19$m=1024,t=1,p=1,keyid=b2xk",
                Some(InvalidHash::Malformed),
            ),
            ("$argon2id$v=20$m=1024,t=1,p=1", Some(InvalidHash::Malformed)),
            ("$argon2x$v=19$m=1024,t=1,p=1", Some(InvalidHash::UnknownScheme)),
            ("$scrypt$ln=17,r=8,p=1", None),
            ("$scrypt$ln=20,r=8,p=1", Some(InvalidHash::TooCostly)),
            ("$scrypt$ln=63,r=8,p=1", Some(InvalidHash::TooCostly)),
            ("$scrypt$ln=17,r=8,p=9", Some(InvalidHash::TooCostly)),
            (
                "$scrypt$ln=1,r=4294967295,p=4294967295",
                Some(InvalidHash::TooCostly),
            ),
            ("$scrypt$ln=1,r=0,p=1", Some(InvalidHash::Malformed)),
            ("$scrypt$r=8,p=1", Some(InvalidHash::Malformed)),
            ("$pbkdf2-sha256$i=600000,l=32", None),
            ("$pbkdf2-sha512$i=210000", None),
            ("$pbkdf2-sha512$i=2000001", Some(InvalidHash::TooCostly)),
            ("$pbkdf2-sha512$i=0", Some(InvalidHash::Malformed)),
            ("$pbkdf2-sha512$x=7,i=5", Some(InvalidHash::Malformed)),
            ("$pbkdf2-sha1$i=5", Some(InvalidHash::UnknownScheme)),
        ] {
            assert_eq!(phc(head), refused, "{head}");
        }
        let bcrypt = "DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.";
        for (text, refused) in [
            (format!("$2y$14${bcrypt}"), None),
            (format!("$2b$15${bcrypt}"), Some(InvalidHash::TooCostly)),
            (format!("$2b$31${bcrypt}"), Some(InvalidHash::TooCostly)),
            (format!("$2b$03${bcrypt}"), Some(InvalidHash::Malformed)),
            (format!("$2x$10${bcrypt}"), Some(InvalidHash::UnknownScheme)),
            (format!("$2b$+9${bcrypt}"), Some(InvalidHash::Malformed)),
            (format!("$2b$10${bcrypt}x"), Some(InvalidHash::Malformed)),
            ("$2b$10$".to_owned(), Some(InvalidHash::Malformed)),
            (format!("$2b$10${}", "ü".repeat(40)), Some(InvalidHash::Malformed)),
            ("plain".to_owned(), Some(InvalidHash::UnknownScheme)),
            (String::new(), Some(InvalidHash::UnknownScheme)),
            ("$imported$2b$10$".to_owned(), Some(InvalidHash::UnknownScheme)),
        ] {
            assert_eq!(ImportedHash::parse(&text).err(), refused, "{text}");
        }
    }

    const VECTORS: &[(&str, &str)] = &[
        // jBCrypt's test vectors; `$2y$` is PHP's name for the same.
        ("$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.", ""),
        (
            "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe",
            "a",
        ),
        (
            "$2y$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe",
            "a",
        ),
        // The tests of Argon2's reference implementation.
        (
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "password",
        ),
        (
            "$argon2i$m=65536,t=2,p=1$c29tZXNhbHQ$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ",
            "password",
        ),
        // RFC 7914 section 12.
        (
            "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw",
            "pleaseletmein",
        ),
        // Made with OpenSSL.
        (
            "$pbkdf2-sha256$i=1000$c2l4dGVlbiBieXRlIHNhbA$YLxwtZTyajzXVfC/M84LAbZcd133GcmpwHnZkrWBmAo",
            "correct horse battery staple",
        ),
        (
            "$pbkdf2-sha512$i=1000,l=64$c2l4dGVlbiBieXRlIHNhbA$Yap+zHg43MoT6Aovnx0eLwd0TXFYg0nTMon6xsLiI5UfcQFWyGnOyld7BLRRM3dgQN1DX79ugzzjp6FrKmgAag",
            "correct horse battery staple",
        ),
        // Made with Django 5.2.
        (
            "pbkdf2_sha256$1000$Hq3mZ0vTx8LwYb2NcRk5Sd$ebXd4QKkwqwpW909Z3yo3MyNH2dhfwZPbKpsQ0GHVsE=",
            "correct horse",
        ),
        (
            "scrypt$1024$Hq3mZ0vTx8LwYb2NcRk5Sd$8$1$MJOe/8I8+mdD/iW7yb7ZeGUuoU3mJSMz63QkuGfnFUU9m5RtKpTb19Rm0WNAzDPa22BJLCBhZkBs30FcgZ/xYw==",
            "correct horse",
        ),
        (
            "argon2$argon2id$v=19$m=64,t=1,p=1$SHEzbVowdlR4OEx3WWIyTmNSazVTZA$75BF547zkfFuOp1jWE5/hew5Q3Hg2r/b3L0SwqjaKeE",
            "correct horse",
        ),
        (
            "bcrypt$$2b$04$NP.agtkssdSX4zFzWie90ej6VvW5hQ.NcQBTdU.hGUa1N4.qHunvS",
            "correct horse",
        ),
        // Made with passlib 1.7.4.
        (
            "$pbkdf2-sha256$1000$/j/nPKfUeq81RsgZw/hfSw$ENPQI0n4Hx1XUvFVpsaZcWsT2ms3Msi7EStUuMYCTDs",
            "correct horse",
        ),
        (
            "$pbkdf2-sha512$1000$lXLufe/935vzvneuVeq91w$XroOq85d8shKyoIO4jFVbdtHLSbujBZChVdslalSR19gjeNt6rsVJsExoHCvFZG00C2r9wAghsRjH.6fYsDL1A",
            "correct horse",
        ),
    ];
}
