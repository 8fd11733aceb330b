//! What is read out of an X.509 certificate: names, validity, key. Parsing only; who is believed stands in `verify`.

use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{
    OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA,
    OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512, Oid,
};
use x509_parser::prelude::FromDer;

pub(super) fn parse<'d>(der: &'d CertificateDer<'_>) -> Option<X509Certificate<'d>> {
    X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, certificate)| certificate)
}

pub(super) fn is_well_formed(der: &CertificateDer<'_>) -> bool {
    parse(der).is_some()
}

/// The first Common Name of the subject; `None` when there is none, or when it holds a zero byte, with which a
/// careless authority could be made to sign for another name.
pub(super) fn common_name(der: &CertificateDer<'_>) -> Option<String> {
    let certificate = parse(der)?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    (!name.is_empty() && !name.contains('\0')).then(|| name.to_owned())
}

/// The certificate's hash as `tls-server-end-point` has it: by the function that its signature uses, but SHA-256 in place
/// of MD5 and SHA-1 (RFC 5929, section 4.1); `None` where the signature names no function of its own.
pub(super) fn end_point(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let algorithm = parse(der)?.signature_algorithm.algorithm;
    let is = |known: &[Oid<'_>]| known.contains(&algorithm);
    if is(&[OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA, OID_PKCS1_SHA256WITHRSA, OID_SIG_ECDSA_WITH_SHA256]) {
        Some(Sha256::digest(der).to_vec())
    } else if is(&[OID_PKCS1_SHA384WITHRSA, OID_SIG_ECDSA_WITH_SHA384]) {
        Some(Sha384::digest(der).to_vec())
    } else if is(&[OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA512]) {
        Some(Sha512::digest(der).to_vec())
    } else {
        None
    }
}

pub(super) fn public_key_info(der: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    parse(der).map(|certificate| SubjectPublicKeyInfoDer::from(certificate.public_key().raw.to_vec()))
}

/// Whether the certificate names itself as its issuer.
pub(super) fn is_self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

/// Whether `now` is before, within or after the certificate's validity.
pub(super) fn age(certificate: &X509Certificate<'_>, now: UnixTime) -> Age {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if now < validity.not_before.timestamp() {
        Age::NotYetValid
    } else if now > validity.not_after.timestamp() {
        Age::Expired
    } else {
        Age::Valid
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    NotYetValid,
    Valid,
    Expired,
}

/// Whether the certificate was made for `host`, a name or a literal address, by libpq's rules (manual, 34.19.1):
/// subject alternative names first; the Common Name only where none of the host's own kind exists.
pub(super) fn is_for_host(certificate: &X509Certificate<'_>, host: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    let mut has_own_kind = false;
    if let Ok(Some(names)) = certificate.subject_alternative_name() {
        for name in &names.value.general_names {
            let matched = match name {
                GeneralName::DNSName(pattern) => {
                    has_own_kind |= address.is_none();
                    name_matches(pattern, host)
                }
                GeneralName::IPAddress(bytes) => {
                    has_own_kind |= address.is_some();
                    address.is_some_and(|address| address_matches(bytes, address))
                }
                _ => false,
            };
            if matched {
                return true;
            }
        }
    }
    let common_name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    !has_own_kind && common_name.is_some_and(|name| name_matches(name, host))
}

/// Equal but for case, or `*.` in place of exactly one label.
fn name_matches(pattern: &str, host: &str) -> bool {
    if pattern.is_empty() || pattern.contains('\0') {
        return false;
    }
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(suffix), Some((label, parent))) = (pattern.strip_prefix("*."), host.split_once('.')) else {
        return false;
    };
    !label.is_empty() && !suffix.is_empty() && suffix.eq_ignore_ascii_case(parent)
}

fn address_matches(bytes: &[u8], address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => bytes == address.octets(),
        IpAddr::V6(address) => bytes == address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_exactly_one_label() {
        assert!(name_matches("*.example.com", "db.example.com"));
        assert!(name_matches("*.EXAMPLE.com", "DB.example.COM"));
        assert!(!name_matches("*.example.com", "a.db.example.com"));
        assert!(!name_matches("*.example.com", "example.com"));
        assert!(!name_matches("*.example.com", ".example.com"));
        assert!(!name_matches("d*.example.com", "db.example.com"));
        assert!(!name_matches("*.", "db."));
        assert!(!name_matches("*", "db"));
    }

    #[test]
    fn a_name_matches_itself_but_for_case() {
        assert!(name_matches("db.example.com", "DB.Example.com"));
        assert!(!name_matches("db.example.com", "db.example.com.evil.net"));
        assert!(!name_matches("db\0.example.com", "db"));
        assert!(!name_matches("", ""));
    }

    #[test]
    fn an_address_matches_by_its_bytes_only() {
        assert!(address_matches(&[127, 0, 0, 1], IpAddr::from([127, 0, 0, 1])));
        assert!(!address_matches(&[127, 0, 0], IpAddr::from([127, 0, 0, 1])));
        assert!(!address_matches(&[0; 4], IpAddr::from([0_u8; 16])));
    }
}
