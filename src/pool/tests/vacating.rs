use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use super::fake::{Gate, World, config, settle};
use crate::config::Pool;
use crate::pool::{Return, Wish};

fn now() -> Instant {
    Instant::now()
}

fn until() -> Instant {
    now() + Duration::from_secs(60)
}

async fn two_idle(world: &World) {
    let leases = [world.lease().await.unwrap(), world.lease().await.unwrap()];
    leases.into_iter().for_each(|lease| lease.release(Return::Clean, now()));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_vacated_waits_for_the_server_and_keeps_its_permits_until_then() {
    let world = World::new(config(3, 0));
    two_idle(&world).await;
    *world.script.farewell.lock() = Gate::Slow;
    let asked = now();
    let vacated = world.pool.vacate(until(), Some(0));
    assert_eq!((world.pool.snapshot().idle, world.budget.held()), (0, 2));
    vacated.await;
    assert_eq!((now() - asked, world.script.live(), world.budget.held()), (Duration::from_secs(2), 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_vacated_waits_for_a_connect_that_is_under_way_and_for_its_end() {
    let world = World::new(Pool { min_idle: 1, ..config(3, 0) });
    (*world.script.connect.lock(), *world.script.farewell.lock()) = (Gate::Slow, Gate::Slow);
    world.pool.maintain(now());
    settle().await;
    let asked = now();
    world.pool.vacate(until(), Some(0)).await;
    assert_eq!((now() - asked, world.script.attempts()), (Duration::from_secs(4), 1));
    assert_eq!((world.script.live(), world.budget.held()), (0, 0));
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_fails_or_goes_to_somebody_keeps_nobody_waiting_any_more_who_vacates_the_pool() {
    let world = World::new(Pool { min_idle: 1, ..config(3, 0) });
    *world.script.connect.lock() = Gate::Never;
    world.pool.maintain(now());
    settle().await;
    let vacated = world.pool.vacate(until(), Some(0));
    world.script.end_never();
    vacated.await;
    let world = World::new(config(3, 0));
    *world.script.connect.lock() = Gate::Slow;
    let waiting = world.pool.wait(&Wish::default(), now()).unwrap();
    settle().await;
    world.pool.vacate(until(), Some(0)).await;
    let _lease = waiting.now_or_never().expect("who waits is served").unwrap();
    assert_eq!(world.script.live(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_vacated_waits_for_backends_that_are_reset_or_pinged() {
    let world = World::new(config(3, 0));
    (*world.script.reset.lock(), *world.script.ping.lock()) = (Gate::Slow, Gate::Slow);
    two_idle(&world).await;
    sleep(Duration::from_secs(31)).await;
    let pinged = world.pool.wait(&Wish::default(), now()).unwrap();
    drop(pinged);
    settle().await;
    world.pool.vacate(until(), Some(0)).await;
    assert_eq!((world.script.pings.load(SeqCst), world.script.live()), (1, 0));
    world.pool.resume(now());
    world.lease().await.unwrap().release(Return::NeedsReset, now());
    settle().await;
    world.pool.vacate(until(), Some(0)).await;
    assert_eq!((world.script.live(), world.budget.held()), (0, 0));
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_is_aborted_keeps_nobody_waiting_who_vacates_the_pool() {
    let world = World::new(Pool { min_idle: 1, ..config(1, 0) });
    *world.script.panic_on_connect.lock() = true;
    world.pool.maintain(now());
    world.pool.vacate(until(), Some(0)).await;
    assert_eq!((world.pool.snapshot().connecting, world.budget.held()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_for_a_pool_to_be_vacated_stops_nothing() {
    let world = World::new(config(3, 0));
    two_idle(&world).await;
    *world.script.farewell.lock() = Gate::Slow;
    drop(world.pool.vacate(until(), Some(0)));
    sleep(Duration::from_secs(3)).await;
    assert_eq!((world.script.live(), world.budget.held()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_says_goodbye_is_not_waited_for() {
    let world = World::new(config(3, 0));
    two_idle(&world).await;
    *world.script.farewell.lock() = Gate::Never;
    world.pool.vacate(until(), Some(0)).await;
    assert_eq!((world.script.live(), world.budget.held()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_resting_pool_keeps_nothing_idle_and_serves_all_the_same() {
    let world = World::new(Pool { min_idle: 2, ..config(3, 0) });
    let held = world.lease().await.unwrap();
    world.pool.vacate(until(), Some(0)).await;
    let waiting = world.pool.wait(&Wish::default(), now()).unwrap();
    held.release(Return::Clean, now());
    let lease = waiting.now_or_never().expect("who waits is served").unwrap();
    lease.release(Return::Clean, now());
    world.lease().await.unwrap().release(Return::Clean, now());
    world.pool.maintain(now());
    settle().await;
    assert_eq!((world.script.live(), world.pool.snapshot().connecting), (0, 0));
    world.pool.resume(now());
    settle().await;
    assert_eq!(world.pool.snapshot().idle, 2);
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn a_rest_ends_by_itself() {
    let world = World::new(Pool { min_idle: 1, ..config(2, 0) });
    world.pool.vacate(until(), Some(0)).await;
    sleep(Duration::from_secs(61)).await;
    world.pool.maintain(now());
    settle().await;
    assert_eq!(world.pool.snapshot().idle, 1);
    world.lease().await.unwrap().release(Return::Clean, now());
    assert_eq!(world.pool.snapshot().idle, 1);
}
