//! Which idle backend a wish gets. Pure; the other half of [`Slots`].

use tokio::time::Instant;

use super::Wish;
use super::slots::{BackendId, Home, Occupancy, Slots, shelf_of};

/// How many backends of a shelf are looked at for one with the wished settings.
const PROFILE_SEARCH: usize = 8;

/// An idle backend that was just leased.
#[derive(Debug)]
pub struct Taken<B> {
    pub id: BackendId,
    pub backend: B,
    /// Where it is registered until it is moved to where it will be used.
    pub from: Home,
    /// Older than it may be: close it and take another.
    pub expired: bool,
}

impl<B> Slots<B> {
    /// The best idle backend for `wish` among those idle since a moment that `fresh` accepts: at `home` (from where it
    /// will be used) first, else of the worker with the most; there the session's last one, then one with its settings, then the
    /// most recently used.
    pub fn take(&mut self, home: Home, wish: &Wish, now: Instant, fresh: impl Fn(Instant) -> bool) -> Option<Taken<B>> {
        if self.idle == 0 {
            return None;
        }
        let own = shelf_of(home);
        let seat = self.choose(own, wish, &fresh).or_else(|| {
            let ready =
                |shelf: &usize| self.shelves[*shelf].newest.is_some_and(|s| fresh(self.seats[s as usize].since));
            let fullest = (0..self.shelves.len()).filter(ready).max_by_key(|&shelf| self.shelves[shelf].len)?;
            self.choose(fullest, wish, &fresh)
        })?;
        self.lease(seat, home, wish, now)
    }

    /// This backend, if it is idle since a moment that `fresh` accepts. Its age does not matter: nobody would be
    /// served by another.
    pub fn take_one(
        &mut self,
        id: BackendId,
        home: Home,
        wish: &Wish,
        now: Instant,
        fresh: impl Fn(Instant) -> bool,
    ) -> Option<Taken<B>> {
        if !self.is_idle(id) || !fresh(self.seat(id)?.since) {
            return None;
        }
        self.lease(id.seat, home, wish, now).map(|taken| Taken { expired: false, ..taken })
    }

    fn lease(&mut self, seat: u32, home: Home, wish: &Wish, now: Instant) -> Option<Taken<B>> {
        let backend = self.unshelve(seat, Occupancy::Leased { holder: wish.holder, errand: false })?;
        self.leased += 1;
        let entry = &mut self.seats[seat as usize];
        let from = std::mem::replace(&mut entry.home, home);
        entry.since = now;
        let expired = entry.expires.is_some_and(|at| at <= now);
        let id = BackendId { generation: entry.generation, seat };
        Some(Taken { id, backend, from, expired })
    }

    fn choose(&self, shelf: usize, wish: &Wish, fresh: &impl Fn(Instant) -> bool) -> Option<u32> {
        let newest = self.shelves.get(shelf)?.newest?;
        if let Some(last) = wish.last_backend
            && let Some(seat) = self.seats.get(last.seat as usize)
            && seat.generation == last.generation
            && shelf_of(seat.home) == shelf
            && matches!(seat.occupancy, Occupancy::Idle { .. })
            && fresh(seat.since)
        {
            return Some(last.seat);
        }
        let mut next = Some(newest);
        for _ in 0..PROFILE_SEARCH {
            let Some(index) = next else { break };
            let seat = &self.seats[index as usize];
            let Occupancy::Idle { profile, older, .. } = seat.occupancy else { break };
            if !fresh(seat.since) {
                break;
            }
            if profile == wish.profile {
                return Some(index);
            }
            next = older;
        }
        fresh(self.seats[newest as usize].since).then_some(newest)
    }
}
