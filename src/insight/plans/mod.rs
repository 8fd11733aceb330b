//! How PostgreSQL would run what was slow: plans, asked for through the control plane, and what they tell.
//!
//! A pattern is planned without any value, from its normalised text, as a prepared statement is (`explain`). Nothing is
//! ever executed: the question is EXPLAIN without ANALYZE, in a transaction that may only read and is rolled back. At
//! most one question is asked in a second, and none twice in ten minutes. `shape` reads the answer, `advice` names the
//! index that would help.

mod advice;
mod explain;
mod shape;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use super::Insight;
use super::view::{PatternName, PatternPlan, Slow};
use crate::config::Live;
use crate::control::Control;
use crate::sql::{Digest, Kind};

/// Between two questions.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a plan is good for.
const FRESH: Duration = Duration::from_secs(600);

/// A pattern in a database.
type Key = (Digest, Arc<str>);

/// The latest plan of each pattern that was slow.
#[derive(Debug, Default)]
pub struct Plans {
    kept: Mutex<HashMap<Key, PatternPlan>>,
}

impl Plans {
    /// The latest first.
    #[must_use]
    pub fn all(&self) -> Vec<PatternPlan> {
        let mut all: Vec<PatternPlan> = self.kept.lock().values().cloned().collect();
        all.sort_by_key(|plan| std::cmp::Reverse(plan.at));
        all
    }

    /// Asks for plans, for as long as it is polled; rests while `insight.plans` or `[control]` is off.
    pub async fn work(&self, insight: &Insight, control: &Control, config: &Live) -> Infallible {
        let mut ticks = tokio::time::interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let config = config.current();
            if !config.insight.plans || !control.is_on() {
                continue;
            }
            let Some((pattern, database)) = self.wanted(&insight.slow(usize::MAX)) else { continue };
            let Some(place) = config.database_for(&database) else { continue };
            let outcome = match control.connect_to(&place.hosts, &place.dbname).await {
                Ok(client) => explain::explained(&client, &pattern.text).await,
                Err(fault) => Err(fault.to_string()),
            };
            self.keep(PatternPlan { at: SystemTime::now(), pattern, database, outcome }, config.insight.max_plans);
        }
    }

    /// What took the most time of all that is slow and has no fresh plan.
    fn wanted(&self, slow: &[Slow]) -> Option<(Arc<PatternName>, Arc<str>)> {
        let now = SystemTime::now();
        let kept = self.kept.lock();
        let is_fresh = |key: &Key| {
            let plan = kept.get(key);
            plan.is_some_and(|plan| now.duration_since(plan.at).is_ok_and(|age| age < FRESH))
        };
        let mut sums: HashMap<Key, (Duration, &Arc<PatternName>)> = HashMap::new();
        for one in slow.iter().filter(|one| matches!(one.pattern.kind, Kind::Read | Kind::Write)) {
            let key = (one.pattern.digest, Arc::clone(&one.database));
            sums.entry(key).or_insert((Duration::ZERO, &one.pattern)).0 += one.server;
        }
        let wanted = sums.into_iter().filter(|(key, _)| !is_fresh(key)).max_by_key(|(_, (time, _))| *time);
        wanted.map(|((_, database), (_, pattern))| (Arc::clone(pattern), database))
    }

    /// Keeps a plan in place of an earlier one, or of the oldest where there is no room.
    fn keep(&self, plan: PatternPlan, limit: usize) {
        let mut kept = self.kept.lock();
        kept.insert((plan.pattern.digest, Arc::clone(&plan.database)), plan);
        while kept.len() > limit {
            let Some(oldest) = kept.iter().min_by_key(|(_, plan)| plan.at).map(|(key, _)| key.clone()) else { break };
            kept.remove(&oldest);
        }
    }
}
