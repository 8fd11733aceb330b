//! Process ids that clients were given at their logins, in statements of others: they mean the backend of that moment.

use crate::harness::{Frame, Relay, code, eventually, frame, pgweir, postgres};

#[tokio::test]
async fn a_session_is_found_and_signalled_by_the_process_id_that_it_was_told() {
    let proxy = pgweir().pool_size(3).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.send(&frame::query("select pg_sleep(60) /* s_signalled */")).await;
    let listed = format!("select count(*) from pg_stat_activity where pid = {} and state = 'active'", one.process_id());
    eventually("it is listed", async || {
        let mut watcher = proxy.wire().await;
        watcher.value(&listed).await == "1"
    })
    .await;
    assert_eq!(two.value(&format!("select pg_cancel_backend({})", one.process_id())).await, "t");
    assert_eq!(code(&one.until(b'Z').await).as_deref(), Some("57014"));
    one.query("begin").await;
    assert_eq!(one.value(&format!("select pg_backend_pid() = {}", one.process_id())).await, "t");
    // As drivers bind it: four bytes in network order.
    two.send(
        &[
            frame::parse("", "select pg_terminate_backend($1)", &[]),
            frame::bind_with("", "", &[1], &[Some(one.process_id().to_be_bytes().to_vec().into())], &[]),
            frame::execute("", 0),
            frame::sync(),
        ]
        .concat(),
    )
    .await;
    let answer = two.until(b'Z').await;
    assert!(answer.iter().any(|frame| frame.summary() == "DataRow(t)"), "{answer:?}");
    assert_eq!(code(&one.until_end().await).as_deref(), Some("57P01"));
}

#[tokio::test]
async fn a_bound_process_id_is_understood_in_the_first_execution_of_a_statement_and_in_arrays() {
    let proxy = pgweir().pool_size(3).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("begin").await;
    let (id, unknown) = (one.process_id(), i32::MAX - 7);
    let array = |ids: [i32; 2]| {
        let elements = ids.map(|id| [4_i32.to_be_bytes(), id.to_be_bytes()].concat()).concat();
        [[1, 0, 23, 2, 1].map(i32::to_be_bytes).concat(), elements].concat()
    };
    let ways = [
        ("= $1", 0, id.to_string().into_bytes()),
        ("= $1::int", 1, id.to_be_bytes().to_vec()),
        ("= any($1)", 0, format!("{{{unknown},{id}}}").into_bytes()),
        ("= any($1::int[])", 1, array([unknown, id])),
    ];
    for (condition, format, value) in ways {
        let sql = format!("select count(*) from pg_stat_activity where pid {condition}");
        let bind = frame::bind_with("", "", &[format], &[Some(value.into())], &[]);
        two.send(&[frame::parse("", &sql, &[]), bind, frame::execute("", 0), frame::sync()].concat()).await;
        let answer = two.until(b'Z').await;
        assert!(answer.iter().any(|frame| frame.summary() == "DataRow(1)"), "{condition}: {answer:?}");
    }
    let literal = format!("select count(*) from pg_stat_activity where pid = any('{{{unknown}, {id}}}')");
    assert_eq!(two.value(&literal).await, "1");
}

#[tokio::test]
async fn a_prepared_text_means_the_backend_that_a_session_has_when_it_is_bound() {
    let proxy = pgweir().pool_size(3).start().await;
    let (mut one, mut two, mut other) = (proxy.wire().await, proxy.wire().await, proxy.wire().await);
    let sql = format!("select count(*) from pg_locks where locktype = 'virtualxid' and pid = '{}'", one.process_id());
    let asks = |name: &str| [frame::bind("", name, &[]), frame::execute("", 0), frame::sync()].concat();
    let rows = |answer: &[Frame]| answer.iter().find(|frame| frame.tag() == b'D').map(|row| row.cells());
    one.query("begin").await;
    for name in ["", "named"] {
        two.send(&[frame::parse(name, &sql, &[]), asks(name)].concat()).await;
        assert_eq!(rows(&two.until(b'Z').await), Some(vec![Some("1".to_owned())]), "{name:?}");
    }
    // Its backend is another's now, and it has the other's.
    one.query("commit").await;
    other.query("begin").await;
    for name in ["", "named"] {
        two.send(&asks(name)).await;
        assert_eq!(rows(&two.until(b'Z').await), Some(vec![Some("0".to_owned())]), "{name:?}");
    }
    one.query("begin").await;
    two.send(&asks("named")).await;
    assert_eq!(rows(&two.until(b'Z').await), Some(vec![Some("1".to_owned())]));
}

#[tokio::test]
async fn a_signal_for_one_session_never_reaches_the_next_on_its_backend() {
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two, mut victim) = (proxy.wire().await, proxy.wire().await, proxy.wire().await);
    let cancel = format!("select pg_cancel_backend({}) is not null", one.process_id());
    for _ in 0..100 {
        one.send(&frame::query("select 1")).await;
        two.send(&frame::query(&cancel)).await;
        let answer = victim.query("select pg_sleep(0.002)").await;
        assert_eq!(code(&answer), None, "{answer:?}");
        one.until(b'Z').await;
        assert_eq!(code(&two.until(b'Z').await), None);
    }
}

#[tokio::test]
async fn a_session_is_found_also_at_the_moment_when_its_backend_goes_back() {
    let proxy = pgweir().pool_size(3).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    let found = format!("select count(*) from pg_stat_activity where pid = {}", one.process_id());
    for number in 0..500 {
        one.send(&frame::query(&format!("set application_name = 's_leaves_{number}'"))).await;
        assert_eq!(two.value(&found).await, "1", "{number}");
        one.until(b'Z').await;
    }
}

#[tokio::test]
async fn an_idle_session_that_was_terminated_runs_nothing_any_more() {
    let relay = Relay::to(postgres().await).await;
    let proxy = pgweir().in_front_of_port(relay.port()).pool_size(3).start().await;
    let (mut ended, mut other) = (proxy.wire().await, proxy.wire().await);
    relay.hold_from(b"57P01");
    assert_eq!(other.value(&format!("select pg_terminate_backend({})", ended.process_id())).await, "t");
    relay.has(b"57P01").await;
    ended.send(&frame::query("select 'too late'")).await;
    for _ in 0..10 {
        assert_eq!(other.value("select 1").await, "1");
    }
    relay.let_go();
    let answer = ended.until_end().await;
    assert_eq!(code(&answer).as_deref(), Some("57P01"));
    assert!(answer.iter().all(|frame| frame.tag() != b'D'), "{answer:?}");
}

#[tokio::test]
async fn an_idle_session_that_was_only_listed_goes_on() {
    let proxy = pgweir().pool_size(3).start().await;
    let (mut other, mut listed) = (proxy.wire().await, proxy.wire().await);
    for _ in 0..10 {
        let text = format!("select count(*) from pg_stat_activity where pid = {}", listed.process_id());
        assert_eq!(other.value(&text).await, "1");
        assert_eq!(listed.value("select 1").await, "1");
    }
}

#[tokio::test]
async fn a_session_that_is_signalled_as_its_statement_ends_hears_of_it_and_nobody_else_does() {
    let cluster = postgres().await;
    cluster.execute("create table s_hers (); create table s_signals (n int); insert into s_signals values (1)").await;
    let relay = Relay::to(cluster).await;
    let proxy = pgweir().in_front_of_port(relay.port()).pool_size(2).start().await;
    let (mut signalled, mut signals, mut other) = (proxy.wire().await, proxy.wire().await, proxy.wire().await);
    for table in ["s_hers", "s_signals"] {
        // What it is, is known from then on.
        other.value(&format!("select count(*) from {table}")).await;
    }
    let (hers, signal) = (cluster.admin().await, cluster.admin().await);
    hers.batch_execute("begin; lock table s_hers").await.unwrap();
    signal.batch_execute("begin; lock table s_signals").await.unwrap();
    let waits = async |table: &str| {
        let sql = format!("select count(*) from pg_locks where relation = '{table}'::regclass and not granted");
        eventually("it waits", async || cluster.count(&sql).await == 1).await;
    };
    signalled.send(&frame::query("select count(*) from s_hers")).await;
    waits("s_hers").await;
    let sql = format!("select pg_terminate_backend({}) from s_signals", signalled.process_id());
    signals.send(&frame::query(&sql)).await;
    waits("s_signals").await;
    hers.batch_execute("rollback").await.unwrap();
    assert_eq!(code(&signalled.until(b'Z').await), None);
    // PostgreSQL has acted on the signal before anything is heard of that.
    relay.hold_from(b"57P01");
    signal.batch_execute("rollback").await.unwrap();
    let answer = signals.until(b'Z').await;
    assert!(answer.iter().any(|frame| frame.summary() == "DataRow(t)"), "{answer:?}");
    relay.has(b"57P01").await;
    for _ in 0..10 {
        assert_eq!(other.value("select 1").await, "1");
    }
    relay.let_go();
    assert_eq!(code(&signalled.until_end().await).as_deref(), Some("57P01"));
    assert_eq!(other.value("select 1").await, "1");
}
