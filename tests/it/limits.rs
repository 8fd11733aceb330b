//! Limits of time and size, and what exceeds them learns.

use crate::harness::{Frame, WireClient, code, eventually, frame, pgweir, postgres};

#[tokio::test]
async fn query_timeout_cancels_and_the_client_lives() {
    let proxy = pgweir().pool_size(1).set("pool.query_timeout", "'200ms'").start().await;
    let mut client = proxy.wire().await;
    let frames = client.query("select pg_sleep(60)").await;
    let error = frames.iter().find(|frame| frame.tag() == b'E').expect("an error");
    assert_eq!(error.field(b'C').as_deref(), Some("57014"), "{frames:?}");
    assert!(format!("{error:?}").contains("query_timeout"), "the limit is named: {error:?}");
    assert_eq!(client.value("select 1").await, "1");
}

#[tokio::test]
async fn an_idle_transaction_is_rolled_back_and_its_client_closed() {
    let proxy = pgweir().pool_size(1).set("pool.idle_in_transaction_timeout", "'200ms'").start().await;
    postgres().await.execute("create table li_idle (n int)").await;
    let mut client = proxy.wire().await;
    client.query("begin; insert into li_idle values (1)").await;
    let frames = client.until_end().await;
    assert_eq!(code(&frames).as_deref(), Some("25P03"), "{frames:?}");
    assert!(format!("{frames:?}").contains("idle_in_transaction_timeout"), "the limit is named: {frames:?}");
    assert_eq!(proxy.wire().await.value("select count(*) from li_idle").await, "0");
}

#[tokio::test]
async fn a_lease_ends_at_its_limit() {
    let proxy = pgweir().pool_size(1).set("pool.max_lease", "'400ms'").start().await;
    let mut client = proxy.wire().await;
    client.query("begin").await;
    client.send(&frame::query("select pg_sleep(60)")).await;
    let frames = client.until_end().await;
    assert_eq!(code(&frames).as_deref(), Some("25P03"), "{frames:?}");
    assert!(format!("{frames:?}").contains("max_lease"), "the limit is named: {frames:?}");
    assert_eq!(proxy.wire().await.value("select 1").await, "1");
}

#[tokio::test]
async fn a_message_that_must_be_held_whole_has_a_limit() {
    let proxy = pgweir().pool_size(1).set("limits.held_message", "'64KB'").start().await;
    let mut other = proxy.wire().await;
    let mut client = proxy.wire().await;
    let long = format!("select 1 /* {} */", "x".repeat(200_000));
    client.send(&[frame::parse("s", &long, &[]), frame::sync()].concat()).await;
    let frames = client.until(b'Z').await;
    assert!(code(&frames).is_some(), "{frames:?}");
    // A Query needs not be held: what is too long to be read streams.
    let streamed = format!("select length('{}')", "x".repeat(200_000));
    assert_eq!(other.value(&streamed).await, "200000");
}

#[tokio::test]
async fn a_client_may_hold_so_many_statements_and_no_more() {
    let proxy = pgweir().pool_size(1).set("limits.client_statements", "3").start().await;
    let mut client = proxy.wire().await;
    for number in 0..3 {
        client.send(&[frame::parse(&format!("s{number}"), "select 1", &[]), frame::sync()].concat()).await;
        assert_eq!(code(&client.until(b'Z').await), None);
    }
    client.send(&[frame::parse("s3", "select 1", &[]), frame::sync()].concat()).await;
    let frames = client.until(b'Z').await;
    assert!(code(&frames).is_some(), "{frames:?}");
    client.send(&[frame::named(b'C', b'S', "s0"), frame::sync()].concat()).await;
    assert_eq!(code(&client.until(b'Z').await), None);
    client.send(&[frame::parse("s3", "select 1", &[]), frame::sync()].concat()).await;
    assert_eq!(code(&client.until(b'Z').await), None);
}

#[tokio::test]
async fn the_statements_of_a_client_may_take_so_much_memory_and_no_more() {
    let proxy = pgweir().pool_size(1).set("limits.client_statement_memory", "'64KB'").start().await;
    let mut client = proxy.wire().await;
    let text = |number: usize| format!("select {number} /* {} */", "x".repeat(20_000));
    let mut parse = async |name: &str, number| {
        client.send(&[frame::parse(name, &text(number), &[]), frame::sync()].concat()).await;
        client.until(b'Z').await
    };
    for number in 0..3 {
        assert_eq!(code(&parse(&format!("s{number}"), number).await), None);
    }
    let refused = parse("s3", 3).await;
    assert_eq!(code(&refused).as_deref(), Some("54000"));
    let hint = refused.iter().find_map(|frame| frame.field(b'H')).unwrap_or_default();
    assert!(hint.contains("limits.client_statement_memory"), "{hint}");
    assert_eq!(code(&parse("", 4).await), None, "the unnamed statement is one at a time");
    client.send(&[frame::named(b'C', b'S', "s0"), frame::sync()].concat()).await;
    client.until(b'Z').await;
    let mut other = proxy.wire().await;
    assert_eq!(other.value("select 1").await, "1");
    client.send(&[frame::parse("s3", &text(3), &[]), frame::sync()].concat()).await;
    assert_eq!(code(&client.until(b'Z').await), None);
}

#[tokio::test]
async fn waiters_have_a_limit() {
    let proxy = pgweir().pool_size(1).set("limits.waiters", "1").start().await;
    let mut holder = proxy.wire().await;
    holder.query("begin").await;
    let mut waiting = Vec::new();
    // One of two that wait at once is refused, whichever comes second.
    for _ in 0..2 {
        let mut client = proxy.wire().await;
        client.send(&frame::query("select 1")).await;
        waiting.push(client);
    }
    let (first, second) = waiting.split_at_mut(1);
    let refused = tokio::select! {
        frames = first[0].until(b'Z') => frames,
        frames = second[0].until(b'Z') => frames,
    };
    assert_eq!(code(&refused).as_deref(), Some("53300"), "{refused:?}");
    holder.query("commit").await;
}

#[tokio::test]
async fn memory_stays_bounded_while_a_large_result_passes_a_slow_reader() {
    let proxy = pgweir().pool_size(1).start().await;
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.process_id())).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS").to_owned();
        line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number")
    };
    let mut client = proxy.wire().await;
    client.query("select 1").await;
    let before = resident();
    client.send(&frame::query("select repeat('x', 30000000), n from generate_series(1, 4) n")).await;
    assert_eq!(client.frame().await.tag(), b'T');
    let backend = "select count(*) = 1 from pg_stat_activity where query like '%30000000), n from%' and wait_event = 'ClientWrite'";
    let admin = postgres().await.admin().await;
    eventually("the backend is held back", async || admin.query_one(backend, &[]).await.is_ok_and(|row| row.get(0)))
        .await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 16_000, "{grown} KB more while a result of 120 MB waits");
    let frames = client.until(b'Z').await;
    assert_eq!(frames.iter().filter(|frame| frame.tag() == b'D').count(), 4);
}

#[tokio::test]
async fn limits_that_were_met_are_named_in_the_log_with_how_often() {
    let mut proxy = pgweir()
        .pool_size(1)
        .set("pool.timeout", "'2s'")
        .set("limits.client_statements", "1")
        .set("limits.held_message", "'8KB'")
        .set("listen.max_clients", "3")
        .start()
        .await;
    let (mut one, mut two, mut three) = (proxy.wire().await, proxy.wire().await, proxy.wire().await);
    let mut fourth = WireClient::open(proxy.address()).await;
    fourth.send(&frame::startup(3, 0, &[("user", "postgres"), ("database", "postgres")])).await;
    fourth.until_end().await;
    one.query("begin").await;
    for _ in 0..2 {
        two.query("select 1").await;
    }
    for name in ["a", "b"] {
        one.send(&[frame::parse(name, "select 1", &[]), frame::sync()].concat()).await;
        one.until(b'Z').await;
    }
    one.query("rollback").await;
    let long = format!("select '{}'", "x".repeat(10_000));
    assert_eq!(two.value(&format!("select 1 /* {long} */")).await, "1");
    three.send(&frame::parse("", &long, &[])).await;
    three.until_end().await;
    drop((one, two, three, fourth));
    proxy.signal("TERM");
    proxy.wait_exit().await;
    let log = proxy.log();
    for (key, times) in [
        ("pool.timeout", 2),
        ("limits.client_statements", 1),
        ("limits.held_message", 1),
        ("limits.held_query", 1),
        ("listen.max_clients", 1),
    ] {
        let line = log.lines().find(|line| line.contains("a limit was met") && line.contains(key));
        let line = line.unwrap_or_else(|| panic!("{key} is not named:\n{log}"));
        assert!(line.contains(&format!("\"times\":{times},")), "{line}");
    }
}

#[tokio::test]
async fn a_client_that_is_still_sending_reads_why_its_message_is_refused() {
    let proxy = pgweir().pool_size(1).set("limits.held_message", "'8KB'").start().await;
    let mut client = proxy.wire().await;
    let long = frame::parse("", &format!("select '{}'", "x".repeat(20_000_000)), &[]);
    // As drivers do that read only what has been answered.
    assert_eq!(client.send_deaf(&long, std::time::Duration::from_secs(20)).await, long.len());
    assert_eq!(code(&client.until_end().await).as_deref(), Some("54000"));
}

#[tokio::test]
async fn query_timeout_is_for_each_statement_of_a_pipeline() {
    let proxy = pgweir().pool_size(1).set("pool.query_timeout", "'1s'").start().await;
    let mut client = proxy.wire().await;
    let short = "select pg_sleep(0.2)";
    let batch = [frame::parse("", short, &[]), frame::bind("", "", &[]), frame::execute("", 0), frame::sync()];
    for pipeline in [frame::query(short).repeat(10), batch.concat().repeat(10)] {
        client.send(&pipeline).await;
        for _ in 0..10 {
            assert_eq!(code(&client.until(b'Z').await), None);
        }
    }
}

#[tokio::test]
async fn a_statement_that_does_not_heed_its_cancel_is_not_cancelled_all_the_time() {
    let mut proxy = pgweir().pool_size(1).set("pool.query_timeout", "'200ms'").start().await;
    let mut client = proxy.wire().await;
    client.query("create table li_cancels (n int)").await;
    // The naps are short of what cancels are apart, so that one finds it in a nap.
    let stubborn = "do $$ declare ended timestamptz := clock_timestamp() + '2500ms'; begin \
        while clock_timestamp() < ended loop \
        begin perform pg_sleep(0.37); exception when query_canceled then insert into li_cancels values (1); end; \
        end loop; end $$";
    assert_eq!(code(&client.query(stubborn).await), None);
    let cancels: u32 = client.value("select count(*) from li_cancels").await.parse().expect("a number");
    assert!((1..=5).contains(&cancels), "cancelled {cancels} times");
    drop(client);
    proxy.signal("TERM");
    proxy.wait_exit().await;
    let log = proxy.log();
    assert!(log.contains("\"key\":\"pool.query_timeout\"") && log.contains("\"times\":1,"), "{log}");
}

#[tokio::test]
async fn max_lease_is_for_one_transaction() {
    for (mode, keeping) in [("session", "select 1"), ("transaction", "select pg_advisory_lock(4711)")] {
        let proxy = pgweir().pool_size(2).mode(mode).set("pool.max_lease", "'600ms'").start().await;
        let mut client = proxy.wire().await;
        client.query(keeping).await;
        for _ in 0..4 {
            assert_eq!(code(&client.query("begin; select pg_sleep(0.2); commit").await), None, "{mode} mode");
        }
        client.query("begin").await;
        let frames = client.until_end().await;
        assert_eq!(code(&frames).as_deref(), Some("25P03"), "{mode} mode: {frames:?}");
    }
}

#[tokio::test]
async fn names_of_databases_that_do_not_exist_take_nobodys_place_among_the_pools() {
    let proxy = pgweir().set("limits.pools", "2").start().await;
    for number in 0..6 {
        let mut client = WireClient::open(proxy.address()).await;
        let database = format!("li_nowhere_{number}");
        client.send(&frame::startup(3, 0, &[("user", "postgres"), ("database", &database)])).await;
        assert_eq!(code(&client.until_end().await).as_deref(), Some("3D000"), "the {number}th");
    }
    assert_eq!(proxy.wire().await.value("select 1").await, "1");
}

#[tokio::test]
async fn who_waits_for_a_connection_that_other_pools_have_reads_which_limit_it_is() {
    let proxy = pgweir().pool_size(5).set("server.max_connections", "1").set("pool.timeout", "'2s'").start().await;
    let mut holder = proxy.wire().await;
    holder.query("begin").await;
    let frames = proxy.wire().await.query("select 1").await;
    assert_eq!(code(&frames).as_deref(), Some("53300"), "{frames:?}");
    let told = format!("{frames:?}");
    assert!(told.contains("server.max_connections") && !told.contains("raise pool.size"), "{told}");
}

#[tokio::test]
async fn connections_beyond_max_clients_are_bounded_too_and_cancels_get_in() {
    let proxy = pgweir().set("listen.max_clients", "1").start().await;
    let mut client = proxy.wire().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(WireClient::open(proxy.address()).await);
    }
    client.send(&frame::query("select pg_sleep(60) /* li_cancelled */")).await;
    let runs = "select count(*) from pg_stat_activity where query like '%li_cancelled%' and wait_event = 'PgSleep'";
    eventually("it runs", async || postgres().await.count(runs).await == 1).await;
    client.cancel().await;
    assert_eq!(code(&client.until(b'Z').await).as_deref(), Some("57014"));
    for _ in 0..50 {
        silent.push(WireClient::open(proxy.address()).await);
    }
    // The last of them find no place to wait for their turn to be refused.
    let frames = silent.last_mut().expect("one").until_end().await;
    assert_eq!(frames.iter().map(Frame::summary).collect::<Vec<_>>(), ["End"]);
}

#[tokio::test]
async fn others_hear_of_an_altered_role_in_session_mode_too() {
    let cluster = postgres().await;
    cluster.execute("create role li_altered login").await;
    let proxy = pgweir().mode("session").pool_size(2).start().await;
    let mut altered = WireClient::login(proxy.address(), "li_altered", "postgres").await;
    assert_eq!(altered.value("show work_mem").await, "4MB");
    drop(altered);
    let idle = "select count(*) from pg_stat_activity where usename = 'li_altered' and state = 'idle'";
    let admin = cluster.admin().await;
    eventually("its backend is idle", async || {
        admin.query_one(idle, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) == 1)
    })
    .await;
    proxy.wire().await.query("alter role li_altered set work_mem = '7MB'").await;
    let mut altered = WireClient::login(proxy.address(), "li_altered", "postgres").await;
    assert_eq!(altered.value("show work_mem").await, "7MB");
}

#[tokio::test]
async fn a_batch_may_prepare_thousands_of_statements() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut client = proxy.wire().await;
    let one = |number: usize| {
        let name = format!("li_{number}");
        let sql = format!("select {number}");
        [frame::parse(&name, &sql, &[]), frame::bind("", &name, &[]), frame::execute("", 0)].concat()
    };
    let batch: Vec<u8> = (0..3000).flat_map(one).chain(frame::sync()).collect();
    client.send(&batch).await;
    let answer = client.until(b'Z').await;
    let rows: Vec<_> = answer.iter().filter(|frame| frame.tag() == b'D').map(Frame::summary).collect();
    assert_eq!(rows, (0..3000).map(|number| format!("DataRow({number})")).collect::<Vec<_>>());
}
