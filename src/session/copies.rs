//! Statements on the backend: whether its copy of one will do, and what puts one there or takes it off.

use super::columns::Fitness;
use super::outstanding::Known;
use super::turn::{Effect, Expect, Kind, Who};
use super::{Leased, Outgoing, Session, Verdict, Wait};
use crate::prepared::{self, Kind as StatementKind, Named, Names, OUT_OF_DATE};
use crate::wire::build::{self, Fault};
use crate::wire::sqlstate;
use crate::wire::view::Transaction;

impl Session {
    /// What `name` stands for, present on the backend, and whether the copy there is older; else what becomes of the
    /// frame that asked.
    pub(super) fn usable(
        &mut self,
        (kind, name): (Kind, &[u8]),
        leased: &mut Leased<'_>,
        out: &mut Outgoing,
    ) -> Result<(Named, bool), Verdict> {
        let turn = self.turn.get_or_insert_default();
        let named = match turn.named(&self.names, Names::key(name)) {
            Known::Later => return Err(Verdict::Hold(Wait::Replies)),
            Known::Now(None) if self.state.has_prepared(Names::key(name)) => return Err(self.forward(kind)),
            Known::Now(None) => {
                self.fail_there(&unknown_statement(name), out);
                return Err(Verdict::Swallow);
            }
            Known::Now(Some(named)) => named,
        };
        self.weigh_again(&named.statement);
        self.bring_executed(named.statement.weighed(), leased, out)?;
        self.bring_listed(&named.statement, leased, out)?;
        if self.goes_by_own_name(name, &named.statement, leased) {
            return self.use_own_name(name, &named, leased, out).map(|()| (named, false));
        }
        let named = self.as_it_was_meant(name, named, leased);
        if named.statement.mentions && self.transaction() != Transaction::Failed {
            self.mention_anew(&named, leased, out)?;
        }
        let turn = self.turn.get_or_insert_default();
        let here = match named.statement.kind {
            StatementKind::Shared => turn.holds(leased, named.statement.id),
            StatementKind::Private => match turn.unnamed(leased) {
                Known::Now(id) => Known::Now((id == Some(named.statement.id)).then_some(u64::MAX)),
                Known::Later => Known::Later,
            },
        };
        let Known::Now(copy) = here else { return Err(Verdict::Hold(Wait::Replies)) };
        match turn.fitness(&named, copy, leased.held) {
            Fitness::Fit => {
                leased.held.touch(named.statement.id);
                let older = copy.is_some_and(|copy| copy < named.parse);
                if older {
                    turn.keep_batch();
                }
                return Ok((named, older));
            }
            Fitness::Stale => return Err(self.raise_stale(out)),
            Fitness::Undescribed => {}
            Fitness::Unfit => {
                if copy.is_some() && named.statement.kind == StatementKind::Shared {
                    self.inject_close(named.statement.id, out);
                }
                self.inject_parse(&named, &named.statement.text, leased, out);
            }
        }
        let failed = self.transaction() == Transaction::Failed;
        // An unnamed one is bound right after it has been described, which shall not take two more ways.
        let is_recent =
            named.statement.kind == StatementKind::Private && !named.statement.is_of_an_earlier_era(named.parse);
        let is_unchanged = named.known_shape().is_none()
            && (named.known_types().is_none() || !named.statement.is_of_an_earlier_era(named.parse));
        if is_unchanged || failed || is_recent { Ok((named, false)) } else { Err(self.inject_describe(named, out)) }
    }

    pub(super) fn inject_parse(&mut self, named: &Named, text: &[u8], leased: &mut Leased<'_>, out: &mut Outgoing) {
        let statement = &named.statement;
        self.make_room(statement.kind, leased, out);
        // What has a name may be others' too.
        let given = named.known_types().filter(|_| statement.kind == StatementKind::Private);
        let reading = self.reading_of(statement);
        self.read_otherwise(reading.as_ref().map(|reading| &reading.first), out);
        build::write_parse(&mut out.to_backend, &statement.name, text, given.map_or(&*statement.types, |given| given));
        let effect = match statement.kind {
            StatementKind::Private => Effect::Unnamed(Some(statement.id)),
            // Nobody else may use it, nor the session itself with another backend.
            StatementKind::Shared if self.is_read_otherwise() || self.looks_elsewhere(statement) => {
                self.turn.get_or_insert_default().momentary.push(statement.id);
                Effect::Hold(statement.id, OUT_OF_DATE)
            }
            StatementKind::Shared => Effect::Hold(statement.id, statement.next_parse()),
        };
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Parse, Who::Skip), [effect]);
        turn.open_batch();
        self.read_otherwise(reading.as_ref().map(|reading| &reading.then), out);
    }

    /// Closes the backend's least recently used statements where a shared one is to be added to a full set.
    pub(super) fn make_room(&mut self, kind: StatementKind, leased: &Leased<'_>, out: &mut Outgoing) {
        if kind == StatementKind::Private {
            return;
        }
        while let Some(id) = self.turn.get_or_insert_default().surplus(leased) {
            self.inject_close(id, out);
        }
    }

    pub(super) fn inject_close(&mut self, id: u64, out: &mut Outgoing) {
        build::write_close_statement(&mut out.to_backend, &prepared::backend_name(id));
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Close, Who::Skip), [Effect::Drop(id)]);
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
