//! What reports are made of: plain values, of one moment, owned by whoever asked.
//!
//! No value of a statement's literals stands here, but in [`Slow::parameters`] where the configuration asks for them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::sql::{Digest, Kind, Shape};

/// Everything that was counted in a span of time.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Since when; `None` where nothing was counted yet.
    pub since: Option<SystemTime>,
    pub until: Option<SystemTime>,
    /// Each (pattern, database, user) once, in no order; what was folded together has [`Row::pattern`] `None`.
    pub rows: Vec<Row>,
    /// Patterns that had to make room, and were added to the row without a pattern.
    pub folded: u64,
    /// Statements that pgweir itself sent on behalf of sessions.
    pub own_statements: u64,
}

/// A pattern as reports name it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PatternName {
    pub digest: Digest,
    /// libpg_query's; `None` where the text does not parse.
    pub fingerprint: Option<Box<str>>,
    /// Normalised: places for literals, no comments.
    pub text: Box<str>,
    pub kind: Kind,
    /// Tables as they are written in the statement.
    pub reads: Box<[Box<str>]>,
    pub writes: Box<[Box<str>]>,
    pub shape: Shape,
}

/// The executions of one pattern in one database by one user.
#[derive(Debug, Clone)]
pub struct Row {
    /// `None` is all that had no room of their own: `<other>`.
    pub pattern: Option<Arc<PatternName>>,
    pub database: Arc<str>,
    pub user: Arc<str>,
    /// Executions, failed ones included.
    pub calls: u64,
    pub errors: u64,
    /// Errors by SQLSTATE, the most frequent first.
    pub sqlstates: Vec<(Box<str>, u64)>,
    /// Of the errors: by a cancel request; by a timeout.
    pub cancelled: u64,
    pub timed_out: u64,
    /// From command tags.
    pub rows: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Waiting for a backend; the server's work; the client's slowness in reading the answer; all of them together.
    pub wait: Times,
    pub server: Times,
    pub drain: Times,
    pub total: Times,
    /// What its executions should take, and how many of them kept to that; `None` where nothing is said.
    pub budget: Option<Budget>,
    /// Executions within a transaction block; by the extended protocol.
    pub in_transaction: u64,
    pub extended: u64,
    /// Time that a transaction was idle after this statement.
    pub idle_after: Times,
    pub first_seen: SystemTime,
    pub last_seen: SystemTime,
    /// The most frequent first, and last, as `<other>`, what all others had: the sum is that of the row.
    pub applications: Vec<Application>,
    /// The most frequent of the sqlcommenter tags that may be shown: key, value, how often.
    pub tags: Vec<(Box<str>, Box<str>, u64)>,
}

/// What one application had of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    pub name: Box<str>,
    pub calls: u64,
    pub errors: u64,
    pub rows: u64,
    pub wait: Duration,
    pub server: Duration,
    pub drain: Duration,
}

/// A bound on times, and who keeps to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub class: Class,
    pub most: Duration,
    /// Executions that took no longer.
    pub kept: u64,
}

/// What budgets are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    Read,
    List,
    Write,
}

impl Application {
    #[must_use]
    pub fn total(&self) -> Duration {
        self.wait + self.server + self.drain
    }
}

impl Row {
    /// Whether it reads so much without a LIMIT that it is likely to read ever more: a thousand rows each time.
    #[must_use]
    pub fn is_unbounded_read(&self) -> bool {
        let Some(pattern) = &self.pattern else { return false };
        let reads = pattern.kind == Kind::Read && pattern.shape.returns_rows && !pattern.shape.limited;
        let succeeded = self.calls.saturating_sub(self.errors);
        reads && !pattern.reads.is_empty() && succeeded > 0 && self.rows / succeeded >= 1000
    }
}

/// What is not as it was in the span of time before.
#[derive(Debug, Clone)]
pub struct Trend {
    pub change: Change,
    pub now: Row,
    /// `None` where it was not executed then.
    pub before: Option<Row>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was never executed before.
    New,
    Slower,
    MoreFrequent,
}

/// A distribution of times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    pub count: u64,
    pub sum: Duration,
    pub min: Duration,
    pub max: Duration,
    pub mean: Duration,
    pub stddev: Duration,
    pub p50: Duration,
    pub p90: Duration,
    pub p95: Duration,
    pub p99: Duration,
}

/// One execution that took longer than its threshold.
#[derive(Debug, Clone)]
pub struct Slow {
    pub at: SystemTime,
    pub pattern: Arc<PatternName>,
    pub database: Arc<str>,
    pub user: Arc<str>,
    pub application: Box<str>,
    /// The process ID that the client was told.
    pub client: i32,
    pub wait: Duration,
    pub server: Duration,
    pub drain: Duration,
    pub rows: u64,
    /// Statements that share the server's time with it; 1 where it was alone.
    pub together: u16,
    /// `None` where it succeeded.
    pub sqlstate: Option<Box<str>>,
    pub tags: Vec<(Box<str>, Box<str>)>,
    /// Bound values as text, `None` each for NULL or what is no text; only where `insight.sample_parameters` is on.
    pub parameters: Option<Vec<Option<Box<str>>>>,
}

/// A statement that sessions repeat where one would do.
#[derive(Debug, Clone)]
pub struct Repetition {
    pub kind: Repeated,
    /// What is repeated, and what came just before the first of them.
    pub pattern: Arc<PatternName>,
    pub before: Option<Arc<PatternName>>,
    pub database: Arc<str>,
    pub user: Arc<str>,
    pub application: Box<str>,
    /// sqlcommenter's route or controller, where present.
    pub route: Option<Box<str>>,
    /// Units of work (transactions, or bursts without pauses) in which it happened; executions in them; the most in one.
    pub units: u64,
    pub executions: u64,
    pub most: u64,
    /// Round trips beyond one per unit, and the time they took.
    pub wasted_round_trips: u64,
    pub estimated_saving: Duration,
    pub first_seen: SystemTime,
    pub last_seen: SystemTime,
    /// What to do about it, in a sentence.
    pub advice: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    /// Reads, one row at a time: N+1.
    Reads,
    /// Single-row writes.
    Writes,
}

impl Repeated {
    /// What to do about it, whether or not another statement came before the first of them.
    #[must_use]
    pub fn advice(self, after_another: bool) -> &'static str {
        match self {
            Self::Reads if after_another => {
                "Read all of them with one statement, by a join or = ANY($1): in a mapper, load the relation eagerly."
            }
            // A benchmark and a poller do the same as a loop over keys.
            Self::Reads => {
                "No other statement led to these. If the program loops over keys that it has, read them with = ANY($1); \
                 if it waits for something, let it ask less often, or LISTEN."
            }
            Self::Writes => {
                "Write many rows with one statement, by several VALUES, unnest or COPY, or send them as one pipeline."
            }
        }
    }
}

/// How PostgreSQL would run a pattern.
#[derive(Debug, Clone)]
pub struct PatternPlan {
    pub at: SystemTime,
    pub pattern: Arc<PatternName>,
    pub database: Arc<str>,
    /// Or why that is not known, in words for the operator.
    pub outcome: Result<Plan, String>,
}

/// A plan for any values.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Estimated, in PostgreSQL's units.
    pub cost: f64,
    /// Estimated.
    pub rows: f64,
    /// A line for each step, indented below the one that it serves.
    pub shape: String,
    /// A sentence for each table that is read whole and need not be.
    pub advice: Vec<String>,
}
