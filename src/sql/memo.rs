//! A bounded table from digest to pattern that many threads read.
//!
//! Divided into shards by digest, each with a lock of its own. A pattern that is found is marked; whoever needs room
//! goes round and takes the first that was not marked since the last round.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::FixedState;
use parking_lot::RwLock;

use super::digest::{Digest, Sighted};
use super::pattern::Pattern;

const SHARDS: usize = 16;

#[derive(Debug)]
pub(super) struct Memo {
    shards: Box<[RwLock<Shard>]>,
    /// Patterns that one shard may hold.
    room: usize,
}

#[derive(Debug, Default)]
struct Shard {
    places: HashMap<Digest, usize, FixedState>,
    held: Vec<Held>,
    /// Where the round goes on.
    hand: usize,
}

#[derive(Debug)]
struct Held {
    check: u64,
    pattern: Arc<Pattern>,
    wanted: AtomicBool,
}

impl Memo {
    pub(super) fn new(limit: usize) -> Self {
        let shards = if limit < SHARDS * 8 { 1 } else { SHARDS };
        Self { shards: (0..shards).map(|_| RwLock::default()).collect(), room: (limit / shards).max(1) }
    }

    pub(super) fn find(&self, sighted: Sighted) -> Option<Arc<Pattern>> {
        let shard = self.shard(sighted.digest)?.read();
        let held = shard.get(sighted.digest)?;
        (held.check == sighted.check).then(|| held.take())
    }

    pub(super) fn find_digest(&self, digest: Digest) -> Option<Arc<Pattern>> {
        self.shard(digest)?.read().get(digest).map(Held::take)
    }

    /// Keeps a pattern; in place of one with the same digest.
    pub(super) fn keep(&self, sighted: Sighted, pattern: Arc<Pattern>) {
        let Some(shard) = self.shard(sighted.digest) else { return };
        let held = Held { check: sighted.check, pattern, wanted: AtomicBool::new(false) };
        shard.write().keep(held, self.room);
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().held.len()).sum()
    }

    fn shard(&self, digest: Digest) -> Option<&RwLock<Shard>> {
        // The upper bits: the tables within go by the lower ones.
        let place = (digest.number() >> 48) as usize % self.shards.len();
        self.shards.get(place)
    }
}

impl Shard {
    fn get(&self, digest: Digest) -> Option<&Held> {
        self.held.get(*self.places.get(&digest)?)
    }

    fn keep(&mut self, held: Held, room: usize) {
        let digest = held.pattern.digest;
        let place = match self.places.get(&digest) {
            Some(place) => *place,
            None if self.held.len() < room => {
                self.places.insert(digest, self.held.len());
                self.held.push(held);
                return;
            }
            None => self.unwanted(),
        };
        if let Some(old) = self.held.get_mut(place) {
            self.places.remove(&old.pattern.digest);
            self.places.insert(digest, place);
            *old = held;
        }
    }

    /// The next place whose pattern was not found since the hand passed it.
    fn unwanted(&mut self) -> usize {
        loop {
            self.hand = (self.hand + 1) % self.held.len().max(1);
            let wanted = self.held.get(self.hand).is_some_and(|held| held.wanted.swap(false, Ordering::Relaxed));
            if !wanted {
                return self.hand;
            }
        }
    }
}

impl Held {
    fn take(&self) -> Arc<Pattern> {
        // A look first: readers of one pattern should not fight over its cache line.
        if !self.wanted.load(Ordering::Relaxed) {
            self.wanted.store(true, Ordering::Relaxed);
        }
        Arc::clone(&self.pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Lexing, Patterns};

    #[test]
    fn a_pattern_is_not_found_by_another_text_that_collides_with_it() {
        let pattern = Patterns::new(1).learn(b"select 1", &Lexing::default());
        let memo = Memo::new(10);
        let (own, other) = (Sighted { digest: pattern.digest, check: 1 }, Sighted { digest: pattern.digest, check: 2 });
        memo.keep(own, Arc::clone(&pattern));
        assert!(memo.find(own).is_some() && memo.find(other).is_none());
        memo.keep(other, pattern);
        assert!(memo.find(own).is_none() && memo.find(other).is_some());
        assert_eq!(memo.len(), 1);
    }
}
