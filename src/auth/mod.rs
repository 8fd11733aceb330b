//! Who a client is, and what we prove to PostgreSQL: SCRAM-SHA-256, md5, plain passwords, and where secrets come from.
//!
//! Pure: bytes of messages go in, bytes of messages come out, randomness is an argument, and nothing here owns a
//! socket, a clock or a task. Frames around the messages and the order of a login belong to the callers. Start at
//! [`Credentials`] for what is known of a user, at [`ScramServer`] for a client that logs in to us, at [`ScramClient`]
//! for our own login to PostgreSQL.

mod credentials;
mod fault;
mod keys;
mod md5;
mod random;
mod scram_client;
mod scram_server;
mod stored;

#[cfg(test)]
mod tests;

pub use credentials::{BackendCredential, BackendLogin, Credential, CredentialSource, Credentials};
pub use fault::AuthFault;
pub use keys::{ClientKey, DEFAULT_ITERATIONS, ServerKey, StoredKey};
pub use md5::{Md5Hash, md5_password, verify_md5};
pub use random::{MockKey, Nonce, random};
pub use scram_client::{MAX_ITERATIONS, ScramClient, ScramKeys};
pub use scram_server::ScramServer;
pub use stored::{ScramSecret, Stored, mock_secret, verify_password};

/// The one SASL mechanism that is offered and chosen.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// The same bound to the TLS connection that it runs in.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";
