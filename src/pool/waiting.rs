//! Waiting for a lease, as a future that can be dropped at any moment.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::lease::{Duty, Grant, Lease};
use super::queue::Ticket;
use super::slots::Home;
use super::state::{Came, Outcome};
use super::{LeaseError, Manager, Pool, Shortage, Wish};
use crate::stats::Limit;

/// A place in the queue of a pool. Dropping it leaves the queue; a backend that was handed over at that very moment goes
/// to the next. It has no timeout: see [`Pool::timeout`]. Poll it on the worker that wished.
#[must_use = "dropping it leaves the queue"]
pub struct Waiting<M: Manager> {
    pool: Pool<M>,
    wish: Wish,
    since: Instant,
    /// `None` once the outcome was taken.
    ticket: Option<Ticket>,
}

impl<M: Manager> Waiting<M> {
    pub(super) fn new(pool: Pool<M>, wish: Wish, since: Instant, ticket: Ticket) -> Self {
        Self { pool, wish, since, ticket: Some(ticket) }
    }

    /// When the wait began.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Gives up because it took too long, which is counted, and says what there was too little of.
    pub fn give_up(self, now: Instant) -> Shortage<M::Error> {
        let shared = &self.pool.0;
        let mut state = shared.state.lock();
        state.totals.timeouts += 1;
        let for_pin = self.ticket.is_some_and(|ticket| state.queue.is_for_pin(ticket));
        drop(state);
        let pool = self.pool.clone();
        let must = self.wish.must;
        drop(self);
        pool.0.limit_hits.hit(if for_pin { Limit::MaxPinned } else { Limit::PoolTimeout });
        match must {
            _ if for_pin => Shortage::Pins(pool.pins_exhausted(now)),
            Some(id) => Shortage::One { id, holder: pool.0.state.lock().slots.holder(id) },
            None => {
                let exhausted = pool.exhausted(now);
                if exhausted.server_limit.is_some() {
                    pool.0.limit_hits.hit(Limit::MaxConnections);
                }
                Shortage::Backends(exhausted)
            }
        }
    }

    /// Takes the outcome if there is one, and when that was; else leaves the waker.
    fn pick_up(&mut self, cx: &Context<'_>, now: Instant) -> Poll<Outcome<M>> {
        let closed = Outcome::Failed(LeaseError::Closed);
        let Some(ticket) = self.ticket else { return Poll::Ready(closed) };
        let mut state = self.pool.0.state.lock();
        let Some(waiter) = state.queue.waiter_mut(ticket) else {
            debug_assert!(false, "a waiter leaves by its own hand only");
            return Poll::Ready(closed);
        };
        if matches!(waiter.outcome, Outcome::Open) {
            match &mut waiter.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        self.ticket = None;
        let outcome = state.queue.leave(ticket).map_or(Outcome::Open, |waiter| waiter.outcome);
        if let Outcome::Handed { from, .. } = outcome {
            state.totals.leases += 1;
            state.totals.waited += 1;
            state.totals.steals += u64::from(from != Some(self.wish.worker));
            state.waits.record(now.saturating_duration_since(self.since));
        }
        Poll::Ready(outcome)
    }

    /// What was handed over is broken: closes it and waits on, in the old place and with the pin.
    fn rejoin(&mut self, broken: Lease<M>) -> Result<(), LeaseError<M::Error>> {
        let (wish, since, now) = (self.wish, self.since, Instant::now());
        let promised = broken.is_pinned();
        if promised {
            self.pool.0.state.lock().pins.promise_again(broken.id());
        }
        drop(broken);
        let mut ticket = None;
        let shared = &self.pool.0;
        shared.change(Some(wish.worker), now, |state, _| {
            state.totals.leases = state.totals.leases.saturating_sub(1);
            state.totals.waited = state.totals.waited.saturating_sub(1);
            if !state.closed {
                ticket = Some(state.admit(wish, since, promised, shared.account()));
            } else if promised {
                state.pins.unpromise();
            }
        });
        self.ticket = ticket;
        ticket.map(|_| ()).ok_or(LeaseError::Closed)
    }
}

impl<M: Manager> Waiting<M> {
    /// As [`Future::poll`], for a caller that knows what time it is: the lease begins then.
    pub fn poll_at(&mut self, cx: &Context<'_>, now: Instant) -> Poll<Result<Lease<M>, LeaseError<M::Error>>> {
        loop {
            let outcome = std::task::ready!(self.pick_up(cx, now));
            let (id, backend, from) = match outcome {
                Outcome::Handed { id, backend, from } => (id, backend, from),
                Outcome::Failed(error) => return Poll::Ready(Err(error)),
                Outcome::Open => return Poll::Ready(Err(LeaseError::Closed)),
            };
            let home: Home = Some(self.wish.worker);
            let duty = if self.wish.pin.is_empty() { Duty::Session } else { Duty::Pinned };
            let grant = Grant { id, leased_at: now, home, duty };
            let mut lease = Lease::new(self.pool.clone(), backend, grant);
            let manager = &self.pool.0.manager;
            if !manager.is_dead(&mut lease) && (from == home || manager.rehome(&mut lease)) {
                return Poll::Ready(Ok(lease));
            }
            if let Err(error) = self.rejoin(lease) {
                return Poll::Ready(Err(error));
            }
        }
    }
}

impl<M: Manager> Future for Waiting<M> {
    type Output = Result<Lease<M>, LeaseError<M::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_at(cx, Instant::now())
    }
}

impl<M: Manager> Drop for Waiting<M> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let shared = &self.pool.0;
        let mut state = shared.state.lock();
        let Some(waiter) = state.queue.leave(ticket) else { return };
        let (home, now) = (Some(self.wish.worker), Instant::now());
        if let Outcome::Handed { id, backend, from, .. } = waiter.outcome {
            drop(state);
            let profile = shared.manager.profile(&backend);
            shared.change(home, now, |state, chores| {
                state.pins.end(id);
                state.slots.set_home(id, from);
                let came = Came { id, backend, profile, home: from, returned: true };
                state.take_back(came, shared.account(), now, chores);
            });
        } else if waiter.promised || state.lingers_needlessly() {
            if waiter.promised {
                state.pins.unpromise();
            }
            drop(state);
            // Another may have waited for just that pin, or come for a backend that is kept for nobody now.
            shared.change(home, now, |_, _| ());
        } else if state.uncovered() == 0 {
            shared.budget.unwant(shared.member);
        }
    }
}

impl<M: Manager> fmt::Debug for Waiting<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("wish", &self.wish).field("since", &self.since).finish_non_exhaustive()
    }
}
