//! EXPLAIN's answer as a tree of what matters: the steps, what they read and by which condition.

use std::fmt;

use serde_json::Value;

/// How deep a plan is followed.
const DEEPEST: usize = 64;

/// One step of a plan (manual: "Using EXPLAIN").
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Node {
    /// `Seq Scan`, `Sort`.
    pub(super) kind: String,
    pub(super) schema: Option<String>,
    pub(super) relation: Option<String>,
    /// How the conditions name the relation.
    pub(super) alias: Option<String>,
    pub(super) index: Option<String>,
    pub(super) filter: Option<String>,
    /// The condition by which an index or a join finds rows.
    pub(super) condition: Option<String>,
    pub(super) sort_keys: Vec<String>,
    /// Estimated, in PostgreSQL's units.
    pub(super) cost: f64,
    /// Estimated.
    pub(super) rows: f64,
    pub(super) steps: Vec<Self>,
}

/// Reads the answer of EXPLAIN (FORMAT JSON, VERBOSE); `None` if it is none.
pub(super) fn read(json: &str) -> Option<Node> {
    let answer: Value = serde_json::from_str(json).ok()?;
    node(answer.get(0)?.get("Plan")?, 0)
}

fn node(plan: &Value, depth: usize) -> Option<Node> {
    let text = |name: &str| plan.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| plan.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let list = |name: &str| plan.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let steps = if depth < DEEPEST { list("Plans") } else { &[] };
    let conditions = ["Index Cond", "Hash Cond", "Merge Cond", "Join Filter", "Recheck Cond"];
    Some(Node {
        kind: text("Node Type")?,
        schema: text("Schema"),
        relation: text("Relation Name"),
        alias: text("Alias"),
        index: text("Index Name"),
        filter: text("Filter"),
        condition: conditions.into_iter().find_map(text),
        sort_keys: list("Sort Key").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        cost: number("Total Cost"),
        rows: number("Plan Rows"),
        steps: steps.iter().filter_map(|step| node(step, depth + 1)).collect(),
    })
}

impl Node {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        write!(f, "{:1$}{2}", "", depth * 2, self.kind)?;
        if let Some(index) = &self.index {
            write!(f, " using {index}")?;
        }
        if let Some(relation) = &self.relation {
            write!(f, " on {relation}")?;
        }
        write!(f, "  (cost {:.0}, rows {:.0})", self.cost, self.rows)?;
        for (word, what) in [("by", &self.condition), ("filter", &self.filter)] {
            if let Some(what) = what {
                write!(f, " {word} {what}")?;
            }
        }
        if !self.sort_keys.is_empty() {
            write!(f, " by {}", self.sort_keys.join(", "))?;
        }
        for step in &self.steps {
            writeln!(f)?;
            step.write(f, depth + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}
