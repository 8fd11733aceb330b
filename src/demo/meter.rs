//! From what pgweir counts since its start to figures of a period.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::Snapshot;
use crate::stats::{Times, TimesSummary, Traffic};

/// Watches a running pgweir by samples.
#[derive(Debug)]
pub(super) struct Meter {
    start: Mark,
    /// Where the current period began.
    mark: Mark,
    /// Highest of the samples of the current period, and of all.
    period: Peak,
    whole: Peak,
}

#[derive(Debug)]
struct Mark {
    at: Instant,
    snapshot: Snapshot,
}

/// The highest values that samples showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Peak {
    /// Backends leased to clients.
    pub(super) in_use: usize,
    /// Clients that waited for a backend.
    pub(super) waiting: usize,
}

/// One period, or the whole time.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) lasted: Duration,
    pub(super) clients: usize,
    pub(super) peak: Peak,
    pub(super) transactions: u64,
    /// Transactions that had to wait for a backend at all.
    pub(super) waited: u64,
    /// From getting a backend to giving it back.
    pub(super) transaction: TimesSummary,
    /// From asking for a backend to having it; of those who got one at once too.
    pub(super) wait: TimesSummary,
    pub(super) bytes_from_clients: u64,
    pub(super) bytes_to_clients: u64,
}

impl Meter {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        let at = Instant::now();
        let start = Mark { at, snapshot: snapshot.clone() };
        Self { start, mark: Mark { at, snapshot }, period: Peak::default(), whole: Peak::default() }
    }

    pub(super) fn sample(&mut self, snapshot: &Snapshot) {
        let now = Peak {
            in_use: snapshot.pools.iter().map(|pool| pool.leased).sum(),
            waiting: snapshot.pools.iter().map(|pool| pool.waiting).sum(),
        };
        self.period.raise(now);
        self.whole.raise(now);
    }

    /// Since the last call; the next period begins.
    pub(super) fn turn(&mut self, snapshot: Snapshot) -> Figures {
        let mark = Mark { at: Instant::now(), snapshot };
        let figures = figures(&self.mark, &mark, self.period);
        (self.mark, self.period) = (mark, Peak::default());
        figures
    }

    /// From the first moment to the last turn.
    pub(super) fn whole(&self) -> Figures {
        figures(&self.start, &self.mark, self.whole)
    }
}

impl Peak {
    fn raise(&mut self, other: Self) {
        self.in_use = self.in_use.max(other.in_use);
        self.waiting = self.waiting.max(other.waiting);
    }
}

impl Figures {
    /// Transactions a second.
    pub(super) fn tps(&self) -> u64 {
        let millis = self.lasted.as_millis().max(1);
        u64::try_from(u128::from(self.transactions) * 1000 / millis).unwrap_or(u64::MAX)
    }
}

fn figures(from: &Mark, to: &Mark, peak: Peak) -> Figures {
    let waited = |snapshot: &Snapshot| -> u64 { snapshot.pools.iter().map(|pool| pool.waited_total).sum() };
    let (before, after) = (Passed::by(&from.snapshot), Passed::by(&to.snapshot));
    let (traffic, earlier) = (after.traffic, before.traffic);
    Figures {
        lasted: to.at - from.at,
        clients: to.snapshot.logged_in,
        peak,
        transactions: traffic.transactions.saturating_sub(earlier.transactions),
        waited: waited(&to.snapshot).saturating_sub(waited(&from.snapshot)),
        transaction: after.holds.since(&before.holds).summary(),
        wait: after.waits.since(&before.waits).summary(),
        bytes_from_clients: traffic.bytes_from_clients.saturating_sub(earlier.bytes_from_clients),
        bytes_to_clients: traffic.bytes_to_clients.saturating_sub(earlier.bytes_to_clients),
    }
}

/// What all pools together have counted.
#[derive(Default)]
struct Passed {
    traffic: Traffic,
    waits: Times,
    holds: Times,
}

impl Passed {
    fn by(snapshot: &Snapshot) -> Self {
        let mut sum = Self::default();
        for pool in &snapshot.pools {
            sum.traffic += pool.traffic;
            sum.waits.add(&pool.waits);
            sum.holds.add(&pool.holds);
        }
        sum
    }
}
