//! SHOW APPLICATIONS: what each application had of each pattern, by database and user.

use std::collections::HashMap;
use std::time::Duration;

use super::Row;
use super::queries::{OTHER, share};
use crate::admin::table::{Column, Type, Value};
use crate::insight::view::Summary;

pub(super) const COLUMNS: &[Column] = &[
    Column::new("application", Type::Text),
    Column::new("digest", Type::Text),
    Column::new("database", Type::Text),
    Column::new("user", Type::Text),
    Column::new("calls", Type::Int8),
    Column::new("errors", Type::Int8),
    Column::new("rows", Type::Int8),
    Column::new("total_ms", Type::Float8),
    Column::new("share", Type::Float8),
    Column::new("mean_ms", Type::Float8),
    Column::new("wait_ms", Type::Float8),
    Column::further("server_ms", Type::Float8),
    Column::further("drain_ms", Type::Float8),
    Column::new("query", Type::Text),
];

pub(super) fn rows(summary: &Summary) -> Vec<Row> {
    let mut all: HashMap<&str, Duration> = HashMap::new();
    for application in summary.rows.iter().flat_map(|row| &row.applications) {
        *all.entry(&application.name).or_default() += application.total();
    }
    let each = summary.rows.iter().flat_map(|row| row.applications.iter().map(move |application| (row, application)));
    let row = |(row, application): (&crate::insight::view::Row, &crate::insight::view::Application)| {
        let (pattern, total) = (row.pattern.as_deref(), application.total());
        let mean = total.div_f64(application.calls.max(1) as f64);
        vec![
            Value::text(&*application.name),
            pattern.map_or(Value::Null, |pattern| Value::text(pattern.digest.to_string())),
            Value::text(&*row.database),
            Value::text(&*row.user),
            Value::count(application.calls),
            Value::count(application.errors),
            Value::count(application.rows),
            Value::millis(total),
            Value::Float(share(total, all.get(&*application.name).copied().unwrap_or_default())),
            Value::millis(mean),
            Value::millis(application.wait),
            Value::millis(application.server),
            Value::millis(application.drain),
            Value::text(pattern.map_or(OTHER, |pattern| &*pattern.text)),
        ]
    };
    each.map(row).collect()
}
