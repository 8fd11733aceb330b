//! SHOW TRENDS: what is not as it was in the span of time before.

use super::Row;
use super::queries::OTHER;
use crate::admin::table::{Column, Type, Value};
use crate::insight::view::{Change, Trend};

pub(super) const COLUMNS: &[Column] = &[
    Column::new("change", Type::Text),
    Column::new("digest", Type::Text),
    Column::new("database", Type::Text),
    Column::new("user", Type::Text),
    Column::new("calls", Type::Int8),
    Column::new("calls_before", Type::Int8),
    Column::new("mean_ms", Type::Float8),
    Column::new("mean_before_ms", Type::Float8),
    Column::new("p95_ms", Type::Float8),
    Column::new("p95_before_ms", Type::Float8),
    Column::new("total_ms", Type::Float8),
    Column::further("total_before_ms", Type::Float8),
    Column::new("query", Type::Text),
];

pub(super) fn row(trend: &Trend) -> Row {
    let Trend { change, now, before } = trend;
    let before = before.as_ref();
    let pattern = now.pattern.as_deref();
    vec![
        Value::text(match change {
            Change::New => "new",
            Change::Slower => "slower",
            Change::MoreFrequent => "more frequent",
        }),
        pattern.map_or(Value::Null, |pattern| Value::text(pattern.digest.to_string())),
        Value::text(&*now.database),
        Value::text(&*now.user),
        Value::count(now.calls),
        Value::count(before.map_or(0, |before| before.calls)),
        Value::millis(now.total.mean),
        before.map_or(Value::Null, |before| Value::millis(before.total.mean)),
        Value::millis(now.total.p95),
        before.map_or(Value::Null, |before| Value::millis(before.total.p95)),
        Value::millis(now.total.sum),
        before.map_or(Value::Null, |before| Value::millis(before.total.sum)),
        Value::text(pattern.map_or(OTHER, |pattern| &*pattern.text)),
    ]
}
