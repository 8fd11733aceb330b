//! SHOW BUDGETS: which share of executions is as fast as the configuration wants them, by class, database and user.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Row;
use crate::admin::table::{Column, Type, Value};
use crate::insight::view::{Class, PatternName, Summary};

pub(super) const COLUMNS: &[Column] = &[
    Column::new("class", Type::Text),
    Column::new("database", Type::Text),
    Column::new("user", Type::Text),
    Column::new("budget_ms", Type::Float8),
    Column::new("calls", Type::Int8),
    Column::new("kept", Type::Int8),
    Column::new("kept_percent", Type::Float8),
    Column::new("worst_digest", Type::Text),
    Column::new("worst_query", Type::Text),
];

#[derive(Default)]
struct Kept<'a> {
    budget: Duration,
    calls: u64,
    kept: u64,
    /// The pattern that breaks it most often, and how often.
    worst: Option<(u64, &'a PatternName)>,
}

/// To a hundredth, and never a hundred where one is missing.
fn percent(kept: u64, calls: u64) -> f64 {
    (kept as f64 * 10_000.0 / calls.max(1) as f64).floor() / 100.0
}

pub(super) fn rows(summary: &Summary) -> Vec<Row> {
    let mut all: BTreeMap<(Class, &Arc<str>, &Arc<str>), Kept<'_>> = BTreeMap::new();
    for row in &summary.rows {
        let (Some(budget), Some(pattern)) = (row.budget, &row.pattern) else { continue };
        let kept = all.entry((budget.class, &row.database, &row.user)).or_default();
        kept.budget = budget.most;
        kept.calls += row.calls;
        kept.kept += budget.kept;
        let broken = row.calls.saturating_sub(budget.kept);
        if broken > kept.worst.map_or(0, |(most, _)| most) {
            kept.worst = Some((broken, pattern));
        }
    }
    let row = |((class, database, user), kept): ((Class, &Arc<str>, &Arc<str>), Kept<'_>)| {
        let worst = kept.worst.map(|(_, pattern)| pattern);
        vec![
            Value::text(match class {
                Class::List => "list",
                Class::Read => "read",
                Class::Write => "write",
            }),
            Value::text(&**database),
            Value::text(&**user),
            Value::millis(kept.budget),
            Value::count(kept.calls),
            Value::count(kept.kept),
            Value::Float(percent(kept.kept, kept.calls)),
            worst.map_or(Value::Null, |pattern| Value::text(pattern.digest.to_string())),
            worst.map_or(Value::Null, |pattern| Value::text(&*pattern.text)),
        ]
    };
    all.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn a_hundred_per_cent_is_all_of_them() {
        assert_eq!([percent(3, 3), percent(999_999, 1_000_000), percent(1, 3)], [100.0, 99.99, 33.33]);
    }
}
