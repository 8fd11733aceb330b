//! Which index would spare a plan from reading a table end to end. Pure: what the catalog knows is an argument.

use super::shape::{Scan, Shape, qualified, quoted};
use crate::sql::{Compares, Condition, conditions, joined_columns};

/// Rows of a table below which reading it whole costs nothing worth an index.
const LARGE: f64 = 10_000.0;
/// An index is of use where it leaves less than this share of the table.
const SELECTIVE: f64 = 0.1;
/// Rows that a join looks up one by one, each in its own place of the table, must be fewer.
const LOOKED_UP: f64 = 0.005;
/// Columns of one index.
const COLUMNS: usize = 4;

/// An index that would serve a plan.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Index {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) columns: Vec<String>,
    pub(super) why: Why,
    /// Rows of the table, and those that are wanted of it, both estimated.
    pub(super) rows: f64,
    pub(super) wanted: f64,
    /// What the plan would cost with it, in PostgreSQL's units, as HypoPG tells; `None` without that extension.
    pub(super) cost_with_it: Option<f64>,
}

/// What the index is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Filter,
    /// A join looks rows up.
    Join,
    /// Rows come in the order that a limit wants them.
    Order,
}

/// A table as the catalog knows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Known {
    /// The planner's own estimate; negative where it was never analysed.
    pub(super) rows: f64,
    /// The columns of each valid index, in order.
    pub(super) indexes: Vec<Vec<String>>,
}

impl Index {
    /// The command that makes it.
    #[must_use]
    pub(super) fn command(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| quoted(column)).collect();
        format!("CREATE INDEX CONCURRENTLY ON {} ({})", qualified(&self.schema, &self.table), columns.join(", "))
    }

    /// What to say of a plan that costs so much without it.
    pub(super) fn sentence(&self, cost: f64) -> String {
        let table = qualified(&self.schema, &self.table);
        let why = match self.why {
            Why::Filter => format!("for about {:.0}", self.wanted.max(1.0)),
            Why::Join => format!("for about {:.0} that a join wants", self.wanted.max(1.0)),
            Why::Order => "to sort it for a limit".to_owned(),
        };
        let mut sentence = format!("{table} is read whole, {:.0} rows, {why}: {};", self.rows, self.command());
        if let Some(with_it) = self.cost_with_it {
            sentence += &format!(" (HypoPG: the plan would cost {with_it:.0} instead of {cost:.0})");
        }
        sentence
    }
}

/// The indexes that a plan lacks, each once. `known` tells of a table that the plan reads from end to end.
pub(super) fn advice(shape: &Shape, known: impl Fn(&Scan) -> Option<Known>) -> Vec<Index> {
    let mut advice: Vec<Index> = Vec::new();
    for scan in &shape.scans {
        let Some(known) = known(scan).filter(|known| known.rows >= LARGE) else { continue };
        let columns = columns(scan, &known).or_else(|| Some((looked_up(scan, &known)?, Why::Join)));
        let Some((columns, why)) = columns else { continue };
        // One that begins like this exists: the planner knows it and did not want it.
        if known.indexes.iter().any(|index| begins_alike(index, &columns, why)) {
            continue;
        }
        let index = Index {
            schema: scan.schema.clone(),
            table: scan.table.clone(),
            columns,
            why,
            rows: known.rows,
            wanted: scan.joined.as_ref().filter(|_| why == Why::Join).map_or(scan.rows, |joined| joined.rows),
            cost_with_it: None,
        };
        if !advice.contains(&index) {
            advice.push(index);
        }
    }
    advice
}

/// Whether a table is read whole for so few of its rows that an index would be of use.
pub(super) fn is_selective(scan: &Scan, known: &Known) -> bool {
    known.rows >= LARGE && scan.rows < known.rows * SELECTIVE
}

/// Whether no index on columns would serve a scan.
pub(super) fn lacks_no_index(scan: &Scan, known: &Known) -> bool {
    columns(scan, known).is_none()
}

/// What a scan's filter compares of its own table.
pub(super) fn own_conditions(scan: &Scan) -> Vec<Condition> {
    let mut conditions = scan.filter.as_deref().map(conditions).unwrap_or_default();
    conditions.retain(|condition| condition.relation.as_deref().is_none_or(|name| name == scan.alias));
    conditions
}

/// Columns that are compared for equality, then one of which a stretch is wanted or those that give the order.
fn columns(scan: &Scan, known: &Known) -> Option<(Vec<String>, Why)> {
    let mut columns: Vec<String> = Vec::new();
    let mut range = None;
    for condition in own_conditions(scan) {
        let column = condition.column.to_string();
        match condition.compares {
            Compares::Equal if !columns.contains(&column) => columns.push(column),
            Compares::Range => range = range.or(Some(column)),
            Compares::Equal | Compares::Pattern { .. } | Compares::Otherwise => {}
        }
    }
    let range = range.filter(|column| !columns.contains(column));
    let selective = is_selective(scan, known);
    let order = order(scan);
    // Without a limit an order is worth having only where it comes with the rows that are wanted anyway.
    let ordered = range.is_none() && (scan.limited || (selective && !columns.is_empty()));
    if let Some(order) = order.filter(|_| ordered) {
        for column in order {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns.truncate(COLUMNS);
        return Some((columns, if scan.limited { Why::Order } else { Why::Filter }));
    }
    columns.extend(range);
    columns.truncate(COLUMNS);
    (selective && !columns.is_empty()).then_some((columns, Why::Filter))
}

/// The columns by which a join would look up its few rows of a table, instead of reading it whole.
fn looked_up(scan: &Scan, known: &Known) -> Option<Vec<String>> {
    let most = known.rows * LOOKED_UP;
    let joined = scan.joined.as_ref().filter(|joined| joined.rows < most && joined.others < most)?;
    let mut columns: Vec<String> = Vec::new();
    for column in joined_columns(&joined.condition, &scan.alias) {
        if !columns.iter().any(|known| **known == *column) {
            columns.push(column.into());
        }
    }
    columns.truncate(COLUMNS);
    (!columns.is_empty()).then_some(columns)
}

/// The columns of a sort, where one index can give that order: plain columns of this table, all in one direction.
fn order(scan: &Scan) -> Option<Vec<String>> {
    let mut columns = Vec::new();
    let mut descending = None;
    for key in &scan.sorted_by {
        let (key, down) = match key.strip_suffix(" DESC") {
            Some(key) => (key, true),
            None => (key.as_str(), false),
        };
        if *descending.get_or_insert(down) != down {
            return None;
        }
        let column = match key.split_once('.') {
            Some((alias, column)) if alias == scan.alias => column,
            Some(_) => return None,
            None => key,
        };
        let name = column.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(column);
        if !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return None;
        }
        columns.push(name.to_owned());
    }
    (!columns.is_empty()).then_some(columns)
}

fn begins_alike(index: &[String], columns: &[String], why: Why) -> bool {
    match why {
        Why::Order => index.starts_with(columns),
        // In whichever order they stand.
        Why::Filter | Why::Join => {
            let beginning = index.get(..columns.len()).unwrap_or_default();
            !beginning.is_empty() && beginning.iter().all(|column| columns.contains(column))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::Joined;
    use super::*;

    fn scan(filter: &str, sorted_by: &[&str], rows: f64) -> Scan {
        Scan {
            schema: "public".to_owned(),
            table: "orders".to_owned(),
            alias: "o".to_owned(),
            filter: (!filter.is_empty()).then(|| filter.to_owned()),
            sorted_by: sorted_by.iter().map(|key| (*key).to_owned()).collect(),
            limited: !sorted_by.is_empty(),
            joined: None,
            rows,
        }
    }

    fn commands(scan: Scan, rows: f64, indexes: &[&[&str]]) -> Vec<String> {
        let indexes = indexes.iter().map(|index| index.iter().map(|column| (*column).to_owned()).collect()).collect();
        let shape = Shape { scans: vec![scan], ..Shape::default() };
        let known = Known { rows, indexes };
        advice(&shape, |_| Some(known.clone())).iter().map(Index::command).collect()
    }

    #[test]
    fn a_selective_filter_on_a_large_table_wants_an_index_equalities_first() {
        let filter = "((o.at > $1) AND (o.customer = 5) AND (o.\"Order\" = 'x'::text))";
        assert_eq!(
            commands(scan(filter, &[], 10.0), 1e6, &[]),
            ["CREATE INDEX CONCURRENTLY ON public.orders (customer, \"Order\", at)"]
        );
    }

    #[test]
    fn small_tables_unselective_filters_and_indexes_that_exist_want_nothing() {
        let filter = "(o.customer = 5)";
        assert!(commands(scan(filter, &[], 1.0), 9_999.0, &[]).is_empty());
        assert!(commands(scan(filter, &[], 2e5), 1e6, &[]).is_empty());
        assert!(commands(scan(filter, &[], 1.0), 1e6, &[&["customer", "at"]]).is_empty());
        assert!(commands(scan("(o.note ~~ '%x%'::text)", &[], 1.0), 1e6, &[]).is_empty());
        assert!(commands(scan("(i.customer = 5)", &[], 1.0), 1e6, &[]).is_empty(), "of another table");
    }

    #[test]
    fn a_join_that_wants_few_rows_of_a_large_table_wants_an_index_to_look_them_up() {
        let joined = |others, rows| {
            let condition = "((o.customer = c.id) AND (o.at > c.since))".to_owned();
            Scan { joined: Some(Joined { condition, others, rows }), ..scan("", &[], 1e6) }
        };
        assert_eq!(commands(joined(10.0, 40.0), 1e6, &[]), ["CREATE INDEX CONCURRENTLY ON public.orders (customer)"]);
        assert!(commands(joined(10.0, 5e4), 1e6, &[]).is_empty(), "much of the table is wanted");
        assert!(commands(joined(5e4, 40.0), 1e6, &[]).is_empty(), "many would be looked for");
        assert!(commands(joined(10.0, 40.0), 1e6, &[&["customer", "at"]]).is_empty(), "it exists and is not wanted");
    }

    #[test]
    fn an_order_without_a_limit_is_added_to_a_selective_filter_alone() {
        let scan = |filter, rows| Scan { limited: false, ..scan(filter, &["o.id"], rows) };
        assert_eq!(
            commands(scan("(o.customer = 5)", 10.0), 1e6, &[]),
            ["CREATE INDEX CONCURRENTLY ON public.orders (customer, id)"]
        );
        assert!(commands(scan("", 1e6), 1e6, &[]).is_empty());
        assert!(commands(scan("(o.customer = 5)", 5e5), 1e6, &[]).is_empty());
    }

    #[test]
    fn a_limit_on_a_sorted_table_wants_an_index_in_that_order() {
        assert_eq!(
            commands(scan("(o.customer = 5)", &["o.at DESC", "o.id DESC"], 1e5), 1e6, &[]),
            ["CREATE INDEX CONCURRENTLY ON public.orders (customer, at, id)"]
        );
        assert!(commands(scan("", &["o.at DESC", "o.id"], 1e6), 1e6, &[]).is_empty(), "two directions");
        assert!(commands(scan("", &["lower(o.name)"], 1e6), 1e6, &[]).is_empty());
        assert!(commands(scan("", &["o.at"], 1e6), 1e6, &[&["at"]]).is_empty());
    }
}
