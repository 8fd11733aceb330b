//! What a condition compares: which columns, and how. For whoever asks which index would serve it.

use super::tree::{Node, Tree};
use super::{LONGEST, Parsed, parse};

/// libpg_query's numbers (`A_Expr_Kind`, `BoolExprType`).
const OPERATOR: i64 = 1;
const OPERATOR_ANY: i64 = 2;
const IN: i64 = 7;
const AND: i64 = 1;

/// One comparison of a column with something that is not of its table, of those that must all be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The name or alias that stands before the column.
    pub relation: Option<Box<str>>,
    pub column: Box<str>,
    pub compares: Compares,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compares {
    /// =, IN, = ANY, IS NULL: one place, or a few, of an index.
    Equal,
    /// <, <=, >, >=: a stretch of it.
    Range,
    /// What an ordinary index does not serve.
    Otherwise,
}

/// The comparisons of a condition as PostgreSQL writes it in a plan; none where it cannot be read.
#[must_use]
pub fn conditions(text: &str) -> Vec<Condition> {
    let query = format!("SELECT WHERE {text}");
    if query.len() > LONGEST {
        return Vec::new();
    }
    let Parsed::Trees(trees) = parse(&query) else { return Vec::new() };
    let mut found = Vec::new();
    if let [Tree::Node(select)] = trees.as_slice()
        && let Some(condition) = select.child("where_clause")
    {
        gather(condition, &mut found);
    }
    found
}

fn gather(node: &Node, found: &mut Vec<Condition>) {
    match node.name {
        "BoolExpr" if node.number("boolop") == AND => node.nodes("args").for_each(|part| gather(part, found)),
        "NullTest" => found.extend(node.child("arg").and_then(|arg| column(arg, Compares::Equal))),
        "AExpr" => found.extend(comparison(node)),
        _ => {}
    }
}

fn comparison(node: &Node) -> Option<Condition> {
    let operator = node.names("name").pop()?;
    let compares = match (node.number("kind"), operator) {
        (OPERATOR | OPERATOR_ANY | IN, "=") => Compares::Equal,
        (OPERATOR, "<" | "<=" | ">" | ">=") => Compares::Range,
        _ => Compares::Otherwise,
    };
    let (left, right) = (node.child("lexpr"), node.child("rexpr"));
    let side = |side: Option<&Node>| side.and_then(|node| column(node, compares));
    match (side(left), side(right)) {
        // Columns of two tables, or of one: no value to look up.
        (Some(_), Some(_)) => None,
        (one, other) => one.or(other),
    }
}

/// The column that a side is, perhaps cast.
fn column(node: &Node, compares: Compares) -> Option<Condition> {
    match node.name {
        "TypeCast" => column(node.child("arg")?, compares),
        "ColumnRef" => {
            let mut names = node.names("fields");
            let column = names.pop()?.into();
            Some(Condition { relation: names.pop().map(Into::into), column, compares })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let show = |found: Condition| format!("{:?} {} {:?}", found.relation, found.column, found.compares);
        conditions(text).into_iter().map(show).collect()
    }

    #[test]
    fn comparisons_with_values_are_found_as_a_plan_writes_them() {
        let text = "((o.customer_id = $1) AND ((o.status)::text = ANY ('{new,paid}'::text[])) AND (o.at > now()))";
        assert_eq!(shown(text), ["Some(\"o\") customer_id Equal", "Some(\"o\") status Equal", "Some(\"o\") at Range"]);
        assert_eq!(shown("(5 < a)"), ["None a Range"]);
        assert_eq!(shown("(deleted_at IS NULL)"), ["None deleted_at Equal"]);
        assert_eq!(shown("(name ~~ '%x%'::text)"), ["None name Otherwise"]);
    }

    #[test]
    fn what_compares_columns_or_is_one_of_several_ways_is_no_comparison_with_a_value() {
        assert_eq!(shown("(a.id = b.id)"), <[String; 0]>::default());
        assert_eq!(shown("((a = 1) OR (b = 2))"), <[String; 0]>::default());
        assert_eq!(shown("(lower(a) = 'x'::text)"), <[String; 0]>::default());
        assert_eq!(shown("(NOT an expression"), <[String; 0]>::default());
    }
}
