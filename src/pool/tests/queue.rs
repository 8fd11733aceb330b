use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use crate::pool::queue::{PREFERENCE, Queue, Ticket};

const MS: Duration = Duration::from_millis(1);

#[test]
fn waiters_of_one_class_are_called_in_the_order_they_came() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for n in 0..5 {
        queue.join(n as usize % 2, 0, now + MS * n, n);
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.call(None).and_then(|ticket| queue.leave(ticket))).collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[test]
fn a_worker_prefers_its_own_waiter_by_at_most_five_milliseconds() {
    for (later, called) in [(5, "own"), (6, "first")] {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.join(1, 0, now, "first");
        queue.join(0, 0, now + MS * later, "own");
        let ticket = queue.call(Some(0)).unwrap();
        assert_eq!(queue.leave(ticket), Some(called));
    }
}

#[test]
fn a_higher_class_goes_first_until_a_lower_one_has_waited_a_second_longer() {
    for (ahead, called) in [(999, "high"), (1001, "low")] {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.join(0, 3, now, "low");
        queue.join(0, 4, now + MS * ahead, "high");
        let ticket = queue.call(Some(0)).unwrap();
        assert_eq!(queue.leave(ticket), Some(called));
    }
}

#[test]
fn one_who_was_called_in_vain_gets_its_old_place() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for n in 0..4 {
        queue.join(0, 0, now + MS * n, n);
    }
    let tickets: Vec<_> = (0..2).map(|_| queue.call(None).unwrap()).collect();
    for ticket in tickets {
        let n = queue.leave(ticket).unwrap();
        queue.join(0, 0, now + MS * n, n);
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.call(None).and_then(|ticket| queue.leave(ticket))).collect();
    assert_eq!(order, [0, 1, 2, 3]);
}

#[test]
fn a_ticket_is_worth_nothing_once_its_waiter_left() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let old = queue.join(0, 0, now, "old");
    assert_eq!(queue.leave(old), Some("old"));
    let new = queue.join(0, 0, now, "new");
    assert_eq!((queue.leave(old), queue.waiter_mut(old)), (None, None));
    assert_eq!((queue.waiting(), queue.leave(new)), (1, Some("new")));
}

#[test]
fn nobody_starves_while_others_of_any_class_keep_coming() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    queue.join(1, 0, start, "patient");
    let mut overtaken = Duration::ZERO;
    for tick in 1.. {
        let now = start + MS * 100 * tick;
        queue.join(0, 255, now, "newcomer");
        let ticket = queue.call(Some(0)).unwrap();
        if queue.leave(ticket) == Some("patient") {
            break;
        }
        overtaken = now - start;
    }
    assert!(overtaken <= Duration::from_secs(256), "{overtaken:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Join { worker: usize, priority: u8, after: u64 },
    Call(Option<usize>),
    Leave(prop::sample::Index),
    Rejoin(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        5 => (0..3_usize, 0..3_u8, 1..3_000_000_u64)
            .prop_map(|(worker, priority, after)| Step::Join { worker, priority, after }),
        4 => prop::option::of(0..3_usize).prop_map(Step::Call),
        2 => index().prop_map(Step::Leave),
        1 => index().prop_map(Step::Rejoin),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Naive {
    ticket: Ticket,
    worker: usize,
    priority: u8,
    /// Microseconds since the start.
    arrived: u64,
    called: bool,
}

impl Naive {
    fn rank(&self) -> i64 {
        self.arrived as i64 - i64::from(self.priority) * 1_000_000
    }
}

fn expected(model: &[Naive], worker: Option<usize>) -> Option<i64> {
    let first = model.iter().filter(|n| !n.called).map(Naive::rank).min()?;
    let own = model.iter().filter(|n| !n.called && Some(n.worker) == worker).map(Naive::rank).min();
    Some(own.filter(|own| own - first <= PREFERENCE.as_micros() as i64).unwrap_or(first))
}

proptest! {
    #[test]
    fn the_queue_agrees_with_a_naive_model_and_loses_nobody(steps in prop::collection::vec(step(), 1..200)) {
        let start = Instant::now();
        let (mut queue, mut model, mut clock) = (Queue::default(), Vec::<Naive>::new(), 0_u64);
        for step in steps {
            match step {
                Step::Join { worker, priority, after } => {
                    clock += after;
                    let ticket = queue.join(worker, priority, start + Duration::from_micros(clock), clock);
                    model.push(Naive { ticket, worker, priority, arrived: clock, called: false });
                }
                Step::Call(worker) => {
                    let expected = expected(&model, worker);
                    let called = queue.call(worker);
                    prop_assert_eq!(called.is_some(), expected.is_some());
                    let Some(ticket) = called else { continue };
                    let naive = model.iter_mut().find(|n| n.ticket == ticket && !n.called).unwrap();
                    prop_assert_eq!(Some(naive.rank()), expected);
                    naive.called = true;
                }
                Step::Leave(index) if !model.is_empty() => {
                    let naive = model.swap_remove(index.index(model.len()));
                    prop_assert_eq!(queue.leave(naive.ticket), Some(naive.arrived));
                    prop_assert_eq!(queue.leave(naive.ticket), None);
                }
                Step::Rejoin(index) if !model.is_empty() => {
                    let at = index.index(model.len());
                    let naive = &mut model[at];
                    let arrived = queue.leave(naive.ticket).unwrap();
                    let moment = start + Duration::from_micros(arrived);
                    naive.ticket = queue.join(naive.worker, naive.priority, moment, arrived);
                    naive.called = false;
                }
                Step::Leave(_) | Step::Rejoin(_) => {}
            }
            let waiting: Vec<_> = model.iter().filter(|n| !n.called).collect();
            prop_assert_eq!(queue.waiting(), waiting.len());
            let oldest = waiting.iter().map(|n| start + Duration::from_micros(n.arrived)).min();
            prop_assert!(oldest.is_none() || queue.oldest() >= oldest);
        }
        while let Some(ticket) = queue.call(None) {
            let at = model.iter().position(|n| n.ticket == ticket && !n.called).unwrap();
            model.swap_remove(at);
        }
        prop_assert!(model.iter().all(|n| n.called), "everybody is called in the end");
    }
}
