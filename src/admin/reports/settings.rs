//! SHOW CONFIG: every key, what holds for it, and what would hold if nobody had written it.

use super::Row;
use crate::admin::table::{Column, Type, Value};
use crate::config::{Config, entries};

pub(super) const COLUMNS: &[Column] = &[
    Column::new("key", Type::Text),
    Column::new("value", Type::Text),
    Column::new("default", Type::Text),
    Column::new("live", Type::Bool),
    Column::further("meaning", Type::Text),
];

pub(super) fn rows(config: &Config) -> Vec<Row> {
    let text = |text: Option<String>| text.map_or(Value::Null, Value::Text);
    let row = |entry: crate::config::Entry| {
        vec![
            Value::Text(entry.key),
            text(entry.value),
            text(entry.default),
            Value::Bool(entry.live),
            Value::text(entry.meaning),
        ]
    };
    entries(config).into_iter().map(row).collect()
}
