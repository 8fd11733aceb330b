//! Clients that vanish while PostgreSQL works for them: the work stops, and the backend serves the next.

use crate::harness::{Frame, Proxy, WireClient, eventually, frame, pgweir, postgres};

/// Statements with this mark that run now.
async fn running(mark: &str) -> i64 {
    let sql = format!(
        "select count(*) from pg_stat_activity where query like '%{mark}%' and state = 'active' and pid <> pg_backend_pid()"
    );
    postgres().await.count(&sql).await
}

/// Lets a client send these bytes and vanish once a statement with this mark runs: the process ids of the backend
/// that it had and of the one that serves the next client.
async fn before_and_after(proxy: &Proxy, bytes: &[u8], mark: &str) -> (String, String) {
    let mut client = proxy.wire().await;
    let before = client.value("select pg_backend_pid()").await;
    client.send(bytes).await;
    eventually("it runs", async || running(mark).await == 1).await;
    drop(client);
    eventually("it is stopped", async || running(mark).await == 0).await;
    (before, proxy.wire().await.value("select pg_backend_pid()").await)
}

#[tokio::test]
async fn what_runs_for_a_client_that_vanishes_is_cancelled_and_its_backend_serves_the_next() {
    postgres().await.execute("create table v_gone (t text)").await;
    let proxy = pgweir().pool_size(1).start().await;
    let sleep = |mark: &str| format!("insert into v_gone select pg_sleep(60)::text /* {mark} */");
    let batch = |mark: &str| {
        [frame::parse("", &sleep(mark), &[]), frame::bind("", "", &[]), frame::execute("", 0), frame::sync()].concat()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("v_simple", frame::query(&sleep("v_simple"))),
        ("v_block", [frame::query("begin; insert into v_gone values ('x')"), frame::query(&sleep("v_block"))].concat()),
        ("v_batch", batch("v_batch")),
        ("v_state", [frame::query("set v.state = 'left'"), frame::query(&sleep("v_state"))].concat()),
        ("v_copy_out", frame::query("copy (select pg_sleep(60) /* v_copy_out */) to stdout")),
    ];
    for (mark, bytes) in cases {
        let (before, after) = before_and_after(&proxy, &bytes, mark).await;
        assert_eq!(before, after, "{mark}: the same backend");
        let mut next = proxy.wire().await;
        assert_eq!(next.value("select count(*) from v_gone").await, "0", "{mark}: rolled back");
        assert_eq!(
            next.value("select coalesce(current_setting('v.state', true), '')").await,
            "",
            "{mark}: nothing is left"
        );
        let frames = next.query("commit").await;
        assert_eq!(frames[0].field(b'C').as_deref(), Some("25P01"), "{mark}: no transaction is open");
    }
}

#[tokio::test]
async fn what_a_client_asks_for_before_it_says_goodbye_is_done_though_it_waits_for_a_backend() {
    postgres().await.execute("create table v_goodbye (n int)").await;
    let proxy = pgweir().pool_size(1).start().await;
    let insert = |n: u8| format!("insert into v_goodbye values ({n})");
    let batch = |n: u8| {
        [frame::parse("", &insert(n), &[]), frame::bind("", "", &[]), frame::execute("", 0), frame::sync()].concat()
    };
    let asked = [
        frame::query(&insert(1)),
        batch(2),
        [frame::query("begin"), batch(3), frame::query("commit")].concat(),
        [frame::query(&insert(4)), frame::query("select repeat('x', 1000000)"), batch(5)].concat(),
    ];
    let mut waiting = Vec::new();
    for _ in &asked {
        waiting.push(proxy.wire().await);
    }
    let mut busy = proxy.wire().await;
    busy.send(&frame::query("select pg_sleep(0.5) /* v_busy */")).await;
    eventually("it runs", async || running("v_busy").await == 1).await;
    for (mut client, asked) in waiting.into_iter().zip(asked) {
        client.send(&[asked, frame::terminate()].concat()).await;
    }
    busy.until(b'Z').await;
    eventually("everything is done", async || {
        postgres().await.count("select coalesce(sum(n), 0) from v_goodbye").await == 15
    })
    .await;
}

#[tokio::test]
async fn a_copy_whose_client_vanishes_fails_and_its_backend_serves_the_next() {
    postgres().await.execute("create table v_copied (t text)").await;
    let proxy = pgweir().pool_size(1).start().await;
    let rows = frame::message(b'd', b"one\ntwo\n");
    let batch = [
        frame::parse("", "copy v_copied from stdin /* v_copy_in */", &[]),
        frame::bind("", "", &[]),
        frame::execute("", 0),
    ];
    let cases: [Vec<u8>; 4] = [
        [frame::query("copy v_copied from stdin /* v_copy_in */"), rows.clone()].concat(),
        [batch.concat(), frame::flush(), rows.clone()].concat(),
        [batch.concat(), frame::sync(), rows.clone()].concat(),
        [frame::query("begin"), frame::query("copy v_copied from stdin /* v_copy_in */"), rows].concat(),
    ];
    for (number, bytes) in cases.iter().enumerate() {
        let (before, after) = before_and_after(&proxy, bytes, "v_copy_in").await;
        assert_eq!(before, after, "case {number}: the same backend");
        assert_eq!(proxy.wire().await.value("select count(*) from v_copied").await, "0", "case {number}");
    }
}

#[tokio::test]
async fn a_result_that_nobody_reads_any_more_is_stopped_and_its_backend_serves_the_next() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut client = proxy.wire().await;
    let before = client.value("select pg_backend_pid()").await;
    client
        .send(&frame::query(
            "select repeat('x', 1000) from generate_series(1, 9999) a, generate_series(1, 9999) b /* v_rows */",
        ))
        .await;
    assert_ne!(client.frame().await, Frame::End);
    drop(client);
    eventually("it is stopped", async || running("v_rows").await == 0).await;
    assert_eq!(proxy.wire().await.value("select pg_backend_pid()").await, before);
}

#[tokio::test]
async fn a_transaction_that_lasts_too_long_is_stopped_and_its_backend_serves_the_next() {
    let proxy = pgweir().pool_size(1).set("pool.max_lease", "'2s'").start().await;
    let mut client = proxy.wire().await;
    let before = client.value("select pg_backend_pid()").await;
    client.send(&frame::query("select pg_sleep(60) /* v_lease */")).await;
    let frames = client.until_end().await;
    assert_eq!(frames.iter().find_map(|frame| frame.field(b'C')).as_deref(), Some("25P03"));
    eventually("it is stopped", async || running("v_lease").await == 0).await;
    assert_eq!(proxy.wire().await.value("select pg_backend_pid()").await, before);
}

#[tokio::test]
async fn a_backend_that_does_not_stop_is_replaced() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut client = proxy.wire().await;
    let before = client.value("select pg_backend_pid()").await;
    // PostgreSQL waits for a program's end without looking for cancels, and gives it the row just before. A cancel
    // goes to the program, too.
    let program = "trap \"\" INT; read row && touch v_stubborn; while [ -e v_stubborn ]; do sleep 0.1; done";
    let stubborn = &format!("copy (select 1) to program '{program}'");
    client.send(&frame::query(stubborn)).await;
    let waits = "select count(*) from pg_stat_file('v_stubborn', true) as file where file.size is not null";
    eventually("it waits", async || postgres().await.count(waits).await == 1).await;
    drop(client);
    let after = proxy.wire().await.value("select pg_backend_pid()").await;
    postgres().await.execute("copy (select 1) to program 'cat > v_row; rm v_stubborn'").await;
    assert_ne!(before, after);
}

#[tokio::test]
async fn of_several_batches_of_a_client_that_vanishes_none_is_done_without_those_before_it() {
    let cluster = postgres().await;
    cluster.execute("create table v_batches (n int)").await;
    let insert = |mark: &str, seconds| format!("insert into v_batches select 1 from pg_sleep({seconds}) /* {mark} */");
    let next = "insert into v_batches values (2)";
    let batch =
        |sql: &str| [frame::parse("", sql, &[]), frame::bind("", "", &[]), frame::execute("", 0), frame::sync()];
    let simple = [frame::query(&insert("v_queries", 60)), frame::query(next)].concat();
    let extended = [batch(&insert("v_pipeline", 60)), batch(&insert("v_pipeline", 60)), batch(next)].concat().concat();
    for mode in ["transaction", "session"] {
        let proxy = pgweir().pool_size(1).mode(mode).start().await;
        for (bytes, mark) in [(&simple, "v_queries"), (&extended, "v_pipeline")] {
            before_and_after(&proxy, bytes, mark).await;
            assert_eq!(cluster.count("select count(*) from v_batches").await, 0, "{mark} in {mode} mode");
        }
    }
}

#[tokio::test]
async fn a_client_that_has_only_ended_its_sending_side_gets_all_answers_that_it_is_owed() {
    let cluster = postgres().await;
    cluster.execute("create table v_half (n int)").await;
    let proxy = pgweir().pool_size(1).start().await;
    let batch = |sql: &str| {
        [frame::parse("", sql, &[]), frame::bind("", "", &[]), frame::execute("", 0), frame::sync()].concat()
    };
    let rows = [frame::message(b'd', b"3\n"), frame::message(b'c', b"")].concat();
    let slow = frame::query("select pg_sleep(0.4), 'answer'");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a Query", frame::query("select 1")),
        ("a slow one", slow.clone()),
        ("several", [slow, frame::query("insert into v_half values (1)"), frame::query("nonsense")].concat()),
        ("a pipeline", [batch("select pg_sleep(0.4)"), batch("insert into v_half values (2)")].concat()),
        ("a COPY", [frame::query("copy v_half from stdin"), rows].concat()),
        ("a long answer", frame::query("select repeat('x', 100000) from generate_series(1, 200)")),
        ("an open transaction", frame::query("begin; insert into v_half values (4)")),
        ("half a message", [frame::query("select 5"), b"Q\0\0\0\x20sel".to_vec()].concat()),
    ];
    for (case, bytes) in cases {
        let mut answers = Vec::new();
        for mut client in [WireClient::login(cluster.address(), "postgres", "postgres").await, proxy.wire().await] {
            client.send(&bytes).await;
            client.end_sending().await;
            let frames = client.until_end().await;
            // Whether it is still there is found out by what it knows already.
            let told = frames.iter().filter(|frame| frame.tag() != b'S');
            answers.push(told.map(|frame| (frame.tag(), frame.body().len())).collect::<Vec<_>>());
        }
        assert_eq!(answers[0], answers[1], "{case}");
    }
    let mut next = proxy.wire().await;
    assert_eq!(next.value("select array_agg(n order by n) from v_half").await, "{1,1,2,2,3,3}");
}
