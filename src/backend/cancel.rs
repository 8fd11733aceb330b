//! Cancelling what a backend runs (manual: "Canceling Requests in Progress").

use std::io;

use tokio::io::AsyncReadExt;

use super::dialer::Endpoint;
use super::{connect, talk};
use crate::config::{Host, ServerTlsMode};
use crate::wire::startup::{self, CancelSecret};

/// What PostgreSQL gave us to cancel a backend's statement with.
#[derive(Debug)]
pub struct CancelKey {
    pub host: Host,
    /// The same number for the same host.
    pub server: u32,
    pub over_tls: bool,
    pub pid: i32,
    pub key: CancelSecret,
}

/// Asks PostgreSQL to cancel, and returns when it has acted: it closes the connection after it sent the signal.
/// Until then the backend must not be given to anybody else.
///
/// # Errors
/// The request could not be delivered.
pub async fn cancel(target: &Endpoint, key: &CancelKey) -> io::Result<()> {
    let mode = if key.over_tls { target.tls_mode } else { ServerTlsMode::Disable };
    let asking = async {
        let mut stream = connect::open(target, &key.host, mode).await?;
        let mut packet = Vec::new();
        startup::write_cancel_request(&mut packet, key.pid, &key.key);
        talk::send(&mut stream, &packet).await?;
        // Nothing is answered; the end is what we wait for, and how it comes does not matter.
        let _ = stream.read_u8().await;
        Ok(())
    };
    tokio::time::timeout(target.connect_timeout, asking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
