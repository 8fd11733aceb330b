//! Whether the PostgreSQL that we dialled is believed, by libpq's `sslmode` (manual, 34.19.4).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::asn1_rs::ToDer;
use x509_parser::x509::X509Version;

use super::certificate::{self, Age};

/// Who is believed.
#[derive(Debug)]
pub(super) enum Trust {
    /// Whoever answers: only a listener who cannot also meddle is kept out.
    Anyone,
    /// Who has a certificate from one of the roots.
    Chain(Roots),
    /// And whose certificate names the host that was dialled.
    ChainAndName(Roots),
}

/// Certificates that are believed without further proof.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) store: RootCertStore,
    /// The same ones whole, when they were named by the configuration: one may be the server's own self-signed
    /// certificate, or have signed one of X.509 version 1. Both are what PostgreSQL's manual teaches to make, and
    /// the verifier behind `store` knows neither.
    pub(super) named: Vec<CertificateDer<'static>>,
}

/// Judges the backend's certificate in the handshake.
#[derive(Debug)]
pub(super) struct BackendVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl BackendVerifier {
    pub(super) fn new(trust: Trust, algorithms: WebPkiSupportedAlgorithms) -> Arc<Self> {
        Arc::new(Self { trust, algorithms })
    }

    fn check_chain(
        &self,
        roots: &Roots,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificate = certificate::parse(end_entity).ok_or(CertificateError::BadEncoding)?;
        if roots.named.contains(end_entity) && certificate::is_self_issued(&certificate) {
            return check_age(&certificate, now);
        }
        if certificate.version() == X509Version::V1 {
            return self.check_version_1(roots, &certificate, now);
        }
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &roots.store,
            intermediates,
            now,
            self.algorithms.all,
        )
    }

    /// A certificate of version 1 cannot say what it is for, so it is believed only when a named root itself signed
    /// it.
    fn check_version_1(&self, roots: &Roots, certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
        check_age(certificate, now)?;
        let signed = roots.named.iter().filter_map(certificate::parse).any(|root| {
            root.subject().as_raw() == certificate.issuer().as_raw()
                && may_sign(&root)
                && check_age(&root, now).is_ok()
                && self.has_signed(&root, certificate)
        });
        if signed { Ok(()) } else { Err(CertificateError::UnknownIssuer.into()) }
    }

    fn has_signed(&self, issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
        // The algorithm's identifier begins with its OID, as the certificate states it twice.
        let Ok(oid) = certificate.signature_algorithm.algorithm.to_der_vec() else { return false };
        if certificate.signature_algorithm != certificate.tbs_certificate.signature {
            return false;
        }
        let key = &issuer.public_key().subject_public_key.data;
        let signature = &certificate.signature_value.data;
        self.algorithms
            .all
            .iter()
            .filter(|algorithm| algorithm.signature_alg_id().starts_with(&oid))
            .any(|algorithm| algorithm.verify_signature(key, certificate.tbs_certificate.as_ref(), signature).is_ok())
    }
}

impl ServerCertVerifier for BackendVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Anyone => {}
            Trust::Chain(roots) => self.check_chain(roots, end_entity, intermediates, now)?,
            Trust::ChainAndName(roots) => {
                self.check_chain(roots, end_entity, intermediates, now)?;
                check_name(end_entity, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.trust {
            // Whoever meddles could as well have put his own certificate here.
            Trust::Anyone => Ok(HandshakeSignatureValid::assertion()),
            Trust::Chain(_) | Trust::ChainAndName(_) => verify_tls12_signature(message, cert, dss, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.trust {
            Trust::Anyone => Ok(HandshakeSignatureValid::assertion()),
            Trust::Chain(_) | Trust::ChainAndName(_) => {
                let key = certificate::public_key_info(cert).ok_or(CertificateError::BadEncoding)?;
                verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn check_age(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    match certificate::age(certificate, now) {
        Age::Valid => Ok(()),
        Age::NotYetValid => Err(CertificateError::NotValidYet.into()),
        Age::Expired => Err(CertificateError::Expired.into()),
    }
}

/// Whether a root is an authority. One of version 1 can't say, and is in the file because somebody trusts it.
fn may_sign(root: &X509Certificate<'_>) -> bool {
    root.version() == X509Version::V1 || root.is_ca()
}

fn check_name(end_entity: &CertificateDer<'_>, server_name: &ServerName<'_>) -> Result<(), Error> {
    let certificate = certificate::parse(end_entity).ok_or(CertificateError::BadEncoding)?;
    if certificate::is_for_host(&certificate, &server_name.to_str()) {
        Ok(())
    } else {
        Err(CertificateError::NotValidForName.into())
    }
}
