//! What the functions of a database may do to a session that calls them, as their bodies tell.
//!
//! PostgreSQL is asked for a body when a function is first called, in the same query that asks what it left behind;
//! from then on functions that leave nothing cost nothing. Views and policies call functions, too: what is read is
//! asked about in the same way, and a pattern of which nothing is to be feared says so itself. Functions and tables are
//! known by their name alone: where several have it, they count as one that may do what any of them does. Operators,
//! casts and domains may be at work without a name: those of a database count as one, and so do its event triggers.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

use super::code::{Code, body_of};
use super::telling::{Told, told_in};
use crate::prepared::Compiled;
use crate::sql::{
    Definitions, Effects, LONGEST_NAME, Lexing, Pattern, Unnamed, custom_names, last_part, spelled_names,
    unnamed_settings,
};

/// How long a body is believed at most: it may be replaced past pgweir. Beliefs all end at once, so that one number
/// tells whether what a pattern was found to be still holds.
const BELIEVED: Duration = Duration::from_secs(300);
/// Odd, so that no two counts are the same times this.
const SCATTERED: u64 = 0x9e37_79b9_7f4a_7c15;
/// A transaction that defines more relations than this makes old what is known of all.
const MOST_NAMED: usize = 64;
/// So many are looked for one by one in a list that they may be in.
const FEW: usize = 4;
/// Functions that call each other further than this may do anything.
const DEPTH: usize = 16;

/// The functions, written and read tables of one database that have been met.
#[derive(Debug)]
pub struct Functions {
    known: DashMap<Callee, Known, foldhash::fast::RandomState>,
    begun: Instant,
    /// The number of the first age of beliefs: another one for each database.
    first_age: u64,
    /// How often all that was found had to be forgotten, and how often anything.
    forgotten: AtomicU64,
    changes: AtomicU64,
    /// Names that the configuration says leave something behind, in lower case and without a schema.
    stateful: Vec<Box<[u8]>>,
    /// One was met that may set what nobody can ask for.
    hiding: AtomicBool,
    /// Of which backends may have plans.
    compiled: Arc<Compiled>,
    /// What the session has on its backend that any is known to tell ([`Effects::TELLS`]).
    telling: AtomicU64,
    /// Something may ask what was drawn from sequences that was not read yet.
    asking: AtomicBool,
    limit: usize,
}

/// What runs when a statement does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Callee {
    Function(Box<[u8]>),
    /// Functions of a user's with this name, if there are any: it is one of PostgreSQL's own functions, or a field.
    Ambiguous(Box<[u8]>),
    /// What this view stands for, and the policies of this table.
    Reads(Box<[u8]>),
    /// The triggers of this table, and functions in whatever else is consulted when it is written.
    Triggers(Box<[u8]>),
    /// Operators, casts and checks of domains, which need not be named where they are at work.
    Operators,
    /// Triggers of all tables and what else belongs to them: a text that is put together may name any.
    AllTables,
    /// Triggers of TRUNCATE, whichever tables it reaches.
    Truncates,
    /// Event triggers.
    Defines,
}

/// For how long something is believed: until the number is another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Age(u64);

/// When PostgreSQL was asked: what it answers is believed only where nothing has changed meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asked {
    age: Age,
    changes: u64,
}

/// What definitions that come, go or are replaced make old.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outdated {
    pub(super) definitions: Definitions,
    /// What they say of relations, where it is what these stand for.
    pub(super) named: Vec<Callee>,
}

impl Outdated {
    pub(super) fn everything() -> Self {
        Self { definitions: Definitions::all(), named: Vec::new() }
    }

    /// What both make old.
    #[must_use]
    pub(super) fn and(mut self, other: Self) -> Self {
        self.definitions |= other.definitions;
        extend(&mut self.named, other.named);
        if self.named.len() > MOST_NAMED {
            self.named.clear();
            self.definitions |= Definitions::READS | Definitions::WRITES;
        }
        self
    }

    fn has(&self, callee: &Callee) -> bool {
        let kind = match callee {
            Callee::Function(_) | Callee::Ambiguous(_) => Definitions::FUNCTIONS,
            Callee::Reads(_) => Definitions::READS,
            Callee::Triggers(_) => Definitions::WRITES,
            Callee::Operators => Definitions::OPERATORS,
            Callee::AllTables => Definitions::ALL_TABLES,
            Callee::Truncates => Definitions::TRUNCATES,
            Callee::Defines => Definitions::EVENTS,
        };
        self.definitions.contains(kind) || self.named.contains(callee)
    }
}

#[derive(Debug, Default)]
struct Known {
    may_leave: bool,
    stateful: bool,
    draws: bool,
    /// Of [`Effects::TELLS`].
    tells: Effects,
    notifies: bool,
    redefines: bool,
    unnamed: Unnamed,
    custom: Vec<Vec<u8>>,
    calls: Vec<Callee>,
    /// Since when this has been gathered, by whoever asked.
    gathered: Age,
    /// That was all of it.
    learnt: Option<Age>,
}

/// What is known of all that a statement calls.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Something may stay behind, in the session or as one of these custom settings.
    pub(super) may_leave: bool,
    /// Something stays behind of which nothing is known.
    pub(super) stateful: bool,
    /// Values may be drawn from sequences.
    pub(super) draws: bool,
    pub(super) notifies: bool,
    /// What is known of functions may not be true any more.
    pub(super) redefines: bool,
    pub(super) custom: Vec<Vec<u8>>,
    /// Whether that may be custom settings that are not among these.
    pub(super) unnamed: Unnamed,
    /// Not known yet.
    pub(super) unknown: Vec<Callee>,
}

impl Callee {
    /// A function as the traits of a pattern name it; the schema does not count.
    pub(super) fn function(name: &[u8]) -> Self {
        Self::Function(cut(&last_part(name)))
    }

    pub(super) fn ambiguous(name: &[u8]) -> Self {
        Self::Ambiguous(cut(name))
    }

    pub(super) fn reads(relation: &[u8]) -> Self {
        Self::Reads(cut(&last_part(relation)))
    }

    pub(super) fn triggers(table: &[u8]) -> Self {
        Self::Triggers(cut(&last_part(table)))
    }
}

/// A name without a schema, as long as PostgreSQL reads it.
pub(super) fn cut(name: &[u8]) -> Box<[u8]> {
    let end = name.len().min(LONGEST_NAME);
    // No character is cut in two: what continues one begins with the bits 10.
    let end = (0..=end).rev().find(|end| name.get(*end).is_none_or(|byte| byte & 0xc0 != 0x80)).unwrap_or(end);
    name.get(..end).unwrap_or(name).into()
}

impl Functions {
    /// Remembers at most `limit`; when full it begins anew. `stateful` are functions that cannot be read and leave
    /// something behind.
    #[must_use]
    pub fn new(limit: usize, stateful: &[String], compiled: Arc<Compiled>) -> Self {
        let stateful = stateful.iter().map(|name| cut(&last_part(name.as_bytes()))).collect();
        Self {
            known: DashMap::default(),
            begun: Instant::now(),
            first_age: RandomState::new().hash_one(0),
            forgotten: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            stateful,
            hiding: AtomicBool::new(false),
            compiled,
            telling: AtomicU64::new(0),
            asking: AtomicBool::new(false),
            limit,
        }
    }

    /// Whether a function of this name, whatever its schema and however it is spelled, is one that the configuration
    /// names.
    pub(super) fn is_stateful(&self, name: &[u8]) -> bool {
        self.stateful.iter().any(|stateful| stateful.eq_ignore_ascii_case(&last_part(name)))
    }

    /// Whether any are that [`Self::is_stateful`] knows.
    pub(super) fn may_be_stateful(&self) -> bool {
        !self.stateful.is_empty()
    }

    /// What is believed now ends when this is another number.
    fn age(&self, now: Instant) -> Age {
        let passed = now.saturating_duration_since(self.begun).as_secs() / BELIEVED.as_secs();
        Age(self.first_age.wrapping_add(passed).wrapping_add(self.forgotten.load(Ordering::Relaxed) << 32))
    }

    /// Greater for what came later.
    fn order(&self, age: Age) -> u64 {
        age.0.wrapping_sub(self.first_age)
    }

    /// What is noted on patterns that were found harmless: they are judged again after any change, which costs no look
    /// where all they call is still known.
    fn harmless_note(&self, now: Instant) -> u64 {
        self.age(now).0 ^ self.changes.load(Ordering::Relaxed).wrapping_mul(SCATTERED)
    }

    /// Whether a pattern was found to leave nothing behind, whatever it calls, and that is still believed.
    pub(super) fn is_harmless(&self, pattern: &Pattern, now: Instant) -> bool {
        pattern.note.get() == self.harmless_note(now)
    }

    /// Finds a pattern so, until anything changes or the age is over.
    pub(super) fn find_harmless(&self, pattern: &Pattern, now: Instant) {
        pattern.note.set(self.harmless_note(now));
    }

    /// What these, and all that they call, may leave behind. What was `just_read` is taken for what it was then, even
    /// if it has changed meanwhile.
    pub(super) fn judge(&self, callees: impl Iterator<Item = Callee>, just_read: &[Callee], now: Instant) -> Judgement {
        let mut judgement = Judgement::default();
        let age = self.age(now);
        let ended = self.visit(callees, |callee, known| match known {
            Some(known) if known.learnt == Some(age) || just_read.contains(callee) => {
                judgement.may_leave |= known.may_leave;
                judgement.stateful |= known.stateful;
                judgement.draws |= known.draws;
                judgement.notifies |= known.notifies;
                judgement.redefines |= known.redefines;
                judgement.unnamed = judgement.unnamed.max(known.unnamed);
                judgement.custom.extend(known.custom.iter().cloned());
                true
            }
            _ => {
                judgement.unknown.push(callee.clone());
                false
            }
        });
        judgement.may_leave |= !ended;
        judgement
    }

    /// Whether any of these, as far as they have been read, may set what nobody can ask for.
    pub(super) fn unnamed(&self, callees: impl Iterator<Item = Callee>) -> Unnamed {
        let mut unnamed = Unnamed::No;
        if self.hiding.load(Ordering::Relaxed) {
            self.visit(callees, |_, known| {
                unnamed = unnamed.max(known.map_or(Unnamed::No, |known| known.unnamed));
                true
            });
        }
        unnamed
    }

    /// Somewhere in the database is something that tells this of a session ([`Effects::TELLS`]).
    pub(super) fn expect_telling(&self, tells: Effects) {
        self.telling.fetch_or(tells.among(Effects::TELLS).bits(), Ordering::Relaxed);
    }

    /// Somewhere in the database is something that has the names in this text, or will be.
    pub(super) fn expect_named(&self, text: &[u8]) {
        let told = told_in(text);
        // Whether anything that runs asks for draws is known once that has been read, which spares the others a search.
        self.expect_telling(told.among(Effects::LISTS));
        self.asking.fetch_or(told.any_of(Effects::READS_SEQUENCE), Ordering::Relaxed);
    }

    /// What backends may have of them.
    pub(super) fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Whether something may ask what was drawn from sequences that was not read yet.
    pub(super) fn may_ask_for_draws(&self) -> bool {
        self.asking.load(Ordering::Relaxed)
    }

    /// What anything in the database is known to tell of a session.
    fn telling(&self) -> Effects {
        Effects::from_bits(self.telling.load(Ordering::Relaxed))
    }

    /// Whether anything in the database is known to tell any of this.
    pub(super) fn may_tell(&self, tells: Effects) -> bool {
        self.telling().any_of(tells)
    }

    /// What these, and all that they call, tell of a session.
    pub(super) fn tell(&self, callees: impl Iterator<Item = Callee>) -> Told {
        let telling = self.telling();
        let mut told = Told::default();
        if telling.is_empty() {
            return told;
        }
        // Draws are waited for, which is not worth a guess.
        let guessed = telling.among(Effects::LISTS);
        let ended = self.visit(callees, |_, known| {
            told.known |= known.map_or(Effects::NONE, |known| known.tells);
            if known.is_none_or(|known| known.learnt.is_none()) {
                told.perhaps |= guessed;
            }
            true
        });
        if !ended {
            told.perhaps |= guessed;
        }
        told
    }

    /// Whether all of these, and all that they call, have been read at some time.
    pub(super) fn have_read(&self, callees: impl Iterator<Item = Callee>) -> bool {
        let mut read = true;
        let ended = self.visit(callees, |_, known| {
            read &= known.is_some_and(|known| known.learnt.is_some());
            true
        });
        ended && read
    }

    /// Shows each of these, and what is called by those for which that says so, once. Whether that came to an end.
    fn visit(
        &self,
        callees: impl Iterator<Item = Callee>,
        mut see: impl FnMut(&Callee, Option<&Known>) -> bool,
    ) -> bool {
        let mut met: HashSet<Callee, foldhash::fast::RandomState> = HashSet::default();
        let mut next: Vec<Callee> = callees.collect();
        for _ in 0..DEPTH {
            for callee in std::mem::take(&mut next) {
                if met.contains(&callee) {
                    continue;
                }
                let known = self.known.get(&callee);
                if see(&callee, known.as_deref()) {
                    next.extend(known.iter().flat_map(|known| known.calls.iter().cloned()));
                }
                drop(known);
                met.insert(callee);
            }
        }
        next.is_empty()
    }

    /// PostgreSQL is being asked now.
    pub(super) fn asked(&self, now: Instant) -> Asked {
        Asked { age: self.age(now), changes: self.changes.load(Ordering::Relaxed) }
    }

    /// Whether anything that was learnt since then may have been forgotten.
    pub(super) fn has_changed_since(&self, asked: Asked) -> bool {
        self.changes.load(Ordering::Relaxed) != asked.changes
    }

    /// A function with this name has this definition. Whether it asks what a session has drawn from sequences.
    pub(super) fn learn(&self, asked: Asked, name: &[u8], definition: &[u8]) -> bool {
        self.compiled.note(definition);
        if self.is_stateful(name) {
            self.add(asked, Callee::Function(cut(name)), |known| (known.may_leave, known.stateful) = (true, true));
        }
        self.learn_said(asked, Callee::Function(cut(name)), body_of(definition))
    }

    /// Where this runs, what this body of a function, or text of a view, policy, default, check or rule says does.
    /// Whether it asks what a session has drawn.
    pub(super) fn learn_said(&self, asked: Asked, callee: Callee, body: &[u8]) -> bool {
        let Code { effects, callees, redefines } = Code::of_body(body);
        // In PL/pgSQL, EXECUTE runs whatever a string says.
        let leaves = effects.any_of(Effects::LEAVES.without(Effects::CALLS) | Effects::DEFINES);
        let unnamed = unnamed_settings(body, &Lexing::default());
        let tells = effects.among(Effects::TELLS);
        self.hiding.fetch_or(unnamed != Unnamed::No, Ordering::Relaxed);
        self.expect_telling(tells);
        self.add(asked, callee, |known| {
            known.may_leave |= leaves;
            known.draws |= effects.any_of(Effects::DRAWS);
            known.tells |= tells;
            known.notifies |= effects.any_of(Effects::NOTIFIES);
            known.redefines |= redefines;
            known.unnamed = known.unnamed.max(unnamed);
            extend(&mut known.custom, custom_names(body).map(String::into_bytes));
            extend(&mut known.custom, spelled_names(body, &Lexing::default()));
            extend(&mut known.calls, callees);
        });
        tells.any_of(Effects::READS_SEQUENCE)
    }

    /// A function with this name is written in another language, whose name stands before its body. Whether it asks what
    /// a session has drawn from sequences.
    pub(super) fn learn_foreign(&self, asked: Asked, name: &[u8], said: &[u8]) -> bool {
        let Some(Code { effects, callees, redefines }) = Code::foreign(said) else { return false };
        let tells = effects.among(Effects::TELLS);
        self.hiding.store(true, Ordering::Relaxed);
        self.compiled.note(said);
        self.expect_telling(tells);
        self.add(asked, Callee::Function(cut(name)), |known| {
            known.tells |= tells;
            (known.may_leave, known.draws, known.notifies) = (true, true, true);
            known.redefines |= redefines;
            known.unnamed = known.unnamed.max(Unnamed::Maybe);
            extend(&mut known.custom, custom_names(said).map(String::into_bytes));
            extend(&mut known.calls, callees);
        });
        tells.any_of(Effects::READS_SEQUENCE)
    }

    /// Where this runs, this function may be called.
    pub(super) fn learn_call(&self, asked: Asked, callee: Callee, function: &[u8]) {
        self.add(asked, callee, |known| extend(&mut known.calls, [Callee::Function(cut(function))]));
    }

    /// All was said of these: where nothing was, there is nothing of the user's own.
    pub(super) fn learnt(&self, asked: Asked, callees: &[Callee]) {
        let changed = self.has_changed_since(asked);
        for callee in callees {
            self.add(asked, callee.clone(), |known| known.learnt = (!changed).then_some(asked.age));
        }
    }

    /// Definitions may have changed.
    pub(super) fn forget(&self, outdated: &Outdated) {
        if outdated.definitions.is_all() {
            self.known.clear();
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        } else {
            self.known.retain(|callee, _| !outdated.has(callee));
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds to what was gathered since then. What is older is forgotten, and what was asked before others have begun to
    /// gather anew is left out: theirs must not be lost.
    fn add(&self, asked: Asked, callee: Callee, change: impl FnOnce(&mut Known)) {
        if self.known.len() >= self.limit && !self.known.contains_key(&callee) {
            self.known.clear();
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        let anew = || Known { gathered: asked.age, ..Known::default() };
        let mut known = self.known.entry(callee).or_insert_with(anew);
        let (gathered, asked) = (self.order(known.gathered), self.order(asked.age));
        if gathered > asked {
            return;
        }
        if gathered < asked {
            *known = anew();
        }
        change(&mut known);
    }
}

/// Adds what is not there to what is there once each.
pub(super) fn extend<T: Clone + Eq + Hash>(list: &mut Vec<T>, more: impl IntoIterator<Item = T>) {
    let more = more.into_iter();
    if more.size_hint().1.is_some_and(|most| most <= FEW) {
        for one in more {
            if !list.contains(&one) {
                list.push(one);
            }
        }
    } else {
        list.extend(more);
        let mut met: HashSet<T, foldhash::fast::RandomState> = HashSet::default();
        list.retain(|one| met.insert(one.clone()));
    }
}

#[cfg(test)]
mod tests;
