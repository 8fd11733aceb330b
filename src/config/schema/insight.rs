//! The keys of `[insight]` and `[insight.budgets]`.

use std::time::Duration;

use super::{Key, count, key};
use crate::config::kind::Kind;

pub(super) const INSIGHT: &[Key] = &[
    key("enabled", Kind::Bool, "true", "Counts and times every statement.").at_start(),
    key(
        "max_patterns",
        count(10, 1_000_000),
        "5000",
        "Patterns that are told apart, one for each database and user that runs it; what is used least is added up in one row without a pattern. Each takes some 10 KB.",
    ),
    key("slow_log_size", count(0, 1_000_000), "1000", "Slow executions that are kept to be shown."),
    key(
        "slow_log_rate",
        count(0, 1_000_000),
        "10",
        "Slow executions that are logged in one second; of further ones only their number is.",
    ),
    key(
        "sample_parameters",
        Kind::Bool,
        "false",
        "Shows the values that were bound to the parameters of slow statements: they are data of your users.",
    )
    .at_start(),
    key(
        "tags",
        Kind::Names,
        "[\"application\", \"controller\", \"action\", \"route\", \"framework\", \"db_driver\"]",
        "Keys of sqlcommenter comments (`/*controller='users'*/`) that are counted and shown; `[]` reads no comments.",
    )
    .at_start(),
    key(
        "plans",
        Kind::Bool,
        "false",
        "Asks PostgreSQL how it would run what is slow (EXPLAIN, never ANALYZE), through `[control]`, whose user must be allowed to read the tables: `pg_read_all_data`.",
    ),
    key("max_plans", count(1, 100_000), "200", "Plans that are kept, one for each pattern and database."),
];

/// A time within which executions should end.
const BUDGET: Kind = Kind::DurationOrOff { least: Duration::from_micros(1) };

pub(super) const BUDGETS: &[Key] = &[
    key("read", BUDGET, "\"off\"", "SELECT, VALUES, TABLE, COPY TO, cursors."),
    key("write", BUDGET, "\"off\"", "INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY FROM."),
    key("ddl", BUDGET, "\"off\"", "CREATE, ALTER, DROP, GRANT, COMMENT."),
    key("transaction", BUDGET, "\"off\"", "BEGIN, COMMIT, SAVEPOINT and their like."),
    key("utility", BUDGET, "\"off\"", "Everything else: VACUUM, EXPLAIN, CALL, DO, LOCK."),
];
