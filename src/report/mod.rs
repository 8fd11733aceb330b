//! What a running pgweir has seen, for people and programs: `pgweir report`.
//!
//! It asks the console of a pgweir that runs somewhere, as any client would, and writes the answer. It measures nothing
//! and judges nothing; what is slow or repeated is `insight`'s to say.
//!
//! `ask` finds the way and asks, [`found`] holds the answer, [`figures`] writes numbers; `terminal`, `markdown`,
//! `page` and `data` are the forms that it can have; `selection` sums up what a narrower report is of.

mod ask;
mod data;
pub mod figures;
pub mod found;
mod markdown;
mod page;
mod selection;
mod terminal;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use crate::config::Sources;
use found::Found;

/// Columns where nobody says how many there are.
const NO_TERMINAL: usize = 140;

/// What somebody wants to know.
#[derive(Debug, Clone)]
pub struct Wish {
    pub by: By,
    /// Patterns that are listed.
    pub top: usize,
    /// How far back; `None` is since pgweir started.
    pub since: Option<Duration>,
    pub database: Option<String>,
    pub user: Option<String>,
    pub application: Option<String>,
}

/// What patterns are listed by, the greatest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    Total,
    Mean,
    P95,
    P99,
    Calls,
    Rows,
    Errors,
    Wait,
}

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a terminal.
    Table,
    /// Everything, times in milliseconds.
    Json,
    /// The patterns alone, times in milliseconds.
    Csv,
    Markdown,
    /// One page that needs nothing else.
    Html,
}

/// Asks the pgweir that `sources` name, and writes what it answers, for `width` columns where that matters.
///
/// A URL without a file is pgweir's own address; otherwise it is the pgweir that runs with this configuration.
///
/// # Errors
/// A sentence that says what to do: pgweir cannot be reached, does not let us in, or is too old.
pub async fn run(sources: &Sources, wish: &Wish, format: Format, width: usize) -> anyhow::Result<String> {
    let way = ask::way(sources)?;
    let client = ask::enter(&way).await?;
    let found = ask::found(&client, wish).await?;
    Ok(written(&found, wish, format, width))
}

/// Columns of the terminal that is written to; many where there is none.
#[must_use]
pub fn terminal_width() -> usize {
    terminal_size::terminal_size().map_or(NO_TERMINAL, |(width, _)| usize::from(width.0))
}

/// A report in one of its forms, for `width` columns where that matters.
#[must_use]
pub fn written(found: &Found, wish: &Wish, format: Format, width: usize) -> String {
    match format {
        Format::Table => terminal::written(found, wish, width),
        Format::Json => data::json(found),
        Format::Csv => data::csv(&found.patterns),
        Format::Markdown => markdown::written(found, wish),
        Format::Html => page::written(found, wish),
    }
}

/// What a report is about, in one line: `since 2026-01-31 12:00:00 UTC (1 h 2 min)`.
fn span(found: &Found) -> String {
    let Some(summary) = found.summary.iter().next() else { return "nothing was measured".to_owned() };
    match (summary.time("since"), summary.time("until")) {
        (Some(since), Some(until)) => {
            let lasted = until.duration_since(since).unwrap_or_default();
            format!("since {} ({})", moment(since), figures::time(Duration::from_secs(lasted.as_secs())))
        }
        _ => "nothing was measured yet".to_owned(),
    }
}

/// `2026-01-31 12:00:00 UTC`
fn moment(time: SystemTime) -> String {
    format!("{} UTC", humantime::format_rfc3339_seconds(time).to_string().trim_end_matches('Z').replace('T', " "))
}

/// The sums, in sentences: what was called, and what its time went into.
fn sums(found: &Found) -> Option<String> {
    let summary = found.summary.iter().next()?;
    let (calls, patterns) = (summary.count("calls"), summary.count("patterns"));
    let errors = match summary.count("errors") {
        0 => "no errors".to_owned(),
        1 => "1 error".to_owned(),
        errors => format!("{} errors", figures::count(errors)),
    };
    let time = |name| figures::millis(summary.float(name));
    Some(format!(
        "{} {} of {} {}, {errors}, {}: {} in PostgreSQL, {} waiting for a backend, {} until clients had read",
        figures::count(calls),
        if calls == 1 { "call" } else { "calls" },
        figures::count(patterns),
        if patterns == 1 { "pattern" } else { "patterns" },
        time("total_ms"),
        time("server_ms"),
        time("wait_ms"),
        time("drain_ms"),
    ))
}

impl By {
    fn words(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Errors => "errors",
            Self::Mean => "mean time",
            Self::P95 => "95th percentile",
            Self::P99 => "99th percentile",
            Self::Rows => "rows",
            Self::Total => "total time",
            Self::Wait => "time waiting",
        }
    }
}

/// What was narrowed down to, as in ` of shop, by web`.
fn narrowed(wish: &Wish) -> String {
    let mut text = String::new();
    for (word, name) in [("in", &wish.database), ("by", &wish.user), ("from", &wish.application)] {
        if let Some(name) = name {
            text.push_str(&format!(", {word} {name}"));
        }
    }
    text
}
