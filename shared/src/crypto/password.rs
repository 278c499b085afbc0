//! Argon2id (RFC 9106) and the PHC strings it is kept as. Pure: the caller brings salt and memory.

use argon2::{Algorithm, Argon2, Block, Params, Version, password_hash::phc};

use crate::{config, secret::Secret};

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
}

/// The cost of one hash.
///
/// # Errors
/// When the settings are out of Argon2's range.
pub fn params(settings: &config::Passwords) -> Result<Params, HashError> {
    Ok(Params::new(
        settings.memory_kib,
        settings.iterations,
        settings.parallelism,
        Some(OUTPUT_BYTES),
    )?)
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

/// The PHC string of a new password.
///
/// # Errors
/// When Argon2 refuses.
pub fn hash(
    password: &Secret<String>,
    salt: &[u8; SALT_BYTES],
    params: &Params,
    memory: &mut Memory,
) -> Result<String, HashError> {
    let mut output = [0; OUTPUT_BYTES];
    compute(password, salt, params, memory, &mut output)?;
    Ok(encode(salt, params, &output)?)
}

/// A PHC string that no password matches, at the same cost as a real one: for accounts that do not exist.
///
/// # Errors
/// When the parameters cannot be written.
pub fn dummy(params: &Params) -> Result<String, HashError> {
    Ok(encode(&[0; SALT_BYTES], params, &[0; OUTPUT_BYTES])?)
}

fn encode(salt: &[u8], params: &Params, output: &[u8]) -> Result<String, phc::Error> {
    let salt = phc::Salt::new(salt)?;
    let output = phc::Output::new(output)?;
    let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
    Ok(format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${output}"))
}

/// Whether the password is the one behind the PHC string. Takes the same time whatever the answer.
///
/// # Errors
/// When the PHC string cannot be read.
pub fn verify(password: &Secret<String>, phc: &str, memory: &mut Memory) -> Result<bool, HashError> {
    let stored = phc::PasswordHash::new(phc)?;
    let params = Params::try_from(&stored)?;
    let (Some(salt), Some(expected)) = (stored.salt, stored.hash) else {
        return Err(HashError::Malformed(phc::Error::MissingField));
    };
    let mut output = vec![0; expected.len()];
    compute(password, &salt, &params, memory, &mut output)?;
    Ok(aws_lc_rs::constant_time::verify_slices_are_equal(&output, expected.as_bytes()).is_ok())
}

fn compute(
    password: &Secret<String>,
    salt: &[u8],
    params: &Params,
    memory: &mut Memory,
    output: &mut [u8],
) -> Result<(), HashError> {
    let blocks = memory.sized(params);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    Ok(argon2.hash_password_into_with_memory(password.expose().as_bytes(), salt, output, blocks)?)
}
