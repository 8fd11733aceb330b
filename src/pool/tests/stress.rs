//! Two workers, two pools, one budget, and everything that can happen at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::fake::{World, config, settle};
use crate::config::{Pool, PrePing};
use crate::pool::recycle::scatter;
use crate::pool::{Budget, Lease, LeaseError, PinReason, PinReasons, Return, Wish};

const WORKERS: usize = 2;
const SESSIONS: usize = 12;
const ROUNDS: u64 = 400;

/// What a session does with a lease, or without one, by chance.
async fn use_it(mut lease: Lease<super::fake::Fake>, chance: u64) {
    assert_eq!(lease.home, thread::current().id(), "a lease is registered where it is used");
    lease.profile = (chance % 3) as usize;
    if chance.is_multiple_of(3) {
        tokio::task::yield_now().await;
    }
    if chance.is_multiple_of(11) {
        let pool = lease.pool().clone();
        let _ = pool.try_pin(&mut lease, PinReason::Unknown.into(), Instant::now());
    }
    match chance % 40 {
        0 => drop(lease),
        1 => lease.release(Return::Close, Instant::now()),
        2 | 3 => lease.release(Return::NeedsReset, Instant::now()),
        4 => {
            lease.dead = true;
            lease.release(Return::Clean, Instant::now());
        }
        _ => lease.release(Return::Clean, Instant::now()),
    }
}

async fn session(worlds: Arc<[World; 2]>, worker: usize, number: usize) {
    let mut last_backend = None;
    for round in 0..ROUNDS {
        let chance = scatter(round + number as u64 * 10_000);
        let world = &worlds[usize::from(chance % 7 > 3)];
        let pin = if chance.is_multiple_of(13) { PinReason::Unknown.into() } else { PinReasons::NONE };
        let must = last_backend.filter(|_| chance.is_multiple_of(17));
        let wish = Wish { worker, last_backend, profile: (chance % 3) as usize, pin, must, ..Wish::default() };
        if let Some(lease) = world.pool.try_lease(&wish, Instant::now()) {
            last_backend = Some(lease.id());
            use_it(lease, chance >> 8).await;
            continue;
        }
        let mut waiting = match world.pool.wait(&wish, Instant::now()) {
            Ok(waiting) => waiting,
            Err(LeaseError::BackendGone) if must.is_some() => continue,
            Err(error) => panic!("{error}"),
        };
        if chance.is_multiple_of(5) {
            tokio::select! {
                biased;
                _ = &mut waiting => {}
                () = tokio::task::yield_now() => {}
            }
            continue;
        }
        let lease = match timeout(Duration::from_secs(20), waiting).await.expect("somebody starves") {
            Ok(lease) => lease,
            Err(LeaseError::BackendGone) if must.is_some() => continue,
            Err(error) => panic!("{error}"),
        };
        assert!(must.is_none_or(|id| lease.id() == id), "no other will do");
        use_it(lease, chance >> 8).await;
    }
}

/// Lives until all workers are done: connects for another's waiters may be running here.
fn worker(worlds: &Arc<[World; 2]>, number: usize, finished: &AtomicUsize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|n| tokio::task::spawn_local(session(Arc::clone(worlds), number, number * SESSIONS + n)))
            .collect();
        for session in sessions {
            session.await.unwrap();
        }
        finished.fetch_add(1, Ordering::SeqCst);
        while finished.load(Ordering::SeqCst) < WORKERS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        settle().await;
    });
}

/// Without `maintained` every wake-up must come from the pool itself.
fn stress(max: Option<usize>, pre_ping: PrePing, maintained: bool) {
    let budget = Budget::new(max);
    let config = Pool { pre_ping, min_idle: 1, ..config(3, 2) };
    let worlds = Arc::new(["a", "b"].map(|name| World::sharing(&budget, name, config.clone())));
    let (done, finished) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let control = {
        let (worlds, done) = (Arc::clone(&worlds), Arc::clone(&done));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                while !done.load(Ordering::SeqCst) {
                    for world in worlds.iter() {
                        if maintained {
                            world.pool.maintain(Instant::now());
                        }
                        world.pool.0.state.lock().slots.audit();
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                settle().await;
            });
        })
    };
    let workers: Vec<_> = (0..WORKERS)
        .map(|n| {
            let (worlds, finished) = (Arc::clone(&worlds), Arc::clone(&finished));
            thread::spawn(move || worker(&worlds, n, &finished))
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    done.store(true, Ordering::SeqCst);
    control.join().unwrap();

    for world in worlds.iter() {
        world.audit();
        let snapshot = world.pool.snapshot();
        assert_eq!((snapshot.leased, snapshot.waiting, snapshot.pinned), (0, 0, 0), "{snapshot:?}");
        // A seat is free a moment before its backend is dropped, on each of the threads.
        assert!(world.script.most_live.load(Ordering::SeqCst) <= 5 + WORKERS + 1);
        let state = world.pool.0.state.lock();
        assert_eq!((state.proving, state.pins.taken()), (0, 0));
        drop(state);
        world.pool.close(Instant::now());
        assert_eq!(world.script.live(), 0);
    }
    assert_eq!(budget.held(), 0);
}

#[test]
fn two_workers_on_two_pools_lose_nothing() {
    stress(None, PrePing::Never, true);
}

#[test]
fn two_workers_on_two_pools_lose_nothing_without_maintenance() {
    stress(None, PrePing::Never, false);
}

#[test]
fn two_workers_on_two_pools_with_a_tight_budget_lose_nothing() {
    stress(Some(4), PrePing::Never, false);
}

#[test]
fn two_workers_on_two_pools_with_one_permit_take_turns_and_lose_nothing() {
    stress(Some(1), PrePing::Never, true);
}

#[test]
fn two_workers_on_two_pools_with_pings_before_every_lease_lose_nothing() {
    stress(Some(7), PrePing::Always, false);
}
