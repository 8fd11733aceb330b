//! The last day, minute by minute: all that was counted, and apart what took most of the time.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, SystemTime};

use foldhash::fast::RandomState;

use super::names::Place;
use super::packed::Packed;
use super::table::{Key, Table};
use super::tally::Tally;
use crate::sql::Digest;

const MINUTE: Duration = Duration::from_secs(60);
/// Minutes that are kept.
const KEPT: usize = 24 * 60;
/// Patterns that a minute tells apart.
const HEAVIEST: usize = 200;

/// Sums of a span of time, by pattern or without one.
pub(super) type Span = HashMap<(Option<Digest>, Place), Tally, RandomState>;

#[derive(Debug)]
struct Window {
    start: SystemTime,
    rows: Vec<(Key, Packed)>,
    /// All that is in no row.
    others: Vec<(Place, Packed)>,
}

#[derive(Debug, Default)]
pub(super) struct Windows {
    /// The latest last.
    past: VecDeque<Window>,
    /// The beginning of the minute at hand.
    current: Option<SystemTime>,
}

impl Windows {
    /// Ends the minute at hand where it is over.
    pub(super) fn turn(&mut self, table: &mut Table, now: SystemTime) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let minute = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs() / 60 * 60);
        let Some(start) = self.current.replace(minute).filter(|start| *start != minute) else { return };
        let (mut rows, others) = table.end_minute();
        let mut others: HashMap<Place, Tally, RandomState> =
            others.into_iter().map(|(place, tally)| (place, *tally)).collect();
        rows.sort_unstable_by_key(|(_, tally)| std::cmp::Reverse(tally.total().sum()));
        for (key, tally) in rows.drain(HEAVIEST.min(rows.len())..) {
            others.entry(key.place).or_insert_with(|| Tally::new(tally.first_seen)).add(&tally);
        }
        self.past.push_back(Window {
            start,
            rows: rows.into_iter().map(|(key, tally)| (key, Packed::new(&tally))).collect(),
            others: others.into_iter().map(|(place, tally)| (place, Packed::new(&tally))).collect(),
        });
        if self.past.len() > KEPT {
            self.past.pop_front();
        }
    }

    /// What was counted in a span of time, in whole minutes, with the minute at hand if the span reaches into it.
    pub(super) fn span(&self, table: &Table, span: &Range<SystemTime>) -> Span {
        let mut sums = Span::default();
        let within = |start: SystemTime| start + MINUTE > span.start && start < span.end;
        for window in self.past.iter().filter(|window| within(window.start)) {
            let rows = window.rows.iter().map(|(key, packed)| ((Some(key.digest), key.place), packed));
            let others = window.others.iter().map(|(place, packed)| ((None, *place), packed));
            for (key, packed) in rows.chain(others) {
                packed.add_to(sums.entry(key).or_insert_with(|| Tally::empty(span.end)));
            }
        }
        let mut add = |key: (Option<Digest>, Place), tally: &Tally| {
            sums.entry(key).or_insert_with(|| Tally::new(tally.first_seen)).add(tally);
        };
        if self.current.is_some_and(within) {
            for (key, row) in table.rows() {
                row.minute.iter().for_each(|tally| add((Some(key.digest), key.place), tally));
            }
            for (place, row) in table.others() {
                row.minute.iter().for_each(|tally| add((None, place), tally));
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
