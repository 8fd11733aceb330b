//! Asking a running pgweir, through its console.

use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

use super::found::{Found, Records};
use super::{By, Wish, selection};
use crate::config::{self, Admin, Config, Host, Secret, ServerTlsMode, Sources};
use crate::control::{Control, ControlFault};
use crate::net::ServerTls;

/// How long a login, and each answer, may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Repetitions, and patterns with slow executions, in a report of whatever length.
const FINDINGS: usize = 20;
/// Slow executions that are looked at for that.
const SLOW: usize = 10_000;
/// What is told of a pgweir that counts nothing.
const OFF: &str = "Insight is off: statements are counted with insight.enabled = true in pgweir's configuration, from the \
    next start on.";

/// Where pgweir is and who to come as, in the form of a configuration whose server is pgweir.
pub(super) fn way(sources: &Sources) -> anyhow::Result<Config> {
    let named = sources.file.is_none() && sources.url.is_some();
    let loaded = config::load(sources).map_err(|mistakes| anyhow!("{mistakes}"))?;
    let mut config = loaded.config;
    let (user, password) = if named {
        let user = config.users.first().context("the URL needs a user: postgres://USER:PASSWORD@HOST:PORT")?;
        (user.name.clone(), user.password.clone())
    } else {
        come_as(&config)?
    };
    if !named {
        config.server.hosts = doors(&config);
        // It is this machine's own pgweir: whoever could stand between could read the file, too.
        config.server.tls.mode = ServerTlsMode::Prefer;
    }
    config.control = Some(config::Control {
        user,
        password: password.unwrap_or_else(|| Secret::new(String::new())),
        dbname: Admin::DATABASE.to_owned(),
    });
    config.server.connect_timeout = config.server.connect_timeout.min(PATIENCE);
    Ok(config)
}

/// The first user that may enter and whose password the configuration tells.
fn come_as(config: &Config) -> anyhow::Result<(String, Option<Secret>)> {
    let admin = &config.admin;
    if !admin.console {
        bail!("the configuration has no console: admin.console = false");
    }
    let secret_of = |name: &str| {
        let own = config.users.iter().find(|user| user.name == name);
        own.map_or_else(|| admin.password.clone(), |user| user.password.clone())
    };
    let is_plain = |secret: &Option<Secret>| {
        secret.as_ref().is_none_or(|s| !s.reveal().starts_with("SCRAM-SHA-256$") && !s.reveal().starts_with("md5"))
    };
    let mut known = admin.everybody().map(|name| (name.to_owned(), secret_of(name)));
    known.find(|(_, secret)| is_plain(secret)).with_context(|| {
        if admin.everybody().next().is_none() {
            "nobody may enter the console: name somebody in users or stats_users of [admin], or say who by --url"
        } else {
            "the configuration tells no password in plain of those who may enter the console; say who by --url"
        }
    })
}

/// Where pgweir listens, as this machine reaches it.
fn doors(config: &Config) -> Vec<Host> {
    let address = |address: &std::net::SocketAddr| {
        let ip = address.ip();
        let name = match ip {
            std::net::IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
            std::net::IpAddr::V6(ip) if ip.is_unspecified() => "::1".to_owned(),
            ip => ip.to_string(),
        };
        Host::Tcp { name, port: address.port() }
    };
    config.listen.addresses.iter().map(address).collect()
}

/// The console of the pgweir that `config` calls its server.
///
/// # Errors
/// A sentence that says what to do.
pub(super) async fn enter(config: &Config) -> anyhow::Result<Client> {
    let places: Vec<String> = config.server.hosts.iter().map(place).collect();
    let places = places.join(", ");
    let tls = ServerTls::load(&config.server.tls).context("TLS")?;
    let console = Control::new(config, tls).connect_to(&config.server.hosts, Admin::DATABASE).await;
    console.map_err(|fault| match code(&fault).as_deref() {
        Some("42501") => anyhow!(
            "pgweir at {places} does not let this user into its console: {fault}\n\
                                  Name the user in users or stats_users of [admin]."
        ),
        Some("28000" | "28P01") => anyhow!("pgweir at {places} does not accept this user and password: {fault}"),
        Some("3D000") => anyhow!(
            "what listens at {places} has no console: it is PostgreSQL itself, a pgweir that is too old, or one whose \
             admin.console is false ({fault})"
        ),
        Some(_) => anyhow!("pgweir at {places} refused: {fault}"),
        None => anyhow!("no pgweir can be reached at {places}: {fault}"),
    })
}

fn place(host: &Host) -> String {
    match host {
        Host::Tcp { name, port } => format!("{name}:{port}"),
        Host::Unix { path } => path.display().to_string(),
    }
}

fn code(fault: &ControlFault) -> Option<String> {
    let ControlFault::Postgres(error) = fault else { return None };
    error.as_db_error().map(|report| report.code().code().to_owned())
}

/// What was asked for.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) async fn found(client: &Client, wish: &Wish) -> anyhow::Result<Found> {
    if wish.application.is_some() && matches!(wish.by, By::P95 | By::P99) {
        bail!(
            "percentiles are kept for all applications together: with --app, order by total, mean, calls, rows, errors \
             or wait"
        );
    }
    let version = asked(client, "SHOW VERSION", &[]).await.context("this is no console of pgweir")?;
    let version = version.iter().next().map(|row| row.text("version").to_owned()).unwrap_or_default();
    if !version.starts_with("pgweir ") {
        bail!("this is no console of pgweir: it is {version:?}");
    }
    let too_old = || format!("the running pgweir is too old for this report: it is {version}");
    let enabled = "SHOW CONFIG (value) WHERE key = 'insight.enabled'";
    let enabled = asked(client, enabled, &[]).await.with_context(too_old)?;
    if enabled.iter().any(|row| row.text("value") == "false") {
        return Ok(Found { notes: vec![OFF.to_owned()], ..Found::default() });
    }
    let since = wish.since.map(|since| format!(" SINCE '{}'", humantime::format_duration(since)));
    let since = since.unwrap_or_default();
    let summary = asked(client, &format!("SHOW SUMMARY (*){since}"), &[]).await.with_context(too_old)?;

    let mut narrow = Narrow::default();
    narrow.names(wish);
    narrow.equal("application", wish.application.as_deref());
    let report = if wish.application.is_some() { "APPLICATIONS" } else { "QUERIES" };
    let clause = narrow.clause();
    let sql = format!("SHOW {report} (*){since}{clause} ORDER BY {} DESC LIMIT {}", wish.by.column(), wish.top);
    let patterns = asked(client, &sql, &narrow.values()).await.with_context(too_old)?;
    let mut found = Found { summary, patterns, ..Found::default() };
    let mut only = None;
    if !clause.is_empty() {
        let sql = format!("SHOW {report} ({}){since}{clause}", selection::COLUMNS);
        let all = asked(client, &sql, &narrow.values()).await.with_context(too_old)?;
        selection::sum(&mut found, &all);
        only = Some(selection::digests(&all));
    }
    if let Some(application) = &wish.application {
        let mut narrow = Narrow::default();
        narrow.names(wish);
        narrow.equal("application", Some(selection::OTHERS));
        let sql = format!("SHOW APPLICATIONS (calls){since}{}", narrow.clause());
        let others = asked(client, &sql, &narrow.values()).await.with_context(too_old)?;
        found.notes = selection::notes(application, &others);
    }

    let mut narrow = Narrow::default();
    narrow.names(wish);
    narrow.equal("application", wish.application.as_deref());
    narrow.after("at", wish.since);
    let sql = format!("SHOW SLOW (*){} ORDER BY total_ms DESC LIMIT {SLOW}", narrow.clause());
    found.slow = asked(client, &sql, &narrow.values()).await.with_context(too_old)?.first_of_each("digest", FINDINGS);

    let mut narrow = Narrow::default();
    narrow.names(wish);
    narrow.equal("application", wish.application.as_deref());
    narrow.after("last_seen", wish.since);
    let sql = format!("SHOW N_PLUS_ONE (*){} ORDER BY wasted_round_trips DESC LIMIT {FINDINGS}", narrow.clause());
    found.repetitions = asked(client, &sql, &narrow.values()).await.with_context(too_old)?;

    let mut narrow = Narrow::default();
    narrow.equal("database", wish.database.as_deref());
    let sql = format!("SHOW PLANS (*){} ORDER BY cost DESC LIMIT {FINDINGS}", narrow.clause());
    found.plans = asked(client, &sql, &narrow.values()).await.with_context(too_old)?;
    if let Some(only) = only {
        found.plans.keep(|plan| only.contains(plan.text("digest")));
    }
    Ok(found)
}

/// WHERE, with its values.
#[derive(Debug, Default)]
struct Narrow {
    conditions: Vec<String>,
    values: Vec<String>,
}

impl Narrow {
    fn names(&mut self, wish: &Wish) {
        self.equal("database", wish.database.as_deref());
        self.equal("user", wish.user.as_deref());
    }

    fn equal(&mut self, column: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.values.push(value.to_owned());
            self.conditions.push(format!("{column} = ${}", self.values.len()));
        }
    }

    /// Not before `since` ago.
    fn after(&mut self, column: &str, since: Option<Duration>) {
        if let Some(from) = since.and_then(|since| SystemTime::now().checked_sub(since)) {
            self.values.push(humantime::format_rfc3339_millis(from).to_string());
            self.conditions.push(format!("{column} >= ${}", self.values.len()));
        }
    }

    fn clause(&self) -> String {
        if self.conditions.is_empty() { String::new() } else { format!(" WHERE {}", self.conditions.join(" AND ")) }
    }

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
    }
}

async fn asked(client: &Client, sql: &str, values: &[&(dyn ToSql + Sync)]) -> anyhow::Result<Records> {
    let rows = tokio::time::timeout(PATIENCE, client.query(sql, values)).await;
    let rows = rows.with_context(|| format!("no answer within {PATIENCE:?}"))?.map_err(|error| told(&error))?;
    Records::read(&rows).map_err(|error| told(&error))
}

fn told(error: &Error) -> anyhow::Error {
    match error.as_db_error() {
        Some(report) => anyhow!("{} (SQLSTATE {})", report.message(), report.code().code()),
        None => anyhow!("{error}"),
    }
}

impl By {
    /// The column of SHOW QUERIES.
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Errors => "errors",
            Self::Mean => "mean_ms",
            Self::P95 => "p95_ms",
            Self::P99 => "p99_ms",
            Self::Rows => "rows",
            Self::Total => "total_ms",
            Self::Wait => "wait_ms",
        }
    }
}
