//! What a call of a function means to the session.

use super::built_in::is_built_in;
use crate::sql::effects::Effects;

/// A function that is called by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Called {
    /// One of PostgreSQL's own, with what it does to the session.
    BuiltIn(Effects),
    /// A user's, an extension's, or one of PostgreSQL's that uses a type which its argument names.
    Other,
}

impl Called {
    /// By the parts of its name, as the parser folds them.
    pub(super) fn by_name(parts: &[&str]) -> Self {
        let ([name] | ["pg_catalog", name]) = parts else { return Self::Other };
        match effects_of(name) {
            Some(effects) => Self::BuiltIn(effects),
            None if is_built_in(name) => Self::BuiltIn(Effects::NONE),
            None => Self::Other,
        }
    }
}

/// Whether the name is that of set_config, whose effect depends on its arguments.
pub(super) fn is_set_config(parts: &[&str]) -> bool {
    matches!(parts, ["set_config"] | ["pg_catalog", "set_config"])
}

/// Which argument of one of PostgreSQL's own functions it runs as a text; `None` for those that run none, nor read what
/// an argument names. A cursor has been looked after where it was declared.
pub(in crate::sql) fn text_run_by(name: &str) -> Option<Given> {
    Some(match name {
        "query_to_xml" | "query_to_xml_and_xmlschema" | "query_to_xmlschema" | "ts_stat" => Given::First,
        "ts_rewrite" => Given::Last,
        "database_to_xml"
        | "database_to_xml_and_xmlschema"
        | "schema_to_xml"
        | "schema_to_xml_and_xmlschema"
        | "table_to_xml"
        | "table_to_xml_and_xmlschema" => Given::Tables,
        _ => return None,
    })
}

/// Where the text stands that a function runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sql) enum Given {
    First,
    Last,
    /// Nowhere: what it reads is all of a schema, or a table with a name.
    Tables,
}

/// What PostgreSQL's own functions leave behind, free, or tell of the session; `None` for all others.
pub(super) fn effects_of(name: &str) -> Option<Effects> {
    Some(match name {
        "set_config" => Effects::SETTINGS,
        "pg_advisory_lock" | "pg_advisory_lock_shared" | "pg_try_advisory_lock" | "pg_try_advisory_lock_shared" => {
            Effects::LOCKS
        }
        "pg_advisory_unlock" | "pg_advisory_unlock_shared" | "pg_advisory_unlock_all" => Effects::FREES_LOCKS,
        "nextval" | "setval" => Effects::DRAWS,
        "currval" | "lastval" => Effects::READS_SEQUENCE,
        "pg_notify" => Effects::NOTIFIES,
        "pg_prepared_statement" => Effects::READS_PREPARED,
        "pg_listening_channels" => Effects::READS_CHANNELS,
        "pg_backend_pid" => Effects::READS_PID,
        "pg_blocking_pids"
        | "pg_cancel_backend"
        | "pg_log_backend_memory_contexts"
        | "pg_stat_get_activity"
        | "pg_terminate_backend" => Effects::SIGNALS,
        _ if text_run_by(name).is_some() => Effects::RUNS.with(Effects::CALLS),
        "setseed"
        | "pg_backup_start"
        | "pg_start_backup"
        | "pg_create_logical_replication_slot"
        | "pg_create_physical_replication_slot"
        | "pg_copy_logical_replication_slot"
        | "pg_copy_physical_replication_slot"
        | "pg_replication_origin_session_setup" => Effects::HOLDS.with(Effects::STAYS),
        _ => return None,
    })
}
