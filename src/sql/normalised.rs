//! A text as it may be shown: in its author's layout, with places instead of literals and without comments.

use std::ops::Range;

use super::folding::{Literal, Writer, fold};
use super::keywords;
use super::lexer::{Lexer, Lexing, Token, TokenKind};

/// What stands where a text was cut.
const CUT: &str = "...";

/// How far a text is believed to be made of what it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Words are words.
    Text,
    /// It does not parse: a quote too many may have turned a literal inside out. After the first string only keywords
    /// and punctuation are shown, and no quoted names at all.
    Keywords,
}

/// The text with `$1`, `$2`, … in place of its literals, counted on from its own parameters, in at most `limit` bytes.
///
/// No literal stands in it, even where the text is cut short, not closed or no SQL at all. Bytes that are no UTF-8 are
/// replaced.
#[must_use]
pub fn normalised(text: &[u8], lexing: &Lexing, limit: usize) -> String {
    shown(text, lexing, limit, Trust::Text)
}

pub(super) fn shown(text: &[u8], lexing: &Lexing, limit: usize, trust: Trust) -> String {
    let first_place = last_parameter(text, lexing).saturating_add(1);
    let folded = fold(text, *lexing, 0, Shown::new(text, first_place, limit, trust));
    if folded.unclosed && trust == Trust::Text {
        return shown(text, lexing, limit, Trust::Keywords);
    }
    folded.writer.finish()
}

/// The highest number of a parameter; 0 where there is none.
#[must_use]
pub fn last_parameter(text: &[u8], lexing: &Lexing) -> u32 {
    if memchr::memchr(b'$', text).is_none() {
        return 0;
    }
    parameters(text, lexing).map(|(number, _)| number).max().unwrap_or(0)
}

/// The parameters in the order of the text: number and place of each.
pub fn parameters(text: &[u8], lexing: &Lexing) -> impl Iterator<Item = (u32, Range<usize>)> {
    let parameters = Lexer::new(text, *lexing).filter(|token| token.kind == TokenKind::Parameter);
    let number = |token: &Token| std::str::from_utf8(token.of(text).get(1..)?).ok()?.parse().ok();
    let numbered = parameters.filter_map(move |token| Some((number(&token)?, token.start..token.end)));
    numbered.filter(|(number, _)| *number <= 65_535)
}

#[derive(Debug)]
struct Shown<'a> {
    text: &'a [u8],
    limit: usize,
    trust: Trust,
    written: Written,
    output: String,
}

/// How far it has been written.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    /// Bytes of the output.
    length: usize,
    /// The end of the last token in the text.
    until: usize,
    next_place: u32,
    /// A string was met.
    string: bool,
    /// The last token was a literal.
    literal: bool,
    /// Nothing more fits.
    full: bool,
}

impl<'a> Shown<'a> {
    fn new(text: &'a [u8], next_place: u32, limit: usize, trust: Trust) -> Self {
        let written = Written { next_place, ..Written::default() };
        Self { text, limit, trust, written, output: String::new() }
    }

    fn finish(mut self) -> String {
        if self.written.full {
            let room = self.limit.saturating_sub(self.output.len());
            self.output.push_str(CUT.get(..room).unwrap_or(CUT));
        }
        self.output
    }

    /// Writes the white space before a token, and the token.
    fn write(&mut self, token: Token, shown: &str) {
        let gap = self.text.get(self.written.until..token.start).unwrap_or_default();
        let mut blank = String::new();
        if !self.output.is_empty() {
            blank = blank_of(gap);
        }
        self.written.until = token.end;
        let room = self.limit.saturating_sub(self.output.len() + CUT.len());
        if self.written.full || blank.len() + shown.len() > room {
            self.written.full = true;
            return;
        }
        self.output.push_str(&blank);
        self.output.push_str(shown);
    }

    fn write_place(&mut self, token: Token) {
        let place = format!("${}", self.written.next_place);
        self.written.next_place = self.written.next_place.saturating_add(1);
        self.write(token, &place);
        self.written.literal = true;
    }

    /// Whether a token could be a piece of a literal that the scanner took for something else.
    fn is_doubtful(&self, token: Token, bytes: &[u8]) -> bool {
        let name = match token.kind {
            TokenKind::Word => !keywords::is_keyword(bytes),
            TokenKind::Name | TokenKind::UnicodeName => true,
            TokenKind::Stray => return self.trust == Trust::Keywords,
            _ => false,
        };
        let touches_literal = self.written.literal && token.start == self.written.until;
        let quoted = token.kind != TokenKind::Word;
        name && (touches_literal || (self.trust == Trust::Keywords && (self.written.string || quoted)))
    }
}

impl Writer for Shown<'_> {
    type Mark = Written;

    fn mark(&self) -> Written {
        Written { length: self.output.len(), ..self.written }
    }

    fn leave_out(&mut self, since: Written, said: bool) {
        self.output.truncate(since.length);
        self.written = Written { until: self.written.until, ..since };
        if !said && !self.written.full {
            if self.output.len() + CUT.len() * 2 + 2 > self.limit {
                self.written.full = true;
                return;
            }
            self.output.push_str(", ");
            self.output.push_str(CUT);
        }
    }

    fn token(&mut self, token: Token) {
        let bytes = token.of(self.text);
        if self.is_doubtful(token, bytes) {
            return self.write_place(token);
        }
        self.write(token, &String::from_utf8_lossy(bytes));
        self.written.literal = false;
    }

    fn place(&mut self, token: Token, literal: Literal) {
        if literal == Literal::Parameter {
            self.write(token, &String::from_utf8_lossy(token.of(self.text)));
            self.written.literal = false;
            return;
        }
        self.written.string |= matches!(literal, Literal::Text(_) | Literal::Role);
        self.write_place(token);
    }

    fn skip(&mut self, token: Token) {
        self.written.until = token.end;
    }
}

/// The white space between two tokens without the comments in it; never empty where there was a comment.
fn blank_of(gap: &[u8]) -> String {
    if gap.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0x0B) {
        return String::from_utf8_lossy(gap).into_owned();
    }
    let indent = gap.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let line_before = gap.len().checked_sub(indent + 1).and_then(|at| gap.get(at));
    match line_before {
        Some(b'\n' | b'\r') => format!("\n{}", " ".repeat(indent)),
        _ => " ".to_owned(),
    }
}
