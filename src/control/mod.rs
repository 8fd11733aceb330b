//! The control plane's own connections to PostgreSQL: an ordinary client and an ordinary pool, for questions that no
//! session asks.
//!
//! It never carries a client's statement, and nothing on the way of a query waits for it: without `[control]` in the
//! configuration, or while PostgreSQL is away, sessions are served all the same. Start at [`Control`]; `connect` opens
//! a connection, `parting` closes it, [`facts`] says what is asked and judged, `watch` asks it again and again.

mod connect;
pub mod facts;
mod parting;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use deadpool_postgres::{Connect, Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_postgres::Client;

use crate::config::{Backoff, Config, Host};
use crate::net::ServerTls;

pub use facts::{Demand, Facts};

/// Connections that the control plane opens at most.
pub const MAX_CONNECTIONS: usize = 2;

/// The control plane. It exists without `[control]` too, and is off then.
#[derive(Debug)]
pub struct Control {
    access: ArcSwapOption<Access>,
    facts: ArcSwapOption<Facts>,
    changed: Notify,
}

/// The connections, and the patience with them.
#[derive(Debug)]
struct Access {
    pool: Pool,
    login: tokio_postgres::Config,
    door: connect::Door,
    /// Nothing is opened before.
    not_before: Option<Instant>,
    /// For one answer, and for each step of opening a connection.
    patience: Duration,
    backoff: Backoff,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlFault {
    #[error("there is no [control] in the configuration")]
    Off,
    #[error("no answer within {0:?} (server.connect_timeout)")]
    TooLate(Duration),
    #[error("{}", connect::told(.0))]
    Postgres(#[from] tokio_postgres::Error),
    #[error("{0}")]
    Pool(String),
}

impl Control {
    /// Ready to connect as `[control]` says; nothing is opened before something is asked. `tls` is that of the
    /// backends.
    #[must_use]
    pub fn new(config: &Config, tls: Option<ServerTls>) -> Self {
        let access = ArcSwapOption::new(Access::of(config, tls));
        Self { access, facts: ArcSwapOption::empty(), changed: Notify::new() }
    }

    /// Connects as `config` says from now on; a question under way is answered by the old connection.
    pub fn reconfigure(&self, config: &Config, tls: Option<ServerTls>) {
        self.access.store(Access::of(config, tls));
        self.changed.notify_one();
    }

    /// Whether `[control]` is configured.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.access.load().is_some()
    }

    /// What PostgreSQL said when it was last asked, at most a minute ago while it answers; `None` before that.
    #[must_use]
    pub fn facts(&self) -> Option<Arc<Facts>> {
        self.facts.load_full()
    }

    /// Asks PostgreSQL for its limits, within `server.connect_timeout` for connecting and for the answer.
    ///
    /// # Errors
    /// [`ControlFault`]. Cancel safe: the connection is thrown away then.
    pub async fn ask(&self) -> Result<Facts, ControlFault> {
        let (access, client) = loop {
            let access = Guard::into_inner(self.access.load()).ok_or(ControlFault::Off)?;
            if let Some(moment) = access.not_before {
                sleep_until(moment).await;
            }
            match access.pool.get().await {
                Ok(client) => break (access, client),
                Err(PoolError::Backend(error)) => return Err(ControlFault::Postgres(error)),
                // It left its database, and has another pool by now.
                Err(PoolError::Closed) => {}
                Err(other) => return Err(ControlFault::Pool(other.to_string())),
            }
        };
        match tokio::time::timeout(access.patience, facts::ask(&client)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                // A connection that still owes an answer is of no use to the next question.
                drop(deadpool_postgres::Object::take(client));
                Err(ControlFault::TooLate(access.patience))
            }
        }
    }

    /// A connection of its own to a database of the server at `hosts`, as the user of `[control]`: for a few questions,
    /// and closed with its client.
    ///
    /// # Errors
    /// [`ControlFault`].
    pub async fn connect_to(&self, hosts: &[Host], database: &str) -> Result<Client, ControlFault> {
        let access = Guard::into_inner(self.access.load()).ok_or(ControlFault::Off)?;
        let mut login = access.login.clone();
        login.dbname(database);
        let (client, _) = access.door.to(hosts).connect(&login).await?;
        Ok(client)
    }

    /// Closes its connections to this database of the server at `hosts`, and returns when PostgreSQL has closed them
    /// too; a question under way is answered first. Opens none there until `until`.
    pub async fn leave(&self, hosts: &[Host], database: &str, until: Instant) {
        let Some(access) = Guard::into_inner(self.access.load()) else { return };
        if !access.door.leads_to(hosts) || access.login.get_dbname() != Some(database) {
            return;
        }
        let mut open = access.door.open.subscribe();
        let other = Access::new(access.login.clone(), access.door.anew(), access.patience, access.backoff.clone());
        self.access.compare_and_swap(&Some(Arc::clone(&access)), Some(Arc::new(other.resting(until))));
        access.pool.close();
        // It cannot fail: `access` keeps the count's sender.
        let _ = open.wait_for(|open| *open == 0).await;
    }

    fn backoff(&self) -> Backoff {
        let longest = Duration::from_secs(5);
        let absent = Backoff { first: longest, longest };
        self.access.load().as_ref().map_or(absent, |access| access.backoff.clone())
    }
}

impl Access {
    fn of(config: &Config, tls: Option<ServerTls>) -> Option<Arc<Self>> {
        let (login, door) = connect::door(config, tls)?;
        Some(Arc::new(Self::new(login, door, config.server.connect_timeout, config.server.backoff.clone())))
    }

    fn resting(self, until: Instant) -> Self {
        Self { not_before: Some(until), ..self }
    }

    fn new(login: tokio_postgres::Config, door: connect::Door, patience: Duration, backoff: Backoff) -> Self {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(login.clone(), door.clone(), recycling);
        let builder = Pool::builder(manager).max_size(MAX_CONNECTIONS).runtime(Runtime::Tokio1);
        // A lost connection is replaced without a word: deadpool would warn of each.
        let lost = Hook::sync_fn(
            |client: &mut deadpool_postgres::ClientWrapper, _| {
                if client.is_closed() { Err(HookError::message("lost")) } else { Ok(()) }
            },
        );
        let pool = builder.pre_recycle(lost).wait_timeout(Some(patience)).build();
        let pool = pool.expect("a runtime is given, so timeouts can be kept");
        Self { pool, login, door, not_before: None, patience, backoff }
    }
}

impl ControlFault {
    /// Whether PostgreSQL answered and does not want us, which waiting does not mend.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let Self::Postgres(error) = self else { return false };
        error.as_db_error().is_some_and(|told| !matches!(told.code().code(), "53300" | "57P01" | "57P02" | "57P03"))
    }
}
