//! Limits of time: when the next one is met, and what happens then.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::active::{Active, Ownership};
use super::ending::Ending;
use super::serve::Serve;
use super::shortage::shortage_fault;
use crate::session::Running;
use crate::stats;
use crate::wire::build::Fault;
use crate::wire::sqlstate;
use crate::wire::view::Transaction;

/// Which limit a lease has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    IdleInTransaction,
    Lease,
    Query,
}

impl Serve {
    /// Asks to be woken at the next deadline.
    pub(super) fn set_alarm(&self, active: &Active) {
        let at = match &active.ownership {
            Ownership::None => None,
            Ownership::Waiting { asked, .. } => Some(*asked + self.route.pool.timeout()),
            Ownership::Leased(_) => {
                let pin = active.pinning.as_ref().map(|pinning| pinning.asked + self.route.pool.timeout());
                let lease = self.lease_deadline(active).map(|(at, _)| at);
                [pin, lease].into_iter().flatten().min()
            }
        };
        self.worker.set_alarm(&active.alarm, &self.handle, at);
    }

    /// Does what a passed deadline demands, and lets go of a cancel that has been done.
    pub(super) fn check_deadlines(&mut self, active: &mut Active, now: Instant) -> Result<(), Ending> {
        if active.cancel.as_ref().is_some_and(|done| done.load(Ordering::Acquire)) {
            active.cancel = None;
            self.release_if_done(active, now)?;
        } else if std::mem::take(&mut active.mentioned_by_others) {
            self.release_if_done(active, now)?;
        }
        match &active.ownership {
            Ownership::None => Ok(()),
            Ownership::Waiting { asked, .. } if *asked + self.route.pool.timeout() <= now => {
                let Ownership::Waiting { waiting, asked } = std::mem::take(&mut active.ownership) else {
                    return Ok(());
                };
                active.measured.waited = now.saturating_duration_since(asked);
                let fault = shortage_fault(
                    &self.route.database,
                    &self.route.user,
                    &waiting.give_up(now),
                    self.route.pool.timeout(),
                );
                let tag = active.held.map_or(0, |(_, tag)| tag);
                self.no_lease(active, tag, &fault)
            }
            Ownership::Waiting { .. } => Ok(()),
            Ownership::Leased(_) => match self.lease_deadline(active) {
                Some((at, limit)) if at <= now => self.past(active, limit),
                _ => Ok(()),
            },
        }
    }

    /// The first of the limits that this lease will meet.
    fn lease_deadline(&self, active: &Active) -> Option<(Instant, Limit)> {
        let limits = self.route.limits.load();
        let Ownership::Leased(lease) = &active.ownership else { return None };
        if !limits.bounds_leases() {
            return None;
        }
        let query = match (limits.query_timeout, active.busy_since) {
            (Some(limit), Some(since)) if active.cancel.is_none() && self.session.running() == Running::Clients => {
                Some((since + limit, Limit::Query))
            }
            _ => None,
        };
        let quiet =
            active.pinning.is_none() && self.session.is_answered() && self.session.transaction() != Transaction::Idle;
        let idle = match (limits.idle_in_transaction_timeout, active.last_frame) {
            (Some(limit), Some(last)) if quiet => Some((last + limit, Limit::IdleInTransaction)),
            _ => None,
        };
        let lease = limits.max_lease.map(|limit| (lease.leased_at() + limit, Limit::Lease));
        [query, idle, lease].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn past(&mut self, active: &mut Active, limit: Limit) -> Result<(), Ending> {
        let limits = self.route.limits.load_full();
        self.route.limit_hits.hit(match limit {
            Limit::IdleInTransaction => stats::Limit::IdleInTransaction,
            Limit::Lease => stats::Limit::MaxLease,
            Limit::Query => stats::Limit::QueryTimeout,
        });
        let shown = |limit: Option<std::time::Duration>| format!("{:?}", limit.unwrap_or_default());
        match limit {
            Limit::Query => {
                let fault =
                    Fault::error(sqlstate::QUERY_CANCELED, "canceling statement due to pgweir's query_timeout").detail(
                        format!("The statement ran longer than pool.query_timeout = {}.", shown(limits.query_timeout)),
                    );
                self.session.cancelling(&fault);
                self.cancel_running(active);
                Ok(())
            }
            Limit::IdleInTransaction => Err(Ending::overdue(
                Fault::fatal(
                    sqlstate::IDLE_IN_TRANSACTION_TIMEOUT,
                    "terminating connection due to pgweir's idle_in_transaction_timeout",
                )
                .detail(format!(
                    "The transaction was idle longer than pool.idle_in_transaction_timeout = {}; it was rolled back.",
                    shown(limits.idle_in_transaction_timeout)
                )),
            )),
            Limit::Lease => Err(Ending::overdue(
                Fault::fatal(sqlstate::IDLE_IN_TRANSACTION_TIMEOUT, "terminating connection due to pgweir's max_lease")
                    .detail(format!(
                        "The backend was held longer than pool.max_lease = {}; an open transaction was rolled back.",
                        shown(limits.max_lease)
                    )),
            )),
        }
    }
}
