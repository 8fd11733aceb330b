//! The keys of those who look at pgweir rather than through it: the control plane, the console,
//! insight, the log. A part of the
//! table in `schema`.

use super::kind::Kind;
use super::model::LogFormat;
use super::schema::{Key, absent, count, key};

pub(super) const CONTROL: &[Key] = &[
    absent("user", Kind::Text, "\"pgweir\"", "A role of the server, best a member of `pg_monitor`."),
    absent("password", Kind::Secret, "\"secret\"", "Its password, in plain; may be empty where the server trusts."),
    key("dbname", Kind::Text, "\"postgres\"", "The database in which questions about the whole server are asked."),
];

pub(super) const ADMIN: &[Key] = &[
    key("console", Kind::Bool, "true", "Whether there is a console. Without it `pgweir` is a database as any other."),
    key("users", Kind::Names, "[]", "Who may do everything there. Without this and `stats_users` nobody may enter."),
    key("stats_users", Kind::Names, "[]", "Who may only look, and sees no sampled parameters."),
    absent(
        "password",
        Kind::Secret,
        "\"secret\"",
        "What those of them prove that have no entry of their own in `[[users]]`; it lets nobody into another database.",
    ),
];

pub(super) const LOG: &[Key] = &[
    key("format", Kind::Words(LogFormat::WORDS), "\"text\"", "`json` gives one object for each line."),
    key(
        "level",
        Kind::Filter,
        "\"info\"",
        "`error`, `warn`, `info`, `debug` or `trace`; or a filter such as `\"pgweir=debug,warn\"`.",
    ),
];

pub(super) const INSIGHT: &[Key] = &[
    key("enabled", Kind::Bool, "true", "Counts and times every statement.").at_start(),
    key(
        "max_patterns",
        count(10, 1_000_000),
        "5000",
        "Patterns that are told apart, for each database and user; what is used least is added up in one row without a pattern. Each takes some 10 KB.",
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
];
