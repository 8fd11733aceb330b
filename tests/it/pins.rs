//! What keeps a session's backend where the configuration decides it: functions that are named, sequences, and a pool
//! that refuses. How pins are counted.

use crate::harness::{Builder, Frame, Proxy, WireClient, code, eventually, frame, pgweir, postgres};

/// A pool of two backends, of which one may be kept, and a console.
fn with_console() -> Builder {
    pgweir().pool_size(2).set("admin.users", "['postgres']")
}

async fn console(proxy: &Proxy) -> WireClient {
    WireClient::login(proxy.address(), "postgres", "pgweir").await
}

/// What backends of the pool are kept for just now, in words.
async fn kept_for(console: &mut WireClient) -> String {
    console.value("show pools (pins) where database = 'postgres'").await
}

/// A field of the error in an answer by its letter, empty where there is none.
fn told(frames: &[Frame], letter: u8) -> String {
    frames.iter().find(|frame| frame.tag() == b'E').and_then(|frame| frame.field(letter)).unwrap_or_default()
}

/// One execution of an unnamed statement, and no Sync.
fn unnamed(sql: &str) -> Vec<u8> {
    [frame::parse("", sql, &[]), frame::bind("", "", &[]), frame::execute("", 0)].concat()
}

async fn ends(mut client: WireClient) {
    client.send(&frame::terminate()).await;
    client.until_end().await;
}

/// Whether a session that asks may not take this lock.
async fn is_taken(client: &mut WireClient, lock: u32) -> bool {
    client.value(&format!("select pg_try_advisory_xact_lock({lock})")).await == "f"
}

#[tokio::test]
async fn who_calls_a_function_that_is_named_as_one_that_leaves_something_keeps_the_backend() {
    let makes = "create schema pn_named; create function pn_named.\"Sets\"(text, text, bool) returns text \
                 language internal as 'set_config_by_name'; create function pn_named.calls(text, text, bool) \
                 returns text language sql as 'select pn_named.\"Sets\"($1, $2, $3)'";
    postgres().await.execute(makes).await;
    for named in ["pn_named.Sets", "Sets", "sets"] {
        let proxy = with_console().set("session.stateful_functions", &format!("['{named}']")).start().await;
        let (mut other, mut console) = (proxy.wire().await, console(&proxy).await);
        for function in ["pn_named.\"Sets\"", "pn_named.calls"] {
            let call = format!("select {function}('app.' || 'pn_named', 'secret', false)");
            for batch in [frame::query(&call), [unnamed(&call), frame::sync()].concat()] {
                let mut one = proxy.wire().await;
                one.send(&batch).await;
                assert_eq!(code(&one.until(b'Z').await), None, "{call}");
                for discard in ["select 1", "discard plans"] {
                    one.query(discard).await;
                    assert_eq!(
                        other.value("select coalesce(current_setting('app.pn_named', true), '')").await,
                        "",
                        "{call}, {named}"
                    );
                    assert_eq!(one.value("show app.pn_named").await, "secret", "{call}, {named}");
                }
                assert_eq!(kept_for(&mut console).await, "1 for what cannot be read", "{call}, {named}");
                ends(one).await;
                eventually("it is not kept", async || kept_for(&mut console).await.is_empty()).await;
                for _ in 0..3 {
                    assert_eq!(
                        other.value("select coalesce(current_setting('app.pn_named', true), '')").await,
                        "",
                        "{call}, {named}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_function_in_c_that_is_not_named_keeps_no_backend() {
    let makes = "create function pn_silent(bigint) returns void language internal as 'pg_advisory_lock_int8'";
    postgres().await.execute(makes).await;
    let proxy = with_console()
        .pool_size(1)
        .set("pool.timeout", "'2s'")
        .set("session.stateful_functions", "['pn_other']")
        .start()
        .await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    assert_eq!(code(&one.query("select pn_silent(1902)").await), None);
    assert_eq!(two.value("select pg_advisory_unlock(1902)").await, "t", "it is the same backend");
    assert_eq!(kept_for(&mut console(&proxy).await).await, "");
}

#[tokio::test]
async fn a_pool_that_denies_pins_refuses_a_function_that_is_named_and_ends_a_session_whose_code_calls_it() {
    let makes = "create function pn_refused(bigint) returns void language internal as 'pg_advisory_lock_int8'; \
                 create function pn_hides(bigint) returns void language sql as 'select pn_refused($1)'";
    postgres().await.execute(makes).await;
    let named = pgweir().pool_size(1).set("session.stateful_functions", "['pn_refused']");
    let proxy = named.set("pool.pin", "'deny'").start().await;
    let mut one = proxy.wire().await;
    let refused = one.query("select pn_refused(1903)").await;
    assert_eq!(code(&refused).as_deref(), Some("0A000"), "{refused:?}");
    let mut direct = WireClient::login(postgres().await.address(), "postgres", "postgres").await;
    assert!(!is_taken(&mut direct, 1903).await, "it has not run");
    assert_eq!(one.value("select 1").await, "1");
    one.query("select pn_hides(1903)").await;
    let last = one.until_end().await;
    assert_eq!(code(&last).as_deref(), Some("0A000"), "{last:?}");
    assert!(told(&last, b'D').contains("advisory locks"), "{last:?}");
    eventually("nothing is left", async || !is_taken(&mut direct, 1903).await).await;
}

#[tokio::test]
async fn draws_keep_their_backend_from_the_first_one_on_where_sequences_pin() {
    postgres().await.execute("create table pn_drawn (id serial, t text); create sequence pn_seq").await;
    let draws = [
        "select nextval('pn_drawn_id_seq')",
        "insert into pn_drawn (t) values ('x')",
        "select setval('pn_drawn_id_seq', 500)",
        "begin; insert into pn_drawn (t) select 'x' from generate_series(1, 3); commit",
    ];
    for draw in draws {
        let proxy = with_console().set("pool.sequences", "'pin'").start().await;
        let (mut one, mut two, mut three) = (proxy.wire().await, proxy.wire().await, proxy.wire().await);
        let mut console = console(&proxy).await;
        assert_eq!(code(&one.query(draw).await), None);
        let shown = "1 for values drawn from sequences";
        eventually(&format!("{shown} after {draw}"), async || kept_for(&mut console).await == shown).await;
        let drawn = postgres().await.count("select last_value from pn_drawn_id_seq").await.to_string();
        for other in [&mut two, &mut three] {
            other.query("select nextval('pn_drawn_id_seq') from generate_series(1, 5)").await;
        }
        assert_eq!(one.value("select currval('pn_drawn_id_seq')").await, drawn, "{draw}");
        if !draw.contains("setval") {
            assert_eq!(one.value("select lastval()").await, drawn, "{draw}");
        }
        assert_eq!(kept_for(&mut console).await, shown, "{draw}");
        one.query("discard all").await;
        assert_eq!(code(&one.query("select currval('pn_drawn_id_seq')").await).as_deref(), Some("55000"), "{draw}");
    }
}

#[tokio::test]
async fn a_backend_that_is_kept_for_sequences_is_not_given_up_to_others_where_sequences_pin() {
    postgres().await.execute("create sequence pn_insists").await;
    let proxy = with_console().set("pool.sequences", "'pin'").set("pool.timeout", "'2s'").start().await;
    let (mut one, mut two, mut three) = (proxy.wire().await, proxy.wire().await, proxy.wire().await);
    assert_eq!(one.value("select nextval('pn_insists')").await, "1");
    two.query("begin").await;
    assert_eq!(code(&three.query("select nextval('pn_insists')").await).as_deref(), Some("53300"));
    assert_eq!(one.value("select currval('pn_insists')").await, "1");
    two.query("commit").await;
    assert_eq!(three.value("select nextval('pn_insists')").await, "2", "a draw is never refused for want of a pin");
    assert_eq!(one.value("select currval('pn_insists')").await, "1");
}

#[tokio::test]
async fn where_sequences_are_off_neither_draws_nor_currval_bind_a_session_to_a_backend() {
    postgres().await.execute("create sequence pn_off").await;
    let proxy = with_console().set("pool.sequences", "'off'").start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    let mut console = console(&proxy).await;
    for _ in 0..2 {
        one.query("select currval('pn_off')").await;
        one.query("select nextval('pn_off')").await;
        // Whoever is answered anew has done with the statement before.
        one.query("select 1").await;
        assert_eq!(kept_for(&mut console).await, "");
    }
    // The only backend that there is yet, and on which one has drawn.
    let idle = "show pools (idle) where database = 'postgres'";
    eventually("it is idle", async || console.value(idle).await == "1").await;
    two.query("begin").await;
    let elsewhere = one.query("select currval('pn_off')").await;
    assert_eq!(code(&elsewhere).as_deref(), Some("55000"), "it waits for nobody: {elsewhere:?}");
    two.query("commit").await;
}

/// What keeps a backend, with the word for it in an error's detail.
const KEEPING: [(&str, &str); 11] = [
    ("select pg_advisory_lock(1911)", "advisory locks"),
    ("select pg_try_advisory_lock_shared(1911)", "advisory locks"),
    ("prepare pn_denied as select 1", "SQL-level PREPARE"),
    ("declare pn_denied cursor with hold for select 1", "cursors WITH HOLD"),
    ("load 'auto_explain'", "library"),
    ("create temp table pn_denied (n int)", "temporary objects"),
    ("create temp view pn_denied as select 1 as n", "temporary objects"),
    ("create temp sequence pn_denied", "temporary objects"),
    ("select 1 as n into temp pn_denied", "temporary objects"),
    ("select setseed(0.5)", "a seed"),
    ("select set_config('app.' || 'pn_denied', '1', false)", "settings that cannot be carried"),
];

/// How many things of those are on the session's backend.
const LEFT: &str = "select (select count(*) from pg_locks where locktype = 'advisory' and objid = 1911) \
    + (select count(*) from pg_cursors where is_holdable) + (select count(*) from pg_class where relname = 'pn_denied') \
    + (select count(*) from pg_prepared_statements where from_sql and name = 'pn_denied') \
    + (select count(*) from pg_settings where name like 'auto_explain.%')";

fn assert_denied(frames: &[Frame], statement: &str, feature: &str, status: &str) {
    let summaries: Vec<String> = frames.iter().map(Frame::summary).collect();
    assert_eq!(summaries.iter().filter(|summary| summary.starts_with("ErrorResponse")).count(), 1, "{summaries:?}");
    assert_eq!(code(frames).as_deref(), Some("0A000"), "{statement}: {frames:?}");
    assert_eq!(summaries.last().map(String::as_str), Some(status), "{statement}: {summaries:?}");
    assert_eq!(told(frames, b'S'), "ERROR", "{statement}");
    assert!(told(frames, b'M').contains("\"postgres\"/\"postgres\""), "the pool is named: {frames:?}");
    assert!(told(frames, b'D').contains(feature), "{statement}: the feature is named: {frames:?}");
    let hint = told(frames, b'H');
    assert!(hint.contains("mode = \"session\"") && hint.contains("pin = \"allow\""), "and the way out: {hint}");
}

#[tokio::test]
async fn a_pool_that_denies_pins_names_what_would_need_one_and_leaves_nothing_of_it() {
    let proxy = pgweir().pool_size(1).set("pool.pin", "'deny'").start().await;
    let (mut one, mut other) = (proxy.wire().await, proxy.wire().await);
    for (statement, feature) in KEEPING {
        assert_denied(&one.query(statement).await, statement, feature, "ReadyForQuery(I)");
        one.send(&[unnamed(statement), frame::sync()].concat()).await;
        assert_denied(&one.until(b'Z').await, statement, feature, "ReadyForQuery(I)");
        let named = [frame::parse("pn", statement, &[]), frame::bind("", "pn", &[]), frame::execute("", 0)];
        one.send(&[&named.concat()[..], &frame::sync()].concat()).await;
        assert_denied(&one.until(b'Z').await, statement, feature, "ReadyForQuery(I)");
        one.send(&[frame::named(b'C', b'S', "pn"), frame::sync()].concat()).await;
        one.until(b'Z').await;
        assert_eq!(one.value("select 1").await, "1", "the session lives on after {statement}");
        assert_eq!(other.value(LEFT).await, "0", "{statement}");
    }
}

#[tokio::test]
async fn in_a_transaction_what_a_pool_denies_fails_before_it_runs_and_the_transaction_with_it() {
    postgres().await.execute("create table pn_undone (n int)").await;
    let proxy = pgweir().pool_size(1).set("pool.pin", "'deny'").start().await;
    let (mut one, mut other) = (proxy.wire().await, proxy.wire().await);
    for (statement, feature) in KEEPING {
        for extended in [false, true] {
            one.query("begin; insert into pn_undone values (1)").await;
            if extended {
                one.send(&[unnamed(statement), frame::sync()].concat()).await;
            } else {
                one.send(&frame::query(statement)).await;
            }
            assert_denied(&one.until(b'Z').await, statement, feature, "ReadyForQuery(E)");
            assert_eq!(code(&one.query("select 1").await).as_deref(), Some("25P02"), "{statement}");
            one.query("commit").await;
            assert_eq!(other.value(LEFT).await, "0", "{statement}");
        }
    }
    assert_eq!(other.value("select count(*) from pn_undone").await, "0");
}

#[tokio::test]
async fn what_stands_beside_a_statement_that_a_pool_denies_is_not_run_either() {
    postgres().await.execute("create table pn_beside (n int)").await;
    let proxy = pgweir().pool_size(1).set("pool.pin", "'deny'").start().await;
    let (mut one, mut other) = (proxy.wire().await, proxy.wire().await);
    let insert = "insert into pn_beside values (1)";
    for (statement, feature) in KEEPING {
        let frames = one.query(&format!("{insert}; {statement}; {insert}")).await;
        assert_denied(&frames, statement, feature, "ReadyForQuery(I)");
        one.send(&[unnamed(insert), unnamed(statement), unnamed(insert), frame::sync()].concat()).await;
        assert_denied(&one.until(b'Z').await, statement, feature, "ReadyForQuery(I)");
        assert_eq!(other.value("select count(*) from pn_beside").await, "0", "{statement}");
        assert_eq!(other.value(LEFT).await, "0", "{statement}");
    }
}

#[tokio::test]
async fn a_pool_that_denies_pins_ends_a_session_whose_code_left_something_unforeseen() {
    let proxy = pgweir().pool_size(1).set("pool.pin", "'deny'").start().await;
    let mut one = proxy.wire().await;
    one.query("do $$ begin execute 'create te' || 'mp table pn_unforeseen (n int)'; end $$").await;
    let last = one.until_end().await;
    assert_eq!(code(&last).as_deref(), Some("0A000"), "{last:?}");
    assert_eq!(told(&last, b'S'), "FATAL");
    assert!(told(&last, b'D').contains("temporary objects"), "{last:?}");
    assert_eq!(proxy.wire().await.value("select to_regclass('pn_unforeseen') is null").await, "t");
}

#[tokio::test]
async fn a_pool_that_denies_pins_draws_from_sequences_and_tells_process_ids() {
    postgres().await.execute("create sequence pn_free").await;
    for sequences in ["'auto'", "'pin'", "'off'"] {
        let proxy = pgweir().pool_size(1).set("pool.pin", "'deny'").set("pool.sequences", sequences).start().await;
        let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
        for _ in 0..2 {
            let drawn = one.value("select nextval('pn_free')").await;
            assert_eq!(one.value("select currval('pn_free')").await, drawn);
            assert_eq!(one.value("select pg_backend_pid()").await, two.value("select pg_backend_pid()").await);
        }
    }
}

#[tokio::test]
async fn a_session_is_counted_for_everything_that_it_keeps_its_backend_for() {
    let proxy = with_console().start().await;
    let (mut one, mut console) = (proxy.wire().await, console(&proxy).await);
    for (statement, counted) in [
        ("select pg_advisory_lock(1920)", "1 for session advisory locks"),
        ("create temp table pn_counted (n int)", "1 for session advisory locks and 1 for temporary objects"),
        ("select pg_advisory_unlock(1920)", "1 for temporary objects"),
        ("prepare pn_counted as select 1", "1 for SQL-level PREPARE and 1 for temporary objects"),
        ("drop table pn_counted", "1 for SQL-level PREPARE"),
        ("deallocate pn_counted", ""),
    ] {
        assert_eq!(code(&one.query(statement).await), None, "{statement}");
        eventually(statement, async || kept_for(&mut console).await == counted).await;
    }
    let taken = console.value("show pools (pins_taken) where database = 'postgres'").await;
    assert_eq!(taken, "1 for session advisory locks, 1 for SQL-level PREPARE and 1 for temporary objects");
}

#[tokio::test]
async fn what_a_backend_is_kept_for_is_shown_until_it_is_gone() {
    let proxy = with_console().start().await;
    let (mut one, mut console) = (proxy.wire().await, console(&proxy).await);
    let locks_and_table = "begin; select pg_advisory_lock(1921); create temp table pn_shown (n int); commit";
    for (statement, shown) in [
        (locks_and_table, "1 for session advisory locks and 1 for temporary objects"),
        ("load 'auto_explain'", "1 for session advisory locks, 1 for a loaded library and 1 for temporary objects"),
        ("select pg_advisory_unlock(1921)", "1 for a loaded library and 1 for temporary objects"),
        ("drop table pn_shown", "1 for a loaded library"),
        ("discard all", "1 for a loaded library"),
    ] {
        assert_eq!(code(&one.query(statement).await), None, "{statement}");
        eventually(&format!("{shown} after {statement}"), async || kept_for(&mut console).await == shown).await;
    }
    ends(one).await;
    eventually("nothing is kept", async || kept_for(&mut console).await.is_empty()).await;
}

#[tokio::test]
async fn a_backend_that_is_kept_for_one_thing_after_another_is_kept_until_the_last_is_gone() {
    let proxy = with_console().start().await;
    let (mut one, mut two, mut console) = (proxy.wire().await, proxy.wire().await, console(&proxy).await);
    for statement in [
        "select pg_advisory_lock(1922)",
        "prepare pn_later as select 7",
        "create temp table pn_later (n int)",
        "select pg_advisory_unlock(1922)",
    ] {
        assert_eq!(code(&one.query(statement).await), None, "{statement}");
        assert_eq!(two.value("select to_regclass('pn_later') is null").await, "t", "{statement}");
    }
    let shown = "1 for SQL-level PREPARE and 1 for temporary objects";
    eventually(shown, async || kept_for(&mut console).await == shown).await;
    one.query("drop table pn_later").await;
    let shown = "1 for SQL-level PREPARE";
    eventually(shown, async || kept_for(&mut console).await == shown).await;
    assert_eq!(one.value("execute pn_later").await, "7");
    one.query("deallocate pn_later").await;
    eventually("nothing is kept", async || kept_for(&mut console).await.is_empty()).await;
}
