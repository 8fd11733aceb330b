//! Plans of slow patterns: PostgreSQL is asked how it would run them, and what they lack is told as an index.
//!
//! Off unless the configuration asks for it, and only through the control plane. A pattern is asked about at most once
//! in [`PAUSE`]; one plan is asked for at a time; nothing waits for the answer. Texts with values live only in the
//! bounded queue between the slow statement and its plan; what is kept and shown has places instead.
//!
//! | to read about | go to |
//! |---|---|
//! | how PostgreSQL is asked | `explain` |
//! | what a plan says | `shape` (pure) |
//! | which index it lacks | `advice` (pure) |

mod advice;
mod explain;
mod shape;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

pub use advice::{Index, Why};
pub use shape::{Scan, Shape};

use super::view::PatternName;
use crate::config::Host;
use crate::control::{Control, ControlFault};
use crate::sql::{Digest, Kind};

/// Between two questions about one pattern.
pub const PAUSE: Duration = Duration::from_mins(10);
/// Samples that wait, and bytes of one.
const QUEUE: usize = 16;
const LONGEST: usize = 64 * 1024;
/// Plans that are kept, and patterns whose last question is remembered.
const KEPT: usize = 500;

/// A statement as it was sent, and where.
#[derive(Debug, Clone)]
pub struct Sent {
    pub hosts: Vec<Host>,
    /// As the server knows it.
    pub database: Box<str>,
    /// Where it is not the server's default.
    pub search_path: Option<Box<str>>,
    pub text: Box<str>,
    /// Type of each parameter, 0 where PostgreSQL is to find it; empty for a statement without any.
    pub parameters: Vec<u32>,
}

/// A slow statement whose plan is wanted. Database and user are those of reports.
#[derive(Debug, Clone)]
pub struct Sample {
    pub pattern: Arc<PatternName>,
    pub database: Arc<str>,
    pub user: Arc<str>,
    pub sent: Sent,
}

/// What PostgreSQL said of a pattern when it was asked last.
#[derive(Debug, Clone)]
pub struct Plan {
    pub at: SystemTime,
    pub pattern: Arc<PatternName>,
    pub database: Arc<str>,
    pub user: Arc<str>,
    pub outcome: Result<(Shape, Vec<Index>), PlanFault>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanFault {
    #[error("there is no [control] in the configuration")]
    Off,
    #[error("PostgreSQL could not be asked")]
    Away,
    #[error("PostgreSQL did not answer in time")]
    TooLate,
    #[error("PostgreSQL refused with SQLSTATE {0}")]
    Refused(String),
    #[error("{0}")]
    Unexplained(&'static str),
}

type Asked = (Digest, Arc<str>, Arc<str>);

/// See the module. One for the process.
#[derive(Debug, Default)]
pub struct Plans {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Sample>,
    asked: HashMap<Asked, Instant>,
    kept: VecDeque<Plan>,
}

impl Plans {
    /// Whether a slow statement of this pattern is to be [offered](Self::offer); its text need not be copied otherwise.
    #[must_use]
    pub fn wants(&self, pattern: &PatternName, database: &Arc<str>, user: &Arc<str>, now: Instant) -> bool {
        if !matches!(pattern.kind, Kind::Read | Kind::Write) {
            return false;
        }
        let state = self.state.lock();
        let key = (pattern.digest, Arc::clone(database), Arc::clone(user));
        let rested = state.asked.get(&key).is_none_or(|at| now.saturating_duration_since(*at) >= PAUSE);
        rested && state.queue.len() < QUEUE
    }

    /// Has a statement explained soon. Nothing happens where it was not wanted, is too long, or is none that has a plan.
    pub fn offer(&self, sample: Sample, now: Instant) {
        let first = crate::sql::first_word(sample.sent.text.as_bytes()).to_ascii_lowercase();
        let has_plan = matches!(
            &*first,
            b"select" | b"insert" | b"update" | b"delete" | b"merge" | b"with" | b"values" | b"table"
        ) || sample.sent.text.trim_start().starts_with('(');
        if !has_plan
            || sample.sent.text.len() > LONGEST
            || !self.wants(&sample.pattern, &sample.database, &sample.user, now)
        {
            return;
        }
        let mut state = self.state.lock();
        if state.asked.len() >= KEPT {
            state.asked.retain(|_, at| now.saturating_duration_since(*at) < PAUSE);
        }
        if state.asked.len() >= KEPT {
            return;
        }
        let key = (sample.pattern.digest, Arc::clone(&sample.database), Arc::clone(&sample.user));
        state.asked.insert(key, now);
        state.queue.push_back(sample);
        drop(state);
        self.arrived.notify_one();
    }

    /// The plans that are known, the latest first.
    #[must_use]
    pub fn list(&self) -> Vec<Plan> {
        self.state.lock().kept.iter().rev().cloned().collect()
    }

    /// Asks for what is offered, one after the other, for ever.
    pub async fn work(&self, control: &Control) {
        loop {
            let next = self.state.lock().queue.pop_front();
            match next {
                Some(sample) => self.ask(control, sample).await,
                None => self.arrived.notified().await,
            }
        }
    }

    async fn ask(&self, control: &Control, sample: Sample) {
        let outcome = timeout(explain::PATIENCE, visit(control, &sample)).await.unwrap_or(Err(PlanFault::TooLate));
        let Sample { pattern, database, user, .. } = sample;
        if let Err(fault) = &outcome {
            tracing::debug!(digest = %pattern.digest, %database, %user, %fault, "no plan");
        }
        let plan = Plan { at: SystemTime::now(), pattern, database, user, outcome };
        let mut state = self.state.lock();
        let same = |other: &Plan| {
            (other.pattern.digest, &other.database, &other.user) == (plan.pattern.digest, &plan.database, &plan.user)
        };
        state.kept.retain(|other| !same(other));
        if state.kept.len() >= KEPT {
            state.kept.pop_front();
        }
        state.kept.push_back(plan);
    }
}

async fn visit(control: &Control, sample: &Sample) -> Result<(Shape, Vec<Index>), PlanFault> {
    if !control.is_on() {
        return Err(PlanFault::Off);
    }
    if !control.looks_at(&sample.sent.hosts) {
        return Err(PlanFault::Unexplained("its database is on another server than that of [control]"));
    }
    let mut client = control.visit(&sample.sent.database).await.map_err(|fault| match fault {
        ControlFault::Off => PlanFault::Off,
        ControlFault::TooLate(_) => PlanFault::TooLate,
        ControlFault::Postgres(error) => PlanFault::from(error),
        ControlFault::Pool(_) => PlanFault::Away,
    })?;
    explain::explain(&mut client, sample).await
}
