//! Frames from the backend: which message they answer, who gets them, and what they make true.

use std::sync::Arc;

use tokio::time::Instant;

use super::making_way::is_administration;
use super::mending::Reset;
use super::reports;
use super::turn::{Kind, Turn, Who};
use super::{Broken, Hold, Leased, Outgoing, Session, Verdict};
use crate::prepared::{Kind as StatementKind, Named, Names};
use crate::settings::{Carried, Profile, WHO};
use crate::sql::Effects;
use crate::wire::Frame;
use crate::wire::build::{self, Fault};
use crate::wire::sqlstate;
use crate::wire::tag::backend;
use crate::wire::view::{self, Report, Transaction};

impl Session {
    /// Whether frames of this type are judged at all; all others are forwarded unseen.
    #[must_use]
    pub fn watches(tag: u8) -> bool {
        !matches!(tag, backend::DATA_ROW | backend::COPY_DATA | backend::COPY_DONE)
    }

    /// Judges one frame of the leased backend. A body that is not whole is long: an error, a notice or a
    /// description, whose beginning is enough.
    ///
    /// # Errors
    /// [`Broken::Desync`] where the frame answers nothing that was asked.
    pub fn from_backend(
        &mut self,
        frame: &Frame<'_>,
        leased: &mut Leased<'_>,
        out: &mut Outgoing,
        now: Instant,
    ) -> Result<Verdict, Broken> {
        let Self { turn: Some(turn), names, .. } = self else {
            return Err(Broken::Desync(frame.tag));
        };
        let expected = turn.next(names, &mut out.before).map(|expect| (expect.kind, Addressee::of(&expect.who)));
        match (frame.tag, expected) {
            (backend::READY_FOR_QUERY, _) if turn.answers_sync_in_copy() => {
                turn.status = Transaction::read(frame.body)?;
                Ok(Verdict::Forward)
            }
            (backend::READY_FOR_QUERY, Some((kind, to))) => self.ready(frame, (kind, to), leased, out, now),
            (backend::ERROR_RESPONSE, expected) => self.error(frame, expected, leased, out, now),
            (backend::PARAMETER_STATUS, expected) => self.parameter_status(frame, expected, leased, out),
            (backend::NOTICE_RESPONSE, Some((_, Addressee::Us))) if !turn.is_doomed() => Ok(Verdict::Swallow),
            (backend::NOTICE_RESPONSE, _) if frame.is_whole() => Ok(turn.notice(frame, out)),
            (backend::NOTICE_RESPONSE | backend::NOTIFICATION_RESPONSE, _) => Ok(Verdict::Forward),
            (backend::PARSE_COMPLETE, Some((Kind::Parse, to)))
            | (backend::BIND_COMPLETE, Some((Kind::Bind, to)))
            | (backend::CLOSE_COMPLETE, Some((Kind::Close, to)))
            | (backend::NO_DATA | backend::ROW_DESCRIPTION, Some((Kind::Describe, to)))
            | (
                backend::COMMAND_COMPLETE | backend::EMPTY_QUERY_RESPONSE | backend::PORTAL_SUSPENDED,
                Some((Kind::Execute, to)),
            ) => {
                match frame.tag {
                    backend::CLOSE_COMPLETE => turn.end_asking(),
                    backend::PARSE_COMPLETE if to == Addressee::Us => out.own_statements += 1,
                    backend::COMMAND_COMPLETE | backend::EMPTY_QUERY_RESPONSE | backend::PORTAL_SUSPENDED => {
                        turn.measure_completion(frame, now, out);
                    }
                    _ => {}
                }
                self.completed(frame, leased);
                let Self { turn: Some(turn), names, .. } = self else {
                    return Err(Broken::Desync(frame.tag));
                };
                turn.give_reply(&mut out.before);
                turn.learn(frame, names, leased);
                turn.confirm(names, leased);
                // Nothing may be said in the middle of a long description; what is ours goes before the next reply.
                if frame.is_whole() {
                    turn.answer_fakes_at_head(names, &mut out.after);
                }
                Ok(to.verdict())
            }
            (backend::PARAMETER_DESCRIPTION, Some((Kind::Describe, to))) => {
                Ok(if turn.keep_parameters(frame, names, leased) { Verdict::Swallow } else { to.verdict() })
            }
            (backend::COMMAND_COMPLETE | backend::EMPTY_QUERY_RESPONSE, Some((Kind::Query, to))) => {
                if turn.end_of_statement() {
                    out.own_statements += 1;
                    return Ok(Verdict::Swallow);
                }
                turn.measure_completion(frame, now, out);
                self.completed(frame, leased);
                Ok(to.verdict())
            }
            (backend::DATA_ROW, Some((Kind::Query, Addressee::Us))) => {
                self.saw_row(frame);
                Ok(Verdict::Swallow)
            }
            (backend::ROW_DESCRIPTION, Some((Kind::Query, _))) if turn.is_mending() => Ok(Verdict::Swallow),
            (backend::ROW_DESCRIPTION, Some((Kind::Query, to)))
            | (backend::FUNCTION_CALL_RESPONSE, Some((Kind::FunctionCall, to))) => Ok(to.verdict()),
            (backend::COPY_IN_RESPONSE, Some((Kind::Query | Kind::Execute, to))) if turn.begin_copy() => {
                Ok(to.verdict())
            }
            (backend::COPY_OUT_RESPONSE, Some((Kind::Query | Kind::Execute, to))) => Ok(to.verdict()),
            (tag, _) => Err(Broken::Desync(tag)),
        }
    }

    fn ready(
        &mut self,
        frame: &Frame<'_>,
        (kind, to): (Kind, Addressee),
        leased: &mut Leased<'_>,
        out: &mut Outgoing,
        now: Instant,
    ) -> Result<Verdict, Broken> {
        let Self { turn: Some(turn), names, .. } = self else {
            return Err(Broken::Desync(frame.tag));
        };
        if !matches!(kind, Kind::FunctionCall | Kind::Query | Kind::Sync) {
            return Err(Broken::Desync(frame.tag));
        }
        turn.ready(Transaction::read(frame.body)?);
        if self.rules.measuring.is_some() {
            turn.measure_ready(now, out);
        }
        if to == Addressee::Client {
            turn.head.untold = None;
        }
        let adopted = turn.adopted().map(Arc::clone);
        turn.confirm(names, leased);
        if let Some((statement, sent)) = turn.measured.take() {
            statement.measured(now.saturating_duration_since(sent));
        }
        if to == Addressee::Client
            && let Reset::All { told, who } = std::mem::take(&mut turn.reset)
        {
            report_changes(&told, &self.profile, &who, leased.carried, &mut out.before);
        }
        let status = turn.status;
        turn.head.channels_awaited &= to == Addressee::Us;
        if let Some(ledger) = turn.ledger.as_mut().filter(|_| to == Addressee::Client) {
            ledger.ready(status);
        }
        if let Some(profile) = adopted {
            leased.carried.turn_into(profile, &self.rules.profiles);
            self.tell_defaults(leased, out);
        }
        if kind == Kind::Query {
            self.looked(leased, now);
        }
        self.settle_outdated();
        if self.turn.as_ref().is_some_and(|turn| turn.status == Transaction::Idle && !turn.is_behind()) {
            self.end_local();
        }
        if self.rules.hold == Hold::Session && self.is_between_transactions() {
            // Nobody will look at what they have left, but others may have to hear of it.
            self.settle_unsure(now);
        }
        if self.rules.hold == Hold::Statement && self.transaction() != Transaction::Idle {
            return Err(block_opened().into());
        }
        let listening = self.listening;
        let waits = |turn: &&mut Box<Turn>| turn.status == Transaction::Idle && (listening || turn.ledger.is_some());
        if to == Addressee::Client
            && let Some(turn) = self.turn.as_mut().filter(waits)
        {
            turn.ready_kept = true;
            return Ok(Verdict::Swallow);
        }
        if let Self { turn: Some(turn), names, .. } = self {
            turn.answer_fakes_at_head(names, &mut out.after);
        }
        Ok(to.verdict())
    }

    fn error(
        &mut self,
        frame: &Frame<'_>,
        expected: Option<(Kind, Addressee)>,
        leased: &mut Leased<'_>,
        out: &mut Outgoing,
        now: Instant,
    ) -> Result<Verdict, Broken> {
        let Self { turn: Some(turn), names, rules, .. } = self else {
            return Err(Broken::Desync(frame.tag));
        };
        let report = Report::read(frame.body);
        if report.is_fatal() {
            turn.fatal = true;
            if rules.measuring.is_some() {
                turn.measure_failure(&report, None, now, out);
            }
            turn.give_reply(&mut out.before);
            return Ok(Verdict::Forward);
        }
        let Some((kind, to)) = expected else {
            return Ok(Verdict::Forward);
        };
        turn.measured = None;
        let mut own_words = own_words(turn, report.code);
        if own_words.is_none() && frame.is_whole() {
            own_words = turn.repositioned(frame);
        }
        let about = turn.head_named().filter(|named| named.statement.kind == StatementKind::Shared).cloned();
        if let Some(named) = about.filter(|_| own_words.is_none() && frame.is_whole()) {
            let statement = &named.statement;
            if reports::is_stale(&report, frame.body) {
                if !self.state.may_have_temporary() {
                    turn.found_stale(statement, leased.held);
                }
                if turn.send_again(&named, &mut out.to_backend) {
                    return Ok(Verdict::Swallow);
                }
            }
            own_words = about_shared((&named, names), (&report, frame.body), leased);
        }
        turn.give_reply(&mut out.before);
        if turn.queue.front().is_some_and(|expect| matches!(expect.who, Who::Try)) {
            turn.fail(names, leased);
            turn.head.untold.get_or_insert_with(|| reports::as_it_came(frame.body));
            return Ok(Verdict::Swallow);
        }
        match kind {
            // What the backend carries is not known then, so it stays with the session.
            Kind::Query if to == Addressee::Us && turn.looking.is_some() => {
                out.own_statements += 1;
                self.look_failed(report.code == sqlstate::LOCK_NOT_AVAILABLE.as_bytes());
                return Ok(Verdict::Swallow);
            }
            // The question that follows will fail for it.
            Kind::Parse if to == Addressee::Us && turn.looking.is_some() => {
                out.own_statements += 1;
                turn.fail(names, leased);
                return Ok(Verdict::Swallow);
            }
            Kind::FunctionCall | Kind::Query if to == Addressee::Us => {
                return Err(settings_refused(&report).into());
            }
            _ if rules.measuring.is_some() => turn.measure_failure(&report, own_words.as_deref(), now, out),
            _ => {}
        }
        if !matches!(kind, Kind::FunctionCall | Kind::Query | Kind::Sync) {
            turn.fail(names, leased);
        }
        if let Some(ledger) = &mut turn.ledger {
            ledger.failed();
        }
        turn.fail_copy(&mut out.to_backend);
        match own_words {
            Some(words) => {
                out.before.extend_from_slice(&words);
                Ok(Verdict::Swallow)
            }
            // The failure of a Parse that we repeated is the client's: its statement is not valid any more.
            None => Ok(Verdict::Forward),
        }
    }

    fn parameter_status(
        &mut self,
        frame: &Frame<'_>,
        expected: Option<(Kind, Addressee)>,
        leased: &mut Leased<'_>,
        out: &mut Outgoing,
    ) -> Result<Verdict, Broken> {
        let (name, value) = view::parameter_status(frame.body)?;
        let profiles = &self.rules.profiles;
        if expected == Some((Kind::Query, Addressee::Us)) {
            // Our own batch made the backend say what the client was told already, unless it is the server's news.
            let tells = |turn: &Turn| turn.adopted().is_some() || turn.looking.is_some();
            let is_told = self.turn.as_ref().is_some_and(|turn| tells(turn));
            let is_foreign = !value.is_ascii() && !self.profile.is_utf8();
            if is_told && !is_foreign && self.profile.get(&name.to_ascii_lowercase()) != Some(value) {
                leased.carried.hear_default(name, value, profiles);
                self.tell_defaults(leased, out);
            }
            return Ok(Verdict::Swallow);
        }
        // It is the only command of its Query.
        let is_discarding = expected == Some((Kind::Query, Addressee::Client)) && !WHO.contains(&name);
        if is_discarding && self.turn.as_ref().is_some_and(|turn| matches!(turn.reset, Reset::All { .. })) {
            leased.carried.set_default(name, value, profiles);
            self.tell_defaults(leased, out);
            return Ok(Verdict::Swallow);
        }
        let is_own = leased.carried.profile.get(&name.to_ascii_lowercase()).is_some();
        if !is_own && !self.may_have_set(name) {
            leased.carried.set_default(name, value, profiles);
            self.told = Arc::clone(&leased.carried.defaults);
            return Ok(Verdict::Forward);
        }
        if !value.is_ascii() && !self.profile.is_utf8() {
            // It came in the client's encoding, so that it must be asked for once more.
            self.state.note(Effects::SETTINGS);
        }
        let carried = profiles.with(&leased.carried.profile, name, value, leased.carried.default_of(name));
        leased.carried.profile = carried;
        let default = leased.carried.default_of(name);
        let Some(turn) = &mut self.turn else { return Err(Broken::Desync(frame.tag)) };
        turn.recoded |= name == b"client_encoding";
        turn.before_reports.get_or_insert_with(|| Arc::clone(&self.profile));
        let reset = &mut turn.reset;
        if let Reset::All { who, .. } = reset {
            // What the client must hear is said with the ReadyForQuery.
            if WHO.contains(&name) {
                who.retain(|(known, _)| **known != *name);
                who.push((name.into(), value.into()));
            }
            if default != Some(value) {
                self.profile = profiles.with(&self.profile, name, value, default);
            }
            return Ok(Verdict::Swallow);
        }
        let key = name.to_ascii_lowercase();
        let started_with = self.startup.get(&key).filter(|_| *reset == Reset::Some && default == Some(value));
        let Some(started_with) = started_with else {
            self.profile = profiles.with(&self.profile, name, value, default);
            return Ok(Verdict::Forward);
        };
        // The backend is back at its own default, the client at the value it started with.
        if self.profile.get(&key).or(default) != Some(started_with) {
            build::parameter_status_raw(&mut out.before, name, started_with);
        }
        self.profile = profiles.with(&self.profile, name, started_with, default);
        Ok(Verdict::Swallow)
    }

    /// Whether the session itself may have made a reported setting another one; else the server has read its
    /// configuration anew.
    fn may_have_set(&self, name: &[u8]) -> bool {
        let is_of_server = name == b"in_hot_standby";
        let may_set = |turn: &Turn| {
            let is_unread = !turn.unsure.is_empty() || !turn.unknown.is_empty();
            is_unread || !matches!(turn.reset, Reset::No) || turn.discarded
        };
        !is_of_server
            && (WHO.contains(&name) || self.state.may_have_set() || self.turn.as_ref().is_none_or(|turn| may_set(turn)))
    }

    /// The transaction has ended, and with it what was set for it alone. If other settings were reported than before and
    /// nothing else is known to have been set, it may have been the server that changed them.
    fn end_local(&mut self) {
        self.state.end_local();
        let before = self.turn.as_mut().and_then(|turn| turn.before_reports.take());
        if before.is_some_and(|before| before != self.profile) {
            self.state.note(Effects::SETTINGS);
        }
    }

    /// A command has succeeded: what its tag alone tells.
    fn completed(&mut self, frame: &Frame<'_>, leased: &mut Leased<'_>) {
        let Some(turn) = &mut self.turn else { return };
        turn.complete_copy();
        if frame.tag != backend::COMMAND_COMPLETE {
            return;
        }
        let head = turn.queue.front();
        let (followed, ours) = head.map(|expect| (expect.followed, expect.is_skipped())).unwrap_or_default();
        if ours {
            // What pgweir says of its own, as RESET, is nothing that the client has done.
            return;
        }
        if let Some(ledger) = &mut turn.ledger {
            ledger.done(frame.body, followed, &mut turn.told);
        }
        turn.has_administered |= !turn.administered.is_empty() && is_administration(frame.body);
        match frame.body {
            b"DEALLOCATE\0" => self.deallocated(leased),
            b"DEALLOCATE ALL\0" => {
                self.state.set_prepared(Vec::new());
                self.names.clear_named();
                leased.held.clear();
            }
            b"DISCARD ALL\0" => {
                self.names.clear_named();
                leased.held.clear();
                leased.carried.profile = self.rules.profiles.fresh();
                let told = std::mem::replace(&mut self.profile, Arc::clone(&self.startup));
                if !matches!(turn.reset, Reset::All { .. }) {
                    turn.reset = Reset::All { told, who: Vec::new() };
                }
                self.state.discard();
                turn.discarded = true;
            }
            b"RESET\0" if turn.reset == Reset::No => turn.reset = Reset::Some,
            _ => {}
        }
    }
}

/// Who gets the reply at the head of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addressee {
    Client,
    Us,
}

impl Addressee {
    fn of(who: &Who) -> Self {
        if who.is_skipped() { Self::Us } else { Self::Client }
    }

    fn verdict(self) -> Verdict {
        match self {
            Self::Client => Verdict::Forward,
            Self::Us => Verdict::Swallow,
        }
    }
}

/// Tells the client of every reported setting that is not what it was told.
fn report_changes(
    told: &Profile,
    profile: &Profile,
    who: &[(Box<[u8]>, Box<[u8]>)],
    carried: &Carried,
    to: &mut Vec<u8>,
) {
    for (name, default) in carried.defaults.iter() {
        if let Some((_, value)) = who.iter().find(|(known, _)| **known == *name) {
            build::parameter_status_raw(to, name, value);
            continue;
        }
        let key = name.to_ascii_lowercase();
        let value = profile.get(&key).unwrap_or(default);
        if told.get(&key).unwrap_or(default) != value {
            build::parameter_status_raw(to, name, value);
        }
    }
}

/// The error that replaces the backend's: for a message that was sent to fail, a Query whose statement could not be put
/// on the backend, or a statement that pgweir cancelled.
fn own_words(turn: &mut Turn, code: &[u8]) -> Option<Box<[u8]>> {
    if let Some(words) = turn.take_substitute() {
        return Some(words);
    }
    let misses = [sqlstate::INVALID_STATEMENT_NAME, sqlstate::IN_FAILED_SQL_TRANSACTION];
    if misses.iter().any(|missing| code == missing.as_bytes()) {
        return turn.head.untold.take();
    }
    if code == sqlstate::QUERY_CANCELED.as_bytes() { turn.cancel_report.take() } else { None }
}

/// The error of a shared statement, by the client's name for it. One that the backend lacks was dropped by code that
/// could not be read.
fn about_shared(
    (named, names): (&Named, &Names),
    (report, body): (&Report<'_>, &[u8]),
    leased: &mut Leased<'_>,
) -> Option<Box<[u8]>> {
    let words = reports::renamed(body, &named.statement.name, names.of(named)?)?;
    if report.code == sqlstate::INVALID_STATEMENT_NAME.as_bytes() {
        leased.held.remove(named.statement.id);
    }
    Some(words)
}

fn settings_refused(report: &Report<'_>) -> Fault {
    let said = String::from_utf8_lossy(report.message).into_owned();
    Fault::fatal(sqlstate::CONNECTION_FAILURE, format!("the settings of this session could not be restored: {said}"))
        .detail("The statement was not run.")
        .hint("A setting or role that the session had set does not exist any more; connect again.")
}

fn block_opened() -> Fault {
    Fault::fatal(sqlstate::FEATURE_NOT_SUPPORTED, "transaction blocks are not allowed in statement mode")
        .detail("A statement left a transaction open; it was rolled back.")
        .hint("Use a pool with mode = \"transaction\".")
}
