//! What a condition compares: which columns, and how. For whoever asks which index would serve it.

use super::tree::{Node, Tree};
use super::{LONGEST, Parsed, parse};

/// libpg_query's numbers (`A_Expr_Kind`, `BoolExprType`).
const OPERATOR: i64 = 1;
const OPERATOR_ANY: i64 = 2;
const IN: i64 = 7;
const AND: i64 = 1;
const NOT: i64 = 3;

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
    /// =, IN, = ANY, IS NULL, a boolean as it is: one place, or a few, of an index.
    Equal,
    /// <, <=, >, >=: a stretch of it.
    Range,
    /// LIKE and ~, which an index serves whose operator class is made for them; ILIKE and ~*, which one of trigrams does.
    Pattern { any_case: bool },
    /// What an ordinary index does not serve.
    Otherwise,
}

/// The comparisons of a condition as PostgreSQL writes it in a plan; none where it cannot be read.
#[must_use]
pub fn conditions(text: &str) -> Vec<Condition> {
    let mut found = Vec::new();
    each_part(text, |part| match part.name {
        "NullTest" => found.extend(part.child("arg").and_then(|arg| column(arg, Compares::Equal))),
        "ColumnRef" => found.extend(column(part, Compares::Equal)),
        "BoolExpr" if part.number("boolop") == NOT => {
            found.extend(
                part.nodes("args").filter(|arg| arg.name == "ColumnRef").filter_map(|arg| column(arg, Compares::Equal)),
            );
        }
        "AExpr" => found.extend(comparison(part)),
        _ => {}
    });
    found
}

/// The columns of this relation that a condition wants equal to columns of others; none where it cannot be read.
#[must_use]
pub fn joined_columns(text: &str, relation: &str) -> Vec<Box<str>> {
    let mut found: Vec<Box<str>> = Vec::new();
    each_part(text, |part| {
        let is_equality = part.number("kind") == OPERATOR && part.names("name").pop() == Some("=");
        let side = |name| part.child(name).and_then(|node| column(node, Compares::Equal));
        let (Some(left), Some(right), true) = (side("lexpr"), side("rexpr"), is_equality) else { return };
        let is_own = |side: &Condition| side.relation.as_deref() == Some(relation);
        match (is_own(&left), is_own(&right)) {
            (true, false) => found.push(left.column),
            (false, true) => found.push(right.column),
            _ => {}
        }
    });
    found
}

/// Tells of each of the parts of a condition that must all be true.
fn each_part(text: &str, mut tell: impl FnMut(&Node)) {
    let query = format!("SELECT WHERE {text}");
    if query.len() > LONGEST {
        return;
    }
    let Parsed::Trees(trees) = parse(&query) else { return };
    if let [Tree::Node(select)] = trees.as_slice()
        && let Some(condition) = select.child("where_clause")
    {
        descend(condition, &mut tell);
    }
}

fn descend(node: &Node, tell: &mut impl FnMut(&Node)) {
    if node.name == "BoolExpr" && node.number("boolop") == AND {
        node.nodes("args").for_each(|part| descend(part, tell));
    } else {
        tell(node);
    }
}

fn comparison(node: &Node) -> Option<Condition> {
    let operator = node.names("name").pop()?;
    let compares = match (node.number("kind"), operator) {
        (OPERATOR | OPERATOR_ANY | IN, "=") => Compares::Equal,
        (OPERATOR, "<" | "<=" | ">" | ">=") => Compares::Range,
        (OPERATOR, "~~" | "~") => Compares::Pattern { any_case: false },
        (OPERATOR, "~~*" | "~*") => Compares::Pattern { any_case: true },
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
        assert_eq!(shown("((name)::text ~~ '%x%'::text)"), ["None name Pattern { any_case: false }"]);
        assert_eq!(shown("(name ~* $1)"), ["None name Pattern { any_case: true }"]);
        assert_eq!(shown("(tags @> '{a}'::text[])"), ["None tags Otherwise"]);
        assert_eq!(shown("(o.paid AND (NOT o.sent))"), ["Some(\"o\") paid Equal", "Some(\"o\") sent Equal"]);
    }

    #[test]
    fn of_a_join_the_columns_of_one_side_are_told() {
        let text = "((o.customer = c.id) AND (c.region = o.region) AND (o.at > c.since) AND (o.id = o.parent))";
        let columns = |relation| joined_columns(text, relation).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(columns("o"), ["customer", "region"]);
        assert_eq!(columns("c"), ["id", "region"]);
        assert!(columns("x").is_empty());
    }

    #[test]
    fn what_compares_columns_or_is_one_of_several_ways_is_no_comparison_with_a_value() {
        assert_eq!(shown("(a.id = b.id)"), <[String; 0]>::default());
        assert_eq!(shown("((a = 1) OR (b = 2))"), <[String; 0]>::default());
        assert_eq!(shown("(lower(a) = 'x'::text)"), <[String; 0]>::default());
        assert_eq!(shown("(NOT an expression"), <[String; 0]>::default());
    }
}
