//! Names of savepoints and cursors, which a driver or a framework counts up: `s140224_x17`, `_django_curs_140224_3`.

use super::{Folding, Literal, Writer};
use crate::sql::hash::{head, known};
use crate::sql::keywords;
use crate::sql::lexer::{Token, TokenKind};

/// `FETCH BACKWARD - 5 FROM c`: no statement that ends in such a name has more tokens after its first.
const LONGEST: usize = 5;

const TO: u64 = known(b"to");

/// A name that is a mark.
#[derive(Debug, Clone, Copy)]
pub(super) struct Naming {
    /// Where it begins in the text.
    pub(super) at: usize,
    pub(super) of: Literal,
}

impl<W: Writer> Folding<'_, W> {
    /// The name in a statement whose first word, just read, has this [`head`] and length.
    #[inline]
    pub(super) fn find_name(&self, first: u64, length: usize) -> Option<Naming> {
        const CLOSE: u64 = known(b"close");
        const DECLARE: u64 = known(b"declare");
        const FETCH: u64 = known(b"fetch");
        const MOVE: u64 = known(b"move");
        const RELEASE: u64 = known(b"release");
        const ROLLBACK: u64 = known(b"rollback");
        const SAVEPOIN: u64 = known(b"savepoint");
        let (at, of) = match (length, first) {
            (7, DECLARE) => (self.next_name(), Literal::Cursor),
            (5, CLOSE | FETCH) | (4, MOVE) => (self.last_name(false), Literal::Cursor),
            (7, RELEASE) | (9, SAVEPOIN) => (self.last_name(false), Literal::Savepoint),
            (8, ROLLBACK) => (self.last_name(true), Literal::Savepoint),
            _ => return None,
        };
        Some(Naming { at: at?, of })
    }

    fn next_name(&self) -> Option<usize> {
        let mut ahead = self.lexer;
        ahead.next().filter(|token| self.may_be_name(*token)).map(|token| token.start)
    }

    /// The token before the end of the statement, if TO stands before it or need not.
    fn last_name(&self, after_to: bool) -> Option<usize> {
        let mut ahead = self.lexer;
        let (mut last, mut allowed) = (None, !after_to);
        for _ in 0..=LONGEST {
            let Some(token) = ahead.next().filter(|token| token.kind != TokenKind::Semicolon) else {
                return last.filter(|token| allowed && self.may_be_name(*token)).map(|token: Token| token.start);
            };
            allowed |= last.is_some_and(|last: Token| head(last.of(self.text)) == TO);
            last = Some(token);
        }
        None
    }

    fn may_be_name(&self, token: Token) -> bool {
        match token.kind {
            TokenKind::Word => {
                let word = token.of(self.text);
                !keywords::is_reserved(head(word), word)
            }
            // A place stands for a name in what was normalised before.
            TokenKind::Name | TokenKind::UnicodeName | TokenKind::Parameter => true,
            _ => false,
        }
    }
}
