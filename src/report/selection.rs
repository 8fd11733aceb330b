//! A report of one database, user or application: its sums are theirs, and shares are of their time.

use std::collections::HashSet;

use super::figures;
use super::found::{Cell, Found, Record, Records};

/// What is asked of all patterns that are wanted, listed or not.
pub(super) const COLUMNS: &str = "digest, calls, errors, rows, total_ms, wait_ms, server_ms, drain_ms";
/// How the console calls applications that it has no names of.
pub(super) const OTHERS: &str = "<other>";

/// Puts the sums of `all` in place of those of everything.
pub(super) fn sum(found: &mut Found, all: &Records) {
    let count = |name: &str| Cell::Int(all.iter().map(|row| row.count(name)).sum());
    let time = |name: &str| all.iter().map(|row| row.float(name)).sum::<f64>();
    let summary = &mut found.summary;
    for name in ["calls", "errors", "rows"] {
        summary.put(name, |_| count(name));
    }
    for name in ["total_ms", "wait_ms", "server_ms", "drain_ms"] {
        summary.put(name, |_| Cell::Float(time(name)));
    }
    summary.put("patterns", |_| Cell::Int(digests(all).len().try_into().unwrap_or(i64::MAX)));
    // Nobody's in particular.
    for name in ["folded", "own_statements"] {
        summary.put(name, |_| Cell::Null);
    }
    let total = time("total_ms");
    let share =
        |row: Record<'_>| if total > 0.0 { (row.float("total_ms") / total * 10_000.0).round() / 100.0 } else { 0.0 };
    found.patterns.put("share", |row| Cell::Float(share(row)));
}

/// The patterns that are among them.
pub(super) fn digests(all: &Records) -> HashSet<String> {
    let digests = all.iter().map(|row| row.text("digest").to_owned());
    digests.filter(|digest| !digest.is_empty()).collect()
}

/// What must be known of the figures of one application.
pub(super) fn notes(application: &str, others: &Records) -> Vec<String> {
    let mut notes = vec![format!(
        "All figures are those of {application} alone. Percentiles, which are kept for all applications of a pattern \
         together, are in SHOW QUERY."
    )];
    let calls: i64 = others.iter().map(|row| row.count("calls")).sum();
    if calls > 0 {
        notes.push(format!(
            "{} {} of applications that have no name of their own: each pattern tells ten apart.",
            figures::count(calls),
            if calls == 1 { "call was" } else { "calls were" },
        ));
    }
    notes
}
