//! The lists that workers fill and somebody else adds up: those that wait for it, and empty ones to write to.
//!
//! Lists are all of one size and are used again, whoever has filled them: what they take is bounded by how many wait at
//! once, and nothing is allocated while as many are filled as are added up. What nobody has used for a second is given
//! back, so that a burst leaves nothing behind.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use super::recorder::Entry;

/// Entries of a list: few enough to stay in a processor's cache, where the next ones are written over them.
const FULL: usize = 256;
/// Lists that may wait to be added up; whoever fills one more does it himself, if nobody else is at it.
const ASIDE: usize = 256;
/// Lists that wait at most, 36 MB: whoever fills one more waits until it can be added up.
const MOST_ASIDE: usize = 4 * ASIDE;
/// Lists that are worth adding up before the second is over, and empty ones that are kept at most.
const SOME: usize = 8;
const EMPTY: usize = 16;
/// Between two mergers.
const SECOND: Duration = Duration::from_secs(1);

/// Of one worker, in the order in which it was written.
pub(super) type List = Vec<Entry>;

/// Why lists are to be added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Many,
    Second,
}

/// Whether who has filled a list should add up those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Help {
    No,
    /// Not while a report is made, which may take its time.
    IfNobodyDoes,
    Must,
}

#[derive(Debug, Default)]
pub(super) struct Lists {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    aside: VecDeque<List>,
    /// Lists that were added up, for those to come; the last one to come is taken first.
    empty: Vec<List>,
    /// How many were here at every moment of the second at hand: so many are not needed.
    unused: usize,
    /// When lists were last added up because a second was over.
    last: Option<Instant>,
    stopped: bool,
}

impl Lists {
    /// A list to write to.
    pub(super) fn empty(&self) -> List {
        self.state.lock().empty().unwrap_or_else(|| Vec::with_capacity(FULL))
    }

    /// Takes a full list. How its writer should help to add up those that wait.
    pub(super) fn put_aside(&self, list: List) -> Help {
        let mut state = self.state.lock();
        state.aside.push_back(list);
        if state.aside.len() >= SOME {
            self.filled.notify_one();
        }
        match state.aside.len() {
            waiting if waiting <= ASIDE => Help::No,
            waiting if waiting <= MOST_ASIDE => Help::IfNobodyDoes,
            _ => Help::Must,
        }
    }

    /// How many wait to be added up.
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().aside.len()
    }

    /// One that waits, the oldest first.
    pub(super) fn next_aside(&self) -> Option<List> {
        self.state.lock().aside.pop_front()
    }

    /// Takes a list that was added up.
    pub(super) fn give_back(&self, mut list: List) {
        list.clear();
        let mut state = self.state.lock();
        if state.empty.len() < EMPTY {
            state.empty.push(list);
        }
    }

    /// Waits until lists should be added up; `None` when nobody should wait any more.
    pub(super) fn wait(&self) -> Option<Cause> {
        let mut state = self.state.lock();
        let next = state.last.map_or_else(Instant::now, |last| last + SECOND);
        loop {
            if state.stopped {
                return None;
            }
            if state.aside.len() >= SOME {
                return Some(Cause::Many);
            }
            let now = Instant::now();
            if now >= next {
                state.last = Some(now);
                state.tidy();
                return Some(Cause::Second);
            }
            self.filled.wait_for(&mut state, next - now);
        }
    }

    /// Ends all [waiting](Self::wait).
    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.filled.notify_all();
    }
}

impl State {
    fn empty(&mut self) -> Option<List> {
        let list = self.empty.pop();
        self.unused = self.unused.min(self.empty.len());
        list
    }

    /// Drops what nobody has used since the last time.
    fn tidy(&mut self) {
        self.empty.drain(..self.unused);
        self.unused = self.empty.len();
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorder::tests::execution;
    use super::*;

    #[test]
    fn whoever_waits_is_told_at_once_then_each_second_and_when_lists_are_many() {
        let lists = Lists::default();
        assert_eq!(lists.wait(), Some(Cause::Second));
        let begun = Instant::now();
        for _ in 0..SOME {
            lists.put_aside(vec![Entry::Execution(execution("select 1"))]);
        }
        assert_eq!(lists.wait(), Some(Cause::Many));
        while lists.next_aside().is_some() {}
        assert_eq!(lists.wait(), Some(Cause::Second));
        assert!(begun.elapsed() > SECOND / 2, "{:?}", begun.elapsed());
        lists.stop();
        assert_eq!(lists.wait(), None);
    }

    #[test]
    fn a_writer_helps_where_many_wait_and_must_where_too_many_do() {
        let lists = Lists::default();
        let told: Vec<Help> = (0..=MOST_ASIDE).map(|_| lists.put_aside(List::new())).collect();
        assert_eq!(told.iter().position(|help| *help == Help::IfNobodyDoes), Some(ASIDE));
        assert_eq!(told.iter().position(|help| *help == Help::Must), Some(MOST_ASIDE));
    }

    #[test]
    fn lists_are_used_again_and_few_are_kept() {
        let lists = Lists::default();
        for _ in 0..100 {
            let filled: Vec<List> = (0..4).map(|_| lists.empty()).collect();
            assert!(filled.iter().all(|list| list.is_empty() && list.capacity() == FULL));
            filled.into_iter().for_each(|list| lists.give_back(list));
            assert_eq!(lists.state.lock().empty.len(), 4);
        }
        (0..EMPTY * 2).for_each(|_| lists.give_back(Vec::with_capacity(FULL)));
        assert_eq!(lists.state.lock().empty.len(), EMPTY);
    }

    #[test]
    fn lists_that_nobody_has_used_for_a_second_are_given_back() {
        let lists = Lists::default();
        (0..5).for_each(|_| lists.give_back(Vec::with_capacity(FULL)));
        lists.wait();
        assert_eq!(lists.state.lock().empty.len(), 5, "they have only come");
        let used: Vec<List> = (0..2).map(|_| lists.empty()).collect();
        used.into_iter().for_each(|list| lists.give_back(list));
        lists.wait();
        assert_eq!(lists.state.lock().empty.len(), 2);
        lists.wait();
        assert_eq!(lists.state.lock().empty.len(), 0);
    }
}
