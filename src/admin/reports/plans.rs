//! SHOW PLANS: how PostgreSQL would run slow statements, and the index that they lack.

use super::Row;
use crate::admin::table::{Column, Type, Value};
use crate::insight::plans::{Index, Plan, Why};

pub(super) const COLUMNS: &[Column] = &[
    Column::new("at", Type::Timestamptz),
    Column::new("database", Type::Text),
    Column::new("user", Type::Text),
    Column::new("cost", Type::Float8),
    Column::new("advice", Type::Text),
    Column::further("reason", Type::Text),
    Column::further("cost_with_it", Type::Float8),
    Column::new("plan", Type::Text),
    Column::new("fault", Type::Text),
    Column::new("digest", Type::Text),
    Column::new("query", Type::Text),
];

pub(super) fn row(plan: &Plan) -> Row {
    let (shape, indexes, fault) = match &plan.outcome {
        Ok((shape, indexes)) => (Some(shape), indexes.as_slice(), Value::Null),
        Err(fault) => (None, &[][..], Value::Text(fault.to_string())),
    };
    let each = |write: fn(&Index) -> String| match indexes {
        [] => Value::Null,
        some => Value::Text(some.iter().map(write).collect::<Vec<_>>().join("; ")),
    };
    let least = indexes.iter().filter_map(|index| index.cost_with_it).min_by(f64::total_cmp);
    vec![
        Value::Time(plan.at),
        Value::text(&*plan.database),
        Value::text(&*plan.user),
        shape.map_or(Value::Null, |shape| Value::Float(shape.cost)),
        each(Index::command),
        each(|index| {
            let reason = match index.why {
                Why::Filter => "the table is large and read whole for few of its rows",
                Why::Order => "the table is large and read whole to sort it for a limit",
            };
            reason.to_owned()
        }),
        least.map_or(Value::Null, Value::Float),
        shape.map_or(Value::Null, |shape| Value::text(shape.text.trim_end())),
        fault,
        Value::text(plan.pattern.digest.to_string()),
        Value::text(&*plan.pattern.text),
    ]
}
