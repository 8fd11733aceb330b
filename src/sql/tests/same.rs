//! Which statements are one pattern, and which are not.

use crate::sql::{Digest, Lexing};

pub(super) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes(), &Lexing::default())
}

fn one_pattern(texts: &[&str]) {
    for text in texts {
        assert_eq!(digest(text), digest(texts[0]), "\n{text}\n{}", texts[0]);
    }
}

fn all_different(texts: &[&str]) {
    for (place, text) in texts.iter().enumerate() {
        for other in &texts[..place] {
            assert_ne!(digest(text), digest(other), "\n{text}\n{other}");
        }
    }
}

#[test]
fn literals_of_all_kinds_and_parameters_are_alike() {
    one_pattern(&[
        "select * from t where a = 1",
        "select * from t where a = -1",
        "select * from t where a = + 1.5e3",
        "select * from t where a=0x1F",
        "select * from t where a = 'x'",
        "select * from t where a = E'it\\'s'",
        "select * from t where a = $$x$$",
        "select * from t where a = U&'d!0061' UESCAPE '!'",
        "select * from t where a = B'01'",
        "select * from t where a = NULL",
        "select * from t where a = true",
        "select * from t where a = $1",
        "select * from t where a = 'one'\n 'string'",
    ]);
}

#[test]
fn layout_comments_case_and_needless_quotes_do_not_matter() {
    one_pattern(&[
        "SELECT a FROM s.t WHERE b IS NULL",
        "select a from s.t where b is null;",
        "  Select\n\ta -- the column\nFROM/**/s.t /* where? /* there */ */ WHERE b IS NULL ; ; ",
        r#";select "a" from "s"."t" where "b" is null"#,
    ]);
    all_different(&["select a from t", r#"select "A" from t"#, r#"select "a b" from t"#, "select ab from t"]);
    all_different(&["select user", r#"select "user""#]);
    all_different(&[r#"select "a""b""#, r#"select "a" "b""#, r#"select U&"a" from t"#]);
    all_different(&[
        r#"select U&"!0061"()"#,
        r#"select U&"!0061" uescape '!' ()"#,
        r#"select U&"!0061" uescape '?' ()"#,
    ]);
}

#[test]
fn lists_of_any_length_are_alike() {
    one_pattern(&[
        "select 1 from t where a in (1)",
        "select 1 from t where a in (1, 2, 3)",
        "select 1 from t where a in ($1, $2)",
        "select 1 from t where a in ('a', NULL, -3)",
    ]);
    one_pattern(&["select 1 from t where a in ('a'::uuid)", "select 1 from t where a in ($1::uuid, $2::uuid)"]);
    one_pattern(&["select 1 from t where (a, b) in ((1, 2))", "select 1 from t where (a, b) in ((1, 2), ($1, 'x'))"]);
    one_pattern(&["select array[1]", "select array[1, 2, 3]", "select ARRAY[ $1,$2 ]"]);
    one_pattern(&["select array[[1, 2]]", "select array[[1], [2]]", "select array[[1, 2], [3, 4]]"]);
    one_pattern(&["select 1 where a = any (array[1])", "select 1 where a = any (array['x', 'y'])"]);
    one_pattern(&[
        "insert into t (a, b) values (1, 'x')",
        "insert into t (a, b) values (1, 'x'), (2, 'y')",
        "insert into t (a, b) values ($1, $2), ($3, $4), ($5, NULL);",
    ]);
    one_pattern(&[
        "insert into t values (1, default, now(), array[1]) returning a",
        "insert into t values (1, default, now(), array[1, 2]), (2, DEFAULT, now(), array[3]) returning a",
    ]);
    one_pattern(&["select * from (values (1, 2)) as v (a, b)", "select * from (values (1, 2), (3, 4)) as v (a, b)"]);
}

#[test]
fn other_elements_make_another_pattern() {
    all_different(&[
        "select 1 from t where a in (1)",
        "select 1 from t where a in (b)",
        "select 1 from t where a in (b, b)",
        "select 1 from t where a in (1, b)",
        "select 1 from t where a in (b, 1)",
        "select 1 from t where a in (select 1)",
        "select 1 from t where a in (select 1, 1, 1)",
        "select 1 from t where a in (1::int)",
        "select 1 from t where a not in (1)",
    ]);
    all_different(&[
        "insert into t values (1)",
        "insert into t values (1, 2)",
        "insert into t values (default)",
        "insert into t values (1), (default)",
        "insert into t values (f(1))",
        "insert into t values (1) returning a, (b)",
    ]);
    all_different(&["select array[]", "select array[1]", "select a[1]", "select array[[1]]"]);
    all_different(&["select f(1)", "select f(1, 2)", "select coalesce(a, 1, 2)", "select coalesce(a, 1)"]);
}

#[test]
fn structure_tables_columns_and_clauses_tell_patterns_apart() {
    all_different(&[
        "select a from t",
        "select b from t",
        "select a, b from t",
        "select b, a from t",
        "select a from u",
        "select a from s.t",
        "select a from t where a = 1",
        "select a from t where a = b",
        "select a from t where a <> 1",
        "select a from t where a is null",
        "select a from t where a is not null",
        "select a from t where a is true",
        "select a from t where a is not false",
        "select a from t limit 1",
        "select a from t order by a",
        "select a from t order by a desc",
        "select a as b from t",
        "select distinct a from t",
        "select (a) from t",
        "update t set a = 1",
        "delete from t",
        "select a from t; select a from t",
    ]);
    all_different(&[
        "select a - 1 from t",
        "select a + 1 from t",
        "select a -b from t",
        "select a from t limit $1 offset 1",
    ]);
    all_different(&["select a-1", "select a, -1"]);
}

#[test]
fn positions_of_columns_are_no_literals() {
    all_different(&[
        "select a, b from t order by 1",
        "select a, b from t order by 2",
        "select a, b from t order by 1, 2",
        "select a, b from t order by 2 desc, 1",
        "select a, b from t order by a, 2",
        "select a, b from t group by 1",
        "select a, b from t group by 2",
        "select a, b from t group by rollup (1, 2)",
        "select a, b from t group by rollup (2, 1)",
        "select a, b from t group by grouping sets ((1), (2))",
        "select a, b from t group by grouping sets ((2), (1))",
        "select distinct on (1) a, b from t",
        "select distinct on (2) a, b from t",
        "(select 1 union select 2) order by 1",
        "select * from (select a, b from t order by 1) x",
        "select * from (select a, b from t order by 2) x",
    ]);
    one_pattern(&["select a from t order by 1 limit 10", "select a from t order by 1 limit 20 "]);
    one_pattern(&["select a from t order by a + 1", "select a from t order by a + 2"]);
    one_pattern(&["select a from t order by 1 + a", "select a from t order by 2 + a"]);
    one_pattern(&["select rank() over (order by 1) from t", "select rank() over (order by 2) from t"]);
    one_pattern(&["select a from t order by f(1), 2", "select a from t order by f(3), 2"]);
    one_pattern(&["select 1, 2 from t order by 1 limit 1", "select 3, 4 from t order by 1 limit 5"]);
}

#[test]
fn names_of_savepoints_and_cursors_are_alike() {
    one_pattern(&[
        "savepoint a",
        "SAVEPOINT s140_x17;",
        r#"savepoint "x y""#,
        r#"savepoint U&"d\0061""#,
        "savepoint $1",
    ]);
    one_pattern(&["release a", "release b", "release savepoint"]);
    one_pattern(&["release savepoint a", "RELEASE SAVEPOINT sa_savepoint_2"]);
    one_pattern(&["rollback to a", "rollback to b", "rollback to savepoint"]);
    one_pattern(&["rollback work to savepoint a", "rollback work to savepoint s2 -- the second"]);
    one_pattern(&[
        "declare a no scroll cursor for select b from t",
        r#"declare "c_1f" no scroll cursor for select b from t"#,
    ]);
    one_pattern(&["fetch forward 5 from a", "fetch forward 100 from b"]);
    one_pattern(&["fetch a", "fetch next"]);
    one_pattern(&["move backward all in a", "move backward all in b"]);
    one_pattern(&["close a", r#"close "A""#]);
    one_pattern(&[
        "begin; savepoint a; select 1; release a; commit",
        "begin; savepoint b; select 2; release b; commit;",
    ]);
    all_different(&["rollback", "rollback work", "rollback to a", "rollback and no chain", "rollback prepared 'a'"]);
    all_different(&[
        "close a",
        "close all",
        "savepoint a",
        "savepoint 'a'",
        "release a",
        "declare a",
        "fetch a",
        "move a",
    ]);
    all_different(&["declare a cursor for select b from t", "declare a cursor for select c from t"]);
    all_different(&["select close from a", "select close from b", "select fetch a", "select move a"]);
    all_different(&["listen a", "listen b", "deallocate a", "deallocate b", "execute a", "execute b"]);
}

#[test]
fn constants_that_decide_what_set_config_does_are_told_apart() {
    all_different(&[
        "select set_config('a.b', 'x', true)",
        "select set_config('a.b', 'x', false)",
        "select set_config('role', 'x', false)",
        "select set_config($1, 'x', false)",
    ]);
    one_pattern(&[
        "select set_config('role', 'x', false)",
        "select set_config('Session_Authorization', 'x', false)",
        "select set_config(E'r\\x6fle', 'x', false)",
        "select set_config($$role$$, 'x', false)",
    ]);
    one_pattern(&["select set_config('a.b', 'x', true)", "select set_config('search_path', 'y', true)"]);
    one_pattern(&["select set_config('a', 'b', true); select true", "select set_config('c', 'd', true); select false"]);
}

#[test]
fn a_digest_stays_what_it_was() {
    assert_eq!(digest("select a from t where b in (1, 2) order by 1").to_string(), "22b362a3e4a0a573");
}
