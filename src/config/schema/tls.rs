//! The keys of `[listen.tls]` and `[server.tls]`.

use super::{Key, absent, key};
use crate::config::kind::Kind;
use crate::config::model::{ListenTlsMode, ServerTlsMode};

pub(super) const LISTEN_TLS: &[Key] = &[
    key(
        "mode",
        Kind::Words(ListenTlsMode::WORDS),
        "\"disable\"",
        "`allow` offers TLS, `require` refuses clients without it.",
    ),
    absent(
        "cert",
        Kind::Path,
        "\"/etc/pgweir/server.crt\"",
        "PEM file of the certificate and its chain; needed unless `mode` is `disable`.",
    ),
    absent("key", Kind::Path, "\"/etc/pgweir/server.key\"", "PEM file of the certificate's key."),
    absent(
        "client_ca",
        Kind::Path,
        "\"/etc/pgweir/clients.crt\"",
        "PEM file of the authorities that may have signed a client's certificate; needed for `auth = \"cert\"`.",
    ),
    absent(
        "client_crl",
        Kind::Path,
        "\"/etc/pgweir/clients.crl\"",
        "PEM file of revocation lists, one of each authority in `client_ca`: what they name is refused, and all clients once a list has expired.",
    ),
    key(
        "require_client_cert",
        Kind::Bool,
        "false",
        "Refuses clients that come over TLS without a certificate; needs `client_ca`.",
    ),
];

pub(super) const SERVER_TLS: &[Key] = &[
    key(
        "mode",
        Kind::Words(ServerTlsMode::WORDS),
        "\"prefer\"",
        "As libpq's `sslmode`: `verify-ca` checks who signed the certificate, `verify-full` also its host name.",
    ),
    absent(
        "ca",
        Kind::Path,
        "\"/etc/pgweir/root.crt\"",
        "PEM file of the authorities to trust; the system's when not set.",
    ),
    absent("cert", Kind::Path, "\"/etc/pgweir/client.crt\"", "PEM file of the certificate to present to the server."),
    absent("key", Kind::Path, "\"/etc/pgweir/client.key\"", "PEM file of that certificate's key."),
];
