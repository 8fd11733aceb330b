//! TLS on both sides.

use std::path::Path;

use crate::harness::tls::{Authority, Identity, TlsClient};
use crate::harness::{Builder, Cluster, Frame, WireClient, frame, own_postgres, pgweir};

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    format!("'{}'", path.display())
}

fn listening(folder: &Path, mode: &str, identity: &Identity) -> Builder {
    pgweir()
        .set("listen.tls.mode", &format!("'{mode}'"))
        .set("listen.tls.cert", &write(folder, "server.pem", &identity.cert))
        .set("listen.tls.key", &write(folder, "server.key", &identity.key))
}

async fn log_in(client: &mut WireClient, user: &str) -> Vec<Frame> {
    client.send(&frame::startup(3, 0, &[("user", user), ("database", "postgres")])).await;
    client.until(b'Z').await
}

#[tokio::test]
async fn disabled_tls_is_answered_no() {
    let proxy = pgweir().start().await;
    let mut client = WireClient::open(proxy.address()).await;
    client.send(&frame::ssl_request()).await;
    assert_eq!(client.answer().await, Frame::Answer(b'N'));
    client.send(&frame::gss_request()).await;
    assert_eq!(client.answer().await, Frame::Answer(b'N'));
    log_in(&mut client, "postgres").await;
    assert_eq!(client.value("select 1").await, "1");
}

#[tokio::test]
async fn allowed_tls_serves_both_and_cancels_too() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let proxy = listening(folder.path(), "allow", &authority.issue("localhost")).start().await;
    let mut plain = proxy.wire().await;
    assert_eq!(plain.value("select 'plain'").await, "plain");
    let mut client = TlsClient::default().negotiate(proxy.address(), &authority).await.expect("a handshake");
    log_in(&mut client, "postgres").await;
    assert_eq!(client.value("select 'secret'").await, "secret");
    let frames = client.query("select repeat('x', 3000000)").await;
    assert_eq!(frames[1].body().len(), 3_000_006);
    // A cancel request over TLS, for an idle session: no answer but the end.
    let mut canceller = TlsClient::default().negotiate(proxy.address(), &authority).await.expect("a handshake");
    canceller.send(&frame::cancel_request(client.key_data())).await;
    assert_eq!(canceller.until_end().await, [Frame::End]);
    assert_eq!(client.value("select 1").await, "1");
}

#[tokio::test]
async fn required_tls_refuses_plain_clients() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let proxy = listening(folder.path(), "require", &authority.issue("localhost")).start().await;
    let mut plain = WireClient::open(proxy.address()).await;
    let frames = log_in(&mut plain, "postgres").await;
    assert_eq!(frames[0].field(b'C').as_deref(), Some("28000"), "{frames:?}");
    let mut client = TlsClient::default().negotiate(proxy.address(), &authority).await.expect("a handshake");
    log_in(&mut client, "postgres").await;
    assert_eq!(client.value("select 1").await, "1");
}

#[tokio::test]
async fn direct_tls_needs_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let proxy = listening(folder.path(), "require", &authority.issue("localhost")).start().await;
    let mut client = TlsClient::default().alpn().direct(proxy.address(), &authority).await.expect("a handshake");
    log_in(&mut client, "postgres").await;
    assert_eq!(client.value("select 1").await, "1");
    // Without the protocol's name a direct handshake could be a browser's: PostgreSQL 17 refuses it.
    if let Ok(mut stranger) = TlsClient::default().direct(proxy.address(), &authority).await {
        let frames = log_in(&mut stranger, "postgres").await;
        assert!(frames.iter().all(|frame| frame.tag() != b'Z'), "{frames:?}");
    }
}

#[tokio::test]
async fn bytes_before_the_handshake_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let proxy = listening(folder.path(), "allow", &authority.issue("localhost")).start().await;
    let mut client = WireClient::open(proxy.address()).await;
    let startup = frame::startup(3, 0, &[("user", "postgres"), ("database", "postgres")]);
    client.send(&[frame::ssl_request(), startup].concat()).await;
    // Either the socket closes at once, or after `S` (the client's bytes are no handshake); never is anybody logged in.
    if client.answer().await != Frame::End {
        let mut rest = Vec::new();
        while let Frame::Answer(byte) = client.answer().await {
            rest.push(byte);
        }
        assert!(!rest.windows(5).any(|window| window == b"Z\0\0\0\x05"), "logged in: {rest:?}");
    }
    assert_eq!(proxy.wire().await.value("select 1").await, "1");
}

#[tokio::test]
async fn client_certificates_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let strangers = Authority::new("theirs");
    let proxy = listening(folder.path(), "require", &authority.issue("localhost"))
        .set("listen.tls.client_ca", &write(folder.path(), "ca.pem", &authority.pem))
        .set("listen.tls.require_client_cert", "true")
        .users("[[users]]\nname = 'by_trust'\nauth = 'cert'\n[[users]]\nname = '*'\nauth = 'cert'\n")
        .start()
        .await;
    let known = TlsClient::default().identity(&authority.issue("by_trust"));
    let mut client = known.negotiate(proxy.address(), &authority).await.expect("a handshake");
    log_in(&mut client, "by_trust").await;
    assert_eq!(client.value("select current_user").await, "by_trust");

    let mut pretender = known.negotiate(proxy.address(), &authority).await.expect("a handshake");
    let frames = log_in(&mut pretender, "postgres").await;
    assert_eq!(frames[0].field(b'C').as_deref(), Some("28000"), "another user's name: {frames:?}");

    for client in [TlsClient::default(), TlsClient::default().identity(&strangers.issue("by_trust"))] {
        // In TLS 1.3 the client's handshake ends before the server has looked at its certificate.
        if let Ok(mut client) = client.negotiate(proxy.address(), &authority).await {
            let frames = log_in(&mut client, "by_trust").await;
            assert!(frames.iter().all(|frame| frame.tag() != b'Z'), "{frames:?}");
        }
    }
}

/// Whether a backend has TLS that is opened so; `None` where there is none.
async fn backend_tls(cluster: &Cluster, mode: &str, ca: Option<&str>, host: &str) -> Option<String> {
    let mut builder = pgweir()
        .in_front_of(cluster)
        .set("server.tls.mode", &format!("'{mode}'"))
        .set("server.host", &format!("'{host}'"))
        .set("pool.timeout", "'2s'");
    if let Some(ca) = ca {
        builder = builder.set("server.tls.ca", ca);
    }
    let proxy = builder.start().await;
    let mut client = WireClient::open(proxy.address()).await;
    let mut frames = log_in(&mut client, "postgres").await;
    if frames.last().is_some_and(|frame| frame.tag() == b'Z') {
        frames = client.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()").await;
    }
    frames.iter().find(|frame| frame.tag() == b'D').and_then(|row| row.cells().remove(0))
}

#[tokio::test]
async fn the_server_is_verified_as_far_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let identity = ours.issue("localhost");
    let cluster = own_postgres().tls(&identity.cert, &identity.key).start().await;
    let ours_file = write(folder.path(), "ours.pem", &ours.pem);
    let theirs_file = write(folder.path(), "theirs.pem", &theirs.pem);
    for (mode, ca, host, expected) in [
        ("disable", None, "127.0.0.1", Some("f")),
        ("prefer", None, "127.0.0.1", Some("t")),
        ("require", None, "127.0.0.1", Some("t")),
        ("verify-ca", Some(&ours_file), "127.0.0.1", Some("t")),
        ("verify-ca", Some(&theirs_file), "127.0.0.1", None),
        ("verify-full", Some(&ours_file), "localhost", Some("t")),
        ("verify-full", Some(&ours_file), "127.0.0.1", Some("t")),
        ("verify-full", Some(&theirs_file), "localhost", None),
    ] {
        let found = backend_tls(&cluster, mode, ca.map(String::as_str), host).await;
        assert_eq!(found.as_deref(), expected, "{mode} {host}");
    }
}

#[tokio::test]
async fn a_server_with_the_certificate_of_another_host_is_refused_where_names_count() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let identity = ours.issue("elsewhere.example");
    let cluster = own_postgres().tls(&identity.cert, &identity.key).start().await;
    let file = write(folder.path(), "ours.pem", &ours.pem);
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(backend_tls(&cluster, "verify-ca", Some(&file), host).await.as_deref(), Some("t"), "{host}");
        assert_eq!(backend_tls(&cluster, "verify-full", Some(&file), host).await, None, "{host}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_preferred_with_but_not_required() {
    let proxy = pgweir().set("server.tls.mode", "'prefer'").start().await;
    assert_eq!(proxy.wire().await.value("select 1").await, "1");
    let proxy = pgweir().set("server.tls.mode", "'require'").set("pool.timeout", "'2s'").start().await;
    let mut client = WireClient::open(proxy.address()).await;
    let mut frames = log_in(&mut client, "postgres").await;
    if frames.last().is_some_and(|frame| frame.tag() == b'Z') {
        frames = client.query("select 1").await;
    }
    assert_eq!(frames.iter().filter(|frame| frame.tag() == b'E').count(), 1, "{frames:?}");
}

#[tokio::test]
async fn our_certificate_logs_us_in() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let identity = authority.issue("localhost");
    let cluster = own_postgres().tls(&identity.cert, &identity.key).client_ca(&authority.pem).start().await;
    let ours = authority.issue("by_cert");
    let proxy = pgweir()
        .in_front_of(&cluster)
        .set("server.tls.mode", "'verify-full'")
        .set("server.tls.ca", &write(folder.path(), "ca.pem", &authority.pem))
        .set("server.tls.cert", &write(folder.path(), "us.pem", &ours.cert))
        .set("server.tls.key", &write(folder.path(), "us.key", &ours.key))
        .start()
        .await;
    let mut client = WireClient::login(proxy.address(), "by_cert", "postgres").await;
    assert_eq!(client.value("select current_user").await, "by_cert");
}
