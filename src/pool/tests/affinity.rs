use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, advance};

use super::fake::{Fake, World, config, settle};
use crate::pool::{Lease, Return, Wish};

const MS: Duration = Duration::from_millis(1);
/// As [`config`] has it.
const AFFINITY: Duration = Duration::from_millis(10);

fn with(profile: usize) -> Wish {
    Wish { profile, ..Wish::default() }
}

/// Gives the backend back with a session's settings on it.
fn release(mut lease: Lease<Fake>, profile: usize) {
    lease.profile = profile;
    lease.release(Return::Clean, Instant::now());
}

#[tokio::test(start_paused = true)]
async fn of_those_who_wait_the_one_whose_settings_a_backend_carries_goes_first_but_not_for_long() {
    for (waited, called) in [(AFFINITY - MS, 7), (AFFINITY, 1)] {
        let world = World::new(config(1, 0));
        let lease = world.lease().await.unwrap();
        let mut first = world.pool.wait(&with(1), Instant::now()).unwrap();
        let mut alike = world.pool.wait(&with(7), Instant::now()).unwrap();
        advance(waited).await;
        release(lease, 7);
        let first = (&mut first).now_or_never();
        let alike = (&mut alike).now_or_never();
        assert_eq!((first.is_some(), alike.is_some()), (called == 1, called == 7));
        world.audit();
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_waits_a_moment_for_the_settings_it_carries_and_then_goes_to_the_first() {
    let world = World::new(config(1, 0));
    let lease = world.lease().await.unwrap();
    let mut first = world.pool.wait(&with(1), Instant::now()).unwrap();
    release(lease, 7);
    assert!((&mut first).now_or_never().is_none());
    assert!(world.pool.try_lease(&with(8), Instant::now()).is_none(), "others stand behind the first");
    let lease = world.pool.try_lease(&with(7), Instant::now()).unwrap();
    release(lease, 7);
    assert!((&mut first).now_or_never().is_none());
    settle().await;
    advance(3 * MS).await;
    settle().await;
    assert!(first.now_or_never().is_some());
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn the_first_waits_no_longer_than_its_patience_however_often_it_is_overtaken() {
    let world = World::new(config(1, 0));
    let mut lease = world.lease().await.unwrap();
    let (mut first, since) = (world.pool.wait(&with(1), Instant::now()).unwrap(), Instant::now());
    loop {
        release(lease, 7);
        if (&mut first).now_or_never().is_some() {
            break;
        }
        lease = world.pool.try_lease(&with(7), Instant::now()).unwrap();
        advance(MS).await;
        settle().await;
    }
    assert_eq!(since.elapsed(), AFFINITY);
}

#[tokio::test(start_paused = true)]
async fn without_affinity_or_with_equal_settings_nobody_is_overtaken() {
    for (affinity, profile) in [(None, 7), (Some(AFFINITY), 1)] {
        let settings_affinity = affinity;
        let world = World::new(crate::config::Pool { settings_affinity, ..config(1, 0) });
        let lease = world.lease().await.unwrap();
        let first = world.pool.wait(&with(1), Instant::now()).unwrap();
        let _second = world.pool.wait(&with(profile), Instant::now()).unwrap();
        release(lease, profile);
        assert!(first.now_or_never().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_waits_is_free_when_nobody_else_does_and_closed_with_the_pool() {
    let world = World::new(config(1, 0));
    let lease = world.lease().await.unwrap();
    let first = world.pool.wait(&with(1), Instant::now()).unwrap();
    release(lease, 7);
    drop(first);
    settle().await;
    advance(3 * MS).await;
    settle().await;
    let lease = world.pool.try_lease(&with(8), Instant::now()).unwrap();

    let first = world.pool.wait(&with(1), Instant::now()).unwrap();
    release(lease, 7);
    world.pool.close(Instant::now());
    assert!(matches!(first.now_or_never(), Some(Err(_))));
    assert_eq!(world.script.live(), 0);
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn no_backend_waits_when_nobody_else_does() {
    let world = World::new(config(2, 0));
    let (one, other) = (world.lease().await.unwrap(), world.lease().await.unwrap());
    let first = world.pool.wait(&with(1), Instant::now()).unwrap();
    release(one, 7);
    // The only one who waited is given another backend.
    release(other, 1);
    let other = first.now_or_never().unwrap().unwrap();
    let one = world.pool.try_lease(&with(8), Instant::now()).expect("nobody waits");

    let first = world.pool.wait(&with(1), Instant::now()).unwrap();
    release(one, 7);
    // Or leaves.
    drop(first);
    assert!(world.pool.try_lease(&with(8), Instant::now()).is_some());
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn no_backend_is_opened_for_one_who_only_waits_for_another_s_return() {
    let world = World::new(config(2, 0));
    let leases = [world.lease().await.unwrap(), world.lease().await.unwrap()];
    let _first = world.pool.wait(&with(1), Instant::now()).unwrap();
    for lease in leases {
        release(lease, 7);
    }
    settle().await;
    assert_eq!((world.script.attempts(), world.pool.snapshot().leased), (2, 2));
}
