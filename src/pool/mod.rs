//! Pools of backends: who may open one, who gets one next, when one is thrown away.
//!
//! A [`Pool`] holds the backends of one (database, user) for all workers of the process; [`Pools`] holds the pools; a
//! [`Budget`] shares the connections that one PostgreSQL server allows among them. It knows neither PostgreSQL nor
//! sockets: everything that touches a backend is asked of a [`Manager`]. It never decides *whether* a session may give
//! its backend back, nor what a reset has to undo, and it runs no timer for a waiter's timeout: the caller has a clock.
//!
//! | to read about | go to |
//! |---|---|
//! | counts, idle lists | [`slots`] (pure) |
//! | which idle backend a wish gets | [`choice`] (pure) |
//! | order of waiting | [`queue`] (pure); who may come before it: `lingering` |
//! | age, idleness, pings | [`recycle`] (pure) |
//! | back-off while the server is down | [`backoff`] (pure) |
//! | the cap of a server over its pools | [`budget`]; connections beside the pools: [`berth`] |
//! | leases that outlive their transaction | [`pins`] (pure) |
//! | all of that behind one lock | `state`, `serving`, and [`pool`] for the public face |
//! | temporary ownership, waiting for it | [`lease`], [`waiting`]; for a pin with a lease in hand: `pinning` |
//! | leaving a database to others | `vacating` |
//! | pools by name | [`map`] |
//!
//! **Locks.** A pool has one mutex, a budget has one mutex. The budget's may be taken while one pool's is held, never
//! the other way round, and no thread ever holds two pools' at once. A [`Manager`] is never called, a waker never
//! woken, a task never spawned and a backend never dropped while any of them is held.
//!
//! **Runtimes.** Connects, pings and resets become tasks of the runtime that calls, so everything but the reading of
//! numbers is to be called within one.

pub mod backoff;
pub mod berth;
pub mod budget;
pub mod choice;
pub mod lease;
mod lingering;
pub mod map;
mod pinning;
pub mod pins;
#[expect(clippy::module_inception, reason = "the pool is what this folder is about")]
pub mod pool;
pub mod queue;
pub mod recycle;
mod serving;
pub mod slots;
mod state;
mod tasks;
#[cfg(test)]
mod tests;
mod vacating;
pub mod waiting;

use std::future::Future;
use std::time::Duration;

pub use backoff::Reach;
pub use berth::Berth;
pub use budget::Budget;
pub use lease::Lease;
pub use map::{Blueprint, PoolKey, Pools, PoolsExhausted};
pub use pinning::Pinning;
pub use pins::{PinCounts, PinFault, PinReason, PinReasons, PinsExhausted};
pub use pool::{Asked, Emptiness, Pool};
pub use slots::BackendId;
pub use waiting::Waiting;

use crate::config::PoolMode;
use crate::stats::{Times, Traffic};

/// Everything the pool has done to a backend, or asks about one.
///
/// `connect` must bound its own time; pings, resets and farewells are bounded by the pool.
pub trait Manager: Send + Sync + 'static {
    /// One connection to the server. It moves by value between pool and lease: box what is large.
    type Backend: Send + 'static;
    type Error: Clone + Send + Sync + std::fmt::Debug + 'static;

    /// Opens a backend, registered with the reactor of the runtime that polls this future.
    fn connect(&self) -> impl Future<Output = Result<Self::Backend, ConnectFault<Self::Error>>> + Send;
    /// One round trip; true if the backend answered as it should.
    fn ping(&self, backend: &mut Self::Backend) -> impl Future<Output = bool> + Send;
    /// Undoes what the manager knows must be undone; false if the backend must be closed.
    fn reset(&self, backend: &mut Self::Backend) -> impl Future<Output = bool> + Send;
    /// Says goodbye, and returns when the server has closed the connection too.
    fn farewell(&self, backend: Self::Backend) -> impl Future<Output = ()> + Send;
    /// Whether the backend is known to be lost, without a round trip and without a system call.
    fn is_dead(&self, backend: &mut Self::Backend) -> bool;
    /// Moves the backend to the reactor of the calling thread's runtime; false if that broke it.
    fn rehome(&self, backend: &mut Self::Backend) -> bool;
    /// Identity of the settings that the backend carries; compared with [`Wish::profile`], never followed.
    fn profile(&self, backend: &Self::Backend) -> usize;
}

/// Why a backend could not be opened.
#[derive(Debug, Clone)]
pub enum ConnectFault<E> {
    /// The server is down, starting or does not let this pool in: waiters go on waiting while the pool tries again with
    /// back-off.
    Unavailable(E),
    /// The server has no connection left for anybody. Waiters go on waiting for what other pools have too many of.
    Full(E),
    /// Wrong password, unknown database: those who waited for this fail at once.
    Refused(E),
}

/// What a session would like to lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// Index of the worker that asks, from 0.
    pub worker: usize,
    /// The backend this session had last: preferred when it is idle on this worker.
    pub last_backend: Option<BackendId>,
    /// Identity of the session's settings, as [`Manager::profile`] gives it: the second preference.
    pub profile: usize,
    /// Higher goes first; a second of waiting is worth one class.
    pub priority: u8,
    /// Who asks, for the text of an error and for the console; 0 is nobody in particular.
    pub holder: u64,
    /// What the lease will be pinned for: it and its pin are granted together, and a backend is taken from nobody
    /// while the pin is waited for. Empty is no pin.
    pub pin: PinReasons,
    /// No other backend than this one will do.
    pub must: Option<BackendId>,
}

/// In which state a lease comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// Ready for the next session as it is.
    Clean,
    /// Must pass [`Manager::reset`] first; its place stays taken meanwhile.
    NeedsReset,
    /// Must not be used again.
    Close,
}

/// Why there is no lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError<E> {
    #[error("the server refused the connection: {0:?}")]
    Refused(E),
    #[error("{limit} clients are waiting for this pool already")]
    TooManyWaiting { limit: usize },
    #[error("the pool is closed")]
    Closed,
    /// No pin will ever be there for this wish.
    #[error(transparent)]
    Pin(PinFault),
    /// [`Wish::must`] is closed.
    #[error("the backend is gone")]
    BackendGone,
}

/// What one who gave up waiting had waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortage<E> {
    Backends(Exhausted<E>),
    /// [`Wish::must`], and who holds it; 0 is nobody in particular.
    One {
        id: BackendId,
        holder: u64,
    },
    Pins(PinsExhausted),
}

/// What a client whose wait timed out should be told about the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted<E> {
    pub size: usize,
    pub overflow: usize,
    pub leased: usize,
    /// Of those, how many sessions keep between their transactions, and what for.
    pub pinned: usize,
    pub pins: PinCounts,
    pub waiting: usize,
    /// Connections that the server has not answered yet.
    pub connecting: usize,
    /// The pool has room, but connections to its server are as many as all pools together may have: so many.
    pub server_limit: Option<usize>,
    /// [`Wish::holder`] of the oldest lease that has one, and its age.
    pub longest_holder: Option<(u64, Duration)>,
    /// Set while the server does not let us in.
    pub last_connect_error: Option<E>,
}

/// The state and the totals of a pool at one moment.
#[derive(Debug, Clone)]
pub struct PoolSnapshot<E> {
    pub database: String,
    pub user: String,
    pub mode: PoolMode,
    pub size: usize,
    pub max_overflow: usize,
    pub connecting: usize,
    pub idle: usize,
    /// Includes those being pinged or reset.
    pub leased: usize,
    /// Leases that outlive their transaction.
    pub pinned: usize,
    /// The same by what for; one may be for several reasons.
    pub pins: PinCounts,
    pub waiting: usize,
    /// Of those who wait.
    pub waiting_for_pin: usize,
    pub opened_total: u64,
    pub closed_total: u64,
    pub leases_total: u64,
    /// Leases that had to queue.
    pub waited_total: u64,
    /// Leases of a backend that was another worker's.
    pub steals_total: u64,
    /// Backends given straight from a returning lease to a waiter.
    pub handed_over_total: u64,
    pub connect_failures_total: u64,
    /// Waits that were given up for their length.
    pub timeouts_total: u64,
    /// Refused because too many waited already.
    pub turned_away_total: u64,
    /// Pins taken, by what for.
    pub pins_total: PinCounts,
    /// Pins refused at once, because there are none to wait for.
    pub pins_refused_total: u64,
    /// Of leases that ended; of long ones also what is older than a second.
    pub traffic: Traffic,
    /// From asking to having a lease; zero where a backend was free.
    pub waits: Times,
    /// From having a lease to its end.
    pub holds: Times,
    pub last_error: Option<E>,
}
