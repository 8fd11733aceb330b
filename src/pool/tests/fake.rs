//! A manager that does what a test tells it, and a little world around a pool of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::config::{self, Pinning, PoolMode, PrePing, ResetOnReturn, Sequences};
use crate::pool::recycle::RecyclePolicy;
use crate::pool::slots::{BackendId, SeatLimits, Slots};
use crate::pool::{Blueprint, Budget, ConnectFault, Lease, LeaseError, Manager, Pool, PoolKey, Wish};
use crate::stats::LimitHits;

/// How one kind of call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    Ok,
    Err,
    /// Ok after two seconds.
    Slow,
    /// Not before [`Script::end_never`]; then it fails.
    Never,
}

pub(super) const GATES: [Gate; 4] = [Gate::Ok, Gate::Err, Gate::Slow, Gate::Never];

/// What the manager is to do, and what it did.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) connect: Mutex<Gate>,
    /// An `Err` of `connect` is for good.
    pub(super) refuse: Mutex<bool>,
    pub(super) ping: Mutex<Gate>,
    pub(super) reset: Mutex<Gate>,
    pub(super) farewell: Mutex<Gate>,
    pub(super) panic_on_connect: Mutex<bool>,
    pub(super) attempts: Mutex<Vec<Instant>>,
    pub(super) pings: AtomicUsize,
    pub(super) live: Arc<AtomicUsize>,
    pub(super) most_live: AtomicUsize,
    pub(super) rehomed: AtomicUsize,
    pub(super) break_on_rehome: Mutex<bool>,
    /// Where it connects to, if that has a limit.
    pub(super) server: Mutex<Option<Arc<Server>>>,
    never: Notify,
}

/// A server with room for so many, all told.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) room: AtomicUsize,
}

impl Script {
    pub(super) fn end_never(&self) {
        self.never.notify_waiters();
    }

    pub(super) fn attempts(&self) -> usize {
        self.attempts.lock().len()
    }

    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    async fn pass(&self, gate: Gate) -> bool {
        match gate {
            Gate::Ok => true,
            Gate::Err => false,
            Gate::Slow => {
                sleep(Duration::from_secs(2)).await;
                true
            }
            Gate::Never => {
                self.never.notified().await;
                false
            }
        }
    }
}

impl Default for Script {
    fn default() -> Self {
        Self {
            connect: Mutex::new(Gate::Ok),
            refuse: Mutex::new(false),
            ping: Mutex::new(Gate::Ok),
            reset: Mutex::new(Gate::Ok),
            farewell: Mutex::new(Gate::Ok),
            panic_on_connect: Mutex::new(false),
            attempts: Mutex::new(Vec::new()),
            pings: AtomicUsize::new(0),
            live: Arc::default(),
            most_live: AtomicUsize::new(0),
            rehomed: AtomicUsize::new(0),
            break_on_rehome: Mutex::new(false),
            server: Mutex::new(None),
            never: Notify::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct FakeBackend {
    live: Arc<AtomicUsize>,
    server: Option<Arc<Server>>,
    pub(super) home: ThreadId,
    pub(super) dead: bool,
    pub(super) profile: usize,
}

impl Drop for FakeBackend {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
        if let Some(server) = &self.server {
            server.room.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Fake(pub(super) Arc<Script>);

impl Manager for Fake {
    type Backend = FakeBackend;
    type Error = &'static str;

    async fn connect(&self) -> Result<FakeBackend, ConnectFault<&'static str>> {
        self.0.attempts.lock().push(Instant::now());
        assert!(!*self.0.panic_on_connect.lock(), "told to panic");
        let gate = *self.0.connect.lock();
        if self.0.pass(gate).await {
            let server = self.0.server.lock().clone();
            let enter = |server: &Arc<Server>| {
                server.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| room.checked_sub(1)).is_ok()
            };
            if !server.as_ref().is_none_or(enter) {
                return Err(ConnectFault::Full("full"));
            }
            let live = self.0.live.fetch_add(1, Ordering::SeqCst) + 1;
            self.0.most_live.fetch_max(live, Ordering::SeqCst);
            let home = std::thread::current().id();
            return Ok(FakeBackend { live: Arc::clone(&self.0.live), server, home, dead: false, profile: 0 });
        }
        Err(if *self.0.refuse.lock() { ConnectFault::Refused("refused") } else { ConnectFault::Unavailable("down") })
    }

    async fn ping(&self, backend: &mut FakeBackend) -> bool {
        assert_eq!(backend.home, std::thread::current().id(), "pinged where it is registered");
        self.0.pings.fetch_add(1, Ordering::SeqCst);
        let gate = *self.0.ping.lock();
        self.0.pass(gate).await
    }

    async fn farewell(&self, _: FakeBackend) {
        let gate = *self.0.farewell.lock();
        self.0.pass(gate).await;
    }

    async fn reset(&self, _: &mut FakeBackend) -> bool {
        let gate = *self.0.reset.lock();
        self.0.pass(gate).await
    }

    fn is_dead(&self, backend: &mut FakeBackend) -> bool {
        backend.dead
    }

    fn rehome(&self, backend: &mut FakeBackend) -> bool {
        self.0.rehomed.fetch_add(1, Ordering::SeqCst);
        backend.home = std::thread::current().id();
        !*self.0.break_on_rehome.lock()
    }

    fn profile(&self, backend: &FakeBackend) -> usize {
        backend.profile
    }
}

pub(super) fn config(size: usize, max_overflow: usize) -> config::Pool {
    config::Pool {
        mode: PoolMode::Transaction,
        size,
        max_overflow,
        min_idle: 0,
        timeout: Duration::from_secs(30),
        recycle: Some(Duration::from_secs(3600)),
        idle_timeout: Some(Duration::from_secs(600)),
        pre_ping: PrePing::IdleLongerThan(Duration::from_secs(30)),
        reset_on_return: ResetOnReturn::Auto,
        idle_in_transaction_timeout: None,
        max_lease: None,
        query_timeout: None,
        max_pinned: None,
        pin: Pinning::Allow,
        sequences: Sequences::Auto,
        priority: 0,
        settings_affinity: Some(Duration::from_millis(10)),
        slow_threshold: None,
        promote_unnamed: true,
    }
}

pub(super) const BACKOFF: config::Backoff =
    config::Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(5) };

/// One pool with its script, its budget and its tasks.
pub(super) struct World {
    pub(super) pool: Pool<Fake>,
    pub(super) script: Arc<Script>,
    pub(super) budget: Arc<Budget>,
    pub(super) limit_hits: Arc<LimitHits>,
}

impl World {
    pub(super) fn new(config: config::Pool) -> Self {
        Self::sharing(&Budget::new(None), "db", config)
    }

    pub(super) fn sharing(budget: &Arc<Budget>, database: &str, config: config::Pool) -> Self {
        let (manager, budget) = (Fake::default(), Arc::clone(budget));
        let limit_hits = Arc::new(LimitHits::default());
        let script = Arc::clone(&manager.0);
        let key = PoolKey { database: database.to_owned(), user: "ann".to_owned() };
        let blueprint = Blueprint { manager, config, budget: Arc::clone(&budget), backoff: BACKOFF };
        Self {
            pool: Pool::new(key, blueprint, 1000, TaskTracker::new(), Arc::clone(&limit_hits)),
            script,
            budget,
            limit_hits,
        }
    }

    /// A lease as a session gets it, given up after 30 s.
    pub(super) async fn lease(&self) -> Result<Lease<Fake>, Failure> {
        self.lease_for(Wish::default()).await
    }

    pub(super) async fn lease_for(&self, wish: Wish) -> Result<Lease<Fake>, Failure> {
        if let Some(lease) = self.pool.try_lease(&wish, Instant::now()) {
            return Ok(lease);
        }
        let waiting = self.pool.wait(&wish, Instant::now()).map_err(Failure::Error)?;
        timeout(Duration::from_secs(30), waiting).await.map_err(|_| Failure::TimedOut)?.map_err(Failure::Error)
    }

    /// The books agree with each other and with what lives.
    pub(super) fn audit(&self) {
        let state = self.pool.0.state.lock();
        state.slots.audit();
        let alive = state.slots.idle() + state.slots.leased();
        assert_eq!(alive, self.script.live(), "backends alive and on the books");
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    TimedOut,
    Error(LeaseError<&'static str>),
}

/// Lets every task run that can run without time passing.
pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Ids as a pool gives them, for what is tested without one.
pub(super) fn backends(count: usize) -> Vec<BackendId> {
    let now = Instant::now();
    let policy = RecyclePolicy { recycle: None, idle_timeout: None, pre_ping: PrePing::Never };
    let mut slots = Slots::<()>::new(SeatLimits { size: count, max_overflow: 0, min_idle: 0 });
    let open = |_| {
        let id = slots.reserve(None, now).unwrap();
        assert!(slots.connected(id, now, &policy));
        id
    };
    (0..count).map(open).collect()
}
