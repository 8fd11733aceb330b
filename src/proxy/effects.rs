//! Leases, cancels and deadlines: what the session's decisions do outside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::active::{Active, Ownership, Rest};
use super::buffer::Inbox;
use super::ending::Ending;
use super::pinning::reasons;
use super::serve::Serve;
use super::shortage::{backend_gone, pin_fault, shortage_fault};
use crate::backend::{Backend, Dialer, Refusal, Undo, cancel};
use crate::clients::{self, Signal};
use crate::config::ResetOnReturn;
use crate::pool::{Lease, LeaseError, PinReasons, Return, Wish};
use crate::session::{Keeps, Leased, Running, Wait};
use crate::stats;
use crate::wire::build::{Fault, Severity};
use crate::wire::sqlstate;
use crate::wire::tag::client;
use crate::wire::view::Transaction;

impl Serve {
    // === leases ===

    /// Asks for the lease that a held frame needs. Whether the frame can be judged again.
    pub(super) fn ask_for_lease(
        &mut self,
        active: &mut Active,
        wait: Wait,
        tag: u8,
        now: Instant,
    ) -> Result<bool, Ending> {
        if !wait.is_for_lease() || !matches!(active.ownership, Ownership::None) {
            return Ok(false);
        }
        let pin = if let Wait::PinnedLease(keeps) = wait { reasons(keeps) } else { PinReasons::NONE };
        let must = if wait == Wait::SameLease { self.drew_on } else { None };
        let wish = Wish {
            worker: self.worker.index,
            last_backend: self.last_backend,
            profile: Arc::as_ptr(self.session.profile()).addr(),
            priority: self.route.limits.load().priority,
            holder: u64::try_from(self.handle.pid).unwrap_or(0),
            pin,
            must,
        };
        if let Some(lease) = self.route.pool.try_lease(&wish, now) {
            self.begin_lease(active, lease, now);
            return Ok(true);
        }
        if wait == Wait::Lease && tag == client::PARSE && self.parse_unleased(active, now)? {
            return Ok(true);
        }
        match self.route.pool.wait(&wish, now) {
            Ok(waiting) => active.ownership = Ownership::Waiting { waiting, asked: now },
            Err(LeaseError::BackendGone) => {
                // PostgreSQL itself says that nothing was drawn in its session.
                self.drew_on = None;
                return self.ask_for_lease(active, wait, tag, now);
            }
            Err(error) => self.no_lease(active, tag, &self.lease_error(&error))?,
        }
        Ok(true)
    }

    /// Whether the client's Parse could be answered although no backend is free.
    fn parse_unleased(&mut self, active: &mut Active, now: Instant) -> Result<bool, Ending> {
        let limit = self.route.limits.load().messages.any;
        let Some(bytes) = self.session.parse_unleased(active.from_client.unread(), limit, &mut active.out) else {
            return Ok(false);
        };
        active.from_client.consume(bytes);
        active.to_client.push(&active.out.before);
        active.out.before.clear();
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
                        self.drew_on = None;
                        return self.ask_for_lease(active, Wait::Lease, tag, now);
                    }
                    error => self.no_lease(active, tag, &self.lease_error(&error))?,
                }
                Ok(true)
            }
        }
    }

    fn begin_lease(&mut self, active: &mut Active, mut lease: Lease<Dialer>, asked: Instant) {
        active.held = None;
        active.measured.waited += lease.leased_at().saturating_duration_since(asked);
        active.from_backend = Inbox::with_room(self.worker.take_room());
        if self.drew_on == Some(lease.id()) && lease.last_holder() != u64::try_from(self.handle.pid).unwrap_or(0) {
            self.drew_on = None;
        }
        self.handle.has_backend(clients::Backend { server: lease.cancel.server, process: lease.cancel.pid });
        lease.holder.lend(self.handle.pid, self.subscriber.is_some());
        self.last_backend = Some(lease.id());
        let pinned = lease.is_pinned();
        let Backend { held, carried, .. } = &mut **lease;
        self.session.leased(&mut Leased { held, carried, pinned }, &mut active.out);
        active.to_backend.push(&active.out.to_backend);
        active.out.to_backend.clear();
        active.ownership = Ownership::Leased(lease);
    }

    /// Gives the backend back if the session needs it no more and nothing of its conversation is left anywhere.
    pub(super) fn release_if_done(&mut self, active: &mut Active, now: Instant) -> Result<(), Ending> {
        // A frame that waits for more than replies has been judged with this backend.
        let waits = matches!(active.held, Some((Wait::Channels | Wait::Processes | Wait::Way, _)));
        let done = !waits
            && self.session.may_release()
            && active.to_backend.is_empty()
            && active.client_rest == Rest::None
            && active.backend_rest == Rest::None
            && active.cancel.is_none();
        if !done {
            return Ok(());
        }
        self.tell_others(now);
        if let Some(unlistening) = self.session.listen_no_more() {
            active.to_backend.push(&unlistening);
            return Ok(());
        }
        if self.is_being_heard(active) {
            return Ok(());
        }
        let reset = self.route.limits.load().reset_on_return;
        if reset == ResetOnReturn::Auto {
            if let Some(look) = self.session.look(now) {
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
        if let Ownership::Leased(lease) = &mut active.ownership {
            let Backend { held, carried, .. } = &mut ***lease;
            if let Some(closing) = self.session.take_own_names(&Leased { held, carried, pinned: false }) {
                active.to_backend.push(&closing);
                return Ok(());
            }
        }
        if !active.from_backend.is_empty() {
            // It said something that nobody had asked: probably that it ends.
            self.handle.has_no_backend();
            self.session.released(&mut active.out);
            active.ownership = Ownership::None;
            active.from_backend = Inbox::default();
            active.busy_since = None;
            return Ok(());
        }
        if !self.handle.parts_with_backend() {
            // Somebody's statement is about this very session: it is waited for.
            active.mentioned_by_others = true;
            return Ok(());
        }
        let how = match reset {
            ResetOnReturn::Discard => Undo { session: true, transaction: false },
            ResetOnReturn::Auto | ResetOnReturn::None => Undo::default(),
        };
        self.release(active, how, now);
        Ok(())
    }

    /// Ends a lease; the backend is reset first where something must be undone.
    pub(super) fn release(&mut self, active: &mut Active, undo: Undo, now: Instant) {
        let Ownership::Leased(mut lease) = std::mem::take(&mut active.ownership) else {
            return;
        };
        self.handle.has_no_backend();
        lease.holder.over();
        if let Some(subscriber) = &mut self.subscriber {
            // Nothing is open that could listen any more.
            subscriber.rollback();
        }
        if self.session.has_drawn() {
            self.drew_on = Some(lease.id());
        }
        self.session.released(&mut active.out);
        let bytes_from_clients = std::mem::take(&mut active.bytes_from_client);
        let bytes_to_clients = std::mem::take(&mut active.bytes_to_client);
        lease.count(stats::Traffic { transactions: 1, bytes_from_clients, bytes_to_clients }, now);
        self.worker.give_room(std::mem::take(&mut active.from_backend).into_room());
        active.busy_since = None;
        active.measured.lease_is_over();
        lease.undo = undo;
        let spent = self.session.takes_backend_along();
        let how = if spent && self.route.limits.load().reset_on_return != ResetOnReturn::None {
            Return::Close
        } else if undo == Undo::default() {
            Return::Clean
        } else {
            Return::NeedsReset
        };
        lease.release(how, now);
    }

    /// What the client is told whose wish is not waited for.
    fn lease_error(&self, error: &LeaseError<Refusal>) -> Fault {
        match error {
            LeaseError::Refused(refusal) => refusal_fault(refusal),
            LeaseError::TooManyWaiting { limit } => Fault::error(
                sqlstate::TOO_MANY_CONNECTIONS,
                format!("{limit} clients are waiting for this pool already"),
            )
            .hint("Raise pool.size, or limits.waiters in pgweir's configuration."),
            LeaseError::Closed => super::serve::shutting_down(),
            LeaseError::Pin(refused) => pin_fault(&self.route.database, &self.route.user, Keeps::empty(), refused),
            LeaseError::BackendGone => backend_gone(),
        }
    }

    /// The frame that needed a lease is answered with an error.
    fn no_lease(&mut self, active: &mut Active, tag: u8, fault: &Fault) -> Result<(), Ending> {
        if fault.severity == Severity::Fatal {
            return Err(Ending::told(fault.clone()));
        }
        self.session.lease_failed(tag, fault, &mut active.out);
        active.measured.take(&mut active.out);
        self.record(active, Instant::now());
        active.to_client.push(&active.out.before);
        active.out.before.clear();
        active.held = None;
        self.skip_held_frame(active);
        Ok(())
    }

    /// PostgreSQL does not want us: the client hears its words.
    fn refused(&mut self, active: &mut Active, tag: u8, refusal: &Refusal) -> Result<(), Ending> {
        tracing::warn!(database = self.route.database, user = self.route.user, %refusal, "no backend could be opened");
        match refusal {
            Refusal::Report(report) => {
                active.to_client.push(&super::ending::report_frame(report));
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

    // === cancels ===

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

    // === deadlines ===

    /// Asks to be woken at the next deadline.
    pub(super) fn set_alarm(&self, active: &Active) {
        let at = match &active.ownership {
            Ownership::None => None,
            Ownership::Waiting { asked, .. } => Some(*asked + self.route.pool.timeout()),
            Ownership::Leased(_) => {
                let pin = active.pinning.as_ref().map(|pinning| pinning.asked + self.route.pool.timeout());
                let lease = self.lease_deadline(active).map(|(at, _)| at);
                [pin, lease].into_iter().flatten().min()
            }
        };
        self.worker.set_alarm(&active.alarm, &self.handle, at);
    }

    /// Does what a passed deadline demands, and lets go of a cancel that has been done.
    pub(super) fn check_deadlines(&mut self, active: &mut Active, now: Instant) -> Result<(), Ending> {
        if active.cancel.as_ref().is_some_and(|done| done.load(Ordering::Acquire)) {
            active.cancel = None;
            self.release_if_done(active, now)?;
        } else if std::mem::take(&mut active.mentioned_by_others) {
            self.release_if_done(active, now)?;
        }
        match &active.ownership {
            Ownership::None => Ok(()),
            Ownership::Waiting { asked, .. } if *asked + self.route.pool.timeout() <= now => {
                let Ownership::Waiting { waiting, asked } = std::mem::take(&mut active.ownership) else {
                    return Ok(());
                };
                active.measured.waited = now.saturating_duration_since(asked);
                let fault = shortage_fault(
                    &self.route.database,
                    &self.route.user,
                    &waiting.give_up(now),
                    self.route.pool.timeout(),
                );
                let tag = active.held.map_or(0, |(_, tag)| tag);
                self.no_lease(active, tag, &fault)
            }
            Ownership::Waiting { .. } => Ok(()),
            Ownership::Leased(_) => match self.lease_deadline(active) {
                Some((at, limit)) if at <= now => self.past(active, limit),
                _ => Ok(()),
            },
        }
    }

    /// The first of the limits that this lease will meet.
    fn lease_deadline(&self, active: &Active) -> Option<(Instant, Limit)> {
        let limits = self.route.limits.load();
        let Ownership::Leased(lease) = &active.ownership else { return None };
        if !limits.bounds_leases() {
            return None;
        }
        let query = match (limits.query_timeout, active.busy_since) {
            (Some(limit), Some(since)) if active.cancel.is_none() && self.session.running() == Running::Clients => {
                Some((since + limit, Limit::Query))
            }
            _ => None,
        };
        let quiet =
            active.pinning.is_none() && self.session.is_answered() && self.session.transaction() != Transaction::Idle;
        let idle = match (limits.idle_in_transaction_timeout, active.last_frame) {
            (Some(limit), Some(last)) if quiet => Some((last + limit, Limit::IdleInTransaction)),
            _ => None,
        };
        let lease = limits.max_lease.map(|limit| (lease.leased_at() + limit, Limit::Lease));
        [query, idle, lease].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn past(&mut self, active: &mut Active, limit: Limit) -> Result<(), Ending> {
        let limits = self.route.limits.load_full();
        self.route.limit_hits.hit(match limit {
            Limit::IdleInTransaction => stats::Limit::IdleInTransaction,
            Limit::Lease => stats::Limit::MaxLease,
            Limit::Query => stats::Limit::QueryTimeout,
        });
        let shown = |limit: Option<std::time::Duration>| format!("{:?}", limit.unwrap_or_default());
        match limit {
            Limit::Query => {
                let fault =
                    Fault::error(sqlstate::QUERY_CANCELED, "canceling statement due to pgweir's query_timeout").detail(
                        format!("The statement ran longer than pool.query_timeout = {}.", shown(limits.query_timeout)),
                    );
                self.session.cancelling(&fault);
                self.cancel_running(active);
                Ok(())
            }
            Limit::IdleInTransaction => Err(Ending::overdue(
                Fault::fatal(
                    sqlstate::IDLE_IN_TRANSACTION_TIMEOUT,
                    "terminating connection due to pgweir's idle_in_transaction_timeout",
                )
                .detail(format!(
                    "The transaction was idle longer than pool.idle_in_transaction_timeout = {}; it was rolled back.",
                    shown(limits.idle_in_transaction_timeout)
                )),
            )),
            Limit::Lease => Err(Ending::overdue(
                Fault::fatal(sqlstate::IDLE_IN_TRANSACTION_TIMEOUT, "terminating connection due to pgweir's max_lease")
                    .detail(format!(
                        "The backend was held longer than pool.max_lease = {}; an open transaction was rolled back.",
                        shown(limits.max_lease)
                    )),
            )),
        }
    }
}

/// Which limit a lease has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    IdleInTransaction,
    Lease,
    Query,
}

fn cancelled_in_queue(where_it_was: &str) -> Fault {
    Fault::error(sqlstate::QUERY_CANCELED, "canceling statement due to user request").detail(where_it_was)
}

fn refusal_fault(refusal: &Refusal) -> Fault {
    Fault::fatal(sqlstate::CONNECTION_FAILURE, refusal.to_string())
}
