//! The names of savepoints in a text, which are no part of its pattern.

use super::folding::{Literal, Writer, fold};
use super::lexer::{Lexing, Token, TokenKind};
use super::names::LONGEST_NAME;

/// For each SAVEPOINT, RELEASE and ROLLBACK TO of the text, in order, which savepoint it names: as PostgreSQL tells
/// them apart, but that a name written with Unicode escapes is another than the same without.
#[must_use]
pub fn savepoints(text: &[u8], lexing: &Lexing) -> Box<[Box<[u8]>]> {
    fold(text, *lexing, 0, Names { text, found: Vec::new() }).writer.found.into()
}

struct Names<'a> {
    text: &'a [u8],
    found: Vec<Box<[u8]>>,
}

impl Writer for Names<'_> {
    type Mark = ();

    fn mark(&self) {}
    fn leave_out(&mut self, (): (), _: bool) {}
    fn token(&mut self, _: Token) {}
    fn skip(&mut self, _: Token) {}

    fn place(&mut self, token: Token, literal: Literal) {
        if literal != Literal::Savepoint {
            return;
        }
        let written = token.of(self.text);
        let mut name = match token.kind {
            TokenKind::Name => written.get(1..written.len().saturating_sub(1)).unwrap_or_default().to_vec(),
            _ => written.to_ascii_lowercase(),
        };
        name.truncate(LONGEST_NAME);
        self.found.push(name.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn savepoints_are_told_apart_as_postgresql_does() {
        let read = |text: &str| {
            let found = savepoints(text.as_bytes(), &Lexing::default());
            found.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(read(r#"savepoint A; RELEASE savepoint "A"; rollback to b"#), ["a", "A", "b"]);
        assert_eq!(read("begin; fetch c; savepoint s; move c; rollback; close c"), ["s"]);
        assert_eq!(read("select 'savepoint a'; rollback to savepoint savepoint"), ["savepoint"]);
        assert_eq!(read(&format!("savepoint {}", "x".repeat(80))), ["x".repeat(63)]);
        assert!(read("select 1").is_empty());
    }
}
