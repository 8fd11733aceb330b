//! Asks PostgreSQL every minute what it allows, and tells the operator once what is worth knowing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::{Control, ControlFault, Demand, Facts, MAX_CONNECTIONS};
use crate::config::Backoff;

/// Between two questions that were answered.
const PERIOD: Duration = Duration::from_secs(60);

/// What was said last, so that nothing is said twice.
#[derive(Debug, Default)]
struct Said {
    facts: Option<Arc<Facts>>,
    warning: Option<String>,
    /// PostgreSQL could not be asked when it was asked last.
    away: bool,
    /// And that was said.
    told_away: bool,
}

impl Control {
    /// Keeps [`Control::facts`] fresh, for as long as it is polled; logs them when PostgreSQL's setup changes, and
    /// when `demand` is more than it grants. While PostgreSQL cannot be asked it says so once and tries again with
    /// back-off.
    pub async fn watch(&self, demand: impl Fn() -> Demand + Send) -> Infallible {
        let mut said = Said::default();
        let mut wait = None;
        loop {
            let answer = self.ask().await;
            let pause = match &answer {
                Ok(_) | Err(ControlFault::Off) => PERIOD,
                Err(fault) if fault.is_refusal() => PERIOD,
                Err(_) => longer(wait, &self.backoff()),
            };
            wait = matches!(&answer, Err(fault) if !fault.is_refusal()).then_some(pause);
            match answer {
                Ok(facts) => {
                    let facts = Arc::new(facts);
                    said.answer(&facts, demand());
                    self.facts.store(Some(facts));
                }
                Err(ControlFault::Off) => self.facts.store(None),
                Err(fault) => said.trouble(&fault),
            }
            // A new configuration is tried at once.
            let changed = tokio::time::timeout(pause, self.changed.notified()).await.is_ok();
            if changed {
                (said.told_away, wait) = (false, None);
            }
        }
    }
}

/// The next wait after `last`.
fn longer(last: Option<Duration>, backoff: &Backoff) -> Duration {
    last.map_or(backoff.first, |last| (last * 2).min(backoff.longest)).max(Duration::from_millis(1))
}

impl Said {
    fn answer(&mut self, facts: &Arc<Facts>, demand: Demand) {
        self.told_away = false;
        if std::mem::take(&mut self.away) {
            tracing::info!("the control plane reaches PostgreSQL again");
        }
        if !self.facts.as_ref().is_some_and(|before| before.same_setup(facts)) {
            tracing::info!(
                server_version = facts.version,
                max_connections = facts.max_connections,
                reserved = facts.reserved,
                in_use_by_others = facts.of_others(demand.open, 1),
                "PostgreSQL's limits"
            );
        }
        let warning = facts.warning(demand.most, MAX_CONNECTIONS);
        if let Some(text) = warning.as_ref().filter(|text| self.warning.as_ref() != Some(text)) {
            tracing::warn!("{text}");
        }
        self.warning = warning;
        self.facts = Some(Arc::clone(facts));
    }

    fn trouble(&mut self, fault: &ControlFault) {
        self.away = true;
        if !std::mem::replace(&mut self.told_away, true) {
            tracing::warn!(
                reason = %fault,
                "the control plane cannot ask PostgreSQL as [control] says; sessions do without, and it goes on trying"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_millis(350));
        let backoff = Backoff { first, longest };
        let mut wait = None;
        let mut waits = Vec::new();
        for _ in 0..4 {
            wait = Some(longer(wait, &backoff));
            waits.extend(wait.map(|wait| wait.as_millis()));
        }
        assert_eq!(waits, [100, 200, 350, 350]);
    }
}
