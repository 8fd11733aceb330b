//! What happens outside the pool's lock: the shared half of a [`super::Pool`], the tasks that connect, ping, reset and
//! look again, and the guards that free a seat when such a task is aborted or panics.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::TaskTracker;

use super::budget::{Budget, Member, MemberId};
use super::lease::{Duty, Ended, Grant, Lease};
use super::slots::{BackendId, Home};
use super::state::{Account, Came, Chores, Parting, RareChores, State};
use super::vacating::{Permit, farewell};
use super::{ConnectFault, LeaseError, Manager, Pool, PoolKey, Return};
use crate::stats::LimitHits;

/// Longest wait for the answer to a ping.
const PING_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait for a reset.
const RESET_LIMIT: Duration = Duration::from_secs(10);

/// What all handles of a pool, its leases and its tasks share.
pub(super) struct Shared<M: Manager> {
    pub(super) key: PoolKey,
    pub(super) manager: M,
    pub(super) budget: Arc<Budget>,
    pub(super) member: MemberId,
    pub(super) tasks: TaskTracker,
    pub(super) limit_hits: Arc<LimitHits>,
    pub(super) state: Mutex<State<M>>,
    /// Tells those who wait for [`State::has_left`] to look again.
    pub(super) settled: Notify,
    /// Makes this pool's back-off differ from others'.
    pub(super) chance: u64,
}

impl<M: Manager> Drop for Shared<M> {
    fn drop(&mut self) {
        self.budget.leave(self.member, Instant::now());
    }
}

impl<M: Manager> Shared<M> {
    pub(super) fn account(&self) -> Account<'_> {
        Account { budget: &self.budget, member: self.member }
    }

    /// Runs `change` under the lock, sees to those who wait, and does the chores that follow. The caller runs on `home`.
    pub(super) fn change(
        self: &Arc<Self>,
        home: Home,
        now: Instant,
        change: impl FnOnce(&mut State<M>, &mut Chores<M>),
    ) {
        let mut chores = Chores::default();
        let mut state = self.state.lock();
        change(&mut state, &mut chores);
        state.pump(self.account(), home, now, &mut chores);
        drop(state);
        self.perform(chores, home, now);
    }

    /// Does what was noted under the lock, which must be free by now.
    pub(super) fn perform(self: &Arc<Self>, chores: Chores<M>, home: Home, now: Instant) {
        chores.wakers.into_iter().for_each(Waker::wake);
        if let Some(rare) = chores.rare {
            self.perform_rare(*rare, home, now);
        }
    }

    fn perform_rare(self: &Arc<Self>, chores: RareChores<M>, home: Home, now: Instant) {
        let RareChores { closed, connects, proofs, freed, short, alarm, settled } = chores;
        if !closed.is_empty() {
            self.close(closed, home);
        }
        if settled {
            self.settled.notify_waiters();
        }
        for id in connects {
            let opening = Opening { shared: Arc::clone(self), id, home, open: true };
            self.spawn(connect(opening));
        }
        for (taken, duty) in proofs {
            let grant = Grant { id: taken.id, leased_at: now, home, duty };
            let lease = Lease::new(Pool(Arc::clone(self)), taken.backend, grant);
            self.spawn(prove(lease, taken.from != home));
        }
        if let Some(at) = alarm {
            self.set_alarm(at, home, now);
        }
        if freed > 0 {
            self.budget.give_back(self.member, freed, home, now);
        }
        if short > 0 {
            self.budget.reclaim(self.member, short, home, now);
        }
    }

    fn close(self: &Arc<Self>, closed: Vec<(M::Backend, Parting)>, home: Home) {
        for (backend, parting) in closed {
            match parting {
                Parting::AtOnce => drop(backend),
                Parting::Farewell => self.spawn(farewell(backend, Permit::new(Arc::clone(self), home))),
            }
        }
    }

    /// Without a runtime (the process is ending) the task is dropped, and what it guards with it.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = Handle::try_current() {
            self.tasks.spawn_on(task, &runtime);
        }
    }

    fn set_alarm(self: &Arc<Self>, at: Instant, home: Home, now: Instant) {
        let mut state = self.state.lock();
        if state.alarm.is_some_and(|set| set <= at && now <= set) {
            return;
        }
        state.alarm = Some(at);
        drop(state);
        self.spawn(look_again(Alarm { pool: Arc::downgrade(self), at }, home));
    }

    /// A leased backend comes back in good order. One lock, taken once, when nobody waits.
    pub(super) fn put_back(self: &Arc<Self>, came: Came<M::Backend>, ended: Ended, now: Instant) {
        let (home, duty) = (came.home, ended.duty);
        let mut state = self.state.lock();
        state.relieve(&ended);
        let quiet = state.waiters() == 0 && state.hopefuls.is_empty() && !state.rests(now) && !self.budget.contended();
        if quiet && state.slots.keeps(came.id, false, now) {
            let parked = state.slots.park(came.id, came.backend, came.profile, now);
            drop(state);
            debug_assert!(parked.is_ok(), "what comes back was leased");
            return;
        }
        let mut chores = Chores::default();
        state.take_back(came, self.account(), now, &mut chores);
        let served = !chores.wakers.is_empty() && chores.closed() == 0 && duty == Duty::Session;
        if !served || state.lingers_needlessly() {
            state.pump(self.account(), home, now, &mut chores);
        }
        drop(state);
        self.perform(chores, home, now);
    }

    /// A leased backend is gone.
    pub(super) fn put_away(self: &Arc<Self>, ended: Ended, home: Home, now: Instant) {
        self.change(home, now, |state, chores| {
            state.relieve(&ended);
            state.close_seat(ended.id, None, chores);
        });
    }

    /// Resets the backend in a task of its own; the lease closes it if that fails, takes too long or is aborted.
    pub(super) fn reset(self: &Arc<Self>, mut lease: Lease<M>) {
        self.state.lock().slots.send_on_errand(lease.id());
        self.spawn(async move {
            let pool = lease.pool().clone();
            let reset = timeout(RESET_LIMIT, pool.0.manager.reset(&mut lease)).await;
            let how = if reset == Ok(true) { Return::Clean } else { Return::Close };
            lease.release(how, Instant::now());
        });
    }

    fn connected(self: &Arc<Self>, id: BackendId, backend: M::Backend, home: Home, now: Instant) {
        let profile = self.manager.profile(&backend);
        self.change(home, now, |state, chores| {
            state.reach = super::backoff::Reach::Up;
            state.last_error = None;
            state.totals.opened += 1;
            let policy = state.policy;
            let counted = state.slots.connected(id, now, &policy);
            debug_assert!(counted, "a connecting seat waits for its backend");
            let came = Came { id, backend, profile, home, returned: false };
            state.take_back(came, self.account(), now, chores);
        });
    }

    fn failed(self: &Arc<Self>, id: BackendId, fault: ConnectFault<M::Error>, home: Home, now: Instant) {
        let is_shared = matches!(fault, ConnectFault::Full(_)) && self.budget.found_full(self.member, now);
        self.change(home, now, |state, chores| {
            state.give_up_seat(id, chores);
            state.totals.connect_failures += 1;
            match fault {
                // What others give up is had at once.
                ConnectFault::Full(error) if is_shared => state.last_error = Some(error),
                ConnectFault::Unavailable(error) | ConnectFault::Full(error) => {
                    state.last_error = Some(error);
                    let chance = self.chance.wrapping_add(state.totals.connect_failures);
                    // Whoever comes now waits long enough to see the next attempt.
                    let backoff = state.backoff.clone().at_most(state.config.timeout / 2);
                    state.reach.fail(&backoff, now, chance);
                }
                ConnectFault::Refused(error) => {
                    state.last_error = Some(error.clone());
                    state.reach.refuse(&state.backoff, now);
                    state.fail(state.refused_waiters(), &LeaseError::Refused(error), chores);
                }
            }
        });
    }
}

impl<M: Manager> Member for Shared<M> {
    fn granted(self: Arc<Self>, home: Home, now: Instant) -> bool {
        let mut chores = Chores::default();
        let mut state = self.state.lock();
        let used = state.needs_permit(now) && state.open_with_permit(home, now, &mut chores);
        if used {
            state.pump(self.account(), home, now, &mut chores);
        } else {
            // The permit stays the caller's.
            if let Some(rare) = &mut chores.rare {
                rare.freed = 0;
            }
        }
        drop(state);
        self.perform(chores, home, now);
        used
    }

    fn spare(&self) -> usize {
        self.state.lock().slots.spare()
    }

    fn give_up(self: Arc<Self>, before: Instant, all: bool, home: Home, now: Instant) -> bool {
        let mut chores = Chores::default();
        let mut state = self.state.lock();
        let found = (all || state.slots.spare() > 0) && state.yield_idle(before, &mut chores);
        drop(state);
        self.perform(chores, home, now);
        found
    }
}

async fn connect<M: Manager>(opening: Opening<M>) {
    let outcome = opening.shared.manager.connect().await;
    opening.settle(outcome);
}

/// A connect under way: gives its seat and permit up when dropped unsettled.
struct Opening<M: Manager> {
    shared: Arc<Shared<M>>,
    id: BackendId,
    home: Home,
    open: bool,
}

impl<M: Manager> Opening<M> {
    fn settle(mut self, outcome: Result<M::Backend, ConnectFault<M::Error>>) {
        self.open = false;
        let now = Instant::now();
        match outcome {
            Ok(backend) => self.shared.connected(self.id, backend, self.home, now),
            Err(fault) => self.shared.failed(self.id, fault, self.home, now),
        }
    }
}

impl<M: Manager> Drop for Opening<M> {
    /// Spawns nothing: the runtime may be ending, and would drop that too. Maintenance begins anew what is needed.
    fn drop(&mut self) {
        if self.open {
            let mut chores = Chores::<M>::default();
            self.shared.state.lock().give_up_seat(self.id, &mut chores);
            self.shared.budget.give_back_quietly(self.shared.member, chores.freed());
            self.shared.settled.notify_waiters();
        }
    }
}

/// Pings an idle backend for whoever is first when the answer comes.
async fn prove<M: Manager>(mut lease: Lease<M>, moved: bool) {
    let pool = lease.pool().clone();
    let manager = &pool.0.manager;
    let usable = !manager.is_dead(&mut lease) && (!moved || manager.rehome(&mut lease));
    let answer = if usable { timeout(PING_LIMIT, manager.ping(&mut lease)).await } else { Ok(false) };
    let now = Instant::now();
    if answer.is_err() {
        // Waiting as long for each of the others could use up a client's whole patience.
        let mut chores = Chores::default();
        pool.0.state.lock().distrust_idle(now, &mut chores);
        pool.0.perform(chores, lease.home(), now);
    }
    lease.release(if answer == Ok(true) { Return::Clean } else { Return::Close }, now);
}

/// Sleeps until the pool must look again; the pool may be dropped meanwhile.
async fn look_again<M: Manager>(alarm: Alarm<M>, home: Home) {
    sleep_until(alarm.at).await;
    let pool = alarm.pool.upgrade();
    drop(alarm);
    if let Some(pool) = pool {
        pool.change(home, Instant::now(), |_, _| ());
    }
}

/// The pool's note that a look-again task sleeps.
struct Alarm<M: Manager> {
    pool: Weak<Shared<M>>,
    at: Instant,
}

impl<M: Manager> Drop for Alarm<M> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            let mut state = pool.state.lock();
            state.alarm = state.alarm.filter(|set| *set != self.at);
        }
    }
}
