//! What the console can show: each report has its columns, and makes its rows from plain values.
//!
//! | to read about | go to |
//! |---|---|
//! | patterns: all of them, one of them, their sums, what has changed | `queries`, `query`, `summary`, `trends` |
//! | who had which part of them | `applications` |
//! | which share of them is fast enough | `budgets` |
//! | single slow executions, their plans; statements that are repeated | `slow`, `plans`, `repetitions` |
//! | pools, clients, limits | `pools`, `clients`, `limits` |
//! | the configuration; what there is to ask | `settings`, `help` |

mod applications;
mod budgets;
mod clients;
mod help;
mod limits;
mod plans;
mod pools;
mod queries;
mod query;
mod repetitions;
mod settings;
mod slow;
mod summary;
mod trends;

use std::time::Duration;

use super::table::{Column, Type, Value};
use super::{Console, Rights};
use crate::config::Insight;
use crate::wire::build::Fault;

/// A row of a report, in the order of its columns.
pub(super) type Row = Vec<Value>;

/// What can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    Applications,
    Budgets,
    Clients,
    Config,
    Help,
    Limits,
    Plans,
    Pools,
    Queries,
    Query,
    Repetitions,
    Slow,
    Summary,
    Trends,
    Version,
}

/// What a report is made from besides the state of the process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) rights: Rights,
    /// How far back; `None` is since the start.
    pub(super) since: Option<Duration>,
    /// The beginning of a digest, for [`Report::Query`].
    pub(super) digest: &'a str,
}

/// The period of trends where none is asked for.
const HOUR: Duration = Duration::from_secs(3600);
const VERSION: &[Column] = &[Column::new("version", Type::Text)];

impl Report {
    pub(super) const ALL: [Self; 15] = [
        Self::Help,
        Self::Queries,
        Self::Query,
        Self::Applications,
        Self::Slow,
        Self::Repetitions,
        Self::Plans,
        Self::Trends,
        Self::Budgets,
        Self::Summary,
        Self::Pools,
        Self::Clients,
        Self::Limits,
        Self::Config,
        Self::Version,
    ];

    /// What it may be called; the first is its name.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Applications => &["APPLICATIONS"],
            Self::Budgets => &["BUDGETS"],
            Self::Clients => &["CLIENTS"],
            Self::Config => &["CONFIG"],
            Self::Help => &["HELP"],
            Self::Limits => &["LIMITS"],
            Self::Plans => &["PLANS"],
            Self::Pools => &["POOLS"],
            Self::Queries => &["QUERIES"],
            Self::Query => &["QUERY"],
            Self::Repetitions => &["N_PLUS_ONE", "REPETITIONS"],
            Self::Slow => &["SLOW"],
            Self::Summary => &["SUMMARY"],
            Self::Trends => &["TRENDS"],
            Self::Version => &["VERSION"],
        }
    }

    pub(super) fn name(self) -> &'static str {
        self.names().first().copied().unwrap_or_default()
    }

    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Applications => applications::COLUMNS,
            Self::Budgets => budgets::COLUMNS,
            Self::Clients => clients::COLUMNS,
            Self::Config => settings::COLUMNS,
            Self::Help => help::COLUMNS,
            Self::Limits => limits::COLUMNS,
            Self::Plans => plans::COLUMNS,
            Self::Pools => pools::COLUMNS,
            Self::Queries => queries::COLUMNS,
            Self::Query => query::COLUMNS,
            Self::Repetitions => repetitions::COLUMNS,
            Self::Slow => slow::COLUMNS,
            Self::Summary => summary::COLUMNS,
            Self::Trends => trends::COLUMNS,
            Self::Version => VERSION,
        }
    }

    /// The column whose greatest values come first where no order is asked for.
    pub(super) fn greatest_first(self) -> Option<&'static str> {
        match self {
            Self::Applications | Self::Queries => Some("total_ms"),
            Self::Repetitions => Some("wasted_round_trips"),
            Self::Plans => Some("at"),
            Self::Slow => Some("at"),
            Self::Trends => Some("total_ms"),
            _ => None,
        }
    }

    /// Whether it can be of a span of time, by SINCE.
    pub(super) fn has_spans(self) -> bool {
        matches!(self, Self::Applications | Self::Budgets | Self::Queries | Self::Query | Self::Summary | Self::Trends)
    }

    /// Why nothing is counted that it could tell, and which key changes that.
    pub(super) fn is_off(self, config: &Insight) -> Option<&'static str> {
        match self {
            Self::Clients | Self::Config | Self::Help | Self::Limits | Self::Pools | Self::Version => None,
            _ if !config.enabled => {
                Some("insight is off: with insight.enabled = true, from the next start on, statements are counted")
            }
            Self::Plans if !config.plans => {
                Some("plans are off: with insight.plans = true, from the next start on, slow statements are explained")
            }
            _ => None,
        }
    }

    /// All its rows.
    ///
    /// # Errors
    /// Nothing is known of the pattern that is asked for.
    pub(super) fn rows(self, console: &Console, wanted: Wanted<'_>) -> Result<Vec<Row>, Fault> {
        let measured = &console.measured;
        Ok(match self {
            Self::Applications => applications::rows(&measured.summary(wanted.since)),
            Self::Budgets => budgets::rows(&measured.summary(wanted.since)),
            Self::Clients => clients::rows(&console.clients),
            Self::Config => settings::rows(&console.config.current()),
            Self::Help => help::rows(),
            Self::Limits => limits::rows(&console.config.current(), &console.limit_hits.counts()),
            Self::Plans => measured.plans().iter().map(plans::row).collect(),
            Self::Pools => console.pools.snapshots().iter().map(pools::row).collect(),
            Self::Queries => queries::rows(&measured.summary(wanted.since)),
            Self::Query => query::rows(&measured.summary(wanted.since), wanted.digest)?,
            Self::Repetitions => measured.repetitions().iter().map(repetitions::row).collect(),
            Self::Slow => measured.slow().iter().map(|slow| slow::row(slow, wanted.rights)).collect(),
            Self::Summary => vec![summary::row(&measured.summary(wanted.since))],
            Self::Trends => measured.trends(wanted.since.unwrap_or(HOUR)).iter().map(trends::row).collect(),
            Self::Version => vec![vec![Value::text(format!("pgweir {}", env!("CARGO_PKG_VERSION")))]],
        })
    }
}
