//! Plans of slow statements, asked of a real PostgreSQL through the control plane.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use crate::harness::{Proxy, eventually, pgweir, postgres};

async fn shop() {
    static SHOP: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let make = || async {
        postgres().await.execute("create role plans_user login").await;
        make_shop("plans").await;
    };
    SHOP.get_or_init(make).await;
}

/// Of which `plans_user` may read one table.
async fn make_shop(database: &str) {
    postgres().await.execute(&format!("create database {database}")).await;
    let tables = "create schema shop; \
        create table shop.orders (id int primary key, customer int, status text, at timestamptz); \
        insert into shop.orders select n, n % 5000, 'new', now() from generate_series(1, 20000) n; \
        create table shop.secret (a int); analyze; \
        grant usage on schema shop to plans_user; grant select on shop.orders to plans_user";
    postgres().await.connect("postgres", database).await.batch_execute(tables).await.expect("the shop");
}

/// One that takes everything for slow.
async fn proxy() -> Proxy {
    shop().await;
    proxy_with_control_by("postgres").await
}

async fn proxy_with_control_by(user: &str) -> Proxy {
    let control = &format!("[control]\nuser = '{user}'\npassword = ''\n");
    let proxy = pgweir().set("insight.plans", "true").set("pool.slow_threshold", "'0s'").config(control);
    proxy.set("admin.users", "['postgres']").start().await
}

/// The plan of the one pattern that has this in its text, once it is known.
async fn plan(proxy: &Proxy, like: &str) -> Row {
    let console = proxy.connect(&proxy.url("postgres", "pgweir")).await.expect("the console");
    let show = format!("SHOW PLANS (advice, plan, error, query) WHERE query LIKE '{like}'");
    eventually(like, async || console.query(&show, &[]).await.expect("rows").len() == 1).await;
    console.query_one(&show, &[]).await.expect("a row")
}

fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get::<_, Option<&str>>(column).unwrap_or_default()
}

async fn client(proxy: &Proxy, user: &str, database: &str) -> Client {
    let client = proxy.connect(&proxy.url(user, database)).await.expect("login");
    client.batch_execute("set search_path = shop").await.expect("a setting");
    client
}

#[tokio::test]
async fn a_slow_statement_s_plan_names_the_index_it_lacks_and_no_value() {
    let proxy = proxy().await;
    let client = client(&proxy, "postgres", "plans").await;
    let simple = "select status from orders where customer = 4711 and status = 'canary'";
    client.batch_execute(simple).await.expect("nothing");
    client.query("select at from orders where customer = $1", &[&1_i32]).await.expect("rows");
    client.query("select id from orders where customer = $1 order by at limit 5", &[&1_i32]).await.expect("rows");
    client.query("select customer from orders where id = $1", &[&1_i32]).await.expect("rows");
    let row = plan(&proxy, "select status%").await;
    assert!(text(&row, "advice").ends_with("CREATE INDEX CONCURRENTLY ON shop.orders (customer, status);"), "{row:?}");
    assert!(text(&row, "plan").starts_with("Seq Scan on shop.orders"), "{row:?}");
    for column in ["advice", "plan", "query"] {
        assert!(!text(&row, column).contains("4711") && !text(&row, column).contains("canary"), "{row:?}");
    }
    let row = plan(&proxy, "select at%").await;
    assert!(text(&row, "advice").ends_with("CREATE INDEX CONCURRENTLY ON shop.orders (customer);"), "{row:?}");
    let row = plan(&proxy, "select id%").await;
    assert!(text(&row, "advice").ends_with("CREATE INDEX CONCURRENTLY ON shop.orders (customer, at);"), "{row:?}");
    let row = plan(&proxy, "select customer%").await;
    assert_eq!((text(&row, "advice"), text(&row, "error")), ("", ""));
    assert!(text(&row, "plan").starts_with("Index Scan using orders_pkey on shop.orders"), "{row:?}");
}

#[tokio::test]
async fn a_plan_is_asked_for_with_the_rights_of_who_was_slow_and_no_words_of_it_name_a_value() {
    let proxy = proxy().await;
    let client = client(&proxy, "plans_user", "plans").await;
    client.batch_execute("select * from secret").await.expect_err("not allowed");
    client.batch_execute("select status::int from orders where id = 'canary'").await.expect_err("no number");
    let row = plan(&proxy, "select * from secret%").await;
    let why = text(&row, "error");
    assert!(why.starts_with("permission denied for table secret (SQLSTATE 42501): EXPLAIN needs the rights"), "{why}");
    let row = plan(&proxy, "select status::int%").await;
    assert_eq!(text(&row, "error"), "SQLSTATE 22P02");
}

#[tokio::test]
async fn a_write_that_cannot_be_explained_names_the_rights_that_it_takes() {
    let proxy = proxy().await;
    let client = client(&proxy, "plans_user", "plans").await;
    client.batch_execute("update orders set status = 'old' where id = 1").await.expect_err("not allowed");
    let row = plan(&proxy, "update orders%").await;
    let why = text(&row, "error");
    assert!(why.contains("denied for table orders (SQLSTATE 42501)") && why.contains("pg_write_all_data"), "{why}");
}

#[tokio::test]
async fn with_the_rights_that_the_documentation_names_all_is_explained() {
    shop().await;
    make_shop("plans_granted").await;
    let grants = "create role plans_control login; \
        grant pg_monitor, pg_read_all_data, pg_write_all_data to plans_control";
    postgres().await.execute(grants).await;
    let proxy = proxy_with_control_by("plans_control").await;
    let client = client(&proxy, "postgres", "plans_granted").await;
    client.batch_execute("select a from secret").await.expect("nothing");
    client.query("update orders set at = now() where id = $1", &[&1_i32]).await.expect("a row");
    client.query("insert into secret select a from secret where a = $1", &[&1_i32]).await.expect("nothing");
    for pattern in ["select a%", "update orders%", "insert into secret%"] {
        let row = plan(&proxy, pattern).await;
        assert_eq!(text(&row, "error"), "", "{pattern}");
    }
}

#[tokio::test]
async fn what_explain_does_not_take_is_not_asked_about() {
    let proxy = proxy().await;
    let client = client(&proxy, "postgres", "plans").await;
    client.batch_execute("create temporary table copied (a int)").await.expect("a table");
    client.batch_execute("copy orders to '/dev/null'; truncate copied").await.expect("done");
    client.batch_execute("copy orders (id) to '/dev/null'").await.expect("done");
    client.query("select 'the last' from orders limit 1", &[]).await.expect("a row");
    // One is asked about after the other.
    plan(&proxy, "select % from orders limit%").await;
    let console = proxy.connect(&proxy.url("postgres", "pgweir")).await.expect("the console");
    let rows = console.query("SHOW PLANS (query, error) WHERE NOT query LIKE 'select%'", &[]).await.expect("rows");
    assert!(rows.is_empty(), "{rows:?}");
}

#[tokio::test]
async fn workers_of_a_parallel_plan_count_together() {
    let proxy = proxy().await;
    make_shop("plans_parallel").await;
    for setting in ["min_parallel_table_scan_size", "parallel_setup_cost", "parallel_tuple_cost"] {
        let sql = format!("alter database plans_parallel set {setting} = 0");
        postgres().await.execute(&sql).await;
    }
    let client = client(&proxy, "postgres", "plans_parallel").await;
    client.batch_execute("select at from orders where customer < 750").await.expect("rows");
    client.batch_execute("select status from orders where customer < 100").await.expect("rows");
    let row = plan(&proxy, "select at%").await;
    assert!(text(&row, "plan").contains("\n  Parallel Seq Scan on shop.orders"), "{row:?}");
    assert_eq!(text(&row, "advice"), "", "15 % of the table is not few");
    let row = plan(&proxy, "select status%").await;
    let gathered = text(&row, "plan").split_once("rows=").and_then(|(_, rest)| rest.split_once(')')).expect("rows").0;
    let gathered: f64 = gathered.parse().expect("a number");
    let wanted = text(&row, "advice").split_once("for about ").and_then(|(_, rest)| rest.split_once(':'));
    let wanted: f64 = wanted.expect("advice").0.parse().expect("a number");
    assert!((wanted - gathered).abs() <= 2.0, "{row:?}");
}

#[tokio::test]
async fn a_pattern_on_a_bare_column_is_told_which_indexes_serve_it() {
    let proxy = proxy().await;
    let client = client(&proxy, "postgres", "plans").await;
    client.batch_execute("select customer from orders where status like 'zzz%'").await.expect("nothing");
    let row = plan(&proxy, "select customer%like%").await;
    let advice = text(&row, "advice");
    assert!(advice.contains("(status text_pattern_ops)") && !advice.contains("bare column"), "{advice}");
}

#[tokio::test]
async fn a_join_that_reads_a_table_whole_for_few_rows_names_the_index_that_spares_it() {
    let proxy = proxy().await;
    make_shop("plans_join").await;
    let client = client(&proxy, "postgres", "plans_join").await;
    let tables = "create table buyers (id int primary key, name text); insert into buyers values (1, 'a'), (2, 'b'); \
        analyze buyers";
    client.batch_execute(tables).await.expect("a table");
    let join = "from buyers b join orders o on o.customer = b.id where b.name = $1";
    client.query(&format!("select o.status {join}"), &[&"a"]).await.expect("rows");
    let row = plan(&proxy, "select o.status%").await;
    let advice = text(&row, "advice");
    let (_, command) = advice.split_once("that a join wants: ").unwrap_or_else(|| panic!("{advice}"));
    assert_eq!(command, "CREATE INDEX CONCURRENTLY ON shop.orders (customer);");
    client.batch_execute(command).await.expect("an index");
    client.query(&format!("select o.at {join}"), &[&"a"]).await.expect("rows");
    let row = plan(&proxy, "select o.at%").await;
    assert_eq!(text(&row, "advice"), "");
    assert!(text(&row, "plan").contains("orders_customer_idx"), "{}", text(&row, "plan"));
}

#[tokio::test]
async fn where_hypopg_is_installed_an_index_tells_what_the_plan_would_cost_with_it() {
    let proxy = proxy().await;
    let there = "select count(*) from pg_available_extensions where name = 'hypopg'";
    if postgres().await.count(there).await == 0 {
        return;
    }
    // In a database of its own: others ask for plans without it.
    make_shop("plans_hypo").await;
    let direct = postgres().await.connect("postgres", "plans_hypo").await;
    direct.batch_execute("create extension hypopg").await.expect("the extension");
    let client = client(&proxy, "postgres", "plans_hypo").await;
    client.query("select id from orders where customer = $1", &[&1_i32]).await.expect("rows");
    let row = plan(&proxy, "select id%").await;
    assert!(text(&row, "advice").contains("(HypoPG: the plan would cost "), "{row:?}");
}

#[tokio::test]
async fn a_parameter_has_in_the_plan_the_type_that_its_client_declared() {
    let proxy = proxy().await;
    let client = client(&proxy, "postgres", "plans").await;
    let statement = "select status from orders where id = $1 and status <> $2";
    let statement = client.prepare_typed(statement, &[Type::FLOAT8, Type::BPCHAR]).await.expect("a statement");
    client.query(&statement, &[&1_f64, &"old"]).await.expect("rows");
    let row = plan(&proxy, "select status%<>%").await;
    for condition in ["(orders.id)::double precision = $1", "orders.status <> ($2)::text"] {
        assert!(text(&row, "plan").contains(condition), "{row:?}");
    }
}

#[tokio::test]
async fn a_plan_for_any_values_has_all_partitions_since_postgresql_16() {
    if postgres().await.version().await < 16 {
        return;
    }
    let proxy = proxy().await;
    let client = client(&proxy, "postgres", "plans").await;
    let tables = "create table parts (id int, note text) partition by list (id); \
        create table part_1 partition of parts for values in (1); \
        create table part_2 partition of parts for values in (2)";
    client.batch_execute(tables).await.expect("tables");
    client.query("select note from parts where id = $1", &[&1_i32]).await.expect("rows");
    let row = plan(&proxy, "select note%").await;
    for part in ["shop.part_1", "shop.part_2"] {
        assert!(text(&row, "plan").contains(part), "{row:?}");
    }
}
