//! Learns a pattern from a text: parses it with libpg_query once, and where that can't be, reads its words.
//!
//! libpg_query is C inside the process. What it gets is bounded in length and depth, runs on a stack of its own where
//! it is long, and holds no literal (`parsable`). The way: `tree` makes one general tree of the parser's many types,
//! `survey` walks it once, asking `statement`, `command` and `functions` what a node means; `words` needs no tree.

mod built_in;
mod command;
pub(super) mod conditions;
pub(super) mod functions;
mod outdates;
mod statement;
mod survey;
mod tree;
pub(super) mod words;

use std::ops::Range;

use super::digest::Digest;
use super::effects::Effects;
use super::folding::fold;
use super::lexer::{Lexer, Lexing, TokenKind};
use super::normalised::{Trust, shown};
use super::parsable::Parsable;
use super::pattern::{Note, Pattern, Traits};
use survey::Survey;
use tree::Tree;
use words::Words;

/// A longer text never reaches the parser. It is the folded text that counts: a list of a million literals is short.
const LONGEST: usize = 64 << 10;

/// Nor does one with more brackets within brackets.
const DEEPEST: u32 = 500;

/// What is longer than this may nest so deep, also without brackets, that it is parsed on a stack of its own.
const SHALLOW: usize = 2 << 10;

/// That stack. libpg_query takes no more than 2 MB of it, but for what it does not measure.
const STACK: usize = 16 << 20;

/// Learns the pattern of a text.
pub(super) fn pattern(digest: Digest, text: &[u8], lexing: &Lexing) -> Pattern {
    let folded = fold(text, *lexing, 0, Parsable::new(text, LONGEST));
    let may_be_parsed = folded.deepest <= DEEPEST && !folded.unclosed;
    let parsable = folded.writer.into_text().filter(|_| may_be_parsed);
    let learnt = parsable.and_then(|parsable| with_room(parsable.len(), || parsed(text, &parsable)));
    let Learnt { traits, fingerprint, is_sql } = learnt.unwrap_or_else(|| by_words(text, lexing));
    let trust = if is_sql { Trust::Text } else { Trust::Keywords };
    let normalised = shown(text, lexing, Pattern::SHOWN, trust).into();
    Pattern { digest, fingerprint, normalised, traits, parts: Box::default(), note: Note::default() }
}

struct Learnt {
    traits: Traits,
    fingerprint: Option<Box<str>>,
    /// All of it has parsed.
    is_sql: bool,
}

/// Calls libpg_query with as much stack as a text of this length may need; `None` if there is none to be had.
fn with_room<T: Send>(length: usize, work: impl FnOnce() -> T + Send) -> Option<T> {
    if length <= SHALLOW {
        return Some(work());
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("parser".to_owned()).stack_size(STACK);
        thread.spawn_scoped(scope, work).ok()?.join().ok()
    })
}

/// Learns from a text that the parser may have, whole if it parses whole.
fn parsed(text: &[u8], parsable: &str) -> Learnt {
    let mut survey = Survey::default();
    let is_sql = match parse(parsable) {
        Parsed::Trees(trees) => {
            survey_trees(&mut survey, &trees);
            return Learnt { traits: survey.traits(), fingerprint: fingerprint(text, parsable), is_sql: true };
        }
        Parsed::TooDeep => true,
        Parsed::No => false,
    };
    let pieces = statements(parsable.as_bytes(), &Lexing::default()).filter_map(|piece| parsable.get(piece));
    let pieces: Vec<(&str, Parsed)> = pieces.map(|piece| (piece, parse(piece))).collect();
    for (piece, parsed) in &pieces {
        match parsed {
            Parsed::Trees(trees) => survey_trees(&mut survey, trees),
            Parsed::TooDeep => survey_deep(&mut survey, piece),
            Parsed::No => survey.unparsed(all_words(piece.as_bytes(), &Lexing::default())),
        }
    }
    let fingerprint = if is_sql { fingerprint(text, parsable) } else { None };
    Learnt { traits: survey.traits(), fingerprint, is_sql }
}

fn by_words(text: &[u8], lexing: &Lexing) -> Learnt {
    let mut survey = Survey::default();
    let count = statements(text, lexing).count();
    if count > 0 {
        survey.unparsed(all_words(text, lexing));
    }
    for _ in 1..count {
        survey.unparsed(Words::default());
    }
    Learnt { traits: survey.traits(), fingerprint: None, is_sql: false }
}

/// Every word may mean what it looks like, and whatever looks like something may be anything.
fn all_words(text: &[u8], lexing: &Lexing) -> Words {
    let mut found = words::read(text, lexing);
    if !found.effects.is_empty() {
        found.effects |= Effects::ANYTHING;
    }
    found
}

fn survey_trees<'a>(survey: &mut Survey<'a>, trees: &'a [Tree]) {
    for node in trees.iter().filter_map(Tree::node) {
        survey.statement(node);
    }
}

/// The statement parses, but its tree is too deep to be taken over; libpg_query's own summary of it tells the tables,
/// and its words the rest.
fn survey_deep(survey: &mut Survey<'_>, text: &str) {
    match pg_query::summary(text, 0, -1) {
        Ok(summary) => survey.summary(&summary, words::read(text.as_bytes(), &Lexing::default())),
        Err(_) => survey.unparsed(all_words(text.as_bytes(), &Lexing::default())),
    }
}

/// What stands between the semicolons of a text: the first and the last byte of each statement.
pub(in crate::sql) fn statements<'a>(text: &'a [u8], lexing: &Lexing) -> impl Iterator<Item = Range<usize>> + use<'a> {
    let mut tokens = Lexer::new(text, *lexing);
    std::iter::from_fn(move || {
        let mut statement: Option<Range<usize>> = None;
        let mut depth = 0_u32;
        for token in tokens.by_ref() {
            match token.kind {
                TokenKind::Semicolon if depth == 0 && statement.is_none() => continue,
                TokenKind::Semicolon if depth == 0 => break,
                TokenKind::Open => depth += 1,
                TokenKind::Close => depth = depth.saturating_sub(1),
                _ => {}
            }
            statement.get_or_insert(token.start..token.end).end = token.end;
        }
        statement
    })
}

enum Parsed {
    /// The statements as trees.
    Trees(Vec<Tree>),
    /// It is SQL, in more levels than the parser's answer can be decoded.
    TooDeep,
    No,
}

fn parse(text: &str) -> Parsed {
    match pg_query::parse(text, 0) {
        Ok(parsed) => {
            let statements = parsed.protobuf.stmts.iter().filter_map(|raw| raw.stmt.as_ref());
            Parsed::Trees(statements.map(Tree::of).collect())
        }
        Err(pg_query::Error::Decode(_)) => Parsed::TooDeep,
        Err(_) => Parsed::No,
    }
}

/// libpg_query's fingerprint of the text as it was sent, so that it is the one that others show; where that may not
/// reach the parser, of what it was folded to.
fn fingerprint(text: &[u8], parsable: &str) -> Option<Box<str>> {
    let sent = std::str::from_utf8(text).ok().filter(|text| text.len() <= LONGEST);
    let fingerprint = pg_query::fingerprint(sent.unwrap_or(parsable), 0, 0).ok();
    let fingerprint = fingerprint.or_else(|| pg_query::fingerprint(parsable, 0, 0).ok())?;
    Some(fingerprint.hex.into())
}
