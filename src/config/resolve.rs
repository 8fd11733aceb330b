//! Answers that need several sections: which pool, which server, which user.

use super::model::{Config, Database, Host, Pool, User};

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Tried in order until one accepts.
    pub hosts: Vec<Host>,
    /// The name on the server.
    pub dbname: String,
}

impl Config {
    /// The pool settings for a pair of names as the client gave them: `[pool]`, then what the database sets
    /// otherwise, then what the user does.
    #[must_use]
    pub fn pool_for(&self, database: &str, user: &str) -> Pool {
        let mut pool = self.pool.clone();
        if let Some(database) = self.database(database) {
            pool = pool.with(&database.pool);
        }
        if let Some(user) = self.user_for(user) {
            pool = pool.with(&user.pool);
        }
        pool
    }

    /// Where the database is that a client asks for by `name`: its own section, else that of `"*"`.
    /// `None` when there are sections but neither of these; without any, every name passes through.
    #[must_use]
    pub fn database_for(&self, name: &str) -> Option<Target> {
        let passed = Database::default();
        let database = self.database(name).or_else(|| self.databases.is_empty().then_some(&passed))?;
        Some(Target {
            hosts: database.hosts.clone().unwrap_or_else(|| self.server.hosts.clone()),
            dbname: database.dbname.clone().unwrap_or_else(|| name.to_owned()),
        })
    }

    /// The server of a name of which that alone matters.
    #[must_use]
    pub fn server_for(&self, name: &str) -> Target {
        let unknown = || Target { hosts: self.server.hosts.clone(), dbname: name.to_owned() };
        self.database_for(name).unwrap_or_else(unknown)
    }

    /// The entry of a user: its own, else that of `"*"`.
    #[must_use]
    pub fn user_for(&self, name: &str) -> Option<&User> {
        let named = |name: &str| self.users.iter().find(|user| user.name == name);
        named(name).or_else(|| named("*"))
    }

    fn database(&self, name: &str) -> Option<&Database> {
        self.databases.get(name).or_else(|| self.databases.get("*"))
    }
}
