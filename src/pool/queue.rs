//! Who waits for a lease of one pool, and who is next.
//!
//! Pure: no lock, no clock, no waker of its own (a waiter carries whatever its owner puts there).
//!
//! **Order.** A waiter's rank is the moment it came, brought forward by one second for each class of priority. The
//! lowest rank is first. So a second of waiting is worth one class, ranks never change while waiting, and nobody can be
//! overtaken for ever: who comes more than 255 seconds later is always behind.
//!
//! **Lines.** A waiter stands where it can be served from: [`Line::Any`] backend will do, it needs a [`Line::Pin`] first
//! and then asks for a backend in its old place, or only [`Line::One`] backend will do. Who stands in the last two is in
//! nobody's way.
//!
//! **Preference.** A backend that comes back on a worker goes to the first waiter of that worker, unless the first of
//! all has a rank more than [`PREFERENCE`] lower: staying on a worker saves system calls, and costs others at most that.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::slots::BackendId;

/// How far a waiter of the backend's own worker may be preferred to the first of all.
pub const PREFERENCE: Duration = Duration::from_millis(5);

/// How many waiters of a lane are looked at for one that is alike.
const ALIKE_SEARCH: usize = 64;

/// Places whose memory is kept when nobody waits any more: a crowd that once came costs nothing afterwards.
const KEPT: usize = 256;

/// Names one waiter from [`Queue::join`] to [`Queue::leave`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    generation: u32,
    place: u32,
}

/// Place in the order, in nanoseconds of the queue's own time: lower is sooner. Equal only for waiters of equal class
/// that came at the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rank(i64);

impl Rank {
    /// Of one who came `arrived`, in time that began with `epoch`; a century from there all are alike.
    fn new(arrived: Instant, priority: u8, epoch: Instant) -> Self {
        let later = match arrived.checked_duration_since(epoch) {
            Some(later) => nanos(later),
            None => -nanos(epoch.saturating_duration_since(arrived)),
        };
        Self(later - i64::from(priority) * 1_000_000_000)
    }

    /// Negative if `self` is before `other`: how much, in nanoseconds.
    fn behind(self, other: Self) -> i64 {
        self.0 - other.0
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

/// What a waiter needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Any backend.
    Any,
    /// This backend.
    One(BackendId),
    /// A pin, before it is of any use to give it a backend.
    Pin,
}

/// Who waits, and with which claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub worker: usize,
    pub priority: u8,
    pub arrived: Instant,
}

/// Where a place is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LaneId {
    Any(u32),
    One(BackendId),
    Pin,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    rank: Rank,
    claim: Claim,
    lane: LaneId,
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

/// The ends of a chain of waiters in order of rank.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    first: Option<u32>,
    last: Option<u32>,
}

/// Waiters of one worker and priority whom any backend serves.
#[derive(Debug)]
struct Lane {
    worker: usize,
    priority: u8,
    ends: Ends,
}

/// See the module. `T` is what the owner keeps with a waiter.
#[derive(Debug)]
pub struct Queue<T> {
    /// When the first of all came.
    epoch: Option<Instant>,
    /// Of who joined last; nobody else has had it while a ticket of that time was left.
    generation: u32,
    places: Vec<Place<T>>,
    free: Vec<u32>,
    lanes: Vec<Lane>,
    pin: Ends,
    /// Only of backends that somebody waits for.
    ones: HashMap<BackendId, Ends>,
    waiting: usize,
    for_one: usize,
    for_pin: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            epoch: None,
            generation: 0,
            places: Vec::new(),
            free: Vec::new(),
            lanes: Vec::new(),
            pin: Ends::default(),
            ones: HashMap::new(),
            waiting: 0,
            for_one: 0,
            for_pin: 0,
        }
    }
}

impl<T> Queue<T> {
    /// Waiters that any backend would serve and that were not called yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Waiters that no backend, or not any, would serve: for a pin, or for one backend.
    #[must_use]
    pub fn aside(&self) -> usize {
        self.for_one + self.for_pin
    }

    /// Places that memory is kept for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.places.capacity()
    }

    /// Of those, who waits for a pin.
    #[must_use]
    pub fn waiting_for_pin(&self) -> usize {
        self.for_pin
    }

    /// Adds a waiter; one that was called in vain joins again with its first moment and so gets its old place.
    pub fn join(&mut self, line: Line, claim: Claim, waiter: T) -> Ticket {
        let rank = Rank::new(claim.arrived, claim.priority, *self.epoch.get_or_insert(claim.arrived));
        let lane = self.lane(line, claim.worker, claim.priority);
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let taken = Place { generation, rank, claim, lane, links: None, waiter: Some(waiter) };
        let place = match self.free.pop() {
            Some(place) => {
                let entry = &mut self.places[place as usize];
                debug_assert!(entry.waiter.is_none() && entry.links.is_none(), "a free place is free");
                *entry = taken;
                place
            }
            None => {
                self.places.push(taken);
                u32::try_from(self.places.len() - 1).expect("waiters are limited far below 2^32")
            }
        };
        self.link(place);
        Ticket { generation, place }
    }

    /// Moves a waiter that was not called to another line, with its rank. False if it was called or has left.
    pub fn move_to(&mut self, ticket: Ticket, line: Line) -> bool {
        let Some(place) = self.places.get(ticket.place as usize).filter(|p| p.generation == ticket.generation) else {
            return false;
        };
        if place.links.is_none() {
            return false;
        }
        let Claim { worker, priority, .. } = place.claim;
        self.unlink(ticket.place);
        let lane = self.lane(line, worker, priority);
        self.places[ticket.place as usize].lane = lane;
        self.link(ticket.place);
        true
    }

    /// Who of those whom any backend serves gets what `worker` has to give, or simply the first of them. The waiter
    /// stays readable until it leaves.
    pub fn call(&mut self, worker: Option<usize>) -> Option<Ticket> {
        let next = self.next(worker)?;
        Some(self.summon(next))
    }

    /// Who gets this backend, which `worker` has to give: as [`Self::call`], but for who waits for no other and came
    /// before the first of all.
    pub fn call_for(&mut self, id: BackendId, worker: Option<usize>) -> Option<Ticket> {
        let one = self.ones.get(&id).and_then(|ends| ends.first);
        let next = match (one, self.next(None)) {
            (Some(one), Some(first)) if self.behind(one, first) > 0 => self.next(worker)?,
            (Some(one), _) => one,
            (None, _) => self.next(worker)?,
        };
        Some(self.summon(next))
    }

    /// Calls who is `alike` and stands less than `patience` behind the first of all, rather one of `worker`. Looks at
    /// the first waiters of each lane only.
    pub fn call_alike(
        &mut self,
        worker: Option<usize>,
        patience: Duration,
        alike: impl Fn(&T) -> bool,
    ) -> Option<Ticket> {
        let first = self.next(None)?;
        let near = |place: u32| self.behind(place, first) < nanos(patience);
        let mut best: Option<(bool, u32)> = None;
        for lane in &self.lanes {
            let own = Some(lane.worker) == worker;
            let better = |place: u32| {
                best.is_none_or(|(with, other)| (own && !with) || (own == with && self.behind(place, other) < 0))
            };
            let is_alike = |place: &u32| self.places[*place as usize].waiter.as_ref().is_some_and(&alike);
            let found = self.in_lane(lane).take(ALIKE_SEARCH).find(is_alike);
            if let Some(place) = found.filter(|place| near(*place) && better(*place)) {
                best = Some((own, place));
            }
        }
        best.map(|(_, place)| self.summon(place))
    }

    fn in_lane(&self, lane: &Lane) -> impl Iterator<Item = u32> {
        let later = |place: &u32| self.places[*place as usize].links.and_then(|links| links.later);
        std::iter::successors(lane.ends.first, later)
    }

    /// Whether one who comes `at` that moment stands less than `patience` behind the first of all.
    #[must_use]
    pub fn is_near(&self, at: Instant, priority: u8, patience: Duration) -> bool {
        let (Some(first), Some(epoch)) = (self.next(None), self.epoch) else { return true };
        Rank::new(at, priority, epoch).behind(self.places[first as usize].rank) < nanos(patience)
    }

    /// Calls the first who waits for this backend and no other.
    pub fn call_one(&mut self, id: BackendId) -> Option<Ticket> {
        let first = self.ones.get(&id)?.first?;
        Some(self.summon(first))
    }

    /// Calls the first who waits for a pin: to be turned away, not to be given one.
    pub fn call_pin(&mut self) -> Option<Ticket> {
        let first = self.pin.first?;
        Some(self.summon(first))
    }

    /// The first who waits for a pin.
    #[must_use]
    pub fn first_for_pin(&self) -> Option<Ticket> {
        self.pin.first.map(|place| self.ticket(place))
    }

    /// Backends that are waited for by name.
    pub fn wanted_ones(&self) -> impl Iterator<Item = BackendId> {
        self.ones.keys().copied()
    }

    /// Whether somebody waits for this backend and no other.
    #[must_use]
    pub fn wants_one(&self, id: BackendId) -> bool {
        self.ones.contains_key(&id)
    }

    /// Whether this waiter still waits for a pin.
    #[must_use]
    pub fn is_for_pin(&self, ticket: Ticket) -> bool {
        let place = self.places.get(ticket.place as usize).filter(|p| p.generation == ticket.generation);
        place.is_some_and(|place| place.lane == LaneId::Pin && place.links.is_some())
    }

    /// Removes the waiter, called or not. `None` if it has left before.
    pub fn leave(&mut self, ticket: Ticket) -> Option<T> {
        let place = self.places.get_mut(ticket.place as usize).filter(|p| p.generation == ticket.generation)?;
        let waiter = place.waiter.take()?;
        if place.links.is_some() {
            self.unlink(ticket.place);
        }
        self.free.push(ticket.place);
        if self.free.len() == self.places.len() && self.free.len() > KEPT {
            (self.places, self.free) = (Vec::new(), Vec::new());
        }
        Some(waiter)
    }

    /// What its owner keeps with the waiter.
    pub fn waiter_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        let place = self.places.get_mut(ticket.place as usize).filter(|p| p.generation == ticket.generation)?;
        place.waiter.as_mut()
    }

    /// The first of those whom any backend serves, who would be called next, and when it came.
    #[must_use]
    pub fn first(&self) -> Option<(&T, Instant)> {
        let place = &self.places[self.next(None)? as usize];
        place.waiter.as_ref().map(|waiter| (waiter, place.claim.arrived))
    }

    /// When the one of them came who has waited longest.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.lanes
            .iter()
            .filter_map(|lane| lane.ends.first)
            .map(|first| self.places[first as usize].claim.arrived)
            .min()
    }

    fn next(&self, worker: Option<usize>) -> Option<u32> {
        let (mut first, mut own): (Option<u32>, Option<u32>) = (None, None);
        for lane in &self.lanes {
            let Some(head) = lane.ends.first else { continue };
            let sooner = |than: Option<u32>| than.is_none_or(|than| self.behind(head, than) < 0);
            if sooner(first) {
                first = Some(head);
            }
            if Some(lane.worker) == worker && sooner(own) {
                own = Some(head);
            }
        }
        let (first, own) = (first?, own.or(first)?);
        Some(if self.behind(own, first) > nanos(PREFERENCE) { first } else { own })
    }

    fn behind(&self, place: u32, other: u32) -> i64 {
        self.places[place as usize].rank.behind(self.places[other as usize].rank)
    }

    fn ticket(&self, place: u32) -> Ticket {
        Ticket { generation: self.places[place as usize].generation, place }
    }

    fn summon(&mut self, place: u32) -> Ticket {
        self.unlink(place);
        self.ticket(place)
    }

    fn lane(&mut self, line: Line, worker: usize, priority: u8) -> LaneId {
        match line {
            Line::One(id) => return LaneId::One(id),
            Line::Pin => return LaneId::Pin,
            Line::Any => {}
        }
        let found = self.lanes.iter().position(|lane| lane.worker == worker && lane.priority == priority);
        let lane = found.unwrap_or_else(|| {
            self.lanes.push(Lane { worker, priority, ends: Ends::default() });
            self.lanes.len() - 1
        });
        LaneId::Any(u32::try_from(lane).expect("a lane per worker and priority"))
    }

    fn ends(&self, lane: LaneId) -> Ends {
        match lane {
            LaneId::Any(index) => self.lanes[index as usize].ends,
            LaneId::One(id) => self.ones.get(&id).copied().unwrap_or_default(),
            LaneId::Pin => self.pin,
        }
    }

    fn ends_mut(&mut self, lane: LaneId) -> &mut Ends {
        match lane {
            LaneId::Any(index) => &mut self.lanes[index as usize].ends,
            LaneId::One(id) => self.ones.entry(id).or_default(),
            LaneId::Pin => &mut self.pin,
        }
    }

    fn count(&mut self, lane: LaneId) -> &mut usize {
        match lane {
            LaneId::Any(_) => &mut self.waiting,
            LaneId::One(_) => &mut self.for_one,
            LaneId::Pin => &mut self.for_pin,
        }
    }

    /// Almost always at the end of its lane; one that joins again is near the front.
    fn link(&mut self, place: u32) {
        let lane = self.places[place as usize].lane;
        let Ends { first, last } = self.ends(lane);
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
        *self.count(lane) += 1;
    }

    fn unlink(&mut self, place: u32) {
        let lane = self.places[place as usize].lane;
        let Some(links) = self.places[place as usize].links.take() else {
            debug_assert!(false, "only a waiter that was not called is in a lane");
            return;
        };
        self.set_later(lane, links.sooner, links.later);
        self.set_sooner(lane, links.later, links.sooner);
        *self.count(lane) -= 1;
        if let LaneId::One(id) = lane
            && self.ends(lane).first.is_none()
        {
            self.ones.remove(&id);
        }
    }

    /// Sets who comes after `place`, or who is first in the lane.
    fn set_later(&mut self, lane: LaneId, place: Option<u32>, later: Option<u32>) {
        match place {
            None => self.ends_mut(lane).first = later,
            Some(place) => {
                if let Some(links) = &mut self.places[place as usize].links {
                    links.later = later;
                }
            }
        }
    }

    /// Sets who comes before `place`, or who is last in the lane.
    fn set_sooner(&mut self, lane: LaneId, place: Option<u32>, sooner: Option<u32>) {
        match place {
            None => self.ends_mut(lane).last = sooner,
            Some(place) => {
                if let Some(links) = &mut self.places[place as usize].links {
                    links.sooner = sooner;
                }
            }
        }
    }
}
