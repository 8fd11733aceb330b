//! The console: a database of which pgweir itself is the server, through a real driver and as raw frames.

use tokio_postgres::{Client, Error, SimpleQueryMessage};

use crate::harness::{Builder, Frame, Proxy, WireClient, eventually, frame, own_postgres, pgweir, within};

fn with_console() -> Builder {
    pgweir().set("admin.users", "['postgres']").set("admin.stats_users", "['looker']")
}

async fn console(proxy: &Proxy) -> Client {
    proxy.connect(&proxy.url("postgres", "pgweir")).await.expect("the console lets postgres in")
}

fn told(error: &Error) -> (&str, &str, &str) {
    let report = error.as_db_error().expect("an ErrorResponse");
    (report.code().code(), report.message(), report.hint().unwrap_or_default())
}

/// The rows of a simple query, each with its columns as text.
async fn simple(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.expect(sql);
    let row = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()),
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

#[tokio::test]
async fn pools_are_shown_with_numbers_as_numbers_in_both_protocols() {
    let proxy = with_console().pool_size(3).start().await;
    let client = proxy.connect(&proxy.url("postgres", "postgres")).await.expect("login");
    client.query_one("SELECT 1", &[]).await.expect("an answer");
    let console = console(&proxy).await;
    let sql = "SHOW POOLS WHERE database = 'postgres'";
    let row = console.query_one(sql, &[]).await.expect("one pool");
    assert_eq!((row.get::<_, &str>("user"), row.get::<_, &str>("mode")), ("postgres", "transaction"));
    assert_eq!((row.get::<_, i64>("size"), row.get::<_, i64>("max_overflow")), (3, 0));
    assert!(row.get::<_, i64>("transactions") >= 1 && row.get::<_, f64>("hold_p95_ms") > 0.0);
    let text = simple(&console, &format!("{sql};")).await;
    assert_eq!(text.len(), 1);
    assert_eq!(text[0][..4], ["postgres", "postgres", "transaction", "3"].map(|value| Some(value.to_owned())));
}

#[tokio::test]
async fn clients_are_shown_with_their_application_and_whether_they_have_a_backend() {
    let proxy = with_console().start().await;
    let url = format!("{}?application_name=till", proxy.url("postgres", "postgres"));
    let mut client = proxy.connect(&url).await.expect("login");
    let transaction = client.transaction().await.expect("a transaction");
    transaction.query_one("SELECT 1", &[]).await.expect("an answer");
    let console = console(&proxy).await;
    let sql = "SHOW CLIENTS (state, user, address, backend) WHERE application = $1";
    let row = console.query_one(sql, &[&"till"]).await.expect("one client");
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("active", "postgres"));
    assert!(row.get::<_, &str>(2).starts_with("127.0.0.1:"));
    assert!(row.get::<_, Option<i64>>(3).is_some());
    transaction.commit().await.expect("commit");
    eventually("the client is idle", async || {
        simple(&console, "SHOW CLIENTS (state) WHERE application = 'till'").await[0][0].as_deref() == Some("idle")
    })
    .await;
}

#[tokio::test]
async fn limits_tell_their_value_and_how_often_they_were_met() {
    let proxy = with_console().set("limits.client_statements", "2").start().await;
    let client = proxy.connect(&proxy.url("postgres", "postgres")).await.expect("login");
    let mut kept = Vec::new();
    for number in 0..2 {
        kept.push(client.prepare(&format!("SELECT {number}")).await.expect("room"));
    }
    assert!(client.prepare("SELECT 'one too many'").await.is_err());
    let console = console(&proxy).await;
    let shown = simple(&console, "SHOW LIMITS WHERE met > 0").await;
    assert_eq!(shown, [["limits.client_statements", "2", "1"].map(|value| Some(value.to_owned()))]);
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let proxy = with_console().set("admin.password", "'a canary'").set("pool.size", "7").start().await;
    let console = console(&proxy).await;
    let all = simple(&console, "SHOW CONFIG (*)").await;
    let value = |key: &str| all.iter().find(|row| row[0].as_deref() == Some(key)).and_then(|row| row[1].clone());
    assert_eq!(value("pool.size").as_deref(), Some("7"));
    assert_eq!(value("admin.users").as_deref(), Some("[\"postgres\"]"));
    assert!(value("admin.password").is_some());
    assert!(!all.iter().flatten().flatten().any(|text| text.contains("canary")));
}

#[tokio::test]
async fn whoever_is_not_named_is_told_what_to_configure() {
    let proxy = with_console().start().await;
    let error = proxy.connect(&proxy.url("by_trust", "pgweir")).await.expect_err("no entry");
    let (code, message, hint) = told(&error);
    assert_eq!((code, message), ("42501", "user \"by_trust\" may not enter pgweir's console"));
    assert!(hint.contains("[admin]"), "{hint}");
    proxy.connect(&proxy.url("looker", "pgweir")).await.expect("who may look may enter");
}

#[tokio::test]
async fn the_password_of_admin_opens_the_console_and_no_database() {
    let users = "[[users]]\nname = 'by_scram'\npassword = 'secret of by_scram'\n";
    let proxy = pgweir()
        .set("listen.auth", "'scram-sha-256'")
        .users(users)
        .set("admin.users", "['operator', 'by_scram']")
        .set("admin.password", "'of the house'")
        .start()
        .await;
    let url = |user: &str, password: &str, database: &str| {
        format!("host=127.0.0.1 port={} user={user} password='{password}' dbname={database}", proxy.address().port())
    };
    let operator = proxy.connect(&url("operator", "of the house", "pgweir")).await.expect("the right password");
    assert_eq!(simple(&operator, "SELECT current_user").await, [[Some("operator".to_owned())]]);
    proxy.connect(&url("by_scram", "secret of by_scram", "pgweir")).await.expect("a password of one's own");
    for (user, password, database) in [
        ("operator", "wrong", "pgweir"),
        ("by_scram", "of the house", "pgweir"),
        ("operator", "of the house", "postgres"),
    ] {
        let error = proxy.connect(&url(user, password, database)).await.expect_err("a wrong password");
        assert_eq!(told(&error).0, "28P01", "{user} to {database}");
    }
}

#[tokio::test]
async fn without_a_console_its_name_is_that_of_a_database() {
    let proxy = with_console().set("admin.console", "false").start().await;
    let error = proxy.connect(&proxy.url("postgres", "pgweir")).await.expect_err("PostgreSQL has no such database");
    assert_eq!(told(&error).0, "3D000");
}

#[tokio::test]
async fn mistakes_name_the_character_what_was_expected_and_the_nearest_word() {
    let proxy = with_console().start().await;
    let console = console(&proxy).await;
    for (sql, code, message, hint, position) in [
        ("SHOW POOL", "42601", "at or near \"POOL\": expected the name of a report", "POOLS", 6),
        ("SHWO POOLS", "42601", "at or near \"SHWO\": expected SHOW", "SHOW", 1),
        ("SHOW POOLS WHERE usr = 'x'", "42703", "column \"usr\" does not exist", "user", 18),
        ("SHOW POOLS WHERE user 'x'", "42601", "expected one of = <> < <= > >=", "", 23),
        ("SHOW POOLS WHERE size = 'many'", "22P02", "invalid input for type bigint: \"many\"", "", 25),
        ("SHOW POOLS ORDER size", "42601", "expected BY", "", 18),
        ("SHOW POOLS LIMIT -1", "42601", "expected a number of rows", "", 18),
        ("SHOW POOLS LIMT 1", "42601", "LIMIT or the end", "LIMIT", 12),
        ("SHOW QUERIES SINCE 'an hour'", "22P02", "invalid span of time: \"an hour\"", "'1h'", 20),
        ("SHOW POOLS;\nSHOW CLENTS", "42601", "at or near \"CLENTS\"", "CLIENTS", 18),
        ("SELECT * FROM orders", "0A000", "the console has no tables", "SHOW HELP", 1),
        ("SHOW QUERY 0123", "42704", "no pattern has a digest that begins with 0123", "SHOW QUERIES", 0),
    ] {
        let error = console.simple_query(sql).await.expect_err(sql);
        let (found_code, found, found_hint) = told(&error);
        assert_eq!(found_code, code, "{sql}: {found}");
        assert!(found.contains(message), "{sql}: {found}");
        assert!(found_hint.contains(hint), "{sql}: {found_hint}");
        let at = error.as_db_error().and_then(tokio_postgres::error::DbError::position);
        let at = at.map_or(0, |at| match at {
            tokio_postgres::error::ErrorPosition::Original(at) => *at,
            tokio_postgres::error::ErrorPosition::Internal { position, .. } => *position,
        });
        assert_eq!(at, position, "{sql}");
    }
    assert_eq!(simple(&console, "SHOW VERSION").await.len(), 1, "the session lives on");
}

#[tokio::test]
async fn rows_are_filtered_ordered_and_cut() {
    let proxy = with_console().start().await;
    let console = console(&proxy).await;
    let keys = async |sql: &str| -> Vec<String> {
        simple(&console, sql).await.into_iter().map(|row| row[0].clone().expect("a key")).collect()
    };
    let pool = keys("SHOW CONFIG (key) WHERE key LIKE 'pool.%' ORDER BY key").await;
    assert!(pool.len() > 10 && pool.is_sorted() && pool.iter().all(|key| key.starts_with("pool.")), "{pool:?}");
    let backwards = keys("SHOW CONFIG (key) WHERE key LIKE 'pool.%' ORDER BY key DESC LIMIT 3").await;
    assert_eq!(backwards, pool.iter().rev().take(3).cloned().collect::<Vec<_>>());
    let changed = keys("SHOW CONFIG (key) WHERE key IN ('pool.size', 'pool.mode') AND NOT (key = 'pool.mode')").await;
    assert_eq!(changed, ["pool.size"]);
    let not_default = keys("SHOW CONFIG (key) WHERE value <> default AND key LIKE 'pool.%'").await;
    assert_eq!(not_default, ["pool.size", "pool.max_overflow"]);
    let fixed = keys("SHOW CONFIG (key) WHERE live = false AND key ILIKE 'LISTEN.%' AND value IS NOT NULL").await;
    assert!(fixed.contains(&"listen.address".to_owned()) && !fixed.contains(&"listen.auth".to_owned()), "{fixed:?}");
}

#[tokio::test]
async fn what_drivers_say_to_any_postgresql_is_answered() {
    let proxy = with_console().start().await;
    let mut console = console(&proxy).await;
    assert_eq!(console.query_one("SELECT 1", &[]).await.expect("a number").get::<_, i32>(0), 1);
    let version: String = console.query_one("select pg_catalog.version()", &[]).await.expect("a version").get(0);
    assert!(version.starts_with("PostgreSQL ") && version.contains("pgweir"), "{version}");
    for sql in [
        "",
        "-- nothing",
        "SET extra_float_digits = 3; SET application_name = 'x'",
        "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",
        "BEGIN; SHOW standard_conforming_strings; COMMIT",
        "SHOW TRANSACTION ISOLATION LEVEL",
        "SELECT current_database(), current_schema() AS schema, 'x'::text, NULL, TRUE",
        "DISCARD ALL",
    ] {
        console.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let transaction = console.transaction().await.expect("BEGIN");
    assert!(transaction.query("SHOW NONSENSE", &[]).await.is_err());
    let error = transaction.query("SHOW VERSION", &[]).await.expect_err("the transaction has failed");
    assert_eq!(told(&error).0, "25P02");
    transaction.batch_execute("ROLLBACK TO SAVEPOINT x; RELEASE x").await.expect("no savepoint is missed");
    transaction.query_one("SHOW VERSION", &[]).await.expect("the transaction goes on");
    transaction.rollback().await.expect("ROLLBACK");
    let of_types = "SELECT t.oid, typname AS name, (SELECT 1) FROM pg_catalog.pg_type t WHERE typname = $1";
    let statement = console.prepare(of_types).await.expect("a statement");
    let names: Vec<&str> = statement.columns().iter().map(tokio_postgres::Column::name).collect();
    assert_eq!(names, ["oid", "name", "?column?"]);
    assert!(console.query(&statement, &[&"hstore"]).await.expect("an answer").is_empty());
    console.query_one("SHOW VERSION", &[]).await.expect("an answer");
}

#[tokio::test]
async fn portals_give_as_many_rows_as_are_asked_for() {
    let proxy = with_console().start().await;
    let mut console = console(&proxy).await;
    let all = console.query("SHOW CONFIG", &[]).await.expect("rows").len();
    let transaction = console.transaction().await.expect("BEGIN");
    let portal = transaction.bind("SHOW CONFIG", &[]).await.expect("a portal");
    let mut seen = 0;
    loop {
        let rows = transaction.query_portal(&portal, 10).await.expect("rows").len();
        assert!(rows <= 10);
        seen += rows;
        if rows < 10 {
            break;
        }
    }
    assert_eq!(seen, all);
}

#[tokio::test]
async fn an_error_in_a_pipeline_skips_to_the_sync_and_binary_is_given_where_it_is_asked_for() {
    let proxy = with_console().start().await;
    let mut client = WireClient::login(proxy.address(), "postgres", "pgweir").await;
    let sql = "SHOW LIMITS (met) WHERE key = 'limits.pools'";
    let pipeline = [
        frame::parse("", "SHOW NONSENSE", &[]),
        frame::parse("", "SHOW VERSION", &[]),
        frame::sync(),
        frame::parse("", sql, &[]),
        frame::bind_with("", "", &[], &[], &[1]),
        frame::execute("", 0),
        frame::sync(),
    ];
    client.send(&pipeline.concat()).await;
    assert_eq!(tags(&client.until(b'Z').await), "EZ");
    let answer = client.until(b'Z').await;
    assert_eq!(tags(&answer), "12DCZ");
    assert_eq!(answer[2].body(), b"\0\x01\0\0\0\x08\0\0\0\0\0\0\0\0");
}

fn tags(frames: &[Frame]) -> String {
    frames.iter().map(|frame| char::from(frame.tag())).collect()
}

#[tokio::test]
async fn what_is_no_message_ends_the_session_with_a_reason() {
    let proxy = with_console().start().await;
    for broken in [
        &b"B\0\0\0\x05\0"[..],
        b"P\0\0\0\x06xy",
        b"D\0\0\0\x06X\0",
        b"Q\0\0\0\x05x",
        b"?\0\0\0\x04",
        b"E\0\0\0\x05\0",
        b"Q\x7f\xff\xff\xff",
    ] {
        let mut client = WireClient::login(proxy.address(), "postgres", "pgweir").await;
        client.send(broken).await;
        let frames = client.until_end().await;
        assert!(frames.iter().any(|frame| frame.tag() == b'E'), "{broken:?} was answered {frames:?}");
    }
    console(&proxy).await.query_one("SHOW VERSION", &[]).await.expect("others are served");
}

#[tokio::test]
async fn idle_consoles_are_closed_when_pgweir_drains() {
    let mut proxy = with_console().start().await;
    let mut client = WireClient::login(proxy.address(), "postgres", "pgweir").await;
    proxy.signal("TERM");
    let frames = client.until_end().await;
    assert!(
        frames.iter().any(|frame| frame.tag() == b'E' && frame.field(b'C').as_deref() == Some("57P01")),
        "{frames:?}"
    );
    assert!(within("the end", proxy.wait_exit()).await.success());
}

#[tokio::test]
async fn a_reload_changes_who_may_enter() {
    let mut proxy = with_console().start().await;
    proxy.reload(|builder| builder.set("admin.users", "['by_trust']"));
    proxy.log_line("configuration reloaded").await;
    proxy.connect(&proxy.url("by_trust", "pgweir")).await.expect("now named");
    assert!(proxy.connect(&proxy.url("postgres", "pgweir")).await.is_err(), "no longer named");
}

// --- what was measured of statements ---

/// Waits until what a client did is merged.
async fn measured(console: &Client, sql: &str) {
    eventually(sql, async || !simple(console, sql).await.is_empty()).await;
}

#[tokio::test]
async fn patterns_are_shown_with_their_calls_rows_and_times_and_without_literals() {
    let proxy = with_console().start().await;
    let url = format!("{}?application_name=till", proxy.url("postgres", "postgres"));
    let client = proxy.connect(&url).await.expect("login");
    for number in 1..=4 {
        let sql = format!("SELECT generate_series(1, {number}) AS counted_by_the_console, 'a canary'");
        client.simple_query(&sql).await.expect("rows");
    }
    let failing = "SELECT 1 / 0 AS counted_by_the_console";
    assert!(client.simple_query(failing).await.is_err());
    let console = console(&proxy).await;
    let of_it = "WHERE query LIKE '%counted_by_the_console%'";
    measured(&console, &format!("SHOW QUERIES {of_it} AND errors = 1")).await;
    let sql = format!("SHOW QUERIES (*) {of_it} ORDER BY calls DESC");
    let rows = console.query(&sql, &[]).await.expect("patterns");
    assert_eq!(rows.len(), 2);
    let first = &rows[0];
    assert_eq!((first.get::<_, i64>("calls"), first.get::<_, i64>("rows"), first.get::<_, i64>("errors")), (4, 10, 0));
    assert_eq!((first.get::<_, &str>("database"), first.get::<_, &str>("kind")), ("postgres", "read"));
    assert!(first.get::<_, f64>("total_ms") > 0.0 && first.get::<_, f64>("p99_ms") >= first.get::<_, f64>("min_ms"));
    assert_eq!(first.get::<_, &str>("applications"), "till 4");
    assert!(!first.get::<_, &str>("query").contains("canary"), "{}", first.get::<_, &str>("query"));
    assert_eq!((rows[1].get::<_, i64>("errors"), rows[1].get::<_, &str>("sqlstates")), (1, "22012 1"));

    let digest: &str = first.get("digest");
    let facts = simple(&console, &format!("SHOW QUERY {}", &digest[..9])).await;
    let fact = |name: &str| {
        let row = facts.iter().find(|row| row[1].as_deref() == Some(name));
        row.and_then(|row| row[2].clone()).unwrap_or_else(|| panic!("{name} in {facts:?}"))
    };
    assert_eq!((fact("digest").as_str(), fact("calls").as_str(), fact("rows").as_str()), (digest, "4", "10"));
    let summary = console.query_one("SHOW SUMMARY", &[]).await.expect("sums");
    assert!(summary.get::<_, i64>("calls") >= 5 && summary.get::<_, i64>("errors") == 1);
}

#[tokio::test]
async fn slow_executions_are_shown_and_their_values_only_to_those_who_may_do_everything() {
    let proxy =
        with_console().set("pool.slow_threshold", "'1ms'").set("insight.sample_parameters", "true").start().await;
    let client = proxy.connect(&proxy.url("postgres", "postgres")).await.expect("login");
    let sql = "SELECT pg_sleep(0.02), $1::text AS wanted";
    client.query(sql, &[&"a canary"]).await.expect("a row");
    let console = console(&proxy).await;
    let show = "SHOW SLOW (total_ms, parameters, query, rows) WHERE query LIKE '%wanted%' AND total_ms > '15ms'";
    measured(&console, show).await;
    let row = console.query_one(show, &[]).await.expect("one");
    assert!(row.get::<_, f64>(0) >= 20.0);
    // The driver bound it in binary, of which only the bytes are known.
    assert_eq!(row.get::<_, Option<&str>>(1), Some("$1 = '\\x612063616e617279'"));
    assert!(row.get::<_, &str>(2).contains("pg_sleep($") && row.get::<_, i64>(3) == 1);
    let looker = proxy.connect(&proxy.url("looker", "pgweir")).await.expect("who may look may enter");
    let row = looker.query_one(show, &[]).await.expect("one");
    assert_eq!(row.get::<_, Option<&str>>(1), Some("<insufficient privilege>"));
    let line: serde_json::Value = serde_json::from_str(&proxy.log_line("AS wanted").await).expect("JSON");
    let server = line["fields"]["server_ms"].to_string();
    let decimals = server.split_once('.').map_or("", |(_, decimals)| decimals);
    assert!(server.starts_with(|digit: char| digit.is_ascii_digit()) && decimals.len() <= 3, "{line}");
}

#[tokio::test]
async fn budgets_tell_which_share_of_reads_and_writes_is_fast_enough_and_what_breaks_them_most() {
    let proxy = with_console().set("insight.budgets.read", "'10s'").set("insight.budgets.list", "'20ms'").start().await;
    let client = proxy.connect(&proxy.url("postgres", "postgres")).await.expect("login");
    client.batch_execute("create temporary table budget_of (n int)").await.expect("a table");
    for _ in 0..3 {
        client.batch_execute("select count(*) from budget_of").await.expect("one row");
        client.batch_execute("select pg_sleep(0.03) from generate_series(1, 2)").await.expect("two rows");
    }
    client.batch_execute("select * from generate_series(1, 5)").await.expect("five rows");
    let console = console(&proxy).await;
    let show = "SHOW BUDGETS (class, budget_ms, calls, kept) WHERE class <> 'write'";
    eventually("all are counted", async || {
        let rows = simple(&console, show).await;
        let row = |class: &str, figures: [&str; 3]| {
            let figures = [class, figures[0], figures[1], figures[2]].map(|text| Some(text.to_owned()));
            rows.contains(&figures.to_vec())
        };
        row("list", ["20", "4", "1"]) && row("read", ["10000", "3", "3"])
    })
    .await;
    let worst = simple(&console, "SHOW BUDGETS (worst_query) WHERE class = 'list'").await;
    assert!(worst[0][0].as_deref().is_some_and(|query| query.starts_with("select pg_sleep")), "{worst:?}");
}

// --- plans ---

#[tokio::test]
async fn slow_patterns_are_planned_without_their_values_and_the_missing_index_is_named() {
    let cluster = own_postgres().start().await;
    let direct = cluster.admin().await;
    direct
        .batch_execute(
            "CREATE TABLE parcels (id int PRIMARY KEY, owner int, note text); \
             INSERT INTO parcels SELECT n, n % 5000, 'x' FROM generate_series(1, 50000) n; ANALYZE parcels",
        )
        .await
        .expect("a table");
    let proxy = with_console()
        .in_front_of(&cluster)
        .set("pool.slow_threshold", "'0s'")
        .set("insight.plans", "true")
        .config("[control]\nuser = 'postgres'\npassword = ''\n")
        .start()
        .await;
    let client = proxy.connect(&proxy.url("postgres", "postgres")).await.expect("login");
    client.query("SELECT note FROM parcels WHERE owner = $1 ORDER BY id", &[&7_i32]).await.expect("rows");
    client
        .simple_query("UPDATE parcels SET note = 'a canary' WHERE owner IN (1, 2, 3) AND id = 7")
        .await
        .expect("done");
    let console = console(&proxy).await;
    measured(&console, "SHOW PLANS WHERE query LIKE 'SELECT note%'").await;
    let sql = "SHOW PLANS (advice, plan, error) WHERE query LIKE 'SELECT note%'";
    let row = console.query_one(sql, &[]).await.expect("one plan");
    let (advice, plan): (&str, &str) = (row.get(0), row.get(1));
    assert!(advice.ends_with("CREATE INDEX CONCURRENTLY ON public.parcels (owner, id);"), "{advice}\n{plan}");
    assert!(plan.contains("\n  Seq Scan on public.parcels  (cost="), "{plan}");
    assert!(plan.contains("Filter: (parcels.owner = $1)"), "{plan}");
    measured(&console, "SHOW PLANS WHERE query LIKE 'UPDATE parcels%'").await;
    let row = console.query_one("SHOW PLANS (plan, query) WHERE query LIKE 'UPDATE parcels%'", &[]).await.expect("one");
    assert!(row.get::<_, &str>(0).contains("Index Scan using parcels_pkey"), "{}", row.get::<_, &str>(0));
    assert!(row.get::<_, &str>(0).contains("Filter: (parcels.owner = ANY ($"), "{}", row.get::<_, &str>(0));
    assert!(!row.get::<_, &str>(1).contains("canary"));
    let notes: i64 =
        direct.query_one("SELECT count(*) FROM parcels WHERE note = 'x'", &[]).await.expect("a count").get(0);
    assert_eq!(notes, 50_000, "nothing was executed but by the client, whose UPDATE met no row");
}

#[tokio::test]
async fn a_plan_that_cannot_be_had_says_why() {
    let proxy = with_console()
        .set("pool.slow_threshold", "'0s'")
        .set("insight.plans", "true")
        .config("[control]\nuser = 'by_scram'\npassword = 'secret of by_scram'\n")
        .start()
        .await;
    let client = proxy.connect(&proxy.url("postgres", "postgres")).await.expect("login");
    client
        .batch_execute("CREATE TABLE IF NOT EXISTS guarded_from_plans (id int); SELECT * FROM guarded_from_plans")
        .await
        .expect("a table");
    let console = console(&proxy).await;
    let sql = "SHOW PLANS (error) WHERE query LIKE 'SELECT * FROM guarded_from_plans%'";
    measured(&console, sql).await;
    let why: String = console.query_one(sql, &[]).await.expect("one").get(0);
    assert!(why.contains("permission denied for table guarded_from_plans (SQLSTATE 42501)"), "{why}");
}

#[tokio::test]
async fn hours_are_there_after_a_restart_where_a_file_is_named_for_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("'{}'", folder.path().join("insight.redb").display());
    let start = async || pgweir().set("insight.store", &file).set("admin.users", "['postgres']").start().await;
    let mut proxy = start().await;
    let client = proxy.connect(&proxy.url("postgres", "postgres")).await.expect("login");
    client.batch_execute("select 'kept' as hours_are_kept").await.expect("an answer");
    let show = "SHOW QUERIES (calls, query) SINCE '3h' WHERE query LIKE '%hours_are_kept'";
    let console = proxy.connect(&proxy.url("postgres", "pgweir")).await.expect("the console");
    eventually("it has a name", async || !console.query(show, &[]).await.expect("rows").is_empty()).await;
    drop((client, console));
    proxy.signal("TERM");
    assert!(proxy.wait_exit().await.success());
    let proxy = start().await;
    let console = proxy.connect(&proxy.url("postgres", "pgweir")).await.expect("the console");
    let found = async || console.query(show, &[]).await.expect("rows");
    eventually("it is read", async || !found().await.is_empty()).await;
    let row = found().await.remove(0);
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (1, "select $1 as hours_are_kept"));
}
