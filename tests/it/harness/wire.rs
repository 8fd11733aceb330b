//! A raw client: bytes out, frames in, nothing hidden. While it writes it also reads, so a large pipeline can't lock
//! up because the test itself does not read.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::frame::{self, Frame};
use super::within;

/// The address and the key of a connection.
#[derive(Debug, Clone)]
pub struct Canceller {
    peer: SocketAddr,
    key_data: Vec<u8>,
}

impl Canceller {
    /// Sends a cancel request and waits until the server closes.
    pub async fn fire(&self) {
        let mut client = WireClient::open(self.peer).await;
        client.send(&frame::cancel_request(&self.key_data)).await;
        client.until_end().await;
    }
}

/// Any byte stream that a client may use.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One raw connection.
pub struct WireClient {
    stream: Box<dyn Stream>,
    received: BytesMut,
    ended: bool,
    /// Summaries of what was read, for the message of a failing test.
    seen: Vec<String>,
    key_data: Vec<u8>,
    peer: Option<SocketAddr>,
}

impl fmt::Debug for WireClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireClient").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl WireClient {
    /// A TCP connection on which nothing was said yet.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = within("connect", TcpStream::connect(address)).await.expect("a TCP connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Self { peer: Some(address), ..Self::over(Box::new(stream)) }
    }

    /// A unix connection on which nothing was said yet.
    pub async fn open_unix(path: &std::path::Path) -> Self {
        Self::over(Box::new(UnixStream::connect(path).await.expect("a unix connection")))
    }

    /// Speaks over a stream that is there already.
    #[must_use]
    pub fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream, received: BytesMut::new(), ended: false, seen: Vec::new(), key_data: Vec::new(), peer: None }
    }

    /// Logs in to `database` as `user`, who needs no password, up to the first ReadyForQuery.
    pub async fn login(address: SocketAddr, user: &str, database: &str) -> Self {
        let mut client = Self::open(address).await;
        client.send(&frame::startup(3, 0, &[("user", user), ("database", database)])).await;
        let frames = client.until(b'Z').await;
        assert!(frames.iter().all(|frame| frame.tag() != b'E'), "login as {user}: {frames:?}");
        client
    }

    /// Says that it will send no more; it still reads.
    pub async fn end_sending(&mut self) {
        self.stream.shutdown().await.expect("the end of the stream");
    }

    /// Sends bytes in one write as far as the socket takes them; reads meanwhile what arrives. A closed connection is
    /// no error here: the next read tells.
    pub async fn send(&mut self, bytes: &[u8]) {
        let what = self.context("send");
        within(&what, self.send_all(bytes)).await;
    }

    async fn send_all(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.ended {
            let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
            tokio::select! {
                written = writer.write(bytes) => match written {
                    Ok(0) | Err(_) => return,
                    Ok(count) => bytes = &bytes[count..],
                },
                read = reader.read_buf(&mut self.received) => self.ended = matches!(read, Ok(0) | Err(_)),
            }
        }
        let _ = self.stream.flush().await;
    }

    /// Sends bytes in writes of `size`, each its own TCP segment as far as the kernel lets us (no delay is set).
    pub async fn drip(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size) {
            self.send(piece).await;
            tokio::task::yield_now().await;
        }
    }

    /// Sends without reading until the socket takes no more or `bytes` are gone: a client that does not listen.
    /// Returns how much was taken. `patience` is how long a full socket is offered more.
    pub async fn send_deaf(&mut self, bytes: &[u8], patience: std::time::Duration) -> usize {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match tokio::time::timeout(patience, self.stream.write(rest)).await {
                Ok(Ok(count)) if count > 0 => sent += count,
                _ => break,
            }
        }
        sent
    }

    /// The next frame; [`Frame::End`] when the server closed (also in the middle of a frame, or by a reset).
    pub async fn frame(&mut self) -> Frame {
        // What was seen is put into words only where it is needed: there are thousands of frames.
        match tokio::time::timeout(super::GUARD, self.next_frame()).await {
            Ok(frame) => frame,
            Err(_) => panic!("{}: nothing within {:?}", self.context("next frame"), super::GUARD),
        }
    }

    async fn next_frame(&mut self) -> Frame {
        let frame = loop {
            if let Some(frame) = self.take_frame() {
                break frame;
            }
            if !self.fill().await {
                break Frame::End;
            }
        };
        if frame.tag() == b'K' {
            self.key_data = frame.body().to_vec();
        }
        if self.seen.len() < 200 {
            self.seen.push(format!("{frame:?}"));
        }
        frame
    }

    /// The single byte that answers SSLRequest or GSSENCRequest.
    pub async fn answer(&mut self) -> Frame {
        let what = self.context("an answer of one byte");
        let filled = async {
            while self.received.is_empty() {
                if !self.fill().await {
                    return Frame::End;
                }
            }
            Frame::Answer(self.received.get_u8())
        };
        within(&what, filled).await
    }

    /// Frames up to and including the first with `tag`, or the end of the stream.
    pub async fn until(&mut self, tag: u8) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame().await;
            let last = frame.tag() == tag || frame == Frame::End;
            frames.push(frame);
            if last {
                return frames;
            }
        }
    }

    /// All that comes until the server closes.
    pub async fn until_end(&mut self) -> Vec<Frame> {
        self.until(0).await
    }

    /// Sends a Query and reads its whole answer.
    pub async fn query(&mut self, sql: &str) -> Vec<Frame> {
        self.send(&frame::query(sql)).await;
        self.until(b'Z').await
    }

    /// The first cell of the first row that a Query returns; panics on an error.
    pub async fn value(&mut self, sql: &str) -> String {
        let frames = self.query(sql).await;
        let row = frames.iter().find(|frame| frame.tag() == b'D');
        let cell = row.and_then(|row| row.cells().into_iter().next().flatten());
        cell.unwrap_or_else(|| panic!("{sql}: {frames:?}"))
    }

    /// Reads some bytes; false at the end.
    async fn fill(&mut self) -> bool {
        if !self.ended {
            self.ended = matches!(self.stream.read_buf(&mut self.received).await, Ok(0) | Err(_));
        }
        !self.ended
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let header = self.received.get(..5)?;
        let tag = header[0];
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        assert!((4..1 << 30).contains(&length), "a frame of impossible length {length}: {}", self.context("reading"));
        if self.received.len() < length + 1 {
            self.received.reserve(length + 1 - self.received.len());
            return None;
        }
        let mut whole = self.received.split_to(length + 1);
        whole.advance(5);
        Some(Frame::Message(tag, whole.freeze()))
    }

    /// Sends a cancel request for this connection by a connection of its own, and waits for its end.
    pub async fn cancel(&self) {
        self.canceller().fire().await;
    }

    /// What can cancel this connection's statements while the connection itself is in use.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller { peer: self.peer.expect("a TCP connection"), key_data: self.key_data.clone() }
    }

    /// Body of the BackendKeyData: process id and secret key.
    #[must_use]
    pub fn key_data(&self) -> &[u8] {
        &self.key_data
    }

    /// The process id under which the server knows this connection.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.key_data.first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes))
    }

    /// Says that nothing more will be sent, but keeps reading.
    pub async fn shut_down_writing(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// The stream itself, for a TLS handshake on top. Bytes read already must not be lost, so there must be none.
    #[must_use]
    pub fn into_stream(self) -> Box<dyn Stream> {
        assert!(self.received.is_empty(), "bytes before the handshake");
        self.stream
    }

    fn context(&self, what: &str) -> String {
        let tail = &self.seen[self.seen.len().saturating_sub(20)..];
        format!("{what}, after {tail:?} and {} bytes of an unfinished frame", self.received.len())
    }
}
