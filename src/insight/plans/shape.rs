//! What an `EXPLAIN (FORMAT JSON, VERBOSE)` says, without values: the nodes of the plan, as text for people and as
//! the facts that advice is made of. Pure.

use serde_json::Value;

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
    /// Rows that the planner expects to be left.
    pub(super) rows: f64,
}

/// Reads the answer; `None` if it is none.
pub(super) fn shape(explained: &Value) -> Option<Shape> {
    let plan = explained.as_array()?.first()?.get("Plan")?;
    let mut shape = Shape { cost: number(plan, "Total Cost"), rows: number(plan, "Plan Rows"), ..Shape::default() };
    let mut walk = Walk { shape: &mut shape, nodes: 0 };
    walk.node(plan, 0, &Above::default());
    Some(shape)
}

/// What stands above a node and decides how many of its rows are wanted, and in which order.
#[derive(Debug, Clone, Default)]
struct Above {
    limited: bool,
    sorted_by: Vec<String>,
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
        let kind = text(node, "Node Type");
        if kind == "Seq Scan" {
            self.shape.scans.push(Scan {
                schema: text(node, "Schema").to_owned(),
                table: text(node, "Relation Name").to_owned(),
                alias: text(node, "Alias").to_owned(),
                filter: node.get("Filter").and_then(Value::as_str).map(str::to_owned),
                sorted_by: above.sorted_by.clone(),
                limited: above.limited,
                rows: number(node, "Plan Rows"),
            });
        }
        let below = match kind {
            "Limit" => Above { limited: true, ..Above::default() },
            "Sort" | "Incremental Sort" => {
                let keys = node.get("Sort Key").and_then(Value::as_array);
                let keys = keys.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
                Above { limited: above.limited, sorted_by: keys.collect() }
            }
            // They keep order and number.
            "Gather Merge" | "Gather" | "Result" | "Subquery Scan" | "LockRows" => above.clone(),
            _ => Above::default(),
        };
        for child in node.get("Plans").and_then(Value::as_array).into_iter().flatten() {
            self.node(child, depth + 1, &below);
        }
    }

    fn write(&mut self, node: &Value, depth: usize) {
        let out = &mut self.shape.text;
        let indent = "  ".repeat(depth);
        let mut line = format!("{indent}{}", text(node, "Node Type"));
        if let Some(index) = node.get("Index Name").and_then(Value::as_str) {
            line += &format!(" using {index}");
        }
        if let Some(table) = node.get("Relation Name").and_then(Value::as_str) {
            line += &format!(" on {}", qualified(text(node, "Schema"), table));
        }
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

fn text<'a>(node: &'a Value, key: &str) -> &'a str {
    node.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(node: &Value, key: &str) -> f64 {
    node.get(key).and_then(Value::as_f64).unwrap_or_default()
}
