//! Argon2id (RFC 9106) and the PHC strings it is kept as. Pure: the caller brings salt and memory.
//!
//! A pepper is Argon2's own secret input (RFC 9106 section 3.1), which no database holds. The PHC string names the one
//! that was used by its parameter `keyid`, the base64 of the pepper's id; without that parameter there was none.
//!
//! A *decoy* is the hash of a password that was offered for an account and not taken. It is made like the account's own
//! hash, so that one computation tells whether a password is the right one, the decoy's or neither.
//!
//! A hash that an import brought is another system's (see [`ImportedHash`]) until its password proves right.

use argon2::{Algorithm, Argon2, Block, KeyId, Params, ParamsBuilder, Version, password_hash::phc};

use super::imported::{ImportedHash, InvalidHash};
use crate::{
    config::{self, Key, KeyRing},
    random::{self, Random},
    secret::Secret,
};

const OUTPUT_BYTES: usize = 32;
/// RFC 9106 section 3.1 recommends 128 bits.
pub const SALT_BYTES: usize = 16;

/// Why a hash could not be computed or read.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The stored text is no Argon2id PHC string.
    #[error("the stored hash is not an Argon2id PHC string: {0}")]
    Malformed(#[from] argon2::password_hash::phc::Error),
    /// Argon2 refused its parameters or inputs.
    #[error("argon2: {0}")]
    Argon2(#[from] argon2::Error),
    /// The parameters in the stored text cannot be read.
    #[error("the stored hash has unusable parameters: {0}")]
    Parameters(#[from] argon2::password_hash::Error),
    /// A hash that was imported cannot be read, though it could be when it came.
    #[error("an imported hash: {0}")]
    Imported(#[from] InvalidHash),
}

/// What a comparison with a stored hash comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is another password.
    Wrong,
    /// It is the password behind the decoy, which opens nothing.
    Decoy,
    /// It is the password.
    Right {
        /// A hash made now would cost more, or have another pepper.
        outdated: bool,
    },
}

impl Verdict {
    /// Whether it is the password.
    #[must_use]
    pub const fn matches(self) -> bool {
        matches!(self, Self::Right { .. })
    }
}

/// Memory that is kept between hashes: fresh pages cost more than half of the time of a hash.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    fn sized(&mut self, params: &Params) -> &mut [Block] {
        let blocks = params.block_count();
        if self.0.len() < blocks {
            self.0.resize(blocks, Block::default());
        }
        &mut self.0[..blocks]
    }
}

/// How new hashes are made, and the peppers that earlier ones may have.
#[derive(Clone, Debug)]
pub struct Hasher {
    params: Params,
    peppers: Option<KeyRing>,
}

impl Hasher {
    /// As the settings say.
    ///
    /// # Errors
    /// When they are out of Argon2's range.
    pub fn new(settings: &config::Passwords) -> Result<Self, HashError> {
        let mut params = ParamsBuilder::new();
        params
            .m_cost(settings.memory_kib)
            .t_cost(settings.iterations)
            .p_cost(settings.parallelism)
            .output_len(OUTPUT_BYTES);
        if let Some(peppers) = &settings.peppers {
            params.keyid(KeyId::new(peppers.current().id.as_bytes())?);
        }
        Ok(Self {
            params: params.build()?,
            peppers: settings.peppers.clone(),
        })
    }

    /// The PHC string of a new password.
    ///
    /// # Errors
    /// When Argon2 refuses.
    pub fn hash(
        &self,
        password: &Secret<String>,
        salt: &[u8; SALT_BYTES],
        memory: &mut Memory,
    ) -> Result<String, HashError> {
        let mut output = [0; OUTPUT_BYTES];
        let pepper = self.peppers.as_ref().map(KeyRing::current);
        compute(password, salt, pepper, &self.params, memory, &mut output)?;
        self.encode(salt, &output)
    }

    /// The PHC string of a password, made with the salt, the cost and the pepper of another. Takes as long as
    /// [`Self::verify`] against that other one.
    ///
    /// # Errors
    /// When the other PHC string cannot be read.
    pub fn hash_like(
        &self,
        password: &Secret<String>,
        other: &str,
        memory: &mut Memory,
    ) -> Result<String, HashError> {
        if let Some(imported) = ImportedHash::of_stored(other) {
            let imported = imported?;
            return Ok(imported.stored_of(&imported.repeat(password)?));
        }
        let mut phc = phc::PasswordHash::new(other)?;
        let output = self.repeat(password, &phc, memory)?;
        phc.hash = Some(phc::Output::new(&output)?);
        Ok(phc.to_string())
    }

    /// A PHC string that no password matches, at the same cost as a real one: for accounts that do not exist.
    ///
    /// # Errors
    /// When the parameters cannot be written.
    pub fn dummy(&self) -> Result<String, HashError> {
        self.encode(&[0; SALT_BYTES], &[0; OUTPUT_BYTES])
    }

    /// As [`Self::dummy`], told from a real one by nobody: of an account whose password is yet to be set.
    ///
    /// # Errors
    /// As [`Self::dummy`].
    pub fn unusable(&self, random: &dyn Random) -> Result<String, HashError> {
        // To find a password with this output is to break the hash.
        let (salt, output) = (
            random::array::<SALT_BYTES>(random),
            random::array::<OUTPUT_BYTES>(random),
        );
        self.encode(&salt, &output)
    }

    fn encode(&self, salt: &[u8], output: &[u8]) -> Result<String, HashError> {
        let salt = phc::Salt::new(salt)?;
        let output = phc::Output::new(output)?;
        let params = phc::ParamsString::try_from(&self.params)?;
        Ok(format!("$argon2id$v=19${params}${salt}${output}"))
    }

    /// Whether the password is the one behind the PHC string, or the one behind a decoy that was made like it; one that
    /// was made like an earlier hash is nobody's. Takes the same time whatever the answer, with a decoy or without.
    ///
    /// # Errors
    /// When a PHC string cannot be read.
    pub fn verify(
        &self,
        password: &Secret<String>,
        phc: &str,
        decoy: Option<&str>,
        memory: &mut Memory,
    ) -> Result<Verdict, HashError> {
        if let Some(imported) = ImportedHash::of_stored(phc) {
            return verify_imported(password, &imported?, decoy);
        }
        let stored = phc::PasswordHash::new(phc)?;
        // One that was made like an imported hash is of an earlier one.
        let decoy = decoy.filter(|decoy| ImportedHash::of_stored(decoy).is_none());
        let decoy = phc::PasswordHash::new(decoy.unwrap_or(phc))?;
        let params = Params::try_from(&stored)?;
        let known_pepper = params.keyid().is_empty() || self.pepper(&params).is_some();
        if !known_pepper {
            tracing::error!("a password was hashed with a pepper that passwords.peppers does not hold");
        }
        let output = self.repeat(password, &stored, memory)?;
        let is_behind = |phc: &phc::PasswordHash| {
            let expected = phc.hash.as_ref().map_or(&[] as &[u8], |hash| hash.as_bytes());
            aws_lc_rs::constant_time::verify_slices_are_equal(&output, expected).is_ok()
        };
        let (right, of_decoy) = (is_behind(&stored), is_behind(&decoy));
        let alike = (&decoy.salt, &decoy.params) == (&stored.salt, &stored.params);
        Ok(if right && known_pepper {
            Verdict::Right {
                outdated: self.is_outdated(&params),
            }
        } else if of_decoy && !right && alike {
            Verdict::Decoy
        } else {
            Verdict::Wrong
        })
    }

    /// Hashes the password in the way of a stored hash, and works as long as for a hash made now where that was cheaper:
    /// else accounts from before a rise could be told from none.
    fn repeat(
        &self,
        password: &Secret<String>,
        stored: &phc::PasswordHash,
        memory: &mut Memory,
    ) -> Result<Vec<u8>, HashError> {
        let params = Params::try_from(stored)?;
        let (Some(salt), Some(hash)) = (&stored.salt, &stored.hash) else {
            return Err(HashError::Malformed(phc::Error::MissingField));
        };
        let mut output = vec![0; hash.len()];
        compute(password, salt, self.pepper(&params), &params, memory, &mut output)?;
        if let Some(rest) = self.missing_work(&params)? {
            compute(password, salt, None, &rest, memory, &mut [0; OUTPUT_BYTES])?;
        }
        Ok(output)
    }

    fn pepper(&self, stored: &Params) -> Option<&Key> {
        let id = std::str::from_utf8(stored.keyid()).ok()?;
        self.peppers.as_ref()?.get(id)
    }

    fn is_outdated(&self, stored: &Params) -> bool {
        stored.m_cost() < self.params.m_cost()
            || stored.t_cost() < self.params.t_cost()
            || stored.keyid() != self.params.keyid()
    }

    /// The parameters of what a stored hash was spared: Argon2's time grows with memory times iterations.
    fn missing_work(&self, stored: &Params) -> Result<Option<Params>, HashError> {
        let work = |params: &Params| u64::from(params.m_cost()) * u64::from(params.t_cost());
        let missing = work(&self.params).saturating_sub(work(stored));
        let lanes = self.params.p_cost();
        let passes = missing.div_ceil(u64::from(self.params.m_cost()));
        let memory = missing.checked_div(passes).unwrap_or_default();
        let (Ok(memory), Ok(passes)) = (u32::try_from(memory), u32::try_from(passes)) else {
            return Ok(None);
        };
        if memory < Params::MIN_M_COST * lanes {
            return Ok(None);
        }
        Ok(Some(Params::new(memory, passes, lanes, Some(OUTPUT_BYTES))?))
    }
}

/// As [`Hasher::verify`], of a hash that another system made. The right password always gets a hash of our own.
fn verify_imported(
    password: &Secret<String>,
    imported: &ImportedHash,
    decoy: Option<&str>,
) -> Result<Verdict, HashError> {
    let repeated = imported.repeat(password)?;
    let decoy = decoy.and_then(ImportedHash::of_stored).transpose()?;
    Ok(if imported.is_of(&repeated) {
        Verdict::Right { outdated: true }
    } else if decoy.is_some_and(|decoy| decoy.is_decoy_of(imported, &repeated)) {
        Verdict::Decoy
    } else {
        Verdict::Wrong
    })
}

fn compute(
    password: &Secret<String>,
    salt: &[u8],
    pepper: Option<&Key>,
    params: &Params,
    memory: &mut Memory,
    output: &mut [u8],
) -> Result<(), HashError> {
    let blocks = memory.sized(params);
    let pepper = pepper.map_or(&[] as &[u8], |key| key.bytes.expose());
    let argon2 = Argon2::new_with_secret(pepper, Algorithm::Argon2id, Version::V0x13, params.clone())?;
    Ok(argon2.hash_password_into_with_memory(password.expose().as_bytes(), salt, output, blocks)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pepper(id: &str, byte: u8) -> Key {
        Key {
            id: id.to_owned(),
            bytes: Secret::new(vec![byte; 32]),
        }
    }

    fn hasher(memory_kib: u32, iterations: u32, peppers: &[Key]) -> Hasher {
        let settings = config::Passwords {
            memory_kib,
            iterations,
            parallelism: 1,
            threads: 1,
            queue: 1,
            peppers: KeyRing::of(peppers.to_vec()),
            breach_file: None,
            breach_range_url: None,
        };
        Hasher::new(&settings).unwrap()
    }

    fn hash(with: &Hasher) -> String {
        let password = Secret::new("correct horse".to_owned());
        with.hash(&password, &[7; SALT_BYTES], &mut Memory::default())
            .unwrap()
    }

    fn verify(with: &Hasher, password: &str, phc: &str) -> Verdict {
        let password = Secret::new(password.to_owned());
        with.verify(&password, phc, None, &mut Memory::default()).unwrap()
    }

    const FRESH: Verdict = Verdict::Right { outdated: false };
    const OUTDATED: Verdict = Verdict::Right { outdated: true };

    #[test]
    fn s08_a_hash_is_outdated_when_the_cost_has_risen_and_not_when_it_has_fallen() {
        let stored = hash(&hasher(64, 2, &[]));
        for (memory_kib, iterations, verdict) in [
            (64, 2, FRESH),
            (128, 2, OUTDATED),
            (64, 3, OUTDATED),
            (32, 2, FRESH),
            (64, 1, FRESH),
        ] {
            let now = hasher(memory_kib, iterations, &[]);
            assert_eq!(
                verify(&now, "correct horse", &stored),
                verdict,
                "{memory_kib} {iterations}"
            );
            assert_eq!(verify(&now, "correct pony", &stored), Verdict::Wrong);
        }
    }

    #[test]
    fn a_pepper_is_named_in_the_hash_and_needed_for_it() {
        let (old, new) = (pepper("old", 1), pepper("new", 2));
        let stored = hash(&hasher(64, 1, std::slice::from_ref(&old)));
        // base64 of "old"
        assert!(stored.contains(",keyid=b2xk$"), "{stored}");
        for (peppers, verdict) in [
            (vec![old.clone()], FRESH),
            (vec![new.clone(), old], OUTDATED),
            (vec![new.clone()], Verdict::Wrong),
            (vec![pepper("old", 3)], Verdict::Wrong),
            (vec![], Verdict::Wrong),
        ] {
            let now = hasher(64, 1, &peppers);
            assert_eq!(verify(&now, "correct horse", &stored), verdict, "{peppers:?}");
        }
        // From before there was any.
        let plain = hash(&hasher(64, 1, &[]));
        assert_eq!(verify(&hasher(64, 1, &[new]), "correct horse", &plain), OUTDATED);
    }

    #[test]
    fn s02_a_decoy_is_told_from_the_password_and_opens_nothing() {
        let (old, peppers) = (hasher(64, 1, &[]), [pepper("new", 2)]);
        let secret = |text: &str| Secret::new(text.to_owned());
        let mut memory = Memory::default();
        for now in [hasher(64, 1, &[]), hasher(128, 2, &peppers)] {
            for stored in [hash(&old), hash(&now)] {
                let decoy = now.hash_like(&secret("another"), &stored, &mut memory).unwrap();
                // The account has another salt later.
                let later = now
                    .hash(&secret("correct horse"), &[8; SALT_BYTES], &mut memory)
                    .unwrap();
                let mut verify = |password: &str, phc: &str, decoy: &str| {
                    now.verify(&secret(password), phc, Some(decoy), &mut memory)
                        .unwrap()
                };
                assert!(verify("correct horse", &stored, &decoy).matches());
                assert_eq!(verify("another", &stored, &decoy), Verdict::Decoy);
                assert!(!Verdict::Decoy.matches());
                assert_eq!(verify("a third", &stored, &decoy), Verdict::Wrong);
                assert_eq!(verify("another", &later, &decoy), Verdict::Wrong);
                // The right one is right, also if somebody else has thought of it.
                assert!(verify("correct horse", &stored, &stored).matches());
            }
        }
    }

    #[test]
    fn s01_a_cheaper_hash_is_topped_up_to_the_work_of_a_new_one() {
        let now = hasher(19_456, 2, &[]);
        for (memory_kib, iterations) in [(4096, 3), (19_456, 1), (8, 1), (12_288, 3), (19_400, 2)] {
            let stored = Params::new(memory_kib, iterations, 1, None).unwrap();
            let rest = now.missing_work(&stored).unwrap().unwrap();
            assert!(rest.m_cost() <= 19_456, "{rest:?}");
            let work = memory_kib * iterations + rest.m_cost() * rest.t_cost();
            assert!((2 * 19_456 - 2..=2 * 19_456).contains(&work), "{work}");
        }
        for (memory_kib, iterations) in [(19_456, 2), (65_536, 3)] {
            let stored = Params::new(memory_kib, iterations, 1, None).unwrap();
            assert_eq!(now.missing_work(&stored).unwrap(), None);
        }
    }
}
