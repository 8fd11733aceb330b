use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::fake::{BACKOFF, Failure, Fake, Gate, World, config, settle};
use crate::config::PrePing;
use crate::pool::{
    Asked, Blueprint, Budget, Emptiness, LeaseError, PoolKey, Pools, PoolsExhausted, Return, Shortage, Wish,
};
use crate::stats::{Limit, Traffic};

fn now() -> Instant {
    Instant::now()
}

fn at(worker: usize) -> Wish {
    Wish { worker, ..Wish::default() }
}

#[tokio::test(start_paused = true)]
async fn an_idle_backend_is_leased_at_once_and_by_nobody_else() {
    let world = World::new(config(1, 0));
    assert!(world.pool.try_lease(&at(0), now()).is_none());
    world.lease().await.unwrap().release(Return::Clean, now());
    let lease = world.pool.try_lease(&at(0), now()).unwrap();
    assert!(world.pool.try_lease(&at(0), now()).is_none());
    lease.release(Return::Clean, now());
    let snapshot = world.pool.snapshot();
    assert_eq!((snapshot.idle, snapshot.opened_total, snapshot.leases_total, snapshot.waited_total), (1, 1, 2, 1));
    assert_eq!(world.script.rehomed.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_dropped_closes_its_backend_and_the_next_gets_a_new_one() {
    let world = World::new(config(1, 0));
    let lease = world.lease().await.unwrap();
    let first = lease.id();
    let waiting = world.pool.wait(&at(0), now()).unwrap();
    drop(lease);
    assert_ne!(waiting.await.unwrap().id(), first);
    assert_eq!(world.script.attempts(), 2);
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn a_returning_backend_goes_to_the_waiter_of_its_worker_and_moves_only_for_one_much_older() {
    let world = World::new(config(1, 0));
    let lease = world.lease().await.unwrap();
    let mut far = world.pool.wait(&at(1), now()).unwrap();
    advance(Duration::from_millis(4)).await;
    let near = world.pool.wait(&at(0), now()).unwrap();
    lease.release(Return::Clean, now());
    assert!((&mut far).now_or_never().is_none());
    let lease = near.now_or_never().unwrap().unwrap();
    advance(Duration::from_millis(4)).await;
    let near = world.pool.wait(&at(0), now()).unwrap();
    lease.release(Return::Clean, now());
    let lease = far.now_or_never().unwrap().unwrap();
    assert_eq!(world.pool.snapshot().steals_total, 1);
    assert_eq!(world.script.rehomed.load(Ordering::SeqCst), 1);
    lease.release(Return::Clean, now());
    near.now_or_never().unwrap().unwrap().release(Return::Clean, now());
    assert_eq!(world.pool.snapshot().handed_over_total, 3);
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_asks_and_does_not_poll_is_woken_by_a_lease_that_comes_back_and_by_a_connect() {
    let world = World::new(config(1, 0));
    for returned in [false, true] {
        let before = if returned { Some(world.lease().await.unwrap()) } else { None };
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let Ok(Asked::Waiting(waiting)) = world.pool.lease(&at(0), now(), &waker) else { panic!("none is idle") };
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        if let Some(lease) = before {
            lease.release(Return::Clean, now());
        }
        settle().await;
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        waiting.now_or_never().unwrap().unwrap().release(Return::Clean, now());
    }
    assert!(matches!(world.pool.lease(&at(0), now(), Waker::noop()), Ok(Asked::Lease(_))));
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_one_who_waits() {
    let world = World::new(config(1, 0));
    let lease = world.lease().await.unwrap();
    let first = world.pool.wait(&at(0), now()).unwrap();
    assert!(world.pool.try_lease(&at(0), now()).is_none());
    lease.release(Return::Clean, now());
    assert!(world.pool.try_lease(&at(0), now()).is_none(), "it was handed over");
    drop(first);
    assert!(world.pool.try_lease(&at(0), now()).is_some(), "and came back unused");
}

#[tokio::test(start_paused = true)]
async fn a_backend_handed_to_one_who_just_left_goes_to_the_next() {
    let world = World::new(config(1, 0));
    let lease = world.lease().await.unwrap();
    let gone = world.pool.wait(&at(1), now()).unwrap();
    let next = world.pool.wait(&at(0), now() + Duration::from_millis(50)).unwrap();
    lease.release(Return::Clean, now());
    drop(gone);
    assert!(next.now_or_never().unwrap().is_ok());
    assert_eq!(world.script.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn overflow_is_opened_for_real_waits_only_and_closed_on_return_when_nobody_waits() {
    let world = World::new(config(1, 2));
    let first = world.lease().await.unwrap();
    let asked = now();
    let second = world.lease().await.unwrap();
    assert!(now() - asked >= Duration::from_millis(10));
    assert_eq!(world.script.live(), 2);
    let waiting = world.pool.wait(&at(0), now()).unwrap();
    second.release(Return::Clean, now());
    let second = waiting.now_or_never().unwrap().unwrap();
    second.release(Return::Clean, now());
    assert_eq!(world.script.live(), 1);
    first.release(Return::Clean, now());
    assert_eq!((world.pool.snapshot().idle, world.script.live()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn there_are_never_more_backends_than_size_and_overflow() {
    let world = World::new(config(2, 1));
    let waiting: Vec<_> = (0..10).map(|_| world.pool.wait(&at(0), now()).unwrap()).collect();
    sleep(Duration::from_secs(3)).await;
    let leases: Vec<_> = waiting.into_iter().filter_map(|w| w.now_or_never()).collect();
    assert_eq!((leases.len(), world.script.attempts()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_probed_one_at_a_time_with_back_off_and_waiters_go_on_waiting() {
    let world = World::new(config(5, 0));
    *world.script.connect.lock() = Gate::Err;
    let waiting: Vec<_> = (0..3).map(|_| world.pool.wait(&at(0), now()).unwrap()).collect();
    sleep(Duration::from_secs(20)).await;
    let attempts = world.script.attempts.lock().clone();
    let probes = &attempts[3..];
    let gaps: Vec<_> = probes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((6..=14).contains(&probes.len()), "{gaps:?}");
    assert!(
        gaps.iter().all(|gap| *gap >= Duration::from_millis(100) && *gap <= Duration::from_millis(5010)),
        "{gaps:?}"
    );
    assert!(gaps.last() > gaps.first(), "{gaps:?}");
    assert_eq!(world.pool.exhausted(now()).last_connect_error, Some("down"));
    *world.script.connect.lock() = Gate::Ok;
    for waiting in waiting {
        std::mem::forget(timeout(Duration::from_secs(6), waiting).await.unwrap().unwrap());
    }
    assert_eq!(world.pool.exhausted(now()).last_connect_error, None);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_fails_all_who_wait_for_nothing_else_at_once() {
    let world = World::new(config(2, 0));
    (*world.script.connect.lock(), *world.script.refuse.lock()) = (Gate::Err, true);
    let waiting: Vec<_> = (0..5).map(|_| world.pool.wait(&at(0), now()).unwrap()).collect();
    let asked = now();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap_err(), LeaseError::Refused("refused"));
    }
    assert_eq!(now(), asked);
    assert!(world.script.attempts() <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_spares_those_whom_a_lease_can_still_serve() {
    let world = World::new(config(2, 0));
    let lease = world.lease().await.unwrap();
    (*world.script.connect.lock(), *world.script.refuse.lock()) = (Gate::Err, true);
    let refused = world.pool.wait(&at(0), now()).unwrap();
    let spared = world.pool.wait(&at(0), now()).unwrap();
    assert_eq!(refused.await.unwrap_err(), LeaseError::Refused("refused"));
    lease.release(Return::Clean, now());
    assert!(spared.now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_idle_backend_that_died_or_is_too_old_is_closed_on_the_way() {
    let world = World::new(config(2, 0));
    let mut lease = world.lease().await.unwrap();
    lease.dead = true;
    lease.release(Return::Clean, now());
    assert!(world.pool.try_lease(&at(0), now()).is_none());
    assert_eq!(world.script.live(), 0);
    world.pool.reconfigure(crate::config::Pool { pre_ping: PrePing::Never, ..config(2, 0) }, now());
    world.lease().await.unwrap().release(Return::Clean, now());
    advance(Duration::from_secs(4000)).await;
    assert!(world.pool.try_lease(&at(0), now()).is_none());
    assert_eq!((world.script.live(), world.pool.snapshot().leases_total), (0, 2));
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn what_was_idle_when_another_was_lost_is_pinged_before_it_is_leased() {
    let world = World::new(crate::config::Pool { pre_ping: PrePing::Never, ..config(2, 0) });
    let (idle, lost) = (world.lease().await.unwrap(), world.lease().await.unwrap());
    idle.release(Return::Clean, now());
    world.pool.backend_lost(now());
    lost.release(Return::Close, now());
    let pings = || world.script.pings.load(Ordering::SeqCst);
    assert!(world.pool.try_lease(&at(0), now()).is_none());
    advance(Duration::from_millis(1)).await;
    world.lease().await.unwrap().release(Return::Clean, now());
    assert_eq!(pings(), 1);
    assert!(world.pool.try_lease(&at(0), now()).is_some(), "it has answered since");
}

#[tokio::test(start_paused = true)]
async fn a_backend_idle_for_long_is_pinged_before_it_is_leased_and_replaced_when_silent() {
    let world = World::new(config(1, 0));
    world.lease().await.unwrap().release(Return::Clean, now());
    advance(Duration::from_secs(31)).await;
    assert!(world.pool.try_lease(&at(0), now()).is_none());
    world.lease().await.unwrap().release(Return::Clean, now());
    let pings = || world.script.pings.load(Ordering::SeqCst);
    assert_eq!((pings(), world.script.attempts()), (1, 1));
    advance(Duration::from_secs(31)).await;
    *world.script.ping.lock() = Gate::Err;
    world.lease().await.unwrap().release(Return::Clean, now());
    assert_eq!((pings(), world.script.attempts()), (2, 2));
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn a_reset_keeps_the_place_taken_and_then_serves_the_next() {
    let world = World::new(config(1, 0));
    let lease = world.lease().await.unwrap();
    *world.script.reset.lock() = Gate::Slow;
    let id = lease.id();
    lease.release(Return::NeedsReset, now());
    assert!(world.pool.try_lease(&at(0), now()).is_none());
    let asked = now();
    assert_eq!(world.lease().await.unwrap().id(), id);
    assert_eq!((now() - asked, world.script.attempts()), (Duration::from_secs(2), 1));
}

#[tokio::test(start_paused = true)]
async fn backends_are_opened_ahead_and_kept() {
    let world = World::new(crate::config::Pool { min_idle: 2, ..config(3, 0) });
    world.pool.maintain(now());
    settle().await;
    assert_eq!(world.pool.snapshot().idle, 2);
    let lease = world.pool.try_lease(&at(0), now()).unwrap();
    world.pool.maintain(now());
    settle().await;
    assert_eq!(world.pool.snapshot().idle, 2);
    lease.release(Return::Clean, now());
    advance(Duration::from_secs(601)).await;
    world.pool.maintain(now());
    settle().await;
    assert_eq!(world.pool.snapshot().idle, 2);
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn retiring_closes_idle_backends_now_and_leased_and_connecting_ones_when_they_come_back() {
    let world = World::new(config(3, 0));
    let (idle, leased) = (world.lease().await.unwrap(), world.lease().await.unwrap());
    idle.release(Return::Clean, now());
    *world.script.connect.lock() = Gate::Slow;
    let taken = world.pool.try_lease(&at(0), now()).unwrap();
    drop(world.pool.wait(&at(0), now()).unwrap());
    settle().await;
    taken.release(Return::Clean, now());
    world.pool.retire_all(now());
    assert_eq!(world.script.live(), 1);
    leased.release(Return::Clean, now());
    sleep(Duration::from_secs(3)).await;
    assert_eq!((world.script.live(), world.pool.snapshot().connecting), (0, 0));
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn closing_fails_who_waits_and_who_asks_and_leaves_nothing_open() {
    let world = World::new(config(1, 0));
    let lease = world.lease().await.unwrap();
    let waiting = world.pool.wait(&at(0), now()).unwrap();
    world.pool.close(now());
    assert_eq!(waiting.await.unwrap_err(), LeaseError::Closed);
    assert_eq!(world.lease().await.unwrap_err(), Failure::Error(LeaseError::Closed));
    lease.release(Return::Clean, now());
    assert_eq!((world.script.live(), world.budget.held()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_smaller_size_closes_what_is_idle_and_a_larger_one_serves_who_waits() {
    let world = World::new(config(3, 0));
    let leases: Vec<_> =
        [world.lease().await, world.lease().await, world.lease().await].into_iter().flatten().collect();
    leases.into_iter().for_each(|lease| lease.release(Return::Clean, now()));
    world.pool.reconfigure(config(1, 0), now());
    assert_eq!(world.script.live(), 1);
    let _lease = world.lease().await.unwrap();
    let waiting = world.pool.wait(&at(0), now()).unwrap();
    world.pool.reconfigure(config(2, 0), now());
    assert!(waiting.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_in_vain_learns_who_holds_longest() {
    let world = World::new(config(2, 0));
    let _old = world.lease_for(Wish { holder: 7, ..Wish::default() }).await.unwrap();
    advance(Duration::from_secs(5)).await;
    let _young = world.lease_for(Wish { holder: 8, ..Wish::default() }).await.unwrap();
    assert_eq!(world.lease().await.unwrap_err(), Failure::TimedOut);
    let told = world.pool.exhausted(now());
    assert_eq!(told.longest_holder.map(|(who, _)| who), Some(7));
    assert_eq!((told.size, told.leased, told.waiting), (2, 2, 0));
    assert!(told.longest_holder.unwrap().1 >= Duration::from_secs(35));
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_panics_frees_its_place_and_maintenance_tries_again() {
    let world = World::new(config(1, 0));
    *world.script.panic_on_connect.lock() = true;
    let waiting = world.pool.wait(&at(0), now()).unwrap();
    settle().await;
    assert_eq!((world.pool.snapshot().connecting, world.budget.held()), (0, 0));
    *world.script.panic_on_connect.lock() = false;
    world.pool.maintain(now());
    assert!(waiting.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_queue_has_a_limit() {
    let world = World::new(config(1, 0));
    world.pool.set_waiters_limit(1);
    *world.script.connect.lock() = Gate::Never;
    let _first = world.pool.wait(&at(0), now()).unwrap();
    assert_eq!(world.pool.wait(&at(0), now()).unwrap_err(), LeaseError::TooManyWaiting { limit: 1 });
}

#[test]
fn a_runtime_that_ends_in_mid_connect_takes_no_place_with_it() {
    let world = World::new(config(1, 0));
    *world.script.connect.lock() = Gate::Never;
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ending = runtime();
    let [waiting] = ending.block_on(async {
        let waiting = world.pool.wait(&at(0), now()).unwrap();
        settle().await;
        [waiting]
    });
    drop(ending);
    assert_eq!((world.pool.snapshot().connecting, world.budget.held()), (0, 0));
    *world.script.connect.lock() = Gate::Ok;
    runtime().block_on(async {
        world.pool.maintain(now());
        waiting.await.unwrap().release(Return::Clean, now());
    });
    world.pool.close(now());
    assert_eq!(world.script.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn pools_are_made_on_demand_limited_in_number_and_forgotten_when_disused() {
    let pools: Pools<Fake> = Pools::new(2, 10, TaskTracker::new(), Arc::default());
    let key = |name: &str| PoolKey { database: name.to_owned(), user: "ann".to_owned() };
    let draw = || {
        let budget = Budget::new(None);
        Ok::<_, PoolsExhausted>(Blueprint { manager: Fake::default(), config: config(1, 0), budget, backoff: BACKOFF })
    };
    let a = pools.open(&key("a"), draw).unwrap();
    assert!(Arc::ptr_eq(
        &a.0,
        &pools.open(&key("a"), || panic!("is there already")).map_err(|e: PoolsExhausted| e).unwrap().0
    ));
    drop(pools.open(&key("b"), draw).unwrap());
    assert_eq!(pools.open(&key("c"), draw).unwrap_err(), PoolsExhausted { limit: 2 });
    pools.forget(Emptiness::Always);
    assert_eq!(pools.snapshots().iter().map(|s| s.database.as_str()).collect::<Vec<_>>(), ["a"]);
    pools.open(&key("c"), draw).unwrap();
    pools.reconfigure(now(), |key| (key.database == "a").then(|| config(9, 0)));
    assert_eq!(pools.snapshots().iter().map(|s| s.size).collect::<Vec<_>>(), [9]);
    pools.close_all(now());
    assert!(matches!(a.wait(&at(0), now()).unwrap_err(), LeaseError::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_breaks_when_moved_is_replaced_and_its_waiter_keeps_its_place() {
    let world = World::new(config(1, 0));
    let lease = world.lease().await.unwrap();
    let far = world.pool.wait(&at(1), now()).unwrap();
    advance(Duration::from_millis(1)).await;
    let later = world.pool.wait(&at(1), now()).unwrap();
    *world.script.break_on_rehome.lock() = true;
    lease.release(Return::Clean, now());
    let lease = far.await.unwrap();
    assert_eq!((world.script.attempts(), world.script.live()), (2, 1));
    lease.release(Return::Clean, now());
    later.now_or_never().unwrap().unwrap().release(Return::Clean, now());
    let snapshot = world.pool.snapshot();
    assert_eq!((snapshot.leases_total, snapshot.waited_total), (3, 3));
    assert!(world.pool.try_lease(&at(0), now()).is_none(), "nor is a broken one stolen");
    assert_eq!(world.script.live(), 0);
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn one_silent_backend_is_enough_to_replace_all_that_were_idle_as_long() {
    let world = World::new(config(5, 0));
    let mut leases = Vec::new();
    for _ in 0..5 {
        leases.push(world.lease().await.unwrap());
    }
    leases.into_iter().for_each(|lease| lease.release(Return::Clean, now()));
    advance(Duration::from_secs(60)).await;
    *world.script.ping.lock() = Gate::Never;
    let asked = now();
    let lease = world.lease().await.unwrap();
    assert!(now() - asked <= Duration::from_secs(6), "{:?}", now() - asked);
    assert_eq!(world.script.live(), 1);
    drop(lease);
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_came_back_is_noticed_without_anybody_waiting() {
    let world = World::new(crate::config::Pool { min_idle: 2, ..config(3, 0) });
    *world.script.connect.lock() = Gate::Err;
    for _ in 0..20 {
        world.pool.maintain(now());
        sleep(Duration::from_secs(1)).await;
    }
    assert!(world.script.attempts() <= 10, "{}", world.script.attempts());
    *world.script.connect.lock() = Gate::Ok;
    for _ in 0..7 {
        world.pool.maintain(now());
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(world.pool.snapshot().idle, 2);
}

#[tokio::test(start_paused = true)]
async fn what_passes_over_a_pool_is_counted_for_it() {
    let world = World::new(config(1, 0));
    let traffic = Traffic { transactions: 1, bytes_from_clients: 10, bytes_to_clients: 300 };
    let mut lease = world.lease().await.unwrap();
    let waiting = world.pool.wait(&at(0), now()).unwrap();
    advance(Duration::from_secs(2)).await;
    lease.count(traffic, now());
    assert_eq!(world.pool.snapshot().traffic, traffic, "a long lease's figures do not wait for its end");
    lease.count(traffic, now());
    lease.release(Return::Clean, now());
    waiting.await.unwrap().release(Return::Clean, now());
    let snapshot = world.pool.snapshot();
    assert_eq!(snapshot.traffic, Traffic { transactions: 2, bytes_from_clients: 20, bytes_to_clients: 600 });
    let (waits, holds) = (snapshot.waits.summary(), snapshot.holds.summary());
    assert_eq!((waits.count, holds.count), (2, 2));
    let about = |found: Duration| found.abs_diff(Duration::from_secs(2)) <= Duration::from_millis(20);
    assert!(about(waits.longest) && about(holds.longest), "{snapshot:?}");
}

#[tokio::test(start_paused = true)]
async fn limits_that_are_met_are_counted_for_the_pool_and_for_the_process() {
    let world = World::new(config(1, 0));
    world.pool.set_waiters_limit(1);
    let _lease = world.lease().await.unwrap();
    let waiting = world.pool.wait(&at(0), now()).unwrap();
    assert!(world.pool.wait(&at(0), now()).is_err());
    assert!(matches!(waiting.give_up(now()), Shortage::Backends(_)));
    let (snapshot, hits) = (world.pool.snapshot(), world.limit_hits.counts());
    assert_eq!((snapshot.timeouts_total, snapshot.turned_away_total), (1, 1));
    assert_eq!((hits.of(Limit::PoolTimeout), hits.of(Limit::Waiters), hits.of(Limit::MaxPinned)), (1, 1, 0));
}
