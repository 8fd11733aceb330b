//! Certificates and TLS connections for tests.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::frame::{self, Frame};
use super::wire::WireClient;
use super::within;

/// A certificate authority of a test.
#[derive(Debug)]
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A PEM chain and its key.
#[derive(Debug, Clone)]
pub struct Identity {
    pub cert: String,
    pub key: String,
}

impl Authority {
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `common_name`; as a subject alternative name too, and for 127.0.0.1 when it is "localhost".
    #[must_use]
    pub fn issue(&self, common_name: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        if let Ok(name) = common_name.try_into() {
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        if common_name == "localhost" {
            params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        }
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// How a test's client does TLS.
#[derive(Debug, Default)]
pub struct TlsClient {
    identity: Option<Identity>,
    alpn: bool,
}

impl TlsClient {
    /// Presents a certificate.
    #[must_use]
    pub fn identity(mut self, identity: &Identity) -> Self {
        self.identity = Some(identity.clone());
        self
    }

    /// Offers the protocol name `postgresql`, as direct TLS demands.
    #[must_use]
    pub fn alpn(mut self) -> Self {
        self.alpn = true;
        self
    }

    fn config(&self, authority: &Authority) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("PEM")).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            Some(identity) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(identity.cert.as_bytes()).expect("PEM")],
                    PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM"),
                )
                .expect("a client certificate"),
            None => builder.with_no_client_auth(),
        };
        if self.alpn {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Arc::new(config)
    }

    /// SSLRequest, `S`, handshake. The error is the handshake's.
    pub async fn negotiate(&self, address: SocketAddr, authority: &Authority) -> Result<WireClient, std::io::Error> {
        let mut client = WireClient::open(address).await;
        client.send(&frame::ssl_request()).await;
        assert_eq!(client.answer().await, Frame::Answer(b'S'));
        self.handshake(client, authority).await
    }

    /// Handshake at once, without SSLRequest.
    pub async fn direct(&self, address: SocketAddr, authority: &Authority) -> Result<WireClient, std::io::Error> {
        self.handshake(WireClient::open(address).await, authority).await
    }

    async fn handshake(&self, client: WireClient, authority: &Authority) -> Result<WireClient, std::io::Error> {
        let connector = TlsConnector::from(self.config(authority));
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = within("TLS handshake", connector.connect(name, client.into_stream())).await?;
        Ok(WireClient::over(Box::new(stream)))
    }
}
