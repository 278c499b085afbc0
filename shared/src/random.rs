//! Where randomness comes from.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// A source of random bytes.
pub trait Random: Send + Sync {
    /// Fills the slice with bytes nobody can guess.
    fn fill(&self, bytes: &mut [u8]);
}

/// `N` random bytes.
pub fn array<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

/// The operating system's generator, through the crypto library's.
pub struct OsRandom(SystemRandom);

impl OsRandom {
    /// A handle on the generator.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a source of randomness is chosen, never defaulted"
    )]
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Random for OsRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // The library documents failure only where the process cannot be trusted with secrets at all; to go on
        // with predictable tokens would be worse than to stop.
        if self.0.fill(bytes).is_err() {
            std::process::abort();
        }
    }
}
