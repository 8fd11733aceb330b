//! Why TLS with a peer failed, in words that say what would be right. The library has its variants' names for it.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// The peer whose certificate was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Client,
    Server,
}

/// An error of a connection with TLS, with words in place of what the library says where it says too little.
pub(super) fn in_words(error: io::Error, whose: Whose) -> io::Error {
    let words = error.get_ref().and_then(|inner| inner.downcast_ref()).and_then(|fault| words(fault, whose));
    match words {
        Some(words) => io::Error::new(error.kind(), words),
        None => error,
    }
}

fn words(fault: &Error, whose: Whose) -> Option<String> {
    use AlertDescription as Alert;
    match fault {
        Error::InvalidCertificate(fault) => of_certificate(fault, whose),
        Error::NoCertificatesPresented => Some(format!("the {} has shown no certificate", whose.noun())),
        Error::AlertReceived(Alert::CertificateRequired) => {
            Some(format!("the {} asks for a certificate; name one in {}", whose.noun(), whose.ours()))
        }
        Error::AlertReceived(
            alert @ (Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate),
        ) => Some(format!("the {} does not accept the certificate in {} ({alert:?})", whose.noun(), whose.ours())),
        _ => None,
    }
}

fn of_certificate(fault: &CertificateError, whose: Whose) -> Option<String> {
    use CertificateError as Fault;
    let (noun, ca, purpose) = (whose.noun(), whose.ca(), whose.purpose());
    let what = match fault {
        Fault::BadEncoding => "is no X.509 certificate that can be read".to_owned(),
        Fault::Expired | Fault::ExpiredContext { .. } => "has expired; it must be renewed".to_owned(),
        Fault::NotValidYet | Fault::NotValidYetContext { .. } => {
            "is not valid yet; if it should be, a clock is wrong".to_owned()
        }
        Fault::Revoked => "has been revoked".to_owned(),
        Fault::UnknownIssuer => format!("is signed by nobody in {ca}; add its authority there"),
        Fault::UnknownRevocationStatus => {
            "is of an authority without a list in listen.tls.client_crl; add that authority's list".to_owned()
        }
        Fault::ExpiredRevocationList | Fault::ExpiredRevocationListContext { .. } => {
            "cannot be judged: a list in listen.tls.client_crl has expired; fetch a newer one".to_owned()
        }
        Fault::BadSignature => format!(
            "is not signed by the authority of that name in {ca}; if it has a new key, add its new certificate there"
        ),
        Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
            "is made for other names than the host that was dialled; dial one of those, or issue one with this host as \
             subjectAltName"
                .to_owned()
        }
        Fault::InvalidPurpose | Fault::InvalidPurposeContext { .. } => {
            format!("is made for another purpose; its extendedKeyUsage must hold {purpose}")
        }
        Fault::UnhandledCriticalExtension => "has a critical extension that is not known here".to_owned(),
        // These have no variants of their own.
        Fault::Other(other) => match other.to_string().as_str() {
            "CaUsedAsEndEntity" => format!("is an authority's own (CA:TRUE); issue one for the {noun}, with CA:FALSE"),
            "EndEntityUsedAsCa" => "is signed by a certificate that is no authority's (CA:FALSE)".to_owned(),
            "UnsupportedCertVersion" => {
                "has no extensions, as X.509 before version 3; issue it with some (openssl x509 -req -extfile …)"
                    .to_owned()
            }
            other => format!("does not count: {other}"),
        },
        _ => return None,
    };
    Some(format!("the {noun}'s certificate {what}"))
}

impl Whose {
    fn noun(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    /// The certificate that it judges.
    fn ours(self) -> &'static str {
        match self {
            Self::Client => "listen.tls.cert",
            Self::Server => "server.tls.cert",
        }
    }

    fn ca(self) -> &'static str {
        match self {
            Self::Client => "listen.tls.client_ca",
            Self::Server => "server.tls.ca",
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Client => "clientAuth",
            Self::Server => "serverAuth",
        }
    }
}
