//! A client is gone and its backend still works for it: what runs is cancelled, what half arrived is ended, and what
//! is answered goes to nobody, until the backend can be given to somebody else.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::active::{Active, Ownership, Rest};
use super::ending::Ending;
use super::serve::Serve;
use crate::session::Unfinished;
use crate::wire::build;

/// Longest time that a backend gets for that; after it the backend is closed.
const LIMIT: Duration = Duration::from_secs(5);
/// A cancel comes too early for what PostgreSQL has not read yet, and stops one statement of several.
const CANCEL_AGAIN: Duration = Duration::from_millis(200);

impl Serve {
    /// Brings the leased backend to where it owes nothing, if that is possible and takes no longer than [`LIMIT`].
    pub(super) async fn wind_down(&mut self, active: &mut Active) {
        active.to_client.deafen();
        active.held = None;
        let unread = active.from_client.unread().len();
        active.from_client.consume(unread);
        if matches!(active.client_rest, Rest::Swallow(_)) {
            active.client_rest = Rest::None;
        }
        let until = Instant::now() + LIMIT;
        loop {
            let now = Instant::now();
            if now >= until {
                tracing::warn!(
                    database = self.route.database,
                    user = self.route.user,
                    "a backend whose client has gone did not stop within {LIMIT:?}; it is closed"
                );
                return;
            }
            self.cancel_running(active);
            let winding = poll_fn(|cx| self.poll_wind_down(active, cx));
            if timeout(CANCEL_AGAIN.min(until - now), winding).await.is_ok() {
                return;
            }
        }
    }

    /// Ready when the backend owes nothing, is gone, or cannot be brought there.
    fn poll_wind_down(&mut self, active: &mut Active, cx: &mut Context<'_>) -> Poll<()> {
        self.handle.listen(cx.waker());
        loop {
            let now = Instant::now();
            self.forget_done_cancel(active);
            if matches!(active.ownership, Ownership::None) {
                return Poll::Ready(());
            }
            match self.wind(active, cx, now) {
                Ok(true) => {}
                Ok(false) if self.session.is_answered() && active.cancel.is_none() => return Poll::Ready(()),
                Ok(false) => return Poll::Pending,
                Err(_) => return Poll::Ready(()),
            }
        }
    }

    fn forget_done_cancel(&self, active: &mut Active) {
        if active.cancel.as_ref().is_some_and(|done| done.load(Ordering::Acquire)) {
            active.cancel = None;
        }
    }

    /// Does what can be done now; whether anything was.
    fn wind(&mut self, active: &mut Active, cx: &mut Context<'_>, now: Instant) -> Result<bool, Ending> {
        let mut progress = false;
        if active.from_client.is_empty() {
            match self.session.unfinished() {
                Unfinished::No => {}
                Unfinished::Copy => active.from_client.put(&build::copy_fail("the client has gone")),
                Unfinished::FailedBatch => active.from_client.put(&build::SYNC),
                // To end such a batch would be to commit it.
                Unfinished::Batch => return Err(Ending::ClientGone),
            }
        }
        if !active.from_client.is_empty() && active.to_backend.is_empty() {
            progress |= self.judge_client(active, cx, now)?;
        }
        progress |= self.flush_backend(active, cx)?;
        progress |= self.read_backend(active, cx, now)?;
        Ok(progress)
    }
}
