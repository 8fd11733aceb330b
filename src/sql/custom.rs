//! Names of settings that only their users know.

use super::bodies::contents;
use super::identifiers::{name_of, unescaped};
use super::lexer::{Lexer, Lexing, Quoting, TokenKind};

/// The dotted names that a text may give to settings, as they are written: what follows SET or RESET, and strings that
/// hold nothing else, for set_config. Some of them will be none.
///
/// It reads bytes, not tokens, so that strings within the bodies of functions and DO count too.
pub fn custom_names(text: &[u8]) -> impl Iterator<Item = String> + '_ {
    dotted_names(text, |start, end| is_quoted(text, start, end) || is_set(text.get(..start).unwrap_or_default()))
}

/// Only those that SET, RESET or set_config is given: for a text with so many strings that what is data must not count.
pub fn names_given(text: &[u8]) -> impl Iterator<Item = String> + '_ {
    dotted_names(text, |start, end| {
        let before = text.get(..start).unwrap_or_default();
        is_set(before) || (is_quoted(text, start, end) && is_first_argument(before))
    })
}

fn dotted_names<'a>(text: &'a [u8], counts: impl Fn(usize, usize) -> bool + 'a) -> impl Iterator<Item = String> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < text.len() {
            let before = at.checked_sub(1).and_then(|before| text.get(before)).copied();
            let begins = !before.is_some_and(|byte| in_name(byte, false));
            // Within dollar quotes a dollar ends the name.
            let dollars = before != Some(b'$');
            // Looked at only where one begins: a text may be one long word.
            if let Some((name, end)) = begins.then(|| dotted_name(text, at, dollars)).flatten() {
                let start = std::mem::replace(&mut at, end);
                if counts(start, end) {
                    return Some(name);
                }
            } else {
                at += 1;
            }
        }
        None
    })
}

/// The same names where they are spelled otherwise: with escapes, with blanks or comments around their dots, in strings of
/// several pieces. Strings are read as code, too, as far within each other as that is of use.
#[must_use]
pub fn spelled_names(text: &[u8], lexing: &Lexing) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    spelled_within(text, lexing, DEPTH, &mut found);
    found
}

const DEPTH: usize = 4;

const SET_CONFIG: &[u8] = b"set_config";

fn spelled_within(text: &[u8], lexing: &Lexing, depth: usize, found: &mut Vec<Vec<u8>>) {
    let mut tokens = Lexer::new(text, *lexing);
    while let Some(token) = tokens.next() {
        match token.kind {
            TokenKind::Text(quoting) => {
                let escape = if quoting == Quoting::Unicode { escape_after(text, tokens) } else { None };
                let said = match escape {
                    Some(escape) => {
                        let raw = contents(token.of(text), Quoting::Plain, Lexing::default());
                        unescaped(&String::from_utf8_lossy(&raw), escape).into_bytes()
                    }
                    None => contents(token.of(text), quoting, *lexing),
                };
                if dotted_name(&said, 0, true).is_some_and(|(_, end)| end == said.len()) {
                    found.push(said);
                } else if let Some(depth) = depth.checked_sub(1) {
                    spelled_within(&said, &Lexing::default(), depth, found);
                }
            }
            TokenKind::Word => {
                let word = token.of(text);
                if ["set", "reset"].iter().any(|set| word.eq_ignore_ascii_case(set.as_bytes())) {
                    found.extend(name_set(text, tokens));
                }
            }
            _ => {}
        }
    }
}

/// The name that follows SET.
fn name_set(text: &[u8], mut tokens: Lexer<'_>) -> Option<Vec<u8>> {
    let mut parts: Vec<String> = Vec::new();
    loop {
        let token = tokens.next()?;
        let (name, more) = name_of(text, token, tokens)?;
        let mut after = tokens;
        after.by_ref().take(more).for_each(drop);
        tokens = after;
        let dot = after.next().is_some_and(|token| token.kind == TokenKind::Dot);
        if parts.is_empty() && !dot && matches!(name.as_str(), "session" | "local") {
            continue;
        }
        parts.push(name);
        if !dot {
            break;
        }
        tokens = after;
    }
    (parts.len() > 1).then(|| parts.join(".").into_bytes())
}

/// The character that UESCAPE puts in the place of the backslash.
fn escape_after(text: &[u8], mut tokens: Lexer<'_>) -> Option<char> {
    tokens.next().filter(|token| token.of(text).eq_ignore_ascii_case(b"uescape"))?;
    tokens.next()?.of(text).get(1).copied().map(char::from)
}

fn in_name(byte: u8, dollars: bool) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 || (dollars && byte == b'$')
}

/// Words with dots between them that begin here, without quotes around any of them, and where they end.
fn dotted_name(text: &[u8], start: usize, dollars: bool) -> Option<(String, usize)> {
    let mut parts = Vec::new();
    let mut end = start;
    let mut at = start;
    while let Some((part, after)) = name_part(text, at, dollars) {
        parts.push(part);
        end = after;
        if text.get(end) != Some(&b'.') {
            break;
        }
        at = end + 1;
    }
    (parts.len() > 1).then(|| (parts.join("."), end))
}

/// A word, or one in double quotes, and where it ends.
fn name_part(text: &[u8], start: usize, dollars: bool) -> Option<(String, usize)> {
    let quoted = text.get(start) == Some(&b'"');
    let from = start + usize::from(quoted);
    let rest = text.get(from..)?;
    let length = rest.iter().position(|byte| !in_name(*byte, dollars)).unwrap_or(rest.len());
    let part = rest.get(..length)?;
    let begins = part.first().is_some_and(|byte| !byte.is_ascii_digit() && *byte != b'$');
    let closed = !quoted || rest.get(length) == Some(&b'"');
    (begins && closed).then(|| (String::from_utf8_lossy(part).into_owned(), from + length + usize::from(quoted)))
}

/// Whether nothing but a name stands in a string or in double quotes.
fn is_quoted(text: &[u8], start: usize, end: usize) -> bool {
    let before = start.checked_sub(1).and_then(|at| text.get(at));
    match (before, text.get(end)) {
        (Some(open), Some(close)) => open == close && matches!(open, b'\'' | b'"' | b'$'),
        _ => false,
    }
}

/// Whether a text ends in set_config and its parenthesis, and the quotes of a string.
fn is_first_argument(text: &[u8]) -> bool {
    let quotes = text.iter().rev().take_while(|byte| **byte == b'\'').count();
    let before = text.get(..text.len() - quotes).unwrap_or_default().trim_ascii_end();
    let called = before.strip_suffix(b"(").map(<[u8]>::trim_ascii_end);
    let tail = called.and_then(|called| called.get(called.len().checked_sub(SET_CONFIG.len())?..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(SET_CONFIG))
}

/// Whether a text ends in SET or RESET, with SESSION or LOCAL or without.
fn is_set(text: &[u8]) -> bool {
    // Looked at first: the last word of a text without blanks is all of it.
    if !text.last().is_some_and(u8::is_ascii_whitespace) {
        return false;
    }
    let mut words = text.rsplit(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let ends_in = |word: &[u8], known: &str| {
        let from = word.len().checked_sub(known.len()).and_then(|from| word.get(from..));
        from.is_some_and(|tail| tail.eq_ignore_ascii_case(known.as_bytes()))
    };
    let Some(last) = words.next() else { return false };
    let last = if last.eq_ignore_ascii_case(b"session") || last.eq_ignore_ascii_case(b"local") {
        words.next().unwrap_or_default()
    } else {
        last
    };
    ends_in(last, "set")
}
