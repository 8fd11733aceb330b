//! SHOW SLOW: single executions that took longer than their threshold.

use super::Row;
use crate::admin::Rights;
use crate::admin::table::{Column, Type, Value};
use crate::insight::view::Slow;

/// What stands for bound values that whoever asks may not see.
const HIDDEN: &str = "<insufficient privilege>";

pub(super) const COLUMNS: &[Column] = &[
    Column::new("at", Type::Timestamptz),
    Column::new("database", Type::Text),
    Column::new("user", Type::Text),
    Column::new("application", Type::Text),
    Column::further("client", Type::Int8),
    Column::new("total_ms", Type::Float8),
    Column::new("wait_ms", Type::Float8),
    Column::new("server_ms", Type::Float8),
    Column::new("drain_ms", Type::Float8),
    Column::new("rows", Type::Int8),
    Column::further("together", Type::Int8),
    Column::new("sqlstate", Type::Text),
    Column::further("tags", Type::Text),
    Column::further("parameters", Type::Text),
    Column::new("digest", Type::Text),
    Column::new("query", Type::Text),
];

pub(super) fn row(slow: &Slow, rights: Rights) -> Row {
    let tags: Vec<String> = slow.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let parameters = match (&slow.parameters, rights) {
        (None, _) => Value::Null,
        (Some(_), Rights::Look) => Value::text(HIDDEN),
        (Some(values), Rights::All) => Value::Text(listed(values)),
    };
    vec![
        Value::Time(slow.at),
        Value::text(&*slow.database),
        Value::text(&*slow.user),
        Value::text(&*slow.application),
        Value::Int(slow.client.into()),
        Value::millis(slow.wait + slow.server + slow.drain),
        Value::millis(slow.wait),
        Value::millis(slow.server),
        Value::millis(slow.drain),
        Value::count(slow.rows),
        Value::Int(slow.together.into()),
        slow.sqlstate.as_deref().map_or(Value::Null, Value::text),
        Value::Text(tags.join(", ")),
        parameters,
        Value::text(slow.pattern.digest.to_string()),
        Value::text(&*slow.pattern.text),
    ]
}

/// `$1 = 'it''s', $2 = NULL`, as PostgreSQL's own log has it.
fn listed(values: &[Option<Box<str>>]) -> String {
    let one = |(index, value): (usize, &Option<Box<str>>)| match value {
        Some(text) => format!("${} = '{}'", index + 1, text.replace('\'', "''")),
        None => format!("${} = NULL", index + 1),
    };
    values.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
}
