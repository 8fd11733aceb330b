//! The digest of a statement: what all statements of one pattern have in common, as a number.

use std::fmt;

use super::folding::{Literal, Writer, fold};
use super::lexer::{Lexing, Token};

/// The hash of a pattern. The same text has the same digest in every process and on every machine, for as long as the
/// rules of folding stay as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Digest(u64);

impl Digest {
    /// Reads a text of any number of statements; any bytes have a digest.
    #[must_use]
    pub fn of(text: &[u8], lexing: &Lexing) -> Self {
        Sighted::of(text, lexing, 0).digest
    }

    /// The digest with this number.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number, for tables that are kept by it.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({self})")
    }
}

/// A digest with what the same pass tells besides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighted {
    pub(super) digest: Digest,
    /// The same tokens under the key of this process: equal digests of different patterns differ here.
    pub(super) check: u64,
}

impl Sighted {
    #[inline]
    pub(super) fn of(text: &[u8], lexing: &Lexing, key: u64) -> Self {
        let lanes = fold(text, *lexing, key, Unwritten).lanes;
        Self { digest: Digest(lanes.fixed), check: lanes.keyed }
    }
}

/// Writes nothing.
#[derive(Debug)]
struct Unwritten;

impl Writer for Unwritten {
    type Mark = ();
    const DEAF: bool = true;

    fn mark(&self) {}
    fn leave_out(&mut self, (): (), _: bool) {}
    fn token(&mut self, _: Token) {}
    fn place(&mut self, _: Token, _: Literal) {}
    fn skip(&mut self, _: Token) {}
}
