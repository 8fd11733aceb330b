//! What a text may do to its session, by its words alone: for texts that are not parsed, for bodies of functions, and
//! to tell which texts must be parsed before they run.
//!
//! A word that only looks like an effect costs a little; one that is missed would leak.

use std::collections::BTreeSet;

use super::built_in::is_built_in;
use super::functions::effects_of;
use crate::sql::effects::Effects;
use crate::sql::identifiers::{dotted, name_of};
use crate::sql::keywords;
use crate::sql::lexer::{Lexer, Lexing, Token, TokenKind};

/// What is found by words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    pub effects: Effects,
    /// Names before a bracket that are no function of PostgreSQL's own, as traits have them. Keywords that may be names
    /// are among them, but no reason to parse a text.
    pub functions: BTreeSet<String>,
    /// Names that may be those of a user's functions or of something else: of PostgreSQL's own functions, of fields, of
    /// what stands before a bracket and is probably no function.
    pub ambiguous: BTreeSet<String>,
    /// A function, or something that calls functions without being named, is made, replaced, altered or dropped.
    pub redefines: bool,
}

/// Reads the words of a text of any number of statements, or of a body in SQL or PL/pgSQL, where statements also begin
/// after BEGIN, THEN, ELSE and LOOP. Strings and comments tell nothing.
pub(in crate::sql) fn read(text: &[u8], lexing: &Lexing) -> Words {
    let mut reader = Reader { text, found: Words::default(), before: Before::Statement, schema: None };
    let mut lexer = Lexer::new(text, *lexing);
    while let Some(token) = lexer.next() {
        reader.token(token, lexer);
    }
    reader.found
}

/// No more names are kept than these; a text that calls more may do anything.
const MOST_FUNCTIONS: usize = 256;
/// Nor more of these, of which each field of a row is one.
const MOST_AMBIGUOUS: usize = 1024;

/// Words of PL/pgSQL, none of SQL, that may stand before a bracket.
const PROCEDURAL: [&str; 9] = ["assert", "elseif", "elsif", "exit", "foreach", "open", "perform", "raise", "while"];

/// What stands before a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing of the same statement.
    Statement,
    /// CREATE, REPLACE, INTO, LOCAL, GLOBAL: TEMPORARY may follow.
    Creation,
    /// A word after which a name before a bracket is no function: INTO, TABLE, AS.
    Named,
    With,
    Update,
    /// A name, which a dot may follow.
    Name,
    Dot,
    /// A dot behind what is no name: the field of a value follows, or a number.
    Field,
    Other,
}

struct Reader<'a> {
    text: &'a [u8],
    found: Words,
    before: Before,
    /// The name before a dot.
    schema: Option<Token>,
}

impl Reader<'_> {
    fn token(&mut self, token: Token, rest: Lexer<'_>) {
        self.before = match token.kind {
            TokenKind::Word => self.word(token, rest),
            TokenKind::Name | TokenKind::UnicodeName => {
                self.name(token, rest);
                self.schema = Some(token);
                Before::Name
            }
            TokenKind::Dot if self.before == Before::Name => Before::Dot,
            TokenKind::Dot => Before::Field,
            TokenKind::Semicolon => Before::Statement,
            _ => Before::Other,
        };
    }

    fn word(&mut self, token: Token, mut rest: Lexer<'_>) -> Before {
        let word = String::from_utf8_lossy(token.of(self.text)).to_ascii_lowercase();
        self.name(token, rest);
        self.schema = Some(token);
        let effects = self.found.effects | self.anywhere(&word);
        self.found.effects = effects;
        if self.before == Before::Statement {
            self.found.redefines |= self.redefines(&word, rest);
            let next = [self.next_word(&mut rest), self.next_word(&mut rest)];
            self.found.effects |= begins(&word, &[next[0].as_str(), next[1].as_str()]);
        }
        match word.as_str() {
            "create" | "replace" | "local" | "global" => Before::Creation,
            "into" => Before::Creation,
            "table" | "as" | "references" | "view" | "index" | "only" => Before::Named,
            "with" => Before::With,
            "update" => Before::Update,
            "begin" | "then" | "else" | "loop" | "atomic" => Before::Statement,
            _ => Before::Name,
        }
    }

    /// Whether a statement that begins with this word changes what is called. Tables and the like come and go in functions
    /// without that, as long as nothing is called for them: what is known of others stays true.
    fn redefines(&self, word: &str, mut rest: Lexer<'_>) -> bool {
        if !matches!(word, "alter" | "create" | "drop") {
            return false;
        }
        let mut next = self.next_word(&mut rest);
        let mut temporary = false;
        while matches!(
            next.as_str(),
            "or" | "replace" | "temp" | "temporary" | "local" | "global" | "unlogged" | "unique"
        ) {
            temporary |= next.starts_with("temp");
            next = self.next_word(&mut rest);
        }
        match (word, next.as_str()) {
            ("create", "table") => !temporary && self.calls_when_written(rest),
            ("drop", "table" | "index") => false,
            (_, "sequence" | "schema" | "role" | "user" | "database" | "tablespace" | "statistics") => false,
            _ => true,
        }
    }

    /// Whether a new table may have something that runs when it is written.
    fn calls_when_written(&self, rest: Lexer<'_>) -> bool {
        let statement = rest.take_while(|token| token.kind != TokenKind::Semicolon);
        let mut words = statement.map(|token| token.of(self.text));
        words.any(|word| [&b"check"[..], b"default", b"like"].iter().any(|other| word.eq_ignore_ascii_case(other)))
    }

    fn next_word(&self, rest: &mut Lexer<'_>) -> String {
        let word = rest.next().map(|token| token.of(self.text)).unwrap_or_default();
        String::from_utf8_lossy(word).to_ascii_lowercase()
    }

    /// What a word means wherever it stands.
    fn anywhere(&self, word: &str) -> Effects {
        match (word, self.before) {
            ("temp" | "temporary", Before::Creation) => Effects::TEMPORARY,
            ("hold", Before::With) => Effects::HELD_CURSOR,
            ("execute", _) => Effects::EXECUTES,
            ("insert" | "merge" | "default", _) => Effects::DRAWS,
            _ => Effects::NONE,
        }
    }

    /// What a name of PostgreSQL's own means, in quotes or without.
    fn known(&self, name: &str, may_be_schema: bool) -> Effects {
        match (name, self.before) {
            ("pg_settings", Before::Update) => Effects::SETTINGS | Effects::ROLE,
            ("pg_prepared_statements", _) => Effects::READS_PREPARED,
            ("pg_temp", _) if may_be_schema => Effects::TEMPORARY,
            _ if may_be_schema && name.starts_with("pg_temp_") => Effects::TEMPORARY,
            _ => Effects::NONE,
        }
    }

    /// What a name means, which may be that of a function.
    fn name(&mut self, token: Token, mut rest: Lexer<'_>) {
        let quoted = token.kind != TokenKind::Word;
        let Some((name, more)) = name_of(self.text, token, rest) else { return };
        let schema = self.schema.filter(|_| self.before == Before::Dot);
        let schema = schema.and_then(|schema| name_of(self.text, schema, std::iter::empty())).map(|(name, _)| name);
        let is_own = schema.as_deref().is_none_or(|schema| schema == "pg_catalog");
        let next = rest.nth(more).map(|next| next.kind);
        self.found.effects |= self.known(&name, !quoted || next == Some(TokenKind::Dot));
        if let Some(effects) = effects_of(&name).filter(|_| is_own) {
            self.found.ambiguous.insert(name.clone());
            let sets = if name == "set_config" { Effects::ROLE } else { Effects::NONE };
            self.found.effects |= effects | sets;
            return;
        }
        let bracketed = next == Some(TokenKind::Open);
        let is_word = keywords::is_keyword(name.as_bytes()) || PROCEDURAL.contains(&&*name);
        let called = bracketed
            && !matches!(self.before, Before::Named | Before::With | Before::Creation | Before::Update)
            && !(is_own && is_built_in(&name));
        if !called {
            // What follows a dot may be called for what stands before it.
            let is_field = matches!(self.before, Before::Dot | Before::Field);
            let may_be_called = quoted || !is_word || keywords::may_name_function(name.as_bytes());
            if self.found.ambiguous.len() >= MOST_AMBIGUOUS {
                self.found.effects |= Effects::ANYTHING;
            } else if is_field || (bracketed && may_be_called) {
                self.found.ambiguous.insert(name);
            }
        } else {
            if quoted || schema.is_some() || !is_word {
                self.found.effects |= Effects::CALLS;
            } else if !keywords::may_name_function(name.as_bytes()) {
                return;
            }
            if self.found.functions.len() >= MOST_FUNCTIONS {
                self.found.effects |= Effects::ANYTHING;
                return;
            }
            self.found.functions.insert(dotted(schema.iter().chain([&name]).map(String::as_str)));
        }
    }
}

/// What a statement does that begins with this word and goes on with these two.
fn begins(word: &str, next: &[&str; 2]) -> Effects {
    let concerns_role = next.iter().any(|word| matches!(*word, "role" | "authorization" | "session_authorization"));
    match word {
        "set" if matches!(next[0], "local" | "transaction" | "constraints") => Effects::NONE,
        "set" | "reset" if concerns_role => Effects::ROLE,
        "set" | "reset" => Effects::SETTINGS,
        "listen" => Effects::LISTENS,
        "unlisten" => Effects::UNLISTENS,
        "notify" => Effects::NOTIFIES,
        "prepare" if next[0] == "transaction" => Effects::TRANSACTION,
        "prepare" => Effects::PREPARES,
        "deallocate" => Effects::DEALLOCATES,
        "discard" => Effects::DISCARDS,
        "load" => Effects::LOADS,
        "close" => Effects::CLOSES_CURSOR,
        "drop" => Effects::DROPS | Effects::DEFINES,
        "call" => Effects::CALLS,
        "do" => Effects::CALLS | Effects::RUNS,
        "create" | "alter" if next[0] == "extension" => Effects::CALLS | Effects::RUNS | Effects::DEFINES,
        "alter" => Effects::DRAWS | Effects::DEFINES,
        "reindex" => Effects::DEFINES | Effects::CALLS | Effects::RUNS,
        "vacuum" | "analyze" | "analyse" | "cluster" => Effects::CALLS | Effects::RUNS,
        "create" | "grant" | "revoke" | "comment" | "refresh" | "reassign" | "import" | "security" => Effects::DEFINES,
        "truncate" => Effects::TRUNCATES,
        "copy" => Effects::DRAWS,
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => Effects::TRANSACTION,
        _ => Effects::NONE,
    }
}
