//! What statements do to their sessions and to tables. Each row is a statement and what must be told of it.

mod commands;
mod definitions;
mod effects;
mod hard;
mod tables;

use std::sync::Arc;

use crate::sql::{Command, Effects, Lexing, Pattern, Patterns};

fn learn(text: &str) -> Arc<Pattern> {
    Patterns::new(1).learn(text.as_bytes(), &Lexing::default())
}

fn parsed(text: &str) -> Arc<Pattern> {
    let pattern = learn(text);
    assert!(pattern.fingerprint.is_some(), "does not parse: {text}");
    pattern
}

/// Names of effects, as `SETTINGS ROLE`, without what definitions have in common; `none` for none.
fn assert_effects(rows: &[(&str, &str)]) {
    for (text, effects) in rows {
        let found = parsed(text).traits.effects.without(Effects::UNSETS | Effects::DEFINES);
        assert_eq!(found.to_string(), *effects, "{text}");
    }
}

fn assert_commands(rows: &[(&str, &[Command])]) {
    for (text, commands) in rows {
        let traits = &parsed(text).traits;
        assert_eq!(&*traits.commands, *commands, "{text}");
        assert_eq!(traits.statements, commands.len(), "{text}");
    }
}

fn names(names: &[Box<str>]) -> String {
    names.join(" ")
}
