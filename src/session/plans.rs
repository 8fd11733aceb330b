//! Plans outlive the sessions that made them: a backend keeps those of functions and prepared statements for whoever has
//! it next. Where that one would have had others on a connection of its own, they are discarded.

use super::{Hold, Session};
use crate::settings::Profile;
use crate::sql::{Effects, Weighed};

/// Has a backend make its plans anew, of functions too, and read prepared statements once more.
pub(super) const DISCARD: &[u8] = b"DISCARD PLANS";

impl Session {
    /// Whether constants in the bodies of functions may have been read otherwise by those who ran these on a backend that
    /// carries other settings.
    pub(super) fn rereads_functions(&self, carried: &Profile) -> bool {
        self.rules.functions.compiled().has_any() && self.profile.reads_otherwise_than(carried)
    }

    /// Whether the session makes its first temporary object by this, which may go by the name of another one. Where a
    /// connection is new, PostgreSQL plans anew then what had that name, as it searches another schema from then on. A
    /// backend that has had temporary objects of others searches it already, and keeps its plans.
    pub(super) fn may_mask(&self, weighed: &Weighed) -> bool {
        let Weighed::Known(pattern) = weighed else { return false };
        let effects = pattern.traits.effects;
        effects.any_of(Effects::TEMPORARY | Effects::DEFINES)
            && !effects.any_of(Effects::ANYTHING)
            && self.effects_of_pattern(pattern).any_of(Effects::TEMPORARY)
            && !self.state.may_have_temporary()
            && self.rules.hold != Hold::Session
    }
}
