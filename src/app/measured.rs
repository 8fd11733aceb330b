//! What the console reads of statements: insight, and plans.

use std::sync::Arc;
use std::time::Duration;

use crate::admin::Measured;
use crate::insight::view::{PatternPlan, Repetition, Slow, Summary, Trend};
use crate::insight::{Filter, Insight};

#[derive(Debug)]
pub(super) struct Statements(pub(super) Arc<Insight>);

impl Measured for Statements {
    fn summary(&self, since: Option<Duration>) -> Summary {
        self.0.summary(&Filter { since, ..Filter::default() })
    }

    fn trends(&self, period: Duration) -> Vec<Trend> {
        self.0.trends(period, &Filter::default())
    }

    fn plans(&self) -> Vec<PatternPlan> {
        self.0.plans().map(|plans| plans.all()).unwrap_or_default()
    }

    fn slow(&self) -> Vec<Slow> {
        self.0.slow(usize::MAX)
    }

    fn repetitions(&self) -> Vec<Repetition> {
        self.0.repetitions()
    }
}
