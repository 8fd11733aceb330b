//! The last thirty days, hour by hour, where the configuration names a file for them.
//!
//! Minutes tell of a day and end with the process; hours are added up from them and written down, the one at hand again
//! and again, so that little is lost however the process ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::insight::Shared;
use super::record;
use super::report::PatternNames;
use super::store::{Hour, Store};
use super::table::Table;
use super::windows::{Span, Windows, add, heaviest};

pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// Sums of one hour that are told apart until it is written.
const SUMS: usize = 1000;
/// Minutes between two writings of the hour at hand.
const WRITTEN_EVERY: u32 = 5;

/// An hour to be written.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) store: Arc<Store>,
    pub(super) hour: Hour,
    pub(super) record: Vec<u8>,
}

impl Due {
    /// Blocks.
    pub(super) fn write(self) {
        if let Err(fault) = self.store.put(self.hour, &self.record) {
            tracing::warn!(%fault, "an hour could not be written");
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Hours {
    store: Arc<Store>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    hour: Hour,
    sums: Span,
    unwritten: u32,
}

pub(super) fn hour_of(at: SystemTime) -> Hour {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / HOUR.as_secs()
}

pub(super) fn start_of(hour: Hour) -> SystemTime {
    SystemTime::UNIX_EPOCH + HOUR * u32::try_from(hour).unwrap_or(u32::MAX)
}

impl Hours {
    pub(super) fn new(store: Store) -> Self {
        Self { store: Arc::new(store), current: None }
    }

    /// A minute is over that began at `start`. What is to be written because of that.
    pub(super) fn add_minute(
        &mut self,
        (start, windows): (SystemTime, &Windows),
        shared: &Shared,
        names: &mut PatternNames,
    ) -> Option<Due> {
        let over = self.take_over(hour_of(start), shared, names);
        let current = self.current(start, shared, names);
        windows.add_last_to(&mut current.sums, start);
        current.unwritten += 1;
        if current.sums.len() > SUMS {
            current.sums = heaviest(std::mem::take(&mut current.sums).into_iter(), SUMS / 2);
        }
        over.or_else(|| self.write(WRITTEN_EVERY, shared, names))
    }

    /// The hour at hand, which an earlier process may have begun.
    fn current(&mut self, at: SystemTime, shared: &Shared, names: &mut PatternNames) -> &mut Current {
        let store = &self.store;
        self.current.get_or_insert_with(|| {
            let (hour, mut sums) = (hour_of(at), Span::default());
            for (_, bytes) in store.read(hour..hour + 1).unwrap_or_default() {
                record::read(&bytes, shared, names, &mut sums, at);
            }
            Current { hour, sums, unwritten: 0 }
        })
    }

    /// The process ends: the hour at hand with its last minute, and the one before if that has only just begun.
    pub(super) fn end(
        &mut self,
        (windows, table): (&Windows, &Table),
        shared: &Shared,
        names: &mut PatternNames,
    ) -> [Option<Due>; 2] {
        let Some(minute) = windows.current() else { return [None, None] };
        let over = self.take_over(hour_of(minute), shared, names);
        let current = self.current(minute, shared, names);
        for (key, tally) in windows.span(table, &(minute..minute + Duration::from_nanos(1))) {
            add(&mut current.sums, key, &tally);
        }
        current.unwritten += 1;
        [over, self.write(1, shared, names)]
    }

    /// The hour that was at hand, if it is another than this one.
    fn take_over(&mut self, hour: Hour, shared: &Shared, names: &PatternNames) -> Option<Due> {
        let over = self.current.take_if(|current| current.hour != hour)?;
        Some(self.due(&over, shared, names))
    }

    /// The hour at hand, if so many of its minutes are not written.
    fn write(&mut self, unwritten: u32, shared: &Shared, names: &PatternNames) -> Option<Due> {
        let current = self.current.as_mut().filter(|current| current.unwritten >= unwritten.max(1))?;
        current.unwritten = 0;
        let current = self.current.as_ref()?;
        Some(self.due(current, shared, names))
    }

    fn due(&self, current: &Current, shared: &Shared, names: &PatternNames) -> Due {
        let record = record::write(&current.sums, shared, names);
        Due { store: Arc::clone(&self.store), hour: current.hour, record }
    }

    /// Adds the hours from `from` to `to`, but for the last not whole ones. The first of which anything is known.
    pub(super) fn add_to(
        &self,
        sums: &mut Span,
        (from, to): (SystemTime, SystemTime),
        shared: &Shared,
        names: &mut PatternNames,
    ) -> Option<SystemTime> {
        let (from, to) = (hour_of(from), hour_of(to));
        let stored = self.store.read(from..to).unwrap_or_else(|fault| {
            tracing::warn!(%fault, "hours could not be read");
            Vec::new()
        });
        let mut first = None;
        let current = self.current.as_ref().filter(|current| (from..to).contains(&current.hour));
        for (hour, bytes) in stored {
            if current.is_none_or(|current| current.hour != hour)
                && record::read(&bytes, shared, names, sums, start_of(to))
            {
                first.get_or_insert(hour);
            }
        }
        if let Some(current) = current {
            first.get_or_insert(current.hour);
            for (key, tally) in &current.sums {
                add(sums, *key, tally);
            }
        }
        first.map(start_of)
    }

    /// Whether anything is known of the time before.
    pub(super) fn reach_before(&self, at: SystemTime) -> bool {
        self.store.has_before(hour_of(at)).unwrap_or(false)
    }
}
