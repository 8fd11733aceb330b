//! A certificate authority in a temporary folder.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::config::{ListenTls, ListenTlsMode, ServerTls, ServerTlsMode, TlsIdentity};

pub(super) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = named("Weir Test Authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The authority's own certificate.
    pub(super) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(super) fn issue(&self, common_name: &str, alternative_names: &[&str]) -> TlsIdentity {
        self.sign(&named(common_name, alternative_names))
    }

    pub(super) fn issue_expired(&self, common_name: &str) -> TlsIdentity {
        let mut params = named(common_name, &[common_name]);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> TlsIdentity {
        let key = KeyPair::generate().unwrap();
        self.write(&params.signed_by(&key, &self.issuer).unwrap().pem(), &key.serialize_pem())
    }

    /// A certificate that signed itself and calls itself an authority, as `openssl req -x509` makes them.
    pub(super) fn self_signed(&self, common_name: &str) -> TlsIdentity {
        let mut params = named(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        self.write(&params.self_signed(&key).unwrap().pem(), &key.serialize_pem())
    }

    pub(super) fn write(&self, certificate: &str, key: &str) -> TlsIdentity {
        let number = fs::read_dir(self.folder()).unwrap().count();
        let files = TlsIdentity {
            cert: self.folder().join(format!("{number}.crt")),
            key: self.folder().join(format!("{number}.key")),
        };
        fs::write(&files.cert, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        files
    }
}

fn named(common_name: &str, alternative_names: &[&str]) -> CertificateParams {
    let names: Vec<String> = alternative_names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    if !common_name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
    params
}

/// Settings of a listener that presents `identity`.
pub(super) fn listens(identity: TlsIdentity) -> ListenTls {
    ListenTls { mode: ListenTlsMode::Allow, identity: Some(identity), client_ca: None, require_client_cert: false }
}

pub(super) fn dials(mode: ServerTlsMode, ca: Option<PathBuf>) -> ServerTls {
    ServerTls { mode, ca, identity: None }
}
