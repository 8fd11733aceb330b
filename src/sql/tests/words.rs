use crate::sql::{Effects, Lexing, custom_names, do_bodies, names_given, spelled_names, suspicious, words};

fn is_suspicious(text: &str) -> bool {
    suspicious(text.as_bytes(), &Lexing::default())
}

#[test]
fn texts_that_may_do_something_to_the_session_are_suspicious() {
    for text in [
        "SET work_mem = '4MB'",
        "/* x */ select 1; set session search_path to a.b",
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "reset all",
        "CREATE TEMP TABLE t (n int)",
        "create or replace temporary view v as select 1",
        "select 1 into temp t",
        "create table pg_temp.t (a int)",
        "select pg_advisory_lock(1)",
        "select \"pg_advisory_lock\"(1)",
        "declare c cursor with hold for select 1",
        "prepare p as select 1",
        "execute p",
        "begin; listen x",
        "load 'auto_explain'",
        "set role someone",
        "discard all",
        "drop table t",
        "do $$ begin end $$",
        "call p()",
        "select f(1)",
        "select s.lower(1)",
        "insert into t values (1)",
        "select nextval('s')",
        "select pg_backend_pid()",
        "explain analyze execute p",
        "commit",
        "create table t (a int)",
        "truncate t",
    ] {
        assert!(is_suspicious(text), "{text}");
    }
}

#[test]
fn plain_statements_are_not_suspicious() {
    for text in [
        "select 'set_config', \"pg_temp\" , $$ listen x; $$, $1 -- create temp table",
        "select E'\\' set_config(', 'it''s' /* listen /* x */ ; listen y */",
        "select temp, hold, load from listen",
        "UPDATE t SET a = 1, reset = 2",
        "select count(*), lower(a), pg_catalog.now() from t where a in (1, 2) and exists (select 1)",
        "set local work_mem = '4MB'",
        "set transaction read only",
        "select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock(2)",
        "delete from t where a = 1",
        "with x (a, b) as (select 1, 2) select * from x as y (c, d)",
    ] {
        assert!(!is_suspicious(text), "{text}: {:?}", words(text.as_bytes(), &Lexing::default()));
    }
}

#[test]
fn what_the_body_of_a_function_does_is_told_by_its_words() {
    let of = |text: &str| words(text.as_bytes(), &Lexing::default());
    let body = of("
        DECLARE n int := 1; -- listen here
        BEGIN
          WHILE (n > 9) LOOP n := n - 1; END LOOP;
          IF n > 0 THEN SET search_path TO a; ELSE PERFORM s.g(n); END IF;
          EXECUTE format('create temp table %I', n);
          UPDATE t SET a = f(n), b = lower(c);
        END");
    assert!(body.effects.any_of(Effects::SETTINGS) && body.effects.any_of(Effects::EXECUTES));
    assert!(body.effects.any_of(Effects::CALLS) && !body.effects.any_of(Effects::LISTENS));
    assert_eq!(body.functions.iter().map(String::as_str).collect::<Vec<_>>(), ["f", "s.g", "while"]);
    assert!(of("begin loop listen a; end loop; end").effects.any_of(Effects::LISTENS));
    assert!(of("begin if n then comment on table t is 'x'; end if; end").effects.any_of(Effects::DEFINES));
    assert!(of("begin truncate t; end").effects.any_of(Effects::TRUNCATES));
    assert_eq!(of("select a + $1 from t where b = lower($2)").effects, Effects::NONE);
}

#[test]
fn functions_are_found_in_a_body_whatever_their_names_and_wherever_they_stand() {
    let of = |text: &str| words(text.as_bytes(), &Lexing::default());
    for (text, function) in [
        ("select 1 from a join b on f(a.x)", "f"),
        ("perform notify(1)", "notify"),
        ("perform public.set(1)", "public.set"),
        ("perform \"select\"()", "select"),
        ("open(1)", "open"),
        ("call p(1)", "p"),
        ("perform U&\"\\0066\"()", "f"),
        ("perform U&\"!0066\" uescape '!' ()", "f"),
        ("perform s.\"F.f\"()", "s.\"F.f\""),
    ] {
        assert!(of(text).functions.contains(function), "{text}: {:?}", of(text));
    }
    for (text, effect) in [
        ("perform pg_catalog.U&\"set_\\0063onfig\"('a', 'b', false)", Effects::SETTINGS),
        ("create table \"pg_temp\".t ()", Effects::TEMPORARY),
        ("open c for execute x", Effects::EXECUTES),
        ("for r in execute x using y loop end loop", Effects::EXECUTES),
        ("return query execute x", Effects::EXECUTES),
        ("return query_to_xml(x)", Effects::RUNS),
    ] {
        assert!(of(text).effects.any_of(effect), "{text}: {:?}", of(text));
    }
}

#[test]
fn names_of_settings_are_found_wherever_they_may_be_set() {
    let names = |text: &str| custom_names(text.as_bytes()).collect::<Vec<_>>().join(" ");
    assert_eq!(names("SET app.tenant = '7'; reset session my.a$1; set local x.y.z to 1"), "app.tenant my.a$1 x.y.z");
    assert_eq!(names("set \"App\".\"Tenant\" = 1"), "App.Tenant");
    assert_eq!(names("set \"app.tenant\" = 1"), "app.tenant");
    assert_eq!(names("select set_config('app.user', t.id, false) from s.t"), "app.user");
    assert_eq!(names("do $$ begin perform set_config('a.b', '1.5', true); set c.d = 1; end $$"), "a.b c.d");
    assert_eq!(names("select f('select set_config(''a.b'', ''x'', false)')"), "a.b");
    assert_eq!(names("select set_config($q$a.b$q$, $1, false)"), "a.b");
    assert_eq!(names("select a.b from c.d where e = 'x.y z' and f = '1.5'"), "");
    assert_eq!(names("set a = b.c"), "");
    assert_eq!(names("'a.b.' set c.d. x"), "c.d");
    for text in [&b"set "[..], b"set a.", b"'a.", b"\xff.\xff'", b"set \"a.b", b"reset \"", b"."] {
        assert!(custom_names(text).count() < 2);
    }
}

#[test]
fn names_that_are_given_values_are_told_from_data_with_dots() {
    let names = |text: &str| names_given(text.as_bytes()).collect::<Vec<_>>().join(" ");
    assert_eq!(names("insert into files values ('a.png'), ('b.c'); set app.x = 'd.e'"), "app.x");
    assert_eq!(names("select set_config('a.b', 'c.d', false), SET_CONFIG ( 'e.f', 'x', true)"), "a.b e.f");
    assert_eq!(names("select f('select set_config(''a.b'', ''x.y'', false)')"), "a.b");
    assert_eq!(names("'a.b' (('c.d' _config('e.f' ('g.h'"), "");
}

#[test]
fn names_of_settings_are_found_however_they_are_spelled() {
    for text in [
        "select set_config(U&'app.te\\006eant', 'x', false)",
        "select set_config(U&'app.te!006eant' uescape '!', 'x', false)",
        "select set_config(E'app.te\\x6eant', 'x', false)",
        "select set_config(E'app.te\\156\\u0061\\U0000006et', 'x', false)",
        "select set_config('app.'\n'tenant', 'x', false)",
        "set app . tenant = 'x'",
        "set/**/session app/**/.\"tenant\" to 'x'",
        "reset U&\"!0061pp\" uescape '!' . tenant",
        "do $$ begin execute E'set app.te\\156ant = 1'; end $$",
        "do 'begin set/**/app.tenant = 1; end'",
    ] {
        let names = spelled_names(text.as_bytes(), &Lexing::default());
        assert_eq!(names, [b"app.tenant".to_vec()], "{text}: {names:?}");
    }
    for text in ["set", "set session", "set app.", "set local", "select U&'a' uescape", "E'\\x", "E'\\", "set . a"] {
        assert!(spelled_names(text.as_bytes(), &Lexing::default()).is_empty(), "{text}");
    }
}

#[test]
fn the_body_of_do_is_what_stands_in_its_string() {
    let bodies = |text: &str| {
        let bodies = do_bodies(text.as_bytes(), &Lexing::default());
        bodies.map(|body| String::from_utf8_lossy(&body).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(bodies("DO $$ begin listen a; end $$"), [" begin listen a; end "]);
    assert_eq!(bodies("do language plpgsql $x$ a $$ b $$ $x$; select 'c'; do 'd'"), [" a $$ b $$ ", "d"]);
    assert_eq!(bodies("do 'it''s' language plpgsql"), ["it's"]);
    assert_eq!(bodies("do E'a\\nb\\'c'"), ["a b'c"]);
    assert_eq!(bodies("do 'a'\n 'b'"), ["ab"]);
    assert_eq!(bodies("select 'a' from do"), Vec::<String>::new());
    for text in ["do $$", "do $", "do $a$", "do '", "do E'\\", "do 'a'\n'"] {
        assert!(bodies(text).len() < 2);
    }
}

#[test]
fn one_long_word_is_read_as_fast_as_many_short_ones() {
    // Were every byte of it looked at from every other, this would take hours.
    let text = vec![b'x'; 8 << 20];
    assert_eq!(custom_names(&text).count(), 0);
    for word in [&b"a."[..], b"a.b,"] {
        assert_eq!(custom_names(&word.repeat(4 << 20)).count(), 0);
    }
}
