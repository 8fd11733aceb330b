//! The connection to PostgreSQL that listens, as buffers: what is to be sent goes out while what comes is read.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::hub::ListenKey;
use crate::backend::connect::{self, Connected};
use crate::backend::{CancelKey, Endpoint, Login, Refusal};
use crate::net::Stream;
use crate::wire::{Header, build};

/// Longest message that is taken: a notification has at most 8 KB, an error may be somewhat longer.
const LIMIT: usize = 1 << 20;
/// Bytes of one read.
const ROOM: usize = 8 * 1024;
/// What pg_stat_activity shows.
const APPLICATION_NAME: &[u8] = b"pgweir listen";
/// An idle connection is this one's nature, so the server's limits on idleness and on waiting are lifted, as far as
/// its version knows them.
const SETTINGS: &[u8] = b"select pg_catalog.set_config(name, '0', false) from pg_catalog.pg_settings \
    where name in ('idle_session_timeout', 'statement_timeout', 'transaction_timeout', 'lock_timeout')";

/// One shared backend.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    /// Whom it reached: tells backends of one server from those of another.
    pub(super) key: CancelKey,
    /// Room that was read into, and how much of it holds bytes that were not taken.
    room: Vec<u8>,
    from: usize,
    to: usize,
    pub(super) out: Vec<u8>,
    sent: usize,
}

impl Link {
    /// Opens a connection and asks for settings that keep it alive; the answer is yet to come.
    ///
    /// # Errors
    /// As [`connect::connect`].
    pub(super) async fn open(key: &ListenKey, endpoint: &Endpoint, login: Login) -> Result<Self, Refusal> {
        let mut parameters = vec![(&b"application_name"[..], APPLICATION_NAME)];
        if let Some(encoding) = &key.encoding {
            parameters.push((b"client_encoding", encoding));
        }
        let Connected { stream, cancel: key, .. } = connect::connect(endpoint, login, &parameters).await?;
        let mut out = Vec::new();
        build::write_query(&mut out, SETTINGS);
        Ok(Self { stream, key, room: vec![0; ROOM], from: 0, to: 0, out, sent: 0 })
    }

    /// Sends what can be sent and waits until something was read. Cancel safe.
    ///
    /// # Errors
    /// The connection's end or failure.
    pub(super) async fn progress(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            self.poll_send(cx)?;
            self.poll_fill(cx)
        })
        .await
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(cx, rest)? {
                Poll::Pending => return Ok(()),
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => self.sent += count,
            }
        }
        self.out.clear();
        self.sent = 0;
        // What TLS still holds is sent by the next call: the reader is registered in any case.
        let _ = Pin::new(&mut self.stream).poll_flush(cx)?;
        Ok(())
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.from > 0 {
            self.room.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
        }
        if self.to == self.room.len() {
            self.room.resize(self.room.len() + ROOM, 0);
        } else if self.to == 0 && self.room.len() > ROOM {
            self.room = vec![0; ROOM];
        }
        let mut read = ReadBuf::new(self.room.get_mut(self.to..).unwrap_or_default());
        match Pin::new(&mut self.stream).poll_read(cx, &mut read)? {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if read.filled().is_empty() => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(()) => {
                self.to += read.filled().len();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// The next whole frame that was read: its tag and body.
    ///
    /// # Errors
    /// What cannot be a frame.
    pub(super) fn next_frame(&mut self) -> io::Result<Option<(u8, &[u8])>> {
        let unread = self.room.get(self.from..self.to).unwrap_or_default();
        let header = Header::read(unread, LIMIT)
            .map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))?
            .filter(|header| header.frame() <= unread.len());
        let Some(header) = header else { return Ok(None) };
        self.from += header.frame();
        Ok(unread.get(header.frame() - header.body..header.frame()).map(|body| (header.tag, body)))
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        // PostgreSQL notices the end of the connection as well.
        let _ = self.stream.write_all(&build::TERMINATE).await;
        let _ = self.stream.shutdown().await;
    }
}
