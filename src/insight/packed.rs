//! Sums in few bytes, for minutes that are over.
//!
//! Numbers of seven bits to the byte; of a distribution only what was seen, its times told apart to three per cent; of
//! names and tags only the most frequent.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::applications::Usage;
use super::spread::{Part, Spread};
use super::tally::Tally;

/// Bits of a time that are kept.
const BITS: u32 = 5;
const APPLICATIONS: usize = 3;
const TAGS: usize = 6;

/// A tally that cannot be changed any more.
#[derive(Debug, Clone)]
pub(super) struct Packed(Box<[u8]>);

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        BASE64.decode(text).map(|bytes| Self(bytes.into())).map_err(D::Error::custom)
    }
}

impl Packed {
    pub(super) fn new(tally: &Tally) -> Self {
        let mut out = Writer(Vec::with_capacity(128));
        let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        for number in tally.numbers() {
            out.number(number);
        }
        out.number(seconds(tally.first_seen));
        out.number(seconds(tally.last_seen));
        for spread in [&tally.wait, &tally.server, &tally.drain, &tally.idle_after] {
            out.spread(spread);
        }
        out.number(u64::from(tally.own_total().is_some()));
        if let Some(total) = tally.own_total() {
            out.spread(total);
        }
        let sqlstates = tally.sqlstates.sorted();
        let as_number = |code: [u8; 5]| code.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        out.counts(sqlstates.into_iter().map(|(code, count)| (as_number(code), count)));
        let applications = tally.applications.sorted(APPLICATIONS);
        out.number(applications.len() as u64);
        for (id, usage) in applications {
            out.number(id.into());
            usage.numbers().into_iter().for_each(|number| out.number(number));
        }
        out.counts(tally.tags.sorted().into_iter().take(TAGS).map(|(id, n)| (u64::from(id), n)));
        Self(out.0.into())
    }

    /// Adds what is here to other sums.
    pub(super) fn add_to(&self, tally: &mut Tally) {
        let mut bytes = Reader(&self.0);
        tally.add_numbers(|| bytes.number());
        let mut at = || SystemTime::UNIX_EPOCH + Duration::from_secs(bytes.number());
        let (first, last) = (at(), at());
        (tally.first_seen, tally.last_seen) = (tally.first_seen.min(first), tally.last_seen.max(last));
        let [wait, server, drain, idle_after] = [(); 4].map(|()| bytes.part());
        let own_total = (bytes.number() != 0).then(|| bytes.part());
        if own_total.is_some() || tally.own_total().is_some() {
            tally.own_total_mut().add_part(own_total.as_ref().unwrap_or(&server));
        }
        tally.wait.add_part(&wait);
        tally.server.add_part(&server);
        tally.drain.add_part(&drain);
        tally.idle_after.add_part(&idle_after);
        for (number, count) in bytes.counts() {
            let [_, _, _, code @ ..] = number.to_be_bytes();
            tally.sqlstates.count(code, count);
        }
        for _ in 0..bytes.number() {
            let id = u32::try_from(bytes.number()).unwrap_or(0);
            tally.applications.record(id, Usage::from_numbers([(); 6].map(|()| bytes.number())));
        }
        for (id, count) in bytes.counts() {
            tally.tags.count(u32::try_from(id).unwrap_or(0), count);
        }
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while let (rest @ 1.., low) = (number >> 7, number & 0x7f) {
            self.0.push(0x80 | u8::try_from(low).unwrap_or(0));
            number = rest;
        }
        self.0.push(u8::try_from(number).unwrap_or(0));
    }

    fn spread(&mut self, spread: &Spread) {
        let [count, sum, min, max] = spread.numbers();
        self.number(count);
        if count == 0 {
            return;
        }
        for number in [sum, min, max, spread.squares().to_bits()] {
            self.number(number);
        }
        let mut seen: Vec<(u64, u64)> = Vec::new();
        for (micros, times) in spread.seen() {
            let dropped = (u64::BITS - micros.leading_zeros()).saturating_sub(BITS);
            // The middle of what is not told apart.
            let coarse = (micros >> dropped << dropped) + ((1 << dropped) >> 1);
            match seen.last_mut() {
                Some((last, all)) if *last == coarse => *all += times,
                _ => seen.push((coarse, times)),
            }
        }
        self.number(seen.len() as u64);
        let mut last = 0;
        for (micros, times) in seen {
            self.number(micros - last);
            self.number(times);
            last = micros;
        }
    }

    fn counts(&mut self, counts: impl Iterator<Item = (u64, u64)>) {
        let counts: Vec<_> = counts.collect();
        self.number(counts.len() as u64);
        for (key, count) in counts {
            self.number(key);
            self.number(count);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// 0 where nothing is left, which does not happen.
    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        while let Some((byte, rest)) = self.0.split_first() {
            self.0 = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    fn part(&mut self) -> Part {
        let count = self.number();
        if count == 0 {
            return Part::default();
        }
        let (sum, min, max) = (self.number(), self.number(), self.number());
        let squares = f64::from_bits(self.number());
        let mut micros = 0;
        let seen = (0..self.number()).map(|_| {
            micros += self.number();
            (micros, self.number())
        });
        let seen = seen.collect();
        Part { numbers: [count, sum, min, max], squares, seen }
    }

    fn counts(&mut self) -> Vec<(u64, u64)> {
        (0..self.number()).map(|_| (self.number(), self.number())).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::insight::recorder::tests::execution;
    use crate::insight::{Execution, Failed};

    proptest! {
        #[test]
        fn what_was_packed_is_the_same_but_for_percentiles(
            times in proptest::collection::vec((0_u64..3_000_000, 0_u64..4_000_000_000, 0_u32..5), 1..50),
        ) {
            let mut tally = Tally::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
            for (wait, server, application) in times {
                let failed = (application == 3).then_some(Failed::TimedOut(*b"57014"));
                let one = Execution { wait, server, application, failed, rows: 300, ..execution("select 1") };
                tally.record(&one, SystemTime::UNIX_EPOCH + Duration::from_secs(2000));
            }
            let mut unpacked = Tally::empty(tally.last_seen);
            Packed::new(&tally).add_to(&mut unpacked);
            prop_assert_eq!(tally.numbers(), unpacked.numbers());
            prop_assert_eq!(tally.applications.sorted(APPLICATIONS), unpacked.applications.sorted(APPLICATIONS));
            prop_assert_eq!(tally.sqlstates.sorted(), unpacked.sqlstates.sorted());
            prop_assert_eq!((tally.first_seen, tally.last_seen), (unpacked.first_seen, unpacked.last_seen));
            for (was, is) in [(tally.total(), unpacked.total()), (&tally.wait, &unpacked.wait)] {
                prop_assert_eq!((was.numbers(), was.squares().to_bits()), (is.numbers(), is.squares().to_bits()));
                let (was, is) = (was.times().p95.as_secs_f64(), is.times().p95.as_secs_f64());
                prop_assert!((was - is).abs() <= was * 0.05, "{was} {is}");
            }
        }
    }
}
