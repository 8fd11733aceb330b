//! What a text tells of its session alone, and not of the backend it happens to have: its prepared statements, what it
//! listens to, what it has drawn from sequences. Its backend must be brought to that before the text runs.
//!
//! A text may do so by its own words, or by what it calls. Of a function or a view that was not read yet it is guessed,
//! once anything in the database is known to list statements or channels; a guess is only acted upon where nothing can
//! fail because of it, before a batch begins.

use std::ops::BitOrAssign;
use std::sync::Arc;

use super::Session;
use super::weigh::callees;
use crate::sql::{Command, Effects, Kind, Pattern, Weighed, first_word};

/// What may define something that tells of whichever session runs it.
const MAKES_TELLING: Effects = Effects::DEFINES.with(Effects::RUNS).with(Effects::ANYTHING);

/// What is told of a session, each of [`Effects::TELLS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) known: Effects,
    /// By what was not read yet, as something in the database does so.
    pub(super) perhaps: Effects,
}

impl BitOrAssign for Told {
    fn bitor_assign(&mut self, other: Self) {
        self.known |= other.known;
        self.perhaps |= other.perhaps;
    }
}

impl Session {
    /// What a text tells of its session by what it calls, and by code that stands in it.
    pub(super) fn told_by(&self, pattern: &Pattern, text: &[u8]) -> Told {
        let (functions, effects) = (&self.rules.functions, pattern.traits.effects);
        // Nothing of what it names runs, and before it no snapshot may be taken.
        if pattern.traits.kind == Kind::Utility && first_word(text).eq_ignore_ascii_case(b"lock") {
            return Told::default();
        }
        let mut told = functions.tell(callees(pattern));
        if effects.any_of(Effects::RUNS) {
            let bodies = self.bodies(effects, text);
            told.known |= bodies.tells;
            told |= functions.tell(bodies.callees.into_iter());
        }
        if effects.any_of(Effects::EXECUTES) {
            told.known |= self.state.told_when_executed();
            for executed in self.executed_by(pattern) {
                told.known |= executed.traits.effects.among(Effects::TELLS);
                told |= functions.tell(callees(&executed));
            }
        }
        told
    }

    /// What a text may tell of its session by what was not read yet. It is of no consequence where it does not, but
    /// that what is brought for it takes time: nothing may fail or be seen otherwise because of it.
    pub(super) fn perhaps_told(&self, weighed: &Weighed, text: &[u8]) -> Effects {
        match weighed {
            Weighed::Known(pattern) if self.rules.functions.may_tell(Effects::LISTS) => {
                self.told_by(pattern, text).perhaps
            }
            _ => Effects::NONE,
        }
    }

    /// The patterns of the client's statements that a text executes by SQL.
    pub(super) fn executed_by<'a>(&'a self, pattern: &'a Pattern) -> impl Iterator<Item = Arc<Pattern>> + 'a {
        pattern.traits.commands.iter().filter_map(|command| {
            let Command::Execute(name) = command else { return None };
            match self.names.get(name.as_bytes())?.statement.weighed() {
                Weighed::Known(executed) => Some(Arc::clone(executed)),
                Weighed::Anything | Weighed::Later(_) => None,
            }
        })
    }

    /// Notes what there will be that tells of a session, where a text defines or prepares it.
    pub(super) fn note_telling(&mut self, pattern: &Pattern, text: &[u8]) {
        let effects = pattern.traits.effects;
        if effects.any_of(MAKES_TELLING) {
            self.rules.functions.expect_named(text);
        }
        if effects.any_of(Effects::PREPARES | Effects::CALLS) {
            let told = self.told_by(pattern, text);
            let tells = effects | told.known | told.perhaps;
            self.state.note_told(tells.among(Effects::LISTS));
        }
    }
}

/// What the names in a text may tell of a session, strings and comments included.
pub(super) fn told_in(text: &[u8]) -> Effects {
    let names = [
        (&b"pg_prepared_statement"[..], Effects::READS_PREPARED),
        (b"pg_listening_channels", Effects::READS_CHANNELS),
        (b"currval", Effects::READS_SEQUENCE),
        (b"lastval", Effects::READS_SEQUENCE),
    ];
    let lower = text.to_ascii_lowercase();
    let found = names.into_iter().filter(|(name, _)| memchr::memmem::find(&lower, name).is_some());
    found.fold(Effects::NONE, |all, (_, tells)| all | tells)
}
