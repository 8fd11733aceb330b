//! Certificates and keys as they lie on disk, and what can be wrong with them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;

use super::certificate;
use crate::config::TlsIdentity;

/// Why TLS cannot be set up. Each names the file and what is wrong with it.
#[derive(Debug, Error)]
pub enum TlsFault {
    #[error("cannot read \"{file}\": {reason}")]
    Unreadable { file: PathBuf, reason: io::Error },
    #[error("\"{file}\" holds no certificate (expected PEM: -----BEGIN CERTIFICATE-----)")]
    NoCertificate { file: PathBuf },
    #[error("\"{file}\" holds no revocation list (expected PEM: -----BEGIN X509 CRL-----)")]
    NoRevocationList { file: PathBuf },
    #[error("\"{file}\" holds no private key (expected PEM: -----BEGIN PRIVATE KEY-----)")]
    NoKey { file: PathBuf },
    #[error("the private key in \"{file}\" is encrypted; store it without a passphrase, readable by this user only")]
    EncryptedKey { file: PathBuf },
    #[error("\"{file}\" is broken: {reason}")]
    Broken { file: PathBuf, reason: String },
    #[error("the private key in \"{key}\" does not belong to the certificate in \"{cert}\"")]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("TLS is on for clients, but no certificate and key are configured")]
    NoIdentity,
    #[error("client certificates are required, but no client CA says who may have signed them")]
    NoClientCa,
    #[error("the system has no root certificates{reason}; name a file of them")]
    NoSystemRoots { reason: String },
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

impl From<rustls::Error> for TlsFault {
    fn from(error: rustls::Error) -> Self {
        Self::Setup(error)
    }
}

impl TlsFault {
    /// The file to look at; of a certificate and a key that do not belong together, the key's.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { file, .. }
            | Self::NoCertificate { file }
            | Self::NoRevocationList { file }
            | Self::NoKey { file }
            | Self::EncryptedKey { file }
            | Self::Broken { file, .. }
            | Self::Mismatch { key: file, .. } => Some(file),
            Self::NoIdentity | Self::NoClientCa | Self::NoSystemRoots { .. } | Self::Setup(_) => None,
        }
    }
}

/// Every certificate in a PEM file; never empty.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let text = read(file)?;
    let found = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken(file, &error.to_string()))?;
    if found.is_empty() {
        return Err(TlsFault::NoCertificate { file: file.to_owned() });
    }
    if let Some(position) = found.iter().position(|der| !certificate::is_well_formed(der)) {
        return Err(broken(file, &format!("certificate {} of the file is not X.509", position + 1)));
    }
    Ok(found)
}

/// Every revocation list in a PEM file; never empty.
pub(super) fn revocation_lists(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFault> {
    let text = read(file)?;
    let found = CertificateRevocationListDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken(file, &error.to_string()))?;
    if found.is_empty() { Err(TlsFault::NoRevocationList { file: file.to_owned() }) } else { Ok(found) }
}

/// The chain and key that we present.
pub(super) fn identity(files: &TlsIdentity, provider: &CryptoProvider) -> Result<CertifiedKey, TlsFault> {
    let chain = certificates(&files.cert)?;
    let key = provider
        .key_provider
        .load_private_key(private_key(&files.key)?)
        .map_err(|error| broken(&files.key, &error.to_string()))?;
    let of_certificate = chain.first().and_then(certificate::public_key_info);
    if key.public_key().is_some_and(|of_key| of_certificate.as_ref() != Some(&of_key)) {
        return Err(TlsFault::Mismatch { cert: files.cert.clone(), key: files.key.clone() });
    }
    Ok(CertifiedKey::new(chain, key))
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    let text = read(file)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if memchr::memmem::find(&text, b"ENCRYPTED PRIVATE KEY").is_some() => {
            Err(TlsFault::EncryptedKey { file: file.to_owned() })
        }
        Err(pem::Error::NoItemsFound) => Err(TlsFault::NoKey { file: file.to_owned() }),
        Err(error) => Err(broken(file, &error.to_string())),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsFault> {
    fs::read(file).map_err(|reason| TlsFault::Unreadable { file: file.to_owned(), reason })
}

pub(super) fn broken(file: &Path, reason: &str) -> TlsFault {
    TlsFault::Broken { file: file.to_owned(), reason: reason.to_owned() }
}
