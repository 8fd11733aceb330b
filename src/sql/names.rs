//! Names in texts that are not UTF-8, which the parser wants.
//!
//! Each byte that is no UTF-8 stands as a character of the last private plane, so that it can be told which it was.

use std::borrow::Cow;

/// The character of byte 0.
const BYTES: u32 = 0x10_FF00;
/// Bytes of a name beyond which PostgreSQL and the parser cut it off (NAMEDATALEN − 1).
pub const LONGEST_NAME: usize = 63;

/// Part of a text as the parser gets it.
pub(super) fn for_parser(written: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(written) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(written.len() * 4);
    for chunk in written.utf8_chunks() {
        text.push_str(chunk.valid());
        let stand_in = |byte: &u8| char::from_u32(BYTES + u32::from(*byte)).unwrap_or(char::REPLACEMENT_CHARACTER);
        text.extend(chunk.invalid().iter().map(stand_in));
    }
    Cow::Owned(text)
}

/// The bytes of a parsed name as they were written, in the client's encoding.
#[must_use]
pub fn name_bytes(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    for character in name.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Whether a parsed name is the one that a client means in whose encoding it was written.
#[must_use]
pub fn is_meant(name: &str, by_utf8: bool) -> bool {
    name.is_ascii() || (by_utf8 && !name.chars().any(|character| byte_of(character).is_some()))
}

/// Whether a parsed name is all that was written: the parser may cut off one in another encoding where PostgreSQL
/// would not.
#[must_use]
pub fn is_exact(name: &str) -> bool {
    name.len() + 4 <= LONGEST_NAME || !name.chars().any(|character| byte_of(character).is_some())
}

/// Whether a parsed name has characters that were written as escapes, `U&"\00fc"`, or as bytes that happen to be UTF-8:
/// in another encoding these are different names.
#[must_use]
pub fn is_ambiguous(name: &str) -> bool {
    name.chars().any(|character| !character.is_ascii() && byte_of(character).is_none())
}

fn byte_of(character: char) -> Option<u8> {
    u32::from(character).checked_sub(BYTES).and_then(|byte| u8::try_from(byte).ok()).filter(|byte| *byte >= 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_were_written_whatever_their_encoding() {
        for written in [&b"plain"[..], "gr\u{fc}n".as_bytes(), b"gr\xfcn", b"\x81\xc3\xbc\xff"] {
            assert_eq!(name_bytes(&for_parser(written)), written);
        }
    }

    #[test]
    fn a_name_that_the_parser_may_have_cut_off_is_not_exact() {
        assert!(is_exact(&"x".repeat(63)));
        assert!(is_exact(&for_parser(&[0xfc; 14])));
        assert!(!is_exact(&for_parser(&[0xfc; 15])));
        assert!(is_meant("grun", false) && is_meant("gr\u{fc}n", true));
        assert!(!is_meant("gr\u{fc}n", false) && !is_meant(&for_parser(b"gr\xfcn"), true));
        assert!(is_ambiguous("gr\u{fc}n") && !is_ambiguous("x") && !is_ambiguous(&for_parser(b"gr\xfcn")));
    }
}
