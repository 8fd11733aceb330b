//! Who waits for a lease of one pool, and who is next.
//!
//! Pure: no lock, no clock, no waker of its own (a waiter carries whatever its owner puts there).
//!
//! **Order.** A waiter's rank is the moment it came, brought forward by one second for each class of priority. The
//! lowest rank is first. So a second of waiting is worth one class, ranks never change while waiting, and nobody can be
//! overtaken for ever: who comes more than 255 seconds later is always behind.
//!
//! **Preference.** A backend that comes back on a worker goes to the first waiter of that worker, unless the first of
//! all has a rank more than [`PREFERENCE`] lower: staying on a worker saves system calls, and costs others at most that.

use std::time::Duration;

use tokio::time::Instant;

/// How far a waiter of the backend's own worker may be preferred to the first of all.
pub const PREFERENCE: Duration = Duration::from_millis(5);

/// Names one waiter from [`Queue::join`] to [`Queue::leave`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    generation: u32,
    place: u32,
}

/// Place in the order: lower is sooner. Equal only for waiters of equal class that came at the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rank {
    arrived: Instant,
    priority: u8,
}

impl Rank {
    /// Negative if `self` is before `other`: how much, in nanoseconds.
    fn behind(self, other: Self) -> i128 {
        let classes = (i128::from(other.priority) - i128::from(self.priority)) * 1_000_000_000;
        let later = self.arrived.saturating_duration_since(other.arrived).as_nanos();
        let sooner = other.arrived.saturating_duration_since(self.arrived).as_nanos();
        classes + i128::try_from(later).unwrap_or(i128::MAX / 4) - i128::try_from(sooner).unwrap_or(i128::MAX / 4)
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    rank: Rank,
    lane: u32,
    /// `None` once called.
    links: Option<Links>,
    /// `None` when the place is free.
    waiter: Option<T>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Links {
    sooner: Option<u32>,
    later: Option<u32>,
}

/// Waiters of one worker and priority, in order of rank.
#[derive(Debug)]
struct Lane {
    worker: usize,
    priority: u8,
    first: Option<u32>,
    last: Option<u32>,
}

/// See the module. `T` is what the owner keeps with a waiter.
#[derive(Debug)]
pub struct Queue<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    lanes: Vec<Lane>,
    waiting: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), lanes: Vec::new(), waiting: 0 }
    }
}

impl<T> Queue<T> {
    /// Waiters that were not called yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Adds a waiter that came at `arrived`; one that was called in vain joins again with its first moment and so
    /// gets its old place.
    pub fn join(&mut self, worker: usize, priority: u8, arrived: Instant, waiter: T) -> Ticket {
        let rank = Rank { arrived, priority };
        let lane = self.lane(worker, priority);
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, rank, lane, links: None, waiter: None });
            u32::try_from(self.places.len() - 1).expect("waiters are limited far below 2^32")
        });
        let entry = &mut self.places[place as usize];
        debug_assert!(entry.waiter.is_none() && entry.links.is_none(), "a free place is free");
        let generation = entry.generation.wrapping_add(1);
        *entry = Place { generation, rank, lane, links: Some(Links::default()), waiter: Some(waiter) };
        self.link(place);
        self.waiting += 1;
        Ticket { generation, place }
    }

    /// Who gets what `worker` has to give, or simply the first of all. The waiter stays readable until it leaves.
    pub fn call(&mut self, worker: Option<usize>) -> Option<Ticket> {
        let next = self.next(worker)?;
        self.unlink(next);
        self.waiting -= 1;
        Some(Ticket { generation: self.places[next as usize].generation, place: next })
    }

    /// Removes the waiter, called or not. `None` if it has left before.
    pub fn leave(&mut self, ticket: Ticket) -> Option<T> {
        let place = self.places.get_mut(ticket.place as usize).filter(|p| p.generation == ticket.generation)?;
        let waiter = place.waiter.take()?;
        if place.links.is_some() {
            self.unlink(ticket.place);
            self.waiting -= 1;
        }
        self.free.push(ticket.place);
        Some(waiter)
    }

    /// What its owner keeps with the waiter.
    pub fn waiter_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        let place = self.places.get_mut(ticket.place as usize).filter(|p| p.generation == ticket.generation)?;
        place.waiter.as_mut()
    }

    /// The first of all, who would be called next.
    #[must_use]
    pub fn first(&self) -> Option<&T> {
        self.places[self.next(None)? as usize].waiter.as_ref()
    }

    /// When the one came who has waited longest.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.lanes.iter().filter_map(|lane| lane.first).map(|first| self.places[first as usize].rank.arrived).min()
    }

    fn next(&self, worker: Option<usize>) -> Option<u32> {
        let (mut first, mut own): (Option<u32>, Option<u32>) = (None, None);
        for lane in &self.lanes {
            let Some(head) = lane.first else { continue };
            let sooner = |than: Option<u32>| than.is_none_or(|than| self.behind(head, than) < 0);
            if sooner(first) {
                first = Some(head);
            }
            if Some(lane.worker) == worker && sooner(own) {
                own = Some(head);
            }
        }
        let (first, own) = (first?, own.or(first)?);
        let bound = i128::try_from(PREFERENCE.as_nanos()).unwrap_or(0);
        Some(if self.behind(own, first) > bound { first } else { own })
    }

    fn behind(&self, place: u32, other: u32) -> i128 {
        self.places[place as usize].rank.behind(self.places[other as usize].rank)
    }

    fn lane(&mut self, worker: usize, priority: u8) -> u32 {
        let found = self.lanes.iter().position(|lane| lane.worker == worker && lane.priority == priority);
        let lane = found.unwrap_or_else(|| {
            self.lanes.push(Lane { worker, priority, first: None, last: None });
            self.lanes.len() - 1
        });
        u32::try_from(lane).expect("a lane per worker and priority")
    }

    /// Almost always at the end of its lane; one that joins again is near the front.
    fn link(&mut self, place: u32) {
        let lane = self.places[place as usize].lane as usize;
        let Lane { first, last, .. } = self.lanes[lane];
        let links = match last {
            Some(last) if self.behind(place, last) < 0 => {
                let mut later = first;
                while let Some(at) = later.filter(|&at| self.behind(at, place) <= 0) {
                    later = self.places[at as usize].links.and_then(|links| links.later);
                }
                let sooner = later.and_then(|at| self.places[at as usize].links).and_then(|links| links.sooner);
                Links { sooner, later }
            }
            _ => Links { sooner: last, later: None },
        };
        self.places[place as usize].links = Some(links);
        self.set_later(lane, links.sooner, Some(place));
        self.set_sooner(lane, links.later, Some(place));
    }

    fn unlink(&mut self, place: u32) {
        let lane = self.places[place as usize].lane as usize;
        let links = self.places[place as usize].links.take();
        debug_assert!(links.is_some(), "only a waiter that was not called is in a lane");
        if let Some(links) = links {
            self.set_later(lane, links.sooner, links.later);
            self.set_sooner(lane, links.later, links.sooner);
        }
    }

    /// Sets who comes after `place`, or who is first in the lane.
    fn set_later(&mut self, lane: usize, place: Option<u32>, later: Option<u32>) {
        match place {
            None => self.lanes[lane].first = later,
            Some(place) => {
                if let Some(links) = &mut self.places[place as usize].links {
                    links.later = later;
                }
            }
        }
    }

    /// Sets who comes before `place`, or who is last in the lane.
    fn set_sooner(&mut self, lane: usize, place: Option<u32>, sooner: Option<u32>) {
        match place {
            None => self.lanes[lane].last = sooner,
            Some(place) => {
                if let Some(links) = &mut self.places[place as usize].links {
                    links.sooner = sooner;
                }
            }
        }
    }
}
