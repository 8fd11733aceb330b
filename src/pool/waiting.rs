//! Waiting for a lease, as a future that can be dropped at any moment.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::lease::Lease;
use super::queue::Ticket;
use super::slots::Home;
use super::state::{Came, Outcome, Waiter};
use super::{LeaseError, Manager, Pool, Wish};

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

    /// Takes the outcome if there is one, else leaves the waker.
    fn pick_up(&mut self, cx: &Context<'_>) -> Poll<Outcome<M>> {
        let Some(ticket) = self.ticket else { return Poll::Ready(Outcome::Failed(LeaseError::Closed)) };
        let mut state = self.pool.0.state.lock();
        let Some(waiter) = state.queue.waiter_mut(ticket) else {
            debug_assert!(false, "a waiter leaves by its own hand only");
            return Poll::Ready(Outcome::Failed(LeaseError::Closed));
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
        }
        Poll::Ready(outcome)
    }

    /// What was handed over was broken: waits on, in the old place.
    fn rejoin(&mut self) -> Result<(), LeaseError<M::Error>> {
        let (wish, since, now) = (self.wish, self.since, Instant::now());
        let mut ticket = None;
        self.pool.0.change(Some(wish.worker), now, |state, _| {
            state.totals.leases = state.totals.leases.saturating_sub(1);
            state.totals.waited = state.totals.waited.saturating_sub(1);
            if !state.closed {
                let waiter = Waiter { wish, waker: None, outcome: Outcome::Open };
                ticket = Some(state.queue.join(wish.worker, wish.priority, since, waiter));
            }
        });
        self.ticket = ticket;
        ticket.map(|_| ()).ok_or(LeaseError::Closed)
    }
}

impl<M: Manager> Future for Waiting<M> {
    type Output = Result<Lease<M>, LeaseError<M::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let (id, backend, from) = match std::task::ready!(self.pick_up(cx)) {
                Outcome::Handed { id, backend, from } => (id, backend, from),
                Outcome::Failed(error) => return Poll::Ready(Err(error)),
                Outcome::Open => return Poll::Ready(Err(LeaseError::Closed)),
            };
            let home: Home = Some(self.wish.worker);
            let mut lease = Lease::new(self.pool.clone(), backend, id, Instant::now(), home);
            let manager = &self.pool.0.manager;
            if !manager.is_dead(&mut lease) && (from == home || manager.rehome(&mut lease)) {
                return Poll::Ready(Ok(lease));
            }
            drop(lease);
            if let Err(error) = self.rejoin() {
                return Poll::Ready(Err(error));
            }
        }
    }
}

impl<M: Manager> Drop for Waiting<M> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let shared = &self.pool.0;
        let mut state = shared.state.lock();
        let outcome = state.queue.leave(ticket).map(|waiter| waiter.outcome);
        if let Some(Outcome::Handed { id, backend, from }) = outcome {
            drop(state);
            let profile = shared.manager.profile(&backend);
            let now = Instant::now();
            shared.change(Some(self.wish.worker), now, |state, chores| {
                state.slots.set_home(id, from);
                let came = Came { id, backend, profile, home: from, returned: true };
                state.take_back(came, shared.account(), now, chores);
            });
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
