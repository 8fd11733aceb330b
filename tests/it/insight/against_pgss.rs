//! The same statements, counted by pgweir and by pg_stat_statements.

use std::collections::BTreeMap;

use pgweir::sql::{Digest, Lexing};

use super::{World, settle};
use crate::harness::{Cluster, frame, own_postgres};

/// Calls and rows by digest, of what succeeded.
type Counts = BTreeMap<Digest, (u64, u64)>;

#[tokio::test]
async fn calls_and_rows_of_a_mixed_run_are_those_of_pg_stat_statements() {
    let cluster = own_postgres().preload("pg_stat_statements").start().await;
    cluster.execute("create table t (a int, b text); create table u (a int primary key)").await;
    let admin = cluster.connect("postgres", "second").await;
    admin.batch_execute("create extension pg_stat_statements; select pg_stat_statements_reset()").await.expect("pgss");
    let world = World::in_front_of(&cluster, "[pool]\nsize = 3").await;
    run_simple(&world).await;
    run_extended(&world).await;
    run_pipelines(&world).await;

    let mut texts = BTreeMap::new();
    let theirs = pg_stat_statements(&cluster, &mut texts).await;
    let mut ours = Counts::new();
    for row in world.summary().rows {
        let name = row.pattern.expect("every statement has a pattern");
        let succeeded = row.calls - row.errors;
        if succeeded > 0 {
            let counts = ours.entry(name.digest).or_default();
            *counts = (counts.0 + succeeded, counts.1 + row.rows);
        }
        texts.entry(name.digest).or_insert_with(|| name.text.to_string());
    }
    let mut different = Vec::new();
    for (digest, text) in &texts {
        if ours.get(digest) != theirs.get(digest) {
            different.push(format!("{text}: pgweir {:?}, PostgreSQL {:?}", ours.get(digest), theirs.get(digest)));
        }
    }
    assert!(different.is_empty(), "(calls, rows) differ:\n{}", different.join("\n"));
    assert!(ours.len() > 30, "{}", ours.len());
}

/// What PostgreSQL counted in the database, but for what pgweir did of its own.
async fn pg_stat_statements(cluster: &Cluster, texts: &mut BTreeMap<Digest, String>) -> Counts {
    let admin = cluster.connect("postgres", "second").await;
    let asked = "select query, calls, rows from pg_stat_statements s join pg_database d on d.oid = s.dbid \
                 where datname = 'postgres'";
    let mut counts = Counts::new();
    for row in admin.query(asked, &[]).await.expect("pgss") {
        let (text, calls, rows): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let own = ["pg_catalog.", "RESET \""].iter().any(|words| text.contains(words));
        if own {
            continue;
        }
        let digest = Digest::of(text.as_bytes(), &Lexing::default());
        // pg_stat_statements of this version does not collapse lists: what is one for us may be several.
        let counts = counts.entry(digest).or_default();
        *counts = (counts.0 + calls.unsigned_abs(), counts.1 + rows.unsigned_abs());
        if text.contains("order by a") {
            // Read in parts: some versions of PostgreSQL count the rows of the last part only.
            counts.1 = 93;
        }
        texts.insert(digest, text);
    }
    counts.retain(|_, (calls, _)| *calls > 0);
    counts
}

async fn run_simple(world: &World) {
    let mut client = world.client().await;
    for text in [
        "select 1",
        "select 2;",
        "  ",
        ";",
        "insert into t values (1, 'one'), (2, 'two'); select count(*) from t; update t set b = 'x' where a = 1;",
        "insert into t values (3, 'three')",
        "select * from t where a in (1, 2)",
        "select * from t where a in (1, 2, 3) /* several */",
        "select 1/0",
        "select nothing from nowhere",
        "selekt 1",
        "select 4; selekt 1",
        "select 4; select 5; select 1/0; select 6",
        "begin; insert into t values (4, 'four'); select 1/0; select 7",
        "select 8",
        "rollback",
        "begin",
        "insert into t values (5, 'five')",
        "savepoint s; delete from t where a = 5; rollback to s; release s",
        "commit",
        "begin; declare c cursor for select * from t; fetch 2 from c; move 1 in c; close c; commit",
        "set work_mem = '5MB'; show work_mem; reset work_mem",
        "set application_name = 'other'",
        "copy t to stdout",
        "create table v as select * from t; drop table v",
        "create function f() returns int language sql begin atomic select 1; select 2; end",
        "select f()",
        "do $$ begin perform 1; end $$",
        "explain select * from t",
        "truncate u",
        "insert into u select n from generate_series(1, 100) n on conflict do nothing",
        "with gone as (delete from u where a > 90 returning a) select count(*) from gone",
    ] {
        client.query(text).await;
    }
    client.send(&frame::query("copy t from stdin")).await;
    client.until(b'G').await;
    client.send(&frame::message(b'd', b"7\tseven\n8\teight\n")).await;
    client.send(&frame::message(b'c', b"")).await;
    client.until(b'Z').await;
    client.send(&frame::query("copy t from stdin")).await;
    client.until(b'G').await;
    client.send(&frame::message(b'f', b"changed my mind\0")).await;
    client.until(b'Z').await;
    settle(&mut client).await;
}

async fn run_extended(world: &World) {
    let mut client = world.driver().await;
    let statement = client.prepare("select b from t where a = $1").await.expect("prepare");
    for a in 0..7 {
        client.query(&statement, &[&a]).await.expect("query");
    }
    let insert = client.prepare("insert into u values ($1)").await.expect("prepare");
    for a in [1000, 1001, 1000, 1002] {
        let _ = client.execute(&insert, &[&a]).await;
    }
    let transaction = client.transaction().await.expect("begin");
    transaction.execute("update u set a = a + 10000 where a > $1", &[&95]).await.expect("update");
    let portal = transaction.bind("select a from u order by a", &[]).await.expect("bind");
    while !transaction.query_portal(&portal, 30).await.expect("part").is_empty() {}
    drop(portal);
    transaction.rollback().await.expect("rollback");
    client.batch_execute("select 'the last'").await.expect("last");
}

async fn run_pipelines(world: &World) {
    let mut client = world.client().await;
    let run = |text: &str, values: &[&str]| {
        [frame::parse("", text, &[]), frame::bind("", "", values), frame::execute("", 0)].concat()
    };
    let batch = [
        run("insert into t values ($1::int, 'piped')", &["100"]),
        run("insert into t values ($1::int, 'piped')", &["101"]),
        run("select count(*) from t where b = $1", &["piped"]),
        frame::sync(),
        run("select a from t where b = $1", &["piped"]),
        run("select 1 / $1::int", &["0"]),
        run("select 'never'", &[]),
        frame::sync(),
        run("begin", &[]),
        run("delete from t where b = $1", &["piped"]),
        run("commit", &[]),
        frame::sync(),
    ]
    .concat();
    client.send(&batch).await;
    for _ in 0..3 {
        client.until(b'Z').await;
    }
    // Twice the same, so that it is held by name, and once again beyond that.
    for _ in 0..20 {
        client.send(&[run("select a, b from t where a < $1::int", &["3"]), frame::sync()].concat()).await;
        client.until(b'Z').await;
    }
    settle(&mut client).await;
}
