use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::fake::backends;
use crate::pool::queue::{Claim, Line, PREFERENCE, Queue, Ticket};
use crate::pool::slots::BackendId;

const MS: Duration = Duration::from_millis(1);

fn join<T>(queue: &mut Queue<T>, worker: usize, priority: u8, arrived: Instant, waiter: T) -> Ticket {
    queue.join(Line::Any, Claim { worker, priority, arrived }, waiter)
}

#[test]
fn waiters_of_one_class_are_called_in_the_order_they_came() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for n in 0..5 {
        join(&mut queue, n as usize % 2, 0, now + MS * n, n);
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.call(None).and_then(|ticket| queue.leave(ticket))).collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[test]
fn a_worker_prefers_its_own_waiter_by_at_most_five_milliseconds() {
    for (later, called) in [(5, "own"), (6, "first")] {
        let (mut queue, now) = (Queue::default(), Instant::now());
        join(&mut queue, 1, 0, now, "first");
        join(&mut queue, 0, 0, now + MS * later, "own");
        let ticket = queue.call(Some(0)).unwrap();
        assert_eq!(queue.leave(ticket), Some(called));
    }
}

#[test]
fn a_higher_class_goes_first_until_a_lower_one_has_waited_a_second_longer() {
    for (ahead, called) in [(999, "high"), (1001, "low")] {
        let (mut queue, now) = (Queue::default(), Instant::now());
        join(&mut queue, 0, 3, now, "low");
        join(&mut queue, 0, 4, now + MS * ahead, "high");
        let ticket = queue.call(Some(0)).unwrap();
        assert_eq!(queue.leave(ticket), Some(called));
    }
}

#[test]
fn one_who_was_called_in_vain_gets_its_old_place() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for n in 0..4 {
        join(&mut queue, 0, 0, now + MS * n, n);
    }
    let tickets: Vec<_> = (0..2).map(|_| queue.call(None).unwrap()).collect();
    for ticket in tickets {
        let n = queue.leave(ticket).unwrap();
        join(&mut queue, 0, 0, now + MS * n, n);
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.call(None).and_then(|ticket| queue.leave(ticket))).collect();
    assert_eq!(order, [0, 1, 2, 3]);
}

#[test]
fn a_ticket_is_worth_nothing_once_its_waiter_left() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let old = join(&mut queue, 0, 0, now, "old");
    assert_eq!(queue.leave(old), Some("old"));
    let new = join(&mut queue, 0, 0, now, "new");
    assert_eq!((queue.leave(old), queue.waiter_mut(old)), (None, None));
    assert_eq!((queue.waiting(), queue.leave(new)), (1, Some("new")));
}

#[test]
fn what_a_crowd_has_needed_is_given_back_once_nobody_waits() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let crowd: Vec<_> = (0..3000).map(|n| join(&mut queue, 0, 0, now, n)).collect();
    assert!(queue.room() >= 3000);
    for ticket in &crowd {
        assert!(queue.leave(*ticket).is_some());
    }
    assert!(queue.room() <= 256, "{}", queue.room());
    let next = join(&mut queue, 0, 0, now, 3000);
    assert!(crowd.iter().all(|old| queue.waiter_mut(*old).is_none()), "theirs are not its tickets");
    assert_eq!(queue.leave(next), Some(3000));
}

#[test]
fn nobody_starves_while_others_of_any_class_keep_coming() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    join(&mut queue, 1, 0, start, "patient");
    let mut overtaken = Duration::ZERO;
    for tick in 1.. {
        let now = start + MS * 100 * tick;
        join(&mut queue, 0, 255, now, "newcomer");
        let ticket = queue.call(Some(0)).unwrap();
        if queue.leave(ticket) == Some("patient") {
            break;
        }
        overtaken = now - start;
    }
    assert!(overtaken <= Duration::from_secs(256), "{overtaken:?}");
}

#[test]
fn a_backend_that_somebody_waits_for_by_name_goes_to_whoever_came_first() {
    for (later, called) in [(true, "first"), (false, "one")] {
        let (mut queue, now, id) = (Queue::default(), Instant::now(), backends(1)[0]);
        let (first, one) = if later { (now, now + MS) } else { (now + MS, now) };
        join(&mut queue, 0, 0, first, "first");
        queue.join(Line::One(id), Claim { worker: 0, priority: 0, arrived: one }, "one");
        let ticket = queue.call_for(id, Some(0)).unwrap();
        assert_eq!(queue.leave(ticket), Some(called));
    }
}

#[test]
fn who_waits_for_a_pin_is_in_nobodys_way_and_gets_its_place_with_it() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let ticket = queue.join(Line::Pin, Claim { worker: 0, priority: 0, arrived: now }, "pin");
    join(&mut queue, 0, 0, now + MS, "early");
    join(&mut queue, 0, 0, now + MS * 2, "late");
    let early = queue.call(None).unwrap();
    assert_eq!((queue.leave(early), queue.waiting(), queue.aside()), (Some("early"), 1, 1));
    assert!(queue.move_to(ticket, Line::Any));
    let next = queue.call(None).unwrap();
    assert_eq!(queue.leave(next), Some("pin"));
}

#[derive(Debug, Clone)]
enum Step {
    Join { line: usize, worker: usize, priority: u8, after: u64 },
    Call(Option<usize>),
    CallFor(usize, Option<usize>),
    Leave(prop::sample::Index),
    Move(prop::sample::Index, usize),
    Rejoin(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let worker = || prop::option::of(0..3_usize);
    prop_oneof![
        6 => (0..6_usize, 0..3_usize, 0..3_u8, 1..3_000_000_u64)
            .prop_map(|(line, worker, priority, after)| Step::Join { line, worker, priority, after }),
        4 => worker().prop_map(Step::Call),
        3 => (0..2_usize, worker()).prop_map(|(which, worker)| Step::CallFor(which, worker)),
        2 => index().prop_map(Step::Leave),
        2 => (index(), 0..6_usize).prop_map(|(index, line)| Step::Move(index, line)),
        1 => index().prop_map(Step::Rejoin),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Naive {
    ticket: Ticket,
    line: Line,
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

    fn stands(&self, line: Line) -> bool {
        !self.called && self.line == line
    }
}

fn expected(model: &[Naive], worker: Option<usize>) -> Option<i64> {
    let first = model.iter().filter(|n| n.stands(Line::Any)).map(Naive::rank).min()?;
    let own = model.iter().filter(|n| n.stands(Line::Any) && Some(n.worker) == worker).map(Naive::rank).min();
    Some(own.filter(|own| own - first <= PREFERENCE.as_micros() as i64).unwrap_or(first))
}

fn expected_for(model: &[Naive], id: BackendId, worker: Option<usize>) -> Option<i64> {
    let one = model.iter().filter(|n| n.stands(Line::One(id))).map(Naive::rank).min();
    let first = expected(model, None);
    match (one, first) {
        (Some(one), Some(first)) if one > first => expected(model, worker),
        (Some(one), _) => Some(one),
        (None, _) => expected(model, worker),
    }
}

/// The model and what drives it.
struct Both {
    queue: Queue<u64>,
    model: Vec<Naive>,
    start: Instant,
    clock: u64,
    ids: Vec<BackendId>,
}

impl Both {
    fn line(&self, number: usize) -> Line {
        match number {
            0 => Line::Pin,
            1 | 2 => Line::One(self.ids[number - 1]),
            _ => Line::Any,
        }
    }

    fn claim(&self, worker: usize, priority: u8, arrived: u64) -> Claim {
        Claim { worker, priority, arrived: self.start + Duration::from_micros(arrived) }
    }

    fn called(&mut self, called: Option<Ticket>, expected: Option<i64>) {
        assert_eq!(called.is_some(), expected.is_some());
        let Some(ticket) = called else { return };
        let naive = self.model.iter_mut().find(|n| n.ticket == ticket && !n.called).unwrap();
        assert_eq!(Some(naive.rank()), expected);
        naive.called = true;
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Join { line, worker, priority, after } => {
                self.clock += after;
                let (line, arrived) = (self.line(line), self.clock);
                let ticket = self.queue.join(line, self.claim(worker, priority, arrived), arrived);
                self.model.push(Naive { ticket, line, worker, priority, arrived, called: false });
            }
            Step::Call(worker) => {
                let expected = expected(&self.model, worker);
                let called = self.queue.call(worker);
                self.called(called, expected);
            }
            Step::CallFor(which, worker) => {
                let id = self.ids[which];
                let expected = expected_for(&self.model, id, worker);
                let called = self.queue.call_for(id, worker);
                self.called(called, expected);
            }
            Step::Leave(ref index) if !self.model.is_empty() => {
                let naive = self.model.swap_remove(index.index(self.model.len()));
                assert_eq!(self.queue.leave(naive.ticket), Some(naive.arrived));
                assert_eq!(self.queue.leave(naive.ticket), None);
            }
            Step::Move(ref index, line) if !self.model.is_empty() => {
                let at = index.index(self.model.len());
                let line = self.line(line);
                let naive = &mut self.model[at];
                assert_eq!(self.queue.move_to(naive.ticket, line), !naive.called);
                naive.line = line;
            }
            Step::Rejoin(ref index) if !self.model.is_empty() => {
                let at = index.index(self.model.len());
                let Naive { ticket, line, worker, priority, .. } = self.model[at];
                let arrived = self.queue.leave(ticket).unwrap();
                let ticket = self.queue.join(line, self.claim(worker, priority, arrived), arrived);
                self.model[at] = Naive { ticket, line, worker, priority, arrived, called: false };
            }
            Step::Leave(_) | Step::Move(..) | Step::Rejoin(_) => {}
        }
    }

    fn agree(&self) {
        let count = |line: Line| self.model.iter().filter(|n| n.stands(line)).count();
        let ones: usize = self.ids.iter().map(|id| count(Line::One(*id))).sum();
        assert_eq!(self.queue.waiting(), count(Line::Any));
        assert_eq!(self.queue.waiting_for_pin(), count(Line::Pin));
        assert_eq!(self.queue.aside(), count(Line::Pin) + ones);
        for id in &self.ids {
            assert_eq!(self.queue.wants_one(*id), count(Line::One(*id)) > 0);
        }
        let first_for_pin = self.model.iter().filter(|n| n.stands(Line::Pin)).map(Naive::rank).min();
        let found = self.queue.first_for_pin();
        assert_eq!(found.is_some(), first_for_pin.is_some());
        if let Some(ticket) = found {
            let naive = self.model.iter().find(|n| n.ticket == ticket).unwrap();
            assert_eq!(Some(naive.rank()), first_for_pin);
        }
        let waiting = self.model.iter().filter(|n| n.stands(Line::Any));
        let oldest = waiting.map(|n| self.start + Duration::from_micros(n.arrived)).min();
        assert!(oldest.is_none() || self.queue.oldest() >= oldest);
    }
}

proptest! {
    #[test]
    fn the_queue_agrees_with_a_naive_model_and_loses_nobody(steps in prop::collection::vec(step(), 1..200)) {
        let mut both = Both {
            queue: Queue::default(), model: Vec::new(), start: Instant::now(), clock: 0, ids: backends(2),
        };
        for step in steps {
            both.apply(&step);
            both.agree();
        }
        let Both { queue, model, ids, .. } = &mut both;
        let mut all = Vec::new();
        all.extend(std::iter::from_fn(|| queue.call(None)));
        all.extend(std::iter::from_fn(|| queue.call_pin()));
        for id in ids {
            all.extend(std::iter::from_fn(|| queue.call_one(*id)));
        }
        for ticket in all {
            let at = model.iter().position(|n| n.ticket == ticket && !n.called).unwrap();
            model.swap_remove(at);
        }
        prop_assert!(model.iter().all(|n| n.called), "everybody is called in the end");
    }
}
