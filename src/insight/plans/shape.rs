//! What an `EXPLAIN (FORMAT JSON, VERBOSE)` says, without values: the nodes of the plan, as text for people and as
//! the facts that advice is made of. Pure.

use serde_json::Value;

use super::step::{input, inputs, number, rows, shares, text, title};
use crate::sql::{Lexing, normalised};

/// Bytes that are shown of a condition.
const CONDITION: usize = 500;
/// Nodes that are shown of a plan.
const NODES: usize = 200;

/// A plan as PostgreSQL would make it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shape {
    /// In PostgreSQL's own units.
    pub(super) cost: f64,
    /// Rows that the planner expects.
    pub(super) rows: f64,
    /// One line for each node and each of its conditions, indented; places stand for values.
    pub(super) text: String,
    /// The tables that are read from end to end.
    pub(super) scans: Vec<Scan>,
}

/// A table that is read from end to end.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scan {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) alias: String,
    /// As the plan says it, with its values: not to be shown.
    pub(super) filter: Option<String>,
    /// Columns or expressions by which it is sorted.
    pub(super) sorted_by: Vec<String>,
    /// Only the first of them are wanted.
    pub(super) limited: bool,
    /// The join that reads it.
    pub(super) joined: Option<Joined>,
    /// Rows that the planner expects to be left.
    pub(super) rows: f64,
}

/// A join in which a table's rows could be looked up by those of the other side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Joined {
    /// As the plan says it, with its values: not to be shown.
    pub(super) condition: String,
    /// Rows of the other side, and of the join.
    pub(super) others: f64,
    pub(super) rows: f64,
}

/// Reads the answer; `None` if it is none.
pub(super) fn shape(explained: &Value) -> Option<Shape> {
    let plan = explained.as_array()?.first()?.get("Plan")?;
    let mut shape = Shape { cost: number(plan, "Total Cost"), rows: number(plan, "Plan Rows"), ..Shape::default() };
    let mut walk = Walk { shape: &mut shape, nodes: 0 };
    walk.node(plan, 0, &Above { shares: 1.0, ..Above::default() });
    Some(shape)
}

/// What stands above a node and decides how many of its rows are wanted, and in which order.
#[derive(Debug, Clone, Default)]
struct Above {
    limited: bool,
    sorted_by: Vec<String>,
    joined: Option<Joined>,
    /// Processes among which rows are divided.
    shares: f64,
}

struct Walk<'a> {
    shape: &'a mut Shape,
    nodes: usize,
}

impl Walk<'_> {
    fn node(&mut self, node: &Value, depth: usize, above: &Above) {
        self.nodes += 1;
        if self.nodes > NODES {
            return;
        }
        self.write(node, depth);
        if text(node, "Node Type") == "Seq Scan" {
            self.shape.scans.push(Scan {
                schema: text(node, "Schema").to_owned(),
                table: text(node, "Relation Name").to_owned(),
                alias: text(node, "Alias").to_owned(),
                filter: node.get("Filter").and_then(Value::as_str).map(str::to_owned),
                sorted_by: above.sorted_by.clone(),
                limited: above.limited,
                joined: above.joined.clone(),
                rows: rows(node, above.shares),
            });
        }
        let below = above.below(node);
        for child in inputs(node) {
            let joined = joined(node, child, above.shares).or_else(|| below.joined.clone());
            self.node(child, depth + 1, &Above { joined, ..below.clone() });
        }
    }

    fn write(&mut self, node: &Value, depth: usize) {
        let out = &mut self.shape.text;
        let indent = "  ".repeat(depth);
        let mut line = format!("{indent}{}", title(node));
        line += &format!("  (cost={:.2} rows={})", number(node, "Total Cost"), number(node, "Plan Rows"));
        out.push_str(&line);
        out.push('\n');
        for key in ["Index Cond", "Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter", "Filter"] {
            if let Some(condition) = node.get(key).and_then(Value::as_str) {
                let condition = normalised(condition.as_bytes(), &Lexing::default(), CONDITION);
                out.push_str(&format!("{indent}    {key}: {condition}\n"));
            }
        }
        if let Some(keys) = node.get("Sort Key").and_then(Value::as_array) {
            let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
            let keys = normalised(keys.join(", ").as_bytes(), &Lexing::default(), CONDITION);
            out.push_str(&format!("{indent}    Sort Key: {keys}\n"));
        }
    }
}

impl Above {
    /// The same for what is below a node.
    fn below(&self, node: &Value) -> Self {
        let shares = shares(node).unwrap_or(self.shares);
        match text(node, "Node Type") {
            "Limit" => Self { limited: true, shares, ..Self::default() },
            "Sort" | "Incremental Sort" => {
                let keys = node.get("Sort Key").and_then(Value::as_array);
                let keys = keys.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
                Self { sorted_by: keys.collect(), shares, ..self.clone() }
            }
            // They keep order and number.
            "Gather" | "Gather Merge" | "Hash" | "LockRows" | "Materialize" | "Result" | "Subquery Scan" => {
                Self { shares, ..self.clone() }
            }
            _ => Self { shares, ..Self::default() },
        }
    }
}

/// How a join reads one of its sides, if rows of that side are wanted only where the other has one for them.
fn joined(join: &Value, side: &Value, shares: f64) -> Option<Joined> {
    let condition = ["Hash Cond", "Merge Cond", "Join Filter"].iter().find_map(|key| join.get(key)?.as_str())?;
    let (side, other) = match text(side, "Parent Relationship") {
        "Inner" => ("Inner", "Outer"),
        "Outer" => ("Outer", "Inner"),
        _ => return None,
    };
    let looked_up = match text(join, "Join Type") {
        "Inner" => side,
        "Anti" | "Left" | "Semi" => "Inner",
        "Right" | "Right Anti" | "Right Semi" => "Outer",
        _ => return None,
    };
    let others = rows(input(join, other)?, shares);
    (side == looked_up).then(|| Joined { condition: condition.to_owned(), others, rows: rows(join, shares) })
}

/// A table's name for SQL.
pub(super) fn qualified(schema: &str, table: &str) -> String {
    if schema.is_empty() { quoted(table) } else { format!("{}.{}", quoted(schema), quoted(table)) }
}

/// A name for SQL, in quotes where it needs them.
pub(super) fn quoted(name: &str) -> String {
    let plain = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !crate::sql::is_reserved(name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_rows_of_a_parallel_scan_are_those_of_all_its_processes() {
        let scan = json!({"Node Type": "Seq Scan", "Parallel Aware": true, "Parent Relationship": "Outer",
            "Relation Name": "orders", "Schema": "shop", "Alias": "orders", "Plan Rows": 39});
        let gather =
            |workers: u32| json!([{"Plan": {"Node Type": "Gather", "Workers Planned": workers, "Plans": [scan]}}]);
        let rows = |workers| shape(&gather(workers)).expect("a plan").scans[0].rows;
        assert_eq!([rows(1), rows(2), rows(4)].map(f64::round), [66.0, 94.0, 156.0]);
    }

    #[test]
    fn a_table_that_each_process_reads_for_itself_has_the_rows_that_the_plan_says() {
        let table = |parallel: bool, side: &str| json!({"Node Type": "Seq Scan", "Parallel Aware": parallel, "Parent Relationship": side, "Plan Rows": 100});
        let join = json!({"Node Type": "Nested Loop", "Join Type": "Inner", "Join Filter": "(a.x = b.y)",
            "Parent Relationship": "Outer", "Plan Rows": 10, "Plans": [table(true, "Outer"), table(false, "Inner")]});
        let plan = json!([{"Plan": {"Node Type": "Gather", "Workers Planned": 2, "Plans": [join]}}]);
        let shape = shape(&plan).expect("a plan");
        assert_eq!(shape.scans.iter().map(|scan| scan.rows).collect::<Vec<_>>(), [240.0, 100.0]);
        let joined = shape.scans[1].joined.as_ref().expect("a join");
        assert_eq!((joined.others, joined.rows), (240.0, 24.0));
    }

    #[test]
    fn only_the_side_that_a_join_may_leave_out_can_be_looked_up() {
        let sides = |kind: &str| {
            let scan = |side: &str| json!({"Node Type": "Seq Scan", "Parent Relationship": side, "Alias": side});
            let hash = json!({"Node Type": "Hash", "Parent Relationship": "Inner", "Plans": [scan("Outer")]});
            let join = json!({"Node Type": "Hash Join", "Join Type": kind, "Hash Cond": "(a.x = b.y)",
                "Plans": [scan("Outer"), hash]});
            let shape = shape(&json!([{"Plan": join}])).expect("a plan");
            shape.scans.iter().map(|scan| scan.joined.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(sides("Inner"), [true, true]);
        assert_eq!(sides("Left"), [false, true]);
        assert_eq!(sides("Right"), [true, false]);
        assert_eq!(sides("Full"), [false, false]);
    }
}
