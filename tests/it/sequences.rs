//! What `currval` and `lastval` tell where sessions share a backend that none of them can keep.

use crate::harness::{Frame, WireClient, code, frame, pgweir, postgres};

/// One execution of a statement with this name, and a Sync.
async fn executed(client: &mut WireClient, name: &str, sql: &str) -> Vec<Frame> {
    let parse = frame::parse(name, sql, &[]);
    client.send(&[parse, frame::bind("", name, &[]), frame::execute("", 0), frame::sync()].concat()).await;
    client.until(b'Z').await
}

async fn again(client: &mut WireClient, name: &str) -> Vec<Frame> {
    client.send(&[frame::bind("", name, &[]), frame::execute("", 0), frame::sync()].concat()).await;
    client.until(b'Z').await
}

#[tokio::test]
async fn what_another_session_has_drawn_is_told_to_nobody() {
    let makes = "create sequence sq_secret; \
                 create function sq_last() returns bigint language plpgsql as 'begin return lastval(); end'";
    postgres().await.execute(makes).await;
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut other) = (proxy.wire().await, proxy.wire().await);
    // What it calls is known from the second call on.
    one.query("select sq_last()").await;
    for asks in ["select currval('sq_secret')", "select lastval()", "select sq_last()"] {
        let undefined = |frames: &[Frame]| assert_eq!(code(frames).as_deref(), Some("55000"), "{asks}: {frames:?}");
        one.query("select nextval('sq_secret')").await;
        undefined(&other.query(asks).await);
        undefined(&other.query(asks).await);
        one.query("select nextval('sq_secret')").await;
        undefined(&executed(&mut other, "", asks).await);
        one.query("select nextval('sq_secret')").await;
        undefined(&executed(&mut other, "named", asks).await);
        let prepared = [frame::parse("kept", asks, &[]), frame::sync()].concat();
        other.send(&prepared).await;
        other.until(b'Z').await;
        one.query("select nextval('sq_secret')").await;
        undefined(&again(&mut other, "kept").await);
        one.query("select nextval('sq_secret')").await;
        other.query("begin").await;
        undefined(&other.query(asks).await);
        other.query("rollback").await;
        one.query("select nextval('sq_secret')").await;
        other.query("begin").await;
        undefined(&again(&mut other, "kept").await);
        other.query("rollback").await;
        for name in ["named", "kept"] {
            other.send(&[frame::named(b'C', b'S', name), frame::sync()].concat()).await;
            other.until(b'Z').await;
        }
    }
}

#[tokio::test]
async fn a_session_is_told_what_it_drew_until_another_draws_on_the_same_backend() {
    postgres().await.execute("create sequence sq_own; create table sq_rows (id serial, t text)").await;
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut other) = (proxy.wire().await, proxy.wire().await);
    let drawn = one.value("select nextval('sq_own')").await;
    for asks in ["select currval('sq_own')", "select lastval()"] {
        assert_eq!(other.value("select 1").await, "1");
        assert_eq!(one.value(asks).await, drawn, "others may use the backend meanwhile");
    }
    let drawn = one.value("insert into sq_rows (t) values ('x') returning id").await;
    other.query("begin; select 1; commit").await;
    assert_eq!(one.value("select currval('sq_rows_id_seq')").await, drawn);
    let drawn = other.value("insert into sq_rows (t) values ('y') returning id").await;
    assert_eq!(code(&one.query("select currval('sq_rows_id_seq')").await).as_deref(), Some("55000"), "not {drawn}");
    one.query("begin").await;
    let drawn = one.value("select nextval('sq_own')").await;
    assert_eq!(one.value("select currval('sq_own')").await, drawn, "in the transaction that draws");
    one.query("commit").await;
}

#[tokio::test]
async fn the_first_who_asks_is_told_of_its_own_draws_or_of_none() {
    let cluster = postgres().await;
    let ways = [
        (
            "sq_function",
            "create function f() returns bigint language plpgsql as 'begin return currval(''s''); end'",
            "select f()",
        ),
        ("sq_view", "create view v as select currval('s') as c", "select c from v"),
        ("sq_default", "create table t (a bigint default lastval(), b int)", "insert into t (b) values (1)"),
    ];
    for (database, defines, asks) in ways {
        cluster.execute(&format!("create database {database}")).await;
        // Past pgweir, which has not heard of it.
        let admin = cluster.connect("postgres", database).await;
        admin.batch_execute(&format!("create sequence s; create table u (n int); {defines}")).await.unwrap();
        let proxy = pgweir().pool_size(1).start().await;
        let mut one = WireClient::login(proxy.address(), "postgres", database).await;
        let mut other = WireClient::login(proxy.address(), "postgres", database).await;
        one.query("insert into u values (1)").await;
        one.query("select nextval('s')").await;
        let answer = other.query(asks).await;
        assert_eq!(code(&answer).as_deref(), Some("55000"), "{asks}: {answer:?}");
    }
}
