//! The public face of one pool.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::backoff::Reach;
use super::budget::Member;
use super::lease::{Lease, PinsExhausted};
use super::map::{Blueprint, PoolKey};
use super::recycle::RecyclePolicy;
use super::state::{Chores, Outcome, State, Waiter, seat_limits};
use super::tasks::Shared;
use super::waiting::Waiting;
use super::{Exhausted, LeaseError, Manager, PoolSnapshot, Wish};
use crate::config;

/// The backends of one (database, user). A handle: clones are the same pool.
///
/// Connects, pings and resets run as tasks on the runtime of whoever caused them, so that nobody who stops waiting
/// takes a half-made connection away from the others.
pub struct Pool<M: Manager>(pub(super) Arc<Shared<M>>);

impl<M: Manager> Pool<M> {
    /// An empty pool. At most `waiters` may queue; `tasks` is what a shutdown waits for.
    #[must_use]
    pub fn new(key: PoolKey, blueprint: Blueprint<M>, waiters: usize, tasks: TaskTracker) -> Self {
        let Blueprint { manager, config, budget, backoff } = blueprint;
        let chance = RandomState::new().hash_one((&key.database, &key.user));
        Self(Arc::new_cyclic(|weak: &Weak<Shared<M>>| {
            let member = budget.join(Weak::clone(weak) as Weak<dyn Member>);
            let state = Mutex::new(State::new(config, backoff, waiters));
            Shared { key, manager, budget, member, tasks, state, chance }
        }))
    }

    /// A lease at once: only if nobody waits and a backend is idle that needs no ping. Lost and too old backends are
    /// closed on the way.
    #[must_use]
    pub fn try_lease(&self, wish: &Wish, now: Instant) -> Option<Lease<M>> {
        let home = Some(wish.worker);
        loop {
            let mut state = self.0.state.lock();
            if state.queue.waiting() > 0 {
                return None;
            }
            let policy = state.policy;
            let taken = state.slots.take(home, wish, now, |since| policy.is_fresh(since, now))?;
            let moved = taken.from != home;
            state.totals.leases += 1;
            state.totals.steals += u64::from(moved);
            drop(state);
            let mut lease = Lease::new(self.clone(), taken.backend, taken.id, now, home);
            let manager = &self.0.manager;
            if !taken.expired && !manager.is_dead(&mut lease) && (!moved || manager.rehome(&mut lease)) {
                return Some(lease);
            }
            drop(lease);
            let mut state = self.0.state.lock();
            state.totals.leases = state.totals.leases.saturating_sub(1);
        }
    }

    /// Joins the queue and begins to connect if that is allowed. The caller drops what it gets after
    /// [`Self::timeout`].
    ///
    /// # Errors
    /// [`LeaseError::TooManyWaiting`] when the queue is full, [`LeaseError::Closed`] after [`Self::close`].
    pub fn wait(&self, wish: &Wish, now: Instant) -> Result<Waiting<M>, LeaseError<M::Error>> {
        let mut joined = Err(LeaseError::Closed);
        self.0.change(Some(wish.worker), now, |state, _| {
            if state.closed {
                return;
            }
            let limit = state.waiters_limit;
            if state.queue.waiting() >= limit {
                joined = Err(LeaseError::TooManyWaiting { limit });
                return;
            }
            let waiter = Waiter { wish: *wish, waker: None, outcome: Outcome::Open };
            joined = Ok(state.queue.join(wish.worker, wish.priority, now, waiter));
        });
        joined.map(|ticket| Waiting::new(self.clone(), *wish, now, ticket))
    }

    /// How long a client waits for a lease.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.0.state.lock().config.timeout
    }

    /// What to tell a client that waited in vain.
    #[must_use]
    pub fn exhausted(&self, now: Instant) -> Exhausted<M::Error> {
        let state = self.0.state.lock();
        Exhausted {
            size: state.config.size,
            overflow: state.config.max_overflow,
            leased: state.slots.leased(),
            waiting: state.queue.waiting(),
            longest_holder: state.slots.longest_holder(now),
            last_connect_error: state.last_error.clone(),
        }
    }

    /// Counts the lease as one that outlives its transaction; once counted it stays so until [`Lease::unpin`] or its
    /// end.
    ///
    /// # Errors
    /// [`PinsExhausted`] when `max_pinned` leases are: so many that one more could starve all transactions.
    pub fn try_pin(&self, lease: &mut Lease<M>) -> Result<(), PinsExhausted> {
        if lease.is_pinned() {
            return Ok(());
        }
        let mut state = self.0.state.lock();
        let all_but_one = state.slots.limits().ceiling().saturating_sub(1).max(1);
        let limit = state.config.max_pinned.unwrap_or(all_but_one);
        if state.pinned >= limit {
            return Err(PinsExhausted { limit });
        }
        state.pinned += 1;
        lease.count_pin();
        Ok(())
    }

    /// Closes what is too old or too long idle, opens what is to be kept ahead, and begins anew what was aborted. To be
    /// called about once a second.
    pub fn maintain(&self, now: Instant) {
        self.0.change(None, now, |state, chores| state.sweep(now, chores));
        if self.0.budget.contended() {
            self.0.budget.grant(None, now);
        }
    }

    /// Every present backend is closed as soon as it is idle, and connects to the server are tried at once.
    pub fn retire_all(&self, now: Instant) {
        self.0.change(None, now, |state, chores| {
            state.slots.retire();
            state.reach = Reach::Up;
            state.sweep(now, chores);
        });
    }

    /// Closes the backends that are idle now. Those to be kept ahead are opened again by the next maintenance only.
    pub fn close_idle(&self, now: Instant) {
        let mut chores = Chores::default();
        let mut state = self.0.state.lock();
        while state.evict(None, &mut chores) {}
        drop(state);
        self.0.perform(chores, None, now);
    }

    /// Ends the pool: idle backends are closed, leased ones as they come back, and whoever waits or asks from now on
    /// gets [`LeaseError::Closed`].
    pub fn close(&self, now: Instant) {
        self.0.change(None, now, |state, chores| {
            state.closed = true;
            state.slots.retire();
            state.sweep(now, chores);
            state.fail(usize::MAX, &LeaseError::Closed, chores);
            self.0.budget.unwant(self.0.member);
        });
    }

    /// Applies a changed configuration to everything that exists.
    pub fn reconfigure(&self, config: config::Pool, now: Instant) {
        self.0.change(None, now, |state, chores| {
            if *state.config == config {
                return;
            }
            state.slots.set_limits(seat_limits(&config));
            state.policy = RecyclePolicy::of(&config);
            state.config = Arc::new(config);
            let policy = state.policy;
            state.slots.apply_policy(&policy);
            state.sweep(now, chores);
        });
    }

    /// Changes how many may queue.
    pub fn set_waiters_limit(&self, waiters: usize) {
        self.0.state.lock().waiters_limit = waiters;
    }

    /// Changes the waits between attempts while the server is down.
    pub fn set_backoff(&self, backoff: config::Backoff) {
        self.0.state.lock().backoff = backoff;
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<config::Pool> {
        Arc::clone(&self.0.state.lock().config)
    }

    #[must_use]
    pub fn key(&self) -> &PoolKey {
        &self.0.key
    }

    #[must_use]
    pub fn manager(&self) -> &M {
        &self.0.manager
    }

    #[must_use]
    pub fn snapshot(&self) -> PoolSnapshot<M::Error> {
        let state = self.0.state.lock();
        PoolSnapshot {
            database: self.0.key.database.clone(),
            user: self.0.key.user.clone(),
            mode: state.config.mode,
            size: state.config.size,
            max_overflow: state.config.max_overflow,
            connecting: state.slots.connecting(),
            idle: state.slots.idle(),
            leased: state.slots.leased(),
            pinned: state.pinned,
            waiting: state.queue.waiting(),
            opened_total: state.totals.opened,
            closed_total: state.totals.closed,
            leases_total: state.totals.leases,
            waited_total: state.totals.waited,
            steals_total: state.totals.steals,
            handed_over_total: state.totals.handed_over,
            connect_failures_total: state.totals.connect_failures,
            last_error: state.last_error.clone(),
        }
    }

    /// Nobody has another handle, and there is nothing in it nor to be kept in it.
    pub(super) fn is_disused(&self) -> bool {
        let state = self.0.state.lock();
        let empty = state.slots.taken() == 0 && state.queue.waiting() == 0 && state.config.min_idle == 0;
        empty && Arc::strong_count(&self.0) == 1
    }
}

impl<M: Manager> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Manager> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("key", &self.0.key).finish_non_exhaustive()
    }
}
