//! Names as they are written, and as PostgreSQL reads them.
//!
//! Manual: "Lexical Structure", "Identifiers and Key Words".

use std::borrow::Cow;

use super::bodies::contents;
use super::lexer::{Lexing, Token, TokenKind};

/// The name that a token is, and how many of the tokens that follow belong to it, for UESCAPE; `None` where the token is
/// none. Keywords are names here.
pub(super) fn name_of(
    text: &[u8],
    token: Token,
    mut following: impl Iterator<Item = Token>,
) -> Option<(String, usize)> {
    let written = String::from_utf8_lossy(token.of(text));
    match token.kind {
        TokenKind::Word => Some((written.to_ascii_lowercase(), 0)),
        TokenKind::Name => Some((unquoted(&written), 0)),
        TokenKind::UnicodeName => {
            let is_escape = |token: &Token| token.of(text).eq_ignore_ascii_case(b"uescape");
            let escape = following.next().filter(is_escape).and_then(|_| following.next());
            let name = unquoted(written.get(2..).unwrap_or_default());
            match escape.map(|token| (token.kind, token)) {
                Some((TokenKind::Text(quoting), token)) => {
                    let escape = contents(token.of(text), quoting, Lexing::default()).first().copied();
                    Some((unescaped(&name, escape.map_or('\\', char::from)), 2))
                }
                _ => Some((unescaped(&name, '\\'), 0)),
            }
        }
        _ => None,
    }
}

fn unquoted(written: &str) -> String {
    let inner = written.strip_prefix('"').unwrap_or(written);
    inner.strip_suffix('"').unwrap_or(inner).replace("\"\"", "\"")
}

/// What `\0061` and `\+000061` stand for, with this character for the backslash.
pub(super) fn unescaped(name: &str, escape: char) -> String {
    let mut units = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(character) = rest.chars().next() {
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
        let (from, digits) = if rest.starts_with('+') { (1, 6) } else { (0, 4) };
        let value = rest.get(from..from + digits).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match value.filter(|_| character == escape) {
            Some(value) => {
                // Half of a pair may stand alone.
                match u16::try_from(value) {
                    Ok(unit) => units.push(unit),
                    Err(_) => units.extend(char::from_u32(value).map(|whole| pair(whole).0).into_iter().flatten()),
                }
                rest = rest.get(from + digits..).unwrap_or_default();
            }
            None => {
                if character == escape {
                    rest = rest.strip_prefix(escape).unwrap_or(rest);
                }
                let (both, length) = pair(character);
                units.extend(both.into_iter().take(length));
            }
        }
    }
    String::from_utf16_lossy(&units)
}

fn pair(character: char) -> ([u16; 2], usize) {
    let mut units = [0; 2];
    let length = character.encode_utf16(&mut units).len();
    (units, length)
}

/// Parts of a name with dots between them; what could be taken for more than one stands in quotes.
pub(super) fn dotted<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = |part: &'a str| match part.contains(['.', '"']) {
        true => Cow::Owned(format!("\"{}\"", part.replace('"', "\"\""))),
        false => Cow::Borrowed(part),
    };
    parts.into_iter().map(quoted).collect::<Vec<_>>().join(".")
}

/// The last part of such a name, without its quotes.
#[must_use]
pub fn last_part(name: &[u8]) -> Cow<'_, [u8]> {
    let mut within = false;
    let dot = |byte: &u8| {
        within ^= *byte == b'"';
        *byte == b'.' && !within
    };
    let part = name.split(dot).next_back().unwrap_or(name);
    match part {
        [b'"', inner @ .., b'"'] => {
            let mut last = 0;
            // The second one of two quotes is left out.
            let kept = inner.iter().filter(|byte| {
                let doubled = **byte == b'"' && last == b'"';
                last = if doubled { 0 } else { **byte };
                !doubled
            });
            Cow::Owned(kept.copied().collect())
        }
        part => Cow::Borrowed(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lexer::Lexer;

    #[test]
    fn a_name_is_read_as_postgresql_reads_it_however_it_is_written() {
        for (written, name, more) in [
            ("Ab", "ab", 0),
            (r#""Ab""#, "Ab", 0),
            (r#""a""""b""""#, r#"a""b""#, 0),
            (r#"U&"\0073et""#, "set", 0),
            (r#"u&"!0073et!!" uescape '!' ("#, "set!", 2),
            (r#"U&"d\+000061t\\\0061""""#, r#"dat\a""#, 0),
            (r#"U&"\D83D\DE00\+01F600é\00""#, "😀😀é\\00", 0),
        ] {
            let mut tokens = Lexer::new(written.as_bytes(), Lexing::default());
            let token = tokens.next().unwrap();
            assert_eq!(name_of(written.as_bytes(), token, tokens), Some((name.to_owned(), more)), "{written}");
        }
    }

    #[test]
    fn the_last_part_of_a_name_is_found_again_whatever_it_holds() {
        for parts in [&["f"][..], &["s", "f"], &["S.s", "F.f"], &["a\"b", ".", "\""], &["s", "\"\""], &["a.b", "c"]] {
            let last = parts.last().unwrap();
            assert_eq!(last_part(dotted(parts.iter().copied()).as_bytes()), last.as_bytes(), "{parts:?}");
        }
        assert_eq!(dotted(["s", "f"]), "s.f");
    }
}
