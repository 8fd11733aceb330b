use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, advance, sleep};

use super::fake::{Failure, Gate, Server, World, config, settle};
use crate::config::Pool;
use crate::pool::budget::Member;
use crate::pool::slots::Home;
use crate::pool::{Berth, Budget, Return, Wish};

fn now() -> Instant {
    Instant::now()
}

fn worlds<const N: usize>(max: usize) -> [World; N] {
    let budget = Budget::new(Some(max));
    std::array::from_fn(|n| World::sharing(&budget, &format!("db{n}"), config(10, 0)))
}

#[tokio::test(start_paused = true)]
async fn an_idle_backend_of_another_pool_is_closed_for_one_who_waits() {
    let [a, b] = worlds(1);
    a.lease().await.unwrap().release(Return::Clean, now());
    let asked = now();
    let lease = b.lease().await.unwrap();
    assert_eq!((now(), a.script.live(), b.script.live(), a.budget.held()), (asked, 0, 1, 1));
    lease.release(Return::Clean, now());
}

/// Wants no permit any more when it is offered one.
struct Sated;

impl Member for Sated {
    fn granted(self: Arc<Self>, _: Home, _: Instant) -> bool {
        false
    }

    fn spare(&self) -> usize {
        0
    }

    fn give_up(self: Arc<Self>, _: Instant, _: bool, _: Home, _: Instant) -> bool {
        false
    }
}

#[test]
fn a_permit_that_comes_back_after_its_owner_has_left_is_nobody_elses() {
    let (budget, sated) = (Budget::new(Some(2)), Arc::new(Sated));
    let join = || budget.join(Arc::downgrade(&sated) as Weak<dyn Member>);
    let gone = join();
    assert!(budget.acquire(gone, false, now()));
    budget.leave(gone, now());
    let next = join();
    assert!(budget.acquire(next, false, now()));
    budget.give_back_quietly(gone, 1);
    assert_eq!(budget.held(), 1);
}

#[tokio::test(start_paused = true)]
async fn pools_never_hold_more_than_the_cap_together() {
    let [a, b, c] = worlds(4);
    let waiting: Vec<_> =
        [&a, &b, &c].iter().flat_map(|w| (0..5).map(|_| w.pool.wait(&Wish::default(), now()).unwrap())).collect();
    sleep(Duration::from_secs(5)).await;
    assert_eq!((a.script.live() + b.script.live() + c.script.live(), a.budget.held()), (4, 4));
    drop(waiting);
}

#[tokio::test(start_paused = true)]
async fn a_pool_with_more_than_its_share_yields_until_the_shares_are_equal() {
    let [a, b] = worlds(4);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(a.lease().await.unwrap());
    }
    let mut waiting: Vec<_> = (0..4).map(|_| b.pool.wait(&Wish::default(), now()).unwrap()).collect();
    let queued: Vec<_> = (0..8).map(|_| a.pool.wait(&Wish::default(), now()).unwrap()).collect();
    settle().await;
    for lease in held {
        lease.release(Return::Clean, now());
        settle().await;
    }
    assert_eq!((a.script.live(), b.script.live()), (2, 2));
    let served = futures_util::future::join(waiting.remove(0), waiting.remove(0)).await;
    assert!(served.0.is_ok() && served.1.is_ok());
    let opened = (a.script.attempts(), b.script.attempts());
    drop((served, queued));
    assert_eq!(opened, (4, 2), "and then it stays like that");
}

#[tokio::test(start_paused = true)]
async fn where_there_are_more_pools_than_permits_each_gets_its_turn() {
    let [a, b] = worlds(1);
    let mut lease = a.lease().await.unwrap();
    let waiting = b.pool.wait(&Wish::default(), now()).unwrap();
    let mut released = 0;
    loop {
        let again = a.pool.wait(&Wish::default(), now()).unwrap();
        advance(Duration::from_millis(10)).await;
        lease.release(Return::Clean, now());
        released += 1;
        settle().await;
        if b.script.live() > 0 {
            break;
        }
        lease = again.await.unwrap();
        assert!(released < 100, "the other pool starves");
    }
    waiting.await.unwrap().release(Return::Clean, now());
}

#[tokio::test(start_paused = true)]
async fn a_pool_within_its_share_keeps_what_it_used_a_moment_ago() {
    let [a, b] = worlds(4);
    a.lease().await.unwrap().release(Return::Clean, now());
    let _held = [b.lease().await.unwrap(), b.lease().await.unwrap(), b.lease().await.unwrap()];
    let asked = now();
    let waiting = b.pool.wait(&Wish::default(), now()).unwrap();
    settle().await;
    assert_eq!(a.script.live(), 1);
    waiting.await.unwrap().release(Return::Close, now());
    assert!(now() - asked >= Duration::from_millis(900), "{:?}", now() - asked);
    assert_eq!(a.script.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn backends_to_be_kept_are_spared_while_others_are_idle_but_not_for_a_pool_without_any() {
    let budget = Budget::new(Some(4));
    let kept = World::sharing(&budget, "kept", Pool { min_idle: 2, ..config(5, 0) });
    let [spare, poor, poorer] = ["spare", "poor", "poorer"].map(|name| World::sharing(&budget, name, config(5, 0)));
    kept.pool.maintain(now());
    settle().await;
    let both = [spare.lease().await.unwrap(), spare.lease().await.unwrap()];
    both.into_iter().for_each(|lease| lease.release(Return::Clean, now()));
    let first = poor.lease().await.unwrap();
    assert_eq!((kept.script.live(), spare.script.live()), (2, 1));
    let second = poorer.lease().await.unwrap();
    assert_eq!((kept.script.live(), spare.script.live()), (1, 1));
    drop((first, second));
}

#[tokio::test(start_paused = true)]
async fn one_who_stops_wanting_costs_nobody_a_backend() {
    let [a, b] = worlds(1);
    let lease = a.lease().await.unwrap();
    drop(b.pool.wait(&Wish::default(), now()).unwrap());
    advance(Duration::from_secs(1)).await;
    lease.release(Return::Clean, now());
    assert_eq!((a.script.live(), a.pool.snapshot().idle), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_higher_cap_serves_who_waits_and_a_lower_one_closes_what_comes_back() {
    let [a, b] = worlds(1);
    let lease = a.lease().await.unwrap();
    let waiting = b.pool.wait(&Wish::default(), now()).unwrap();
    a.budget.set_max(Some(2), now());
    let other = waiting.await.unwrap();
    a.budget.set_max(Some(1), now());
    lease.release(Return::Clean, now());
    other.release(Return::Clean, now());
    settle().await;
    assert_eq!(a.budget.held(), 1);
    a.budget.set_max(Some(0), now());
    assert_eq!(a.lease().await.err().or(b.lease().await.err()), Some(Failure::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_gone_leaves_its_permits_to_others() {
    let [a, b] = worlds(1);
    a.lease().await.unwrap().release(Return::Clean, now());
    let budget = Arc::clone(&a.budget);
    drop(a);
    settle().await;
    assert_eq!(budget.held(), 0);
    assert!(b.lease().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_connection_beside_the_pools_counts_and_takes_an_idle_backends_place() {
    let [a, b] = worlds(2);
    let kept = a.lease().await.unwrap();
    a.lease().await.unwrap().release(Return::Clean, now());
    let berth = Berth::new(&a.budget);
    berth.acquire().await;
    assert_eq!((a.script.live(), a.budget.held()), (1, 2));
    let waiting = b.pool.wait(&Wish::default(), now()).unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(b.script.attempts(), 0, "what is in use is not taken");
    berth.set_spare(true);
    berth.recalled().await;
    drop(berth);
    let lease = waiting.await.unwrap();
    assert_eq!((b.script.live(), a.budget.held()), (1, 2));
    drop((lease, kept));
}

#[tokio::test(start_paused = true)]
async fn a_connection_beside_the_pools_waits_until_a_backend_is_free() {
    let [a] = worlds(1);
    let lease = a.lease().await.unwrap();
    let berth = Berth::new(&a.budget);
    let mut acquiring = Box::pin(berth.acquire());
    assert!(tokio::time::timeout(Duration::from_secs(60), &mut acquiring).await.is_err());
    lease.release(Return::Clean, now());
    acquiring.await;
    assert_eq!((a.script.live(), a.budget.held()), (0, 1));
}

/// Pools without a cap of their own before a server with room for so many.
fn before_a_full_server<const N: usize>(room: usize) -> ([World; N], Arc<Server>) {
    let (budget, server) = (Budget::new(None), Arc::new(Server { room: AtomicUsize::new(room) }));
    let world = |n| {
        let world = World::sharing(&budget, &format!("db{n}"), config(10, 0));
        *world.script.server.lock() = Some(Arc::clone(&server));
        world
    };
    (std::array::from_fn(world), server)
}

#[tokio::test(start_paused = true)]
async fn where_the_server_is_full_an_idle_backend_of_another_pool_makes_way() {
    let ([a, b], _server) = before_a_full_server(5);
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(a.lease().await.unwrap());
    }
    held.into_iter().for_each(|lease| lease.release(Return::Clean, now()));
    *a.script.farewell.lock() = Gate::Slow;
    let asked = now();
    let lease = b.lease().await.unwrap();
    assert_eq!(b.script.live(), 1);
    // Two are refused, the second as room is tried for after a second, and then there is some.
    assert!(b.script.attempts() <= 3, "{}", b.script.attempts());
    assert!(now() - asked < Duration::from_secs(4), "{:?}", now() - asked);
    lease.release(Return::Clean, now());
    sleep(Duration::from_secs(5)).await;
    assert!(a.script.live() >= 3, "{} are left: one makes way for one", a.script.live());
    a.audit();
    b.audit();
}

#[tokio::test(start_paused = true)]
async fn where_the_server_is_full_busy_pools_share_what_there_is() {
    let ([a, b], _server) = before_a_full_server(4);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(a.lease().await.unwrap());
    }
    let waiting: Vec<_> = (0..4).map(|_| b.pool.wait(&Wish::default(), now()).unwrap()).collect();
    let queued: Vec<_> = (0..8).map(|_| a.pool.wait(&Wish::default(), now()).unwrap()).collect();
    settle().await;
    for lease in held {
        lease.release(Return::Clean, now());
        settle().await;
    }
    assert_eq!((a.script.live(), b.script.live()), (2, 2));
    drop((waiting, queued));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_room_again_is_used_and_one_that_stays_full_is_asked_about_once_a_second() {
    let ([a], server) = before_a_full_server(2);
    let _held = [a.lease().await.unwrap(), a.lease().await.unwrap()];
    let waiting: Vec<_> = (0..8).map(|_| a.pool.wait(&Wish::default(), now()).unwrap()).collect();
    settle().await;
    let before = a.script.attempts();
    sleep(Duration::from_secs(20)).await;
    let asked = a.script.attempts() - before;
    assert!((10..=25).contains(&asked), "{asked} times in 20 s");
    server.room.store(8, Ordering::SeqCst);
    let asked = now();
    for lease in waiting {
        drop(lease.await.unwrap());
    }
    assert!(now() - asked < Duration::from_secs(5), "{:?}", now() - asked);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_others_have_filled_is_asked_with_back_off() {
    let ([a], server) = before_a_full_server(0);
    let waiting = a.pool.wait(&Wish::default(), now()).unwrap();
    sleep(Duration::from_secs(20)).await;
    assert!((3..=20).contains(&a.script.attempts()), "{}", a.script.attempts());
    server.room.store(1, Ordering::SeqCst);
    assert!(tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_server_refuses_to_some_is_not_kept_from_others() {
    let ([a, b], _server) = before_a_full_server(2);
    let budget = &a.budget;
    let favoured = World::sharing(budget, "favoured", config(10, 0));
    let _held = [a.lease().await.unwrap(), a.lease().await.unwrap()];
    let _waiting: Vec<_> = (0..4).map(|_| b.pool.wait(&Wish::default(), now()).unwrap()).collect();
    settle().await;
    let asked = now();
    let _lease = favoured.lease().await.unwrap();
    assert_eq!(now(), asked);
}
