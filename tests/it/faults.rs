//! Bad input at every stage, and what breaks on the other side: one error for whom it concerns, nothing for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio_postgres::error::SqlState;

use crate::harness::postgres::free_port;
use crate::harness::{
    Frame, Proxy, Relay, WireClient, code, eventually, frame, own_postgres, pgweir, postgres, within,
};

async fn still_serves(proxy: &Proxy) {
    assert_eq!(proxy.wire().await.value("select 'alive'").await, "alive");
}

/// Sends bytes on a fresh socket and reads to the end, which must come without a login.
async fn refused(proxy: &Proxy, what: &str, bytes: &[u8]) -> Vec<Frame> {
    let mut client = WireClient::open(proxy.address()).await;
    client.send(bytes).await;
    client.shut_down_writing().await.ok();
    let frames = client.until_end().await;
    assert!(frames.iter().all(|frame| frame.tag() != b'Z'), "{what}: {frames:?}");
    frames
}

#[tokio::test]
async fn garbage_instead_of_a_startup_packet_harms_nobody() {
    let proxy = pgweir().set("listen.login_timeout", "'10s'").start().await;
    let startup = frame::startup(3, 0, &[("user", "postgres"), ("database", "postgres")]);
    let long = "x".repeat(20_000);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("one byte", vec![0]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("length 0", vec![0, 0, 0, 0, 0, 3, 0, 0]),
        ("length 3", vec![0, 0, 0, 3]),
        ("length 4", vec![0, 0, 0, 4]),
        ("length 7", vec![0, 0, 0, 7, 0, 3, 0]),
        ("length -1", vec![0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0]),
        ("length 2 GB", vec![0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0, b'u']),
        ("truncated", startup[..startup.len() - 5].to_vec()),
        ("oversized", frame::startup(3, 0, &[("user", "postgres"), ("application_name", &long)])),
        ("no terminator", frame::packet(b"\0\x03\0\0user\0postgres\0database\0postgres")),
        ("a name without value", frame::packet(b"\0\x03\0\0user\0postgres\0database\0")),
        ("no terminators at all", frame::packet(b"\0\x03\0\0userpostgres")),
        ("not UTF-8", frame::packet(b"\0\x03\0\0user\0\xff\xfe\0\0")),
        ("protocol 2.0", frame::packet(b"\0\x02\0\0user\0postgres\0\0")),
        ("a short cancel request", frame::packet(&80_877_102_u32.to_be_bytes())),
        ("a long cancel request", frame::cancel_request(&[7; 5000])),
        ("an unknown key", frame::cancel_request(&[7; 8])),
        ("SSLRequest with a body", frame::packet(&[&80_877_103_u32.to_be_bytes()[..], b"more"].concat())),
    ];
    for (what, bytes) in cases {
        refused(&proxy, what, &bytes).await;
    }
    let again: Vec<u8> = frame::gss_request().repeat(50);
    let mut client = WireClient::open(proxy.address()).await;
    client.send(&again).await;
    client.shut_down_writing().await.ok();
    while client.answer().await != Frame::End {}
    still_serves(&proxy).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_sent_away_after_login_timeout() {
    let proxy = pgweir().set("listen.login_timeout", "'300ms'").start().await;
    let mut silent = WireClient::open(proxy.address()).await;
    let mut slow = WireClient::open(proxy.address()).await;
    slow.send(&[0, 0, 0]).await;
    assert_eq!(silent.until_end().await.last(), Some(&Frame::End));
    assert_eq!(slow.until_end().await.last(), Some(&Frame::End));
    still_serves(&proxy).await;
}

#[tokio::test]
async fn frames_of_impossible_length_end_their_session_only() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut other = proxy.wire().await;
    for inside in ["", "begin"] {
        for bytes in [
            &b"Q\0\0\0\0"[..],
            b"Q\0\0\0\x03",
            b"Q\xff\xff\xff\xff",
            b"B\x80\0\0\0",
            b"P\x7f\xff\xff\xff",
            b"S\0\0\0\x02",
            b"d\0\0\0\x01",
            b"\0\0\0\0\0\0\0\0",
            b"\xff\0\0\0\x04",
        ] {
            let mut client = proxy.wire().await;
            if !inside.is_empty() {
                client.query(inside).await;
            }
            client.send(bytes).await;
            let frames = client.until_end().await;
            assert!(frames.len() <= 2, "{bytes:?}: {frames:?}");
            assert_eq!(other.value("select 1").await, "1", "after {bytes:?}");
        }
    }
}

#[tokio::test]
async fn malformed_bodies_harm_nobody_else() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut other = proxy.wire().await;
    for tag in b"QPBDECHSFdcfpXyZ\0\x7f" {
        for body in [
            &b""[..],
            b"\0",
            b"S",
            b"P",
            b"Sx",
            b"\0\0",
            b"\0\0\xff\xff",
            b"\0\0\0\x01\xff\xff\xff\xff",
            b"\xff\xff\xff\xff\xff\xff",
        ] {
            let mut client = proxy.wire().await;
            client.send(&[frame::message(*tag, body), frame::sync(), frame::terminate()].concat()).await;
            let frames = client.until_end().await;
            assert_eq!(other.value("select 1").await, "1", "{:?} {body:?}: {frames:?}", char::from(*tag));
        }
    }
}

#[tokio::test]
async fn too_many_clients_are_told_so() {
    let proxy = pgweir().set("listen.max_clients", "3").start().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(proxy.wire().await);
    }
    let startup = frame::startup(3, 0, &[("user", "postgres"), ("database", "postgres")]);
    let frames = refused(&proxy, "the fourth", &startup).await;
    assert_eq!(frames[0].field(b'C').as_deref(), Some("53300"), "{frames:?}");
    clients.pop();
    eventually("a place is free", async || proxy.connect(&proxy.url("postgres", "postgres")).await.is_ok()).await;
    assert_eq!(clients[0].value("select 1").await, "1");
}

#[tokio::test]
async fn a_backend_killed_in_mid_query_costs_its_client_one_error() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut victim = proxy.wire().await;
    let mut other = proxy.wire().await;
    victim.send(&frame::query("select pg_sleep(60) /* f_killed */")).await;
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                where query like '%f_killed%' and state = 'active' and pid <> pg_backend_pid()";
    let admin = postgres().await.admin().await;
    eventually("the backend is killed", async || {
        admin.query_one(kill, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) == 1)
    })
    .await;
    let frames = victim.until_end().await;
    let errors: Vec<_> = frames.iter().filter(|frame| frame.tag() == b'E').collect();
    assert_eq!(errors.len(), 1, "{frames:?}");
    assert_eq!(errors[0].field(b'C').as_deref(), Some("57P01"));
    assert_eq!(other.value("select 'pool is whole'").await, "pool is whole");
}

#[tokio::test]
async fn a_server_that_crashes_and_comes_back_is_met_by_waiting_clients() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir()
        .in_front_of(&cluster)
        .pool_size(2)
        .set("server.backoff.first", "'20ms'")
        .set("server.backoff.longest", "'200ms'")
        .start()
        .await;
    let mut idle = proxy.wire().await;
    assert_eq!(idle.value("select 1").await, "1");
    let mut busy = proxy.wire().await;
    busy.query("begin").await;
    cluster.stop("immediate").await;
    let lost = busy.until_end().await;
    assert_eq!(lost.iter().filter(|frame| frame.tag() == b'E').count(), 1, "{lost:?}");
    // Asked while the server is away, answered when it is back.
    idle.send(&frame::query("select 'back'")).await;
    cluster.start_again().await;
    let frames = idle.until(b'Z').await;
    assert!(frames.iter().any(|frame| frame.summary() == "DataRow(back)"), "{frames:?}");
}

#[tokio::test]
async fn a_restart_under_load_costs_only_what_was_in_flight() {
    let cluster = own_postgres().start().await;
    cluster.execute("create table f_load (n int)").await;
    let proxy = pgweir()
        .in_front_of(&cluster)
        .pool_size(4)
        .set("server.backoff.first", "'20ms'")
        .set("server.backoff.longest", "'200ms'")
        .start()
        .await;
    let done = Arc::new(AtomicUsize::new(0));
    let stop = tokio_util::sync::CancellationToken::new();
    let url = proxy.url("postgres", "postgres");
    let clients = join_all((0..16).map(async |_| proxy.connect(&url).await.expect("login"))).await;
    let work = clients.into_iter().map(|mut client| {
        let (done, stop) = (Arc::clone(&done), stop.clone());
        let (proxy, url) = (&proxy, &url);
        async move {
            let mut failures = Vec::new();
            while !stop.is_cancelled() {
                match client.batch_execute("begin; insert into f_load values (1); select 1; commit").await {
                    Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => {
                        failures.push(format!("{:?} {error}", error.as_db_error()));
                        // A FATAL ends the session, though its end may not have been read yet.
                        let fatal = error.as_db_error().is_some_and(|error| error.severity() == "FATAL");
                        if fatal || client.is_closed() {
                            client = proxy.connect(url).await.unwrap_or_else(|next| panic!("{error:?}, {next:?}"));
                        }
                    }
                }
            }
            client.batch_execute("select 1").await.expect("it goes on");
            failures
        }
    });
    let restart = async {
        eventually("work is done", async || done.load(Ordering::Relaxed) > 100).await;
        cluster.stop("fast").await;
        cluster.start_again().await;
        let before = done.load(Ordering::Relaxed);
        eventually("work goes on", async || done.load(Ordering::Relaxed) > before + 100).await;
        stop.cancel();
    };
    let (failures, ()) = within("the clients end", async { tokio::join!(join_all(work), restart) }).await;
    // Each of the four backends dies once, and takes at most one client's transaction with it.
    let failures = failures.concat();
    assert!(failures.len() <= 4, "more than what was in flight: {failures:#?}");
    let counted = cluster.count("select count(*) from f_load").await;
    let done = done.load(Ordering::Relaxed);
    assert!(usize::try_from(counted).is_ok_and(|counted| counted >= done), "{counted} rows, {done} commits");
}

#[tokio::test]
async fn a_server_that_is_away_makes_clients_wait_no_longer_than_their_timeout() {
    let proxy = pgweir()
        .in_front_of_port(free_port())
        .set("pool.timeout", "'2s'")
        .set("server.backoff.first", "'20ms'")
        .start()
        .await;
    let Err(error) = proxy.connect(&proxy.url("postgres", "postgres")).await else { panic!("nobody can be served") };
    let code = error.code().cloned().unwrap_or_else(|| panic!("no answer by the protocol: {error:?}"));
    assert!(
        [
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::CONNECTION_FAILURE,
            SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION
        ]
        .contains(&code),
        "{error:?}"
    );
}

/// What a client has sent when it vanishes.
#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing_to_the_next() {
    postgres().await.execute("create table f_gone (t text)").await;
    let proxy = pgweir().pool_size(1).start().await;
    let big_row = frame::query("select repeat('x', 1000) from generate_series(1, 200000)");
    let half_bind = &frame::bind("", "s", &[&"x".repeat(1_000_000)])[..500_000];
    let leave: Vec<(&str, Vec<u8>)> = vec![
        ("in a transaction", frame::query("begin; insert into f_gone values ('transaction')")),
        ("in a failed transaction", frame::query("begin; insert into f_gone values ('failed'); select 1/0")),
        ("in COPY IN", [frame::query("copy f_gone from stdin"), frame::message(b'd', b"copy\n")].concat()),
        ("in a CopyData", [frame::query("copy f_gone from stdin"), b"d\0\0\x10\0half".to_vec()].concat()),
        ("in a query", frame::query("insert into f_gone select pg_sleep(0.3)::text; select pg_sleep(0.3), 1/0")),
        (
            "before Sync",
            [
                frame::parse("", "insert into f_gone values ('unsynced')", &[]),
                frame::bind("", "", &[]),
                frame::execute("", 0),
                frame::flush(),
            ]
            .concat(),
        ),
        ("in a Bind", [frame::parse("s", "select $1::text", &[]), half_bind.to_vec()].concat()),
        ("in a Query's header", b"Q\0\0".to_vec()),
        ("while rows stream", big_row),
        ("in COPY OUT", frame::query("copy (select repeat('x', 1000) from generate_series(1, 200000)) to stdout")),
    ];
    for (what, bytes) in leave {
        let mut client = proxy.wire().await;
        client.send(&bytes).await;
        if !matches!(what, "in a Bind" | "in a Query's header" | "in a query") {
            assert_ne!(client.frame().await, Frame::End, "{what}");
        }
        drop(client);
        let mut next = proxy.wire().await;
        assert_eq!(next.value("select 'clean'").await, "clean", "after one vanished {what}");
        assert_eq!(next.value("select count(*) from f_gone").await, "0", "after one vanished {what}");
        let frames = next.query("commit").await;
        assert_eq!(frames[0].field(b'C').as_deref(), Some("25P01"), "no transaction is open: {frames:?}");
    }
}

#[tokio::test]
async fn a_slow_reader_loses_nothing_and_holds_up_nobody() {
    let proxy = pgweir().pool_size(2).start().await;
    let mut slow = proxy.wire().await;
    slow.send(&frame::query("select repeat('x', 1000000) from generate_series(1, 40)")).await;
    assert_eq!(slow.frame().await.tag(), b'T');
    // While it does not read, others are served by the other backend.
    let mut other = proxy.wire().await;
    for _ in 0..20 {
        assert_eq!(other.value("select 1").await, "1");
    }
    let frames = slow.until(b'Z').await;
    assert_eq!(frames.iter().filter(|frame| frame.tag() == b'D').count(), 40);
    assert!(frames.iter().all(|frame| frame.tag() != b'D' || frame.body().len() == 1_000_006));
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_stop_the_proxy_from_reading_others() {
    let proxy = pgweir().pool_size(2).set("process.workers", "1").start().await;
    let mut deaf = proxy.wire().await;
    let pipeline = frame::query("select repeat('x', 100000)").repeat(2000);
    deaf.send_deaf(&pipeline, Duration::from_millis(300)).await;
    let mut other = proxy.wire().await;
    for _ in 0..20 {
        assert_eq!(other.value("select 1").await, "1");
    }
}

#[tokio::test]
async fn connections_that_come_and_go_leak_no_place() {
    let proxy = pgweir().set("listen.max_clients", "20").start().await;
    let startup = frame::startup(3, 0, &[("user", "postgres"), ("database", "postgres")]);
    for round in 0..60 {
        let mut client = WireClient::open(proxy.address()).await;
        match round % 4 {
            0 => client.send(&startup[..startup.len() / 2]).await,
            1 => client.send(&startup).await,
            2 => {
                client.send(&startup).await;
                client.until(b'Z').await;
                client.send(&frame::query("begin")).await;
            }
            _ => {}
        }
    }
    eventually("all places are free again", async || {
        let mut clients = Vec::new();
        for _ in 0..20 {
            match proxy.connect(&proxy.url("postgres", "postgres")).await {
                Ok(client) => clients.push(client),
                Err(_) => return false,
            }
        }
        true
    })
    .await;
}

#[tokio::test]
async fn notices_during_a_backends_login_disturb_nobody() {
    let cluster = postgres().await;
    cluster.execute("create role f_noisy login").await;
    // The server warns about this at each login of the role.
    cluster.execute("alter role f_noisy set default_text_search_config = 'f_not_there'").await;
    let mut direct = WireClient::login(cluster.address(), "f_noisy", "postgres").await;
    assert_eq!(direct.value("select 1").await, "1");
    let proxy = pgweir().pool_size(1).start().await;
    for _ in 0..2 {
        let mut client = WireClient::login(proxy.address(), "f_noisy", "postgres").await;
        assert_eq!(client.value("select 1").await, "1");
    }
}

#[tokio::test]
async fn a_backend_that_does_not_answer_pgweir_itself_costs_its_client_no_more_than_its_session() {
    let relay = Relay::to(postgres().await).await;
    let proxy = pgweir()
        .in_front_of_port(relay.port())
        .pool_size(1)
        .set("pool.max_overflow", "0")
        .set("pool.timeout", "'1s'")
        .start()
        .await;
    let (mut client, mut other) = (proxy.wire().await, proxy.wire().await);
    // Of what is asked behind a function that sets something the answer has this in it.
    relay.hold_from(b"session_authorization");
    assert_eq!(client.value("select set_config('work_mem', '5MB', false)").await, "5MB");
    client.send(&frame::query("select 1")).await;
    relay.has(b"session_authorization").await;
    assert_eq!(code(&client.until_end().await).as_deref(), Some("08006"));
    relay.let_go();
    assert_eq!(other.value("select 2").await, "2");
}

#[tokio::test]
async fn a_crash_of_the_server_costs_no_client_a_statement_that_comes_after_it() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(1).start().await;
    for _ in 0..3 {
        let mut client = proxy.wire().await;
        assert_eq!(client.value("select 1").await, "1");
        // Backends end with a warning, which they give when another one has crashed, too.
        cluster.stop("immediate").await;
        cluster.start_again().await;
        assert_eq!(client.value("select 2").await, "2");
        assert_eq!(proxy.wire().await.value("select 3").await, "3");
    }
}

#[tokio::test]
async fn what_an_idle_backend_says_corrupts_nothing() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(1).start().await;
    let mut client = proxy.wire().await;
    assert_eq!(client.value("select 1").await, "1");
    for zone in ["Asia/Tokyo", "Europe/Paris"] {
        // Idle backends reread their configuration and report the new value when they next can.
        cluster.execute(&format!("alter system set timezone = '{zone}'")).await;
        cluster.execute("select pg_reload_conf()").await;
        for number in ["1", "2", "3"] {
            assert_eq!(client.value(&format!("select {number}")).await, number);
        }
    }
    let mut fresh = proxy.wire().await;
    assert_eq!(fresh.value("select 'fine'").await, "fine");
}

#[tokio::test]
async fn what_pgweir_was_about_to_say_for_a_session_that_is_ended_is_said_for_no_other() {
    let proxy = pgweir().pool_size(2).start().await;
    let known = "select 'known to all backends'";
    let batch = [frame::parse("s", known, &[]), frame::bind("", "s", &[]), frame::execute("", 0), frame::sync()];
    for _ in 0..3 {
        let mut client = proxy.wire().await;
        client.send(&batch.concat()).await;
        client.until(b'Z').await;
    }
    for _ in 0..5 {
        let mut ended = proxy.wire().await;
        ended.query("begin").await;
        ended.send(&[frame::parse("x", known, &[]), frame::message(b'!', b"")].concat()).await;
        assert_eq!(code(&ended.until_end().await).as_deref(), Some("08P01"));
        for _ in 0..2 {
            assert_eq!(proxy.wire().await.value("select 'mine'").await, "mine");
        }
    }
}
