//! What PostgreSQL allows, and whether pgweir asks for more.

use tokio_postgres::{Client, Error};

/// One round trip that any role may make. Rows of other roles hide their `backend_type` from who is not in
/// `pg_monitor`, but never their database, which only clients and autovacuum's workers have.
const QUESTION: &str = "SELECT current_setting('server_version'), \
     current_setting('max_connections')::int, \
     current_setting('superuser_reserved_connections')::int + \
     coalesce(current_setting('reserved_connections', true)::int, 0), \
     (SELECT count(*)::int FROM pg_stat_activity \
     WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend')";

/// What PostgreSQL says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// As it is written, `15.4 (Debian 15.4-1)`.
    pub version: String,
    pub max_connections: usize,
    /// Of `max_connections`, what only superusers and roles with `pg_use_reserved_connections` get.
    pub reserved: usize,
    /// Connections of clients at this moment, our own among them.
    pub connected: usize,
}

/// What pgweir may ask of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    pub most: Most,
    /// Backends that are open now.
    pub open: usize,
}

/// Backends that there may be at most, by what bounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Most {
    /// `server.max_connections`
    Cap(usize),
    /// `size` and `max_overflow` of each pool that there is so far.
    Pools { pools: usize, backends: usize },
}

/// Asks.
pub(super) async fn ask(client: &Client) -> Result<Facts, Error> {
    let row = client.query_one(QUESTION, &[]).await?;
    let count = |column: usize| -> Result<usize, Error> {
        let value: i32 = row.try_get(column)?;
        Ok(usize::try_from(value).unwrap_or(0))
    };
    Ok(Facts { version: row.try_get(0)?, max_connections: count(1)?, reserved: count(2)?, connected: count(3)? })
}

impl Facts {
    /// Whether both say the same of how PostgreSQL is set up, whoever is connected.
    #[must_use]
    pub fn same_setup(&self, other: &Self) -> bool {
        (&self.version, self.max_connections, self.reserved) == (&other.version, other.max_connections, other.reserved)
    }

    /// Connections of others than pgweir, where `open` backends and `own` connections of the control plane are ours.
    #[must_use]
    pub fn of_others(&self, open: usize, own: usize) -> usize {
        self.connected.saturating_sub(open + own)
    }

    /// What ordinary roles can have between them.
    #[must_use]
    pub fn allowed(&self) -> usize {
        self.max_connections.saturating_sub(self.reserved)
    }

    /// What an operator should hear when pgweir may open more than PostgreSQL grants; `own` connections of the control
    /// plane come on top of the backends.
    #[must_use]
    pub fn warning(&self, most: Most, own: usize) -> Option<String> {
        let allowed = self.allowed();
        let (Most::Cap(backends) | Most::Pools { backends, .. }) = most;
        if backends + own <= allowed {
            return None;
        }
        let fitting = allowed.saturating_sub(own);
        let (who, remedy) = match most {
            Most::Cap(_) => (
                "server.max_connections lets pgweir".to_owned(),
                format!("lower server.max_connections to {fitting} or less"),
            ),
            Most::Pools { pools, .. } => {
                let pools = if pools == 1 { "1 pool".to_owned() } else { format!("{pools} pools") };
                let remedy =
                    format!("set server.max_connections to {fitting} or less, lower pool.size or pool.max_overflow");
                (format!("pool.size and pool.max_overflow let pgweir's {pools}"), remedy)
            }
        };
        Some(format!(
            "{who} open {backends} backends, and {own} connections are its own, but PostgreSQL grants {allowed} \
             (max_connections = {}, of which {} are reserved): {remedy}, or raise PostgreSQL's max_connections",
            self.max_connections, self.reserved
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { version: "15.4".to_owned(), max_connections: 100, reserved: 3, connected: 12 }
    }

    #[test]
    fn nothing_is_said_as_long_as_everything_fits() {
        assert_eq!(facts().warning(Most::Cap(95), 2), None);
        assert_eq!(facts().warning(Most::Pools { pools: 3, backends: 90 }, 2), None);
    }

    #[test]
    fn a_cap_beyond_what_is_granted_is_named_with_what_would_fit() {
        let said = facts().warning(Most::Cap(96), 2).expect("one too many");
        assert_eq!(
            said,
            "server.max_connections lets pgweir open 96 backends, and 2 connections are its own, but PostgreSQL grants \
             97 (max_connections = 100, of which 3 are reserved): lower server.max_connections to 95 or less, or raise \
             PostgreSQL's max_connections"
        );
    }

    #[test]
    fn pools_without_a_cap_are_told_of_the_keys_that_make_their_size() {
        let said = facts().warning(Most::Pools { pools: 4, backends: 120 }, 2).expect("far too many");
        for part in ["4 pools open 120 backends", "set server.max_connections to 95", "pool.size", "pool.max_overflow"]
        {
            assert!(said.contains(part), "{part} in {said}");
        }
    }

    #[test]
    fn others_are_those_who_are_not_ours_even_when_the_counts_were_taken_at_different_moments() {
        assert_eq!(facts().of_others(7, 1), 4);
        assert_eq!(facts().of_others(30, 1), 0);
    }

    #[test]
    fn who_is_connected_is_no_change_of_setup() {
        let later = Facts { connected: 90, ..facts() };
        assert!(facts().same_setup(&later));
        assert!(!facts().same_setup(&Facts { max_connections: 200, ..facts() }));
    }
}
