//! A turn that is over serves the next: every transaction has one, and would allocate it anew.

use super::turn::Turn;

/// Replies that are owed, and effects, for which memory is kept.
const KEPT: usize = 16;

/// Makes fields what they are by default, in place. All others must be named too, so that none is forgotten.
macro_rules! make_default {
    ($of:expr, { $($field:ident)* } but { $($other:ident)* }) => {
        let Self { $($field,)* $($other: _,)* } = $of;
        $(*$field = Default::default();)*
    };
}

impl Turn {
    /// As new, but for memory that is kept.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.queue.shrink_to(KEPT);
        self.pending.clear();
        self.pending.shrink_to(KEPT);
        self.kept_batch.forget();
        self.measures.clear(KEPT);
        make_default!(self, {
            looking head portals before_reports look_failed may_be_refused outdated unsure brought_channels recoded told
            ledger discarded notified ready_kept invalid mend_next administered has_administered draws unknown
            began_a_name leased unused status deferred copying decisions skipping open_batch
            unflushed ends_failure between_frames passing crowded forgetting momentary fatal reset cancel_report measured kept_reply batch
        } but { queue pending kept_batch measures });
    }
}
