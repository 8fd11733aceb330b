//! A certificate authority in a temporary folder.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use tempfile::TempDir;

use crate::config::{ListenTls, ListenTlsMode, ServerTls, ServerTlsMode, TlsIdentity};

/// Made by `openssl ca` without extensions, as PostgreSQL's manual shows (19.9.5), which gives X.509 version 1.
pub(super) const VERSION_1_CA: &str = "-----BEGIN CERTIFICATE-----
MIIBVTCB+6ADAgECAgEBMAoGCCqGSM49BAMCMBkxFzAVBgNVBAMMDldlaXIgVGVz
dCBSb290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAZMRcwFQYD
VQQDDA5XZWlyIFRlc3QgUm9vdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABI6N
voVkatcL8tQyhcrMctXf4kyfSMFYw/WjahSBG8cBmzZzIbO4v11qTf6WwdZy7dnJ
/BnKcRRJBqbOIwzOs0OjMjAwMA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFITN
1GR9ZZb85EsYJIQpUkk7tkGsMAoGCCqGSM49BAMCA0kAMEYCIQDMOkVQPGq+2Mt8
5TWmBz/mhcDpFiwVwtQ1jH1HnRR5PQIhALgBw3XKt3/wWzgsqlGQBFP2YuDxO66X
IBarkL6xGFGI
-----END CERTIFICATE-----
";
pub(super) const VERSION_1_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBFjCBvQIBAjAKBggqhkjOPQQDAjAZMRcwFQYDVQQDDA5XZWlyIFRlc3QgUm9v
dDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFDESMBAGA1UEAwwJ
bG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKNf++6e8wEXXfa1D
o3vrSbz8ofRwhKan4BFBOTr3lh7XTidcW31OX1lJXlBXYq0X1c9wEpx1gPcwSf1w
+nvgnTAKBggqhkjOPQQDAgNIADBFAiEA7MxPW5Ef7xKm+z2Jjoo4TjQgN3vdeblm
pLfaSbPdrbICIDMCrUrvqqWs5K8EA6SkOUOdGTDE7D88OtoWKdhiQTe4
-----END CERTIFICATE-----
";
pub(super) const VERSION_1_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgaN5/ndso60uZ4pfL
2lyNcMEegVBJfOZJEFTZzgiGbd2hRANCAAQo1/77p7zARdd9rUOje+tJvPyh9HCE
pqfgEUE5OveWHtdOJ1xbfU5fWUleUFdirRfVz3ASnHWA9zBJ/XD6e+Cd
-----END PRIVATE KEY-----
";

pub(super) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        Self::called("Weir Test Authority")
    }

    pub(super) fn called(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
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

    /// A certificate that may sign others, where one of a host or a client belongs.
    pub(super) fn issue_authority(&self, common_name: &str) -> TlsIdentity {
        let mut params = named(common_name, &[common_name]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.sign(&params)
    }

    /// One whose number stands in the list that is given with it, which is good until that year.
    pub(super) fn issue_and_revoke(&self, common_name: &str, year: i32) -> (TlsIdentity, PathBuf) {
        let mut params = named(common_name, &[]);
        let number = SerialNumber::from(vec![7]);
        params.serial_number = Some(number.clone());
        let revoked = RevokedCertParams {
            serial_number: number,
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(vec![1]),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let file = self.folder().join(format!("{year}.crl"));
        fs::write(&file, list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        (self.sign(&params), file)
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
    ListenTls {
        mode: ListenTlsMode::Allow,
        identity: Some(identity),
        client_ca: None,
        client_crl: None,
        require_client_cert: false,
    }
}

pub(super) fn dials(mode: ServerTlsMode, ca: Option<PathBuf>) -> ServerTls {
    ServerTls { mode, ca, identity: None }
}
