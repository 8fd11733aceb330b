//! The keys of those who look at pgweir rather than through it: the control plane, the console, the log. A part of the
//! table.

use super::super::kind::Kind;
use super::super::model::LogFormat;
use super::{Key, absent, key};

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
    key("format", Kind::Words(LogFormat::WORDS), "\"text\"", "`json` gives one object for each line.").at_start(),
    key(
        "level",
        Kind::Filter,
        "\"info\"",
        "`error`, `warn`, `info`, `debug` or `trace`; or a filter such as `\"pgweir=debug,warn\"`.",
    ),
];
