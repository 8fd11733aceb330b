//! Which effects are told of statements.

use super::{assert_effects, names, parsed};
use crate::sql::{Command, Effects};

#[test]
fn settings_that_outlive_the_transaction_are_noticed() {
    assert_effects(&[
        ("set work_mem = '4MB'", "SETTINGS"),
        ("set session work_mem to 64", "SETTINGS"),
        ("set search_path to a, b", "SETTINGS"),
        ("set app.tenant = '7'", "SETTINGS"),
        ("set time zone 'UTC'", "SETTINGS"),
        ("set names 'UTF8'", "SETTINGS"),
        ("set schema 'a'", "SETTINGS"),
        ("set work_mem to default", "SETTINGS"),
        ("set session characteristics as transaction read only", "SETTINGS"),
        ("reset work_mem", "SETTINGS"),
        ("reset all", "SETTINGS"),
        ("select set_config('work_mem', '4MB', false)", "SETTINGS"),
        ("select pg_catalog.set_config('a.b', $1, false)", "SETTINGS"),
        ("select set_config('a.b', 'x', $1)", "SETTINGS"),
        ("select set_config('a.b', 'x', 1 = 1)", "SETTINGS"),
        ("select set_config($1, $2, false)", "SETTINGS ROLE"),
        ("select set_config($1::text, $2, false)", "SETTINGS ROLE"),
        ("select set_config('a.b'::text, $2, false)", "SETTINGS"),
        ("select set_config(a, b, false) from t", "SETTINGS ROLE HOLDS"),
        ("select set_config('ro' || 'le', 'x', false)", "SETTINGS ROLE HOLDS"),
        ("select set_config(name, 'x', false) from pg_settings where name = 'jit'", "SETTINGS ROLE"),
        ("select set_config(name, 'x', false) from pg_settings, t", "SETTINGS ROLE HOLDS"),
        ("select set_config(n, v, false) from (values ('a.b', 'x')) as s (n, v)", "SETTINGS ROLE SETS_GIVEN"),
        ("select set_config(n, v, true) from t", "none"),
        ("select (select 1 from pg_settings), set_config(name, 'x', false) from t", "SETTINGS ROLE HOLDS"),
        ("update pg_settings set setting = '1' where name = 'work_mem'", "SETTINGS ROLE"),
        ("with x as (select set_config('a.b', 'x', false)) select * from x", "SETTINGS"),
        ("insert into t select set_config('a.b', 'x', false)", "SETTINGS DRAWS"),
    ]);
}

#[test]
fn settings_of_the_transaction_leave_nothing() {
    assert_effects(&[
        ("set local work_mem = '4MB'", "none"),
        ("set local role a", "none"),
        ("set transaction isolation level serializable", "none"),
        ("set transaction snapshot 'x'", "none"),
        ("set local transaction read only", "none"),
        ("set constraints all deferred", "none"),
        ("select set_config('a.b', $1, true)", "none"),
        ("select set_config('role', 'x', true)", "none"),
        ("show work_mem", "none"),
        ("show all", "none"),
        ("select current_setting('a.b', true)", "none"),
        ("alter role a set work_mem = '4MB'", "none"),
        ("alter database a set work_mem = '4MB'", "none"),
        ("alter system set work_mem = '4MB'", "none"),
        ("create function f() returns int language sql set search_path = a as 'select 1'", "none"),
        ("alter function f() set search_path = a", "none"),
    ]);
}

#[test]
fn what_puts_settings_back_is_noticed() {
    for text in [
        "reset a",
        "reset all",
        "set a to default",
        "set local a to default",
        "select set_config('a', null, true)",
        "begin; reset a",
    ] {
        assert!(parsed(text).traits.effects.any_of(Effects::UNSETS), "{text}");
    }
    for text in ["set a = 1", "set local a = 1", "reset role", "show a"] {
        assert!(!parsed(text).traits.effects.any_of(Effects::UNSETS), "{text}");
    }
    let unset = |local| Command::Unset { name: "a".into(), local };
    assert_eq!(&*parsed("set a to default; set local a = default").traits.commands, [unset(false), unset(true)]);
}

#[test]
fn changes_of_role_are_noticed() {
    assert_effects(&[
        ("set role a", "ROLE"),
        ("set role 'a'", "ROLE"),
        ("set session role a", "ROLE"),
        ("set role none", "ROLE"),
        ("reset role", "ROLE"),
        ("set role to a", "ROLE"),
        ("set \"ROLE\" to a", "ROLE"),
        ("set session authorization a", "ROLE"),
        ("set session session authorization 'a'", "ROLE"),
        ("set session authorization default", "ROLE"),
        ("reset session authorization", "ROLE"),
        ("set session_authorization to a", "ROLE"),
        ("select set_config('role', $1, false)", "SETTINGS ROLE"),
        ("select set_config('Session_Authorization', $1, false)", "SETTINGS ROLE"),
    ]);
}

#[test]
fn temporary_objects_of_all_kinds_are_noticed() {
    for text in [
        "create temp table t (a int)",
        "create temporary table t as select 1",
        "create local temp table if not exists t (a int) on commit drop",
        "create global temporary table t (a int)",
        "create table pg_temp.t (a int)",
        "create table pg_temp_3.t (a int)",
        "create temp view v as select 1",
        "create or replace temp view v as select 1",
        "create view pg_temp.v as select 1",
        "create temp sequence s",
        "select 1 as a into temp t",
        "select 1 as a into temporary table t",
        "select 1 as a into pg_temp.t",
        "create function pg_temp.f() returns int language sql as 'select 1'",
        "create type pg_temp.e as enum ('a')",
        "create type pg_temp.c as (a int)",
        "create domain pg_temp.d as int",
        "create aggregate pg_temp.a (int) (sfunc = int4pl, stype = int)",
        "create temp table t as execute p",
        "explain analyze create temp table t as select 1",
        "begin; create temp table t (a int); commit",
    ] {
        assert!(parsed(text).traits.effects.any_of(Effects::TEMPORARY), "{text}");
    }
    for text in [
        "create table t (a int)",
        "create unlogged table t (a int)",
        "select 1 as a into t",
        "create table temp (temporary int)",
        "select * from pg_temp.t",
        "explain create temp table t as select 1",
    ] {
        assert!(!parsed(text).traits.effects.any_of(Effects::TEMPORARY), "{text}");
    }
}

#[test]
fn locks_cursors_sequences_and_the_like_are_noticed() {
    assert_effects(&[
        ("select pg_advisory_lock(1)", "LOCKS"),
        ("select pg_try_advisory_lock_shared(1, 2) from t", "LOCKS"),
        ("select pg_catalog.pg_advisory_lock(1)", "LOCKS"),
        ("select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(1)", "none"),
        ("select pg_advisory_unlock(1)", "FREES_LOCKS"),
        ("select pg_advisory_unlock_all()", "FREES_LOCKS"),
        ("declare c cursor with hold for select 1", "HELD_CURSOR"),
        ("declare c cursor for select 1", "none"),
        ("declare c cursor without hold for select pg_advisory_lock(1)", "LOCKS"),
        ("close c", "CLOSES_CURSOR"),
        ("fetch 5 from c", "none"),
        ("move c", "none"),
        ("prepare p as select pg_advisory_lock(1)", "PREPARES"),
        ("execute p(1)", "EXECUTES"),
        ("explain execute p", "EXECUTES"),
        ("explain analyze execute p(1)", "EXECUTES"),
        ("create table t as execute p", "EXECUTES"),
        ("deallocate p", "DEALLOCATES"),
        ("deallocate prepare all", "DEALLOCATES"),
        ("listen c", "LISTENS"),
        ("unlisten *", "UNLISTENS"),
        ("notify c, 'x'", "NOTIFIES"),
        ("select pg_notify('c', 'x')", "NOTIFIES"),
        ("load 'auto_explain'", "LOADS"),
        ("discard temp", "DISCARDS"),
        ("drop table t", "DROPS"),
        ("drop view if exists a, b cascade", "DROPS"),
        ("drop function f(int)", "DROPS"),
        ("drop owned by a", "DROPS"),
        ("drop role a", "DROPS"),
        ("select nextval('s')", "DRAWS"),
        ("select setval('s', 1)", "DRAWS"),
        ("insert into t values (1)", "DRAWS"),
        ("with x as (insert into t values (1) returning a) select * from x", "DRAWS"),
        ("copy t from stdin", "DRAWS"),
        ("copy t to stdout", "none"),
        ("copy (select nextval('s')) to stdout", "DRAWS"),
        ("merge into t using u on t.a = u.a when not matched then insert values (1)", "DRAWS"),
        ("update t set a = default", "DRAWS"),
        ("update t set a = 1", "none"),
        ("select currval('s'), lastval()", "READS_SEQUENCE"),
        ("select setseed(0.5)", "HOLDS STAYS"),
        ("set local seed = 0.5", "HOLDS STAYS"),
        ("select pg_create_logical_replication_slot('a', 'b', true)", "HOLDS STAYS"),
    ]);
}

#[test]
fn calls_of_users_code_are_noticed_and_named() {
    let rows = [
        ("select f(1)", "f"),
        ("select s.f(1), G(2), \"H\"(3)", "H g s.f"),
        ("select lower(a), now(), count(*), pg_catalog.upper('x') from t", ""),
        ("select extract(year from a), trim(a), overlay(a placing b from 1), a at time zone 'UTC' from t", ""),
        ("select coalesce(a, 1), greatest(a, b), nullif(a, b), current_date from t", ""),
        ("select s.lower(a) from t", "s.lower"),
        ("select 1 from t where exists (select 1 from u where f(u.a))", "f"),
        ("select * from f(1) as x, lateral g(x.a)", "f g"),
        ("select * from rows from (f(1), generate_series(1, 2))", "f"),
        ("insert into t values (f(1)) on conflict (a) do update set a = g(2) where h(3) returning i(4)", "f g h i"),
        ("update t set a = f(a) from u where g(a)", "f g"),
        ("delete from t using u where f(t.a)", "f"),
        ("merge into t using f(1) u on g(t.a) when matched and h(1) then update set a = i(1)", "f g h i"),
        ("with x as materialized (select f(1)) select * from x", "f"),
        ("select a from t order by f(a) limit g(1)", "f g"),
        ("select sum(f(a)) filter (where g(a)) over (partition by h(a) order by i(a)) from t", "f g h i"),
        ("select case when f(a) then g(a) else h(a) end from t", "f g h"),
        ("select array[f(1)], row(g(1)), (h(1)).a, cast(i(1) as int)", "f g h i"),
        ("select * from t tablesample bernoulli (f(1))", "f"),
        ("select percentile_cont(f(1)) within group (order by g(a)) from t", "f g"),
        ("values (f(1)), (2)", "f"),
        ("select 1 union all select f(1)", "f"),
        ("call p(1)", "p"),
        ("call s.p(f(1))", "f s.p"),
        ("explain select f(1)", "f"),
        ("create table t as select f(1)", "f"),
        ("copy (select f(1)) to stdout", "f"),
        ("declare c cursor for select f(1)", "f"),
        ("alter table t alter column a type int using f(a)", "f"),
        ("alter table t add column a int default f(1)", "f"),
        ("select query_to_xml('x', true, true, '')", "query_to_xml"),
        ("create view v as select f(1)", "f"),
        ("prepare p as select f(1)", "f"),
        ("select pg_input_is_valid('1', 'a_domain')", "pg_input_is_valid"),
        ("select U&\"!0066\" uescape '!' ()", "f"),
        ("select s.\"F.f\"(), \"g.\"()", "\"g.\" s.\"F.f\""),
        ("create function g() returns int language sql begin atomic select f(1); end", ""),
        ("create table t (a int default f(1) check (g(a)))", ""),
    ];
    for (text, functions) in rows {
        let traits = &parsed(text).traits;
        assert_eq!(names(&traits.functions), functions, "{text}");
        assert_eq!(traits.effects.any_of(Effects::CALLS), !functions.is_empty(), "{text}");
    }
    for text in ["do $$ begin end $$", "do language plpgsql 'x'", "create extension e", "alter extension e update"] {
        assert!(parsed(text).traits.effects.any_of(Effects::CALLS), "{text}");
    }
}

#[test]
fn what_event_triggers_may_accompany_is_noticed() {
    for text in [
        "create table t (a int)",
        "create table t as select 1",
        "select 1 into t",
        "alter function f() set search_path = a",
        "drop view a",
        "grant select on a to b",
        "comment on table a is 'x'",
        "refresh materialized view a",
        "import foreign schema a from server b into c",
        "security label on table a is 'x'",
        "reindex table a",
        "select 1; create view v as select 1",
        "explain analyze create table t as select 1",
    ] {
        assert!(parsed(text).traits.effects.any_of(Effects::DEFINES), "{text}");
    }
    for text in ["truncate a", "vacuum a", "set a = 1", "explain create table t as select 1", "do 'x'"] {
        assert!(!parsed(text).traits.effects.any_of(Effects::DEFINES), "{text}");
    }
    assert_effects(&[("truncate a, b", "none"), ("truncate a cascade", "TRUNCATES")]);
}

#[test]
fn what_may_be_of_a_users_type_or_compared_by_a_users_operator_is_noticed() {
    for text in [
        "select 1::d",
        "select a + 1",
        "select * from json_to_record('{}') as x (a d)",
        "select * from xmltable('/r' passing a columns x d)",
        "select * from json_table('{}', '$' columns (a d path '$'))",
        "select * from rows from (json_to_record('{}') as (a d), generate_series(1, 2))",
    ] {
        assert!(parsed(text).traits.computes, "{text}");
    }
    assert!(!parsed("select 1, now()").traits.computes);
}

#[test]
fn questions_about_the_session_are_noticed() {
    assert_effects(&[
        ("select * from pg_prepared_statements", "READS_PREPARED"),
        ("select * from pg_catalog.pg_prepared_statements p, t", "READS_PREPARED"),
        ("select name from pg_prepared_statement()", "READS_PREPARED"),
        ("select pg_listening_channels()", "READS_CHANNELS"),
        ("select * from pg_stat_activity where pid = pg_backend_pid()", "READS_PID"),
        ("select pg_terminate_backend($1)", "SIGNALS"),
        ("select pg_cancel_backend(pid) from pg_stat_activity", "SIGNALS"),
    ]);
}
