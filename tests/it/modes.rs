//! Session and statement mode.

use crate::harness::{code, eventually, frame, pgweir, postgres};

#[tokio::test]
async fn session_mode_keeps_the_backend_and_all_it_holds() {
    let proxy = pgweir().pool_size(2).mode("session").start().await;
    let mut client = proxy.wire().await;
    client.query("create temp table m_temp (n int); prepare m as select 1; set work_mem = '7MB'").await;
    client.query("select pg_advisory_lock(4711)").await;
    let mut other = proxy.wire().await;
    assert_eq!(other.value("select pg_try_advisory_lock(4711)").await, "f");
    assert_eq!(client.value("select count(*) from m_temp").await, "0");
    assert_eq!(client.value("execute m").await, "1");
    assert_eq!(client.value("show work_mem").await, "7MB");
    drop(client);
    eventually("the lock is free", async || other.value("select pg_try_advisory_lock(4711)").await == "t").await;
}

#[tokio::test]
async fn session_mode_leaves_nothing_to_the_next_session() {
    let proxy = pgweir().pool_size(1).mode("session").start().await;
    let mut client = proxy.wire().await;
    client
        .query("create temp table m_left (n int); prepare m_left as select 1; set work_mem = '7MB'; listen m_left")
        .await;
    client.send(&frame::terminate()).await;
    client.until_end().await;
    let mut next = proxy.wire().await;
    assert_eq!(next.value("select count(*) from pg_class where relname = 'm_left'").await, "0");
    assert_eq!(next.value("select count(*) from pg_prepared_statements where name = 'm_left'").await, "0");
    assert_eq!(next.value("select count(*) from pg_listening_channels()").await, "0");
    assert_eq!(next.value("show work_mem").await, "4MB");
}

#[tokio::test]
async fn session_mode_delivers_notifications_to_an_idle_client() {
    let proxy = pgweir().pool_size(2).mode("session").start().await;
    let mut client = proxy.wire().await;
    client.query("listen m_idle").await;
    postgres().await.execute("notify m_idle, 'hello'").await;
    assert_eq!(client.frame().await.summary(), "NotificationResponse(m_idle, hello)");
    assert_eq!(client.value("select 1").await, "1");
}

#[tokio::test]
async fn statement_mode_serves_single_statements() {
    let proxy = pgweir().pool_size(1).mode("statement").start().await;
    let mut client = proxy.wire().await;
    assert_eq!(client.value("select 1").await, "1");
    client
        .send(
            &[
                frame::parse("s", "select $1::text", &[]),
                frame::bind("", "s", &["x"]),
                frame::execute("", 0),
                frame::sync(),
            ]
            .concat(),
        )
        .await;
    let frames = client.until(b'Z').await;
    assert!(frames.iter().any(|frame| frame.summary() == "DataRow(x)"), "{frames:?}");
}

#[tokio::test]
async fn statement_mode_refuses_transaction_blocks() {
    let proxy = pgweir().pool_size(1).mode("statement").start().await;
    let mut other = proxy.wire().await;
    for sql in
        ["begin", "start transaction isolation level serializable", "select 1; begin; select 2", "/* hidden */ BEGIN"]
    {
        let mut client = proxy.wire().await;
        let frames = client.query(sql).await;
        let error = frames.iter().find(|frame| frame.tag() == b'E').unwrap_or_else(|| panic!("{sql}: {frames:?}"));
        let message = error.field(b'M').unwrap_or_default();
        assert!(message.contains("statement"), "{sql}: it says why: {message}");
        assert_eq!(other.value("select 1").await, "1", "the backend is not held");
    }
    let mut client = proxy.wire().await;
    client
        .send(
            &[frame::parse("", "begin", &[]), frame::bind("", "", &[]), frame::execute("", 0), frame::sync()].concat(),
        )
        .await;
    assert!(code(&client.until(b'Z').await).is_some());
    assert_eq!(other.value("select 1").await, "1");
}

#[tokio::test]
async fn a_user_may_have_a_mode_of_its_own() {
    let proxy = pgweir()
        .pool_size(1)
        .users("[[users]]\nname = '*'\n[[users]]\nname = 'by_trust'\nmode = 'session'\nsize = 2\n")
        .start()
        .await;
    let mut client = crate::harness::WireClient::login(proxy.address(), "by_trust", "postgres").await;
    client.query("set work_mem = '9MB'").await;
    let first = client.value("select pg_backend_pid()").await;
    let mut other = crate::harness::WireClient::login(proxy.address(), "by_trust", "postgres").await;
    assert_ne!(other.value("select pg_backend_pid()").await, first);
    assert_eq!(client.value("show work_mem").await, "9MB");
}
