//! The end of statements: which replies say so, and what is told then.

use std::time::Duration;

use tokio::time::Instant;

use super::Outgoing;
use super::copying::Copying;
use super::expect::{Expect, Kind};
use super::measuring::{Cause, Ended, Event, Failure, Measure, Measures, Paused, Portal, What, code, digest_of};
use super::turn::Turn;
use crate::prepared::Names;
use crate::sql::Digest;
use crate::wire::Frame;
use crate::wire::scan::HEADER;
use crate::wire::tag::backend;
use crate::wire::view::{Report, Transaction};

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
        // What was sent to a COPY is part of it.
        if matches!(self.copying, Copying::Open { .. } | Copying::Ended { .. }) {
            measure.bytes += std::mem::take(&mut self.measures.bytes);
        }
        match (frame.tag, &mut measure.what) {
            (backend::EMPTY_QUERY_RESPONSE, _) => head.measure = None,
            (_, What::Whole(_, all)) => *all += rows,
            (backend::PORTAL_SUSPENDED, _) => {
                let measure = head.measure.take();
                if let Some(measure) = measure {
                    self.pause(&measure, now, out);
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
                    self.end_measure_with(*measure, kind, (None, rows), now, out);
                }
            }
        }
        if let Some(Event::Ended(ended)) = out.events.last_mut() {
            ended.brief = is_brief(frame.body);
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
            let digest = digest_of(expect.about.as_ref()?.statement.weighed());
            Some(Measure::new(What::One(digest), now, 0))
        };
        let kind = head.kind;
        let measure = head.measure.take().map(|measure| *measure).or_else(|| {
            // What was parsed or described on its behalf has failed in place of what the client sent.
            let batch = self.queue.iter().take_while(|expect| !expect.is_end_of_batch());
            batch.take(2).find_map(about)
        });
        self.measures.bytes = 0;
        let failure = self.failure(report, ours);
        match measure {
            Some(measure) => self.end_measure(measure, kind, Some(failure), now, out),
            // Nobody's statement ends a connection.
            None if report.is_fatal() => {}
            None => {
                // What fails at a Sync is what it commits.
                let digest = self.measures.last.filter(|_| kind == Kind::Sync);
                out.events.push(Event::Failed { digest, failure });
            }
        }
    }

    fn failure(&self, report: &Report<'_>, ours: Option<&[u8]>) -> Failure {
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
        Failure { sqlstate, cause }
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
            self.end_measure_with(*measure, kind, (None, rows), now, out);
        }
        self.measures.block = self.status != Transaction::Idle;
        self.measures.cancel_asked = false;
        if !self.measures.block {
            while let Some(portal) = self.measures.portals.pop() {
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
            let measure = Measure { tags: portal.tags, ..measure };
            let mut ended = self.ended(&measure, Kind::Execute, now);
            (ended.values, ended.sampled) = (portal.values, portal.sampled);
            out.events.push(Event::Ended(ended.after(paused)));
        }
    }

    /// The portal at the head has given as many rows as were asked for.
    fn pause(&mut self, measure: &Measure, now: Instant, out: &mut Outgoing) {
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
                let mut ended = self.ended(measure, Kind::Execute, now);
                (ended.server, ended.rows) = (server, rows);
                out.events.push(Event::Ended(ended));
            }
        }
        self.measures.last_end = Some(now);
    }

    pub(super) fn end_measure(
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
        (ended.failure, ended.rows) = (failure, rows);
        (ended.values, ended.sampled) = (measure.values.take(), measure.sampled.take());
        if let Some(portal) = self.measures.portals.iter_mut().find(|portal| portal.number == measure.portal) {
            if std::mem::replace(&mut portal.done, true) && failure.is_none() {
                self.measures.last_end = Some(now);
                return;
            }
            ended.tags = portal.tags;
            (ended.values, ended.sampled) = (portal.values.take(), portal.sampled.take());
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
            with_last: self.measures.last_end == Some(now),
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

impl Ended {
    pub(super) fn new(digest: Option<Digest>) -> Self {
        Self { digest, ..Self::default() }
    }

    fn after(mut self, paused: Paused) -> Self {
        self.rows += paused.rows;
        self.server += paused.server;
        self.bytes_from_client += paused.bytes;
        self
    }
}

/// Whether a command with this tag does no work of its own. COMMIT and ROLLBACK may do a lot.
fn is_brief(tag: &[u8]) -> bool {
    let brief: [&[u8]; 9] = [
        b"BEGIN\0",
        b"DEALLOCATE\0",
        b"LISTEN\0",
        b"RELEASE\0",
        b"RESET\0",
        b"SAVEPOINT\0",
        b"SET\0",
        b"START TRANSACTION\0",
        b"UNLISTEN\0",
    ];
    brief.contains(&tag)
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
