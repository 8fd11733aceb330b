//! The public face of one pool.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::backoff::Reach;
use super::budget::{Budget, Member};
use super::lease::{Duty, Grant, Lease};
use super::map::{Blueprint, PoolKey};
use super::pins::{PinFault, PinReasons, PinsExhausted};
use super::queue::Ticket;
use super::recycle::RecyclePolicy;
use super::state::{Chores, State, seat_limits};
use super::tasks::Shared;
use super::waiting::Waiting;
use super::{Exhausted, LeaseError, Manager, PoolSnapshot, Wish};
use crate::config::{self, Pinning};
use crate::stats::{Limit, LimitHits};

/// The backends of one (database, user). A handle: clones are the same pool.
///
/// Connects, pings and resets run as tasks on the runtime of whoever caused them, so that nobody who stops waiting
/// takes a half-made connection away from the others.
pub struct Pool<M: Manager>(pub(super) Arc<Shared<M>>);

impl<M: Manager> Pool<M> {
    /// An empty pool. At most `waiters` may queue; `tasks` is what a shutdown waits for; limits that are met are
    /// counted in `limit_hits`.
    #[must_use]
    pub fn new(
        key: PoolKey,
        blueprint: Blueprint<M>,
        waiters: usize,
        tasks: TaskTracker,
        limit_hits: Arc<LimitHits>,
    ) -> Self {
        let Blueprint { manager, config, budget, backoff } = blueprint;
        let chance = RandomState::new().hash_one((&key.database, &key.user));
        Self(Arc::new_cyclic(|weak: &Weak<Shared<M>>| {
            let member = budget.join(Weak::clone(weak) as Weak<dyn Member>);
            let state = Mutex::new(State::new(config, backoff, waiters));
            let settled = Notify::new();
            Shared { key, manager, budget, member, tasks, limit_hits, state, settled, chance }
        }))
    }

    /// A lease at once: only if nobody waits, a backend is idle that needs no ping, and the pin that the wish asks for
    /// is there. Lost and too old backends are closed on the way.
    #[must_use]
    pub fn try_lease(&self, wish: &Wish, now: Instant) -> Option<Lease<M>> {
        self.take_or(wish, now, |_| ()).ok()
    }

    /// As [`Self::try_lease`], or else as [`Self::wait`], in one step, for a task that does not poll at once: `waker` is
    /// woken when the outcome is there.
    ///
    /// # Errors
    /// Those of [`Self::wait`].
    pub fn lease(&self, wish: &Wish, now: Instant, waker: &Waker) -> Result<Asked<M>, LeaseError<M::Error>> {
        let mut chores = Chores::default();
        let taken = self.take_or(wish, now, |state| {
            let joined = self.join(state, wish, now, Some(waker.clone()));
            state.pump(self.0.account(), Some(wish.worker), now, &mut chores);
            joined
        });
        let joined = match taken {
            Ok(lease) => return Ok(Asked::Lease(lease)),
            Err(joined) => joined,
        };
        self.0.perform(chores, Some(wish.worker), now);
        joined.map(|ticket| Asked::Waiting(Waiting::new(self.clone(), *wish, now, ticket)))
    }

    /// Takes an idle backend, or does something `otherwise` while the state is still as it was found.
    fn take_or<R>(&self, wish: &Wish, now: Instant, otherwise: impl FnOnce(&mut State<M>) -> R) -> Result<Lease<M>, R> {
        let home = Some(wish.worker);
        loop {
            let mut state = self.0.state.lock();
            let pinned = !wish.pin.is_empty();
            let denied = pinned
                && (state.config.pin == Pinning::Deny || state.pins.taken() >= state.pin_limit(self.0.account()));
            let taken = if denied { None } else { state.take_at_once(wish, now) };
            let Some(taken) = taken else { return Err(otherwise(&mut state)) };
            if pinned {
                state.pin(taken.id, wish, self.0.account(), now);
            }
            let moved = taken.from != home;
            state.totals.leases += 1;
            state.totals.steals += u64::from(moved);
            state.waits.record(Duration::ZERO);
            drop(state);
            let duty = if pinned { Duty::Pinned } else { Duty::Session };
            let grant = Grant { id: taken.id, leased_at: now, home, duty };
            let mut lease = Lease::new(self.clone(), taken.backend, grant);
            let manager = &self.0.manager;
            if !taken.expired && !manager.is_dead(&mut lease) && (!moved || manager.rehome(&mut lease)) {
                return Ok(lease);
            }
            drop(lease);
            let mut state = self.0.state.lock();
            state.totals.leases = state.totals.leases.saturating_sub(1);
        }
    }

    /// Joins the queue and begins to connect if that is allowed. After [`Self::timeout`] the caller says
    /// [`Waiting::give_up`].
    ///
    /// # Errors
    /// [`LeaseError::TooManyWaiting`] when the queue is full, [`LeaseError::Closed`] after [`Self::close`],
    /// [`LeaseError::Pin`] when no pin will ever be there, [`LeaseError::BackendGone`].
    pub fn wait(&self, wish: &Wish, now: Instant) -> Result<Waiting<M>, LeaseError<M::Error>> {
        let mut joined = Err(LeaseError::Closed);
        self.0.change(Some(wish.worker), now, |state, _| joined = self.join(state, wish, now, None));
        joined.map(|ticket| Waiting::new(self.clone(), *wish, now, ticket))
    }

    /// Lets one more wait, whose `waker` is woken when its outcome is there, or counts why it is not even waited for.
    fn join(
        &self,
        state: &mut State<M>,
        wish: &Wish,
        now: Instant,
        waker: Option<Waker>,
    ) -> Result<Ticket, LeaseError<M::Error>> {
        let Some(error) = self.refusal(state, wish, now) else {
            let ticket = state.admit(*wish, now, false, self.0.account());
            if let Some(waiter) = state.queue.waiter_mut(ticket) {
                waiter.waker = waker;
            }
            return Ok(ticket);
        };
        match &error {
            LeaseError::TooManyWaiting { .. } => {
                state.totals.turned_away += 1;
                self.0.limit_hits.hit(Limit::Waiters);
            }
            LeaseError::Pin(_) => {
                state.totals.pins_refused += 1;
                self.0.limit_hits.hit(Limit::MaxPinned);
            }
            LeaseError::Refused(_) | LeaseError::Closed | LeaseError::BackendGone => {}
        }
        Err(error)
    }

    /// Why this wish is not even waited for.
    fn refusal(&self, state: &State<M>, wish: &Wish, now: Instant) -> Option<LeaseError<M::Error>> {
        let limit = state.waiters_limit;
        if state.closed {
            return Some(LeaseError::Closed);
        }
        if state.waiters() >= limit {
            return Some(LeaseError::TooManyWaiting { limit });
        }
        if !wish.pin.is_empty()
            && let Some(fault) = state.never_pins(self.0.account(), now)
        {
            return Some(LeaseError::Pin(fault));
        }
        wish.must.filter(|id| !state.slots.exists(*id)).map(|_| LeaseError::BackendGone)
    }

    /// Whether who waits may have a backend opened at once, because there are fewer than `size`.
    #[must_use]
    pub fn may_open(&self) -> bool {
        let budget = self.budget();
        let is_spent = budget.max().is_some_and(|max| budget.held() >= max);
        !is_spent && self.0.state.lock().slots.room(false) > 0
    }

    /// How long a client waits for a lease.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.0.state.lock().config.timeout
    }

    /// What to tell a client that waited in vain.
    #[must_use]
    pub fn exhausted(&self, now: Instant) -> Exhausted<M::Error> {
        let most = self.0.budget.max().filter(|max| self.0.budget.held() >= *max);
        let state = self.0.state.lock();
        Exhausted {
            server_limit: most.filter(|_| state.slots.room(true) > 0),
            size: state.config.size,
            overflow: state.config.max_overflow,
            leased: state.slots.leased(),
            connecting: state.slots.connecting(),
            pinned: state.pins.held(),
            pins: state.pins.counts(),
            waiting: state.waiters(),
            longest_holder: state.slots.longest_holder(now),
            last_connect_error: state.last_error.clone(),
        }
    }

    /// Pins a lease at once: it outlives its transaction until [`Lease::keep_for`] or its end, for these reasons and
    /// those it is pinned for already. Does not wait: that is [`Self::wait_for_pin`]'s. Outside a transaction a session
    /// rather gives its backend back and asks for [`Wish::pin`], so that others can use it meanwhile.
    ///
    /// # Errors
    /// [`PinFault`], when the lease is not pinned yet.
    pub fn try_pin(&self, lease: &mut Lease<M>, reasons: PinReasons, now: Instant) -> Result<(), PinFault> {
        if reasons.is_empty() {
            return Ok(());
        }
        let account = self.0.account();
        let mut state = self.0.state.lock();
        let wish = Wish { pin: reasons, holder: state.slots.holder(lease.id()), ..Wish::default() };
        let denied = !lease.is_pinned() && state.config.pin == Pinning::Deny;
        if !denied && state.pin(lease.id(), &wish, account, now) {
            drop(state);
            lease.now_pinned();
            return Ok(());
        }
        let exhausted = state.pins_exhausted(account, now);
        // Where there are any the caller may wait.
        state.totals.pins_refused += u64::from(denied || exhausted.limit == 0);
        if denied { Err(PinFault::Denied) } else { Err(PinFault::Exhausted(Box::new(exhausted))) }
    }

    /// Who holds the pins, and what for.
    #[must_use]
    pub fn pins_exhausted(&self, now: Instant) -> PinsExhausted {
        self.0.state.lock().pins_exhausted(self.0.account(), now)
    }

    /// Closes what is too old or too long idle, opens what is to be kept ahead, and begins anew what was aborted. To be
    /// called about once a second.
    pub fn maintain(&self, now: Instant) {
        self.0.change(None, now, |state, chores| state.sweep(now, chores));
        if self.0.budget.contended() {
            self.0.budget.grant(None, now);
        }
    }

    /// A leased backend was lost: those that are idle now are pinged before they are leased, as they may be lost too.
    pub fn backend_lost(&self, now: Instant) {
        self.0.state.lock().lost = Some(now);
    }

    /// Every present backend is closed as soon as it is idle, and connects to the server are tried at once.
    pub fn retire_all(&self, now: Instant) {
        self.0.change(None, now, |state, chores| {
            state.slots.retire();
            state.reach = Reach::Up;
            state.sweep(now, chores);
        });
    }

    /// Every backend that is leased is closed as soon as it comes back.
    pub fn retire_leased(&self) {
        self.0.state.lock().slots.retire_leased();
    }

    /// Ends the pool: idle backends are closed, leased ones as they come back, and whoever waits or asks from now on
    /// gets [`LeaseError::Closed`].
    pub fn close(&self, now: Instant) {
        self.0.change(None, now, |state, chores| {
            state.closed = true;
            state.slots.retire();
            state.sweep(now, chores);
            state.fail_all(&LeaseError::Closed, chores);
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
            if config.pin == Pinning::Deny {
                state.fail_for_pins(&LeaseError::Pin(PinFault::Denied), chores);
            }
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

    /// The waits between attempts while the server is down.
    #[must_use]
    pub fn backoff(&self) -> config::Backoff {
        self.0.state.lock().backoff.clone()
    }

    /// The connections of the server, of which this pool has its part.
    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.0.budget
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
            pinned: state.pins.held(),
            pins: state.pins.counts(),
            waiting: state.waiters(),
            waiting_for_pin: state.waiting_for_pin(),
            opened_total: state.totals.opened,
            closed_total: state.totals.closed,
            leases_total: state.totals.leases,
            waited_total: state.totals.waited,
            steals_total: state.totals.steals,
            handed_over_total: state.totals.handed_over,
            connect_failures_total: state.totals.connect_failures,
            timeouts_total: state.totals.timeouts,
            turned_away_total: state.totals.turned_away,
            pins_total: state.totals.pins,
            pins_refused_total: state.totals.pins_refused,
            traffic: state.traffic,
            waits: state.waits.clone(),
            holds: state.holds.clone(),
            last_error: state.last_error.clone(),
        }
    }

    /// Whether somebody waits for a backend, or for a pin.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        let state = self.0.state.lock();
        state.waiters() > 0 || !state.hopefuls.is_empty()
    }

    /// Whether there is nothing in it, nor anything to be kept in it: now, or at all times up to now.
    #[must_use]
    pub fn is_empty(&self, when: Emptiness) -> bool {
        let state = self.0.state.lock();
        let now = state.slots.taken() == 0 && state.waiters() == 0 && state.config.min_idle == 0;
        now && (when == Emptiness::Now || state.totals.opened == 0)
    }

    pub(super) fn has_other_handles(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// Since when a pool may be empty to count as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emptiness {
    Always,
    Now,
}

/// What asking for a lease comes to.
#[derive(Debug)]
pub enum Asked<M: Manager> {
    Lease(Lease<M>),
    Waiting(Waiting<M>),
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
