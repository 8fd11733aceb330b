//! Reports of made-up answers, in all their forms.

use std::time::{Duration, SystemTime};

use unicode_width::UnicodeWidthStr;

use super::found::{Cell, Found, Records};
use super::{By, Format, Wish, selection, written};

fn wish() -> Wish {
    Wish { by: By::Total, top: 20, since: None, database: None, user: None, application: None }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

const NOTE: &str = "All figures are those of <web>.";
const HOSTILE: &str = "SELECT '<script>alert(1)</script>' | `x` \u{1b}[31m FROM \"a & b\" WHERE \"column\" = $1";

fn at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// Three patterns, one hostile; a repetition; a slow execution that failed; a plan.
fn found() -> Found {
    let (summary, patterns, slow) = (summary(), patterns(), slow());
    Found { summary, patterns, slow, repetitions: repetitions(), plans: plans(), notes: vec![NOTE.to_owned()] }
}

fn summary() -> Records {
    Records::of(
        &[
            "since",
            "until",
            "patterns",
            "folded",
            "calls",
            "errors",
            "rows",
            "total_ms",
            "wait_ms",
            "server_ms",
            "drain_ms",
            "own_statements",
        ],
        vec![vec![
            Cell::Time(at()),
            Cell::Time(at() + Duration::from_secs(3725)),
            Cell::Int(3),
            Cell::Int(2),
            Cell::Int(1_234_567),
            Cell::Int(1),
            Cell::Int(55_000),
            Cell::Float(250_000.0),
            Cell::Float(1_000.0),
            Cell::Float(240_000.0),
            Cell::Float(9_000.0),
            Cell::Int(12),
        ]],
    )
}

fn patterns() -> Records {
    let pattern = |digest: &str, calls: i64, total: f64, query: &str| {
        vec![
            text(digest),
            text("shop"),
            text("till"),
            Cell::Int(calls),
            Cell::Int(1),
            Cell::Int(calls * 3),
            Cell::Float(total),
            Cell::Float(total / 2500.0),
            Cell::Float(total / 1000.0),
            Cell::Float(12.345),
            Cell::Float(45.6),
            Cell::Float(0.25),
            text("web 12, worker 3"),
            text("40001 1"),
            text(query),
        ]
    };
    let long = "SELECT o.id, o.status, sum(i.quantity * i.price) FROM orders o JOIN order_items i ON i.\"order\" = o.id \
                WHERE o.customer = $1 GROUP BY o.id ORDER BY o.placed DESC LIMIT $2";
    Records::of(
        &[
            "digest",
            "database",
            "user",
            "calls",
            "errors",
            "rows",
            "total_ms",
            "share",
            "mean_ms",
            "p95_ms",
            "p99_ms",
            "wait_ms",
            "applications",
            "sqlstates",
            "query",
        ],
        vec![
            pattern("c6032bf043d1907c", 1_234_000, 200_000.0, long),
            pattern("00000000000000ff", 560, 40_000.0, HOSTILE),
            pattern("1234567890abcdef", 7, 0.5, "COMMIT"),
        ],
    )
}

fn repetitions() -> Records {
    Records::of(
        &[
            "kind",
            "database",
            "user",
            "application",
            "units",
            "executions",
            "most",
            "wasted_round_trips",
            "saving_ms",
            "digest",
            "query",
            "before",
            "advice",
        ],
        vec![vec![
            text("reads"),
            text("shop"),
            text("till"),
            text("web"),
            Cell::Int(40),
            Cell::Int(800),
            Cell::Int(25),
            Cell::Int(760),
            Cell::Float(912.0),
            text("1111111111111111"),
            text("SELECT name FROM products WHERE id = $1"),
            text("SELECT id FROM orders"),
            text("Read all rows at once: join the table, or ask for a list of keys with = ANY ($1)."),
        ]],
    )
}

fn slow() -> Records {
    Records::of(
        &[
            "at",
            "database",
            "user",
            "application",
            "total_ms",
            "wait_ms",
            "server_ms",
            "drain_ms",
            "rows",
            "sqlstate",
            "query",
        ],
        vec![vec![
            Cell::Time(at()),
            text("shop"),
            text("till"),
            text("web"),
            Cell::Float(2500.0),
            Cell::Float(100.0),
            Cell::Float(2400.0),
            Cell::Float(0.0),
            Cell::Int(1),
            text("57014"),
            text(HOSTILE),
        ]],
    )
}

fn plans() -> Records {
    Records::of(
        &["digest", "advice", "plan", "query"],
        vec![vec![
            text("c6032bf043d1907c"),
            text(
                "orders is read whole, 50000 rows, for about 10: CREATE INDEX CONCURRENTLY ON public.orders (customer);",
            ),
            text("Sort  (cost 9, rows 1)\n  Seq Scan on orders  (cost 8, rows 1)"),
            text(HOSTILE),
        ]],
    )
}

#[test]
fn a_table_fits_the_terminal_and_shows_more_in_a_wider_one() {
    for width in [60, 80, 100, 140, 200] {
        let table = written(&found(), &wish(), Format::Table, width);
        let widest = table.lines().map(UnicodeWidthStr::width).max().unwrap_or(0);
        assert!(widest <= width, "{widest} columns of {width}:\n{table}");
        assert!(!table.contains('\u{1b}'), "nothing moves the cursor");
    }
    let narrow = written(&found(), &wish(), Format::Table, 80);
    assert!(narrow.contains("c6032bf0") && narrow.contains("1,234,000") && narrow.contains('…'), "{narrow}");
    assert!(!narrow.contains("shop/till  SELECT"), "{narrow}");
    let wide = written(&found(), &wish(), Format::Table, 200);
    assert!(wide.contains("CREATE INDEX CONCURRENTLY ON public.orders (customer);"), "{wide}");
    assert!(wide.contains("database/user") && wide.contains("45.6 ms"), "{wide}");
}

#[test]
fn the_figure_that_orders_a_report_is_in_it_however_narrow() {
    let wish = Wish { by: By::Wait, ..wish() };
    let table = written(&found(), &wish, Format::Table, 80);
    assert!(table.contains("Patterns by time waiting") && table.contains("wait  "), "{table}");
    assert!(table.contains("250 µs"), "{table}");
}

#[test]
fn the_page_escapes_every_text_and_asks_for_nothing_from_outside() {
    let page = written(&found(), &wish(), Format::Html, 0);
    assert!(!page.contains("<script>alert"), "escaped");
    assert!(page.contains("&#60;script&#62;alert") || page.contains("&lt;script&gt;alert"));
    for outside in ["http://", "https://", "url(", "@import", "src="] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("1,234,000") && page.contains("760 round trips too many") && page.contains("57014"));
}

#[test]
fn one_unit_of_work_is_no_units() {
    let mut found = found();
    found.repetitions.put("units", |_| Cell::Int(1));
    let page = written(&found, &wish(), Format::Html, 0);
    assert!(page.contains("800 reads in 1 unit of work, up to 25 in one"), "{page}");
}

#[test]
fn markdown_keeps_each_row_in_one_line_with_its_columns() {
    let page = written(&found(), &wish(), Format::Markdown, 0);
    let row = page.lines().find(|line| line.contains("00000000000000ff")).expect("the hostile pattern");
    let bars = row.replace("\\|", "").matches('|').count();
    assert_eq!(bars, 13, "{row}");
    assert!(row.contains("`` SELECT '<script>"), "{row}");
}

#[test]
fn json_gives_every_column_with_its_type() {
    let json: serde_json::Value = serde_json::from_str(&written(&found(), &wish(), Format::Json, 0)).expect("JSON");
    assert_eq!(json["summary"]["since"], "2023-11-14T22:13:20.000Z");
    assert_eq!(json["patterns"][0]["calls"], 1_234_000);
    assert_eq!(json["patterns"][1]["query"], HOSTILE);
    assert_eq!(json["slow"][0]["total_ms"], 2500.0);
    assert_eq!(json["repetitions"][0]["most"], 25);
}

#[test]
fn a_report_of_nothing_says_so() {
    let table = written(&Found::default(), &wish(), Format::Table, 80);
    assert!(table.contains("nothing was measured") && table.contains("none"), "{table}");
    for format in [Format::Html, Format::Markdown, Format::Json, Format::Csv] {
        assert!(!written(&Found::default(), &wish(), format, 80).contains("NaN"));
    }
}

#[test]
fn every_form_for_people_has_the_notes_and_no_percentiles_where_none_are_known() {
    let mut found = found();
    for form in [Format::Table, Format::Markdown, Format::Html, Format::Json] {
        let text = written(&found, &wish(), form, 140);
        let spared = ["<web>", "&#60;web&#62;", "&lt;web&gt;", "\\<web\\>"];
        assert!(spared.iter().any(|web| text.contains(&format!("All figures are those of {web}."))), "{text}");
    }
    assert!(written(&found, &wish(), Format::Table, 140).contains("p95"));
    for name in ["p95_ms", "p99_ms"] {
        found.patterns.put(name, |_| Cell::Null);
    }
    let table = written(&found, &wish(), Format::Table, 140);
    assert!(!table.contains("p95") && !table.contains("p99") && table.contains("mean"), "{table}");
    assert!(written(&found, &wish(), Format::Markdown, 0).contains("| 200.0 ms |  |  | 250 µs |"));
}

#[test]
fn a_selection_has_its_own_sums_and_shares() {
    let mut found = found();
    let first: Vec<_> = found.patterns.rows.iter().take(2).cloned().collect();
    let all = Records { columns: found.patterns.columns.clone(), rows: first };
    selection::sum(&mut found, &all);
    let summary = found.summary.iter().next().expect("one row");
    assert_eq!((summary.count("calls"), summary.count("patterns"), summary.count("folded")), (1_234_560, 2, 0));
    assert!((summary.float("total_ms") - 240_000.0).abs() < 0.001);
    let shares: Vec<f64> = found.patterns.iter().map(|row| row.float("share")).collect();
    assert_eq!(shares, [83.33, 16.67, 0.0]);
}
