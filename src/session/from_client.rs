//! Frames from the client: what they need, what they become, and which replies they will have.

use std::sync::Arc;

use tokio::time::Instant;

use super::turn::{Deferred, Doubt, Effect, Expect, Kind, Known, Turn, Who};
use super::{Broken, Hold, Leased, Outgoing, Session, Verdict, Wait};
use crate::prepared::{Kind as StatementKind, NEVER, Standing, Statement, may_forget};
use crate::wire::build::{self, Fault};
use crate::wire::sqlstate;
use crate::wire::tag::client;
use crate::wire::view::{Bind, Parse, Target, Transaction, query_text, split_cstr};
use crate::wire::{Frame, Malformed};

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
        if !self.settle_deferred(frame, out) {
            return Ok(Verdict::Hold(Wait::Replies));
        }
        match frame.tag {
            client::QUERY => self.query(frame, out),
            client::PARSE => self.parse(frame, leased, out, now),
            client::BIND => self.bind(frame, leased, out),
            client::DESCRIBE => self.describe(frame, leased, out),
            client::CLOSE => self.close(frame),
            client::EXECUTE => self.execute(frame, out),
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
            client::CLOSE if matches!(Target::read(frame.tag, frame.body)?, Target::Statement(_)) => self.close(frame),
            client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL => Ok(Verdict::Swallow),
            client::QUERY if self.rules.hold == Hold::Statement && opens_block(frame.body) => {
                out.before.extend_from_slice(&block_refused().to_frame());
                out.before.extend_from_slice(&build::ready_for_query(Transaction::Idle));
                Ok(Verdict::Swallow)
            }
            tag => is_known(tag).map(|()| Verdict::Hold(Wait::Lease)),
        }
    }

    fn query(&mut self, frame: &Frame<'_>, out: &mut Outgoing) -> Result<Verdict, Broken> {
        let turn = self.turn.get_or_insert_default();
        if self.rules.hold == Hold::Statement && opens_block(frame.body) {
            let mut reply = block_refused().to_frame();
            reply.extend_from_slice(&build::ready_for_query(turn.status));
            turn.expect(Expect::new(Kind::Query, Who::Say(reply.into())), []);
            turn.answer_fakes(&mut self.names, &mut out.before);
            return Ok(Verdict::Swallow);
        }
        let forgets = !frame.is_whole() || may_forget(query_text(frame.body));
        let expect = Expect::new(Kind::Query, Who::Forward).forgetting(forgets);
        // A simple query drops the unnamed statement (manual: "Extended Query").
        if self.names.get(b"").is_some() || !matches!(turn.named(&self.names, b""), Known::Now(None)) {
            turn.expect(expect, [Effect::Name(Box::default(), None), Effect::Unnamed(None)]);
        } else {
            turn.expect(expect, [Effect::Unnamed(None)]);
        }
        turn.end_batch();
        Ok(Verdict::Forward)
    }

    fn parse(
        &mut self,
        frame: &Frame<'_>,
        leased: &mut Leased<'_>,
        out: &mut Outgoing,
        now: Instant,
    ) -> Result<Verdict, Broken> {
        let parse = Parse::read(frame.body)?;
        if self.rules.hold == Hold::Statement && opens_block(parse.text) {
            self.fail_there(&block_refused(), out);
            return Ok(Verdict::Swallow);
        }
        let turn = self.turn.get_or_insert_default();
        if !parse.name.is_empty() {
            match turn.named(&self.names, parse.name) {
                Known::Later => return Ok(Verdict::Hold(Wait::Replies)),
                Known::Now(Some(_)) => return Ok(self.refuse_duplicate(&parse, out)),
                Known::Now(None) if self.names.len() >= self.rules.client_statements => {
                    self.fail_there(&too_many_statements(self.rules.client_statements), out);
                    return Ok(Verdict::Swallow);
                }
                Known::Now(None) => {}
            }
        }
        let statement = self.statement_of(&parse, now);
        let turn = self.turn.get_or_insert_default();
        match (statement.kind, turn.holds(leased, statement.id)) {
            (StatementKind::Shared, Known::Later) => Ok(Verdict::Hold(Wait::Replies)),
            (StatementKind::Shared, Known::Now(true)) => {
                let deferred = Deferred { name: parse.name.into(), statement };
                // In a transaction that has failed, or may have, PostgreSQL would refuse it.
                if turn.status == Transaction::Failed || turn.is_behind() {
                    self.parse_for_real(deferred, out);
                } else {
                    turn.deferred = Some(deferred);
                }
                Ok(Verdict::Swallow)
            }
            (kind, _) => {
                self.make_room(kind, leased, out);
                let turn = self.turn.get_or_insert_default();
                let on_backend = match kind {
                    StatementKind::Private => Effect::Unnamed(Some(statement.id)),
                    StatementKind::Shared => Effect::Hold(statement.id),
                };
                build::write_parse(&mut out.to_backend, &statement.name, parse.text, parse.types);
                let effects = [Effect::Name(parse.name.into(), Some(statement)), on_backend];
                turn.expect(Expect::new(Kind::Parse, Who::Forward), effects);
                turn.open_batch();
                Ok(Verdict::Replace(frame.len))
            }
        }
    }

    /// The statement that a Parse names: shared where it has a name or recurs, else the client's own.
    fn statement_of(&mut self, parse: &Parse<'_>, now: Instant) -> Arc<Statement> {
        let (registry, plan_key) = (&self.rules.registry, self.profile.plan_key());
        if !parse.name.is_empty() {
            return registry.shared(parse.text, parse.types, plan_key);
        }
        let recurring =
            self.rules.promote_unnamed.then(|| registry.recurring(parse.text, parse.types, plan_key)).flatten();
        match recurring {
            None => registry.private(parse.text, parse.types),
            Some(shared) => {
                let statement = match shared.standing() {
                    Standing::Promoted => Arc::clone(&shared),
                    Standing::Candidate | Standing::Demoted => registry.private(parse.text, parse.types),
                };
                self.measure(Some(shared), now);
                statement
            }
        }
    }

    fn bind(&mut self, frame: &Frame<'_>, leased: &mut Leased<'_>, out: &mut Outgoing) -> Result<Verdict, Broken> {
        let bind = Bind::read(frame.body)?;
        let statement = match self.usable(bind.statement, leased, out) {
            Ok(statement) => statement,
            Err(verdict) => return Ok(verdict),
        };
        let verdict = if *statement.name == *bind.statement {
            Verdict::Forward
        } else {
            let rest = frame.len - bind.names_len();
            build::write_bind_head(&mut out.to_backend, bind.portal, &statement.name, rest);
            Verdict::Replace(bind.names_len())
        };
        self.turn.get_or_insert_default().bound(bind.portal, &statement);
        self.forward(Kind::Bind);
        Ok(verdict)
    }

    fn describe(&mut self, frame: &Frame<'_>, leased: &mut Leased<'_>, out: &mut Outgoing) -> Result<Verdict, Broken> {
        let Target::Statement(name) = Target::read(frame.tag, frame.body)? else {
            return Ok(self.forward(Kind::Describe));
        };
        let statement = match self.usable(name, leased, out) {
            Ok(statement) => statement,
            Err(verdict) => return Ok(verdict),
        };
        build::write_describe_statement(&mut out.to_backend, &statement.name);
        self.forward(Kind::Describe);
        Ok(Verdict::Replace(frame.len))
    }

    fn close(&mut self, frame: &Frame<'_>) -> Result<Verdict, Broken> {
        let Target::Statement(name) = Target::read(frame.tag, frame.body)? else {
            return Ok(self.forward(Kind::Close));
        };
        // Backends keep what they hold: others use it too. Closing what does not exist is no error.
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Close, Who::Fake(&build::CLOSE_COMPLETE)), [Effect::Name(name.into(), None)]);
        Ok(Verdict::Swallow)
    }

    fn execute(&mut self, frame: &Frame<'_>, out: &mut Outgoing) -> Result<Verdict, Broken> {
        let (portal, _) = split_cstr(frame.body).ok_or(Malformed::Contents { tag: frame.tag })?;
        let turn = self.turn.get_or_insert_default();
        // Its rows pass unseen: what is ours must not come after them.
        turn.answer_fakes(&mut self.names, &mut out.before);
        let forgets = turn.is_forgetful(portal);
        turn.expect(Expect::new(Kind::Execute, Who::Forward).forgetting(forgets), []);
        turn.open_batch();
        Ok(Verdict::Forward)
    }

    fn flush(&mut self, out: &mut Outgoing) -> Verdict {
        let turn = self.turn.get_or_insert_default();
        turn.answer_fakes(&mut self.names, &mut out.before);
        if turn.flush() { Verdict::Forward } else { Verdict::Swallow }
    }

    /// Holds a frame until the backend has answered what it was sent before, which it may have to be asked for.
    fn wait(&mut self, out: &mut Outgoing) -> Verdict {
        if self.turn.as_mut().is_some_and(|turn| turn.flush()) {
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

    fn forward(&mut self, kind: Kind) -> Verdict {
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

    // === statements on the backend ===

    /// The statement that `name` stands for, present on the backend; else what becomes of the frame that asked.
    fn usable(&mut self, name: &[u8], leased: &mut Leased<'_>, out: &mut Outgoing) -> Result<Arc<Statement>, Verdict> {
        let turn = self.turn.get_or_insert_default();
        let statement = match turn.named(&self.names, name) {
            Known::Later => return Err(Verdict::Hold(Wait::Replies)),
            Known::Now(None) => {
                self.fail_there(&unknown_statement(name), out);
                return Err(Verdict::Swallow);
            }
            Known::Now(Some(statement)) => statement,
        };
        let here = match statement.kind {
            StatementKind::Shared => turn.holds(leased, statement.id),
            StatementKind::Private => match turn.unnamed(leased) {
                Known::Now(id) => Known::Now(id == Some(statement.id)),
                Known::Later => Known::Later,
            },
        };
        match here {
            Known::Later => return Err(Verdict::Hold(Wait::Replies)),
            Known::Now(true) => leased.held.touch(statement.id),
            Known::Now(false) => self.inject_parse(&statement, leased, out),
        }
        Ok(statement)
    }

    fn inject_parse(&mut self, statement: &Arc<Statement>, leased: &mut Leased<'_>, out: &mut Outgoing) {
        self.make_room(statement.kind, leased, out);
        build::write_parse(&mut out.to_backend, &statement.name, &statement.text, &statement.types);
        let effect = match statement.kind {
            StatementKind::Private => Effect::Unnamed(Some(statement.id)),
            StatementKind::Shared => Effect::Hold(statement.id),
        };
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Parse, Who::Skip), [effect]);
        turn.open_batch();
    }

    /// Closes the backend's least recently used statements where a shared one is to be added to a full set.
    fn make_room(&mut self, kind: StatementKind, leased: &Leased<'_>, out: &mut Outgoing) {
        let turn = self.turn.get_or_insert_default();
        if kind == StatementKind::Private {
            return;
        }
        while let Some(id) = turn.surplus(leased) {
            build::write_close_statement(&mut out.to_backend, &crate::prepared::backend_name(id));
            turn.expect(Expect::new(Kind::Close, Who::Skip), [Effect::Drop(id)]);
        }
    }

    /// Decides how a deferred Parse is answered, now that the next frame is here: faked if that frame uses it,
    /// else really parsed. `false` if that must wait.
    fn settle_deferred(&mut self, frame: &Frame<'_>, out: &mut Outgoing) -> bool {
        let turn = self.turn.get_or_insert_default();
        let Some(deferred) = turn.deferred.take() else { return true };
        let used = match frame.tag {
            client::BIND => Bind::read(frame.body).is_ok_and(|bind| *bind.statement == *deferred.name),
            client::DESCRIBE => matches!(
                Target::read(frame.tag, frame.body),
                Ok(Target::Statement(name)) if *name == *deferred.name
            ),
            _ => false,
        };
        if used {
            let effect = Effect::Name(deferred.name, Some(deferred.statement));
            turn.expect(Expect::new(Kind::Parse, Who::Fake(&build::PARSE_COMPLETE)), [effect]);
        } else {
            self.parse_for_real(deferred, out);
        }
        true
    }

    /// Lets the backend parse a statement that it already holds, as its unnamed one, so that the client gets the
    /// reply that PostgreSQL gives now.
    fn parse_for_real(&mut self, deferred: Deferred, out: &mut Outgoing) {
        let Deferred { name, statement } = deferred;
        build::write_parse(&mut out.to_backend, b"", &statement.text, &statement.types);
        let id = statement.id;
        let turn = self.turn.get_or_insert_default();
        let effects = [Effect::Name(name, Some(statement)), Effect::Unnamed(Some(id))];
        turn.expect(Expect::new(Kind::Parse, Who::Forward), effects);
        turn.open_batch();
    }

    /// PostgreSQL looks at the text before it looks at the name: first let it parse, then fail.
    fn refuse_duplicate(&mut self, parse: &Parse<'_>, out: &mut Outgoing) -> Verdict {
        build::write_parse(&mut out.to_backend, b"", parse.text, parse.types);
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Parse, Who::Skip), [Effect::Unnamed(None)]);
        let name = String::from_utf8_lossy(parse.name);
        let fault = Fault::error(
            sqlstate::DUPLICATE_PREPARED_STATEMENT,
            format!("prepared statement \"{name}\" already exists"),
        );
        self.fail_there(&fault, out);
        Verdict::Swallow
    }

    /// Raises an error of ours where the backend must fail too, so that a transaction cannot commit past it.
    fn fail_there(&mut self, fault: &Fault, out: &mut Outgoing) {
        build::write_describe_statement(&mut out.to_backend, NEVER);
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Describe, Who::Substitute(fault.to_frame().into())), []);
        turn.open_batch();
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

fn unknown_statement(name: &[u8]) -> Fault {
    let message = if name.is_empty() {
        "unnamed prepared statement does not exist".to_owned()
    } else {
        format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(name))
    };
    Fault::error(sqlstate::INVALID_STATEMENT_NAME, message)
}

fn too_many_statements(limit: usize) -> Fault {
    Fault::error(sqlstate::PROGRAM_LIMIT_EXCEEDED, format!("a client may have at most {limit} prepared statements"))
        .hint(
            "Close statements that are not used any more, or raise limits.client_statements in pgweir's configuration.",
        )
}

fn block_refused() -> Fault {
    Fault::error(sqlstate::FEATURE_NOT_SUPPORTED, "transaction blocks are not allowed in statement mode")
        .detail("pgweir's pool for this database and user lends a backend for one statement at a time.")
        .hint("Use a pool with mode = \"transaction\", or send the statements in autocommit mode.")
}

/// Whether a text begins with the command that opens a transaction block.
fn opens_block(text: &[u8]) -> bool {
    let mut word = crate::sql::first_word(text);
    word.make_ascii_lowercase();
    matches!(word.as_slice(), b"begin" | b"start")
}
