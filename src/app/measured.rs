//! What the console reads of statements: insight, and plans.

use std::sync::Arc;
use std::time::Duration;

use crate::admin::Measured;
use crate::config::Live;
use crate::insight::view::{PatternPlan, Repetition, Slow, Summary, Trend};
use crate::insight::{Filter, Insight, Plans};

#[derive(Debug)]
pub(super) struct Statements {
    pub(super) insight: Arc<Insight>,
    pub(super) plans: Arc<Plans>,
    pub(super) config: Arc<Live>,
}

impl Measured for Statements {
    fn summary(&self, since: Option<Duration>) -> Summary {
        let budgets = self.config.current().budgets;
        self.insight.summary(&Filter { since, budgets, ..Filter::default() })
    }

    fn trends(&self, period: Duration) -> Vec<Trend> {
        self.insight.trends(period, &Filter::default())
    }

    fn plans(&self) -> Vec<PatternPlan> {
        self.plans.all()
    }

    fn slow(&self) -> Vec<Slow> {
        self.insight.slow(usize::MAX)
    }

    fn repetitions(&self) -> Vec<Repetition> {
        self.insight.repetitions()
    }
}
