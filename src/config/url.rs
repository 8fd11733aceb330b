//! Lays a connection URL over a draft: `postgres://user:password@host:port/dbname?sslmode=require`, as libpq reads
//! it (PostgreSQL manual §34.1.1.2), so that pgweir needs no file.

use super::draft::{Draft, Table};
use super::kind::Refusal;
use super::mistake::{Mistake, Origin, Problem, nearest};
use super::schema;
use super::value::{Value, quote};

/// Parameters that become keys of `[server]` and below.
const KEYS: &[(&str, &str, &str)] =
    &[("sslcert", "server.tls", "cert"), ("sslkey", "server.tls", "key"), ("sslrootcert", "server.tls", "ca")];
/// Parameters that say the same as a part of the URL.
const PARTS: &[&str] = &["dbname", "host", "password", "port", "user"];
const OTHERS: &[&str] = &["connect_timeout", "sslmode"];
/// What clients say for themselves, each its own.
const OF_CLIENTS: &[&str] = &["application_name"];

/// What belongs into the URLs of clients, or is said otherwise here.
const OF_DRIVERS: &[(&[&str], &str)] = &[
    (
        &["channel_binding"],
        "pgweir's logins to PostgreSQL are not bound to their TLS; leave it out, and use sslmode=verify-full",
    ),
    (
        &["client_encoding", "fallback_application_name", "options", "replication"],
        "is each client's own; leave it to the URLs of the clients",
    ),
    (
        &["connection_limit", "pgbouncer", "pool_timeout", "prepareThreshold", "schema", "statement_cache_size"],
        "is for a driver, and not for PostgreSQL; leave it to the URLs of the clients",
    ),
    (&["gssdelegation", "gssencmode", "gsslib", "krbsrvname"], "pgweir does without GSSAPI; leave it out"),
    (
        &["keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "tcp_user_timeout"],
        "leave it out; the configuration file has [server.keepalive] for it",
    ),
    (
        &["load_balance_hosts", "target_session_attrs"],
        "the first host that lets pgweir in is the one; leave it out, and name the hosts in that order",
    ),
    (&["ssl"], "write sslmode=require, or sslmode=verify-full with sslrootcert"),
    (&["sslnegotiation"], "pgweir asks the server for TLS as all versions of PostgreSQL understand; leave it out"),
];

/// A URL taken apart, percent signs decoded.
#[derive(Debug, Default, PartialEq)]
struct Parts {
    user: Option<String>,
    password: Option<String>,
    hosts: Vec<String>,
    ports: Vec<String>,
    parameters: Vec<(String, String)>,
}

/// Lays what a URL says. Without a user and a password, whoever connects from this machine is trusted.
pub(super) fn lay(draft: &mut Draft, url: &str) {
    match take_apart(url) {
        Ok(parts) => {
            lay_server(draft, &parts);
            for (name, text) in &parts.parameters {
                lay_parameter(draft, name, text, &parts);
            }
            lay_user(draft, &parts);
        }
        Err(problem) => wrong(draft, "", Problem::Syntax(problem)),
    }
}

fn take_apart(url: &str) -> Result<Parts, String> {
    let expected = "expected postgres://user:password@host:port/dbname?sslmode=…";
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
    let rest = rest.ok_or_else(|| format!("does not begin with postgres://; {expected}"))?;
    let (authority, behind) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (_dbname, query) = behind.split_once('?').unwrap_or((behind, ""));
    if !authority.contains('@') && behind.contains('@') {
        // Nothing is quoted here: it would be part of a password.
        return Err("holds an \"@\" behind a \"/\" or \"?\"; in a user or password these are written %2F and %3F, \
                    in a parameter \"@\" is written %40"
            .to_owned());
    }
    let mut parts = Parts::default();
    let places = match authority.rsplit_once('@') {
        Some((who, places)) => {
            let (user, password) = who.split_once(':').map_or((who, None), |(user, password)| (user, Some(password)));
            parts.user = Some(decode(user)?).filter(|user| !user.is_empty());
            parts.password = password.map(decode).transpose()?.filter(|password| !password.is_empty());
            places
        }
        None => authority,
    };
    for place in places.split(',') {
        let (host, port) = split_port(place);
        parts.hosts.push(decode(host)?);
        parts.ports.push(port.to_owned());
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').ok_or_else(|| format!("{} has no value; {expected}", quote(pair)))?;
        parts.parameters.push((decode(name)?, decode(text)?));
    }
    parts.merge_parameters();
    Ok(parts)
}

impl Parts {
    /// Parameters that name a part of the URL win over it.
    fn merge_parameters(&mut self) {
        let all = |text: &str| text.split(',').map(str::to_owned).collect();
        for (name, text) in &self.parameters {
            match name.as_str() {
                "host" => self.hosts = all(text),
                "password" => self.password = Some(text.clone()),
                "port" => self.ports = all(text),
                "user" => self.user = Some(text.clone()),
                _ => {}
            }
        }
    }
}

/// Host and port of `db:5433` or `[::1]:5433`; both may be empty.
fn split_port(place: &str) -> (&str, &str) {
    match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, behind)) => (host, behind.strip_prefix(':').unwrap_or(behind)),
        None => place.rsplit_once(':').unwrap_or((place, "")),
    }
}

fn decode(text: &str) -> Result<String, String> {
    let wrong = || format!("{} is not percent-encoded UTF-8 (a literal % is written %25)", hide(text));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        let (high, low) = (digit(rest.next()), digit(rest.next()));
        let (high, low) = high.zip(low).ok_or_else(wrong)?;
        bytes.push(high << 4 | low);
    }
    if bytes.contains(&0) {
        return Err(wrong());
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

/// It may be part of a password.
fn hide(text: &str) -> String {
    format!("a part of {} characters", text.chars().count())
}

fn lay_server(draft: &mut Draft, parts: &Parts) {
    let first = parts.ports.iter().find(|port| !port.is_empty());
    let port = first.map_or("5432", String::as_str);
    let alone =
        |place: usize| if parts.ports.len() == 1 { Some(port) } else { parts.ports.get(place).map(String::as_str) };
    let show = |(place, host): (usize, &String)| {
        let own = alone(place).filter(|own| !own.is_empty()).unwrap_or("5432");
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        match host {
            host if host.starts_with('/') || own == port => host.to_owned(),
            host if host.contains(':') => format!("[{host}]:{own}"),
            host => format!("{host}:{own}"),
        }
    };
    let hosts: Vec<String> = parts.hosts.iter().enumerate().map(show).collect();
    lay_key(draft, "server", "host", &hosts.join(","));
    lay_key(draft, "server", "port", port);
}

fn lay_parameter(draft: &mut Draft, name: &str, text: &str, parts: &Parts) {
    if let Some((_, section, key)) = KEYS.iter().find(|(parameter, ..)| *parameter == name) {
        // libpq: the system's authorities, which are ours when none is named.
        if text != "system" {
            lay_key(draft, section, key, text);
        }
    } else if name == "sslmode" {
        // libpq: a root certificate turns require into verify-ca.
        let has_root = parts.parameters.iter().any(|(name, text)| name == "sslrootcert" && text != "system");
        let mode = match text {
            "allow" => "prefer",
            "require" if has_root => "verify-ca",
            other => other,
        };
        lay_key(draft, "server.tls", "mode", mode);
    } else if name == "connect_timeout" {
        // libpq: a plain number of seconds.
        let text = if text.parse::<u32>().is_ok() { format!("{text}s") } else { text.to_owned() };
        lay_key(draft, "server", "connect_timeout", &text);
    } else if let Some((_, advice)) = OF_DRIVERS.iter().find(|(names, _)| names.contains(&name)) {
        wrong(draft, name, Problem::Conflict((*advice).to_owned()));
    } else if !PARTS.contains(&name) && !OF_CLIENTS.contains(&name) {
        let known = || KEYS.iter().map(|(name, ..)| *name).chain(PARTS.iter().chain(OTHERS).chain(OF_CLIENTS).copied());
        let mut all: Vec<String> = known().map(str::to_owned).collect();
        all.sort();
        let nearest = nearest(name, known()).map(|name| format!("{name:?}"));
        wrong(draft, name, Problem::Unknown { what: "parameter", nearest, known: all });
    }
}

fn lay_user(draft: &mut Draft, parts: &Parts) {
    if parts.password.is_none() && !draft.is_written("listen.auth") {
        lay_key(draft, "listen", "auth", "trust");
    }
    let Some(name) = &parts.user else { return };
    if draft.user_names().any(|(_, other)| other == name) {
        return;
    }
    let table = draft.add_user(Some(name));
    let users = schema::section("users");
    for (key, text) in [("name", Some(name)), ("password", parts.password.as_ref())] {
        if let (Some(key), Some(text)) = (users.and_then(|section| section.key(key)), text) {
            draft.lay(&table, key, key.kind.read_text(text), Origin::Url);
        }
    }
    // It sees no more in the console than what it did itself.
    if !draft.is_written("admin.stats_users") {
        lay_key(draft, "admin", "stats_users", name);
    }
}

fn lay_key(draft: &mut Draft, section: &str, key: &str, text: &str) {
    let Some(section) = schema::section(section) else { return };
    let Some(key) = section.key(key) else { return };
    let read: Result<Value, Refusal> = key.kind.read_text(text);
    draft.lay(&Table::Section(section.path), key, read, Origin::Url);
}

fn wrong(draft: &mut Draft, key: &str, problem: Problem) {
    draft.astray(None, Mistake { origin: Origin::Url, key: key.to_owned(), problem });
}
