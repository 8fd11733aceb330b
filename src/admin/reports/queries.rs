//! SHOW QUERIES: every pattern, by database and user.

use std::time::Duration;

use super::Row;
use crate::admin::table::{Column, Type, Value};
use crate::insight::view::{self, Summary, Times};

/// How what has no row of its own is called.
pub(super) const OTHER: &str = "<other>";

const fn ms(name: &'static str) -> Column {
    Column::further(name, Type::Float8)
}

const fn count(name: &'static str) -> Column {
    Column::further(name, Type::Int8)
}

pub(super) const COLUMNS: &[Column] = &[
    Column::new("digest", Type::Text),
    Column::new("database", Type::Text),
    Column::new("user", Type::Text),
    Column::further("kind", Type::Text),
    Column::new("calls", Type::Int8),
    Column::new("errors", Type::Int8),
    count("cancelled"),
    count("timed_out"),
    Column::new("rows", Type::Int8),
    Column::new("total_ms", Type::Float8),
    Column::new("share", Type::Float8),
    Column::new("mean_ms", Type::Float8),
    ms("min_ms"),
    ms("max_ms"),
    ms("stddev_ms"),
    ms("p50_ms"),
    ms("p90_ms"),
    Column::new("p95_ms", Type::Float8),
    Column::new("p99_ms", Type::Float8),
    Column::new("wait_ms", Type::Float8),
    ms("wait_p99_ms"),
    ms("server_ms"),
    ms("server_p99_ms"),
    ms("drain_ms"),
    ms("drain_p99_ms"),
    ms("idle_after_ms"),
    count("bytes_in"),
    count("bytes_out"),
    count("in_transaction"),
    count("extended"),
    Column::further("unbounded", Type::Bool),
    Column::further("first_seen", Type::Timestamptz),
    Column::further("last_seen", Type::Timestamptz),
    Column::further("applications", Type::Text),
    Column::further("tags", Type::Text),
    Column::further("sqlstates", Type::Text),
    Column::further("fingerprint", Type::Text),
    Column::further("tables", Type::Text),
    Column::new("query", Type::Text),
];

pub(super) fn rows(summary: &Summary) -> Vec<Row> {
    let all: Duration = summary.rows.iter().map(|row| row.total.sum).sum();
    summary.rows.iter().map(|row| figures(row, all)).collect()
}

/// One row; `all` is the time of all of them together.
fn figures(row: &view::Row, all: Duration) -> Row {
    let pattern = row.pattern.as_deref();
    let Times { sum, min, max, mean, stddev, p50, p90, p95, p99, .. } = row.total;
    vec![
        pattern.map_or(Value::Null, |pattern| Value::text(pattern.digest.to_string())),
        Value::text(&*row.database),
        Value::text(&*row.user),
        pattern.map_or(Value::Null, |pattern| Value::text(pattern.kind.to_string())),
        Value::count(row.calls),
        Value::count(row.errors),
        Value::count(row.cancelled),
        Value::count(row.timed_out),
        Value::count(row.rows),
        Value::millis(sum),
        Value::Float(share(sum, all)),
        Value::millis(mean),
        Value::millis(min),
        Value::millis(max),
        Value::millis(stddev),
        Value::millis(p50),
        Value::millis(p90),
        Value::millis(p95),
        Value::millis(p99),
        Value::millis(row.wait.sum),
        Value::millis(row.wait.p99),
        Value::millis(row.server.sum),
        Value::millis(row.server.p99),
        Value::millis(row.drain.sum),
        Value::millis(row.drain.p99),
        Value::millis(row.idle_after.sum),
        Value::count(row.bytes_in),
        Value::count(row.bytes_out),
        Value::count(row.in_transaction),
        Value::count(row.extended),
        Value::Bool(row.is_unbounded_read()),
        Value::Time(row.first_seen),
        Value::Time(row.last_seen),
        Value::Text(counted(row.applications.iter().map(|one| (one.name.to_string(), one.calls)))),
        Value::Text(counted(row.tags.iter().map(|(key, value, count)| (format!("{key}={value}"), *count)))),
        Value::Text(counted(row.sqlstates.iter().map(|(code, count)| (code.to_string(), *count)))),
        pattern.and_then(|pattern| pattern.fingerprint.as_deref()).map_or(Value::Null, Value::text),
        pattern.map_or(Value::Null, |pattern| {
            let mut tables: Vec<&str> = pattern.writes.iter().chain(&pattern.reads).map(|name| &**name).collect();
            tables.sort_unstable();
            tables.dedup();
            Value::Text(tables.join(", "))
        }),
        Value::text(pattern.map_or(OTHER, |pattern| &*pattern.text)),
    ]
}

/// Of a hundred, to a hundredth.
pub(super) fn share(part: Duration, all: Duration) -> f64 {
    if all.is_zero() { 0.0 } else { (part.as_secs_f64() / all.as_secs_f64() * 10_000.0).round() / 100.0 }
}

/// `web 12, worker 3`
pub(super) fn counted(items: impl Iterator<Item = (String, u64)>) -> String {
    items.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}
