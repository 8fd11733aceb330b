//! Replication connections get a backend of their own and pass through whole (protocol manual, section 55.4).

use crate::harness::{Frame, WireClient, code, frame, pgweir, postgres};

async fn replication(address: std::net::SocketAddr, kind: &str) -> WireClient {
    let (client, frames) = ask_for_replication(address, kind, "postgres").await;
    assert_eq!(frames.last().map(Frame::tag), Some(b'Z'), "{frames:?}");
    client
}

async fn ask_for_replication(address: std::net::SocketAddr, kind: &str, database: &str) -> (WireClient, Vec<Frame>) {
    let mut client = WireClient::open(address).await;
    let parameters = [("user", "by_trust_replication"), ("database", database), ("replication", kind)];
    client.send(&frame::startup(3, 0, &parameters)).await;
    let frames = client.until(b'Z').await;
    (client, frames)
}

#[tokio::test]
async fn who_replicates_the_whole_server_may_name_any_database() {
    let proxy = pgweir().config("[databases.postgres]").start().await;
    let (mut client, frames) = ask_for_replication(proxy.address(), "true", "replication").await;
    assert_eq!(code(&frames), None);
    assert_eq!(code(&client.query("IDENTIFY_SYSTEM").await), None);
    let (_, frames) = ask_for_replication(proxy.address(), "database", "replication").await;
    assert_eq!(code(&frames).as_deref(), Some("3D000"));
}

#[tokio::test]
async fn identify_system_answers_as_directly() {
    let proxy = pgweir().pool_size(1).start().await;
    for kind in ["true", "database"] {
        let mut direct = replication(postgres().await.address(), kind).await;
        let mut proxied = replication(proxy.address(), kind).await;
        let column =
            |frames: Vec<Frame>| frames.iter().find(|frame| frame.tag() == b'D').map(|row| row.cells().swap_remove(0));
        let wanted = column(direct.query("IDENTIFY_SYSTEM").await);
        assert!(wanted.is_some());
        assert_eq!(column(proxied.query("IDENTIFY_SYSTEM").await), wanted, "{kind}");
        let frames = proxied.query("SHOW wal_level").await;
        assert!(frames.iter().any(|frame| frame.summary() == "DataRow(logical)"), "{frames:?}");
    }
}

#[tokio::test]
async fn a_replication_connection_takes_no_place_of_the_pool() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut replicating = replication(proxy.address(), "database").await;
    replicating.query("IDENTIFY_SYSTEM").await;
    let mut client = proxy.wire().await;
    assert_eq!(client.value("select 1").await, "1");
    client.query("begin").await;
    replicating.query("IDENTIFY_SYSTEM").await;
}

#[tokio::test]
async fn a_replication_connection_is_ended_by_the_process_id_that_it_was_told() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut replicating = replication(proxy.address(), "database").await;
    let mut client = proxy.wire().await;
    let ends = format!("select pg_terminate_backend({})", replicating.process_id());
    assert_eq!(client.value(&ends).await, "t");
    let last = replicating.until_end().await;
    assert_eq!(last.first().and_then(|frame| frame.field(b'C')).as_deref(), Some("57P01"), "{last:?}");
}

#[tokio::test]
async fn changes_stream_in_both_directions() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut client = replication(proxy.address(), "database").await;
    let frames = client.query("CREATE_REPLICATION_SLOT r_stream TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT").await;
    assert!(frames.iter().any(|frame| frame.tag() == b'D'), "{frames:?}");
    postgres().await.execute("create table r_stream (n int); create publication r_stream for table r_stream").await;
    client
        .send(&frame::query(
            "START_REPLICATION SLOT r_stream LOGICAL 0/0 (proto_version '1', publication_names 'r_stream')",
        ))
        .await;
    assert_eq!(client.until(b'W').await.last().map(Frame::tag), Some(b'W'));
    postgres().await.execute("insert into r_stream values (42)").await;
    loop {
        let frames = client.until(b'd').await;
        let data = frames.last().expect("a frame");
        assert_eq!(data.tag(), b'd', "{frames:?}");
        // XLogData with an Insert message of pgoutput: w, three positions, I.
        if data.body().first() == Some(&b'w') && data.body().get(25) == Some(&b'I') {
            break;
        }
    }
    client.send(&frame::message(b'c', &[])).await;
    let frames = client.until(b'Z').await;
    assert_eq!(frames.last().map(Frame::tag), Some(b'Z'), "{frames:?}");
}
