//! What a connection wants, before anybody has logged in: TLS, a cancel, or a session (manual: "Start-up",
//! "SSL Session Encryption").

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Server;
use crate::config::ListenTlsMode;
use crate::net::{Stream, TlsOpening};
use crate::stats::Limit;
use crate::wire::build::Fault;
use crate::wire::sqlstate;
use crate::wire::startup::{self, CancelSecret, Packet, Refused, Startup};

/// First byte of a TLS handshake record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// A client on its way in.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) stream: Stream,
    /// What it has sent ahead and nobody has looked at yet.
    pub(super) ahead: Vec<u8>,
    /// The hash of the certificate that we showed it, which its login may be bound to.
    pub(super) channel: Option<Arc<[u8]>>,
}

impl Caller {
    /// Reads exactly `bytes`.
    pub(super) async fn read(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut read: Vec<u8> = self.ahead.drain(..bytes.min(self.ahead.len())).collect();
        let here = read.len();
        read.resize(bytes, 0);
        self.stream.read_exact(read.get_mut(here..).unwrap_or_default()).await?;
        Ok(read)
    }

    /// Waits until it has gone away; what it sends meanwhile is kept.
    pub(super) async fn gone(&mut self) -> io::Error {
        let mut bytes = [0; 512];
        while self.ahead.len() < AHEAD {
            match self.stream.read(&mut bytes).await {
                Ok(0) => {
                    // It may still read what we say to it.
                    tokio::time::sleep(DEAF).await;
                    return io::ErrorKind::UnexpectedEof.into();
                }
                Ok(read) => self.ahead.extend_from_slice(bytes.get(..read).unwrap_or_default()),
                Err(error) => return error,
            }
        }
        std::future::pending().await
    }
}

/// What a client may send ahead while it waits to be greeted, in bytes; more stays in its socket.
const AHEAD: usize = 8 * 1024;

/// How long a client that has stopped sending is taken for one that still listens.
const DEAF: Duration = Duration::from_secs(1);

/// Terminate. Drivers that are told to leave before they have begun say it, and expect no answer.
const GOODBYE: &[u8] = b"X\0\0\0\x04";

/// What a connection turned out to want.
#[derive(Debug)]
pub(super) enum Wanted {
    /// With the connection, whose end tells that it is done.
    Cancel {
        stream: Stream,
        pid: i32,
        key: CancelSecret,
    },
    Session(Caller, Startup),
}

/// Why a connection does not become a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It ended, or said something to which there is no answer.
    #[error("the connection ended: {0}")]
    Ended(#[from] io::Error),
    #[error("{}", fault.message)]
    Told { stream: Box<Stream>, fault: Fault },
}

impl Failed {
    pub(super) fn told(stream: Stream, fault: Fault) -> Self {
        Self::Told { stream: Box::new(stream), fault }
    }
}

/// Reads packets until one starts a session or cancels.
pub(super) async fn handshake(mut stream: Stream, server: &Server) -> Result<Wanted, Failed> {
    let listen = &server.config.current().listen;
    let limit = server.config.current().limits.startup_packet;
    let (mut may_ask_tls, mut may_ask_gss) = (true, true);
    let mut read = Vec::new();
    let mut channel = None;
    loop {
        let packet = match next_packet(&mut stream, &mut read, limit).await? {
            Next::Packet(packet) => packet,
            Next::Tls if may_ask_tls => {
                (stream, channel) = direct_tls(stream, server, &read).await?;
                (may_ask_tls, may_ask_gss) = (false, false);
                read.clear();
                continue;
            }
            Next::Tls => return Err(refuse(stream, "unexpected TLS handshake")),
            Next::Refused(reason) => {
                if reason == Refused::Length {
                    server.routes.limit_hits().hit(Limit::StartupPacket);
                }
                let code = match reason {
                    Refused::Version { .. } => sqlstate::FEATURE_NOT_SUPPORTED,
                    Refused::Layout | Refused::Length => sqlstate::PROTOCOL_VIOLATION,
                };
                return Err(Failed::told(stream, Fault::fatal(code, reason.to_string())));
            }
        };
        match packet {
            Packet::SslRequest if may_ask_tls => {
                if !read.is_empty() {
                    return Err(refuse(stream, "received unencrypted data after SSL request"));
                }
                (stream, channel) = requested_tls(stream, server).await?;
                may_ask_tls = false;
            }
            Packet::GssEncRequest if may_ask_gss => {
                if !read.is_empty() {
                    return Err(refuse(stream, "received unencrypted data after GSSAPI encryption request"));
                }
                stream.write_all(b"N").await?;
                stream.flush().await?;
                may_ask_gss = false;
            }
            Packet::SslRequest | Packet::GssEncRequest => {
                return Err(refuse(stream, "encryption was asked for twice"));
            }
            Packet::Cancel { pid, key } => return Ok(Wanted::Cancel { stream, pid, key }),
            Packet::Startup(startup) => {
                if listen.tls.mode == ListenTlsMode::Require && !stream.is_tls() {
                    let fault =
                        Fault::fatal(sqlstate::INVALID_AUTHORIZATION, "this server accepts encrypted connections only")
                            .hint("Connect with sslmode=require.");
                    return Err(Failed::told(stream, fault));
                }
                return Ok(Wanted::Session(Caller { stream, ahead: read, channel }, startup));
            }
        }
    }
}

enum Next {
    Packet(Packet),
    Refused(Refused),
    Tls,
}

/// Reads one packet; what follows it stays in `read`.
async fn next_packet(stream: &mut Stream, read: &mut Vec<u8>, limit: usize) -> io::Result<Next> {
    loop {
        if read.first() == Some(&TLS_HANDSHAKE) {
            return Ok(Next::Tls);
        }
        if read.starts_with(GOODBYE) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match startup::packet_len(read, limit) {
            Err(refused) => return Ok(Next::Refused(refused)),
            Ok(Some(length)) if read.len() >= length => {
                let packet: Vec<u8> = read.drain(..length).collect();
                return Ok(match Packet::read(&packet) {
                    Ok(packet) => Next::Packet(packet),
                    Err(refused) => Next::Refused(refused),
                });
            }
            Ok(_) => {}
        }
        let mut more = [0; 2048];
        match stream.read(&mut more).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => read.extend_from_slice(more.get(..bytes).unwrap_or_default()),
        }
    }
}

/// The connection, and the hash of the certificate that we showed.
async fn requested_tls(mut stream: Stream, server: &Server) -> io::Result<(Stream, Option<Arc<[u8]>>)> {
    match server.tls.load_full() {
        Some(tls) if !stream.is_tls() && !matches!(stream.peer(), crate::net::Peer::Unix) => {
            stream.write_all(b"S").await?;
            stream.flush().await?;
            Ok((tls.accept(stream, &[], TlsOpening::Requested).await?, tls.end_point()))
        }
        _ => {
            stream.write_all(b"N").await?;
            stream.flush().await?;
            Ok((stream, None))
        }
    }
}

async fn direct_tls(stream: Stream, server: &Server, read: &[u8]) -> io::Result<(Stream, Option<Arc<[u8]>>)> {
    match server.tls.load_full() {
        Some(tls) => Ok((tls.accept(stream, read, TlsOpening::Direct).await?, tls.end_point())),
        None => Err(io::Error::new(io::ErrorKind::Unsupported, "a TLS handshake came, and TLS is off")),
    }
}

fn refuse(stream: Stream, reason: &str) -> Failed {
    Failed::told(stream, Fault::fatal(sqlstate::PROTOCOL_VIOLATION, reason))
}
