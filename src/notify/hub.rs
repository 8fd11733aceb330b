//! All shared listening backends of the process.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::Listener;
use super::mailbox::Mailbox;
use super::subscriber::Subscriber;
use super::ticket::Ticket;
use crate::backend::{Dialer, Endpoint, Holders, Target};
use crate::clients::Client;
use crate::config::{self, Backoff, Host};
use crate::pool::{Budget, Pool, PoolKey};

/// Whose sessions share a listening backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenKey {
    pub pool: PoolKey,
    /// The sessions' client_encoding, in which names and payloads are read and written; `None` is that of a fresh
    /// backend.
    pub encoding: Option<Box<[u8]>>,
}

/// How a listening backend is opened and kept.
#[derive(Debug, Clone)]
pub struct Plan {
    /// That of the pool.
    pub target: Arc<Target>,
    /// That of the pool: the connection counts as one of the server's, though not as one of the pool's.
    pub budget: Arc<Budget>,
    pub backoff: Backoff,
    /// How long a LISTEN waits for a backend: `pool.timeout`.
    pub timeout: Duration,
    /// How long a backend that listens to nothing is kept: `pool.idle_timeout`; `None` is for ever.
    pub idle_timeout: Option<Duration>,
}

impl Plan {
    /// As the backends of this pool are opened.
    #[must_use]
    pub fn of(pool: &Pool<Dialer>) -> Self {
        let config = pool.config();
        Self {
            target: Arc::clone(&pool.manager().target),
            budget: Arc::clone(pool.budget()),
            backoff: pool.backoff(),
            timeout: config.timeout,
            idle_timeout: config.idle_timeout,
        }
    }
}

impl Limits {
    /// As the configuration says.
    #[must_use]
    pub fn of(limits: &config::Limits) -> Self {
        Self { notifications: limits.notifications, channels: limits.channels, listeners: limits.listeners }
    }
}

/// What bounds listeners and those who listen. Applies to subscribers from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of notifications that may wait for one client.
    pub notifications: usize,
    /// Channels of one client.
    pub channels: usize,
    /// Shared backends at once.
    pub listeners: usize,
}

/// There are as many shared listening backends as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {limit} listening backends already")]
pub struct TooManyListeners {
    pub limit: usize,
}

/// A shared listening backend at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub key: ListenKey,
    pub channels: usize,
    /// Pairs of a session and a channel.
    pub subscriptions: usize,
    /// It is connected and delivers.
    pub up: bool,
}

/// See the module. One for the process.
#[derive(Debug)]
pub struct Hub {
    runtime: Handle,
    stop: CancellationToken,
    tasks: TaskTracker,
    holders: Arc<Holders>,
    listeners: Mutex<HashMap<ListenKey, Arc<Listener>>>,
    /// How many of them there are, to be read without the lock.
    count: AtomicUsize,
    limits: Mutex<Limits>,
    /// A listening backend was closed.
    closed: Notify,
}

impl Hub {
    /// Its tasks run on `runtime` until `stop` is cancelled. `holders` is what the backends of all pools are entered
    /// in.
    #[must_use]
    pub fn new(runtime: Handle, stop: CancellationToken, holders: Arc<Holders>, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            stop,
            tasks: TaskTracker::new(),
            holders,
            listeners: Mutex::default(),
            count: AtomicUsize::new(0),
            limits: Mutex::new(limits),
            closed: Notify::new(),
        })
    }

    /// Where the backends of all pools are entered.
    #[must_use]
    pub fn holders(&self) -> &Arc<Holders> {
        &self.holders
    }

    /// A session's side of its listening backend. Nothing is opened before it listens.
    ///
    /// # Errors
    /// [`TooManyListeners`].
    pub fn subscriber(
        self: &Arc<Self>,
        key: &ListenKey,
        plan: Plan,
        client: &Arc<Client>,
    ) -> Result<Subscriber, TooManyListeners> {
        let limits = *self.limits.lock();
        let mailbox = Mailbox::new(client, limits.notifications);
        let mut listeners = self.listeners.lock();
        if listeners.len() >= limits.listeners && !listeners.contains_key(key) {
            // Those that are only kept for later make room.
            listeners.retain(|_, listener| !listener.dismiss_if_disused());
        }
        let listener = match listeners.get(key) {
            Some(listener) => {
                let listener = Arc::clone(listener);
                listener.set_plan(plan);
                listener
            }
            None if listeners.len() >= limits.listeners => return Err(TooManyListeners { limit: limits.listeners }),
            None => {
                let listener = Listener::new(key.clone(), plan, self);
                listeners.insert(key.clone(), Arc::clone(&listener));
                self.count.store(listeners.len(), Ordering::Release);
                listener
            }
        };
        listener.enter();
        drop(listeners);
        Ok(Subscriber::new(listener, mailbox, limits.channels))
    }

    /// For a session that has notified: settles when all sessions that listen in this database have been given what is
    /// committed now. Until then it keeps its backend, so that its own process id is shown. `None`, at no cost worth
    /// mentioning, when nobody listens there.
    #[must_use]
    pub fn barrier(&self, place: &Endpoint, client: &Arc<Client>) -> Option<Ticket> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let all: Vec<_> = self.listeners.lock().values().cloned().collect();
        let here = |listener: &Arc<Listener>| {
            let there = listener.plan().target.endpoint();
            there.dbname == place.dbname && there.hosts == place.hosts && listener.is_heard()
        };
        let mailbox = Mailbox::new(client, 0);
        let tickets: Vec<_> = all.iter().filter(|l| here(l)).map(|listener| listener.barrier(&mailbox)).collect();
        (!tickets.is_empty()).then(|| Ticket::all(tickets))
    }

    /// Applies a changed configuration. A listening backend whose place or credentials have changed is replaced, and
    /// its sessions are told that notifications may have been missed; one without a plan keeps its old one.
    pub fn reconfigure(&self, limits: Limits, mut plan_of: impl FnMut(&ListenKey) -> Option<Plan>) {
        *self.limits.lock() = limits;
        let all: Vec<_> = self.listeners.lock().values().cloned().collect();
        for listener in all {
            if let Some(plan) = plan_of(&listener.key) {
                listener.set_plan(plan);
            }
        }
    }

    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let all: Vec<_> = self.listeners.lock().values().cloned().collect();
        all.iter()
            .map(|listener| {
                let (up, (channels, subscriptions)) = listener.on_book(|book, _| (book.is_heard(), book.counts()));
                Snapshot { key: listener.key.clone(), channels, subscriptions, up }
            })
            .collect()
    }

    /// Ends every listening backend; whoever waits for one fails. Returns when all are closed.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(super) fn stopped(&self) -> &CancellationToken {
        &self.stop
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// A listening backend is closed, and nobody is about to open another one.
    pub(super) fn has_closed(&self, listener: &Arc<Listener>) {
        self.forget_if_unused(listener);
        self.closed.notify_waiters();
    }

    /// Closes the backends in this database that nobody listens by, and returns when they are closed. Those who listen
    /// stay, as directly they would.
    pub async fn vacate(&self, hosts: &[Host], database: &str) {
        let all: Vec<_> = self.listeners.lock().values().cloned().collect();
        let here = |listener: &Arc<Listener>| {
            let there = listener.plan().target.endpoint();
            there.dbname == database && *there.hosts == *hosts
        };
        let leaving: Vec<_> = all.into_iter().filter(|l| here(l) && l.dismiss_if_unheard()).collect();
        loop {
            let mut closed = pin!(self.closed.notified());
            closed.as_mut().enable();
            if !leaving.iter().any(|listener| listener.is_served()) {
                return;
            }
            closed.await;
        }
    }

    /// Forgets a listener that has neither subscribers nor a task.
    pub(super) fn forget_if_unused(&self, listener: &Arc<Listener>) {
        let mut listeners = self.listeners.lock();
        let is_known = listeners.get(&listener.key).is_some_and(|known| Arc::ptr_eq(known, listener));
        if is_known && listener.is_abandoned() {
            listeners.remove(&listener.key);
            self.count.store(listeners.len(), Ordering::Release);
        }
    }
}
