//! One budget of connections for each PostgreSQL server, by its hosts.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::backend::Dialer;
use crate::config::Host;
use crate::pool::{Budget, Pool};

/// Every budget in use.
#[derive(Debug, Default)]
pub(super) struct Budgets(Mutex<HashMap<Vec<Host>, Arc<Budget>>>);

impl Budgets {
    /// The budget of the server at `hosts`, of `max` connections if it is new.
    pub(super) fn of(&self, hosts: &[Host], max: Option<usize>) -> Arc<Budget> {
        Arc::clone(self.0.lock().entry(hosts.to_vec()).or_insert_with(|| Budget::new(max)))
    }

    /// Every server grants `max` connections from now on.
    pub(super) fn set_max(&self, pools: &[Pool<Dialer>], max: Option<usize>, now: Instant) {
        let known: Vec<_> = self.0.lock().values().map(Arc::clone).collect();
        known.iter().chain(pools.iter().map(|pool| pool.budget())).for_each(|budget| budget.set_max(max, now));
    }

    /// Pools may have other hosts now. Where all that share a budget have moved to the same place, it is that place's from
    /// now on; a pool that moves alone is counted where it was.
    pub(super) fn follow(&self, pools: &[Pool<Dialer>]) {
        let place = |budget: &Arc<Budget>| {
            let sharing = pools.iter().filter(|pool| Arc::ptr_eq(pool.budget(), budget));
            let mut places = sharing.map(|pool| pool.manager().target.endpoint().hosts.clone());
            let first = places.next()?;
            places.all(|place| place == first).then_some(first)
        };
        let mut budgets = self.0.lock();
        let (moved, stays): (Vec<_>, Vec<_>) = std::mem::take(&mut *budgets)
            .into_iter()
            .map(|(hosts, budget)| (place(&budget).filter(|place| *place != hosts), hosts, budget))
            .partition(|(place, ..)| place.is_some());
        for (place, hosts, budget) in moved.into_iter().chain(stays) {
            budgets.entry(place.unwrap_or(hosts)).or_insert(budget);
        }
    }
}
