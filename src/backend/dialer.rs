//! What a pool asks to open and keep its backends.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::Instant;

use super::connect::{self, Connected};
use super::login::LoggedIn;
use super::outage::{Outage, Tidings};
use super::{Backend, Holders, Refusal, Undo, talk};
use crate::auth::{Md5Hash, ScramKeys};
use crate::config::{Host, Keepalive, Secret, ServerTlsMode};
use crate::net::ServerTls;
use crate::pool::{ConnectFault, Manager};
use crate::prepared::{Compiled, Held};
use crate::settings::{Carried, Defaults, Profiles, Startups};
use crate::wire::tag::backend;
use crate::wire::{Header, build, sqlstate, view};

/// Bytes that an idle backend may say unasked: its messages are short, and more than that is not trusted.
const UNASKED: usize = 2048;

/// Reported settings: name, value.
type Statuses = Vec<(Vec<u8>, Vec<u8>)>;

/// Where the backends of a pool are, and who they log in as. A reload replaces both.
#[derive(Debug)]
pub struct Target {
    endpoint: ArcSwap<Endpoint>,
    login: Mutex<Login>,
}

/// One database of one PostgreSQL, and how it is reached.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Tried in this order.
    pub hosts: Vec<Host>,
    pub dbname: String,
    pub user: String,
    pub tls: Option<ServerTls>,
    pub tls_mode: ServerTlsMode,
    /// For dialling, TLS and login together.
    pub connect_timeout: Duration,
    pub keepalive: Keepalive,
}

impl Endpoint {
    /// Whether backends that were opened at `other` may stay.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        (&self.hosts, &self.dbname, &self.user, self.tls_mode)
            == (&other.hosts, &other.dbname, &other.user, other.tls_mode)
    }
}

/// What we prove who we are with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    Keys(ScramKeys),
    Md5Hash(Md5Hash),
    None,
    Password(Secret),
}

impl Target {
    #[must_use]
    pub fn new(endpoint: Endpoint, login: Login) -> Self {
        Self { endpoint: ArcSwap::from_pointee(endpoint), login: Mutex::new(login) }
    }

    #[must_use]
    pub fn endpoint(&self) -> Arc<Endpoint> {
        self.endpoint.load_full()
    }

    /// Connects elsewhere from now on. Whether backends that are open have become useless.
    #[must_use]
    pub fn move_to(&self, endpoint: Endpoint) -> bool {
        let moved = !self.endpoint.load().is_same_place(&endpoint);
        self.endpoint.store(Arc::new(endpoint));
        moved
    }

    #[must_use]
    pub fn login(&self) -> Login {
        self.login.lock().clone()
    }

    /// Logs in with this from now on; keys that were learnt are kept where nothing is configured. Whether it is
    /// something else than before.
    pub fn set_login(&self, new: Login) -> bool {
        let mut login = self.login.lock();
        let changes = *login != new && !matches!((&new, &*login), (Login::None, Login::Keys(_)));
        if changes {
            *login = new;
        }
        changes
    }

    /// Keeps the keys that a client's login has revealed, for key pass-through.
    pub fn learn(&self, keys: ScramKeys) {
        let mut login = self.login.lock();
        if !matches!(*login, Login::Password(_) | Login::Md5Hash(_)) {
            *login = Login::Keys(keys);
        }
    }
}

/// Opens and keeps the backends of one pool.
#[derive(Debug)]
pub struct Dialer {
    pub target: Arc<Target>,
    pub profiles: Arc<Profiles>,
    /// What clients have started with, and what that reads as on these backends.
    pub startups: Arc<Startups>,
    /// Prepared statements that one backend should hold at most, from when it is opened.
    pub statements: AtomicUsize,
    /// What they may have compiled.
    pub compiled: Arc<Compiled>,
    /// Where its backends are entered.
    pub holders: Arc<Holders>,
    /// What is said of a server that lets nobody in, and of the first of several that does not.
    pub outage: Outage,
    pub passing_over: Outage,
    /// What the backend that was last given back has reported when it was fresh.
    pub defaults: ArcSwapOption<Defaults>,
    /// What PostgreSQL warned of when the last backend logged in, frame by frame.
    pub notices: ArcSwapOption<Vec<u8>>,
}

/// Whether a server that says so may let us in later: it is starting, stopping or full.
#[must_use]
pub fn is_temporary(code: &[u8]) -> bool {
    matches!(code, b"57P03" | b"53300" | b"57P01" | b"57P02")
}

impl Manager for Dialer {
    type Backend = Box<Backend>;
    type Error = Refusal;

    async fn connect(&self) -> Result<Box<Backend>, ConnectFault<Refusal>> {
        let endpoint = self.target.endpoint();
        let connected = connect::connect(&endpoint, self.target.login(), &[]).await;
        self.report(&endpoint, connected.as_ref());
        match connected {
            Ok(Connected { stream, logged_in: LoggedIn { statuses, notices, .. }, cancel, .. }) => {
                self.notices.store((!notices.is_empty()).then(|| Arc::new(notices)));
                Ok(Box::new(Backend {
                    stream,
                    holder: self.holders.enter(&cancel.host, cancel.pid),
                    held: Held::new(self.statements.load(Ordering::Relaxed)),
                    carried: Carried::new(self.profiles.fresh(), self.profiles.intern_defaults(statuses.into())),
                    cancel: Arc::new(cancel),
                    undo: Undo::default(),
                    drew: None,
                }))
            }
            Err(refusal) if refusal.is_for_all() => Err(ConnectFault::Full(refusal)),
            Err(refusal) if refusal.is_temporary() => Err(ConnectFault::Unavailable(refusal)),
            Err(refusal) => Err(ConnectFault::Refused(refusal)),
        }
    }

    /// A bare Sync: one round trip without any SQL.
    async fn ping(&self, backend: &mut Box<Backend>) -> bool {
        let answer = talk::ask(&mut backend.stream, &build::SYNC).await;
        answer.is_ok_and(|answer| {
            for (name, value) in &answer.statuses {
                backend.carried.hear_default(name, value, &self.profiles);
            }
            answer.error.is_none()
        })
    }

    async fn reset(&self, backend: &mut Box<Backend>) -> bool {
        let Undo { transaction, session } = std::mem::take(&mut backend.undo);
        if transaction {
            let Some(statuses) = self.run(backend, b"ROLLBACK").await else { return false };
            let Carried { profile, defaults, .. } = &mut backend.carried;
            for (name, value) in &statuses {
                *profile = self.profiles.with(profile, name, value, defaults.get(name));
            }
        }
        if session {
            let Some(statuses) = self.run(backend, b"DISCARD ALL").await else { return false };
            for (name, value) in &statuses {
                backend.carried.hear_default(name, value, &self.profiles);
            }
            backend.held.clear();
            backend.carried.turn_into(self.profiles.fresh(), &self.profiles);
            backend.drew = None;
        }
        true
    }

    /// PostgreSQL's process has left the database before its end of the socket closes.
    async fn farewell(&self, mut backend: Box<Backend>) {
        if talk::send(&mut backend.stream, &build::TERMINATE).await.is_ok() {
            let mut rest = [0; UNASKED];
            while backend.stream.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
        }
    }

    fn is_dead(&self, backend: &mut Box<Backend>) -> bool {
        backend.stream.known_readable() && !self.hears_nothing_bad(backend)
    }

    fn rehome(&self, backend: &mut Box<Backend>) -> bool {
        backend.stream.rehome().is_ok()
    }

    fn profile(&self, backend: &Box<Backend>) -> usize {
        self.note_defaults(&backend.carried.defaults);
        Arc::as_ptr(&backend.carried.profile).addr()
    }
}

impl Dialer {
    /// What clients were told at their logins may not hold any more.
    fn note_defaults(&self, defaults: &Arc<Defaults>) {
        let is_news = self.defaults.load().as_ref().is_none_or(|known| !Arc::ptr_eq(known, defaults));
        if is_news && self.defaults.swap(Some(Arc::clone(defaults))).is_some() {
            self.startups.forget();
        }
    }

    /// Says in the log whether PostgreSQL lets us in, and by its first host, where that is news.
    fn report(&self, endpoint: &Endpoint, connected: Result<&Connected, &Refusal>) {
        let Endpoint { dbname, user, .. } = endpoint;
        let now = Instant::now();
        let Connected { passed_over, cancel, .. } = match connected {
            Ok(connected) => connected,
            Err(refusal) => {
                if let Some(Tidings { failures, lasted }) = self.outage.failed(now) {
                    tracing::warn!(database = dbname, user, %refusal, failures, ?lasted, "cannot connect to PostgreSQL");
                }
                return;
            }
        };
        if let Some(Tidings { failures, lasted }) = self.outage.succeeded(now) {
            tracing::info!(database = dbname, user, failures, ?lasted, "connected to PostgreSQL again");
        }
        match passed_over {
            Some(refusal) => {
                if let Some(Tidings { failures, lasted }) = self.passing_over.failed(now) {
                    let host = connect::name_of(&cancel.host);
                    tracing::warn!(
                        database = dbname, user, host, %refusal, failures, ?lasted,
                        "a host of PostgreSQL is passed over for a later one"
                    );
                }
            }
            None => {
                if let Some(Tidings { failures, lasted }) = self.passing_over.succeeded(now) {
                    tracing::info!(database = dbname, user, failures, ?lasted, "connected to the first host again");
                }
            }
        }
    }

    /// Runs a text of one statement: what the backend has reported with it; `None` where it failed.
    async fn run(&self, backend: &mut Box<Backend>, text: &[u8]) -> Option<Statuses> {
        let mut query = Vec::new();
        build::write_query(&mut query, text);
        backend.held.set_unnamed(None);
        let answer = talk::ask(&mut backend.stream, &query).await.ok()?;
        answer.error.is_none().then_some(answer.statuses)
    }

    /// Reads what an idle backend has said unasked. A changed setting (the server re-read its configuration) is a
    /// new default; a notice says nothing, but that of a crash; anything else, or the end, means that it is lost.
    fn hears_nothing_bad(&self, backend: &mut Box<Backend>) -> bool {
        let mut bytes = [0; UNASKED];
        let context = &mut Context::from_waker(Waker::noop());
        // Behind what was said there may be the end.
        loop {
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut backend.stream).poll_read(context, &mut read) {
                Poll::Pending => return true,
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                Poll::Ready(_) => return false,
            }
            if !self.is_harmless(read.filled(), &mut backend.carried) {
                return false;
            }
        }
    }

    fn is_harmless(&self, mut rest: &[u8], carried: &mut Carried) -> bool {
        while let Ok(Some(header)) = Header::read(rest, UNASKED) {
            let Some(body) = rest.get(5..header.frame()) else { return false };
            match header.tag {
                backend::PARAMETER_STATUS => {
                    let Ok((name, value)) = view::parameter_status(body) else { return false };
                    carried.hear_default(name, value, &self.profiles);
                }
                // Backends say that they end with another one's crash by a warning.
                backend::NOTICE_RESPONSE if view::Report::read(body).code != sqlstate::CRASH_SHUTDOWN.as_bytes() => {}
                _ => return false,
            }
            rest = rest.get(header.frame()..).unwrap_or_default();
        }
        rest.is_empty()
    }
}
