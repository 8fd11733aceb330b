//! How a session ends: what the client is told, and what becomes of its backend.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::active::{Active, Ownership, Rest};
use super::serve::Serve;
use crate::backend::{Refusal, Report, Undo, cancel};
use crate::config::ResetOnReturn;
use crate::session::{Broken, Hold, Unfinished};
use crate::wire::build::{self, Fault};
use crate::wire::view::Transaction;
use crate::wire::{Header, Malformed, sqlstate};

/// How long a client may take to read its last message, and to stop sending.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why a session is over.
#[derive(Debug)]
pub(super) enum Ending {
    /// Without a word.
    ClientGone,
    /// The backend's own last words are on their way to the client.
    Passed,
    /// With Terminate.
    Terminated,
    /// The client is told why.
    Told(Box<Fault>),
    /// As [`Self::Told`], for a client that took too long: nothing is wrong with its backend.
    Overdue(Box<Fault>),
}

impl Ending {
    pub(super) fn told(fault: Fault) -> Self {
        Self::Told(Box::new(fault))
    }

    pub(super) fn overdue(fault: Fault) -> Self {
        Self::Overdue(Box::new(fault))
    }

    pub(super) fn malformed(malformed: Malformed) -> Self {
        Self::told(malformed.into())
    }

    pub(super) fn too_long(header: Header, limit: usize) -> Self {
        let malformed = Malformed::TooLong { tag: header.tag, length: header.body, limit };
        Self::told(Fault::fatal(sqlstate::PROGRAM_LIMIT_EXCEEDED, malformed.to_string()).hint(
            "Some messages must be held whole, as those that prepare a statement: see limits.held_message in pgweir's configuration.",
        ))
    }

    pub(super) fn broken(broken: Broken) -> Self {
        match broken {
            Broken::Client(fault) => Self::Told(fault),
            Broken::Desync(_) => Self::desync(&broken),
        }
    }

    pub(super) fn desync(reason: &dyn std::fmt::Display) -> Self {
        tracing::error!(%reason, "the conversation with a backend cannot be followed; both ends are closed");
        Self::told(
            Fault::fatal(sqlstate::PROTOCOL_VIOLATION, "pgweir could not follow the conversation with PostgreSQL")
                .detail(reason.to_string())
                .hint("This is a defect of pgweir; an open transaction was rolled back."),
        )
    }
}

impl Serve {
    /// Says the last words and settles what becomes of the backend.
    pub(super) async fn finish(mut self, ending: Ending) {
        let Some(mut active) = self.active.take() else { return };
        let told = match &ending {
            Ending::ClientGone | Ending::Terminated => None,
            Ending::Passed => Some(Vec::new()),
            // In the middle of a frame nothing can be said.
            Ending::Told(_) | Ending::Overdue(_) if matches!(active.backend_rest, Rest::Forward(_)) => Some(Vec::new()),
            Ending::Told(fault) | Ending::Overdue(fault) => Some(fault.to_frame()),
        };
        let stoppable = matches!(ending, Ending::ClientGone | Ending::Overdue(_)) && self.can_wind_down(&active);
        if stoppable {
            self.cancel_running(&mut active);
        } else {
            self.part_with_backend(&mut active);
        }
        if let Some(frame) = told {
            active.to_client.push(&frame);
            let client = &mut self.client;
            let unread = !active.from_client.is_empty();
            let speaking = async {
                std::future::poll_fn(|cx| active.to_client.poll_send(client, cx)).await?;
                client.shutdown().await?;
                if unread {
                    // A socket that is closed while bytes still come resets the connection, which may take from the
                    // client what it has been told.
                    tokio::io::copy(client, &mut tokio::io::sink()).await?;
                }
                std::io::Result::Ok(())
            };
            // A client that does not listen misses it.
            let _ = tokio::time::timeout(LAST_WORDS, speaking).await;
        }
        if stoppable {
            self.wind_down(&mut active).await;
            self.part_with_backend(&mut active);
        }
        self.worker().give_active(active);
    }

    /// Whether something runs for the client that can be stopped, so that the backend may live on.
    fn can_wind_down(&self, active: &Active) -> bool {
        matches!(active.ownership, Ownership::Leased(_))
            && !self.session.is_answered()
            && self.session.unfinished() != Unfinished::Batch
            && !self.session.outlasts_cancel()
            && !matches!(active.client_rest, Rest::Forward(_))
    }

    fn part_with_backend(&mut self, active: &mut Active) {
        let outlasts_cancel = self.session.outlasts_cancel();
        self.abandon(active, sqlstate::QUERY_CANCELED, Instant::now());
        // Who listens must not take what this client has said for the next one's: that backend is not lent again.
        let heard = !self.is_being_heard(active);
        let Ownership::Leased(lease) = &active.ownership else {
            active.ownership = Ownership::None;
            return;
        };
        let nothing_in_flight = heard
            && active.to_backend.is_empty()
            && active.from_backend.is_empty()
            && active.client_rest == Rest::None
            && active.backend_rest == Rest::None
            && active.cancel.is_none();
        let leaves_session = self.session_left_state(active) || !lease.held.own().is_empty();
        // A signal that is meant for this client must not reach the next one. One that was sent has reached the backend
        // by the time when that has answered a reset.
        let unfelt = self.handle.is_kept() || (self.handle.may_be_meant() && !leaves_session);
        if nothing_in_flight && self.session.is_answered() && !unfelt {
            // Between statements: what is open is rolled back, and the backend lives on.
            let transaction = self.session.transaction() != Transaction::Idle;
            self.release(active, Undo { transaction, session: leaves_session }, Instant::now());
            return;
        }
        // What it is doing cannot be known or stopped: the backend is closed, and PostgreSQL told to stop it.
        let (target, key) = (self.route.target.endpoint(), std::sync::Arc::clone(&lease.cancel));
        if outlasts_cancel {
            // To find nobody there when it says that it has stopped, it does nothing of what was sent after that.
            lease.stream.reset_when_closed();
        }
        let runs = !self.session.is_answered();
        active.ownership = Ownership::None;
        if runs {
            tokio::spawn(async move {
                // A backend that cannot be reached is gone already.
                let _ = cancel::cancel(&target, &key).await;
            });
        }
    }

    /// Whether the session may have left anything on its backend beside an open transaction, or a signal for it may be
    /// on its way there.
    fn session_left_state(&self, active: &Active) -> bool {
        match active.limits.reset_on_return {
            ResetOnReturn::Auto => {
                self.route.rules.hold == Hold::Session
                    || self.session.may_have_left_state()
                    || self.handle.may_be_meant()
            }
            ResetOnReturn::Discard => true,
            ResetOnReturn::None => false,
        }
    }
}

/// PostgreSQL's own words, for a client.
pub(super) fn report_frame(report: &Report) -> Vec<u8> {
    let mut frame = Vec::new();
    build::copy_frame(&mut frame, crate::wire::tag::backend::ERROR_RESPONSE, report.body());
    frame
}

/// What a client that logs in hears when PostgreSQL does not let pgweir in.
#[must_use]
pub fn refusal_frame(refusal: &Refusal) -> Vec<u8> {
    match refusal {
        // It would read as if the client's own login had failed.
        Refusal::Report(report) if report.code().starts_with(sqlstate::INVALID_AUTHORIZATION_CLASS) => {
            report.with_detail("PostgreSQL said this to pgweir, which could not log in there for this client.")
        }
        Refusal::Report(report) => report_frame(report),
        other => Fault::fatal(sqlstate::CONNECTION_FAILURE, other.to_string()).to_frame(),
    }
}
