//! What code in SQL or PL/pgSQL may do: bodies of functions and of DO, definitions of views.

use super::functions::{Callee, extend};
use crate::sql::{Effects, Lexing, Tables, strings, tables, words};

/// What code in SQL or PL/pgSQL does by itself, and what runs with it.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) effects: Effects,
    pub(super) callees: Vec<Callee>,
}

impl Code {
    /// Reads a body, and its strings where it may run them.
    pub(super) fn read(body: &[u8]) -> Self {
        let lexing = Lexing::default();
        let words = words(body, &lexing);
        let Tables { written, read } = tables(body, &lexing);
        let called = words.functions.iter().map(|name| Callee::function(name.as_bytes()));
        let writes = written.iter().map(|name| Callee::triggers(name.as_bytes()));
        let reads = read.iter().chain(&written).map(|name| Callee::reads(name.as_bytes()));
        let mut code = Self { effects: words.effects, callees: called.chain(writes).chain(reads).collect() };
        extend(&mut code.callees, [Callee::Operators]);
        if words.effects.any_of(Effects::EXECUTES) {
            extend(&mut code.callees, [Callee::AllTables]);
            for string in strings(body, &lexing) {
                let Self { effects, callees } = Self::read(&string);
                code.effects |= effects;
                extend(&mut code.callees, callees);
            }
        }
        code
    }
}

/// The body in what `pg_get_functiondef` gives: its head has words that would be commands in a body. That of a
/// function in C is none.
pub(super) fn body_of(definition: &[u8]) -> &[u8] {
    let starts: [&[u8]; 3] = [b"\nAS $", b"\nBEGIN ATOMIC", b"\n RETURN "];
    let at = starts.iter().filter_map(|start| memchr::memmem::find(definition, start)).min();
    let body = definition.get(at.unwrap_or(definition.len())..).unwrap_or_default();
    // What stands between dollar quotes would be skipped as a string.
    let Some(quoted) = body.strip_prefix(b"\nAS $") else { return body };
    let Some(end) = memchr::memchr(b'$', quoted) else { return body };
    let tag = quoted.get(..=end).unwrap_or_default();
    let inside = quoted.get(end + 1..).unwrap_or_default();
    let closing = [b"$", tag].concat();
    inside.get(..memchr::memmem::rfind(inside, &closing).unwrap_or(inside.len())).unwrap_or(inside)
}
