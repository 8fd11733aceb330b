//! What the backends of one pool may have compiled: functions in procedural languages stay compiled for as long as their
//! connection lives (manual: "PL/pgSQL under the Hood", Plan Caching), whoever has it, and with the types of then.

use std::sync::atomic::{AtomicU8, Ordering};

const SOME: u8 = 1;
const BY_COLUMNS: u8 = 2;

/// Shared by the sessions of a pool, of whichever configuration, and those who end its backends.
#[derive(Debug, Default)]
pub struct Compiled(AtomicU8);

impl Compiled {
    /// A function whose body says this has run, or will.
    pub fn note(&self, body: &[u8]) {
        self.0.fetch_or(if declares_by_column(body) { SOME | BY_COLUMNS } else { SOME }, Ordering::Relaxed);
    }

    /// Functions may run that nobody reads.
    pub fn note_anything(&self) {
        self.0.store(SOME | BY_COLUMNS, Ordering::Relaxed);
    }

    /// Whether a function of a user's has run.
    #[must_use]
    pub fn has_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) & SOME != 0
    }

    /// Whether one has run that has its types from the columns of tables, as `price orders.price%TYPE`.
    #[must_use]
    pub fn depends_on_columns(&self) -> bool {
        self.0.load(Ordering::Relaxed) & BY_COLUMNS != 0
    }
}

/// Whether `%TYPE` or `%ROWTYPE` stands in it.
fn declares_by_column(body: &[u8]) -> bool {
    let begins =
        |text: &[u8], word: &[u8]| text.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
    memchr::memchr_iter(b'%', body).any(|at| {
        let after = body.get(at + 1..).unwrap_or_default().trim_ascii_start();
        begins(after, b"type") || begins(after, b"rowtype")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_are_those_of_columns_are_found_however_they_are_written() {
        for body in ["declare v t.c%TYPE;", "declare v t.c % \n type := 1;", "declare r t%Rowtype;"] {
            assert!(declares_by_column(body.as_bytes()), "{body}");
        }
        for body in ["declare v int := 7 % 3;", "select format('%s type', 1)", "100%"] {
            assert!(!declares_by_column(body.as_bytes()), "{body}");
        }
    }
}
