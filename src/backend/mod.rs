//! One connection to PostgreSQL: opening it, logging in, bringing it to a session's settings, resetting, pinging and
//! cancelling.
//!
//! [`Dialer`] is what a pool asks to do all that (it implements `pool::Manager`); [`Backend`] is what it hands out;
//! [`Administration`] makes way for commands that concern the backends of several pools.
//! While a backend is leased its bytes are moved by `proxy` and understood by `session`, not here. Read [`connect`]
//! first, then `login`.

pub mod administration;
pub mod adopt;
pub mod cancel;
pub mod connect;
pub mod dialer;
pub mod holder;
mod login;
mod outage;
mod stand_in;
mod talk;

pub use administration::{Administration, Command, Occupant};
pub use cancel::CancelKey;
pub use dialer::{Dialer, Endpoint, Login, Target};
pub use holder::{Holder, Holders};
pub use outage::Outage;
pub use stand_in::StandIn;

use std::sync::Arc;

use crate::net::Stream;
use crate::prepared::Held;
use crate::settings::Carried;
use crate::wire::tag::backend;
use crate::wire::{build, sqlstate, view};

/// One connection to PostgreSQL, logged in.
#[derive(Debug)]
pub struct Backend {
    pub stream: Stream,
    /// Its prepared statements.
    pub held: Held,
    /// Its settings.
    pub carried: Carried,
    /// How the statement it runs is cancelled.
    pub cancel: Arc<CancelKey>,
    /// What the next reset has to undo.
    pub undo: Undo,
    /// Who holds it, for the notifications that it causes.
    pub holder: Holder,
    /// Who drew from sequences on it, by process id, where `currval` may tell of that.
    pub drew: Option<i32>,
}

/// What a session left on a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Undo {
    /// An open or failed transaction.
    pub transaction: bool,
    /// Anything that DISCARD ALL removes.
    pub session: bool,
}

/// Why PostgreSQL could not be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    #[error("cannot connect to PostgreSQL at {host}: {reason}")]
    Unreachable { host: String, reason: Arc<std::io::Error> },
    /// PostgreSQL's own words.
    #[error("PostgreSQL says: {}", .0.message())]
    Report(Arc<Report>),
    #[error("cannot log in to PostgreSQL as \"{user}\": {reason}")]
    Login { user: String, reason: String },
}

impl Refusal {
    /// Whether the same attempt may succeed later: the server is down, starting, stopping or full.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Login { .. } => false,
            Self::Report(report) => dialer::is_temporary(report.code()),
            Self::Unreachable { .. } => true,
        }
    }

    /// Whether the server has no connection left, whoever asks: no limit of one role or database was met.
    #[must_use]
    pub fn is_for_all(&self) -> bool {
        let Self::Report(report) = self else { return false };
        let view::Report { code, routine, .. } = view::Report::read(report.body());
        // Where PostgreSQL counts the connections of a role, and those of a database: nothing else tells them apart but
        // words, which are translated.
        code == sqlstate::TOO_MANY_CONNECTIONS.as_bytes()
            && !matches!(routine, b"InitializeSessionUserId" | b"CheckMyDatabase")
    }
}

/// An ErrorResponse of PostgreSQL, kept whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Report(Box<[u8]>);

impl Report {
    #[must_use]
    pub fn new(body: &[u8]) -> Self {
        Self(body.into())
    }

    /// The frame's body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.0
    }

    /// The frame of the same report, as one that ends the connection.
    #[must_use]
    pub fn as_fatal(&self) -> Vec<u8> {
        self.with_severity(b"FATAL")
    }

    /// The frame of the same report, as one that leaves the connection open.
    #[must_use]
    pub fn as_error(&self) -> Vec<u8> {
        self.with_severity(b"ERROR")
    }

    /// The frame of the same report with a detail, where it has none.
    #[must_use]
    pub fn with_detail(&self, detail: &str) -> Vec<u8> {
        let mut frame = Vec::new();
        build::write_frame(&mut frame, backend::ERROR_RESPONSE, |to| {
            let fields = self.body().strip_suffix(&[0]).unwrap_or_else(|| self.body());
            to.extend_from_slice(fields);
            if !fields.split(|byte| *byte == 0).any(|field| field.starts_with(b"D")) {
                to.push(b'D');
                to.extend_from_slice(detail.as_bytes());
                to.push(0);
            }
            to.push(0);
        });
        frame
    }

    fn with_severity(&self, severity: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        build::write_frame(&mut frame, backend::ERROR_RESPONSE, |to| {
            let mut rest = self.body();
            while let Some((kind @ 1.., after)) = rest.split_first() {
                let Some((value, next)) = view::split_cstr(after) else { break };
                to.push(*kind);
                to.extend_from_slice(if matches!(kind, b'S' | b'V') { severity } else { value });
                to.push(0);
                rest = next;
            }
            to.push(0);
        });
        frame
    }

    #[must_use]
    pub fn code(&self) -> &[u8] {
        view::Report::read(&self.0).code
    }

    #[must_use]
    pub fn message(&self) -> String {
        let report = view::Report::read(&self.0);
        format!("{} ({})", String::from_utf8_lossy(report.message), String::from_utf8_lossy(report.code))
    }
}
