//! The checked form: what is true, after defaults, environment and validation. Everything else in the program
//! reads this form only; the written form ends in `config`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A complete, checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub process: Process,
    pub listen: Listen,
    pub server: Server,
    pub pool: Pool,
    pub session: Session,
    pub insight: Insight,
    pub budgets: Budgets,
    pub limits: Limits,
    /// By the name a client asks for; `"*"` stands for any name and passes it through.
    pub databases: BTreeMap<String, Database>,
    pub users: Vec<User>,
    /// Who the control plane logs in as; what needs it is off without it.
    pub control: Option<Control>,
    pub admin: Admin,
    pub log: Log,
}

/// `[process]`
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Threads that serve sessions; at least 1 (the written 0 means one for every two cores).
    pub workers: usize,
    /// Each worker stays on a core of its own, where there is one for each core.
    pub pin_workers: bool,
    /// Workers do not preempt what runs on their core when they wake.
    pub batch_scheduling: bool,
    /// How long a drain waits for transactions to end before it closes what is left.
    pub shutdown_timeout: Duration,
}

/// `[listen]`
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    pub addresses: Vec<SocketAddr>,
    /// Folder of the unix socket `.s.PGSQL.<port>`; the port is that of the first address.
    pub unix_socket: Option<PathBuf>,
    /// Permission bits of the unix socket.
    pub unix_socket_mode: u32,
    pub auth: AuthMethod,
    /// Lets `trust` be used for clients that are not on a loopback address or unix socket.
    pub allow_remote_trust: bool,
    pub tls: ListenTls,
    pub max_clients: usize,
    pub login_timeout: Duration,
    pub keepalive: Keepalive,
    /// Pending connections the kernel may hold for each listener.
    pub backlog: u32,
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    Cert,
    Md5,
    Password,
    ScramSha256,
    Trust,
}

/// `[listen.tls]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenTls {
    pub mode: ListenTlsMode,
    /// PEM chain and key; present unless the mode is `Disable`.
    pub identity: Option<TlsIdentity>,
    /// PEM certificates that may have signed a client's certificate.
    pub client_ca: Option<PathBuf>,
    /// PEM lists of certificates of clients that were revoked.
    pub client_crl: Option<PathBuf>,
    /// Refuses a client without a certificate.
    pub require_client_cert: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenTlsMode {
    Allow,
    Disable,
    Require,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// TCP keepalive; `None` for `idle` leaves the socket as the system made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keepalive {
    pub idle: Option<Duration>,
    pub interval: Option<Duration>,
    pub retries: Option<u32>,
}

/// `[server]`: the PostgreSQL behind the pools.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Tried in order until one accepts; never empty.
    pub hosts: Vec<Host>,
    pub tls: ServerTls,
    pub connect_timeout: Duration,
    pub keepalive: Keepalive,
    /// Cap on backends over all pools of this server; `None` is no cap.
    pub max_connections: Option<usize>,
    /// First and longest wait between attempts while the server is down.
    pub backoff: Backoff,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    Tcp {
        name: String,
        port: u16,
    },
    /// The whole path of the socket, `/run/postgresql/.s.PGSQL.5432`.
    Unix {
        path: PathBuf,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    /// The same, with no pause longer than `limit`.
    #[must_use]
    pub fn at_most(self, limit: Duration) -> Self {
        Self { first: self.first.min(limit), longest: self.longest.min(limit) }
    }
}

/// `[server.tls]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    pub mode: ServerTlsMode,
    /// PEM roots; the system's when absent.
    pub ca: Option<PathBuf>,
    /// Certificate that we present.
    pub identity: Option<TlsIdentity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerTlsMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// `[pool]`, with the overrides of a database and a user applied by [`Config::pool_for`].
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    pub mode: PoolMode,
    pub size: usize,
    pub max_overflow: usize,
    pub min_idle: usize,
    pub timeout: Duration,
    /// `None` is never.
    pub recycle: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    pub pre_ping: PrePing,
    pub reset_on_return: ResetOnReturn,
    pub idle_in_transaction_timeout: Option<Duration>,
    pub max_lease: Option<Duration>,
    pub query_timeout: Option<Duration>,
    /// Sessions that may hold a lease beyond their transaction; `None` is size + max_overflow − 1.
    pub max_pinned: Option<usize>,
    pub pin: Pinning,
    pub sequences: Sequences,
    /// Waiters of a higher class go first; waiting raises the class.
    pub priority: u8,
    /// How long a waiter may be overtaken by sessions whose settings a backend carries already; `None` is not at all.
    pub settings_affinity: Option<Duration>,
    /// Time from which on an execution is slow; `None` is never.
    pub slow_threshold: Option<Duration>,
    /// Turns an unnamed statement that is seen again and again into a shared prepared one.
    pub promote_unnamed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    Session,
    Statement,
    Transaction,
}

/// When a backend is pinged before a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrePing {
    Always,
    IdleLongerThan(Duration),
    Never,
}

/// What is undone when a backend comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResetOnReturn {
    /// Only what the session is known to have left behind.
    #[default]
    Auto,
    Discard,
    None,
}

/// Whether sessions may keep a backend beyond their transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinning {
    Allow,
    /// What would need it is refused before it runs.
    Deny,
}

/// What `currval` and `lastval` can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequences {
    /// They go back to the backend of the draw; a pool that has seen either keeps the backends of later draws.
    Auto,
    /// They are where they happen to be.
    Off,
    /// Every draw keeps its backend.
    Pin,
}

/// `[session]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// As written: `schema.name`, or `name` in any schema.
    pub stateful_functions: Vec<String>,
}

/// `[insight]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insight {
    pub enabled: bool,
    /// Rows of (pattern, database, user) that are told apart.
    pub max_patterns: usize,
    /// Slow executions that are kept.
    pub slow_log_size: usize,
    /// Slow executions that are logged in one second.
    pub slow_log_rate: usize,
    /// Shows bound values of slow executions.
    pub sample_parameters: bool,
    /// Keys of sqlcommenter comments that are shown.
    pub tags: Vec<String>,
    /// Where hours are kept.
    pub store: Option<PathBuf>,
    /// Asks for plans of what is slow.
    pub plans: bool,
    /// Plans that are kept.
    pub max_plans: usize,
}

/// `[insight.budgets]`: how long executions may take; `None` is no matter how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budgets {
    pub read: Option<Duration>,
    /// Reads that return more than one row on average.
    pub list: Option<Duration>,
    pub write: Option<Duration>,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest startup packet, in bytes.
    pub startup_packet: usize,
    /// Longest message of any kind that is accepted, in bytes.
    pub message: usize,
    /// Longest message that must be held whole (a Parse, a name, a password), in bytes.
    pub held_message: usize,
    /// Longest simple query that is held whole and read before it runs, in bytes.
    pub held_query: usize,
    /// Bytes of one read, and so what is buffered for each direction of an active session.
    pub buffer: usize,
    /// Prepared statements kept on one backend.
    pub backend_statements: usize,
    /// Distinct statements remembered for all clients.
    pub statements: usize,
    /// Bytes of these, as long as no client holds them.
    pub statement_memory: usize,
    /// Patterns and functions whose traits are remembered.
    pub patterns: usize,
    /// Bytes of notifications that may wait for one client.
    pub notifications: usize,
    /// Channels that one client may listen to.
    pub channels: usize,
    /// Shared listening backends.
    pub listeners: usize,
    /// Prepared statements one client may hold.
    pub client_statements: usize,
    /// Bytes of their texts.
    pub client_statement_memory: usize,
    /// Messages that one client may have sent ahead of their replies.
    pub pipeline: usize,
    /// Distinct sets of session settings that are remembered.
    pub profiles: usize,
    /// Clients that may wait for a lease of one pool.
    pub waiters: usize,
    /// Pools that may exist at once.
    pub pools: usize,
}

/// `[databases.NAME]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Database {
    /// Replaces `[server] host`.
    pub hosts: Option<Vec<Host>>,
    /// The name on the server; `None` is the name asked for.
    pub dbname: Option<String>,
    pub pool: PoolOverride,
}

/// `[[users]]`
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// `"*"` matches any name that no other entry names.
    pub name: String,
    /// What a client must prove; `None` only where `auth` is trust or cert.
    pub password: Option<Secret>,
    pub auth: Option<AuthMethod>,
    /// Who we log in as; the client's own name when `None`.
    pub backend_user: Option<String>,
    /// What we log in with; `password` when `None`.
    pub backend_password: Option<Secret>,
    pub pool: PoolOverride,
}

/// A password or a stored secret (`SCRAM-SHA-256$…`, `md5…`). Its `Debug` never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself: for authentication only, never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The keys of `[pool]` that a database or a user sets otherwise.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PoolOverride {
    pub mode: Option<PoolMode>,
    pub size: Option<usize>,
    pub max_overflow: Option<usize>,
    pub min_idle: Option<usize>,
    pub timeout: Option<Duration>,
    pub recycle: Option<Option<Duration>>,
    pub idle_timeout: Option<Option<Duration>>,
    pub pre_ping: Option<PrePing>,
    pub reset_on_return: Option<ResetOnReturn>,
    pub idle_in_transaction_timeout: Option<Option<Duration>>,
    pub max_lease: Option<Option<Duration>>,
    pub query_timeout: Option<Option<Duration>>,
    pub max_pinned: Option<Option<usize>>,
    pub pin: Option<Pinning>,
    pub sequences: Option<Sequences>,
    pub priority: Option<u8>,
    pub settings_affinity: Option<Option<Duration>>,
    pub slow_threshold: Option<Option<Duration>>,
    pub promote_unnamed: Option<bool>,
}

/// `[control]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    pub user: String,
    pub password: Secret,
    /// The database it asks about the whole server; `postgres` unless said.
    pub dbname: String,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Whether the database [`Admin::DATABASE`] is pgweir's own.
    pub console: bool,
    pub users: Vec<String>,
    /// They may look, and no more.
    pub stats_users: Vec<String>,
    /// Of those who have no entry of their own among the users.
    pub password: Option<Secret>,
}

impl Admin {
    /// The name of the console.
    pub const DATABASE: &str = "pgweir";

    /// Whether this database is the console.
    #[must_use]
    pub fn is_console(&self, database: &str) -> bool {
        self.console && database == Self::DATABASE
    }

    /// Everybody who may enter, each once.
    pub fn everybody(&self) -> impl Iterator<Item = &str> {
        let looking = self.stats_users.iter().filter(|name| !self.users.contains(name));
        self.users.iter().chain(looking).map(String::as_str)
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// A filter as `tracing` reads it, `info` or `pgweir=debug,warn`.
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}
