//! The console without a network: commands of any kind, frames of any kind, reports of made-up values.

mod frames;
mod notices;
mod reports;
mod texts;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::{Console, Measured};
use crate::clients::Clients;
use crate::config::{Live, check_text};
use crate::insight::view::{PatternPlan, Repetition, Slow, Summary, Trend};
use crate::pool::Pools;

/// What a test made up.
#[derive(Debug, Default)]
struct Made {
    summary: Summary,
    slow: Vec<Slow>,
    repetitions: Vec<Repetition>,
    trends: Vec<Trend>,
    plans: Vec<PatternPlan>,
}

impl Measured for Made {
    fn summary(&self, _: Option<Duration>) -> Summary {
        self.summary.clone()
    }

    fn trends(&self, _: Duration) -> Vec<Trend> {
        self.trends.clone()
    }

    fn plans(&self) -> Vec<PatternPlan> {
        self.plans.clone()
    }

    fn slow(&self) -> Vec<Slow> {
        self.slow.clone()
    }

    fn repetitions(&self) -> Vec<Repetition> {
        self.repetitions.clone()
    }
}

/// A console of a process in which nothing else is; to be made within a runtime.
fn console(made: Made) -> Arc<Console> {
    console_with("", made)
}

/// The same with more in its configuration.
fn console_with(more: &str, made: Made) -> Arc<Console> {
    let text = format!("{more}\n[[users]]\nname = 'app'\npassword = 'x'\n");
    let config = check_text("test", &text, &[]).expect("a configuration").config;
    Arc::new(Console {
        config: Arc::new(Live::new(config)),
        clients: Arc::new(Clients::new(10)),
        pools: Arc::new(Pools::new(10, 10, TaskTracker::new(), Arc::default())),
        limit_hits: Arc::default(),
        measured: Arc::new(made),
        runtime: Handle::current(),
        sessions: TaskTracker::new(),
    })
}
