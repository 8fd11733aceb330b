//! Frames from the client that name statements: what stands for a name, and what must be on the backend for it.

use std::sync::Arc;

use tokio::time::Instant;

use super::from_client::{block_refused, opens_block};
use super::reports;
use super::turn::{Deferred, Effect, Expect, Kind, Known, Who};
use super::{Hold, Leased, Outgoing, Session, Verdict, Wait};
use crate::prepared::{self, Kind as StatementKind, NEVER, Named, Names, Standing, Statement};
use crate::wire::Frame;
use crate::wire::build::{self, Fault};
use crate::wire::sqlstate;
use crate::wire::tag::client;
use crate::wire::view::{Bind, Parse, Target, Transaction};

impl Session {
    pub(super) fn parse(
        &mut self,
        frame: &Frame<'_>,
        leased: &mut Leased<'_>,
        out: &mut Outgoing,
        now: Instant,
    ) -> Verdict {
        let Ok(parse) = Parse::read(frame.body) else {
            return self.forward(Kind::Parse);
        };
        if self.rules.hold == Hold::Statement && opens_block(parse.text) {
            self.fail_there(&block_refused(), out);
            return Verdict::Swallow;
        }
        let turn = self.turn.get_or_insert_default();
        let name = Names::key(parse.name);
        if !name.is_empty() {
            match turn.named(&self.names, name) {
                Known::Later => return Verdict::Hold(Wait::Replies),
                Known::Now(Some(_)) => return self.refuse_duplicate(&parse, out),
                Known::Now(None) if self.names.len() >= self.rules.client_statements => {
                    self.fail_there(&too_many_statements(self.rules.client_statements), out);
                    return Verdict::Swallow;
                }
                Known::Now(None) => {}
            }
        }
        let statement = self.statement_of(&parse, now);
        let number = statement.next_parse();
        let turn = self.turn.get_or_insert_default();
        match (statement.kind, turn.holds(leased, statement.id)) {
            (StatementKind::Shared, Known::Later) => Verdict::Hold(Wait::Replies),
            (StatementKind::Shared, Known::Now(Some(copy))) if !statement.is_doubtful(copy) => {
                let deferred = Deferred { name: name.into(), named: Named { statement, parse: number } };
                // In a transaction that has failed, or may have, PostgreSQL would refuse it.
                if turn.status == Transaction::Failed || turn.is_behind() {
                    self.parse_for_real(deferred, out);
                } else {
                    turn.deferred = Some(deferred);
                }
                Verdict::Swallow
            }
            (kind, copy) => {
                if matches!(copy, Known::Now(Some(_))) {
                    self.inject_close(statement.id, out);
                }
                self.make_room(kind, leased, out);
                let turn = self.turn.get_or_insert_default();
                let on_backend = match kind {
                    StatementKind::Private => Effect::Unnamed(Some(statement.id)),
                    StatementKind::Shared => Effect::Hold(statement.id, number),
                };
                build::write_parse(&mut out.to_backend, &statement.name, parse.text, parse.types);
                let effects = [Effect::Name(name.into(), Some(Named { statement, parse: number })), on_backend];
                turn.expect(Expect::new(Kind::Parse, Who::Forward), effects);
                turn.open_batch();
                Verdict::Replace(frame.len)
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

    pub(super) fn bind(&mut self, frame: &Frame<'_>, leased: &mut Leased<'_>, out: &mut Outgoing) -> Verdict {
        let Ok(bind) = Bind::read(frame.body) else {
            return self.forward(Kind::Bind);
        };
        let statement = match self.usable(bind.statement, leased, out) {
            Ok(statement) => statement,
            Err(verdict) => return verdict,
        };
        let verdict = if *statement.name == *bind.statement {
            Verdict::Forward
        } else {
            let rest = frame.len - bind.names_len();
            build::write_bind_head(&mut out.to_backend, bind.portal, &statement.name, rest);
            Verdict::Replace(bind.names_len())
        };
        self.turn.get_or_insert_default().bound(bind.portal, &statement);
        self.note(statement.leaves);
        self.forward_about(Kind::Bind, statement);
        verdict
    }

    pub(super) fn describe(&mut self, frame: &Frame<'_>, leased: &mut Leased<'_>, out: &mut Outgoing) -> Verdict {
        let Ok(Target::Statement(name)) = Target::read(frame.tag, frame.body) else {
            return self.forward(Kind::Describe);
        };
        let statement = match self.usable(name, leased, out) {
            Ok(statement) => statement,
            Err(verdict) => return verdict,
        };
        build::write_describe_statement(&mut out.to_backend, &statement.name);
        self.forward_about(Kind::Describe, statement);
        Verdict::Replace(frame.len)
    }

    pub(super) fn close(&mut self, frame: &Frame<'_>) -> Verdict {
        let Ok(Target::Statement(name)) = Target::read(frame.tag, frame.body) else {
            return self.forward(Kind::Close);
        };
        // Backends keep what they hold: others use it too. Closing what does not exist is no error.
        let turn = self.turn.get_or_insert_default();
        let effects = [Effect::Name(Names::key(name).into(), None)];
        turn.expect(Expect::new(Kind::Close, Who::Fake(&build::CLOSE_COMPLETE)), effects);
        Verdict::Swallow
    }

    fn forward_about(&mut self, kind: Kind, statement: Arc<Statement>) {
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(kind, Who::Forward).about(statement), []);
        turn.open_batch();
    }

    // === statements on the backend ===

    /// The statement that `name` stands for, present on the backend; else what becomes of the frame that asked.
    fn usable(&mut self, name: &[u8], leased: &mut Leased<'_>, out: &mut Outgoing) -> Result<Arc<Statement>, Verdict> {
        let turn = self.turn.get_or_insert_default();
        let Named { statement, parse } = match turn.named(&self.names, Names::key(name)) {
            Known::Later => return Err(Verdict::Hold(Wait::Replies)),
            Known::Now(None) => {
                self.fail_there(&unknown_statement(name), out);
                return Err(Verdict::Swallow);
            }
            Known::Now(Some(named)) => named,
        };
        let here = match statement.kind {
            StatementKind::Shared => turn.holds(leased, statement.id),
            StatementKind::Private => match turn.unnamed(leased) {
                Known::Now(id) => Known::Now((id == Some(statement.id)).then_some(u64::MAX)),
                Known::Later => Known::Later,
            },
        };
        // Who prepared it before its columns changed gets PostgreSQL's error, best from PostgreSQL.
        let outdated = statement.is_outdated(parse);
        let fits = |copy| if outdated { statement.is_outdated(copy) } else { !statement.is_doubtful(copy) };
        let failed = turn.status == Transaction::Failed;
        match here {
            Known::Later => return Err(Verdict::Hold(Wait::Replies)),
            Known::Now(Some(copy)) if failed || fits(copy) => {
                leased.held.touch(statement.id);
                if parse > copy {
                    turn.keep_batch();
                }
            }
            Known::Now(_) if outdated && turn.is_behind() => return Err(Verdict::Hold(Wait::Replies)),
            Known::Now(_) if outdated && !failed => {
                self.fail_there_with(reports::stale(), out);
                return Err(Verdict::Swallow);
            }
            Known::Now(Some(_)) => {
                self.inject_close(statement.id, out);
                self.inject_parse(&statement, leased, out);
            }
            Known::Now(None) => self.inject_parse(&statement, leased, out),
        }
        Ok(statement)
    }

    fn inject_parse(&mut self, statement: &Arc<Statement>, leased: &mut Leased<'_>, out: &mut Outgoing) {
        self.make_room(statement.kind, leased, out);
        build::write_parse(&mut out.to_backend, &statement.name, &statement.text, &statement.types);
        let effect = match statement.kind {
            StatementKind::Private => Effect::Unnamed(Some(statement.id)),
            StatementKind::Shared => Effect::Hold(statement.id, statement.next_parse()),
        };
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Parse, Who::Skip), [effect]);
        turn.open_batch();
    }

    /// Closes the backend's least recently used statements where a shared one is to be added to a full set.
    fn make_room(&mut self, kind: StatementKind, leased: &Leased<'_>, out: &mut Outgoing) {
        if kind == StatementKind::Private {
            return;
        }
        while let Some(id) = self.turn.get_or_insert_default().surplus(leased) {
            self.inject_close(id, out);
        }
    }

    fn inject_close(&mut self, id: u64, out: &mut Outgoing) {
        build::write_close_statement(&mut out.to_backend, &prepared::backend_name(id));
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Close, Who::Skip), [Effect::Drop(id)]);
        turn.open_batch();
    }

    /// Decides how a deferred Parse is answered, now that the next frame is here: faked if that frame uses it,
    /// else really parsed.
    pub(super) fn settle_deferred(&mut self, frame: &Frame<'_>, out: &mut Outgoing) {
        let turn = self.turn.get_or_insert_default();
        let Some(deferred) = turn.deferred.take() else { return };
        let used = match frame.tag {
            client::BIND => Bind::read(frame.body).is_ok_and(|bind| *Names::key(bind.statement) == *deferred.name),
            client::DESCRIBE => matches!(
                Target::read(frame.tag, frame.body),
                Ok(Target::Statement(name)) if *Names::key(name) == *deferred.name
            ),
            _ => false,
        };
        if used {
            let effect = Effect::Name(deferred.name, Some(deferred.named));
            turn.expect(Expect::new(Kind::Parse, Who::Fake(&build::PARSE_COMPLETE)), [effect]);
        } else {
            self.parse_for_real(deferred, out);
        }
    }

    /// Lets the backend parse a statement that it already holds, as its unnamed one, so that the client gets the
    /// reply that PostgreSQL gives now.
    fn parse_for_real(&mut self, deferred: Deferred, out: &mut Outgoing) {
        let Deferred { name, named } = deferred;
        build::write_parse(&mut out.to_backend, b"", &named.statement.text, &named.statement.types);
        let id = named.statement.id;
        let turn = self.turn.get_or_insert_default();
        let effects = [Effect::Name(name, Some(named)), Effect::Unnamed(Some(id))];
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
        self.fail_there_with(fault.to_frame().into(), out);
    }

    fn fail_there_with(&mut self, error: Box<[u8]>, out: &mut Outgoing) {
        build::write_describe_statement(&mut out.to_backend, NEVER);
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Describe, Who::Substitute(error)), []);
        turn.open_batch();
    }
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
