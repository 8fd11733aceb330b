//! The keys of SCRAM-SHA-256 and how they follow from a password (RFC 5802 §3, RFC 7677).

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bytes of a SHA-256 digest, and so of every key.
pub(super) const KEY: usize = 32;

/// Iterations of a secret that is made here: PostgreSQL's default (`scram_iterations`).
pub const DEFAULT_ITERATIONS: u32 = 4096;

/// Proves the password to a server. Whoever has it can log in: it never leaves the process and never shows in a log.
#[derive(Clone)]
pub struct ClientKey(pub(super) [u8; KEY]);

/// Proves to a client that the server knows the secret.
#[derive(Clone)]
pub struct ServerKey(pub(super) [u8; KEY]);

/// The digest of a [`ClientKey`]: recognises the key without being able to log in.
#[derive(Clone)]
pub struct StoredKey(pub(super) [u8; KEY]);

macro_rules! hidden {
    ($($key:ident)*) => {$(
        impl fmt::Debug for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($key), "(…)"))
            }
        }

        /// In constant time.
        impl PartialEq for $key {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $key {}
    )*};
}

hidden!(ClientKey ServerKey StoredKey);

impl ClientKey {
    pub(super) fn stored(&self) -> StoredKey {
        StoredKey(Sha256::digest(self.0).into())
    }
}

impl StoredKey {
    /// What hides the client key in a proof: `ClientSignature`, RFC 5802 §3.
    pub(super) fn sign(&self, auth_message: &[u8]) -> [u8; KEY] {
        hmac(&self.0, &[auth_message])
    }
}

impl ServerKey {
    /// `ServerSignature`, RFC 5802 §3.
    pub(super) fn sign(&self, auth_message: &[u8]) -> [u8; KEY] {
        hmac(&self.0, &[auth_message])
    }
}

/// Derives both keys from a password. Costs `iterations` HMACs.
pub(super) fn derive(password: &[u8], salt: &[u8], iterations: u32) -> (ClientKey, ServerKey) {
    let salted = salted_password(&prepare(password), salt, iterations);
    (ClientKey(hmac(&salted, &[b"Client Key"])), ServerKey(hmac(&salted, &[b"Server Key"])))
}

/// SASLprep (RFC 4013) with PostgreSQL's fallback: what is not UTF-8, holds a prohibited character, or vanishes, is
/// taken byte for byte (`pg_saslprep`).
pub(super) fn prepare(password: &[u8]) -> Cow<'_, [u8]> {
    let prepared = std::str::from_utf8(password).ok().and_then(|text| stringprep::saslprep(text).ok());
    match prepared {
        Some(Cow::Owned(text)) if !text.is_empty() => Cow::Owned(text.into_bytes()),
        _ => Cow::Borrowed(password),
    }
}

/// `Hi(password, salt, i)`, RFC 5802 §2.2: PBKDF2 of one block.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; KEY] {
    // Keyed once; each round then hashes two blocks instead of four.
    let keyed = keyed(password);
    let mut round = finish(&keyed, &[salt, &1_u32.to_be_bytes()]);
    let mut result = round;
    for _ in 1..iterations {
        round = finish(&keyed, &[&round]);
        for (all, one) in result.iter_mut().zip(round) {
            *all ^= one;
        }
    }
    result
}

pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; KEY] {
    finish(&keyed(key), parts)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length (RFC 2104)")
}

fn finish(keyed: &Hmac<Sha256>, parts: &[&[u8]]) -> [u8; KEY] {
    let mut mac = keyed.clone();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub(super) fn xor(mut left: [u8; KEY], right: [u8; KEY]) -> [u8; KEY] {
    for (one, other) in left.iter_mut().zip(right) {
        *one ^= other;
    }
    left
}
