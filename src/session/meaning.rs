//! A statement means what it meant when its client prepared it, on whatever backend it is read again.
//!
//! PostgreSQL reads a statement once. What it has found stays: constants, by the settings of that moment, and the types
//! of parameters that the client has left open. Where what the statement names, or the search path, has changed since, it
//! is read anew, by the settings of now but with the types that it had (manual: "PREPARE"). Of changes only PostgreSQL
//! knows whom they concern; here constants stay.
//!
//! A backend that must be given the statement later would find other constants and types. So settings are put back for
//! its Parse, and types declared, which is another statement, as is what is looked for elsewhere: others who prepare the
//! text get neither.

use std::sync::Arc;

use super::outstanding::Known;
use super::turn::{Effect, Expect, Kind, Turn};
use super::{Leased, Outgoing, Session};
use crate::prepared::{Kind as StatementKind, Named, Names, Origin, Statement, Types, since_its_era};
use crate::settings::{Profile, write_text};
use crate::sql::first_word;
use crate::wire::Frame;
use crate::wire::view::Transaction;

/// First words of statements before which nothing of pgweir's may run, as they must be the first of their transaction
/// or alone in it; there is little in them to be read otherwise.
const FIRST_OR_ALONE: [&[u8]; 29] = [
    b"abort",
    b"alter",
    b"analyze",
    b"begin",
    b"checkpoint",
    b"cluster",
    b"commit",
    b"deallocate",
    b"discard",
    b"drop",
    b"end",
    b"execute",
    b"fetch",
    b"listen",
    b"lock",
    b"move",
    b"notify",
    b"prepare",
    b"reindex",
    b"release",
    b"reset",
    b"rollback",
    b"savepoint",
    b"security",
    b"set",
    b"show",
    b"start",
    b"unlisten",
    b"vacuum",
];

/// Where what a setting was is kept while a Parse is read by another value.
const KEPT: &[u8] = b"__pgweir.";

/// What is said around a Parse, so that it is read by other settings than the session's.
pub(super) struct Reading {
    pub(super) first: Vec<u8>,
    pub(super) then: Vec<u8>,
}

impl Session {
    /// What a name stands for on this backend.
    pub(super) fn as_it_was_meant(&mut self, name: &[u8], named: Named, leased: &Leased<'_>) -> Named {
        let name = Names::key(name);
        if named.statement.kind == StatementKind::Private {
            return named;
        }
        match self.another_reading(&named, leased) {
            Some(read_by) => self.renew(name, named, read_by),
            None => named,
        }
    }

    /// By which settings a statement must be read anew for this client, with its types declared; `None` where the
    /// backend's copy, or a Parse as it was, will do.
    fn another_reading(&self, named: &Named, leased: &Leased<'_>) -> Option<Arc<Profile>> {
        let Named { statement, parse, .. } = named;
        let (shape, types) = (named.known_shape(), named.known_types());
        // PostgreSQL refuses it for its columns.
        let is_refused = shape.is_none() && statement.is_outdated(*parse);
        if is_refused || self.transaction() == Transaction::Failed {
            return None;
        }
        let turn = self.turn.as_ref()?;
        let Known::Now(copy) = turn.holds(leased, statement.id) else { return None };
        let is_there = copy.is_some() && !turn.renews(statement.id);
        let is_retyped = types.is_some_and(|types| match is_there {
            true => leased.held.types_of(statement.id).is_some_and(|given| given != types),
            false => statement.is_before_a_change(*parse),
        });
        let is_elsewhere = self.looks_elsewhere(statement);
        let is_moved = copy.is_none() && is_elsewhere && !self.is_read_otherwise();
        let read_by = if is_elsewhere { &self.profile } else { statement.read_by.as_ref().unwrap_or(&self.profile) };
        (is_retyped || is_moved).then(|| Arc::clone(read_by))
    }

    /// Whether the session looks for names at other places than where this was read.
    pub(super) fn looks_elsewhere(&self, statement: &Statement) -> bool {
        self.other_settings(statement).is_some_and(|read_by| read_by.looks_elsewhere_than(&self.profile))
    }

    /// The settings by which a statement was read, where the session has others.
    fn other_settings<'a>(&self, statement: &'a Statement) -> Option<&'a Profile> {
        let read_by = statement.read_by.as_ref()?;
        let is_same = Arc::ptr_eq(read_by, &self.profile) || read_by.plan_key() == self.profile.plan_key();
        (!is_same).then_some(&**read_by)
    }

    /// Has the name stand for the same text as another statement, from now on.
    fn renew(&mut self, name: &[u8], named: Named, read_by: Arc<Profile>) -> Named {
        if self.names.get(name).is_none_or(|known| !known.is(&named)) {
            return named;
        }
        let Named { statement, parse, .. } = &named;
        let (registry, text) = (&self.rules.registry, &statement.text);
        let types = named.known_types().map_or(&*statement.types, |known| known);
        let before = statement.read_by.as_ref().map_or(0, |read_by| self.plan_key_by(read_by));
        let is_shared =
            registry.known(text, &statement.types, before).is_some_and(|known| Arc::ptr_eq(&known, statement));
        let plan_key = self.plan_key_by(&read_by);
        let origin = Origin { weighed: statement.weighed().clone(), read_by: Some(read_by) };
        let anew = match is_shared {
            true => registry.shared(text, types, plan_key, || origin),
            false => registry.unshared(text, types, origin),
        };
        // It is as old as the client's Parse was.
        let mut anew = Named::new(anew, since_its_era(*parse));
        anew.shape = named.known_shape();
        self.names.set(name, Some(anew.clone()));
        anew
    }

    /// What must be said around the Parse of a statement for the backend to read it as it was read.
    pub(super) fn reading_of(&self, statement: &Statement) -> Option<Reading> {
        let read_by = statement.read_by.as_ref()?;
        if read_by.looks_elsewhere_than(&self.profile) {
            return None;
        }
        if self.is_read_otherwise() {
            // What the transaction has set is not known.
            let reading = || Reading { first: keeping(read_by), then: kept() };
            return (has_strings(&statement.text) && may_follow(&statement.text)).then(reading);
        }
        let read_by = self.other_settings(statement).filter(|_| may_follow(&statement.text))?;
        let first = setting(read_by.reading_unlike(&self.profile))?;
        let then = setting(self.profile.reading_unlike(read_by))?;
        Some(Reading { first, then })
    }

    /// Says one half of a [`Reading`], if there is one.
    pub(super) fn read_otherwise(&mut self, half: Option<&Vec<u8>>, out: &mut Outgoing) {
        if let Some(text) = half {
            self.execute_mending(text, &mut out.to_backend);
        }
    }
}

impl Turn {
    /// What a Parse gives a name that is answered without the backend, which has a copy as good.
    pub(super) fn named_as_there(
        &self,
        name: &[u8],
        statement: Arc<Statement>,
        parse: u64,
        leased: &Leased<'_>,
    ) -> Named {
        // An unnamed one is used at once, mostly.
        let is_told = !name.is_empty() && !self.renews(statement.id);
        if !is_told {
            return Named::new(statement, parse);
        }
        let description = leased.held.description_of(statement.id);
        Named::presumed(statement, parse, description)
    }

    /// A ParameterDescription has come. Whether it is kept back; else its types are noted where the client had left them
    /// open.
    pub(super) fn keep_parameters(&mut self, frame: &Frame<'_>, names: &mut Names, leased: &mut Leased<'_>) -> bool {
        let kept = self.keep_reply(frame);
        if !kept {
            self.learn_types(frame, names, leased);
        }
        kept
    }

    fn learn_types(&mut self, frame: &Frame<'_>, names: &mut Names, leased: &mut Leased<'_>) {
        let Some(Expect { about: Some(named), kind: Kind::Describe, .. }) = self.queue.front() else { return };
        let id = named.statement.id;
        let is_known = named.types.is_some() && leased.held.types_of(id).is_some();
        if !named.statement.leaves_types_open || is_known || !frame.is_whole() {
            return;
        }
        let types = Types::from(frame.body);
        leased.held.give_types(id, &types);
        if named.types.is_none() {
            names.give_types(named, Arc::clone(&types));
        }
        self.describe_coming(id, |named| {
            named.types.get_or_insert_with(|| Arc::clone(&types));
        });
    }

    /// What is said of a statement is true of names, too, that the same batch gives it.
    pub(super) fn describe_coming(&mut self, id: u64, describe: impl Fn(&mut Named)) {
        let to_come = self.queue.iter().filter(|expect| expect.is_end_of_batch()).count();
        let batch = self.batch.saturating_sub(u64::try_from(to_come).unwrap_or(u64::MAX));
        for pending in self.pending.iter_mut().take_while(|pending| pending.batch <= batch) {
            match &mut pending.effect {
                Effect::Name(name, Some(named)) if named.statement.id == id && !name.is_empty() => describe(named),
                _ => {}
            }
        }
    }
}

/// Whether a query of pgweir's may run before this text in its transaction.
fn may_follow(text: &[u8]) -> bool {
    match first_word(text).to_ascii_lowercase().as_slice() {
        // A database, a tablespace or an index may have to be made alone.
        b"create" => memchr::memmem::find(&text.to_ascii_lowercase(), b"select").is_some(),
        word => !FIRST_OR_ALONE.contains(&word),
    }
}

/// Whether a text has what most settings of the kind say how to read: strings, or what is not ASCII.
fn has_strings(text: &[u8]) -> bool {
    let quotes = |at: usize| text.get(at + 1).is_some_and(|next| !next.is_ascii_digit());
    !text.is_ascii() || memchr::memchr(b'\'', text).is_some() || memchr::memchr_iter(b'$', text).any(quotes)
}

/// A query without a row that gives settings these values until the transaction ends, `None` for the server's; none
/// where there are none.
fn setting<'a>(values: impl Iterator<Item = (&'static [u8], Option<&'a [u8]>)>) -> Option<Vec<u8>> {
    let mut values = values.peekable();
    values.peek()?;
    let mut text = Vec::new();
    for (name, value) in values {
        write_setting(&mut text, &[name], |to| write_value(to, value));
    }
    Some(text)
}

/// The same for all, which keeps what they were.
fn keeping(read_by: &Profile) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in read_by.reading() {
        write_setting(&mut text, &[KEPT, name], |to| {
            to.extend_from_slice(&[b"pg_catalog.current_setting('", name, b"')"].concat())
        });
        write_setting(&mut text, &[name], |to| write_value(to, value));
    }
    text
}

/// What gives them back what they were.
fn kept() -> Vec<u8> {
    let mut text = Vec::new();
    for (name, _) in Profile::default().reading() {
        let value = [b"pg_catalog.current_setting('", KEPT, name, b"')"].concat();
        write_setting(&mut text, &[name], |to| to.extend_from_slice(&value));
    }
    text
}

fn write_value(text: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => write_text(text, value),
        None => text.extend_from_slice(b"NULL"),
    }
}

/// Adds one setting to a query that sets some, one after the other, and has no row.
fn write_setting(text: &mut Vec<u8>, name: &[&[u8]], value: impl FnOnce(&mut Vec<u8>)) {
    text.extend_from_slice(if text.is_empty() { b"SELECT WHERE " } else { b" OR " });
    text.extend_from_slice(b"pg_catalog.set_config('");
    text.extend_from_slice(&name.concat());
    text.extend_from_slice(b"', ");
    value(text);
    text.extend_from_slice(b", true) IS NULL");
}
