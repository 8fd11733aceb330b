//! Connecting to PostgreSQL's socket.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, sleep, timeout_at};

use super::socket::{Socket, set_options};
use super::stream::Stream;
use crate::config::{Host, Keepalive};

/// Pause before a unix socket whose queue of pending connections is full is tried again.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);

/// Connects to `host`: to each address that its name has, in the resolver's order, until one accepts. All attempts
/// together take no longer than `timeout`; each of several gets an even share of what is left.
///
/// # Errors
/// The last attempt's kind, and a text that names the host and every address with its reason. Cancel safe: nothing
/// remains when it is dropped.
pub async fn dial(host: &Host, keepalive: &Keepalive, timeout: Duration) -> io::Result<Stream> {
    let deadline = Instant::now() + timeout;
    // On the heap, or the task that awaits this would be as large as both for the rest of its life.
    match host {
        Host::Tcp { name, port } => Box::pin(dial_tcp(name, *port, keepalive, deadline)).await,
        Host::Unix { path } => Box::pin(dial_unix(path, deadline)).await,
    }
}

async fn dial_tcp(name: &str, port: u16, keepalive: &Keepalive, deadline: Instant) -> io::Result<Stream> {
    let addresses: Vec<SocketAddr> = match timeout_at(deadline, lookup_host((name, port))).await {
        Ok(found) => found.map_err(|error| about(&format!("cannot resolve host name \"{name}\""), &error))?.collect(),
        Err(_) => return Err(too_late(&format!("resolving host name \"{name}\" took too long"))),
    };
    let mut kind = io::ErrorKind::NotFound;
    let mut reasons = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        match dial_address(*address, keepalive, share(deadline, addresses.len() - index)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                kind = error.kind();
                reasons.push(format!("{address}: {error}"));
            }
        }
    }
    if reasons.is_empty() {
        reasons.push("the name has no address".to_owned());
    }
    Err(io::Error::new(kind, format!("cannot connect to {name}:{port} ({})", reasons.join("; "))))
}

/// When an attempt must end so that each of `left` attempts gets the same time.
fn share(deadline: Instant, left: usize) -> Instant {
    let now = Instant::now();
    let remaining = deadline.saturating_duration_since(now);
    now + remaining / u32::try_from(left.max(1)).unwrap_or(u32::MAX)
}

async fn dial_address(address: SocketAddr, keepalive: &Keepalive, deadline: Instant) -> io::Result<Stream> {
    let Ok(connected) = timeout_at(deadline, TcpStream::connect(address)).await else {
        return Err(too_late("no answer in time"));
    };
    let socket = connected?;
    set_options(&socket, keepalive)?;
    Ok(Stream::Plain(Socket::Tcp(socket)))
}

/// A unix socket whose queue is full refuses at once (EAGAIN) where TCP would wait: so it is asked again.
async fn dial_unix(path: &Path, deadline: Instant) -> io::Result<Stream> {
    let what = || format!("cannot connect to unix socket \"{}\"", path.display());
    loop {
        match UnixStream::connect(path).await {
            Ok(socket) => return Ok(Stream::Plain(Socket::Unix(socket))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= deadline {
                    return Err(too_late(&format!("{}: its queue stayed full", what())));
                }
                sleep(QUEUE_FULL_PAUSE).await;
            }
            Err(error) => return Err(about(&what(), &error)),
        }
    }
}

fn about(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn too_late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
