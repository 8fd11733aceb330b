//! TLS towards clients: we are the server of the handshake.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use super::certificate;
use super::pem::{self, TlsFault};
use super::refusal::{Whose, in_words};
use super::stream::Stream;
use crate::config::{ListenTls as Settings, ListenTlsMode};

/// Plaintext of one record, in bytes. PostgreSQL sends no more either, and asynchronous users of libpq wait for
/// the socket while a longer record's rest lies decrypted behind libpq's 8 KB reads.
const RECORD: usize = 8 * 1024;

/// How a client began TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsOpening {
    /// With the handshake itself, as of PostgreSQL 17: the connection's first byte was 0x16. ALPN must then name
    /// PostgreSQL's protocol, which keeps other protocols' clients from being tricked into talking to us (manual,
    /// 55.2.11).
    Direct,
    /// With an SSLRequest that was answered `S`.
    Requested,
}

/// How connections of clients are encrypted, and whose certificates count. Cheap to clone.
#[derive(Clone)]
pub struct ListenTls {
    acceptor: TlsAcceptor,
    end_point: Option<Arc<[u8]>>,
}

impl std::fmt::Debug for ListenTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListenTls").finish_non_exhaustive()
    }
}

impl ListenTls {
    /// Reads the files that `settings` names; `None` when TLS is off.
    ///
    /// # Errors
    /// [`TlsFault`] names the file and what is wrong with it.
    pub fn load(settings: &Settings) -> Result<Option<Self>, TlsFault> {
        if settings.mode == ListenTlsMode::Disable {
            return Ok(None);
        }
        let provider = Arc::new(ring::default_provider());
        let identity = own_identity(settings, &provider)?;
        let end_point = identity.cert.first().and_then(certificate::end_point);
        let clients = client_verifier(settings, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        config.alpn_protocols = vec![super::ALPN.to_vec()];
        config.max_fragment_size = Some(RECORD);
        // PostgreSQL resumes no TLS session, and a ticket would outlive a revoked certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(config)), end_point: end_point.map(Arc::from) }))
    }

    /// Everything for which [`load`](Self::load) would fail.
    #[must_use]
    pub fn faults(settings: &Settings) -> Vec<TlsFault> {
        if settings.mode == ListenTlsMode::Disable {
            return Vec::new();
        }
        let provider = Arc::new(ring::default_provider());
        let (own, clients) = (own_identity(settings, &provider).err(), client_verifier(settings, &provider).err());
        own.into_iter().chain(clients).collect()
    }

    /// The hash of our certificate by which a client tells this end of the connection from any other, for SCRAM's
    /// channel binding (RFC 5929, section 4); `None` where the certificate's signature has no hash that could be used.
    #[must_use]
    pub fn end_point(&self) -> Option<Arc<[u8]>> {
        self.end_point.clone()
    }

    /// Performs the handshake. `already_read` is what was taken from the stream beyond what the caller used; for
    /// [`TlsOpening::Requested`] the caller has refused any such bytes.
    ///
    /// # Errors
    /// `InvalidInput` when the stream has TLS already; `InvalidData` when the client breaks the protocol, shows a
    /// certificate that does not count, or opened directly without ALPN; otherwise the socket's error. It has no time
    /// limit of its own.
    pub async fn accept(&self, stream: Stream, already_read: &[u8], opening: TlsOpening) -> io::Result<Stream> {
        // On the heap, or every client's task would be as large as a handshake for the rest of its life.
        Box::pin(self.shake_hands(stream, already_read, opening)).await
    }

    async fn shake_hands(&self, stream: Stream, already_read: &[u8], opening: TlsOpening) -> io::Result<Stream> {
        let Stream::Plain(mut socket) = stream else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the connection has TLS already"));
        };
        let mut connection = ServerConnection::new(self.acceptor.config().clone()).map_err(io::Error::other)?;
        if let Err(error) = feed(&mut connection, already_read) {
            let mut alert = Vec::new();
            while connection.wants_write() && connection.write_tls(&mut alert)? > 0 {}
            // The client learns why if it still listens; the error is told to the caller either way.
            let _ = socket.write_all(&alert).await;
            return Err(in_words(error, Whose::Client));
        }
        let accepted = self.acceptor.accept_with(socket, |fresh| *fresh = connection).await;
        let tls = accepted.map_err(|error| in_words(error, Whose::Client))?;
        if opening == TlsOpening::Direct && tls.get_ref().1.alpn_protocol() != Some(super::ALPN) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "direct TLS without the application protocol \"postgresql\" (ALPN)",
            ));
        }
        Ok(Stream::ClientTls(Box::new(tls)))
    }
}

fn own_identity(settings: &Settings, provider: &CryptoProvider) -> Result<CertifiedKey, TlsFault> {
    pem::identity(settings.identity.as_ref().ok_or(TlsFault::NoIdentity)?, provider)
}

fn client_verifier(
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsFault> {
    let Some(file) = &settings.client_ca else {
        if settings.require_client_cert {
            return Err(TlsFault::NoClientCa);
        }
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let mut builder = WebPkiClientVerifier::builder_with_provider(authorities(file)?, Arc::clone(provider));
    if let Some(lists) = &settings.client_crl {
        // As PostgreSQL with ssl_crl_file: each authority must have a list, and one that is too old says nothing.
        builder = builder.with_crls(pem::revocation_lists(lists)?).enforce_revocation_expiration();
    }
    if !settings.require_client_cert {
        builder = builder.allow_unauthenticated();
    }
    let blamed = settings.client_crl.as_ref().unwrap_or(file);
    builder.build().map_err(|error| pem::broken(blamed, &error.to_string()))
}

fn authorities(file: &Path) -> Result<Arc<RootCertStore>, TlsFault> {
    let mut store = RootCertStore::empty();
    for der in pem::certificates(file)? {
        store.add(der).map_err(|error| pem::broken(file, &error.to_string()))?;
    }
    Ok(Arc::new(store))
}

/// Hands bytes that were read too early to the handshake.
fn feed(connection: &mut ServerConnection, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        if connection.read_tls(&mut bytes)? == 0 {
            break;
        }
        connection.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
    Ok(())
}
