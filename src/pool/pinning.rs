//! Waiting for a pin with the lease in hand, as a future that can be dropped at any moment.
//!
//! Who waits here is served before those who wait for a backend and a pin: it has a transaction open, or has left
//! something already. Two of them never wait for one another, as a pin is all they want of the pool.

use std::fmt;
use std::future::Future;
use std::pin;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::lease::Lease;
use super::pins::{Pin, PinReasons};
use super::slots::BackendId;
use super::state::{Account, Chores, State};
use super::{Manager, Pool};

/// One who waits, until its [`Pinning`] is dropped.
#[derive(Debug)]
pub(super) struct Hopeful {
    id: BackendId,
    pin: Pin,
    waker: Option<Waker>,
    granted: bool,
}

impl<M: Manager> State<M> {
    /// Who waits for a pin, with a lease in hand or without.
    pub(super) fn waiting_for_pin(&self) -> usize {
        self.queue.waiting_for_pin() + self.hopefuls.iter().filter(|hopeful| !hopeful.granted).count()
    }

    /// Those who wait with a lease get what pins there are, in the order they came.
    pub(super) fn grant_hopefuls(&mut self, account: Account<'_>, chores: &mut Chores<M>) {
        let limit = self.pin_limit(account);
        for hopeful in self.hopefuls.iter_mut().filter(|hopeful| !hopeful.granted) {
            if !self.pins.add(hopeful.id, hopeful.pin, limit) {
                return;
            }
            hopeful.granted = true;
            self.totals.pins.count(hopeful.pin.reasons);
            chores.wakers.extend(hopeful.waker.take());
        }
    }
}

/// A wait for a pin. It has no timeout: see [`Pool::timeout`]. Dropping it ends the wait.
#[must_use = "dropping it ends the wait"]
pub struct Pinning<M: Manager> {
    pool: Pool<M>,
    /// `None` once the pin is the lease's.
    id: Option<BackendId>,
}

impl<M: Manager> Pool<M> {
    /// Waits until `lease` can be pinned for these reasons; for when [`Self::try_pin`] found no pin. When it is ready,
    /// say so to [`Lease::now_pinned`].
    pub fn wait_for_pin(&self, lease: &Lease<M>, reasons: PinReasons, now: Instant) -> Pinning<M> {
        let id = lease.id();
        self.0.change(None, now, |state, _| {
            let pin = Pin { reasons, holder: state.slots.holder(id), since: now };
            state.hopefuls.push(Hopeful { id, pin, waker: None, granted: false });
        });
        Pinning { pool: self.clone(), id: Some(id) }
    }
}

impl<M: Manager> Future for Pinning<M> {
    type Output = ();

    fn poll(mut self: pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(id) = self.id else { return Poll::Ready(()) };
        let mut state = self.pool.0.state.lock();
        let Some(place) = state.hopefuls.iter().position(|hopeful| hopeful.id == id) else {
            debug_assert!(false, "who waits leaves by its own hand only");
            return Poll::Pending;
        };
        if let Some(hopeful) = state.hopefuls.get_mut(place).filter(|hopeful| !hopeful.granted) {
            hopeful.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.hopefuls.remove(place);
        drop(state);
        self.id = None;
        Poll::Ready(())
    }
}

impl<M: Manager> Drop for Pinning<M> {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let shared = &self.pool.0;
        let mut state = shared.state.lock();
        let Some(place) = state.hopefuls.iter().position(|hopeful| hopeful.id == id) else { return };
        let granted = state.hopefuls.remove(place).granted;
        drop(state);
        if granted {
            shared.change(None, Instant::now(), |state, _| {
                state.pins.end(id);
            });
        }
    }
}

impl<M: Manager> fmt::Debug for Pinning<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinning").field("id", &self.id).finish_non_exhaustive()
    }
}
