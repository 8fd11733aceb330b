//! What a session leaves on its backend: settings are looked up before the backend goes back, so that they follow
//! the session; what cannot be carried makes it keep the backend.

use super::turn::{Effect, Expect, Kind, Who};
use super::{Leased, Session};
use crate::sql::Leaves;
use crate::wire::Frame;
use crate::wire::build;
use crate::wire::view;

/// Every setting that was set in the session, by a client or by pgweir, as SHOW gives it.
const SETTINGS: &[u8] = b"SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings \
    WHERE source OPERATOR(pg_catalog.=) 'session'";

impl Session {
    /// Whether the session left something on its backend that can be carried to no other: it must keep it.
    #[must_use]
    pub fn has_left_state(&self) -> bool {
        self.left.state
    }

    /// Whether rows of the backend are the session's own business now.
    #[must_use]
    pub fn is_looking(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.looking.is_some())
    }

    /// What must be asked of the backend before it can go back; `None` where nothing needs to be known.
    #[must_use]
    pub fn look(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.left.settings) {
            return None;
        }
        let turn = self.turn.as_mut()?;
        turn.looking = Some(Vec::new());
        turn.expect(Expect::new(Kind::Query, Who::Skip), [Effect::Unnamed(None)]);
        turn.end_batch();
        let mut query = Vec::new();
        build::write_query(&mut query, SETTINGS);
        Some(query)
    }

    /// Notes what a statement that is being sent may leave behind.
    pub(super) fn note(&mut self, leaves: Leaves) {
        self.left |= leaves;
    }

    /// DISCARD ALL has removed everything.
    pub(super) fn left_nothing(&mut self) {
        self.left = Leaves::default();
    }

    /// Takes one row of the answer.
    pub(super) fn saw_row(&mut self, frame: &Frame<'_>) {
        let Some(rows) = self.turn.as_mut().and_then(|turn| turn.looking.as_mut()) else { return };
        if let Ok([Some(name), Some(value)]) = view::data_row(frame.body).as_deref() {
            rows.push((name.to_vec(), value.to_vec()));
        }
    }

    /// The answer is complete: the backend carries these settings, and the session wants them from now on, with
    /// those it started with where it has set them back.
    pub(super) fn looked(&mut self, leased: &mut Leased<'_>) {
        let Some(rows) = self.turn.as_mut().and_then(|turn| turn.looking.take()) else { return };
        let changed = || {
            let set = rows.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
            set.filter(|(name, value)| leased.carried.fresh_value(name) != Some(value))
        };
        let carried = self.rules.profiles.intern(changed());
        let wanted = self.rules.profiles.intern(self.startup.iter().chain(changed()));
        leased.carried.profile = carried;
        self.profile = wanted;
    }
}
