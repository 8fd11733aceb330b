//! Frames from the backend: which message they answer, who gets them, and what they make true.

use tokio::time::Instant;

use super::turn::{Kind, Turn, Who};
use super::{Broken, Hold, Leased, Outgoing, Session, Verdict};
use crate::wire::Frame;
use crate::wire::build::Fault;
use crate::wire::sqlstate;
use crate::wire::tag::backend;
use crate::wire::view::{self, Report, Transaction};

impl Session {
    /// Whether frames of this type are judged at all; all others are forwarded unseen.
    #[must_use]
    pub fn watches(tag: u8) -> bool {
        !matches!(tag, backend::DATA_ROW | backend::COPY_DATA | backend::COPY_DONE | backend::PARAMETER_DESCRIPTION)
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
            (backend::READY_FOR_QUERY, Some((kind, to))) => self.ready(frame, (kind, to), leased, out, now),
            (backend::ERROR_RESPONSE, expected) => self.error(frame, expected, leased, out),
            (backend::PARAMETER_STATUS, expected) => self.parameter_status(frame, expected, leased),
            (backend::NOTICE_RESPONSE, Some((_, Addressee::Us))) => Ok(Verdict::Swallow),
            (backend::NOTICE_RESPONSE | backend::NOTIFICATION_RESPONSE, _) => Ok(Verdict::Forward),
            (backend::PARSE_COMPLETE, Some((Kind::Parse, to)))
            | (backend::BIND_COMPLETE, Some((Kind::Bind, to)))
            | (backend::CLOSE_COMPLETE, Some((Kind::Close, to)))
            | (backend::NO_DATA | backend::ROW_DESCRIPTION, Some((Kind::Describe, to)))
            | (
                backend::COMMAND_COMPLETE | backend::EMPTY_QUERY_RESPONSE | backend::PORTAL_SUSPENDED,
                Some((Kind::Execute, to)),
            ) => {
                self.completed(frame, leased);
                let Self { turn: Some(turn), names, .. } = self else {
                    return Err(Broken::Desync(frame.tag));
                };
                turn.confirm(names, leased);
                turn.answer_fakes(names, &mut out.after);
                Ok(to.verdict())
            }
            (backend::COMMAND_COMPLETE | backend::EMPTY_QUERY_RESPONSE, Some((Kind::Query, to))) => {
                self.completed(frame, leased);
                Ok(to.verdict())
            }
            (backend::ROW_DESCRIPTION, Some((Kind::Query, to)))
            | (backend::FUNCTION_CALL_RESPONSE, Some((Kind::FunctionCall, to))) => Ok(to.verdict()),
            (backend::COPY_IN_RESPONSE, Some((Kind::Query | Kind::Execute, to))) => {
                turn.copy_in = true;
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
        turn.status = Transaction::read(frame.body)?;
        turn.copy_in = false;
        turn.cancel_report = None;
        turn.confirm(names, leased);
        turn.answer_fakes(names, &mut out.after);
        if let Some((statement, sent)) = turn.measured.take() {
            statement.measured(now.saturating_duration_since(sent));
        }
        if std::mem::take(&mut turn.settings_reset) {
            self.profile = self.startup.clone();
        }
        if self.rules.hold == Hold::Statement && turn.status != Transaction::Idle {
            return Err(block_opened().into());
        }
        Ok(to.verdict())
    }

    fn error(
        &mut self,
        frame: &Frame<'_>,
        expected: Option<(Kind, Addressee)>,
        leased: &mut Leased<'_>,
        out: &mut Outgoing,
    ) -> Result<Verdict, Broken> {
        let Self { turn: Some(turn), names, .. } = self else {
            return Err(Broken::Desync(frame.tag));
        };
        let report = Report::read(frame.body);
        if report.is_fatal() {
            turn.fatal = true;
            return Ok(Verdict::Forward);
        }
        let Some((kind, to)) = expected else {
            return Ok(Verdict::Forward);
        };
        turn.measured = None;
        if turn.copy_in {
            turn.end_copy();
        }
        let own_words = own_words(turn, report.code);
        match kind {
            Kind::FunctionCall | Kind::Query if to == Addressee::Us => {
                return Err(settings_refused(&report).into());
            }
            Kind::FunctionCall | Kind::Query | Kind::Sync => {}
            _ => turn.fail(names, leased),
        }
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
    ) -> Result<Verdict, Broken> {
        if expected.is_some_and(|(_, to)| to == Addressee::Us) {
            // Our own batch made the backend say what the client was told already.
            return Ok(Verdict::Swallow);
        }
        let (name, value) = view::parameter_status(frame.body)?;
        let profiles = &self.rules.profiles;
        let carried = profiles.with(&leased.carried.profile, name, value, leased.carried.fresh_value(name));
        leased.carried.profile = carried;
        if self.turn.as_ref().is_some_and(|turn| turn.settings_reset) {
            // The backend is back at its own defaults, the client at the values it started with.
            let started_with = self.startup.get(&name.to_ascii_lowercase());
            return Ok(if started_with.is_some() { Verdict::Swallow } else { Verdict::Forward });
        }
        self.profile = profiles.with(&self.profile, name, value, leased.carried.fresh_value(name));
        Ok(Verdict::Forward)
    }

    /// A command has succeeded: what its tag alone tells.
    fn completed(&mut self, frame: &Frame<'_>, leased: &mut Leased<'_>) {
        let Some(turn) = &mut self.turn else { return };
        if turn.copy_in {
            turn.end_copy();
        }
        if frame.tag != backend::COMMAND_COMPLETE {
            return;
        }
        match frame.body {
            b"DEALLOCATE ALL\0" => {
                self.names.clear_named();
                leased.held.clear();
            }
            b"DISCARD ALL\0" => {
                self.names.clear_named();
                leased.held.clear();
                leased.carried.profile = self.rules.profiles.fresh();
                turn.settings_reset = true;
            }
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
        if matches!(who, Who::Skip) { Self::Us } else { Self::Client }
    }

    fn verdict(self) -> Verdict {
        match self {
            Self::Client => Verdict::Forward,
            Self::Us => Verdict::Swallow,
        }
    }
}

/// The error that replaces the backend's: for a message that was sent to fail, or a statement that pgweir
/// cancelled.
fn own_words(turn: &mut Turn, code: &[u8]) -> Option<Box<[u8]>> {
    if let Some(words) = turn.take_substitute() {
        return Some(words);
    }
    if code == sqlstate::QUERY_CANCELED.as_bytes() { turn.cancel_report.take() } else { None }
}

fn settings_refused(report: &Report<'_>) -> Fault {
    let said = String::from_utf8_lossy(report.message).into_owned();
    Fault::fatal(sqlstate::CONNECTION_FAILURE, format!("the settings of this session could not be restored: {said}"))
        .hint("A setting or role that the session had set does not exist any more; connect again.")
}

fn block_opened() -> Fault {
    Fault::fatal(sqlstate::FEATURE_NOT_SUPPORTED, "transaction blocks are not allowed in statement mode")
        .detail("A statement left a transaction open; it was rolled back.")
        .hint("Use a pool with mode = \"transaction\".")
}
