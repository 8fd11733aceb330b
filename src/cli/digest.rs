//! `pgweir digest`: what pgweir makes of a text in SQL.

use std::fmt::Write as _;
use std::io::Read;

use anyhow::Context;
use serde_json::{Value, json};

use super::words;
use crate::sql::{self, Lexing, Pattern, Patterns, custom_names};

/// How patterns are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    Text,
    /// A list of objects, one for each statement.
    Json,
}

/// Reads SQL from standard input and returns the pattern of each statement: digest, fingerprint, normalised text and
/// traits.
///
/// # Errors
/// Standard input can't be read.
pub(super) fn described(format: Format) -> anyhow::Result<String> {
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text).context("reading SQL from standard input")?;
    Ok(written(&text, format))
}

fn written(text: &[u8], format: Format) -> String {
    let lexing = Lexing::default();
    let patterns = Patterns::new(1);
    let statements: Vec<&[u8]> = sql::statements(text, &lexing).filter_map(|range| text.get(range)).collect();
    let learnt = statements.into_iter().map(|statement| {
        let settings: Vec<String> = custom_names(statement).collect();
        (patterns.learn(statement, &lexing), settings)
    });
    match format {
        Format::Text => {
            learnt.map(|(pattern, settings)| describe(&pattern, &settings)).collect::<Vec<_>>().join("\n\n")
        }
        Format::Json => {
            let all: Vec<Value> = learnt.map(|(pattern, settings)| object(&pattern, &settings)).collect();
            serde_json::to_string_pretty(&all).unwrap_or_default()
        }
    }
}

fn shapes(pattern: &Pattern) -> Vec<&'static str> {
    let shape = &pattern.traits.shape;
    let shapes = [
        (shape.returns_rows, "returns rows"),
        (shape.limited, "limited"),
        (shape.filtered, "filtered"),
        (shape.star, "star"),
        (shape.locks_rows, "locks rows"),
    ];
    shapes.into_iter().filter_map(|(is, name)| is.then_some(name)).collect()
}

fn commands(pattern: &Pattern) -> Vec<String> {
    pattern.traits.commands.iter().filter_map(words::command).collect()
}

fn describe(pattern: &Pattern, settings: &[String]) -> String {
    let traits = &pattern.traits;
    let shapes = shapes(pattern);
    let rows = [
        ("digest", pattern.digest.to_string()),
        ("fingerprint", pattern.fingerprint.as_deref().unwrap_or("none: it does not parse").to_owned()),
        ("kind", traits.kind.to_string()),
        ("statements", traits.statements.to_string()),
        ("reads", traits.reads.join(", ")),
        ("writes", traits.writes.join(", ")),
        ("user functions", traits.functions.join(", ")),
        ("effects", words::effects(traits.effects).join("; ")),
        ("commands", commands(pattern).join(", ")),
        (
            "shape",
            format!("{}{}{} joins", shapes.join(", "), if shapes.is_empty() { "" } else { ", " }, traits.shape.joins),
        ),
        ("settings", settings.join(", ")),
    ];
    let mut described = String::new();
    for (name, value) in rows {
        let _ = writeln!(described, "{name:<15} {}", if value.is_empty() { "-" } else { &value });
    }
    described.push('\n');
    described.push_str(&pattern.normalised);
    described
}

fn object(pattern: &Pattern, settings: &[String]) -> Value {
    let traits = &pattern.traits;
    json!({
        "digest": pattern.digest.to_string(),
        "fingerprint": pattern.fingerprint.as_deref(),
        "text": &*pattern.normalised,
        "kind": traits.kind.to_string(),
        "reads": traits.reads.iter().map(|name| &**name).collect::<Vec<_>>(),
        "writes": traits.writes.iter().map(|name| &**name).collect::<Vec<_>>(),
        "user_functions": traits.functions.iter().map(|name| &**name).collect::<Vec<_>>(),
        "effects": words::effects(traits.effects),
        "commands": commands(pattern),
        "shape": shapes(pattern),
        "joins": traits.shape.joins,
        "settings": settings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_readme_shows_is_what_it_prints() {
        let readme = include_str!("../../README.md");
        let text = b"SELECT name FROM users WHERE id IN (1, 2, 3) AND plan = 'pro' -- daily";
        let described = written(text, Format::Text);
        assert!(readme.contains(&described), "{described}");
    }

    #[test]
    fn what_a_statement_does_to_its_session_is_said_in_words() {
        let rows = |sql: &str| {
            let written = written(sql.as_bytes(), Format::Text);
            let row = |name: &str| {
                let row = written.lines().find_map(|line| line.strip_prefix(name)).expect("the row");
                row.trim().to_owned()
            };
            [row("user functions "), row("effects "), row("commands ")]
        };
        assert_eq!(rows("SELECT 1"), ["-", "-", "-"]);
        assert_eq!(rows("SET app.x = 'secret'"), ["-", "changes settings", "SET app.x"]);
        assert_eq!(rows("SET LOCAL app.x = 'secret'")[2], "SET LOCAL app.x");
        assert_eq!(rows("ALTER ROLE x SET work_mem = '1MB'")[2], "ALTER ROLE x");
        assert_eq!(rows("SELECT pg_advisory_lock(1)"), ["-", "takes advisory locks of the session", "-"]);
        assert_eq!(rows("SELECT nextval('s'), mine()"), ["mine", "may advance sequences; may run code of users", "-"]);
        assert_eq!(rows("DO $$ BEGIN END $$"), ["-", "may run code of users; runs code without a name", "-"]);
        assert_eq!(rows("DEALLOCATE ALL"), ["-", "deallocates prepared statements", "DEALLOCATE ALL"]);
    }

    #[test]
    fn each_statement_is_a_pattern_of_its_own() {
        let text = b"SELECT 1; INSERT INTO t VALUES ('a;b'), ('c');\n-- nothing\n; SELEC nonsense";
        let all: Value = serde_json::from_str(&written(text, Format::Json)).expect("JSON");
        let texts: Vec<&str> = all.as_array().expect("a list").iter().filter_map(|one| one["text"].as_str()).collect();
        assert_eq!(texts, ["SELECT $1", "INSERT INTO t VALUES ($1), ...", "SELEC nonsense"]);
        assert_eq!(all[1]["writes"][0], "t");
        assert_eq!(all[2]["fingerprint"], Value::Null);
        assert_eq!(written(text, Format::Text).matches("digest  ").count(), 3);
    }
}
