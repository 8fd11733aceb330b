use crate::sql::{Encoding, Lexing, Patterns, normalised};

fn shown(text: &str) -> String {
    normalised(text.as_bytes(), &Lexing::default(), 2048)
}

#[test]
fn literals_become_places_counted_on_from_the_parameters() {
    assert_eq!(shown("select 'a', 1, -2.5, null, true"), "select $1, $2, $3, $4, $5");
    assert_eq!(shown("select 'a', $2, $1, 3"), "select $3, $2, $1, $4");
    assert_eq!(shown("select interval '1 day', 'x'::text, E'\\''"), "select interval $1, $2::text, $3");
    assert_eq!(shown("select U&'d!0061' UESCAPE '!', a"), "select $1, a");
    assert_eq!(
        shown("select a from t where a is null and not b is true"),
        "select a from t where a is null and not b is true"
    );
}

#[test]
fn the_layout_of_the_author_stays_and_comments_go() {
    assert_eq!(
        shown("-- by id\nSELECT a, -- the name\n       b /* x */ FROM t /* y */\n WHERE\tid=1;\n\n"),
        "SELECT a,\n       b FROM t\n WHERE\tid=$1"
    );
    assert_eq!(shown("select/**/1"), "select $1");
    assert_eq!(shown("begin; ; select 1;"), "begin; select $1");
    assert_eq!(shown("/* nothing */"), "");
}

#[test]
fn lists_are_shown_by_their_first_element() {
    assert_eq!(shown("select 1 where a in (1, 2, 3)"), "select $1 where a in ($2, ...)");
    assert_eq!(shown("select 1 where a in (1)"), "select $1 where a in ($2)");
    assert_eq!(shown("select 1 where a in ($1, $2) and b = 5"), "select $3 where a in ($1, ...) and b = $4");
    assert_eq!(
        shown("insert into t values (1, 'x'), (2, 'y') returning a"),
        "insert into t values ($1, $2), ... returning a"
    );
    assert_eq!(shown("select array[[1, 2], [3, 4]]"), "select array[[$1, ...], ...]");
    assert_eq!(shown("select 1 where a in (1, b, 2, 3)"), "select $1 where a in ($2, b, $3, ...)");
}

#[test]
fn passwords_and_connection_strings_never_appear() {
    for text in [
        "create role a login password 'SECRET'",
        "ALTER USER a WITH ENCRYPTED PASSWORD 'SECRET' VALID UNTIL 'SECRET'",
        "alter role a password E'SECRET\\''",
        "alter role a password $x$SECRET$x$",
        "create subscription s connection 'host=h password=SECRET' publication p",
        "create user mapping for a server s options (user 'a', password 'SECRET')",
        "create server s foreign data wrapper f options (host 'SECRET')",
        "select dblink_connect('password=SECRET')",
        "set a.b = 'SECRET'",
        "copy t from program 'curl SECRET'",
        "prepare transaction 'SECRET'",
        "notify c, 'SECRET'",
        "do $$ begin perform 'SECRET'; end $$",
        "create function f() returns text language sql as 'select ''SECRET'''",
        "comment on table t is 'SECRET'",
        "select 1 /* SECRET */ -- SECRET",
    ] {
        assert!(!shown(text).contains("SECRET"), "{}", shown(text));
    }
}

#[test]
fn a_text_that_is_cut_short_or_no_sql_shows_no_literal() {
    for text in [
        "select a from t where b = 'SECRET",
        "select a from t where b = $$SECRET",
        "select a from t where b = $x$SECRET$$",
        "select a from t where b = E'SECRET\\'",
        "select a from t where b = \"SECRET",
        "select a from t where b = 'O'SECRET'",
        "select a from t where b = 'O'SECRET' and c = 'x'",
        "insert into t values ('x'SECRET',' 1SECRET)",
        "select 'a' /* SECRET",
        "select 'a', SECRET 'b",
        "select \"SECRET\", 'x",
    ] {
        assert!(!shown(text).contains("SECRET"), "{}", shown(text));
    }
    let pattern = Patterns::new(1).learn(b"insert into t values ('x' SECRET, ' 1 SECRET ')) (", &Lexing::default());
    assert!(!pattern.normalised.contains("SECRET"), "{}", pattern.normalised);
}

#[test]
fn no_more_is_shown_than_the_limit() {
    let text = format!("select {} from t where a in (1, 2, 3)", vec!["column_name"; 100].join(", "));
    for limit in 0..200 {
        let shown = normalised(text.as_bytes(), &Lexing::default(), limit);
        assert!(shown.len() <= limit, "{limit}: {shown}");
        assert!(limit < 20 || shown.ends_with("..."), "{limit}: {shown}");
    }
    assert_eq!(normalised(b"select abc from t", &Lexing::default(), 14), "select abc...");
    assert_eq!(normalised(b"select a", &Lexing::default(), 11), "select a");
}

#[test]
fn bytes_of_other_encodings_are_replaced() {
    let lexing = Lexing { conforming: true, encoding: Encoding::named(b"SJIS") };
    assert_eq!(normalised(b"select '\x95\x5c' from \"\x95\x5c\"", &lexing, 100), "select $1 from \"\u{FFFD}\\\"");
}
