//! A connection of the control plane at its end: tokio-postgres says goodbye and closes, and this waits until
//! PostgreSQL has closed too, because only then has its process left the database.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

use crate::net::Stream;

/// Longest wait for PostgreSQL's end of the connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts a connection for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    pub(super) fn new(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Parting {
    stream: Stream,
    /// Once our end is closed: how long the other's is waited for.
    closing: Option<Pin<Box<Sleep>>>,
}

impl Parting {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, closing: None }
    }
}

impl AsyncRead for Parting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Parting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let patience = match &mut this.closing {
            Some(patience) => patience,
            closing => {
                std::task::ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                closing.insert(Box::pin(sleep(PATIENCE)))
            }
        };
        if patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut bytes = [0; 512];
            let mut rest = ReadBuf::new(&mut bytes);
            match std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, &mut rest)) {
                Ok(()) if !rest.filled().is_empty() => {}
                // However it ended, it has.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
