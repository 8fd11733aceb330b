//! SHOW QUERY: all that is known of one pattern, a line for each fact.

use std::collections::BTreeSet;

use super::Row;
use super::queries;
use crate::admin::table::{Column, Type, Value};
use crate::insight::view::{Application, PatternName, Summary};
use crate::wire::build::Fault;

pub(super) const COLUMNS: &[Column] =
    &[Column::new("of", Type::Text), Column::new("name", Type::Text), Column::new("value", Type::Text)];

/// Facts of the pattern itself, once, stand in these columns of SHOW QUERIES.
const OF_PATTERN: [&str; 6] = ["digest", "kind", "fingerprint", "tables", "query", "share"];
/// Has lines of its own.
const APPLICATIONS: &str = "applications";

/// The facts of the pattern whose digest begins with `digest`.
///
/// # Errors
/// There is no such pattern, or more than one.
pub(super) fn rows(summary: &Summary, digest: &str) -> Result<Vec<Row>, Fault> {
    let is_meant = |pattern: &PatternName| pattern.digest.to_string().starts_with(digest);
    let patterns = summary.rows.iter().filter_map(|row| row.pattern.as_deref()).filter(|pattern| is_meant(pattern));
    let digests: BTreeSet<String> = patterns.clone().map(|pattern| pattern.digest.to_string()).collect();
    let Some(pattern) = patterns.clone().next() else {
        return Err(Fault::error("42704", format!("no pattern has a digest that begins with {digest}"))
            .hint("SHOW QUERIES lists the patterns that were seen; those with no room of their own are <other>."));
    };
    if digests.len() > 1 {
        let digests: Vec<String> = digests.into_iter().take(5).collect();
        return Err(Fault::error("42725", format!("several patterns have digests that begin with {digest}"))
            .detail(format!("Among them are {}.", digests.join(", "))));
    }
    let mut facts = vec![
        fact("pattern", "digest", pattern.digest.to_string()),
        fact("pattern", "fingerprint", pattern.fingerprint.as_deref().unwrap_or_default()),
        fact("pattern", "kind", pattern.kind.to_string()),
        fact("pattern", "reads", pattern.reads.join(", ")),
        fact("pattern", "writes", pattern.writes.join(", ")),
        fact("pattern", "query", &*pattern.text),
    ];
    let meant = summary.rows.iter().zip(queries::rows(summary));
    for (row, figures) in meant.filter(|(row, _)| row.pattern.as_deref().is_some_and(is_meant)) {
        let of = format!("{}/{}", row.database, row.user);
        let named = queries::COLUMNS.iter().zip(&figures);
        let own = named.filter(|(column, _)| !OF_PATTERN.contains(&column.name) && !is_key(column.name));
        facts.extend(own.map(|(column, value)| fact(&of, column.name, value.to_text().unwrap_or_default())));
        facts.extend(row.applications.iter().map(|one| {
            let Application { name, calls, errors, rows, .. } = one;
            let time = Value::millis(one.total()).to_text().unwrap_or_default();
            fact(&of, "application", format!("{name}: {calls} calls, {errors} errors, {rows} rows, {time} ms"))
        }));
    }
    Ok(facts)
}

fn is_key(column: &str) -> bool {
    matches!(column, "database" | "user" | APPLICATIONS)
}

fn fact(of: &str, name: &str, value: impl Into<String>) -> Row {
    vec![Value::text(of), Value::text(name), Value::text(value)]
}
