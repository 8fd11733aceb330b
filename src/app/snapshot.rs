//! What a running pgweir looks like from outside, at one moment.

use crate::backend::Refusal;
use crate::pool::PoolSnapshot;
use crate::server::Server;
use crate::stats::LimitCounts;

/// Clients, pools and limits.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Connections of clients, logged in or not.
    pub connected: usize,
    pub logged_in: usize,
    pub pools: Vec<PoolSnapshot<Refusal>>,
    /// How often each limit was met.
    pub limits: LimitCounts,
}

pub(super) fn take(server: &Server) -> Snapshot {
    Snapshot {
        connected: server.clients.connected(),
        logged_in: server.clients.logged_in(),
        pools: server.routes.pools().snapshots(),
        limits: server.routes.limit_hits().counts(),
    }
}
