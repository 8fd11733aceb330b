//! What sessions leave on a backend in transaction mode: it follows them, or keeps the backend, and never leaks.

use crate::harness::{Frame, eventually, frame, pgweir, postgres};

fn code(frames: &[Frame]) -> Option<String> {
    frames.iter().find(|frame| frame.tag() == b'E').and_then(|frame| frame.field(b'C'))
}

#[tokio::test]
async fn a_setting_that_postgresql_does_not_report_follows_its_session_and_no_other() {
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("set work_mem = '7MB'").await;
    one.query("select pg_catalog.set_config('search_path', 'pg_catalog', false)").await;
    assert_eq!(two.value("show work_mem").await, "4MB");
    assert_eq!(two.value("show search_path").await, "\"$user\", public");
    two.query("set work_mem = '9MB'").await;
    assert_eq!(one.value("show work_mem").await, "7MB");
    assert_eq!(one.value("show search_path").await, "pg_catalog");
    one.query("reset work_mem").await;
    assert_eq!(two.value("show work_mem").await, "9MB");
    assert_eq!(one.value("show work_mem").await, "4MB");
    assert_eq!(one.value("show search_path").await, "pg_catalog");
}

#[tokio::test]
async fn a_setting_that_is_rolled_back_is_not_carried_on() {
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("begin").await;
    one.query("set work_mem = '7MB'").await;
    one.query("rollback").await;
    assert_eq!(two.value("show work_mem").await, "4MB");
    assert_eq!(one.value("show work_mem").await, "4MB");
}

#[tokio::test]
async fn a_setting_made_by_a_prepared_statement_follows_its_session() {
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.send(
        &[
            frame::parse("", "select set_config('lock_timeout', $1, false)", &[]),
            frame::bind("", "", &["7s"]),
            frame::execute("", 0),
            frame::sync(),
        ]
        .concat(),
    )
    .await;
    one.until(b'Z').await;
    assert_eq!(two.value("show lock_timeout").await, "0");
    assert_eq!(one.value("show lock_timeout").await, "7s");
}

#[tokio::test]
async fn discard_all_returns_to_what_the_session_started_with() {
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("set work_mem = '7MB'").await;
    one.query("discard all").await;
    assert_eq!(two.value("show work_mem").await, "4MB");
    assert_eq!(one.value("show work_mem").await, "4MB");
}

#[tokio::test]
async fn a_session_with_state_keeps_its_backend_until_it_leaves() {
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("create temp table s_temp (n int)").await;
    one.query("select pg_advisory_lock(4712)").await;
    one.query("set app.user_id = '7'").await;
    for _ in 0..3 {
        assert_eq!(two.value("select pg_try_advisory_xact_lock_shared(4712)").await, "f");
        assert_eq!(two.value("select current_setting('app.user_id', true) is null").await, "t");
        assert_eq!(one.value("select count(*) from s_temp").await, "0");
        assert_eq!(one.value("show app.user_id").await, "7");
    }
    one.send(&frame::terminate()).await;
    one.until_end().await;
    eventually("nothing is left", async || {
        let direct = postgres().await;
        direct.count("select count(*) from pg_locks where locktype = 'advisory' and objid = 4712").await == 0
            && direct.count("select count(*) from pg_class where relname = 's_temp'").await == 0
    })
    .await;
}

#[tokio::test]
async fn notifications_reach_a_session_that_listens() {
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("listen s_channel").await;
    two.query("notify s_channel, 'hello'").await;
    assert_eq!(one.frame().await.summary(), "NotificationResponse(s_channel, hello)");
    assert_eq!(two.value("select count(*) from pg_listening_channels()").await, "0");
}

#[tokio::test]
async fn sessions_that_keep_backends_leave_one_to_the_others() {
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two, mut three) = (proxy.wire().await, proxy.wire().await, proxy.wire().await);
    one.query("listen s_full").await;
    let refused = two.query("listen s_full").await;
    let refused = if code(&refused).is_some() { refused } else { two.until_end().await };
    assert_eq!(code(&refused).as_deref(), Some("53300"));
    assert_eq!(three.value("select 1").await, "1");
}
