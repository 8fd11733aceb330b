//! Cancel requests that a script can't show: who waits, who is too late, who guesses.

use std::time::Duration;

use futures_util::future::join_all;

use crate::harness::{Frame, Relay, WireClient, code, eventually, frame, pgweir, postgres};

#[tokio::test]
async fn a_waiting_client_is_taken_out_of_the_queue() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut holder = proxy.wire().await;
    let mut waiter = proxy.wire().await;
    holder.query("begin").await;
    waiter.send(&frame::query("select 'never run'")).await;
    // Nothing announces that a client has begun to wait, so the request is repeated until one finds it waiting.
    let canceller = waiter.canceller();
    let cancelling = async {
        loop {
            canceller.fire().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let frames = tokio::select! {
        frames = waiter.until(b'Z') => frames,
        () = cancelling => unreachable!("it goes on until the waiter has its answer"),
    };
    assert_eq!(code(&frames).as_deref(), Some("57014"), "{frames:?}");
    holder.query("commit").await;
    assert_eq!(waiter.value("select 1").await, "1");
}

#[tokio::test]
async fn a_late_cancel_never_hits_the_next_client() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut one = proxy.wire().await;
    let mut other = proxy.wire().await;
    for _ in 0..100 {
        // The request races the end of its statement.
        one.send(&frame::query("select 1")).await;
        let cancel = one.cancel();
        let victim = other.query("select pg_sleep(0.002)");
        let ((), frames) = tokio::join!(cancel, victim);
        assert_eq!(code(&frames), None, "{frames:?}");
        one.until(b'Z').await;
    }
}

#[tokio::test]
async fn a_cancel_is_done_when_its_connection_ends_and_hits_nothing_that_is_sent_afterwards() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut client = proxy.wire().await;
    for first in ["select 1", "set application_name = 'c_done'", "copy (select 1) to stdout"] {
        for _ in 0..40 {
            client.send(&frame::query(first)).await;
            client.cancel().await;
            client.until(b'Z').await;
            let frames = client.query("select pg_sleep(0.001)").await;
            assert_eq!(code(&frames), None, "after {first}: {frames:?}");
        }
    }
}

#[tokio::test]
async fn a_cancel_that_comes_while_settings_are_brought_is_done_as_soon_as_its_statement_is() {
    let cluster = postgres().await;
    let relay = Relay::to(cluster).await;
    let proxy = pgweir().in_front_of_port(relay.port()).pool_size(1).set("process.workers", "1").start().await;
    let (mut one, mut other) = (proxy.wire().await, proxy.wire().await);
    one.query("set application_name = 'c_one'").await;
    other.query("set application_name = 'c_other'").await;
    for _ in 0..2 {
        // The second leaves nothing to be asked about.
        assert_eq!(one.value("select 'before'").await, "before");
        assert_eq!(other.value("select 'before'").await, "before");
    }
    relay.hold();
    one.send(&frame::query("select 'c_answer'")).await;
    relay.has(b"c_answer").await;
    let canceller = one.canceller();
    let cancelling = tokio::spawn(async move { canceller.fire().await });
    // Whoever comes after it is served after it.
    let mut later = WireClient::open(proxy.address()).await;
    later.send(&frame::ssl_request()).await;
    later.answer().await;
    relay.let_go();
    assert_eq!(code(&one.until(b'Z').await), None);
    let slower = other.query("select pg_sleep(3)");
    tokio::select! {
        done = cancelling => done.expect("it is closed"),
        _ = slower => panic!("the cancel is not done yet"),
    }
}

#[tokio::test]
async fn a_guessed_key_cancels_nothing() {
    let proxy = pgweir().start().await;
    let mut client = proxy.wire().await;
    let admin = postgres().await.admin().await;
    admin.batch_execute("select pg_advisory_lock(51)").await.expect("the lock");
    client.send(&frame::query("select pg_advisory_lock(51), 'done'")).await;
    let waits = "select count(*) from pg_locks where locktype = 'advisory' and objid = 51 and not granted";
    eventually("it waits", async || admin.query_one(waits, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) == 1)).await;
    let process = client.process_id();
    assert!(process > 0, "drivers expect a positive process id: {process}");
    for guess in [0_i32, -1, 1] {
        let mut stranger = WireClient::open(proxy.address()).await;
        let key = [process.to_be_bytes(), guess.to_be_bytes()].concat();
        stranger.send(&frame::cancel_request(&key)).await;
        assert_eq!(stranger.until_end().await, [Frame::End]);
    }
    admin.batch_execute("select pg_advisory_unlock(51)").await.expect("the lock is free");
    let frames = client.until(b'Z').await;
    assert!(frames.iter().any(|frame| frame.summary() == "DataRow(, done)"), "{frames:?}");
}

#[tokio::test]
async fn many_cancels_at_once_reach_their_statements() {
    let proxy = pgweir().pool_size(8).start().await;
    let mut clients = join_all((0..8).map(|_| proxy.wire())).await;
    for client in &mut clients {
        client.send(&frame::query("select pg_sleep(60) /* c_many */")).await;
    }
    let admin = postgres().await.admin().await;
    eventually("all run", async || {
        let sql = "select count(*) = 8 from pg_stat_activity where query like '%c_many%' and state = 'active' and pid <> pg_backend_pid()";
        admin.query_one(sql, &[]).await.is_ok_and(|row| row.get(0))
    })
    .await;
    join_all(clients.iter().map(WireClient::cancel)).await;
    for client in &mut clients {
        assert_eq!(code(&client.until(b'Z').await).as_deref(), Some("57014"));
        assert_eq!(client.value("select 1").await, "1");
    }
}

#[tokio::test]
async fn protocol_3_2_gives_a_longer_key_that_works() {
    let proxy = pgweir().start().await;
    let mut client = WireClient::open(proxy.address()).await;
    client.send(&frame::startup(3, 2, &[("user", "postgres"), ("database", "postgres")])).await;
    let frames = client.until(b'Z').await;
    assert!(frames.iter().all(|frame| frame.tag() != b'v'), "3.2 is spoken: {frames:?}");
    assert!(client.key_data().len() > 8, "a longer key: {}", client.key_data().len());
    client.send(&frame::query("select pg_sleep(60) /* c_long */")).await;
    let admin = postgres().await.admin().await;
    eventually("it runs", async || {
        let sql = "select count(*) = 1 from pg_stat_activity where query like '%c_long%' and state = 'active' and pid <> pg_backend_pid()";
        admin.query_one(sql, &[]).await.is_ok_and(|row| row.get(0))
    })
    .await;
    client.cancel().await;
    assert_eq!(code(&client.until(b'Z').await).as_deref(), Some("57014"));
}

#[tokio::test]
async fn a_newer_minor_version_is_negotiated_down_to_3_2() {
    let proxy = pgweir().start().await;
    let mut client = WireClient::open(proxy.address()).await;
    client.send(&frame::startup(3, 9999, &[("user", "postgres"), ("database", "postgres")])).await;
    let frames = client.until(b'Z').await;
    assert_eq!(frames[0].tag(), b'v', "{frames:?}");
    assert_eq!(frames[0].body(), [0, 3, 0, 2, 0, 0, 0, 0]);
    assert_eq!(client.value("select 1").await, "1");
}

#[tokio::test]
async fn a_cancel_reaches_a_statement_for_which_others_had_to_leave_its_backend() {
    let proxy = pgweir().pool_size(1).set("limits.backend_statements", "2").start().await;
    let mut client = proxy.wire().await;
    let batch = |name: &str, sql: &str| {
        [frame::parse(name, sql, &[]), frame::bind("", name, &[]), frame::execute("", 0), frame::sync()].concat()
    };
    for number in 0..3 {
        client.send(&batch(&format!("s{number}"), &format!("select {number}"))).await;
        assert_eq!(code(&client.until(b'Z').await), None);
    }
    client.send(&batch("sleeps", "select pg_sleep(60) /* c_full */")).await;
    let sleeps = "select count(*) from pg_stat_activity where query like '%c_full%' and wait_event = 'PgSleep'";
    eventually("it sleeps", async || postgres().await.count(sleeps).await == 1).await;
    client.cancel().await;
    assert_eq!(code(&client.until(b'Z').await).as_deref(), Some("57014"));
}
