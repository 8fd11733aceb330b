//! Whom we believe when we dial PostgreSQL.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;

use super::authority::{Authority, VERSION_1_CA, VERSION_1_CERTIFICATE, VERSION_1_KEY, dials, listens};
use super::{on_one_runtime, pair};
use crate::config::{ListenTls as ListenSettings, ServerTls as Settings, ServerTlsMode, TlsIdentity};
use crate::net::{ListenTls, ServerTls, Stream, TlsFault, TlsOpening};

/// Dials a PostgreSQL that presents `identity` under the name `host`.
fn dial(identity: &TlsIdentity, settings: &Settings, host: &str) -> io::Result<Stream> {
    on_one_runtime(meet(&listens(identity.clone()), settings, host)).1
}

/// What becomes of a connection for who accepts it and for who dials it.
async fn meet(listen: &ListenSettings, settings: &Settings, host: &str) -> (io::Result<Stream>, io::Result<Stream>) {
    let listen = ListenTls::load(listen).unwrap().unwrap();
    let dial = ServerTls::load(settings).unwrap().unwrap();
    let (accepted, dialled) = pair().await;
    tokio::join!(listen.accept(accepted, &[], TlsOpening::Requested), dial.connect(dialled, host))
}

/// Which of the four modes believe it, in the order prefer, require, verify-ca, verify-full.
fn believed(identity: &TlsIdentity, ca: Option<&Path>, host: &str) -> [bool; 4] {
    [ServerTlsMode::Prefer, ServerTlsMode::Require, ServerTlsMode::VerifyCa, ServerTlsMode::VerifyFull].map(|mode| {
        // The system's roots know none of these, if it has any.
        let settings = dials(mode, ca.map(Path::to_owned));
        ServerTls::load(&settings).is_ok() && dial(identity, &settings, host).is_ok()
    })
}

#[test]
fn a_certificate_of_the_authority_for_the_host_is_believed_in_every_mode() {
    let authority = Authority::new();
    let identity = authority.issue("ignored", &["db.example.com", "*.pool.example.com", "127.0.0.1", "::1"]);
    for host in ["db.example.com", "DB.Example.Com", "one.pool.example.com", "127.0.0.1", "::1"] {
        assert_eq!(believed(&identity, Some(&authority.ca()), host), [true; 4], "{host}");
    }
}

#[test]
fn another_host_name_is_refused_by_verify_full_only() {
    let authority = Authority::new();
    let identity = authority.issue("ignored", &["db.example.com", "*.pool.example.com"]);
    for host in ["ignored", "example.com", "a.b.pool.example.com", "pool.example.com", "db.example.com.evil.net"] {
        assert_eq!(believed(&identity, Some(&authority.ca()), host), [true, true, true, false], "{host}");
    }
    let of_address = authority.issue("127.0.0.2", &["127.0.0.1"]);
    assert_eq!(believed(&of_address, Some(&authority.ca()), "127.0.0.2"), [true, true, true, false]);
}

#[test]
fn the_common_name_counts_where_no_alternative_name_of_the_hosts_kind_exists() {
    let authority = Authority::new();
    assert_eq!(believed(&authority.issue("db.example.com", &[]), Some(&authority.ca()), "db.example.com"), [true; 4]);
    let of_address = authority.issue("db.example.com", &["127.0.0.1"]);
    assert_eq!(believed(&of_address, Some(&authority.ca()), "db.example.com"), [true; 4]);
    assert_eq!(believed(&authority.issue("127.0.0.1", &["db"]), Some(&authority.ca()), "127.0.0.1"), [true; 4]);
}

#[test]
fn a_strange_authority_is_refused_wherever_one_is_checked() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let identity = theirs.issue("localhost", &["localhost"]);
    // With a file of roots, require checks the chain too, as libpq does.
    assert_eq!(believed(&identity, Some(&ours.ca()), "localhost"), [true, false, false, false]);
    assert_eq!(believed(&identity, None, "localhost"), [true, true, false, false]);
}

#[test]
fn an_expired_certificate_is_refused_wherever_the_chain_is_checked() {
    let authority = Authority::new();
    let identity = authority.issue_expired("localhost");
    assert_eq!(believed(&identity, Some(&authority.ca()), "localhost"), [true, false, false, false]);
}

#[test]
fn a_self_signed_certificate_is_believed_where_it_is_its_own_root() {
    let authority = Authority::new();
    let identity = authority.self_signed("localhost");
    assert_eq!(believed(&identity, Some(&identity.cert), "localhost"), [true; 4]);
    assert_eq!(believed(&identity, Some(&identity.cert), "db"), [true, true, true, false]);
    assert_eq!(believed(&identity, Some(&authority.ca()), "localhost"), [true, false, false, false]);
}

#[test]
fn a_certificate_of_version_1_is_believed_where_its_root_is_named() {
    let authority = Authority::new();
    let identity = authority.write(VERSION_1_CERTIFICATE, VERSION_1_KEY);
    let ca = authority.folder().join("version_1_ca.pem");
    fs::write(&ca, VERSION_1_CA).unwrap();
    assert_eq!(believed(&identity, Some(&ca), "localhost"), [true; 4]);
    assert_eq!(believed(&identity, Some(&ca), "db"), [true, true, true, false]);
    assert_eq!(believed(&identity, Some(&authority.ca()), "localhost"), [true, false, false, false]);
}

#[test]
fn we_present_our_own_certificate_where_one_is_asked_for() {
    let authority = Authority::new();
    let mut listen = listens(authority.issue("localhost", &[]));
    listen.client_ca = Some(authority.ca());
    listen.require_client_cert = true;
    let listen = ListenTls::load(&listen).unwrap().unwrap();
    let mut settings = dials(ServerTlsMode::VerifyFull, Some(authority.ca()));
    settings.identity = Some(authority.issue("pgweir", &[]));
    let dial = ServerTls::load(&settings).unwrap().unwrap();
    on_one_runtime(async {
        let (accepted, dialled) = pair().await;
        let (accepted, dialled) =
            tokio::try_join!(listen.accept(accepted, &[], TlsOpening::Requested), dial.connect(dialled, "localhost"))
                .unwrap();
        assert_eq!(accepted.peer_certificate_name().as_deref(), Some("pgweir"));
        assert_eq!(dialled.peer_certificate_name(), None);
        assert!(dialled.is_tls());
        assert_eq!(dialled.tls_description().unwrap().0, "TLSv1_3");
    });
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_would_be_right() {
    let (ours, theirs, impostors) = (Authority::new(), Authority::called("theirs"), Authority::new());
    let settings = dials(ServerTlsMode::VerifyFull, Some(ours.ca()));
    let why = |identity: &TlsIdentity, host: &str| dial(identity, &settings, host).unwrap_err().to_string();
    assert_eq!(
        why(&impostors.issue("localhost", &[]), "localhost"),
        "TLS with localhost failed: the server's certificate is not signed by the authority of that name in server.tls.ca; if it has a new key, \
         add its new certificate there"
    );
    assert_eq!(
        why(&theirs.issue("localhost", &[]), "localhost"),
        "TLS with localhost failed: the server's certificate is signed by nobody in server.tls.ca; add its authority there"
    );
    assert_eq!(
        why(&ours.issue("localhost", &[]), "db"),
        "TLS with db failed: the server's certificate is made for other names than the host that was dialled; dial one of \
         those, or issue one with this host as subjectAltName"
    );
    assert_eq!(
        why(&ours.issue_expired("localhost"), "localhost"),
        "TLS with localhost failed: the server's certificate has expired; it must be renewed"
    );
    assert_eq!(
        why(&ours.issue_authority("localhost"), "localhost"),
        "TLS with localhost failed: the server's certificate is an authority's own (CA:TRUE); issue one for the server, \
         with CA:FALSE"
    );
}

#[test]
fn a_peer_that_does_not_accept_our_certificate_is_said_to_be_so() {
    let (ours, theirs) = (Authority::new(), Authority::called("theirs"));
    let mut listen = listens(ours.issue("localhost", &["localhost"]));
    listen.client_ca = Some(theirs.ca());
    listen.require_client_cert = true;
    let strange = Settings { identity: Some(ours.issue("pgweir", &[])), ..dials(ServerTlsMode::Require, None) };
    let told = |settings: &Settings| {
        on_one_runtime(async {
            let (_, dialled) = meet(&listen, settings, "localhost").await;
            dialled.unwrap().read_u8().await.unwrap_err().to_string()
        })
    };
    assert_eq!(told(&strange), "the server does not accept the certificate in server.tls.cert (UnknownCA)");
    let without = dials(ServerTlsMode::Require, None);
    assert_eq!(told(&without), "the server asks for a certificate; name one in server.tls.cert");

    let distrustful = dials(ServerTlsMode::VerifyCa, Some(theirs.ca()));
    let (accepted, _) = on_one_runtime(meet(&listen, &distrustful, "localhost"));
    let told = accepted.unwrap_err().to_string();
    assert_eq!(told, "the client does not accept the certificate in listen.tls.cert (UnknownCA)");
}

#[test]
fn a_missing_or_empty_file_of_roots_is_named() {
    let authority = Authority::new();
    let load = |file: PathBuf| ServerTls::load(&dials(ServerTlsMode::VerifyCa, Some(file))).unwrap_err();
    assert!(matches!(load("/nowhere/root.crt".into()), TlsFault::Unreadable { .. }));
    let empty = authority.folder().join("empty.pem");
    fs::write(&empty, "nothing").unwrap();
    let fault = load(empty.clone());
    assert!(fault.to_string().contains(empty.to_str().unwrap()), "{fault}");
    assert!(ServerTls::load(&dials(ServerTlsMode::Disable, Some("/nowhere".into()))).unwrap().is_none());
}
