//! What the pool's mutex protects: seats, queue and what is known of the server, and the decisions that need them all.
//!
//! Nothing here calls out. What must happen once the lock is free is noted in [`Chores`] and done by `tasks`.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::backoff::Reach;
use super::budget::{Budget, MemberId};
use super::choice::Taken;
use super::lease::{Duty, Ended};
use super::lingering::Lingering;
use super::pinning::Hopeful;
use super::pins::{PinCounts, Pins};
use super::queue::Queue;
use super::recycle::RecyclePolicy;
use super::slots::{BackendId, Home, SeatLimits, Slots};
use super::{LeaseError, Manager, Wish};
use crate::config;
use crate::stats::{Times, Traffic};

/// How long somebody must have waited before a backend beyond `size` is opened. Shorter waits end sooner by a lease
/// that comes back than by a connect, and a backend opened for them would be closed again at once.
pub(super) const OVERFLOW_PATIENCE: Duration = Duration::from_millis(10);
/// How soon a pool that wants a permit of its budget looks again.
const PERMIT_RETRY: Duration = Duration::from_millis(50);

/// One who waits, from [`super::Pool::wait`] until its [`super::Waiting`] picks up the outcome.
#[derive(Debug)]
pub(super) struct Waiter<M: Manager> {
    pub(super) wish: Wish,
    pub(super) waker: Option<Waker>,
    pub(super) outcome: Outcome<M>,
    /// A pin is kept for it until it has a backend.
    pub(super) promised: bool,
}

pub(super) enum Outcome<M: Manager> {
    Open,
    /// A backend that is still registered at `from`.
    Handed {
        id: BackendId,
        backend: M::Backend,
        from: Home,
    },
    Failed(LeaseError<M::Error>),
}

/// How a backend is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    AtOnce,
    /// Somebody waits until the server has closed it too.
    Farewell,
}

/// What is left to do when the lock is free.
pub(super) struct Chores<M: Manager> {
    /// Mostly of the one who is handed what came back.
    pub(super) wakers: SmallVec<[Waker; 1]>,
    /// All that few changes bring with them: most have nothing of it to build, to look through and to drop.
    pub(super) rare: Option<Box<RareChores<M>>>,
}

/// See [`Chores::rare`].
pub(super) struct RareChores<M: Manager> {
    pub(super) closed: Vec<(M::Backend, Parting)>,
    pub(super) connects: Vec<BackendId>,
    /// With what the lease is to be for.
    pub(super) proofs: Vec<(Taken<M::Backend>, Duty)>,
    /// Permits that go back to the budget.
    pub(super) freed: usize,
    /// Permits that the budget had not.
    pub(super) short: usize,
    /// When to look again.
    pub(super) alarm: Option<Instant>,
    /// Whoever waits for [`State::has_left`] must look again.
    pub(super) settled: bool,
}

impl<M: Manager> Default for Chores<M> {
    fn default() -> Self {
        Self { wakers: SmallVec::new(), rare: None }
    }
}

impl<M: Manager> Default for RareChores<M> {
    fn default() -> Self {
        let (closed, connects, proofs) = (Vec::new(), Vec::new(), Vec::new());
        Self { closed, connects, proofs, freed: 0, short: 0, alarm: None, settled: false }
    }
}

impl<M: Manager> Chores<M> {
    /// To add to it.
    pub(super) fn rare(&mut self) -> &mut RareChores<M> {
        self.rare.get_or_insert_default()
    }

    pub(super) fn close(&mut self, backends: impl IntoIterator<Item = M::Backend>) {
        for backend in backends {
            self.rare().closed.push((backend, Parting::AtOnce));
        }
    }

    /// Permits go back to the budget.
    pub(super) fn free(&mut self, permits: usize) {
        if permits > 0 {
            self.rare().freed += permits;
        }
    }

    pub(super) fn freed(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.freed)
    }

    pub(super) fn closed(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.closed.len())
    }

    /// The pool is to be looked at again at the earliest of these moments, and of those that are known.
    pub(super) fn look_again(&mut self, moments: impl IntoIterator<Item = Option<Instant>>) {
        if let Some(at) = moments.into_iter().flatten().min() {
            let alarm = &mut self.rare().alarm;
            *alarm = Some(alarm.map_or(at, |set| set.min(at)));
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Totals {
    pub(super) opened: u64,
    pub(super) closed: u64,
    pub(super) leases: u64,
    pub(super) waited: u64,
    pub(super) steals: u64,
    pub(super) handed_over: u64,
    pub(super) connect_failures: u64,
    /// Pins that were taken, by what for.
    pub(super) pins: PinCounts,
    pub(super) pins_refused: u64,
    pub(super) turned_away: u64,
    pub(super) timeouts: u64,
}

pub(super) struct State<M: Manager> {
    pub(super) slots: Slots<M::Backend>,
    pub(super) queue: Queue<Waiter<M>>,
    pub(super) config: Arc<config::Pool>,
    pub(super) policy: RecyclePolicy,
    /// When a backend was last lost: what was idle then may be lost too.
    pub(super) lost: Option<Instant>,
    pub(super) backoff: config::Backoff,
    pub(super) waiters_limit: usize,
    pub(super) reach: Reach,
    pub(super) last_error: Option<M::Error>,
    /// Idle backends being pinged for somebody who waits.
    pub(super) proving: usize,
    /// Backends kept for sessions with the settings they carry.
    pub(super) lingering: Lingering<M::Backend>,
    pub(super) pins: Pins,
    /// Those who wait for a pin with a lease in hand.
    pub(super) hopefuls: Vec<Hopeful>,
    /// When the sleeping look-again task will wake.
    pub(super) alarm: Option<Instant>,
    pub(super) closed: bool,
    /// Until then what is idle is closed, and nothing is opened ahead of need.
    pub(super) resting: Option<Instant>,
    /// Backends that have left their seats while it rests, and that the server has not closed yet.
    pub(super) leaving: usize,
    pub(super) totals: Totals,
    pub(super) traffic: Traffic,
    /// From asking to having a lease, and from there to its end.
    pub(super) waits: Times,
    pub(super) holds: Times,
}

/// The pool as its budget knows it.
#[derive(Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) budget: &'a Budget,
    pub(super) member: MemberId,
}

pub(super) fn seat_limits(config: &config::Pool) -> SeatLimits {
    SeatLimits { size: config.size, max_overflow: config.max_overflow, min_idle: config.min_idle }
}

impl<M: Manager> State<M> {
    pub(super) fn new(config: config::Pool, backoff: config::Backoff, waiters_limit: usize) -> Self {
        Self {
            slots: Slots::new(seat_limits(&config)),
            queue: Queue::default(),
            policy: RecyclePolicy::of(&config),
            lost: None,
            config: Arc::new(config),
            backoff,
            waiters_limit,
            reach: Reach::default(),
            last_error: None,
            proving: 0,
            lingering: Lingering::default(),
            pins: Pins::default(),
            hopefuls: Vec::new(),
            alarm: None,
            closed: false,
            resting: None,
            leaving: 0,
            totals: Totals::default(),
            traffic: Traffic::default(),
            waits: Times::default(),
            holds: Times::default(),
        }
    }

    /// Tells of a moment whether a backend idle since then may be leased without a ping.
    pub(super) fn fresh(&self, now: Instant) -> impl Fn(Instant) -> bool + use<M> {
        let (policy, lost) = (self.policy, self.lost);
        move |since| lost.is_none_or(|lost| lost < since) && policy.is_fresh(since, now)
    }

    /// Waiters for whom nothing is under way.
    pub(super) fn uncovered(&self) -> usize {
        let covered = self.slots.connecting() + self.proving + self.lingering.len();
        self.queue.waiting().saturating_sub(covered)
    }

    pub(super) fn rests(&self, now: Instant) -> bool {
        self.resting.is_some_and(|until| now < until)
    }

    /// Ends a lease's special duty, and notes who has used its backend.
    pub(super) fn relieve(&mut self, ended: &Ended) {
        match ended.duty {
            Duty::Session => {}
            Duty::Pinned => {
                self.pins.end(ended.id);
            }
            Duty::Proof => {
                self.proving = self.proving.saturating_sub(1);
                return;
            }
            Duty::ProofForOne => return,
        }
        self.traffic += ended.traffic;
        self.holds.record(ended.held);
    }

    /// Frees a seat; its backend, idle or given, is dropped later and its permit given back.
    pub(super) fn close_seat(&mut self, id: BackendId, backend: Option<M::Backend>, chores: &mut Chores<M>) {
        let (freed, idle) = self.slots.vacate(id);
        debug_assert!(freed, "a seat is freed once");
        self.totals.closed += 1;
        self.settle(chores);
        chores.free(usize::from(freed));
        chores.close(backend.into_iter().chain(idle));
    }

    /// The seat of a connect that came to nothing.
    pub(super) fn give_up_seat(&mut self, id: BackendId, chores: &mut Chores<M>) {
        self.settle(chores);
        chores.free(usize::from(self.slots.vacate(id).0));
    }

    /// Something was settled: whoever waits for that while it rests looks again.
    pub(super) fn settle(&self, chores: &mut Chores<M>) {
        if self.resting.is_some() {
            chores.rare().settled = true;
        }
    }

    /// As [`Self::close_seat`], for somebody who waits until the server has closed it too; it keeps its permit so long.
    pub(super) fn see_off(&mut self, id: BackendId, backend: M::Backend, chores: &mut Chores<M>) {
        let (freed, _) = self.slots.vacate(id);
        debug_assert!(freed, "a seat is freed once");
        self.leave(backend, chores);
    }

    fn leave(&mut self, backend: M::Backend, chores: &mut Chores<M>) {
        self.totals.closed += 1;
        self.leaving += 1;
        chores.rare().closed.push((backend, Parting::Farewell));
    }

    /// From now on it rests: what is idle is closed. Gives what may still become a connection that nobody has.
    pub(super) fn rest(&mut self, until: Instant, chores: &mut Chores<M>) -> Vec<BackendId> {
        self.resting = self.resting.max(Some(until));
        while let Some(backend) = self.slots.evict_oldest(None) {
            self.leave(backend, chores);
        }
        self.slots.under_way().collect()
    }

    /// Whether the server has closed all that left, and `rest` has come to its end or to somebody.
    pub(super) fn has_left(&self, rest: &[BackendId]) -> bool {
        self.leaving == 0 && !rest.iter().any(|id| self.slots.is_under_way(*id))
    }

    /// Closes what is idle and too old, too long idle or too much.
    pub(super) fn sweep(&mut self, now: Instant, chores: &mut Chores<M>) {
        let before = chores.closed();
        self.slots.sweep(now, &self.policy, |backend| chores.close([backend]));
        let swept = chores.closed() - before;
        chores.free(swept);
        self.totals.closed += swept as u64;
    }

    /// Closes the idle backend used least recently, if unused since `before` where that is given.
    pub(super) fn evict(&mut self, before: Option<Instant>, chores: &mut Chores<M>) -> bool {
        let evicted = self.slots.evict_oldest(before);
        let found = evicted.is_some();
        chores.free(usize::from(found));
        self.totals.closed += u64::from(found);
        chores.close(evicted);
        found
    }

    /// As [`Self::evict`], for another pool of the server: the permit goes back when the server has closed it too.
    pub(super) fn yield_idle(&mut self, before: Instant, chores: &mut Chores<M>) -> bool {
        let Some(backend) = self.slots.evict_oldest(Some(before)) else { return false };
        self.leave(backend, chores);
        true
    }

    /// Closes every idle backend that would need a ping: one of them was silent, and so are perhaps all.
    pub(super) fn distrust_idle(&mut self, now: Instant, chores: &mut Chores<M>) {
        let before = self.policy.stale_before(now);
        while self.evict(Some(before), chores) {}
    }

    /// Opens what is to be kept ahead of need.
    pub(super) fn open_ahead(&mut self, account: Account<'_>, home: Home, now: Instant, chores: &mut Chores<M>) {
        let ahead = if self.rests(now) { 0 } else { self.slots.shortfall(self.queue.waiting()) };
        for _ in 0..ahead.min(self.reach.allows_ahead(self.slots.connecting(), now)) {
            if !self.open_one(account, home, false, now, chores) {
                break;
            }
        }
    }

    /// False if not all who wait could be covered.
    pub(super) fn open_for_waiters(
        &mut self,
        account: Account<'_>,
        home: Home,
        now: Instant,
        chores: &mut Chores<M>,
    ) -> bool {
        let Some(oldest) = self.queue.oldest() else {
            account.budget.unwant(account.member);
            return true;
        };
        let overflow_at = oldest + OVERFLOW_PATIENCE;
        let overflow = overflow_at <= now;
        let allowed = self.reach.allows(self.slots.connecting(), self.slots.room(overflow), now);
        let wanted = self.uncovered();
        let mut next = None;
        for opened in 0..wanted.min(allowed) {
            if !self.open_one(account, home, true, now, chores) {
                chores.rare().short = wanted.min(allowed) - opened;
                next = Some(now + PERMIT_RETRY);
                break;
            }
        }
        if self.uncovered() == 0 {
            account.budget.unwant(account.member);
            return true;
        }
        let probe = self.reach.retry_at().filter(|at| *at > now);
        let overflow = (!overflow && self.slots.room(true) > 0).then_some(overflow_at);
        chores.look_again([next, probe, overflow]);
        false
    }

    /// Takes a permit and a seat for one connect.
    fn open_one(&mut self, account: Account<'_>, home: Home, want: bool, now: Instant, chores: &mut Chores<M>) -> bool {
        if !account.budget.acquire(account.member, want, now) {
            return false;
        }
        self.open_with_permit(home, now, chores)
    }

    /// Fills a seat with a permit that was taken already; false, with the permit noted as free, if none is left.
    pub(super) fn open_with_permit(&mut self, home: Home, now: Instant, chores: &mut Chores<M>) -> bool {
        let reserved = self.slots.reserve(home, now);
        match reserved {
            Some(id) => chores.rare().connects.push(id),
            None => chores.free(1),
        }
        reserved.is_some()
    }

    /// Whether a permit that is offered would be used.
    pub(super) fn needs_permit(&self, now: Instant) -> bool {
        let overflow = self.queue.oldest().is_some_and(|at| at + OVERFLOW_PATIENCE <= now);
        let allowed = self.reach.allows(self.slots.connecting(), self.slots.room(overflow), now);
        !self.closed && self.uncovered().min(allowed) > 0
    }
}

/// A backend that a lease or a connect gives to the pool.
#[derive(Debug)]
pub(super) struct Came<B> {
    pub(super) id: BackendId,
    pub(super) backend: B,
    pub(super) profile: usize,
    pub(super) home: Home,
    /// By a session, not by a connect or a ping.
    pub(super) returned: bool,
}

impl<M: Manager> std::fmt::Debug for Outcome<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("Open"),
            Self::Handed { id, .. } => write!(f, "Handed({id})"),
            Self::Failed(error) => write!(f, "Failed({error:?})"),
        }
    }
}
