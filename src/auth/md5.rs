//! The `md5` method (protocol manual, 55.2.3): `md5(md5(password + user) + salt)`. Old, still in use.

use std::fmt;

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::stored::Stored;

/// `md5(password + user)`, as `pg_authid` stores it after the word `md5`. It is as good as the password: whoever has
/// it can log in by `md5`.
#[derive(Clone, Copy)]
pub struct Md5Hash([u8; 32]);

impl Md5Hash {
    #[must_use]
    pub fn of(user: &str, password: &[u8]) -> Self {
        Self(hex(&[password, user.as_bytes()]))
    }

    /// Reads PostgreSQL's stored form, `md5` and 32 hexadecimal digits in lower case; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: [u8; 32] = text.strip_prefix("md5")?.as_bytes().try_into().ok()?;
        digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')).then_some(Self(digits))
    }

    /// The answer to a server's `salt`: the text of a PasswordMessage, without its closing zero.
    #[must_use]
    pub fn answer(&self, salt: [u8; 4]) -> String {
        Self(hex(&[&self.0, &salt])).reveal()
    }

    /// PostgreSQL's stored form.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("md5{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Md5Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Md5Hash(…)")
    }
}

/// In constant time.
impl PartialEq for Md5Hash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Md5Hash {}

/// The answer of `user` with `password` to a server's `salt`.
#[must_use]
pub fn md5_password(user: &str, password: &str, salt: [u8; 4]) -> String {
    Md5Hash::of(user, password.as_bytes()).answer(salt)
}

/// Whether `answer`, the text of a PasswordMessage, is the one that `user` gives who knows what is `stored`. Nothing
/// stored, and a SCRAM secret, which cannot serve here, never match, and take the same time.
#[must_use]
pub fn verify_md5(stored: Option<&Stored>, user: &str, salt: [u8; 4], answer: &[u8]) -> bool {
    let (hash, genuine) = match stored {
        Some(Stored::Plain(password)) => (Md5Hash::of(user, password.reveal().as_bytes()), true),
        Some(Stored::Md5(hash)) => (*hash, true),
        Some(Stored::Scram(_)) | None => (Md5Hash::of(user, &[]), false),
    };
    let same: bool = hash.answer(salt).as_bytes().ct_eq(answer).into();
    same & genuine
}

fn hex(parts: &[&[u8]]) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hasher = Md5::new();
    for part in parts {
        hasher.update(part);
    }
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hasher.finalize()) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    text
}
