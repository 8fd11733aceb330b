//! The keys of `[insight]`.

use super::{Key, MS, absent, count, key};
use crate::config::kind::Kind;

pub(super) const INSIGHT: &[Key] = &[
    key("enabled", Kind::Bool, "true", "Counts and times every statement.").at_start(),
    key(
        "max_patterns",
        count(10, 1_000_000),
        "5000",
        "Patterns that are told apart, one for each database and user that runs it; what is used least is added up in one row without a pattern. A busy one takes 10 to 20 KB, one that was executed once 3.",
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
    absent(
        "store",
        Kind::Path,
        "\"/var/lib/pgweir/insight.redb\"",
        "File that keeps hours, for thirty days and over restarts; without it a day is known by minutes, and ends with the process.",
    )
    .at_start(),
    key(
        "plans",
        Kind::Bool,
        "false",
        "Asks PostgreSQL how it would run what is slow, at most once in ten minutes for each pattern: EXPLAIN, never ANALYZE, through `[control]`, whose user must be allowed to read the tables (`pg_read_all_data`) and, for what writes, to write them (`pg_write_all_data`), or be a member of the role whose statement it is.",
    )
    .at_start(),
    key("max_plans", count(1, 100_000), "200", "Plans that are kept, one for each pattern and database."),
];

pub(super) const BUDGETS: &[Key] = &[
    key("read", Kind::DurationOrOff { least: MS }, "\"50ms\"", "Reads of one row, or of none."),
    key("list", Kind::DurationOrOff { least: MS }, "\"250ms\"", "Reads that return more than one row on average."),
    key("write", Kind::DurationOrOff { least: MS }, "\"100ms\"", "INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY FROM."),
];
