//! SHOW LIMITS: the limits that can be met, what they are, and how often each was.

use super::Row;
use crate::admin::table::{Column, Type, Value};
use crate::config::{Config, entries};
use crate::stats::LimitCounts;

pub(super) const COLUMNS: &[Column] =
    &[Column::new("key", Type::Text), Column::new("value", Type::Text), Column::new("met", Type::Int8)];

pub(super) fn rows(config: &Config, counts: &LimitCounts) -> Vec<Row> {
    let entries = entries(config);
    let value = |key: &str| entries.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.clone());
    let row =
        |key: &str, met: u64| vec![Value::text(key), value(key).map_or(Value::Null, Value::Text), Value::count(met)];
    counts.iter().map(|(limit, met)| row(limit.key(), met)).collect()
}
