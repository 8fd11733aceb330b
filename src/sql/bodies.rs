//! Code that stands in strings: what DO runs, and what EXECUTE of PL/pgSQL may.

use std::iter::Peekable;

use super::identifiers::unescaped;
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
            b'\\' if escapes => match bytes.next() {
                Some(b'n' | b'r' | b't') | None => found.push(b' '),
                Some(b'x') => {
                    found.push(hexadecimal(&mut bytes, 2).and_then(|byte| u8::try_from(byte).ok()).unwrap_or(b'x'))
                }
                Some(letter @ (b'u' | b'U')) => {
                    let character =
                        hexadecimal(&mut bytes, if letter == b'u' { 4 } else { 8 }).and_then(char::from_u32);
                    let character = character.unwrap_or_else(|| char::from(letter));
                    found.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(digit @ b'0'..=b'7') => {
                    let more = std::iter::once(digit).chain(std::iter::from_fn(|| bytes.next_if(is_octal)).take(2));
                    let byte = more.fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                    found.push(byte.to_le_bytes()[0]);
                }
                Some(other) => found.push(other),
            },
            _ => found.push(byte),
        }
    }
    if quoting == Quoting::Unicode { unescaped(&String::from_utf8_lossy(&found), '\\').into_bytes() } else { found }
}

fn is_octal(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'7')
}

/// The number that up to so many hexadecimal digits are; `None` where there is none.
fn hexadecimal(bytes: &mut Peekable<impl Iterator<Item = u8>>, most: usize) -> Option<u32> {
    let mut value = None;
    for _ in 0..most {
        let Some(digit) = bytes.peek().and_then(|byte| char::from(*byte).to_digit(16)) else { break };
        value = Some(value.unwrap_or(0) << 4 | digit);
        bytes.next();
    }
    value
}
