//! A distribution of times that grows with what it has seen.

use std::time::Duration;

use super::counts::Counts;
use super::view::Times;

/// Times, told apart to one per cent. Those below a microsecond, which is most of all waiting, take no memory, nor does
/// a single one.
#[derive(Debug, Clone, Default)]
pub(super) struct Spread {
    count: u64,
    /// Nanoseconds.
    sum: u64,
    min: u64,
    max: u64,
    /// Of microseconds.
    squares: f64,
    /// Microseconds, from the second time on.
    above_zero: Option<Box<Counts>>,
}

/// A distribution as it was packed.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// See [`Spread::numbers`].
    pub(super) numbers: [u64; 4],
    pub(super) squares: f64,
    /// How often which microseconds were seen; nothing of a single one.
    pub(super) seen: Vec<(u64, u64)>,
}

impl Spread {
    pub(super) fn record(&mut self, nanos: u64) {
        self.make_plural();
        self.min = if self.count == 0 { nanos } else { self.min.min(nanos) };
        self.max = self.max.max(nanos);
        self.count += 1;
        self.sum = self.sum.saturating_add(nanos);
        if nanos >= 1000 {
            let exact = nanos as f64 / 1000.0;
            self.squares += exact * exact;
            if self.count > 1 {
                self.put(nanos);
            }
        }
    }

    /// One more is about to come.
    fn make_plural(&mut self) {
        if self.count == 1 && self.sum >= 1000 {
            self.put(self.sum);
        }
    }

    fn put(&mut self, nanos: u64) {
        self.counts().add(nanos / 1000, 1);
    }

    pub(super) fn add(&mut self, other: &Self) {
        match other.count {
            0 => return,
            1 => return self.record(other.sum),
            _ => self.make_plural(),
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.squares += other.squares;
        if let Some(other) = &other.above_zero {
            self.counts().add_all(other);
        }
    }

    /// Adds a part of a distribution.
    pub(super) fn add_part(&mut self, part: &Part) {
        let [count, sum, min, max] = part.numbers;
        match count {
            0 => return,
            1 => return self.record(sum),
            _ => self.make_plural(),
        }
        self.min = if self.count == 0 { min } else { self.min.min(min) };
        self.max = self.max.max(max);
        self.count += count;
        self.sum = self.sum.saturating_add(sum);
        self.squares += part.squares;
        for (micros, times) in &part.seen {
            self.counts().add(*micros, *times);
        }
    }

    /// Count, and the sum, the least and the greatest in nanoseconds.
    pub(super) fn numbers(&self) -> [u64; 4] {
        [self.count, self.sum, self.min, self.max]
    }

    pub(super) fn squares(&self) -> f64 {
        self.squares
    }

    /// How often which microseconds were seen.
    pub(super) fn seen(&self) -> impl Iterator<Item = (u64, u64)> {
        self.above_zero.iter().flat_map(|counts| counts.seen())
    }

    /// Nanoseconds.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    fn counts(&mut self) -> &mut Counts {
        self.above_zero.get_or_insert_default()
    }

    pub(super) fn times(&self) -> Times {
        if self.count == 0 {
            return Times::default();
        }
        let mean = self.sum as f64 / self.count as f64 / 1000.0;
        let variance = (self.squares / self.count as f64 - mean * mean).max(0.0);
        let (min, max) = (Duration::from_nanos(self.min), Duration::from_nanos(self.max));
        let counted = self.above_zero.as_ref().map_or(0, |counts| counts.all());
        let at = |quantile: f64| Duration::from_micros(self.quantile(quantile, counted)).clamp(min, max);
        Times {
            count: self.count,
            sum: Duration::from_nanos(self.sum),
            min,
            max,
            mean: Duration::from_nanos(self.sum / self.count),
            stddev: Duration::from_secs_f64(variance.sqrt() / 1_000_000.0),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
        }
    }

    /// How many took no longer, to one per cent of that time.
    pub(super) fn within(&self, most: Duration) -> u64 {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        match &self.above_zero {
            _ if self.max <= nanos => self.count,
            _ if self.count == 1 => 0,
            None => self.count,
            Some(counts) => self.count.saturating_sub(counts.all()) + counts.within(nanos / 1000),
        }
    }

    /// Microseconds; `counted` are those that took one and more.
    fn quantile(&self, quantile: f64, counted: u64) -> u64 {
        let Some(counts) = &self.above_zero else { return if self.count == 1 { self.sum / 1000 } else { 0 } };
        let rank = (quantile * self.count as f64).ceil() as u64;
        rank.checked_sub(self.count.saturating_sub(counted)).filter(|rank| *rank > 0).map_or(0, |rank| counts.at(rank))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn those_that_keep_to_a_time_are_counted() {
        let millis = [0, 1, 10, 50, 51, 500].map(|millis| millis * 1_000_000);
        let spread = of(&millis);
        let within = |millis| spread.within(Duration::from_millis(millis));
        assert_eq!([within(1), within(20), within(100), within(1000)], [2, 3, 5, 6]);
        assert_eq!(of(&millis[4..5]).within(Duration::from_millis(50)), 0);
    }

    fn of(times: &[u64]) -> Spread {
        let mut spread = Spread::default();
        times.iter().for_each(|nanos| spread.record(*nanos));
        spread
    }

    #[test]
    fn percentiles_are_right_to_one_per_cent_and_zeros_are_among_them() {
        let times: Vec<u64> = (0..100).map(|n: u64| if n < 60 { 0 } else { n * 1_000_000 }).collect();
        let times = of(&times).times();
        assert_eq!((times.count, times.min, times.p50), (100, Duration::ZERO, Duration::ZERO));
        let near = |found: Duration, millis: u64| found.abs_diff(Duration::from_millis(millis)) * 100 <= found;
        assert!(near(times.p90, 89) && near(times.p99, 98) && times.max == Duration::from_millis(99), "{times:?}");
        assert_eq!(times.sum, (60..100).map(Duration::from_millis).sum::<Duration>());
    }

    proptest! {
        #[test]
        fn two_that_are_added_are_as_one_that_saw_everything(
            one in proptest::collection::vec(0_u64..900_000_000_000, 0..200),
            two in proptest::collection::vec(0_u64..5_000_000, 0..200),
        ) {
            let both: Vec<u64> = one.iter().chain(&two).copied().collect();
            let (mut added, all) = (of(&one), of(&both));
            added.add(&of(&two));
            let (mut added, mut all): (Times, Times) = (added.times(), all.times());
            // A sum of floats depends on the order.
            prop_assert!(Duration::abs_diff(added.stddev, all.stddev) <= Duration::from_micros(1));
            (added.stddev, all.stddev) = (Duration::ZERO, Duration::ZERO);
            prop_assert_eq!(added, all);
        }
    }
}
