//! A session's temporary ownership of a backend.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio::time::Instant;

use super::pins::PinReasons;
use super::slots::{BackendId, Home};
use super::state::Came;
use super::{Manager, Pool, Return};
use crate::stats::Traffic;

/// How late a long lease's figures may be.
const ACCOUNTED: Duration = Duration::from_secs(1);

/// What a lease is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    Session,
    /// It outlives its transaction.
    Pinned,
    /// The pool's own, while it pings for whoever comes first.
    Proof,
    /// The pool's own, while it pings for those who want this backend and no other.
    ProofForOne,
}

/// What a lease begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    pub(super) id: BackendId,
    pub(super) leased_at: Instant,
    pub(super) home: Home,
    pub(super) duty: Duty,
}

/// A lease that is over, but for its backend.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) id: BackendId,
    pub(super) duty: Duty,
    pub(super) held: Duration,
    /// What was not accounted for before.
    pub(super) traffic: Traffic,
}

/// A backend for one session, used on the worker that wished for it. Dropped without [`Self::release`] it closes the
/// backend, since nobody knows what state it is in.
#[must_use = "a lease that is dropped closes its backend"]
pub struct Lease<M: Manager> {
    pool: Pool<M>,
    /// `None` once it has ended.
    backend: Option<M::Backend>,
    id: BackendId,
    leased_at: Instant,
    home: Home,
    duty: Duty,
    /// Not yet the pool's.
    traffic: Traffic,
    accounted_at: Instant,
}

impl<M: Manager> Lease<M> {
    pub(super) fn new(pool: Pool<M>, backend: M::Backend, grant: Grant) -> Self {
        let Grant { id, leased_at, home, duty } = grant;
        let traffic = Traffic::default();
        let backend = Some(backend);
        Self { pool, backend, id, leased_at, home, duty, traffic, accounted_at: leased_at }
    }

    #[must_use]
    pub fn id(&self) -> BackendId {
        self.id
    }

    #[must_use]
    pub fn leased_at(&self) -> Instant {
        self.leased_at
    }

    #[must_use]
    pub fn pool(&self) -> &Pool<M> {
        &self.pool
    }

    /// Counts what it was used for; the pool's figures have it a second later, or when the lease ends.
    pub fn count(&mut self, traffic: Traffic, now: Instant) {
        self.traffic += traffic;
        if now.saturating_duration_since(self.accounted_at) >= ACCOUNTED {
            self.accounted_at = now;
            self.pool.0.state.lock().traffic += std::mem::take(&mut self.traffic);
        }
    }

    fn ended(&self, now: Instant) -> Ended {
        let held = now.saturating_duration_since(self.leased_at);
        Ended { id: self.id, duty: self.duty, held, traffic: self.traffic }
    }

    /// Says who holds it, where that was not known to the [`super::Wish`].
    pub fn set_holder(&self, holder: u64) {
        self.pool.0.state.lock().slots.set_holder(self.id, holder);
    }

    /// Whether it counts as a pin: by [`Pool::try_pin`] or [`super::Wish::pin`].
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.duty == Duty::Pinned
    }

    pub(super) fn home(&self) -> Home {
        self.home
    }

    /// Notes that it has a pin: a [`super::Pinning`] of it is ready.
    pub fn now_pinned(&mut self) {
        self.duty = Duty::Pinned;
    }

    /// What it is pinned for.
    #[must_use]
    pub fn pinned_for(&self) -> PinReasons {
        if !self.is_pinned() {
            return PinReasons::NONE;
        }
        self.pool.0.state.lock().pins.get(self.id).map(|pin| pin.reasons).unwrap_or_default()
    }

    /// Of what it is pinned for, only `reasons` are left; with none of them it is pinned no more, and whoever waits
    /// for a pin gets it. Adds none: that is [`Pool::try_pin`]'s.
    pub fn keep_for(&mut self, reasons: PinReasons) {
        if !self.is_pinned() {
            return;
        }
        let (id, mut ended) = (self.id, false);
        self.pool.0.change(self.home, Instant::now(), |state, _| ended = state.pins.leave(id, reasons));
        if ended {
            self.duty = Duty::Session;
        }
    }

    /// The backend holds nothing of the session any more. Its end unpins a lease by itself.
    pub fn unpin(&mut self) {
        self.keep_for(PinReasons::NONE);
    }

    /// Gives the backend back: to the next who waits, or to be idle, or after a reset, or to be closed.
    pub fn release(mut self, how: Return, now: Instant) {
        match how {
            Return::Clean => {
                if let Some(backend) = self.backend.take() {
                    let profile = self.pool.0.manager.profile(&backend);
                    let returned = matches!(self.duty, Duty::Pinned | Duty::Session);
                    let came = Came { id: self.id, backend, profile, home: self.home, returned };
                    self.pool.0.put_back(came, self.ended(now), now);
                }
            }
            Return::NeedsReset => {
                self.unpin();
                self.set_holder(0);
                let shared = std::sync::Arc::clone(&self.pool.0);
                shared.reset(self);
            }
            Return::Close => self.close(now),
        }
    }

    fn close(&mut self, now: Instant) {
        if let Some(backend) = self.backend.take() {
            drop(backend);
            self.pool.0.put_away(self.ended(now), self.home, now);
        }
    }
}

impl<M: Manager> Drop for Lease<M> {
    fn drop(&mut self) {
        if self.backend.is_some() {
            self.close(Instant::now());
        }
    }
}

impl<M: Manager> Deref for Lease<M> {
    type Target = M::Backend;

    fn deref(&self) -> &M::Backend {
        self.backend.as_ref().expect("a lease has its backend until it ends")
    }
}

impl<M: Manager> DerefMut for Lease<M> {
    fn deref_mut(&mut self) -> &mut M::Backend {
        self.backend.as_mut().expect("a lease has its backend until it ends")
    }
}

impl<M: Manager> fmt::Debug for Lease<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("id", &self.id).field("duty", &self.duty).finish_non_exhaustive()
    }
}
