//! What a text tells of its session alone, and not of the backend it happens to have: its prepared statements, what it
//! listens to, what it has drawn from sequences. Its backend must be brought to that before the text runs.
//!
//! A text may do so by its own words, or by what it calls. Of a function, a view or a statement that was not read yet
//! it is believed, once anything in the database is known to do so: what is brought in vain does no harm.

use super::Session;
use super::weigh::callees;
use crate::sql::{Command, Effects, Pattern, Weighed};

/// What may define something that tells of whichever session runs it.
const MAKES_TELLING: Effects = Effects::DEFINES.with(Effects::RUNS).with(Effects::ANYTHING);

impl Session {
    /// What a text tells of its session by what it calls, and by code that stands in it.
    pub(super) fn told_by(&self, pattern: &Pattern, text: &[u8]) -> Effects {
        let (functions, effects) = (&self.rules.functions, pattern.traits.effects);
        let mut tells = functions.tell(callees(pattern));
        if effects.any_of(Effects::RUNS) {
            let bodies = self.bodies(effects, text);
            tells |= bodies.tells | functions.tell(bodies.callees.into_iter());
        }
        if effects.any_of(Effects::EXECUTES) {
            tells |= self.state.told_when_executed();
            for command in &pattern.traits.commands {
                // A statement that executes others by SQL is not looked into.
                if let Command::Execute(name) = command
                    && let Some(named) = self.names.get(name.as_bytes())
                    && let Weighed::Known(executed) = named.statement.weighed()
                {
                    tells |= executed.traits.effects.among(Effects::TELLS) | functions.tell(callees(executed));
                }
            }
        }
        tells
    }

    /// Notes what there will be that tells of a session, where a text defines or prepares it.
    pub(super) fn note_telling(&mut self, pattern: &Pattern, text: &[u8]) {
        let effects = pattern.traits.effects;
        if effects.any_of(MAKES_TELLING) {
            self.rules.functions.expect_telling(told_in(text));
        }
        if effects.any_of(Effects::PREPARES | Effects::CALLS) {
            let tells = effects | self.told_by(pattern, text);
            self.state.note_told(tells.among(Effects::READS_PREPARED | Effects::READS_CHANNELS));
        }
    }
}

/// What the names in a text may tell of a session, strings and comments included.
pub(super) fn told_in(text: &[u8]) -> Effects {
    let names =
        [(&b"pg_prepared_statement"[..], Effects::READS_PREPARED), (b"pg_listening_channels", Effects::READS_CHANNELS)];
    let lower = text.to_ascii_lowercase();
    let found = names.into_iter().filter(|(name, _)| memchr::memmem::find(&lower, name).is_some());
    found.fold(Effects::NONE, |all, (_, tells)| all | tells)
}
