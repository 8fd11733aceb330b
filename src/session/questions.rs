//! What a backend is asked, in one query: what it holds of a session, and what there is in its database that runs
//! where functions are called and tables are read or written. [`super::look`] sends the question and takes the answer.
//!
//! No dependency on a function of PostgreSQL's own is kept in the catalog. Whether an expression calls one that leaves
//! something stands in its tree, which is searched before anything is written out as text.

use super::functions::Callee;
use super::state::Parts;

/// Every question is a SELECT of (what, name, value): who statements run as, which no view lists. No role is what a
/// session begins with, unless ALTER ROLE or ALTER DATABASE has given another to those who log in.
const WHO: &[u8] = b"SELECT 's', 'session_authorization', pg_catalog.current_setting('session_authorization') \
    UNION ALL SELECT 's', 'role', pg_catalog.current_setting('role') \
    WHERE pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) 'none' \
    OR EXISTS (SELECT FROM pg_catalog.pg_db_role_setting WHERE EXISTS (SELECT FROM pg_catalog.unnest(setconfig) AS setting \
    WHERE pg_catalog.strpos(setting, 'role=') OPERATOR(pg_catalog.=) 1) \
    AND EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) \
    WHERE setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, datid]) \
    AND setrole OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, usesysid])))";
/// From here on the question is asked as who has logged in, who may read more. Of a role under another session
/// authorization nothing is undone: some versions of PostgreSQL do not find back to both.
const AS_LOGGED_IN: &[u8] = b"SELECT '', pg_catalog.set_config('session_authorization', NULL, true), '' \
    WHERE pg_catalog.current_setting('role') OPERATOR(pg_catalog.=) 'none' \
    AND pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'off' \
    UNION ALL SELECT '', pg_catalog.set_config('role', 'none', true), '' \
    WHERE pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) 'none'";
/// Settings that were set in the session, by a client or by pgweir, as SHOW gives them, those apart that it could not
/// set itself, as only a function of somebody else can have.
const SETTINGS: &[u8] = b"SELECT CASE WHEN context OPERATOR(pg_catalog.=) 'superuser' AND NOT EXISTS \
    (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) session_user AND rolsuper) THEN 'u' ELSE 's' END, \
    name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings \
    WHERE source OPERATOR(pg_catalog.=) 'session'";
/// Whatever stands in the session's temporary schema depends on it.
const TEMPORARY_OBJECTS: &[u8] = b"SELECT 't', '', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_depend \
    WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass \
    AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())";
const ADVISORY_LOCKS: &[u8] = b"SELECT 'l', '', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_locks \
    WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())";
const HELD_CURSORS: &[u8] = b"SELECT 'c', '', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)";
const PREPARED_STATEMENTS: &[u8] = b"SELECT 'p', name, '' FROM pg_catalog.pg_prepared_statements WHERE from_sql";
const CHANNELS: &[u8] = b"SELECT 'n', '', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_listening_channels())";

/// Asked before a question whose predecessor failed, as it may have taken longer than the client's statements may.
pub(super) const TIMEOUT: &[u8] = b"SELECT 's', 'statement_timeout', pg_catalog.current_setting('statement_timeout')";
pub(super) const WITHOUT_TIMEOUT: &[u8] = b"; SET LOCAL statement_timeout = 0; ";
/// Between what is asked of the session and what is asked about its database: that has so many parts that compiling them
/// would take seconds, where a catalog is large enough for PostgreSQL to think it worth while. Each is planned once for
/// each backend, for few names, for which the indexes of the catalog are what they are there for. To write out a view or
/// an expression PostgreSQL locks its tables: what somebody is about to alter is not waited for.
pub(super) const PLANNED: &[u8] = b"SELECT '', pg_catalog.concat(pg_catalog.set_config('jit', 'off', true), \
    pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true), \
    pg_catalog.set_config('lock_timeout', '100ms', true)), \
    pg_catalog.concat(pg_catalog.set_config('enable_seqscan', 'off', true), \
    pg_catalog.set_config('enable_hashjoin', 'off', true), pg_catalog.set_config('enable_mergejoin', 'off', true))";

/// Whether a function is none of PostgreSQL's own: it has another schema, or has been made in theirs.
macro_rules! users {
    () => {
        "(named.pronamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace \
        OR named.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid)"
    };
}

/// Definitions of functions with one of these names, and in languages that are not read as SQL is their bodies alone.
const FUNCTIONS: &[u8] = concat!(
    "SELECT what, proname, CASE what WHEN 'f' THEN pg_catalog.pg_get_functiondef(named.oid) \
    ELSE pg_catalog.concat(lanname, ' ', prosrc) END FROM pg_catalog.pg_proc AS named \
    JOIN pg_catalog.pg_language ON pg_language.oid OPERATOR(pg_catalog.=) prolang \
    CROSS JOIN LATERAL (SELECT CASE WHEN lanname OPERATOR(pg_catalog.=) ANY ('{sql,plpgsql,c,internal}') \
    THEN 'f' ELSE 'h' END) AS kind(what) WHERE prokind OPERATOR(pg_catalog.<>) 'a' AND ",
    users!(),
    " AND proname OPERATOR(pg_catalog.=) ANY ($1)"
)
.as_bytes();

/// What their arguments are where a call leaves them out.
const OF_ARGUMENTS: &[u8] = concat!(
    "SELECT 'i', proname, pg_catalog.pg_get_expr(proargdefaults, 0::pg_catalog.oid) \
    FROM pg_catalog.pg_proc AS named WHERE proargdefaults IS NOT NULL AND ",
    users!(),
    " AND proname OPERATOR(pg_catalog.=) ANY ($1)"
)
.as_bytes();

/// Names among these that functions of a user's have.
const AMBIGUOUS: &[u8] = concat!(
    "SELECT DISTINCT 'b', proname, proname FROM pg_catalog.pg_proc AS named WHERE ",
    users!(),
    " AND proname OPERATOR(pg_catalog.=) ANY ($1)"
)
.as_bytes();

/// Functions that aggregates with one of these names call for each row and at their end.
const OF_AGGREGATES: &[u8] = concat!(
    "SELECT 'a', named.proname, support.proname FROM pg_catalog.pg_proc AS named \
    JOIN pg_catalog.pg_aggregate ON aggfnoid OPERATOR(pg_catalog.=) named.oid \
    JOIN pg_catalog.pg_proc AS support ON support.oid OPERATOR(pg_catalog.=) ANY (ARRAY[aggtransfn, aggfinalfn, \
    aggcombinefn, aggmtransfn, aggminvtransfn, aggmfinalfn]::pg_catalog.oid[]) WHERE ",
    users!(),
    " AND named.proname OPERATOR(pg_catalog.=) ANY ($1)"
)
.as_bytes();

/// What the tree of an expression holds that calls functions of PostgreSQL's own which leave something, draw, or run a
/// text, and a rule that notifies; then the same without draws, for defaults, as any INSERT may draw.
macro_rules! leaving {
    () => {
        "(SELECT pg_catalog.concat('NOTIFYSTMT |:funcid (', pg_catalog.string_agg(oid::pg_catalog.text, '|'), ') '), \
        pg_catalog.concat(':funcid (', pg_catalog.string_agg(oid::pg_catalog.text, '|') \
        FILTER (WHERE proname OPERATOR(pg_catalog.<>) ALL ('{nextval,setval}')), ') ') \
        FROM pg_catalog.pg_proc WHERE pronamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace \
        AND proname OPERATOR(pg_catalog.=) ANY ('{set_config,pg_advisory_lock,pg_advisory_lock_shared,\
        pg_try_advisory_lock,pg_try_advisory_lock_shared,pg_notify,nextval,setval,currval,lastval,setseed,\
        pg_backup_start,pg_start_backup,pg_create_logical_replication_slot,pg_create_physical_replication_slot,\
        pg_copy_logical_replication_slot,pg_copy_physical_replication_slot,pg_replication_origin_session_setup,\
        query_to_xml,query_to_xml_and_xmlschema,query_to_xmlschema,ts_stat,ts_rewrite,\
        database_to_xml,database_to_xml_and_xmlschema,schema_to_xml,schema_to_xml_and_xmlschema,table_to_xml,\
        table_to_xml_and_xmlschema}')) AS leaving(calls, but_draws)"
    };
}

/// The condition of a trigger.
macro_rules! condition {
    () => {
        "pg_catalog.substring(pg_catalog.pg_get_triggerdef(oid), ' WHEN [(](.*)[)] EXECUTE ')"
    };
}

/// Texts of what belongs to these tables and calls such functions. Of a trigger it is the condition; a rule begins with
/// its event, and what it does with a statement. Indexes and generated columns cannot call any.
macro_rules! said_by_tables {
    ($of:literal) => {
        concat!(
            "SELECT pg_catalog.pg_get_expr(adbin, adrelid) FROM pg_catalog.pg_attrdef WHERE adrelid",
            $of,
            " AND adbin::pg_catalog.text OPERATOR(pg_catalog.~) but_draws \
            UNION ALL SELECT pg_catalog.pg_get_expr(conbin, conrelid) FROM pg_catalog.pg_constraint WHERE conrelid",
            $of,
            " AND conbin::pg_catalog.text OPERATOR(pg_catalog.~) calls \
            UNION ALL SELECT ",
            condition!(),
            " FROM pg_catalog.pg_trigger WHERE tgrelid",
            $of,
            " AND tgqual::pg_catalog.text OPERATOR(pg_catalog.~) calls \
            UNION ALL SELECT pg_catalog.regexp_replace(pg_catalog.regexp_replace(pg_catalog.pg_get_ruledef(oid), \
            '^CREATE RULE .*? AS[[:space:]]', ''), '[[:space:]]DO[[:space:]]+(INSTEAD[[:space:]]+)?[(]?', ' ; ') \
            FROM pg_catalog.pg_rewrite WHERE ev_class",
            $of,
            " AND (ev_action::pg_catalog.text OPERATOR(pg_catalog.~) calls \
            OR ev_qual::pg_catalog.text OPERATOR(pg_catalog.~) calls) \
            UNION ALL SELECT pg_catalog.concat_ws(' ', pg_catalog.pg_get_expr(polqual, polrelid), \
            pg_catalog.pg_get_expr(polwithcheck, polrelid)) FROM pg_catalog.pg_policy WHERE polrelid",
            $of,
            " AND (polqual::pg_catalog.text OPERATOR(pg_catalog.~) calls \
            OR polwithcheck::pg_catalog.text OPERATOR(pg_catalog.~) calls)"
        )
    };
}

/// What runs where tables with one of these names are written: functions that whatever belongs to them uses, as
/// triggers, defaults, checks, policies and rules, and what these say. Partitions and heirs are written too, and so is
/// what a view or a rule stands for, and what foreign keys change along with it.
const OF_TABLES: &[u8] = concat!(
    "SELECT what, named.relname, said FROM pg_catalog.pg_class AS named CROSS JOIN ",
    leaving!(),
    " CROSS JOIN LATERAL (WITH RECURSIVE written(oid) AS (SELECT named.oid UNION SELECT further.oid FROM written \
    CROSS JOIN LATERAL (SELECT inhrelid FROM pg_catalog.pg_inherits \
    WHERE inhparent OPERATOR(pg_catalog.=) written.oid \
    UNION ALL SELECT conrelid FROM pg_catalog.pg_trigger \
    JOIN pg_catalog.pg_constraint ON pg_constraint.oid OPERATOR(pg_catalog.=) tgconstraint \
    WHERE tgrelid OPERATOR(pg_catalog.=) written.oid \
    AND confrelid OPERATOR(pg_catalog.=) written.oid AND contype OPERATOR(pg_catalog.=) 'f' \
    AND (confdeltype OPERATOR(pg_catalog.=) ANY ('{c,n,d}') OR confupdtype OPERATOR(pg_catalog.=) ANY ('{c,n,d}')) \
    UNION ALL SELECT refobjid FROM pg_catalog.pg_rewrite \
    JOIN pg_catalog.pg_depend ON classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass \
    AND objid OPERATOR(pg_catalog.=) pg_rewrite.oid \
    WHERE ev_class OPERATOR(pg_catalog.=) written.oid \
    AND refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass) AS further(oid)) \
    SELECT 'g', name::pg_catalog.text FROM written CROSS JOIN LATERAL (SELECT proname FROM pg_catalog.pg_depend AS belongs \
    JOIN pg_catalog.pg_depend AS uses ON uses.classid OPERATOR(pg_catalog.=) belongs.classid \
    AND uses.objid OPERATOR(pg_catalog.=) belongs.objid \
    AND uses.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
    JOIN pg_catalog.pg_proc ON pg_proc.oid OPERATOR(pg_catalog.=) uses.refobjid \
    WHERE belongs.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass \
    AND belongs.refobjid OPERATOR(pg_catalog.=) written.oid \
    AND belongs.deptype OPERATOR(pg_catalog.=) ANY ('{a,i}') OFFSET 0) AS used(name) \
    UNION ALL SELECT 'x', text FROM written CROSS JOIN LATERAL (",
    said_by_tables!(" OPERATOR(pg_catalog.=) written.oid"),
    ") AS said(text)) AS found(what, said) WHERE named.relname OPERATOR(pg_catalog.=) ANY ($1)"
)
.as_bytes();
/// Functions in the checks of domains that are types of their columns.
const OF_DOMAINS: &[u8] = b"SELECT 'g', relname, proname FROM pg_catalog.pg_class \
    JOIN pg_catalog.pg_attribute ON attrelid OPERATOR(pg_catalog.=) pg_class.oid \
    JOIN pg_catalog.pg_constraint ON contypid OPERATOR(pg_catalog.=) atttypid \
    AND contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
    JOIN pg_catalog.pg_depend ON classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass \
    AND objid OPERATOR(pg_catalog.=) pg_constraint.oid \
    AND refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
    JOIN pg_catalog.pg_proc ON pg_proc.oid OPERATOR(pg_catalog.=) refobjid \
    WHERE relname OPERATOR(pg_catalog.=) ANY ($1)";

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
    AND named.relname OPERATOR(pg_catalog.=) ANY ($1)";

/// Functions of operators, casts, orders, and of checks and defaults of domains, and what these say; functions that may
/// be called with one row, which look like one of its columns. Functions in C cannot be read.
const OPERATORS: &[u8] = concat!(
    "SELECT DISTINCT 'o', '', proname::pg_catalog.text FROM pg_catalog.pg_depend \
    JOIN pg_catalog.pg_proc ON pg_proc.oid OPERATOR(pg_catalog.=) refobjid \
    JOIN pg_catalog.pg_language ON pg_language.oid OPERATOR(pg_catalog.=) prolang \
    LEFT JOIN pg_catalog.pg_constraint ON classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass \
    AND pg_constraint.oid OPERATOR(pg_catalog.=) objid \
    WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
    AND (classid OPERATOR(pg_catalog.=) ANY ('{pg_catalog.pg_operator,pg_catalog.pg_cast,pg_catalog.pg_amproc,\
    pg_catalog.pg_opclass,pg_catalog.pg_type}'::pg_catalog.regclass[]) \
    OR contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid) \
    AND lanname OPERATOR(pg_catalog.<>) ALL ('{internal,c}') \
    UNION ALL SELECT 'o', '', proname FROM pg_catalog.pg_proc \
    JOIN pg_catalog.pg_language ON pg_language.oid OPERATOR(pg_catalog.=) prolang \
    WHERE pg_proc.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid \
    AND (lanname OPERATOR(pg_catalog.<>) ALL ('{internal,c}') OR prokind OPERATOR(pg_catalog.=) 'a') \
    AND pronargs OPERATOR(pg_catalog.>) 0 AND pronargs OPERATOR(pg_catalog.<=) (pronargdefaults OPERATOR(pg_catalog.+) 1) \
    AND EXISTS (SELECT FROM pg_catalog.pg_type AS type \
    LEFT JOIN pg_catalog.pg_type AS base ON base.oid OPERATOR(pg_catalog.=) type.typbasetype \
    WHERE type.oid OPERATOR(pg_catalog.=) ANY (ARRAY[proargtypes[0], provariadic]) \
    AND (type.typtype OPERATOR(pg_catalog.=) ANY ('{c,p}') OR base.typtype OPERATOR(pg_catalog.=) ANY ('{c,d}') \
    OR EXISTS (SELECT FROM pg_catalog.pg_cast JOIN pg_catalog.pg_type AS source ON source.oid OPERATOR(pg_catalog.=) castsource \
    WHERE casttarget OPERATOR(pg_catalog.=) type.oid AND castcontext OPERATOR(pg_catalog.=) 'i' \
    AND source.typtype OPERATOR(pg_catalog.=) 'c'))) \
    UNION ALL SELECT 'y', '', text FROM ",
    leaving!(),
    " CROSS JOIN LATERAL (SELECT pg_catalog.pg_get_expr(conbin, 0::pg_catalog.oid) FROM pg_catalog.pg_constraint \
    WHERE contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid AND conbin::pg_catalog.text OPERATOR(pg_catalog.~) calls \
    UNION ALL SELECT pg_catalog.pg_get_expr(typdefaultbin, 0::pg_catalog.oid) FROM pg_catalog.pg_type \
    WHERE typdefaultbin::pg_catalog.text OPERATOR(pg_catalog.~) but_draws) AS said(text)"
)
.as_bytes();
/// Functions of whatever belongs to tables and views, and what that says. Of PostgreSQL's own none is written but
/// pg_settings.
const ALL_TABLES: &[u8] = concat!(
    "SELECT DISTINCT 'e', '', proname::pg_catalog.text FROM pg_catalog.pg_depend \
    JOIN pg_catalog.pg_proc ON pg_proc.oid OPERATOR(pg_catalog.=) refobjid \
    WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
    AND classid OPERATOR(pg_catalog.=) ANY ('{pg_catalog.pg_trigger,pg_catalog.pg_rewrite,pg_catalog.pg_policy,\
    pg_catalog.pg_attrdef,pg_catalog.pg_constraint,pg_catalog.pg_class}'::pg_catalog.regclass[]) \
    UNION ALL SELECT 'z', '', text FROM ",
    leaving!(),
    " CROSS JOIN LATERAL (",
    said_by_tables!(" OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid"),
    ") AS said(text)"
)
.as_bytes();
/// Functions of triggers of TRUNCATE, and their conditions.
const TRUNCATES: &[u8] = concat!(
    "SELECT what, '', said FROM ",
    leaving!(),
    " CROSS JOIN LATERAL (SELECT 'k', proname::pg_catalog.text FROM pg_catalog.pg_trigger \
    JOIN pg_catalog.pg_proc ON pg_proc.oid OPERATOR(pg_catalog.=) tgfoid \
    WHERE tgtype OPERATOR(pg_catalog.&) 32 OPERATOR(pg_catalog.<>) 0 \
    UNION ALL SELECT 'q', ",
    condition!(),
    " FROM pg_catalog.pg_trigger WHERE tgtype OPERATOR(pg_catalog.&) 32 OPERATOR(pg_catalog.<>) 0 \
    AND tgqual::pg_catalog.text OPERATOR(pg_catalog.~) calls) AS found(what, said)"
)
.as_bytes();
/// Functions of event triggers. That of a login has been called by then.
const DEFINES: &[u8] = b"SELECT 'v', '', proname FROM pg_catalog.pg_event_trigger \
    JOIN pg_catalog.pg_proc ON pg_proc.oid OPERATOR(pg_catalog.=) evtfoid \
    WHERE evtenabled OPERATOR(pg_catalog.<>) 'D' AND evtevent OPERATOR(pg_catalog.<>) 'login'";

/// Tables with one of these names of which a column's default asks what was drawn from a sequence.
const DEFAULTS: &[u8] = b"SELECT 'd', relname, '' FROM pg_catalog.pg_class CROSS JOIN LATERAL \
    (SELECT pg_catalog.pg_get_expr(adbin, adrelid) FROM pg_catalog.pg_attrdef \
    WHERE adrelid OPERATOR(pg_catalog.=) pg_class.oid OFFSET 0) AS said(text) \
    WHERE text OPERATOR(pg_catalog.~) '(curr|last)val' AND relname OPERATOR(pg_catalog.=) ANY ($1)";

/// What functions, views, policies and defaults of users' tell of whichever session runs them. It must be known before
/// they run for the first time, so it is asked of all of them, of their texts and trees: to write out a body of SQL would
/// wait for locks on what it names. A tree is asked for by way of JSON, as it is no column before PostgreSQL 14.
const TELLING: &[u8] = b"SELECT 'j', name, '' FROM (VALUES \
    ('pg_prepared_statements', pg_catalog.concat(':relid ', 'pg_catalog.pg_prepared_statements'::pg_catalog.regclass::pg_catalog.oid, ' ')), \
    ('pg_prepared_statement', pg_catalog.concat(':funcid ', 'pg_catalog.pg_prepared_statement'::pg_catalog.regproc::pg_catalog.oid, ' ')), \
    ('pg_listening_channels', pg_catalog.concat(':funcid ', 'pg_catalog.pg_listening_channels'::pg_catalog.regproc::pg_catalog.oid, ' ')), \
    ('currval', pg_catalog.concat(':funcid ', 'pg_catalog.currval'::pg_catalog.regproc::pg_catalog.oid, ' ')), \
    ('lastval', pg_catalog.concat(':funcid ', 'pg_catalog.lastval'::pg_catalog.regproc::pg_catalog.oid, ' '))) \
    AS telling(name, node) WHERE EXISTS (SELECT FROM pg_catalog.pg_proc \
    JOIN pg_catalog.pg_language ON pg_language.oid OPERATOR(pg_catalog.=) prolang \
    WHERE pg_proc.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid \
    AND lanname OPERATOR(pg_catalog.<>) ALL ('{internal,c}') AND CASE prosrc \
    WHEN '' THEN pg_catalog.strpos(pg_catalog.to_jsonb(pg_proc) OPERATOR(pg_catalog.->>) 'prosqlbody', node) \
    ELSE pg_catalog.strpos(pg_catalog.lower(prosrc), name) END OPERATOR(pg_catalog.>) 0) \
    OR EXISTS (SELECT FROM pg_catalog.pg_rewrite WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid \
    AND pg_catalog.strpos(ev_action::pg_catalog.text, node) OPERATOR(pg_catalog.>) 0) \
    OR EXISTS (SELECT FROM pg_catalog.pg_policy WHERE pg_catalog.strpos(pg_catalog.concat(\
    polqual::pg_catalog.text, polwithcheck::pg_catalog.text), node) OPERATOR(pg_catalog.>) 0) \
    OR EXISTS (SELECT FROM pg_catalog.pg_attrdef WHERE pg_catalog.strpos(adbin::pg_catalog.text, node) OPERATOR(pg_catalog.>) 0)";

/// In this order.
const QUESTIONS: [(Parts, &[u8]); 8] = [
    (Parts::SETTINGS, WHO),
    (Parts::SETTINGS.union(Parts::HIDDEN), AS_LOGGED_IN),
    (Parts::SETTINGS, SETTINGS),
    (Parts::TEMPORARY_OBJECTS, TEMPORARY_OBJECTS),
    (Parts::ADVISORY_LOCKS, ADVISORY_LOCKS),
    (Parts::HELD_CURSORS, HELD_CURSORS),
    (Parts::PREPARED_STATEMENTS, PREPARED_STATEMENTS),
    (Parts::CHANNELS, CHANNELS),
];

/// The text that asks for these parts.
pub(super) fn about_session(parts: Parts) -> Vec<u8> {
    let mut text: Vec<u8> = Vec::new();
    for (_, select) in QUESTIONS.into_iter().filter(|(part, _)| parts.contains(*part)) {
        text.extend_from_slice(if text.is_empty() { b"" } else { b" UNION ALL " });
        text.extend_from_slice(select);
    }
    text
}

/// A question about what runs when statements do.
pub(super) struct Question {
    pub(super) select: &'static [u8],
    pub(super) of: Of,
}

/// What a question is about.
pub(super) enum Of {
    /// What runs by these names, which stand for `$1`.
    Names(fn(&Callee) -> Option<&[u8]>),
    /// What runs without one.
    All(Callee),
}

impl Question {
    const fn of_names(select: &'static [u8], names: fn(&Callee) -> Option<&[u8]>) -> Self {
        Self { select, of: Of::Names(names) }
    }

    const fn of_all(select: &'static [u8], callee: Callee) -> Self {
        Self { select, of: Of::All(callee) }
    }
}

pub(super) const ABOUT_CALLEES: [Question; 13] = [
    Question::of_names(FUNCTIONS, function),
    Question::of_names(OF_ARGUMENTS, function),
    Question::of_names(OF_AGGREGATES, function),
    Question::of_names(AMBIGUOUS, |callee| if let Callee::Ambiguous(name) = callee { Some(name) } else { None }),
    Question::of_names(OF_TABLES, written),
    Question::of_names(OF_DOMAINS, written),
    Question::of_names(DEFAULTS, written),
    Question::of_names(OF_READS, |callee| if let Callee::Reads(relation) = callee { Some(relation) } else { None }),
    Question::of_all(OPERATORS, Callee::Operators),
    Question::of_all(TELLING, Callee::Operators),
    Question::of_all(ALL_TABLES, Callee::AllTables),
    Question::of_all(TRUNCATES, Callee::Truncates),
    Question::of_all(DEFINES, Callee::Defines),
];

fn function(callee: &Callee) -> Option<&[u8]> {
    if let Callee::Function(name) = callee { Some(name) } else { None }
}

fn written(callee: &Callee) -> Option<&[u8]> {
    if let Callee::Triggers(table) = callee { Some(table) } else { None }
}
