//! tokio-postgres as an application uses it, several clients on one backend.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt, TryStreamExt};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::harness::{eventually, pgweir, postgres};

async fn clients() -> (crate::harness::Proxy, Client, Client) {
    let proxy = pgweir().pool_size(1).start().await;
    let url = proxy.url("postgres", "postgres");
    let (one, other) = (proxy.connect(&url).await.expect("a client"), proxy.connect(&url).await.expect("a client"));
    (proxy, one, other)
}

#[tokio::test]
async fn prepared_statements_transactions_and_errors_are_each_clients_own() {
    let (_proxy, mut one, other) = clients().await;
    one.batch_execute("create temporary table driver_own (n int); drop table driver_own").await.unwrap();
    let mine = one.prepare("select $1::int + 1").await.unwrap();
    let yours = other.prepare("select $1::int + 2").await.unwrap();
    for n in 0..5 {
        assert_eq!(one.query_one(&mine, &[&n]).await.unwrap().get::<_, i32>(0), n + 1);
        assert_eq!(other.query_one(&yours, &[&n]).await.unwrap().get::<_, i32>(0), n + 2);
    }
    let transaction = one.transaction().await.unwrap();
    assert_eq!(transaction.query_one(&mine, &[&1]).await.unwrap().get::<_, i32>(0), 2);
    let refused = transaction.query_one("select 1 / $1::int", &[&0]).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::DIVISION_BY_ZERO));
    let refused = transaction.query_one(&mine, &[&1]).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    transaction.rollback().await.unwrap();
    let mut transaction = one.transaction().await.unwrap();
    let savepoint = transaction.transaction().await.unwrap();
    savepoint.query_one("select 1 / $1::int", &[&0]).await.unwrap_err();
    savepoint.rollback().await.unwrap();
    assert_eq!(transaction.query_one(&mine, &[&2]).await.unwrap().get::<_, i32>(0), 3);
    transaction.commit().await.unwrap();
    assert_eq!(other.query_one(&yours, &[&1]).await.unwrap().get::<_, i32>(0), 3);
}

#[tokio::test]
async fn copy_goes_both_ways_and_fails_both_ways() {
    let (_proxy, one, other) = clients().await;
    one.batch_execute("create table driver_copied (n int)").await.unwrap();
    let sink = one.copy_in("copy driver_copied from stdin").await.unwrap();
    let mut sink = Box::pin(sink);
    for n in 0..1000 {
        sink.send(bytes::Bytes::from(format!("{n}\n"))).await.unwrap();
    }
    assert_eq!(sink.as_mut().finish().await.unwrap(), 1000);

    let sink = one.copy_in("copy driver_copied from stdin").await.unwrap();
    let mut sink = Box::pin(sink);
    sink.send(bytes::Bytes::from_static(b"no number\n")).await.unwrap();
    assert_eq!(sink.as_mut().finish().await.unwrap_err().code(), Some(&SqlState::INVALID_TEXT_REPRESENTATION));
    // One that is dropped before its end fails.
    let sink = one.copy_in::<_, bytes::Bytes>("copy driver_copied from stdin").await.unwrap();
    drop(sink);

    let out = other.copy_out("copy (select n from driver_copied order by n) to stdout").await.unwrap();
    let chunks: Vec<_> = out.try_collect().await.unwrap();
    assert_eq!(chunks.concat(), (0..1000).map(|n| format!("{n}\n")).collect::<String>().into_bytes());
    let mut out =
        Box::pin(other.copy_out("copy (select 1 / (n - 500) from driver_copied order by n) to stdout").await.unwrap());
    let error = loop {
        if let Err(error) = out.next().await.expect("an error before the end") {
            break error;
        }
    };
    assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO));
    assert_eq!(one.query_one("select count(*) from driver_copied", &[]).await.unwrap().get::<_, i64>(0), 1000);
}

#[tokio::test]
async fn a_cancel_token_stops_its_own_clients_statement() {
    let (_proxy, one, other) = clients().await;
    let token = one.cancel_token();
    let stop = async {
        eventually("it runs", async || {
            postgres().await.count("select count(*) from pg_stat_activity where query = 'select pg_sleep(61)'").await
                == 1
        })
        .await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (slept, ()) = tokio::join!(one.batch_execute("select pg_sleep(61)"), stop);
    assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    // Nothing of the one's runs now, and the other's goes on.
    token.cancel_query(NoTls).await.unwrap();
    let slept = other.query_one("select pg_sleep($1)::text", &[&Duration::from_millis(50).as_secs_f64()]).await;
    assert_eq!(slept.unwrap().get::<_, String>(0), "");
    assert_eq!(one.query_one("select 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}
