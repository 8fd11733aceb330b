//! From values to the model and back. Fields and keys have the same names, so one list serves both ways;
//! where they differ (addresses, hosts, certificates) both ways stand next to each other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kind::{read_address, split_host};
use super::model::*;
use super::value::{Sheet, Value, Values};

/// A field's type and its value. `from_value` is `None` for a value that the key's kind never yields.
pub(super) trait Form: Sized {
    /// What stands for `None` in an `Option` of this type.
    const NONE: Value = Value::Absent;

    fn from_value(value: &Value) -> Option<Self>;
    fn to_value(&self) -> Value;
}

/// The words by which a choice is written, in the order of its documentation.
macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// Every word that may be written.
            pub const WORDS: &[&str] = &[$($word),+];

            /// How it is written in the configuration.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl Form for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Text(text) => match text.as_str() { $($word => Some(Self::$variant),)+ _ => None },
                    _ => None,
                }
            }

            fn to_value(&self) -> Value {
                Value::Text(self.word().to_owned())
            }
        }
    };
}

/// Sections whose fields and keys agree one by one.
macro_rules! sections {
    ($($type:ident { $($field:ident),+ })+) => { $(
        impl $type {
            fn read(values: &Values) -> Self {
                Self { $($field: values.get(stringify!($field))),+ }
            }

            fn write(&self, values: &mut Values) {
                let Self { $($field),+ } = self;
                $(values.set(stringify!($field), $field.to_value());)+
            }
        }
    )+ };
}

/// The keys of a pool, which a database or a user may set one by one.
macro_rules! pool_keys {
    ($($field:ident),+) => {
        sections! { Pool { $($field),+ } }

        impl Pool {
            /// This pool with what `other` sets otherwise.
            #[must_use]
            pub fn with(mut self, other: &PoolOverride) -> Self {
                $(if let Some(value) = other.$field { self.$field = value; })+
                self
            }
        }

        impl PoolOverride {
            fn read(values: &Values) -> Self {
                Self { $($field: values.set_one(stringify!($field))),+ }
            }

            fn write(&self, values: &mut Values) {
                let Self { $($field),+ } = self;
                $(if let Some(value) = $field { values.set(stringify!($field), value.to_value()); })+
            }
        }
    };
}

words! { AuthMethod {
    ScramSha256 = "scram-sha-256", Md5 = "md5", Password = "password", Trust = "trust", Cert = "cert",
} }
words! { ListenTlsMode { Disable = "disable", Allow = "allow", Require = "require" } }
words! { LogFormat { Text = "text", Json = "json" } }
words! { Pinning { Allow = "allow", Deny = "deny" } }
words! { PoolMode { Session = "session", Transaction = "transaction", Statement = "statement" } }
words! { ResetOnReturn { Auto = "auto", Discard = "discard", None = "none" } }
words! { Sequences { Auto = "auto", Pin = "pin", Off = "off" } }
words! { ServerTlsMode {
    Disable = "disable", Prefer = "prefer", Require = "require", VerifyCa = "verify-ca", VerifyFull = "verify-full",
} }

sections! {
    Process { workers, pin_workers, batch_scheduling, shutdown_timeout }
    Keepalive { idle, interval, retries }
    Backoff { first, longest }
    Limits {
        startup_packet, message, held_message, held_query, buffer, backend_statements, statements,
        statement_memory, patterns, client_statements, client_statement_memory,
        pipeline, profiles, notifications, channels, listeners, waiters, pools
    }
    Budgets { read, list, write }
    Session { stateful_functions }
    Insight { enabled, max_patterns, slow_log_size, slow_log_rate, sample_parameters, tags, store, plans, max_plans }
    Admin { console, users, stats_users, password }
    Log { format, level }
}

pool_keys! {
    mode, size, max_overflow, min_idle, timeout, recycle, idle_timeout, pre_ping, reset_on_return,
    idle_in_transaction_timeout, max_lease, query_timeout, max_pinned, pin, sequences, priority, settings_affinity,
    slow_threshold, promote_unnamed
}

// === impl Config ===

impl Config {
    /// The model of a sheet whose values were all read by their kinds.
    pub(super) fn read(sheet: &Sheet) -> Self {
        let section = |path: &str| sheet.sections.get(path).unwrap_or(EMPTY);
        let server = section("server");
        Self {
            process: Process::read(section("process")).with_cores(),
            listen: read_listen(section("listen"), section("listen.tls"), section("listen.keepalive")),
            server: Server {
                hosts: read_hosts(server.value("host"), server.get("port")),
                tls: read_server_tls(section("server.tls")),
                connect_timeout: server.get("connect_timeout"),
                keepalive: Keepalive::read(section("server.keepalive")),
                max_connections: server.get("max_connections"),
                backoff: Backoff::read(section("server.backoff")),
            },
            pool: Pool::read(section("pool")),
            session: Session::read(section("session")),
            insight: Insight::read(section("insight")),
            budgets: Budgets::read(section("insight.budgets")),
            limits: Limits::read(section("limits")),
            databases: sheet
                .databases
                .iter()
                .map(|(name, values)| (name.clone(), Database::read(values, server)))
                .collect(),
            users: sheet.users.iter().map(User::read).collect(),
            control: read_control(section("control")),
            admin: Admin::read(section("admin")),
            log: Log::read(section("log")),
        }
    }

    /// The sheet that [`Config::read`] turns into this configuration.
    pub(super) fn write(&self) -> Sheet {
        let Self {
            process,
            listen,
            server,
            pool,
            session,
            insight,
            budgets,
            limits,
            databases,
            users,
            control,
            admin,
            log,
        } = self;
        let mut sheet = Sheet::default();
        process.write(sheet.section("process"));
        write_listen(listen, &mut sheet);
        write_server(server, &mut sheet);
        pool.write(sheet.section("pool"));
        session.write(sheet.section("session"));
        insight.write(sheet.section("insight"));
        budgets.write(sheet.section("insight.budgets"));
        limits.write(sheet.section("limits"));
        admin.write(sheet.section("admin"));
        log.write(sheet.section("log"));
        if let Some(Control { user, password, dbname }) = control {
            let values = sheet.section("control");
            values.set("user", user.to_value());
            values.set("password", password.to_value());
            values.set("dbname", dbname.to_value());
        }
        sheet.databases = databases.iter().map(|(name, database)| (name.clone(), database.write())).collect();
        sheet.users = users.iter().map(User::write).collect();
        sheet
    }
}

const EMPTY: &Values = &Values(std::collections::BTreeMap::new());

fn read_control(values: &Values) -> Option<Control> {
    let user: Option<String> = values.get("user");
    user.map(|user| Control {
        user,
        password: values.set_one("password").unwrap_or_else(|| Secret::new(String::new())),
        dbname: values.get("dbname"),
    })
}

impl Process {
    fn with_cores(mut self) -> Self {
        if self.workers == 0 {
            self.workers = std::thread::available_parallelism().map_or(1, |cores| workers_for(cores.get()));
        }
        self
    }
}

/// PostgreSQL or the applications mostly work on the same cores, and fewer workers find more to do each time they wake.
pub(super) fn workers_for(cores: usize) -> usize {
    cores.div_ceil(2)
}

fn read_listen(values: &Values, tls: &Values, keepalive: &Values) -> Listen {
    let addresses: Vec<String> = values.get("address");
    Listen {
        addresses: addresses.iter().filter_map(|address| read_address(address)).collect(),
        unix_socket: values.get("unix_socket"),
        unix_socket_mode: values.get("unix_socket_mode"),
        auth: values.get("auth"),
        allow_remote_trust: values.get("allow_remote_trust"),
        tls: ListenTls {
            mode: tls.get("mode"),
            identity: read_identity(tls),
            client_ca: tls.get("client_ca"),
            client_crl: tls.get("client_crl"),
            require_client_cert: tls.get("require_client_cert"),
        },
        max_clients: values.get("max_clients"),
        login_timeout: values.get("login_timeout"),
        keepalive: Keepalive::read(keepalive),
        backlog: values.get("backlog"),
    }
}

fn write_listen(listen: &Listen, sheet: &mut Sheet) {
    let Listen {
        addresses,
        unix_socket,
        unix_socket_mode,
        auth,
        allow_remote_trust,
        tls: ListenTls { mode, identity, client_ca, client_crl, require_client_cert },
        max_clients,
        login_timeout,
        keepalive,
        backlog,
    } = listen;
    let values = sheet.section("listen");
    values.set("address", Value::List(addresses.iter().map(ToString::to_string).collect()));
    values.set("unix_socket", unix_socket.to_value());
    values.set("unix_socket_mode", unix_socket_mode.to_value());
    values.set("auth", auth.to_value());
    values.set("allow_remote_trust", allow_remote_trust.to_value());
    values.set("max_clients", max_clients.to_value());
    values.set("login_timeout", login_timeout.to_value());
    values.set("backlog", backlog.to_value());
    keepalive.write(sheet.section("listen.keepalive"));
    let values = sheet.section("listen.tls");
    values.set("mode", mode.to_value());
    values.set("client_ca", client_ca.to_value());
    values.set("client_crl", client_crl.to_value());
    values.set("require_client_cert", require_client_cert.to_value());
    write_identity(identity.as_ref(), values);
}

fn read_server_tls(values: &Values) -> ServerTls {
    ServerTls { mode: values.get("mode"), ca: values.get("ca"), identity: read_identity(values) }
}

fn write_server(server: &Server, sheet: &mut Sheet) {
    let Server { hosts, tls: ServerTls { mode, ca, identity }, connect_timeout, keepalive, max_connections, backoff } =
        server;
    let values = sheet.section("server");
    write_hosts(hosts, values);
    values.set("connect_timeout", connect_timeout.to_value());
    values.set("max_connections", max_connections.to_value());
    keepalive.write(sheet.section("server.keepalive"));
    backoff.write(sheet.section("server.backoff"));
    let values = sheet.section("server.tls");
    values.set("mode", mode.to_value());
    values.set("ca", ca.to_value());
    write_identity(identity.as_ref(), values);
}

fn read_identity(values: &Values) -> Option<TlsIdentity> {
    let (cert, key): (Option<PathBuf>, Option<PathBuf>) = (values.get("cert"), values.get("key"));
    cert.zip(key).map(|(cert, key)| TlsIdentity { cert, key })
}

fn write_identity(identity: Option<&TlsIdentity>, values: &mut Values) {
    values.set("cert", identity.map(|identity| identity.cert.clone()).to_value());
    values.set("key", identity.map(|identity| identity.key.clone()).to_value());
}

fn read_hosts(hosts: &Value, port: u16) -> Vec<Host> {
    let Value::List(hosts) = hosts else { return Vec::new() };
    let host = |text: &String| {
        let (name, own) = split_host(text)?;
        Some(if name.starts_with('/') {
            Host::Unix { path: Path::new(name).join(format!(".s.PGSQL.{port}")) }
        } else {
            Host::Tcp { name: name.to_owned(), port: own.unwrap_or(port) }
        })
    };
    hosts.iter().filter_map(host).collect()
}

/// The port of a unix socket's path wins, since only `port` can say it; then that of the first host.
fn write_hosts(hosts: &[Host], values: &mut Values) {
    let of_path = |path: &Path| path.extension().and_then(|digits| digits.to_str()?.parse::<u16>().ok());
    let unix = hosts.iter().find_map(|host| if let Host::Unix { path } = host { of_path(path) } else { None });
    let tcp = hosts.iter().find_map(|host| if let Host::Tcp { port, .. } = host { Some(*port) } else { None });
    let common = unix.or(tcp).unwrap_or(5432);
    let show = |host: &Host| match host {
        Host::Unix { path } => path.parent().unwrap_or(path).display().to_string(),
        Host::Tcp { name, port } if *port == common => name.clone(),
        Host::Tcp { name, port } if name.contains(':') => format!("[{name}]:{port}"),
        Host::Tcp { name, port } => format!("{name}:{port}"),
    };
    values.set("host", Value::List(hosts.iter().map(show).collect()));
    values.set("port", common.to_value());
}

impl Database {
    /// A database that names a port but no host is on the hosts of `server` at that port, and the other way round.
    fn read(values: &Values, server: &Values) -> Self {
        let (host, port) = (values.value("host"), values.value("port"));
        let other = *host != Value::Absent || *port != Value::Absent;
        let host = if *host == Value::Absent { server.value("host") } else { host };
        let port = values.set_one("port").unwrap_or_else(|| server.get("port"));
        Self {
            hosts: other.then(|| read_hosts(host, port)),
            dbname: values.get("dbname"),
            pool: PoolOverride::read(values),
        }
    }

    fn write(&self) -> Values {
        let Self { hosts, dbname, pool } = self;
        let mut values = Values::default();
        if let Some(hosts) = hosts {
            write_hosts(hosts, &mut values);
        }
        values.set("dbname", dbname.to_value());
        pool.write(&mut values);
        values
    }
}

impl User {
    fn read(values: &Values) -> Self {
        Self {
            name: values.get("name"),
            password: values.get("password"),
            auth: values.get("auth"),
            backend_user: values.get("backend_user"),
            backend_password: values.get("backend_password"),
            pool: PoolOverride::read(values),
        }
    }

    fn write(&self) -> Values {
        let Self { name, password, auth, backend_user, backend_password, pool } = self;
        let mut values = Values::default();
        values.set("name", name.to_value());
        values.set("password", password.to_value());
        values.set("auth", auth.to_value());
        values.set("backend_user", backend_user.to_value());
        values.set("backend_password", backend_password.to_value());
        pool.write(&mut values);
        values
    }
}

// === impl Values ===

impl Values {
    /// The field of a key.
    ///
    /// # Panics
    /// When the schema gives the key a kind that its field cannot hold; a test reads every key.
    fn get<T: Form>(&self, key: &str) -> T {
        let value = self.value(key);
        T::from_value(value).unwrap_or_else(|| panic!("the kind of {key} does not suit its field: {value:?}"))
    }

    /// The field of a key that may be left alone; a written "off" is something else than nothing written.
    fn set_one<T: Form>(&self, key: &str) -> Option<T> {
        (*self.value(key) != Value::Absent).then(|| self.get(key))
    }
}

// === impl Form ===

impl<T: Form> Form for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Absent | Value::Off => Some(None),
            value => T::from_value(value).map(Some),
        }
    }

    fn to_value(&self) -> Value {
        self.as_ref().map_or(T::NONE, Form::to_value)
    }
}

macro_rules! numbers {
    ($($type:ty),+) => { $(
        impl Form for $type {
            const NONE: Value = Value::Off;

            fn from_value(value: &Value) -> Option<Self> {
                if let Value::Number(number) = value { Self::try_from(*number).ok() } else { None }
            }

            fn to_value(&self) -> Value {
                Value::Number(u64::try_from(*self).unwrap_or(u64::MAX))
            }
        }
    )+ };
}

numbers!(u8, u16, u32, usize);

macro_rules! plain {
    ($($type:ty, $variant:ident, $none:ident);+) => { $(
        impl Form for $type {
            const NONE: Value = Value::$none;

            fn from_value(value: &Value) -> Option<Self> {
                if let Value::$variant(value) = value { Some(value.clone()) } else { None }
            }

            fn to_value(&self) -> Value {
                Value::$variant(self.clone())
            }
        }
    )+ };
}

plain!(bool, Bool, Absent; Duration, Duration, Off; Secret, Secret, Absent; String, Text, Absent; Vec<String>, List, Absent);

impl Form for PathBuf {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.into()) } else { None }
    }

    fn to_value(&self) -> Value {
        Value::Text(self.display().to_string())
    }
}

impl Form for PrePing {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(true) => Some(Self::Always),
            Value::Bool(false) => Some(Self::Never),
            Value::Duration(idle) => Some(Self::IdleLongerThan(*idle)),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Always => Value::Bool(true),
            Self::IdleLongerThan(idle) => Value::Duration(*idle),
            Self::Never => Value::Bool(false),
        }
    }
}
