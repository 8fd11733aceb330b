//! Texts that are hard to parse, or are not parsed.

use super::{learn, names, parsed};
use crate::sql::{Command, Effects, Kind};

#[test]
fn traits_hold_for_every_statement_of_the_pattern() {
    for (text, other) in [
        ("explain (analyze false) delete from t", "explain (analyze true) delete from t"),
        ("select set_config('a.b', 'x', false)", "select set_config('c', 'x', false)"),
        ("insert into t values (1)", "insert into t values ('x'), (null), ($1)"),
        ("select 1 where a in (1)", "select -5 where a in ('x', 'y')"),
        ("select \"a\" from t", "select a from T"),
    ] {
        let (text, other) = (parsed(text), parsed(other));
        assert_eq!(text.digest, other.digest, "{}", text.normalised);
        assert_eq!(text.traits, other.traits, "{}", text.normalised);
    }
}

#[test]
fn fingerprints_are_those_that_others_show() {
    let fingerprint = |text: &str| parsed(text).fingerprint.clone().expect("it parses");
    // Published with libpg_query.
    assert_eq!(&*fingerprint("SELECT 1"), "50fde20626009aba");
    assert_eq!(fingerprint("select a from t where b in (1, 2)"), fingerprint("SELECT a FROM t WHERE b = 5"));
}

#[test]
fn texts_that_are_not_parsed_are_known_by_their_words() {
    let unparsed = |text: &str| {
        let pattern = learn(text);
        assert!(pattern.fingerprint.is_none(), "parses: {text}");
        pattern
    };
    let harmless = unparsed("selec a from t");
    assert_eq!((harmless.traits.effects, harmless.traits.kind), (Effects::NONE, Kind::Unknown));
    let harmful = unparsed("set work_mem to = 5").traits.effects;
    assert!(harmful.any_of(Effects::SETTINGS) && harmful.any_of(Effects::ANYTHING));
    assert!(unparsed("select f(1) from from").traits.effects.any_of(Effects::CALLS));
    assert_eq!(names(&unparsed("select s.f(1), lower(2) from from").traits.functions), "s.f");

    let deep = format!("select {}1{}", "(".repeat(501), ")".repeat(501));
    assert_eq!(unparsed(&deep).traits.effects, Effects::NONE);
    assert!(parsed(&format!("select {}1{}", "(".repeat(400), ")".repeat(400))).fingerprint.is_some());
    let long = format!("select {} from t", vec!["column_name"; 6000].join(", "));
    assert_eq!(unparsed(&long).traits.effects, Effects::NONE);
    assert!(unparsed(&format!("{long}; set a.b = 1")).traits.effects.any_of(Effects::ANYTHING));
    assert_eq!(unparsed(&format!("{long}; select 1;")).traits.statements, 2);
}

#[test]
fn a_long_list_of_literals_is_parsed_all_the_same() {
    let rows = vec!["(1, 'a long string that says nothing at all', now())"; 5000].join(", ");
    let pattern = parsed(&format!("insert into t values {rows} returning f(a)"));
    assert_eq!(names(&pattern.traits.writes), "t");
    assert_eq!(names(&pattern.traits.functions), "f");
}

#[test]
fn one_statement_that_does_not_parse_hides_no_other() {
    let traits = &learn("begin; selec a; listen c; insert into t values (1)").traits;
    assert_eq!(traits.commands.len(), 4);
    assert_eq!(traits.commands[0], Command::Begin);
    assert_eq!(traits.commands[2], Command::Listen("c".into()));
    assert_eq!(names(&traits.writes), "t");
    assert_eq!(traits.effects, Effects::TRANSACTION | Effects::LISTENS | Effects::DRAWS);
    assert_eq!(traits.kind, Kind::Write);
}

#[test]
fn a_tree_too_deep_to_decode_still_tells_its_tables() {
    let unions = vec!["select a from s.t"; 300].join(" union all ");
    let traits = &parsed(&unions).traits;
    assert_eq!((names(&traits.reads).as_str(), traits.kind, traits.effects), ("s.t", Kind::Read, Effects::NONE));
    let concatenated = vec!["a"; 300].join(" || ");
    let traits = &parsed(&format!("insert into u select f({concatenated}) from t")).traits;
    assert_eq!((names(&traits.reads).as_str(), names(&traits.writes).as_str(), traits.kind), ("t", "u", Kind::Write));
    assert_eq!((names(&traits.functions).as_str(), traits.effects), ("f", Effects::CALLS | Effects::DRAWS));
    let traits = &parsed(&format!("select set_config({concatenated}, 'x', false)")).traits;
    assert!(traits.effects.any_of(Effects::SETTINGS) && traits.effects.any_of(Effects::ANYTHING));
}

#[test]
fn chains_without_brackets_neither_break_the_parser_nor_hide_effects() {
    for (begin, link, end) in [
        ("select a", " + a", ""),
        ("select ", "- ", "a"),
        ("select ", "not ", "true"),
        ("select 1 from t", " join t using (a)", ""),
        ("select 1", " union select 1", ""),
        ("select ", "case when ", "a"),
        ("select a", "::int", ""),
        ("select a", "[1]", ""),
        ("select ", "f(", ""),
    ] {
        for length in [60_000, 2_000] {
            let chain = format!("{begin}{}{end}", link.repeat(length / link.len()));
            assert!(!learn(&chain).traits.effects.any_of(Effects::SETTINGS), "{begin}{link}");
            let harmful = learn(&format!("{chain}; set a.b = 1"));
            assert!(harmful.traits.effects.any_of(Effects::SETTINGS), "{begin}{link}");
        }
    }
}
