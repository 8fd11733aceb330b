//! What statements do to their sessions and to tables. Each row is a statement and what must be told of it.

use std::sync::Arc;

use crate::sql::{Command, Discard, Effects, Kind, Lexing, Pattern, Patterns};

fn learn(text: &str) -> Arc<Pattern> {
    Patterns::new(1).learn(text.as_bytes(), &Lexing::default())
}

fn parsed(text: &str) -> Arc<Pattern> {
    let pattern = learn(text);
    assert!(pattern.fingerprint.is_some(), "does not parse: {text}");
    pattern
}

/// Names of effects, as `SETTINGS ROLE`; `none` for none.
fn assert_effects(rows: &[(&str, &str)]) {
    for (text, effects) in rows {
        let found = parsed(text).traits.effects.without(Effects::UNSETS);
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

#[test]
fn transactions_are_told_from_each_other() {
    use Command::{
        Begin, Commit, CommitPrepared, PrepareTransaction, Release, Rollback, RollbackPrepared, RollbackTo, Savepoint,
    };
    assert_commands(&[
        ("begin", &[Begin]),
        ("start transaction isolation level serializable read only", &[Begin]),
        ("commit", &[Commit { chain: false }]),
        ("end work", &[Commit { chain: false }]),
        ("commit and chain", &[Commit { chain: true }]),
        ("rollback", &[Rollback { chain: false }]),
        ("abort and chain", &[Rollback { chain: true }]),
        ("savepoint A", &[Savepoint]),
        ("savepoint \"A\"", &[Savepoint]),
        ("release a", &[Release]),
        ("rollback to savepoint a", &[RollbackTo]),
        ("prepare transaction 'x'", &[PrepareTransaction]),
        ("commit prepared 'x'", &[CommitPrepared]),
        ("rollback prepared 'x'", &[RollbackPrepared]),
        ("begin; select 1; savepoint s; commit", &[Begin, Command::Other, Savepoint, Commit { chain: false }]),
    ]);
    for text in ["begin", "commit", "savepoint a", "prepare transaction 'x'"] {
        assert_eq!(parsed(text).traits.effects, Effects::TRANSACTION, "{text}");
        assert_eq!(parsed(text).traits.kind, Kind::Transaction, "{text}");
    }
}

#[test]
fn commands_carry_their_names_and_never_a_value() {
    use Command::{
        AlterDatabaseSet, AlterRole, CreateDatabase, Deallocate, DeclareHold, DropDatabase, DropRole, Execute, Listen,
        MoveDatabase, Notify, Other, Prepare, RenameDatabase, Reset, Set, SetRole, SetSessionAuthorization,
        SetTransaction, Unlisten,
    };
    let set = |name: &str, local| Set { name: name.into(), local };
    assert_commands(&[
        ("listen Channel", &[Listen("channel".into())]),
        ("listen \"Channel\"", &[Listen("Channel".into())]),
        ("unlisten a", &[Unlisten(Some("a".into()))]),
        ("unlisten *", &[Unlisten(None)]),
        ("notify a, 'x'", &[Notify("a".into())]),
        ("prepare P (int) as select $1", &[Prepare("p".into())]),
        ("execute p(1)", &[Execute("p".into())]),
        ("explain execute p", &[Execute("p".into())]),
        ("create table t as execute p", &[Execute("p".into())]),
        ("deallocate p", &[Deallocate(Some("p".into()))]),
        ("deallocate all", &[Deallocate(None)]),
        ("discard all", &[Command::Discard(Discard::All)]),
        ("discard plans", &[Command::Discard(Discard::Plans)]),
        ("discard temporary", &[Command::Discard(Discard::Temporary)]),
        ("discard sequences", &[Command::Discard(Discard::Sequences)]),
        ("set Work_Mem = 5", &[set("work_mem", false)]),
        ("set local app.x = 'y'", &[set("app.x", true)]),
        ("set \"App\".x = 'y'", &[set("app.x", false)]),
        ("set time zone 'UTC'", &[set("timezone", false)]),
        ("set names 'x'", &[set("client_encoding", false)]),
        ("set schema 'x'", &[set("search_path", false)]),
        ("set session characteristics as transaction read only", &[set("session characteristics", false)]),
        ("reset a", &[Reset(Some("a".into()))]),
        ("reset all", &[Reset(None)]),
        ("reset time zone", &[Reset(Some("timezone".into()))]),
        ("set role a", &[SetRole { local: false }]),
        ("set local role a", &[SetRole { local: true }]),
        ("reset role", &[SetRole { local: false }]),
        ("set session authorization a", &[SetSessionAuthorization { local: false }]),
        ("set local session authorization a", &[SetSessionAuthorization { local: true }]),
        ("set transaction read only", &[SetTransaction]),
        ("declare c cursor with hold for select 1", &[DeclareHold]),
        ("declare c cursor for select 1; fetch from c; close c; close all", &[Other, Other, Other, Other]),
        ("drop database if exists D", &[DropDatabase("d".into())]),
        ("create database a", &[CreateDatabase { template: None }]),
        ("create database a template B", &[CreateDatabase { template: Some("b".into()) }]),
        ("create database a with owner o template = \"B\"", &[CreateDatabase { template: Some("B".into()) }]),
        ("create database a template 'b'", &[CreateDatabase { template: Some("".into()) }]),
        ("alter database a rename to b", &[RenameDatabase("a".into())]),
        ("alter database a set tablespace b", &[MoveDatabase("a".into())]),
        ("alter database a owner to b", &[Other]),
        ("alter database a set work_mem = '1'", &[AlterDatabaseSet("a".into())]),
        ("alter database a reset all", &[AlterDatabaseSet("a".into())]),
        ("alter role a set work_mem = '1'", &[AlterRole("a".into())]),
        ("alter user a password 'x'", &[AlterRole("a".into())]),
        ("alter role a rename to b", &[AlterRole("a".into())]),
        ("alter role all set work_mem = '1'", &[AlterRole("".into())]),
        ("drop role a, \"B\"", &[DropRole(["a".into(), "B".into()].into())]),
        ("drop user a", &[DropRole(["a".into()].into())]),
        ("select 1; insert into t values (1)", &[Other, Other]),
        ("", &[]),
        (" ; -- nothing", &[]),
    ]);
    for text in ["set a = 'SECRET'", "set role 'SECRET'", "set a to SECRET_NOT", "create database a template 'SECRET'"]
    {
        assert!(!format!("{:?}", parsed(text).traits).to_lowercase().contains("secret'"), "{text}");
    }
}

#[test]
fn tables_are_told_by_what_happens_to_them() {
    let rows = [
        ("select * from a, s.b join c using (x)", "a c s.b", ""),
        ("select * from A, \"A\"", "A a", ""),
        ("select (select 1 from b) from a where exists (select 1 from c)", "a b c", ""),
        ("with x as (select * from a) select * from x join b on true", "a b", ""),
        ("with a as (select * from a) select * from a", "a", ""),
        ("with recursive x as (select 1 union all select a from x, t) select * from x", "t", ""),
        ("with x as (select 1), y as (select * from x) select * from y, s.x", "s.x", ""),
        ("select * from (with x as (select 1) select * from x) y, x", "x", ""),
        ("insert into a select * from b", "b", "a"),
        ("update a set x = 1 from b where a.x = b.x", "b", "a"),
        ("delete from only a using b", "b", "a"),
        ("merge into a using b on true when matched then delete", "b", "a"),
        ("with x as (delete from a returning *) insert into b select * from x", "", "a b"),
        ("with x as (update a set y = 1 returning *) select * from x, b", "b", "a"),
        ("truncate a, b", "", "a b"),
        ("copy a from stdin", "", "a"),
        ("copy a to stdout", "a", ""),
        ("copy (select * from a) to stdout", "a", ""),
        ("create table a as select * from b", "b", "a"),
        ("select * into a from b", "b", "a"),
        ("create table a (x int references b)", "", "a"),
        ("create view a as select * from b", "b", "a"),
        ("create index on a (x)", "", "a"),
        ("alter table a add column x int", "", "a"),
        ("drop table a, s.b", "", "a s.b"),
        ("drop view a", "", "a"),
        ("refresh materialized view a", "", "a"),
        ("grant select on a to b", "", "a"),
        ("lock table a", "a", ""),
        ("vacuum a", "a", ""),
        ("explain select * from a", "a", ""),
        ("prepare p as select * from a", "a", ""),
        ("declare c cursor for select * from a", "a", ""),
        ("select * from a for update", "a", ""),
        ("select * from f() as a", "", ""),
        ("select * from d.s.t", "d.s.t", ""),
    ];
    for (text, reads, writes) in rows {
        let traits = &parsed(text).traits;
        assert_eq!((names(&traits.reads).as_str(), names(&traits.writes).as_str()), (reads, writes), "{text}");
    }
}

#[test]
fn kinds_go_by_the_strongest_statement() {
    let rows = [
        ("", Kind::Unknown),
        ("select 1", Kind::Read),
        ("values (1)", Kind::Read),
        ("table t", Kind::Read),
        ("select 1 for update", Kind::Read),
        ("copy t to stdout", Kind::Read),
        ("fetch c", Kind::Read),
        ("insert into t values (1)", Kind::Write),
        ("with x as (delete from t returning 1) select * from x", Kind::Write),
        ("copy t from stdin", Kind::Write),
        ("truncate t", Kind::Write),
        ("create table t (a int)", Kind::Ddl),
        ("select 1 as a into t", Kind::Ddl),
        ("grant select on t to a", Kind::Ddl),
        ("drop table t", Kind::Ddl),
        ("begin", Kind::Transaction),
        ("set transaction read only", Kind::Transaction),
        ("set a.b = 1", Kind::Session),
        ("show a", Kind::Session),
        ("listen a", Kind::Session),
        ("explain delete from t", Kind::Utility),
        ("explain analyze select 1", Kind::Utility),
        ("explain (analyze) delete from t", Kind::Write),
        ("explain (analyze off) delete from t", Kind::Utility),
        ("explain (analyze false) delete from t", Kind::Write),
        ("vacuum", Kind::Utility),
        ("call p()", Kind::Utility),
        ("do 'x'", Kind::Utility),
        ("begin; update t set a = 1; commit", Kind::Write),
        ("begin; select 1; commit", Kind::Read),
        ("select 1; drop table t", Kind::Ddl),
    ];
    for (text, kind) in rows {
        assert_eq!(parsed(text).traits.kind, kind, "{text}");
    }
}

#[test]
fn the_shape_tells_how_many_rows_may_come() {
    let shape = |text: &str| parsed(text).traits.shape;
    assert!(shape("select a from t").returns_rows && !shape("select a from t").limited);
    assert!(shape("select a from t limit 5").limited);
    assert!(shape("select a from t fetch first 5 rows only").limited);
    assert!(!shape("select a from t limit all").limited);
    assert!(!shape("select a from (select b from t limit 1) x").limited);
    assert!(shape("select a from t where b").filtered && !shape("select a from t").filtered);
    assert!(shape("update t set a = 1 where b").filtered);
    assert!(shape("select * from t").star && shape("select t.* from t").star && !shape("select count(*) from t").star);
    assert!(shape("select a from t for no key update").locks_rows);
    assert!(shape("insert into t values (1) returning a").returns_rows);
    assert!(!shape("insert into t values (1)").returns_rows);
    assert!(!shape("select 1 as a into t").returns_rows);
    assert_eq!(shape("select 1 from a, b join c using (x) left join d using (y)").joins, 3);
}

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
