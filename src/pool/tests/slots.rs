use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use crate::config::PrePing;
use crate::pool::Wish;
use crate::pool::recycle::RecyclePolicy;
use crate::pool::slots::{BackendId, Home, SeatLimits, Slots};

const POLICY: RecyclePolicy = RecyclePolicy {
    recycle: Some(Duration::from_secs(3600)),
    idle_timeout: Some(Duration::from_secs(600)),
    pre_ping: PrePing::Never,
};

/// Slots with one leased backend for each of `homes`; a backend is the number of its opening.
fn leased(homes: &[Home], limits: SeatLimits, now: Instant) -> (Slots<usize>, Vec<BackendId>) {
    let mut slots = Slots::new(limits);
    let open = |home: &Home| {
        let id = slots.reserve(*home, now).unwrap();
        assert!(slots.connected(id, now, &POLICY));
        id
    };
    let ids = homes.iter().map(open).collect();
    (slots, ids)
}

fn limits(size: usize, max_overflow: usize, min_idle: usize) -> SeatLimits {
    SeatLimits { size, max_overflow, min_idle }
}

#[test]
fn a_wish_gets_its_last_backend_then_one_with_its_settings_then_the_most_recent() {
    let now = Instant::now();
    let (mut slots, ids) = leased(&[Some(0); 4], limits(9, 0, 0), now);
    for (n, id) in ids.iter().enumerate() {
        slots.park(*id, n, n, now + Duration::from_secs(n as u64)).unwrap();
    }
    let mut take = |wish: Wish| slots.take(Some(0), &wish, now, |_| true).unwrap().backend;
    assert_eq!(take(Wish { last_backend: Some(ids[1]), profile: 2, ..Wish::default() }), 1);
    assert_eq!(take(Wish { last_backend: Some(ids[1]), profile: 2, ..Wish::default() }), 2);
    assert_eq!(take(Wish { profile: 77, ..Wish::default() }), 3);
    assert_eq!(take(Wish { profile: 77, ..Wish::default() }), 0);
}

#[test]
fn a_worker_takes_its_own_backend_before_anothers_even_if_that_was_its_last() {
    let now = Instant::now();
    let (mut slots, ids) = leased(&[Some(0), Some(1), Some(1)], limits(9, 0, 0), now);
    for (n, id) in ids.iter().enumerate() {
        slots.park(*id, n, 0, now).unwrap();
    }
    let wish = Wish { last_backend: Some(ids[1]), ..Wish::default() };
    let own = slots.take(Some(0), &wish, now, |_| true).unwrap();
    assert_eq!((own.backend, own.from), (0, Some(0)));
    let stolen = slots.take(Some(0), &wish, now, |_| true).unwrap();
    assert_eq!((stolen.backend, stolen.from), (1, Some(1)));
}

#[test]
fn a_worker_whose_own_backends_are_stale_takes_a_fresh_one_elsewhere() {
    let now = Instant::now();
    let (mut slots, ids) = leased(&[Some(0), Some(1)], limits(9, 0, 0), now);
    slots.park(ids[0], 0, 0, now).unwrap();
    slots.park(ids[1], 1, 0, now + Duration::from_secs(9)).unwrap();
    let fresh = |since: Instant| since > now + Duration::from_secs(5);
    let wish = Wish { last_backend: Some(ids[0]), ..Wish::default() };
    assert_eq!(slots.take(Some(0), &wish, now, fresh).unwrap().backend, 1);
    assert!(slots.take(Some(0), &wish, now, fresh).is_none());
}

#[test]
fn ages_are_spread_by_a_tenth_to_each_side_and_never_more() {
    let born = Instant::now();
    let (_, ids) = leased(&[None; 200], limits(200, 0, 0), born);
    let ages: Vec<_> = ids.iter().map(|id| POLICY.expiry(*id, born).unwrap() - born).collect();
    let (least, most) = (*ages.iter().min().unwrap(), *ages.iter().max().unwrap());
    assert!(least >= Duration::from_secs(3240) && most <= Duration::from_secs(3960), "{least:?} {most:?}");
    assert!(most - least > Duration::from_secs(500), "{least:?} {most:?}");
}

#[test]
fn idle_backends_are_closed_after_their_time_but_for_those_to_be_kept() {
    let now = Instant::now();
    let (mut slots, ids) = leased(&[Some(0); 5], limits(9, 0, 2), now);
    for (n, id) in ids.iter().enumerate() {
        slots.park(*id, n, 0, now).unwrap();
    }
    let mut closed = 0;
    slots.sweep(now + Duration::from_secs(599), &POLICY, |_| closed += 1);
    assert_eq!(closed, 0);
    slots.sweep(now + Duration::from_secs(600), &POLICY, |_| closed += 1);
    assert_eq!((closed, slots.idle()), (3, 2));
    slots.sweep(now + Duration::from_secs(4000), &POLICY, |_| closed += 1);
    assert_eq!((closed, slots.idle()), (5, 0), "age spares nobody");
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(Option<usize>),
    Connected(prop::sample::Index),
    ConnectFailed(prop::sample::Index),
    Take { worker: usize, last: prop::sample::Index, profile: usize },
    Park { which: prop::sample::Index, profile: usize },
    PassOn(prop::sample::Index, usize),
    Close(prop::sample::Index),
    Evict,
    Retire,
    RetireLeased,
    Limits(usize, usize, usize),
    Sweep { after: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => prop::option::of(0..3_usize).prop_map(Step::Reserve),
        6 => index().prop_map(Step::Connected),
        1 => index().prop_map(Step::ConnectFailed),
        6 => (0..3_usize, index(), 0..3_usize).prop_map(|(worker, last, profile)| Step::Take { worker, last, profile }),
        8 => (index(), 0..3_usize).prop_map(|(which, profile)| Step::Park { which, profile }),
        2 => (index(), 0..3_usize).prop_map(|(which, worker)| Step::PassOn(which, worker)),
        2 => index().prop_map(Step::Close),
        1 => Just(Step::Evict),
        1 => Just(Step::Retire),
        1 => Just(Step::RetireLeased),
        1 => (1..6_usize, 0..4_usize, 0..3_usize).prop_map(|(s, o, m)| Step::Limits(s, o, m)),
        1 => (0..2000_u64).prop_map(|after| Step::Sweep { after }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Naive {
    Connecting,
    Leased { born: Instant, retired: bool },
    Idle { since: Instant, born: Instant, home: Home },
}

/// What is known of each backend, written down as plainly as possible.
#[derive(Default)]
struct Model {
    seats: HashMap<BackendId, Naive>,
    homes: HashMap<BackendId, Home>,
    retired_connects: Vec<BackendId>,
}

impl Model {
    fn pick(&self, index: &prop::sample::Index, is: impl Fn(&Naive) -> bool) -> Option<BackendId> {
        let mut ids: Vec<_> = self.seats.iter().filter(|(_, naive)| is(naive)).map(|(id, _)| *id).collect();
        ids.sort();
        (!ids.is_empty()).then(|| *index.get(&ids))
    }

    fn count(&self, is: impl Fn(&Naive) -> bool) -> usize {
        self.seats.values().filter(|naive| is(naive)).count()
    }
}

fn is_leased(naive: &Naive) -> bool {
    matches!(naive, Naive::Leased { .. })
}

fn is_idle(naive: &Naive) -> bool {
    matches!(naive, Naive::Idle { .. })
}

fn apply(step: &Step, slots: &mut Slots<BackendId>, model: &mut Model, now: &mut Instant) {
    match step {
        Step::Reserve(home) => {
            let before = slots.taken();
            match slots.reserve(*home, *now) {
                Some(id) => {
                    assert!(before < slots.limits().ceiling(), "never more than size and overflow");
                    assert_eq!(model.seats.insert(id, Naive::Connecting), None, "an id is used once");
                    model.homes.insert(id, *home);
                }
                None => assert!(before >= slots.limits().ceiling()),
            }
        }
        Step::Connected(index) => {
            let Some(id) = model.pick(index, |n| *n == Naive::Connecting) else { return };
            assert!(slots.connected(id, *now, &POLICY));
            let retired = model.retired_connects.contains(&id);
            model.seats.insert(id, Naive::Leased { born: *now, retired });
        }
        Step::ConnectFailed(index) => {
            let Some(id) = model.pick(index, |n| *n == Naive::Connecting) else { return };
            assert_eq!(slots.vacate(id), (true, None));
            model.seats.remove(&id);
        }
        other => apply_to_backends(other, slots, model, now),
    }
}

fn apply_to_backends(step: &Step, slots: &mut Slots<BackendId>, model: &mut Model, now: &mut Instant) {
    match step {
        Step::Take { worker, last, profile } => take(slots, model, *now, (*worker, last, *profile)),
        Step::Park { which, profile } => {
            let Some(id) = model.pick(which, is_leased) else { return };
            let Naive::Leased { born, retired } = model.seats[&id] else { return };
            let old = POLICY.expiry(id, born).is_some_and(|at| at <= *now);
            let crowded = slots.taken() > slots.limits().size;
            assert_eq!(slots.keeps(id, false, *now), !(old || retired || crowded));
            if slots.keeps(id, false, *now) {
                slots.park(id, id, *profile, *now).unwrap();
                model.seats.insert(id, Naive::Idle { since: *now, born, home: model.homes[&id] });
            }
        }
        Step::PassOn(which, worker) => {
            let Some(id) = model.pick(which, is_leased) else { return };
            let from = slots.pass_on(id, &Wish { worker: *worker, ..Wish::default() }, *now);
            assert_eq!(model.homes.insert(id, Some(*worker)), Some(from));
        }
        Step::Close(index) => {
            let Some(id) = model.pick(index, |n| *n != Naive::Connecting) else { return };
            let idle = is_idle(&model.seats[&id]);
            assert_eq!(slots.vacate(id), (true, idle.then_some(id)));
            assert_eq!(slots.vacate(id), (false, None), "a seat is freed once");
            model.seats.remove(&id);
        }
        other => apply_to_all(other, slots, model, now),
    }
}

fn apply_to_all(step: &Step, slots: &mut Slots<BackendId>, model: &mut Model, now: &mut Instant) {
    match step {
        Step::Evict => {
            let oldest = model
                .seats
                .values()
                .filter_map(|n| if let Naive::Idle { since, .. } = n { Some(*since) } else { None });
            let oldest = oldest.min();
            let evicted = slots.evict_oldest(None).and_then(|id| model.seats.remove(&id));
            assert_eq!(
                evicted.map(|n| if let Naive::Idle { since, .. } = n { since } else { panic!("was not idle") }),
                oldest
            );
        }
        Step::Retire => {
            slots.retire();
            slots.sweep(*now, &POLICY, |id| assert!(is_idle(&model.seats.remove(&id).unwrap())));
            assert_eq!(slots.idle(), 0);
            for (id, naive) in &mut model.seats {
                match naive {
                    Naive::Leased { retired, .. } => *retired = true,
                    _ => model.retired_connects.push(*id),
                }
            }
        }
        Step::RetireLeased => {
            slots.retire_leased();
            for naive in model.seats.values_mut() {
                if let Naive::Leased { retired, .. } = naive {
                    *retired = true;
                }
            }
        }
        Step::Limits(size, overflow, min_idle) => slots.set_limits(limits(*size, *overflow, *min_idle)),
        Step::Sweep { after } => {
            *now += Duration::from_secs(*after);
            slots.sweep(*now, &POLICY, |id| assert!(is_idle(&model.seats.remove(&id).unwrap())));
            assert!(slots.taken() <= slots.limits().size || slots.idle() == 0, "no idle backend beyond size");
            for (id, naive) in &model.seats {
                let Naive::Idle { since, born, .. } = naive else { continue };
                assert!(POLICY.expiry(*id, *born).is_some_and(|at| *now < at), "no idle backend beyond its age");
                assert!(slots.spare() == 0 || !POLICY.idle_too_long(*since, *now), "none idle too long");
            }
        }
        other => panic!("{other:?} was to be applied before"),
    }
}

fn take(slots: &mut Slots<BackendId>, model: &mut Model, now: Instant, wish: (usize, &prop::sample::Index, usize)) {
    let (worker, last, profile) = wish;
    let last_backend = model.pick(last, |_| true);
    let wish = Wish { worker, last_backend, profile, ..Wish::default() };
    let Some(taken) = slots.take(Some(worker), &wish, now, |_| true) else {
        assert_eq!(model.count(is_idle), 0, "an idle backend is never withheld");
        return;
    };
    assert_eq!(taken.backend, taken.id, "a seat gives its own backend");
    let Some(Naive::Idle { born, home, .. }) = model.seats.get(&taken.id).copied() else { panic!("was not idle") };
    assert_eq!(taken.from, home);
    assert_eq!(taken.expired, POLICY.expiry(taken.id, born).is_some_and(|at| at <= now));
    let at_home = |n: &Naive| matches!(n, Naive::Idle { home, .. } if *home == Some(worker));
    assert!(home == Some(worker) || model.count(at_home) == 0, "own backends first");
    if let Some(last) = last_backend.filter(|last| at_home(&model.seats[last])) {
        assert_eq!(taken.id, last, "the last one first");
    }
    model.homes.insert(taken.id, Some(worker));
    model.seats.insert(taken.id, Naive::Leased { born, retired: false });
}

proptest! {
    #[test]
    fn slots_agree_with_a_naive_model_after_every_step(steps in prop::collection::vec(step(), 1..200)) {
        let mut now = Instant::now();
        let (mut slots, mut model) = (Slots::new(limits(4, 2, 1)), Model::default());
        for step in &steps {
            now += Duration::from_micros(1);
            apply(step, &mut slots, &mut model, &mut now);
            slots.audit();
            prop_assert_eq!(slots.connecting(), model.count(|n| *n == Naive::Connecting));
            prop_assert_eq!(slots.idle(), model.count(is_idle));
            prop_assert_eq!(slots.leased(), model.count(is_leased));
            prop_assert!(slots.shortfall(0) <= slots.limits().min_idle);
        }
    }
}
