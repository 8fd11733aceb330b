//! From an accepted connection to a session that is served.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::handshake::{Caller, Failed, Wanted, handshake};
use super::login::{Identified, log_in};
use super::routes::NoRoute;
use super::{Server, replication, shutting_down};
use crate::admin::{Rights, Visit};
use crate::auth::{self, BackendCredential, CredentialSource};
use crate::backend::{Dialer, Refusal, adopt};
use crate::clients::{self, Client, Identity, Seat, TooMany};
use crate::config::Config;
use crate::net::{Peer, Stream};
use crate::pool::{Lease, LeaseError, Return, Wish};
use crate::proxy::{self, Occupied, Route, Serving, Worker};
use crate::session::{Keeps, Session};
use crate::settings::{self, Settings};
use crate::sql::LONGEST_NAME;
use crate::stats::Limit;
use crate::wire::build::{self, Fault};
use crate::wire::sqlstate;
use crate::wire::startup::{NEWEST_MINOR, Startup};
use crate::wire::view::Transaction;

/// How long the end of a cancel is waited for.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);
/// How long a client that is refused may take to read why.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Backends that a login may lose before it gives up.
const ATTEMPTS: usize = 5;

/// A client that has logged in and been greeted.
struct Greeted {
    caller: Caller,
    seat: Seat,
    handle: Arc<Client>,
    next: Next,
}

enum Next {
    Console(Rights),
    Replication(Box<replication::Line>),
    Session { session: Session, route: Arc<Route> },
}

/// A client that has said who it is.
struct Arrival {
    caller: Caller,
    startup: Startup,
    seat: Result<Seat, TooMany>,
    login: LoginTime,
}

/// Takes a connection from its first byte to its end. It is one of the server's sessions as soon as it has said who it is.
/// Runs on the worker's runtime, where the session then gets a task of its own, smaller than this one.
pub async fn welcome(stream: Stream, seat: Result<Seat, TooMany>, server: Arc<Server>, occupied: Occupied) {
    let login = LoginTime::of(&server, stream.peer());
    match Box::pin(login.bound(&server, handshake(stream, &server))).await {
        Ok(Wanted::Session(caller, startup)) => {
            let arrival = Arrival { caller, startup, seat, login };
            server.sessions.track_future(admit(arrival, &server, occupied)).await;
        }
        Ok(Wanted::Cancel { stream, pid, key }) => {
            if let Some(done) = server.clients.cancel(pid, &key) {
                // Clients take the end of this connection for the end of the cancel, as with PostgreSQL.
                let _ = tokio::time::timeout(CANCEL_PATIENCE, done).await;
            }
            drop(stream);
        }
        Err(failed) => part(login.peer, failed).await,
    }
}

async fn admit(arrival: Arrival, server: &Arc<Server>, occupied: Occupied) {
    let peer = arrival.login.peer;
    let worker = Arc::clone(occupied.worker());
    // The login needs far more memory than the session that follows: it lives in a box of its own.
    match Box::pin(greet(arrival, server, &worker)).await {
        Ok(Greeted { caller, seat, handle, next: Next::Session { session, route } }) => {
            let serving = Serving::new(caller.stream, session, handle, route, (seat, occupied), &caller.ahead);
            tokio::spawn(server.sessions.track_future(serving));
        }
        Ok(Greeted { caller, seat, handle, next: Next::Console(rights) }) => {
            server.console.serve(Visit { stream: caller.stream, ahead: caller.ahead, client: handle, rights, seat });
        }
        Ok(Greeted { caller, seat, handle, next: Next::Replication(line) }) => {
            Box::pin(replication::relay(caller, *line, &handle)).await;
            drop(seat);
        }
        Err(failed) => part(peer, failed).await,
    }
}

/// Parts with a client that does not become a session.
async fn part(peer: Peer, failed: Failed) {
    match failed {
        // What is wrong with a client's certificate, or with the words of its TLS.
        Failed::Ended(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(%peer, reason = %error, "login failed");
        }
        Failed::Ended(error) => tracing::debug!(%peer, %error, "a connection ended before it logged in"),
        Failed::Told { mut stream, fault } => {
            let speaking = async {
                stream.write_all(&fault.to_frame()).await?;
                stream.shutdown().await
            };
            // A client that does not listen misses it.
            let _ = tokio::time::timeout(LAST_WORDS, speaking).await;
        }
    }
}

/// How long a client may take to prove who it is, from its first byte on.
#[derive(Clone, Copy)]
struct LoginTime {
    peer: Peer,
    limit: Duration,
    over: Instant,
}

impl LoginTime {
    fn of(server: &Server, peer: Peer) -> Self {
        let limit = server.config.current().listen.login_timeout;
        Self { peer, limit, over: Instant::now() + limit }
    }

    async fn bound<T>(&self, server: &Server, step: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        let Ok(done) = tokio::time::timeout_at(self.over, step).await else {
            server.routes.limit_hits().hit(Limit::LoginTimeout);
            let Self { peer, limit, .. } = self;
            tracing::warn!(%peer, "a client did not log in within listen.login_timeout = {limit:?}");
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        };
        done
    }
}

/// A client that has proved who it is.
struct Proven {
    caller: Caller,
    seat: Seat,
    startup: Startup,
    names: Names,
    identified: Identified,
}

/// Brings a client to where its session begins.
async fn greet(arrival: Arrival, server: &Server, worker: &Worker) -> Result<Greeted, Failed> {
    let login = arrival.login;
    let Proven { caller, seat, startup, names, identified } = login.bound(server, meet(arrival, server)).await?;
    // From here on it is PostgreSQL that may take its time, within the limits of the pool.
    let entry = Entry { server, worker, startup: &startup, names: &names };
    enter(caller, seat, entry, identified).await
}

/// Finds out who a client is.
async fn meet(arrival: Arrival, server: &Server) -> Result<Proven, Failed> {
    let Arrival { mut caller, startup, seat, login: LoginTime { peer, .. } } = arrival;
    if startup.minor > NEWEST_MINOR || !startup.extensions.is_empty() {
        let minor = startup.minor.min(NEWEST_MINOR);
        caller.stream.write_all(&build::negotiate_protocol(minor, &startup.extensions)).await?;
    }
    if server.is_draining() {
        return Err(Failed::told(caller.stream, shutting_down()));
    }
    let seat = match seat {
        Ok(seat) => seat,
        Err(full) => {
            server.routes.limit_hits().hit(Limit::MaxClients);
            tracing::warn!(%peer, limit = full.limit, "a client was refused: there are as many as may be");
            let fault = Fault::fatal(sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients already").detail(
                match server.config.current().listen.max_clients {
                    limit if limit == full.limit => format!("pgweir's limit is listen.max_clients = {limit}."),
                    limit => format!(
                        "The system lets pgweir have open files for {} clients; listen.max_clients is {limit}.",
                        full.limit
                    ),
                },
            );
            return Err(Failed::told(caller.stream, fault));
        }
    };
    let names = match Names::of(&startup) {
        Ok(names) => names,
        Err(fault) => return Err(Failed::told(caller.stream, fault)),
    };
    let credentials = server.credentials.load_full();
    let known = if server.config.current().admin.is_console(&names.database) {
        credentials.lookup_for_console(&names.user)
    } else {
        credentials.lookup(&names.user)
    };
    let (caller, identified) = log_in(caller, server, &names.user, known).await?;
    Ok(Proven { caller, seat, startup, names, identified })
}

/// Whom and what a startup packet names.
struct Names {
    user: String,
    database: String,
    application: Box<str>,
    replication: Option<replication::Kind>,
}

impl Names {
    fn of(startup: &Startup) -> Result<Self, Fault> {
        let text = |name: &str| -> Result<Option<String>, Fault> {
            let Some(value) = startup.parameter(name).filter(|value| !value.is_empty()) else { return Ok(None) };
            let text = std::str::from_utf8(value).map_err(|_| {
                Fault::fatal(
                    sqlstate::INVALID_AUTHORIZATION,
                    format!("startup parameter \"{name}\" is not valid UTF-8"),
                )
            })?;
            let end =
                text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= LONGEST_NAME).last();
            Ok(text.get(..end.unwrap_or(0)).map(str::to_owned))
        };
        let Some(user) = text("user")? else {
            return Err(Fault::fatal(
                sqlstate::INVALID_AUTHORIZATION,
                "no PostgreSQL user name specified in startup packet",
            ));
        };
        let replication = match startup.parameter("replication").map(<[u8]>::to_ascii_lowercase).as_deref() {
            None | Some(b"false" | b"off" | b"no" | b"0" | b"f" | b"n") => None,
            Some(b"true" | b"on" | b"yes" | b"1" | b"t" | b"y") => Some(replication::Kind::Physical),
            Some(b"database") => Some(replication::Kind::Logical),
            Some(other) => {
                let other = String::from_utf8_lossy(other);
                return Err(Fault::fatal("22023", format!("invalid value for parameter \"replication\": \"{other}\""))
                    .hint("Valid values are: \"false\", 0, \"true\", 1, \"database\"."));
            }
        };
        let application = String::from_utf8_lossy(startup.parameter("application_name").unwrap_or_default());
        let application = application.chars().take(LONGEST_NAME).collect::<String>().into();
        Ok(Self { database: text("database")?.unwrap_or_else(|| user.clone()), user, application, replication })
    }

    fn shared(&self) -> Arc<clients::Names> {
        Arc::new(clients::Names { database: self.database.as_str().into(), user: self.user.as_str().into() })
    }
}

/// Brings a client that has proved who it is to its first ReadyForQuery.
async fn enter(
    mut caller: Caller,
    mut seat: Seat,
    entry: Entry<'_>,
    identified: Identified,
) -> Result<Greeted, Failed> {
    let prepared = tokio::select! {
        prepared = entry.prepare(identified) => prepared,
        gone = caller.gone() => return Err(gone.into()),
        shutting_down = entry.server.refuses() => return Err(ended_with(caller.stream, &shutting_down.to_frame()).await),
    };
    let (next, told) = match prepared {
        Ok(prepared) => prepared,
        Err(frame) => return Err(ended_with(caller.stream, &frame).await),
    };
    let random = match auth::random() {
        Ok(random) => random,
        Err(fault) => return Err(Failed::told(caller.stream, Fault::fatal("XX000", fault.to_string()))),
    };
    let identity = Identity {
        names: match &next {
            Next::Session { route, .. } => Arc::clone(&route.names),
            Next::Console(_) | Next::Replication(_) => entry.names.shared(),
        },
        application: entry.names.application.clone(),
        address: match caller.stream.peer() {
            Peer::Tcp(address) => Some(address),
            Peer::Unix => None,
        },
        since: SystemTime::now(),
    };
    let handle = seat.log_in(identity, entry.startup.minor >= 2, random);
    let mut greeting = build::authentication_ok();
    greeting.extend_from_slice(&told);
    greeting.extend_from_slice(&build::backend_key_data(handle.pid, handle.key()));
    greeting.extend_from_slice(&build::ready_for_query(Transaction::Idle));
    caller.stream.write_all(&greeting).await?;
    caller.stream.flush().await?;
    if entry.server.is_draining() {
        handle.signal(clients::Signal::Drain);
    }
    Ok(Greeted { caller, seat, handle, next })
}

/// What a client wants to enter, and by which door.
#[derive(Clone, Copy)]
struct Entry<'a> {
    server: &'a Server,
    worker: &'a Worker,
    startup: &'a Startup,
    names: &'a Names,
}

impl Entry<'_> {
    /// What will serve the client, and what its greeting says besides: notices and ParameterStatus frames.
    ///
    /// # Errors
    /// The ErrorResponse for the client.
    async fn prepare(self, identified: Identified) -> Result<(Next, Arc<[u8]>), Vec<u8>> {
        let Self { server, worker, startup, names } = self;
        let config = server.config.current();
        let credential = &identified.credential.backend;
        if config.admin.is_console(&names.database) {
            return self.prepare_console().map_err(|fault| fault.to_frame());
        }
        if let Some(kind) = names.replication {
            let whom = (kind, names.database.as_str(), names.user.as_str());
            let line = replication::open(&server.routes, &config, startup, whom, credential, identified.keys).await?;
            let told = Arc::from(line.told.as_slice());
            return Ok((Next::Replication(Box::new(line)), told));
        }
        let route = self.route(config, credential).map_err(|fault| no_route(&fault).to_frame())?;
        if let Some(keys) = identified.keys {
            route.target.learn(keys);
        }
        let settings::Known { profile, defaults, told } = known_startup(&route, server, worker, startup).await?;
        let session = Session::new(Arc::clone(&route.rules), profile, defaults);
        let told = match &*route.pool.manager().notices.load() {
            Some(notices) => [notices.as_slice(), &told].concat().into(),
            None => told,
        };
        Ok((Next::Session { session, route }, told))
    }

    /// The client's route. A reload may come in between, and must find the route or have been before it.
    fn route(self, mut config: Arc<Config>, credential: &BackendCredential) -> Result<Arc<Route>, NoRoute> {
        let Self { server, names, .. } = self;
        loop {
            let route = server.routes.open(&config, &names.database, &names.user, credential)?;
            let current = server.config.current();
            if Arc::ptr_eq(&config, &current) {
                return Ok(route);
            }
            server.routes.discard(&route);
            config = current;
        }
    }

    fn prepare_console(self) -> Result<(Next, Arc<[u8]>), Fault> {
        let Self { server, names, .. } = self;
        if names.replication.is_some() {
            return Err(Fault::fatal(sqlstate::FEATURE_NOT_SUPPORTED, "pgweir's console has nothing to replicate"));
        }
        let rights = server.console.rights(&names.user)?;
        Ok((Next::Console(rights), server.console.statuses(&names.user, &names.application).into()))
    }
}

/// As PostgreSQL does, says that the client is who it is before it says why that is of no use.
async fn ended_with(mut stream: Stream, frame: &[u8]) -> Failed {
    let mut last_words = build::authentication_ok();
    last_words.extend_from_slice(frame);
    let speaking = async {
        stream.write_all(&last_words).await?;
        stream.shutdown().await
    };
    let spoken = tokio::time::timeout(LAST_WORDS, speaking).await;
    Failed::Ended(spoken.map_or_else(Into::into, |spoken| spoken.err().unwrap_or_else(|| io::Error::other("refused"))))
}

fn no_route(fault: &NoRoute) -> Fault {
    match fault {
        NoRoute::NoDatabase(_) => Fault::fatal(sqlstate::INVALID_CATALOG_NAME, fault.to_string())
            .detail("pgweir's configuration has [databases], and neither this name nor \"*\" among them."),
        NoRoute::TooManyPools(_) => Fault::fatal(sqlstate::TOO_MANY_CONNECTIONS, fault.to_string())
            .hint("Raise limits.pools in pgweir's configuration."),
    }
}

/// What a session with these startup parameters begins with: known, or found out on a backend now.
///
/// # Errors
/// The ErrorResponse for the client.
async fn known_startup(
    route: &Route,
    server: &Server,
    worker: &Worker,
    startup: &Startup,
) -> Result<settings::Known, Vec<u8>> {
    let wanted: Settings = settings::requested(startup).map_err(|words| Fault::fatal("42601", words).to_frame())?;
    if let Some(known) = route.startups.get(&wanted) {
        return Ok(known);
    }
    let lasting = settings::lasting(&wanted);
    for _ in 0..ATTEMPTS {
        let mut lease = lease(route, worker).await?;
        let adopting = async {
            if lasting.len() < wanted.len()
                && let refused @ adopt::Adopted::Refused(_) =
                    adopt::adopt(&mut lease, &wanted, server.routes.profiles()).await?
            {
                return Ok(refused);
            }
            let lasting = adopt::as_at_login(&mut lease, &route.target, lasting.clone()).await?;
            adopt::adopt(&mut lease, &lasting, server.routes.profiles()).await
        };
        let adopted = tokio::time::timeout(route.target.endpoint().connect_timeout, adopting).await;
        match adopted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(adopt::Adopted::Known(known)) => {
                lease.release(Return::Clean, Instant::now());
                route.startups.learn(wanted, known.clone());
                return Ok(known);
            }
            Ok(adopt::Adopted::Refused(report)) => {
                lease.release(Return::Clean, Instant::now());
                return Err(report.as_fatal());
            }
            Err(error) => tracing::warn!(%error, "a backend was lost while it checked startup parameters"),
        }
    }
    Err(Fault::fatal(sqlstate::CONNECTION_FAILURE, "the connection to PostgreSQL was lost").to_frame())
}

async fn lease(route: &Route, worker: &Worker) -> Result<Lease<Dialer>, Vec<u8>> {
    let now = Instant::now();
    let wish = Wish { worker: worker.index, priority: route.limits.load().priority, ..Wish::default() };
    if let Some(lease) = route.pool.try_lease(&wish, now) {
        return Ok(lease);
    }
    let refused = |error: LeaseError<Refusal>| match error {
        LeaseError::Refused(refusal) => proxy::refusal_frame(&refusal),
        LeaseError::Closed => shutting_down().to_frame(),
        full @ (LeaseError::TooManyWaiting { .. } | LeaseError::Pin(_) | LeaseError::BackendGone) => {
            Fault::fatal(sqlstate::TOO_MANY_CONNECTIONS, full.to_string()).to_frame()
        }
    };
    let patience = route.pool.timeout();
    let mut waiting = route.pool.wait(&wish, now).map_err(refused)?;
    match tokio::time::timeout(patience, &mut waiting).await {
        Ok(leased) => leased.map_err(refused),
        Err(_) => {
            let shortage = waiting.give_up(Instant::now());
            let mut fault = proxy::shortage_fault(&route.database, &route.user, Keeps::empty(), &shortage, patience);
            fault.severity = build::Severity::Fatal;
            Err(fault.to_frame())
        }
    }
}
