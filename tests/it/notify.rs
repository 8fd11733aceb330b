//! LISTEN in transaction mode: sessions that listen share one connection of their own and keep no backend.

use crate::differential::rng::Rng;
use crate::harness::{Frame, Proxy, Relay, WireClient, code, eventually, frame, own_postgres, pgweir, postgres};

/// The process id that a NotificationResponse shows.
fn sender(frame: &Frame) -> i32 {
    frame.body().first_chunk().map_or(0, |pid| i32::from_be_bytes(*pid))
}

async fn listening(proxy: &Proxy, channel: &str) -> WireClient {
    let mut client = proxy.wire().await;
    let answer = client.query(&format!("listen {channel}")).await;
    assert_eq!(code(&answer), None, "{answer:?}");
    client
}

/// Reads up to the next notification; anything else but notices is a surprise.
async fn next_notification(client: &mut WireClient) -> String {
    let frame = client.frame().await;
    assert_eq!(frame.tag(), b'A', "{frame:?}");
    frame.summary()
}

#[tokio::test]
async fn sessions_that_listen_hold_no_backend() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(1).start().await;
    let mut listeners = Vec::new();
    for _ in 0..20 {
        listeners.push(listening(&proxy, "n_many").await);
    }
    let mut other = proxy.wire().await;
    assert_eq!(other.value("select count(*) from pg_listening_channels()").await, "0");
    for n in 0..50 {
        other.query(&format!("notify n_many, 'number {n}'")).await;
    }
    for listener in &mut listeners {
        for n in 0..50 {
            let heard = next_notification(listener).await;
            assert_eq!(heard, format!("NotificationResponse(n_many, number {n})"));
        }
    }
    let sql = "select count(*) from pg_stat_activity where application_name = 'pgweir listen'";
    assert_eq!(cluster.count(sql).await, 1);
}

#[tokio::test]
async fn a_notification_shows_the_process_id_that_its_sender_was_given() {
    let proxy = pgweir().pool_size(2).start().await;
    let mut listener = listening(&proxy, "n_senders").await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let mut client = proxy.wire().await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..50 {
                let answer = client.query(&format!("notify n_senders, '{}'", client.process_id())).await;
                assert_eq!(code(&answer), None);
            }
        }));
    }
    for _ in 0..400 {
        let frame = listener.frame().await;
        let (pid, said) = (sender(&frame), frame.summary());
        assert_eq!(said, format!("NotificationResponse(n_senders, {pid})"));
    }
    for task in tasks {
        task.await.expect("every NOTIFY succeeds");
    }
}

#[tokio::test]
async fn a_session_that_listens_never_takes_anothers_notification_for_its_own() {
    let proxy = pgweir().pool_size(1).start().await;
    proxy.wire().await.query("create table n_table (n int)").await;
    let setup = "create function n_tell() returns trigger language plpgsql as \
                 $$ begin perform pg_notify('n_changes', new.n::text); return new; end $$; \
                 create trigger tell after insert on n_table for each row execute function n_tell()";
    proxy.wire().await.query(setup).await;
    let mut listener = listening(&proxy, "n_changes").await;
    let own = listener.process_id();
    let mut writer = proxy.wire().await;
    let writing = tokio::spawn(async move {
        for n in 0..200 {
            writer.query(&format!("insert into n_table values ({n})")).await;
        }
    });
    let mut heard = 0;
    while heard < 200 {
        for frame in listener.query("select 1").await {
            if frame.tag() == b'A' {
                assert_ne!(sender(&frame), own, "{frame:?}");
                heard += 1;
            }
        }
    }
    writing.await.expect("the writer succeeds");
    proxy.wire().await.query("drop table n_table; drop function n_tell").await;
}

#[tokio::test]
async fn after_the_listening_connection_was_lost_sessions_hear_again_and_are_told_of_the_gap() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(1).start().await;
    let (mut one, mut two) = (listening(&proxy, "n_lost").await, listening(&proxy, "n_lost").await);
    cluster
        .execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgweir listen'")
        .await;
    for client in [&mut one, &mut two] {
        let frame = client.frame().await;
        assert_eq!((frame.tag(), frame.field(b'C').as_deref()), (b'N', Some("01000")), "{frame:?}");
    }
    two.query("notify n_lost, 'back'").await;
    assert_eq!(next_notification(&mut one).await, "NotificationResponse(n_lost, back)");
}

#[tokio::test]
async fn listeners_outlive_a_restart_of_the_server() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(1).start().await;
    let mut listener = listening(&proxy, "n_restart").await;
    cluster.stop("fast").await;
    cluster.start_again().await;
    assert_eq!(listener.frame().await.tag(), b'N');
    assert_eq!(listener.value("select 1").await, "1");
    proxy.wire().await.query("notify n_restart, 'up'").await;
    assert_eq!(next_notification(&mut listener).await, "NotificationResponse(n_restart, up)");
}

#[tokio::test]
async fn a_client_that_leaves_too_much_waiting_in_a_transaction_is_closed_and_told_why() {
    let mut proxy = pgweir().pool_size(2).set("limits.notifications", "'16KB'").start().await;
    let (mut slow, mut quick) = (listening(&proxy, "n_full").await, listening(&proxy, "n_full").await);
    slow.query("begin").await;
    let mut other = proxy.wire().await;
    for _ in 0..10 {
        other.query(&format!("notify n_full, '{}'", "x".repeat(4000))).await;
        assert!(next_notification(&mut quick).await.contains("4000 bytes"));
    }
    let last = slow.until_end().await;
    let fault = last.iter().find(|frame| frame.tag() == b'E').expect("last words");
    assert_eq!(fault.field(b'V').as_deref(), Some("FATAL"));
    assert_eq!(fault.field(b'C').as_deref(), Some("54000"));
    assert!(fault.detail().contains("limits.notifications"));
    assert_eq!(quick.value("select 1").await, "1");
    drop((quick, other));
    proxy.signal("TERM");
    proxy.wait_exit().await;
    let log = proxy.log();
    let told = log.lines().find(|line| line.contains("a limit was met") && line.contains("limits.notifications"));
    assert!(told.is_some_and(|line| line.contains("\"times\":1")), "{log}");
}

#[tokio::test]
async fn a_listen_beyond_the_limit_fails_and_the_session_lives_on() {
    let proxy = pgweir().pool_size(1).set("limits.channels", "2").start().await;
    let mut client = listening(&proxy, "n_first").await;
    client.query("listen n_second").await;
    assert_eq!(code(&client.query("listen n_third").await).as_deref(), Some("54000"));
    client.query("unlisten n_first").await;
    assert_eq!(code(&client.query("listen n_third").await), None);
}

#[tokio::test]
async fn a_listen_that_finds_no_connection_fails_and_the_session_lives_on() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir()
        .in_front_of(&cluster)
        .pool_size(1)
        .set("server.max_connections", "1")
        .set("pool.timeout", "'2s'")
        .start()
        .await;
    let (mut client, mut other) = (proxy.wire().await, proxy.wire().await);
    other.query("begin").await;
    let refused = client.query("listen n_no_seat").await;
    assert_eq!(code(&refused).as_deref(), Some("53300"));
    other.query("rollback").await;
    assert_eq!(client.value("select 1").await, "1");
}

#[tokio::test]
async fn a_drain_closes_sessions_that_listen_and_their_connection() {
    let cluster = own_postgres().start().await;
    let mut proxy = pgweir().in_front_of(&cluster).pool_size(1).start().await;
    let mut listener = listening(&proxy, "n_drain").await;
    proxy.signal("TERM");
    let last = listener.until_end().await;
    assert_eq!(code(&last).as_deref(), Some("57P01"));
    assert!(proxy.wait_exit().await.success());
    eventually("nothing of pgweir is left", async || {
        cluster.count("select count(*) from pg_stat_activity where application_name like 'pgweir%'").await == 0
    })
    .await;
}

#[tokio::test]
async fn in_session_mode_a_session_listens_on_its_own_backend() {
    let proxy = pgweir().pool_size(2).mode("session").start().await;
    let (mut one, mut two) = (listening(&proxy, "n_session").await, proxy.wire().await);
    assert_eq!(one.value("select count(*) from pg_listening_channels()").await, "1");
    two.query("notify n_session, 'x'").await;
    assert_eq!(next_notification(&mut one).await, "NotificationResponse(n_session, x)");
}

#[tokio::test]
async fn who_listens_in_a_transaction_block_keeps_no_backend() {
    let proxy = pgweir().pool_size(1).set("pool.max_pinned", "0").start().await;
    let mut listeners = Vec::new();
    for n in 0..5 {
        let mut client = proxy.wire().await;
        for sql in ["begin", "listen n_block", &format!("listen n_block_{n}"), "commit"] {
            assert_eq!(code(&client.query(sql).await), None, "{sql}");
        }
        listeners.push(client);
    }
    proxy.wire().await.query("begin; notify n_block, 'all'; notify n_block_3, 'one'; commit").await;
    for (n, listener) in listeners.iter_mut().enumerate() {
        assert_eq!(next_notification(listener).await, "NotificationResponse(n_block, all)");
        if n == 3 {
            assert_eq!(next_notification(listener).await, "NotificationResponse(n_block_3, one)");
        }
    }
}

#[tokio::test]
async fn who_waits_for_a_pin_while_others_hear_what_it_may_have_notified_gets_the_pin() {
    postgres().await.execute("create function n_called() returns int language plpgsql as 'begin return 1; end'").await;
    let proxy = pgweir().pool_size(3).set("pool.max_pinned", "1").start().await;
    let mut listener = listening(&proxy, "n_pin").await;
    let (mut holder, mut waiter) = (proxy.wire().await, proxy.wire().await);
    assert_eq!(code(&holder.query("create temp table n_held (n int)").await), None);
    let call = frame::query("select n_called()");
    waiter.send(&[call, frame::query("create temp table n_waits (n int)")].concat()).await;
    assert_eq!(code(&waiter.until(b'Z').await), None);
    // Who hears this has heard what came before.
    proxy.wire().await.query("notify n_pin, 'later'").await;
    assert_eq!(next_notification(&mut listener).await, "NotificationResponse(n_pin, later)");
    assert_eq!(code(&holder.query("drop table n_held").await), None);
    assert_eq!(code(&waiter.until(b'Z').await), None);
    assert_eq!(waiter.value("select count(*)::text from n_waits").await, "0");
}

#[tokio::test]
async fn who_has_asked_for_its_channels_in_a_batch_that_had_begun_is_told_all_of_them_from_then_on() {
    let proxy = pgweir().pool_size(2).start().await;
    let mut client = listening(&proxy, "n_late").await;
    let run = |text| [frame::parse("", text, &[]), frame::bind("", "", &[]), frame::execute("", 0)].concat();
    let batch =
        [run("select 'before'"), run("select count(*)::text from pg_listening_channels()"), frame::sync()].concat();
    client.send(&batch).await;
    client.until(b'Z').await;
    client.send(&batch).await;
    let answer: Vec<_> = client.until(b'Z').await.iter().map(Frame::summary).collect();
    assert!(answer.contains(&"DataRow(1)".to_owned()), "{answer:?}");
    let other = proxy.wire().await.value("select count(*)::text from pg_listening_channels()").await;
    assert_eq!(other, "0");
}

#[tokio::test]
async fn a_listen_beyond_the_limit_fails_its_transaction_where_it_stands() {
    let proxy = pgweir().pool_size(1).set("limits.channels", "1").start().await;
    let mut client = proxy.wire().await;
    client.query("begin").await;
    assert_eq!(code(&client.query("listen n_first").await), None);
    assert_eq!(code(&client.query("listen n_second").await).as_deref(), Some("54000"));
    assert_eq!(code(&client.query("select 1").await).as_deref(), Some("25P02"));
    client.query("rollback").await;
    assert_eq!(client.value("select count(*) from pg_listening_channels()").await, "0");
    assert_eq!(code(&client.query("begin; listen n_second; commit").await), None);
    assert_eq!(client.value("select pg_listening_channels()").await, "n_second");
}

#[tokio::test]
async fn in_statement_mode_sessions_share_a_listening_connection_too() {
    let proxy = pgweir().pool_size(1).mode("statement").start().await;
    let (mut one, mut two) = (listening(&proxy, "n_statement").await, listening(&proxy, "n_statement").await);
    proxy.wire().await.query("notify n_statement, 'x'").await;
    assert_eq!(next_notification(&mut one).await, "NotificationResponse(n_statement, x)");
    assert_eq!(next_notification(&mut two).await, "NotificationResponse(n_statement, x)");
}

/// A text or a batch, as random as it may be; what it does to channels is PostgreSQL's to say.
fn anything(rng: &mut Rng, block: &mut bool) -> Vec<u8> {
    const IN_BLOCK: [&str; 18] = [
        "listen n_r1",
        "listen n_r2",
        "listen n_r3",
        "unlisten n_r1",
        "unlisten n_r2",
        "unlisten *",
        "savepoint s",
        "savepoint t",
        "rollback to s",
        "rollback to t",
        "release s",
        "select 1",
        "select 1/0",
        "commit",
        "commit",
        "rollback",
        "commit and chain",
        "rollback and chain",
    ];
    let most = if rng.chance(40) { 5 } else { 1 };
    let count = 1 + rng.below(most);
    let mut texts: Vec<&str> = (0..count).map(|_| *rng.pick(&IN_BLOCK)).collect();
    if !*block && rng.chance(60) {
        texts.insert(0, "begin");
    }
    *block = true;
    match rng.below(3) {
        0 => frame::query(&texts.join("; ")),
        1 => {
            let each =
                |text: &&str| [frame::parse("", text, &[]), frame::bind("", "", &[]), frame::execute("", 0)].concat();
            [texts.iter().map(each).collect::<Vec<_>>().concat(), frame::sync()].concat()
        }
        _ => texts.iter().flat_map(|text| frame::query(text)).collect(),
    }
}

/// Sends, and reads up to the last ReadyForQuery: what it was, notifications apart.
async fn said(client: &mut WireClient, bytes: &[u8], heard: &mut Vec<String>) -> Vec<String> {
    let answers = |bytes: &[u8]| {
        let (mut at, mut count) = (0, 0);
        while let Some((tag, length)) = bytes.get(at).zip(bytes.get(at + 1..at + 5).and_then(|l| l.first_chunk())) {
            count += usize::from(matches!(tag, b'Q' | b'S'));
            at += 1 + usize::try_from(u32::from_be_bytes(*length)).expect("a length");
        }
        count
    };
    client.send(bytes).await;
    let mut all = Vec::new();
    for _ in 0..answers(bytes) {
        all.extend(client.until(b'Z').await);
    }
    let (mail, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|frame| frame.tag() == b'A');
    heard.extend(mail.iter().map(Frame::summary));
    others.iter().filter(|frame| frame.tag() != b'N').map(Frame::summary).collect()
}

#[tokio::test]
async fn whatever_a_session_does_in_its_transactions_it_hears_what_it_would_hear_directly() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(2).set("pool.max_pinned", "0").start().await;
    let notifier = cluster.admin().await;
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut direct = WireClient::login(cluster.address(), "postgres", "postgres").await;
        let mut through = proxy.wire().await;
        let (mut heard_directly, mut heard) = (Vec::new(), Vec::new());
        for round in 0..12 {
            let mut block = false;
            let mut sent = Vec::new();
            for _ in 0..1 + rng.below(4) {
                let bytes = anything(&mut rng, &mut block);
                let expected = said(&mut direct, &bytes, &mut heard_directly).await;
                sent.push(String::from_utf8_lossy(&bytes).into_owned());
                assert_eq!(said(&mut through, &bytes, &mut heard).await, expected, "seed {seed}: {sent:#?}");
            }
            let end = frame::query("rollback");
            said(&mut direct, &end, &mut heard_directly).await;
            said(&mut through, &end, &mut heard).await;
            let notify = format!("notify n_r1, '{round}'; notify n_r2, '{round}'; notify n_r3, '{round}'");
            notifier.batch_execute(&notify).await.expect("NOTIFY");
            let poll = frame::query("select 1");
            said(&mut direct, &poll, &mut heard_directly).await;
            said(&mut through, &poll, &mut heard).await;
            assert_eq!(heard, heard_directly, "seed {seed}, after {sent:#?}");
        }
        let ask = frame::query("select pg_listening_channels() order by 1");
        let channels = said(&mut direct, &ask, &mut heard_directly).await;
        assert_eq!(said(&mut through, &ask, &mut heard).await, channels, "seed {seed}");
    }
}

#[tokio::test]
async fn a_database_to_which_nobody_listens_any_more_can_be_dropped_at_once() {
    let cluster = postgres().await;
    cluster.execute("create database n_left").await;
    let proxy = pgweir().pool_size(2).start().await;
    let mut gone = WireClient::login(proxy.address(), "postgres", "n_left").await;
    let mut silent = WireClient::login(proxy.address(), "postgres", "n_left").await;
    gone.query("listen n_left_one").await;
    gone.send(&frame::terminate()).await;
    gone.until_end().await;
    silent.query("set client_encoding = 'latin1'").await;
    silent.query("listen n_left_two").await;
    silent.query("unlisten n_left_two").await;
    let mut admin = proxy.wire().await;
    assert_eq!(code(&admin.query("drop database n_left").await), None);
    // Whoever goes on listening is in the way, as directly.
    cluster.execute("create database n_heard").await;
    let mut heard = WireClient::login(proxy.address(), "postgres", "n_heard").await;
    heard.query("listen n_heard").await;
    assert_eq!(code(&admin.query("drop database n_heard").await).as_deref(), Some("55006"));
}

#[tokio::test]
async fn what_comes_together_with_the_answer_is_heard_at_once_by_a_session_that_keeps_its_backend() {
    let cluster = own_postgres().start().await;
    let relay = Relay::to(&cluster).await;
    let proxy = pgweir().in_front_of_port(relay.port()).pool_size(2).start().await;
    let mut listener = proxy.wire().await;
    listener.query("do $$ begin execute 'listen n_together'; end $$").await;
    assert_eq!(listener.value("select 1").await, "1");
    relay.hold();
    listener.send(&frame::query("select 'the answer'")).await;
    relay.has(b"the answer").await;
    cluster.execute("notify n_together, 'the news'").await;
    relay.has(b"the news").await;
    relay.let_go();
    let answer = listener.until(b'Z').await;
    assert!(answer.iter().any(|frame| frame.summary() == "DataRow(the answer)"), "{answer:?}");
    assert_eq!(next_notification(&mut listener).await, "NotificationResponse(n_together, the news)");
}
