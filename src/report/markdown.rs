//! For a ticket or a page of a wiki: tables in Markdown.

use std::fmt::Write as _;

use super::found::{Cell, Found, Record};
use super::{Wish, figures, moment, narrowed, span, sums};

pub(super) fn written(found: &Found, wish: &Wish) -> String {
    let mut text = format!("# pgweir report\n\n{}{}\n", capital(&span(found)), escaped(&narrowed(wish)));
    if let Some(sums) = sums(found) {
        let _ = writeln!(text, "\n{sums}.");
    }
    for note in &found.notes {
        let _ = writeln!(text, "\n{}", escaped(note));
    }
    let _ = writeln!(text, "\n## Patterns by {}\n", wish.by.words());
    table(
        &mut text,
        "| digest | database/user | total | share | calls | mean | p95 | p99 | wait | rows | errors | statement |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
        found.patterns.iter().map(pattern),
    );
    if !found.repetitions.is_empty() {
        text.push_str("\n## Repeated where one statement would do\n\n");
        table(
            &mut text,
            "| kind | executions | in | most | wasted round trips | saving | database/user | statement | after | advice |",
            "|---|--:|--:|--:|--:|--:|---|---|---|---|",
            found.repetitions.iter().map(repetition),
        );
    }
    if !found.slow.is_empty() {
        text.push_str("\n## Slow executions: the slowest of each pattern\n\n");
        table(
            &mut text,
            "| times | slowest at | database/user | application | total | wait | server | rows | error | statement |",
            "|--:|---|---|---|--:|--:|--:|--:|---|---|",
            found.slow.iter().map(slow),
        );
    }
    let advised = found.plans.iter().filter(|plan| !plan.text("advice").is_empty());
    let advised: Vec<Vec<String>> = advised
        .map(|plan| vec![code(plan.text("digest")), code(plan.text("advice")), code(plan.text("query"))])
        .collect();
    if !advised.is_empty() {
        text.push_str("\n## Indexes\n\n");
        table(&mut text, "| digest | advice | statement |", "|---|---|---|", advised.into_iter());
    }
    text.truncate(text.trim_end().len());
    text
}

fn table(text: &mut String, head: &str, line: &str, rows: impl Iterator<Item = Vec<String>>) {
    let _ = writeln!(text, "{head}\n{line}");
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
}

fn pattern(record: Record<'_>) -> Vec<String> {
    let known = |name| *record.get(name) != Cell::Null;
    let ms = |name| if known(name) { figures::millis(record.float(name)) } else { String::new() };
    let count = |name| figures::count(record.count(name));
    vec![
        code(record.text("digest")),
        place(record),
        ms("total_ms"),
        figures::percent(record.float("share")),
        count("calls"),
        ms("mean_ms"),
        ms("p95_ms"),
        ms("p99_ms"),
        ms("wait_ms"),
        count("rows"),
        count("errors"),
        code(record.text("query")),
    ]
}

fn repetition(record: Record<'_>) -> Vec<String> {
    let count = |name| figures::count(record.count(name));
    vec![
        record.text("kind").to_owned(),
        count("executions"),
        count("units"),
        count("most"),
        count("wasted_round_trips"),
        figures::millis(record.float("saving_ms")),
        place(record),
        code(record.text("query")),
        code(record.text("before")),
        escaped(record.text("advice")),
    ]
}

fn slow(record: Record<'_>) -> Vec<String> {
    let ms = |name| figures::millis(record.float(name));
    vec![
        figures::count(record.count("times")),
        record.time("at").map(moment).unwrap_or_default(),
        place(record),
        escaped(record.text("application")),
        ms("total_ms"),
        ms("wait_ms"),
        ms("server_ms"),
        figures::count(record.count("rows")),
        record.text("sqlstate").to_owned(),
        code(record.text("query")),
    ]
}

fn place(record: Record<'_>) -> String {
    escaped(&format!("{}/{}", record.text("database"), record.text("user")))
}

/// A span of code, in one line, that can hold anything.
fn code(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    if text.is_empty() {
        return text;
    }
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let gap = if longest > 0 { " " } else { "" };
    format!("{fence}{gap}{text}{gap}{fence}")
}

/// A text that means nothing to Markdown.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '&' => {
                shown.push('\\');
                shown.push(character);
            }
            character if character.is_control() => shown.push(' '),
            character => shown.push(character),
        }
    }
    shown
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
