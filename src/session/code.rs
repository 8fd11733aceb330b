//! What code in SQL or PL/pgSQL may do: bodies of functions and of DO, definitions of views.

use super::functions::{Callee, cut, extend};
use crate::sql::{Effects, Lexer, Lexing, Quoting, Tables, TokenKind, strings, tables, words};

/// Strings within strings that are read as code; what stands further inside may do anything.
const DEPTH: usize = 4;

/// Languages, by the beginning of their names, and what stands in each body that runs SQL.
const REACHES: [(&str, &str); 4] = [("plperl", "spi_"), ("plpython", "plpy"), ("pltcl", "spi_"), ("plv8", "plv8")];

/// What code in SQL or PL/pgSQL does by itself, and what runs with it.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) effects: Effects,
    pub(super) callees: Vec<Callee>,
    /// What is known of functions and of what calls them is not true any more once it has run.
    pub(super) redefines: bool,
}

impl Code {
    /// Reads a body, and its strings where it may run them.
    pub(super) fn of_body(body: &[u8]) -> Self {
        Self::read(body, &Lexing::default())
    }

    /// The same of a client's text.
    pub(super) fn read(text: &[u8], lexing: &Lexing) -> Self {
        Self::read_within(text, lexing, DEPTH)
    }

    /// What a body in another language may do, whose name stands before it; `None` where it has no way to run SQL. It is
    /// not known what is a string there: all of it is read as if it were code.
    pub(super) fn foreign(said: &[u8]) -> Option<Self> {
        let (language, body) = said.split_at(memchr::memchr(b' ', said).unwrap_or(said.len()));
        let known = REACHES.iter().find(|(known, _)| language.starts_with(known.as_bytes()));
        if known.is_some_and(|(_, word)| memchr::memmem::find(body, word.as_bytes()).is_none()) {
            return None;
        }
        let hides = |byte: u8| matches!(byte, b'\'' | b'"' | b'`' | b'$' | b'\\' | b'-' | b'/');
        let bare: Vec<u8> = body.iter().map(|byte| if hides(*byte) { b' ' } else { *byte }).collect();
        let mut code = Self::of_body(&bare);
        extend(&mut code.callees, [Callee::AllTables, Callee::Defines, Callee::Truncates]);
        Some(code)
    }

    fn read_within(text: &[u8], lexing: &Lexing, depth: usize) -> Self {
        let words = words(text, lexing);
        let Tables { written, read } = tables(text, lexing);
        let called = words.functions.iter().map(|name| Callee::function(name.as_bytes()));
        let ambiguous = words.ambiguous.iter().map(|name| Callee::ambiguous(name.as_bytes()));
        let writes = written.iter().map(|name| Callee::Triggers(cut(name.as_bytes())));
        let reads = read.iter().chain(&written).map(|name| Callee::Reads(cut(name.as_bytes())));
        let mut code = Self {
            effects: words.effects,
            callees: called.chain(ambiguous).chain(writes).chain(reads).collect(),
            redefines: words.redefines,
        };
        let mut more = vec![Callee::Operators];
        more.extend(without_a_name(words.effects));
        if words.effects.any_of(Effects::EXECUTES | Effects::RUNS) {
            more.extend([Callee::AllTables, Callee::Defines]);
            for string in strings(text, lexing) {
                let Some(depth) = depth.checked_sub(1) else {
                    code.effects |= Effects::ANYTHING;
                    break;
                };
                let Self { effects, callees, redefines } = Self::read_within(&string, &Lexing::default(), depth);
                code.effects |= effects;
                code.redefines |= redefines;
                more.extend(callees);
            }
        }
        extend(&mut code.callees, more);
        code
    }
}

/// What runs without a name with whatever has these effects.
pub(super) fn without_a_name(effects: Effects) -> impl Iterator<Item = Callee> {
    let all = [(Effects::DEFINES, Callee::Defines), (Effects::TRUNCATES, Callee::Truncates)];
    all.into_iter().filter(move |(effect, _)| effects.any_of(*effect)).map(|(_, callee)| callee)
}

/// The body in what `pg_get_functiondef` gives: its head has words that would be commands in a body. That of a
/// function in C is none.
pub(super) fn body_of(definition: &[u8]) -> &[u8] {
    let mut tokens = Lexer::new(definition, Lexing::default());
    while let Some(token) = tokens.next() {
        // Other lines of the head begin with a blank.
        let begins = token.start.checked_sub(1).is_some_and(|before| definition.get(before) == Some(&b'\n'));
        match token.of(definition) {
            b"AS" if begins => {
                let quoted = tokens.next().filter(|token| token.kind == TokenKind::Text(Quoting::Dollar));
                return quoted.map(|quoted| without_quotes(quoted.of(definition))).unwrap_or_default();
            }
            b"BEGIN" | b"RETURN" if begins => return definition.get(token.start..).unwrap_or_default(),
            _ => {}
        }
    }
    &[]
}

/// What stands between dollar quotes.
fn without_quotes(quoted: &[u8]) -> &[u8] {
    let tag = quoted.iter().skip(1).position(|byte| *byte == b'$').map_or(0, |end| end + 2);
    quoted.get(tag..quoted.len().saturating_sub(tag)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_in_strings_are_read_as_code_and_however_deep_they_are_that_comes_to_an_end() {
        let nested = |depth: usize| {
            (0..depth)
                .rev()
                .fold("select own()".to_owned(), |inner, tag| format!("begin execute $t{tag}${inner}$t{tag}$; end"))
        };
        let own = Callee::function(b"own");
        for depth in 0..=DEPTH {
            assert!(Code::of_body(nested(depth).as_bytes()).callees.contains(&own), "{depth}");
        }
        let deep = Code::of_body(nested(5000).as_bytes());
        assert!(deep.effects.any_of(Effects::LEAVES) && !deep.callees.contains(&own));
    }

    #[test]
    fn a_body_in_another_language_may_do_anything_if_it_can_run_sql() {
        for body in ["plpython3u return x", "plperlu my $x = 'plpy'; $x", "pltcl return $1"] {
            assert!(Code::foreign(body.as_bytes()).is_none(), "{body}");
        }
        let calls = |body: &str, callee| Code::foreign(body.as_bytes()).unwrap().callees.contains(&callee);
        assert!(calls("plpython3u plpy.execute(\"select own()\")", Callee::function(b"own")));
        assert!(calls("plperl spi_query('select 1 -- x\nfrom v')", Callee::Reads(cut(b"v"))));
        assert!(calls("unheard-of begin end", Callee::AllTables));
    }

    #[test]
    fn every_form_of_a_definition_has_its_body() {
        let head = "CREATE OR REPLACE FUNCTION public.f(a text DEFAULT '\nAS $x$\nRETURN '::text)\n LANGUAGE sql\n";
        for (tail, body) in [
            ("AS $function$ select g() $function$\n", " select g() "),
            ("BEGIN ATOMIC\n SELECT g();\nEND\n", "BEGIN ATOMIC\n SELECT g();\nEND\n"),
            ("RETURN g()\n", "RETURN g()\n"),
            ("AS '$libdir/x', $function$g$function$\n", ""),
        ] {
            assert_eq!(body_of(format!("{head}{tail}").as_bytes()), body.as_bytes());
        }
    }
}
