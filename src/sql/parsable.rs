//! A text as the parser gets it: folded, with literals that say nothing, and in UTF-8.
//!
//! It parses like the original. As nothing of a literal is left, nothing that is
//! learnt from it can depend on one, and all texts of a pattern teach the same.

use super::folding::{Literal, Writer};
use super::lexer::{Quoting, Token};
use super::names::for_parser;

#[derive(Debug)]
pub(super) struct Parsable<'a> {
    text: &'a [u8],
    output: String,
    until: usize,
    /// What comes next must not touch what was written.
    apart: bool,
    limit: usize,
    overflowed: bool,
}

impl<'a> Parsable<'a> {
    pub(super) fn new(text: &'a [u8], limit: usize) -> Self {
        Self { text, output: String::new(), until: 0, apart: false, limit, overflowed: false }
    }

    /// The text; `None` if it is longer than the limit.
    pub(super) fn into_text(self) -> Option<String> {
        Some(self.output).filter(|_| !self.overflowed)
    }

    fn write(&mut self, token: Token, text: &str, apart: bool) {
        if self.output.len() + text.len() >= self.limit {
            self.overflowed = true;
            return;
        }
        if (self.apart || apart || token.start != self.until) && !self.output.is_empty() {
            self.output.push(' ');
        }
        self.output.push_str(text);
        self.until = token.end;
        self.apart = apart;
    }
}

impl Writer for Parsable<'_> {
    type Mark = usize;

    fn mark(&self) -> usize {
        self.output.len()
    }

    fn leave_out(&mut self, since: usize, _: bool) {
        self.output.truncate(since);
    }

    fn token(&mut self, token: Token) {
        self.write(token, &for_parser(token.of(self.text)), false);
    }

    fn place(&mut self, token: Token, literal: Literal) {
        let text = match literal {
            Literal::Text(Quoting::Bits) => "B''",
            Literal::Text(Quoting::Hex) => "X''",
            Literal::Text(_) => "''",
            Literal::Role => "'role'",
            Literal::Integer => "1",
            Literal::Decimal => "1.0",
            Literal::Null => "NULL",
            Literal::Boolean => "TRUE",
            Literal::Parameter => "$1",
            Literal::Savepoint | Literal::Cursor => "n",
        };
        self.write(token, text, true);
    }

    fn skip(&mut self, token: Token) {
        self.until = token.end;
        self.apart = true;
    }
}
