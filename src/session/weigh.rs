//! What a client's texts may do to its session.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::functions::Callee;
use super::{Keeps, Sequences, Session};
use crate::sql::{Command, Effects, Encoding, Kind, Lexing, Pattern, Unnamed, Weighed, do_bodies, unnamed_settings};
use crate::wire::Frame;
use crate::wire::view::{Transaction, query_text};

impl Session {
    /// What is known of a text.
    pub(super) fn weigh(&self, text: &[u8]) -> Weighed {
        self.rules.patterns.weigh(text, &self.lexing())
    }

    /// What is known of a Query's text, which may not be here whole.
    pub(super) fn weigh_query(&self, frame: &Frame<'_>) -> Weighed {
        if frame.is_whole() { self.weigh(query_text(frame.body)) } else { Weighed::Anything }
    }

    /// What a text may do to the session, as far as that is known by now.
    pub(super) fn effects_of(&self, weighed: &Weighed, text: &[u8]) -> Effects {
        match weighed {
            Weighed::Anything => Effects::ANYTHING,
            Weighed::Known(pattern) => {
                let effects = self.effects_of_pattern(pattern);
                let holds = self.unnamed_in(effects, text) == Unnamed::Likely
                    || (!pattern.traits.functions.is_empty() && self.rules.functions.hold(callees(pattern)));
                if holds { effects | Effects::HOLDS } else { effects }
            }
            // Its words look harmless.
            Weighed::Later(_) => Effects::NONE,
        }
    }

    /// Whether code that stands in a text with these effects may set what it does not name.
    fn unnamed_in(&self, effects: Effects, text: &[u8]) -> Unnamed {
        let lexing = self.lexing();
        if effects.any_of(Effects::ANYTHING) {
            unnamed_settings(text, &lexing)
        } else if effects.any_of(Effects::RUNS) {
            do_bodies(text, &lexing).map(|body| unnamed_settings(&body, &lexing)).max().unwrap_or_default()
        } else {
            Unnamed::No
        }
    }

    /// Notes how settings may have been made whose names nobody knows.
    pub(super) fn note_unnamed(&mut self, unnamed: Unnamed) {
        match unnamed {
            Unnamed::No => {}
            Unnamed::Maybe => self.state.note_unnamed(),
            Unnamed::Likely => self.state.keep(Keeps::UNKNOWN),
        }
    }

    /// What a shared backend listens to is not left on one's own.
    fn effects_of_pattern(&self, pattern: &Pattern) -> Effects {
        let effects = pattern.traits.effects;
        if self.is_shared(pattern) { effects.without(Effects::LISTENS) } else { effects }
    }

    /// The pattern of a text that must be known now.
    pub(super) fn learn(&self, text: &[u8]) -> Arc<Pattern> {
        self.rules.patterns.learn(text, &self.lexing())
    }

    /// Notes a text that is being sent.
    pub(super) fn note(&mut self, weighed: &Weighed, text: &[u8], now: Instant) {
        match weighed {
            Weighed::Anything => {
                self.state.note(Effects::ANYTHING, text);
                // The end of the text was not here.
                self.state.note_unnamed();
            }
            Weighed::Known(pattern) => self.note_pattern(pattern, text, now),
            Weighed::Later(digest) => self.turn.get_or_insert_default().unsure.push(*digest),
        }
    }

    /// Finds out about texts that were sent before they were known.
    pub(super) fn settle_unsure(&mut self, now: Instant) {
        let Some(turn) = &mut self.turn else { return };
        for digest in std::mem::take(&mut turn.unsure) {
            match self.rules.patterns.known_by(digest) {
                Some(pattern) => self.note_pattern(&pattern, b"", now),
                None => self.state.note(Effects::CALLS, b""),
            }
        }
    }

    fn note_pattern(&mut self, pattern: &Arc<Pattern>, text: &[u8], now: Instant) {
        let traits = &pattern.traits;
        if traits.kind == Kind::Ddl {
            self.note_administration(pattern);
            self.rules.functions.forget();
        }
        let mut effects = self.effects_of_pattern(pattern);
        self.note_sequences(effects);
        if effects.any_of(Effects::NOTIFIES) {
            self.turn.get_or_insert_default().notified = true;
        }
        // Most who ask compare it with others' in the same statement.
        let tells_pid = effects.any_of(Effects::READS_PID) && traits.reads.is_empty();
        if tells_pid && self.transaction() == Transaction::Idle {
            self.state.keep(Keeps::PROCESS_ID);
        }
        let unnamed = self.unnamed_in(effects, text);
        self.note_unnamed(unnamed);
        // The names as PostgreSQL reads them; the text is searched, too, for those in strings.
        self.state.note_custom(traits.commands.iter().filter_map(own_setting));
        if traits.functions.is_empty() && traits.writes.is_empty() {
            return self.state.note(effects, text);
        }
        let judgement = self.rules.functions.judge(callees(pattern), now);
        if judgement.may_leave {
            effects |= Effects::CALLS;
            self.note_unnamed(judgement.unnamed);
            self.state.note_custom(judgement.custom.iter());
            self.turn.get_or_insert_default().unknown.extend(judgement.unknown);
        } else if !effects.any_of(Effects::RUNS) {
            effects = effects.without(Effects::CALLS);
        }
        self.state.note(effects, text);
    }

    fn note_sequences(&mut self, effects: Effects) {
        if !effects.any_of(Effects::DRAWS | Effects::READS_SEQUENCE) {
            return;
        }
        let pins = match &self.rules.sequences {
            Sequences::Auto { asked } => {
                if effects.any_of(Effects::READS_SEQUENCE) {
                    asked.store(true, Ordering::Relaxed);
                }
                asked.load(Ordering::Relaxed)
            }
            Sequences::Off => return,
            Sequences::Pin => true,
        };
        if effects.any_of(Effects::DRAWS) {
            self.turn.get_or_insert_default().drew = true;
            if pins {
                self.state.keep(Keeps::SEQUENCES);
            }
        }
    }

    /// How the session's texts are read.
    pub(super) fn lexing(&self) -> Lexing {
        Lexing {
            conforming: self.profile.get(b"standard_conforming_strings") != Some(b"off"),
            encoding: self.profile.get(b"client_encoding").map(Encoding::named).unwrap_or_default(),
        }
    }
}

/// What runs by name when the statements of a pattern do.
fn callees(pattern: &Pattern) -> impl Iterator<Item = Callee> {
    let functions = pattern.traits.functions.iter().map(|name| Callee::function(name.as_bytes()));
    functions.chain(pattern.traits.writes.iter().map(|table| Callee::triggers(table.as_bytes())))
}

/// The setting with a name of a user's own that a statement sets.
fn own_setting(command: &Command) -> Option<&[u8]> {
    match command {
        Command::Set { name, local: false } if name.contains('.') => Some(name.as_bytes()),
        _ => None,
    }
}
