//! What the session has to tell of statements that have ended, with the times that only the way here knows: waiting for
//! a backend, and for the client to take its answer.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::active::Active;
use super::serve::Serve;
use crate::insight::plans::Sent;
use crate::insight::{Execution, Failed, SlowExecution};
use crate::session::{Cause, Ended, Event, Failure, Outgoing, Sampled, Values};
use crate::settings::SEARCH_PATH;
use crate::sql::{Lexing, last_parameter};
use crate::wire::view::parameter_types;

/// What the session has told, and what is known here of it.
#[derive(Debug)]
struct Told {
    event: Event,
    /// Of the answer.
    bytes: u64,
    /// Statements that have shared their time, this one included.
    together: u16,
}

/// What is known of the statement at work besides.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// What has ended and is not recorded, as its answer is still being read.
    ended: Vec<Told>,
    /// Bytes of the answer so far.
    answer: u64,
    /// The wait for a backend that the next statement to end had.
    pub(super) waited: Duration,
    /// How long the client kept it from going on.
    drained: Duration,
    /// Since when the client takes nothing.
    blocked_since: Option<Instant>,
}

impl Measured {
    /// The client is given so many bytes of an answer, or is not.
    pub(super) fn gives(&mut self, bytes: usize, forward: bool) {
        if forward {
            self.answer += u64::try_from(bytes).unwrap_or(0);
        }
    }

    /// Takes what the session has told.
    pub(super) fn take(&mut self, out: &mut Outgoing) {
        if out.events.is_empty() {
            return;
        }
        let mut drained = self.drained;
        for mut event in out.events.drain(..) {
            if let Event::Ended(ended) = &mut event {
                // While the client did not read, neither did we, and the server could not go on.
                ended.server = ended.server.saturating_sub(std::mem::take(&mut drained));
            }
            self.ended.push(Told { event, bytes: std::mem::take(&mut self.answer), together: 1 });
        }
    }

    /// Divides the time of statements whose ends were read together: alike, as nobody knows better, but for those that
    /// cannot have needed any.
    fn share(&mut self) {
        let mut rest = self.ended.as_mut_slice();
        while rest.len() > 1 {
            let with_first = |told: &&Told| !matches!(&told.event, Event::Ended(ended) if !ended.with_last);
            let group = 1 + rest.iter().skip(1).take_while(with_first).count();
            let (group, others) = std::mem::take(&mut rest).split_at_mut(group);
            share_among(group);
            rest = others;
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// A wait that no statement had is of nobody's concern.
    pub(super) fn lease_is_over(&mut self) {
        if !self.has_ended() {
            self.waited = Duration::ZERO;
        }
    }

    /// As new, but for memory that is kept.
    pub(super) fn clear(&mut self) {
        let Self { ended, answer, waited, drained, blocked_since } = self;
        ended.clear();
        (*answer, *waited, *drained, *blocked_since) = (0, Duration::ZERO, Duration::ZERO, None);
    }

    /// The client was given something: whether it has taken it all.
    pub(super) fn given(&mut self, taken: bool, now: Instant) {
        match (taken, self.blocked_since) {
            (false, None) => self.blocked_since = Some(now),
            (true, Some(since)) => {
                self.drained += now.saturating_duration_since(since);
                self.blocked_since = None;
            }
            _ => {}
        }
    }
}

impl Serve {
    /// Records what has ended, if the client has all of it.
    pub(super) fn record_ended(&self, active: &mut Active, now: Instant) {
        if active.out.own_statements > 0 {
            let own = std::mem::take(&mut active.out.own_statements);
            if let Some(recorder) = &self.worker().insight {
                recorder.own_statements(own);
            }
        }
        let taken = active.to_client.is_empty() || active.to_client.is_deaf();
        active.measured.given(taken, now);
        if taken && active.measured.has_ended() {
            self.record(active, now);
        }
    }

    /// Records what has ended, though the client may not have all of it.
    pub(super) fn record(&self, active: &mut Active, now: Instant) {
        let Some(recorder) = &self.worker().insight else { return };
        let (measured, slow) = (&mut active.measured, active.limits.slow_threshold);
        measured.share();
        let place = self.route.place;
        for Told { event, bytes, together } in measured.ended.drain(..) {
            match event {
                Event::Idled { digest, for_ } => recorder.idled(digest, place, nanos(for_)),
                Event::Failed { digest, failure } => {
                    recorder.failed(digest, (place, self.application()), failed(failure));
                }
                Event::Ended(ended) => {
                    let (waited, drained) = (&mut measured.waited, &mut measured.drained);
                    let times = (std::mem::take(waited), std::mem::take(drained));
                    let (execution, values, sampled) = self.execution(ended, (bytes, together), times, now);
                    let total = u128::from(execution.total());
                    if slow.is_some_and(|threshold| total >= threshold.as_nanos()) {
                        let execution = execution.clone();
                        // Which of those that have shared their time was slow, nobody knows.
                        let sampled = sampled.filter(|_| together == 1);
                        let sent = sampled.and_then(|sampled| self.sent(&sampled)).map(Box::new);
                        recorder.slow(SlowExecution { at: SystemTime::now(), execution, values, sent });
                    }
                    recorder.record(execution);
                }
            }
        }
    }

    fn execution(
        &self,
        ended: Ended,
        (bytes_out, together): (u64, u16),
        (waited, drained): (Duration, Duration),
        now: Instant,
    ) -> (Execution, Option<Values>, Option<Box<Sampled>>) {
        let execution = Execution {
            digest: ended.digest,
            place: self.route.place,
            application: self.application(),
            tags: ended.tags,
            client: self.handle.pid,
            ended: now,
            wait: nanos(waited),
            server: nanos(ended.server),
            drain: nanos(drained),
            rows: ended.rows,
            bytes_in: ended.bytes_from_client,
            bytes_out,
            failed: ended.failure.map(failed),
            in_transaction: ended.in_transaction,
            extended: ended.extended,
            piped: ended.piped,
            together,
        };
        (execution, ended.values.map(|values| *values), ended.sampled)
    }

    /// The number of the client's application.
    fn application(&self) -> u32 {
        let profile = self.session.profile();
        let name = || profile.get(b"application_name").unwrap_or_default();
        *profile.application.get_or_init(|| self.route.insight.application(name()))
    }

    /// A statement and where it ran, for whoever wants to know how.
    fn sent(&self, sampled: &Sampled) -> Option<Sent> {
        let (text, types): (&[u8], &[u8]) = match sampled {
            Sampled::Prepared(statement) => (&statement.text, &statement.types),
            Sampled::Query(text) => (text, &[]),
        };
        let text = std::str::from_utf8(text).ok()?;
        let mut parameters = parameter_types(types);
        let count = last_parameter(text.as_bytes(), &Lexing::default());
        parameters.resize(usize::try_from(count).ok()?.max(parameters.len()), 0);
        let search_path = self.session.profile().get(SEARCH_PATH).and_then(|path| std::str::from_utf8(path).ok());
        Some(Sent { search_path: search_path.map(Into::into), text: text.into(), parameters })
    }

    /// Nothing more will be heard of what runs: it counts as failed with this SQLSTATE.
    pub(super) fn abandon(&mut self, active: &mut Active, sqlstate: &str, now: Instant) {
        self.session.abandon(sqlstate, now, &mut active.out);
        active.measured.take(&mut active.out);
        self.record(active, now);
    }
}

fn share_among(group: &mut [Told]) {
    let mut executions: Vec<(&mut Ended, &mut u16)> = group
        .iter_mut()
        .filter_map(|told| match &mut told.event {
            Event::Ended(ended) => Some((ended, &mut told.together)),
            Event::Failed { .. } | Event::Idled { .. } => None,
        })
        .collect();
    let working = executions.iter().filter(|(ended, _)| !ended.brief).count();
    if executions.len() < 2 || working == 0 {
        return;
    }
    let all: Duration = executions.iter().map(|(ended, _)| ended.server).sum();
    let (count, parts) = (u16::try_from(working).unwrap_or(u16::MAX), u32::try_from(working).unwrap_or(u32::MAX));
    for (ended, together) in &mut executions {
        (ended.server, **together) = if ended.brief { (Duration::ZERO, 1) } else { (all / parts, count) };
    }
}

fn failed(failure: Failure) -> Failed {
    match failure.cause {
        Cause::Cancel => Failed::Cancelled(failure.sqlstate),
        Cause::Error => Failed::Error(failure.sqlstate),
        Cause::Timeout => Failed::TimedOut(failure.sqlstate),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(milliseconds: u64, with_last: bool, brief: bool) -> Told {
        let ended = Ended { server: Duration::from_millis(milliseconds), with_last, brief, ..Ended::default() };
        Told { event: Event::Ended(ended), bytes: 0, together: 1 }
    }

    fn shared(ended: Vec<Told>) -> Vec<(u128, u16)> {
        let mut measured = Measured { ended, ..Measured::default() };
        measured.share();
        let figures = |told: &Told| match &told.event {
            Event::Ended(ended) => (ended.server.as_millis(), told.together),
            Event::Failed { .. } | Event::Idled { .. } => panic!("nothing else was told"),
        };
        measured.ended.iter().map(figures).collect()
    }

    #[test]
    fn what_ended_together_shares_its_time_and_begin_takes_none() {
        assert_eq!(shared(vec![told(8, false, true), told(0, true, false)]), [(0, 1), (8, 1)]);
        let several = vec![told(9, false, false), told(0, true, false), told(0, true, true), told(0, true, false)];
        assert_eq!(shared(several), [(3, 3), (3, 3), (0, 1), (3, 3)]);
        let apart = vec![told(2, false, true), told(5, false, false), told(0, true, false), told(7, false, false)];
        assert_eq!(shared(apart), [(2, 1), (2, 2), (2, 2), (7, 1)]);
        assert_eq!(shared(vec![told(1, false, true), told(0, true, true)]), [(1, 1), (0, 1)]);
    }
}
