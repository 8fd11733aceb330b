//! Opening a connection: the first host that answers, TLS as configured, then the login.

use std::hash::BuildHasher;
use std::io;
use std::sync::Arc;

use foldhash::fast::FixedState;
use tokio::io::AsyncReadExt;

use super::dialer::{Endpoint, Login};
use super::login::{self, LoggedIn};
use super::{CancelKey, Refusal, talk};
use crate::config::{Host, ServerTlsMode};
use crate::net::{self, Stream};
use crate::wire::startup;

/// A connection that has logged in.
#[derive(Debug)]
pub struct Connected {
    pub stream: Stream,
    pub logged_in: LoggedIn,
    pub cancel: CancelKey,
    /// What the host before this one has said, where that was not the first of the target's.
    pub passed_over: Option<Refusal>,
}

/// Opens a connection to the first of the target's hosts that lets us in, and logs in with `login` and these
/// startup parameters beside user and database. Each host has the target's `connect_timeout` for it.
///
/// # Errors
/// The last host's refusal, or that its time was up; at once the refusal of a server that answered and does not want us.
pub async fn connect(target: &Endpoint, login: Login, parameters: &[(&[u8], &[u8])]) -> Result<Connected, Refusal> {
    let mut last = None;
    for host in &target.hosts {
        let connecting = Box::pin(connect_to(target, host, &login, parameters));
        let connected = tokio::time::timeout(target.connect_timeout, connecting).await;
        match connected.unwrap_or_else(|_| Err(unreachable(&name_of(host), io::ErrorKind::TimedOut.into()))) {
            Ok(connected) => return Ok(Connected { passed_over: last, ..connected }),
            Err(refusal @ Refusal::Unreachable { .. }) => last = Some(refusal),
            Err(Refusal::Report(report)) if super::dialer::is_temporary(report.code()) => {
                last = Some(Refusal::Report(report));
            }
            Err(refusal) => return Err(refusal),
        }
    }
    Err(last.unwrap_or_else(|| unreachable("(no host)", io::ErrorKind::NotFound.into())))
}

async fn connect_to(
    target: &Endpoint,
    host: &Host,
    login: &Login,
    parameters: &[(&[u8], &[u8])],
) -> Result<Connected, Refusal> {
    let opened = open(target, host, target.tls_mode).await;
    let mut stream = match opened {
        // As libpq does: encryption is preferred, so a handshake that fails is no reason to give up.
        Err(error) if target.tls_mode == ServerTlsMode::Prefer && error.kind() == io::ErrorKind::InvalidData => {
            open(target, host, ServerTlsMode::Disable).await
        }
        opened => opened,
    }
    .map_err(|error| unreachable(&name_of(host), error))?;
    let logged_in = login::login(&mut stream, target, login, parameters, &name_of(host)).await?;
    let cancel = CancelKey {
        host: host.clone(),
        server: number_of(host),
        over_tls: stream.is_tls(),
        pid: logged_in.pid,
        key: logged_in.key.clone(),
    };
    Ok(Connected { stream, logged_in, cancel, passed_over: None })
}

#[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
fn number_of(host: &Host) -> u32 {
    FixedState::default().hash_one(host) as u32
}

/// Dials and, where TLS is wanted, asks for it (manual: "SSL Session Encryption").
///
/// # Errors
/// The socket's, TLS's, or that the server offers no TLS where it is required.
pub(super) async fn open(target: &Endpoint, host: &Host, mode: ServerTlsMode) -> io::Result<Stream> {
    let mut stream = net::dial(host, &target.keepalive, target.connect_timeout).await?;
    let (Some(tls), Host::Tcp { name, .. }, false) = (&target.tls, host, mode == ServerTlsMode::Disable) else {
        return Ok(stream);
    };
    let mut request = Vec::new();
    startup::write_ssl_request(&mut request);
    talk::send(&mut stream, &request).await?;
    // Exactly one byte: whatever followed it would not be part of the handshake.
    match stream.read_u8().await? {
        b'S' => tls.connect(stream, name).await,
        b'N' if mode == ServerTlsMode::Prefer => Ok(stream),
        b'N' => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "the server offers no TLS, and server.tls.mode wants it"))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the server did not understand the request for TLS")),
    }
}

/// The host as an operator would write it.
pub(super) fn name_of(host: &Host) -> String {
    match host {
        Host::Tcp { name, port } => format!("{name}:{port}"),
        Host::Unix { path } => path.display().to_string(),
    }
}

fn unreachable(host: &str, reason: io::Error) -> Refusal {
    Refusal::Unreachable { host: host.to_owned(), reason: Arc::new(reason) }
}
