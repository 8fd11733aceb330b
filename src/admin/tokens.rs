//! A command cut into words, and the errors that say what stood where another word was expected.

use crate::config::nearest;
use crate::sql::{Lexer, Lexing, Quoting, Token, TokenKind};
use crate::wire::build::Fault;

/// SQLSTATEs of what is wrong with a command (manual: "PostgreSQL Error Codes").
pub(super) const SYNTAX_ERROR: &str = "42601";
pub(super) const UNDEFINED_COLUMN: &str = "42703";
pub(super) const INVALID_TEXT: &str = "22P02";

/// The tokens of one command, read one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tokens<'a> {
    text: &'a str,
    /// Characters before `text` in what the client sent.
    before: usize,
    lexer: Lexer<'a>,
    next: Option<Token>,
}

impl<'a> Tokens<'a> {
    /// `before` characters of the client's text stand before this command.
    pub(super) fn new(text: &'a str, before: usize) -> Self {
        let mut lexer = Lexer::new(text.as_bytes(), Lexing::default());
        let next = lexer.next();
        Self { text, before, lexer, next }
    }

    pub(super) fn peek(&self) -> Option<Token> {
        self.next
    }

    pub(super) fn is_over(&self) -> bool {
        self.next.is_none()
    }

    pub(super) fn take(&mut self) -> Option<Token> {
        let token = self.next;
        self.next = self.lexer.next();
        token
    }

    /// A token as it was written.
    pub(super) fn of(&self, token: Token) -> &'a str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    /// Whether the next token is this keyword, or these signs.
    pub(super) fn sees(&self, word: &str) -> bool {
        self.next.is_some_and(|token| {
            !matches!(token.kind, TokenKind::Text(_) | TokenKind::Name) && self.of(token).eq_ignore_ascii_case(word)
        })
    }

    /// Takes the keyword if it is next.
    pub(super) fn takes(&mut self, word: &str) -> bool {
        let sees = self.sees(word);
        if sees {
            self.take();
        }
        sees
    }

    /// Takes the keyword.
    ///
    /// # Errors
    /// Another one is next.
    pub(super) fn expect(&mut self, word: &str) -> Result<(), Fault> {
        if self.takes(word) { Ok(()) } else { Err(self.expected(word, &[word])) }
    }

    /// Takes a name, quoted or not: in lower case unless it is quoted.
    pub(super) fn name(&mut self) -> Option<(String, Token)> {
        let token = self.next?;
        let written = self.of(token);
        let name = match token.kind {
            TokenKind::Word => written.to_ascii_lowercase(),
            TokenKind::Name => written.trim_matches('"').replace("\"\"", "\""),
            _ => return None,
        };
        self.take();
        Some((name, token))
    }

    /// Takes a text in plain quotes, or a number with its sign.
    pub(super) fn literal(&mut self) -> Option<(String, Token)> {
        let token = self.next?;
        let written = self.of(token);
        match token.kind {
            TokenKind::Number => {
                self.take();
                Some((written.to_owned(), token))
            }
            TokenKind::Operator if written == "-" || written == "+" => {
                let mut ahead = *self;
                ahead.take();
                let number = ahead.take().filter(|number| number.kind == TokenKind::Number)?;
                let sign = if written == "-" { "-" } else { "" };
                let text = format!("{sign}{}", self.of(number));
                *self = ahead;
                Some((text, token))
            }
            TokenKind::Text(Quoting::Plain) => {
                let inner = written.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''))?;
                self.take();
                Some((inner.replace("''", "'"), token))
            }
            _ => None,
        }
    }

    /// Takes all up to white space or a semicolon, without quotes around it.
    pub(super) fn bare(&mut self) -> Option<&'a str> {
        let start = self.next?.start;
        let rest = self.text.get(start..)?;
        let length = rest.find(|c: char| c.is_whitespace() || c == ';').unwrap_or(rest.len());
        while self.next.is_some_and(|token| token.start < start + length) {
            self.take();
        }
        rest.get(..length).map(|bare| bare.trim_matches(['\'', '"']))
    }

    // === errors ===

    /// The character of the client's text at which a token begins, from 1.
    pub(super) fn position(&self, token: Option<Token>) -> usize {
        let start = token.map_or(self.text.len(), |token| token.start);
        self.before + self.text.get(..start).map_or(0, |before| before.chars().count()) + 1
    }

    /// The next token is not what was expected; `words` are what it may have been meant to be.
    pub(super) fn expected(&self, what: &str, words: &[&str]) -> Fault {
        let message = match self.next {
            Some(token) => format!("syntax error at or near \"{}\": expected {what}", self.of(token)),
            None => format!("syntax error at end of input: expected {what}"),
        };
        let fault = Fault::error(SYNTAX_ERROR, message).at(self.position(self.next));
        let written = self.next.map(|token| self.of(token).to_owned()).unwrap_or_default();
        match nearest(&written, words.iter().copied()).filter(|near| !near.eq_ignore_ascii_case(&written)) {
            Some(near) if !written.is_empty() => fault.hint(format!("Perhaps you meant {near}.")),
            _ => fault,
        }
    }
}
