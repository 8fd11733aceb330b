//! How long a backend's copy of a statement is taken for what a Parse would give now.
//!
//! A Parse finds tables, types and operators by their names, and what it has found stays in the statement. So who
//! prepares a statement after a definition has changed must not be given a copy that was made before. What pgweir sees
//! of such changes begins a new era, and so does time, for what it does not see.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long a copy may be older than a change that went past pgweir.
const UNSEEN: Duration = Duration::from_secs(5);

/// Bits of a Parse's number that count within an era; the era stands above them.
const WITHIN: u32 = 24;

/// The eras so far.
#[derive(Debug)]
pub(super) struct Eras {
    begun: Instant,
    /// Changes of definitions that were seen.
    changes: AtomicU64,
    /// The least number of a Parse after the last of them.
    last_change: AtomicU64,
    /// Spans of [`UNSEEN`] that have passed.
    spans: AtomicU64,
}

impl Default for Eras {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            changes: AtomicU64::new(0),
            last_change: AtomicU64::new(0),
            spans: AtomicU64::new(0),
        }
    }
}

impl Eras {
    /// A definition has changed.
    pub(super) fn definitions_change(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.last_change.fetch_max(self.first_number(), Ordering::Relaxed);
    }

    /// The least number of a Parse that has found what the last change of definitions that was seen has made.
    pub(super) fn last_change(&self) -> u64 {
        self.last_change.load(Ordering::Relaxed)
    }

    /// Time passes.
    pub(super) fn pass(&self, now: Instant) {
        let spans = now.saturating_duration_since(self.begun).as_secs() / UNSEEN.as_secs();
        if spans > self.spans.load(Ordering::Relaxed) {
            self.spans.fetch_max(spans, Ordering::Relaxed);
        }
    }

    /// The least number of a Parse that happens now.
    pub(super) fn first_number(&self) -> u64 {
        let era = self.changes.load(Ordering::Relaxed) + self.spans.load(Ordering::Relaxed);
        era << WITHIN
    }
}

/// The number of a Parse whose copy is good for nobody after it: it was read by settings of the moment.
pub const OUT_OF_DATE: u64 = 0;

/// Whether the one Parse may have found other definitions than the other, later one.
#[must_use]
pub fn predates(parse: u64, later: u64) -> bool {
    parse == OUT_OF_DATE || parse >> WITHIN < later >> WITHIN
}

/// The number of a Parse that is older than any other of its era.
#[must_use]
pub fn since_its_era(parse: u64) -> u64 {
    parse >> WITHIN << WITHIN
}
