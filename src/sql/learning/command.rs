//! From a statement's node to the [`Command`] that it is to the session.

use pg_query::protobuf::{AlterTableType, DiscardMode, DropBehavior, ObjectType, TransactionStmtKind, VariableSetKind};

use super::tree::Node;
use crate::sql::pattern::{Command, Discard, Name};

/// DECLARE … WITH HOLD among the options of a cursor (`CURSOR_OPT_HOLD` in PostgreSQL's parsenodes.h).
const HOLD: i64 = 0x20;

/// What the statement is to the session.
pub(super) fn command(node: &Node) -> Command {
    match node.name {
        "ListenStmt" => Command::Listen(named(node, "conditionname")),
        "UnlistenStmt" => Command::Unlisten(optional(node.text("conditionname"))),
        "NotifyStmt" => Command::Notify(named(node, "conditionname")),
        "PrepareStmt" => Command::Prepare(named(node, "name")),
        "ExecuteStmt" => Command::Execute(named(node, "name")),
        "ExplainStmt" | "CreateTableAsStmt" => match node.child("query") {
            Some(inner) if matches!(inner.name, "ExecuteStmt" | "CreateTableAsStmt") => command(inner),
            _ => Command::Other,
        },
        "DeallocateStmt" => Command::Deallocate(optional(node.text("name"))),
        "DiscardStmt" => discard(node),
        "VariableSetStmt" => variable(node),
        "TransactionStmt" => transaction(node),
        "DeclareCursorStmt" if node.number("options") & HOLD != 0 => Command::DeclareHold,
        "DropdbStmt" => Command::DropDatabase(named(node, "dbname")),
        "CreatedbStmt" => Command::CreateDatabase { template: template(node) },
        "AlterDatabaseStmt" if option(node, "tablespace").is_some() => Command::MoveDatabase(named(node, "dbname")),
        "RenameStmt" => match object(node, "rename_type") {
            ObjectType::ObjectDatabase => Command::RenameDatabase(named(node, "subname")),
            ObjectType::ObjectRole => Command::AlterRole(named(node, "subname")),
            ObjectType::ObjectColumn => Command::ChangeColumns(altered(node)),
            ObjectType::ObjectAttribute => Command::ChangeTypes,
            renamed => moved(renamed),
        },
        "AlterObjectSchemaStmt" => moved(object(node, "object_type")),
        "AlterTableStmt" if node.nodes("cmds").any(changes_type) => match object(node, "objtype") {
            ObjectType::ObjectType => Command::ChangeTypes,
            _ => Command::ChangeColumns(altered(node)),
        },
        "AlterExtensionStmt" | "DropOwnedStmt" => Command::ChangeTypes,
        "DropStmt" => dropped(node),
        "AlterRoleStmt" | "AlterRoleSetStmt" => {
            Command::AlterRole(node.child("role").map_or_else(Name::default, |role| named(role, "rolename")))
        }
        "DropRoleStmt" => Command::DropRole(node.nodes("roles").map(|role| named(role, "rolename")).collect()),
        "AlterDatabaseSetStmt" => Command::AlterDatabaseSet(named(node, "dbname")),
        _ => Command::Other,
    }
}

fn object(node: &Node, field: &str) -> ObjectType {
    ObjectType::try_from(enumerated(node, field)).unwrap_or(ObjectType::Undefined)
}

fn is_relation(kind: ObjectType) -> bool {
    matches!(
        kind,
        ObjectType::ObjectTable | ObjectType::ObjectForeignTable | ObjectType::ObjectView | ObjectType::ObjectMatview
    )
}

/// Something goes by another name, or is found in another schema.
fn moved(kind: ObjectType) -> Command {
    match kind {
        ObjectType::ObjectType | ObjectType::ObjectDomain | ObjectType::ObjectSchema | ObjectType::ObjectExtension => {
            Command::ChangeTypes
        }
        relation if is_relation(relation) => Command::ChangeTypes,
        _ => Command::Other,
    }
}

fn dropped(node: &Node) -> Command {
    let cascades = || DropBehavior::try_from(enumerated(node, "behavior")) == Ok(DropBehavior::DropCascade);
    match object(node, "remove_type") {
        ObjectType::ObjectType | ObjectType::ObjectDomain | ObjectType::ObjectExtension => Command::ChangeTypes,
        ObjectType::ObjectSchema if cascades() => Command::ChangeTypes,
        relation if is_relation(relation) => {
            Command::ChangeColumns(node.nodes("objects").filter_map(last_name).collect())
        }
        _ => Command::Other,
    }
}

/// The relation that a statement alters.
fn altered(node: &Node) -> Box<[Name]> {
    node.child("relation").map(|relation| named(relation, "relname")).into_iter().collect()
}

/// A name without its schema.
fn last_name(name: &Node) -> Option<Name> {
    name.names("items").last().copied().map(Name::from)
}

/// Whether a column, or an attribute of a composite type, has another type afterwards, or another one may get its name.
fn changes_type(command: &Node) -> bool {
    let kind = AlterTableType::try_from(enumerated(command, "subtype"));
    matches!(kind, Ok(AlterTableType::AtAlterColumnType | AlterTableType::AtDropColumn))
}

fn named(node: &Node, field: &str) -> Name {
    node.text(field).into()
}

fn optional(name: &str) -> Option<Name> {
    Some(name).filter(|name| !name.is_empty()).map(Name::from)
}

/// The number of an enumeration's value.
pub(super) fn enumerated(node: &Node, field: &str) -> i32 {
    i32::try_from(node.number(field)).unwrap_or_default()
}

/// An option in a list of them.
fn option<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.nodes("options").find(|option| option.text("defname") == name)
}

fn discard(node: &Node) -> Command {
    Command::Discard(match DiscardMode::try_from(enumerated(node, "target")) {
        Ok(DiscardMode::DiscardPlans) => Discard::Plans,
        Ok(DiscardMode::DiscardSequences) => Discard::Sequences,
        Ok(DiscardMode::DiscardTemp) => Discard::Temporary,
        _ => Discard::All,
    })
}

fn variable(node: &Node) -> Command {
    let name = node.text("name");
    let local = node.has("is_local");
    match VariableSetKind::try_from(enumerated(node, "kind")) {
        Ok(VariableSetKind::VarResetAll) => return Command::Reset(None),
        Ok(VariableSetKind::VarSetMulti) if name.starts_with("TRANSACTION") => return Command::SetTransaction,
        _ => {}
    }
    if name.eq_ignore_ascii_case("role") {
        return Command::SetRole { local };
    }
    if name.eq_ignore_ascii_case("session_authorization") {
        return Command::SetSessionAuthorization { local };
    }
    match VariableSetKind::try_from(enumerated(node, "kind")) {
        Ok(VariableSetKind::VarReset) => Command::Reset(Some(name.to_ascii_lowercase().into())),
        Ok(VariableSetKind::VarSetDefault) => Command::Unset { name: name.to_ascii_lowercase().into(), local },
        _ => Command::Set { name: name.to_ascii_lowercase().into(), local },
    }
}

fn transaction(node: &Node) -> Command {
    let chain = node.has("chain");
    match TransactionStmtKind::try_from(enumerated(node, "kind")) {
        Ok(TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart) => Command::Begin,
        Ok(TransactionStmtKind::TransStmtCommit) => Command::Commit { chain },
        Ok(TransactionStmtKind::TransStmtRollback) => Command::Rollback { chain },
        Ok(TransactionStmtKind::TransStmtSavepoint) => Command::Savepoint,
        Ok(TransactionStmtKind::TransStmtRelease) => Command::Release,
        Ok(TransactionStmtKind::TransStmtRollbackTo) => Command::RollbackTo,
        Ok(TransactionStmtKind::TransStmtPrepare) => Command::PrepareTransaction,
        Ok(TransactionStmtKind::TransStmtCommitPrepared) => Command::CommitPrepared,
        Ok(TransactionStmtKind::TransStmtRollbackPrepared) => Command::RollbackPrepared,
        _ => Command::Other,
    }
}

/// The database that a new one is copied from, if one is named; a name that stands in a string is empty.
fn template(node: &Node) -> Option<Name> {
    let value = option(node, "template")?.child("arg")?;
    match value.name {
        // TEMPLATE = DEFAULT comes without an argument.
        "String" => Some(named(value, "sval")),
        _ => Some(value.names("names").join(".").into()),
    }
}
