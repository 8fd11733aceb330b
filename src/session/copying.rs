//! COPY from the client: where its data ends among the replies, and which Syncs it ate.

use super::turn::{Doubt, Expect, Kind, Turn, Who};
use crate::prepared::NEVER;
use crate::wire::build;

impl Turn {
    /// The backend waits for COPY data.
    pub(super) fn begin_copy(&mut self) {
        self.copy_in = true;
        if let Some(expect) = self.queue.front_mut() {
            self.forgetting -= usize::from(std::mem::take(&mut expect.forgets));
        }
    }

    /// The client ends its data; the backend may keep its reply to itself until a Flush.
    pub(super) fn end_copy(&mut self) {
        self.expect(Expect::new(Kind::CopyEnd, Who::Forward), []);
        self.unflushed = true;
    }

    /// Whether the client's next frame belongs to the COPY: its end was not seen yet.
    pub(super) fn is_copying(&self) -> bool {
        self.copy_in && self.copy_end().is_none()
    }

    /// Where in the queue the end of the data stands; only Syncs are before it.
    fn copy_end(&self) -> Option<usize> {
        let other = self.queue.iter().skip(1).position(|expect| expect.kind != Kind::Sync)? + 1;
        self.queue.get(other).is_some_and(|expect| expect.kind == Kind::CopyEnd).then_some(other)
    }

    /// The COPY has read the end of its data: Syncs before it were ignored, and ended no batch.
    pub(super) fn complete_copy(&mut self) {
        self.copy_in = false;
        if let Some(end) = self.copy_end() {
            self.queue.drain(1..=end);
        }
        self.open_batch |= !self.queue.iter().any(Expect::is_end_of_batch);
    }

    /// The COPY has failed: whether it had read the Syncs before the end of its data is not known. `false` where
    /// that cannot be found out any more.
    pub(super) fn fail_copy(&mut self) -> bool {
        self.copy_in = false;
        let doubtful = match self.copy_end() {
            Some(end) => {
                self.queue.remove(end);
                end - 1
            }
            None => self.leading_syncs(1),
        };
        if doubtful == 0 {
            return true;
        }
        self.doubt = Doubt::Syncs(doubtful);
        if self.queue.iter().any(Expect::is_fake) {
            // Where it stands among the replies is as doubtful.
            return false;
        }
        // What follows is read at all if nothing is skipped, or a Sync ends the skipping for certain.
        self.head_kind() == Some(Kind::Query) || self.leading_syncs(1) > doubtful || !self.owes_more_than_syncs(1)
    }

    /// Asks the backend which Syncs it had read: it answers those it had not before it answers a Close. Where more
    /// than Syncs is under way, the reply to that will tell.
    pub(super) fn ask_about_syncs(&mut self, to_backend: &mut Vec<u8>) {
        if let Doubt::Syncs(count) = self.doubt
            && !self.owes_more_than_syncs(1)
        {
            self.doubt = Doubt::Asked(count);
            build::write_close_statement(to_backend, NEVER);
            to_backend.extend_from_slice(&build::SYNC);
            self.expect(Expect::new(Kind::Close, Who::Skip), []);
            self.expect(Expect::new(Kind::Sync, Who::Skip), []);
            self.end_batch();
        }
    }

    /// A reply has come that is no ReadyForQuery: of the Syncs that still stand before what it answers, those in
    /// doubt were eaten.
    pub(super) fn resolve_doubt(&mut self) {
        if self.head_kind() != Some(Kind::Sync) {
            return;
        }
        if let Doubt::Syncs(count) | Doubt::Asked(count) = std::mem::take(&mut self.doubt) {
            let mut syncs = 0;
            while syncs < count && !self.queue.is_empty() {
                syncs += usize::from(self.head_kind() == Some(Kind::Sync));
                self.discard_head();
            }
        }
    }
}
