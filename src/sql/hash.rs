//! The hash behind a digest: one multiplication for eight bytes.
//!
//! Its constants are part of every digest that was ever written down, so they never change without the version.

use super::encoding::Encoding;

/// Folded into every digest: 1 is the first set of rules by which texts are told apart.
const VERSION: u64 = 1;

const SEED: u64 = 0x8c3f_1e5a_d970_b264 ^ VERSION;
const FACTOR: u64 = 0xd6a5_93c7_4f1b_8e2d;
/// Before the further eight bytes of a long word, so that they are not taken for a word of their own.
const FURTHER: u64 = 0x5b8e_27f0_13c9_64ad;

const ONES: u64 = u64::from_ne_bytes([1; 8]);
/// The highest bit of each byte.
pub(super) const HIGHEST: u64 = ONES << 7;

/// Two hashes of the same tokens: one that is always the same, and one of this process alone. Whoever crafts a text
/// that collides with another in the first cannot foresee the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lanes {
    pub(super) fixed: u64,
    pub(super) keyed: u64,
}

/// The second lane adds what the first one xors. If both did the same, the compiler would load them as one, right after
/// they were stored one by one, and the processor would wait for that.
impl Lanes {
    pub(super) fn new(key: u64) -> Self {
        Self { fixed: SEED, keyed: key | 1 }
    }

    #[inline]
    pub(super) fn absorb(&mut self, value: u64) {
        self.fixed = multiply(self.fixed ^ value, FACTOR);
        self.keyed = multiply(self.keyed.wrapping_add(value), FACTOR);
    }

    /// Takes in what was hashed on its own.
    #[inline]
    pub(super) fn absorb_lanes(&mut self, other: Self) {
        self.fixed = multiply(self.fixed ^ other.fixed, FURTHER);
        self.keyed = multiply(self.keyed.wrapping_add(other.keyed), FURTHER);
    }

    /// Takes in bytes as they stand, after a tag that no word can be mistaken for.
    pub(super) fn absorb_raw(&mut self, tag: u64, bytes: &[u8]) {
        self.absorb(tag);
        for chunk in bytes.chunks(8) {
            self.absorb(load(chunk) ^ FURTHER);
        }
        self.absorb(bytes.len() as u64);
    }

    /// Takes in a word with its ASCII letters in lower case; `first` is what [`head`] gave for it.
    #[inline]
    pub(super) fn absorb_word(&mut self, first: u64, word: &[u8], encoding: Encoding) {
        self.absorb(first);
        if word.len() > 8 {
            self.absorb_further(word, encoding);
        }
    }

    /// Takes in what comes after the first eight bytes of a word. Most have no more, so it stands apart from them.
    #[inline(never)]
    fn absorb_further(&mut self, word: &[u8], encoding: Encoding) {
        if encoding != Encoding::Safe {
            return self.absorb_raw(FURTHER, word);
        }
        let (chunks, rest) = word.get(8..).unwrap_or_default().as_chunks::<8>();
        for chunk in chunks {
            self.absorb(lower(u64::from_le_bytes(*chunk)) ^ FURTHER);
        }
        if let (1.., Some(last)) = (rest.len(), word.last_chunk::<8>()) {
            self.absorb(lower(u64::from_le_bytes(*last) >> (64 - 8 * rest.len())) ^ FURTHER);
        }
    }
}

/// The first eight bytes of a word in lower case, as one number.
#[inline]
pub(super) fn head(word: &[u8]) -> u64 {
    lower(word.first_chunk::<8>().map_or_else(|| load(word), |chunk| u64::from_le_bytes(*chunk)))
}

/// The same for a word of `length` bytes at the beginning of `rest`, which may go on: one load where it is not near the
/// end.
#[inline]
pub(super) fn head_of(rest: &[u8], length: usize) -> u64 {
    lower(start_of(rest, length))
}

/// The same as it stands.
#[inline]
pub(super) fn start_of(rest: &[u8], length: usize) -> u64 {
    match rest.first_chunk::<8>() {
        Some(chunk) if length >= 8 => u64::from_le_bytes(*chunk),
        Some(chunk) => u64::from_le_bytes(*chunk) & !(u64::MAX << (8 * length)),
        None => load(rest.get(..length).unwrap_or_default()),
    }
}

/// What [`head`] gives for a word known beforehand, which is in lower case.
pub(super) const fn known(word: &[u8]) -> u64 {
    let mut value = 0;
    let mut at = 0;
    while at < word.len() && at < 8 {
        value |= (word[at] as u64) << (8 * at);
        at += 1;
    }
    value
}

/// Up to eight bytes as one number, the first one lowest.
#[inline]
fn load(bytes: &[u8]) -> u64 {
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let shift = 8 * (bytes.len().min(8) - 4);
        return u64::from(u32::from_le_bytes(*low)) | (u64::from(u32::from_le_bytes(*high)) << shift);
    }
    match bytes {
        [one] => u64::from(*one),
        [one, two] => u64::from(u16::from_le_bytes([*one, *two])),
        [one, two, three] => u64::from(u32::from_le_bytes([*one, *two, *three, 0])),
        _ => 0,
    }
}

/// Turns the ASCII capitals among eight bytes into small letters, all at once: a byte's highest bit tells whether its
/// lower seven lie between `A` and `Z`.
#[inline]
fn lower(bytes: u64) -> u64 {
    let seven = bytes & !HIGHEST;
    let from_a = seven + ONES * (0x80 - b'A' as u64);
    let after_z = seven + ONES * (0x7F - b'Z' as u64);
    bytes | (((from_a ^ after_z) & !bytes & HIGHEST) >> 2)
}

/// Words in lower case, each with a value, to be found by their [`head`].
#[derive(Debug)]
pub(super) struct Words<T: 'static> {
    /// Most slots are empty, and hold 0.
    slots: [(u64, T); SLOTS],
}

const SLOTS: usize = 512;

impl<T: Copy> Words<T> {
    /// A table of words. Of several with one head the first one is found.
    pub(super) const fn of(words: &[(&str, T)]) -> Self {
        assert!(words.len() < SLOTS / 2 && !words.is_empty());
        let mut slots = [(0, words[0].1); SLOTS];
        let mut at = 0;
        while at < words.len() {
            let word = known(words[at].0.as_bytes());
            let mut slot = Self::slot(word);
            while slots[slot].0 != 0 {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = (word, words[at].1);
            at += 1;
        }
        Self { slots }
    }

    const fn slot(word: u64) -> usize {
        (word.wrapping_mul(FACTOR) >> 55) as usize % SLOTS
    }

    /// The value of the word with this [`head`].
    #[inline]
    pub(super) fn get(&self, first: u64) -> Option<T> {
        let mut slot = Self::slot(first);
        loop {
            match self.slots[slot] {
                (0, _) => return None,
                (word, value) if word == first => return Some(value),
                _ => slot = (slot + 1) % SLOTS,
            }
        }
    }
}

/// Where a byte stands first. Names and strings are short, so their first bytes are looked at here.
#[inline]
pub(super) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    while start < 16
        && let Some(chunk) = bytes.get(start..).and_then(|rest| rest.first_chunk::<8>())
    {
        let other = u64::from_le_bytes(*chunk) ^ (ONES * u64::from(byte));
        // The lowest byte that is zero; those above it may look like it.
        let zero = other.wrapping_sub(ONES) & !other & HIGHEST;
        if zero != 0 {
            return Some(start + (zero.trailing_zeros() / 8) as usize);
        }
        start += 8;
    }
    memchr::memchr(byte, bytes.get(start..)?).map(|found| start + found)
}

/// For each of eight bytes its highest bit: set where the byte can be part of a word.
#[inline]
pub(super) fn in_word(bytes: u64) -> u64 {
    with_letters(bytes, bytes | (ONES * 0x20))
}

/// The same without capital letters.
#[inline]
fn in_folded_word(bytes: u64) -> u64 {
    with_letters(bytes, bytes)
}

/// The same for letters as small as those in `small`, which are otherwise those of `bytes`.
#[inline]
fn with_letters(bytes: u64, small: u64) -> u64 {
    let (seven, small) = (bytes & !HIGHEST, small & !HIGHEST);
    let letter = (small + ONES * (0x80 - b'a' as u64)) & !(small + ONES * (0x7F - b'z' as u64));
    let digit = (seven + ONES * (0x80 - b'0' as u64)) & !(seven + ONES * (0x7F - b'9' as u64));
    let is = |byte: u8| !((seven ^ (ONES * u64::from(byte))) + ONES * 0x7F);
    (bytes | letter | digit | is(b'_') | is(b'$')) & HIGHEST
}

/// Whether all bytes are such as an unquoted name holds after it was folded; `first` is what [`start_of`] gave for them.
#[inline]
pub(super) fn is_folded_word(first: u64, word: &[u8]) -> bool {
    let plain = |bytes: u64| in_folded_word(bytes) == HIGHEST;
    match word.last_chunk::<8>() {
        Some(last) => {
            let (chunks, _) = word.as_chunks::<8>();
            chunks.iter().chain([last]).all(|chunk| plain(u64::from_le_bytes(*chunk)))
        }
        // Letters where there are no bytes.
        None => plain(first | (ONES * 0x61) << (8 * word.len())),
    }
}

#[inline]
fn multiply(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ascii_capitals_become_small() {
        for byte in 0..=u8::MAX {
            let eight = [byte; 8];
            assert_eq!(
                lower(u64::from_le_bytes(eight)),
                u64::from_le_bytes(eight.map(|byte| byte.to_ascii_lowercase()))
            );
        }
    }

    #[test]
    fn the_bytes_of_words_are_known_eight_at_a_time() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80;
            for place in 0..8 {
                let mut eight = [b'!'; 8];
                eight[place] = byte;
                let word = if expected { 0x80 << (8 * place) } else { 0 };
                assert_eq!(in_word(u64::from_le_bytes(eight)), word, "{byte} at {place}");
            }
            let folded = expected && !byte.is_ascii_uppercase();
            for length in 1..20 {
                let mut word = vec![b'x'; length];
                word[length - 1] = byte;
                assert_eq!(is_folded_word(load(&word), &word), folded, "{byte} after {length}");
            }
        }
    }

    #[test]
    fn a_word_is_the_same_in_the_middle_of_a_text_and_at_its_end() {
        for length in 0..=8 {
            assert_eq!(head_of(b"ABCDEFGHIJ", length), head(&b"abcdefgh"[..length]));
            assert_eq!(head_of(&b"ABCDEFGH"[..length], length), head(&b"abcdefgh"[..length]));
        }
        assert_eq!(head_of(b"ABCDEFGHIJ", 10), head(b"abcdefgh"));
    }

    #[test]
    fn the_first_of_several_bytes_is_found() {
        let text = b"abc\"defghij\"klmnopqrstuvwxyz\"\"#!\"";
        for start in 0..text.len() {
            let rest = &text[start..];
            assert_eq!(find(b'"', rest), rest.iter().position(|byte| *byte == b'"'), "{start}");
            assert_eq!(find(b'\'', rest), None);
        }
    }

    #[test]
    fn short_words_are_loaded_byte_for_byte() {
        for length in 0..=8 {
            let word = &b"abcdefgh"[..length];
            assert_eq!(head(word), known(word), "{length}");
        }
    }
}
