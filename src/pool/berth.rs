//! A connection beside the pools that counts as one of the server's, such as one that listens for many sessions.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::budget::{Budget, Member, MemberId};
use super::slots::Home;

/// How long to wait before idle backends of pools are searched for again.
const RETRY: Duration = Duration::from_millis(100);

/// One permit of a [`Budget`], to be waited for, and given back when dropped.
pub struct Berth {
    budget: Arc<Budget>,
    id: MemberId,
    owner: Arc<Owner>,
}

#[derive(Default)]
struct Owner {
    has_permit: AtomicBool,
    granted: Notify,
    /// Nobody needs the connection just now.
    spare: AtomicBool,
    /// A pool has asked for it.
    recalled: AtomicBool,
    recall: Notify,
}

impl Berth {
    /// A berth without a permit.
    #[must_use]
    pub fn new(budget: &Arc<Budget>) -> Self {
        let owner = Arc::new(Owner::default());
        let id = budget.join_single(Arc::downgrade(&owner) as Weak<dyn Member>);
        Self { budget: Arc::clone(budget), id, owner }
    }

    /// Waits for the permit; idle backends of pools are closed for it. Cancel safe.
    pub async fn acquire(&self) {
        loop {
            let now = Instant::now();
            if self.owner.has_permit.load(Ordering::Acquire) {
                return;
            }
            if self.budget.acquire(self.id, true, now) {
                self.budget.unwant(self.id);
                if self.owner.has_permit.swap(true, Ordering::AcqRel) {
                    // It was granted in the same moment.
                    self.budget.give_back(self.id, 1, None, now);
                }
                return;
            }
            self.budget.reclaim(self.id, 1, None, now);
            // Granted or not, the loop looks.
            let _ = timeout(RETRY, self.owner.granted.notified()).await;
        }
    }

    /// The server had no room for the connection: gives the permit back, to wait for another one that idle backends of
    /// pools make way for. False where there are none at all.
    pub fn give_back_refused(&self) -> bool {
        let now = Instant::now();
        let is_shared = self.budget.found_full(self.id, now);
        if is_shared && self.owner.has_permit.swap(false, Ordering::AcqRel) {
            self.budget.give_back(self.id, 1, None, now);
        }
        is_shared
    }

    /// Says whether the connection could be closed without harm.
    pub fn set_spare(&self, spare: bool) {
        self.owner.spare.store(spare, Ordering::Release);
        if !spare {
            self.owner.recalled.store(false, Ordering::Release);
        }
    }

    /// Waits until a pool needs the permit of a spare connection. Cancel safe.
    pub async fn recalled(&self) {
        while !self.owner.recalled.load(Ordering::Acquire) {
            self.owner.recall.notified().await;
        }
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        self.budget.leave(self.id, Instant::now());
    }
}

impl Member for Owner {
    fn granted(self: Arc<Self>, _: Home, _: Instant) -> bool {
        let needed = !self.has_permit.swap(true, Ordering::AcqRel);
        if needed {
            self.granted.notify_one();
        }
        needed
    }

    fn spare(&self) -> usize {
        usize::from(self.spare.load(Ordering::Acquire) && !self.recalled.load(Ordering::Acquire))
    }

    /// The permit comes back when the connection is closed, a moment later.
    fn give_up(self: Arc<Self>, _: Instant, _: bool, _: Home, _: Instant) -> bool {
        let found = self.spare() > 0 && !self.recalled.swap(true, Ordering::AcqRel);
        if found {
            self.recall.notify_one();
        }
        found
    }
}

impl fmt::Debug for Berth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Berth").field("has_permit", &self.owner.has_permit).finish_non_exhaustive()
    }
}
