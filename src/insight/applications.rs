//! Which applications executed a pattern, and what each had of it: the most frequent by name, all others together, so
//! that the sum is that of the pattern.

use std::cmp::Reverse;

use super::recorder::Execution;

/// Names that one pattern tells apart.
const NAMED: usize = 10;
/// The number of what has no name of its own; see [`super::names::Names`].
const OTHERS: u32 = 0;

/// What one application had; times are nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) rows: u64,
    pub(super) wait: u64,
    pub(super) server: u64,
    pub(super) drain: u64,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Applications(Vec<Application>);

#[derive(Debug, Clone)]
struct Application {
    number: u32,
    /// Decides who makes room. A newcomer inherits the weight of whom it replaces, so that one that comes often stays
    /// among many that come once (Metwally, Agrawal, El Abbadi: "space-saving"); what is shown is never inherited.
    weight: u64,
    usage: Usage,
}

impl Usage {
    pub(super) fn of(execution: &Execution) -> Self {
        let Execution { rows, wait, server, drain, failed, .. } = *execution;
        Self { calls: 1, errors: u64::from(failed.is_some()), rows, wait, server, drain }
    }

    pub(super) fn numbers(&self) -> [u64; 6] {
        let Self { calls, errors, rows, wait, server, drain } = *self;
        [calls, errors, rows, wait, server, drain]
    }

    pub(super) fn from_numbers([calls, errors, rows, wait, server, drain]: [u64; 6]) -> Self {
        Self { calls, errors, rows, wait, server, drain }
    }

    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.rows += other.rows;
        self.wait = self.wait.saturating_add(other.wait);
        self.server = self.server.saturating_add(other.server);
        self.drain = self.drain.saturating_add(other.drain);
    }
}

impl Applications {
    pub(super) fn record(&mut self, number: u32, usage: Usage) {
        self.put(Application { number, weight: usage.calls, usage });
    }

    fn put(&mut self, mut new: Application) {
        if let Some(known) = self.0.iter_mut().find(|known| known.number == new.number) {
            known.weight += new.weight;
            known.usage.add(new.usage);
            return;
        }
        let named = self.0.iter_mut().filter(|known| known.number != OTHERS);
        if new.number != OTHERS
            && named.count() >= NAMED
            && let Some(least) =
                self.0.iter_mut().filter(|known| known.number != OTHERS).min_by_key(|known| known.weight)
        {
            new.weight += least.weight;
            let Application { usage, .. } = std::mem::replace(least, new);
            self.record(OTHERS, usage);
            return;
        }
        if self.0.is_empty() {
            // Most patterns are of one application.
            self.0.reserve_exact(1);
        }
        self.0.push(new);
    }

    pub(super) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|application| self.put(application.clone()));
    }

    /// Calls each by another number.
    pub(super) fn renumber(&mut self, mut number: impl FnMut(u32) -> u32) {
        for mut application in std::mem::take(&mut self.0) {
            application.number = number(application.number);
            self.put(application);
        }
    }

    /// The `most` most frequent by their numbers, the most frequent first, and last all others, if there are any.
    pub(super) fn sorted(&self, most: usize) -> Vec<(u32, Usage)> {
        let mut all: Vec<(u32, Usage)> = self.0.iter().map(|known| (known.number, known.usage)).collect();
        all.sort_by_key(|(number, usage)| (*number == OTHERS, Reverse(usage.calls)));
        let named = all.iter().take_while(|(number, _)| *number != OTHERS).count();
        let rest = all.split_off(named.min(most));
        if !rest.is_empty() {
            let mut others = Usage::default();
            rest.iter().for_each(|(_, usage)| others.add(*usage));
            all.push((OTHERS, others));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(calls: u64) -> Usage {
        Usage { calls, server: calls * 5, ..Usage::default() }
    }

    #[test]
    fn who_comes_often_stays_among_many_that_come_once_and_nothing_is_lost() {
        let mut applications = Applications::default();
        for rare in 100..300 {
            applications.record(rare, usage(1));
            applications.record(1, usage(1));
            applications.record(2, usage(2));
        }
        let found = applications.sorted(2);
        assert_eq!(found, [(2, usage(400)), (1, usage(200)), (OTHERS, usage(200))]);
        let all = applications.sorted(usize::MAX);
        assert_eq!((all.len(), all.iter().map(|(_, usage)| usage.calls).sum::<u64>()), (NAMED + 1, 800));
        assert!(all[2..NAMED].iter().all(|(_, usage)| usage.calls == 1), "nobody is shown with what others had");
    }

    #[test]
    fn numbers_that_become_one_are_added() {
        let mut applications = Applications::default();
        (1..4).for_each(|number| applications.record(number, usage(number.into())));
        applications.renumber(|number| if number == 2 { 7 } else { OTHERS });
        assert_eq!(applications.sorted(usize::MAX), [(7, usage(2)), (OTHERS, usage(4))]);
    }
}
