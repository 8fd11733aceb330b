//! One connection, plain or encrypted, to a client or to PostgreSQL.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::certificate;
use super::refusal::{Whose, in_words};
use super::socket::{Peer, Socket};
use crate::config::Keepalive;

/// Slices that one vectored write hands to TLS: splitting a longer list into records walks it anew for each record.
const TLS_SLICES: usize = 64;

/// A connection that bytes are read from and written to.
///
/// Written bytes may stay inside TLS until `poll_flush`: flush after the last write of a batch, on every stream, as
/// a plain one makes nothing of it. The plain kind costs no more than its socket, because thousands of idle clients
/// each own one.
#[derive(Debug)]
pub enum Stream {
    Plain(Socket),
    /// We accepted it, and are the server of the handshake.
    ClientTls(Box<tokio_rustls::server::TlsStream<Socket>>),
    /// We dialled it, and are the client of the handshake.
    ServerTls(Box<tokio_rustls::client::TlsStream<Socket>>),
}

impl Stream {
    /// Takes over an accepted TCP socket: no delay, keepalive as configured, registered with the current runtime.
    ///
    /// # Errors
    /// What the system says when it refuses an option or the registration.
    pub fn from_tcp(socket: std::net::TcpStream, keepalive: &Keepalive) -> io::Result<Self> {
        Socket::from_tcp(socket, keepalive).map(Self::Plain)
    }

    /// Takes over an accepted unix socket and registers it with the current runtime.
    ///
    /// # Errors
    /// What the system says when it refuses the registration.
    pub fn from_unix(socket: std::os::unix::net::UnixStream) -> io::Result<Self> {
        Socket::from_unix(socket).map(Self::Plain)
    }

    /// Takes over a TCP socket that is registered with the current runtime: no delay, keepalive as configured.
    ///
    /// # Errors
    /// What the system says when it refuses an option.
    pub fn accepted_tcp(socket: tokio::net::TcpStream, keepalive: &Keepalive) -> io::Result<Self> {
        super::socket::set_options(&socket, keepalive)?;
        Ok(Self::Plain(Socket::Tcp(socket)))
    }

    /// Takes over a unix socket that is registered with the current runtime.
    #[must_use]
    pub fn accepted_unix(socket: tokio::net::UnixStream) -> Self {
        Self::Plain(Socket::Unix(socket))
    }

    /// Registers the connection with the runtime that this is called on, in place, also underneath TLS. Nothing that
    /// was read or written is lost; wakers of the runtime before are.
    ///
    /// # Errors
    /// When the system refuses the registration: the connection is closed then.
    pub fn rehome(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.rehome(),
            Self::ClientTls(tls) => tls.get_mut().0.rehome(),
            Self::ServerTls(tls) => tls.get_mut().0.rehome(),
        }
    }

    /// Has the other end find the connection reset, not ended, once it is closed.
    pub fn reset_when_closed(&self) {
        match self {
            Self::Plain(socket) => socket.reset_when_closed(),
            Self::ClientTls(tls) => tls.get_ref().0.reset_when_closed(),
            Self::ServerTls(tls) => tls.get_ref().0.reset_when_closed(),
        }
    }

    /// Who is at the other end. Asks the system: once per connection, not once per message.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.socket().peer()
    }

    /// Whether the other end is on this machine: a unix socket or a loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.peer() {
            Peer::Unix => true,
            Peer::Tcp(address) => address.ip().is_loopback(),
        }
    }

    #[must_use]
    pub fn is_tls(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    /// The protocol version and cipher in use, `TLSv1_3` and `TLS13_AES_256_GCM_SHA384`; `None` without TLS.
    #[must_use]
    pub fn tls_description(&self) -> Option<(&'static str, &'static str)> {
        let (version, suite) = match self {
            Self::Plain(_) => return None,
            Self::ClientTls(tls) => (tls.get_ref().1.protocol_version(), tls.get_ref().1.negotiated_cipher_suite()),
            Self::ServerTls(tls) => (tls.get_ref().1.protocol_version(), tls.get_ref().1.negotiated_cipher_suite()),
        };
        Some((version?.as_str()?, suite?.suite().as_str()?))
    }

    /// The Common Name of the certificate that a client proved to own, for `auth = "cert"`; `None` when it showed
    /// none, or one whose name is missing or not plain text.
    #[must_use]
    pub fn peer_certificate_name(&self) -> Option<String> {
        let certificate: &CertificateDer<'_> = match self {
            Self::ClientTls(tls) => tls.get_ref().1.peer_certificates()?.first()?,
            Self::Plain(_) | Self::ServerTls(_) => return None,
        };
        certificate::common_name(certificate)
    }

    /// Ready when a read would make progress: bytes, an end or an error. It may be ready in vain, and the read is
    /// pending then: with TLS when less than a whole record came, and once after a socket was accepted.
    ///
    /// # Errors
    /// When the runtime is shutting down or the socket was lost.
    pub fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.holds_more() { Poll::Ready(Ok(())) } else { self.socket().poll_read_ready(cx) }
    }

    /// Waits until a read would make progress, so that an idle connection needs no buffer. Cancel safe.
    ///
    /// # Errors
    /// As [`Self::poll_read_ready`].
    pub async fn readable(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_read_ready(cx)).await
    }

    /// Whether the reactor already knows of something to read, or of an end, without asking the system. It is how a
    /// backend that died while idle is noticed; a `true` has to be confirmed by a read. A runtime that the connection
    /// has just moved to knows nothing before it next waits.
    #[must_use]
    pub fn known_readable(&self) -> bool {
        self.holds_more() || !self.socket().is_quiet()
    }

    /// TLS that wants nothing from the socket holds decrypted bytes, or knows that the peer has finished.
    fn holds_more(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::ClientTls(tls) => !tls.get_ref().1.wants_read(),
            Self::ServerTls(tls) => !tls.get_ref().1.wants_read(),
        }
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::ClientTls(tls) => tls.get_ref().0,
            Self::ServerTls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            // In TLS 1.3 a server judges our certificate after our handshake has ended.
            Self::ClientTls(tls) => Pin::new(tls).poll_read(cx, buf).map_err(|error| in_words(error, Whose::Client)),
            Self::ServerTls(tls) => Pin::new(tls).poll_read(cx, buf).map_err(|error| in_words(error, Whose::Server)),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::ClientTls(tls) => Pin::new(tls).poll_write(cx, buf),
            Self::ServerTls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::ClientTls(tls) => Pin::new(tls).poll_write_vectored(cx, few(bufs)),
            Self::ServerTls(tls) => Pin::new(tls).poll_write_vectored(cx, few(bufs)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::ClientTls(tls) => Pin::new(tls).poll_flush(cx),
            Self::ServerTls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    /// Sends what TLS holds back, its closing message, and then the end of the stream.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::ClientTls(tls) => Pin::new(tls).poll_shutdown(cx),
            Self::ServerTls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// The slices to write now. Leading empty ones are left out: a write of nothing but those would return 0, which says
/// that the stream takes no more.
fn few<'a, 'b>(bufs: &'a [IoSlice<'b>]) -> &'a [IoSlice<'b>] {
    let from = bufs.iter().position(|buf| !buf.is_empty()).unwrap_or(0);
    let rest = bufs.get(from..).unwrap_or(bufs);
    rest.get(..TLS_SLICES).unwrap_or(rest)
}
