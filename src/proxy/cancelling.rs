//! Cancels: those that a client asks for, and those that a limit of time demands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::active::{Active, Ownership};
use super::serve::Serve;
use crate::backend::cancel;
use crate::clients::Signal;
use crate::session::{Running, Wait};
use crate::wire::build::Fault;
use crate::wire::sqlstate;

impl Serve {
    /// A CancelRequest for this session has come.
    pub(super) fn cancelled(&mut self, active: &mut Active) {
        match &active.ownership {
            Ownership::Waiting { asked, .. } => {
                active.measured.waited = asked.elapsed();
                active.ownership = Ownership::None;
                let tag = active.held.map_or(0, |(_, tag)| tag);
                let fault = cancelled_in_queue("The statement was waiting for a backend of pgweir's pool.");
                // Not fatal, so it cannot fail.
                let _ = self.no_lease(active, tag, &fault);
            }
            Ownership::Leased(_) if active.held.is_some() || self.session.owes_client() => {
                active.cancel_wanted = true;
                return;
            }
            Ownership::Leased(_) | Ownership::None => {}
        }
        self.handle.cancels_are_done();
    }

    /// Does what a cancel wants as soon as the client's statement runs: what pgweir asks of the backend on its own is
    /// not cancelled, and a cancel that finds nothing is too late.
    pub(super) fn heed_cancel(&mut self, active: &mut Active) {
        if !active.cancel_wanted || !active.to_backend.is_empty() {
            return;
        }
        match self.session.running() {
            Running::Clients => self.cancel_running(active),
            Running::Nothing if matches!(active.held, Some((Wait::Pin(_), _))) => {
                let fault = cancelled_in_queue("The statement was waiting for a pin of pgweir's pool.");
                self.refuse_pin(active, fault);
                self.handle.cancels_are_done();
            }
            Running::Nothing if active.held.is_none() => self.handle.cancels_are_done(),
            Running::Nothing | Running::Ours => return,
        }
        active.cancel_wanted = false;
    }

    /// Cancels what the backend runs. Until PostgreSQL has acted the backend is not given to anybody else.
    pub(super) fn cancel_running(&mut self, active: &mut Active) {
        let Ownership::Leased(lease) = &active.ownership else { return };
        if self.session.running() != Running::Clients || active.cancel.is_some() {
            return;
        }
        let (target, key, client) = (self.route.target.endpoint(), Arc::clone(&lease.cancel), Arc::clone(&self.handle));
        self.session.cancel_is_sent();
        let done = Arc::new(AtomicBool::new(false));
        active.cancel = Some(Arc::clone(&done));
        tokio::spawn(async move {
            if let Err(error) = cancel::cancel(&target, &key).await {
                tracing::warn!(%error, "a cancel request could not be delivered");
            }
            done.store(true, Ordering::Release);
            client.cancels_are_done();
            client.signal(Signal::Tick);
        });
    }
}

fn cancelled_in_queue(where_it_was: &str) -> Fault {
    Fault::error(sqlstate::QUERY_CANCELED, "canceling statement due to user request").detail(where_it_was)
}
