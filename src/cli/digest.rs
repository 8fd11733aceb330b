//! `pgweir digest`: what pgweir makes of a text in SQL.

use std::fmt::Write as _;
use std::io::Read;

use anyhow::Context;

use crate::sql::{Lexing, Pattern, Patterns, custom_names};

/// Reads SQL from standard input and returns its pattern: digest, fingerprint, normalised text and traits.
///
/// # Errors
/// Standard input can't be read.
pub(super) fn described() -> anyhow::Result<String> {
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text).context("reading SQL from standard input")?;
    let lexing = Lexing::default();
    let pattern = Patterns::new(1).learn(&text, &lexing);
    let settings: Vec<String> = custom_names(&text).collect();
    Ok(describe(&pattern, &settings))
}

fn describe(pattern: &Pattern, settings: &[String]) -> String {
    let traits = &pattern.traits;
    let shape = &traits.shape;
    let shapes = [
        (shape.returns_rows, "returns rows"),
        (shape.limited, "limited"),
        (shape.filtered, "filtered"),
        (shape.star, "star"),
        (shape.locks_rows, "locks rows"),
    ];
    let shapes: Vec<&str> = shapes.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
    let commands: Vec<String> = traits.commands.iter().map(|command| format!("{command:?}")).collect();
    let rows = [
        ("digest", pattern.digest.to_string()),
        ("fingerprint", pattern.fingerprint.as_deref().unwrap_or("none: it does not parse").to_owned()),
        ("kind", traits.kind.to_string()),
        ("statements", traits.statements.to_string()),
        ("reads", traits.reads.join(", ")),
        ("writes", traits.writes.join(", ")),
        ("functions", traits.functions.join(", ")),
        ("effects", traits.effects.to_string()),
        ("commands", commands.join(", ")),
        ("shape", format!("{}{}{} joins", shapes.join(", "), if shapes.is_empty() { "" } else { ", " }, shape.joins)),
        ("settings", settings.join(", ")),
    ];
    let mut described = String::new();
    for (name, value) in rows {
        let _ = writeln!(described, "{name:<12} {}", if value.is_empty() { "-" } else { &value });
    }
    described.push('\n');
    described.push_str(&pattern.normalised);
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_readme_shows_is_what_it_prints() {
        let readme = include_str!("../../README.md");
        let text = b"SELECT name FROM users WHERE id IN (1, 2, 3) AND plan = 'pro' -- daily";
        let described = describe(&Patterns::new(1).learn(text, &Lexing::default()), &[]);
        assert!(readme.contains(&described), "{described}");
    }
}
