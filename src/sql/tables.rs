//! The tables that a body reads and writes.

use std::collections::HashSet;

use super::identifiers::name_of;
use super::lexer::{Lexer, Lexing, Token, TokenKind};

/// Names without their schemas, each once for each kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// What follows INSERT INTO, MERGE INTO, UPDATE and DELETE FROM.
    pub written: Vec<String>,
    /// What follows FROM, JOIN, USING and TABLE, or a comma after these.
    pub read: Vec<String>,
}

/// Reads a body in SQL or PL/pgSQL. Words that only look like these name tables that do not exist.
#[must_use]
pub fn tables(text: &[u8], lexing: &Lexing) -> Tables {
    let body = Body { text, tokens: Lexer::new(text, *lexing).collect() };
    let mut tables = Tables::default();
    // For each bracket that is open, whether a comma in it stands between tables.
    let mut listing = vec![false];
    for at in 0..body.tokens.len() {
        if let Some(name) = body.written(at).and_then(|target| body.name(target).map(|(name, _)| name)) {
            tables.written.push(name);
        }
        if let Some((name, after)) = body.read(at, &mut listing).and_then(|source| body.name(source))
            // A function.
            && body.kind(after) != Some(TokenKind::Open)
        {
            tables.read.push(name);
        }
    }
    for names in [&mut tables.written, &mut tables.read] {
        let mut met = HashSet::new();
        names.retain(|name| met.insert(name.clone()));
    }
    tables
}

struct Body<'a> {
    text: &'a [u8],
    tokens: Vec<Token>,
}

impl Body<'_> {
    fn kind(&self, at: usize) -> Option<TokenKind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    fn is(&self, at: usize, words: &[&str]) -> bool {
        let word = self.tokens.get(at).filter(|token| token.kind == TokenKind::Word).map(|token| token.of(self.text));
        word.is_some_and(|word| words.iter().any(|wanted| word.eq_ignore_ascii_case(wanted.as_bytes())))
    }

    /// Where the name of what is written stands, if the token begins a statement that writes.
    fn written(&self, at: usize) -> Option<usize> {
        match () {
            () if self.is(at, &["insert", "merge"]) && self.is(at + 1, &["into"]) => Some(at + 2),
            () if self.is(at, &["delete"]) && self.is(at + 1, &["from"]) => Some(at + 2),
            () if self.is(at, &["update"]) => Some(at + 1),
            () => None,
        }
    }

    /// Where the name of what is read stands, if the token announces one.
    fn read(&self, at: usize, listing: &mut Vec<bool>) -> Option<usize> {
        match self.kind(at)? {
            TokenKind::Open => listing.push(false),
            TokenKind::Close => drop(listing.pop()),
            TokenKind::Semicolon => {
                listing.clear();
                listing.push(false);
            }
            TokenKind::Comma => return (listing.last() == Some(&true)).then_some(at + 1),
            TokenKind::Word if self.is(at, &["from", "using", "join", "table"]) => {
                if let Some(lists) = listing.last_mut() {
                    *lists = true;
                }
                return (!self.is(at.wrapping_sub(1), &["delete"])).then_some(at + 1);
            }
            TokenKind::Word if self.is(at, &["where", "group", "order", "limit", "returning", "select", "set"]) => {
                if let Some(lists) = listing.last_mut() {
                    *lists = false;
                }
            }
            _ => {}
        }
        None
    }

    /// The name that begins here, and where what follows it stands.
    fn name(&self, mut at: usize) -> Option<(String, usize)> {
        while self.is(at, &["only", "lateral"]) {
            at += 1;
        }
        loop {
            let following = self.tokens.get(at + 1..).unwrap_or_default();
            let (name, more) = name_of(self.text, *self.tokens.get(at)?, following.iter().copied())?;
            at += more + 1;
            if self.kind(at) != Some(TokenKind::Dot) {
                return Some((name, at));
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_writes_is_found_whatever_the_statement() {
        let body = b"begin if x then insert into a values (1); end if; update only s.\"B b\" set n = 1; \
            with gone as (delete from s.c returning n) select n into v from gone; merge into d using e on true \
            when matched then do nothing; insert into s.h(n) values (1); perform 'insert into f'; select 1 from g; end";
        assert_eq!(tables(body, &Lexing::default()).written, ["a", "B b", "c", "d", "h"]);
        for text in [&b"update"[..], b"insert into", b"delete from only", b"update s.", b")),", b"from"] {
            let found = tables(text, &Lexing::default());
            assert!(found.written.is_empty() && found.read.is_empty(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn what_a_body_reads_is_found_behind_from_and_join() {
        let body = b"select f(a, b), (select max(n) from s.one, only two t where x in (1, 2)) from three as x, \
            lateral (select n from four, five) y join \"Six\" using (n, m) left join seven s on s.n = x.n, eight \
            where a = b order by g, h; delete from nine using ten; table eleven; select * from calls(1), made; \
            for r in select 1, n from twelve loop return next r, s; end loop;";
        let names =
            ["one", "two", "three", "four", "five", "Six", "seven", "eight", "ten", "eleven", "made", "twelve", "s"];
        assert_eq!(tables(body, &Lexing::default()).read, names);
    }
}
