//! For programs: everything as JSON, the patterns as CSV. Times are in milliseconds.

use serde_json::{Value, json};

use super::found::{Found, Records};

pub(super) fn json(found: &Found) -> String {
    let one = |records: &Records| match records.to_json() {
        Value::Array(rows) => rows.into_iter().next().unwrap_or(Value::Null),
        other => other,
    };
    let all = json!({
        "summary": one(&found.summary),
        "patterns": found.patterns.to_json(),
        "slow": found.slow.to_json(),
        "repetitions": found.repetitions.to_json(),
        "plans": found.plans.to_json(),
        "notes": found.notes,
    });
    serde_json::to_string_pretty(&all).unwrap_or_default()
}

/// RFC 4180, with a first line of names.
pub(super) fn csv(records: &Records) -> String {
    let line = |fields: Vec<String>| fields.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",");
    let rows = records.rows.iter().map(|row| line(row.iter().map(super::found::Cell::plain).collect()));
    std::iter::once(line(records.columns.clone())).chain(rows).collect::<Vec<_>>().join("\r\n")
}

/// Quoted where need be. What a spreadsheet would take for a formula is made a text.
fn quoted(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '@', '\t']) || (field.starts_with('-') && field.parse::<f64>().is_err());
    let field = if formula { format!("'{field}") } else { field.to_owned() };
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

#[cfg(test)]
mod tests {
    use super::super::found::Cell;
    use super::*;

    #[test]
    fn csv_quotes_what_would_break_a_line_or_be_a_formula() {
        let text = |text: &str| Cell::Text(text.to_owned());
        let rows = vec![
            vec![text("SELECT \"a\", b"), Cell::Float(-1.5), Cell::Null],
            vec![text("=1+1"), Cell::Int(2), text("two\nlines")],
        ];
        let written = csv(&Records::of(&["query", "n", "rest"], rows));
        assert_eq!(written, "query,n,rest\r\n\"SELECT \"\"a\"\", b\",-1.5,\r\n'=1+1,2,\"two\nlines\"");
    }
}
