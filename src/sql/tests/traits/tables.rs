//! Tables, kinds and shapes.

use super::{names, parsed};
use crate::sql::Kind;

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
