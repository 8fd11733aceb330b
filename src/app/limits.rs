//! Tells the operator which limits were met: once a minute, and at the end.

use std::time::Duration;

use tokio::time::{Instant, interval_at};

use crate::server::Server;
use crate::stats::LimitCounts;

/// Between two reports.
const PERIOD: Duration = Duration::from_secs(60);

/// What was reported last, so that a count is said once.
#[derive(Debug, Default)]
pub(super) struct Reported(parking_lot::Mutex<LimitCounts>);

impl Reported {
    /// Logs a line for each limit that was met since the last call.
    pub(super) fn report(&self, counts: LimitCounts) {
        let before = std::mem::replace(&mut *self.0.lock(), counts);
        for (limit, times) in counts.since(&before) {
            tracing::warn!(key = limit.key(), times, total = counts.of(limit), "a limit was met");
        }
    }

    /// Reports for as long as it is polled.
    pub(super) async fn watch(&self, server: &Server) -> std::convert::Infallible {
        let mut minutes = interval_at(Instant::now() + PERIOD, PERIOD);
        minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            minutes.tick().await;
            self.report(server.routes.limit_hits().counts());
        }
    }
}
