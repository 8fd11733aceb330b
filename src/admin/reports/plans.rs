//! SHOW PLANS: how PostgreSQL would run what was slow.

use super::Row;
use crate::admin::table::{Column, Type, Value};
use crate::insight::view::PatternPlan;

pub(super) const COLUMNS: &[Column] = &[
    Column::new("at", Type::Timestamptz),
    Column::new("digest", Type::Text),
    Column::new("database", Type::Text),
    Column::new("cost", Type::Float8),
    Column::further("rows", Type::Float8),
    Column::new("advice", Type::Text),
    Column::new("plan", Type::Text),
    Column::further("error", Type::Text),
    Column::new("query", Type::Text),
];

pub(super) fn row(plan: &PatternPlan) -> Row {
    let known = plan.outcome.as_ref().ok();
    let error = plan.outcome.as_ref().err();
    vec![
        Value::Time(plan.at),
        Value::text(plan.pattern.digest.to_string()),
        Value::text(&*plan.database),
        known.map_or(Value::Null, |plan| Value::Float(plan.cost)),
        known.map_or(Value::Null, |plan| Value::Float(plan.rows)),
        known.map_or(Value::Null, |plan| Value::Text(plan.advice.join(" "))),
        known.map_or_else(
            || error.map_or(Value::Null, |why| Value::Text(format!("none: {why}"))),
            |plan| Value::text(&*plan.shape),
        ),
        error.map_or(Value::Null, Value::text),
        Value::text(&*plan.pattern.text),
    ]
}
