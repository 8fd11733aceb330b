//! What passes over leases, and how long things take, for one pool.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest duration that is told apart.
const DAY_MICROS: u64 = 24 * 3600 * 1_000_000;

/// What was carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Transactions that were answered.
    pub transactions: u64,
    pub bytes_from_clients: u64,
    pub bytes_to_clients: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.transactions += other.transactions;
        self.bytes_from_clients += other.bytes_from_clients;
        self.bytes_to_clients += other.bytes_to_clients;
    }
}

/// Durations, told apart to one per cent. Takes memory only from the first on, and more only for longer ones.
#[derive(Clone, Default)]
pub struct Times {
    histogram: Option<Box<Histogram<u32>>>,
    total: Duration,
}

/// A number of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimesSummary {
    pub count: u64,
    pub total: Duration,
    pub longest: Duration,
    pub p50: Duration,
    pub p95: Duration,
    pub p99: Duration,
}

impl Times {
    pub fn record(&mut self, duration: Duration) {
        // Two digits are accepted, and one that grows takes what is within a day.
        let histogram = self.histogram.get_or_insert_with(|| Box::new(Histogram::new(2).expect("two digits")));
        let _ = histogram.record(micros(duration).min(DAY_MICROS));
        self.total = self.total.saturating_add(duration);
    }

    /// Adds what was recorded elsewhere.
    pub fn add(&mut self, other: &Self) {
        let Some(theirs) = &other.histogram else { return };
        match &mut self.histogram {
            // One that grows takes them all.
            Some(ours) => _ = ours.add(&**theirs),
            none => *none = Some(theirs.clone()),
        }
        self.total = self.total.saturating_add(other.total);
    }

    /// What was recorded after `before`, an earlier copy, was taken.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        if let (Some(ours), Some(theirs)) = (&mut since.histogram, &before.histogram) {
            // Later counts of the same durations: none can become negative.
            let _ = ours.subtract(&**theirs);
        }
        since.total = self.total.saturating_sub(before.total);
        since
    }

    #[must_use]
    pub fn summary(&self) -> TimesSummary {
        let Some(histogram) = &self.histogram else { return TimesSummary::default() };
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        TimesSummary {
            count: histogram.len(),
            total: self.total,
            longest: Duration::from_micros(histogram.max()),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
        }
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary().fmt(f)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_any_length_are_told_apart_to_one_per_cent() {
        let mut times = Times::default();
        assert_eq!(times.summary(), TimesSummary::default());
        let recorded = [0, 7, 150, 20_000, 3_000_000, 90_000_000].map(Duration::from_micros);
        recorded.into_iter().for_each(|duration| times.record(duration));
        let summary = times.summary();
        assert_eq!((summary.count, summary.total), (6, recorded.iter().sum()));
        let right = |found: Duration, meant: Duration| found.abs_diff(meant) <= meant / 100;
        assert!(right(summary.longest, recorded[5]) && right(summary.p50, recorded[2]), "{summary:?}");
    }

    #[test]
    fn durations_of_a_period_are_those_recorded_after_it_began() {
        let mut times = Times::default();
        (0..100).for_each(|_| times.record(Duration::from_millis(900)));
        let before = times.clone();
        (0..10).for_each(|_| times.record(Duration::from_micros(50)));
        let since = times.since(&before).summary();
        assert_eq!((since.count, since.total, since.p99), (10, Duration::from_micros(500), Duration::from_micros(50)));
        assert_eq!(times.since(&times).summary().p50, Duration::ZERO);
        let mut sum = Times::default();
        sum.add(&before);
        sum.add(&times.since(&before));
        assert_eq!(sum.summary(), times.summary());
    }
}
