//! Pins, and wishes for one certain backend.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, advance, sleep};

use super::fake::{Failure, Gate, World, config, settle};
use crate::config::{Pinning, Pool};
use crate::pool::{BackendId, Budget, LeaseError, PinFault, PinReason, PinReasons, Return, Shortage, Wish};
use crate::stats::Limit;

fn now() -> Instant {
    Instant::now()
}

/// A wish for a lease with a pin.
fn pinned(holder: u64) -> Wish {
    Wish { holder, pin: PinReason::TemporaryObject.into(), ..Wish::default() }
}

fn must(id: BackendId) -> Wish {
    Wish { must: Some(id), ..Wish::default() }
}

const LOCK: PinReason = PinReason::AdvisoryLock;

#[tokio::test(start_paused = true)]
async fn pins_leave_a_backend_for_transactions_and_end_with_their_lease() {
    let world = World::new(config(3, 0));
    let (mut a, mut b, mut c) =
        (world.lease().await.unwrap(), world.lease().await.unwrap(), world.lease().await.unwrap());
    for lease in [&mut a, &mut b] {
        world.pool.try_pin(lease, LOCK.into(), now()).unwrap();
        world.pool.try_pin(lease, PinReason::TemporaryObject.into(), now()).unwrap();
    }
    let Err(PinFault::Exhausted(told)) = world.pool.try_pin(&mut c, LOCK.into(), now()) else {
        panic!("no pin is left")
    };
    assert_eq!((told.limit, told.taken, told.counts.of(LOCK)), (2, 2, 2));
    a.unpin();
    world.pool.try_pin(&mut c, LOCK.into(), now()).unwrap();
    drop(b);
    c.release(Return::NeedsReset, now());
    settle().await;
    let snapshot = world.pool.snapshot();
    assert_eq!((snapshot.pinned, snapshot.pins_total.of(LOCK), snapshot.pins_refused_total), (0, 3, 0));
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_pin_with_a_lease_in_hand_is_served_before_who_has_none() {
    let world = World::new(Pool { max_pinned: Some(1), ..config(4, 0) });
    let keeper = world.lease_for(pinned(1)).await.unwrap();
    let queued = world.pool.wait(&pinned(2), now()).unwrap();
    let (mut a, b) = (world.lease().await.unwrap(), world.lease().await.unwrap());
    let mut first = world.pool.wait_for_pin(&a, LOCK.into(), now());
    let gives_up = world.pool.wait_for_pin(&b, LOCK.into(), now());
    assert_eq!(world.pool.snapshot().waiting_for_pin, 3);
    assert!((&mut first).now_or_never().is_none());
    keeper.release(Return::Clean, now());
    assert!(first.now_or_never().is_some(), "first come, first served");
    a.now_pinned();
    assert_eq!(a.pinned_for(), LOCK.into());
    a.release(Return::Clean, now());
    // Granted, and never taken.
    drop(gives_up);
    assert!(queued.await.unwrap().is_pinned());
    b.release(Return::Clean, now());
    let snapshot = world.pool.snapshot();
    assert_eq!((snapshot.pinned, snapshot.waiting_for_pin), (0, 0));
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn a_pin_lasts_as_long_as_one_of_its_reasons() {
    let world = World::new(config(2, 0));
    let mut lease = world.lease_for(pinned(7)).await.unwrap();
    world.pool.try_pin(&mut lease, LOCK.into(), now()).unwrap();
    lease.keep_for(PinReasons::from(LOCK) | PinReason::Listening.into());
    assert_eq!((lease.pinned_for(), lease.is_pinned()), (LOCK.into(), true));
    lease.keep_for(PinReason::Listening.into());
    assert_eq!((lease.pinned_for(), lease.is_pinned(), world.pool.snapshot().pinned), (PinReasons::NONE, false, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_pin_holds_no_backend_and_is_in_nobodys_way() {
    let world = World::new(config(2, 0));
    let keeper = world.lease_for(pinned(1)).await.unwrap();
    let mut first = world.pool.wait(&pinned(2), now()).unwrap();
    advance(Duration::from_millis(1)).await;
    let mut second = world.pool.wait(&pinned(3), now()).unwrap();
    for _ in 0..3 {
        world.lease().await.unwrap().release(Return::Clean, now());
        assert!((&mut first).now_or_never().is_none());
    }
    let snapshot = world.pool.snapshot();
    assert_eq!((snapshot.waiting_for_pin, snapshot.pinned, snapshot.idle), (2, 1, 1));
    keeper.release(Return::Clean, now());
    let lease = first.now_or_never().expect("first come, first served").unwrap();
    assert!(lease.is_pinned() && (&mut second).now_or_never().is_none());
    drop(lease);
    assert!(second.await.unwrap().is_pinned());
}

#[tokio::test(start_paused = true)]
async fn a_pin_that_is_given_up_serves_the_next_who_waits_for_one() {
    let world = World::new(config(2, 0));
    let mut keeper = world.lease_for(pinned(1)).await.unwrap();
    let next = world.pool.wait(&pinned(2), now()).unwrap();
    keeper.unpin();
    assert!(next.await.unwrap().is_pinned());
}

#[tokio::test(start_paused = true)]
async fn a_promised_pin_of_one_who_leaves_goes_to_the_next() {
    let world = World::new(config(2, 0));
    *world.script.connect.lock() = Gate::Never;
    let promised = world.pool.wait(&pinned(1), now()).unwrap();
    let next = world.pool.wait(&pinned(2), now()).unwrap();
    assert_eq!(world.pool.snapshot().waiting_for_pin, 1);
    drop(promised);
    assert_eq!(world.pool.snapshot().waiting_for_pin, 0);
    drop(next);
    assert_eq!(world.pool.0.state.lock().pins.taken(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pinned_backend_that_was_handed_to_one_who_just_left_is_pinned_no_more() {
    let world = World::new(config(2, 0));
    let (one, two) = (world.lease().await.unwrap(), world.lease().await.unwrap());
    let leaving = world.pool.wait(&pinned(1), now()).unwrap();
    let next = world.pool.wait(&pinned(2), now()).unwrap();
    one.release(Return::Clean, now());
    assert_eq!(world.pool.snapshot().pinned, 1);
    drop(leaving);
    let lease = next.now_or_never().expect("the backend and the pin go on together").unwrap();
    assert!(lease.is_pinned());
    assert_eq!((world.pool.snapshot().pinned, world.script.attempts()), (1, 2));
    lease.release(Return::Clean, now());
    two.release(Return::Clean, now());
    assert_eq!(world.pool.0.state.lock().pins.taken(), 0);
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_for_a_pin_in_vain_learns_who_holds_them_and_for_what() {
    let world = World::new(config(2, 0));
    let _keeper = world.lease_for(pinned(71)).await.unwrap();
    let mut waiting = world.pool.wait(&pinned(72), now()).unwrap();
    sleep(Duration::from_secs(30)).await;
    assert!((&mut waiting).now_or_never().is_none());
    let Shortage::Pins(told) = waiting.give_up(now()) else { panic!("pins were short") };
    let longest = told.longest.unwrap();
    assert_eq!((longest.holder, longest.reasons), (71, PinReason::TemporaryObject.into()));
    assert!(longest.held >= Duration::from_secs(30));
    assert_eq!(world.limit_hits.counts().of(Limit::MaxPinned), 1);
    assert_eq!((told.waiting, world.pool.snapshot().timeouts_total, world.pool.snapshot().waiting), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_denies_pins_refuses_them_at_once() {
    let world = World::new(Pool { pin: Pinning::Deny, ..config(2, 0) });
    assert!(world.pool.try_lease(&pinned(1), now()).is_none());
    assert_eq!(world.pool.wait(&pinned(1), now()).unwrap_err(), LeaseError::Pin(PinFault::Denied));
    let mut lease = world.lease().await.unwrap();
    assert_eq!(world.pool.try_pin(&mut lease, LOCK.into(), now()), Err(PinFault::Denied));
    assert_eq!(world.pool.snapshot().pins_refused_total, 2);
    world.pool.reconfigure(Pool { max_pinned: Some(0), ..config(2, 0) }, now());
    assert!(matches!(world.pool.wait(&pinned(1), now()), Err(LeaseError::Pin(PinFault::Exhausted(_)))));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_pin_when_they_become_denied_is_told_so() {
    let world = World::new(config(2, 0));
    let _keeper = world.lease_for(pinned(1)).await.unwrap();
    let waiting = world.pool.wait(&pinned(2), now()).unwrap();
    world.pool.reconfigure(Pool { pin: Pinning::Deny, ..config(2, 0) }, now());
    assert_eq!(waiting.now_or_never().unwrap().unwrap_err(), LeaseError::Pin(PinFault::Denied));
}

#[tokio::test(start_paused = true)]
async fn a_higher_limit_serves_who_waits_for_a_pin() {
    let world = World::new(config(2, 0));
    let _keeper = world.lease_for(pinned(1)).await.unwrap();
    let waiting = world.pool.wait(&pinned(2), now()).unwrap();
    world.pool.reconfigure(config(3, 0), now());
    assert!(waiting.await.unwrap().is_pinned());
}

#[tokio::test(start_paused = true)]
async fn a_cap_over_all_pools_bounds_pins_too() {
    let world = World::sharing(&Budget::new(Some(2)), "db", config(9, 9));
    let _keeper = world.lease_for(pinned(1)).await.unwrap();
    let waiting = world.pool.wait(&pinned(2), now()).unwrap();
    settle().await;
    assert!(waiting.now_or_never().is_none());
    world.lease().await.unwrap().release(Return::Clean, now());
}

#[tokio::test(start_paused = true)]
async fn a_broken_backend_costs_its_waiter_neither_its_pin_nor_its_place() {
    let world = World::new(config(2, 0));
    let mut broken = world.lease().await.unwrap();
    let other = world.lease().await.unwrap();
    let first = world.pool.wait(&pinned(1), now()).unwrap();
    advance(Duration::from_millis(1)).await;
    let mut second = world.pool.wait(&pinned(2), now()).unwrap();
    broken.dead = true;
    broken.release(Return::Clean, now());
    let lease = first.await.unwrap();
    assert!(lease.is_pinned() && (&mut second).now_or_never().is_none());
    assert_eq!(world.pool.0.state.lock().pins.taken(), 1);
    drop((lease, other, second));
    assert_eq!(world.pool.0.state.lock().pins.taken(), 0);
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn one_certain_backend_is_leased_at_once_when_it_is_idle_even_from_another_worker() {
    let world = World::new(config(2, 0));
    let (one, two) = (world.lease().await.unwrap(), world.lease().await.unwrap());
    let (id, other) = (one.id(), two.id());
    one.release(Return::Clean, now());
    two.release(Return::Clean, now());
    let far = world.pool.try_lease(&Wish { worker: 1, ..must(id) }, now()).unwrap();
    assert_eq!(far.id(), id);
    assert!(world.pool.try_lease(&must(id), now()).is_none(), "another will not do");
    assert_eq!(world.pool.try_lease(&must(other), now()).unwrap().id(), other);
}

#[tokio::test(start_paused = true)]
async fn one_certain_backend_is_waited_for_until_just_that_one_is_free() {
    let world = World::new(config(2, 0));
    let (one, two) = (world.lease().await.unwrap(), world.lease().await.unwrap());
    let id = one.id();
    let mut waiting = world.pool.wait(&must(id), now()).unwrap();
    two.release(Return::Clean, now());
    settle().await;
    assert!((&mut waiting).now_or_never().is_none());
    assert_eq!(world.pool.snapshot().idle, 1);
    one.release(Return::Clean, now());
    assert_eq!(waiting.now_or_never().unwrap().unwrap().id(), id);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_backend_that_is_closed_is_told_at_once() {
    let world = World::new(config(2, 0));
    let lease = world.lease().await.unwrap();
    let id = lease.id();
    let waiting = world.pool.wait(&must(id), now()).unwrap();
    drop(lease);
    assert_eq!(waiting.now_or_never().unwrap().unwrap_err(), LeaseError::BackendGone);
    assert_eq!(world.pool.wait(&must(id), now()).unwrap_err(), LeaseError::BackendGone);
    assert_eq!(world.lease_for(must(id)).await.unwrap_err(), Failure::Error(LeaseError::BackendGone));
}

#[tokio::test(start_paused = true)]
async fn a_retired_backend_is_not_kept_for_those_who_want_it() {
    let world = World::new(config(2, 0));
    let lease = world.lease().await.unwrap();
    let waiting = world.pool.wait(&must(lease.id()), now()).unwrap();
    world.pool.retire_all(now());
    lease.release(Return::Clean, now());
    assert_eq!(waiting.now_or_never().unwrap().unwrap_err(), LeaseError::BackendGone);
}

#[tokio::test(start_paused = true)]
async fn one_certain_backend_that_was_idle_for_long_is_pinged_first() {
    let world = World::new(config(1, 0));
    let lease = world.lease().await.unwrap();
    let id = lease.id();
    lease.release(Return::Clean, now());
    advance(Duration::from_secs(31)).await;
    let lease = world.lease_for(must(id)).await.unwrap();
    assert_eq!((lease.id(), world.script.pings.load(std::sync::atomic::Ordering::SeqCst)), (id, 1));
    lease.release(Return::Clean, now());
    advance(Duration::from_secs(31)).await;
    *world.script.ping.lock() = Gate::Err;
    assert_eq!(world.lease_for(must(id)).await.unwrap_err(), Failure::Error(LeaseError::BackendGone));
    world.audit();
}

#[tokio::test(start_paused = true)]
async fn a_ping_for_one_certain_backend_keeps_nobody_else_from_being_served() {
    let world = World::new(config(2, 0));
    let lease = world.lease().await.unwrap();
    let id = lease.id();
    lease.release(Return::Clean, now());
    advance(Duration::from_secs(31)).await;
    *world.script.ping.lock() = Gate::Never;
    let _waiting = world.pool.wait(&must(id), now()).unwrap();
    let asked = now();
    world.lease().await.unwrap().release(Return::Clean, now());
    assert_eq!(now(), asked);
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_for_a_certain_backend_in_vain_learns_who_holds_it() {
    let world = World::new(config(1, 0));
    let lease = world.lease_for(Wish { holder: 5, ..Wish::default() }).await.unwrap();
    let id = lease.id();
    let waiting = world.pool.wait(&must(id), now()).unwrap();
    assert_eq!(waiting.give_up(now()), Shortage::One { id, holder: 5 });
}
