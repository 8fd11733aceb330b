use super::learn;
use crate::sql::Definitions;

const RELATION: Definitions = Definitions::READS.union(Definitions::WRITES).union(Definitions::ALL_TABLES);
const CODE: Definitions = Definitions::FUNCTIONS.union(Definitions::OPERATORS);
const TABLE: Definitions = Definitions::NAMED.union(Definitions::ALL_TABLES);
const TRIGGER: Definitions = Definitions::WRITES.union(Definitions::ALL_TABLES).union(Definitions::TRUNCATES);

fn assert_outdates(rows: &[(&str, Definitions)]) {
    for (text, definitions) in rows {
        assert_eq!(learn(text).traits.outdates, *definitions, "{text}");
    }
}

#[test]
fn what_is_only_written_granted_or_remarked_makes_nothing_old() {
    let texts = [
        "insert into t select f(n) from u",
        "select 1",
        "do $$ begin create function f() returns int as ''; end $$",
        "vacuum t",
        "reindex table t",
        "commit",
        "create unique index on t (a, b desc)",
        "comment on table t is 'x'",
        "grant select on t to public",
        "alter role r set work_mem to '1MB'",
        "alter table t owner to r",
        "alter table t add constraint k primary key (a), alter a set not null",
        "alter default privileges grant select on tables to r",
        "create role r",
        "create schema s",
        "create statistics s on a, b from t",
        "refresh materialized view m",
        "set search_path to s",
        "prepare p as select 1",
    ];
    assert_outdates(&texts.map(|text| (text, Definitions::empty())));
}

#[test]
fn a_definition_makes_old_what_may_be_otherwise_by_it() {
    let meaning = Definitions::MEANINGS;
    assert_outdates(&[
        ("create table t (a int default 1, b int check (b > 0), primary key (a))", TABLE | meaning),
        ("create table t (a int references u)", TABLE | Definitions::WRITES | meaning),
        ("create table t (a int, foreign key (a) references u)", TABLE | Definitions::WRITES | meaning),
        ("create table t () inherits (u)", TABLE | Definitions::WRITES | meaning),
        ("create table t partition of u default", TABLE | Definitions::WRITES | meaning),
        ("create temporary table t (a int)", TABLE),
        ("create temporary table t as select 1 as a", TABLE),
        ("select 1 as a into t", Definitions::NAMED | meaning),
        ("create index on t (f(a))", Definitions::WRITES | Definitions::ALL_TABLES),
        ("create index on t (a) where f(a) > 0", Definitions::WRITES | Definitions::ALL_TABLES),
        ("create index on t (a c_ops)", Definitions::WRITES | Definitions::ALL_TABLES),
        ("commit prepared 'x'", Definitions::all()),
        ("grant usage on schema s to r", meaning),
        ("create view v as select 1", RELATION | meaning),
        ("create policy p on t using (f())", RELATION),
        ("create rule r as on insert to t do also select f()", RELATION),
        ("create trigger g before insert on t execute function f()", TRIGGER),
        ("create function f() returns int language sql return 1", CODE | meaning),
        ("create function pg_temp.f() returns int language sql return 1", CODE),
        ("create event trigger e on ddl_command_end execute function f()", Definitions::EVENTS),
        ("create domain d as int check (f(value))", Definitions::all()),
        ("create operator + (function = f, leftarg = t)", Definitions::all()),
        ("create extension pgcrypto", Definitions::all()),
        ("alter table t rename to u", Definitions::all()),
        ("alter table t add column a int", TABLE | RELATION | TRIGGER | meaning),
        ("alter table t owner to r, add foreign key (a) references u", TABLE | RELATION | TRIGGER | meaning),
        ("create schema s create table t (a int) create view v as select 1", TABLE | RELATION | meaning),
    ]);
}

#[test]
fn what_is_dropped_is_not_missed_by_others() {
    assert_outdates(&[
        ("drop table t", Definitions::NAMED),
        ("drop trigger g on t", TRIGGER),
        ("drop policy p on t", RELATION),
        ("drop function f", Definitions::all() - Definitions::MEANINGS),
    ]);
}

#[test]
fn several_statements_make_old_what_each_does_and_what_does_not_parse_everything() {
    let both = TABLE | CODE | Definitions::MEANINGS;
    assert_outdates(&[
        ("create table t (a int); create function f() returns int language sql return 1", both),
        ("create table t (a int) unheard of", Definitions::all()),
        ("select unheard of of", Definitions::empty()),
    ]);
}
