//! What a user reads of statements that he knows.

use std::time::Duration;

use pgweir::insight::view::{Application, Repeated, Summary};
use pgweir::sql::Kind;

use super::{World, settle};
use crate::harness::{eventually, frame, own_postgres};

fn calls(summary: &Summary) -> u64 {
    summary.rows.iter().map(|row| row.calls).sum()
}

fn some(names: &[(&str, u64)]) -> Vec<(Box<str>, u64)> {
    names.iter().map(|(name, count)| ((*name).into(), *count)).collect()
}

#[tokio::test]
async fn an_error_is_counted_with_its_sqlstate_and_charged_to_the_statement_that_failed() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.query("select 1 as fine; select 1 / 0 as broken; select 2 as never").await;
    client.query("select 1 / 0 as broken").await;
    client.query("select missing as broken").await;
    client.query("selekt 1; select 5 as unread").await;
    settle(&mut client).await;
    let broken = world.row("select 1 / 0 as broken");
    assert_eq!((broken.calls, broken.errors, broken.sqlstates), (2, 2, some(&[("22012", 2)])));
    assert_eq!(world.row("select 1 as fine").errors, 0);
    assert_eq!(world.row("select missing as broken").sqlstates, some(&[("42703", 1)]));
    assert_eq!(world.row("selekt 1; select 5 as unread").sqlstates, some(&[("42601", 1)]));
    let summary = world.summary();
    let texts = summary.rows.iter().filter_map(|row| Some(&*row.pattern.as_ref()?.text));
    assert!(!texts.into_iter().any(|text| text.contains("never") || text == "select $1 as unread"));
}

#[tokio::test]
async fn an_error_of_the_extended_protocol_is_one_failed_execution() {
    let world = World::start("").await;
    let mut client = world.client().await;
    let run = |text: &str, value: &str| {
        [frame::parse("", text, &[]), frame::bind("", "", &[value]), frame::execute("", 0), frame::sync()].concat()
    };
    for (text, value) in [
        ("select absent from nothing where $1 = 1", "1"),
        ("select $1::int as bound", "no number"),
        ("select 1 / $1::int as executed", "0"),
    ] {
        client.send(&run(text, value)).await;
        client.until(b'Z').await;
    }
    settle(&mut client).await;
    for (text, state) in [
        ("select absent from nothing where $1 = 1", "42P01"),
        ("select $1::int as bound", "22P02"),
        ("select 1 / $1::int as executed", "22012"),
    ] {
        let row = world.row(text);
        assert_eq!((row.calls, row.errors, row.sqlstates, row.extended), (1, 1, some(&[(state, 1)]), 1), "{text}");
    }
}

#[tokio::test]
async fn an_error_of_no_execution_is_counted_with_what_it_makes_vain_or_with_what_is_not_known() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.query("create table if not exists vain (id int unique deferrable initially deferred)").await;
    client.query("truncate vain").await;
    let insert = "insert into vain select 1 from generate_series(1, $1::int)";
    let batch =
        [frame::parse("", insert, &[]), frame::bind("", "", &["2"]), frame::execute("", 0), frame::sync()].concat();
    client.send(&batch).await;
    client.until(b'Z').await;
    client.send(&[frame::bind("", "absent", &[]), frame::execute("", 0), frame::sync()].concat()).await;
    client.until(b'Z').await;
    // int4div
    let value = |text: &'static str| Some(text.as_bytes().into());
    client.send(&frame::function_call(154, &[0], &[value("1"), value("0")], 0)).await;
    client.until(b'Z').await;
    client.query("drop table vain").await;
    settle(&mut client).await;
    let row = world.row(insert);
    assert_eq!((row.calls, row.errors, row.rows, row.sqlstates), (1, 1, 2, some(&[("23505", 1)])));
    let summary = world.summary();
    let unknown = summary.rows.iter().find(|row| row.pattern.is_none()).expect("what is not known");
    assert_eq!((unknown.calls, unknown.errors), (0, 2));
    assert_eq!(unknown.sqlstates.iter().map(|(_, count)| count).sum::<u64>(), 2, "{:?}", unknown.sqlstates);
    assert!(["26000", "22012"].iter().all(|code| unknown.sqlstates.iter().any(|(known, _)| &**known == *code)));
}

#[tokio::test]
async fn cancelled_and_timed_out_statements_are_told_apart() {
    let (world, bounded) = (World::start("").await, World::start("[pool]\nquery_timeout = '50ms'").await);
    let (mut client, mut hurried) = (world.client().await, bounded.client().await);
    client.query("set statement_timeout = '20ms'").await;
    client.query("select pg_sleep(10) as by_postgresql").await;
    client.query("set statement_timeout = 0").await;
    hurried.query("select pg_sleep(10) as by_pgweir").await;
    settle(&mut hurried).await;
    client.send(&frame::query("select pg_sleep(10) as by_request")).await;
    eventually("the statement runs", async || {
        let count = "select count(*) from pg_stat_activity where state = 'active' and query like '%by_request%' \
                     and query not like '%pg_stat_activity%'";
        crate::harness::postgres().await.count(count).await == 1
    })
    .await;
    client.cancel().await;
    client.until(b'Z').await;
    settle(&mut client).await;
    let counted = |world: &World, text: &str| {
        let row = world.row(text);
        (row.errors, row.cancelled, row.timed_out)
    };
    assert_eq!(counted(&world, "select pg_sleep(1) as by_postgresql"), (1, 0, 1));
    assert_eq!(counted(&bounded, "select pg_sleep(1) as by_pgweir"), (1, 0, 1));
    assert_eq!(counted(&world, "select pg_sleep(1) as by_request"), (1, 1, 0));
}

#[tokio::test]
async fn time_is_divided_into_waiting_the_server_and_the_client() {
    let world = World::start("[pool]\nsize = 1\nmax_overflow = 0").await;
    let (mut first, mut second) = (world.client().await, world.client().await);
    first.query("begin").await;
    second.send(&frame::query("select pg_sleep(0.05) as patient")).await;
    let pools = || world.running.snapshot().pools;
    eventually("the second waits", async || pools().iter().any(|pool| pool.waiting > 0)).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    first.query("commit").await;
    second.until(b'Z').await;
    settle(&mut second).await;
    settle(&mut first).await;
    let row = world.row("select pg_sleep(1) as patient");
    assert!(row.wait.sum >= Duration::from_millis(60) && row.server.sum >= Duration::from_millis(50), "{row:?}");
    assert!(row.total.sum >= row.wait.sum + row.server.sum && row.total.p50 >= Duration::from_millis(100), "{row:?}");
    let begin = world.row("begin");
    assert!(begin.idle_after.sum >= Duration::from_millis(60) && begin.idle_after.count == 1, "{begin:?}");
    assert_eq!((begin.in_transaction, world.row("commit").in_transaction), (0, 1));
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not_the_servers_slowness() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.send(&frame::query("select repeat('x', 1000) as much from generate_series(1, 50000)")).await;
    eventually("the server waits for pgweir", async || {
        let count = "select count(*) from pg_stat_activity where wait_event = 'ClientWrite'";
        crate::harness::postgres().await.count(count).await > 0
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.until(b'Z').await;
    settle(&mut client).await;
    let row = world.row("select repeat('x', 1000) as much from generate_series(1, 50000)");
    assert!(row.drain.sum >= Duration::from_millis(300), "{row:?}");
    assert!(row.bytes_out > 50_000_000 && row.rows == 50_000, "{row:?}");
}

#[tokio::test]
async fn a_wait_for_a_backend_that_was_in_vain_is_an_error_of_the_statement() {
    let world = World::start("[pool]\nsize = 1\nmax_overflow = 0\ntimeout = '500ms'").await;
    let (mut first, mut second) = (world.client().await, world.client().await);
    first.query("begin").await;
    second.query("select 1 as in_vain").await;
    let parsed = frame::parse("", "select $1 as parsed_in_vain", &[]);
    second.send(&[parsed, frame::bind("", "", &["1"]), frame::execute("", 0), frame::sync()].concat()).await;
    second.until(b'Z').await;
    first.query("commit").await;
    settle(&mut second).await;
    for text in ["select 1 as in_vain", "select $1 as parsed_in_vain"] {
        let row = world.row(text);
        assert_eq!((row.calls, row.sqlstates), (1, some(&[("53300", 1)])), "{text}");
        assert!(row.wait.sum >= Duration::from_millis(500), "{:?}", row.wait);
    }
}

#[tokio::test]
async fn a_statement_whose_backend_is_lost_or_whose_client_leaves_has_failed() {
    let cluster = own_postgres().start().await;
    let world = World::in_front_of(&cluster, "").await;
    let (mut lost, mut leaving) = (world.client().await, world.client().await);
    lost.send(&frame::query("select pg_sleep(20) as lost")).await;
    leaving.send(&frame::query("select pg_sleep(30) as left_alone")).await;
    let active = "select count(*) from pg_stat_activity where query like 'select pg_sleep(%' and state = 'active'";
    eventually("both run", async || cluster.count(active).await == 2).await;
    drop(leaving);
    cluster.execute("select pg_terminate_backend(pid) from pg_stat_activity where query like '%sleep(20)%lost'").await;
    lost.until_end().await;
    eventually("both are counted", async || calls(&world.summary()) == 2).await;
    assert_eq!(world.row("select pg_sleep(1) as lost").sqlstates, some(&[("57P01", 1)]));
    let left = world.row("select pg_sleep(1) as left_alone");
    assert_eq!((left.sqlstates, left.cancelled), (some(&[("57014", 1)]), 1));
}

#[tokio::test]
async fn applications_and_tags_are_told_with_each_pattern() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.query("set application_name = 'shop'").await;
    client.query("select 1 as tagged /*controller='carts',action='show',traceparent='00-12-34-01'*/").await;
    client.query("select 2 as tagged /*controller='carts',action='list'*/").await;
    client.query("set application_name = 'worker'").await;
    client.query("select 3 as tagged").await;
    let text = "select $1 as prepared /*route='%2Fcarts'*/";
    client
        .send(
            &[frame::parse("", text, &[]), frame::bind("", "", &["1"]), frame::execute("", 0), frame::sync()].concat(),
        )
        .await;
    client.until(b'Z').await;
    settle(&mut client).await;
    let row = world.row("select 1 as tagged");
    let named: Vec<_> = row.applications.iter().map(|one| (&*one.name, one.calls, one.rows)).collect();
    assert_eq!(named, [("shop", 2, 2), ("worker", 1, 1)]);
    assert_eq!(row.applications.iter().map(Application::total).sum::<Duration>(), row.total.sum);
    let tags: Vec<_> = row.tags.iter().map(|(key, value, count)| (&**key, &**value, *count)).collect();
    assert_eq!(tags[0], ("controller", "carts", 2));
    assert_eq!(tags.len(), 3, "{tags:?}");
    assert_eq!(world.row("select $1 as prepared").tags, [("route".into(), "/carts".into(), 1)]);
}

#[tokio::test]
async fn a_loop_over_rows_is_found_with_the_statement_that_began_it() {
    let world = World::start("").await;
    let client = world.driver().await;
    client.batch_execute("create table if not exists lines (id int, n int)").await.expect("table");
    let list = client.prepare("select n from generate_series(1, 8) n").await.expect("prepare");
    let one = client.prepare("select n from lines where id = $1").await.expect("prepare");
    client.batch_execute("begin /*controller='lists'*/").await.expect("begin");
    for row in client.query(&list, &[]).await.expect("list") {
        client.query(&one, &[&row.get::<_, i32>(0)]).await.expect("one");
    }
    client.batch_execute("commit").await.expect("commit");
    for n in 0..7 {
        client.batch_execute(&format!("insert into lines values ({n}, {n})")).await.expect("insert");
    }
    client.batch_execute("begin").await.expect("begin");
    for _ in 0..7 {
        client.batch_execute("select id as polled from lines where n = -1").await.expect("a poll");
    }
    client.batch_execute("commit").await.expect("commit");
    client.batch_execute("begin; drop table lines; commit").await.expect("the last");
    client.batch_execute("begin").await.expect("the end");
    let found = async || {
        world.summary();
        world.running.insight().repetitions()
    };
    eventually("all have names", async || found().await.len() == 3).await;
    let found = found().await;
    let of = |text: &str| found.iter().find(|found| &*found.pattern.text == text).expect("found");
    let reads = of("select n from lines where id = $1");
    assert_eq!((reads.kind, reads.advice), (Repeated::Reads, Repeated::Reads.advice(true)));
    assert_eq!((reads.units, reads.executions, reads.wasted_round_trips), (1, 8, 7), "{reads:?}");
    assert_eq!(&*reads.before.as_ref().expect("a list").text, "select n from generate_series($1, $2) n");
    let writes = found.iter().find(|found| found.kind == Repeated::Writes).expect("writes");
    assert_eq!((&*writes.pattern.text, writes.executions), ("insert into lines values ($1, $2)", 7));
    let polled = of("select id as polled from lines where n = $1");
    assert_eq!((polled.before.is_none(), polled.advice), (true, Repeated::Reads.advice(false)), "{polled:?}");
}

#[tokio::test]
async fn statements_of_pgweir_s_own_are_counted_apart() {
    let world = World::start("[pool]\nsize = 1\nmax_overflow = 0").await;
    let (mut first, mut second) = (world.client().await, world.client().await);
    first.query("set work_mem = '7MB'").await;
    second.query("show work_mem").await;
    first.query("show work_mem").await;
    settle(&mut first).await;
    let summary = world.summary();
    assert!(summary.own_statements >= 2, "{}", summary.own_statements);
    let texts: Vec<_> = summary.rows.iter().filter_map(|row| Some(&*row.pattern.as_ref()?.text)).collect();
    assert!(!texts.iter().any(|text| text.contains("pg_catalog") || text.starts_with("RESET")), "{texts:?}");
}

#[tokio::test]
async fn a_read_without_a_limit_that_returns_much_is_pointed_out() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.query("create table if not exists crowd as select generate_series(1, 1500) as n").await;
    client.query("select n from crowd").await;
    client.query("select n from crowd limit 1200").await;
    client.query("drop table crowd").await;
    settle(&mut client).await;
    assert!(world.row("select n from crowd").is_unbounded_read());
    assert!(!world.row("select n from crowd limit 1").is_unbounded_read());
}

/// An INSERT of so many rows of some forty bytes.
fn many_rows(table: &str, rows: usize) -> String {
    let values = vec!["('a value of some twenty bytes and more')"; rows].join(", ");
    format!("insert into {table} (a) values {values}")
}

#[tokio::test]
async fn a_text_too_long_to_be_held_is_counted_by_its_beginning() {
    let world = World::start("[limits]\nheld_query = '64KB'").await;
    let mut client = world.client().await;
    client.query("create table if not exists long_ones (a text)").await;
    for rows in [3000, 4000] {
        client.query(&many_rows("long_ones", rows)).await;
    }
    client.query("drop table long_ones").await;
    settle(&mut client).await;
    let row = world.row("insert into long_ones (a) values (");
    assert_eq!((row.calls, row.rows, row.errors), (2, 7000, 0));
    assert_eq!(row.pattern.expect("named").kind, Kind::Unknown);
}

#[tokio::test]
async fn an_insert_of_any_number_of_rows_is_one_pattern() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.query("create table if not exists bulk_ones (a text)").await;
    for rows in [2, 30, 4000] {
        client.query(&many_rows("bulk_ones", rows)).await;
    }
    client.query("drop table bulk_ones").await;
    settle(&mut client).await;
    let row = world.row(&many_rows("bulk_ones", 1));
    assert_eq!((row.calls, row.rows, row.errors), (3, 4032, 0));
    assert_eq!(row.pattern.expect("named").kind, Kind::Write);
}

#[tokio::test]
async fn twenty_thousand_distinct_statements_stay_within_the_bound_and_add_up() {
    let world = World::start("[insight]\nmax_patterns = 1000").await;
    let mut client = world.client().await;
    for batch in 0..200 {
        let texts = (0..100).map(|n| frame::query(&format!("select 1 as c{}", batch * 100 + n)));
        client.send(&texts.collect::<Vec<_>>().concat()).await;
        for _ in 0..100 {
            client.until(b'Z').await;
        }
    }
    settle(&mut client).await;
    let summary = world.summary();
    assert!(calls(&summary) >= 20_000, "{}", calls(&summary));
    assert!(summary.rows.len() <= 1001 && summary.folded >= 19_000, "{} {}", summary.rows.len(), summary.folded);
    let other = summary.rows.iter().find(|row| row.pattern.is_none()).expect("a row of others");
    assert_eq!(other.rows, other.calls);
}

#[tokio::test]
async fn nothing_is_counted_where_that_is_switched_off() {
    let world = World::start("[insight]\nenabled = false").await;
    let mut client = world.client().await;
    client.query("select 1").await;
    settle(&mut client).await;
    assert_eq!(calls(&world.summary()), 0);
}
