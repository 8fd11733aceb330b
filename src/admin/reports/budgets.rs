//! SHOW BUDGETS: which share of executions keeps the time that it may take.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Row;
use crate::admin::table::{Column, Type, Value};
use crate::config::Budgets;
use crate::insight::view::Summary;
use crate::sql::Kind;

pub(super) const COLUMNS: &[Column] = &[
    Column::new("kind", Type::Text),
    Column::new("budget_ms", Type::Float8),
    Column::new("database", Type::Text),
    Column::new("user", Type::Text),
    Column::new("calls", Type::Int8),
    Column::new("within", Type::Int8),
    Column::new("share", Type::Float8),
];

/// A row for each budget, database and user. What had no room of its own is of no kind, and not among them.
pub(super) fn rows(summary: &Summary, budgets: &Budgets) -> Vec<Row> {
    let limits = [
        (Kind::Read, budgets.read),
        (Kind::Write, budgets.write),
        (Kind::Ddl, budgets.ddl),
        (Kind::Transaction, budgets.transaction),
        (Kind::Utility, budgets.utility),
    ];
    let mut rows = Vec::new();
    for (kind, limit) in limits {
        let Some(limit) = limit else { continue };
        let mut sums: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
        let of_kind =
            summary.rows.iter().filter(|row| row.pattern.as_ref().is_some_and(|pattern| pattern.kind == kind));
        for row in of_kind {
            let (calls, within) = sums.entry((&row.database, &row.user)).or_default();
            *calls += row.calls;
            *within += row.within_budget.unwrap_or(0);
        }
        rows.extend(sums.into_iter().map(|(place, counts)| figures(kind, limit, place, counts)));
    }
    rows
}

fn figures(kind: Kind, limit: Duration, (database, user): (&str, &str), (calls, within): (u64, u64)) -> Row {
    // In hundredths of a hundredth, which no rounding up makes whole.
    let share = (u128::from(within) * 10_000).checked_div(u128::from(calls)).unwrap_or(0);
    vec![
        Value::text(kind.to_string()),
        Value::millis(limit),
        Value::text(database),
        Value::text(user),
        Value::count(calls),
        Value::count(within),
        Value::Float(f64::from(u32::try_from(share).unwrap_or(u32::MAX)) / 100.0),
    ]
}
