//! The table of all keys: how each is written, its default, what it means, and whether it can change while running.
//! Reading, environment, hints, the effective configuration and the reference page all follow this table.

mod insight;
mod oversight;
mod tls;

use std::time::Duration;

use super::kind::Kind;
use super::model::{AuthMethod, Pinning, PoolMode, ResetOnReturn, Sequences};
use insight::{BUDGETS, INSIGHT};
use oversight::{ADMIN, CONTROL, LOG};
use tls::{LISTEN_TLS, SERVER_TLS};

/// One key of a section.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Unwritten,
    pub(super) meaning: &'static str,
    pub(super) applies: Applies,
}

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// On a reload.
    AtOnce,
    /// On a reload, for clients that log in from then on.
    AtLogin,
    /// At the next start.
    AtStart,
}

/// What holds when nobody writes the key.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// Nothing; `example` is a value in TOML.
    Absent { example: &'static str },
    /// A value in TOML.
    Default(&'static str),
}

/// A table of the file.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) path: &'static str,
    pub(super) shape: Shape,
    pub(super) meaning: &'static str,
    pub(super) keys: &'static [Key],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `[databases.NAME]`; the keys of `[pool]` too.
    Named,
    /// `[[users]]`; the keys of `[pool]` too.
    Listed,
    /// `[pool]`
    Single,
}

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

pub(super) const fn key(name: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default: Unwritten::Default(default), meaning, applies: Applies::AtOnce }
}

pub(super) const fn absent(name: &'static str, kind: Kind, example: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default: Unwritten::Absent { example }, meaning, applies: Applies::AtOnce }
}

pub(super) const fn count(least: u64, most: u64) -> Kind {
    Kind::Count { least, most }
}

const fn size(least: u64, most: u64) -> Kind {
    Kind::Size { least, most }
}

const fn single(path: &'static str, meaning: &'static str, keys: &'static [Key]) -> Section {
    Section { path, shape: Shape::Single, meaning, keys }
}

pub(super) const SECTIONS: &[Section] = &[
    single("process", "The process as a whole.", PROCESS),
    single("listen", "Where clients connect, and how they prove who they are.", LISTEN),
    single("listen.tls", "TLS towards clients.", LISTEN_TLS),
    single("listen.keepalive", "TCP keepalive of client connections.", KEEPALIVE),
    single("server", "The PostgreSQL server behind the pools.", SERVER),
    single("server.tls", "TLS towards the server.", SERVER_TLS),
    single("server.keepalive", "TCP keepalive of backend connections.", KEEPALIVE),
    single(
        "server.backoff",
        "Waits between attempts to connect while the server is down; clients keep waiting.",
        BACKOFF,
    ),
    single(
        "pool",
        "Each pair of database and user has a pool of backends. A database or a user may set any of these keys for itself.",
        POOL,
    ),
    single("session", "What sessions may leave behind that pgweir cannot see for itself.", SESSION),
    single(
        "insight",
        "Statements by their patterns: how often, how long, with what outcome. What is slow is for `slow_threshold` of `[pool]` to say.",
        INSIGHT,
    ),
    single(
        "insight.budgets",
        "How long executions should take at most, waiting included. `SHOW BUDGETS` in the console tells which share of them keeps to that.",
        BUDGETS,
    ),
    single("limits", "Bounds on what one client, one backend or the whole process may hold.", LIMITS),
    Section {
        path: "databases",
        shape: Shape::Named,
        meaning: "A database by the name that clients ask for; `\"*\"` is any name. Without any such section every name passes through; with one, names that no section gives are refused. Takes the keys of `[pool]` too.",
        keys: DATABASE,
    },
    Section {
        path: "users",
        shape: Shape::Listed,
        meaning: "A user that may log in; `name = \"*\"` is any user that no other entry names. Takes the keys of `[pool]` too, which win over those of the database.",
        keys: USER,
    },
    single(
        "control",
        "Who the control plane logs in as to look at the server. What needs it is off while `user` is not set.",
        CONTROL,
    ),
    single(
        "admin",
        "The console: a database named `pgweir` on the same port, in which pgweir itself answers. See [console](console.md).",
        ADMIN,
    ),
    single("log", "What is logged, to standard error.", LOG),
];

const PROCESS: &[Key] = &[
    key("workers", count(0, 1024), "0", "Threads that serve clients; 0 is one for every two cores, which leaves the others to PostgreSQL and applications.").at_start(),
    key(
        "pin_workers",
        Kind::Bool,
        "false",
        "Keeps each of these threads on a core of its own, where there is one for each core.",
    )
    .at_start(),
    key(
        "batch_scheduling",
        Kind::Bool,
        "true",
        "Lets these threads not interrupt PostgreSQL and others on the same cores when bytes arrive (SCHED_BATCH), and, while no core is idle and eight sessions or more are at work, let messages gather for a tenth of a millisecond: fewer switches, more work at each.",
    )
    .at_start(),
    key(
        "shutdown_timeout",
        Kind::Duration { least: Duration::ZERO },
        "\"60s\"",
        "How long a stop waits for open transactions before it closes their clients.",
    ),
];

const LISTEN: &[Key] = &[
    key("address", Kind::Addresses, "\"127.0.0.1:6432\"", "IP address and port to listen on, or a list of them.")
        .at_start(),
    absent(
        "unix_socket",
        Kind::Path,
        "\"/run/pgweir\"",
        "Folder for a unix socket `.s.PGSQL.PORT`; the port is that of the first address.",
    )
    .at_start(),
    key("unix_socket_mode", Kind::Mode, "\"0777\"", "Permission bits of the unix socket.").at_start(),
    key(
        "auth",
        Kind::Words(AuthMethod::WORDS),
        "\"scram-sha-256\"",
        "How a client proves who it is; a user may differ. `trust` asks for nothing, `cert` for a client certificate.",
    ),
    key("allow_remote_trust", Kind::Bool, "false", "Lets `trust` be used for clients that are not on this machine."),
    key(
        "max_clients",
        count(1, 10_000_000),
        "10000",
        "Clients at once. Further ones are refused with SQLSTATE 53300; of those that come at once a quarter as many are told so, and the rest are closed without a word.",
    ),
    key("login_timeout", Kind::Duration { least: MS }, "\"30s\"", "Time from connecting to the end of authentication."),
    key(
        "backlog",
        count(1, 65_535),
        "1024",
        "Connections that the kernel may hold for each listener before they are accepted.",
    )
    .at_start(),
];

const KEEPALIVE: &[Key] = &[
    key(
        "idle",
        Kind::DurationOrOff { least: SECOND },
        "\"60s\"",
        "Silence before the first probe; `\"off\"` leaves the socket as the system made it.",
    ),
    key(
        "interval",
        Kind::DurationOrOff { least: SECOND },
        "\"10s\"",
        "Time between probes; `\"off\"` is the system's.",
    ),
    key("retries", count(1, 127), "6", "Unanswered probes after which the connection is lost."),
];

const SERVER: &[Key] = &[
    key(
        "host",
        Kind::Hosts,
        "\"127.0.0.1\"",
        "Name, address, or folder of a unix socket (begins with `/`); or a list, tried in order until one accepts. `\"db2:5433\"` gives a host a port of its own.",
    ),
    key("port", count(1, 65_535), "5432", "Port of every host that does not give its own."),
    key("connect_timeout", Kind::Duration { least: MS }, "\"5s\"", "Time to connect and log in at one host."),
    key(
        "max_connections",
        Kind::CountOr { word: "off", least: 1, most: 1_000_000 },
        "\"off\"",
        "Backends over all pools together, shared fairly; keep it below the server's own `max_connections`. Replication connections are not among them.",
    ),
];

const BACKOFF: &[Key] = &[
    key("first", Kind::Duration { least: MS }, "\"100ms\"", "The first wait; each further one is longer."),
    key("longest", Kind::Duration { least: MS }, "\"5s\"", "The longest wait."),
];

pub(super) const POOL: &[Key] = &[
    key(
        "mode",
        Kind::Words(PoolMode::WORDS),
        "\"transaction\"",
        "How long a client keeps a backend: for its `session`, a `transaction` or a `statement` (which refuses transaction blocks).",
    )
    .at_login(),
    key("size", count(1, 100_000), "20", "Backends kept open once opened."),
    key("max_overflow", count(0, 100_000), "10", "Further backends under load, closed on return when nobody waits."),
    key("min_idle", count(0, 100_000), "0", "Backends opened ahead of need and kept."),
    key(
        "timeout",
        Kind::Duration { least: MS },
        "\"30s\"",
        "How long a client waits for a backend before SQLSTATE 53300. PostgreSQL may take as long, and at least 10s, to tell what a session has left on its backend.",
    ),
    key(
        "recycle",
        Kind::DurationOrOff { least: SECOND },
        "\"1h\"",
        "Age (± 10 %) at which a backend is closed once idle.",
    ),
    key(
        "idle_timeout",
        Kind::DurationOrOff { least: SECOND },
        "\"10m\"",
        "Idle backends above `min_idle` are closed after this time.",
    ),
    key(
        "pre_ping",
        Kind::Ping,
        "\"30s\"",
        "Pings a backend before use if it was idle for longer; `true` is always, `false` never. What was idle when another was lost is pinged in any case.",
    ),
    key(
        "reset_on_return",
        Kind::Words(ResetOnReturn::WORDS),
        "\"auto\"",
        "What is undone when a backend comes back: `auto` what the client is known to have left behind, `discard` everything by `DISCARD ALL`, `none` nothing.",
    ),
    key(
        "idle_in_transaction_timeout",
        Kind::DurationOrOff { least: MS },
        "\"off\"",
        "Silence in an open transaction after which it is rolled back and its client closed (25P03).",
    ),
    key(
        "max_lease",
        Kind::DurationOrOff { least: MS },
        "\"off\"",
        "Longest time that one transaction may keep a backend; then it is rolled back and its client closed (25P03).",
    ),
    key(
        "query_timeout",
        Kind::DurationOrOff { least: MS },
        "\"off\"",
        "Longest time of one query, or of several that PostgreSQL answers at once; then it is cancelled (57014) and its client lives on. What does not heed that, as on a server that has stopped, goes on until max_lease.",
    ),
    key(
        "max_pinned",
        Kind::CountOr { word: "auto", least: 0, most: 200_000 },
        "\"auto\"",
        "Clients that may keep a backend beyond their transaction because they left state on it; `\"auto\"` is size + max_overflow − 1.",
    ),
    key(
        "pin",
        Kind::Words(Pinning::WORDS),
        "\"allow\"",
        "`deny` refuses statements that would make a client keep its backend, before they run.",
    ),
    key(
        "sequences",
        Kind::Words(Sequences::WORDS),
        "\"auto\"",
        "What `currval` and `lastval` can rely on: `auto` returns to the backend of the draw, and keeps backends once either was seen; `pin` keeps a backend from the first draw on; `off` does neither.",
    )
    .at_login(),
    key("priority", count(0, 9), "5", "Waiting clients of a higher class go first; waiting raises the class."),
    key(
        "settings_affinity",
        Kind::DurationOrOff { least: MS },
        "\"20ms\"",
        "How long a waiting client may be overtaken by others whose settings a backend carries already. To set another client's takes the server a query, and where many clients with different settings keep all backends busy that is nearly one for each transaction.",
    ),
    key(
        "slow_threshold",
        Kind::DurationOrOff { least: Duration::ZERO },
        "\"100ms\"",
        "Time of one execution, waiting included, from which on it is logged as slow; with `insight.enabled = false` none is.",
    ),
    key(
        "promote_unnamed",
        Kind::Bool,
        "true",
        "Turns an unnamed statement that is seen again and again into a shared prepared one.",
    )
    .at_login(),
];

const SESSION: &[Key] = &[key(
    "stateful_functions",
    Kind::Names,
    "[]",
    "Functions whose body cannot be read (in C, say) and that leave something on their backend: `\"schema.name\"` or `\"name\"`; neither the schema nor capitals count. A client that calls one keeps its backend until it leaves, and the backend ends with it.",
)
.at_login()];

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;

const LIMITS: &[Key] = &[
    key("startup_packet", size(512, MIB), "10000", "Longest startup packet; PostgreSQL's own limit is 10000 bytes."),
    key("message", size(64 * KIB, 2 * GIB - 1), "\"1GB\"", "Longest protocol message of any kind."),
    key(
        "held_message",
        size(8 * KIB, GIB),
        "\"16MB\"",
        "Longest message that must be held whole: a statement to prepare, a name, a password.",
    ),
    key(
        "held_query",
        size(8 * KIB, GIB),
        "\"1MB\"",
        "Longest simple query that is held whole, and read, before it runs. A longer one streams past, and is taken to do anything. At most `held_message`, whatever it says.",
    ),
    key(
        "buffer",
        size(4 * KIB, 16 * MIB),
        "\"64KB\"",
        "Bytes of one read, and so what an active client holds for each direction.",
    )
    .at_start(),
    key(
        "backend_statements",
        count(1, 1_000_000),
        "500",
        "Prepared statements kept on one backend; the least recently used goes first.",
    ),
    key("statements", count(1, 100_000_000), "50000", "Distinct statements remembered for all clients together.")
        .at_start(),
    key(
        "statement_memory",
        size(MIB, 1024 * GIB),
        "\"256MB\"",
        "Bytes of statements remembered for all clients together: beyond that those are forgotten that no client holds.",
    )
    .at_start(),
    key(
        "patterns",
        count(100, 10_000_000),
        "10000",
        "Patterns (statements that differ only in literals) and functions whose traits are remembered; some 3 KB each.",
    )
    .at_start(),
    key("client_statements", count(1, 10_000_000), "5000", "Prepared statements that one client may hold.").at_login(),
    key(
        "client_statement_memory",
        size(64 * KIB, 64 * GIB),
        "\"64MB\"",
        "Bytes of the texts of prepared statements that one client may hold.",
    )
    .at_login(),
    key("pipeline", count(1, 100_000_000), "100000", "Messages that one client may send ahead of their replies.").at_login(),
    key("profiles", count(1, 10_000_000), "10000", "Distinct sets of session settings that are remembered.").at_start(),
    key(
        "notifications",
        size(16 * KIB, GIB),
        "\"4MB\"",
        "Bytes of notifications that may wait for one client that listens; one that exceeds it is closed.",
    ),
    key("channels", count(1, 1_000_000), "1000", "Channels that one client may listen to without keeping a backend."),
    key(
        "listeners",
        count(1, 1_000_000),
        "100",
        "Backends that listen for clients: one for each database, user and client encoding.",
    ),
    key("waiters", count(1, 10_000_000), "100000", "Clients that may wait for a backend of one pool."),
    key("pools", count(1, 1_000_000), "1000", "Pools that may exist at once."),
];

const DATABASE: &[Key] = &[
    absent("host", Kind::Hosts, "\"db2\"", "Replaces `host` of `[server]`."),
    absent("port", count(1, 65_535), "5433", "Replaces `port` of `[server]`."),
    absent("dbname", Kind::Text, "\"app_production\"", "The name on the server; the name asked for when not set."),
];

const USER: &[Key] = &[
    absent("name", Kind::Text, "\"app\"", "The name that the client logs in with; needed."),
    absent(
        "password",
        Kind::Secret,
        "\"secret\"",
        "What the client must prove to know: a password, or a secret as PostgreSQL stores it (`SCRAM-SHA-256$…`, `md5…`). Needed unless the method is `trust` or `cert`.",
    ),
    absent("auth", Kind::Words(AuthMethod::WORDS), "\"scram-sha-256\"", "Replaces `auth` of `[listen]`."),
    absent(
        "backend_user",
        Kind::Text,
        "\"app_owner\"",
        "Who to log in as at the server; the client's own name when not set.",
    ),
    absent(
        "backend_password",
        Kind::Secret,
        "\"other secret\"",
        "What to log in with at the server; `password` when not set.",
    ),
];

// === impl Key ===

impl Key {
    pub(super) const fn at_start(mut self) -> Self {
        self.applies = Applies::AtStart;
        self
    }

    pub(super) const fn at_login(mut self) -> Self {
        self.applies = Applies::AtLogin;
        self
    }
}

// === impl Section ===

impl Section {
    /// Its own keys, then those of `[pool]` where it takes them.
    pub(super) fn all_keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        let pool: &'static [Key] = if self.shape == Shape::Single { &[] } else { POOL };
        self.keys.iter().chain(pool)
    }

    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.all_keys().find(|key| key.name == name)
    }

    /// As its header is written, `[pool]` or `[[users]]`.
    pub(super) fn header(&self) -> String {
        match self.shape {
            Shape::Listed => format!("[[{}]]", self.path),
            Shape::Named => format!("[{}.NAME]", self.path),
            Shape::Single => format!("[{}]", self.path),
        }
    }
}

/// The section of a path.
pub(super) fn section(path: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.path == path)
}

/// Paths right below `path` ("" is the file): `listen.tls` below `listen`.
pub(super) fn below(path: &str) -> impl Iterator<Item = &'static Section> {
    SECTIONS.iter().filter(move |section| {
        let parent = section.path.rsplit_once('.').map_or("", |(parent, _)| parent);
        parent == path
    })
}
