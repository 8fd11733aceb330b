//! What a session waits for: its ticket is settled by the listener's task, which then wakes the session.

use std::sync::{Arc, OnceLock};

use crate::backend::{Refusal, Report};
use crate::clients::{Client, Signal};
use crate::wire::build::Fault;
use crate::wire::sqlstate;

/// Why a session does not hear a channel.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotHeard {
    /// PostgreSQL's own words about the LISTEN.
    #[error("PostgreSQL says: {}", .0.message())]
    Report(Arc<Report>),
    #[error("no listening backend: {0}")]
    NoBackend(Refusal),
    /// The server's connections are all in use (`server.max_connections`).
    #[error("no connection for a listening backend became free in time")]
    NoSeat,
    #[error("the listening backend did not answer in time")]
    NoAnswer,
    /// The name is longer in the server's encoding than PostgreSQL tells apart.
    #[error("channel name too long")]
    TooLong,
    #[error("the client listens to {limit} channels already")]
    TooMany { limit: usize },
    #[error("pgweir is shutting down")]
    Closed,
}

impl NotHeard {
    /// The ErrorResponse that answers the LISTEN.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        match self {
            Self::Report(report) | Self::NoBackend(Refusal::Report(report)) => report.as_error(),
            other => other.fault().to_frame(),
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Report(report) => Fault::error(sqlstate::CONNECTION_FAILURE, report.message()),
            Self::NoBackend(refusal) => Fault::error(sqlstate::CONNECTION_FAILURE, "cannot listen")
                .detail(format!("The backend that listens for all sessions could not be opened: {refusal}.")),
            Self::NoSeat => Fault::error(sqlstate::TOO_MANY_CONNECTIONS, "cannot listen")
                .detail("The backend that listens for all sessions needs a connection, and all are in use.")
                .hint("Raise server.max_connections in pgweir's configuration."),
            Self::NoAnswer => Fault::error(sqlstate::CONNECTION_FAILURE, "cannot listen")
                .detail("The backend that listens for all sessions did not answer in time."),
            Self::TooLong => Fault::error("42622", self.to_string())
                .detail("In the server's encoding the name has more than 63 bytes."),
            Self::TooMany { limit } => Fault::error(sqlstate::PROGRAM_LIMIT_EXCEEDED, self.to_string())
                .detail(format!("pgweir's limit is limits.channels = {limit}.")),
            Self::Closed => Fault::error(sqlstate::CANNOT_CONNECT_NOW, self.to_string()),
        }
    }
}

type Outcome = OnceLock<Result<(), NotHeard>>;

/// Something that is under way at one or several listening backends. The client is signalled ([`Signal::Notify`]) when
/// its part is done; dropping the ticket takes nothing back.
#[derive(Debug)]
#[must_use = "the reply to the client waits for it"]
pub struct Ticket(Vec<Arc<Outcome>>);

impl Ticket {
    /// Something that is done already.
    pub fn done() -> Self {
        Self(Vec::new())
    }

    pub(super) fn failed(why: NotHeard) -> Self {
        Self(vec![Arc::new(OnceLock::from(Err(why)))])
    }

    /// All of several.
    pub fn all(tickets: impl IntoIterator<Item = Self>) -> Self {
        Self(tickets.into_iter().flat_map(|ticket| ticket.0).collect())
    }

    /// `None` while it is under way; otherwise the first failure, if any.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<(), NotHeard>> {
        let mut all = Ok(());
        for part in &self.0 {
            if let (Err(why), Ok(())) = (part.get()?, &all) {
                all = Err(why.clone());
            }
        }
        Some(all)
    }
}

/// The other end of a ticket. One that is dropped unsettled fails with [`NotHeard::Closed`].
#[derive(Debug)]
pub(super) struct Promise {
    outcome: Arc<Outcome>,
    client: Arc<Client>,
}

impl Promise {
    pub(super) fn new(client: &Arc<Client>) -> (Self, Ticket) {
        let outcome = Arc::new(OnceLock::new());
        let ticket = Ticket(vec![Arc::clone(&outcome)]);
        (Self { outcome, client: Arc::clone(client) }, ticket)
    }

    /// The process id of the client that waits.
    pub(super) fn pid(&self) -> i32 {
        self.client.pid
    }

    pub(super) fn settle(self, outcome: Result<(), NotHeard>, calls: &mut Calls) {
        // It is settled only here, once.
        let _ = self.outcome.set(outcome);
        calls.add(&self.client);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if self.outcome.set(Err(NotHeard::Closed)).is_ok() {
            self.client.signal(Signal::Notify);
        }
    }
}

/// Clients to be woken once no lock is held.
#[derive(Debug, Default)]
#[must_use = "clients wait to be woken"]
pub(super) struct Calls(Vec<Arc<Client>>);

impl Calls {
    pub(super) fn add(&mut self, client: &Arc<Client>) {
        self.0.push(Arc::clone(client));
    }

    pub(super) fn ring(self) {
        for client in self.0 {
            client.signal(Signal::Notify);
        }
    }
}
