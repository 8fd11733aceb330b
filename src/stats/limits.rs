//! How often each limit of the configuration was met: something was refused, closed, held up or forgotten for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A limit that can be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    Channels,
    ClientStatementMemory,
    ClientStatements,
    HeldMessage,
    HeldQuery,
    IdleInTransaction,
    Listeners,
    LoginTimeout,
    MaxClients,
    MaxConnections,
    MaxLease,
    MaxPatterns,
    MaxPinned,
    Message,
    Notifications,
    Pipeline,
    PoolTimeout,
    Pools,
    Profiles,
    QueryTimeout,
    StartupPacket,
    StatementMemory,
    Statements,
    Waiters,
}

impl Limit {
    pub const ALL: [Self; 24] = [
        Self::Channels,
        Self::ClientStatementMemory,
        Self::ClientStatements,
        Self::HeldMessage,
        Self::HeldQuery,
        Self::IdleInTransaction,
        Self::Listeners,
        Self::LoginTimeout,
        Self::MaxClients,
        Self::MaxConnections,
        Self::MaxLease,
        Self::MaxPatterns,
        Self::MaxPinned,
        Self::Message,
        Self::Notifications,
        Self::Pipeline,
        Self::PoolTimeout,
        Self::Pools,
        Self::Profiles,
        Self::QueryTimeout,
        Self::StartupPacket,
        Self::StatementMemory,
        Self::Statements,
        Self::Waiters,
    ];

    /// The key of the configuration that sets it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Channels => "limits.channels",
            Self::ClientStatementMemory => "limits.client_statement_memory",
            Self::ClientStatements => "limits.client_statements",
            Self::HeldMessage => "limits.held_message",
            Self::HeldQuery => "limits.held_query",
            Self::IdleInTransaction => "pool.idle_in_transaction_timeout",
            Self::Listeners => "limits.listeners",
            Self::LoginTimeout => "listen.login_timeout",
            Self::MaxClients => "listen.max_clients",
            Self::MaxConnections => "server.max_connections",
            Self::MaxLease => "pool.max_lease",
            Self::MaxPatterns => "insight.max_patterns",
            Self::MaxPinned => "pool.max_pinned",
            Self::Message => "limits.message",
            Self::Notifications => "limits.notifications",
            Self::Pipeline => "limits.pipeline",
            Self::PoolTimeout => "pool.timeout",
            Self::Pools => "limits.pools",
            Self::Profiles => "limits.profiles",
            Self::QueryTimeout => "pool.query_timeout",
            Self::StartupPacket => "limits.startup_packet",
            Self::StatementMemory => "limits.statement_memory",
            Self::Statements => "limits.statements",
            Self::Waiters => "limits.waiters",
        }
    }
}

/// The counters of a process, shared by whoever keeps a limit.
#[derive(Debug, Default)]
pub struct LimitHits([Arc<AtomicU64>; Limit::ALL.len()]);

impl LimitHits {
    /// A limit was met.
    pub fn hit(&self, limit: Limit) {
        if let Some(counter) = self.0.get(limit as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a limit here that its keeper counts.
    #[must_use]
    pub fn counting(mut self, limit: Limit, counter: Arc<AtomicU64>) -> Self {
        if let Some(own) = self.0.get_mut(limit as usize) {
            *own = counter;
        }
        self
    }

    /// The counter itself, for those who may know nothing of statistics.
    #[must_use]
    pub fn counter(&self, limit: Limit) -> Arc<AtomicU64> {
        self.0.get(limit as usize).map(Arc::clone).unwrap_or_default()
    }

    #[must_use]
    pub fn counts(&self) -> LimitCounts {
        LimitCounts(self.0.each_ref().map(|counter| counter.load(Ordering::Relaxed)))
    }
}

/// How often each limit was met since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitCounts([u64; Limit::ALL.len()]);

impl LimitCounts {
    #[must_use]
    pub fn of(&self, limit: Limit) -> u64 {
        self.0.get(limit as usize).copied().unwrap_or_default()
    }

    /// Every limit with its count, zeros too.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, u64)> {
        Limit::ALL.into_iter().zip(self.0)
    }

    /// What came on top of `before`, without zeros.
    pub fn since(&self, before: &Self) -> impl Iterator<Item = (Limit, u64)> {
        let more = self.iter().zip(before.0).map(|((limit, now), before)| (limit, now.saturating_sub(before)));
        more.filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_counter_of_its_own() {
        let hits = LimitHits::default();
        for (number, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, number, "{limit:?} stands where it is counted");
            for _ in 0..=number {
                hits.hit(limit);
            }
        }
        hits.counter(Limit::Waiters).fetch_add(1, Ordering::Relaxed);
        let counts = hits.counts();
        assert_eq!((counts.of(Limit::Channels), counts.of(Limit::Waiters)), (1, 25));
        let mut before = counts;
        hits.hit(Limit::Pools);
        assert_eq!(hits.counts().since(&before).collect::<Vec<_>>(), [(Limit::Pools, 1)]);
        before = hits.counts();
        assert_eq!(hits.counts().since(&before).count(), 0);
    }
}
