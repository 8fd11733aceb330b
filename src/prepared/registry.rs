//! Distinct statements, each once for all clients, and the standing of unnamed ones.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::time::Instant;

use super::era::{Eras, predates};
use crate::sql::{Pattern, Weighed};

/// Sightings of an unnamed text before it is measured as a candidate for promotion.
const SIGHTINGS: u8 = 2;
/// Executions that are measured as unnamed before a candidate is promoted.
const MEASURED: u32 = 8;
/// Executions as promoted that are judged together, and how many of them must have been slow for a demotion: a busy
/// server slows some of them down, a generic plan that does not fit slows most of them down.
const JUDGED: u32 = 64;
const SLOW: u32 = 48;
/// What is slow: longer than twice the slowest measured execution and this.
const SLACK_MICROS: u64 = 1000;
/// Slots of the table of texts seen lately; a newer text takes the slot of an older one.
const SEEN_SLOTS: usize = 8192;

/// What decides that two statements are the same: text, parameter types, and the settings that give them meaning.
type Meaning<'a> = (&'a [u8], &'a [u8], u64);

#[derive(Debug)]
struct Key {
    text: Box<[u8]>,
    types: Box<[u8]>,
    plan_key: u64,
}

/// A [`Key`], or what one would be made of: who looks for a statement copies no text.
trait Means {
    fn meaning(&self) -> Meaning<'_>;
}

impl Means for Key {
    fn meaning(&self) -> Meaning<'_> {
        (&self.text, &self.types, self.plan_key)
    }
}

impl Means for Meaning<'_> {
    fn meaning(&self) -> Meaning<'_> {
        *self
    }
}

impl Hash for dyn Means + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.meaning().hash(state);
    }
}

impl PartialEq for dyn Means + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.meaning() == other.meaning()
    }
}

impl Eq for dyn Means + '_ {}

impl<'a> Borrow<dyn Means + 'a> for Key {
    fn borrow(&self) -> &(dyn Means + 'a) {
        self
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.meaning().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.meaning() == other.meaning()
    }
}

impl Eq for Key {}

/// One statement, as a Parse gave it.
#[derive(Debug)]
pub struct Statement {
    pub id: u64,
    pub kind: Kind,
    pub text: Box<[u8]>,
    /// Count and OIDs of parameter types, as in Parse.
    pub types: Box<[u8]>,
    /// The name on a backend; empty for the unnamed one.
    pub name: Box<[u8]>,
    /// Whether executing it may drop other statements ([`super::may_forget`]).
    pub forgets: bool,
    /// Whether executing it may ask for COPY data ([`super::may_copy`]).
    pub copies: bool,
    /// Whether it may mention a process ([`super::may_mention`]).
    pub mentions: bool,
    /// A number for the tags in its comments, by whoever reads them.
    pub tags: OnceLock<u32>,
    /// Where its names were looked for; `None` for where they are by default.
    pub search_path: Option<Box<[u8]>>,
    /// What was known of its text at first.
    weighed: Weighed,
    /// What was found out later.
    learnt: OnceLock<Weighed>,
    promotion: Promotion,
    age: Age,
    eras: Arc<Eras>,
}

/// What a statement has from where it was prepared first.
#[derive(Debug)]
pub struct Origin {
    /// What is known of its text.
    pub weighed: Weighed,
    /// See [`Statement::search_path`]; needed of those that have a name.
    pub search_path: Option<Box<[u8]>>,
}

impl From<Weighed> for Origin {
    fn from(weighed: Weighed) -> Self {
        Self { weighed, search_path: None }
    }
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
/// what is older than a change of the tables that a statement reads, and, by [`predates`](super::predates), what may be
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
    /// What is known of its text.
    #[must_use]
    pub fn weighed(&self) -> &Weighed {
        self.learnt.get().unwrap_or(&self.weighed)
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

/// All statements that clients have prepared under a name, and unnamed ones seen again and again.
#[derive(Debug)]
pub struct Registry {
    statements: DashMap<Key, Arc<Statement>, foldhash::fast::RandomState>,
    hasher: foldhash::fast::RandomState,
    seen: Box<[AtomicU64]>,
    next_id: AtomicU64,
    limit: usize,
    full: Arc<AtomicU64>,
    purged_at: AtomicUsize,
    eras: Arc<Eras>,
}

impl Registry {
    /// Remembers about `limit` statements; those that no client holds are forgotten first.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            statements: DashMap::with_hasher(foldhash::fast::RandomState::default()),
            hasher: foldhash::fast::RandomState::default(),
            seen: (0..SEEN_SLOTS).map(|_| AtomicU64::new(0)).collect(),
            next_id: AtomicU64::new(1),
            limit,
            full: Arc::default(),
            purged_at: AtomicUsize::new(0),
            eras: Arc::default(),
        }
    }

    /// Tables, types or whatever else a statement may name have changed: what was prepared before is no example any
    /// more of what a Parse gives now.
    pub fn definitions_change(&self) {
        self.eras.definitions_change();
    }

    /// Takes note of the time: definitions may change unseen.
    pub fn pass(&self, now: Instant) {
        self.eras.pass(now);
    }

    /// The statement that every client shares who prepares this; a new one has that origin.
    #[must_use]
    pub fn shared(&self, text: &[u8], types: &[u8], plan_key: u64, origin: impl FnOnce() -> Origin) -> Arc<Statement> {
        if let Some(known) = self.known(text, types, plan_key) {
            return known;
        }
        self.forget_some();
        match self.statements.entry(Key { text: text.into(), types: types.into(), plan_key }) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => {
                let statement = Arc::new(self.new_statement(Kind::Shared, text, types, origin()));
                entry.insert(Arc::clone(&statement));
                statement
            }
        }
    }

    /// The statement that clients share who have prepared this, if there is one.
    #[must_use]
    pub fn known(&self, text: &[u8], types: &[u8], plan_key: u64) -> Option<Arc<Statement>> {
        let meaning: &dyn Means = &(text, types, plan_key);
        self.statements.get(meaning).map(|statement| Arc::clone(&statement))
    }

    /// One client's own unnamed statement.
    #[must_use]
    pub fn private(&self, text: &[u8], types: &[u8], weighed: Weighed) -> Arc<Statement> {
        Arc::new(self.new_statement(Kind::Private, text, types, weighed.into()))
    }

    /// A statement that one client has named and no other is to share.
    #[must_use]
    pub fn unshared(&self, text: &[u8], types: &[u8], origin: Origin) -> Arc<Statement> {
        Arc::new(self.new_statement(Kind::Shared, text, types, origin))
    }

    /// The shared statement of an unnamed Parse if its text has been seen before; `None` for a new one.
    #[must_use]
    pub fn recurring(
        &self,
        text: &[u8],
        types: &[u8],
        plan_key: u64,
        origin: impl FnOnce() -> Origin,
    ) -> Option<Arc<Statement>> {
        let hash = self.hasher.hash_one((text, types, plan_key));
        let slot = self.seen.get(usize::try_from(hash).unwrap_or(0) % SEEN_SLOTS)?;
        let (old, tag) = (slot.load(Ordering::Relaxed), hash & !0xff);
        let count = if old & !0xff == tag { u8::try_from(old & 0xff).unwrap_or(u8::MAX) } else { 0 };
        if count < SIGHTINGS {
            slot.store(tag | u64::from(count + 1), Ordering::Relaxed);
            return None;
        }
        Some(self.shared(text, types, plan_key, origin))
    }

    /// Statements remembered now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    fn new_statement(&self, kind: Kind, text: &[u8], types: &[u8], origin: Origin) -> Statement {
        let Origin { weighed, search_path } = origin;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let name = match kind {
            Kind::Private => Box::default(),
            Kind::Shared => super::backend_name(id),
        };
        Statement {
            id,
            kind,
            text: text.into(),
            types: types.into(),
            name,
            forgets: super::may_forget(text),
            copies: super::may_copy(text),
            mentions: super::may_mention(text),
            tags: OnceLock::new(),
            search_path,
            weighed,
            learnt: OnceLock::new(),
            promotion: Promotion::of(text),
            age: Age::default(),
            eras: Arc::clone(&self.eras),
        }
    }

    /// Counts here how often it was full.
    #[must_use]
    pub fn counting(self, full: Arc<AtomicU64>) -> Self {
        Self { full, ..self }
    }

    /// Makes room when over the limit; at most once for every eighth of the limit added, so that a table full of
    /// statements in use is not walked again and again.
    fn forget_some(&self) {
        let len = self.statements.len();
        if len < self.limit || len < self.purged_at.load(Ordering::Relaxed) + self.limit / 8 {
            return;
        }
        self.full.fetch_add(1, Ordering::Relaxed);
        self.statements.retain(|_, statement| Arc::strong_count(statement) > 1);
        self.purged_at.store(self.statements.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn harmless() -> Origin {
        Weighed::Anything.into()
    }

    #[test]
    fn the_same_text_types_and_meaning_are_one_statement() {
        let registry = Registry::new(10);
        let one = registry.shared(b"select 1", b"\0\0", 1, harmless);
        assert_eq!(one.id, registry.shared(b"select 1", b"\0\0", 1, harmless).id);
        assert_ne!(one.id, registry.shared(b"select 1", b"\0\0", 2, harmless).id);
        assert_ne!(one.id, registry.shared(b"select 1", b"\0\x01\0\0\0\x17", 1, harmless).id);
    }

    #[test]
    fn an_unnamed_text_is_a_candidate_at_its_third_sighting() {
        let registry = Registry::new(10);
        assert!(registry.recurring(b"select 1", b"\0\0", 0, harmless).is_none());
        assert!(registry.recurring(b"select 1", b"\0\0", 0, harmless).is_none());
        let statement = registry.recurring(b"select 1", b"\0\0", 0, harmless).expect("seen before");
        assert_eq!(statement.standing(), Standing::Candidate);
    }

    #[test]
    fn a_candidate_is_promoted_when_measured_and_demoted_when_most_executions_got_slower() {
        let statement = Registry::new(10).shared(b"select 1", b"\0\0", 0, harmless);
        (0..MEASURED).for_each(|_| statement.measured(Duration::from_millis(1)));
        assert_eq!(statement.standing(), Standing::Promoted);
        (0..JUDGED).for_each(|n| statement.measured(Duration::from_millis(if n < SLOW - 1 { 20 } else { 1 })));
        assert_eq!(statement.standing(), Standing::Promoted);
        (0..JUDGED).for_each(|_| statement.measured(Duration::from_millis(20)));
        assert_eq!(statement.standing(), Standing::Demoted);
    }

    #[test]
    fn statements_that_nobody_holds_are_forgotten_at_the_limit() {
        let registry = Registry::new(16);
        let kept = registry.shared(b"kept", b"\0\0", 0, harmless);
        for n in 0..1000 {
            let _ = registry.shared(format!("select {n}").as_bytes(), b"\0\0", 0, harmless);
        }
        assert!(registry.len() <= 20, "{}", registry.len());
        assert_eq!(registry.shared(b"kept", b"\0\0", 0, harmless).id, kept.id);
    }
}
