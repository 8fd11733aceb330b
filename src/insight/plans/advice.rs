//! The index that would spare PostgreSQL from reading a whole table.

use tokio_postgres::{Client, Error};

use super::shape::Node;

/// A table of fewer rows is read quickly whatever one does.
const LARGE: f64 = 10_000.0;
/// An index is worth it where no more than this share of the rows is wanted.
const FEW: f64 = 0.1;
/// Columns of an index that is suggested.
const COLUMNS: usize = 3;

/// What PostgreSQL knows of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) rows: f64,
    /// The first column of each of its indexes.
    pub(super) leading: Vec<String>,
}

/// Columns that a filter compares, by how it does.
#[derive(Debug, Default, PartialEq, Eq)]
struct Compared {
    equal: Vec<String>,
    range: Vec<String>,
}

/// A sentence for each table that is read whole and need not be.
pub(super) async fn of(client: &Client, plan: &Node) -> Result<Vec<String>, Error> {
    let mut scans = Vec::new();
    whole_reads(plan, None, &mut scans);
    let mut advice: Vec<String> = Vec::new();
    for (scan, sorted) in scans {
        let (Some(schema), Some(relation)) = (&scan.schema, &scan.relation) else { continue };
        let Some(table) = table(client, schema, relation).await? else { continue };
        if let Some(sentence) = judged(scan, sorted, &table).filter(|sentence| !advice.contains(sentence)) {
            advice.push(sentence);
        }
    }
    Ok(advice)
}

/// The scans of whole tables that filter, each with the sort right above it.
fn whole_reads<'a>(node: &'a Node, above: Option<&'a Node>, found: &mut Vec<(&'a Node, Option<&'a Node>)>) {
    if node.kind == "Seq Scan" && node.filter.is_some() {
        found.push((node, above.filter(|above| above.kind == "Sort")));
    }
    for step in &node.steps {
        whole_reads(step, Some(node), found);
    }
}

async fn table(client: &Client, schema: &str, relation: &str) -> Result<Option<Table>, Error> {
    let sql = "SELECT c.reltuples::float8, \
               ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a \
                     ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indrelid = c.oid AND i.indisvalid) \
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
    let row = client.query_opt(sql, &[&schema, &relation]).await?;
    row.map(|row| Ok(Table { rows: row.try_get(0)?, leading: row.try_get(1)? })).transpose()
}

/// What to say of one scan; `None` where it is no fault.
fn judged(scan: &Node, sorted: Option<&Node>, table: &Table) -> Option<String> {
    if table.rows < LARGE || scan.rows > table.rows * FEW {
        return None;
    }
    let (schema, relation, filter) = (scan.schema.as_deref()?, scan.relation.as_deref()?, scan.filter.as_deref()?);
    let alias = scan.alias.as_deref().unwrap_or(relation);
    let compared = compared(filter, alias);
    let mut columns = compared.equal;
    let read = format!("{relation} is read whole, {:.0} rows, for about {:.0}", table.rows, scan.rows.max(1.0));
    if let Some(range) = compared.range.into_iter().next() {
        columns.push(range);
    } else if !columns.is_empty() {
        let keys = sorted.map(|sort| sort.sort_keys.as_slice()).unwrap_or_default();
        columns.extend(keys.iter().filter_map(|key| plain_column(key.trim_end_matches(" DESC"), alias)));
    }
    columns.dedup();
    columns.truncate(COLUMNS);
    let Some(first) = columns.first() else {
        return Some(format!(
            "{read}. No index on a column can help its filter, {filter}: compare the bare column, or index the expression."
        ));
    };
    if table.leading.iter().any(|leading| quoted(leading) == *first) {
        return Some(format!(
            "{read}. There is an index that begins with {first}; run ANALYZE, or see why it was not chosen."
        ));
    }
    let columns = columns.join(", ");
    Some(format!("{read}: CREATE INDEX CONCURRENTLY ON {}.{} ({columns});", quoted(schema), quoted(relation)))
}

/// The columns that the parts of `((a.x = $1) AND (a.y > $2))` compare with something of another table or none.
fn compared(filter: &str, alias: &str) -> Compared {
    let mut found = Compared::default();
    for part in conjuncts(filter) {
        let Some((left, operator, right)) = comparison(part) else { continue };
        let (column, other, operator) = match (plain_column(left, alias), plain_column(right, alias)) {
            (Some(column), None) => (column, right, operator),
            (None, Some(column)) => (column, left, operator),
            _ => continue,
        };
        if other.contains(&format!("{}.", quoted(alias))) {
            continue;
        }
        match operator {
            "=" => found.equal.push(column),
            "<" | "<=" | ">" | ">=" => found.range.push(column),
            _ => {}
        }
    }
    found
}

/// The parts between AND at the outermost level.
fn conjuncts(filter: &str) -> Vec<&str> {
    let inner = unwrapped(filter);
    let (mut parts, mut start) = (Vec::new(), 0);
    for (at, depth) in depths(inner) {
        if depth == 0 && inner.get(at..).is_some_and(|rest| rest.starts_with(" AND ")) {
            parts.extend(inner.get(start..at));
            start = at + " AND ".len();
        }
    }
    parts.extend(inner.get(start..));
    parts
}

/// Left, operator and right of a comparison at the outermost level.
fn comparison(part: &str) -> Option<(&str, &str, &str)> {
    let inner = unwrapped(part);
    let outermost = depths(inner).into_iter().filter(|(_, depth)| *depth == 0);
    for (at, _) in outermost {
        for operator in [" = ", " <= ", " >= ", " < ", " > "] {
            if inner.get(at..).is_some_and(|rest| rest.starts_with(operator)) {
                return Some((inner.get(..at)?, operator.trim(), inner.get(at + operator.len()..)?));
            }
        }
    }
    None
}

/// Where each character begins, outside of quotes, and how many parentheses are open there.
fn depths(text: &str) -> Vec<(usize, usize)> {
    let (mut depth, mut quote) = (0_usize, None);
    let mut found = Vec::new();
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => continue,
            (None, '\'' | '"') => quote = Some(character),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, _) => found.push((at, depth)),
        }
    }
    found
}

/// Without the parentheses that enclose all of it.
fn unwrapped(text: &str) -> &str {
    let text = text.trim();
    match text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) if depths(text).iter().all(|(_, depth)| *depth > 0) => unwrapped(inner),
        _ => text,
    }
}

/// The column that `alias.x`, `x` or `(alias.x)::text` is, as it is written in SQL; `None` for any other expression.
fn plain_column(expression: &str, alias: &str) -> Option<String> {
    let bare = match expression.trim().strip_prefix('(').and_then(|rest| rest.split_once(")::")) {
        // Text types are equal in the same way, and indexes serve them.
        Some((inner, "text" | "bpchar")) => inner,
        Some(_) => return None,
        None => expression.trim(),
    };
    let column = bare.strip_prefix(&format!("{}.", quoted(alias))).unwrap_or(bare);
    let is_name = |text: &str| {
        let mut characters = text.chars();
        characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && characters.all(|c| c.is_alphanumeric() || c == '_')
    };
    let is_quoted = column.len() > 2
        && column.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).is_some_and(|inner| !inner.contains('"'));
    (is_name(column) || is_quoted).then(|| column.to_owned())
}

/// A name as SQL wants it.
fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Names that tables are likely to have and that SQL has for itself.
const RESERVED: [&str; 12] =
    ["user", "order", "group", "table", "column", "limit", "offset", "check", "default", "desc", "end", "references"];

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(filter: &str, rows: f64) -> Node {
        Node {
            kind: "Seq Scan".to_owned(),
            schema: Some("public".to_owned()),
            relation: Some("orders".to_owned()),
            alias: Some("o".to_owned()),
            filter: Some(filter.to_owned()),
            rows,
            ..Node::default()
        }
    }

    fn table() -> Table {
        Table { rows: 1e6, leading: vec!["id".to_owned()] }
    }

    fn advised(filter: &str) -> Option<String> {
        judged(&scan(filter, 100.0), None, &table())
    }

    #[test]
    fn equal_columns_come_first_and_then_one_range() {
        let advice = advised("((o.placed > $2) AND ((o.status)::text = $1) AND (o.total < $3))").expect("advice");
        assert!(advice.ends_with(": CREATE INDEX CONCURRENTLY ON public.orders (status, placed);"), "{advice}");
        let advice = advised("(\"order\" = $1)").expect("advice");
        assert!(advice.ends_with("(\"order\");"), "{advice}");
    }

    #[test]
    fn the_order_that_is_wanted_is_part_of_the_index() {
        let sort = Node { kind: "Sort".to_owned(), sort_keys: vec!["o.placed DESC".to_owned()], ..Node::default() };
        let advice = judged(&scan("(o.customer = $1)", 10.0), Some(&sort), &table()).expect("advice");
        assert!(advice.ends_with("(customer, placed);"), "{advice}");
    }

    #[test]
    fn an_expression_on_a_column_is_named_instead_of_an_index() {
        let advice = advised("((o.product + $2) = p.id)").expect("advice");
        assert!(advice.contains("compare the bare column") && !advice.contains("CREATE"), "{advice}");
        assert!(advised("((o.a = $1) OR (o.b = $2))").is_some_and(|advice| !advice.contains("CREATE")));
    }

    #[test]
    fn small_tables_large_answers_and_indexes_that_exist_call_for_none() {
        let few = Table { rows: 500.0, ..table() };
        assert_eq!(judged(&scan("(o.customer = $1)", 1.0), None, &few), None);
        assert_eq!(judged(&scan("(o.customer = $1)", 500_000.0), None, &table()), None);
        let advice = advised("(o.id = $1)").expect("advice");
        assert!(advice.contains("There is an index that begins with id"), "{advice}");
    }

    #[test]
    fn conditions_of_any_kind_do_no_harm() {
        for filter in
            ["", "(", ")", "()", "((", "a", "(a = 'x AND (y')", "(a = ')')", "('' = a.b)", "é = ü", "(o.a = o.b)"]
        {
            let _ = advised(filter);
        }
        assert!(compared("(o.a = o.b)", "o").equal.is_empty());
    }
}
