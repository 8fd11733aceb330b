//! A client's prepared statements under its own names.
//!
//! Backends hold statements under names of pgweir's, which SQL must neither see nor miss: before a text runs that
//! reads, executes, makes or drops prepared statements by name, the backend is given the client's under the names
//! that it knows. Before the backend goes back they are closed.

use std::sync::Arc;

use super::turn::{Effect, Expect, Kind, Who};
use super::{Leased, Outgoing, Session};
use crate::sql::{Command, Effects, Weighed};
use crate::wire::build;
use crate::wire::view::Transaction;

/// What needs statements under the client's names; so does DEALLOCATE of one of them.
const BY_NAME: Effects = Effects::PREPARES.with(Effects::EXECUTES).with(Effects::READS_PREPARED);

impl Session {
    /// Has the client's statements on the backend under its own names, where a text is about to need them. Whether
    /// anything was sent for that.
    pub(super) fn bring_own_names(&mut self, weighed: &Weighed, leased: &Leased<'_>, out: &mut Outgoing) -> bool {
        if !self.is_by_name(weighed) || self.transaction() == Transaction::Failed {
            return false;
        }
        let effects = self.effects_of(weighed, b"");
        let before = out.to_backend.len();
        if effects.any_of(Effects::READS_PREPARED) {
            for id in leased.held.ids().collect::<Vec<_>>() {
                self.inject_close(id, out);
            }
        }
        let turn = self.turn.get_or_insert_default();
        for (name, named) in self.names.named().filter(|(name, _)| !leased.held.own().iter().any(|own| **own == **name))
        {
            build::write_parse(&mut out.to_backend, name, &named.statement.text, &named.statement.types);
            turn.expect(Expect::new(Kind::Parse, Who::Skip), [Effect::Own(name.into(), true)]);
            turn.open_batch();
        }
        if let Weighed::Known(pattern) = weighed {
            let pattern = Arc::clone(pattern);
            for command in &pattern.traits.commands {
                match command {
                    Command::Deallocate(Some(name)) => turn.deallocates.push_back(name.as_bytes().into()),
                    Command::Prepare(name) => self.state.note_prepared(name.as_bytes()),
                    _ => {}
                }
            }
        }
        out.to_backend.len() > before
    }

    /// Whether it is being settled which of the client's names are on the backend.
    pub(super) fn is_naming(&self, weighed: &Weighed) -> bool {
        self.is_by_name(weighed) && self.turn.as_ref().is_some_and(|turn| turn.is_naming())
    }

    fn is_by_name(&self, weighed: &Weighed) -> bool {
        let Weighed::Known(pattern) = weighed else { return false };
        let drops_one = |command: &Command| matches!(command, Command::Deallocate(Some(_)));
        pattern.traits.effects.any_of(BY_NAME) || pattern.traits.commands.iter().any(drops_one)
    }

    /// A statement was dropped by SQL.
    pub(super) fn deallocated(&mut self, leased: &mut Leased<'_>) {
        let Some(name) = self.turn.as_mut().and_then(|turn| turn.deallocates.pop_front()) else { return };
        self.names.set(&name, None);
        leased.held.set_own(&name, false);
    }

    /// What takes the client's names off the backend again; `None` where there are none.
    #[must_use]
    pub fn take_own_names(&mut self, leased: &Leased<'_>) -> Option<Vec<u8>> {
        if leased.held.own().is_empty() {
            return None;
        }
        let turn = self.turn.as_mut()?;
        let mut closing = Vec::new();
        for name in leased.held.own() {
            build::write_close_statement(&mut closing, name);
            turn.expect(Expect::new(Kind::Close, Who::Skip), [Effect::Own(name.clone(), false)]);
        }
        closing.extend_from_slice(&build::SYNC);
        turn.expect(Expect::new(Kind::Sync, Who::Skip), []);
        turn.end_batch();
        Some(closing)
    }
}
