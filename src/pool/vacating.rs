//! Leaving a database to somebody who needs it for himself.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::slots::Home;
use super::state::Chores;
use super::tasks::Shared;
use super::{Manager, Pool};

/// Longest wait for the server to close one connection.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

impl<M: Manager> Pool<M> {
    /// Closes what is idle; the future is ready when the server has closed it too, and nothing is being connected,
    /// pinged or reset any more that was when this was called. Until `until` the pool rests: what comes back, or has
    /// just been opened, is closed unless somebody waits for it, and nothing is opened ahead of need. The closing has
    /// begun when this returns and goes on when the future is dropped. The caller runs on `home`.
    pub fn vacate(&self, until: Instant, home: Home) -> impl Future<Output = ()> + Send + use<M> {
        let (mut chores, now) = (Chores::default(), Instant::now());
        let rest = self.0.state.lock().rest(until, &mut chores);
        self.0.perform(chores, home, now);
        let shared = Arc::clone(&self.0);
        async move {
            loop {
                // Made before the look: what settles in between is not missed.
                let settled = shared.settled.notified();
                if shared.state.lock().has_left(&rest) {
                    return;
                }
                settled.await;
            }
        }
    }

    /// Ends the rest of [`Self::vacate`].
    pub fn resume(&self, now: Instant) {
        self.0.change(None, now, |state, _| state.resting = None);
    }
}

/// Without a runtime the process is ending: dropping the backend closes it.
pub(super) async fn farewell<M: Manager>(mut backend: M::Backend, mut permit: Permit<M>) {
    let manager = &permit.shared.manager;
    if manager.rehome(&mut backend) {
        // A server that does not answer is not waited for.
        let _ = timeout(FAREWELL_LIMIT, manager.farewell(backend)).await;
    }
    permit.give_back();
}

/// A backend that has left its seat counts at the server until it is gone.
pub(super) struct Permit<M: Manager> {
    shared: Arc<Shared<M>>,
    home: Home,
    given: bool,
}

impl<M: Manager> Permit<M> {
    pub(super) fn new(shared: Arc<Shared<M>>, home: Home) -> Self {
        shared.budget.leaves();
        Self { shared, home, given: false }
    }

    fn give_back(&mut self) {
        self.given = true;
        self.shared.budget.has_left();
        self.shared.budget.give_back(self.shared.member, 1, self.home, Instant::now());
    }
}

impl<M: Manager> Drop for Permit<M> {
    /// Spawns nothing: the runtime may be ending.
    fn drop(&mut self) {
        if !self.given {
            self.shared.budget.has_left();
            self.shared.budget.give_back_quietly(self.shared.member, 1);
        }
        let mut state = self.shared.state.lock();
        state.leaving = state.leaving.saturating_sub(1);
        drop(state);
        self.shared.settled.notify_waiters();
    }
}
