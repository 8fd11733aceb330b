//! Making way for administration: commands that fail while anybody else is connected to a database, and commands that
//! change what a new connection is like.
//!
//! A direct client is connected to one database and leaves it when it ends. pgweir is connected to many, and keeps
//! idle connections that no client knows of: they must neither make `DROP DATABASE` fail (55006) nor carry settings
//! or roles that are gone.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::{Dialer, Endpoint};
use crate::config::Host;
use crate::pool::{Pool, Pools};
use crate::prepared::Compiled;

/// Longest wait for everybody to be gone; after that PostgreSQL says what it thinks of it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a database is left alone when nobody says that the command has ended.
const REST: Duration = Duration::from_secs(60);

/// A command that concerns more connections than its own. Names are as PostgreSQL keeps them: folded and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `CREATE DATABASE`; its template is `template1` where none is named.
    CreateDatabase {
        template: String,
    },
    DropDatabase {
        database: String,
    },
    /// `ALTER DATABASE … RENAME TO` and `SET TABLESPACE`.
    MoveDatabase {
        database: String,
    },
    /// `ALTER DATABASE … SET` and `RESET`.
    SetDatabase {
        database: String,
    },
    /// `ALTER ROLE` of any kind; `None` is `ALL`.
    AlterRole {
        role: Option<String>,
        database: Option<String>,
    },
    DropRoles {
        roles: Vec<String>,
    },
    /// What makes names of types mean other types: what is compiled has those of before.
    ChangeTypes {
        database: String,
    },
    /// The same for columns of these relations: `ALTER TABLE`, `DROP TABLE` and the like.
    ChangeColumns {
        database: String,
        relations: Vec<String>,
    },
}

impl Command {
    /// The database that nobody else may be connected to while it runs.
    #[must_use]
    pub fn needs_alone(&self) -> Option<&str> {
        match self {
            Self::CreateDatabase { template: database }
            | Self::DropDatabase { database }
            | Self::MoveDatabase { database } => Some(database),
            Self::SetDatabase { .. }
            | Self::AlterRole { .. }
            | Self::DropRoles { .. }
            | Self::ChangeTypes { .. }
            | Self::ChangeColumns { .. } => None,
        }
    }

    /// Which of the connections to `database` as `user`, that may have `compiled` this, are not what new ones are, once
    /// it is committed.
    #[must_use]
    pub fn outdates(&self, database: &str, user: &str, compiled: &Compiled) -> Outdated {
        let all_if = |concerned: bool| if concerned { Outdated::All } else { Outdated::None };
        match self {
            Self::CreateDatabase { .. } => Outdated::None,
            Self::DropDatabase { database: name }
            | Self::MoveDatabase { database: name }
            | Self::SetDatabase { database: name } => all_if(name == database),
            Self::AlterRole { role, database: within } => all_if(
                role.as_ref().is_none_or(|role| role == user)
                    && within.as_ref().is_none_or(|within| within == database),
            ),
            Self::DropRoles { roles } => all_if(roles.iter().any(|role| role == user)),
            Self::ChangeTypes { database: name } if name == database => match compiled.has_any() {
                true => Outdated::All,
                // What they run was perhaps not looked at yet.
                false => Outdated::Leased,
            },
            Self::ChangeColumns { database: name, relations } => {
                all_if(name == database && relations.iter().any(|relation| compiled.may_depend_on(relation)))
            }
            Self::ChangeTypes { .. } => Outdated::None,
        }
    }

    /// Whether logins may find other settings from then on.
    fn changes_logins(&self) -> bool {
        !matches!(self, Self::ChangeTypes { .. } | Self::ChangeColumns { .. })
    }
}

/// Backends of a pool that a command has made old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outdated {
    None,
    /// Those that sessions have at the moment.
    Leased,
    All,
}

/// Somebody beside the pools who keeps connections to PostgreSQL.
pub trait Occupant: Send + Sync + fmt::Debug {
    /// Closes what it has open to this database of the server at `hosts`, opens nothing there until `until`, and is
    /// ready when the server has closed it too.
    fn leave<'a>(
        &'a self,
        hosts: &'a [Host],
        database: &'a str,
        until: Instant,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// See the module. One for the process.
#[derive(Debug)]
pub struct Administration {
    pools: Arc<Pools<Dialer>>,
    occupants: Mutex<Vec<Arc<dyn Occupant>>>,
}

impl Administration {
    #[must_use]
    pub fn new(pools: Arc<Pools<Dialer>>) -> Self {
        Self { pools, occupants: Mutex::default() }
    }

    /// From now on it is asked to leave as well.
    pub fn add(&self, occupant: Arc<dyn Occupant>) {
        self.occupants.lock().push(occupant);
    }

    /// Before the command is sent to the server of `here`: leaves the database that it needs alone, and returns when
    /// the server knows, after 5 seconds at the latest. A session that keeps a backend there is left to PostgreSQL's
    /// judgement, as a direct client would be. The caller runs on this `worker`. Can be dropped at any moment;
    /// [`Self::after`] must follow all the same.
    pub async fn before(&self, command: &Command, here: &Endpoint, worker: Option<usize>) {
        let Some(database) = command.needs_alone() else { return };
        let until = Instant::now() + REST;
        let pools = self.pools_where(here, |endpoint| endpoint.dbname == database);
        let occupants = self.occupants.lock().clone();
        // All have begun to close before the first is waited for.
        let closing: Vec<_> = pools.iter().map(|pool| pool.vacate(until, worker)).collect();
        let leaving = async {
            for occupant in &occupants {
                occupant.leave(&here.hosts, database, until).await;
            }
            for closed in closing {
                closed.await;
            }
        };
        if timeout(PATIENCE, Box::pin(leaving)).await.is_err() {
            tracing::warn!(database, "connections that were to make way for a command are still there");
        }
    }

    /// When the command is over; `committed` once it cannot be rolled back any more. Backends that it has outdated are
    /// closed: idle ones now, others when they come back.
    pub fn after(&self, command: &Command, here: &Endpoint, committed: bool, now: Instant) {
        if let Some(database) = command.needs_alone() {
            for pool in self.pools_where(here, |endpoint| endpoint.dbname == database) {
                pool.resume(now);
            }
        }
        if !committed {
            return;
        }
        for pool in self.pools_where(here, |_| true) {
            let Dialer { target, compiled, startups, .. } = pool.manager();
            let endpoint = target.endpoint();
            let outdated = command.outdates(&endpoint.dbname, &endpoint.user, compiled);
            if outdated != Outdated::None && command.changes_logins() {
                startups.forget();
            }
            match outdated {
                Outdated::None => {}
                Outdated::Leased => pool.retire_leased(),
                Outdated::All => pool.retire_all(now),
            }
        }
    }

    /// The pools of the server of `here` whose backends are such.
    fn pools_where(&self, here: &Endpoint, such: impl Fn(&Endpoint) -> bool) -> Vec<Pool<Dialer>> {
        let concerned = |pool: &Pool<Dialer>| {
            let endpoint = pool.manager().target.endpoint();
            endpoint.hosts == here.hosts && such(&endpoint)
        };
        self.pools.all().into_iter().filter(concerned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_s_settings_concern_its_connections_in_the_databases_named() {
        let alter = |role: Option<&str>, database: Option<&str>| Command::AlterRole {
            role: role.map(str::to_owned),
            database: database.map(str::to_owned),
        };
        for (role, database, outdated) in [
            (Some("ann"), None, Outdated::All),
            (Some("bob"), None, Outdated::None),
            (None, None, Outdated::All),
            (Some("ann"), Some("shop"), Outdated::All),
            (Some("ann"), Some("other"), Outdated::None),
            (None, Some("other"), Outdated::None),
        ] {
            let command = alter(role, database);
            assert_eq!(command.outdates("shop", "ann", &Compiled::default()), outdated, "{command:?}");
            assert_eq!(command.needs_alone(), None);
        }
        let dropped = Command::DropRoles { roles: vec!["bob".into(), "ann".into()] };
        assert_eq!(dropped.outdates("shop", "ann", &Compiled::default()), Outdated::All);
    }

    #[test]
    fn types_concern_those_who_have_compiled_something_with_them() {
        let database = || "shop".to_owned();
        let (types, tables) = (
            Command::ChangeTypes { database: database() },
            Command::ChangeColumns { database: database(), relations: vec!["b".into()] },
        );
        let compiled = Compiled::default();
        let outdated = || [&types, &tables].map(|command| command.outdates("shop", "ann", &compiled));
        assert_eq!(outdated(), [Outdated::Leased, Outdated::None]);
        compiled.note(b"begin end");
        assert_eq!(outdated(), [Outdated::All, Outdated::None]);
        compiled.note(b"declare a b.c%type; begin end");
        assert_eq!(outdated(), [Outdated::All, Outdated::All]);
        assert_eq!(types.outdates("other", "ann", &compiled), Outdated::None);
    }

    #[test]
    fn a_copied_database_must_be_left_alone_and_stays_as_it_is() {
        let command = Command::CreateDatabase { template: "shop".into() };
        assert_eq!(command.needs_alone(), Some("shop"));
        assert_eq!(command.outdates("shop", "ann", &Compiled::default()), Outdated::None);
    }
}
