//! Sockets: listening, dialling, TLS on both sides, and the one [`Stream`] type that everything above moves bytes
//! through.
//!
//! It speaks no PostgreSQL: who exchanges an SSLRequest, reads a startup packet or decides what a peer may do is
//! above. Start at [`Stream`] for what a connection can do, at [`listen_tcp`] and [`dial()`] for how one comes to be,
//! at [`ListenTls`] and [`ServerTls`] for what is encrypted and who is believed.

mod certificate;
mod cores;
mod dial;
mod limits;
mod listen;
mod listen_tls;
mod pem;
mod refusal;
mod server_tls;
mod socket;
mod stream;
mod verify;

#[cfg(test)]
mod tests;

pub use cores::{CoreTime, OwnTime, cores_for, stay_on, wait_in_turn};
pub use dial::dial;
pub use limits::{open_files, raise_open_files, take_small_pages};
pub use listen::{UnixDoor, listen_tcp, listen_unix};
pub use listen_tls::{ListenTls, TlsOpening};
pub use pem::TlsFault;
pub use server_tls::ServerTls;
pub use socket::{Peer, Socket};
pub use stream::Stream;

/// The protocol name that PostgreSQL 17 and its clients negotiate by ALPN (manual, 55.2.11 SSL Session Encryption).
const ALPN: &[u8] = b"postgresql";
