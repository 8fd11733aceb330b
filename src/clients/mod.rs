//! Who is connected: every live session, how to reach it, and how many there may be.
//!
//! It holds handles, not sessions: a [`Client`] can be told to cancel, to drain or to end, and its task is woken.
//! What a session does then is decided in `proxy`.

mod stand_in;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::SystemTime;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;

pub use stand_in::Demand;
use stand_in::StandIn;

/// Our process ids lie above those of any PostgreSQL (Linux: `PID_MAX_LIMIT`), so the two are never confused.
const FIRST_PID: i32 = 4_194_305;

/// Key bytes in protocol 3.0 and from 3.2 on.
const SHORT_KEY: usize = 4;
const LONG_KEY: usize = 32;

/// What a session can be told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Cancel the running statement, or stop waiting for a lease.
    Cancel = 1,
    /// Close as soon as no transaction is open.
    Drain = 2,
    /// Close at once.
    End = 4,
    /// Look at deadlines.
    Tick = 8,
    /// Notifications have come, or what was asked of the shared listening backend is done.
    Notify = 16,
    /// Somebody's statement is about it: see [`Client::demand`].
    StandIn = 32,
}

/// The signals that were sent since they were last taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signals(u8);

impl Signals {
    #[must_use]
    pub fn has(self, signal: Signal) -> bool {
        self.0 & signal as u8 != 0
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Whose session it is, and where it wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub database: Box<str>,
    pub user: Box<str>,
}

/// Who a client said that it is, when it came.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Shared by all clients that have the same.
    pub names: Arc<Names>,
    /// Its `application_name`; empty where it gave none.
    pub application: Box<str>,
    /// `None` came by the unix socket.
    pub address: Option<SocketAddr>,
    pub since: SystemTime,
}

impl Identity {
    /// A client of which nothing is known but these names, from now on.
    #[must_use]
    pub fn of(database: &str, user: &str) -> Self {
        let names = Arc::new(Names { database: database.into(), user: user.into() });
        Self { names, application: Box::default(), address: None, since: SystemTime::now() }
    }
}

/// A connected client, as others see it.
#[derive(Debug)]
pub struct Client {
    pub pid: i32,
    pub identity: Identity,
    key: Key,
    signals: AtomicU8,
    /// What stood in for its backend may have been told to end.
    in_doubt: AtomicBool,
    /// The backend it has; 0 is none.
    backend: AtomicU64,
    /// How many want it to keep that.
    keepers: AtomicU32,
    /// Somebody who wanted that may have signalled it, which PostgreSQL acts on later than it says so.
    signalled: AtomicBool,
    rest: Mutex<Rest>,
}

/// What others reach a client by: behind one lock, as an idle one is to be small.
#[derive(Debug, Default)]
struct Rest {
    /// Its task.
    waker: Option<Waker>,
    awaited: Option<Box<Awaited>>,
}

/// What others wait for; nothing for most clients.
#[derive(Debug, Default)]
struct Awaited {
    /// Who waits until PostgreSQL has acted on a cancel.
    cancels: Vec<oneshot::Sender<()>>,
    /// What those who want it to keep its backend have instead, where it has none.
    stand_in: Option<StandIn>,
}

/// A backend as PostgreSQL names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// Tells servers apart.
    pub server: u32,
    pub process: i32,
}

/// Whether a client may part with its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    Free,
    /// Not now: somebody wants it to keep it. Whoever does is followed by [`Signal::Tick`].
    Kept,
    /// Not before it has answered something, now that nobody wants it any more: a signal that was sent to it has
    /// reached it by then.
    Signalled,
}

/// As long as it lives, its client does not part with the backend that it has.
#[derive(Debug)]
pub struct KeptBackend(Arc<Client>);

impl KeptBackend {
    /// The backend, if the client has one, or what stands in for it.
    #[must_use]
    pub fn backend(&self) -> Option<Backend> {
        self.0.backend().or_else(|| self.0.stood_in_by())
    }
}

impl Drop for KeptBackend {
    fn drop(&mut self) {
        self.0.signalled.store(true, Ordering::SeqCst);
        if self.0.keepers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.part_with_stand_in();
            self.0.signal(Signal::Tick);
        }
    }
}

enum Key {
    Long(Box<[u8; LONG_KEY]>),
    Short([u8; SHORT_KEY]),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Client {
    /// The secret that a CancelRequest must hold.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match &self.key {
            Key::Long(key) => key.as_slice(),
            Key::Short(key) => key,
        }
    }

    /// Tells those who wait that cancels have been done, or have come too late.
    pub fn cancels_are_done(&self) {
        let mut rest = self.rest.lock();
        let cancels = rest.awaited.as_mut().map(|awaited| std::mem::take(&mut awaited.cancels));
        rest.awaited.take_if(|awaited| awaited.stand_in.is_none());
        drop(rest);
        drop(cancels);
    }

    /// The backend that it has at this moment.
    #[must_use]
    pub fn backend(&self) -> Option<Backend> {
        let noted = self.backend.load(Ordering::SeqCst);
        let server = u32::try_from(noted >> 32).unwrap_or_default();
        let process = i32::try_from(noted & u64::from(u32::MAX)).unwrap_or_default();
        (process != 0).then_some(Backend { server, process })
    }

    /// Notes that it has leased a backend.
    pub fn has_backend(&self, backend: Backend) {
        let process = u64::try_from(backend.process).unwrap_or_default();
        self.signalled.store(false, Ordering::SeqCst);
        self.backend.store(u64::from(backend.server) << 32 | process, Ordering::SeqCst);
    }

    /// Notes that it has none any more, if it may part with it.
    pub fn parts_with_backend(&self) -> Parting {
        // Who wants it finds it there at any moment, also while this is asked again and again.
        if self.is_kept() {
            return Parting::Kept;
        }
        if self.signalled.swap(false, Ordering::SeqCst) {
            return Parting::Signalled;
        }
        let had = self.backend.swap(0, Ordering::SeqCst);
        // Whoever comes after the swap finds none; whoever came before is counted, or has been here.
        if self.may_be_meant() {
            self.backend.store(had, Ordering::SeqCst);
            return Parting::Kept;
        }
        Parting::Free
    }

    /// Whether what its backend says next may be the answer to somebody's signal, which is for this client.
    #[must_use]
    pub fn may_be_meant(&self) -> bool {
        self.is_kept() || self.signalled.load(Ordering::SeqCst)
    }

    /// Notes that its backend is gone, whoever wants what.
    pub fn has_no_backend(&self) {
        self.backend.store(0, Ordering::SeqCst);
    }

    /// Whether anybody wants it to keep its backend now.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.keepers.load(Ordering::SeqCst) > 0
    }

    /// Has it keep its backend.
    #[must_use]
    pub fn keep_backend(self: &Arc<Self>) -> KeptBackend {
        self.keepers.fetch_add(1, Ordering::SeqCst);
        KeptBackend(Arc::clone(self))
    }

    pub fn signal(&self, signal: Signal) {
        self.signals.fetch_or(signal as u8, Ordering::AcqRel);
        let waker = self.rest.lock().waker.clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What was signalled since the last call.
    #[must_use]
    pub fn take_signals(&self) -> Signals {
        if self.signals.load(Ordering::Acquire) == 0 {
            return Signals(0);
        }
        Signals(self.signals.swap(0, Ordering::AcqRel))
    }

    /// Wakes this task at the next signal.
    pub fn listen(&self, waker: &Waker) {
        let known = &mut self.rest.lock().waker;
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}

/// All clients of the process.
#[derive(Debug)]
pub struct Clients {
    by_pid: DashMap<i32, Arc<Client>, foldhash::fast::RandomState>,
    next_pid: AtomicI32,
    connected: AtomicUsize,
    /// Connections without a seat, which may want to cancel something or are to be refused.
    standing: AtomicUsize,
    limit: AtomicUsize,
}

/// There is no room for one more client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} clients are connected, which is the limit")]
pub struct TooMany {
    pub limit: usize,
}

/// A place among the clients: from the accepted connection to its end, logged in or not.
#[derive(Debug)]
pub struct Seat {
    clients: Arc<Clients>,
    client: Option<Arc<Client>>,
}

/// A place for a connection that has no seat.
#[derive(Debug)]
pub struct Standing(Arc<Clients>);

/// Connections without a seat that are heard in any case.
const STANDING: usize = 64;

impl Clients {
    /// Takes at most `limit` connections at once.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            by_pid: DashMap::with_hasher(foldhash::fast::RandomState::default()),
            next_pid: AtomicI32::new(FIRST_PID),
            connected: AtomicUsize::new(0),
            standing: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
        }
    }

    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Connections now, logged in or not.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    /// Sessions now.
    #[must_use]
    pub fn logged_in(&self) -> usize {
        self.by_pid.len()
    }

    /// Takes a place for a connection that was accepted.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn seat(self: &Arc<Self>) -> Result<Seat, TooMany> {
        let limit = self.limit.load(Ordering::Relaxed);
        if self.connected.fetch_add(1, Ordering::AcqRel) >= limit {
            self.connected.fetch_sub(1, Ordering::AcqRel);
            return Err(TooMany { limit });
        }
        Ok(Seat { clients: Arc::clone(self), client: None })
    }

    /// Takes a place for a connection that has no seat, long enough to hear what it wants. `None` where there are as
    /// many as a quarter of the seats already, and some.
    pub fn stand(self: &Arc<Self>) -> Option<Standing> {
        let limit = self.limit.load(Ordering::Relaxed) / 4 + STANDING;
        if self.standing.fetch_add(1, Ordering::AcqRel) >= limit {
            self.standing.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Standing(Arc::clone(self)))
    }

    /// Cancels what the client with this process id does, if the key is its own; what is returned then ends when that
    /// is done, so that it hits nothing that the client sends afterwards. Takes the same time for any wrong key of an
    /// existing client.
    pub fn cancel(&self, pid: i32, key: &[u8]) -> Option<oneshot::Receiver<()>> {
        let client = self.by_pid.get(&pid).map(|entry| Arc::clone(entry.value()));
        let found = client.filter(|client| bool::from(client.key().ct_eq(key)));
        found.map(|client| {
            let (done, waits) = oneshot::channel();
            client.rest.lock().awaited.get_or_insert_default().cancels.push(done);
            client.signal(Signal::Cancel);
            waits
        })
    }

    /// The client with this process id.
    #[must_use]
    pub fn find(&self, pid: i32) -> Option<Arc<Client>> {
        self.by_pid.get(&pid).map(|entry| Arc::clone(entry.value()))
    }

    /// Every session, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.by_pid.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Sends a signal to every session.
    pub fn signal_all(&self, signal: Signal) {
        for client in self.all() {
            client.signal(signal);
        }
    }

    fn fresh_pid(&self) -> i32 {
        let pid = self.next_pid.fetch_add(1, Ordering::Relaxed);
        if pid == i32::MAX {
            self.next_pid.store(FIRST_PID, Ordering::Relaxed);
        }
        pid
    }
}

impl Seat {
    /// Enters a client that has logged in; `long_key` is what protocol 3.2 allows. `random` is its secret.
    pub fn log_in(&mut self, identity: Identity, long_key: bool, random: [u8; LONG_KEY]) -> Arc<Client> {
        let key = if long_key {
            Key::Long(Box::new(random))
        } else {
            let [a, b, c, d, ..] = random;
            Key::Short([a, b, c, d])
        };
        let mut client = Client {
            pid: 0,
            identity,
            key,
            signals: AtomicU8::new(0),
            in_doubt: AtomicBool::new(false),
            backend: AtomicU64::new(0),
            keepers: AtomicU32::new(0),
            signalled: AtomicBool::new(false),
            rest: Mutex::default(),
        };
        loop {
            client.pid = self.clients.fresh_pid();
            match self.clients.by_pid.entry(client.pid) {
                Entry::Occupied(_) => {}
                Entry::Vacant(entry) => {
                    let client = Arc::new(client);
                    entry.insert(Arc::clone(&client));
                    self.client = Some(Arc::clone(&client));
                    return client;
                }
            }
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.standing.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(client) = &self.client {
            client.cancels_are_done();
            client.is_not_stood_in();
            self.clients.by_pid.remove(&client.pid);
        }
        self.clients.connected.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_client_has_gone() {
        let clients = Arc::new(Clients::new(1));
        let seat = clients.seat().expect("room");
        assert_eq!(clients.seat().err(), Some(TooMany { limit: 1 }));
        drop(seat);
        assert!(clients.seat().is_ok());
        assert_eq!(clients.connected(), 0);
    }

    #[test]
    fn an_idle_client_is_small() {
        // With the counts of its Arc it is what the allocator gives for 160 bytes.
        assert!(size_of::<Client>() <= 144, "{}", size_of::<Client>());
    }

    #[test]
    fn only_the_right_key_cancels() {
        let clients = Arc::new(Clients::new(2));
        let mut seat = clients.seat().expect("room");
        let client = seat.log_in(Identity::of("app", "bob"), false, [7; 32]);
        assert!(clients.cancel(client.pid, &[7; 3]).is_none());
        assert!(clients.cancel(client.pid, &[8; 4]).is_none());
        assert!(clients.cancel(client.pid + 1, &[7; 4]).is_none());
        assert!(client.take_signals().is_empty());
        let mut done = clients.cancel(client.pid, &[7; 4]).expect("the right key");
        assert!(client.take_signals().has(Signal::Cancel));
        assert_eq!(done.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        client.cancels_are_done();
        assert_eq!(done.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        drop(seat);
        assert!(clients.cancel(client.pid, &[7; 4]).is_none());
    }
}
