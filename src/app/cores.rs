//! Whether the cores are short, which decides how workers wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::net::CoreTime;

const LOOK: Duration = Duration::from_millis(500);
/// Cores that are idle for less of the time than this are short.
const SPARE: f64 = 0.1;

/// Whether all that wants to run has to wait for a core.
#[derive(Debug, Default)]
pub(super) struct Cores {
    short: AtomicBool,
}

impl Cores {
    pub(super) fn are_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Looks until the process ends.
    pub(super) async fn watch(&self) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut time = CoreTime::default();
        loop {
            ticks.tick().await;
            let short = time.idle_share().is_some_and(|idle| idle < SPARE);
            self.short.store(short, Ordering::Relaxed);
        }
    }
}
