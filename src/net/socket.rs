//! A plain socket, TCP or unix, that can change the runtime it is registered with.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::config::Keepalive;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An IPv4 address that came through an IPv6 socket is shown as IPv4. `0.0.0.0:0` once the connection is gone.
    Tcp(SocketAddr),
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix socket"),
        }
    }
}

/// What carries the bytes, with or without TLS above it.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// A move to another runtime failed half-way; every use errs with `NotConnected`.
    Lost,
}

impl Socket {
    /// Takes over an accepted TCP socket: no delay, keepalive as configured, registered with the current runtime.
    ///
    /// # Errors
    /// What the system says when it refuses an option or the registration.
    pub(super) fn from_tcp(socket: std::net::TcpStream, keepalive: &Keepalive) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        set_options(&socket, keepalive)?;
        Ok(Self::Tcp(TcpStream::from_std(socket)?))
    }

    pub(super) fn from_unix(socket: std::os::unix::net::UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::Unix(UnixStream::from_std(socket)?))
    }

    /// Registers the socket with the runtime that this is called on and forgets the one before.
    ///
    /// # Errors
    /// When the system refuses the registration: the socket is closed then.
    pub(super) fn rehome(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Self::Lost) {
            Self::Tcp(socket) => Self::Tcp(TcpStream::from_std(socket.into_std()?)?),
            Self::Unix(socket) => Self::Unix(UnixStream::from_std(socket.into_std()?)?),
            Self::Lost => return Err(lost()),
        };
        Ok(())
    }

    /// The other end is to find the connection reset once it is closed, not ended: what it says next fails at once. A
    /// unix socket does that anyway.
    pub(super) fn reset_when_closed(&self) {
        if let Self::Tcp(socket) = self {
            // One that has gone already needs no reset.
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }

    pub(super) fn peer(&self) -> Peer {
        match self {
            Self::Tcp(socket) => Peer::Tcp(socket.peer_addr().map_or_else(
                |_| SocketAddr::from(([0, 0, 0, 0], 0)),
                |address| SocketAddr::new(address.ip().to_canonical(), address.port()),
            )),
            Self::Unix(_) => Peer::Unix,
            Self::Lost => Peer::Tcp(SocketAddr::from(([0, 0, 0, 0], 0))),
        }
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_read_ready(cx),
            Self::Unix(socket) => socket.poll_read_ready(cx),
            Self::Lost => Poll::Ready(Err(lost())),
        }
    }

    /// Whether the reactor knows of nothing to read, of no end and of no error. Takes no lock and leaves no waker.
    pub(super) fn is_quiet(&self) -> bool {
        let known = match self {
            Self::Tcp(socket) => socket.try_io(Interest::READABLE, || Ok(())),
            Self::Unix(socket) => socket.try_io(Interest::READABLE, || Ok(())),
            Self::Lost => Ok(()),
        };
        known.is_err()
    }
}

/// Sets what every TCP connection of ours has: no delay, and keepalive where it is configured.
pub(super) fn set_options<'s, S>(socket: &'s S, keepalive: &Keepalive) -> io::Result<()>
where
    SockRef<'s>: From<&'s S>,
{
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    let Some(idle) = keepalive.idle else { return Ok(()) };
    let mut wanted = TcpKeepalive::new().with_time(idle);
    if let Some(interval) = keepalive.interval {
        wanted = wanted.with_interval(interval);
    }
    if let Some(retries) = keepalive.retries {
        wanted = wanted.with_retries(retries);
    }
    socket.set_tcp_keepalive(&wanted)
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the socket was lost while it moved to another thread")
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Lost => Poll::Ready(Err(lost())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// A plain socket keeps nothing back.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Lost => return Poll::Ready(Ok(())),
        };
        // A peer that has already gone is as good as told.
        done.map(|result| match result {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        })
    }
}
