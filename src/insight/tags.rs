//! Tags that applications put into the comments of their statements, of which only some may be seen.
//!
//! Two ways of writing them are read: sqlcommenter's `/*key='value',…*/`, whose values are URL-encoded, and marginalia's
//! `/*key:value,…*/`.

use std::sync::Arc;

use super::names::Names;
use crate::sql::{Lexer, Lexing};

/// Sets of tags, and single ones, that are told apart.
const SETS: usize = 10_000;
const SINGLE: usize = 10_000;
/// Tags of one comment that are looked at, and comments of one statement.
const MOST: usize = 32;

/// What separates a key from its value, and one tag from the next, in what is interned. Neither is in any tag.
const WITHIN: char = '\u{1}';
const BETWEEN: char = '\u{2}';

/// Reads and numbers tags.
#[derive(Debug)]
pub struct Tags {
    /// Keys that may be shown.
    keys: Box<[Box<str>]>,
    sets: Names,
    single: Names,
}

impl Tags {
    pub(super) fn new(keys: &[String]) -> Self {
        let keys = keys.iter().map(|key| key.as_str().into()).collect();
        Self { keys, sets: Names::longer(SETS, 1024), single: Names::longer(SINGLE, 128) }
    }

    /// The number of the set of tags in a text's comments; 0 where there is none.
    #[must_use]
    pub fn read(&self, text: &[u8], lexing: &Lexing) -> u32 {
        if self.keys.is_empty() || !has_comment(text) {
            return 0;
        }
        let (mut set, mut from, mut left) = (String::new(), 0, MOST);
        // What looks like a comment in a string is none.
        let starts = Lexer::new(text, *lexing).map(|token| (token.start, token.end));
        for (start, end) in starts.chain([(text.len(), text.len())]) {
            if start > from + 3 {
                self.read_gap(text.get(from..start).unwrap_or_default(), &mut left, &mut set);
            }
            if left == 0 {
                break;
            }
            from = end;
        }
        if set.is_empty() { 0 } else { self.sets.number(set.as_bytes()) }
    }

    /// Reads the comments between two tokens, up to so many as are `left`.
    fn read_gap(&self, mut gap: &[u8], left: &mut usize, set: &mut String) {
        while let Some((_, comment)) = split(gap, b"/*").filter(|_| *left > 0) {
            let (comment, rest) = split(comment, b"*/").unwrap_or((comment, b""));
            *left -= 1;
            self.read_comment(&String::from_utf8_lossy(comment), set);
            gap = rest;
        }
    }

    fn read_comment(&self, comment: &str, set: &mut String) {
        for tag in comment.split(',').take(MOST) {
            let Some((key, value)) = tag.split_once('=').or_else(|| tag.split_once(':')) else { continue };
            let key = key.trim();
            if !self.keys.iter().any(|known| **known == *key) {
                continue;
            }
            let value = value.trim().trim_matches('\'');
            let value: String = decoded(value).chars().filter(|c| !c.is_control()).take(64).collect();
            if !set.is_empty() {
                set.push(BETWEEN);
            }
            set.push_str(key);
            set.push(WITHIN);
            set.push_str(&value);
        }
    }

    /// Each tag of a set, by its number.
    pub(super) fn each(&self, set: u32, tell: &mut dyn FnMut(u32)) {
        let text = self.sets.text(set);
        for tag in text.split(BETWEEN).filter(|tag| tag.contains(WITHIN)) {
            tell(self.single.number(tag.as_bytes()));
        }
    }

    /// A single tag as it is interned, and its number.
    pub(super) fn single_text(&self, number: u32) -> Arc<str> {
        self.single.text(number)
    }

    pub(super) fn single_number(&self, text: &str) -> u32 {
        self.single.number(text.as_bytes())
    }

    /// Key and value of a single tag.
    pub(super) fn single(&self, number: u32) -> (Box<str>, Box<str>) {
        pair(&self.single.text(number))
    }

    /// All tags of a set.
    pub(super) fn set(&self, set: u32) -> Vec<(Box<str>, Box<str>)> {
        let text: Arc<str> = self.sets.text(set);
        text.split(BETWEEN).filter(|tag| tag.contains(WITHIN)).map(pair).collect()
    }
}

/// Whether a comment may begin somewhere.
fn has_comment(text: &[u8]) -> bool {
    memchr::memchr_iter(b'*', text).any(|at| at.checked_sub(1).and_then(|before| text.get(before)) == Some(&b'/'))
}

fn pair(tag: &str) -> (Box<str>, Box<str>) {
    let (key, value) = tag.split_once(WITHIN).unwrap_or((tag, tag));
    (key.into(), value.into())
}

fn split<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = memchr::memmem::find(text, at)?;
    Some((text.get(..place)?, text.get(place + at.len()..)?))
}

/// Without %XX.
fn decoded(value: &str) -> String {
    let bytes = value.as_bytes();
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let tags = Tags::new(&["controller".to_owned(), "route".to_owned()]);
        let set = tags.read(text.as_bytes(), &Lexing::default());
        tags.set(set).into_iter().map(|(key, value)| (key.into(), value.into())).collect()
    }

    #[test]
    fn tags_are_read_from_comments_before_within_and_after_a_statement() {
        let users = vec![("controller".to_owned(), "users".to_owned())];
        for text in [
            "select 1 /*controller='users'*/",
            "/*controller:users*/ select 1",
            "select /* so */ 1 /*action='secret',controller='users',traceparent='00-1'*/ from t;",
        ] {
            assert_eq!(read(text), users, "{text}");
        }
        assert_eq!(read("select 1 /*route='%2Fusers%2F%3Aid'*/"), [("route".to_owned(), "/users/:id".to_owned())]);
    }

    #[test]
    fn however_many_comments_there_are_and_however_deep_the_first_ones_are_read() {
        let route = [("route".to_owned(), "a".to_owned())];
        let many = 1 << 20;
        assert_eq!(read(&("/*route:a*/".to_owned() + &"/**/".repeat(many) + "select 1")), route);
        assert_eq!(read(&("/*".repeat(many) + &"*/".repeat(many) + "select 1")), []);
        assert_eq!(read(&"/*route:a*/ ".repeat(many)).len(), MOST);
    }

    #[test]
    fn what_only_looks_like_a_comment_is_none() {
        for text in
            ["select '/*controller=''x''*/'", "select $$/*controller:x*/$$", "select 1 -- controller:x", "/*", ""]
        {
            assert_eq!(read(text), [], "{text}");
        }
    }
}
