//! Nothing that users put into their statements is kept, shown or logged, unless somebody asks for it.

use pgweir::insight::Filter;

use super::{World, settle};
use crate::harness::{frame, pgweir};

/// Statements with a word in every place where a literal or a comment can stand, broken ones too.
fn statements(canary: &str) -> Vec<String> {
    [
        "select 'CANARY'",
        "select e'CANARY\\n', U&'CANARY', $$CANARY$$, $x$CANARY$x$, b'1', x'FF'",
        "select 1 as a where 'CANARY' = 'CANARY' -- CANARY\n and true /* CANARY /* CANARY */ */",
        "select 'CANARY' 'CANARY\n'",
        "select 'CANARY'\n'CANARY'",
        "select 1/0, 'CANARY'",
        "select 'CANARY'::int",
        "select * from nowhere where a = 'CANARY'",
        "selekt 'CANARY'",
        "select 'it''s CANARY' from 'CANARY",
        "select 'CANARY",
        "select $$CANARY",
        "select 1; select 'CANARY'; select 2",
        "select 1; selekt 'CANARY'; select 2",
        "begin; select 'CANARY'; rollback",
        "prepare p as select 'CANARY', $1::text; execute p('CANARY'); deallocate p",
        "do $$ begin perform 'CANARY'; end $$",
        "do 'begin perform ''CANARY''; end'",
        "set my.setting = 'CANARY'; reset my.setting",
        "select set_config('my.setting', 'CANARY', true)",
        "create role nobody_at_all password 'CANARY' in role missing",
        "alter role missing password 'CANARY'",
        "create function f_of_c() returns text language sql as 'select ''CANARY''::text'; drop function f_of_c()",
        "notify channel, 'CANARY'",
        "comment on table pg_class is 'CANARY'",
        "explain select 'CANARY'",
        "declare c cursor for select 'CANARY'",
        "values ('CANARY', 1), ('CANARY', 2)",
        "select a from (values ('CANARY')) v (a) where a in ('CANARY', 'CANARY', 'CANARY')",
        "select pg_sleep(0.0) /*controller='users',password='CANARY'*/",
        "select '/*controller=''CANARY''*/'",
        "select 'CANARY' and \"",
        "copy (select 'CANARY') to stdout",
        "select interval 'CANARY', date 'CANARY'",
        "select json '{\"CANARY\": 1}' -> 'CANARY'",
    ]
    .map(|text| text.replace("CANARY", canary))
    .to_vec()
}

#[tokio::test]
async fn no_literal_of_any_statement_is_in_any_report() {
    let world = World::start("[pool]\nslow_threshold = '0s'").await;
    let canary = "tweety9173";
    let mut client = world.client().await;
    for text in statements(canary) {
        client.query(&text).await;
        let run = [frame::parse("", &text, &[]), frame::bind("", "", &[]), frame::execute("", 0), frame::sync()];
        client.send(&run.concat()).await;
        client.until(b'Z').await;
    }
    client.query(&format!("select 1 where 'x' in ({})", vec![format!("'{canary}'"); 20_000].join(","))).await;
    let values = frame::bind("", "", &[canary]);
    client
        .send(&[frame::parse("", "select $1::text", &[]), values, frame::execute("", 0), frame::sync()].concat())
        .await;
    client.until(b'Z').await;
    settle(&mut client).await;
    let summary = world.summary();
    let insight = world.running.insight();
    insight.report_slow();
    insight.report_slow();
    let (slow, repeated) = (insight.slow(10_000), insight.repetitions());
    assert!(summary.rows.len() > 30 && slow.len() > 60, "{} {}", summary.rows.len(), slow.len());
    let trends = insight.trends(std::time::Duration::from_secs(60), &Filter::default());
    let all = format!("{summary:?}\n{slow:?}\n{repeated:?}\n{trends:?}");
    let found = all.find(canary).map(|at| &all[at.saturating_sub(300)..(at + 100).min(all.len())]);
    assert_eq!(found, None);
}

#[tokio::test]
async fn the_log_of_slow_statements_has_everything_but_their_literals() {
    let proxy = pgweir().set("pool.slow_threshold", "'0s'").set("insight.slow_log_rate", "100000").start().await;
    let mut client = proxy.wire().await;
    for text in statements("tweety9174") {
        client.query(&text).await;
    }
    client.query("set application_name = 'shop'").await;
    client.query("select pg_sleep(0.01) as slow_one /*controller='users'*/").await;
    let line = proxy.log_line("slow_one").await;
    for part in ["a statement was slow", "\"rows\":1", "controller=users", "\"application\":\"shop\"", "pg_sleep($1)"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!proxy.log().contains("tweety9174"), "{}", proxy.log());
}

#[tokio::test]
async fn bound_values_are_logged_where_that_is_asked_for() {
    let proxy = pgweir().set("pool.slow_threshold", "'0s'").set("insight.sample_parameters", "true").start().await;
    let mut client = proxy.wire().await;
    let parse = frame::parse("", "select $1::text as sampled, $2::text", &[]);
    let bind = frame::bind_with("", "", &[], &[Some("sylvester".into()), None], &[]);
    client.send(&[parse, bind, frame::execute("", 0), frame::sync()].concat()).await;
    client.until(b'Z').await;
    let line = proxy.log_line("sampled").await;
    assert!(line.contains("sylvester") && line.contains("NULL"), "{line}");
}

#[tokio::test]
async fn of_more_slow_statements_than_a_second_may_log_the_number_is_logged() {
    let proxy = pgweir().set("pool.slow_threshold", "'0s'").set("insight.slow_log_rate", "3").start().await;
    let mut client = proxy.wire().await;
    for _ in 0..50 {
        client.query("select 1").await;
    }
    proxy.log_line("slow statements were not logged").await;
}
