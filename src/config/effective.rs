//! The configuration as it holds, with the source of every value: what `pgweir check` prints.

use std::fmt::Write;

use super::draft::default_of;
use super::model::Config;
use super::schema::{Applies, Key, SECTIONS, Section, Shape, Unwritten};
use super::value::{Sheet, Value, Values, quote};
use super::{Loaded, Origins};

/// One key and what holds for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `pool.size`, `databases.app.size`, `users.bob.password`.
    pub key: String,
    /// As it is written in the file, secrets as `…`; `None` where nobody set it and it has no default.
    pub value: Option<String>,
    /// Written in the same way.
    pub default: Option<String>,
    /// Takes effect on a reload; otherwise at the next start.
    pub live: bool,
    pub meaning: &'static str,
}

/// Every key of the single sections, and what databases and users set for themselves.
#[must_use]
pub fn entries(config: &Config) -> Vec<Entry> {
    let sheet = config.write();
    let mut entries = Vec::new();
    let empty = Values::default();
    for section in SECTIONS {
        let mut add = |table: &str, values: &Values, absent_too: bool| {
            let keys = section.all_keys().filter(|key| absent_too || *values.value(key.name) != Value::Absent);
            entries.extend(keys.map(|key| entry(table, key, values.value(key.name))));
        };
        match section.shape {
            Shape::Single => add(section.path, sheet.sections.get(section.path).unwrap_or(&empty), true),
            Shape::Named => {
                sheet.databases.iter().for_each(|(name, v)| add(&format!("{}.{name}", section.path), v, false));
            }
            Shape::Listed => {
                for values in &sheet.users {
                    let Value::Text(name) = values.value("name") else { continue };
                    add(&format!("{}.{name}", section.path), values, false);
                }
            }
        }
    }
    entries
}

fn entry(table: &str, key: &Key, value: &Value) -> Entry {
    Entry {
        key: format!("{table}.{}", key.name),
        value: (*value != Value::Absent).then(|| key.kind.show(value)),
        default: matches!(key.default, Unwritten::Default(_)).then(|| key.kind.show(&default_of(key))),
        live: key.applies != Applies::AtStart,
        meaning: key.meaning,
    }
}

/// One line, before alignment.
struct Line {
    text: String,
    origin: Option<String>,
}

/// Valid TOML with every key, its value and, as a comment, its source. Passwords are shown as `…`; keys without a
/// value stand as comments.
#[must_use]
pub fn effective(loaded: &Loaded) -> String {
    let sheet = loaded.config.write();
    let mut lines = Vec::new();
    for section in SECTIONS {
        match section.shape {
            Shape::Single => single(section, &sheet, &loaded.origins, &mut lines),
            Shape::Named => {
                for (name, values) in &sheet.databases {
                    header(format!("[{}.{}]", section.path, bare_or_quoted(name)), &mut lines);
                    written(section, &format!("{}.{name}", section.path), values, &loaded.origins, &mut lines);
                }
            }
            Shape::Listed => {
                for values in &sheet.users {
                    header(section.header(), &mut lines);
                    let Value::Text(name) = values.value("name") else { continue };
                    written(section, &format!("{}.{name}", section.path), values, &loaded.origins, &mut lines);
                }
            }
        }
    }
    align(&lines)
}

fn header(text: String, lines: &mut Vec<Line>) {
    if !lines.is_empty() {
        lines.push(Line { text: String::new(), origin: None });
    }
    lines.push(Line { text, origin: None });
}

fn single(section: &'static Section, sheet: &Sheet, origins: &Origins, lines: &mut Vec<Line>) {
    header(section.header(), lines);
    let empty = Values::default();
    let values = sheet.sections.get(section.path).unwrap_or(&empty);
    for key in section.keys {
        let path = format!("{}.{}", section.path, key.name);
        lines.push(match values.value(key.name) {
            // `[control]` as a whole is off without a user.
            Value::Absent if origins.0.contains_key(&path) => {
                Line { text: format!("# {} has no effect", key.name), origin: Some(origins.get(&path).to_string()) }
            }
            Value::Absent => Line { text: format!("# {} is not set", key.name), origin: None },
            value => line(key, value, &path, origins),
        });
    }
}

/// Only what somebody wrote: the rest is that of `[server]`, `[listen]` and `[pool]`.
fn written(section: &'static Section, table: &str, values: &Values, origins: &Origins, lines: &mut Vec<Line>) {
    for key in section.all_keys() {
        let path = format!("{table}.{}", key.name);
        let value = values.value(key.name);
        if *value != Value::Absent && origins.0.contains_key(&path) {
            lines.push(line(key, value, &path, origins));
        }
    }
}

fn line(key: &Key, value: &Value, path: &str, origins: &Origins) -> Line {
    Line { text: format!("{} = {}", key.name, key.kind.show(value)), origin: Some(origins.get(path).to_string()) }
}

fn bare_or_quoted(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { name.to_owned() } else { quote(name) }
}

fn align(lines: &[Line]) -> String {
    let wide = |line: &Line| line.text.chars().count();
    let width = lines.iter().filter(|line| line.origin.is_some()).map(wide).filter(|w| *w <= 60).max().unwrap_or(0);
    let mut out = String::new();
    for Line { text, origin } in lines {
        let done = match origin {
            Some(origin) => writeln!(out, "{text:width$}  # {origin}"),
            None => writeln!(out, "{text}"),
        };
        debug_assert!(done.is_ok(), "a String takes every text");
    }
    out
}
