//! What a running pgweir looks like from outside, at one moment.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::backend::Refusal;
use crate::pool::PoolSnapshot;
use crate::server::Server;
use crate::server::accept::Lane;
use crate::stats::{LimitCounts, Totals};

/// Clients, pools and times; totals count from the start of the process.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Connections of clients, logged in or not.
    pub connected: usize,
    pub logged_in: usize,
    pub pools: Vec<PoolSnapshot<Refusal>>,
    pub totals: Totals,
    /// How often each limit was met.
    pub limits: LimitCounts,
}

/// Percentiles of a histogram of microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    pub p50: Duration,
    pub p95: Duration,
    pub p99: Duration,
}

impl Percentiles {
    /// Of every value recorded; zero where there is none.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }
}

pub(super) fn take(server: &Server, lanes: &[Lane]) -> Snapshot {
    let mut totals = Totals::default();
    for lane in lanes {
        totals.add(&lane.worker.recorder.totals());
    }
    Snapshot {
        connected: server.clients.connected(),
        logged_in: server.clients.logged_in(),
        pools: server.routes.pools().snapshots(),
        totals,
        limits: server.routes.limit_hits().counts(),
    }
}
