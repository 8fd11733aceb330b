//! Distinct statements, each once for all clients.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::time::Instant;

use super::era::Eras;
use super::statement::{Kind, Origin, Statement};
use crate::sql::Weighed;

/// Sightings of an unnamed text before it is measured as a candidate for promotion.
const SIGHTINGS: u8 = 2;
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

/// All statements that clients have prepared under a name, and unnamed ones seen again and again.
#[derive(Debug)]
pub struct Registry {
    statements: DashMap<Key, Arc<Statement>, foldhash::fast::RandomState>,
    hasher: foldhash::fast::RandomState,
    seen: Box<[AtomicU64]>,
    next_id: AtomicU64,
    count: Bound,
    memory: Bound,
    /// Bytes that those remembered take.
    bytes: AtomicUsize,
    eras: Arc<Eras>,
}

/// A limit beyond which statements that no client holds are forgotten.
#[derive(Debug)]
struct Bound {
    limit: usize,
    /// What was left the last time.
    left: AtomicUsize,
    /// How often that was.
    met: Arc<AtomicU64>,
}

impl Bound {
    fn new(limit: usize) -> Self {
        Self { limit, left: AtomicUsize::new(0), met: Arc::default() }
    }

    /// Whether there is so much; at most once for every eighth of the limit added, so that a table full of statements
    /// in use is not walked again and again.
    fn is_met(&self, now: usize) -> bool {
        let met = now >= self.limit && now >= self.left.load(Ordering::Relaxed) + self.limit / 8;
        self.met.fetch_add(u64::from(met), Ordering::Relaxed);
        met
    }

    fn left(&self, now: usize) {
        self.left.store(now, Ordering::Relaxed);
    }
}

impl Registry {
    /// Remembers about so many statements, of so many bytes; those that no client holds are forgotten first.
    #[must_use]
    pub fn new(statements: usize, memory: usize) -> Self {
        Self {
            statements: DashMap::with_hasher(foldhash::fast::RandomState::default()),
            hasher: foldhash::fast::RandomState::default(),
            seen: (0..SEEN_SLOTS).map(|_| AtomicU64::new(0)).collect(),
            // A client that guessed under which name a backend holds another's statement could execute and drop it.
            next_id: AtomicU64::new(RandomState::new().build_hasher().finish() >> 24),
            count: Bound::new(statements),
            memory: Bound::new(memory),
            bytes: AtomicUsize::new(0),
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
                self.bytes.fetch_add(statement.size(), Ordering::Relaxed);
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
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Statement::new(id, kind, (text, types), origin, Arc::clone(&self.eras))
    }

    /// Counts here how often there were too many, and too large ones.
    #[must_use]
    pub fn counting(mut self, too_many: Arc<AtomicU64>, too_large: Arc<AtomicU64>) -> Self {
        (self.count.met, self.memory.met) = (too_many, too_large);
        self
    }

    /// Makes room when there are too many, or too large ones.
    fn forget_some(&self) {
        let (count, bytes) = (self.statements.len(), self.bytes.load(Ordering::Relaxed));
        if !self.count.is_met(count) && !self.memory.is_met(bytes) {
            return;
        }
        self.statements.retain(|_, statement| {
            let stays = Arc::strong_count(statement) > 1;
            if !stays {
                self.bytes.fetch_sub(statement.size(), Ordering::Relaxed);
            }
            stays
        });
        self.count.left(self.statements.len());
        self.memory.left(self.bytes.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;

    fn harmless() -> Origin {
        Weighed::Anything.into()
    }

    #[test]
    fn the_same_text_types_and_meaning_are_one_statement() {
        let registry = Registry::new(10, usize::MAX);
        let one = registry.shared(b"select 1", b"\0\0", 1, harmless);
        assert_eq!(one.id, registry.shared(b"select 1", b"\0\0", 1, harmless).id);
        assert_ne!(one.id, registry.shared(b"select 1", b"\0\0", 2, harmless).id);
        assert_ne!(one.id, registry.shared(b"select 1", b"\0\x01\0\0\0\x17", 1, harmless).id);
    }

    #[test]
    fn an_unnamed_text_is_a_candidate_at_its_third_sighting() {
        let registry = Registry::new(10, usize::MAX);
        assert!(registry.recurring(b"select 1", b"\0\0", 0, harmless).is_none());
        assert!(registry.recurring(b"select 1", b"\0\0", 0, harmless).is_none());
        let statement = registry.recurring(b"select 1", b"\0\0", 0, harmless).expect("seen before");
        assert_eq!(statement.standing(), Standing::Candidate);
    }

    #[test]
    fn statements_that_nobody_holds_are_forgotten_at_the_limit() {
        let registry = Registry::new(16, usize::MAX);
        let kept = registry.shared(b"kept", b"\0\0", 0, harmless);
        for n in 0..1000 {
            let _ = registry.shared(format!("select {n}").as_bytes(), b"\0\0", 0, harmless);
        }
        assert!(registry.len() <= 20, "{}", registry.len());
        assert_eq!(registry.shared(b"kept", b"\0\0", 0, harmless).id, kept.id);
    }

    #[test]
    fn large_statements_are_forgotten_when_they_take_too_much_unless_a_client_holds_them() {
        let text = |number: usize| format!("select {number} -- {}", "x".repeat(10_000)).into_bytes();
        let registry = Registry::new(1_000_000, 1 << 20);
        let held: Vec<_> = (0..20).map(|number| registry.shared(&text(number), b"\0\0", 0, harmless)).collect();
        for number in 20..1000 {
            let _ = registry.shared(&text(number), b"\0\0", 0, harmless);
            assert!(registry.len() < 80, "{}", registry.len());
        }
        let again = registry.shared(&text(7), b"\0\0", 0, harmless);
        assert!(held.iter().any(|statement| statement.id == again.id));
    }
}
