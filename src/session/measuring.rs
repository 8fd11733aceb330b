//! What is told of the client's statements when they end: which one it was, how long the server had it, what came of it.
//!
//! A statement is known by its digest, which is taken when it is parsed; what is the same for all executions is not
//! decided at each. A portal that is executed in pieces is one execution, as in pg_stat_statements. Statements that
//! PostgreSQL answers in one piece (it sends what a Query or a pipeline says when its buffer is full) end together as
//! far as anybody can see: the first of them is given the time that they took.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::expect::{Expect, Kind};
use super::turn::Turn;
use super::{Outgoing, Session};
use crate::prepared::{Names, Statement};
use crate::sql::{Digest, Lexing, Pattern, Weighed};
use crate::wire::Frame;
use crate::wire::scan::HEADER;
use crate::wire::sqlstate;
use crate::wire::tag::backend;
use crate::wire::view::{Report, Transaction, query_text, sampled_values, split_cstr};

/// Portals of one transaction that are told apart; executions of further ones are of nobody knows what.
const PORTALS: usize = 256;

/// How statements are measured.
#[derive(Debug)]
pub struct Measuring {
    /// Reads what a text's comments say about it.
    pub tags: Option<Arc<dyn ReadTags>>,
    /// Values that are bound are told too.
    pub parameters: bool,
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
}

/// One execution of a statement of the client's, at its end.
#[derive(Debug)]
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
    /// See [`ReadTags`].
    pub tags: u32,
    /// What was bound, where that is wanted.
    pub values: Option<Box<Values>>,
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
    what: What,
    sent: Instant,
    bytes: u64,
    tags: u32,
    /// The portal's number; 0 where it is none.
    portal: u32,
    /// Rows after which it pauses; 0 is never.
    most: u32,
    values: Option<Box<Values>>,
}

#[derive(Debug)]
enum What {
    One(Option<Digest>),
    /// A Query of several statements, and how many of them have ended.
    Several(Box<(Arc<Pattern>, usize)>),
    /// A Query that cannot be divided, and its rows so far.
    Whole(Digest, u64),
}

/// A portal of the transaction at hand.
#[derive(Debug)]
struct Portal {
    number: u32,
    name: Box<[u8]>,
    digest: Digest,
    tags: u32,
    values: Option<Box<Values>>,
    paused: Option<Paused>,
    /// It was executed to its end: whoever asks again gets nothing.
    done: bool,
}

/// What was executed of a portal that is not at its end.
#[derive(Debug, Default, Clone, Copy)]
struct Paused {
    rows: u64,
    server: Duration,
    bytes: u64,
}

/// What is known of the statements of one lease.
#[derive(Debug, Default)]
pub(super) struct Measures {
    portals: Vec<Portal>,
    numbered: u32,
    /// When the last one ended.
    last_end: Option<Instant>,
    /// When pgweir's own last one did.
    own_end: Option<Instant>,
    last: Option<Digest>,
    /// A transaction block is open, as far as replies have told.
    block: bool,
    /// Since when that block is idle.
    idle_since: Option<Instant>,
    /// Of the client's frames that belong to the next execution.
    bytes: u64,
    /// The statement whose frame waits for a lease.
    waiting: Option<Digest>,
    /// PostgreSQL was asked to cancel what runs, because the client wants it.
    cancel_asked: bool,
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
        Some(Measure { tags, ..Measure::new(what, now, size(frame)) })
    }

    /// What is to be told of the failure of a Parse.
    pub(super) fn measure_parse(&self, statement: &Statement, now: Instant) -> Option<Measure> {
        self.rules.measuring.as_ref()?;
        Some(Measure::new(What::One(digest_of(&statement.weighed)), now, 0))
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
        (portal, statement): (&[u8], &Statement),
        frame: &Frame<'_>,
        now: Instant,
        out: &mut Outgoing,
    ) {
        let Some(measuring) = &self.rules.measuring else { return };
        let values = measuring.parameters.then(|| sampled_values(frame.body)).flatten().map(Box::new);
        let read =
            |tags: &Arc<dyn ReadTags>| *statement.tags.get_or_init(|| tags.read(&statement.text, &self.lexing()));
        let tags = measuring.tags.as_ref().map_or(0, read);
        let turn = self.turn.get_or_insert_default();
        turn.portal_ends(portal, now, out);
        let Some(digest) = digest_of(&statement.weighed) else { return };
        let measures = &mut turn.measures;
        if measures.portals.len() >= PORTALS {
            return;
        }
        measures.numbered = measures.numbered.wrapping_add(1).max(1);
        let (number, name) = (measures.numbered, portal.into());
        measures.portals.push(Portal { number, name, digest, tags, values, paused: None, done: false });
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
        let weighed = turn.weighed.as_ref().and_then(digest_of);
        let digest = weighed.or(turn.measures.waiting.take());
        let cause = if sqlstate == sqlstate::QUERY_CANCELED { Cause::Cancel } else { Cause::Error };
        let failure = Some(Failure { sqlstate: code(sqlstate.as_bytes()), cause });
        out.events.push(Event::Ended(Ended { failure, extended, ..Ended::new(digest) }));
    }

    /// Nothing more will be heard of what runs: the backend is lost, or left alone.
    pub fn abandon(&mut self, sqlstate: &str, now: Instant, out: &mut Outgoing) {
        self.end_idleness(now, out);
        let Some(turn) = &mut self.turn else { return };
        let at_work = turn.queue.iter_mut().find_map(|expect| Some((expect.kind, expect.measure.take()?)));
        if let Some((kind, measure)) = at_work {
            let cause = if sqlstate == sqlstate::QUERY_CANCELED { Cause::Cancel } else { Cause::Error };
            turn.end_measure(measure, kind, Some(Failure { sqlstate: code(sqlstate.as_bytes()), cause }), now, out);
        }
    }

    /// PostgreSQL is being asked to cancel what runs for the client.
    pub fn cancel_is_sent(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.measures.cancel_asked = true;
        }
    }
}

impl Turn {
    /// A statement has ended: CommandComplete, EmptyQueryResponse or PortalSuspended has come for the head.
    pub(super) fn measure_completion(&mut self, frame: &Frame<'_>, now: Instant, out: &mut Outgoing) {
        let Some(head) = self.queue.front_mut() else { return };
        if head.is_skipped() {
            out.own_statements += 1;
            return;
        }
        let Some(measure) = &mut head.measure else { return };
        let rows = if frame.tag == backend::COMMAND_COMPLETE { rows_of(frame.body) } else { 0 };
        // What was sent to a COPY is here now, too.
        measure.bytes +=
            if head.kind == Kind::Query || head.decides { std::mem::take(&mut self.measures.bytes) } else { 0 };
        match (frame.tag, &mut measure.what) {
            (backend::EMPTY_QUERY_RESPONSE, _) => head.measure = None,
            (_, What::Whole(_, all)) => *all += rows,
            (backend::PORTAL_SUSPENDED, _) => {
                let measure = head.measure.take();
                if let Some(measure) = measure {
                    self.pause(measure, now, out);
                }
            }
            (_, What::Several(several)) => {
                let digest = several.0.parts.get(several.1).copied();
                several.1 += 1;
                let part =
                    Measure { tags: measure.tags, ..Measure::new(What::One(digest), measure.sent, measure.bytes) };
                measure.bytes = 0;
                let kind = head.kind;
                self.end_measure_with(part, kind, (None, rows), now, out);
            }
            (_, What::One(_)) => {
                let kind = head.kind;
                if let Some(measure) = head.measure.take() {
                    self.end_measure_with(measure, kind, (None, rows), now, out);
                }
            }
        }
        match frame.body {
            b"BEGIN\0" | b"START TRANSACTION\0" => self.measures.block = true,
            b"COMMIT\0" | b"ROLLBACK\0" | b"PREPARE TRANSACTION\0" => self.measures.block = false,
            _ => {}
        }
    }

    /// The head has failed with an error that the client is told, which has this SQLSTATE.
    pub(super) fn measure_failure(
        &mut self,
        report: &Report<'_>,
        ours: Option<&[u8]>,
        now: Instant,
        out: &mut Outgoing,
    ) {
        let Some(head) = self.queue.front_mut() else { return };
        let about = |expect: &Expect| {
            let digest = digest_of(&expect.about.as_ref()?.statement.weighed);
            Some(Measure::new(What::One(digest), now, 0))
        };
        let kind = head.kind;
        let measure = head.measure.take().or_else(|| {
            // What was parsed or described on its behalf has failed in place of what the client sent.
            let batch = self.queue.iter().take_while(|expect| !expect.is_end_of_batch());
            batch.take(2).find_map(about)
        });
        let Some(measure) = measure else { return };
        // Bodies of ours follow a header.
        let own = ours.map(|frame| Report::read(frame.get(HEADER..).unwrap_or_default()));
        let sqlstate = code(own.as_ref().unwrap_or(report).code);
        let cause = match own {
            _ if sqlstate != *b"57014" => Cause::Error,
            Some(_) => Cause::Timeout,
            None if self.measures.cancel_asked => Cause::Cancel,
            // Not by way of pgweir: by pg_cancel_backend, or by a timeout, the only one that there is here. The words
            // may be in any language, and then it is most likely the timeout.
            None if memchr::memmem::find(report.message, b"user request").is_some() => Cause::Cancel,
            None => Cause::Timeout,
        };
        self.end_measure(measure, kind, Some(Failure { sqlstate, cause }), now, out);
    }

    /// ReadyForQuery has come, for the client or for pgweir itself.
    pub(super) fn measure_ready(&mut self, now: Instant, out: &mut Outgoing) {
        if self.queue.front().is_some_and(Expect::is_skipped) {
            self.measures.own_end = Some(now);
        }
        let whole = self.queue.front_mut().and_then(|head| Some((head.kind, head.measure.take()?)));
        if let Some((kind, measure)) = whole
            && let What::Whole(_, rows) = measure.what
        {
            self.end_measure_with(measure, kind, (None, rows), now, out);
        }
        self.measures.block = self.status != Transaction::Idle;
        self.measures.cancel_asked = false;
        if !self.measures.block {
            for portal in std::mem::take(&mut self.measures.portals) {
                self.end_portal(portal, now, out);
            }
        } else if self.queue.len() == 1 {
            self.measures.idle_since = Some(now);
        }
    }

    /// A portal is closed, or its name is about to stand for another.
    pub(super) fn portal_ends(&mut self, name: &[u8], now: Instant, out: &mut Outgoing) {
        let place = self.measures.portals.iter().position(|portal| *portal.name == *Names::key(name));
        if let Some(place) = place {
            let portal = self.measures.portals.swap_remove(place);
            self.end_portal(portal, now, out);
        }
    }

    fn end_portal(&mut self, portal: Portal, now: Instant, out: &mut Outgoing) {
        if let Some(paused) = portal.paused {
            let measure = Measure::new(What::One(Some(portal.digest)), now, 0);
            let measure = Measure { tags: portal.tags, values: portal.values, ..measure };
            let mut ended = self.ended(&measure, Kind::Execute, now);
            ended.values = measure.values;
            out.events.push(Event::Ended(ended.after(paused)));
        }
    }

    /// The portal at the head has given as many rows as were asked for.
    fn pause(&mut self, measure: Measure, now: Instant, out: &mut Outgoing) {
        let server = self.server_time(measure.sent, now);
        let (rows, bytes, number) = (u64::from(measure.most), measure.bytes, measure.portal);
        let portal = self.measures.portals.iter_mut().find(|portal| portal.number == number);
        match portal {
            Some(portal) => {
                let paused = portal.paused.get_or_insert_default();
                paused.rows += rows;
                paused.server += server;
                paused.bytes += bytes;
                self.measures.last = Some(portal.digest);
            }
            // Its name stands for another already.
            None => {
                let mut ended = self.ended(&measure, Kind::Execute, now);
                (ended.server, ended.rows) = (server, rows);
                out.events.push(Event::Ended(ended));
            }
        }
        self.measures.last_end = Some(now);
    }

    fn end_measure(
        &mut self,
        measure: Measure,
        kind: Kind,
        failure: Option<Failure>,
        now: Instant,
        out: &mut Outgoing,
    ) {
        self.end_measure_with(measure, kind, (failure, 0), now, out);
    }

    fn end_measure_with(
        &mut self,
        mut measure: Measure,
        kind: Kind,
        (failure, rows): (Option<Failure>, u64),
        now: Instant,
        out: &mut Outgoing,
    ) {
        let mut ended = self.ended(&measure, kind, now);
        (ended.failure, ended.rows, ended.values) = (failure, rows, measure.values.take());
        if let Some(portal) = self.measures.portals.iter_mut().find(|portal| portal.number == measure.portal) {
            if std::mem::replace(&mut portal.done, true) && failure.is_none() {
                self.measures.last_end = Some(now);
                return;
            }
            ended.tags = portal.tags;
            ended.values = portal.values.take();
            if let Some(paused) = portal.paused.take() {
                ended = ended.after(paused);
            }
        }
        self.measures.last_end = Some(now);
        self.measures.last = ended.digest;
        out.events.push(Event::Ended(ended));
    }

    fn ended(&self, measure: &Measure, kind: Kind, now: Instant) -> Ended {
        let digest = match &measure.what {
            What::One(digest) => *digest,
            What::Several(several) => several.0.parts.get(several.1).copied(),
            What::Whole(digest, _) => Some(*digest),
        };
        Ended {
            server: self.server_time(measure.sent, now),
            bytes_from_client: measure.bytes,
            in_transaction: self.measures.block,
            extended: kind != Kind::Query,
            piped: self.measures.last_end.is_some_and(|end| measure.sent < end),
            tags: measure.tags,
            ..Ended::new(digest)
        }
    }

    fn server_time(&self, sent: Instant, now: Instant) -> Duration {
        let Measures { last_end, own_end, .. } = self.measures;
        let before = last_end.max(own_end);
        now.saturating_duration_since(before.map_or(sent, |end| end.max(sent)))
    }
}

impl Measures {
    /// What was said before does not belong to a Query.
    pub(super) fn begin_query(&mut self) {
        self.bytes = 0;
    }
}

impl Measure {
    fn new(what: What, sent: Instant, bytes: u64) -> Self {
        Self { what, sent, bytes, tags: 0, portal: 0, most: 0, values: None }
    }
}

impl Ended {
    fn new(digest: Option<Digest>) -> Self {
        Self {
            digest,
            failure: None,
            rows: 0,
            server: Duration::ZERO,
            bytes_from_client: 0,
            in_transaction: false,
            extended: false,
            piped: false,
            tags: 0,
            values: None,
        }
    }

    fn after(mut self, paused: Paused) -> Self {
        self.rows += paused.rows;
        self.server += paused.server;
        self.bytes_from_client += paused.bytes;
        self
    }
}

/// By what a text is known; `None` where it was not read.
fn digest_of(weighed: &Weighed) -> Option<Digest> {
    match weighed {
        Weighed::Anything => None,
        Weighed::Known(pattern) => Some(pattern.digest),
        Weighed::Later(digest) => Some(*digest),
    }
}

fn size(frame: &Frame<'_>) -> u64 {
    u64::try_from(HEADER + frame.len).unwrap_or(u64::MAX)
}

fn code(sqlstate: &[u8]) -> [u8; 5] {
    sqlstate.first_chunk().copied().unwrap_or(*b"XX000")
}

/// How many rows a command's tag speaks of (manual: "Message Formats", CommandComplete). MOVE passes by its rows.
fn rows_of(tag: &[u8]) -> u64 {
    if tag.starts_with(b"MOVE") {
        return 0;
    }
    let digits = tag.strip_suffix(b"\0").unwrap_or(tag).rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let number = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    number.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_of_a_tag_is_its_rows() {
        for (tag, rows) in
            [("INSERT 0 5\0", 5), ("SELECT 12\0", 12), ("COPY 3\0", 3), ("BEGIN\0", 0), ("MOVE 2\0", 0), ("\0", 0)]
        {
            assert_eq!(rows_of(tag.as_bytes()), rows, "{tag}");
        }
    }
}
