//! The pools by name: made on demand, limited in number, forgotten when nobody uses them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::budget::Budget;
use super::pool::Emptiness;
use super::{Manager, Pool, PoolSnapshot};
use crate::config;
use crate::stats::{Limit, LimitHits};

/// What a pool is of: names on the server, after aliases.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolKey {
    pub database: String,
    pub user: String,
}

/// What a new pool is made from.
#[derive(Debug)]
pub struct Blueprint<M> {
    pub manager: M,
    pub config: config::Pool,
    /// Shared with the other pools of the same server.
    pub budget: Arc<Budget>,
    pub backoff: config::Backoff,
}

/// There are as many pools as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {limit} pools already")]
pub struct PoolsExhausted {
    pub limit: usize,
}

/// All pools of the process.
pub struct Pools<M: Manager> {
    book: Mutex<Book<M>>,
    tasks: TaskTracker,
    limit_hits: Arc<LimitHits>,
}

struct Book<M: Manager> {
    pools: HashMap<PoolKey, Pool<M>>,
    limit: usize,
    waiters: usize,
}

impl<M: Manager> Pools<M> {
    /// At most `pools` pools, each with at most `waiters` waiters.
    #[must_use]
    pub fn new(pools: usize, waiters: usize, tasks: TaskTracker, limit_hits: Arc<LimitHits>) -> Self {
        Self { book: Mutex::new(Book { pools: HashMap::new(), limit: pools, waiters }), tasks, limit_hits }
    }

    #[must_use]
    pub fn get(&self, key: &PoolKey) -> Option<Pool<M>> {
        self.book.lock().pools.get(key).cloned()
    }

    /// The pool of that name, made by `draw` if there is none yet.
    ///
    /// # Errors
    /// What `draw` fails with, or [`PoolsExhausted`].
    pub fn open<E: From<PoolsExhausted>>(
        &self,
        key: &PoolKey,
        draw: impl FnOnce() -> Result<Blueprint<M>, E>,
    ) -> Result<Pool<M>, E> {
        if let Some(pool) = self.get(key) {
            return Ok(pool);
        }
        let blueprint = draw()?;
        let mut book = self.book.lock();
        if let Some(pool) = book.pools.get(key) {
            return Ok(pool.clone());
        }
        let limit = book.limit;
        if book.pools.len() >= limit {
            self.limit_hits.hit(Limit::Pools);
            return Err(PoolsExhausted { limit }.into());
        }
        let hits = Arc::clone(&self.limit_hits);
        let pool = Pool::new(key.clone(), blueprint, book.waiters, self.tasks.clone(), hits);
        book.pools.insert(key.clone(), pool.clone());
        Ok(pool)
    }

    /// All pools, in order of their names.
    #[must_use]
    pub fn all(&self) -> Vec<Pool<M>> {
        let mut all: Vec<_> = self.book.lock().pools.values().cloned().collect();
        all.sort_by(|a, b| a.key().cmp(b.key()));
        all
    }

    #[must_use]
    pub fn snapshots(&self) -> Vec<PoolSnapshot<M::Error>> {
        self.all().iter().map(Pool::snapshot).collect()
    }

    /// [`Pool::maintain`] for each.
    pub fn maintain(&self, now: Instant) {
        for pool in self.all() {
            pool.maintain(now);
        }
    }

    /// Whether a pool of another name has no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let book = self.book.lock();
        book.pools.len() >= book.limit
    }

    /// Forgets those that are so empty and that nobody has a handle of.
    pub fn forget(&self, when: Emptiness) {
        let mut book = self.book.lock();
        let disused = book.pools.values().filter(|pool| !pool.has_other_handles() && pool.is_empty(when));
        let disused: Vec<_> = disused.map(|pool| pool.key().clone()).collect();
        let removed: Vec<_> = disused.iter().filter_map(|key| book.pools.remove(key)).collect();
        drop(book);
        drop(removed);
    }

    /// Gives every pool its new configuration; a pool that has none any more is closed and forgotten.
    pub fn reconfigure(&self, now: Instant, mut config_of: impl FnMut(&PoolKey) -> Option<config::Pool>) {
        for pool in self.all() {
            match config_of(pool.key()) {
                Some(config) => pool.reconfigure(config, now),
                None => {
                    let removed = self.book.lock().pools.remove(pool.key());
                    pool.close(now);
                    drop(removed);
                }
            }
        }
    }

    /// Changes the limits; pools beyond a lower one live on.
    pub fn set_limits(&self, pools: usize, waiters: usize) {
        let mut book = self.book.lock();
        (book.limit, book.waiters) = (pools, waiters);
        drop(book);
        for pool in self.all() {
            pool.set_waiters_limit(waiters);
        }
    }

    /// [`Pool::retire_all`] for each.
    pub fn retire_all(&self, now: Instant) {
        for pool in self.all() {
            pool.retire_all(now);
        }
    }

    /// [`Pool::close`] for each, and forgets them.
    pub fn close_all(&self, now: Instant) {
        let pools = std::mem::take(&mut self.book.lock().pools);
        for pool in pools.into_values() {
            pool.close(now);
        }
    }
}

impl<M: Manager> fmt::Debug for Pools<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let book = self.book.lock();
        f.debug_struct("Pools").field("pools", &book.pools.len()).field("limit", &book.limit).finish_non_exhaustive()
    }
}
