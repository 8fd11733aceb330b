//! What is stored of a password, in the forms that PostgreSQL's `pg_authid` knows.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::MECHANISM;
use super::keys::{self, ClientKey, DEFAULT_ITERATIONS, KEY, ServerKey, StoredKey};
use super::md5::Md5Hash;
use super::random::MockKey;
use crate::config::Secret;

/// What is known of a user's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    Plain(Secret),
    Scram(ScramSecret),
    Md5(Md5Hash),
}

impl Stored {
    /// Tells PostgreSQL's stored forms from a plain password, as PostgreSQL itself does in `CREATE ROLE … PASSWORD`:
    /// what is not exactly `SCRAM-SHA-256$…` or `md5…` is a password.
    #[must_use]
    pub fn parse(text: &Secret) -> Self {
        if let Some(secret) = ScramSecret::parse(text.reveal()) {
            Self::Scram(secret)
        } else if let Some(hash) = Md5Hash::parse(text.reveal()) {
            Self::Md5(hash)
        } else {
            Self::Plain(text.clone())
        }
    }
}

/// A SCRAM secret: recognises a password and proves itself to a client, without holding the password.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    /// At least 1.
    pub iterations: u32,
    pub salt: Vec<u8>,
    pub stored_key: StoredKey,
    pub server_key: ServerKey,
}

impl ScramSecret {
    /// Derives the secret of `password`, which costs `iterations` HMACs (at least one is done).
    #[must_use]
    pub fn from_password(password: &str, salt: &[u8], iterations: u32) -> Self {
        let iterations = iterations.max(1);
        let (client_key, server_key) = keys::derive(password.as_bytes(), salt, iterations);
        Self { iterations, salt: salt.to_vec(), stored_key: client_key.stored(), server_key }
    }

    /// Reads PostgreSQL's stored form, `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`; anything else is
    /// `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (parameters, both) = text.strip_prefix(MECHANISM)?.strip_prefix('$')?.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = both.split_once(':')?;
        let salt = STANDARD.decode(salt).ok()?;
        let iterations = iterations.parse().ok().filter(|iterations| *iterations > 0)?;
        let key = |text: &str| -> Option<[u8; KEY]> { STANDARD.decode(text).ok()?.try_into().ok() };
        Some(Self {
            iterations,
            salt,
            stored_key: StoredKey(key(stored_key)?),
            server_key: ServerKey(key(server_key)?),
        })
    }

    /// PostgreSQL's stored form, for `pg_authid` and configuration files.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!(
            "{MECHANISM}${}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key.0),
            STANDARD.encode(self.server_key.0)
        )
    }

    /// Whether `password` is the one; if so, the key that logs in with it elsewhere. Costs the secret's iterations.
    #[must_use]
    pub fn recognise(&self, password: &[u8]) -> Option<ClientKey> {
        let (client_key, _) = keys::derive(password, &self.salt, self.iterations);
        (client_key.stored() == self.stored_key).then_some(client_key)
    }
}

impl fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramSecret").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// A secret that no password fits, for a user who does not exist: the same name gets the same salt each time, like a
/// real user, and only who holds `key` can tell the two apart.
#[must_use]
pub fn mock_secret(name: &str, key: &MockKey) -> ScramSecret {
    let part = |label: &[u8]| keys::hmac(key.as_bytes(), &[label, name.as_bytes()]);
    let salt = part(b"salt:").iter().copied().take(16).collect();
    ScramSecret {
        iterations: DEFAULT_ITERATIONS,
        salt,
        stored_key: StoredKey(part(b"stored:")),
        server_key: ServerKey(part(b"server:")),
    }
}

/// Whether `password`, as a client sent it in clear text, is `user`'s. Nothing stored never matches.
///
/// Comparison takes constant time for one kind of `stored`, but the kinds differ: a SCRAM secret costs its
/// iterations. `Credential::verify_password` evens that out.
#[must_use]
pub fn verify_password(stored: Option<&Stored>, user: &str, password: &[u8]) -> bool {
    match stored {
        Some(Stored::Plain(expected)) => {
            let expected = keys::prepare(expected.reveal().as_bytes());
            expected.ct_eq(&keys::prepare(password)).into()
        }
        Some(Stored::Scram(secret)) => secret.recognise(password).is_some(),
        Some(Stored::Md5(hash)) => *hash == Md5Hash::of(user, password),
        None => false,
    }
}
