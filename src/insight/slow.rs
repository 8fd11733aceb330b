//! Executions that took longer than they should: some are logged, the latest are kept.

use std::collections::VecDeque;
use std::time::SystemTime;

use super::plans::Sent;
use super::recorder::Execution;

/// An execution as it was written down.
#[derive(Debug, Clone)]
pub struct SlowExecution {
    pub at: SystemTime,
    pub execution: Execution,
    /// What was bound, where that is sampled.
    pub values: Option<Vec<Option<Box<str>>>>,
    /// The statement itself, where plans are wanted.
    pub sent: Option<Box<Sent>>,
}

/// The latest slow executions.
#[derive(Debug, Default)]
pub(super) struct SlowLog {
    size: usize,
    /// Lines in one second.
    rate: usize,
    kept: VecDeque<SlowExecution>,
    /// Those whose pattern was not known yet.
    unnamed: Vec<SlowExecution>,
    /// Lines that may be written before the next second.
    left: usize,
    /// Since the last line.
    suppressed: u64,
}

impl SlowLog {
    pub(super) fn new(size: usize, rate: usize) -> Self {
        Self { size, rate, ..Self::default() }
    }

    pub(super) fn reconfigure(&mut self, size: usize, rate: usize) {
        (self.size, self.rate) = (size, rate);
        self.kept.truncate(size);
    }

    /// A second is over.
    pub(super) fn refill(&mut self) {
        self.left = self.rate;
    }

    /// Keeps an execution. Whether it is to be logged.
    pub(super) fn add(&mut self, slow: SlowExecution) -> bool {
        if self.size > 0 {
            if self.kept.len() >= self.size {
                self.kept.pop_back();
            }
            self.kept.push_front(slow);
        }
        let logged = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.suppressed += u64::from(!logged);
        logged
    }

    /// Puts an execution off until its pattern may be known.
    pub(super) fn put_off(&mut self, slow: SlowExecution) {
        self.unnamed.push(slow);
    }

    pub(super) fn take_unnamed(&mut self) -> Vec<SlowExecution> {
        std::mem::take(&mut self.unnamed)
    }

    pub(super) fn lost(&mut self, count: u64) {
        self.suppressed += count;
    }

    /// How many were not logged since this was last asked.
    pub(super) fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }

    /// The latest first.
    pub(super) fn latest(&self, limit: usize) -> impl Iterator<Item = &SlowExecution> {
        self.kept.iter().take(limit)
    }
}
