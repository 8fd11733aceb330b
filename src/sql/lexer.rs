//! Cuts a text into tokens as PostgreSQL's scanner does (manual: "Lexical Structure"), without allocating.
//!
//! It never fails: what PostgreSQL would refuse becomes a token of some kind, and what is not closed reaches to the end.

use super::bytes::{CLASSES, Class, IN_WORD};
use super::encoding::Encoding;
use super::hash::{HIGHEST, find, in_word};

/// What of a session decides how its texts are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lexing {
    /// `standard_conforming_strings`: a backslash in `'…'` is a plain character.
    pub conforming: bool,
    /// `client_encoding`.
    pub encoding: Encoding,
}

impl Default for Lexing {
    fn default() -> Self {
        Self { conforming: true, encoding: Encoding::Safe }
    }
}

/// A piece of a text, without the white space and the comments around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    /// Its first byte.
    pub start: usize,
    /// The byte after its last one.
    pub end: usize,
}

impl Token {
    /// Its bytes in the text that it was cut from.
    #[must_use]
    pub fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A keyword or an unquoted name.
    Word,
    /// `"…"`
    Name,
    /// `U&"…"`
    UnicodeName,
    /// A string in any of its forms, pieces on further lines included.
    Text(Quoting),
    /// An integer, a decimal or a float, without a sign.
    Number,
    /// `$1`
    Parameter,
    Operator,
    /// `::`
    Cast,
    Comma,
    Dot,
    Semicolon,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `[`
    OpenSquare,
    /// `]`
    CloseSquare,
    /// A byte that begins no token.
    Stray,
}

/// The forms of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// `'…'` and `N'…'`
    Plain,
    /// `E'…'`
    Escape,
    /// `B'…'`
    Bits,
    /// `X'…'`
    Hex,
    /// `U&'…'`
    Unicode,
    /// `$tag$…$tag$`
    Dollar,
}

/// The tokens of a text, one after the other. A copy of it looks ahead.
#[derive(Debug, Clone, Copy)]
pub struct Lexer<'a> {
    text: &'a [u8],
    pub(super) at: usize,
    lexing: Lexing,
    unclosed: bool,
    /// Up to here stand signs that an operator has left: each is a token of its own.
    signs_end: usize,
}

impl<'a> Lexer<'a> {
    #[must_use]
    pub fn new(text: &'a [u8], lexing: Lexing) -> Self {
        Self { text, at: 0, lexing, unclosed: false, signs_end: 0 }
    }

    /// Whether a string, a quoted name or a comment was open where the text ended. Tells once the end was reached.
    #[must_use]
    pub fn unclosed(&self) -> bool {
        self.unclosed
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    fn from(&self, at: usize) -> &'a [u8] {
        self.text.get(at..).unwrap_or_default()
    }

    /// The byte after the next one of these.
    #[inline]
    fn after_next(&self, byte: u8, at: usize) -> Option<usize> {
        Some(at + find(byte, self.text.get(at..)?)? + 1)
    }

    /// Ends the text here, within what was begun.
    fn run_out(&mut self) -> usize {
        self.unclosed = true;
        self.text.len()
    }

    /// The end of the word of which the byte at `at` is a part.
    fn word_end(&self, mut at: usize) -> usize {
        if self.lexing.encoding != Encoding::Safe {
            return self.word_end_slowly(at);
        }
        while let Some(chunk) = self.text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = in_word(u64::from_le_bytes(*chunk));
            let length = (!word & HIGHEST).trailing_zeros() / 8;
            at += length as usize;
            if length < 8 {
                return at;
            }
        }
        let rest = self.from(at);
        at + rest.iter().position(|byte| !IN_WORD[usize::from(*byte)]).unwrap_or(rest.len())
    }

    /// The same where ASCII may be the tail of a character.
    #[inline(never)]
    fn word_end_slowly(&self, mut at: usize) -> usize {
        while let Some(byte) = self.byte(at) {
            if !IN_WORD[usize::from(byte)] {
                break;
            }
            at += self.length(byte, at);
        }
        at.min(self.text.len())
    }

    /// The length of the character at `at`.
    fn length(&self, byte: u8, at: usize) -> usize {
        if byte < 0x80 { 1 } else { self.lexing.encoding.length(byte, self.byte(at + 1)) }
    }

    /// A word, or the string or name whose prefix it looks like.
    fn prefix(&mut self, start: usize, first: u8) -> (TokenKind, usize) {
        let next = self.byte(start + 1);
        if next == Some(b'\'') {
            let quoting = match first {
                b'e' | b'E' => Some(Quoting::Escape),
                b'b' | b'B' => Some(Quoting::Bits),
                b'x' | b'X' => Some(Quoting::Hex),
                b'n' | b'N' => Some(Quoting::Plain),
                _ => None,
            };
            if let Some(quoting) = quoting {
                return (TokenKind::Text(quoting), self.string_end(start + 2, quoting));
            }
        }
        if matches!(first, b'u' | b'U') && next == Some(b'&') {
            match self.byte(start + 2) {
                Some(b'\'') => {
                    return (TokenKind::Text(Quoting::Unicode), self.string_end(start + 3, Quoting::Unicode));
                }
                Some(b'"') => return (TokenKind::UnicodeName, self.name_end(start + 3)),
                _ => {}
            }
        }
        (TokenKind::Word, self.word_end(start))
    }

    /// The end of a string whose contents begin at `at`, with the pieces that go on with it on further lines.
    fn string_end(&mut self, mut at: usize, quoting: Quoting) -> usize {
        let escapes = quoting == Quoting::Escape || (quoting == Quoting::Plain && !self.lexing.conforming);
        loop {
            let piece = if escapes { self.escaped_piece_end(at) } else { self.after_next(b'\'', at) };
            let Some(end) = piece else { return self.run_out() };
            match self.byte(end) {
                Some(b'\'') => at = end + 1,
                Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C | b'-') => match self.continued(end) {
                    Some(next) => at = next,
                    None => return end,
                },
                _ => return end,
            }
        }
    }

    /// After the next quote that no backslash precedes.
    fn escaped_piece_end(&self, mut at: usize) -> Option<usize> {
        if self.lexing.encoding != Encoding::Safe {
            return self.escaped_piece_end_slowly(at);
        }
        loop {
            let found = at + memchr::memchr2(b'\'', b'\\', self.from(at))?;
            if self.byte(found) == Some(b'\'') {
                return Some(found + 1);
            }
            at = found + 2;
        }
    }

    /// The same where a backslash may be the tail of a character.
    fn escaped_piece_end_slowly(&self, mut at: usize) -> Option<usize> {
        loop {
            at += match self.byte(at)? {
                b'\'' => return Some(at + 1),
                b'\\' => 1 + self.byte(at + 1).map_or(1, |byte| self.length(byte, at + 1)),
                byte => self.length(byte, at),
            };
        }
    }

    /// Where a string that was closed before `at` goes on: after white space that holds a line's end, and a quote.
    fn continued(&self, mut at: usize) -> Option<usize> {
        let mut newline = false;
        loop {
            match self.byte(at)? {
                b'\n' | b'\r' => newline = true,
                b' ' | b'\t' | 0x0B | 0x0C => {}
                b'-' if self.byte(at + 1) == Some(b'-') => {
                    at = self.line_end(at);
                    continue;
                }
                b'\'' if newline => return Some(at + 1),
                _ => return None,
            }
            at += 1;
        }
    }

    fn line_end(&self, at: usize) -> usize {
        memchr::memchr2(b'\n', b'\r', self.from(at)).map_or(self.text.len(), |found| at + found)
    }

    /// The end of a quoted name whose contents begin at `at`.
    fn name_end(&mut self, mut at: usize) -> usize {
        while let Some(end) = self.after_next(b'"', at) {
            if self.byte(end) != Some(b'"') {
                return end;
            }
            at = end + 1;
        }
        self.run_out()
    }

    /// A parameter, a dollar-quoted string, or a lone `$`.
    fn dollar(&mut self, start: usize) -> (TokenKind, usize) {
        let rest = self.from(start + 1);
        if rest.first().is_some_and(u8::is_ascii_digit) {
            let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
            return (TokenKind::Parameter, start + 1 + digits);
        }
        let mut tag = start + 1;
        while let Some(byte) = self.byte(tag) {
            if byte == b'$' || !IN_WORD[usize::from(byte)] {
                break;
            }
            tag += self.length(byte, tag);
        }
        if self.byte(tag) != Some(b'$') {
            return (TokenKind::Stray, start + 1);
        }
        let body = tag + 1;
        let delimiter = self.text.get(start..body).unwrap_or_default();
        let end = match memchr::memmem::find(self.from(body), delimiter) {
            Some(found) => body + found + delimiter.len(),
            None => self.run_out(),
        };
        (TokenKind::Text(Quoting::Dollar), end)
    }

    /// The end of a number that begins at `at`: `1_000`, `0x1F`, `1.5e-3`, `.5`. Of `1..2` it is the `1`.
    fn number_end(&self, at: usize) -> usize {
        let mut end = at;
        while let Some(b'0'..=b'9') = self.byte(end) {
            end += 1;
        }
        match self.byte(end) {
            // Most are plain integers.
            Some(b'.' | b'_' | b'e' | b'E' | b'x' | b'X' | b'o' | b'O' | b'b' | b'B') => self.long_number_end(at),
            _ => end,
        }
    }

    fn long_number_end(&self, at: usize) -> usize {
        if let (Some(b'0'), Some(radix)) = (self.byte(at), self.byte(at + 1)) {
            let is_digit: fn(&u8) -> bool = match radix {
                b'x' | b'X' => u8::is_ascii_hexdigit,
                b'o' | b'O' => |byte| matches!(byte, b'0'..=b'7'),
                b'b' | b'B' => |byte| matches!(byte, b'0' | b'1'),
                _ => |_| false,
            };
            let end = self.digits_end(at + 2, is_digit);
            if end > at + 2 {
                return end;
            }
        }
        let mut end = self.digits_end(at, u8::is_ascii_digit);
        if self.byte(end) == Some(b'.') && self.byte(end + 1) != Some(b'.') {
            end = self.digits_end(end + 1, u8::is_ascii_digit);
        }
        if matches!(self.byte(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-')));
            if self.byte(end + 1 + sign).is_some_and(|byte| byte.is_ascii_digit()) {
                end = self.digits_end(end + 1 + sign, u8::is_ascii_digit);
            }
        }
        end
    }

    /// The end of digits with single underscores before them or between them.
    fn digits_end(&self, mut at: usize, is_digit: fn(&u8) -> bool) -> usize {
        loop {
            let underscore = usize::from(self.byte(at) == Some(b'_'));
            match self.byte(at + underscore) {
                Some(byte) if is_digit(&byte) => at += underscore + 1,
                _ => return at,
            }
        }
    }

    /// The end of an operator. A comment ends it, and unless it holds one of `~!@#%^&|?` and the backtick, so does a
    /// `+` or `-` at its end, which is then a sign.
    fn operator_end(&mut self, start: usize) -> usize {
        let mut end = start + 1;
        if start < self.signs_end {
            return end;
        }
        if self.byte(end).is_none_or(|byte| CLASSES[usize::from(byte)] != Class::Operator) {
            return end;
        }
        while let Some(byte) = self.byte(end) {
            let opens_comment = matches!((byte, self.byte(end + 1)), (b'-', Some(b'-')) | (b'/', Some(b'*')));
            if CLASSES[usize::from(byte)] != Class::Operator || opens_comment {
                break;
            }
            end += 1;
        }
        let run = self.text.get(start..end).unwrap_or_default();
        let keeps_sign =
            |byte: &u8| matches!(byte, b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'`' | b'?');
        if run.len() > 1 && !run.iter().any(keeps_sign) {
            let signs = run.iter().rev().take_while(|byte| matches!(byte, b'+' | b'-')).count();
            self.signs_end = end;
            return end - signs.min(run.len() - 1);
        }
        end
    }

    /// The end of a comment whose `/*` stands at `at`; comments nest.
    fn comment_end(&mut self, at: usize) -> usize {
        let mut depth = 1_usize;
        let mut at = at + 2;
        while let Some(found) = memchr::memchr2(b'*', b'/', self.from(at)) {
            at += found;
            match (self.byte(at), self.byte(at + 1)) {
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return at;
                    }
                }
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    at += 2;
                }
                _ => at += 1,
            }
        }
        self.run_out()
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.advance()
    }
}

impl Lexer<'_> {
    /// The next token if it is of this kind; otherwise nothing is read.
    #[inline]
    pub(super) fn next_if(&mut self, kind: TokenKind) -> Option<Token> {
        let before = self.at;
        let token = self.next().filter(|token| token.kind == kind);
        if token.is_none() {
            self.at = before;
        }
        token
    }

    /// [`next`](Self::next), for the one loop that is worth its code twice.
    #[inline(always)]
    pub(super) fn advance(&mut self) -> Option<Token> {
        loop {
            let mut start = self.at;
            let mut byte = self.byte(start)?;
            // Most tokens stand after one space.
            if byte == b' ' {
                start += 1;
                byte = self.byte(start)?;
            }
            let (kind, end) = match CLASSES[usize::from(byte)] {
                Class::Space => {
                    self.at = start + 1;
                    while self.byte(self.at).is_some_and(|byte| CLASSES[usize::from(byte)] == Class::Space) {
                        self.at += 1;
                    }
                    continue;
                }
                Class::Letter => (TokenKind::Word, self.word_end(start)),
                Class::Prefix => self.prefix(start, byte),
                Class::Comma => (TokenKind::Comma, start + 1),
                Class::Semicolon => (TokenKind::Semicolon, start + 1),
                Class::Open => (TokenKind::Open, start + 1),
                Class::Close => (TokenKind::Close, start + 1),
                Class::OpenSquare => (TokenKind::OpenSquare, start + 1),
                Class::CloseSquare => (TokenKind::CloseSquare, start + 1),
                Class::Digit => (TokenKind::Number, self.number_end(start)),
                Class::Quote => (TokenKind::Text(Quoting::Plain), self.string_end(start + 1, Quoting::Plain)),
                Class::Dot if self.byte(start + 1).is_some_and(|byte| byte.is_ascii_digit()) => {
                    (TokenKind::Number, self.number_end(start))
                }
                Class::Dot => (TokenKind::Dot, start + 1),
                Class::Operator => match (byte, self.byte(start + 1)) {
                    (b'-', Some(b'-')) => {
                        self.at = self.line_end(start);
                        continue;
                    }
                    (b'/', Some(b'*')) => {
                        self.at = self.comment_end(start);
                        continue;
                    }
                    _ => (TokenKind::Operator, self.operator_end(start)),
                },
                Class::Dollar => self.dollar(start),
                Class::DoubleQuote => (TokenKind::Name, self.name_end(start + 1)),
                Class::Colon => match self.byte(start + 1) {
                    Some(b':') => (TokenKind::Cast, start + 2),
                    Some(b'=') => (TokenKind::Operator, start + 2),
                    _ => (TokenKind::Operator, start + 1),
                },
                Class::Stray => (TokenKind::Stray, start + 1),
            };
            self.at = end;
            return Some(Token { kind, start, end });
        }
    }
}
