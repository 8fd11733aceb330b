//! What the backends of one pool may have compiled: functions in procedural languages stay compiled for as long as their
//! connection lives (manual: "PL/pgSQL under the Hood", Plan Caching), whoever has it, and with the types of then.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::FixedState;
use parking_lot::Mutex;

/// Names that are told apart; where there are more, any may be among them.
const MOST: usize = 10_000;

/// Shared by the sessions of a pool, of whichever configuration, and those who end its backends.
#[derive(Debug, Default)]
pub struct Compiled {
    any: AtomicBool,
    /// Hashes of names by which types may be meant that a relation has made: its columns', or an array of its rows.
    by_relation: Mutex<HashSet<u64>>,
}

impl Compiled {
    /// A function whose body says this has run, or will.
    pub fn note(&self, body: &[u8]) {
        self.any.store(true, Ordering::Relaxed);
        let mut names = typed_by_relation(body).peekable();
        if names.peek().is_none() {
            return;
        }
        let mut known = self.by_relation.lock();
        for name in names {
            if known.len() < MOST {
                known.insert(hash(&name));
            }
        }
    }

    /// Functions may run that nobody reads.
    pub fn note_unread(&self) {
        self.any.store(true, Ordering::Relaxed);
    }

    /// Whether a function of a user's has run.
    #[must_use]
    pub fn has_any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Whether one has run that may have types of this relation, without a schema, as `price orders.price%TYPE`.
    #[must_use]
    pub fn may_depend_on(&self, relation: &str) -> bool {
        let known = self.by_relation.lock();
        known.len() >= MOST || known.contains(&hash(relation.as_bytes()))
    }
}

fn hash(name: &[u8]) -> u64 {
    FixedState::with_seed(0).hash_one(name)
}

/// All parts of the names before `%TYPE`, `%ROWTYPE` and brackets, as PostgreSQL folds them; others, too, that stand so.
fn typed_by_relation(body: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let begins =
        |text: &[u8], word: &[u8]| text.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
    let is_typed = move |at: usize| {
        let after = body.get(at + 1..).unwrap_or_default().trim_ascii_start();
        body.get(at) == Some(&b'[') || begins(after, b"type") || begins(after, b"rowtype")
    };
    let ends = memchr::memchr2_iter(b'%', b'[', body).filter(move |at| is_typed(*at));
    ends.flat_map(|at| parts_before(body.get(..at).unwrap_or_default()))
}

/// The parts of the qualified name at the end of a text, from the last one on.
fn parts_before(mut text: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    loop {
        text = text.trim_ascii_end();
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..);
        let part = if let Some(quoted) = text.strip_suffix(b"\"") {
            let Some(open) = memchr::memrchr(b'"', quoted) else { return parts };
            text = quoted.get(..open).unwrap_or_default();
            quoted.get(open + 1..).unwrap_or_default().to_vec()
        } else {
            let letters = text.iter().rev().take_while(|byte| is_letter(byte)).count();
            let (before, part) = text.split_at(text.len() - letters);
            text = before;
            part.to_ascii_lowercase()
        };
        if part.is_empty() {
            return parts;
        }
        parts.push(part);
        match text.trim_ascii_end().strip_suffix(b".") {
            Some(before) => text = before,
            None => return parts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_a_relation_has_made_are_found_however_they_are_written() {
        for body in [
            "declare v t.c%TYPE;",
            "declare v s . T . c % \n type := 1;",
            "declare r t%Rowtype;",
            "declare v \"t\".\"C\"%type",
            "declare a t[];",
            "declare a t [ 3 ] := '{}'",
        ] {
            let compiled = Compiled::default();
            compiled.note(body.as_bytes());
            assert!(compiled.may_depend_on("t"), "{body}");
            assert!(!compiled.may_depend_on("declare"), "{body}");
        }
        for body in
            ["declare v int := t % 3; r t;", "select format('%s type', t)", "t 100%", "%type", "\"%type", ".%type"]
        {
            let compiled = Compiled::default();
            compiled.note(body.as_bytes());
            assert!(compiled.has_any() && !compiled.may_depend_on("t"), "{body}");
        }
    }

    #[test]
    fn where_there_are_too_many_names_any_may_be_among_them() {
        let compiled = Compiled::default();
        let bodies: Vec<String> = (0..MOST + 5).map(|n| format!("v t{n}.c%type")).collect();
        for body in &bodies {
            compiled.note(body.as_bytes());
        }
        assert!(compiled.may_depend_on("another"));
    }
}
