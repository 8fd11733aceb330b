//! Randomness, which everything else takes as an argument.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fault::AuthFault;

/// Random bytes of a nonce, as PostgreSQL and libpq draw them.
const NONCE_BYTES: usize = 18;

/// `N` random bytes from the system: a SCRAM salt of 16, an md5 salt of 4.
///
/// # Errors
/// [`AuthFault::NoRandomness`].
pub fn random<const N: usize>() -> Result<[u8; N], AuthFault> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| AuthFault::NoRandomness)?;
    Ok(bytes)
}

/// One side's part of the nonce of one SCRAM exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// # Errors
    /// [`AuthFault::NoRandomness`].
    pub fn random() -> Result<Self, AuthFault> {
        Ok(Self(STANDARD.encode(random::<NONCE_BYTES>()?)))
    }

    /// A nonce that is known beforehand, which a real exchange must never use.
    #[cfg(test)]
    pub(super) fn known(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What secrets of unknown users are derived from: drawn once per process, so that a name gets the same salt each time
/// it is tried and nobody outside can compute it.
#[derive(Clone)]
pub struct MockKey([u8; 32]);

impl MockKey {
    /// # Errors
    /// [`AuthFault::NoRandomness`].
    pub fn random() -> Result<Self, AuthFault> {
        Ok(Self(random()?))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for MockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockKey(…)")
    }
}
