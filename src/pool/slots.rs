//! The seats of one pool: which are connecting, idle or leased, and which idle backend a wish gets.
//!
//! Pure: no lock, no clock, no socket. A seat is taken from the decision to connect until the backend is gone, so the
//! number of taken seats is the number of connections the server sees. Idle backends lie on one shelf per worker, most
//! recently used first; links are indices, so that taking and putting back neither searches nor allocates.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::Wish;
use super::recycle::RecyclePolicy;

/// Names one backend for as long as the process lives; a later backend in the same seat has another id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId {
    pub(super) generation: NonZeroU32,
    pub(super) seat: u32,
}

impl BackendId {
    /// The id as one number, for logs and tables.
    #[must_use]
    pub fn get(self) -> u64 {
        u64::from(self.generation.get()) << 32 | u64::from(self.seat)
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.seat, self.generation)
    }
}

/// The worker whose reactor a backend is registered with; `None` is a runtime that serves no sessions.
pub type Home = Option<usize>;

/// How many seats there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeatLimits {
    /// Backends that are kept.
    pub size: usize,
    /// Backends beyond `size` while sessions wait.
    pub max_overflow: usize,
    /// Idle backends that are opened ahead and kept; never beyond `size`.
    pub min_idle: usize,
}

impl SeatLimits {
    #[must_use]
    pub fn ceiling(self) -> usize {
        self.size.saturating_add(self.max_overflow)
    }
}

/// What a taken seat is doing.
#[derive(Debug)]
pub(super) enum Occupancy<B> {
    Free,
    Connecting,
    Idle {
        backend: B,
        profile: usize,
        newer: Option<u32>,
        older: Option<u32>,
    },
    Leased {
        holder: u64,
        /// The pool itself has it, to ping or to reset it.
        errand: bool,
    },
}

#[derive(Debug)]
pub(super) struct Seat<B> {
    pub(super) generation: NonZeroU32,
    pub(super) occupancy: Occupancy<B>,
    pub(super) home: Home,
    /// Start of the present occupancy.
    pub(super) since: Instant,
    born: Instant,
    /// When the backend is too old, spread included.
    pub(super) expires: Option<Instant>,
    /// [`Slots::retire`] was called after this backend was begun.
    retired: bool,
}

/// Idle backends of one worker: most and least recently used.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Shelf {
    pub(super) newest: Option<u32>,
    oldest: Option<u32>,
    pub(super) len: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Slots<B> {
    pub(super) seats: Vec<Seat<B>>,
    free: Vec<u32>,
    /// Shelf 0 is of no worker, shelf n + 1 of worker n.
    pub(super) shelves: Vec<Shelf>,
    limits: SeatLimits,
    connecting: usize,
    pub(super) idle: usize,
    pub(super) leased: usize,
}

pub(super) fn shelf_of(home: Home) -> usize {
    home.map_or(0, |worker| worker + 1)
}

impl<B> Slots<B> {
    #[must_use]
    pub fn new(limits: SeatLimits) -> Self {
        Self { seats: Vec::new(), free: Vec::new(), shelves: Vec::new(), limits, connecting: 0, idle: 0, leased: 0 }
    }

    #[must_use]
    pub fn limits(&self) -> SeatLimits {
        self.limits
    }

    pub fn set_limits(&mut self, limits: SeatLimits) {
        self.limits = limits;
    }

    #[must_use]
    pub fn connecting(&self) -> usize {
        self.connecting
    }

    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle
    }

    #[must_use]
    pub fn leased(&self) -> usize {
        self.leased
    }

    /// Seats that are not free.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.connecting + self.idle + self.leased
    }

    /// Backends that may still be opened, within `size` only or with the overflow.
    #[must_use]
    pub fn room(&self, overflow: bool) -> usize {
        let limit = if overflow { self.limits.ceiling() } else { self.limits.size };
        limit.saturating_sub(self.taken())
    }

    /// Backends to open ahead of need, when `waiting` sessions will take what is connecting now.
    #[must_use]
    pub fn shortfall(&self, waiting: usize) -> usize {
        let coming = self.idle + self.connecting.saturating_sub(waiting);
        self.limits.min_idle.saturating_sub(coming).min(self.room(false))
    }

    /// Idle backends that need not be kept.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.idle.saturating_sub(self.limits.min_idle)
    }

    /// Takes a seat for a backend that will be opened on `home`; `None` when all are taken.
    pub fn reserve(&mut self, home: Home, now: Instant) -> Option<BackendId> {
        if self.room(true) == 0 {
            return None;
        }
        let seat = match self.free.pop() {
            Some(seat) => seat,
            None => {
                let seat = u32::try_from(self.seats.len()).ok()?;
                self.seats.push(Seat {
                    generation: NonZeroU32::MIN,
                    occupancy: Occupancy::Free,
                    home,
                    since: now,
                    born: now,
                    expires: None,
                    retired: false,
                });
                seat
            }
        };
        let entry = &mut self.seats[seat as usize];
        debug_assert!(matches!(entry.occupancy, Occupancy::Free), "a free seat is free");
        let generation = entry.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        *entry = Seat { generation, occupancy: Occupancy::Connecting, home, since: now, born: now, ..*entry };
        entry.expires = None;
        entry.retired = false;
        self.connecting += 1;
        Some(BackendId { generation, seat })
    }

    /// The connect of `id` succeeded: its seat counts as leased until [`Self::park`], [`Self::pass_on`] or
    /// [`Self::vacate`]. False when `id` is not connecting.
    pub fn connected(&mut self, id: BackendId, now: Instant, policy: &RecyclePolicy) -> bool {
        let Some(seat) = self.seat_mut(id) else { return false };
        if !matches!(seat.occupancy, Occupancy::Connecting) {
            return false;
        }
        seat.occupancy = Occupancy::Leased { holder: 0, errand: false };
        (seat.since, seat.born) = (now, now);
        seat.expires = policy.expiry(id, now);
        self.connecting -= 1;
        self.leased += 1;
        true
    }

    /// Puts a leased backend on the shelf of its worker. Gives it back when `id` is not leased.
    pub fn park(&mut self, id: BackendId, backend: B, profile: usize, now: Instant) -> Result<(), B> {
        let Some(seat) = self.seat_mut(id) else { return Err(backend) };
        if !matches!(seat.occupancy, Occupancy::Leased { .. }) {
            return Err(backend);
        }
        let shelf = shelf_of(seat.home);
        if shelf >= self.shelves.len() {
            self.shelves.resize(shelf + 1, Shelf::default());
        }
        let older = self.shelves[shelf].newest;
        let entry = &mut self.seats[id.seat as usize];
        entry.occupancy = Occupancy::Idle { backend, profile, newer: None, older };
        entry.since = now;
        match older {
            Some(older) => self.link_newer(older, Some(id.seat)),
            None => self.shelves[shelf].oldest = Some(id.seat),
        }
        self.shelves[shelf].newest = Some(id.seat);
        self.shelves[shelf].len += 1;
        self.leased -= 1;
        self.idle += 1;
        Ok(())
    }

    /// Who holds a lease; 0 is nobody in particular.
    #[must_use]
    pub fn holder(&self, id: BackendId) -> u64 {
        match self.seat(id) {
            Some(Seat { occupancy: Occupancy::Leased { holder, .. }, .. }) => *holder,
            _ => 0,
        }
    }

    /// Whether the backend is there, idle or not.
    #[must_use]
    pub fn exists(&self, id: BackendId) -> bool {
        self.seat(id).is_some_and(|seat| !matches!(seat.occupancy, Occupancy::Free))
    }

    #[must_use]
    pub fn is_idle(&self, id: BackendId) -> bool {
        self.seat(id).is_some_and(|seat| matches!(seat.occupancy, Occupancy::Idle { .. }))
    }

    /// A leased backend changes its holder without having been idle. Says where it was registered.
    pub fn pass_on(&mut self, id: BackendId, wish: &Wish, now: Instant) -> Home {
        let seat = self.seat_mut(id)?;
        debug_assert!(matches!(seat.occupancy, Occupancy::Leased { .. }), "only what is leased is passed on");
        seat.occupancy = Occupancy::Leased { holder: wish.holder, errand: false };
        seat.since = now;
        seat.home.replace(wish.worker)
    }

    /// Corrects where the backend is registered.
    pub fn set_home(&mut self, id: BackendId, home: Home) {
        if let Some(seat) = self.seat_mut(id) {
            seat.home = home;
        }
    }

    /// Says who holds a lease.
    pub fn set_holder(&mut self, id: BackendId, by: u64) {
        if let Some(Seat { occupancy: Occupancy::Leased { holder, .. }, .. }) = self.seat_mut(id) {
            *holder = by;
        }
    }

    /// Notes that the pool itself has a leased backend, until it goes to somebody or is idle.
    pub fn send_on_errand(&mut self, id: BackendId) {
        if let Some(Seat { occupancy: Occupancy::Leased { errand, .. }, .. }) = self.seat_mut(id) {
            *errand = true;
        }
    }

    /// Whether nobody has the backend, though it is not idle: it is connecting, or on an errand.
    #[must_use]
    pub fn is_under_way(&self, id: BackendId) -> bool {
        let under_way =
            |seat: &Seat<B>| matches!(seat.occupancy, Occupancy::Connecting | Occupancy::Leased { errand: true, .. });
        self.seat(id).is_some_and(under_way)
    }

    /// All that [`Self::is_under_way`] is true of.
    pub fn under_way(&self) -> impl Iterator<Item = BackendId> {
        (0..self.seats.len()).map(|index| self.id_at(index)).filter(|id| self.is_under_way(*id))
    }

    /// Whether a returning backend may stay, given that somebody waits for one.
    #[must_use]
    pub fn keeps(&self, id: BackendId, waited_for: bool, now: Instant) -> bool {
        let limit = if waited_for { self.limits.ceiling() } else { self.limits.size };
        self.taken() <= limit
            && self.seat(id).is_some_and(|seat| !seat.retired && seat.expires.is_none_or(|at| now < at))
    }

    /// As [`Self::keeps`] for a backend that somebody waits for and would take no other instead: its age is no reason.
    #[must_use]
    pub fn keeps_for_one(&self, id: BackendId) -> bool {
        self.taken() <= self.limits.ceiling() && self.seat(id).is_some_and(|seat| !seat.retired)
    }

    /// Frees the seat whatever it was doing, and gives back the backend if it was idle. False in the first place when
    /// the seat was free already or has another backend by now.
    pub fn vacate(&mut self, id: BackendId) -> (bool, Option<B>) {
        let Some(seat) = self.seat_mut(id) else { return (false, None) };
        match seat.occupancy {
            Occupancy::Free => return (false, None),
            Occupancy::Connecting => self.connecting -= 1,
            Occupancy::Leased { .. } => self.leased -= 1,
            Occupancy::Idle { .. } => {
                let backend = self.unshelve(id.seat, Occupancy::Free);
                self.free.push(id.seat);
                return (true, backend);
            }
        }
        self.seats[id.seat as usize].occupancy = Occupancy::Free;
        self.free.push(id.seat);
        (true, None)
    }

    /// Closes idle backends that are too old, idle too long or too many, and hands them to `closed`.
    pub fn sweep(&mut self, now: Instant, policy: &RecyclePolicy, mut closed: impl FnMut(B)) {
        for index in 0..self.seats.len() {
            let seat = &self.seats[index];
            if !matches!(seat.occupancy, Occupancy::Idle { .. }) {
                continue;
            }
            let old = seat.retired || seat.expires.is_some_and(|at| at <= now);
            let unused = self.spare() > 0 && policy.idle_too_long(seat.since, now);
            if (old || unused || self.taken() > self.limits.size)
                && let Some(backend) = self.vacate(self.id_at(index)).1
            {
                closed(backend);
            }
        }
    }

    /// Closes the idle backend that was used least recently, if it was idle since `before` or longer
    /// where that is given.
    pub fn evict_oldest(&mut self, before: Option<Instant>) -> Option<B> {
        let oldest =
            self.shelves.iter().filter_map(|shelf| shelf.oldest).min_by_key(|&s| self.seats[s as usize].since)?;
        if before.is_some_and(|before| self.seats[oldest as usize].since > before) {
            return None;
        }
        self.vacate(self.id_at(oldest as usize)).1
    }

    /// Marks all present backends, also those still connecting, for closing; [`Self::sweep`] closes the idle ones.
    pub fn retire(&mut self) {
        for seat in &mut self.seats {
            seat.retired = !matches!(seat.occupancy, Occupancy::Free);
        }
    }

    /// Marks those that are leased.
    pub fn retire_leased(&mut self) {
        for seat in &mut self.seats {
            seat.retired |= matches!(seat.occupancy, Occupancy::Leased { .. });
        }
    }

    /// Gives every backend the age limit of `policy`.
    pub fn apply_policy(&mut self, policy: &RecyclePolicy) {
        for index in 0..self.seats.len() {
            let id = self.id_at(index);
            let seat = &mut self.seats[index];
            if !matches!(seat.occupancy, Occupancy::Free | Occupancy::Connecting) {
                seat.expires = policy.expiry(id, seat.born);
            }
        }
    }

    /// Who holds the oldest lease that has a holder, and for how long.
    #[must_use]
    pub fn longest_holder(&self, now: Instant) -> Option<(u64, Duration)> {
        let held = self.seats.iter().filter_map(|seat| match seat.occupancy {
            Occupancy::Leased { holder, .. } if holder != 0 => Some((seat.since, holder)),
            _ => None,
        });
        held.min_by_key(|(since, _)| *since).map(|(since, holder)| (holder, now.saturating_duration_since(since)))
    }

    fn id_at(&self, index: usize) -> BackendId {
        BackendId { generation: self.seats[index].generation, seat: u32::try_from(index).unwrap_or(u32::MAX) }
    }

    pub(super) fn seat(&self, id: BackendId) -> Option<&Seat<B>> {
        self.seats.get(id.seat as usize).filter(|seat| seat.generation == id.generation)
    }

    fn seat_mut(&mut self, id: BackendId) -> Option<&mut Seat<B>> {
        self.seats.get_mut(id.seat as usize).filter(|seat| seat.generation == id.generation)
    }

    /// Takes an idle backend off its shelf and leaves `then` in its seat.
    pub(super) fn unshelve(&mut self, seat: u32, then: Occupancy<B>) -> Option<B> {
        let entry = &mut self.seats[seat as usize];
        let shelf = shelf_of(entry.home);
        debug_assert!(matches!(entry.occupancy, Occupancy::Idle { .. }), "only idle backends are on a shelf");
        let Occupancy::Idle { backend, newer, older, .. } = std::mem::replace(&mut entry.occupancy, then) else {
            return None;
        };
        match newer {
            Some(newer) => self.link_older(newer, older),
            None => self.shelves[shelf].newest = older,
        }
        match older {
            Some(older) => self.link_newer(older, newer),
            None => self.shelves[shelf].oldest = newer,
        }
        self.shelves[shelf].len -= 1;
        self.idle -= 1;
        Some(backend)
    }

    fn link_newer(&mut self, seat: u32, to: Option<u32>) {
        if let Occupancy::Idle { newer, .. } = &mut self.seats[seat as usize].occupancy {
            *newer = to;
        }
    }

    fn link_older(&mut self, seat: u32, to: Option<u32>) {
        if let Occupancy::Idle { older, .. } = &mut self.seats[seat as usize].occupancy {
            *older = to;
        }
    }

    /// Counts everything again; a test's view of whether the books are right.
    #[cfg(test)]
    pub(super) fn audit(&self) {
        let count = |is: fn(&Occupancy<B>) -> bool| self.seats.iter().filter(|seat| is(&seat.occupancy)).count();
        assert_eq!(self.connecting, count(|o| matches!(o, Occupancy::Connecting)));
        assert_eq!(self.leased, count(|o| matches!(o, Occupancy::Leased { .. })));
        assert_eq!(self.idle, count(|o| matches!(o, Occupancy::Idle { .. })));
        assert_eq!(self.free.len(), count(|o| matches!(o, Occupancy::Free)));
        for (index, shelf) in self.shelves.iter().enumerate() {
            let (mut next, mut before, mut len) = (shelf.newest, None, 0);
            while let Some(at) = next {
                let seat = &self.seats[at as usize];
                let Occupancy::Idle { newer, older, .. } = &seat.occupancy else {
                    panic!("seat {at} is shelved, not idle")
                };
                assert_eq!((*newer, seat.home), (before, index.checked_sub(1)));
                (before, next, len) = (next, *older, len + 1);
            }
            assert_eq!((before, len), (shelf.oldest, shelf.len));
        }
        assert_eq!(self.idle, self.shelves.iter().map(|shelf| shelf.len).sum::<usize>());
    }
}
