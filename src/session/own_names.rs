//! A client's prepared statements under its own names.
//!
//! Backends hold statements under names of pgweir's, which SQL must neither see nor miss: before a text runs that
//! reads, executes, makes or drops prepared statements by name, the backend is given the client's under the names
//! that it knows. Before the backend goes back they are closed.

use tokio::time::Instant;

use super::outstanding::Known;
use super::turn::{Effect, Expect, Kind, Turn, Who};
use super::{Hold, Keeps, Leased, Outgoing, Session, Verdict, Wait};
use crate::prepared::{Named, Names, Statement};
use crate::settings::{SEARCH_PATH, write_text};
use crate::sql::{Command, Effects, Name, Weighed};
use crate::wire::Frame;
use crate::wire::build;
use crate::wire::view::{Target, Transaction};

/// Between these, in a transaction block, what fails leaves the transaction as it was. A prepared statement is of no
/// transaction, so that going back takes none away (manual: "PREPARE").
const SAVEPOINT: &[u8] = b"SAVEPOINT pgweir";
const BACK: &[u8] = b"ROLLBACK TO SAVEPOINT pgweir";
const RELEASE: &[u8] = b"RELEASE SAVEPOINT pgweir";

/// What needs statements under the client's names; so does DEALLOCATE of one of them.
const BY_NAME: Effects = Effects::PREPARES.with(Effects::EXECUTES).with(Effects::READS_PREPARED);

impl Session {
    /// Close: of a statement it ends a name of the client's, whatever backends hold.
    pub(super) fn close(
        &mut self,
        frame: &Frame<'_>,
        leased: Option<&Leased<'_>>,
        now: Instant,
        out: &mut Outgoing,
    ) -> Verdict {
        let target = Target::read(frame.tag, frame.body);
        if let Ok(Target::Portal(name)) = &target {
            if self.keeps().contains(Keeps::HELD_CURSORS) {
                self.state.note_unaltering(Effects::CLOSES_CURSOR);
            }
            if let Some(turn) = &mut self.turn {
                turn.portal_ends(name, now, out);
            }
        }
        let Ok(Target::Statement(name)) = target else {
            return self.forward(Kind::Close);
        };
        let name = Names::key(name);
        let by_sql = self.state.has_prepared(name);
        if by_sql {
            self.state.note(Effects::DEALLOCATES);
        }
        let turn = self.turn.get_or_insert_default();
        if leased.is_some_and(|leased| by_sql || turn.has_own(leased, name) != Known::Now(false)) {
            let effects = [Effect::Name(name.into(), None), Effect::Own(name.into(), false)];
            turn.expect(Expect::new(Kind::Close, Who::Forward), effects);
            turn.open_batch();
            return Verdict::Forward;
        }
        // Backends keep what they hold: others use it too. Closing what does not exist is no error.
        let effects = [Effect::Name(name.into(), None)];
        turn.expect(Expect::new(Kind::Close, Who::Fake(&build::CLOSE_COMPLETE)), effects);
        Verdict::Swallow
    }

    /// Has the client's statements on the backend before a batch begins that lists them: in batches of their own, so that
    /// one that is not valid any more leaves the others alone. `Err` where that must wait.
    pub(super) fn bring_listed(
        &mut self,
        statement: &Statement,
        leased: &Leased<'_>,
        out: &mut Outgoing,
    ) -> Result<(), Verdict> {
        let (weighed, effects) = (statement.weighed(), self.may_tell(statement));
        if !effects.any_of(Effects::READS_PREPARED) {
            return Ok(());
        }
        if self.turn.as_ref().is_some_and(|turn| !turn.may_begin_batch() || turn.deferred.is_some()) {
            return Ok(());
        }
        if self.is_naming(weighed, effects) {
            return Err(self.wait_for_names());
        }
        self.bring_own_names((weighed, effects), true, leased, out);
        Ok(())
    }

    /// Has the client's statements on the backend under its own names, where a text is about to need them. Before a
    /// batch begins, one that is not valid any more leaves the others alone.
    pub(super) fn bring_own_names(
        &mut self,
        (weighed, effects): (&Weighed, Effects),
        begins: bool,
        leased: &Leased<'_>,
        out: &mut Outgoing,
    ) {
        if !is_by_name(weighed, effects) {
            return;
        }
        let before = out.to_backend.len();
        if effects.any_of(Effects::READS_PREPARED) {
            for id in self.turn.get_or_insert_default().all_held(leased) {
                self.inject_close(id, out);
            }
        }
        if self.transaction() == Transaction::Failed {
            // Nothing can be given to it now. It is not to know what others have prepared, all the same.
            return;
        }
        if begins && out.to_backend.len() > before {
            self.end_own_batch(out);
        }
        if let Some(name) = only_drops(weighed) {
            return self.bring_for_drop(name.as_bytes(), leased, out);
        }
        let only = self.needed(weighed, effects);
        let lists = begins && only.is_none();
        // One that is executed by its name, and is not valid, makes the transaction fail directly, too.
        let in_block = lists && self.transaction() == Transaction::Open;
        let mut guarded = false;
        for (name, named) in self.turn.get_or_insert_default().all_named(&self.names) {
            let needed = match &only {
                Some(only) => only.contains(&&*name),
                None => !self.turn.as_ref().is_some_and(|turn| turn.invalid.contains(&name)),
            };
            if !needed || !self.lacks_own_name(&name, leased) {
                continue;
            }
            if in_block && !std::mem::replace(&mut guarded, true) {
                self.say_own(SAVEPOINT, out);
            }
            let away = lists.then(|| self.away(&named)).flatten();
            if let Some(path) = &away {
                let opening = if in_block { b"".as_slice() } else { b"BEGIN; " };
                self.say_own(&[opening, path].concat(), out);
            }
            self.give_own_name((&name, &named), begins, out);
            if begins {
                self.end_own_batch(out);
            }
            if guarded {
                self.say_own(BACK, out);
            } else if away.is_some() {
                self.say_own(b"ROLLBACK", out);
            }
        }
        if guarded {
            self.say_own(RELEASE, out);
        }
        if let Weighed::Known(pattern) = weighed {
            for command in &pattern.traits.commands {
                if let Command::Prepare(name) = command {
                    self.state.note_prepared(name.as_bytes());
                }
            }
        }
    }

    /// Has the statement that an EXECUTE names on the backend before the EXECUTE is parsed, which is when PostgreSQL
    /// looks what its rows are. `Err` where that must wait.
    pub(super) fn bring_executed(
        &mut self,
        weighed: &Weighed,
        leased: &Leased<'_>,
        out: &mut Outgoing,
    ) -> Result<(), Verdict> {
        let Some(name) = executed(weighed).filter(|_| self.transaction() != Transaction::Failed) else { return Ok(()) };
        if self.is_naming(weighed, Effects::EXECUTES) {
            return Err(Verdict::Hold(Wait::Replies));
        }
        match self.turn.get_or_insert_default().named(&self.names, name) {
            Known::Later => return Err(Verdict::Hold(Wait::Replies)),
            Known::Now(Some(named)) => self.bring_own_name((name, &named), leased, out),
            Known::Now(None) => {}
        }
        Ok(())
    }

    /// What is only to be dropped need not be valid any more: any text will do.
    fn bring_for_drop(&mut self, name: &[u8], leased: &Leased<'_>, out: &mut Outgoing) {
        let turn = self.turn.get_or_insert_default();
        let missing = turn.has_own(leased, name) == Known::Now(false);
        if missing && !matches!(turn.named(&self.names, name), Known::Now(None)) {
            build::write_parse(&mut out.to_backend, &Names::whole(name), b"", &[0, 0]);
            turn.expect(Expect::new(Kind::Parse, Who::Skip), [Effect::Own(name.into(), true)]);
            turn.open_batch();
        }
    }

    /// Ends what pgweir has sent of its own, so that it stands whatever comes after it.
    pub(super) fn end_own_batch(&mut self, out: &mut Outgoing) {
        out.to_backend.extend_from_slice(&build::SYNC);
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Sync, Who::Skip), []);
        turn.end_batch();
    }

    /// For a statement that was prepared where names are looked for elsewhere than now: what makes them be looked for
    /// there until the transaction ends. It is listed as it was prepared, whether it would be valid here or not.
    fn away(&self, named: &Named) -> Option<Vec<u8>> {
        let path = named.statement.read_by.as_ref().and_then(|profile| profile.get(SEARCH_PATH));
        if path == self.profile.get(SEARCH_PATH) || self.rules.hold == Hold::Statement {
            return None;
        }
        let Some(path) = path else { return Some(b"SET LOCAL search_path TO DEFAULT".to_vec()) };
        // No row passes the condition: rows would have to be kept from the client.
        let mut text = b"SELECT WHERE pg_catalog.set_config('search_path', ".to_vec();
        write_text(&mut text, path);
        text.extend_from_slice(b", true) IS NULL");
        Some(text)
    }

    /// What is being brought is brought for the frame at hand: the backend stays until that is judged again.
    fn wait_for_names(&mut self) -> Verdict {
        self.turn.get_or_insert_default().unused = true;
        Verdict::Hold(Wait::Replies)
    }

    /// Sends a statement of pgweir's own.
    fn say_own(&mut self, text: &[u8], out: &mut Outgoing) {
        build::write_query(&mut out.to_backend, text);
        let turn = self.turn.get_or_insert_default();
        // A simple query drops the unnamed statement.
        turn.expect(Expect::new(Kind::Query, Who::Skip), [Effect::Unnamed(None)]);
        turn.end_batch();
    }

    /// Whether a statement is to be given to the backend for it to stand there under the client's name.
    fn lacks_own_name(&mut self, name: &[u8], leased: &Leased<'_>) -> bool {
        self.turn.get_or_insert_default().has_own(leased, name) == Known::Now(false)
    }

    fn bring_own_name(&mut self, (name, named): (&[u8], &Named), leased: &Leased<'_>, out: &mut Outgoing) {
        if self.lacks_own_name(name, leased) {
            self.give_own_name((name, named), false, out);
        }
    }

    /// Parses a statement under the client's name for it. `tries`: its error is told only if the client's own Query
    /// fails for it.
    fn give_own_name(&mut self, (name, named): (&[u8], &Named), tries: bool, out: &mut Outgoing) {
        let Statement { text, types, .. } = &*named.statement;
        let reading = self.reading_of(&named.statement);
        self.read_otherwise(reading.as_ref().map(|reading| &reading.first), out);
        let types = named.known_types().map_or(&**types, |known| known);
        build::write_parse(&mut out.to_backend, &Names::whole(name), text, types);
        let who = if tries { Who::Try } else { Who::Skip };
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Parse, who), [Effect::Own(name.into(), true)]);
        turn.open_batch();
        self.read_otherwise(reading.as_ref().map(|reading| &reading.then), out);
    }

    /// Has a statement that deals with statements by their names, itself among them, on the backend under the name
    /// that the client knows it by. `Err` where that must wait.
    pub(super) fn use_own_name(
        &mut self,
        name: &[u8],
        named: &Named,
        leased: &Leased<'_>,
        out: &mut Outgoing,
    ) -> Result<(), Verdict> {
        if self.is_naming(named.statement.weighed(), self.may_tell(&named.statement)) {
            return Err(self.wait_for_names());
        }
        self.bring_own_name((Names::key(name), named), leased, out);
        Ok(())
    }

    /// Whether a client's statement is used under the client's name for it. In a failed transaction nothing can be
    /// parsed, and nothing is done.
    pub(super) fn goes_by_own_name(&self, name: &[u8], statement: &Statement, leased: &Leased<'_>) -> bool {
        if name.is_empty() || self.transaction() == Transaction::Failed {
            return false;
        }
        let weighed = statement.weighed();
        if is_by_name(weighed, self.effects_of_statement(statement)) {
            return true;
        }
        // A guess counts where the client's names are, or can be, on the backend anyway.
        let there = |turn: &Turn| turn.may_begin_batch() || turn.has_own(leased, Names::key(name)) != Known::Now(false);
        self.perhaps_told(weighed, &statement.text).any_of(Effects::READS_PREPARED)
            && self.turn.as_deref().is_none_or(there)
    }

    /// Whether a client's statement is, or may come to be, used under the client's name for it.
    pub(super) fn may_go_by_own_name(&self, statement: &Statement) -> bool {
        is_by_name(statement.weighed(), self.may_tell(statement))
    }

    /// The effects of a statement, with what it may tell by what was not read yet.
    fn may_tell(&self, statement: &Statement) -> Effects {
        self.effects_of_statement(statement) | self.perhaps_told(statement.weighed(), &statement.text)
    }

    /// The statements that a text needs by their names; `None` where it may need any.
    fn needed<'a>(&self, weighed: &'a Weighed, effects: Effects) -> Option<Vec<&'a [u8]>> {
        let Weighed::Known(pattern) = weighed else { return None };
        let names = pattern.traits.commands.iter().filter_map(|command| match command {
            Command::Execute(name) | Command::Prepare(name) | Command::Deallocate(Some(name)) => Some(name.as_bytes()),
            _ => None,
        });
        let names: Vec<_> = names.collect();
        // What functions, DO and statements that are executed execute does not stand there.
        let hidden = effects.any_of(Effects::READS_PREPARED | Effects::CALLS | Effects::RUNS | Effects::ANYTHING)
            || self.executed_by(pattern).any(|executed| executed.traits.effects.any_of(BY_NAME));
        let said = !names.is_empty() && names.iter().all(|name| !name.is_empty());
        (said && !hidden).then_some(names)
    }

    /// Whether it is being settled which of the client's names are on the backend, and what they stand for; where they
    /// are to be listed, also whether a transaction is open.
    pub(super) fn is_naming(&self, weighed: &Weighed, effects: Effects) -> bool {
        let lists = effects.any_of(Effects::READS_PREPARED);
        let settles = |turn: &Turn| turn.is_naming() || (lists && turn.is_behind());
        is_by_name(weighed, effects) && self.turn.as_ref().is_some_and(|turn| settles(turn))
    }

    /// A statement of a Query has dropped the next of the statements that the Query names.
    pub(super) fn deallocated(&mut self, leased: &mut Leased<'_>) {
        let Some(name) = self.turn.as_mut().and_then(|turn| turn.queue.front_mut()?.drops.as_mut()?.pop_front()) else {
            return;
        };
        self.names.set(&name, None);
        leased.held.set_own(&name, false);
    }

    /// What takes the client's names off the backend again; `None` where there are none.
    #[must_use]
    pub fn take_own_names(&mut self, leased: &Leased<'_>) -> Option<Vec<u8>> {
        let own = leased.held.own();
        if own.is_empty() {
            return None;
        }
        let turn = self.turn.as_mut()?;
        let mut closing = Vec::new();
        if !own.iter().all(|name| name.is_ascii()) {
            // In another encoding by now the same bytes are another name, and one that was cut may be none.
            build::write_query(&mut closing, b"DEALLOCATE ALL");
            turn.expect(Expect::new(Kind::Query, Who::Skip), [Effect::Clear, Effect::Unnamed(None)]);
            turn.end_batch();
            return Some(closing);
        }
        for name in own {
            build::write_close_statement(&mut closing, name);
            turn.expect(Expect::new(Kind::Close, Who::Skip), [Effect::Own(name.clone(), false)]);
        }
        closing.extend_from_slice(&build::SYNC);
        turn.expect(Expect::new(Kind::Sync, Who::Skip), []);
        turn.end_batch();
        Some(closing)
    }
}

/// Whether a text with these effects needs statements under the client's names.
fn is_by_name(weighed: &Weighed, effects: Effects) -> bool {
    effects.any_of(BY_NAME) || drops(weighed).next().is_some()
}

/// The statement that a text executes, where it does nothing else.
fn executed(weighed: &Weighed) -> Option<&[u8]> {
    match weighed {
        Weighed::Known(pattern) => match &*pattern.traits.commands {
            [Command::Execute(name)] if !name.is_empty() => Some(name.as_bytes()),
            _ => None,
        },
        _ => None,
    }
}

/// The statement that a text drops, where it does nothing else.
fn only_drops(weighed: &Weighed) -> Option<&Name> {
    match weighed {
        Weighed::Known(pattern) => match &*pattern.traits.commands {
            [Command::Deallocate(name)] => name.as_ref(),
            _ => None,
        },
        _ => None,
    }
}

/// The statements that DEALLOCATE names in a text.
pub(super) fn drops(weighed: &Weighed) -> impl Iterator<Item = Box<[u8]>> {
    let commands = match weighed {
        Weighed::Known(pattern) => &*pattern.traits.commands,
        _ => &[],
    };
    commands.iter().filter_map(|command| match command {
        Command::Deallocate(Some(name)) => Some(name.as_bytes().into()),
        _ => None,
    })
}
