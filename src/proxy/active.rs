//! What a session owns only while it does something; an idle one gives all of it back.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::Instant;

use super::administration::MakingWay;
use super::buffer::{Inbox, Outbox};
use super::half_closed::HalfClosed;
use super::measuring::Measured;
use super::pinning::Pinning;
use super::route::Limits;
use super::standing_in::StandingIn;
use super::worker::{Alarm, SMALL_BUFFER};
use crate::backend::Dialer;
use crate::clients::KeptBackend;
use crate::notify::{Subscriber, Ticket};
use crate::pool::{Lease, Waiting};
use crate::session::{Outgoing, Wait};

/// A statement that does not heed its cancel is left alone for so long at least.
const CANCELLED_AGAIN: Duration = Duration::from_secs(1);

/// The active part of a session.
pub struct Active {
    pub(super) from_client: Inbox,
    pub(super) to_client: Outbox,
    /// Has room only while a backend is leased.
    pub(super) from_backend: Inbox,
    pub(super) to_backend: Outbox,
    pub(super) ownership: Ownership,
    /// The lease that is waited for was asked for in this very wake. It need not be looked for before the next: whoever
    /// gives it wakes the task.
    pub(super) asked_just_now: bool,
    /// What is still to come of a client's frame that was judged by its beginning.
    pub(super) client_rest: Rest,
    pub(super) backend_rest: Rest,
    /// What was read from the backend has not all been judged: the client is given something else before.
    pub(super) unjudged: bool,
    /// The client has said goodbye: what it asked for before is done, and then the session ends.
    pub(super) leaving: bool,
    /// Its stream has ended, and it is owed answers.
    pub(super) half_closed: Option<HalfClosed>,
    /// The client's next frame waits, and its type.
    pub(super) held: Option<(Wait, u8)>,
    /// A cancel that PostgreSQL has not acted on yet.
    pub(super) cancel: Option<Arc<AtomicBool>>,
    /// The client wants its statement cancelled, which may not run yet.
    pub(super) cancel_wanted: bool,
    /// A pin that is waited for with the lease in hand.
    pub(super) pinning: Option<Pinning>,
    pub(super) making_way: Option<MakingWay>,
    /// Sessions whose backends the statement at work may be about.
    pub(super) mentioned: Vec<KeptBackend>,
    pub(super) standing_in: Option<StandingIn>,
    /// The backend goes back as soon as nobody's statement is about it.
    pub(super) mentioned_by_others: bool,
    /// A LISTEN that waits for its backend.
    pub(super) listening: Option<Ticket>,
    /// What the frame at the head of the inbox waits for, whatever it is.
    pub(super) first: Option<Ticket>,
    /// That frame has waited.
    pub(super) asked_first: bool,
    /// What a ReadyForQuery waits for.
    pub(super) barrier: Option<Ticket>,
    /// The session is about to hear in another encoding.
    pub(super) moving: Option<Moving>,
    /// What keeps a backend that has notified.
    pub(super) settling: Option<Ticket>,
    pub(super) alarm: Arc<Alarm>,
    pub(super) out: Outgoing,
    /// Since when others have waited for a backend that is only better kept.
    pub(super) wanted_since: Option<Instant>,
    pub(super) work: Work,
    /// Those of the route as this wake found them.
    pub(super) limits: Arc<Limits>,
    /// When a frame last passed, in either direction.
    pub(super) last_frame: Option<Instant>,
    pub(super) bytes_from_client: u64,
    pub(super) bytes_to_client: u64,
    pub(super) measured: Measured,
}

/// The session's side of the listening backend that it will hear by, and what it waits for until then.
#[derive(Debug)]
pub(super) struct Moving {
    pub(super) to: Box<Subscriber>,
    pub(super) ticket: Ticket,
}

/// Whether the session has a backend.
#[derive(Debug, Default)]
pub(super) enum Ownership {
    Leased(Lease<Dialer>),
    #[default]
    None,
    Waiting {
        waiting: Waiting<Dialer>,
        asked: Instant,
    },
}

/// Since when the backend is at work for the session, as far as limits of time care.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Work {
    /// At the transaction at hand, or at a statement that is one of its own.
    pub(super) transaction: Option<Instant>,
    /// At the statement at hand.
    pub(super) statement: Option<Instant>,
    /// That was to be cancelled because it takes too long.
    pub(super) overdue: bool,
    /// At what pgweir asks of it once the client has been answered. No lock is waited for in that.
    pub(super) looks: Option<Instant>,
}

impl Work {
    /// Something was sent that will be answered.
    pub(super) fn begins(&mut self, now: Instant) {
        self.transaction.get_or_insert(now);
        self.statement.get_or_insert(now);
    }

    /// A statement has ended; the next one that was sent begins.
    pub(super) fn goes_on(&mut self, transaction_ended: bool, now: Instant) {
        let next = |since: Option<Instant>| since.map(|_| now);
        (self.statement, self.overdue) = (next(self.statement), false);
        if transaction_ended {
            self.transaction = next(self.transaction);
        }
    }

    /// The statement at hand is being cancelled because it takes longer than `limit`. One that does not heed that is
    /// cancelled again when it has taken as long once more.
    pub(super) fn note_cancel(&mut self, limit: Duration, now: Instant) {
        self.overdue = true;
        self.statement = Some(now + CANCELLED_AGAIN.saturating_sub(limit));
    }

    /// All that was sent is answered.
    pub(super) fn rests(&mut self, between_transactions: bool) {
        (self.statement, self.overdue) = (None, false);
        if between_transactions {
            self.transaction = None;
        }
    }
}

/// The part of a frame that is not here yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Rest {
    Forward(usize),
    #[default]
    None,
    Swallow(usize),
}

impl Rest {
    pub(super) fn of(bytes: usize, forward: bool) -> Self {
        match (bytes, forward) {
            (0, _) => Self::None,
            (bytes, true) => Self::Forward(bytes),
            (bytes, false) => Self::Swallow(bytes),
        }
    }

    /// Takes up to `here` bytes off; how many those are and whether they are forwarded.
    pub(super) fn take(&mut self, here: usize) -> (usize, bool) {
        let (left, forward) = match *self {
            Self::Forward(left) => (left, true),
            Self::None => (0, false),
            Self::Swallow(left) => (left, false),
        };
        let now = left.min(here);
        *self = Self::of(left - now, forward);
        (now, forward)
    }
}

impl std::fmt::Debug for Active {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Active").field("ownership", &self.ownership).field("held", &self.held).finish_non_exhaustive()
    }
}

impl Active {
    pub(super) fn new(room: Vec<u8>) -> Self {
        Self {
            from_client: Inbox::with_room(room),
            to_client: Outbox::default(),
            from_backend: Inbox::default(),
            to_backend: Outbox::default(),
            ownership: Ownership::None,
            asked_just_now: false,
            client_rest: Rest::None,
            backend_rest: Rest::None,
            unjudged: false,
            leaving: false,
            half_closed: None,
            held: None,
            cancel: None,
            cancel_wanted: false,
            pinning: None,
            making_way: None,
            mentioned: Vec::new(),
            standing_in: None,
            mentioned_by_others: false,
            listening: None,
            first: None,
            asked_first: false,
            barrier: None,
            moving: None,
            settling: None,
            alarm: Arc::default(),
            out: Outgoing::default(),
            wanted_since: None,
            work: Work::default(),
            limits: Arc::default(),
            last_frame: None,
            bytes_from_client: 0,
            bytes_to_client: 0,
            measured: Measured::default(),
        }
    }

    /// Hands on what the session has said, before the frame at hand if there is one. Whether it was anything.
    pub(super) fn hear_session(&mut self) -> bool {
        let spoken = !self.out.to_backend.is_empty() || !self.out.before.is_empty();
        self.to_backend.push(&self.out.to_backend);
        self.to_client.push(&self.out.before);
        self.out.to_backend.clear();
        self.out.before.clear();
        spoken
    }

    /// Nothing is on its way and nothing is owned: the session can do without this.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.ownership, Ownership::None)
            && self.from_client.is_empty()
            && self.to_client.is_empty()
            && self.client_rest == Rest::None
            && self.cancel.is_none()
            && self.half_closed.is_none()
    }

    /// As new, but for memory that is kept. In place, as every transaction ends with it; every field is named, so that
    /// none is forgotten.
    pub(super) fn clear(&mut self) {
        let Self {
            from_client,
            to_client,
            from_backend,
            to_backend,
            ownership,
            asked_just_now,
            client_rest,
            backend_rest,
            unjudged,
            leaving,
            half_closed,
            held,
            cancel,
            cancel_wanted,
            pinning,
            making_way,
            mentioned,
            standing_in,
            mentioned_by_others,
            listening,
            first,
            asked_first,
            barrier,
            moving,
            settling,
            alarm: _,
            out,
            wanted_since,
            work,
            limits: _,
            last_frame,
            bytes_from_client,
            bytes_to_client,
            measured,
        } = self;
        from_client.clear(SMALL_BUFFER);
        to_client.clear(SMALL_BUFFER);
        from_backend.clear(0);
        to_backend.clear(SMALL_BUFFER);
        *ownership = Ownership::None;
        (*client_rest, *backend_rest) = (Rest::None, Rest::None);
        (*unjudged, *leaving, *cancel_wanted, *mentioned_by_others, *asked_first) = (false, false, false, false, false);
        *asked_just_now = false;
        *held = None;
        *half_closed = None;
        *cancel = None;
        *pinning = None;
        *making_way = None;
        mentioned.clear();
        *standing_in = None;
        (*listening, *first, *barrier, *settling) = (None, None, None, None);
        *moving = None;
        (*wanted_since, *work, *last_frame) = (None, Work::default(), None);
        (*bytes_from_client, *bytes_to_client) = (0, 0);
        measured.clear();
        // A session that ends by an error may have said something that nobody was given.
        out.clear();
    }
}
