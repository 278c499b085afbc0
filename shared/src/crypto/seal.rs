//! Sealing: AES-256-GCM for what the database keeps but must not give away with a dump.
//!
//! A sealed value reads `<length of key id><key id><nonce><ciphertext and tag>`. The associated data is the id
//! of the row, so that a value moved to another row does not open. Each value has a random 96-bit nonce.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use uuid::Uuid;

use super::mac;
use crate::{
    config::{Key, KeyRing},
    random::{self, Random},
    secret::Secret,
};

/// The value was not sealed by a key we have, or not for this row.
#[derive(Debug, thiserror::Error)]
#[error("a sealed value does not open: its key is missing, or it was altered")]
pub struct SealBroken;

/// Seals `plain` for the row `id` with the ring's current key.
///
/// # Errors
/// When the cipher refuses, which no input of ours makes it do.
pub fn seal(ring: &KeyRing, id: Uuid, plain: &[u8], random: &dyn Random) -> Result<Vec<u8>, SealBroken> {
    let key = ring.current();
    let nonce: [u8; NONCE_LEN] = random::array(random);
    let mut sealed = beginning(key)?;
    sealed.reserve_exact(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(&nonce);
    let mut text = plain.to_vec();
    cipher(key)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(id.as_bytes()),
            &mut text,
        )
        .map_err(|_| SealBroken)?;
    sealed.extend_from_slice(&text);
    Ok(sealed)
}

/// How everything begins that the key has sealed, and nothing that another has.
pub(crate) fn beginning(key: &Key) -> Result<Vec<u8>, SealBroken> {
    let length = u8::try_from(key.id.len()).map_err(|_| SealBroken)?;
    Ok([[length].as_slice(), key.id.as_bytes()].concat())
}

/// Opens what [`seal`] made for the same row.
///
/// # Errors
/// When the key is not in the ring or a byte was altered.
pub fn open(ring: &KeyRing, id: Uuid, sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealBroken> {
    let (&key_length, rest) = sealed.split_first().ok_or(SealBroken)?;
    let (key_id, rest) = rest.split_at_checked(usize::from(key_length)).ok_or(SealBroken)?;
    let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(SealBroken)?;
    let key = std::str::from_utf8(key_id)
        .ok()
        .and_then(|id| ring.get(id))
        .ok_or(SealBroken)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealBroken)?;
    let mut text = text.to_vec();
    let plain = cipher(key)?
        .open_in_place(nonce, Aad::from(id.as_bytes()), &mut text)
        .map_err(|_| SealBroken)?;
    Ok(Secret::new(plain.to_vec()))
}

/// The cipher's key is derived, so that the data key itself may be longer and serve nothing else by accident.
fn cipher(key: &Key) -> Result<LessSafeKey, SealBroken> {
    let derived = mac(key.bytes.expose(), &[b"seal AES-256-GCM"]);
    UnboundKey::new(&AES_256_GCM, &derived)
        .map(LessSafeKey::new)
        .map_err(|_| SealBroken)
}
