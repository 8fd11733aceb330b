//! Commands.

use proptest::prelude::*;

use super::super::ask::{self, Asked, Asker};

fn asker() -> Asker {
    Asker { user: "bob".to_owned(), application: "psql".to_owned() }
}

const WORDS: &[&str] = &[
    "SHOW",
    "QUERIES",
    "QUERY",
    "POOLS",
    "SLOW",
    "CONFIG",
    "WHERE",
    "AND",
    "OR",
    "NOT",
    "LIKE",
    "IN",
    "IS",
    "NULL",
    "ORDER",
    "BY",
    "DESC",
    "LIMIT",
    "SINCE",
    "(",
    ")",
    "*",
    ",",
    ";",
    "=",
    "<>",
    "<",
    "-",
    "1",
    "'1h'",
    "'",
    "$1",
    "$0",
    "$99999999999",
    "calls",
    "query",
    "database",
    "\"user\"",
    "\"",
    "SELECT",
    "FROM",
    "pg_type",
    "version",
    "()",
    ".",
    "::",
    "text",
    "AS",
    "é",
    "\u{1}",
    "0123abcd",
    "BEGIN",
    "DEALLOCATE",
    "$$",
    "/*",
    "--",
];

proptest! {
    #[test]
    fn any_text_is_read_or_refused_at_a_character_that_it_has(
        words in prop::collection::vec(prop::sample::select(WORDS), 0..30),
        gap in prop::sample::select(&["", " ", "\n"][..]),
    ) {
        let text = words.join(gap);
        for (before, command) in ask::commands(&text) {
            if let Err(fault) = ask::read(command, before, &asker()) {
                let most = text.chars().count() + 1;
                prop_assert!(fault.position.is_none_or(|at| (1..=most).contains(&at)), "{text}: {fault:?}");
                prop_assert!(!fault.message.is_empty() && fault.code.len() == 5);
            }
        }
    }

    #[test]
    fn any_characters_are_read_or_refused(text in ".{0,60}") {
        for (before, command) in ask::commands(&text) {
            let _ = ask::read(command, before, &asker());
            let _ = ask::read(&format!("SHOW {command}"), before, &asker());
            let _ = ask::read(&format!("SHOW QUERIES WHERE {command}"), before, &asker());
        }
    }
}

#[test]
fn nesting_has_a_limit_and_a_text_of_any_depth_does_no_harm() {
    let nested = |depth: usize| format!("SHOW POOLS WHERE {}size = 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(ask::read(&nested(20), 0, &asker()).is_ok());
    assert_eq!(ask::read(&nested(100_000), 0, &asker()).expect_err("too deep").code, "54000");
    let not = format!("SHOW POOLS WHERE {}size = 1", "NOT ".repeat(100_000));
    assert_eq!(ask::read(&not, 0, &asker()).expect_err("too deep").code, "54000");
}

#[test]
fn commands_are_found_between_semicolons_that_stand_in_no_text() {
    let found: Vec<(usize, &str)> = ask::commands("SHOW POOLS WHERE user = 'é;';; SHOW HELP ;-- ;\n");
    assert_eq!(found, [(0, "SHOW POOLS WHERE user = 'é;'"), (30, " SHOW HELP ")]);
}

#[test]
fn a_quoted_name_is_a_column_and_a_column_may_be_compared_with_another() {
    for sql in ["SHOW QUERIES WHERE \"user\" = database", "SHOW POOLS WHERE leased = size AND NOT idle > -1"] {
        assert!(matches!(ask::read(sql, 0, &asker()), Ok(Asked::Show(_))), "{sql}");
    }
    let fault = ask::read("SHOW POOLS WHERE size = user", 0, &asker()).expect_err("of another type");
    assert_eq!((fault.code, fault.position), ("42601", Some(25)));
}
