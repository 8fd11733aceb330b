//! What statements do to their session, in words for whoever runs the database.

use crate::sql::{Command, Discard, Effects};

/// Each effect, and how it is called.
const EFFECTS: &[(Effects, &str)] = &[
    (Effects::SETTINGS, "changes settings"),
    (Effects::UNSETS, "may reset settings"),
    (Effects::SETS_GIVEN, "changes settings that the text names elsewhere"),
    (Effects::ROLE, "changes the role"),
    (Effects::TEMPORARY, "creates temporary objects"),
    (Effects::LOCKS, "takes advisory locks of the session"),
    (Effects::FREES_LOCKS, "gives back advisory locks of the session"),
    (Effects::HELD_CURSOR, "opens a cursor WITH HOLD"),
    (Effects::CLOSES_CURSOR, "closes cursors"),
    (Effects::PREPARES, "prepares statements"),
    (Effects::EXECUTES, "executes prepared statements"),
    (Effects::DEALLOCATES, "deallocates prepared statements"),
    (Effects::LISTENS, "listens"),
    (Effects::UNLISTENS, "stops listening"),
    (Effects::NOTIFIES, "notifies"),
    (Effects::LOADS, "loads a library"),
    (Effects::DISCARDS, "discards what the session holds"),
    (Effects::DROPS, "drops objects, which may be temporary"),
    (Effects::DRAWS, "may advance sequences"),
    (Effects::READS_SEQUENCE, "asks what the session drew from sequences"),
    (Effects::CALLS, "may run code of users"),
    (Effects::RUNS, "runs code without a name"),
    (Effects::TRANSACTION, "begins or ends transactions or savepoints"),
    (Effects::READS_PREPARED, "lists prepared statements"),
    (Effects::READS_CHANNELS, "lists channels"),
    (Effects::READS_PID, "asks for its process id"),
    (Effects::SIGNALS, "names a process"),
    (Effects::HOLDS, "leaves something else in its backend"),
    (Effects::STAYS, "leaves what no DISCARD removes"),
    (Effects::STATEFUL, "leaves something in its backend that cannot be read"),
    (Effects::DEFINES, "may run event triggers"),
    (Effects::TRUNCATES, "may empty tables that it does not name"),
    (Effects::ANYTHING, "may do anything: it cannot be told"),
];

/// What `effects` may do.
pub(super) fn effects(effects: Effects) -> Vec<&'static str> {
    EFFECTS.iter().filter(|(one, _)| effects.any_of(*one)).map(|(_, words)| *words).collect()
}

/// The command as SQL has it, without values; `None` for one that means nothing to its session.
pub(super) fn command(command: &Command) -> Option<String> {
    let all_or = |name: &Option<Box<str>>, all: &str| named(name.as_deref().unwrap_or(all));
    let local = |local: bool| if local { "LOCAL " } else { "" };
    let chain = |chain: bool| if chain { " AND CHAIN" } else { "" };
    Some(match command {
        Command::Listen(channel) => format!("LISTEN{}", named(channel)),
        Command::Unlisten(channel) => format!("UNLISTEN{}", all_or(channel, "*")),
        Command::Notify(channel) => format!("NOTIFY{}", named(channel)),
        Command::Prepare(name) => format!("PREPARE{}", named(name)),
        Command::Execute(name) => format!("EXECUTE{}", named(name)),
        Command::Deallocate(name) => format!("DEALLOCATE{}", all_or(name, "ALL")),
        Command::Discard(Discard::All) => "DISCARD ALL".to_owned(),
        Command::Discard(Discard::Plans) => "DISCARD PLANS".to_owned(),
        Command::Discard(Discard::Temporary) => "DISCARD TEMPORARY".to_owned(),
        Command::Discard(Discard::Sequences) => "DISCARD SEQUENCES".to_owned(),
        Command::Set { name, local: is_local } => format!("SET {}{name}", local(*is_local)),
        Command::Unset { name, local: is_local } => format!("SET {}{name} TO DEFAULT", local(*is_local)),
        Command::Reset(name) => format!("RESET{}", all_or(name, "ALL")),
        Command::SetRole { local: is_local } => format!("SET {}ROLE", local(*is_local)),
        Command::SetSessionAuthorization { local: is_local } => {
            format!("SET {}SESSION AUTHORIZATION", local(*is_local))
        }
        Command::SetTransaction => "SET TRANSACTION".to_owned(),
        Command::Begin => "BEGIN".to_owned(),
        Command::Commit { chain: chained } => format!("COMMIT{}", chain(*chained)),
        Command::Rollback { chain: chained } => format!("ROLLBACK{}", chain(*chained)),
        Command::Savepoint => "SAVEPOINT".to_owned(),
        Command::RollbackTo => "ROLLBACK TO".to_owned(),
        Command::Release => "RELEASE".to_owned(),
        Command::PrepareTransaction => "PREPARE TRANSACTION".to_owned(),
        Command::CommitPrepared => "COMMIT PREPARED".to_owned(),
        Command::RollbackPrepared => "ROLLBACK PREPARED".to_owned(),
        Command::DeclareHold => "DECLARE WITH HOLD".to_owned(),
        Command::DropDatabase(name) => format!("DROP DATABASE{}", named(name)),
        Command::CreateDatabase { template: Some(name) } => format!("CREATE DATABASE TEMPLATE{}", named(name)),
        Command::CreateDatabase { template: None } => "CREATE DATABASE".to_owned(),
        Command::RenameDatabase(name) => format!("ALTER DATABASE{} RENAME", named(name)),
        Command::MoveDatabase(name) => format!("ALTER DATABASE{} SET TABLESPACE", named(name)),
        Command::AlterRole(name) => format!("ALTER ROLE{}", named(name)),
        Command::DropRole(names) => format!("DROP ROLE {}", names.join(", ")),
        Command::AlterDatabaseSet(name) => format!("ALTER DATABASE{} SET", named(name)),
        Command::ChangeTypes | Command::ChangeColumns(_) | Command::Other => return None,
    })
}

/// With a space before it; nothing for a name that was written as a string or a keyword.
fn named(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effect_has_words() {
        let without: Vec<&str> =
            Effects::ALL.iter().filter(|(effect, _)| effects(*effect).len() != 1).map(|(_, name)| *name).collect();
        assert!(without.is_empty(), "{without:?}");
    }
}
