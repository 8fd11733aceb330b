//! For a terminal: as many columns as fit, numbers under each other, texts cut to what is left.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::found::{Cell, Found, Record, Records};
use super::{By, Wish, figures, moment, narrowed, span, sums};

/// What is left for the statement at least.
const LEAST: usize = 24;
/// Digits of a digest that are shown; the console takes the beginning of one.
const DIGITS: usize = 8;

/// A column before the statement.
struct Column {
    title: &'static str,
    /// What the report can be ordered by, of which this is the figure.
    by: Option<By>,
    /// Small numbers come first when there is little room.
    rank: u8,
    left: bool,
    /// There are reports that have it not.
    may_lack: bool,
    cell: fn(Record<'_>) -> String,
}

/// Nothing where it is not known.
fn ms(record: Record<'_>, name: &str) -> String {
    if *record.get(name) == Cell::Null { String::new() } else { figures::millis(record.float(name)) }
}

fn count(record: Record<'_>, name: &str) -> String {
    figures::count(record.count(name))
}

const OF_PATTERNS: &[Column] = &[
    Column { title: "digest", by: None, rank: 1, left: true, may_lack: false, cell: digest },
    Column { title: "total", by: Some(By::Total), rank: 0, left: false, may_lack: false, cell: |r| ms(r, "total_ms") },
    Column {
        title: "share",
        by: None,
        rank: 3,
        left: false,
        may_lack: false,
        cell: |r| figures::percent(r.float("share")),
    },
    Column { title: "calls", by: Some(By::Calls), rank: 0, left: false, may_lack: false, cell: |r| count(r, "calls") },
    Column { title: "mean", by: Some(By::Mean), rank: 0, left: false, may_lack: false, cell: |r| ms(r, "mean_ms") },
    Column { title: "p95", by: Some(By::P95), rank: 2, left: false, may_lack: true, cell: |r| ms(r, "p95_ms") },
    Column { title: "p99", by: Some(By::P99), rank: 4, left: false, may_lack: true, cell: |r| ms(r, "p99_ms") },
    Column { title: "wait", by: Some(By::Wait), rank: 6, left: false, may_lack: false, cell: |r| ms(r, "wait_ms") },
    Column { title: "rows", by: Some(By::Rows), rank: 5, left: false, may_lack: false, cell: |r| count(r, "rows") },
    Column {
        title: "errors",
        by: Some(By::Errors),
        rank: 5,
        left: false,
        may_lack: false,
        cell: |r| count(r, "errors"),
    },
    Column {
        title: "database/user",
        by: None,
        rank: 7,
        left: true,
        may_lack: false,
        cell: |r| format!("{}/{}", r.text("database"), r.text("user")),
    },
];

const OF_SLOW: &[Column] = &[
    Column { title: "digest", by: None, rank: 0, left: true, may_lack: false, cell: digest },
    Column { title: "times", by: None, rank: 0, left: false, may_lack: false, cell: |r| count(r, "times") },
    Column { title: "slowest", by: None, rank: 0, left: false, may_lack: false, cell: |r| ms(r, "total_ms") },
    Column { title: "at (UTC)", by: None, rank: 3, left: true, may_lack: false, cell: at },
    Column { title: "wait", by: None, rank: 1, left: false, may_lack: false, cell: |r| ms(r, "wait_ms") },
    Column { title: "rows", by: None, rank: 2, left: false, may_lack: false, cell: |r| count(r, "rows") },
    Column { title: "error", by: None, rank: 1, left: true, may_lack: false, cell: |r| r.text("sqlstate").to_owned() },
    Column {
        title: "application",
        by: None,
        rank: 5,
        left: true,
        may_lack: false,
        cell: |r| cut(r.text("application"), 24),
    },
];

fn at(record: Record<'_>) -> String {
    record.time("at").map(moment).unwrap_or_default().trim_end_matches(" UTC").to_owned()
}

fn digest(record: Record<'_>) -> String {
    record.text("digest").chars().take(DIGITS).collect()
}

pub(super) fn written(found: &Found, wish: &Wish, width: usize) -> String {
    let mut text = format!("pgweir, {}{}\n", span(found), narrowed(wish));
    if let Some(sums) = sums(found) {
        text.push('\n');
        for line in wrapped(&sums, width.saturating_sub(2)) {
            let _ = writeln!(text, "  {line}");
        }
    }
    for note in &found.notes {
        for line in wrapped(note, width.saturating_sub(2)) {
            let _ = writeln!(text, "  {line}");
        }
    }
    let _ = writeln!(text, "\nPatterns by {}\n", wish.by.words());
    if found.patterns.is_empty() {
        text.push_str("  none\n");
    } else {
        grid(&mut text, OF_PATTERNS, &found.patterns, Some(wish.by), width);
    }
    repetitions(&mut text, found, width);
    if !found.slow.is_empty() {
        text.push_str("\nSlow executions: the slowest of each pattern\n\n");
        grid(&mut text, OF_SLOW, &found.slow, None, width);
    }
    advice(&mut text, found, width);
    text.truncate(text.trim_end().len());
    text
}

/// What would make statements cheaper, by their plans.
fn advice(text: &mut String, found: &Found, width: usize) {
    let advised: Vec<Record<'_>> = found.plans.iter().filter(|plan| !plan.text("advice").is_empty()).collect();
    if advised.is_empty() {
        return;
    }
    text.push_str("\nIndexes\n\n");
    for record in advised {
        let mut label = digest(record);
        for line in wrapped(record.text("advice"), width.saturating_sub(DIGITS + 4)) {
            let _ = writeln!(text, "  {label:<DIGITS$}  {line}");
            label.clear();
        }
    }
}

/// A column with what stands in it, and how wide it is.
struct Filled {
    column: &'static Column,
    cells: Vec<String>,
    wide: usize,
}

/// The columns that fit, the most important first, and the statement in what is left.
fn grid(text: &mut String, columns: &'static [Column], records: &Records, by: Option<By>, width: usize) {
    let fill = |column: &'static Column| {
        let cells: Vec<String> = records.iter().map(column.cell).collect();
        let wide = cells.iter().map(|cell| cell.width()).chain([column.title.width()]).max().unwrap_or(0);
        Filled { column, cells, wide }
    };
    let mut filled: Vec<(usize, Filled)> = columns.iter().map(fill).enumerate().collect();
    filled.retain(|(_, filled)| !filled.column.may_lack || filled.cells.iter().any(|cell| !cell.is_empty()));
    filled.sort_by_key(|(_, filled)| if by.is_some() && filled.column.by == by { 0 } else { filled.column.rank });
    let mut room = width.saturating_sub(2 + LEAST);
    filled.retain(|(_, filled)| {
        let fits = filled.wide + 2 <= room;
        room -= if fits { filled.wide + 2 } else { 0 };
        fits
    });
    filled.sort_by_key(|(place, _)| *place);
    let line = |text: &mut String, cell: &dyn Fn(&Filled) -> &str, statement: &str| {
        text.push_str("  ");
        for (_, filled) in &filled {
            let cell = cell(filled);
            let gap = " ".repeat(filled.wide.saturating_sub(cell.width()));
            let _ = if filled.column.left { write!(text, "{cell}{gap}  ") } else { write!(text, "{gap}{cell}  ") };
        }
        let _ = writeln!(text, "{}", cut(statement, LEAST + room));
    };
    line(text, &|filled| filled.column.title, "statement");
    for (place, record) in records.iter().enumerate() {
        line(text, &|filled| filled.cells.get(place).map_or("", String::as_str), record.text("query"));
    }
}

fn repetitions(text: &mut String, found: &Found, width: usize) {
    if found.repetitions.is_empty() {
        return;
    }
    text.push_str("\nRepeated where one statement would do\n");
    let room = width.saturating_sub(4);
    for record in found.repetitions.iter() {
        let head = format!(
            "{} {} in {} {}, up to {} in one; {} round trips could be saved, which took {}",
            count(record, "executions"),
            record.text("kind"),
            count(record, "units"),
            if record.count("units") == 1 { "transaction or burst" } else { "transactions or bursts" },
            count(record, "most"),
            count(record, "wasted_round_trips"),
            figures::millis(record.float("saving_ms")),
        );
        text.push('\n');
        for line in wrapped(&head, width.saturating_sub(2)) {
            let _ = writeln!(text, "  {line}");
        }
        let mut line = |label: &str, what: &str| {
            let _ = writeln!(text, "    {label:<DIGITS$}  {}", cut(what, room.saturating_sub(DIGITS + 2)));
        };
        line(&digest(record), record.text("query"));
        if !record.text("before").is_empty() {
            line("after", record.text("before"));
        }
        let place = format!("{}/{}", record.text("database"), record.text("user"));
        let who = [place.as_str(), record.text("application"), record.text("route")];
        line("in", &who.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", "));
        for line in wrapped(record.text("advice"), room) {
            let _ = writeln!(text, "    {line}");
        }
    }
}

/// In one line of at most `width` columns, with an ellipsis where something is left out. Nothing in it moves a cursor.
fn cut(text: &str, width: usize) -> String {
    let plain: String = text
        .split(char::is_whitespace)
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|character| !character.is_control())
        .collect();
    if plain.width() <= width {
        return plain;
    }
    let mut shown = String::new();
    let mut used = 0;
    for character in plain.chars() {
        used += character.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        shown.push(character);
    }
    format!("{}…", shown.trim_end())
}

/// Lines of at most `width` columns.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
