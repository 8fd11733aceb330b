//! A session's temporary ownership of a backend, and the count of those that outlive their transaction.

use std::fmt;
use std::ops::{Deref, DerefMut};

use tokio::time::Instant;

use super::slots::{BackendId, Home};
use super::state::Came;
use super::{Manager, Pool, Return};

/// What a lease is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    Session,
    /// It outlives its transaction.
    Pinned,
    /// The pool's own, while it pings.
    Proof,
}

/// No further session may keep its backend beyond its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} sessions of this pool hold pinned backends already")]
pub struct PinsExhausted {
    pub limit: usize,
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
}

impl<M: Manager> Lease<M> {
    pub(super) fn new(pool: Pool<M>, backend: M::Backend, id: BackendId, leased_at: Instant, home: Home) -> Self {
        Self { pool, backend: Some(backend), id, leased_at, home, duty: Duty::Session }
    }

    pub(super) fn on(mut self, duty: Duty) -> Self {
        self.duty = duty;
        self
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

    /// Says who holds it, where that was not known to the [`super::Wish`].
    pub fn set_holder(&self, holder: u64) {
        self.pool.0.state.lock().slots.set_holder(self.id, holder);
    }

    /// Whether [`Pool::try_pin`] counted it.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.duty == Duty::Pinned
    }

    pub(super) fn home(&self) -> Home {
        self.home
    }

    pub(super) fn count_pin(&mut self) {
        self.duty = Duty::Pinned;
    }

    /// The backend holds nothing of the session any more. Its end unpins a lease by itself.
    pub fn unpin(&mut self) {
        if self.is_pinned() {
            self.pool.0.state.lock().relieve(self.duty);
            self.duty = Duty::Session;
        }
    }

    /// Gives the backend back: to the next who waits, or to be idle, or after a reset, or to be closed.
    pub fn release(mut self, how: Return, now: Instant) {
        match how {
            Return::Clean => {
                if let Some(backend) = self.backend.take() {
                    let profile = self.pool.0.manager.profile(&backend);
                    let returned = self.duty != Duty::Proof;
                    let came = Came { id: self.id, backend, profile, home: self.home, returned };
                    self.pool.0.put_back(came, self.duty, now);
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
            self.pool.0.put_away(self.id, self.duty, self.home, now);
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
