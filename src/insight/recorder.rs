//! Where a worker writes down what has ended: a list that somebody else adds up.
//!
//! Writing down is a copy into memory that is there already. Once a second the list is exchanged for an empty one; one
//! that is full before is put aside, and where too many are, whoever filled the last adds them up himself, so that
//! nothing is ever lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::insight::Shared;
use super::lists::List;
use super::names::Place;
use super::slow::SlowExecution;
use crate::sql::Digest;

/// Slow executions that one worker writes down between two mergers.
const SLOW: usize = 256;

/// One execution of a statement. Times are nanoseconds.
#[derive(Debug, Clone)]
pub struct Execution {
    /// `None` where it is not known what was executed.
    pub digest: Option<Digest>,
    pub place: Place,
    /// See [`super::Insight::application`].
    pub application: u32,
    /// See [`super::Tags::read`].
    pub tags: u32,
    /// The process ID that the client was told.
    pub client: i32,
    pub ended: Instant,
    pub wait: u64,
    pub server: u64,
    pub drain: u64,
    pub rows: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub failed: Option<Failed>,
    pub in_transaction: bool,
    pub extended: bool,
    /// It was sent before its predecessor had ended.
    pub piped: bool,
    /// Statements that ended at the same moment, as far as can be seen, and share its time; 1 where it was alone.
    pub together: u16,
}

impl Execution {
    /// Nanoseconds from when it came to when its answer was read.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.wait.saturating_add(self.server).saturating_add(self.drain)
    }
}

/// How an execution failed, with its SQLSTATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    Cancelled([u8; 5]),
    Error([u8; 5]),
    TimedOut([u8; 5]),
}

impl Failed {
    #[must_use]
    pub fn sqlstate(self) -> [u8; 5] {
        match self {
            Self::Cancelled(sqlstate) | Self::Error(sqlstate) | Self::TimedOut(sqlstate) => sqlstate,
        }
    }
}

#[derive(Debug)]
pub(super) enum Entry {
    Execution(Execution),
    /// A transaction was idle after this statement, for so many nanoseconds.
    Idled(Option<Digest>, Place, u64),
    /// An error that is of no execution's; the number is the application's.
    Failed(Option<Digest>, Place, u32, Failed),
}

/// One worker's list.
#[derive(Debug)]
pub struct Recorder {
    entries: Mutex<List>,
    slow: Mutex<Vec<SlowExecution>>,
    slow_lost: AtomicU64,
    own_statements: AtomicU64,
    shared: Arc<Shared>,
}

impl Recorder {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            entries: Mutex::default(),
            slow: Mutex::default(),
            slow_lost: AtomicU64::new(0),
            own_statements: AtomicU64::new(0),
            shared,
        }
    }

    /// Counts an execution.
    pub fn record(&self, execution: Execution) {
        self.write(Entry::Execution(execution));
    }

    /// A transaction was idle after this statement, for so many nanoseconds.
    pub fn idled(&self, digest: Option<Digest>, place: Place, nanos: u64) {
        self.write(Entry::Idled(digest, place, nanos));
    }

    /// An error that is of no execution's, of a place and an application.
    pub fn failed(&self, digest: Option<Digest>, (place, application): (Place, u32), failed: Failed) {
        self.write(Entry::Failed(digest, place, application, failed));
    }

    /// So many statements of pgweir's own have run.
    pub fn own_statements(&self, count: u64) {
        if count > 0 {
            self.own_statements.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Notes that an execution was slow.
    pub fn slow(&self, slow: SlowExecution) {
        let mut waiting = self.slow.lock();
        if waiting.len() < SLOW {
            waiting.push(slow);
        } else {
            self.slow_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self, entry: Entry) {
        let mut entries = self.entries.lock();
        if entries.len() < entries.capacity() {
            entries.push(entry);
            return;
        }
        let full = std::mem::replace(&mut *entries, self.shared.lists.empty());
        entries.push(entry);
        drop(entries);
        // The first time there is nothing in it, nor any memory.
        if !full.is_empty() {
            self.shared.put_aside(full);
        }
    }

    /// What was written down since the last time, in order.
    pub(super) fn take(&self) -> Option<List> {
        let mut entries = self.entries.lock();
        (!entries.is_empty()).then(|| std::mem::take(&mut *entries))
    }

    /// Slow executions since the last time, and how many were not kept.
    pub(super) fn take_slow(&self) -> (Vec<SlowExecution>, u64) {
        let slow = std::mem::take(&mut *self.slow.lock());
        (slow, self.slow_lost.swap(0, Ordering::Relaxed))
    }

    pub(super) fn own(&self) -> u64 {
        self.own_statements.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sql::Lexing;

    /// An execution of a text that took a millisecond.
    pub(in crate::insight) fn execution(text: &str) -> Execution {
        Execution {
            digest: Some(Digest::of(text.as_bytes(), &Lexing::default())),
            place: Place::default(),
            application: 0,
            tags: 0,
            client: 1,
            ended: Instant::now(),
            wait: 0,
            server: 1_000_000,
            drain: 0,
            rows: 1,
            bytes_in: 10,
            bytes_out: 20,
            failed: None,
            in_transaction: false,
            extended: false,
            piped: false,
            together: 1,
        }
    }
}
