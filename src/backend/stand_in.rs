//! A connection that stands in for a client which has no backend, so that others can signal it and see it listed.

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::time::timeout;

use super::connect::{self, Connected};
use super::{CancelKey, Endpoint, Login, Refusal, Report, talk};
use crate::net::Stream;
use crate::wire::tag::backend;
use crate::wire::{build, sqlstate};

/// How long it may take to say whether it was told to end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub struct StandIn {
    stream: Stream,
    pub key: CancelKey,
}

impl StandIn {
    /// Opens one with these startup parameters.
    ///
    /// # Errors
    /// As [`connect::connect`].
    pub async fn open(endpoint: &Endpoint, login: Login, parameters: &[(&[u8], &[u8])]) -> Result<Self, Refusal> {
        let Connected { stream, cancel, .. } = connect::connect(endpoint, login, parameters).await?;
        Ok(Self { stream, key: cancel })
    }

    /// Stands there until it is dismissed. What PostgreSQL said if it was told to end: a signal that was sent before
    /// its dismissal has reached it by then.
    pub async fn stand(self, dismissed: impl Future) -> Option<Report> {
        let (mut reading, mut writing) = tokio::io::split(self.stream);
        let mut end = Box::pin(end(&mut reading));
        tokio::select! {
            report = &mut end => return report,
            _ = dismissed => {}
        }
        // A process acts on its signals before it reads on.
        let goodbye = [build::SYNC, build::TERMINATE].concat();
        let sent = async {
            writing.write_all(&goodbye).await.ok()?;
            writing.flush().await.ok()
        };
        // Its last words may be here though nothing can be sent.
        let _ = sent.await;
        timeout(LAST_WORDS, end).await.ok()?
    }
}

/// Waits for the end of a connection, or for the answer to a Sync: what PostgreSQL said if it was told to end.
async fn end(stream: &mut (impl AsyncRead + Unpin)) -> Option<Report> {
    loop {
        let (tag, body) = talk::read_frame(stream).await.ok()?;
        match tag {
            backend::READY_FOR_QUERY => return None,
            backend::ERROR_RESPONSE => {
                let report = Report::new(&body);
                return (report.code() == sqlstate::ADMIN_SHUTDOWN.as_bytes()).then_some(report);
            }
            _ => {}
        }
    }
}
