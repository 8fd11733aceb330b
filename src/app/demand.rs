//! How many backends pgweir may open at the server of `[server]`.

use crate::config::Config;
use crate::control::Demand;
use crate::control::facts::Most;
use crate::pool::PoolSnapshot;

/// Of the pools there are; before the first one, of one pool as `[pool]` describes it. Databases on other hosts don't
/// count.
pub(super) fn of<E>(config: &Config, pools: &[PoolSnapshot<E>]) -> Demand {
    let here = |pool: &&PoolSnapshot<E>| {
        config.database_for(&pool.database).is_some_and(|place| place.hosts == config.server.hosts)
    };
    let pools: Vec<_> = pools.iter().filter(here).collect();
    let open = pools.iter().map(|pool| pool.idle + pool.leased).sum();
    let most = match config.server.max_connections {
        Some(cap) => Most::Cap(cap),
        None if pools.is_empty() => Most::Pools { pools: 1, backends: config.pool.size + config.pool.max_overflow },
        None => {
            let backends = pools.iter().map(|pool| pool.size + pool.max_overflow).sum();
            Most::Pools { pools: pools.len(), backends }
        }
    };
    Demand { most, open }
}
