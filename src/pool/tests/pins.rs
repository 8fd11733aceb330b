use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::fake::backends;
use crate::pool::pins::{Pin, PinReason, PinReasons, Pins, PinsExhausted};

fn pin(reasons: PinReasons, holder: u64, since: Instant) -> Pin {
    Pin { reasons, holder, since }
}

#[test]
fn who_is_refused_a_pin_reads_who_holds_them_and_what_for() {
    let (now, ids) = (Instant::now(), backends(2));
    let mut pins = Pins::default();
    let both = PinReasons::from(PinReason::TemporaryObject) | PinReason::AdvisoryLock.into();
    assert!(pins.add(ids[0], pin(both, 71, now), 2));
    assert!(pins.add(ids[1], pin(PinReason::TemporaryObject.into(), 72, now + Duration::from_secs(3)), 2));
    let told = PinsExhausted {
        limit: 2,
        taken: pins.taken(),
        waiting: 1,
        counts: pins.counts(),
        longest: pins.longest(now + Duration::from_secs(12)),
    };
    assert_eq!(
        told.to_string(),
        "Pinned sessions: 2 (1 for session advisory locks and 2 for temporary objects); pool.max_pinned allows 2; \
         longest, for 12.0s, the client with process id 71 for session advisory locks and temporary objects; waiting \
         for a pin: 1."
    );
}

#[test]
fn a_set_of_reasons_holds_what_was_put_in() {
    let all: PinReasons = PinReason::ALL.into_iter().collect();
    assert_eq!(all.iter().collect::<Vec<_>>(), PinReason::ALL);
    let some = all.without(PinReason::Setting.into());
    assert!(!some.contains(PinReason::Setting) && some.contains(PinReason::Unknown));
    assert!(PinReasons::NONE.is_empty() && PinReasons::NONE.iter().next().is_none());
}

#[derive(Debug, Clone)]
enum Step {
    Add { which: usize, reason: usize },
    End(usize),
    Keep(usize),
    Leave { which: usize, reason: Option<usize> },
    Promise,
    PromiseAgain(usize),
    Unpromise,
}

fn step() -> impl Strategy<Value = Step> {
    let (which, reason) = (0..6_usize, 0..PinReason::ALL.len());
    prop_oneof![
        4 => (which.clone(), reason.clone()).prop_map(|(which, reason)| Step::Add { which, reason }),
        2 => which.clone().prop_map(Step::End),
        2 => which.clone().prop_map(Step::Keep),
        2 => (which.clone(), prop::option::of(reason)).prop_map(|(which, reason)| Step::Leave { which, reason }),
        3 => Just(Step::Promise),
        1 => which.prop_map(Step::PromiseAgain),
        2 => Just(Step::Unpromise),
    ]
}

proptest! {
    #[test]
    fn pins_and_promises_never_exceed_the_limit_and_are_counted_once(
        limit in 0..5_usize,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let (now, ids) = (Instant::now(), backends(6));
        let (mut pins, mut held, mut promised) = (Pins::default(), HashMap::<usize, PinReasons>::new(), 0);
        for step in steps {
            let free = held.len() + promised < limit;
            match step {
                Step::Add { which, reason } => {
                    let reasons = PinReasons::from(PinReason::ALL[reason]);
                    let known = held.get(&which).copied();
                    prop_assert_eq!(pins.add(ids[which], pin(reasons, 1, now), limit), free || known.is_some());
                    if free || known.is_some() {
                        held.insert(which, known.unwrap_or_default() | reasons);
                    }
                }
                Step::End(which) => prop_assert_eq!(pins.end(ids[which]), held.remove(&which).is_some()),
                Step::Keep(which) if promised > 0 && !held.contains_key(&which) => {
                    pins.keep_promise(ids[which], pin(PinReason::Unknown.into(), 1, now));
                    held.insert(which, PinReason::Unknown.into());
                    promised -= 1;
                }
                Step::Leave { which, reason } => {
                    let reasons = reason.map_or(PinReasons::NONE, |reason| PinReason::ALL[reason].into());
                    let ended = pins.leave(ids[which], reasons);
                    let left = held.get(&which).map(|known| known.and(reasons));
                    prop_assert_eq!(ended, left.is_some_and(PinReasons::is_empty));
                    held.remove(&which);
                    if let Some(left) = left.filter(|left| !left.is_empty()) {
                        held.insert(which, left);
                    }
                }
                Step::Promise => {
                    prop_assert_eq!(pins.promise(limit), free);
                    promised += usize::from(free);
                }
                Step::PromiseAgain(which) => {
                    pins.promise_again(ids[which]);
                    promised += usize::from(held.remove(&which).is_some());
                }
                Step::Unpromise if promised > 0 => {
                    pins.unpromise();
                    promised -= 1;
                }
                Step::Keep(_) | Step::Unpromise => {}
            }
            prop_assert_eq!((pins.held(), pins.taken()), (held.len(), held.len() + promised));
            prop_assert!(pins.taken() <= limit);
            for reason in PinReason::ALL {
                let expected = held.values().filter(|reasons| reasons.contains(reason)).count();
                prop_assert_eq!(pins.counts().of(reason), expected as u64);
            }
        }
    }
}
