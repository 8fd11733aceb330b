//! SHOW HELP.

use super::{Report, Row};
use crate::admin::table::{Column, Type, Value};

pub(super) const COLUMNS: &[Column] = &[Column::new("command", Type::Text), Column::new("shows", Type::Text)];

pub(super) fn rows() -> Vec<Row> {
    let reports = Report::ALL.into_iter().map(|report| {
        let argument = if report == Report::Query { " digest" } else { "" };
        let since = if report.has_spans() { " [SINCE '1h']" } else { "" };
        row(format!("SHOW {}{argument}{since}", report.name()), shows(report))
    });
    let clauses = [
        ("SHOW report (column, column)", "the columns named; (*) is all, some are shown only then"),
        (
            "SHOW report WHERE column = value",
            "with = <> < <= > >= LIKE ILIKE IN, IS NULL, AND, OR, NOT and parentheses",
        ),
        ("SHOW report ORDER BY column DESC LIMIT n", "the greatest first, n rows"),
    ];
    reports.chain(clauses.map(|(command, text)| row(command.to_owned(), text))).collect()
}

fn row(command: String, text: &str) -> Row {
    vec![Value::Text(command), Value::text(text)]
}

fn shows(report: Report) -> &'static str {
    match report {
        Report::Applications => "what each application had of each pattern: calls, errors, rows, times",
        Report::Budgets => "which share of reads, lists and writes is as fast as insight.budgets wants them",
        Report::Clients => "who is connected, and who has a backend",
        Report::Config => "every key of the configuration, its value and its default",
        Report::Help => "this",
        Report::Limits => "the limits of the configuration, and how often each was met",
        Report::Plans => {
            "how PostgreSQL would run what was slow, and the index that would help; with insight.plans = true"
        }
        Report::Pools => "each pool: its backends, who waits, and for how long",
        Report::Queries => "each pattern of statements by database and user: calls, errors, rows, times",
        Report::Query => "all that is known of one pattern",
        Report::Repetitions => "statements that are repeated where one would do, and what that costs",
        Report::Slow => "single executions that took longer than their threshold",
        Report::Summary => "the sums of all patterns",
        Report::Trends => {
            "patterns that are new, slower or more frequent than in the span of time before, an hour if not said"
        }
        Report::Version => "the version of pgweir",
    }
}
