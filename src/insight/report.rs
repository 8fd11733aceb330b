//! From sums to what people read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::applications::Usage;
use super::insight::{Filter, Shared, State};
use super::names::Place;
use super::recorder::Failed;
use super::repetitions::{Finding, Subject};
use super::slow::SlowExecution;
use super::tally::Tally;
use super::view::{Application, Budget, Class, PatternName, Repeated, Repetition, Row, Slow};
use crate::config::Budgets;
use crate::sql::{Digest, Kind, Lexing, Shape};

/// Patterns by digest.
pub(super) type PatternNames = HashMap<Digest, Arc<PatternName>, RandomState>;

impl Shared {
    /// Names patterns while they are known; forgets the names of those that are counted no more.
    pub(super) fn learn_names(&self, state: &mut State) {
        let State { table, names, .. } = state;
        for (key, _) in table.rows() {
            if !names.contains_key(&key.digest)
                && let Some(name) = self.known(key.digest)
            {
                names.insert(key.digest, name);
            }
        }
        if names.len() > table.len() * 2 + 16 {
            let counted: std::collections::HashSet<Digest> = table.rows().map(|(key, _)| key.digest).collect();
            names.retain(|digest, _| counted.contains(digest));
        }
    }

    pub(super) fn known(&self, digest: Digest) -> Option<Arc<PatternName>> {
        let pattern = self.patterns.known_by(digest)?;
        let traits = &pattern.traits;
        Some(Arc::new(PatternName {
            digest,
            fingerprint: pattern.fingerprint.clone(),
            text: pattern.normalised.clone(),
            kind: traits.kind,
            reads: traits.reads.clone(),
            writes: traits.writes.clone(),
            shape: traits.shape,
        }))
    }

    pub(super) fn name(&self, names: &PatternNames, digest: Digest) -> Arc<PatternName> {
        if let Some(name) = names.get(&digest) {
            return Arc::clone(name);
        }
        // It was forgotten before anybody asked.
        self.known(digest).unwrap_or_else(|| nameless(digest))
    }

    /// A row, if it is among those that are wanted.
    pub(super) fn filtered_row(
        &self,
        state: &State,
        (digest, place): (Option<Digest>, Place),
        tally: &Tally,
        filter: &Filter,
    ) -> Option<Row> {
        let (database, user) = self.places.pair(place);
        let other = |wanted: &Option<String>, is: &str| wanted.as_ref().is_some_and(|wanted| wanted != is);
        if other(&filter.database, &database) || other(&filter.user, &user) {
            return None;
        }
        let pattern = digest.map(|digest| self.name(&state.names, digest));
        Some(self.row(state.budgets, pattern, (database, user), tally))
    }

    fn row(
        &self,
        budgets: Budgets,
        pattern: Option<Arc<PatternName>>,
        (database, user): (Arc<str>, Arc<str>),
        tally: &Tally,
    ) -> Row {
        let budget = pattern.as_ref().and_then(|pattern| budget(budgets, pattern.kind, tally));
        let applications = tally.applications.sorted(usize::MAX).into_iter();
        let tags = tally.tags.sorted().into_iter();
        Row {
            pattern,
            database,
            user,
            calls: tally.calls,
            errors: tally.errors,
            sqlstates: tally.sqlstates.sorted().into_iter().map(|(code, count)| (sqlstate(code), count)).collect(),
            cancelled: tally.cancelled,
            timed_out: tally.timed_out,
            rows: tally.rows,
            bytes_in: tally.bytes_in,
            bytes_out: tally.bytes_out,
            wait: tally.wait.times(),
            server: tally.server.times(),
            drain: tally.drain.times(),
            total: tally.total().times(),
            budget,
            in_transaction: tally.in_transaction,
            extended: tally.extended,
            idle_after: tally.idle_after.times(),
            first_seen: tally.first_seen,
            last_seen: tally.last_seen,
            applications: applications.map(|(number, usage)| self.application(number, usage)).collect(),
            tags: tags
                .map(|(number, count)| {
                    let (key, value) = self.tags.single(number);
                    (key, value, count)
                })
                .collect(),
        }
    }

    fn application(&self, number: u32, usage: Usage) -> Application {
        Application {
            name: self.applications.text(number).as_ref().into(),
            calls: usage.calls,
            errors: usage.errors,
            rows: usage.rows,
            wait: Duration::from_nanos(usage.wait),
            server: Duration::from_nanos(usage.server),
            drain: Duration::from_nanos(usage.drain),
        }
    }

    /// A finding in words; `None` for what has to be repeated.
    pub(super) fn repetition(&self, state: &State, subject: Subject, found: &Finding) -> Option<Repetition> {
        let pattern = self.name(&state.names, subject.digest);
        let kind = match pattern.kind {
            // A probe whether the server is there reads nothing.
            Kind::Read if !pattern.reads.is_empty() => Repeated::Reads,
            Kind::Write if found.rows <= found.executions => Repeated::Writes,
            _ => return None,
        };
        let before = found.before.map(|digest| self.name(&state.names, digest));
        // A transaction's beginning leads to anything.
        let before = before.filter(|before| before.kind != Kind::Transaction);
        let (database, user) = self.places.pair(subject.place);
        let tags = self.tags.set(found.tags);
        let route = ["route", "controller"]
            .iter()
            .find_map(|key| tags.iter().find(|(known, _)| **known == **key).map(|(_, value)| value.clone()));
        Some(Repetition {
            kind,
            advice: kind.advice(before.is_some()),
            before,
            pattern,
            database,
            user,
            application: self.applications.text(subject.application).as_ref().into(),
            route,
            units: found.units,
            executions: found.executions,
            most: found.most,
            wasted_round_trips: found.wasted_round_trips(),
            estimated_saving: Duration::from_nanos(found.wasted),
            first_seen: found.first_seen,
            last_seen: found.last_seen,
        })
    }

    /// Whether it is known, as far as it ever will be, what was slow.
    pub(super) fn is_named(&self, state: &State, slow: &SlowExecution) -> bool {
        let is_known = |digest| state.names.contains_key(&digest) || self.patterns.known_by(digest).is_some();
        slow.execution.digest.is_none_or(is_known)
    }

    pub(super) fn slow(&self, state: &State, slow: &SlowExecution) -> Slow {
        let execution = &slow.execution;
        let (database, user) = self.places.pair(execution.place);
        let nothing = || nameless(Digest::of(b"", &Lexing::default()));
        Slow {
            at: slow.at,
            pattern: execution.digest.map_or_else(nothing, |digest| self.name(&state.names, digest)),
            database,
            user,
            application: self.applications.text(execution.application).as_ref().into(),
            client: execution.client,
            wait: Duration::from_nanos(execution.wait),
            server: Duration::from_nanos(execution.server),
            drain: Duration::from_nanos(execution.drain),
            rows: execution.rows,
            together: execution.together,
            sqlstate: execution.failed.map(|failed: Failed| sqlstate(failed.sqlstate())),
            tags: self.tags.set(execution.tags),
            parameters: slow.values.clone(),
        }
    }
}

/// What executions of this kind should take.
fn budget(budgets: Budgets, kind: Kind, tally: &Tally) -> Option<Budget> {
    let (class, most) = match kind {
        Kind::Read if tally.rows > tally.calls => (Class::List, budgets.list),
        Kind::Read => (Class::Read, budgets.read),
        Kind::Write => (Class::Write, budgets.write),
        _ => return None,
    };
    let most = most?;
    Some(Budget { class, most, kept: tally.total().within(most) })
}

/// A pattern of which nothing else is known.
fn nameless(digest: Digest) -> Arc<PatternName> {
    Arc::new(PatternName {
        digest,
        fingerprint: None,
        text: Box::default(),
        kind: Kind::Unknown,
        reads: Box::default(),
        writes: Box::default(),
        shape: Shape::default(),
    })
}

fn sqlstate(code: [u8; 5]) -> Box<str> {
    String::from_utf8_lossy(&code).into()
}

/// One line for a slow execution.
pub(super) fn log(slow: &Slow) {
    // To a microsecond, as in the console.
    let millis = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let tags: Vec<String> = slow.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let parameters = slow.parameters.as_ref().map(|values| {
        let shown =
            |value: &Option<Box<str>>| value.as_ref().map_or_else(|| "NULL".to_owned(), |value| format!("{value:?}"));
        values.iter().map(shown).collect::<Vec<_>>().join(", ")
    });
    tracing::warn!(
        digest = %slow.pattern.digest,
        statement = &*slow.pattern.text,
        database = &*slow.database,
        user = &*slow.user,
        application = &*slow.application,
        client = slow.client,
        wait_ms = millis(slow.wait),
        server_ms = millis(slow.server),
        drain_ms = millis(slow.drain),
        rows = slow.rows,
        together = (slow.together > 1).then_some(slow.together),
        sqlstate = slow.sqlstate.as_deref(),
        tags = (!tags.is_empty()).then(|| tags.join(",")),
        parameters,
        "a statement was slow"
    );
}
