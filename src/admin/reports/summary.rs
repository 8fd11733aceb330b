//! SHOW SUMMARY: the sums of all patterns, in one row.

use std::time::{Duration, SystemTime};

use super::Row;
use crate::admin::table::{Column, Type, Value};
use crate::insight::view::{self, Summary};

pub(super) const COLUMNS: &[Column] = &[
    Column::new("since", Type::Timestamptz),
    Column::new("until", Type::Timestamptz),
    Column::new("patterns", Type::Int8),
    Column::new("folded", Type::Int8),
    Column::new("calls", Type::Int8),
    Column::new("errors", Type::Int8),
    Column::new("rows", Type::Int8),
    Column::new("total_ms", Type::Float8),
    Column::new("wait_ms", Type::Float8),
    Column::new("server_ms", Type::Float8),
    Column::new("drain_ms", Type::Float8),
    Column::new("own_statements", Type::Int8),
];

pub(super) fn row(summary: &Summary) -> Row {
    let count = |of: fn(&view::Row) -> u64| Value::count(summary.rows.iter().map(of).sum());
    let time = |of: fn(&view::Row) -> Duration| Value::millis(summary.rows.iter().map(of).sum());
    let moment = |time: Option<SystemTime>| time.map_or(Value::Null, Value::Time);
    vec![
        moment(summary.since),
        moment(summary.until),
        Value::size(summary.rows.iter().filter(|row| row.pattern.is_some()).count()),
        Value::count(summary.folded),
        count(|row| row.calls),
        count(|row| row.errors),
        count(|row| row.rows),
        time(|row| row.total.sum),
        time(|row| row.wait.sum),
        time(|row| row.server.sum),
        time(|row| row.drain.sum),
        Value::count(summary.own_statements),
    ]
}
