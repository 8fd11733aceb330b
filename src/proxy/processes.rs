//! Gives the processes that a client's frame mentions their backends' ids, and keeps those backends with their
//! sessions until the statement is done: whoever has one next must not be hit by a signal that was another's.

use std::task::Context;

use super::active::{Active, Ownership};
use super::serve::Serve;
use crate::clients::{Backend, KeptBackend};
use crate::session::{Mention, Wait, write_process};
use crate::wire::scan::HEADER;

impl Serve {
    /// Replaces what the frame that waits for it mentions. Whether anything happened.
    pub(super) fn name_processes(&mut self, active: &mut Active, cx: &mut Context<'_>) -> bool {
        if !matches!(active.held, Some((Wait::Processes, _))) {
            return false;
        }
        let mentions = self.session.mentions();
        let mut given = self.session.mentioned();
        given.extend(mentions.iter().filter_map(|mention| process_at(active, *mention)));
        if self.poll_mentioned(&given, active, cx).is_pending() {
            return false;
        }
        for mention in mentions {
            self.name_process(active, mention);
        }
        for given in self.session.mentioned() {
            if let Some(process) = self.backend_of(active, given) {
                self.session.process_is(given, process);
            }
        }
        self.session.processes_are_named();
        active.held = None;
        true
    }

    fn name_process(&self, active: &mut Active, mention: Mention) {
        let given = process_at(active, mention);
        let Some(process) = given.and_then(|given| self.backend_of(active, given)) else { return };
        if let Some(bytes) = active.from_client.unread_mut().get_mut(place(mention)) {
            write_process(bytes, process, mention.binary);
        }
    }

    /// The backend of the session that was given this process id. It stays with that session until the statement is
    /// done; `None` where it has none on this server.
    fn backend_of(&self, active: &mut Active, given: i32) -> Option<i32> {
        let Ownership::Leased(lease) = &active.ownership else { return None };
        if given == self.handle.pid {
            return Some(lease.cancel.pid);
        }
        let kept = self.route.clients.find(given)?.keep_backend();
        let Backend { server, process } = kept.backend()?;
        if server != lease.cancel.server {
            return None;
        }
        active.mentioned.push(kept);
        Some(process)
    }

    /// The statement that mentioned sessions has been answered: they may part with their backends.
    pub(super) fn forget_mentioned(&self, mentioned: &mut Vec<KeptBackend>) {
        if !mentioned.is_empty() && self.session.is_done_with_mentioned() {
            mentioned.clear();
        }
    }
}

/// Where a mention stands in what was read.
fn place(mention: Mention) -> std::ops::Range<usize> {
    HEADER + mention.at..HEADER + mention.at + mention.len
}

/// The process that the frame at the head of the inbox mentions there.
fn process_at(active: &Active, mention: Mention) -> Option<i32> {
    active.from_client.unread().get(place(mention)).and_then(|bytes| mention.process(bytes))
}
