//! What sessions drew from sequences on backends that they share, of which `currval` and `lastval` tell.
//!
//! A session keeps the backend on which it drew where that is wanted and a pin is free. Where none is, what another
//! session drew must never be told: a key that belongs to somebody else's row is worse than an error. So what the
//! backend knows of it is discarded before a statement asks, and PostgreSQL says that nothing was drawn.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::outstanding::Known;
use super::state::Keeps;
use super::turn::{Effect, Expect, Kind, Who};
use super::weigh::callees;
use super::{Outgoing, Sequences, Session, Verdict, Wait};
use crate::prepared::{NEVER, Names, Statement};
use crate::sql::{Command, Effects, Weighed, statements};
use crate::wire::build;
use crate::wire::view::Transaction;

const DISCARD: &[u8] = b"DISCARD SEQUENCES";

/// Whose draws a leased backend knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Draws {
    /// Nobody's, or the session's own of an earlier lease.
    #[default]
    Kept,
    /// Those of another session.
    Others,
    /// They were another's, and are discarded.
    Discarded,
    /// The session has drawn since it leased the backend.
    Own,
}

impl Draws {
    /// The backend has discarded them.
    pub(super) fn discard(&mut self) {
        if *self == Self::Others {
            *self = Self::Discarded;
        }
    }
}

/// Whether a statement lets others run in a transaction that has failed: it ends it, or goes back in it.
pub(super) fn ends_failure(weighed: &Weighed) -> bool {
    let Weighed::Known(pattern) = weighed else { return false };
    let ends = |command: &Command| {
        matches!(
            command,
            Command::Commit { .. } | Command::Rollback { .. } | Command::RollbackTo | Command::PrepareTransaction
        )
    };
    matches!(&*pattern.traits.commands, [command] if ends(command))
}

impl Session {
    /// Notes that values were drawn from sequences, or asked for.
    pub(super) fn note_sequences(&mut self, effects: Effects) {
        if !effects.any_of(Effects::DRAWS | Effects::READS_SEQUENCE) {
            return;
        }
        if effects.any_of(Effects::READS_SEQUENCE) {
            self.rules.sequences.ask();
        }
        let pins = match &self.rules.sequences {
            Sequences::Auto { asked } => asked.load(Ordering::Relaxed),
            Sequences::Off => return,
            Sequences::Pin => true,
        };
        if effects.any_of(Effects::DRAWS) {
            self.turn.get_or_insert_default().draws = Draws::Own;
            if pins {
                self.state.keep(Keeps::SEQUENCES);
            }
        }
    }

    /// Another session has drawn from sequences on the backend that has just been leased.
    pub fn finds_draws_of_others(&mut self) {
        self.turn.get_or_insert_default().draws = Draws::Others;
    }

    /// Whether the session has drawn from a sequence since it leased its backend.
    #[must_use]
    pub fn has_drawn(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.draws == Draws::Own)
    }

    /// Whether the backend knows of no draws any more.
    #[must_use]
    pub fn has_discarded_draws(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.draws == Draws::Discarded)
    }

    /// Whether another session's draws are there, and are not to be told.
    pub(super) fn hides_draws(&self) -> bool {
        let others = self.turn.as_ref().is_some_and(|turn| turn.draws == Draws::Others);
        others && !matches!(self.rules.sequences, Sequences::Off)
    }

    /// Whether a text may ask what was drawn: by its words, by what is known of what it calls, and where anybody has
    /// asked before, or anything in the database does, by what was not read yet.
    fn may_ask(&self, weighed: &Weighed, text: &[u8]) -> bool {
        let pattern = match weighed {
            Weighed::Known(pattern) => Arc::clone(pattern),
            Weighed::Later(_) => self.learn(text),
            // What streams past.
            Weighed::Anything => return true,
        };
        let anybody = matches!(&self.rules.sequences, Sequences::Auto { asked } if asked.load(Ordering::Relaxed));
        let asked = anybody || self.rules.functions.may_ask_for_draws();
        self.effects_of(&Weighed::Known(Arc::clone(&pattern)), text).any_of(Effects::READS_SEQUENCE)
            || (asked && !self.rules.functions.have_read(callees(&pattern)))
    }

    /// Has the backend forget what others drew, if a text may ask.
    ///
    /// # Errors
    /// The text must wait: before it is known what becomes of earlier batches, their transaction may have failed.
    pub(super) fn discard_draws(&mut self, weighed: &Weighed, text: &[u8], out: &mut Outgoing) -> Result<(), Verdict> {
        if !self.hides_draws() || !self.may_ask(weighed, text) {
            return Ok(());
        }
        let turn = self.turn.get_or_insert_default();
        if turn.is_behind() {
            return Err(Verdict::Hold(Wait::Replies));
        }
        if !turn.may_begin_batch() {
            self.discard_within(out);
            return Ok(());
        }
        if turn.status != Transaction::Failed {
            turn.draws = Draws::Discarded;
            self.ask_alone(DISCARD, &mut out.to_backend);
            return Ok(());
        }
        // Of what streams past only the beginning is here.
        let whole = |first: &Range<usize>| first.end < text.len() || !matches!(weighed, Weighed::Anything);
        let first = statements(text, &self.lexing()).next().filter(whole);
        let first = first.and_then(|first| text.get(first)).unwrap_or_default();
        match self.learn(first).traits.commands.first() {
            Some(Command::Commit { .. } | Command::Rollback { .. } | Command::PrepareTransaction) => {
                self.discard_in_failure(out);
            }
            Some(Command::RollbackTo) => self.discard_behind(first, out),
            _ => {}
        }
        Ok(())
    }

    /// The same in a batch that has begun. What fails before it keeps the text from asking, too.
    fn discard_within(&mut self, out: &mut Outgoing) {
        let turn = self.turn.get_or_insert_default();
        let discards = turn.pending.iter().any(|pending| matches!(pending.effect, Effect::Discard));
        let runs = turn.status != Transaction::Failed || turn.ends_failure;
        if turn.open_batch && runs && !discards {
            self.execute_for(DISCARD, Effect::Discard, &mut out.to_backend);
        }
    }

    /// The same in a transaction that has failed, and of which the text at hand goes `back` to a savepoint before it
    /// asks. To go there twice is to go there once; if there is no such savepoint, that is the text's own error, and
    /// nothing was discarded.
    fn discard_behind(&mut self, back: &[u8], out: &mut Outgoing) {
        self.try_mending(&[back, DISCARD], out);
    }

    /// The same in a transaction that has failed, and that the text at hand ends before it asks: PostgreSQL lets nobody
    /// discard anything there. Another takes its place, which fails, too.
    fn discard_in_failure(&mut self, out: &mut Outgoing) {
        self.turn.get_or_insert_default().draws = Draws::Discarded;
        for statement in [b"ROLLBACK AND CHAIN".as_slice(), DISCARD] {
            self.execute_mending(statement, &mut out.to_backend);
        }
        build::write_describe_statement(&mut out.to_backend, NEVER);
        self.turn.get_or_insert_default().expect(Expect::new(Kind::Describe, Who::Try), []);
        self.end_own_batch(out);
    }

    /// The same before a statement is parsed.
    pub(super) fn discard_draws_for(&mut self, statement: &Statement, out: &mut Outgoing) -> Result<(), Verdict> {
        self.discard_draws(statement.weighed(), &statement.text, out)
    }

    /// The same before a statement is bound that has been parsed.
    pub(super) fn discard_draws_before(&mut self, name: &[u8], out: &mut Outgoing) -> Result<(), Verdict> {
        let Some(turn) = self.turn.as_ref().filter(|_| self.hides_draws()) else { return Ok(()) };
        match turn.named(&self.names, Names::key(name)) {
            Known::Now(Some(named)) => self.discard_draws_for(&named.statement, out),
            _ => Ok(()),
        }
    }
}
