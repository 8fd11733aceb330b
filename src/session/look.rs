//! Asking a backend what a session has left on it, before it goes back: settings follow the session, anything else
//! makes it keep the backend.

use std::sync::Arc;

use tokio::time::Instant;

use super::functions::{Asked, Callee};
use super::state::{Keeps, Parts};
use super::turn::{Effect, Expect, Kind, Who};
use super::{Leased, Sequences, Session};
use crate::settings::{AUTHORIZATION, ROLE, write_literal};
use crate::sql::{Effects, Unnamed};
use crate::wire::Frame;
use crate::wire::build;
use crate::wire::view;

/// What was asked, and the answer as it comes.
#[derive(Debug, Default)]
pub(super) struct Look {
    parts: Parts,
    settings: Vec<(Vec<u8>, Vec<u8>)>,
    keeps: Keeps,
    /// How many custom settings were asked for.
    custom: usize,
    prepared: Vec<Box<[u8]>>,
    callees: Vec<Callee>,
    asked: Asked,
    /// There are settings that the session may neither set nor reset.
    beyond_reach: bool,
    /// The backend is rid of all settings once it has answered.
    resets: bool,
}

/// Every question is a SELECT of (what, name, value): settings that were set in the session, by a client or by
/// pgweir, as SHOW gives them, those apart that it could not set itself, as only a function of somebody else can have;
/// who statements run as, which no view lists.
const SETTINGS: &[u8] = b"SELECT CASE WHEN context OPERATOR(pg_catalog.=) 'superuser' AND NOT EXISTS \
    (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) session_user AND rolsuper) THEN 'u' ELSE 's' END, \
    name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings \
    WHERE source OPERATOR(pg_catalog.=) 'session' \
    UNION ALL SELECT 's', 'session_authorization', pg_catalog.current_setting('session_authorization') \
    UNION ALL SELECT 's', 'role', pg_catalog.current_setting('role')";
/// Whatever stands in the session's temporary schema depends on it.
const TEMPORARY_OBJECTS: &[u8] = b"SELECT 't', '', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_depend \
    WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass \
    AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())";
const ADVISORY_LOCKS: &[u8] = b"SELECT 'l', '', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_locks \
    WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())";
const HELD_CURSORS: &[u8] = b"SELECT 'c', '', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)";
const PREPARED_STATEMENTS: &[u8] = b"SELECT 'p', name, '' FROM pg_catalog.pg_prepared_statements WHERE from_sql";
const CHANNELS: &[u8] = b"SELECT 'n', '', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_listening_channels())";

/// Goes before a question whose predecessor failed: it may have taken longer than the client's statements may.
const IN_NO_HURRY: &[u8] = b"SELECT 's', 'statement_timeout', pg_catalog.current_setting('statement_timeout'); \
    SET LOCAL statement_timeout = 0; ";
/// Goes after a question where settings may have been made that it cannot ask for. Who statements run as stays.
const FORGETTING: &[u8] = b"; RESET ALL";

/// Definitions of functions with one of these names.
const FUNCTIONS: &[u8] = b"SELECT 'f', proname, pg_catalog.pg_get_functiondef(oid) FROM pg_catalog.pg_proc \
    WHERE prokind OPERATOR(pg_catalog.=) ANY ('{f,p}') \
    AND pronamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace \
    AND proname OPERATOR(pg_catalog.=) ANY (ARRAY[";

/// Functions that aggregates with one of these names call for each row and at their end.
const OF_AGGREGATES: &[u8] = b"SELECT 'a', named.proname, support.proname FROM pg_catalog.pg_proc AS named \
    JOIN pg_catalog.pg_aggregate ON aggfnoid OPERATOR(pg_catalog.=) named.oid \
    JOIN pg_catalog.pg_proc AS support ON support.oid OPERATOR(pg_catalog.=) ANY (ARRAY[aggtransfn, aggfinalfn, \
    aggcombinefn, aggmtransfn, aggminvtransfn, aggmfinalfn]::pg_catalog.oid[]) \
    WHERE named.pronamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace \
    AND named.proname OPERATOR(pg_catalog.=) ANY (ARRAY[";

/// Functions that whatever belongs to tables with one of these names uses: triggers, defaults, checks, policies, rules.
/// Partitions and heirs are written too, and so is what a view or a rule stands for, and what foreign keys change
/// along with it.
const OF_TABLES: &[u8] = b"SELECT 'g', named.relname, proname FROM pg_catalog.pg_class AS named \
    CROSS JOIN LATERAL (WITH RECURSIVE written(oid) AS (SELECT named.oid UNION SELECT further.oid FROM written \
    CROSS JOIN LATERAL (SELECT inhrelid FROM pg_catalog.pg_inherits \
    WHERE inhparent OPERATOR(pg_catalog.=) written.oid \
    UNION ALL SELECT conrelid FROM pg_catalog.pg_constraint \
    WHERE confrelid OPERATOR(pg_catalog.=) written.oid AND contype OPERATOR(pg_catalog.=) 'f' \
    AND (confdeltype OPERATOR(pg_catalog.=) ANY ('{c,n,d}') OR confupdtype OPERATOR(pg_catalog.=) ANY ('{c,n,d}')) \
    UNION ALL SELECT refobjid FROM pg_catalog.pg_rewrite \
    JOIN pg_catalog.pg_depend ON classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass \
    AND objid OPERATOR(pg_catalog.=) pg_rewrite.oid \
    WHERE ev_class OPERATOR(pg_catalog.=) written.oid \
    AND refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass) AS further(oid)) \
    SELECT oid FROM written) AS written(oid) \
    JOIN pg_catalog.pg_depend AS belongs ON belongs.refclassid OPERATOR(pg_catalog.=) \
    'pg_catalog.pg_class'::pg_catalog.regclass AND belongs.refobjid OPERATOR(pg_catalog.=) written.oid \
    AND belongs.deptype OPERATOR(pg_catalog.=) ANY ('{a,i}') \
    JOIN pg_catalog.pg_depend AS uses ON uses.classid OPERATOR(pg_catalog.=) belongs.classid \
    AND uses.objid OPERATOR(pg_catalog.=) belongs.objid \
    AND uses.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
    JOIN pg_catalog.pg_proc ON pg_proc.oid OPERATOR(pg_catalog.=) uses.refobjid \
    WHERE named.relname OPERATOR(pg_catalog.=) ANY (ARRAY[";
/// Functions in the checks of domains that are types of their columns.
const OF_DOMAINS: &[u8] = b"SELECT 'g', relname, proname FROM pg_catalog.pg_class \
    JOIN pg_catalog.pg_attribute ON attrelid OPERATOR(pg_catalog.=) pg_class.oid \
    JOIN pg_catalog.pg_constraint ON contypid OPERATOR(pg_catalog.=) atttypid \
    AND contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
    JOIN pg_catalog.pg_depend ON classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass \
    AND objid OPERATOR(pg_catalog.=) pg_constraint.oid \
    AND refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
    JOIN pg_catalog.pg_proc ON pg_proc.oid OPERATOR(pg_catalog.=) refobjid \
    WHERE relname OPERATOR(pg_catalog.=) ANY (ARRAY[";

/// What runs where tables and views with one of these names are read: definitions of views, also of those that these
/// read, and policies, by their texts; operators in them by their functions. A materialised view is read as a table.
const OF_READS: &[u8] = b"SELECT what, named.relname, said FROM pg_catalog.pg_class AS named \
    CROSS JOIN LATERAL (WITH RECURSIVE read(oid, relkind, relnamespace) AS (\
    SELECT named.oid, named.relkind, named.relnamespace \
    UNION SELECT further.oid, further.relkind, further.relnamespace FROM read \
    JOIN pg_catalog.pg_rewrite ON ev_class OPERATOR(pg_catalog.=) read.oid \
    JOIN pg_catalog.pg_depend ON classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass \
    AND objid OPERATOR(pg_catalog.=) pg_rewrite.oid \
    AND refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass \
    JOIN pg_catalog.pg_class AS further ON further.oid OPERATOR(pg_catalog.=) refobjid \
    WHERE read.relkind OPERATOR(pg_catalog.=) 'v') \
    SELECT 'w', pg_catalog.pg_get_viewdef(oid) FROM read WHERE relkind OPERATOR(pg_catalog.=) 'v' \
    AND relnamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace \
    UNION ALL SELECT 'w', pg_catalog.pg_get_expr(polqual, polrelid) FROM read \
    JOIN pg_catalog.pg_policy ON polrelid OPERATOR(pg_catalog.=) read.oid WHERE polqual IS NOT NULL \
    UNION ALL SELECT 'r', proname FROM read \
    JOIN (SELECT ev_class, oid, 'pg_catalog.pg_rewrite'::pg_catalog.regclass FROM pg_catalog.pg_rewrite \
    UNION ALL SELECT polrelid, oid, 'pg_catalog.pg_policy'::pg_catalog.regclass FROM pg_catalog.pg_policy) \
    AS part(of, oid, class) ON part.of OPERATOR(pg_catalog.=) read.oid \
    JOIN pg_catalog.pg_depend ON classid OPERATOR(pg_catalog.=) part.class \
    AND objid OPERATOR(pg_catalog.=) part.oid \
    AND refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass \
    JOIN pg_catalog.pg_operator ON pg_operator.oid OPERATOR(pg_catalog.=) refobjid \
    JOIN pg_catalog.pg_proc ON pg_proc.oid OPERATOR(pg_catalog.=) oprcode::pg_catalog.oid) AS found(what, said) \
    WHERE named.relnamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace \
    AND named.relname OPERATOR(pg_catalog.=) ANY (ARRAY[";

/// Functions of operators, casts, orders and checks of domains. Those in C cannot be read.
const OPERATORS: &[u8] = b"SELECT DISTINCT 'o', '', proname FROM pg_catalog.pg_depend \
    JOIN pg_catalog.pg_proc ON pg_proc.oid OPERATOR(pg_catalog.=) refobjid \
    JOIN pg_catalog.pg_language ON pg_language.oid OPERATOR(pg_catalog.=) prolang \
    LEFT JOIN pg_catalog.pg_constraint ON classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass \
    AND pg_constraint.oid OPERATOR(pg_catalog.=) objid \
    WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
    AND (classid OPERATOR(pg_catalog.=) ANY ('{pg_catalog.pg_operator,pg_catalog.pg_cast,pg_catalog.pg_amproc,\
    pg_catalog.pg_opclass,pg_catalog.pg_type}'::pg_catalog.regclass[]) \
    OR contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid) \
    AND lanname OPERATOR(pg_catalog.<>) ALL ('{internal,c}')";
/// Functions of whatever belongs to tables and views.
const ALL_TABLES: &[u8] = b"SELECT DISTINCT 'e', '', proname FROM pg_catalog.pg_depend \
    JOIN pg_catalog.pg_proc ON pg_proc.oid OPERATOR(pg_catalog.=) refobjid \
    WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
    AND classid OPERATOR(pg_catalog.=) ANY ('{pg_catalog.pg_trigger,pg_catalog.pg_rewrite,pg_catalog.pg_policy,\
    pg_catalog.pg_attrdef,pg_catalog.pg_constraint,pg_catalog.pg_class}'::pg_catalog.regclass[])";

/// Tables with one of these names of which a column's default asks what was drawn from a sequence.
const DEFAULTS: &[u8] = b"SELECT 'd', relname, '' FROM pg_catalog.pg_attrdef \
    JOIN pg_catalog.pg_class ON pg_class.oid OPERATOR(pg_catalog.=) adrelid \
    WHERE pg_catalog.pg_get_expr(adbin, adrelid) OPERATOR(pg_catalog.~) '(curr|last)val' \
    AND relname OPERATOR(pg_catalog.=) ANY (ARRAY[";

const QUESTIONS: [(Parts, &[u8]); 6] = [
    (Parts::SETTINGS, SETTINGS),
    (Parts::TEMPORARY_OBJECTS, TEMPORARY_OBJECTS),
    (Parts::ADVISORY_LOCKS, ADVISORY_LOCKS),
    (Parts::HELD_CURSORS, HELD_CURSORS),
    (Parts::PREPARED_STATEMENTS, PREPARED_STATEMENTS),
    (Parts::CHANNELS, CHANNELS),
];

impl Session {
    /// What keeps the backend with the session beyond its transaction, as far as it is known.
    #[must_use]
    pub fn keeps(&self) -> Keeps {
        self.state.keeps()
    }

    /// There is no room to keep the backend for this alone.
    pub fn forgo(&mut self, keeps: Keeps) {
        self.state.forgo(keeps);
    }

    /// Whether the session keeps its backend only because that is better, and would rather not where others need it.
    #[must_use]
    pub fn may_forgo_backend(&self) -> bool {
        let keeps = self.keeps();
        let insists = keeps.contains(Keeps::SEQUENCES) && matches!(self.rules.sequences, Sequences::Pin);
        !keeps.is_empty() && Keeps::BETTER_KEPT.contains(keeps) && !insists && self.is_between_transactions()
    }

    /// Whether the session has drawn from a sequence since it leased its backend.
    #[must_use]
    pub fn has_drawn(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.drew)
    }

    /// Whether anything of the session may be on its backend beyond its transaction.
    #[must_use]
    pub fn may_have_left_state(&self) -> bool {
        let unsure = self.turn.as_ref().is_some_and(|turn| !turn.unsure.is_empty());
        let told = self.turn.as_ref().is_some_and(|turn| !turn.told.is_empty());
        unsure || told || self.state.is_uncertain() || !self.keeps().is_empty()
    }

    /// Whether the backend that goes back keeps something of the session for good, and is to be closed.
    #[must_use]
    pub fn takes_backend_along(&mut self) -> bool {
        self.state.take_stays()
    }

    /// Whether rows of the backend are the session's own business now.
    #[must_use]
    pub fn is_looking(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.looking.is_some())
    }

    /// What must be asked of the backend before it can go back; `None` where nothing needs to be known.
    #[must_use]
    pub fn look(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.settle_unsure(now);
        let parts = self.state.parts();
        if parts.is_empty() {
            return None;
        }
        // Those that the session wants anyway, from its start on.
        let wanted = Arc::clone(&self.profile);
        self.state.note_custom(wanted.iter().map(|(name, _)| name).filter(|name| name.contains(&b'.')));
        self.state.asked();
        let turn = self.turn.as_mut()?;
        let callees = std::mem::take(&mut turn.unknown);
        let mut text = if turn.look_failed { IN_NO_HURRY.to_vec() } else { Vec::new() };
        text.extend_from_slice(&question(parts, self.state.custom(), &callees));
        // What is learnt of functions may be a reason to ask again, which must find the settings still there.
        let resets = parts.contains(Parts::SETTINGS) && callees.is_empty() && self.state.take_unnamed();
        text.extend_from_slice(if resets { FORGETTING } else { b"" });
        let (asked, custom) = (self.rules.functions.asked(now), self.state.custom().len());
        turn.looking = Some(Look { parts, callees, asked, resets, custom, ..Look::default() });
        turn.expect(Expect::new(Kind::Query, Who::Skip), [Effect::Unnamed(None)]);
        turn.end_batch();
        let mut query = Vec::new();
        build::write_query(&mut query, &text);
        Some(query)
    }

    /// Takes one row of the answer.
    pub(super) fn saw_row(&mut self, frame: &Frame<'_>) {
        let Some(look) = self.turn.as_mut().and_then(|turn| turn.looking.as_mut()) else { return };
        // A custom setting that does not exist has no value.
        let row = view::data_row(frame.body);
        let Ok([Some(what), Some(name), Some(value)]) = row.as_deref() else { return };
        let functions = &self.rules.functions;
        match *what {
            // Of a transaction that is over.
            b"s" if name.starts_with(b"transaction_") && *name != b"transaction_timeout" => {}
            // Asked again, it is what the question itself has set.
            b"s" if *name == b"statement_timeout" && look.settings.iter().any(|(known, _)| **known == **name) => {}
            b"u" => {
                look.beyond_reach = true;
                look.settings.push((name.to_vec(), value.to_vec()));
            }
            b"s" => look.settings.push((name.to_vec(), value.to_vec())),
            b"t" => look.keeps |= Keeps::TEMPORARY_OBJECTS,
            b"l" => look.keeps |= Keeps::ADVISORY_LOCKS,
            b"c" => look.keeps |= Keeps::HELD_CURSORS,
            b"p" => {
                look.keeps |= Keeps::PREPARED_STATEMENTS;
                look.prepared.push((*name).into());
            }
            b"n" => look.keeps |= Keeps::CHANNELS,
            b"f" if functions.learn(look.asked, name, value) => self.rules.sequences.ask(),
            b"d" => self.rules.sequences.ask(),
            b"a" => functions.learn_call(look.asked, Callee::function(name), value),
            b"g" => functions.learn_call(look.asked, Callee::triggers(name), value),
            b"r" => functions.learn_call(look.asked, Callee::reads(name), value),
            b"o" => functions.learn_call(look.asked, Callee::Operators, value),
            b"e" => functions.learn_call(look.asked, Callee::AllTables, value),
            b"w" if functions.learn_read(look.asked, name, value) => self.rules.sequences.ask(),
            _ => {}
        }
    }

    /// The answer is complete: the backend carries these settings, and the session wants them from now on, with
    /// those it started with where it has set them back.
    pub(super) fn looked(&mut self, leased: &mut Leased<'_>, now: Instant) {
        let Some(mut look) = self.turn.as_mut().and_then(|turn| turn.looking.take()) else { return };
        self.learn_callees(&look.callees, look.asked, now);
        self.state.learn(look.parts, look.keeps);
        if look.beyond_reach {
            self.state.keep_for_good(Keeps::UNKNOWN);
        }
        if look.parts.contains(Parts::PREPARED_STATEMENTS) {
            self.state.set_prepared(std::mem::take(&mut look.prepared));
        }
        if !look.parts.contains(Parts::SETTINGS) {
            return;
        }
        self.state.retain_custom(look.custom, |name| look.settings.iter().any(|(set, _)| **set == *name));
        let is_who = |name: &[u8]| name == ROLE || name == AUTHORIZATION;
        // What the session started with differs from a backend's own default: that it was set to that must be kept.
        let started_with = |name: &[u8]| !is_who(name) && self.startup.get(&name.to_ascii_lowercase()).is_some();
        let changed = || {
            let set = look.settings.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
            set.filter(|(name, value)| match *name {
                ROLE => *value != b"none",
                name => leased.carried.fresh_value(name) != Some(value) || started_with(name),
            })
        };
        let carried = self.rules.profiles.intern(changed().filter(|(name, _)| !look.resets || is_who(name)));
        // Who it runs as is never a matter of how it started.
        let started = self.startup.iter().filter(|(name, _)| !is_who(name));
        let wanted = self.rules.profiles.intern(started.chain(changed()));
        leased.carried.profile = carried;
        self.profile = wanted;
    }

    /// The bodies of these are known now. Where they name custom settings, or call what is not known, the backend
    /// is asked once more.
    fn learn_callees(&mut self, callees: &[Callee], asked: Asked, now: Instant) {
        if callees.is_empty() {
            return;
        }
        self.rules.functions.learnt(asked, callees);
        let judgement = self.rules.functions.judge(callees.iter().cloned(), callees, now);
        self.note_called(&judgement);
        let new = judgement.custom.iter().any(|name| !self.state.custom().iter().any(|known| **known == **name));
        let began_a_name = self.turn.as_mut().is_some_and(|turn| std::mem::take(&mut turn.began_a_name));
        self.note_unnamed(match judgement.unnamed {
            Unnamed::Maybe if began_a_name => Unnamed::Likely,
            unnamed => unnamed,
        });
        if new || !judgement.unknown.is_empty() {
            self.state.note_custom(judgement.custom.iter());
            self.state.note(Effects::CALLS, b"");
            self.turn.get_or_insert_default().unknown.extend(judgement.unknown);
        }
    }

    /// The backend would not say what it holds: it is asked for all once more, and then stays with the session.
    pub(super) fn look_failed(&mut self) {
        let Some(turn) = &mut self.turn else { return };
        if turn.looking.take().is_some_and(|look| look.resets) {
            self.state.note_unnamed();
        }
        if std::mem::replace(&mut turn.look_failed, true) {
            self.state.keep(Keeps::UNKNOWN);
        } else {
            self.state.note(Effects::ANYTHING, b"");
        }
    }
}

fn question(parts: Parts, custom: &[Box<[u8]>], callees: &[Callee]) -> Vec<u8> {
    let mut text: Vec<u8> = Vec::new();
    for (_, select) in QUESTIONS.into_iter().filter(|(part, _)| parts.contains(*part)) {
        text.extend_from_slice(if text.is_empty() { b"" } else { b" UNION ALL " });
        text.extend_from_slice(select);
    }
    if parts.contains(Parts::SETTINGS) {
        for name in custom {
            text.extend_from_slice(b" UNION ALL SELECT 's', ");
            write_literal(&mut text, name);
            text.extend_from_slice(b", pg_catalog.current_setting(");
            write_literal(&mut text, name);
            text.extend_from_slice(b", true)");
        }
    }
    for callee in CALLEES {
        let names = || callees.iter().filter_map(callee.names);
        callee.questions.iter().for_each(|select| write_one_of(&mut text, select, names()));
    }
    for (callee, select) in [(Callee::Operators, OPERATORS), (Callee::AllTables, ALL_TABLES)] {
        if callees.contains(&callee) {
            text.extend_from_slice(b" UNION ALL ");
            text.extend_from_slice(select);
        }
    }
    text
}

/// What is asked about each kind of what runs by name.
struct Question {
    names: fn(&Callee) -> Option<&[u8]>,
    questions: &'static [&'static [u8]],
}

const CALLEES: [Question; 3] = [
    Question {
        names: |callee| if let Callee::Function(name) = callee { Some(name) } else { None },
        questions: &[FUNCTIONS, OF_AGGREGATES],
    },
    Question {
        names: |callee| if let Callee::Triggers(table) = callee { Some(table) } else { None },
        questions: &[OF_TABLES, OF_DOMAINS, DEFAULTS],
    },
    Question {
        names: |callee| if let Callee::Reads(relation) = callee { Some(relation) } else { None },
        questions: &[OF_READS],
    },
];

/// Adds a question about these names, if there are any.
fn write_one_of<'a>(text: &mut Vec<u8>, select: &[u8], names: impl Iterator<Item = &'a [u8]>) {
    let mut names = names.peekable();
    if names.peek().is_none() {
        return;
    }
    text.extend_from_slice(b" UNION ALL ");
    text.extend_from_slice(select);
    for (index, name) in names.enumerate() {
        text.extend_from_slice(if index == 0 { b"" } else { b"," });
        write_literal(text, name);
    }
    text.extend_from_slice(b"])");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_query_asks_for_what_may_be_there_and_no_more() {
        let text = question(Parts::SETTINGS, &[b"app.x".as_slice().into()], &[]);
        let text = String::from_utf8(text).expect("ascii");
        assert!(text.ends_with("UNION ALL SELECT 's', E'app.x', pg_catalog.current_setting(E'app.x', true)"));
        assert!(!text.contains("pg_locks"));
        assert_eq!(question(Parts::CHANNELS, &[b"app.x".as_slice().into()], &[]), CHANNELS);
    }
}
