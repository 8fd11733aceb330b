//! Parameters whose types a client has left open keep those that PostgreSQL gave them when the client prepared the
//! statement (manual: "PREPARE").
//!
//! A backend that parses the statement later gives them what follows from the definitions of then: a value would be read
//! as one of another type. Where it would, or may, the statement is prepared there with its types declared, which is
//! another statement.

use std::sync::Arc;

use super::outstanding::Known;
use super::turn::{Expect, Kind, Turn};
use super::{Leased, Session};
use crate::prepared::{Kind as StatementKind, Named, Names, Statement, Types};
use crate::wire::Frame;
use crate::wire::view::Transaction;

impl Session {
    /// What a name stands for on this backend: a statement whose parameters have the types that they had.
    pub(super) fn with_its_types(&mut self, name: &[u8], named: Named, leased: &Leased<'_>) -> Named {
        let name = Names::key(name);
        if !named.statement.leaves_types_open || named.statement.kind == StatementKind::Private || name.is_empty() {
            return named;
        }
        match &named.types {
            None => self.adopt_types(named, leased),
            Some(types) if self.would_be_given_others(&named, types, leased) => self.declare_types(name, named),
            Some(_) => named,
        }
    }

    /// Nobody knew the types when the name was given: those of a copy that is neither older nor younger are as good.
    fn adopt_types(&mut self, named: Named, leased: &Leased<'_>) -> Named {
        let Some(types) = leased.held.types_of(named.statement.id) else { return named };
        let copy = leased.held.parse_of(named.statement.id);
        if copy.is_some_and(|copy| is_of_one_era(copy, named.parse)) {
            self.names.give_types(&named, Arc::clone(types));
        }
        named
    }

    fn would_be_given_others(&self, named: &Named, types: &Types, leased: &Leased<'_>) -> bool {
        let Named { statement, parse, shape, .. } = named;
        // PostgreSQL refuses it for its columns.
        let is_refused = shape.is_none() && statement.is_outdated(*parse);
        if is_refused || self.transaction() == Transaction::Failed {
            return false;
        }
        let Some(turn) = &self.turn else { return false };
        match turn.holds(leased, statement.id) {
            Known::Now(None) => statement.is_before_a_change(*parse),
            Known::Now(Some(_)) if turn.parses(statement.id) => statement.is_before_a_change(*parse),
            Known::Now(Some(_)) => leased.held.types_of(statement.id).is_some_and(|given| given != types),
            Known::Later => false,
        }
    }

    /// Has the name stand for the same text with all types declared, from now on.
    fn declare_types(&mut self, name: &[u8], named: Named) -> Named {
        let Named { statement, shape, types, .. } = &named;
        let Some(declared) = types.as_ref().filter(|_| self.names.get(name).is_some_and(|known| known.is(&named)))
        else {
            return named;
        };
        let (registry, plan_key) = (&self.rules.registry, self.plan_key());
        let origin = || self.origin(&statement.text);
        let is_shared = |known: Arc<Statement>| Arc::ptr_eq(&known, statement);
        let typed = if registry.known(&statement.text, &statement.types, plan_key).is_some_and(is_shared) {
            registry.shared(&statement.text, declared, plan_key, origin)
        } else {
            registry.unshared(&statement.text, declared, origin())
        };
        let parse = typed.next_parse();
        let typed = Named { shape: *shape, ..Named::new(typed, parse) };
        self.names.set(name, Some(typed.clone()));
        typed
    }
}

impl Turn {
    /// What a Parse gives a name that is answered without the backend, which has a copy as good.
    pub(super) fn named_as_there(
        &self,
        name: &[u8],
        statement: Arc<Statement>,
        parse: u64,
        leased: &Leased<'_>,
    ) -> Named {
        // An unnamed one is used at once, mostly.
        let are_of_use = !name.is_empty() && statement.leaves_types_open;
        let is_known = are_of_use && !self.parses(statement.id);
        let types = if is_known { leased.held.types_of(statement.id).cloned() } else { None };
        Named { types, ..Named::new(statement, parse) }
    }

    /// A ParameterDescription has come. Whether it is kept back; else its types are noted where the client had left them
    /// open.
    pub(super) fn keep_parameters(&mut self, frame: &Frame<'_>, names: &mut Names, leased: &mut Leased<'_>) -> bool {
        let kept = self.keep_reply(frame);
        if !kept {
            self.learn_types(frame, names, leased);
        }
        kept
    }

    fn learn_types(&self, frame: &Frame<'_>, names: &mut Names, leased: &mut Leased<'_>) {
        let Some(Expect { about: Some(named), kind: Kind::Describe, .. }) = self.queue.front() else { return };
        let id = named.statement.id;
        let is_known = named.types.is_some() && leased.held.types_of(id).is_some();
        if !named.statement.leaves_types_open || is_known || !frame.is_whole() {
            return;
        }
        let types = Types::from(frame.body);
        leased.held.give_types(id, &types);
        if named.types.is_none() {
            names.give_types(named, types);
        }
    }
}

fn is_of_one_era(one: u64, other: u64) -> bool {
    !crate::prepared::predates(one, other) && !crate::prepared::predates(other, one)
}
