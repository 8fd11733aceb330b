//! Clients that dial us with TLS.

use std::fs;
use std::io::{self, IoSlice};
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::authority::{Authority, VERSION_1_CA, VERSION_1_CERTIFICATE, VERSION_1_KEY, dials, listens};
use super::{NO_KEEPALIVE, PATIENCE, on_one_runtime, pair};
use crate::config::{
    Host, ListenTls as Settings, ListenTlsMode, ServerTls as DialSettings, ServerTlsMode, TlsIdentity,
};
use crate::net::verify::{BackendVerifier, Trust};
use crate::net::{ListenTls, ServerTls, Stream, TlsFault, TlsOpening};

/// A client that believes anyone and asks for the application protocols of `alpn`.
fn client_asking_for(alpn: &[&str]) -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> =
        BackendVerifier::new(Trust::Anyone, provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn accept(settings: &Settings, alpn: &[&str], opening: TlsOpening) -> io::Result<Stream> {
    let listen = ListenTls::load(settings).unwrap().unwrap();
    let connector = TlsConnector::from(client_asking_for(alpn));
    on_one_runtime(async {
        let (accepted, dialled) = pair().await;
        let Stream::Plain(dialled) = dialled else { panic!("it is plain") };
        let name = ServerName::try_from("localhost").unwrap();
        let (accepted, _) = tokio::join!(listen.accept(accepted, &[], opening), connector.connect(name, dialled));
        accepted
    })
}

#[test]
fn direct_tls_needs_the_application_protocol_and_a_requested_one_does_not() {
    let authority = Authority::new();
    let settings = listens(authority.issue("localhost", &[]));
    assert!(accept(&settings, &["postgresql"], TlsOpening::Direct).is_ok());
    assert!(accept(&settings, &["postgresql"], TlsOpening::Requested).is_ok());
    assert!(accept(&settings, &[], TlsOpening::Requested).is_ok());
    let refused = accept(&settings, &[], TlsOpening::Direct).unwrap_err();
    assert!(refused.to_string().contains("ALPN"), "{refused}");
    assert!(accept(&settings, &["h2"], TlsOpening::Direct).is_err());
    assert!(accept(&settings, &["h2"], TlsOpening::Requested).is_err());
}

/// Connects with the certificate `identity`, and says who the client is or why it was refused.
fn shown(listen: &Settings, identity: Option<TlsIdentity>) -> io::Result<Option<String>> {
    let listen = ListenTls::load(listen).unwrap().unwrap();
    let settings = DialSettings { identity, ..dials(ServerTlsMode::Require, None) };
    let dial = ServerTls::load(&settings).unwrap().unwrap();
    on_one_runtime(async {
        let (accepted, dialled) = pair().await;
        let (accepted, _) =
            tokio::join!(listen.accept(accepted, &[], TlsOpening::Requested), dial.connect(dialled, "localhost"));
        accepted.map(|stream| stream.peer_certificate_name())
    })
}

#[test]
fn a_clients_certificate_gives_its_common_name() {
    let authority = Authority::new();
    let mut settings = listens(authority.issue("localhost", &[]));
    settings.client_ca = Some(authority.ca());
    assert_eq!(shown(&settings, Some(authority.issue("alice", &[]))).unwrap().as_deref(), Some("alice"));
    assert_eq!(shown(&settings, Some(authority.issue("jürgen", &[]))).unwrap().as_deref(), Some("jürgen"));
    assert_eq!(shown(&settings, Some(authority.issue("", &["alice"]))).unwrap(), None);
    assert_eq!(shown(&settings, None).unwrap(), None);
}

#[test]
fn a_clients_certificate_is_refused_when_missing_strange_or_expired() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let mut settings = listens(ours.issue("localhost", &[]));
    settings.client_ca = Some(ours.ca());
    assert!(shown(&settings, Some(theirs.issue("alice", &[]))).is_err());
    assert!(shown(&settings, Some(ours.issue_expired("alice"))).is_err());
    settings.require_client_cert = true;
    assert!(shown(&settings, None).is_err());
    assert!(shown(&settings, Some(ours.issue("alice", &[]))).is_ok());
}

#[test]
fn why_a_clients_certificate_was_refused_is_said_in_words() {
    let (ours, theirs, impostors) = (Authority::new(), Authority::called("theirs"), Authority::new());
    let mut settings = listens(ours.issue("localhost", &[]));
    settings.client_ca = Some(ours.ca());
    settings.require_client_cert = true;
    let why = |settings: &Settings, identity: Option<TlsIdentity>| shown(settings, identity).unwrap_err().to_string();
    assert_eq!(why(&settings, None), "the client has shown no certificate");
    assert_eq!(
        why(&settings, Some(impostors.issue("alice", &[]))),
        "the client's certificate is not signed by the authority of that name in listen.tls.client_ca; if it has a new key, \
         add its new certificate there"
    );
    assert_eq!(
        why(&settings, Some(theirs.issue("alice", &[]))),
        "the client's certificate is signed by nobody in listen.tls.client_ca; add its authority there"
    );
    assert_eq!(
        why(&settings, Some(ours.issue_authority("alice"))),
        "the client's certificate is an authority's own (CA:TRUE); issue one for the client, with CA:FALSE"
    );
    let ca = ours.folder().join("version_1_ca.pem");
    fs::write(&ca, VERSION_1_CA).unwrap();
    settings.client_ca = Some(ca);
    assert_eq!(
        why(&settings, Some(ours.write(VERSION_1_CERTIFICATE, VERSION_1_KEY))),
        "the client's certificate has no extensions, as X.509 before version 3; issue it with some \
         (openssl x509 -req -extfile …)"
    );
}

#[test]
fn a_clients_certificate_is_refused_once_it_is_revoked() {
    let authority = Authority::new();
    let mut settings = listens(authority.issue("localhost", &[]));
    settings.client_ca = Some(authority.ca());
    let (revoked, list) = authority.issue_and_revoke("alice", 2100);
    assert!(shown(&settings, Some(revoked.clone())).is_ok(), "nobody has asked");
    settings.client_crl = Some(list);
    let refused = shown(&settings, Some(revoked)).unwrap_err();
    assert_eq!(refused.to_string(), "the client's certificate has been revoked");
    assert!(shown(&settings, Some(authority.issue("alice", &[]))).is_ok());
    let (_, old) = authority.issue_and_revoke("bob", 2021);
    settings.client_crl = Some(old);
    assert!(shown(&settings, Some(authority.issue("alice", &[]))).is_err(), "a list that has expired says nothing");
    settings.client_crl = Some(authority.ca());
    let wrong = ListenTls::load(&settings).unwrap_err();
    assert!(wrong.to_string().contains("holds no revocation list"), "{wrong}");
}

#[test]
fn without_a_client_ca_no_certificate_is_asked_for() {
    let authority = Authority::new();
    let settings = listens(authority.issue("localhost", &[]));
    assert_eq!(shown(&settings, Some(authority.issue("alice", &[]))).unwrap(), None);
}

#[test]
fn bytes_read_before_the_handshake_count_as_its_beginning() {
    let authority = Authority::new();
    let listen = ListenTls::load(&listens(authority.issue("localhost", &[]))).unwrap().unwrap();
    for taken in [1, 5, 100, usize::MAX] {
        on_one_runtime(async {
            let (accepted, dialled) = pair().await;
            let Stream::Plain(mut dialled) = dialled else { panic!("it is plain") };
            let name = ServerName::try_from("localhost").unwrap();
            let mut client = ClientConnection::new(client_asking_for(&["postgresql"]), name.clone()).unwrap();
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            let (read, rest) = hello.split_at(taken.min(hello.len()));
            dialled.write_all(rest).await.unwrap();
            let connector = TlsConnector::from(client_asking_for(&[]));
            let (accepted, dialled) = tokio::join!(
                listen.accept(accepted, read, TlsOpening::Direct),
                connector.connect_with(name, dialled, |fresh| *fresh = client)
            );
            let (mut accepted, mut dialled) = (accepted.unwrap(), dialled.unwrap());
            dialled.write_all(b"hello").await.unwrap();
            dialled.flush().await.unwrap();
            let mut read = [0; 5];
            accepted.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"hello");
        });
    }
}

#[test]
fn garbage_instead_of_a_handshake_is_answered_by_an_alert() {
    let authority = Authority::new();
    let listen = ListenTls::load(&listens(authority.issue("localhost", &[]))).unwrap().unwrap();
    on_one_runtime(async {
        for early in [true, false] {
            let (accepted, mut dialled) = pair().await;
            // A handshake record that holds a message of a kind that does not exist.
            let garbage = [0x16, 0x03, 0x01, 0x00, 0x04, 0xff, 0x00, 0x00, 0x00];
            let (read, sent) = garbage.split_at(if early { garbage.len() } else { 0 });
            dialled.write_all(sent).await.unwrap();
            listen.accept(accepted, read, TlsOpening::Direct).await.unwrap_err();
            assert_eq!(dialled.read_u8().await.unwrap(), 0x15, "an alert record");
        }
    });
}

#[test]
fn no_byte_is_lost_between_many_slices_and_a_slow_reader() {
    let authority = Authority::new();
    let listen = ListenTls::load(&listens(authority.issue("localhost", &[]))).unwrap().unwrap();
    let dial = ServerTls::load(&dials(ServerTlsMode::Require, None)).unwrap().unwrap();
    let pieces: Vec<Vec<u8>> = (0..3000_usize).map(|n| vec![n.to_le_bytes()[0]; n]).collect();
    let expected = pieces.concat();
    on_one_runtime(async {
        let (accepted, dialled) = pair().await;
        let (mut accepted, mut dialled) =
            tokio::try_join!(listen.accept(accepted, &[], TlsOpening::Requested), dial.connect(dialled, "localhost"))
                .unwrap();
        let write = async {
            let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut left = slices.as_mut_slice();
            while !left.is_empty() {
                let written = accepted.write_vectored(left).await.unwrap();
                assert!(written > 0 || left.iter().all(|slice| slice.is_empty()));
                IoSlice::advance_slices(&mut left, written);
            }
            accepted.shutdown().await.unwrap();
        };
        let read = async {
            let mut all = Vec::new();
            let mut some = [0; 777];
            loop {
                match dialled.read(&mut some).await.unwrap() {
                    0 => break all,
                    read => all.extend_from_slice(&some[..read]),
                }
            }
        };
        let ((), all) = tokio::join!(write, read);
        assert!(all == expected);
    });
}

#[test]
fn what_is_decrypted_but_not_read_counts_as_readable() {
    let authority = Authority::new();
    let listen = ListenTls::load(&listens(authority.issue("localhost", &[]))).unwrap().unwrap();
    let dial = ServerTls::load(&dials(ServerTlsMode::Require, None)).unwrap().unwrap();
    on_one_runtime(async {
        let (accepted, dialled) = pair().await;
        let (mut accepted, mut dialled) =
            tokio::try_join!(listen.accept(accepted, &[], TlsOpening::Requested), dial.connect(dialled, "localhost"))
                .unwrap();
        dialled.write_all(b"xy").await.unwrap();
        dialled.flush().await.unwrap();
        assert_eq!(accepted.read_u8().await.unwrap(), b'x');
        assert!(accepted.known_readable());
        accepted.readable().await.unwrap();
        assert_eq!(accepted.read_u8().await.unwrap(), b'y');
        dialled.shutdown().await.unwrap();
        accepted.readable().await.unwrap();
        assert_eq!(accepted.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn a_fault_in_the_files_names_the_file_and_what_is_wrong() {
    let authority = Authority::new();
    let good = authority.issue("localhost", &[]);
    let load = |settings: &Settings| ListenTls::load(settings).unwrap_err();
    let with = |cert: &std::path::Path, key: &std::path::Path| {
        load(&listens(TlsIdentity { cert: cert.to_owned(), key: key.to_owned() }))
    };
    let file = |name: &str, text: &str| {
        let path = authority.folder().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let encrypted = file("e.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let broken = file("b.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let missing = authority.folder().join("missing");

    assert!(matches!(with(&missing, &good.key), TlsFault::Unreadable { file, .. } if file == missing));
    assert!(matches!(with(&good.key, &good.key), TlsFault::NoCertificate { file } if file == good.key));
    assert!(matches!(with(&good.cert, &good.cert), TlsFault::NoKey { file } if file == good.cert));
    assert!(matches!(with(&good.cert, &encrypted), TlsFault::EncryptedKey { .. }));
    assert!(matches!(with(&broken, &good.key), TlsFault::Broken { file, .. } if file == broken));
    let other = authority.issue("other", &[]);
    assert!(matches!(with(&good.cert, &other.key), TlsFault::Mismatch { .. }));

    let mut settings = listens(good);
    settings.require_client_cert = true;
    assert!(matches!(load(&settings), TlsFault::NoClientCa));
    settings.identity = None;
    assert!(matches!(load(&settings), TlsFault::NoIdentity));
    settings.mode = ListenTlsMode::Disable;
    assert!(ListenTls::load(&settings).unwrap().is_none());
}

#[test]
fn all_faults_are_found_without_loading_and_none_where_loading_would_do() {
    let authority = Authority::new();
    let mut settings = listens(authority.issue("localhost", &[]));
    assert!(ListenTls::faults(&settings).is_empty());
    let missing = authority.folder().join("missing");
    settings.client_ca = Some(missing.clone());
    settings.identity = Some(TlsIdentity { cert: missing.clone(), key: missing.clone() });
    assert_eq!(ListenTls::faults(&settings).iter().filter(|fault| fault.file() == Some(&missing)).count(), 2);
    settings.mode = ListenTlsMode::Disable;
    assert!(ListenTls::faults(&settings).is_empty(), "nobody would read them");

    let mut dial = dials(ServerTlsMode::VerifyCa, Some(missing.clone()));
    dial.identity = Some(TlsIdentity { cert: missing.clone(), key: missing });
    assert_eq!(ServerTls::faults(&dial).len(), 2);
    dial.mode = ServerTlsMode::Disable;
    assert!(ServerTls::faults(&dial).is_empty());
}

#[test]
fn a_connection_in_the_making_costs_the_task_that_awaits_it_little() {
    let authority = Authority::new();
    let listen = ListenTls::load(&listens(authority.issue("localhost", &[]))).unwrap().unwrap();
    let dial = ServerTls::load(&dials(ServerTlsMode::Require, None)).unwrap().unwrap();
    on_one_runtime(async {
        let (accepted, dialled) = pair().await;
        let (accept, connect) =
            (listen.accept(accepted, &[], TlsOpening::Requested), dial.connect(dialled, "localhost"));
        let host = Host::Tcp { name: "localhost".to_owned(), port: 1 };
        let sizes = [
            size_of_val(&accept),
            size_of_val(&connect),
            size_of_val(&crate::net::dial(&host, &NO_KEEPALIVE, PATIENCE)),
        ];
        assert!(sizes.iter().all(|size| *size <= 256), "{sizes:?}");
    });
}
