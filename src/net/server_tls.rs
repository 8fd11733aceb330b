//! TLS towards PostgreSQL: we are the client of the handshake.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::pem::{self, TlsFault};
use super::refusal::{Whose, in_words};
use super::stream::Stream;
use super::verify::{BackendVerifier, Roots, Trust};
use crate::config::{ServerTls as Settings, ServerTlsMode};

/// How connections to PostgreSQL are encrypted, and which PostgreSQL is believed. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    connector: TlsConnector,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the files that `settings` names; `None` when TLS is off.
    ///
    /// Modes are libpq's: `prefer` and `require` encrypt and believe anyone, except that `require` with a `ca`
    /// verifies as `verify-ca` does (manual, 34.19.4); `verify-ca` checks the chain, `verify-full` the host's name
    /// too. Roots are the file `ca`, or the system's.
    ///
    /// # Errors
    /// [`TlsFault`] names the file and what is wrong with it.
    pub fn load(settings: &Settings) -> Result<Option<Self>, TlsFault> {
        let Some(trust) = trust(settings)? else { return Ok(None) };
        let provider = Arc::new(ring::default_provider());
        let verifier = BackendVerifier::new(trust, provider.signature_verification_algorithms);
        let config = client_config(settings, provider, verifier)?;
        Ok(Some(Self { connector: TlsConnector::from(Arc::new(config)) }))
    }

    /// Everything for which [`load`](Self::load) would fail.
    #[must_use]
    pub fn faults(settings: &Settings) -> Vec<TlsFault> {
        let believed = trust(settings);
        if matches!(believed, Ok(None)) {
            return Vec::new();
        }
        believed.err().into_iter().chain(own_identity(settings, &ring::default_provider()).err()).collect()
    }

    /// Performs the handshake on a connection whose backend has agreed to TLS. `host_name` is what was dialled, a
    /// name or an address: it is what `verify-full` compares.
    ///
    /// # Errors
    /// `InvalidInput` for a name that cannot be one, or a stream that has TLS already; `InvalidData` when the backend
    /// is not believed or breaks the protocol; otherwise the socket's error. It has no time limit of its own.
    pub async fn connect(&self, stream: Stream, host_name: &str) -> io::Result<Stream> {
        let Stream::Plain(socket) = stream else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the connection has TLS already"));
        };
        let name = ServerName::try_from(host_name.to_owned()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("\"{host_name}\" cannot be a host name in TLS"))
        })?;
        // On the heap, or the task that awaits this would be as large as a handshake for the rest of its life.
        let connected = Box::pin(self.connector.connect(name, socket)).await;
        match connected {
            Ok(tls) => Ok(Stream::ServerTls(Box::new(tls))),
            Err(error) => {
                let error = in_words(error, Whose::Server);
                Err(io::Error::new(error.kind(), format!("TLS with {host_name} failed: {error}")))
            }
        }
    }
}

/// Whom to believe; `None` when TLS is off.
fn trust(settings: &Settings) -> Result<Option<Trust>, TlsFault> {
    Ok(Some(match (settings.mode, &settings.ca) {
        (ServerTlsMode::Disable, _) => return Ok(None),
        (ServerTlsMode::Prefer, _) | (ServerTlsMode::Require, None) => Trust::Anyone,
        (ServerTlsMode::Require | ServerTlsMode::VerifyCa, Some(ca)) => Trust::Chain(roots_of(ca)?),
        (ServerTlsMode::VerifyCa, None) => Trust::Chain(system_roots()?),
        (ServerTlsMode::VerifyFull, Some(ca)) => Trust::ChainAndName(roots_of(ca)?),
        (ServerTlsMode::VerifyFull, None) => Trust::ChainAndName(system_roots()?),
    }))
}

fn own_identity(settings: &Settings, provider: &CryptoProvider) -> Result<Option<CertifiedKey>, TlsFault> {
    settings.identity.as_ref().map(|files| pem::identity(files, provider)).transpose()
}

fn client_config(
    settings: &Settings,
    provider: Arc<CryptoProvider>,
    verifier: Arc<BackendVerifier>,
) -> Result<ClientConfig, TlsFault> {
    let identity = own_identity(settings, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![super::ALPN.to_vec()];
    // PostgreSQL resumes no TLS session, so there is nothing to remember.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn roots_of(file: &Path) -> Result<Roots, TlsFault> {
    let named = pem::certificates(file)?;
    let mut store = RootCertStore::empty();
    // What the store can't take (version 1) still counts among the named.
    store.add_parsable_certificates(named.iter().cloned());
    Ok(Roots { store, named })
}

fn system_roots() -> Result<Roots, TlsFault> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let reason = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        return Err(TlsFault::NoSystemRoots { reason });
    }
    Ok(Roots { store, named: Vec::new() })
}
