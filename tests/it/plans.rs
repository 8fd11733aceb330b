//! Plans of slow statements, asked of a real PostgreSQL through the control plane.

use std::sync::Arc;
use std::time::Duration;

use pgweir::config::{Config, check_text};
use pgweir::control::Control;
use pgweir::insight::plans::{Plan, PlanFault, Plans, Sample, Sent};
use pgweir::insight::view::PatternName;
use pgweir::sql::{Lexing, Patterns};
use tokio::time::Instant;

use crate::harness::{eventually, pgweir, postgres, within};

async fn config() -> Config {
    let port = postgres().await.port();
    let text = format!(
        "[server]\nhost = '127.0.0.1'\nport = {port}\n[listen]\nauth = 'trust'\n\
         [control]\nuser = 'postgres'\npassword = ''\n[[users]]\nname = '*'\n"
    );
    check_text("plans", &text, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}")).config
}

async fn sample(text: &str, parameters: &[u32]) -> Sample {
    let pattern = Patterns::new(10).learn(text.as_bytes(), &Lexing::default());
    let pattern = PatternName {
        digest: pattern.digest,
        fingerprint: None,
        text: pattern.normalised.clone(),
        kind: pattern.traits.kind,
        reads: pattern.traits.reads.clone(),
        writes: pattern.traits.writes.clone(),
        shape: pattern.traits.shape,
    };
    Sample {
        pattern: Arc::new(pattern),
        database: "alias".into(),
        user: "plans_user".into(),
        sent: Sent {
            hosts: config().await.server.hosts,
            database: "plans".into(),
            search_path: Some("shop".into()),
            text: text.into(),
            parameters: parameters.to_vec(),
        },
    }
}

/// Asks for the plan of each.
async fn plans(samples: Vec<Sample>) -> Vec<Plan> {
    let (plans, control, count) = (Plans::default(), Control::new(&config().await, None), samples.len());
    for sample in samples {
        plans.offer(sample, Instant::now());
    }
    let all = async {
        while plans.list().len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = plans.work(&control) => {}
        () = within("all plans", all) => {}
    }
    plans.list().into_iter().rev().collect()
}

async fn shop() {
    static SHOP: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let make = || async {
        postgres().await.execute("create role plans_user").await;
        make_shop("plans").await;
    };
    SHOP.get_or_init(make).await;
}

async fn make_shop(database: &str) {
    postgres().await.execute(&format!("create database {database}")).await;
    let tables = "create schema shop; \
        create table shop.orders (id int primary key, customer int, status text, at timestamptz); \
        insert into shop.orders select n, n % 5000, 'new', now() from generate_series(1, 20000) n; \
        create table shop.secret (a int); analyze; \
        grant usage on schema shop to plans_user; grant select on shop.orders to plans_user";
    postgres().await.connect("postgres", database).await.batch_execute(tables).await.expect("the shop");
}

fn commands(plan: &Plan) -> Vec<String> {
    let (_, indexes) = plan.outcome.as_ref().expect("a plan");
    indexes.iter().map(|index| index.command()).collect()
}

#[tokio::test]
async fn a_slow_statement_s_plan_names_the_index_it_lacks_and_no_value() {
    shop().await;
    let wanted = plans(vec![
        sample("select * from orders where customer = 4711 and status = 'canary'", &[]).await,
        sample("select * from orders where customer = $1", &[23]).await,
        sample("select * from orders where customer = $1 order by at limit 5", &[0]).await,
        sample("select * from orders where id = $1", &[0]).await,
    ])
    .await;
    let (shape, _) = wanted[0].outcome.as_ref().expect("a plan");
    assert!(shape.text.contains("Seq Scan on shop.orders"), "{}", shape.text);
    assert!(!shape.text.contains("4711") && !shape.text.contains("canary"), "{}", shape.text);
    assert_eq!(commands(&wanted[0]), ["CREATE INDEX CONCURRENTLY ON shop.orders (customer, status)"]);
    assert_eq!(commands(&wanted[1]), ["CREATE INDEX CONCURRENTLY ON shop.orders (customer)"]);
    assert_eq!(commands(&wanted[2]), ["CREATE INDEX CONCURRENTLY ON shop.orders (customer, at)"]);
    assert_eq!(commands(&wanted[3]), <[String; 0]>::default());
}

#[tokio::test]
async fn where_hypopg_is_installed_an_index_tells_what_the_plan_would_cost_with_it() {
    shop().await;
    let there = "select count(*) from pg_available_extensions where name = 'hypopg'";
    if postgres().await.count(there).await == 0 {
        return;
    }
    // In a database of its own: others ask for plans without it.
    make_shop("plans_hypo").await;
    let client = postgres().await.connect("postgres", "plans_hypo").await;
    client.batch_execute("create extension hypopg").await.expect("the extension");
    let mut sample = sample("select * from orders where customer = 1", &[]).await;
    sample.sent.database = "plans_hypo".into();
    let wanted = plans(vec![sample]).await;
    let (shape, indexes) = wanted[0].outcome.as_ref().expect("a plan");
    assert!(indexes[0].cost_with_it.is_some_and(|cost| cost < shape.cost / 2.0), "{indexes:?}");
}

#[tokio::test]
async fn a_plan_is_asked_for_with_the_rights_of_who_was_slow_and_nothing_is_executed() {
    shop().await;
    let mut several = sample("delete from orders where customer = 1", &[]).await;
    several.sent.text = "delete from orders where customer = 1; drop table secret".into();
    let wanted = plans(vec![
        sample("select * from secret", &[]).await,
        several,
        sample("with gone as (delete from orders returning 1) select count(*) from gone", &[]).await,
    ])
    .await;
    let fault = |plan: &Plan| plan.outcome.as_ref().err().cloned();
    assert_eq!(fault(&wanted[0]), Some(PlanFault::Refused("42501".to_owned())));
    assert_eq!(fault(&wanted[1]), Some(PlanFault::Refused("42601".to_owned())));
    assert_eq!(fault(&wanted[2]), Some(PlanFault::Refused("42501".to_owned())));
    let client = postgres().await.connect("postgres", "plans").await;
    let left = client.query_one("select count(*) from shop.orders", &[]).await.expect("the orders");
    assert_eq!(left.get::<_, i64>(0), 20_000);
}

#[tokio::test]
async fn a_pattern_is_asked_about_once_in_ten_minutes_and_only_where_it_can_have_a_plan() {
    let (plans, now) = (Plans::default(), Instant::now());
    let select = sample("select 1", &[]).await;
    let wants = |sample: &Sample, at| plans.wants(&sample.pattern, &sample.database, &sample.user, at);
    assert!(wants(&select, now));
    plans.offer(select.clone(), now);
    assert!(!wants(&select, now));
    assert!(wants(&select, now + pgweir::insight::plans::PAUSE));
    assert!(!wants(&sample("vacuum", &[]).await, now));
    let copy = sample("copy orders to stdout", &[]).await;
    plans.offer(copy.clone(), now);
    assert!(wants(&copy, now), "it was not taken");
}

#[tokio::test]
async fn whoever_reads_the_console_finds_the_plans_of_slow_statements_of_both_protocols() {
    shop().await;
    let proxy = pgweir()
        .set("insight.plans", "true")
        .set("pool.slow_threshold", "'1ms'")
        .set("control.user", "'postgres'")
        .set("control.password", "''")
        .set("admin.users", "['postgres']")
        .start()
        .await;
    let client = proxy.connect(&proxy.url("postgres", "plans")).await.expect("login");
    client.batch_execute("set search_path = shop").await.expect("a setting");
    let slow = "select count(*) from orders, pg_sleep(0.01) where customer = 17";
    client.batch_execute(slow).await.expect("an answer");
    client.query("select * from orders, pg_sleep(0.01) where status = $1 limit 3", &[&"canary"]).await.expect("rows");
    let console = proxy.connect(&proxy.url("postgres", "pgweir")).await.expect("the console");
    let shown = "SHOW PLANS (advice, plan, query, fault) WHERE query LIKE '%orders%' ORDER BY query";
    eventually("both are explained", async || console.query(shown, &[]).await.expect("rows").len() == 2).await;
    let rows = console.query(shown, &[]).await.expect("rows");
    let text = |row: usize, column: &str| rows[row].get::<_, Option<&str>>(column).unwrap_or_default();
    assert_eq!((text(0, "fault"), text(1, "fault")), ("", ""));
    assert!(text(0, "plan").contains("Seq Scan on shop.orders"), "{}", text(0, "plan"));
    let advice = [text(0, "advice"), text(1, "advice")];
    assert!(advice.contains(&"CREATE INDEX CONCURRENTLY ON shop.orders (customer)"), "{advice:?}");
    assert!(!format!("{rows:?}{}", text(1, "plan")).contains("canary"));
}
