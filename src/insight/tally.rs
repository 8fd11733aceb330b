//! What is counted of one pattern, or of many together.

use std::time::SystemTime;

use super::applications::{Applications, Usage};
use super::recorder::{Execution, Failed};
use super::spread::Spread;
use super::top::Top;

/// Kinds of errors that are told apart.
const SQLSTATES: usize = 16;
/// Tags of which the frequency is known.
const TAGS: usize = 20;

/// Sums over executions.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) cancelled: u64,
    pub(super) timed_out: u64,
    pub(super) rows: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) in_transaction: u64,
    pub(super) extended: u64,
    pub(super) wait: Spread,
    pub(super) server: Spread,
    pub(super) drain: Spread,
    /// `None` as long as it is the same as `server`.
    total: Option<Box<Spread>>,
    pub(super) idle_after: Spread,
    pub(super) sqlstates: Top<[u8; 5], SQLSTATES>,
    pub(super) applications: Applications,
    /// Single tags by their number.
    pub(super) tags: Top<u32, TAGS>,
    pub(super) first_seen: SystemTime,
    pub(super) last_seen: SystemTime,
}

impl Tally {
    pub(super) fn new(now: SystemTime) -> Self {
        Self {
            calls: 0,
            errors: 0,
            cancelled: 0,
            timed_out: 0,
            rows: 0,
            bytes_in: 0,
            bytes_out: 0,
            in_transaction: 0,
            extended: 0,
            wait: Spread::default(),
            server: Spread::default(),
            drain: Spread::default(),
            total: None,
            idle_after: Spread::default(),
            sqlstates: Top::default(),
            applications: Applications::default(),
            tags: Top::default(),
            first_seen: now,
            last_seen: now,
        }
    }

    /// One to which something is about to be added that was seen before `end`.
    pub(super) fn empty(end: SystemTime) -> Self {
        Self { last_seen: SystemTime::UNIX_EPOCH, ..Self::new(end) }
    }

    pub(super) fn record(&mut self, execution: &Execution, now: SystemTime) {
        self.calls += 1;
        if let Some(failed) = execution.failed {
            self.fail(failed);
        }
        self.rows += execution.rows;
        self.bytes_in += execution.bytes_in;
        self.bytes_out += execution.bytes_out;
        self.in_transaction += u64::from(execution.in_transaction);
        self.extended += u64::from(execution.extended);
        let total = execution.total();
        if self.total.is_none() && total != execution.server {
            self.total = Some(Box::new(self.server.clone()));
        }
        if let Some(spread) = &mut self.total {
            spread.record(total);
        }
        self.wait.record(execution.wait);
        self.server.record(execution.server);
        self.drain.record(execution.drain);
        self.applications.record(execution.application, Usage::of(execution));
        self.last_seen = now;
    }

    pub(super) fn fail(&mut self, failed: Failed) {
        self.errors += 1;
        self.sqlstates.count(failed.sqlstate(), 1);
        self.cancelled += u64::from(matches!(failed, Failed::Cancelled(_)));
        self.timed_out += u64::from(matches!(failed, Failed::TimedOut(_)));
    }

    /// What is a plain number: `calls` and all that follows it.
    pub(super) fn numbers(&self) -> [u64; 9] {
        let Self { calls, errors, cancelled, timed_out, rows, bytes_in, bytes_out, in_transaction, extended, .. } =
            *self;
        [calls, errors, cancelled, timed_out, rows, bytes_in, bytes_out, in_transaction, extended]
    }

    /// Adds such numbers, in that order.
    pub(super) fn add_numbers(&mut self, mut next: impl FnMut() -> u64) {
        let Self { calls, errors, cancelled, timed_out, rows, bytes_in, bytes_out, in_transaction, extended, .. } =
            self;
        for number in [calls, errors, cancelled, timed_out, rows, bytes_in, bytes_out, in_transaction, extended] {
            *number += next();
        }
    }

    /// All parts together, where that is not the server's alone.
    pub(super) fn own_total(&self) -> Option<&Spread> {
        self.total.as_deref()
    }

    /// The same, which from now on is kept apart.
    pub(super) fn own_total_mut(&mut self) -> &mut Spread {
        self.total.get_or_insert_with(|| Box::new(self.server.clone()))
    }

    pub(super) fn total(&self) -> &Spread {
        self.total.as_deref().unwrap_or(&self.server)
    }

    /// Adds what was counted elsewhere.
    pub(super) fn add(&mut self, other: &Self) {
        if self.total.is_some() || other.total.is_some() {
            let total = self.total.get_or_insert_with(|| Box::new(self.server.clone()));
            total.add(other.total());
        }
        self.calls += other.calls;
        self.errors += other.errors;
        self.cancelled += other.cancelled;
        self.timed_out += other.timed_out;
        self.rows += other.rows;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.in_transaction += other.in_transaction;
        self.extended += other.extended;
        self.wait.add(&other.wait);
        self.server.add(&other.server);
        self.drain.add(&other.drain);
        self.idle_after.add(&other.idle_after);
        self.sqlstates.add(&other.sqlstates);
        self.applications.add(&other.applications);
        self.tags.add(&other.tags);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
    }
}
