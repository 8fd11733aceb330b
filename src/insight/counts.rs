//! How often which times were seen, in as many bytes as that takes.
//!
//! Times of one pattern lie close together, and most are seen a few times: counts are kept for the range that was seen,
//! in two bytes each, and what does not fit into those apart. A general histogram has four bytes for each time from a
//! microsecond on, which is five to ten times as much.

/// Each doubling of a time is divided into so many parts (a power of two), whose middle is off by less than one per cent.
const PARTS: u64 = 64;
/// The range grows by so many counts, a power of two.
const STEP: u16 = 16;

/// Counts of microseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// The bucket of the first count.
    first: u16,
    low: Vec<u16>,
    /// What was carried over from `low`, by bucket.
    high: Vec<(u16, u64)>,
}

/// The number of the interval that a time lies in.
fn bucket(micros: u64) -> u16 {
    let doublings = u64::from((micros / (2 * PARTS)).checked_ilog2().map_or(0, |doublings| doublings + 1));
    u16::try_from(doublings * PARTS + (micros >> doublings)).unwrap_or(u16::MAX)
}

/// The middle of an interval.
fn middle(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let doublings = (bucket / PARTS).saturating_sub(1);
    let begin = (bucket - doublings * PARTS) << doublings;
    begin + (1 << doublings) / 2
}

impl Counts {
    pub(super) fn add(&mut self, micros: u64, times: u64) {
        self.add_to(bucket(micros), times);
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (bucket, times) in other.buckets() {
            self.add_to(bucket, times);
        }
    }

    fn add_to(&mut self, bucket: u16, times: u64) {
        let place = self.place(bucket);
        let Some(low) = self.low.get_mut(place) else { return };
        let sum = u64::from(*low) + times;
        *low = (sum & 0xffff) as u16;
        if let carried @ 1.. = sum >> 16 {
            match self.high.iter_mut().find(|(known, _)| *known == bucket) {
                Some((_, all)) => *all += carried,
                None => self.high.push((bucket, carried)),
            }
        }
    }

    /// Where a bucket's count is, for which there is room then.
    fn place(&mut self, bucket: u16) -> usize {
        let begin = bucket & !(STEP - 1);
        let place = usize::from(bucket.wrapping_sub(self.first));
        if place < self.low.len() {
            return place;
        }
        if self.low.is_empty() {
            self.first = begin;
        } else if begin < self.first {
            let more = usize::from(self.first - begin);
            self.low.reserve_exact(more);
            self.low.splice(..0, std::iter::repeat_n(0, more));
            self.first = begin;
        }
        let needed = usize::from(begin - self.first) + usize::from(STEP);
        if needed > self.low.len() {
            self.low.reserve_exact(needed - self.low.len());
            self.low.resize(needed, 0);
        }
        usize::from(bucket - self.first)
    }

    /// Buckets that have a count, in order.
    fn buckets(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = (self.first..).zip(&self.low).map(|(bucket, low)| {
            let carried = self.high.iter().find(|(known, _)| *known == bucket).map_or(0, |(_, carried)| carried << 16);
            (bucket, carried + u64::from(*low))
        });
        counts.filter(|(_, times)| *times > 0)
    }

    /// How often which microseconds were seen, the shortest first.
    pub(super) fn seen(&self) -> impl Iterator<Item = (u64, u64)> {
        self.buckets().map(|(bucket, times)| (middle(bucket), times))
    }

    /// How many there are.
    pub(super) fn all(&self) -> u64 {
        self.seen().map(|(_, times)| times).sum()
    }

    /// The microseconds that so many took no longer than, the one of this rank included.
    pub(super) fn at(&self, rank: u64) -> u64 {
        let mut so_far = 0;
        let mut seen = self.seen().skip_while(|(_, times)| {
            so_far += times;
            so_far < rank
        });
        seen.next().map_or(0, |(micros, _)| micros)
    }

    /// How many took no longer.
    pub(super) fn within(&self, micros: u64) -> u64 {
        let last = bucket(micros);
        self.buckets().take_while(|(bucket, _)| *bucket <= last).map(|(_, times)| times).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_one_pattern_takes_is_a_few_hundred_bytes() {
        let mut counts = Counts::default();
        (1_000..50_000).for_each(|micros| counts.add(micros, 1));
        assert!(counts.low.capacity() * 2 < 800, "{} counts", counts.low.capacity());
    }

    #[test]
    fn counts_have_no_greatest() {
        let mut counts = Counts::default();
        for _ in 0..3 {
            counts.add(100, u64::from(u16::MAX));
            counts.add(7, 1 << 40);
        }
        assert_eq!(counts.seen().collect::<Vec<_>>(), [(7, 3 << 40), (100, 3 * u64::from(u16::MAX))]);
    }

    proptest! {
        #[test]
        fn a_time_is_known_to_one_per_cent(micros in any::<u64>().prop_map(|any| any >> (any % 64))) {
            let mut counts = Counts::default();
            counts.add(micros, 2);
            let (found, times) = counts.seen().next().expect("one");
            prop_assert_eq!(times, 2);
            prop_assert!(found.abs_diff(micros) <= micros / 100, "{found}");
            prop_assert_eq!((counts.at(1), counts.at(2), counts.within(micros)), (found, found, 2));
        }

        #[test]
        fn ranks_are_those_of_a_sorted_list(mut times in proptest::collection::vec(0_u64..100_000, 1..300)) {
            let mut counts = Counts::default();
            times.iter().for_each(|micros| counts.add(*micros, 1));
            times.sort_unstable();
            prop_assert_eq!(counts.all(), times.len() as u64);
            for (rank, micros) in (1..).zip(times) {
                prop_assert_eq!(counts.at(rank), middle(bucket(micros)));
            }
        }
    }
}
