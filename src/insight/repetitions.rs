//! Statements that sessions repeat where one would do: N+1 reads, and writes row by row.
//!
//! What a session does is divided into units: a transaction, or outside of one a burst without pauses. What is executed
//! in one of them more than a few times, each time after the answer to the time before, has cost so many round trips.
//! A unit is remembered while it lasts, and no longer than its session says something.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::names::Place;
use super::recorder::Execution;
use crate::sql::Digest;

/// Executions in one unit that are not too many.
const FEW: u64 = 5;
/// A pause that ends a burst.
const PAUSE: Duration = Duration::from_millis(50);
/// When a unit is taken for ended without a word: a transaction, a burst, of which thousands may be remembered, and a
/// burst of one execution where many are.
const SILENCE: Duration = Duration::from_secs(5);
const BURST_SILENCE: Duration = Duration::from_secs(1);
const SINGLE_SILENCE: Duration = Duration::from_millis(100);
/// Units that are many, and room for units that is always kept.
const MANY: usize = 64;
const KEPT: usize = 256;
/// Executions after which a burst that has no end is reported all the same.
const LONGEST: u64 = 10_000;
/// Patterns of one unit that are watched, sessions, and findings.
const PATTERNS: usize = 16;
const SESSIONS: usize = 10_000;
const FINDINGS: usize = 1000;

/// Who repeats what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    pub(super) digest: Digest,
    pub(super) place: Place,
    pub(super) application: u32,
}

/// How often, and at what cost.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    /// What came before the first of them, and the tags of one, the last time.
    pub(super) before: Option<Digest>,
    pub(super) tags: u32,
    pub(super) units: u64,
    pub(super) executions: u64,
    pub(super) most: u64,
    pub(super) rows: u64,
    /// Nanoseconds of all but one execution of each unit.
    pub(super) wasted: u64,
    pub(super) first_seen: SystemTime,
    pub(super) last_seen: SystemTime,
}

/// One session's unit at hand.
#[derive(Debug)]
struct Unit {
    in_transaction: bool,
    last: Option<Digest>,
    last_end: Instant,
    executions: u64,
    repeated: Vec<Repeated>,
}

#[derive(Debug)]
struct Repeated {
    subject: Subject,
    before: Option<Digest>,
    tags: u32,
    times: u64,
    rows: u64,
    nanos: u64,
}

#[derive(Debug, Default)]
pub(super) struct Repetitions {
    /// By the process ID that the client was told.
    units: HashMap<i32, Unit, RandomState>,
    /// How many units there are before single ones are looked for again.
    crowded: usize,
    findings: HashMap<Subject, Finding, RandomState>,
}

impl Repetitions {
    /// Sees an execution; those of one session come in their order.
    pub(super) fn see(&mut self, execution: &Execution, now: SystemTime) {
        let ends_unit = |unit: &Unit| {
            let began = execution.ended.checked_sub(Duration::from_nanos(execution.total()));
            let pause = began.is_some_and(|began| began.saturating_duration_since(unit.last_end) > PAUSE);
            let alone = !execution.in_transaction && pause;
            unit.in_transaction != execution.in_transaction || alone || unit.executions >= LONGEST
        };
        if self.units.get(&execution.client).is_some_and(ends_unit)
            && let Some(unit) = self.units.remove(&execution.client)
        {
            self.end(unit, now);
        }
        if self.units.len() >= self.crowded.max(MANY) && !self.units.contains_key(&execution.client) {
            self.forget_singles(execution.ended);
            if self.units.len() >= SESSIONS {
                return;
            }
        }
        let unit = self.units.entry(execution.client).or_insert_with(|| Unit {
            in_transaction: execution.in_transaction,
            last: None,
            last_end: execution.ended,
            executions: 0,
            repeated: Vec::new(),
        });
        unit.see(execution);
    }

    /// Ends the units of sessions that say nothing more.
    pub(super) fn end_silent(&mut self, at: Instant, now: SystemTime) {
        let silent = |unit: &Unit| {
            let silence = if unit.in_transaction { SILENCE } else { BURST_SILENCE };
            at.saturating_duration_since(unit.last_end) > silence
        };
        let over = self.units.extract_if(|_, unit| silent(unit)).map(|(_, unit)| unit);
        let ended: Vec<Unit> = over.filter(Unit::repeats).collect();
        for unit in ended {
            self.end(unit, now);
        }
        if self.units.capacity() > KEPT.max(self.units.len() * 8) {
            self.units.shrink_to(KEPT.max(self.units.len() * 2));
        }
    }

    /// Makes room: most units are a single execution, and nothing will come of them.
    fn forget_singles(&mut self, at: Instant) {
        let over = |unit: &Unit| at.saturating_duration_since(unit.last_end) > SINGLE_SILENCE;
        self.units.retain(|_, unit| unit.in_transaction || unit.executions > 1 || !over(unit));
        self.crowded = (self.units.len() + self.units.len() / 4 + MANY).min(SESSIONS);
    }

    fn end(&mut self, unit: Unit, now: SystemTime) {
        for repeated in unit.repeated.into_iter().filter(|repeated| repeated.times > FEW) {
            self.find(&repeated, now);
        }
    }

    fn find(&mut self, repeated: &Repeated, now: SystemTime) {
        if self.findings.len() >= FINDINGS && !self.findings.contains_key(&repeated.subject) {
            let least = self.findings.iter().min_by_key(|(_, finding)| finding.wasted).map(|(subject, _)| *subject);
            least.map(|subject| self.findings.remove(&subject));
        }
        let finding = self.findings.entry(repeated.subject).or_insert_with(|| Finding {
            before: None,
            tags: 0,
            units: 0,
            executions: 0,
            most: 0,
            rows: 0,
            wasted: 0,
            first_seen: now,
            last_seen: now,
        });
        (finding.before, finding.tags, finding.last_seen) = (repeated.before, repeated.tags, now);
        finding.units += 1;
        finding.executions += repeated.times;
        finding.most = finding.most.max(repeated.times);
        finding.rows += repeated.rows;
        finding.wasted += repeated.nanos - repeated.nanos / repeated.times.max(1);
    }

    pub(super) fn findings(&self) -> impl Iterator<Item = (&Subject, &Finding)> {
        self.findings.iter()
    }
}

impl Unit {
    /// Whether anything comes of it.
    fn repeats(&self) -> bool {
        self.repeated.iter().any(|repeated| repeated.times > FEW)
    }

    fn see(&mut self, execution: &Execution) {
        let before = std::mem::replace(&mut self.last, execution.digest);
        self.last_end = execution.ended;
        self.executions += 1;
        let (Some(digest), false, None) = (execution.digest, execution.piped, execution.failed) else { return };
        let Execution { place, application, tags, rows, .. } = *execution;
        let subject = Subject { digest, place, application };
        let room = self.repeated.len() < PATTERNS;
        match self.repeated.iter_mut().find(|repeated| repeated.subject == subject) {
            Some(repeated) => {
                repeated.times += 1;
                repeated.rows += rows;
                repeated.nanos += execution.total();
            }
            None if room => {
                if self.repeated.is_empty() {
                    // Most units are one statement.
                    self.repeated.reserve_exact(1);
                }
                self.repeated.push(Repeated { subject, before, tags, times: 1, rows, nanos: execution.total() });
            }
            None => {}
        }
    }
}

impl Finding {
    /// Executions beyond the one of each unit that would have done.
    pub(super) fn wasted_round_trips(&self) -> u64 {
        self.executions.saturating_sub(self.units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::recorder::tests::execution;
    use crate::sql::Lexing;

    const MILLI: Duration = Duration::from_millis(1);

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes(), &Lexing::default())
    }

    /// Sees these texts, executed by one session with so long between them; the last is alone.
    fn found(texts: &[(&str, bool)], between: Duration, piped: bool) -> Vec<(u64, u64, Option<Digest>)> {
        let (mut repetitions, start) = (Repetitions::default(), Instant::now());
        let mut ended = start;
        for (text, in_transaction) in texts {
            ended += between + MILLI;
            let execution = Execution { client: 7, ended, in_transaction: *in_transaction, piped, ..execution(text) };
            repetitions.see(&execution, SystemTime::UNIX_EPOCH);
        }
        repetitions.end_silent(ended + SILENCE * 2, SystemTime::UNIX_EPOCH);
        assert!(repetitions.units.is_empty());
        repetitions.findings().map(|(_, finding)| (finding.units, finding.executions, finding.before)).collect()
    }

    #[test]
    fn what_is_repeated_more_than_five_times_is_found_with_what_came_before_it() {
        let mut texts = vec![("select * from orders", false)];
        texts.extend([("select * from customers where id = 1", false); 6]);
        assert_eq!(found(&texts, MILLI, false), [(1, 6, Some(digest("select * from orders")))]);
        texts.pop();
        assert_eq!(found(&texts, MILLI, false), []);
    }

    #[test]
    fn two_that_alternate_are_both_found() {
        let texts = [("select a from t", true), ("select b from t", true)].repeat(10);
        assert_eq!(found(&texts, MILLI, false).len(), 2);
    }

    #[test]
    fn pauses_end_a_burst_but_no_transaction() {
        let texts = [("select a from t", false); 20];
        assert_eq!(found(&texts, PAUSE * 2, false), []);
        let texts = [("select a from t", true); 20];
        assert_eq!(found(&texts, PAUSE * 2, false).len(), 1);
    }

    #[test]
    fn what_is_sent_without_waiting_wastes_no_round_trips() {
        assert_eq!(found(&[("insert into t values (1)", true); 20], MILLI, true), []);
    }

    #[test]
    fn thousands_of_sessions_with_one_execution_each_are_not_all_remembered() {
        let (mut repetitions, start) = (Repetitions::default(), Instant::now());
        for client in 0..20_000_u32 {
            let ended = start + MILLI * client / 10;
            let once = Execution { client: client.cast_signed(), ended, ..execution("select a from t") };
            repetitions.see(&once, SystemTime::UNIX_EPOCH);
            if client % 2000 < 20 {
                let busy = Execution { client: -1 - client.cast_signed() / 2000, ..once };
                repetitions.see(&busy, SystemTime::UNIX_EPOCH);
            }
            assert!(repetitions.units.len() < 5000, "{}", repetitions.units.len());
        }
        repetitions.end_silent(start + SILENCE * 2, SystemTime::UNIX_EPOCH);
        let found: Vec<_> = repetitions.findings().map(|(_, found)| (found.units, found.executions)).collect();
        assert_eq!(found, [(10, 200)], "those that repeat are still told apart");
    }
}
