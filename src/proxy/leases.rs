//! Leases: when a session asks for a backend, and when it gives it back.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::active::{Active, Ownership, Rest, Work};
use super::buffer::Inbox;
use super::ending::Ending;
use super::pinning::reasons;
use super::serve::Serve;
use super::shortage::{backend_gone, pin_fault};
use crate::backend::{Backend, Dialer, Refusal, Undo};
use crate::clients::{self, Parting};
use crate::config::ResetOnReturn;
use crate::pool::{Asked, Lease, LeaseError, PinReasons, Return, Wish};
use crate::session::{Keeps, Leased, Wait};
use crate::stats;
use crate::wire::build::{Fault, Severity};
use crate::wire::sqlstate;
use crate::wire::tag::client;

/// What the session may see and note of the backend that it has.
pub(super) fn for_session(lease: &mut Lease<Dialer>) -> Leased<'_> {
    let pinned = lease.is_pinned();
    let Backend { held, carried, .. } = &mut ***lease;
    Leased { held, carried, pinned }
}

impl Serve {
    /// Asks for the lease that a held frame needs. Whether the frame can be judged again.
    pub(super) fn ask_for_lease(
        &mut self,
        active: &mut Active,
        cx: &Context<'_>,
        (wait, tag): (Wait, u8),
        now: Instant,
    ) -> Result<bool, Ending> {
        if !wait.is_for_lease() || !matches!(active.ownership, Ownership::None) {
            return Ok(false);
        }
        let pin = if let Wait::PinnedLease(keeps) = wait { reasons(keeps) } else { PinReasons::NONE };
        let must = if wait == Wait::SameLease { self.aside.drew_on } else { None };
        let wish = Wish {
            worker: self.worker().index,
            last_backend: self.aside.last_backend,
            profile: Arc::as_ptr(self.session.profile()).addr(),
            priority: active.limits.priority,
            holder: u64::try_from(self.handle.pid).unwrap_or(0),
            pin,
            must,
        };
        if wait == Wait::Lease && tag == client::PARSE {
            if let Some(lease) = self.route.pool.try_lease(&wish, now) {
                self.begin_lease(active, lease, now);
                return Ok(true);
            }
            if !self.route.pool.may_open() && self.parse_unleased(active, now)? {
                return Ok(true);
            }
        }
        match self.route.pool.lease(&wish, now, cx.waker()) {
            Ok(Asked::Lease(lease)) => self.begin_lease(active, lease, now),
            Ok(Asked::Waiting(waiting)) => {
                active.ownership = Ownership::Waiting { waiting, asked: now };
                active.asked_just_now = true;
            }
            Err(LeaseError::BackendGone) => {
                // PostgreSQL itself says that nothing was drawn in its session.
                self.aside.drew_on = None;
                return self.ask_for_lease(active, cx, (wait, tag), now);
            }
            Err(error) => self.no_lease(active, tag, &self.lease_error(&error, wait.keeps()))?,
        }
        Ok(true)
    }

    /// Whether the client's Parse could be answered although no backend is free, nor any to be opened.
    fn parse_unleased(&mut self, active: &mut Active, now: Instant) -> Result<bool, Ending> {
        let limit = active.limits.messages.any;
        let Some(bytes) = self.session.parse_unleased(active.from_client.unread(), limit, &mut active.out) else {
            return Ok(false);
        };
        active.from_client.consume(bytes);
        active.hear_session();
        (active.held, active.last_frame) = (None, Some(now));
        self.release_if_done(active, now)?;
        Ok(true)
    }

    /// Takes the lease that was waited for, if it has come.
    pub(super) fn take_lease(
        &mut self,
        active: &mut Active,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<bool, Ending> {
        let Ownership::Waiting { waiting, asked } = &mut active.ownership else {
            return Ok(false);
        };
        if active.asked_just_now {
            return Ok(false);
        }
        let asked = *asked;
        match waiting.poll_at(cx, now) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(lease)) => {
                self.begin_lease(active, lease, asked);
                Ok(true)
            }
            Poll::Ready(Err(error)) => {
                active.ownership = Ownership::None;
                active.measured.waited = now.saturating_duration_since(asked);
                let tag = active.held.map_or(0, |(_, tag)| tag);
                match error {
                    LeaseError::Refused(refusal) => self.refused(active, tag, &refusal)?,
                    LeaseError::BackendGone => {
                        self.aside.drew_on = None;
                        return self.ask_for_lease(active, cx, (Wait::Lease, tag), now);
                    }
                    error => {
                        let keeps = active.held.map_or(Keeps::empty(), |(wait, _)| wait.keeps());
                        self.no_lease(active, tag, &self.lease_error(&error, keeps))?;
                    }
                }
                Ok(true)
            }
        }
    }

    fn begin_lease(&mut self, active: &mut Active, mut lease: Lease<Dialer>, asked: Instant) {
        active.held = None;
        active.measured.waited += lease.leased_at().saturating_duration_since(asked);
        active.from_backend = Inbox::with_room(self.worker().take_room());
        let others_drew = lease.drew.is_some_and(|drew| drew != self.handle.pid);
        if self.aside.drew_on == Some(lease.id()) && lease.drew != Some(self.handle.pid) {
            self.aside.drew_on = None;
        }
        self.handle.has_backend(clients::Backend { server: lease.cancel.server, process: lease.cancel.pid });
        lease.holder.lend(self.handle.pid, self.aside.subscriber.is_some());
        self.aside.last_backend = Some(lease.id());
        self.session.leased(&mut for_session(&mut lease), &mut active.out);
        if others_drew {
            self.session.finds_draws_of_others();
        }
        active.to_backend.push(&active.out.to_backend);
        active.out.to_backend.clear();
        active.ownership = Ownership::Leased(lease);
    }

    /// Whether the session needs its backend no more and nothing of their conversation is left anywhere.
    fn may_release(&self, active: &Active) -> bool {
        // A frame that waits for more than replies has been judged with this backend.
        let waits = matches!(active.held, Some((Wait::Channels | Wait::Pin(_) | Wait::Processes | Wait::Way, _)));
        !waits
            && self.session.may_release()
            && active.to_backend.is_empty()
            && active.client_rest == Rest::None
            && active.backend_rest == Rest::None
            && active.cancel.is_none()
    }

    /// Gives the backend back if that may be, and PostgreSQL has answered what must be asked before.
    pub(super) fn release_if_done(&mut self, active: &mut Active, now: Instant) -> Result<(), Ending> {
        if self.session.is_between_transactions() {
            self.tell_others(now);
        }
        if !self.may_release(active) {
            return Ok(());
        }
        if let Some(unlistening) = self.session.listen_no_more() {
            active.to_backend.push(&unlistening);
            return Ok(());
        }
        if self.is_being_heard(active) {
            return Ok(());
        }
        let reset = active.limits.reset_on_return;
        if reset == ResetOnReturn::Auto {
            let look = match &mut active.ownership {
                Ownership::Leased(lease) => self.session.look(&mut for_session(lease), now),
                _ => None,
            };
            if let Some(look) = look {
                // What the session has set is asked of the backend before anybody else gets it.
                active.to_backend.push(&look);
                return Ok(());
            }
            let keeps = self.session.keeps();
            if !keeps.is_empty() {
                self.keep_backend(active, now)?;
            }
            if let Ownership::Leased(lease) = &mut active.ownership
                && !self.session.keeps().is_empty()
            {
                lease.keep_for(reasons(keeps));
                return Ok(());
            }
            active.pinning = None;
            if let Ownership::Leased(lease) = &mut active.ownership {
                lease.unpin();
            }
        }
        if let Ownership::Leased(lease) = &mut active.ownership
            && let Some(closing) = self.session.take_own_names(&for_session(lease))
        {
            active.to_backend.push(&closing);
            return Ok(());
        }
        if !active.from_backend.is_empty() {
            // It said something that nobody had asked: probably that it ends.
            self.handle.has_no_backend();
            self.session.released(&mut active.out);
            active.ownership = Ownership::None;
            active.from_backend = Inbox::default();
            active.unjudged = false;
            active.work = Work::default();
            return Ok(());
        }
        if !self.others_let_go(active) {
            return Ok(());
        }
        let how = match reset {
            ResetOnReturn::Discard => Undo { session: true, transaction: false },
            ResetOnReturn::Auto | ResetOnReturn::None => Undo::default(),
        };
        self.release(active, how, now);
        Ok(())
    }

    /// Whether no statement of anybody else's is about this very session, or has signalled it without being felt yet.
    fn others_let_go(&mut self, active: &mut Active) -> bool {
        let parting = self.handle.parts_with_backend();
        match parting {
            Parting::Free => {}
            Parting::Kept => active.mentioned_by_others = true,
            Parting::Signalled => active.to_backend.push(self.session.asks_for_a_sign()),
        }
        parting == Parting::Free
    }

    /// Ends a lease; the backend is reset first where something must be undone.
    pub(super) fn release(&mut self, active: &mut Active, undo: Undo, now: Instant) {
        let Ownership::Leased(mut lease) = std::mem::take(&mut active.ownership) else {
            return;
        };
        active.unjudged = false;
        self.handle.has_no_backend();
        lease.holder.over();
        if let Some(subscriber) = &mut self.aside.subscriber {
            // Nothing is open that could listen any more.
            subscriber.rollback();
        }
        if self.session.has_drawn() {
            self.aside.drew_on = Some(lease.id());
            lease.drew = Some(self.handle.pid);
        } else if self.session.has_discarded_draws() {
            lease.drew = None;
        }
        self.session.released(&mut active.out);
        let bytes_from_clients = std::mem::take(&mut active.bytes_from_client);
        let bytes_to_clients = std::mem::take(&mut active.bytes_to_client);
        lease.count(stats::Traffic { transactions: 1, bytes_from_clients, bytes_to_clients }, now);
        self.worker().give_room(std::mem::take(&mut active.from_backend).into_room());
        active.work = Work::default();
        active.measured.lease_is_over();
        lease.undo = undo;
        let spent = self.session.takes_backend_along();
        let how = if spent && active.limits.reset_on_return != ResetOnReturn::None {
            Return::Close
        } else if undo == Undo::default() {
            Return::Clean
        } else {
            Return::NeedsReset
        };
        lease.release(how, now);
    }

    /// What the client is told whose wish, for a backend that it `keeps` because of this, is not waited for.
    fn lease_error(&self, error: &LeaseError<Refusal>, keeps: Keeps) -> Fault {
        match error {
            LeaseError::Refused(refusal) => refusal_fault(refusal),
            LeaseError::TooManyWaiting { limit } => Fault::error(
                sqlstate::TOO_MANY_CONNECTIONS,
                format!("{limit} clients are waiting for this pool already"),
            )
            .hint("Raise pool.size, or limits.waiters in pgweir's configuration."),
            LeaseError::Closed => super::serve::shutting_down(),
            LeaseError::Pin(refused) => pin_fault(&self.route.database, &self.route.user, keeps, refused),
            LeaseError::BackendGone => backend_gone(),
        }
    }

    /// The frame that needed a lease is answered with an error.
    pub(super) fn no_lease(&mut self, active: &mut Active, tag: u8, fault: &Fault) -> Result<(), Ending> {
        if fault.severity == Severity::Fatal {
            return Err(Ending::told(fault.clone()));
        }
        self.session.lease_failed(tag, fault, &mut active.out);
        active.measured.take(&mut active.out);
        self.record(active, Instant::now());
        active.hear_session();
        active.held = None;
        self.skip_held_frame(active);
        Ok(())
    }

    /// PostgreSQL does not want us: the client hears its words.
    fn refused(&mut self, active: &mut Active, tag: u8, refusal: &Refusal) -> Result<(), Ending> {
        match refusal {
            Refusal::Report(_) => {
                active.to_client.push(&super::ending::refusal_frame(refusal));
                Err(Ending::Passed)
            }
            other => self.no_lease(active, tag, &refusal_fault(other)),
        }
    }

    /// The frame at the head of the inbox was answered and is not judged again.
    fn skip_held_frame(&mut self, active: &mut Active) {
        let unread = active.from_client.unread();
        let Ok(Some(header)) = crate::wire::Header::read(unread, usize::MAX) else { return };
        let here = unread.len().min(header.frame());
        active.client_rest = Rest::of(header.frame() - here, false);
        active.from_client.consume(here);
    }
}

fn refusal_fault(refusal: &Refusal) -> Fault {
    Fault::fatal(sqlstate::CONNECTION_FAILURE, refusal.to_string())
}
