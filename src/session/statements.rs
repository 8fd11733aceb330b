//! Frames from the client that name statements: what stands for a name, and what must be on the backend for it.

use std::sync::Arc;

use tokio::time::Instant;

use super::channels::Ahead;
use super::draws::ends_failure;
use super::from_client::{block_refused, opens_block};
use super::measuring::Measure;
use super::outstanding::Known;
use super::own_names::drops;
use super::portals::Meant;
use super::turn::{Effect, Expect, Kind, Who};
use super::{Hold, Leased, Outgoing, Session, Verdict, Wait};
use crate::prepared::{Kind as StatementKind, Named, Names, Standing, Statement, may_freeze, predates};
use crate::sql::{Effects, Weighed};
use crate::wire::Frame;
use crate::wire::build::{self, Fault};
use crate::wire::sqlstate;
use crate::wire::tag::client;
use crate::wire::view::{Bind, Parse, Target, Transaction, bound_values};

/// A Parse that is neither forwarded nor answered until the next frame tells how.
#[derive(Debug)]
pub(super) struct Deferred {
    pub(super) name: Box<[u8]>,
    pub(super) named: Named,
}

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
                Known::Now(None) => {
                    if let Err(exceeded) = self.names.room_for(parse.text, &self.rules.allowance) {
                        self.fail_there(&self.exceeded(exceeded), out);
                        return Verdict::Swallow;
                    }
                }
            }
        }
        let mut parse = parse;
        let mut statement = self.statement_of(&parse, now);
        let mended = self.mended_text(statement.weighed(), parse.text);
        if let Some(text) = &mended {
            parse.text = text;
            statement = self.statement_of(&parse, now);
        }
        let statement = match self.mentioning(&parse, statement) {
            Ok(statement) => statement,
            Err(verdict) => return verdict,
        };
        if let Err(verdict) = self.discard_draws_for(&statement, out) {
            return verdict;
        }
        if let Err(verdict) = self.bring_executed(statement.weighed(), leased, out) {
            return verdict;
        }
        if let Err(verdict) = self.bring_listed(&statement, leased, out) {
            return verdict;
        }
        if self.state.has_prepared(name) || self.goes_by_own_name(name, &statement, leased) {
            return self.parse_under_own_name((frame, &parse), statement, now, out);
        }
        let number = statement.next_parse();
        let measure = self.measure_parse(&statement, now);
        let warned_of = statement.warns() || (!self.lexing().conforming && parse.text.contains(&b'\\'));
        let turn = self.turn.get_or_insert_default();
        match (statement.kind, turn.holds(leased, statement.id)) {
            (StatementKind::Shared, Known::Later) => Verdict::Hold(Wait::Replies),
            (StatementKind::Shared, Known::Now(Some(copy)))
                if !statement.is_doubtful(copy) && !predates(copy, number) =>
            {
                let deferred =
                    Deferred { name: name.into(), named: turn.named_as_there(name, statement, number, leased) };
                // In a transaction that has failed, or may have, PostgreSQL would refuse it; others it warns of.
                if turn.status == Transaction::Failed || turn.is_behind() || warned_of {
                    self.parse_for_real(deferred, out, now);
                } else {
                    turn.deferred = Some(deferred);
                }
                Verdict::Swallow
            }
            (_, copy) => {
                if matches!(copy, Known::Now(Some(_))) {
                    self.inject_close(statement.id, out);
                }
                self.parse_there((&parse, name), Named::new(statement, number), measure, leased, out);
                Verdict::Replace(frame.len)
            }
        }
    }

    /// Has the backend parse a statement for the client.
    fn parse_there(
        &mut self,
        (parse, name): (&Parse<'_>, &[u8]),
        named: Named,
        measure: Option<Measure>,
        leased: &Leased<'_>,
        out: &mut Outgoing,
    ) {
        let (kind, id) = (named.statement.kind, named.statement.id);
        self.make_room(kind, leased, out);
        let turn = self.turn.get_or_insert_default();
        let on_backend = match kind {
            StatementKind::Private => Effect::Unnamed(Some(id)),
            StatementKind::Shared => Effect::Hold(id, named.parse),
        };
        build::write_parse(&mut out.to_backend, &named.statement.name, parse.text, parse.types);
        let effects = [Effect::Name(name.into(), Some(named.clone())), on_backend];
        turn.expect(Expect::new(Kind::Parse, Who::Forward).measuring(measure), effects);
        turn.open_batch();
        let statement = Arc::clone(&named.statement);
        self.describe_there(&statement.name, named, out);
    }

    /// Has the backend describe what it has been told to parse, where other backends may be told so, too: their copies
    /// are to have its types, and are compared with its columns.
    fn describe_there(&mut self, name: &[u8], named: Named, out: &mut Outgoing) {
        if named.statement.kind == StatementKind::Shared {
            build::write_describe_statement(&mut out.to_backend, name);
            let turn = self.turn.get_or_insert_default();
            turn.expect(Expect::new(Kind::Describe, Who::Skip).about(named), []);
        }
    }

    /// Lets PostgreSQL say whether SQL's PREPARE has taken the name, and what the statement's own name is.
    fn parse_under_own_name(
        &mut self,
        (frame, parse): (&Frame<'_>, &Parse<'_>),
        statement: Arc<Statement>,
        now: Instant,
        out: &mut Outgoing,
    ) -> Verdict {
        let measure = self.measure_parse(&statement, now);
        let number = statement.next_parse();
        let (name, named) = (Names::key(parse.name), Named::new(statement, number));
        let effects = [Effect::Name(name.into(), Some(named.clone())), Effect::Own(name.into(), true)];
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Parse, Who::Forward).measuring(measure), effects);
        turn.open_batch();
        build::write_parse(&mut out.to_backend, parse.name, parse.text, parse.types);
        self.describe_there(parse.name, named, out);
        Verdict::Replace(frame.len)
    }

    /// The statement that a Parse names: shared where it has a name or recurs, else the client's own.
    fn statement_of(&mut self, parse: &Parse<'_>, now: Instant) -> Arc<Statement> {
        let (registry, plan_key) = (&self.rules.registry, self.plan_key());
        let found = self.turn.as_mut().and_then(|turn| turn.head.found.take());
        let means_this = |(key, statement): &(u64, Arc<Statement>)| {
            (*key, &*statement.text, &*statement.types) == (plan_key, parse.text, parse.types)
        };
        let found = found.filter(means_this).map(|(_, statement)| statement);
        let weigh = || self.weigh(parse.text);
        registry.pass(now);
        // A temporary table may go by the name of another session's, with other columns; settings of the transaction
        // say where names are looked for and how constants are read; one of the clock is of when its own client has
        // prepared it.
        let means_its_own = self.state.may_have_temporary() || self.is_read_otherwise();
        if means_its_own || (!parse.name.is_empty() && may_freeze(parse.text)) {
            return match parse.name {
                b"" => registry.private(parse.text, parse.types, weigh()),
                _ => registry.unshared(parse.text, parse.types, self.origin(parse.text)),
            };
        }
        if !parse.name.is_empty() {
            let shared = || registry.shared(parse.text, parse.types, plan_key, || self.origin(parse.text));
            return found.unwrap_or_else(shared);
        }
        let recurring = || registry.recurring(parse.text, parse.types, plan_key, || self.origin(parse.text));
        let recurring = if self.rules.promote_unnamed { found.or_else(recurring) } else { None };
        match recurring {
            None => registry.private(parse.text, parse.types, weigh()),
            Some(shared) => {
                let statement = match shared.standing() {
                    Standing::Promoted if !self.may_go_by_own_name(&shared) => Arc::clone(&shared),
                    Standing::Promoted | Standing::Candidate | Standing::Demoted => {
                        registry.private(parse.text, parse.types, shared.weighed().clone())
                    }
                };
                self.measure(Some(shared), now);
                statement
            }
        }
    }

    pub(super) fn bind(
        &mut self,
        frame: &Frame<'_>,
        leased: &mut Leased<'_>,
        out: &mut Outgoing,
        now: Instant,
    ) -> Verdict {
        let Ok(bind) = Bind::read(frame.body) else {
            return self.forward(Kind::Bind);
        };
        if let Err(verdict) = self.discard_draws_before(bind.statement, out) {
            return verdict;
        }
        let (named, vouches) = match self.usable((Kind::Bind, bind.statement), leased, out) {
            Ok(usable) => usable,
            Err(verdict) => return verdict,
        };
        let statement = &named.statement;
        let weighed = statement.weighed();
        let refusal = self.turn.as_mut().and_then(|turn| turn.head.refusal.take());
        if let Some(fault) = refusal {
            self.fail_there_for(fault.to_frame().into(), statement, now, out);
            return Verdict::Swallow;
        }
        let effects = self.effects_of_statement(statement);
        let waits = self.must_pin(effects, leased);
        if let Some(verdict) = waits.or_else(|| self.bring_channels((weighed, effects), &statement.text)) {
            return verdict;
        }
        if let Some(verdict) = self.must_make_way(weighed) {
            return verdict;
        }
        if let Some(verdict) = self.must_name_in_values(statement, frame) {
            return verdict;
        }
        let followed = self.followed(weighed, &statement.text);
        match self.hear_ahead(followed.as_ref(), false) {
            Ok(()) => {}
            Err(Ahead::Wait(verdict)) => return verdict,
            Err(Ahead::Failed(error)) => {
                self.fail_there_for(error, statement, now, out);
                return Verdict::Swallow;
            }
        }
        if self.is_naming(weighed, effects) {
            return Verdict::Hold(Wait::Replies);
        }
        self.bring_own_names((weighed, effects), false, leased, out);
        let verdict = self.bind_on_backend((frame, &bind), statement, leased, out);
        let mends = self.mending_of(weighed);
        self.note(weighed, &statement.text, now);
        self.note_values(weighed, frame);
        self.measure_bind((bind.portal, statement), frame, now, out);
        let meant = Meant {
            listens: followed,
            mends,
            drops: drops(weighed).next(),
            ends_failure: self.transaction() == Transaction::Failed && ends_failure(weighed),
        };
        let turn = self.turn.get_or_insert_default();
        turn.portals.bound(bind.portal, statement, meant);
        // An unnamed statement is prepared anew before long.
        let portrays = bind.portal.is_empty() && !bind.statement.is_empty();
        let expect = Expect::new(Kind::Bind, Who::Forward).about(named);
        turn.expect(Expect { vouches, portrays, ..expect }, []);
        turn.open_batch();
        verdict
    }

    /// Says a Bind as the backend must be told it.
    fn bind_on_backend(
        &self,
        (frame, bind): (&Frame<'_>, &Bind<'_>),
        statement: &Statement,
        leased: &Leased<'_>,
        out: &mut Outgoing,
    ) -> Verdict {
        let own = self.goes_by_own_name(bind.statement, statement, leased);
        let name = if own { bind.statement } else { &statement.name };
        let mended = if frame.is_whole() { self.mended_values(statement, frame.body) } else { None };
        if let Some(values) = mended.as_ref().and_then(|body| body.get(bind.names_len()..)) {
            build::write_bind_head(&mut out.to_backend, bind.portal, name, values.len());
            out.to_backend.extend_from_slice(values);
            return Verdict::Replace(frame.len);
        }
        if *name == *bind.statement {
            return Verdict::Forward;
        }
        build::write_bind_head(&mut out.to_backend, bind.portal, name, frame.len - bind.names_len());
        Verdict::Replace(bind.names_len())
    }

    /// Notes settings that may be named by a value that is bound.
    fn note_values(&mut self, weighed: &Weighed, frame: &Frame<'_>) {
        if !self.effects_of(weighed, b"").any_of(Effects::SETTINGS | Effects::CALLS) {
            return;
        }
        match bound_values(frame.body).filter(|_| frame.is_whole()) {
            Some(values) => self.state.note_custom(values.into_iter().flat_map(|value| dotted_words(value.bytes))),
            None => self.state.note_unnamed(),
        }
    }

    pub(super) fn describe(&mut self, frame: &Frame<'_>, leased: &mut Leased<'_>, out: &mut Outgoing) -> Verdict {
        let name = match Target::read(frame.tag, frame.body) {
            Ok(Target::Statement(name)) => name,
            Ok(Target::Portal(b"")) => return self.describe_portal(),
            _ => return self.forward(Kind::Describe),
        };
        let (named, vouches) = match self.usable((Kind::Describe, name), leased, out) {
            Ok(usable) => usable,
            Err(verdict) => return verdict,
        };
        let own = self.goes_by_own_name(name, &named.statement, leased);
        let on_backend = if own { name } else { &named.statement.name };
        build::write_describe_statement(&mut out.to_backend, on_backend);
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect { vouches, ..Expect::new(Kind::Describe, Who::Forward).about(named) }, []);
        turn.open_batch();
        Verdict::Replace(frame.len)
    }

    /// Describes the unnamed portal: where it was bound just now, that tells of its statement.
    fn describe_portal(&mut self) -> Verdict {
        let bound = self.turn.as_ref().and_then(|turn| turn.queue.back()).filter(|expect| expect.portrays);
        match bound.and_then(|expect| expect.about.clone()).filter(|named| named.shape.is_none()) {
            Some(named) => {
                let turn = self.turn.get_or_insert_default();
                turn.expect(Expect::new(Kind::Describe, Who::Forward).about(named), []);
                turn.open_batch();
                Verdict::Forward
            }
            None => self.forward(Kind::Describe),
        }
    }

    /// Decides how a deferred Parse is answered, now that the next frame is here: faked if that frame uses it,
    /// else really parsed.
    pub(super) fn settle_deferred(&mut self, frame: &Frame<'_>, out: &mut Outgoing, now: Instant) {
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
            self.parse_for_real(deferred, out, now);
        }
    }

    /// Lets the backend parse a statement that it already holds, as its unnamed one, so that the client gets the
    /// reply that PostgreSQL gives now.
    fn parse_for_real(&mut self, deferred: Deferred, out: &mut Outgoing, now: Instant) {
        let Deferred { name, named } = deferred;
        let measure = self.measure_parse(&named.statement, now);
        build::write_parse(&mut out.to_backend, b"", &named.statement.text, &named.statement.types);
        let id = named.statement.id;
        let turn = self.turn.get_or_insert_default();
        let effects = [Effect::Name(name, Some(named)), Effect::Unnamed(Some(id))];
        turn.expect(Expect::new(Kind::Parse, Who::Forward).measuring(measure), effects);
        turn.open_batch();
    }

    /// PostgreSQL looks at the text before it looks at the name: first let it parse, then fail.
    fn refuse_duplicate(&mut self, parse: &Parse<'_>, out: &mut Outgoing) -> Verdict {
        build::write_parse(&mut out.to_backend, b"", parse.text, parse.types);
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Parse, Who::Doomed), [Effect::Unnamed(None)]);
        let name = String::from_utf8_lossy(parse.name);
        let fault = Fault::error(
            sqlstate::DUPLICATE_PREPARED_STATEMENT,
            format!("prepared statement \"{name}\" already exists"),
        );
        self.fail_there(&fault, out);
        Verdict::Swallow
    }
}

/// The runs of bytes that a custom setting's name could be.
fn dotted_words(values: &[u8]) -> impl Iterator<Item = &[u8]> {
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$') || *byte >= 0x80;
    let words = values.split(move |byte| !in_name(byte));
    words.filter(|word| word.contains(&b'.') && word.len() > 2)
}
