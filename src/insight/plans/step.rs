//! One step of a plan, as JSON tells it.

use serde_json::Value;

use super::shape::qualified;

/// What a text EXPLAIN calls it, with what it works on.
pub(super) fn title(step: &Value) -> String {
    let mut title = String::new();
    if is_parallel(step) {
        title.push_str("Parallel ");
    }
    let phase = text(step, "Partial Mode");
    if !matches!(phase, "" | "Simple") {
        title += &format!("{phase} ");
    }
    title.push_str(name(step));
    let join = text(step, "Join Type");
    if !matches!(join, "" | "Inner") {
        title.truncate(title.trim_end_matches(" Join").len());
        title += &format!(" {join} Join");
    }
    if text(step, "Scan Direction") == "Backward" {
        title.push_str(" Backward");
    }
    if let Some(index) = step.get("Index Name").and_then(Value::as_str) {
        let word = if text(step, "Node Type") == "Bitmap Index Scan" { "on" } else { "using" };
        title += &format!(" {word} {index}");
    }
    if let Some(table) = step.get("Relation Name").and_then(Value::as_str) {
        title += &format!(" on {}", qualified(text(step, "Schema"), table));
        let alias = text(step, "Alias");
        if !alias.is_empty() && alias != table {
            title += &format!(" {alias}");
        }
    }
    title
}

fn name(step: &Value) -> &str {
    match (text(step, "Node Type"), text(step, "Strategy")) {
        ("Aggregate", "Hashed") => "HashAggregate",
        ("Aggregate", "Mixed") => "MixedAggregate",
        ("Aggregate", "Sorted") => "GroupAggregate",
        ("ModifyTable", _) => text(step, "Operation"),
        ("SetOp", "Hashed") => "HashSetOp",
        (kind, _) => kind,
    }
}

/// The rows that are expected of it from all processes together, where a step above divides them into so many shares.
pub(super) fn rows(step: &Value, shares: f64) -> f64 {
    number(step, "Plan Rows") * if is_divided(step) { shares } else { 1.0 }
}

/// Into how many shares a step divides the rows below it: one for each worker, and what is left of the leader, who has
/// to gather them (`get_parallel_divisor` in PostgreSQL's costsize.c).
pub(super) fn shares(step: &Value) -> Option<f64> {
    let workers = step.get("Workers Planned")?.as_f64()?;
    Some(workers + (1.0 - 0.3 * workers).max(0.0))
}

/// Whether what is told of its rows is one process's share.
fn is_divided(step: &Value) -> bool {
    let feeds = ["Outer", "Subquery"].iter().find_map(|side| input(step, side));
    shares(step).is_none() && (is_parallel(step) || feeds.is_some_and(is_divided))
}

fn is_parallel(step: &Value) -> bool {
    step.get("Parallel Aware").and_then(Value::as_bool).unwrap_or_default()
}

/// The steps below it.
pub(super) fn inputs(step: &Value) -> impl Iterator<Item = &Value> {
    step.get("Plans").and_then(Value::as_array).into_iter().flatten()
}

/// The step below it that is its `Outer` or `Inner` one, say.
pub(super) fn input<'a>(step: &'a Value, side: &str) -> Option<&'a Value> {
    inputs(step).find(|input| text(input, "Parent Relationship") == side)
}

pub(super) fn text<'a>(step: &'a Value, key: &str) -> &'a str {
    step.get(key).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(step: &Value, key: &str) -> f64 {
    step.get(key).and_then(Value::as_f64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_are_called_what_explain_calls_them() {
        let scan = json!({"Node Type": "Seq Scan", "Parallel Aware": true, "Relation Name": "orders", "Schema": "shop",
            "Alias": "o"});
        assert_eq!(title(&scan), "Parallel Seq Scan on shop.orders o");
        let index = json!({"Node Type": "Index Scan", "Scan Direction": "Backward", "Index Name": "orders_pkey",
            "Relation Name": "orders", "Schema": "shop", "Alias": "orders"});
        assert_eq!(title(&index), "Index Scan Backward using orders_pkey on shop.orders");
        assert_eq!(title(&json!({"Node Type": "Bitmap Index Scan", "Index Name": "i"})), "Bitmap Index Scan on i");
        let aggregate = json!({"Node Type": "Aggregate", "Strategy": "Hashed", "Partial Mode": "Partial"});
        assert_eq!(title(&aggregate), "Partial HashAggregate");
        let join = json!({"Node Type": "Hash Join", "Join Type": "Left", "Parallel Aware": true});
        assert_eq!(title(&join), "Parallel Hash Left Join");
        assert_eq!(title(&json!({"Node Type": "Nested Loop", "Join Type": "Inner"})), "Nested Loop");
        assert_eq!(title(&json!({"Node Type": "ModifyTable", "Operation": "Update"})), "Update");
    }
}
