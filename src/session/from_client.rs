//! Frames from the client: what they need, what they become, and which replies they will have.
//!
//! A body that breaks its format is PostgreSQL's to refuse: the frame goes there as it came.

use tokio::time::Instant;

use super::turn::{Doubt, Effect, Expect, Kind, Known, Turn, Who};
use super::{Broken, Hold, Leased, Outgoing, Session, Verdict, Wait};
use crate::prepared::may_forget;
use crate::sql::Leaves;
use crate::wire::Frame;
use crate::wire::build::{self, Fault};
use crate::wire::sqlstate;
use crate::wire::tag::client;
use crate::wire::view::{Target, Transaction, query_text, split_cstr};

/// Asks a backend for what it has to say so far.
const FLUSH: [u8; 5] = [client::FLUSH, 0, 0, 0, 4];

impl Session {
    /// Judges one frame of the client. `leased` is the backend, where there is one.
    ///
    /// # Errors
    /// A frame that breaks the protocol: the client is told and closed.
    pub fn from_client(
        &mut self,
        frame: &Frame<'_>,
        leased: Option<&mut Leased<'_>>,
        out: &mut Outgoing,
        now: Instant,
    ) -> Result<Verdict, Broken> {
        if frame.tag == client::TERMINATE {
            return Ok(Verdict::Terminate);
        }
        let turn = self.turn.get_or_insert_default();
        if let Doubt::Syncs(_) = turn.doubt {
            match clear_doubt(turn, frame.tag, out) {
                Some(true) => {}
                Some(false) => return Ok(Verdict::Swallow),
                None => return Err(Broken::Desync(frame.tag)),
            }
        }
        if turn.skipping && frame.tag != client::SYNC {
            return is_known(frame.tag).map(|()| Verdict::Swallow);
        }
        if turn.doubt != Doubt::None && !matches!(frame.tag, client::SYNC | client::QUERY | client::FUNCTION_CALL) {
            // What might be answered by ourselves would not find its place among the replies.
            return Ok(self.wait(out));
        }
        turn.after_sync = frame.tag == client::SYNC;
        if turn.is_copying() {
            return Ok(copying(turn, frame.tag));
        }
        if turn.owed() >= self.rules.pipeline {
            turn.answer_fakes(&mut self.names, &mut out.before);
            if turn.owed() >= self.rules.pipeline {
                return Ok(self.wait(out));
            }
        }
        let ends_batch = turn.open_batch && matches!(frame.tag, client::SYNC | client::FLUSH);
        if (turn.is_forgetting() || turn.is_resetting()) && !ends_batch {
            return Ok(self.wait(out));
        }
        let Some(leased) = leased else {
            return self.without_lease(frame, out);
        };
        turn.unused = false;
        if turn.is_settled() && leased.carried.profile != self.profile {
            self.apply_profile(leased, out);
        }
        let before = out.to_backend.len();
        self.settle_deferred(frame, out);
        let verdict = self.with_lease(frame, leased, out, now)?;
        if let Some(turn) = &mut self.turn {
            turn.sent(out.to_backend.get(before..).unwrap_or_default(), frame, &verdict);
        }
        Ok(verdict)
    }

    fn with_lease(
        &mut self,
        frame: &Frame<'_>,
        leased: &mut Leased<'_>,
        out: &mut Outgoing,
        now: Instant,
    ) -> Result<Verdict, Broken> {
        match frame.tag {
            client::QUERY => Ok(self.query(frame, out)),
            client::PARSE => Ok(self.parse(frame, leased, out, now)),
            client::BIND => Ok(self.bind(frame, leased, out)),
            client::DESCRIBE => Ok(self.describe(frame, leased, out)),
            client::CLOSE => Ok(self.close(frame)),
            client::EXECUTE => Ok(self.execute(frame, out)),
            client::SYNC => Ok(self.ending_batch(Kind::Sync)),
            client::FLUSH => Ok(self.flush(out)),
            client::FUNCTION_CALL => Ok(self.ending_batch(Kind::FunctionCall)),
            client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL => Ok(self.stray_copy(frame.tag)),
            tag => Err(unknown(tag)),
        }
    }

    /// What can be answered without a backend, or needs no answer.
    fn without_lease(&mut self, frame: &Frame<'_>, out: &mut Outgoing) -> Result<Verdict, Broken> {
        match frame.tag {
            client::SYNC => {
                let turn = self.turn.get_or_insert_default();
                turn.answer_fakes(&mut self.names, &mut out.before);
                out.before.extend_from_slice(&build::ready_for_query(Transaction::Idle));
                self.turn = None;
                Ok(Verdict::Swallow)
            }
            client::FLUSH => {
                let turn = self.turn.get_or_insert_default();
                turn.answer_fakes(&mut self.names, &mut out.before);
                Ok(Verdict::Swallow)
            }
            client::CLOSE if matches!(Target::read(frame.tag, frame.body), Ok(Target::Statement(_))) => {
                Ok(self.close(frame))
            }
            client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL => Ok(Verdict::Swallow),
            client::QUERY if self.rules.hold == Hold::Statement && opens_block(frame.body) => {
                out.before.extend_from_slice(&block_refused().to_frame());
                out.before.extend_from_slice(&build::ready_for_query(Transaction::Idle));
                Ok(Verdict::Swallow)
            }
            tag => is_known(tag).map(|()| Verdict::Hold(Wait::Lease)),
        }
    }

    fn query(&mut self, frame: &Frame<'_>, out: &mut Outgoing) -> Verdict {
        let turn = self.turn.get_or_insert_default();
        if self.rules.hold == Hold::Statement && opens_block(frame.body) {
            let mut reply = block_refused().to_frame();
            reply.extend_from_slice(&build::ready_for_query(turn.status));
            turn.expect(Expect::new(Kind::Query, Who::Say(reply.into())), []);
            turn.answer_fakes(&mut self.names, &mut out.before);
            return Verdict::Swallow;
        }
        let text = query_text(frame.body);
        let forgets = !frame.is_whole() || may_forget(text);
        let expect = Expect::new(Kind::Query, Who::Forward).forgetting(forgets);
        // A simple query drops the unnamed statement (manual: "Extended Query").
        if self.names.get(b"").is_some() || !matches!(turn.named(&self.names, b""), Known::Now(None)) {
            turn.expect(expect, [Effect::Name(Box::default(), None), Effect::Unnamed(None)]);
        } else {
            turn.expect(expect, [Effect::Unnamed(None)]);
        }
        turn.end_batch();
        self.note(Leaves::of(text));
        Verdict::Forward
    }

    fn execute(&mut self, frame: &Frame<'_>, out: &mut Outgoing) -> Verdict {
        let portal = split_cstr(frame.body).map(|(portal, _)| portal);
        let turn = self.turn.get_or_insert_default();
        // Its rows pass unseen: what is ours must not come after them.
        turn.answer_fakes(&mut self.names, &mut out.before);
        let forgets = portal.is_some_and(|portal| turn.is_forgetful(portal));
        turn.expect(Expect::new(Kind::Execute, Who::Forward).forgetting(forgets), []);
        turn.open_batch();
        Verdict::Forward
    }

    fn flush(&mut self, out: &mut Outgoing) -> Verdict {
        let turn = self.turn.get_or_insert_default();
        turn.answer_fakes(&mut self.names, &mut out.before);
        if turn.flush() { Verdict::Forward } else { Verdict::Swallow }
    }

    /// Holds a frame until the backend has answered what it was sent before, which it may have to be asked for.
    fn wait(&mut self, out: &mut Outgoing) -> Verdict {
        if let Some(turn) = &mut self.turn
            && turn.flush()
        {
            turn.kept_batch = None;
            out.to_backend.extend_from_slice(&FLUSH);
        }
        Verdict::Hold(Wait::Replies)
    }

    /// Data that may belong to a command whose reply has not come; where there is none, PostgreSQL ignores it.
    fn stray_copy(&mut self, tag: u8) -> Verdict {
        let turn = self.turn.get_or_insert_default();
        if turn.owed() == 0 {
            return Verdict::Swallow;
        }
        if tag != client::COPY_DATA {
            turn.end_copy();
        }
        Verdict::Forward
    }

    pub(super) fn forward(&mut self, kind: Kind) -> Verdict {
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(kind, Who::Forward), []);
        turn.open_batch();
        Verdict::Forward
    }

    fn ending_batch(&mut self, kind: Kind) -> Verdict {
        let turn = self.turn.get_or_insert_default();
        turn.skipping = false;
        turn.expect(Expect::new(kind, Who::Forward), []);
        turn.end_batch();
        Verdict::Forward
    }
}

/// After a failed COPY: asks the backend which Syncs it had read. Whether the frame is still to be judged; `None`
/// where its meaning hangs on the answer.
fn clear_doubt(turn: &mut Turn, tag: u8, out: &mut Outgoing) -> Option<bool> {
    if !turn.skipping {
        turn.ask_about_syncs(&mut out.to_backend);
        return Some(true);
    }
    match tag {
        // The client's Sync is answered in either case and ends the skipping: the question comes after it.
        client::SYNC => {
            turn.skipping = false;
            out.to_backend.extend_from_slice(&build::SYNC);
            turn.expect(Expect::new(Kind::Sync, Who::Forward), []);
            turn.ask_about_syncs(&mut out.to_backend);
            Some(false)
        }
        client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL | client::FLUSH => Some(false),
        _ => None,
    }
}

/// While the backend reads COPY data it takes nothing else: Sync and Flush are ignored there, any other message
/// ends the COPY with an error and is lost.
fn copying(turn: &mut Turn, tag: u8) -> Verdict {
    match tag {
        client::COPY_DONE | client::COPY_FAIL => turn.end_copy(),
        client::SYNC => turn.expect(Expect::new(Kind::Sync, Who::Forward), []),
        _ => {}
    }
    Verdict::Forward
}

fn is_known(tag: u8) -> Result<(), Broken> {
    match tag {
        client::BIND | client::CLOSE | client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL | client::DESCRIBE => {
            Ok(())
        }
        client::EXECUTE | client::FLUSH | client::FUNCTION_CALL | client::PARSE | client::QUERY | client::SYNC => {
            Ok(())
        }
        tag => Err(unknown(tag)),
    }
}

fn unknown(tag: u8) -> Broken {
    Fault::fatal(sqlstate::PROTOCOL_VIOLATION, format!("invalid frontend message type {tag}")).into()
}

pub(super) fn block_refused() -> Fault {
    Fault::error(sqlstate::FEATURE_NOT_SUPPORTED, "transaction blocks are not allowed in statement mode")
        .detail("pgweir's pool for this database and user lends a backend for one statement at a time.")
        .hint("Use a pool with mode = \"transaction\", or send the statements in autocommit mode.")
}

/// Whether a text begins with the command that opens a transaction block.
pub(super) fn opens_block(text: &[u8]) -> bool {
    let mut word = crate::sql::first_word(text);
    word.make_ascii_lowercase();
    matches!(word.as_slice(), b"begin" | b"start")
}
