//! Everything cryptographic, in one place and behind names that say what it is for.
//!
//! Primitives come from well-kept libraries; nothing here is a construction of our own. No hash of a password
//! is ever computed on the async runtime.

pub mod imported;
pub mod jwt;
pub mod password;
pub mod pool;
pub mod seal;
pub mod signing;
pub mod token;

use aws_lc_rs::hmac;

/// HMAC-SHA256 (RFC 2104) over the parts, each with its length before it so that no two lists collide.
#[must_use]
pub fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut tag = [0; 32];
    tag.copy_from_slice(context.sign().as_ref());
    tag
}
