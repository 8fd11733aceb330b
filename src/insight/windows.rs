//! The last day, minute by minute: all that was counted, and apart what took most of the time.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, SystemTime};

use foldhash::fast::RandomState;

use super::names::Place;
use super::packed::Packed;
use super::table::Table;
use super::tally::Tally;
use crate::sql::Digest;

const MINUTE: Duration = Duration::from_secs(60);
/// Minutes that are kept.
const KEPT: usize = 24 * 60;
/// Patterns that a minute, or an hour in a file, tells apart.
pub(super) const HEAVIEST: usize = 200;

/// A pattern in a database by a user, or all that is in no other row.
type RowKey = (Option<Digest>, Place);

/// Sums of a span of time.
pub(super) type Span = HashMap<RowKey, Tally, RandomState>;

#[derive(Debug)]
struct Window {
    start: SystemTime,
    rows: Vec<(RowKey, Packed)>,
}

#[derive(Debug, Default)]
pub(super) struct Windows {
    /// The latest last.
    past: VecDeque<Window>,
    /// The beginning of the minute at hand.
    current: Option<SystemTime>,
}

impl Window {
    fn add_to(&self, sums: &mut Span, now: SystemTime) {
        for (key, packed) in &self.rows {
            packed.add_to(sums.entry(*key).or_insert_with(|| Tally::empty(now)));
        }
    }
}

/// Adds to the sums of one row.
pub(super) fn add(sums: &mut Span, key: RowKey, tally: &Tally) {
    sums.entry(key).or_insert_with(|| Tally::new(tally.first_seen)).add(tally);
}

/// The patterns that took most of the time, and the others of each database and user together.
pub(super) fn heaviest(rows: impl Iterator<Item = (RowKey, Tally)>, count: usize) -> Span {
    let (mut named, nameless): (Vec<_>, Vec<_>) = rows.partition(|((digest, _), _)| digest.is_some());
    named.sort_unstable_by_key(|(_, tally)| std::cmp::Reverse(tally.total().sum()));
    let rest = named.split_off(count.min(named.len()));
    let mut kept: Span = named.into_iter().collect();
    for ((_, place), tally) in rest.into_iter().chain(nameless) {
        add(&mut kept, (None, place), &tally);
    }
    kept
}

impl Windows {
    /// Ends the minute at hand where it is over, and says when that had begun.
    pub(super) fn turn(&mut self, table: &mut Table, now: SystemTime) -> Option<SystemTime> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let minute = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs() / 60 * 60);
        let start = self.current.replace(minute).filter(|start| *start != minute)?;
        let (rows, others) = table.end_minute();
        let rows = rows.into_iter().map(|(key, tally)| ((Some(key.digest), key.place), *tally));
        let others = others.into_iter().map(|(place, tally)| ((None, place), *tally));
        let rows = heaviest(rows.chain(others), HEAVIEST).into_iter().map(|(key, tally)| (key, Packed::new(&tally)));
        self.past.push_back(Window { start, rows: rows.collect() });
        if self.past.len() > KEPT {
            self.past.pop_front();
        }
        Some(start)
    }

    /// Adds the minute that ended last.
    pub(super) fn add_last_to(&self, sums: &mut Span, now: SystemTime) {
        if let Some(window) = self.past.back() {
            window.add_to(sums, now);
        }
    }

    /// The beginning of the minute at hand.
    pub(super) fn current(&self) -> Option<SystemTime> {
        self.current
    }

    /// What was counted in a span of time, in whole minutes, with the minute at hand if the span reaches into it.
    pub(super) fn span(&self, table: &Table, span: &Range<SystemTime>) -> Span {
        let mut sums = Span::default();
        let within = |start: SystemTime| start + MINUTE > span.start && start < span.end;
        for window in self.past.iter().filter(|window| within(window.start)) {
            window.add_to(&mut sums, span.end);
        }
        if self.current.is_some_and(within) {
            for (key, row) in table.rows() {
                row.minute.iter().for_each(|tally| add(&mut sums, (Some(key.digest), key.place), tally));
            }
            for (place, row) in table.others() {
                row.minute.iter().for_each(|tally| add(&mut sums, (None, place), tally));
            }
        }
        sums
    }

    /// From when on a span of time is told of.
    pub(super) fn first(&self, from: SystemTime) -> Option<SystemTime> {
        let starts = self.past.iter().map(|window| window.start).chain(self.current);
        starts.filter(|start| *start + MINUTE > from).min()
    }

    /// Whether all of a minute before this was counted.
    pub(super) fn reach_before(&self, at: SystemTime) -> bool {
        self.past.front().is_some_and(|window| window.start + MINUTE < at)
    }
}
