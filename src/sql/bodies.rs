//! Code that stands in strings: what DO runs, and what EXECUTE of PL/pgSQL may.

use super::lexer::{Lexer, Lexing, Quoting, TokenKind};

/// The bodies of the DO statements of a text, without their quotes. Their language is not looked at.
pub fn do_bodies<'a>(text: &'a [u8], lexing: &Lexing) -> impl Iterator<Item = Vec<u8>> + use<'a> {
    let lexing = *lexing;
    let mut tokens = Lexer::new(text, lexing);
    let mut begins = true;
    let mut within = false;
    std::iter::from_fn(move || {
        for token in tokens.by_ref() {
            let opens = std::mem::take(&mut begins);
            match token.kind {
                TokenKind::Semicolon => (begins, within) = (true, false),
                TokenKind::Word if opens => within = token.of(text).eq_ignore_ascii_case(b"do"),
                TokenKind::Text(quoting) if within => return Some(contents(token.of(text), quoting, lexing)),
                _ => {}
            }
        }
        None
    })
}

/// The strings of a body, without their quotes.
pub fn strings<'a>(body: &'a [u8], lexing: &Lexing) -> impl Iterator<Item = Vec<u8>> + use<'a> {
    let lexing = *lexing;
    Lexer::new(body, lexing).filter_map(move |token| match token.kind {
        TokenKind::Text(quoting) => Some(contents(token.of(body), quoting, lexing)),
        _ => None,
    })
}

/// What stands between the quotes of a string.
pub(super) fn contents(string: &[u8], quoting: Quoting, lexing: Lexing) -> Vec<u8> {
    if quoting == Quoting::Dollar {
        let tag = string.iter().skip(1).position(|byte| *byte == b'$').map_or(0, |end| end + 2);
        let end = string.len().saturating_sub(tag).max(tag);
        return string.get(tag..end).unwrap_or_default().to_vec();
    }
    let escapes = quoting == Quoting::Escape || (quoting == Quoting::Plain && !lexing.conforming);
    let mut bytes = string.iter().copied().skip_while(|byte| *byte != b'\'').skip(1).peekable();
    let mut found = Vec::with_capacity(string.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' if bytes.next_if_eq(&b'\'').is_none() => {
                // The end of a piece; the next one, if any, begins after blanks.
                bytes.by_ref().find(|byte| *byte == b'\'');
            }
            b'\\' if escapes => found.push(match bytes.next() {
                Some(b'n' | b'r' | b't') | None => b' ',
                Some(other) => other,
            }),
            _ => found.push(byte),
        }
    }
    found
}
