//! The table that lists are added up in: a row for each pattern, database and user, as many as there is room for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::SystemTime;

use foldhash::fast::RandomState;

use super::applications::Usage;
use super::names::Place;
use super::recorder::{Entry, Execution};
use super::tally::Tally;
use crate::sql::Digest;

/// Of a row's importance, what a minute leaves of it.
const KEPT_EACH_MINUTE: f64 = 0.9;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) digest: Digest,
    pub(super) place: Place,
}

/// Sums, apart for the minute at hand.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) before: Option<Box<Tally>>,
    pub(super) minute: Option<Box<Tally>>,
}

#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) sums: Sums,
    /// How many executions it has had lately.
    heat: f64,
}

/// Rows, and what had to make room for them.
#[derive(Debug)]
pub(super) struct Table {
    limit: usize,
    rows: HashMap<Key, Row, RandomState>,
    others: HashMap<Place, Sums, RandomState>,
    folded: u64,
}

impl Table {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), rows: HashMap::default(), others: HashMap::default(), folded: 0 }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
        while self.rows.len() > self.limit {
            self.make_room();
        }
    }

    /// Adds what was written down. Tags are given as the single ones that a set has.
    pub(super) fn add(&mut self, entry: &Entry, tags: impl FnOnce(u32, &mut dyn FnMut(u32)), now: SystemTime) {
        match entry {
            Entry::Execution(execution) => {
                let tally = self.tally(execution.digest, execution.place, now);
                record(tally, execution, tags, now);
            }
            Entry::Idled(digest, place, nanos) => self.tally(*digest, *place, now).idle_after.record(*nanos),
            Entry::Failed(digest, place, application, failed) => {
                let tally = self.tally(*digest, *place, now);
                tally.fail(*failed);
                tally.applications.record(*application, Usage { errors: 1, ..Usage::default() });
            }
        }
    }

    /// Where executions of a pattern are counted now.
    fn tally(&mut self, digest: Option<Digest>, place: Place, now: SystemTime) -> &mut Tally {
        let Some(digest) = digest else { return self.others.entry(place).or_default().now(now) };
        let key = Key { digest, place };
        if self.rows.len() >= self.limit && !self.rows.contains_key(&key) {
            self.make_room();
        }
        let row = self.rows.entry(key).or_default();
        row.heat += 1.0;
        row.sums.now(now)
    }

    /// Adds the rows that are used least to the one without a pattern.
    fn make_room(&mut self) {
        let count = (self.limit / 20).max(1);
        let mut by_heat: Vec<(f64, SystemTime, Key)> =
            self.rows.iter().map(|(key, row)| (row.heat, row.sums.last_seen(), *key)).collect();
        let least = count.min(by_heat.len());
        if least == 0 {
            return;
        }
        by_heat.select_nth_unstable_by(least - 1, |one, two| one.0.total_cmp(&two.0).then(one.1.cmp(&two.1)));
        for (_, _, key) in by_heat.into_iter().take(least) {
            let Some(row) = self.rows.remove(&key) else { continue };
            self.others.entry(key.place).or_default().add(row.sums);
            self.folded += 1;
        }
    }

    /// The minute is over: what it had, a row each and those without a pattern.
    pub(super) fn end_minute(&mut self) -> (Vec<(Key, Box<Tally>)>, Vec<(Place, Box<Tally>)>) {
        let mut rows = Vec::new();
        for (key, row) in &mut self.rows {
            row.heat *= KEPT_EACH_MINUTE;
            rows.extend(row.sums.end_minute().map(|tally| (*key, tally)));
        }
        let others = self.others.iter_mut().filter_map(|(place, sums)| Some((*place, sums.end_minute()?)));
        (rows, others.collect())
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (Key, &Sums)> {
        self.rows.iter().map(|(key, row)| (*key, &row.sums))
    }

    pub(super) fn others(&self) -> impl Iterator<Item = (Place, &Sums)> {
        self.others.iter().map(|(place, sums)| (*place, sums))
    }

    /// When a row's first execution ended.
    pub(super) fn first_seen(&self, (digest, place): (Option<Digest>, Place)) -> Option<SystemTime> {
        let row = self.rows.get(&Key { digest: digest?, place })?;
        let tally = row.sums.before.as_ref().or(row.sums.minute.as_ref())?;
        Some(tally.first_seen)
    }

    /// Patterns that have made room so far.
    pub(super) fn folded(&self) -> u64 {
        self.folded
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

fn record(tally: &mut Tally, execution: &Execution, tags: impl FnOnce(u32, &mut dyn FnMut(u32)), now: SystemTime) {
    tally.record(execution, now);
    if execution.tags != 0 {
        tags(execution.tags, &mut |tag| tally.tags.count(tag, 1));
    }
}

impl Sums {
    fn now(&mut self, now: SystemTime) -> &mut Tally {
        self.minute.get_or_insert_with(|| Box::new(Tally::new(now)))
    }

    fn add(&mut self, other: Self) {
        merge(&mut self.before, other.before);
        merge(&mut self.minute, other.minute);
    }

    fn end_minute(&mut self) -> Option<Box<Tally>> {
        let minute = self.minute.take()?;
        match &mut self.before {
            Some(before) => before.add(&minute),
            None => self.before = Some(minute.clone()),
        }
        Some(minute)
    }

    fn last_seen(&self) -> SystemTime {
        let latest = self.minute.as_ref().or(self.before.as_ref());
        latest.map_or(SystemTime::UNIX_EPOCH, |tally| tally.last_seen)
    }

    /// Since the process started.
    pub(super) fn all(&self) -> Option<Cow<'_, Tally>> {
        match (&self.before, &self.minute) {
            (Some(before), Some(minute)) => {
                let mut all = (**before).clone();
                all.add(minute);
                Some(Cow::Owned(all))
            }
            (one, other) => one.as_deref().or(other.as_deref()).map(Cow::Borrowed),
        }
    }
}

fn merge(into: &mut Option<Box<Tally>>, other: Option<Box<Tally>>) {
    match (into.as_mut(), other) {
        (_, None) => {}
        (Some(into), Some(other)) => into.add(&other),
        (None, other) => *into = other,
    }
}
