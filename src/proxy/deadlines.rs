//! Limits of time: when the next one is met, and what happens then.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::active::{Active, Ownership};
use super::ending::Ending;
use super::half_closed::HalfClosed;
use super::serve::Serve;
use super::shortage::shortage_fault;
use crate::session::{Keeps, Running};
use crate::stats::Limit;
use crate::wire::build::Fault;
use crate::wire::sqlstate;
use crate::wire::view::Transaction;

/// A look at what a session has left may take so long at least, and as long as clients wait for a backend.
const PATIENCE: Duration = Duration::from_secs(10);

/// What ends a lease, or what it does, when it takes too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deadline {
    IdleInTransaction,
    Lease,
    Look,
    Query,
}

impl Deadline {
    fn limit(self) -> Limit {
        match self {
            Self::IdleInTransaction => Limit::IdleInTransaction,
            Self::Lease => Limit::MaxLease,
            Self::Look => Limit::PoolTimeout,
            Self::Query => Limit::QueryTimeout,
        }
    }
}

impl Serve {
    /// Asks to be woken at the next deadline.
    pub(super) fn set_alarm(&self, active: &Active) {
        let lease = match &active.ownership {
            Ownership::None => None,
            Ownership::Waiting { asked, .. } => Some(*asked + self.route.pool.timeout()),
            Ownership::Leased(_) => {
                let pin = active.pinning.as_ref().map(|pinning| pinning.asked + self.route.pool.timeout());
                let lease = self.lease_deadline(active).map(|(at, _)| at);
                [pin, lease, self.courtesy_due(active)].into_iter().flatten().min()
            }
        };
        let client = active.half_closed.and_then(HalfClosed::ask_at);
        self.worker().set_alarm(&active.alarm, &self.handle, lease.into_iter().chain(client).min());
    }

    /// Does what a passed deadline demands, and lets go of a cancel that has been done.
    pub(super) fn check_deadlines(&mut self, active: &mut Active, now: Instant) -> Result<(), Ending> {
        self.ask_half_closed(active, now);
        if active.cancel.as_ref().is_some_and(|done| done.load(Ordering::Acquire)) {
            active.cancel = None;
            self.release_if_done(active, now)?;
        } else if std::mem::take(&mut active.mentioned_by_others) {
            self.release_if_done(active, now)?;
        }
        self.make_room_for_others(active, now)?;
        match &active.ownership {
            Ownership::None => Ok(()),
            Ownership::Waiting { asked, .. } if *asked + self.route.pool.timeout() <= now => {
                let Ownership::Waiting { waiting, asked } = std::mem::take(&mut active.ownership) else {
                    return Ok(());
                };
                active.measured.waited = now.saturating_duration_since(asked);
                let (keeps, tag) = active.held.map_or((Keeps::empty(), 0), |(wait, tag)| (wait.keeps(), tag));
                let fault = shortage_fault(
                    &self.route.database,
                    &self.route.user,
                    keeps,
                    &waiting.give_up(now),
                    self.route.pool.timeout(),
                );
                self.no_lease(active, tag, &fault)
            }
            Ownership::Waiting { .. } => Ok(()),
            Ownership::Leased(_) => match self.lease_deadline(active) {
                Some((at, deadline)) if at <= now => self.past(active, deadline, now),
                _ => Ok(()),
            },
        }
    }

    /// The first of the limits that this lease will meet.
    fn lease_deadline(&self, active: &Active) -> Option<(Instant, Deadline)> {
        let limits = &active.limits;
        if !matches!(active.ownership, Ownership::Leased(_)) {
            return None;
        }
        let look = active.work.looks.map(|since| (since + self.patience(), Deadline::Look));
        if !limits.bounds_leases() {
            return look;
        }
        let query = match (limits.query_timeout, active.work.statement) {
            (Some(limit), Some(since)) if active.cancel.is_none() && self.session.running() == Running::Clients => {
                Some((since + limit, Deadline::Query))
            }
            _ => None,
        };
        let quiet =
            active.pinning.is_none() && self.session.is_answered() && self.session.transaction() != Transaction::Idle;
        let idle = match (limits.idle_in_transaction_timeout, active.last_frame) {
            (Some(limit), Some(last)) if quiet => Some((last + limit, Deadline::IdleInTransaction)),
            _ => None,
        };
        let lease = match (limits.max_lease, active.work.transaction) {
            (Some(limit), Some(since)) => Some((since + limit, Deadline::Lease)),
            _ => None,
        };
        [query, idle, lease, look].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// How long PostgreSQL may take for a look.
    fn patience(&self) -> Duration {
        self.route.pool.timeout().max(PATIENCE)
    }

    fn past(&mut self, active: &mut Active, deadline: Deadline, now: Instant) -> Result<(), Ending> {
        let limits = Arc::clone(&active.limits);
        if !active.work.overdue {
            self.route.limit_hits.hit(deadline.limit());
        }
        let shown = |limit: Option<Duration>| format!("{:?}", limit.unwrap_or_default());
        match deadline {
            Deadline::Query => {
                let fault =
                    Fault::error(sqlstate::QUERY_CANCELED, "canceling statement due to pgweir's query_timeout").detail(
                        format!("The statement ran longer than pool.query_timeout = {}.", shown(limits.query_timeout)),
                    );
                self.session.cancelling(&fault);
                self.cancel_running(active);
                active.work.note_cancel(limits.query_timeout.unwrap_or_default(), now);
                Ok(())
            }
            Deadline::Look => Err(Ending::told(
                Fault::fatal(sqlstate::CONNECTION_FAILURE, "PostgreSQL does not answer")
                    .detail(format!(
                        "It was asked what the session has left on its backend, which takes longer than {:?}.",
                        self.patience()
                    ))
                    .hint("Connect again. The backend was closed."),
            )),
            Deadline::IdleInTransaction => Err(Ending::overdue(
                Fault::fatal(
                    sqlstate::IDLE_IN_TRANSACTION_TIMEOUT,
                    "terminating connection due to pgweir's idle_in_transaction_timeout",
                )
                .detail(format!(
                    "The transaction was idle longer than pool.idle_in_transaction_timeout = {}; it was rolled back.",
                    shown(limits.idle_in_transaction_timeout)
                )),
            )),
            Deadline::Lease => Err(Ending::overdue(
                Fault::fatal(sqlstate::IDLE_IN_TRANSACTION_TIMEOUT, "terminating connection due to pgweir's max_lease")
                    .detail(format!(
                        "The backend was held longer than pool.max_lease = {}; an open transaction was rolled back.",
                        shown(limits.max_lease)
                    )),
            )),
        }
    }
}
