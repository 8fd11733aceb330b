use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{NO_KEEPALIVE, PATIENCE, on_one_runtime, pair};
use crate::config::{Host, Keepalive};
use crate::net::{Peer, Stream, dial, listen_tcp, listen_unix};

#[test]
fn a_plain_stream_is_small() {
    assert!(size_of::<Stream>() <= 40, "{}", size_of::<Stream>());
}

#[test]
fn a_peer_on_loopback_is_known_as_such() {
    on_one_runtime(async {
        let (accepted, dialled) = pair().await;
        assert!(accepted.is_loopback() && dialled.is_loopback() && !accepted.is_tls());
        assert!(matches!(accepted.peer(), Peer::Tcp(address) if address.ip().is_loopback()));
        assert_eq!(accepted.peer_certificate_name(), None);
        let (one, _other) = tokio::net::UnixStream::pair().unwrap();
        let unix = Stream::accepted_unix(one);
        assert!(unix.is_loopback());
        assert_eq!(unix.peer().to_string(), "unix socket");
    });
}

#[test]
fn an_ipv4_client_of_an_ipv6_socket_is_shown_as_ipv4() {
    on_one_runtime(async {
        let Ok(listener) = listen_tcp("[::]:0".parse().unwrap(), 8) else { return };
        let port = listener.local_addr().unwrap().port();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (_dialled, accepted) =
            tokio::try_join!(tokio::net::TcpStream::connect(("127.0.0.1", port)), listener.accept()).unwrap();
        let accepted = Stream::accepted_tcp(accepted.0, &NO_KEEPALIVE).unwrap();
        assert!(accepted.peer().to_string().starts_with("127.0.0.1:"));
        assert!(accepted.is_loopback());
    });
}

#[test]
fn both_ends_have_no_delay_and_the_configured_keepalive() {
    on_one_runtime(async {
        let listener = listen_tcp("127.0.0.1:0".parse().unwrap(), 8).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let seconds = Duration::from_secs;
        let keepalive = Keepalive { idle: Some(seconds(61)), interval: Some(seconds(7)), retries: Some(3) };
        let host = Host::Tcp { name: "127.0.0.1".to_owned(), port };
        let (dialled, accepted) = tokio::try_join!(dial(&host, &keepalive, PATIENCE), listener.accept()).unwrap();
        let accepted = Stream::from_tcp(accepted.0.into_std().unwrap(), &keepalive).unwrap();
        for stream in [accepted, dialled] {
            let Stream::Plain(crate::net::Socket::Tcp(socket)) = &stream else { panic!("{stream:?}") };
            let socket = SockRef::from(socket);
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), seconds(61));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), seconds(7));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        }
    });
}

#[test]
fn a_port_in_use_is_an_error_that_names_the_address() {
    let first = listen_tcp("127.0.0.1:0".parse().unwrap(), 8).unwrap();
    let address = first.local_addr().unwrap();
    let error = listen_tcp(address, 8).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn a_unix_socket_has_its_mode_and_goes_with_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".s.PGSQL.6432");
    let door = listen_unix(folder.path(), 6432, 0o770, 8).unwrap();
    assert_eq!(door.path(), path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o770);
    on_one_runtime(async {
        let listener = tokio::net::UnixListener::from_std(door.listener().unwrap()).unwrap();
        let host = Host::Unix { path: path.clone() };
        let (mut dialled, accepted) =
            tokio::try_join!(dial(&host, &NO_KEEPALIVE, PATIENCE), listener.accept()).unwrap();
        let mut accepted = Stream::from_unix(accepted.0.into_std().unwrap()).unwrap();
        dialled.write_all(b"ping").await.unwrap();
        dialled.shutdown().await.unwrap();
        let mut read = Vec::new();
        accepted.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"ping");
    });
    drop(door);
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_that_nobody_owns_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".s.PGSQL.6432");
    drop(UnixListener::bind(&path).unwrap());
    let stale = fs::metadata(&path).unwrap().ctime_nsec();
    let door = listen_unix(folder.path(), 6432, 0o777, 8).unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ctime_nsec(), stale);
    drop(door);
}

#[test]
fn a_unix_socket_that_lives_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let door = listen_unix(folder.path(), 6432, 0o777, 8).unwrap();
    let error = listen_unix(folder.path(), 6432, 0o777, 8).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains("another process is listening"), "{error}");
    assert!(door.path().exists());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".s.PGSQL.6432");
    fs::write(&path, "precious").unwrap();
    assert_eq!(listen_unix(folder.path(), 6432, 0o777, 8).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_file_that_another_process_put_there_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let door = listen_unix(folder.path(), 6432, 0o777, 8).unwrap();
    let path = door.path().to_owned();
    fs::rename(&path, folder.path().join("moved")).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    drop(door);
    assert!(path.exists());
}

#[test]
fn a_refused_connection_names_host_and_address() {
    on_one_runtime(async {
        let port = listen_tcp("127.0.0.1:0".parse().unwrap(), 8).unwrap().local_addr().unwrap().port();
        let host = Host::Tcp { name: "localhost".to_owned(), port };
        let error = dial(&host, &NO_KEEPALIVE, PATIENCE).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let text = error.to_string();
        assert!(text.contains(&format!("localhost:{port}")) && text.contains("127.0.0.1"), "{text}");

        let missing = Host::Unix { path: "/nowhere/.s.PGSQL.5432".into() };
        let error = dial(&missing, &NO_KEEPALIVE, PATIENCE).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("/nowhere/.s.PGSQL.5432"), "{error}");
    });
}

#[test]
fn every_address_of_a_name_is_tried() {
    on_one_runtime(async {
        let listener = listen_tcp("127.0.0.1:0".parse().unwrap(), 8).unwrap();
        let port = listener.local_addr().unwrap().port();
        let host = Host::Tcp { name: "localhost".to_owned(), port };
        assert!(dial(&host, &NO_KEEPALIVE, PATIENCE).await.unwrap().is_loopback());
    });
}

#[test]
fn a_unix_socket_with_a_full_queue_is_waited_for_until_the_time_is_up() {
    on_one_runtime(async {
        let folder = tempfile::tempdir().unwrap();
        let door = listen_unix(folder.path(), 6432, 0o777, 0).unwrap();
        let host = Host::Unix { path: door.path().to_owned() };
        let short = Duration::from_millis(30);
        let mut held = Vec::new();
        let error = loop {
            match dial(&host, &NO_KEEPALIVE, short).await {
                Ok(stream) => held.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let listener = tokio::net::UnixListener::from_std(door.listener().unwrap()).unwrap();
        let (dialled, _) = tokio::join!(dial(&host, &NO_KEEPALIVE, PATIENCE), listener.accept());
        dialled.unwrap();
    });
}

#[test]
fn the_end_of_an_idle_connection_is_known_without_reading() {
    on_one_runtime(async {
        let (accepted, mut dialled) = pair().await;
        assert!(!dialled.known_readable());
        drop(accepted);
        dialled.readable().await.unwrap();
        assert!(dialled.known_readable());
        assert_eq!(dialled.read(&mut [0; 8]).await.unwrap(), 0);
    });
}
