//! Statements whose result may have other columns than when they were prepared.
//!
//! PostgreSQL refuses such a statement (0A000) for the session that prepared it before the change, and drivers that
//! remember its columns rely on that. A backend that parsed it after the change would refuse nothing: what the client
//! was told and what the backend says now are compared then. How old a copy is tells whether it may be out of date, and
//! whether the client would have been refused without pgweir.

use super::functions::Outdated;
use super::reports;
use super::turn::{Expect, Kind, Turn, Who};
use super::{Leased, Outgoing, Session, Verdict, Wait};
use crate::prepared::{Held, Kind as StatementKind, Named, Names, Shape, Statement, predates};
use crate::sql::Definitions;
use crate::wire::Frame;
use crate::wire::build;
use crate::wire::view::Transaction;

/// What a backend's copy of a statement is good for, to a client that wants to use it.
pub(super) enum Fitness {
    Fit,
    /// There is none, or an old one: it must be parsed.
    Unfit,
    /// Its columns must be asked for.
    Undescribed,
    /// Its columns are not those that the client was told.
    Stale,
}

impl Session {
    /// Refuses what a client was told of in other words than are true now.
    pub(super) fn raise_stale(&mut self, out: &mut Outgoing) -> Verdict {
        if self.turn.as_ref().is_some_and(|turn| turn.is_behind()) {
            // In a transaction that has failed meanwhile PostgreSQL would say so.
            return Verdict::Hold(Wait::Replies);
        }
        self.fail_there_with(reports::stale(), out);
        Verdict::Swallow
    }

    /// Asks the backend for the columns of its copy before it is used: if they are not those that the client was told,
    /// a direct connection would have refused it.
    pub(super) fn inject_describe(&mut self, named: Named, out: &mut Outgoing) -> Verdict {
        build::write_describe_statement(&mut out.to_backend, &named.statement.name);
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Describe, Who::Skip).about(named).deciding(true), []);
        turn.open_batch();
        turn.wait(out)
    }
}

impl Turn {
    /// Whether the session has changed what statements mean, or may have, and it is not known yet what becomes of that.
    pub(super) fn redefines(&self) -> bool {
        let changes = |outdated: &Outdated| outdated.definitions.contains(Definitions::MEANINGS);
        self.outdated.as_ref().is_some_and(changes)
    }

    /// PostgreSQL has refused the backend's copy, whose columns have changed; of a change that is not committed others
    /// know nothing.
    pub(super) fn found_stale(&self, statement: &Statement, held: &Held) {
        if let Some(parse) = held.parse_of(statement.id).filter(|_| !self.redefines()) {
            statement.outdate(parse);
        }
    }

    /// Judges a copy by the number of its Parse. Who prepared the statement before its columns changed gets
    /// PostgreSQL's error, best from PostgreSQL.
    pub(super) fn fitness(&mut self, named: &Named, copy: Option<u64>, held: &Held) -> Fitness {
        let Named { statement, parse, .. } = named;
        let (shape, types) = (named.known_shape(), named.known_types());
        let just_described = self.head.described.take() == Some(statement.id);
        let failed = self.status == Transaction::Failed;
        let Some(copy) = copy else {
            let stale = !failed && shape.is_none() && statement.is_outdated(*parse);
            return if stale { Fitness::Stale } else { Fitness::Unfit };
        };
        if failed {
            return Fitness::Fit;
        }
        if statement.kind == StatementKind::Private {
            return match (shape, held.shape_of(statement.id)) {
                (Some(told), Some(is)) if told != is && just_described => Fitness::Stale,
                (Some(told), Some(is)) if told != is => Fitness::Unfit,
                _ => Fitness::Fit,
            };
        }
        let of_the_moment = self.momentary.contains(&statement.id);
        if predates(copy, *parse) && !of_the_moment {
            return Fitness::Unfit;
        }
        if statement.is_doubtful(copy) && !of_the_moment {
            return match statement.is_outdated(*parse) {
                true if statement.is_outdated(copy) => Fitness::Fit,
                true if shape.is_none() => Fitness::Stale,
                _ => Fitness::Unfit,
            };
        }
        let types_may_differ = types.is_some() && predates(*parse, copy) && held.types_of(statement.id).is_none();
        match (shape, held.shape_of(statement.id)) {
            (None, _) if statement.is_outdated(*parse) => Fitness::Stale,
            (Some(told), Some(is)) if told != is && just_described => Fitness::Stale,
            // Either may be out of date.
            (Some(told), Some(is)) if told != is => Fitness::Unfit,
            (Some(_), None) if copy > *parse || of_the_moment => Fitness::Undescribed,
            _ if types_may_differ && !just_described => Fitness::Undescribed,
            _ => Fitness::Fit,
        }
    }

    /// A description has come: notes what the backend's copy looks like, and what the client is told.
    pub(super) fn learn(&mut self, frame: &Frame<'_>, names: &mut Names, leased: &mut Leased<'_>) {
        let Some(Expect { who, about: Some(named), kind: Kind::Describe, .. }) = self.queue.front() else { return };
        let id = named.statement.id;
        let is_clients = matches!(who, Who::Forward);
        if !is_clients {
            self.head.described = Some(id);
        }
        let is_known = leased.held.shape_of(id).is_some() && named.shape.is_some();
        if is_known || !frame.is_whole() {
            return;
        }
        let Some(shape) = Shape::read(frame.tag, frame.body) else { return };
        leased.held.describe(id, shape);
        if let Some(copy) = leased.held.parse_of(id) {
            named.statement.describe(copy, leased.held.description_of(id));
        }
        // Of what was presumed, only the client's own question tells more.
        if named.shape.is_none() && (named.known_shape().is_none() || is_clients) {
            names.describe(named, shape);
        }
        self.describe_coming(id, |named| {
            named.shape.get_or_insert(shape);
        });
    }
}
