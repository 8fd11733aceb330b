//! Plans of slow patterns: PostgreSQL is asked how it would run them, and what they lack is told as an index.
//!
//! Off unless the configuration asks for it, and only through the control plane. A pattern is asked about at most once
//! in ten minutes; one plan is asked for at a time; nothing waits for the answer. Texts with values live only until their
//! plan is known; what is kept and shown has places instead. A statement that was not sampled (one of several in a text)
//! is asked about as a pattern, without values.
//!
//! | to read about | go to |
//! |---|---|
//! | how PostgreSQL is asked | `explain` |
//! | what a plan says | `shape`, and each of its steps: `step` (pure) |
//! | which index it lacks | `advice` (pure) |
//! | what to say of filters that such an index does not serve | `filters` (pure) |

mod advice;
mod explain;
mod filters;
mod shape;
mod step;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::view::{PatternName, PatternPlan, Plan};
use crate::config::{Live, Target};
use crate::control::Control;
use crate::sql::{Digest, Kind, first_word};

/// Between two questions about one pattern.
const PAUSE: Duration = Duration::from_mins(10);
/// For all that is asked about one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Samples that wait.
const QUEUE: usize = 16;
/// Patterns whose last question is remembered.
const PATTERNS: usize = 10_000;
/// First words of what EXPLAIN takes.
const EXPLAINED: [&str; 8] = ["DELETE", "INSERT", "MERGE", "SELECT", "TABLE", "UPDATE", "VALUES", "WITH"];

/// A statement as it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
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
    /// Where it is not known, the pattern is asked about.
    pub sent: Option<Sent>,
}

/// A pattern in a database.
type Asked = (Digest, Arc<str>);

/// See the module. One for the process.
#[derive(Debug)]
pub struct Plans {
    limit: usize,
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Sample>,
    asked: HashMap<Asked, Instant>,
    kept: VecDeque<PatternPlan>,
}

impl Plans {
    /// Keeps at most `limit` plans.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default(), arrived: Notify::new() }
    }

    /// Has a statement explained soon. Nothing happens where its pattern has no plan or was asked about lately, or where
    /// too many wait.
    pub fn offer(&self, sample: Sample, now: Instant) {
        if !matches!(sample.pattern.kind, Kind::Read | Kind::Write) || !has_a_plan(&sample.pattern.text) {
            return;
        }
        let mut state = self.state.lock();
        let key = (sample.pattern.digest, Arc::clone(&sample.database));
        let rests = |at: &Instant| now.saturating_duration_since(*at) < PAUSE;
        if state.asked.len() >= PATTERNS {
            state.asked.retain(|_, at| rests(at));
        }
        if state.queue.len() >= QUEUE || state.asked.len() >= PATTERNS || state.asked.get(&key).is_some_and(rests) {
            return;
        }
        state.asked.insert(key, now);
        state.queue.push_back(sample);
        drop(state);
        self.arrived.notify_one();
    }

    /// The plans that are known, the latest first.
    #[must_use]
    pub fn all(&self) -> Vec<PatternPlan> {
        self.state.lock().kept.iter().rev().cloned().collect()
    }

    /// Asks for what is offered, one after the other, for ever.
    pub async fn work(&self, control: &Control, config: &Live) -> Infallible {
        loop {
            let next = self.state.lock().queue.pop_front();
            match next {
                Some(sample) => self.ask(control, config, sample).await,
                None => self.arrived.notified().await,
            }
        }
    }

    async fn ask(&self, control: &Control, config: &Live, sample: Sample) {
        let place = config.current().database_for(&sample.database);
        let outcome = match place {
            Some(place) => timeout(PATIENCE, visit(control, &place, &sample))
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}"))),
            None => Err("the database is not in the configuration any more".to_owned()),
        };
        let Sample { pattern, database, .. } = sample;
        let mut state = self.state.lock();
        state.kept.retain(|other| (other.pattern.digest, &other.database) != (pattern.digest, &database));
        if state.kept.len() >= self.limit {
            state.kept.pop_front();
        }
        state.kept.push_back(PatternPlan { at: SystemTime::now(), pattern, database, outcome });
    }
}

/// Whether EXPLAIN takes a statement: COPY and TRUNCATE read and write, too, but would be an error in the server's log.
fn has_a_plan(text: &str) -> bool {
    let word = first_word(text.trim_start_matches('(').as_bytes());
    EXPLAINED.iter().any(|explained| word.eq_ignore_ascii_case(explained.as_bytes()))
}

async fn visit(control: &Control, place: &Target, sample: &Sample) -> Result<Plan, String> {
    let connected = control.connect_to(&place.hosts, &place.dbname).await;
    explain::explain(&mut connected.map_err(|fault| fault.to_string())?, sample).await
}

#[cfg(test)]
mod tests {
    use super::has_a_plan;

    #[test]
    fn only_what_explain_takes_is_explained() {
        for text in ["select $1", "((select a from t) union (table u))", "With x AS (SELECT $1) DELETE FROM t"] {
            assert!(has_a_plan(text), "{text}");
        }
        for text in ["copy t to stdout", "TRUNCATE t", "execute s ($1)", "explain select $1", "lock t", ""] {
            assert!(!has_a_plan(text), "{text}");
        }
    }
}
