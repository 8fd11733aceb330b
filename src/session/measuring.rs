//! What is told of the client's statements when they end: which one it was, how long the server had it, what came of it.
//!
//! A statement is known by its digest, which is taken when it is parsed; what is the same for all executions is not
//! decided at each. A portal that is executed in pieces is one execution, as in pg_stat_statements. Statements that
//! PostgreSQL answers in one piece (it sends what a Query or a pipeline says when its buffer is full) end together as
//! far as anybody can see: the first of them has the time that they took, and the others say that they ended with it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Outgoing, Session};
use crate::prepared::Statement;
use crate::sql::{Digest, Lexing, Pattern, Weighed};
use crate::wire::Frame;
use crate::wire::scan::HEADER;
use crate::wire::sqlstate;
use crate::wire::view::{query_text, sampled_values, split_cstr};

/// Portals of one transaction that are told apart; executions of further ones are of nobody knows what.
const PORTALS: usize = 256;

/// Bytes of the longest text that is told.
const SAMPLED: usize = 64 * 1024;

/// How statements are measured.
#[derive(Debug)]
pub struct Measuring {
    /// Reads what a text's comments say about it.
    pub tags: Option<Arc<dyn ReadTags>>,
    /// Values that are bound are told too.
    pub parameters: bool,
    /// Statements are told as they were sent.
    pub texts: bool,
}

/// A statement as it was sent.
#[derive(Debug, Clone)]
pub enum Sampled {
    Prepared(Arc<Statement>),
    Query(Box<[u8]>),
}

/// Reads the tags in the comments of a text.
pub trait ReadTags: fmt::Debug + Send + Sync {
    /// The number of a set of tags; 0 where there is none.
    fn read(&self, text: &[u8], lexing: &Lexing) -> u32;
}

/// Something that is to be counted.
#[derive(Debug)]
pub enum Event {
    Ended(Ended),
    /// A transaction was idle for so long after a statement.
    Idled {
        digest: Option<Digest>,
        for_: Duration,
    },
    /// An error that is of no execution's: what has ended turned out to be in vain when its transaction was to be
    /// committed, or what should have been executed is not known.
    Failed {
        digest: Option<Digest>,
        failure: Failure,
    },
}

/// One execution of a statement of the client's, at its end.
#[derive(Debug, Default)]
pub struct Ended {
    /// `None` where it is not known what was executed.
    pub digest: Option<Digest>,
    /// `None` where it succeeded.
    pub failure: Option<Failure>,
    pub rows: u64,
    /// From when it was sent, or when the one before it had ended, to its end.
    pub server: Duration,
    pub bytes_from_client: u64,
    pub in_transaction: bool,
    pub extended: bool,
    /// It was sent before its predecessor had ended.
    pub piped: bool,
    /// Its end was read together with that of its predecessor, which was given the time of both.
    pub with_last: bool,
    /// It only says what its session or transaction is from now on, which takes no time worth mentioning.
    pub brief: bool,
    /// See [`ReadTags`].
    pub tags: u32,
    /// What was bound, where that is wanted.
    pub values: Option<Box<Values>>,
    /// The statement itself, where that is wanted.
    pub sampled: Option<Box<Sampled>>,
}

/// Bound values as text, those of binary format in hexadecimal digits; `None` for NULL.
pub type Values = Vec<Option<Box<str>>>;

/// How an execution failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub sqlstate: [u8; 5],
    pub cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// By somebody's request.
    Cancel,
    Error,
    Timeout,
}

/// What a reply will tell of.
#[derive(Debug)]
pub(super) struct Measure {
    pub(super) what: What,
    pub(super) sent: Instant,
    pub(super) bytes: u64,
    pub(super) tags: u32,
    /// The portal's number; 0 where it is none.
    pub(super) portal: u32,
    /// Rows after which it pauses; 0 is never.
    pub(super) most: u32,
    pub(super) values: Option<Box<Values>>,
    pub(super) sampled: Option<Box<Sampled>>,
}

#[derive(Debug)]
pub(super) enum What {
    One(Option<Digest>),
    /// A Query of several statements, and how many of them have ended.
    Several(Box<(Arc<Pattern>, usize)>),
    /// A Query that cannot be divided, and its rows so far.
    Whole(Digest, u64),
}

/// A portal of the transaction at hand.
#[derive(Debug)]
pub(super) struct Portal {
    pub(super) number: u32,
    pub(super) name: Box<[u8]>,
    pub(super) digest: Digest,
    pub(super) tags: u32,
    pub(super) values: Option<Box<Values>>,
    pub(super) sampled: Option<Box<Sampled>>,
    pub(super) paused: Option<Paused>,
    /// It was executed to its end: whoever asks again gets nothing.
    pub(super) done: bool,
}

/// What was executed of a portal that is not at its end.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Paused {
    pub(super) rows: u64,
    pub(super) server: Duration,
    pub(super) bytes: u64,
}

/// What is known of the statements of one lease.
#[derive(Debug, Default)]
pub(super) struct Measures {
    pub(super) portals: Vec<Portal>,
    pub(super) numbered: u32,
    /// When the last one ended.
    pub(super) last_end: Option<Instant>,
    /// When pgweir's own last one did.
    pub(super) own_end: Option<Instant>,
    pub(super) last: Option<Digest>,
    /// A transaction block is open, as far as replies have told.
    pub(super) block: bool,
    /// Since when that block is idle.
    pub(super) idle_since: Option<Instant>,
    /// Of the client's frames that belong to the next execution.
    pub(super) bytes: u64,
    /// The statement whose frame waits for a lease.
    pub(super) waiting: Option<Digest>,
    /// PostgreSQL was asked to cancel what runs, because the client wants it.
    pub(super) cancel_asked: bool,
}

impl Measures {
    /// As new, but for the memory of some portals.
    pub(super) fn clear(&mut self, kept: usize) {
        let mut portals = std::mem::take(&mut self.portals);
        portals.clear();
        portals.shrink_to(kept);
        *self = Self { portals, ..Self::default() };
    }
}

impl Session {
    /// What is to be told of a Query.
    pub(super) fn measure_query(&self, weighed: &Weighed, frame: &Frame<'_>, now: Instant) -> Option<Measure> {
        let measuring = self.rules.measuring.as_ref()?;
        let text = query_text(frame.body);
        let what = match weighed {
            Weighed::Anything => What::Whole(self.rules.patterns.beginning(text, &self.lexing()), 0),
            Weighed::Later(digest) => What::One(Some(*digest)),
            Weighed::Known(pattern) if !pattern.parts.is_empty() => What::Several(Box::new((Arc::clone(pattern), 0))),
            Weighed::Known(pattern) if pattern.traits.statements > 1 => What::Whole(pattern.digest, 0),
            Weighed::Known(pattern) => What::One(Some(pattern.digest)),
        };
        let tags = measuring.tags.as_ref().map_or(0, |tags| tags.read(text, &self.lexing()));
        let alone = matches!(what, What::One(_)) && frame.is_whole() && text.len() <= SAMPLED;
        let sampled = (measuring.texts && alone).then(|| Box::new(Sampled::Query(text.into())));
        Some(Measure { tags, sampled, ..Measure::new(what, now, size(frame)) })
    }

    /// What is to be told of the failure of a Parse.
    pub(super) fn measure_parse(&self, statement: &Statement, now: Instant) -> Option<Measure> {
        self.rules.measuring.as_ref()?;
        Some(Measure::new(What::One(digest_of(statement.weighed())), now, 0))
    }

    /// What is to be told of an execution.
    pub(super) fn measure_execute(&mut self, frame: &Frame<'_>, now: Instant) -> Option<Measure> {
        self.rules.measuring.as_ref()?;
        let (name, most) = split_cstr(frame.body).unwrap_or_default();
        let most = most.first_chunk().map_or(0, |most| i32::from_be_bytes(*most));
        let measures = &mut self.turn.get_or_insert_default().measures;
        let bytes = std::mem::take(&mut measures.bytes) + size(frame);
        let portal = measures.portals.iter().find(|portal| *portal.name == *name);
        let measure = Measure::new(What::One(portal.map(|portal| portal.digest)), now, bytes);
        let most = u32::try_from(most).unwrap_or(0);
        Some(Measure { portal: portal.map_or(0, |portal| portal.number), most, ..measure })
    }

    /// A portal is to stand for a statement.
    pub(super) fn measure_bind(
        &mut self,
        (portal, statement): (&[u8], &Arc<Statement>),
        frame: &Frame<'_>,
        now: Instant,
        out: &mut Outgoing,
    ) {
        let Some(measuring) = &self.rules.measuring else { return };
        let values = measuring.parameters.then(|| sampled_values(frame.body)).flatten().map(Box::new);
        let read =
            |tags: &Arc<dyn ReadTags>| *statement.tags.get_or_init(|| tags.read(&statement.text, &self.lexing()));
        let tags = measuring.tags.as_ref().map_or(0, read);
        let wanted = measuring.texts && statement.text.len() <= SAMPLED;
        let sampled = wanted.then(|| Box::new(Sampled::Prepared(Arc::clone(statement))));
        let turn = self.turn.get_or_insert_default();
        turn.portal_ends(portal, now, out);
        let Some(digest) = digest_of(statement.weighed()) else { return };
        let measures = &mut turn.measures;
        if measures.portals.len() >= PORTALS {
            return;
        }
        measures.numbered = measures.numbered.wrapping_add(1).max(1);
        let (number, name) = (measures.numbered, portal.into());
        measures.portals.push(Portal { number, name, digest, tags, values, sampled, paused: None, done: false });
    }

    /// A frame of the client's goes on, or has been answered.
    pub(super) fn measure_frame(&mut self, frame: &Frame<'_>) {
        if self.rules.measuring.is_some()
            && let Some(turn) = &mut self.turn
        {
            turn.measures.bytes += size(frame);
        }
    }

    /// The client says something: an idle transaction is idle no more.
    pub(super) fn end_idleness(&mut self, now: Instant, out: &mut Outgoing) {
        let Some(measures) = self.turn.as_mut().map(|turn| &mut turn.measures) else { return };
        if let Some(since) = measures.idle_since.take() {
            out.events.push(Event::Idled { digest: measures.last, for_: now.saturating_duration_since(since) });
        }
    }

    /// The statement of a frame that is about to wait for a lease.
    pub(super) fn measure_waiting(&mut self, weighed: Option<&Weighed>) {
        let digest = weighed.filter(|_| self.rules.measuring.is_some()).and_then(digest_of);
        self.turn.get_or_insert_default().measures.waiting = digest;
    }

    /// What waited for a lease was answered with an error.
    pub(super) fn measure_no_lease(&mut self, sqlstate: &str, extended: bool, out: &mut Outgoing) {
        let Some(turn) = self.turn.as_mut().filter(|_| self.rules.measuring.is_some()) else { return };
        let weighed = turn.head.weighed.as_ref().and_then(digest_of);
        let waiting = turn.measures.waiting.take();
        let digest = weighed.or(waiting);
        let cause = if sqlstate == sqlstate::QUERY_CANCELED { Cause::Cancel } else { Cause::Error };
        let failure = Some(Failure { sqlstate: code(sqlstate.as_bytes()), cause });
        out.events.push(Event::Ended(Ended { failure, extended, ..Ended::new(digest) }));
    }

    /// Nothing more will be heard of what runs: the backend is lost, or left alone.
    pub fn abandon(&mut self, sqlstate: &str, now: Instant, out: &mut Outgoing) {
        self.end_idleness(now, out);
        // Its last words have told already.
        let Some(turn) = self.turn.as_mut().filter(|turn| !turn.fatal) else { return };
        let at_work = turn.queue.iter_mut().find_map(|expect| Some((expect.kind, expect.measure.take()?)));
        if let Some((kind, measure)) = at_work {
            let cause = if sqlstate == sqlstate::QUERY_CANCELED { Cause::Cancel } else { Cause::Error };
            turn.end_measure(*measure, kind, Some(Failure { sqlstate: code(sqlstate.as_bytes()), cause }), now, out);
        }
    }

    /// PostgreSQL is being asked to cancel what runs for the client.
    pub fn cancel_is_sent(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.measures.cancel_asked = true;
        }
    }
}

impl Measures {
    /// What was said before does not belong to a Query.
    pub(super) fn begin_query(&mut self) {
        self.bytes = 0;
    }
}

impl Measure {
    pub(super) fn new(what: What, sent: Instant, bytes: u64) -> Self {
        Self { what, sent, bytes, tags: 0, portal: 0, most: 0, values: None, sampled: None }
    }
}

/// By what a text is known; `None` where it was not read.
pub(super) fn digest_of(weighed: &Weighed) -> Option<Digest> {
    match weighed {
        Weighed::Anything => None,
        Weighed::Known(pattern) => Some(pattern.digest),
        Weighed::Later(digest) => Some(*digest),
    }
}

fn size(frame: &Frame<'_>) -> u64 {
    u64::try_from(HEADER + frame.len).unwrap_or(u64::MAX)
}

pub(super) fn code(sqlstate: &[u8]) -> [u8; 5] {
    sqlstate.first_chunk().copied().unwrap_or(*b"XX000")
}
