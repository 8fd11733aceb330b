//! Leaving a database to somebody who needs it for himself.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::slots::Home;
use super::tasks::Shared;
use super::{Manager, Pool};

/// Longest wait for the server to close one connection.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

impl<M: Manager> Pool<M> {
    /// Closes what is idle; the future is ready when the server has closed it too. Until `until` the pool rests: what
    /// comes back is closed unless somebody waits for it, and nothing is opened ahead of need. The closing has begun
    /// when this returns and goes on when the future is dropped. The caller runs on `home`.
    pub fn vacate(&self, until: Instant, home: Home) -> impl Future<Output = ()> + Send + use<M> {
        let mut idle = Vec::new();
        let mut state = self.0.state.lock();
        state.resting = state.resting.max(Some(until));
        while let Some(backend) = state.slots.evict_oldest(None) {
            idle.push(backend);
        }
        state.totals.closed += idle.len() as u64;
        drop(state);
        let closing: Vec<_> = idle.into_iter().filter_map(|backend| self.see_off(backend, home)).collect();
        async move {
            for closed in closing {
                // One that was aborted has closed its socket.
                let _ = closed.await;
            }
        }
    }

    /// Ends the rest of [`Self::vacate`].
    pub fn resume(&self, now: Instant) {
        self.0.change(None, now, |state, _| state.resting = None);
    }

    fn see_off(&self, backend: M::Backend, home: Home) -> Option<tokio::task::JoinHandle<()>> {
        let permit = Permit { shared: Arc::clone(&self.0), home, given: false };
        // Without a runtime the process is ending: dropping the backend closes it.
        let runtime = Handle::try_current().ok()?;
        Some(self.0.tasks.spawn_on(farewell(backend, permit), &runtime))
    }
}

async fn farewell<M: Manager>(mut backend: M::Backend, mut permit: Permit<M>) {
    let manager = &permit.shared.manager;
    if manager.rehome(&mut backend) {
        // A server that does not answer is not waited for.
        let _ = timeout(FAREWELL_LIMIT, manager.farewell(backend)).await;
    }
    permit.give_back();
}

/// A backend that has left its seat counts at the server until it is gone.
struct Permit<M: Manager> {
    shared: Arc<Shared<M>>,
    home: Home,
    given: bool,
}

impl<M: Manager> Permit<M> {
    fn give_back(&mut self) {
        self.given = true;
        self.shared.budget.give_back(self.shared.member, 1, self.home, Instant::now());
    }
}

impl<M: Manager> Drop for Permit<M> {
    /// Spawns nothing: the runtime may be ending.
    fn drop(&mut self) {
        if !self.given {
            self.shared.budget.give_back_quietly(self.shared.member, 1);
        }
    }
}
