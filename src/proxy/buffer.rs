//! Bytes on their way: read and not yet judged ([`Inbox`]), judged and not yet written ([`Outbox`]).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::has_budget_remaining;

use crate::net::Stream;

/// What was read from a stream.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Initialised once and used over and over.
    room: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read was pending: the stream has our waker, until there is more.
    waits: bool,
}

impl Inbox {
    #[must_use]
    pub fn with_room(room: Vec<u8>) -> Self {
        Self { room, start: 0, end: 0, waits: false }
    }

    /// Gives the room back; what it held is dropped.
    #[must_use]
    pub fn into_room(self) -> Vec<u8> {
        self.room
    }

    #[must_use]
    pub fn unread(&self) -> &[u8] {
        self.room.get(self.start..self.end).unwrap_or_default()
    }

    pub fn unread_mut(&mut self) -> &mut [u8] {
        self.room.get_mut(self.start..self.end).unwrap_or_default()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes it can hold.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room.len()
    }

    pub fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Forgets what is unread, and memory beyond `keep` bytes.
    pub fn clear(&mut self, keep: usize) {
        if self.room.len() > keep {
            self.room = vec![0; keep];
        }
        (self.start, self.end, self.waits) = (0, 0, false);
    }

    /// Makes sure that `bytes` fit from the first unread one on.
    pub fn make_room(&mut self, bytes: usize) {
        if self.room.len() - self.start >= bytes {
            return;
        }
        self.room.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.room.len() < bytes {
            self.room.resize(bytes, 0);
        }
    }

    /// Adds bytes that were read elsewhere.
    pub fn put(&mut self, bytes: &[u8]) {
        let here = self.end - self.start;
        self.make_room(here + bytes.len());
        if let Some(room) = self.room.get_mut(self.end..self.end + bytes.len()) {
            room.copy_from_slice(bytes);
            self.end += bytes.len();
        }
    }

    /// Reads once, into what room there is; 0 is the stream's end. A partial read leaves the reactor knowing that
    /// there is no more. All calls must be of one task, for one stream, whose only reader it is.
    ///
    /// # Errors
    /// The stream's.
    pub fn poll_fill(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.waits && !stream.known_readable() {
            return Poll::Pending;
        }
        if self.end == self.room.len() {
            self.make_room(self.room.len().max(1));
        }
        let mut buffer = ReadBuf::new(self.room.get_mut(self.end..).unwrap_or_default());
        let read = Pin::new(stream).poll_read(cx, &mut buffer);
        // A task that has used up its turn is told to wait though there may be more.
        self.waits = read.is_pending() && has_budget_remaining();
        ready!(read)?;
        let bytes = buffer.filled().len();
        self.end += bytes;
        Poll::Ready(Ok(bytes))
    }
}

/// What is to be written to a stream.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    /// TLS holds bytes that were written and not yet sent.
    unflushed: bool,
    /// Nobody is there to read: whatever is pushed is dropped.
    deaf: bool,
}

impl Outbox {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.unflushed
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if !self.deaf {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Drops what waits and all that follows: the other end has gone, and what it began goes on.
    pub fn deafen(&mut self) {
        self.clear(0);
        self.deaf = true;
    }

    #[must_use]
    pub fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// Forgets what was not written, and memory beyond `keep` bytes.
    pub fn clear(&mut self, keep: usize) {
        self.bytes.clear();
        if self.bytes.capacity() > keep {
            self.bytes.shrink_to(keep);
        }
        (self.written, self.unflushed, self.deaf) = (0, false, false);
    }

    /// Writes all of it; pending while the other end takes no more.
    ///
    /// # Errors
    /// The stream's.
    pub fn poll_send(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let rest = self.bytes.get(self.written..).unwrap_or_default();
            match ready!(Pin::new(&mut *stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.written += bytes,
            }
            self.unflushed = stream.is_tls();
        }
        self.bytes.clear();
        self.written = 0;
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes `bytes` straight from where they are, where nothing waits before them; what the stream does not take
    /// is kept.
    ///
    /// # Errors
    /// The stream's.
    pub fn send_or_keep(&mut self, bytes: &[u8], stream: &mut Stream, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.is_empty() {
            self.push(bytes);
            return Ok(());
        }
        let mut rest = if self.deaf { &[][..] } else { bytes };
        while !rest.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(bytes)) => rest = rest.get(bytes..).unwrap_or_default(),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.push(rest);
                    break;
                }
            }
        }
        if stream.is_tls() && !self.deaf {
            self.unflushed = true;
            if let Poll::Ready(sent) = self.poll_send(stream, cx) {
                return sent;
            }
        }
        Ok(())
    }
}
