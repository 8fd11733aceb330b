//! Every way a connect, a ping and a reset can go, times every moment a waiter can leave, times every end of a lease:
//! afterwards nothing may be lost.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::fake::{GATES, Gate, World, config, settle};
use crate::config::{Pool, PrePing};
use crate::pool::{Return, Wish};

#[derive(Debug, Clone, Copy)]
enum Leaves {
    Never,
    BeforeAnything,
    Soon,
    AfterOneSecond,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Clean,
    Reset,
    Close,
    Drop,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    connect: Gate,
    ping: Gate,
    reset: Gate,
    leaves: Leaves,
    end: End,
    /// An idle backend that needs a ping is there.
    warm: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (connect, ping, reset) in GATES.iter().flat_map(|c| GATES.map(|p| GATES.map(|r| (*c, p, r)))).flatten() {
        for leaves in [Leaves::Never, Leaves::BeforeAnything, Leaves::Soon, Leaves::AfterOneSecond] {
            for end in [End::Clean, End::Reset, End::Close, End::Drop] {
                cases.extend([true, false].map(|warm| Case { connect, ping, reset, leaves, end, warm }));
            }
        }
    }
    cases
}

fn set(world: &World, connect: Gate, ping: Gate, reset: Gate) {
    *world.script.connect.lock() = connect;
    *world.script.ping.lock() = ping;
    *world.script.reset.lock() = reset;
}

async fn play(world: &World, case: Case) {
    let waiting = world.pool.wait(&Wish::default(), Instant::now()).unwrap();
    let patience = match case.leaves {
        Leaves::Never => Duration::from_secs(20),
        Leaves::BeforeAnything => return,
        Leaves::Soon => {
            settle().await;
            return;
        }
        Leaves::AfterOneSecond => Duration::from_secs(1),
    };
    let Ok(Ok(lease)) = timeout(patience, waiting).await else { return };
    match case.end {
        End::Clean => lease.release(Return::Clean, Instant::now()),
        End::Reset => lease.release(Return::NeedsReset, Instant::now()),
        End::Close => lease.release(Return::Close, Instant::now()),
        End::Drop => drop(lease),
    }
}

async fn run(case: Case) {
    let world = World::new(Pool { pre_ping: PrePing::Always, ..config(1, 0) });
    if case.warm {
        world.lease().await.unwrap().release(Return::Clean, Instant::now());
    }
    set(&world, case.connect, case.ping, case.reset);
    play(&world, case).await;
    world.audit();
    settle().await;

    set(&world, Gate::Ok, Gate::Ok, Gate::Ok);
    let next = world.pool.wait(&Wish::default(), Instant::now()).unwrap();
    sleep(Duration::from_secs(11)).await;
    world.script.end_never();
    let lease =
        timeout(Duration::from_secs(11), next).await.unwrap_or_else(|_| panic!("{case:?}: nobody served the next"));
    lease.unwrap_or_else(|error| panic!("{case:?}: {error}")).release(Return::Clean, Instant::now());
    world.audit();
    let snapshot = world.pool.snapshot();
    assert_eq!((snapshot.idle, snapshot.leased, snapshot.connecting, snapshot.waiting), (1, 0, 0, 0), "{case:?}");
    assert_eq!(world.budget.held(), 1, "{case:?}");
    {
        let state = world.pool.0.state.lock();
        assert_eq!((state.proving, state.pins.taken()), (0, 0), "{case:?}");
    }
    world.pool.close(Instant::now());
    assert_eq!((world.script.live(), world.budget.held()), (0, 0), "{case:?}");
    assert!(world.script.most_live.load(std::sync::atomic::Ordering::SeqCst) <= 1, "{case:?}");
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_and_whoever_leaves_the_next_gets_a_lease_and_nothing_is_lost() {
    let cases = cases();
    assert_eq!(cases.len(), 2048);
    for case in cases {
        run(case).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_whose_waiter_left_serves_the_next() {
    let world = World::new(config(1, 0));
    *world.script.connect.lock() = Gate::Slow;
    drop(world.pool.wait(&Wish::default(), Instant::now()).unwrap());
    let asked = Instant::now();
    sleep(Duration::from_secs(1)).await;
    world.lease().await.unwrap().release(Return::Clean, Instant::now());
    assert_eq!((world.script.attempts(), Instant::now() - asked), (1, Duration::from_secs(2)));
}
