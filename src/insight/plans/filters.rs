//! What to say of tables that are read whole for few of their rows, by filters that an index as `advice` names them
//! would not serve. Pure.

use super::advice::{Known, is_selective, lacks_no_index, own_conditions};
use super::shape::{Scan, Shape, qualified, quoted};
use crate::sql::{Compares, Lexing, last_parameter, normalised};

/// Bytes that are shown of a filter.
const SHOWN: usize = 500;

/// A sentence or two for each such table.
pub(super) fn unserved_filters(shape: &Shape, known: impl Fn(&Scan) -> Option<Known>) -> Vec<String> {
    let mut sentences: Vec<String> = shape.scans.iter().filter_map(|scan| sentence(scan, &known(scan)?)).collect();
    sentences.dedup();
    sentences
}

fn sentence(scan: &Scan, known: &Known) -> Option<String> {
    let filter = scan.filter.as_deref().filter(|_| is_selective(scan, known) && lacks_no_index(scan, known))?;
    let shown = normalised(filter.as_bytes(), &Lexing::default(), SHOWN);
    let (table, rows, wanted) = (qualified(&scan.schema, &scan.table), known.rows, scan.rows.max(1.0));
    let conditions = own_conditions(scan);
    let pattern = conditions.iter().find_map(|condition| match condition.compares {
        Compares::Pattern { any_case } => Some((quoted(&condition.column), any_case)),
        _ => None,
    });
    let what = match pattern {
        Some((column, any_case)) => {
            let is_parameter = last_parameter(filter.as_bytes(), &Lexing::default()) > 0;
            of_pattern(&column, &shown, any_case, is_parameter)
        }
        None if !conditions.is_empty() => {
            format!("An ordinary index does not serve its filter, {shown}: one of another kind (GIN, GiST) may.")
        }
        None if shown.contains(" OR ") => {
            format!("One index does not serve its filter, {shown}: each side of OR needs one of its own.")
        }
        None => format!(
            "No index on a column can help its filter, {shown}: compare the bare column, or index the expression."
        ),
    };
    Some(format!("{table} is read whole, {rows:.0} rows, for about {wanted:.0}. {what}"))
}

/// Which index serves LIKE and the like depends on the pattern, and on more than a plan tells.
fn of_pattern(column: &str, filter: &str, any_case: bool, is_parameter: bool) -> String {
    let trigrams = format!("USING gin ({column} gin_trgm_ops), with the extension pg_trgm");
    if any_case {
        return format!(
            "The pattern of its filter, {filter}, is served by an index of trigrams, {trigrams}, where it has three \
             letters in a row."
        );
    }
    let mut sentence = format!(
        "The pattern of its filter, {filter}, is served by an index on ({column} text_pattern_ops), or on {column} in \
         the collation C, where its beginning is fixed, as that of 'abc%' is; and by one of trigrams, {trigrams}, where \
         it has three letters in a row."
    );
    if is_parameter {
        sentence += " As it is a parameter, a plan for any values does not use the former even where it is there.";
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(filter: &str, rows: f64) -> String {
        let scan = Scan {
            schema: "public".to_owned(),
            table: "orders".to_owned(),
            alias: "o".to_owned(),
            filter: Some(filter.to_owned()),
            rows,
            ..Scan::default()
        };
        let shape = Shape { scans: vec![scan], ..Shape::default() };
        unserved_filters(&shape, |_| Some(Known { rows: 1e6, indexes: Vec::new() })).concat()
    }

    #[test]
    fn a_filter_on_an_expression_is_told_without_its_values() {
        let expression = told("((o.product + 17) = $1)", 5.0);
        assert!(expression.contains("its filter, ((o.product + $2) = $1): compare the bare column"), "{expression}");
        assert_eq!(told("(o.customer = 5)", 5.0), "");
        assert_eq!(told("((o.product + 17) = $1)", 5e5), "");
    }

    #[test]
    fn a_pattern_on_a_bare_column_is_said_to_have_its_kinds_of_index() {
        let like = told("((o.note)::text ~~ 'zzz%'::text)", 5.0);
        assert!(like.contains("(note text_pattern_ops)") && like.contains("(note gin_trgm_ops)"), "{like}");
        assert!(!like.contains("zzz") && !like.contains("bare column") && !like.contains("parameter"), "{like}");
        assert!(told("(o.note ~~ $1)", 5.0).contains("As it is a parameter"));
        let any_case = told("(o.note ~~* 'zzz%'::text)", 5.0);
        assert!(any_case.contains("gin_trgm_ops") && !any_case.contains("text_pattern_ops"), "{any_case}");
    }

    #[test]
    fn of_a_bare_column_nobody_is_told_to_compare_the_bare_column() {
        for filter in ["(o.tags @> '{a}'::text[])", "((o.customer = 5) OR (o.product = 7))", "(o.note !~~ 'a%'::text)"]
        {
            assert!(!told(filter, 5.0).contains("bare column"), "{filter}");
        }
    }
}
