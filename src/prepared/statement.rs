//! One statement, whoever has prepared it: how old its copies are, and whether an unnamed one is better shared.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::era::{Eras, predates};
use super::shape::Description;
use super::types::leaves_open;
use crate::settings::Profile;
use crate::sql::{Pattern, Weighed};

/// Executions that are measured as unnamed before a candidate is promoted.
const MEASURED: u32 = 8;
/// Executions as promoted that are judged together, and how many of them must have been slow for a demotion: a busy
/// server slows some of them down, a generic plan that does not fit slows most of them down.
const JUDGED: u32 = 64;
const SLOW: u32 = 48;
/// What is slow: longer than twice the slowest measured execution and this.
const SLACK_MICROS: u64 = 1000;

/// One statement, as a Parse gave it.
#[derive(Debug)]
pub struct Statement {
    pub id: u64,
    pub kind: Kind,
    pub text: Box<[u8]>,
    /// Count and OIDs of parameter types, as in Parse.
    pub types: Box<[u8]>,
    /// Whether it leaves types of parameters to PostgreSQL.
    pub leaves_types_open: bool,
    /// The name on a backend; empty for the unnamed one.
    pub name: Box<[u8]>,
    /// Whether executing it may drop other statements ([`super::may_forget`]).
    pub forgets: bool,
    /// Whether executing it may ask for COPY data ([`super::may_copy`]).
    pub copies: bool,
    /// Whether it may mention a process ([`super::may_mention`]).
    pub mentions: bool,
    /// PostgreSQL has warned of something when it was prepared, and does so each time.
    warns: AtomicBool,
    /// A number for the tags in its comments, by whoever reads them.
    pub tags: OnceLock<u32>,
    /// The settings by which it was read; unknown of a client's unnamed one.
    pub read_by: Option<Arc<Profile>>,
    /// What was known of its text at first.
    weighed: Weighed,
    /// What was found out later.
    learnt: OnceLock<Weighed>,
    described: Mutex<Option<Described>>,
    promotion: Promotion,
    age: Age,
    eras: Arc<Eras>,
}

/// What a statement has from where it was prepared first.
#[derive(Debug)]
pub struct Origin {
    /// What is known of its text.
    pub weighed: Weighed,
    /// See [`Statement::read_by`].
    pub read_by: Option<Arc<Profile>>,
}

impl From<Weighed> for Origin {
    fn from(weighed: Weighed) -> Self {
        Self { weighed, read_by: None }
    }
}

/// What a backend has said of its copy, which that Parse had made.
#[derive(Debug)]
struct Described {
    parse: u64,
    description: Description,
}

/// Whether backends hold a statement under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One client's unnamed statement, parsed as unnamed.
    Private,
    /// Held under pgweir's name, mostly for every client that prepares the same.
    Shared,
}

/// How far an unnamed statement's text has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Seen more than once: measured while it is still parsed as unnamed.
    Candidate,
    /// Was slower as a shared statement, probably for a generic plan, or must not be shared: unnamed for good.
    Demoted,
    Promoted,
}

/// Every Parse of a statement, a client's or our own for a backend, has a number: the later, the higher. They tell
/// what is older than a change of the tables that a statement reads, and, by [`predates`], what may be
/// older than any change of definitions.
#[derive(Debug, Default)]
struct Age {
    parses: AtomicU64,
    /// The latest that PostgreSQL has accepted.
    accepted: AtomicU64,
    outdated: AtomicU64,
    doubtful: AtomicU64,
}

/// [`Standing`]s, as they are stored.
const CANDIDATE: u8 = 0;
const PROMOTED: u8 = 1;
const DEMOTED: u8 = 2;

#[derive(Debug, Default)]
struct Promotion {
    standing: AtomicU8,
    measured: AtomicU32,
    slow: AtomicU32,
    /// The slowest of the executions that were measured before the promotion.
    slowest_unnamed_micros: AtomicU64,
}

impl Promotion {
    /// A constant that is what the clock says when it is parsed must be parsed by each client and each time.
    fn of(text: &[u8]) -> Self {
        let standing = if super::may_freeze(text) { DEMOTED } else { CANDIDATE };
        Self { standing: AtomicU8::new(standing), ..Self::default() }
    }
}

impl Statement {
    /// A statement of this kind that nobody else has prepared yet.
    pub(super) fn new(id: u64, kind: Kind, (text, types): (&[u8], &[u8]), origin: Origin, eras: Arc<Eras>) -> Self {
        let Origin { weighed, read_by } = origin;
        let name = match kind {
            Kind::Private => Box::default(),
            Kind::Shared => super::backend_name(id),
        };
        Self {
            id,
            kind,
            text: text.into(),
            types: types.into(),
            leaves_types_open: leaves_open(text, types),
            name,
            forgets: super::may_forget(text),
            copies: super::may_copy(text),
            mentions: super::may_mention(text),
            warns: AtomicBool::new(false),
            tags: OnceLock::new(),
            read_by,
            weighed,
            learnt: OnceLock::new(),
            described: Mutex::default(),
            promotion: Promotion::of(text),
            age: Age::default(),
            eras,
        }
    }

    /// Bytes that it takes where it is remembered, by its key and by itself.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + 2 * (self.text.len() + self.types.len())
    }

    /// What is known of its text.
    #[must_use]
    pub fn weighed(&self) -> &Weighed {
        self.learnt.get().unwrap_or(&self.weighed)
    }

    /// PostgreSQL has warned of something in it.
    pub fn warned(&self) {
        self.warns.store(true, Ordering::Relaxed);
    }

    /// Whether PostgreSQL is known to warn of something in it whenever it is prepared.
    #[must_use]
    pub fn warns(&self) -> bool {
        self.warns.load(Ordering::Relaxed)
    }

    /// Its pattern is known now.
    pub fn learn(&self, pattern: Arc<Pattern>) {
        let _ = self.learnt.set(Weighed::Known(pattern));
    }

    /// The number of a Parse of this statement that happens now.
    #[must_use]
    pub fn next_parse(&self) -> u64 {
        let first = self.eras.first_number();
        let next = |last: u64| (last + 1).max(first);
        let last = self.age.parses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        next(last.unwrap_or_else(|last| last))
    }

    /// PostgreSQL has accepted this Parse.
    pub fn vouch(&self, parse: u64) {
        self.age.accepted.fetch_max(parse, Ordering::Relaxed);
    }

    /// Whether PostgreSQL has accepted it since its columns last changed.
    #[must_use]
    pub fn is_vouched(&self) -> bool {
        self.age.accepted.load(Ordering::Relaxed) > self.age.doubtful.load(Ordering::Relaxed)
    }

    /// A backend has found that the result of its copy, which this Parse had made, has other columns now.
    pub fn outdate(&self, parse: u64) {
        self.age.outdated.fetch_max(parse, Ordering::Relaxed);
        self.age.doubtful.fetch_max(self.age.parses.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether this Parse is known to have been before the columns changed: who prepared the statement then gets
    /// PostgreSQL's error until he prepares it again.
    #[must_use]
    pub fn is_outdated(&self, parse: u64) -> bool {
        parse <= self.age.outdated.load(Ordering::Relaxed)
    }

    /// Whether this Parse was before the change was found: it may have been before the change.
    #[must_use]
    pub fn is_doubtful(&self, parse: u64) -> bool {
        parse <= self.age.doubtful.load(Ordering::Relaxed)
    }

    /// Whether definitions may have changed since this Parse.
    #[must_use]
    pub fn is_of_an_earlier_era(&self, parse: u64) -> bool {
        predates(parse, self.eras.first_number())
    }

    /// Whether a change of definitions was seen since this Parse.
    #[must_use]
    pub fn is_before_a_change(&self, parse: u64) -> bool {
        predates(parse, self.eras.last_change())
    }

    /// A backend has described its copy, which that Parse had made.
    pub fn describe(&self, parse: u64, description: Description) {
        let mut described = self.described.lock();
        if described.as_ref().is_none_or(|known| known.parse <= parse) {
            *described = Some(Described { parse, description });
        }
    }

    /// What a backend would say of it now, as far as it is known.
    #[must_use]
    pub fn description(&self) -> Description {
        let described = self.described.lock();
        let is_of_now = |known: &&Described| !self.is_before_a_change(known.parse) && !self.is_doubtful(known.parse);
        described.as_ref().filter(is_of_now).map(|known| known.description.clone()).unwrap_or_default()
    }

    /// How a client's unnamed statement with this text is to be treated.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.promotion.standing.load(Ordering::Relaxed) {
            CANDIDATE => Standing::Candidate,
            PROMOTED => Standing::Promoted,
            _ => Standing::Demoted,
        }
    }

    /// Takes the server's time of one execution of this text as an unnamed statement. A statement that is much
    /// slower under a name than it was without is demoted.
    pub fn measured(&self, took: Duration) {
        let promotion = &self.promotion;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        match self.standing() {
            Standing::Demoted => {}
            Standing::Candidate => {
                promotion.slowest_unnamed_micros.fetch_max(micros, Ordering::Relaxed);
                if promotion.measured.fetch_add(1, Ordering::Relaxed) + 1 >= MEASURED {
                    promotion.measured.store(0, Ordering::Relaxed);
                    promotion.standing.store(PROMOTED, Ordering::Relaxed);
                }
            }
            Standing::Promoted => {
                let slowest = promotion.slowest_unnamed_micros.load(Ordering::Relaxed);
                if micros > slowest.saturating_mul(2).saturating_add(SLACK_MICROS) {
                    promotion.slow.fetch_add(1, Ordering::Relaxed);
                }
                if promotion.measured.fetch_add(1, Ordering::Relaxed) + 1 >= JUDGED {
                    promotion.measured.store(0, Ordering::Relaxed);
                    if promotion.slow.swap(0, Ordering::Relaxed) >= SLOW {
                        promotion.standing.store(DEMOTED, Ordering::Relaxed);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Registry;
    use super::*;

    #[test]
    fn a_candidate_is_promoted_when_measured_and_demoted_when_most_executions_got_slower() {
        let statement = Registry::new(10, usize::MAX).shared(b"select 1", b"\0\0", 0, || Weighed::Anything.into());
        (0..MEASURED).for_each(|_| statement.measured(Duration::from_millis(1)));
        assert_eq!(statement.standing(), Standing::Promoted);
        (0..JUDGED).for_each(|n| statement.measured(Duration::from_millis(if n < SLOW - 1 { 20 } else { 1 })));
        assert_eq!(statement.standing(), Standing::Promoted);
        (0..JUDGED).for_each(|_| statement.measured(Duration::from_millis(20)));
        assert_eq!(statement.standing(), Standing::Demoted);
    }
}
