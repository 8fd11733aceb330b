//! The protocol state machine of one session: what each frame means, and what must happen because of it.
//!
//! It decides and never does: no sockets, no clock, no waiting. `proxy` gives it every frame that matters
//! ([`Session::from_client`], [`Session::from_backend`]) with the time, performs the [`Verdict`], writes out the
//! bytes it left in [`Outgoing`], and leases or releases a backend when it says so. PostgreSQL's own behaviour is
//! the measure (manual: "Message Flow"); what a backend holds is known from its replies alone.
//!
//! | to read about | go to |
//! |---|---|
//! | the queue of replies that are owed | `turn`; one of them: `expect`; what is known meanwhile: `outstanding`; used again: `spare` |
//! | frames of the client | `from_client`, prepared statements `statements`, what backends hold of them `copies` and `own_names`, portals `portals`, COPY `copying` |
//! | frames of the backend | `from_backend`, errors and values in other words `reports` |
//! | a Query that streams past | `passing` |
//! | errors of pgweir's own | `failing` |
//! | a Parse while no backend is free | `lone_parse` |
//! | statements that are to mean what they meant, whose columns change, batches that are sent again | `meaning`, `columns`, `repeat` |
//! | what a text may leave behind, and what it did | `weigh`, `functions`, what their code does `code`, then `state`, `look`, what is asked for that `questions` |
//! | what is told of statements that end | `measuring`, `ends` |
//! | what a text tells of its session alone | `telling`; what was drawn from sequences, and by whom: `draws` |
//! | RESET to what the client started with | `mending`; plans that others have left: `plans` |
//! | LISTEN by a shared backend | `listening`, its transactions `channels` |
//! | other connections: their process ids, commands that need them out of the way | `processes`, `making_way` |

mod asking;
mod channels;
mod code;
mod columns;
mod copies;
mod copying;
mod draws;
mod ends;
mod expect;
mod failing;
mod from_backend;
mod from_client;
mod functions;
mod listening;
mod lone_parse;
mod look;
mod making_way;
mod meaning;
mod measuring;
mod mending;
mod outstanding;
mod own_names;
mod passing;
mod plans;
mod portals;
mod processes;
mod questions;
mod repeat;
mod reports;
mod spare;
mod state;
mod statements;
mod telling;
mod turn;
mod weigh;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::Instant;

use crate::prepared::{Allowance, Held, Names, Registry};
use crate::settings::{Carried, Defaults, Profile, Profiles, WHO};
use crate::sql::Patterns;
use crate::wire::build::{self, Fault};
use crate::wire::sqlstate;
use crate::wire::tag::client;
use crate::wire::view::Transaction;
pub use channels::Change;
use copying::Copying;
pub use functions::Functions;
use listening::Hearing;
pub use listening::Wanted;
pub use measuring::{Cause, Ended, Event, Failure, Measuring, ReadTags, Sampled, Values};
pub use processes::{Mention, write_process};
pub use state::Keeps;
use state::State;
use turn::{Effect, Expect, Kind, Turn, Who};

/// How long a session keeps a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Until the client leaves.
    Session,
    /// Until the statement ends; transaction blocks are refused.
    Statement,
    /// Until the transaction ends.
    Transaction,
}

/// What currval and lastval can rely on.
#[derive(Debug)]
pub enum Sequences {
    /// On the backend of the last draw; once somebody has asked, on one that draws have pinned.
    Auto {
        asked: AtomicBool,
    },
    Off,
    Pin,
}

impl Sequences {
    /// Somebody asks what was drawn, now or some other time.
    fn ask(&self) {
        if let Self::Auto { asked } = self {
            asked.store(true, Ordering::Relaxed);
        }
    }
}

/// What the sessions of one pool have in common.
#[derive(Debug)]
pub struct Rules {
    pub sequences: Sequences,
    /// Somebody who listens has asked for its channels in a batch that had begun, which was too late to bring them. From
    /// then on they are brought before every batch of those who listen.
    pub channels_asked_late: AtomicBool,
    pub hold: Hold,
    pub promote_unnamed: bool,
    /// Statements one client may name.
    pub allowance: Allowance,
    /// Replies one client may be owed.
    pub pipeline: usize,
    pub registry: Arc<Registry>,
    /// Another one for each pool: a text that is prepared elsewhere is another statement.
    pub scope: u64,
    pub profiles: Arc<Profiles>,
    pub patterns: Arc<Patterns>,
    pub functions: Arc<Functions>,
    /// `None` where nothing is told of statements.
    pub measuring: Option<Measuring>,
    pub met: LimitsMet,
}

/// How often sessions met a limit of theirs.
#[derive(Debug, Default)]
pub struct LimitsMet {
    pub client_statements: Arc<AtomicU64>,
    pub client_statement_memory: Arc<AtomicU64>,
    pub pipeline: Arc<AtomicU64>,
}

/// What the session may know and change of the backend it has leased.
#[derive(Debug)]
pub struct Leased<'a> {
    pub held: &'a mut Held,
    pub carried: &'a mut Carried,
    /// It stays with the session beyond its transaction.
    pub pinned: bool,
}

/// What is to be done with one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Forward,
    /// Judge this frame again, unread, after what it waits for.
    Hold(Wait),
    /// The beginning of the frame is replaced by what was left in [`Outgoing`]; from this byte of its body on it
    /// is forwarded.
    Replace(usize),
    Swallow,
    /// The client ends its session.
    Terminate,
}

/// What a held frame waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    Lease,
    /// That the leased backend may be kept, because of this.
    Pin(Keeps),
    /// A backend that may be kept.
    PinnedLease(Keeps),
    /// The backend where the session last drew from a sequence.
    SameLease,
    /// The end of a batch that was sent before.
    Replies,
    /// That a shared backend listens, as [`Session::wants_to_listen`] says.
    Listen,
    /// That the backend was told which channels the session listens to.
    Channels,
    /// That the processes of [`Session::mentions`] are known.
    Processes,
    /// That nobody else is connected to the databases that [`Session::wants_way_for`] names.
    Way,
}

impl Wait {
    /// Why the backend would be kept.
    #[must_use]
    pub fn keeps(self) -> Keeps {
        match self {
            Self::Pin(keeps) | Self::PinnedLease(keeps) => keeps,
            _ => Keeps::empty(),
        }
    }

    /// Whether no backend is leased yet.
    #[must_use]
    pub fn is_for_lease(self) -> bool {
        matches!(self, Self::Lease | Self::PinnedLease(_) | Self::SameLease)
    }
}

/// Bytes that the session itself says.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// For the backend, before the frame at hand.
    pub to_backend: Vec<u8>,
    /// For the client, before the frame at hand.
    pub before: Vec<u8>,
    /// For the client, after the frame at hand.
    pub after: Vec<u8>,
    /// To be counted, in order.
    pub events: Vec<Event>,
    /// Statements of pgweir's own that have ended.
    pub own_statements: u64,
    /// What served a turn that is over, for the next.
    spare: Option<Box<Turn>>,
}

impl Outgoing {
    /// Forgets whatever was said and not taken.
    pub fn clear(&mut self) {
        let Self { to_backend, before, after, events, own_statements, spare: _ } = self;
        to_backend.clear();
        before.clear();
        after.clear();
        events.clear();
        *own_statements = 0;
    }
}

/// What a client that is gone did not say to the end, where its backend waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// Nothing: what is owed will come.
    No,
    /// A batch that may do something: its Sync would commit it.
    Batch,
    /// The data of a COPY.
    Copy,
    /// A batch that has failed: its Sync does no harm.
    FailedBatch,
}

/// Whose statement a backend is at work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    Clients,
    Nothing,
    /// What pgweir sent on its own, before the client's next statement or after its last.
    Ours,
}

/// Why a session cannot go on; the backend, if there is one, is closed too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The backend said what was not expected: after this nothing it says can be trusted.
    #[error("unexpected message {:?} from PostgreSQL", char::from(*.0))]
    Desync(u8),
    /// The client is told and closed.
    #[error("{}", .0.message)]
    Client(Box<Fault>),
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Client(Box::new(fault))
    }
}

impl From<crate::wire::Malformed> for Broken {
    fn from(malformed: crate::wire::Malformed) -> Self {
        Fault::from(malformed).into()
    }
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    rules: Arc<Rules>,
    /// What the client's settings are now.
    profile: Arc<Profile>,
    /// What they were at its start: where DISCARD ALL and RESET ALL return to.
    startup: Arc<Profile>,
    /// What the client was told of settings that it has not set.
    told: Arc<Defaults>,
    names: Names,
    state: State,
    /// To anything, by a shared backend.
    listening: bool,
    /// Present while a backend is leased or replies are owed: an idle session holds next to nothing.
    turn: Option<Box<Turn>>,
}

impl Session {
    #[must_use]
    pub fn new(rules: Arc<Rules>, profile: Arc<Profile>, told: Arc<Defaults>) -> Self {
        Self {
            rules,
            told,
            startup: Arc::clone(&profile),
            profile,
            names: Names::default(),
            state: State::default(),
            listening: false,
            turn: None,
        }
    }

    /// The settings that a backend must carry for this session.
    #[must_use]
    pub fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// Whether a frame of this type, with a body of so many bytes, must be here whole before it is judged, where simple
    /// queries of up to `longest_query` bytes are read.
    #[must_use]
    pub fn needs_whole(tag: u8, body: usize, longest_query: usize) -> bool {
        match tag {
            client::PARSE | client::DESCRIBE | client::CLOSE | client::EXECUTE => true,
            // A longer text may do anything.
            client::QUERY => body <= longest_query,
            _ => false,
        }
    }

    /// A backend was leased: whatever it must be told before the client's first frame is in `out`.
    pub fn leased(&mut self, leased: &mut Leased<'_>, out: &mut Outgoing) {
        let turn = self.turn.get_or_insert_default();
        turn.leased = true;
        turn.unused = true;
        self.tell_defaults(leased, out);
        self.apply_profile(leased, out);
    }

    /// Tells the client what has become of settings that it has not set, where the server has other values for them than
    /// it had.
    fn tell_defaults(&mut self, leased: &Leased<'_>, out: &mut Outgoing) {
        let defaults = &leased.carried.defaults;
        if Arc::ptr_eq(defaults, &self.told) {
            return;
        }
        let is_own = |name: &[u8]| WHO.contains(&name) || self.profile.get(&name.to_ascii_lowercase()).is_some();
        for (name, value) in defaults.iter().filter(|(name, _)| !is_own(name)) {
            if self.told.get(name) != Some(value) {
                build::parameter_status_raw(&mut out.before, name, value);
            }
        }
        self.told = Arc::clone(defaults);
    }

    /// No backend could be leased: the frame that asked for one, of type `tag`, is answered with `fault`.
    pub fn lease_failed(&mut self, tag: u8, fault: &Fault, out: &mut Outgoing) {
        self.measure_no_lease(fault.code, tag != client::QUERY, out);
        let turn = self.turn.get_or_insert_default();
        turn.answer_fakes(&mut self.names, &mut out.before);
        turn.forget_replies();
        out.before.extend_from_slice(&fault.to_frame());
        if matches!(tag, client::QUERY | client::FUNCTION_CALL) {
            out.before.extend_from_slice(&build::ready_for_query(Transaction::Idle));
            self.turn = None;
        } else {
            turn.skipping = true;
        }
    }

    /// Whether the backend can go back to its pool: idle, nothing owed, nothing left behind.
    #[must_use]
    pub fn may_release(&self) -> bool {
        // The frame at hand has been judged with it.
        let awaited =
            |turn: &Turn| turn.unused || turn.head.channels_awaited || !matches!(turn.head.hearing, Hearing::No);
        let wanted = self.turn.as_ref().is_some_and(|turn| awaited(turn));
        self.rules.hold != Hold::Session && !wanted && self.is_between_transactions()
    }

    /// Whether a leased backend stands between two transactions, with nothing owed or half sent.
    #[must_use]
    pub fn is_between_transactions(&self) -> bool {
        self.turn.as_ref().is_none_or(|turn| turn.is_settled())
    }

    /// Whether nothing runs: the client has been answered, though its transaction may be open.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.turn.as_ref().is_none_or(|turn| !turn.leased || turn.is_answered())
    }

    /// Whether a cancel alone would leave work of the client's to be done: it stops one batch, and PostgreSQL goes on with
    /// the next, as if the first had not been.
    #[must_use]
    pub fn outlasts_cancel(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.batches() > 1)
    }

    /// Whether a statement of the client's has been sent and not been answered.
    #[must_use]
    pub fn owes_client(&self) -> bool {
        let ours = |turn: &Turn| !turn.queue.is_empty() && turn.queue.iter().all(Expect::is_skipped);
        self.turn.as_ref().is_some_and(|turn| turn.leased && !turn.is_answered() && !ours(turn))
    }

    /// Whose statement the backend is at work on.
    #[must_use]
    pub fn running(&self) -> Running {
        let Some(turn) = self.turn.as_ref().filter(|turn| turn.leased) else { return Running::Nothing };
        // What is ours within a batch of the client's is done at once, and PostgreSQL keeps its replies until the end.
        let in_between = |expect: &&Expect| expect.is_skipped() && !expect.is_end_of_batch();
        match turn.queue.iter().find(|expect| !in_between(expect)) {
            Some(expect) if expect.is_skipped() => Running::Ours,
            None if !turn.queue.is_empty() => Running::Ours,
            _ if turn.is_answered() => Running::Nothing,
            _ => Running::Clients,
        }
    }

    /// Whether nothing is left to do for a client that says no more: PostgreSQL undoes what no Sync or Query has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.turn.as_ref().is_none_or(|turn| !turn.ready_kept && (!turn.leased || turn.is_finished()))
    }

    /// What the backend still waits for from the client.
    #[must_use]
    pub fn unfinished(&self) -> Unfinished {
        match &self.turn {
            Some(turn) if matches!(turn.copying, Copying::Open { .. }) => Unfinished::Copy,
            // The end of its data is on its way.
            Some(turn) if matches!(turn.copying, Copying::Ended { .. }) => Unfinished::No,
            Some(turn) if turn.skipping => Unfinished::FailedBatch,
            Some(turn) if turn.open_batch || turn.deferred.is_some() => Unfinished::Batch,
            Some(_) | None => Unfinished::No,
        }
    }

    /// What the last ReadyForQuery said.
    #[must_use]
    pub fn transaction(&self) -> Transaction {
        self.turn.as_ref().map(|turn| turn.status).unwrap_or_default()
    }

    /// The backend has gone back.
    pub fn released(&mut self, out: &mut Outgoing) {
        out.spare = self.turn.take().map(|mut turn| {
            turn.clear();
            turn
        });
    }

    /// The backend is gone. The error that the client must be sent, unless the backend's own last words were
    /// passed on.
    #[must_use]
    pub fn backend_lost(&mut self) -> Option<Fault> {
        let told = self.turn.take().is_some_and(|turn| turn.fatal);
        (!told).then(|| {
            Fault::fatal(sqlstate::CONNECTION_FAILURE, "the connection to PostgreSQL was lost")
                .detail("The server closed the connection before it had answered; an open transaction was rolled back.")
                .hint("Connect again; whether the last statement took effect is not known.")
        })
    }

    /// The running statement is about to be cancelled by pgweir: its error is replaced by `fault`.
    pub fn cancelling(&mut self, fault: &Fault) {
        if let Some(turn) = &mut self.turn {
            turn.cancel_report = Some(fault.to_frame().into_boxed_slice());
        }
    }

    /// Makes the backend carry the session's settings, where it does not.
    fn apply_profile(&mut self, leased: &mut Leased<'_>, out: &mut Outgoing) {
        if leased.carried.is(&self.profile) {
            return;
        }
        let mut text = Vec::new();
        if self.rereads_functions(&leased.carried.profile) {
            text.extend([plans::DISCARD, b";"].concat());
        }
        let may_be_refused = crate::settings::write_transition(&mut text, leased.carried, &self.profile);
        build::write_query(&mut out.to_backend, &text);
        // A simple query drops the unnamed statement.
        leased.held.set_unnamed(None);
        let turn = self.turn.get_or_insert_default();
        turn.end_batch();
        turn.may_be_refused = may_be_refused;
        turn.expect(Expect::new(Kind::Query, Who::Skip), [Effect::Profile(Arc::clone(&self.profile))]);
    }

    /// Notes when the running statement was sent, for those that are measured.
    fn measure(&mut self, statement: Option<Arc<crate::prepared::Statement>>, now: Instant) {
        if let Some(turn) = &mut self.turn {
            turn.measured = statement.map(|statement| (statement, now));
        }
    }
}
