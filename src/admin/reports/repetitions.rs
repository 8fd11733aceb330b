//! SHOW N_PLUS_ONE: statements that sessions repeat where one would do.

use super::Row;
use crate::admin::table::{Column, Type, Value};
use crate::insight::view::{Repeated, Repetition};

pub(super) const COLUMNS: &[Column] = &[
    Column::new("kind", Type::Text),
    Column::new("database", Type::Text),
    Column::new("user", Type::Text),
    Column::new("application", Type::Text),
    Column::further("route", Type::Text),
    Column::new("units", Type::Int8),
    Column::new("executions", Type::Int8),
    Column::new("most", Type::Int8),
    Column::new("wasted_round_trips", Type::Int8),
    Column::new("saving_ms", Type::Float8),
    Column::further("first_seen", Type::Timestamptz),
    Column::further("last_seen", Type::Timestamptz),
    Column::further("before_digest", Type::Text),
    Column::new("before", Type::Text),
    Column::new("digest", Type::Text),
    Column::new("query", Type::Text),
    Column::new("advice", Type::Text),
];

pub(super) fn row(repetition: &Repetition) -> Row {
    let before = repetition.before.as_deref();
    vec![
        Value::text(match repetition.kind {
            Repeated::Reads => "reads",
            Repeated::Writes => "writes",
        }),
        Value::text(&*repetition.database),
        Value::text(&*repetition.user),
        Value::text(&*repetition.application),
        repetition.route.as_deref().map_or(Value::Null, Value::text),
        Value::count(repetition.units),
        Value::count(repetition.executions),
        Value::count(repetition.most),
        Value::count(repetition.wasted_round_trips),
        Value::millis(repetition.estimated_saving),
        Value::Time(repetition.first_seen),
        Value::Time(repetition.last_seen),
        before.map_or(Value::Null, |pattern| Value::text(pattern.digest.to_string())),
        before.map_or(Value::Null, |pattern| Value::text(&*pattern.text)),
        Value::text(repetition.pattern.digest.to_string()),
        Value::text(&*repetition.pattern.text),
        Value::text(repetition.advice),
    ]
}
