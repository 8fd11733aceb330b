//! What is counted: transactions, their time and the waiting before them, per worker without contention.
//!
//! A worker owns a [`Recorder`]; whoever wants figures takes a [`Totals`] of all of them. A pool owns a [`Traffic`] and
//! [`Times`]. Whoever keeps a limit of the configuration counts in the process' [`LimitHits`]. Patterns and pools mean
//! nothing here.

mod limits;
mod traffic;

use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

pub use limits::{Limit, LimitCounts, LimitHits};
pub use traffic::{Times, TimesSummary, Traffic};

/// Longest time that is told apart, in microseconds: ten minutes.
const LONGEST_MICROS: u64 = 600_000_000;

/// The counters of one worker.
#[derive(Debug)]
pub struct Recorder {
    counts: Mutex<Totals>,
}

/// Sums over workers, from the start of the process.
#[derive(Debug, Clone)]
pub struct Totals {
    /// Leases that ended with an answered transaction.
    pub transactions: u64,
    /// From the lease to its end, in microseconds.
    pub transaction_micros: Histogram<u64>,
    /// From asking to having a lease, in microseconds; 0 where a backend was free.
    pub wait_micros: Histogram<u64>,
    pub bytes_from_clients: u64,
    pub bytes_to_clients: u64,
}

impl Default for Totals {
    fn default() -> Self {
        // Two digits: a percentile is right to one per cent. The bounds are constants that the histogram accepts.
        let histogram = || Histogram::new_with_bounds(1, LONGEST_MICROS, 2).expect("1 to ten minutes, two digits");
        Self {
            transactions: 0,
            transaction_micros: histogram(),
            wait_micros: histogram(),
            bytes_from_clients: 0,
            bytes_to_clients: 0,
        }
    }
}

impl Totals {
    /// Adds another worker's sums.
    pub fn add(&mut self, other: &Self) {
        self.transactions += other.transactions;
        self.bytes_from_clients += other.bytes_from_clients;
        self.bytes_to_clients += other.bytes_to_clients;
        // Equal bounds: adding cannot fail.
        let _ = self.transaction_micros.add(&other.transaction_micros);
        let _ = self.wait_micros.add(&other.wait_micros);
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self { counts: Mutex::new(Totals::default()) }
    }
}

/// One lease, at its end.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    pub waited: Duration,
    pub held: Duration,
    pub bytes_from_client: u64,
    pub bytes_to_client: u64,
}

impl Recorder {
    /// Counts a lease that ended.
    pub fn record(&self, lease: &Lease) {
        let mut counts = self.counts.lock();
        counts.transactions += 1;
        counts.bytes_from_clients += lease.bytes_from_client;
        counts.bytes_to_clients += lease.bytes_to_client;
        counts.transaction_micros.saturating_record(micros(lease.held));
        counts.wait_micros.saturating_record(micros(lease.waited));
    }

    /// The sums so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.counts.lock().clone()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_workers_add_up() {
        let (one, two) = (Recorder::default(), Recorder::default());
        let lease = Lease {
            waited: Duration::ZERO,
            held: Duration::from_micros(100),
            bytes_from_client: 3,
            bytes_to_client: 4,
        };
        one.record(&lease);
        two.record(&lease);
        two.record(&lease);
        let mut totals = one.totals();
        totals.add(&two.totals());
        assert_eq!((totals.transactions, totals.bytes_from_clients, totals.bytes_to_clients), (3, 9, 12));
        assert_eq!(totals.transaction_micros.len(), 3);
        assert_eq!(totals.transaction_micros.value_at_quantile(0.5), 100);
    }
}
