//! The memo of patterns: what was learnt once is looked up from then on.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::digest::{Digest, Sighted};
use super::effects::Effects;
use super::learning;
use super::lexer::{Lexing, TokenKind};
use super::memo::Memo;
use super::pattern::Pattern;

/// Texts that wait to be parsed. More than that are not remembered: whoever sends one again queues it again.
const QUEUE: usize = 256;

/// The bytes that waiting texts may have together.
const QUEUE_BYTES: usize = 4 << 20;

/// Statements of one text that are told apart, each a pattern of its own.
const PARTS: usize = 1000;

/// Of them, how many are parsed at once; the others when they have waited their turn.
const PARTS_AT_ONCE: usize = 32;

/// Patterns by their digest, at most so many of them, and the only caller of libpg_query.
///
/// All methods may be called from any thread.
pub struct Patterns {
    memo: Memo,
    /// Of this process alone, so that nobody can prepare two texts that are taken for one.
    key: u64,
    queue: Mutex<Queue>,
    arrived: Condvar,
}

/// What is known of a text when it is about to run.
#[derive(Debug, Clone)]
pub enum Weighed {
    /// It was not read: it may do anything.
    Anything,
    Known(Arc<Pattern>),
    /// Nothing yet, but its words look harmless.
    Later(Digest),
}

impl Weighed {
    /// Whether it was read and means nothing to the session ([`Traits::is_plain`](super::Traits::is_plain)).
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Known(pattern) if pattern.traits.is_plain())
    }
}

/// A text that waits to be parsed.
type Queued = (Sighted, Box<[u8]>, Lexing);

#[derive(Default)]
struct Queue {
    texts: VecDeque<Queued>,
    bytes: usize,
    closed: bool,
}

impl Patterns {
    /// Remembers at most `limit` patterns; the ones that were not asked for lately make room for new ones.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            memo: Memo::new(limit),
            key: RandomState::new().hash_one(limit),
            queue: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    /// The pattern of a text, if it was learnt. Reads the text once, looks once, allocates nothing.
    #[must_use]
    pub fn known(&self, text: &[u8], lexing: &Lexing) -> Option<Arc<Pattern>> {
        self.memo.find(self.sight(text, lexing))
    }

    /// What is known of a text that is about to run. One whose words may mean something to the session, or to others'
    /// connections, is parsed now unless it was learnt before; any other soon.
    #[must_use]
    pub fn weigh(&self, text: &[u8], lexing: &Lexing) -> Weighed {
        let sighted = self.sight(text, lexing);
        if let Some(pattern) = self.memo.find(sighted) {
            return Weighed::Known(pattern);
        }
        let says_little = || {
            let word = super::first_word(text);
            [&b"alter"[..], b"call", b"create", b"do", b"drop"].iter().any(|other| word.eq_ignore_ascii_case(other))
        };
        let suspicious = || !super::words(text, lexing).effects.without(Effects::TRANSACTION).is_empty();
        // Which of several statements an answer is to must be known when it comes.
        if suspicious() || says_little() || has_several(text, lexing) {
            return Weighed::Known(self.learn_sighted(sighted, text, lexing));
        }
        self.queue(sighted, text, lexing);
        Weighed::Later(sighted.digest)
    }

    /// The pattern of a digest, if it was learnt.
    #[must_use]
    pub fn known_by(&self, digest: Digest) -> Option<Arc<Pattern>> {
        self.memo.find_digest(digest)
    }

    /// The pattern of a text; parses it now unless it was learnt before. This takes some ten microseconds for a common
    /// statement and some milliseconds for the longest that are parsed at all.
    pub fn learn(&self, text: &[u8], lexing: &Lexing) -> Arc<Pattern> {
        let sighted = self.sight(text, lexing);
        self.memo.find(sighted).unwrap_or_else(|| self.learn_sighted(sighted, text, lexing))
    }

    /// Has a text parsed by whoever [works](Self::work), soon. Nothing happens where too many wait already.
    pub fn learn_later(&self, text: &[u8], lexing: &Lexing) {
        self.queue(self.sight(text, lexing), text, lexing);
    }

    fn queue(&self, sighted: Sighted, text: &[u8], lexing: &Lexing) {
        let mut queue = self.queue.lock();
        let full = queue.texts.len() >= QUEUE || queue.bytes + text.len() > QUEUE_BYTES || queue.closed;
        if full || queue.texts.iter().any(|(waiting, ..)| waiting.check == sighted.check) {
            return;
        }
        queue.bytes += text.len();
        queue.texts.push_back((sighted, text.into(), *lexing));
        drop(queue);
        self.arrived.notify_one();
    }

    /// Parses queued texts until [`stop`](Self::stop) is called. Blocks, so it wants a thread of its own.
    pub fn work(&self) {
        while let Some(queued) = self.next_queued() {
            self.learn_queued(queued);
        }
    }

    /// Parses the texts that wait now, before it returns: at the end, for what is shown later to have its text.
    pub fn parse_waiting(&self) {
        let texts = {
            let mut queue = self.queue.lock();
            queue.bytes = 0;
            std::mem::take(&mut queue.texts)
        };
        texts.into_iter().for_each(|queued| self.learn_queued(queued));
    }

    fn learn_queued(&self, (sighted, text, lexing): Queued) {
        if self.memo.find(sighted).is_none() {
            self.learn_sighted(sighted, &text, &lexing);
        }
    }

    /// Lets everyone who [works](Self::work) return; texts that wait are forgotten.
    pub fn stop(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.texts.clear();
        queue.bytes = 0;
        drop(queue);
        self.arrived.notify_all();
    }

    /// The digest of a text of which only the beginning is here: that of its words before the first literal, which is
    /// where its length mostly comes from. It is learnt soon.
    #[must_use]
    pub fn beginning(&self, text: &[u8], lexing: &Lexing) -> Digest {
        let is_value = |kind| matches!(kind, TokenKind::Text(_) | TokenKind::Number | TokenKind::Parameter);
        let words = super::Lexer::new(text, *lexing).take_while(|token| !is_value(token.kind));
        let end = words.last().map_or(0, |token| token.end);
        let words = text.get(..end).unwrap_or_default();
        let sighted = self.sight(words, lexing);
        if self.memo.find(sighted).is_none() {
            self.queue(sighted, words, lexing);
        }
        sighted.digest
    }

    /// How many patterns are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memo.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn sight(&self, text: &[u8], lexing: &Lexing) -> Sighted {
        Sighted::of(text, lexing, self.key)
    }

    fn learn_sighted(&self, sighted: Sighted, text: &[u8], lexing: &Lexing) -> Arc<Pattern> {
        let mut pattern = learning::pattern(sighted.digest, text, lexing);
        if pattern.traits.statements > 1 {
            pattern.parts = self.parts(&pattern, text, lexing);
        }
        let pattern = Arc::new(pattern);
        self.memo.keep(sighted, Arc::clone(&pattern));
        pattern
    }

    /// The digests of a text's statements, which are patterns themselves. A text that does not parse runs none of them.
    fn parts(&self, pattern: &Pattern, text: &[u8], lexing: &Lexing) -> Box<[Digest]> {
        let pieces: Vec<_> = learning::statements(text, lexing).take(PARTS + 1).collect();
        // Semicolons in the body of a function stand between no statements.
        if pattern.fingerprint.is_none() || pieces.len() != pattern.traits.commands.len() || pieces.len() > PARTS {
            return Box::default();
        }
        let mut learnt = 0;
        let piece = |piece: std::ops::Range<usize>| {
            let piece = text.get(piece).unwrap_or_default();
            let sighted = self.sight(piece, lexing);
            if self.memo.find(sighted).is_none() {
                learnt += 1;
                match learnt {
                    ..=PARTS_AT_ONCE => _ = self.learn_sighted(sighted, piece, lexing),
                    _ => self.queue(sighted, piece, lexing),
                }
            }
            sighted.digest
        };
        pieces.into_iter().map(piece).collect()
    }

    fn next_queued(&self) -> Option<Queued> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(next) = queue.texts.pop_front() {
                queue.bytes -= next.1.len();
                return Some(next);
            }
            if queue.closed {
                return None;
            }
            self.arrived.wait(&mut queue);
        }
    }
}

/// Whether a text holds more than one statement.
fn has_several(text: &[u8], lexing: &Lexing) -> bool {
    let Some(at) = memchr::memchr(b';', text) else { return false };
    let ends = super::skip_blank(text.get(at + 1..).unwrap_or_default()).is_empty();
    !ends && learning::statements(text, lexing).nth(1).is_some()
}

impl fmt::Debug for Patterns {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Patterns").field("known", &self.len()).finish_non_exhaustive()
    }
}
