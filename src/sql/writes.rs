//! The tables that a body writes.

use super::lexer::{Lexer, Lexing, Token, TokenKind};

/// The names, without their schemas, that follow INSERT INTO, MERGE INTO, UPDATE and DELETE FROM. Words that only look
/// like these name tables that do not exist.
#[must_use]
pub fn tables_written(text: &[u8], lexing: &Lexing) -> Vec<String> {
    let tokens: Vec<Token> = Lexer::new(text, *lexing).collect();
    let word = |at: usize| tokens.get(at).filter(|token| token.kind == TokenKind::Word).map(|token| token.of(text));
    let is = |at: usize, wanted: &str| word(at).is_some_and(|word| word.eq_ignore_ascii_case(wanted.as_bytes()));
    let target = |at: usize| match () {
        () if (is(at, "insert") || is(at, "merge")) && is(at + 1, "into") => Some(at + 2),
        () if is(at, "delete") && is(at + 1, "from") => Some(at + 2),
        () if is(at, "update") => Some(at + 1),
        () => None,
    };
    let name = |mut at: usize| {
        at += usize::from(is(at, "only"));
        while tokens.get(at + 1).is_some_and(|token| token.kind == TokenKind::Dot) {
            at += 2;
        }
        let token = tokens.get(at)?;
        match token.kind {
            TokenKind::Word => Some(String::from_utf8_lossy(token.of(text)).to_ascii_lowercase()),
            TokenKind::Name => {
                let quoted = String::from_utf8_lossy(token.of(text)).into_owned();
                Some(quoted.trim_matches('"').replace("\"\"", "\""))
            }
            _ => None,
        }
    };
    (0..tokens.len()).filter_map(target).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_writes_is_found_whatever_the_statement() {
        let body = b"begin if x then insert into a values (1); end if; update only s.\"B b\" set n = 1; \
            with gone as (delete from s.c returning n) select n into v from gone; merge into d using e on true \
            when matched then do nothing; perform 'insert into f'; select 1 from g; end";
        assert_eq!(tables_written(body, &Lexing::default()), ["a", "B b", "c", "d"]);
        for text in [&b"update"[..], b"insert into", b"delete from only", b"update s."] {
            assert!(tables_written(text, &Lexing::default()).is_empty(), "{}", String::from_utf8_lossy(text));
        }
    }
}
