//! One HTML page that needs nothing else: no script, style, font or picture from anywhere. The template escapes every
//! text.

use askama::Template;

use super::found::{Cell, Found, Record};
use super::{Wish, figures, moment, narrowed, span};

#[derive(Template)]
#[template(config = ".askama.toml", path = "page.html", escape = "html")]
struct Page {
    span: String,
    narrowed: String,
    by: &'static str,
    tiles: Vec<Tile>,
    notes: Vec<String>,
    patterns: Vec<Pattern>,
    repetitions: Vec<Repetition>,
    slow: Vec<Slow>,
    plans: Vec<Plan>,
}

/// One of the figures on top.
struct Tile {
    name: &'static str,
    figure: String,
    remark: String,
}

/// A figure as it is shown, and as it is sorted.
struct Figure {
    shown: String,
    sorted: f64,
}

struct Pattern {
    digest: String,
    place: String,
    applications: String,
    errors_by_code: String,
    figures: Vec<Figure>,
    /// Of a hundred, for the bar.
    share: f64,
    query: String,
}

struct Repetition {
    head: String,
    saving: String,
    place: String,
    query: String,
    before: String,
    advice: String,
}

struct Slow {
    at: String,
    place: String,
    application: String,
    figures: Vec<Figure>,
    sqlstate: String,
    query: String,
}

struct Plan {
    query: String,
    advice: String,
    shape: String,
}

pub(super) fn written(found: &Found, wish: &Wish) -> String {
    let page = Page {
        span: span(found),
        narrowed: narrowed(wish),
        by: wish.by.words(),
        tiles: found.summary.iter().next().map(tiles).unwrap_or_default(),
        notes: found.notes.clone(),
        patterns: found.patterns.iter().map(pattern).collect(),
        repetitions: found.repetitions.iter().map(repetition).collect(),
        slow: found.slow.iter().map(slow).collect(),
        plans: found.plans.iter().filter(|plan| plan.text("error").is_empty()).map(plan).collect(),
    };
    // Writing to a text cannot fail.
    page.render().unwrap_or_default()
}

fn tiles(summary: Record<'_>) -> Vec<Tile> {
    let time = |name, column| Tile {
        name,
        figure: figures::millis(summary.float(column)),
        remark: match summary.float("total_ms") {
            all if all > 0.0 && column != "total_ms" => figures::percent(summary.float(column) / all * 100.0),
            _ => String::new(),
        },
    };
    let count = |name, column| Tile { name, figure: figures::count(summary.count(column)), remark: String::new() };
    let mut patterns = count("patterns", "patterns");
    if summary.count("folded") > 0 {
        patterns.remark = format!("{} more had no room", figures::count(summary.count("folded")));
    }
    let mut calls = count("calls", "calls");
    if summary.count("own_statements") > 0 {
        calls.remark = format!("and {} by pgweir itself", figures::count(summary.count("own_statements")));
    }
    vec![
        calls,
        patterns,
        count("errors", "errors"),
        count("rows", "rows"),
        time("total time", "total_ms"),
        time("in PostgreSQL", "server_ms"),
        time("waiting for a backend", "wait_ms"),
        time("until clients had read", "drain_ms"),
    ]
}

fn ms(record: Record<'_>, name: &str) -> Figure {
    let known = *record.get(name) != Cell::Null;
    Figure {
        shown: if known { figures::millis(record.float(name)) } else { String::new() },
        sorted: record.float(name),
    }
}

fn count(record: Record<'_>, name: &str) -> Figure {
    let count = record.count(name);
    #[expect(clippy::cast_precision_loss, reason = "rows are sorted by it, no more")]
    let sorted = count as f64;
    Figure { shown: figures::count(count), sorted }
}

fn pattern(record: Record<'_>) -> Pattern {
    let share = record.float("share");
    Pattern {
        digest: record.text("digest").to_owned(),
        place: place(record),
        applications: record.text("applications").to_owned(),
        errors_by_code: record.text("sqlstates").to_owned(),
        figures: vec![
            ms(record, "total_ms"),
            Figure { shown: figures::percent(share), sorted: share },
            count(record, "calls"),
            ms(record, "mean_ms"),
            ms(record, "p95_ms"),
            ms(record, "p99_ms"),
            ms(record, "wait_ms"),
            count(record, "rows"),
            count(record, "errors"),
        ],
        share,
        query: record.text("query").to_owned(),
    }
}

fn repetition(record: Record<'_>) -> Repetition {
    let shown = |name| figures::count(record.count(name));
    Repetition {
        head: format!(
            "{} {} in {} {} of work, up to {} in one: {} round trips too many",
            shown("executions"),
            record.text("kind"),
            shown("units"),
            if record.count("units") == 1 { "unit" } else { "units" },
            shown("most"),
            shown("wasted_round_trips"),
        ),
        saving: figures::millis(record.float("saving_ms")),
        place: [place(record).as_str(), record.text("application"), record.text("route")]
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect::<Vec<_>>()
            .join(" · "),
        query: record.text("query").to_owned(),
        before: record.text("before").to_owned(),
        advice: record.text("advice").to_owned(),
    }
}

fn slow(record: Record<'_>) -> Slow {
    Slow {
        at: record.time("at").map(moment).unwrap_or_default(),
        place: place(record),
        application: record.text("application").to_owned(),
        figures: vec![
            count(record, "times"),
            ms(record, "total_ms"),
            ms(record, "wait_ms"),
            ms(record, "server_ms"),
            ms(record, "drain_ms"),
            count(record, "rows"),
        ],
        sqlstate: record.text("sqlstate").to_owned(),
        query: record.text("query").to_owned(),
    }
}

fn plan(record: Record<'_>) -> Plan {
    Plan {
        query: record.text("query").to_owned(),
        advice: record.text("advice").to_owned(),
        shape: record.text("plan").to_owned(),
    }
}

fn place(record: Record<'_>) -> String {
    format!("{}/{}", record.text("database"), record.text("user"))
}
