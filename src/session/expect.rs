//! One reply that the backend, or pgweir itself, owes, and what becomes true with it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::measuring::Measure;
use super::mending::Mended;
use crate::prepared::Named;
use crate::settings::Profile;

/// The message that a reply will answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bind,
    Close,
    Describe,
    Execute,
    FunctionCall,
    Parse,
    Query,
    Sync,
}

/// Who gets the reply.
#[derive(Debug)]
pub(super) enum Who {
    /// We answer the client; the backend was not asked.
    Fake(&'static [u8]),
    /// As [`Who::Fake`], with a reply of its own.
    Say(Box<[u8]>),
    Forward,
    /// We asked; the client must not see the reply.
    Skip,
    /// A message of the client's that will be refused, sent for what PostgreSQL has to say before it comes to that: its
    /// error and its notices are the client's, its success is not.
    Doomed,
    /// Sent to fail: the client gets this error instead of the backend's.
    Substitute(Box<[u8]>),
    /// As [`Who::Skip`]; its error is told only if the client's own Query fails for it.
    Try,
}

impl Who {
    /// Whether the client must not see the reply.
    pub(super) fn is_skipped(&self) -> bool {
        matches!(self, Self::Skip | Self::Doomed | Self::Try)
    }
}

/// One expected reply.
#[derive(Debug)]
pub(super) struct Expect {
    pub(super) kind: Kind,
    pub(super) who: Who,
    /// What the message named.
    pub(super) about: Option<Named>,
    /// How many of the pending effects this reply confirms.
    pub(super) effects: u8,
    /// Whether what runs may drop statements that we believe to be there.
    pub(super) forgets: bool,
    /// Whether its outcome must be known before anything else is sent: it may ask for COPY data, or tell that what
    /// comes next must fail.
    pub(super) decides: bool,
    /// Whether the backend's copy is older than what it is used for: success shows that it is still good.
    pub(super) vouches: bool,
    /// Whether it binds a statement with a name to the unnamed portal, whose description may tell of that statement.
    pub(super) portrays: bool,
    /// Whether what runs decides what the session listens to.
    pub(super) followed: bool,
    /// Where statements of ours stand among those of a Query.
    pub(super) mended: Option<Box<Mended>>,
    /// What is to be told of it. In a box, as a reply is moved several times and few are measured.
    pub(super) measure: Option<Box<Measure>>,
    /// Statements that the DEALLOCATEs of a Query name, in their order.
    #[expect(clippy::box_collection, reason = "few replies have any, and each is moved")]
    pub(super) drops: Option<Box<VecDeque<Box<[u8]>>>>,
}

impl Expect {
    pub(super) fn new(kind: Kind, who: Who) -> Self {
        Self {
            kind,
            who,
            about: None,
            effects: 0,
            forgets: false,
            decides: false,
            vouches: false,
            portrays: false,
            followed: false,
            mended: None,
            measure: None,
            drops: None,
        }
    }

    pub(super) fn about(self, named: Named) -> Self {
        Self { about: Some(named), ..self }
    }

    pub(super) fn forgetting(self, forgets: bool) -> Self {
        Self { forgets, ..self }
    }

    pub(super) fn deciding(self, decides: bool) -> Self {
        Self { decides, ..self }
    }

    pub(super) fn following(self, followed: bool) -> Self {
        Self { followed, ..self }
    }

    pub(super) fn measuring(self, measure: Option<Measure>) -> Self {
        Self { measure: measure.map(Box::new), ..self }
    }

    pub(super) fn is_end_of_batch(&self) -> bool {
        matches!(self.kind, Kind::FunctionCall | Kind::Query | Kind::Sync)
    }

    pub(super) fn ends_clients_batch(&self) -> bool {
        self.is_end_of_batch() && !self.is_skipped()
    }

    /// Whether the client must not see the reply.
    pub(super) fn is_skipped(&self) -> bool {
        self.who.is_skipped()
    }

    pub(super) fn is_fake(&self) -> bool {
        matches!(self.who, Who::Fake(_) | Who::Say(_))
    }
}

/// What becomes true when a reply says so.
#[derive(Debug)]
pub(super) enum Effect {
    /// The backend lacks every statement with a name from now on.
    Clear,
    /// A statement of the session stands under its own name on the backend, or does not any more.
    Own(Box<[u8]>, bool),
    /// The backend knows of no draws from sequences any more.
    Discard,
    /// The backend lacks a statement from now on.
    Drop(u64),
    /// The backend holds a statement, made by the Parse with this number.
    Hold(u64, u64),
    /// The client's name stands for a statement, or for none.
    Name(Box<[u8]>, Option<Named>),
    /// The backend carries these settings.
    Profile(Arc<Profile>),
    /// The backend's unnamed statement.
    Unnamed(Option<u64>),
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) batch: u64,
    pub(super) effect: Effect,
}
