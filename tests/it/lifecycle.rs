//! Start, reload, drain, end.

use crate::harness::{Frame, WireClient, code, eventually, frame, pgweir, postgres};

#[tokio::test]
async fn sigterm_closes_idle_clients_and_lets_transactions_end() {
    let mut proxy = pgweir().pool_size(2).start().await;
    let mut idle = proxy.wire().await;
    let mut busy = proxy.wire().await;
    busy.query("begin").await;
    proxy.signal("TERM");
    assert_eq!(code(&idle.until_end().await).as_deref(), Some("57P01"));

    // libpq tries its next host on 57P03; a closed port does as well once the listener is gone.
    if let Ok(stream) = tokio::net::TcpStream::connect(proxy.address()).await {
        let mut late = WireClient::over(Box::new(stream));
        late.send(&frame::startup(3, 0, &[("user", "postgres"), ("database", "postgres")])).await;
        assert_eq!(code(&late.until_end().await).as_deref(), Some("57P03"));
    }

    assert_eq!(busy.value("select 'still here'").await, "still here");
    let frames = busy.query("commit").await;
    assert!(frames.iter().any(|frame| frame.summary() == "CommandComplete(COMMIT)"), "{frames:?}");
    assert_eq!(code(&busy.until_end().await).as_deref(), Some("57P01"));
    assert!(proxy.wait_exit().await.success());
}

#[tokio::test]
async fn sigterm_waits_for_nobody_who_has_said_half_a_message() {
    let mut proxy = pgweir().pool_size(2).start().await;
    let (mut half, mut busy) = (proxy.wire().await, proxy.wire().await);
    half.send(&frame::query("select 1")[..3]).await;
    busy.query("begin").await;
    proxy.signal("TERM");
    assert_eq!(code(&half.until_end().await).as_deref(), Some("57P01"));
    assert_eq!(busy.value("select 'still here'").await, "still here");
    busy.query("commit").await;
    assert!(proxy.wait_exit().await.success());
}

#[tokio::test]
async fn sigterm_waits_for_nobody_who_has_not_logged_in() {
    let mut proxy = pgweir()
        .pool_size(1)
        .set("listen.login_timeout", "'1h'")
        .set("pool.timeout", "'1h'")
        .set("process.shutdown_timeout", "'1h'")
        .set("admin.users", "['postgres']")
        .users("[[users]]\nname = 'postgres'\n[[users]]\nname = 'l_asked'\npassword = 'x'\nauth = 'password'\n")
        .start()
        .await;
    let mut silent = WireClient::open(proxy.address()).await;
    let mut half = WireClient::open(proxy.address()).await;
    let hello = frame::startup(3, 0, &[("user", "postgres"), ("database", "postgres")]);
    half.send(&hello[..hello.len() / 2]).await;
    let mut asked = WireClient::open(proxy.address()).await;
    asked.send(&frame::startup(3, 0, &[("user", "l_asked"), ("database", "postgres")])).await;
    assert_eq!(asked.frame().await.tag(), b'R');
    let mut busy = proxy.wire().await;
    busy.query("begin").await;
    // Its settings must be looked at on a backend, and there is one.
    let mut waiting = WireClient::open(proxy.address()).await;
    let unknown = [("user", "postgres"), ("database", "postgres"), ("geqo", "off")];
    waiting.send(&frame::startup(3, 0, &unknown)).await;
    let mut console = WireClient::login(proxy.address(), "postgres", "pgweir").await;
    eventually("the login waits", async || console.value("show pools (waiting)").await == "1").await;

    proxy.signal("TERM");
    for on_its_way in [&mut asked, &mut waiting] {
        assert_eq!(code(&on_its_way.until_end().await).as_deref(), Some("57P03"));
    }
    assert_eq!(busy.value("select 'still here'").await, "still here");
    busy.query("commit").await;
    assert_eq!(code(&busy.until_end().await).as_deref(), Some("57P01"));
    assert!(proxy.wait_exit().await.success());
    for nobody in [&mut silent, &mut half] {
        assert_eq!(nobody.until_end().await, [Frame::End]);
    }
}

#[tokio::test]
async fn a_running_statement_is_answered_before_its_client_is_closed() {
    let mut proxy = pgweir().start().await;
    let mut client = proxy.wire().await;
    client.send(&frame::query("select pg_sleep(0.5), 'done' /* l_running */")).await;
    let admin = postgres().await.admin().await;
    eventually("the statement runs", async || {
        let sql =
            "select count(*) = 1 from pg_stat_activity where query like '%l_running%' and pid <> pg_backend_pid()";
        admin.query_one(sql, &[]).await.is_ok_and(|row| row.get(0))
    })
    .await;
    proxy.signal("TERM");
    let frames = client.until(b'Z').await;
    assert!(frames.iter().any(|frame| frame.summary() == "DataRow(, done)"), "{frames:?}");
    assert_eq!(code(&client.until_end().await).as_deref(), Some("57P01"));
    assert!(proxy.wait_exit().await.success());
}

#[tokio::test]
async fn shutdown_timeout_ends_what_does_not_end() {
    let mut proxy = pgweir().set("process.shutdown_timeout", "'300ms'").start().await;
    let mut client = proxy.wire().await;
    client.query("begin").await;
    proxy.signal("TERM");
    let frames = client.until_end().await;
    assert_eq!(code(&frames).as_deref(), Some("57P01"), "{frames:?}");
    proxy.wait_exit().await;
}

#[tokio::test]
async fn sigint_ends_at_once_and_leaves_no_backend() {
    let user = "l_sigint";
    postgres().await.execute(&format!("create role {user} login")).await;
    let mut proxy = pgweir().start().await;
    let mut client = WireClient::login(proxy.address(), user, "postgres").await;
    client.query("begin").await;
    proxy.signal("INT");
    proxy.wait_exit().await;
    assert_eq!(client.until_end().await.last(), Some(&Frame::End));
    eventually("no backend is left", async || {
        postgres().await.count(&format!("select count(*) from pg_stat_activity where usename = '{user}'")).await == 0
    })
    .await;
}

#[tokio::test]
async fn sigint_ends_a_drain_and_tells_clients() {
    let mut proxy = pgweir().start().await;
    let mut client = proxy.wire().await;
    client.query("begin").await;
    proxy.signal("TERM");
    proxy.log_line("SIGTERM").await;
    proxy.signal("INT");
    let frames = client.until_end().await;
    assert_eq!(code(&frames).as_deref(), Some("57P01"), "{frames:?}");
    assert!(proxy.wait_exit().await.success());
}

#[tokio::test]
async fn each_sighup_reaches_who_was_there_before_the_last() {
    let mut proxy = pgweir().start().await;
    let mut client = proxy.wire().await;
    let place = "select coalesce(host(inet_server_addr()), 'a socket')";
    assert_eq!(client.value(place).await, "127.0.0.1");
    proxy.reload(|builder| builder);
    proxy.log_line("no key has changed").await;

    proxy.reload(|builder| builder.set("pool.query_timeout", "'200ms'"));
    eventually("the session's limit", async || {
        code(&client.query("select pg_sleep(1)").await).as_deref() == Some("57014")
    })
    .await;

    let sockets = format!("'{}'", postgres().await.socket_folder().display());
    proxy.reload(|builder| builder.set("server.host", &sockets));
    eventually("the pool's place", async || client.value(place).await == "a socket").await;
    assert_eq!(proxy.wire().await.value(place).await, "a socket");
}

#[tokio::test]
async fn a_sighup_that_changes_nobodys_login_lets_clients_in_though_no_backend_is_free() {
    let full = pgweir().set("pool.size", "1").set("pool.max_overflow", "0").set("pool.timeout", "'2s'");
    let mut proxy = full.start().await;
    let mut holder = proxy.wire().await;
    holder.query("begin").await;
    proxy.wire().await;
    proxy.reload(|builder| builder.set("pool.query_timeout", "'200ms'"));
    eventually("the reload", async || code(&holder.query("select pg_sleep(1)").await).as_deref() == Some("57014"))
        .await;

    let mut client = proxy.wire().await;
    holder.query("rollback").await;
    assert_eq!(client.value("select 1").await, "1");
}

#[tokio::test]
async fn the_cap_on_a_servers_connections_holds_where_a_sighup_moves_all_pools() {
    let mut proxy = pgweir().set("server.max_connections", "1").set("pool.timeout", "'2s'").start().await;
    let mut before = proxy.wire().await;
    before.query("select 1").await;
    let sockets = format!("'{}'", postgres().await.socket_folder().display());
    proxy.reload(|builder| builder.set("server.host", &sockets));
    let place = "select coalesce(host(inet_server_addr()), 'a socket')";
    eventually("the pool's place", async || before.value(place).await == "a socket").await;

    // Another pool, which is made after the move.
    let mut after = WireClient::login(proxy.address(), "postgres", "template1").await;
    before.query("begin").await;
    assert_eq!(code(&after.query("select 1").await).as_deref(), Some("53300"));
    before.query("commit").await;
    assert_eq!(after.value("select 1").await, "1");
}

#[tokio::test]
async fn sighup_changes_what_is_logged() {
    let mut proxy = pgweir().start().await;
    let mut client = proxy.wire().await;
    proxy.reload(|builder| builder.set("log.level", "'error'").set("pool.query_timeout", "'200ms'"));
    eventually("the reload", async || code(&client.query("select pg_sleep(1)").await).is_some()).await;
    proxy.reload(|builder| builder.set("log.level", "'info'"));
    proxy.log_line("configuration reloaded").await;
    assert_eq!(proxy.log().matches("configuration reloaded").count(), 1);
}

#[tokio::test]
async fn what_a_sighup_changes_for_new_clients_alone_is_named() {
    let mut proxy = pgweir().start().await;
    let mut before = proxy.wire().await;
    proxy.reload(|builder| builder.mode("statement"));
    proxy.log_line("pool.mode (for clients that log in from now on)").await;
    assert_eq!(code(&before.query("begin").await), None);
    assert_eq!(code(&proxy.wire().await.query("begin").await).as_deref(), Some("0A000"));
}

#[tokio::test]
async fn sighup_changes_a_pools_size_under_its_clients() {
    let mut proxy = pgweir().pool_size(1).set("pool.timeout", "'2s'").start().await;
    let mut first = proxy.wire().await;
    let mut second = proxy.wire().await;
    first.query("begin").await;
    assert_eq!(code(&second.query("select 1").await).as_deref(), Some("53300"));
    proxy.reload(|builder| builder.pool_size(2).set("process.workers", "7"));
    // What can't be changed while running is named.
    proxy.log_line("workers").await;
    eventually("the second backend", async || code(&second.query("select 1").await).is_none()).await;
    let frames = first.query("commit").await;
    assert!(frames.iter().any(|frame| frame.summary() == "CommandComplete(COMMIT)"), "{frames:?}");
}

#[tokio::test]
async fn a_bad_file_on_reload_keeps_the_old_configuration() {
    let mut proxy = pgweir().pool_size(1).start().await;
    let mut client = proxy.wire().await;
    proxy.reload(|builder| builder.set("pool.sise", "3"));
    proxy.log_line("sise").await;
    assert_eq!(client.value("select 1").await, "1");
    assert_eq!(proxy.wire().await.value("select 2").await, "2");
}

#[tokio::test]
async fn a_bad_file_is_refused_at_start_with_line_and_key() {
    let (status, log) = pgweir().set("pool.sise", "3").start_refused().await;
    assert!(!status.success());
    assert!(log.contains("pool.sise") && log.contains("size"), "{log}");
}

#[tokio::test]
async fn a_port_in_use_is_refused_at_start() {
    let proxy = pgweir().start().await;
    let taken = format!("'{}'", proxy.address());
    let (status, log) = pgweir().set("listen.address", &taken).start_refused().await;
    assert!(!status.success());
    assert!(log.contains(&proxy.address().port().to_string()), "{log}");
}

#[tokio::test]
async fn unix_sockets_serve_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = postgres().await;
    let proxy = pgweir()
        .set("listen.unix_socket", &format!("'{}'", folder.path().display()))
        .set("server.host", &format!("'{}'", cluster.socket_folder().display()))
        .start()
        .await;
    let path = folder.path().join(format!(".s.PGSQL.{}", proxy.address().port()));
    let mut client = WireClient::open_unix(&path).await;
    client.send(&frame::startup(3, 0, &[("user", "postgres"), ("database", "postgres")])).await;
    client.until(b'Z').await;
    assert_eq!(client.value("select inet_client_addr() is null").await, "t");
}

/// Huge pages are counted whole, however little of each is used.
#[tokio::test]
async fn the_process_takes_no_huge_pages() {
    let proxy = pgweir().start().await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.process_id())).expect("its status");
    let told = status.lines().find(|line| line.starts_with("THP_enabled:"));
    // Kernels before 5.1 do not tell.
    assert!(told.is_none_or(|line| line.ends_with('0')), "{told:?}");
}
