//! Accepting: each connection goes to the worker with the fewest sessions.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::{Server, dispatch};
use crate::net::Stream;
use crate::proxy::Worker;
use crate::stats::Limit;

/// How long accepting rests after the system had no file or memory left for a connection.
const REST: Duration = Duration::from_millis(100);
/// How long nothing more is said of that.
const SILENCE: Duration = Duration::from_secs(10);

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// A worker thread and the way onto it.
#[derive(Debug, Clone)]
pub struct Lane {
    pub worker: Arc<Worker>,
    pub runtime: Handle,
}

/// An accepted socket that no runtime knows yet.
enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// Accepts until its task is dropped.
///
/// # Errors
/// The listener cannot be registered with the runtime.
pub async fn accept(
    listener: Listener,
    server: Arc<Server>,
    lanes: Arc<[Lane]>,
) -> io::Result<std::convert::Infallible> {
    let tcp;
    let unix;
    let sockets = match listener {
        Listener::Tcp(listener) => {
            tcp = tokio::net::TcpListener::from_std(listener)?;
            Sockets::Tcp(&tcp)
        }
        Listener::Unix(listener) => {
            listener.set_nonblocking(true)?;
            unix = tokio::net::UnixListener::from_std(listener)?;
            Sockets::Unix(&unix)
        }
    };
    let mut said: Option<Instant> = None;
    loop {
        match sockets.next().await {
            Ok(accepted) => hand_over(accepted, &server, &lanes),
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                if said.is_none_or(|said| said.elapsed() >= SILENCE) {
                    tracing::error!(%error, "accepting a connection failed; others wait until one can be accepted");
                    said = Some(Instant::now());
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

enum Sockets<'a> {
    Tcp(&'a tokio::net::TcpListener),
    Unix(&'a tokio::net::UnixListener),
}

impl Sockets<'_> {
    async fn next(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => Ok(Accepted::Tcp(listener.accept().await?.0.into_std()?)),
            Self::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0.into_std()?)),
        }
    }
}

fn hand_over(accepted: Accepted, server: &Arc<Server>, lanes: &[Lane]) {
    let Some(lane) = lanes.iter().min_by_key(|lane| lane.worker.sessions()) else { return };
    let seat = server.clients.seat();
    let standing = if seat.is_err() { server.clients.stand() } else { None };
    if seat.is_err() && standing.is_none() {
        server.routes.limit_hits().hit(Limit::MaxClients);
        return;
    }
    // Counted here, not in the task: of many connections at once each must see those before it.
    let (server, occupied) = (Arc::clone(server), lane.worker.occupy());
    let serving = async move {
        let _standing = standing;
        let keepalive = server.config.current().listen.keepalive.clone();
        let stream = match accepted {
            Accepted::Tcp(socket) => Stream::from_tcp(socket, &keepalive),
            Accepted::Unix(socket) => Stream::from_unix(socket),
        };
        match stream {
            Ok(stream) => dispatch::welcome(stream, seat, server, occupied).await,
            Err(error) => tracing::debug!(%error, "a connection ended before it began"),
        }
    };
    lane.runtime.spawn(serving);
}

/// The peer has gone already; nothing is wrong with us.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
