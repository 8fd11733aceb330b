//! The connections that one PostgreSQL server allows, shared by its pools.
//!
//! A pool takes a permit for every seat it fills and gives it back when the seat is free. When none is left, the pool
//! is noted as wanting, and
//!
//! - idle backends of other pools are closed for it, those of the pool with the most to spare first;
//! - a backend that comes back to a pool with more than its fair share (the cap divided by the pools that hold or want
//!   something) is closed, if its permit makes the shares more equal;
//! - a permit that becomes free goes to the wanting pool with the fewest backends.
//!
//! A server may be full before that, by a cap of its own that others share: what our pools hold when it says so is the
//! cap for the moment, for pools that it has refused. It grows again with time, by one connection in the first second,
//! by two in the next, by four then: room that others leave is found, and a server that stays full is asked in vain
//! about once a second.
//!
//! A pool within its share keeps what it used within the last [`GRACE`], so that two busy pools do not close each
//! other's backends in turns. Where there are more pools than permits, a pool without any gets one after [`PATIENCE`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::slots::Home;

/// How long an idle backend of a pool within its fair share is safe from other pools.
pub const GRACE: Duration = Duration::from_secs(1);
/// How long a pool without any backend waits before the last one of another pool is taken.
pub const PATIENCE: Duration = Duration::from_millis(100);
/// How long a pool that the server had no room for asks only where there seems to be some.
const BELIEVED: Duration = Duration::from_secs(10);
/// How long nobody searches again after a search for idle backends found none.
const SEARCH_PAUSE: Duration = Duration::from_millis(10);

/// What a budget asks of a pool. Never called with a lock held.
pub(super) trait Member: Send + Sync {
    /// Offers a permit; false if it is no longer needed. The caller runs on `home`.
    fn granted(self: Arc<Self>, home: Home, now: Instant) -> bool;
    /// Idle backends beyond those that are to be kept.
    fn spare(&self) -> usize;
    /// Closes one idle backend unused since `before`, unless only those are left that are to be kept and `all` is
    /// false. Gives its permit back. False if there is none.
    fn give_up(self: Arc<Self>, before: Instant, all: bool, home: Home, now: Instant) -> bool;
}

/// Names a pool to its budget, and after it has left no other: a permit may be on its way back then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MemberId(u64);

struct Entry {
    pool: Weak<dyn Member>,
    held: usize,
    /// When the server last had no room for it.
    refused: Option<Instant>,
    /// A connection of its own, no pool: it has no share.
    single: bool,
    /// Since when it waits for a permit.
    wants: Option<Instant>,
}

/// What a server that was full has let us have.
#[derive(Debug, Clone, Copy)]
struct Found {
    most: usize,
    at: Instant,
}

impl Found {
    /// How many may be had now, or tried.
    fn cap(self, now: Instant) -> usize {
        let seconds = u32::try_from(now.saturating_duration_since(self.at).as_secs()).unwrap_or(u32::MAX);
        let more = 1_usize.checked_shl(seconds).map_or(usize::MAX, |doubled| doubled - 1);
        self.most.saturating_add(more)
    }
}

#[derive(Default)]
struct Ledger {
    max: Option<usize>,
    found: Option<Found>,
    entries: BTreeMap<MemberId, Entry>,
    /// How many have ever joined.
    joined: u64,
    total: usize,
    /// Of these, the permits of backends that are on their way out.
    leaving: usize,
    no_search_before: Option<Instant>,
}

/// See the module.
pub struct Budget {
    ledger: Mutex<Ledger>,
    /// Somebody wants, or more is held than allowed: releases must look closer.
    contended: AtomicBool,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = self.ledger.lock();
        f.debug_struct("Budget").field("max", &ledger.max).field("held", &ledger.total).finish_non_exhaustive()
    }
}

impl Ledger {
    fn entry(&mut self, id: MemberId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    fn present(&self) -> impl Iterator<Item = (MemberId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// What pools may hold together.
    fn cap(&self, now: Instant) -> Option<usize> {
        self.max.into_iter().chain(self.found.map(|found| found.cap(now))).min()
    }

    /// Whether there is no permit for this pool. What the server has refused to others counts for those alone that it
    /// has refused: it keeps connections for some.
    fn is_full_for(&self, entry: &Entry, now: Instant) -> bool {
        let is_refused = entry.refused.is_some_and(|at| now.saturating_duration_since(at) < BELIEVED);
        let cap = if is_refused { self.cap(now) } else { self.max };
        cap.is_some_and(|cap| self.total >= cap)
    }

    /// The cap, less what single connections hold, divided by the pools that hold or want something.
    fn share(&self, now: Instant) -> usize {
        let present = || self.present().map(|(_, entry)| entry);
        let users = present().filter(|entry| !entry.single && (entry.held > 0 || entry.wants.is_some())).count();
        let single: usize = present().filter(|entry| entry.single).map(|entry| entry.held).sum();
        self.cap(now).map_or(usize::MAX, |cap| cap.saturating_sub(single) / users.max(1))
    }

    /// The wanting pool with the fewest backends, the longest wanting among equals.
    fn neediest(&self, such: impl Fn(MemberId, &Entry) -> bool) -> Option<(MemberId, &Entry)> {
        self.present()
            .filter(|(id, entry)| entry.wants.is_some() && such(*id, entry))
            .min_by_key(|(_, entry)| (entry.held, entry.wants))
    }

    fn give(&mut self, id: MemberId, permits: usize) {
        let Some(entry) = self.entry(id) else { return };
        debug_assert!(entry.held >= permits, "a pool gives back what it holds");
        entry.held = entry.held.saturating_sub(permits);
        self.total = self.total.saturating_sub(permits);
    }
}

impl Budget {
    /// `max` connections over all pools; `None` is no cap.
    #[must_use]
    pub fn new(max: Option<usize>) -> Arc<Self> {
        let ledger = Mutex::new(Ledger { max, ..Ledger::default() });
        Arc::new(Self { ledger, contended: AtomicBool::new(false) })
    }

    /// Changes the cap. What is held beyond a lower one is closed as it comes back.
    pub fn set_max(&self, max: Option<usize>, now: Instant) {
        self.ledger.lock().max = max;
        self.grant(None, now);
    }

    /// The server has no room for a connection for which there was a permit, and there still is. Whether our pools have
    /// others, which they may pass to each other.
    pub(super) fn found_full(&self, id: MemberId, now: Instant) -> bool {
        let mut ledger = self.ledger.lock();
        let most = ledger.total.saturating_sub(1);
        if most > 0 {
            if let Some(entry) = ledger.entry(id) {
                entry.refused = Some(now);
            }
            ledger.found = Some(Found { most, at: now });
        }
        most > 0
    }

    /// The cap over all pools that is configured.
    #[must_use]
    pub fn max(&self) -> Option<usize> {
        self.ledger.lock().max
    }

    /// Connections held by all pools.
    #[must_use]
    pub fn held(&self) -> usize {
        self.ledger.lock().total
    }

    pub(super) fn join(&self, pool: Weak<dyn Member>) -> MemberId {
        self.enter(pool, false)
    }

    /// As [`Self::join`] for a connection beside the pools.
    pub(super) fn join_single(&self, connection: Weak<dyn Member>) -> MemberId {
        self.enter(connection, true)
    }

    fn enter(&self, pool: Weak<dyn Member>, single: bool) -> MemberId {
        let mut ledger = self.ledger.lock();
        ledger.joined += 1;
        let id = MemberId(ledger.joined);
        ledger.entries.insert(id, Entry { pool, held: 0, refused: None, single, wants: None });
        id
    }

    /// The pool is gone, and so is all it held.
    pub(super) fn leave(&self, id: MemberId, now: Instant) {
        let mut ledger = self.ledger.lock();
        let entry = ledger.entries.remove(&id);
        ledger.total = ledger.total.saturating_sub(entry.map_or(0, |entry| entry.held));
        drop(ledger);
        self.grant(None, now);
    }

    /// Takes a permit. When there is none, notes the pool as wanting if `want`.
    pub(super) fn acquire(&self, id: MemberId, want: bool, now: Instant) -> bool {
        let mut ledger = self.ledger.lock();
        let Some(entry) = ledger.entries.get(&id) else { return false };
        let is_full = ledger.is_full_for(entry, now);
        let Some(entry) = ledger.entry(id) else { return false };
        if !is_full {
            entry.held += 1;
            ledger.total += 1;
            return true;
        }
        if want {
            entry.wants.get_or_insert(now);
            self.note_contention(&ledger);
        }
        false
    }

    /// The pool has nobody waiting for a permit.
    pub(super) fn unwant(&self, id: MemberId) {
        if !self.contended() {
            return;
        }
        let mut ledger = self.ledger.lock();
        if let Some(entry) = ledger.entry(id) {
            entry.wants = None;
        }
        self.note_contention(&ledger);
    }

    /// Whether [`Self::must_yield`] could say yes to anybody.
    pub(super) fn contended(&self) -> bool {
        self.contended.load(Ordering::Relaxed)
    }

    /// Whether a backend that comes back to this pool is to be closed for the sake of another.
    pub(super) fn must_yield(&self, id: MemberId, now: Instant) -> bool {
        if !self.contended() {
            return false;
        }
        let mut ledger = self.ledger.lock();
        let held = ledger.entry(id).map_or(0, |entry| entry.held);
        if held <= ledger.share(now) {
            return false;
        }
        if ledger.max.is_some_and(|max| ledger.total.saturating_sub(ledger.leaving) > max) {
            return true;
        }
        // Those that are on their way out may be enough.
        if ledger.leaving >= ledger.present().filter(|(other, entry)| *other != id && entry.wants.is_some()).count() {
            return false;
        }
        let Some((_, neediest)) = ledger.neediest(|other, _| other != id) else { return false };
        let patient = neediest.wants.is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE);
        neediest.held + 1 < held || (neediest.held == 0 && patient)
    }

    /// Permits come back, and go on to who wants them.
    pub(super) fn give_back(&self, id: MemberId, permits: usize, home: Home, now: Instant) {
        self.give_back_quietly(id, permits);
        self.grant(home, now);
    }

    /// A backend whose permit is still held is on its way out; [`Self::has_left`] follows.
    pub(super) fn leaves(&self) {
        self.ledger.lock().leaving += 1;
    }

    pub(super) fn has_left(&self) {
        let mut ledger = self.ledger.lock();
        ledger.leaving = ledger.leaving.saturating_sub(1);
    }

    /// As [`Self::give_back`] where no task may be spawned; [`Self::grant`] follows with the next maintenance.
    pub(super) fn give_back_quietly(&self, id: MemberId, permits: usize) {
        self.ledger.lock().give(id, permits);
    }

    /// Gives free permits to wanting pools.
    pub(super) fn grant(&self, home: Home, now: Instant) {
        loop {
            let mut ledger = self.ledger.lock();
            let neediest = ledger.neediest(|_, entry| !ledger.is_full_for(entry, now)).map(|(id, _)| id);
            let Some((id, entry)) = neediest.and_then(|id| Some((id, ledger.entry(id)?))) else {
                self.note_contention(&ledger);
                return;
            };
            // It is marked again by its own next attempt if one permit is not enough.
            entry.wants = None;
            let Some(pool) = entry.pool.upgrade() else { continue };
            entry.held += 1;
            ledger.total += 1;
            drop(ledger);
            if !pool.granted(home, now) {
                self.give_back_quietly(id, 1);
            }
        }
    }

    /// Closes up to `short` idle backends of other pools for a pool that was refused permits.
    pub(super) fn reclaim(&self, id: MemberId, short: usize, home: Home, now: Instant) {
        let leaving = self.ledger.lock().leaving;
        for _ in leaving..short {
            let mut ledger = self.ledger.lock();
            let is_short = |entry: &Entry| entry.wants.is_some() && ledger.is_full_for(entry, now);
            if !ledger.entries.get(&id).is_some_and(is_short) || ledger.no_search_before.is_some_and(|at| now < at) {
                return;
            }
            let share = ledger.share(now);
            let own = ledger.entry(id).map_or(0, |entry| entry.held);
            let candidates: Vec<_> = ledger
                .present()
                .filter(|(other, entry)| *other != id && entry.held > 0)
                .filter_map(|(_, entry)| {
                    let entitled = entry.held <= share || (own > 0 && own + 1 >= entry.held);
                    Some((entry.pool.upgrade()?, entitled))
                })
                .collect();
            drop(ledger);
            if !Self::take_idle(&candidates, own == 0, home, now) {
                self.ledger.lock().no_search_before = now.checked_add(SEARCH_PAUSE);
                return;
            }
        }
    }

    /// One idle backend of the candidate with the most to spare; only for a `destitute` pool one that was to be kept.
    fn take_idle(candidates: &[(Arc<dyn Member>, bool)], destitute: bool, home: Home, now: Instant) -> bool {
        let mut ranked: Vec<_> = candidates.iter().map(|(pool, entitled)| (pool.spare(), pool, *entitled)).collect();
        ranked.sort_by_key(|(spare, ..)| std::cmp::Reverse(*spare));
        let long_ago = now.checked_sub(GRACE);
        let spared = ranked.iter().any(|(_, pool, entitled)| {
            let before = if *entitled { long_ago } else { Some(now) };
            before.is_some_and(|before| Arc::clone(pool).give_up(before, false, home, now))
        });
        spared
            || destitute
                && ranked.iter().any(|(_, pool, entitled)| !entitled && Arc::clone(pool).give_up(now, true, home, now))
    }

    fn note_contention(&self, ledger: &MutexGuard<'_, Ledger>) {
        let over = ledger.max.is_some_and(|max| ledger.total > max);
        let wanted = ledger.present().any(|(_, entry)| entry.wants.is_some());
        self.contended.store(over || wanted, Ordering::Relaxed);
    }
}
