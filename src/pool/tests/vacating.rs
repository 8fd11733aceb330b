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
