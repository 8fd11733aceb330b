//! What a kind of node means, apart from what stands within it.

use pg_query::protobuf::DropBehavior;

use super::command::{command, enumerated};
use super::tree::{Node, Tree};
use crate::sql::effects::Effects;
use crate::sql::pattern::{Command, Kind, Shape};

pub(super) fn kind(node: &Node) -> Kind {
    match node.name {
        "SelectStmt" if node.has("into_clause") => Kind::Ddl,
        "CopyStmt" if node.has("is_from") => Kind::Write,
        "SelectStmt" | "CopyStmt" | "DeclareCursorStmt" | "FetchStmt" => Kind::Read,
        "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" | "TruncateStmt" => Kind::Write,
        "TransactionStmt" | "ConstraintsSetStmt" => Kind::Transaction,
        "VariableSetStmt" if command(node) == Command::SetTransaction => Kind::Transaction,
        "VariableSetStmt" | "VariableShowStmt" | "DiscardStmt" | "ListenStmt" | "UnlistenStmt" | "NotifyStmt"
        | "PrepareStmt" | "DeallocateStmt" | "LoadStmt" | "ClosePortalStmt" => Kind::Session,
        "ExplainStmt" if analyzes(node) => node.child("query").map_or(Kind::Utility, kind).max(Kind::Utility),
        "ExplainStmt" | "VacuumStmt" | "LockStmt" | "CheckPointStmt" | "CallStmt" | "DoStmt" | "ExecuteStmt"
        | "ClusterStmt" | "ReindexStmt" | "AlterSystemStmt" => Kind::Utility,
        _ => Kind::Ddl,
    }
}

/// What the statement does to the session by being what it is.
pub(super) fn effects(node: &Node) -> Effects {
    match node.name {
        "VariableSetStmt" => variable(node),
        "TransactionStmt" => Effects::TRANSACTION,
        "ListenStmt" => Effects::LISTENS,
        "UnlistenStmt" => Effects::UNLISTENS,
        "NotifyStmt" => Effects::NOTIFIES,
        "PrepareStmt" => Effects::PREPARES,
        "ExecuteStmt" => Effects::EXECUTES,
        "DeallocateStmt" => Effects::DEALLOCATES,
        "DiscardStmt" => Effects::DISCARDS,
        "LoadStmt" => Effects::LOADS,
        "ClosePortalStmt" => Effects::CLOSES_CURSOR,
        "DeclareCursorStmt" => match command(node) {
            Command::DeclareHold => Effects::HELD_CURSOR,
            _ => Effects::NONE,
        },
        "DoStmt" | "CallStmt" | "CreateExtensionStmt" | "AlterExtensionStmt" => Effects::CALLS | Effects::RUNS,
        // Columns that are not named, or say DEFAULT, may draw from a sequence; so may a column that is added.
        "InsertStmt" | "MergeStmt" | "SetToDefault" | "AlterTableStmt" => Effects::DRAWS,
        "CopyStmt" if node.has("is_from") => Effects::DRAWS,
        // Of no definition, but with event triggers since PostgreSQL 17.
        "ReindexStmt" => Effects::DEFINES | Effects::CALLS | Effects::RUNS,
        // Functions of indexes and of statistics.
        "VacuumStmt" | "ClusterStmt" => Effects::CALLS | Effects::RUNS,
        "TruncateStmt" if cascades(node) => Effects::TRUNCATES,
        name if name.starts_with("Drop") => Effects::DROPS,
        _ if creates_temporary(node) => Effects::TEMPORARY,
        _ => Effects::NONE,
    }
}

/// Whether it makes something that goes with the session, by its words or by its schema.
pub(super) fn creates_temporary(node: &Node) -> bool {
    match node.name {
        "IntoClause" => child_temporary(node, "rel"),
        "CreateStmt" => child_temporary(node, "relation"),
        "ViewStmt" => child_temporary(node, "view"),
        "CreateSeqStmt" => child_temporary(node, "sequence"),
        "CompositeTypeStmt" => child_temporary(node, "typevar"),
        name if name.starts_with("Create") || name == "DefineStmt" => named_temporary(node),
        _ => false,
    }
}

fn cascades(node: &Node) -> bool {
    matches!(DropBehavior::try_from(enumerated(node, "behavior")), Ok(DropBehavior::DropCascade))
}

fn variable(node: &Node) -> Effects {
    match command(node) {
        // That of random(), which no list of settings shows. It outlives its transaction.
        Command::Set { name, .. } if &*name == "seed" => Effects::HOLDS | Effects::STAYS,
        Command::SetTransaction | Command::Set { local: true, .. } => Effects::NONE,
        Command::Unset { local: true, .. } => Effects::UNSETS,
        Command::Unset { local: false, .. } | Command::Reset(_) => Effects::SETTINGS | Effects::UNSETS,
        Command::SetRole { local } | Command::SetSessionAuthorization { local } => {
            if local {
                Effects::NONE
            } else {
                Effects::ROLE
            }
        }
        // RESET ALL leaves roles alone.
        _ => Effects::SETTINGS,
    }
}

fn child_temporary(node: &Node, field: &str) -> bool {
    let is_relation_temporary =
        |table: &Node| table.text("relpersistence") == "t" || is_temporary(table.text("schemaname"));
    node.child(field).is_some_and(is_relation_temporary)
}

/// The same for whatever has a list of names for its name: functions, types, operators.
fn named_temporary(node: &Node) -> bool {
    let first =
        |tree: &Tree| tree.list().first().and_then(Tree::node).is_some_and(|name| is_temporary(name.text("sval")));
    node.fields().any(|(_, tree)| first(tree))
}

fn is_temporary(schema: &str) -> bool {
    schema == "pg_temp" || schema.starts_with("pg_temp_")
}

/// Whether EXPLAIN runs what it explains.
pub(super) fn analyzes(node: &Node) -> bool {
    let says_no = |option: &Node| {
        option.child("arg").is_some_and(|value| {
            matches!(value.text("sval").to_ascii_lowercase().as_str(), "off" | "false" | "no" | "f" | "n")
        })
    };
    node.nodes("options").any(|option| option.text("defname") == "analyze" && !says_no(option))
}

/// Whether a relation in this field is changed rather than read.
pub(super) fn writes(node: &Node, field: &str) -> bool {
    match node.name {
        "CopyStmt" => field == "relation" && node.has("is_from"),
        "InsertStmt"
        | "UpdateStmt"
        | "DeleteStmt"
        | "MergeStmt"
        | "TruncateStmt"
        | "IntoClause"
        | "ViewStmt"
        | "IndexStmt"
        | "AlterTableStmt"
        | "CreateStmt"
        | "CreateSeqStmt"
        | "AlterSeqStmt"
        | "RuleStmt"
        | "CreateTrigStmt"
        | "RenameStmt"
        | "AlterObjectSchemaStmt"
        | "AlterOwnerStmt"
        | "RefreshMatViewStmt"
        | "CreatePolicyStmt"
        | "AlterPolicyStmt"
        | "CreateStatsStmt" => {
            matches!(field, "relation" | "relations" | "rel" | "view" | "sequence" | "table")
        }
        "GrantStmt" => field == "objects",
        _ => false,
    }
}

/// Whether what stands in this field is only stored, and runs some other time.
pub(super) fn is_for_later(name: &str, field: &str) -> bool {
    match name {
        "CreateFunctionStmt" => matches!(field, "sql_body" | "parameters" | "options"),
        "AlterFunctionStmt" => field == "actions",
        "AlterRoleSetStmt" | "AlterDatabaseSetStmt" | "AlterSystemStmt" => field == "setstmt",
        "RuleStmt" => matches!(field, "actions" | "where_clause"),
        "CreateTrigStmt" => field == "when_clause",
        "CreatePolicyStmt" | "AlterPolicyStmt" => matches!(field, "qual" | "with_check"),
        "CreateStmt" => matches!(field, "table_elts" | "constraints"),
        "CreateDomainStmt" => field == "constraints",
        _ => false,
    }
}

pub(super) fn shape(node: &Node) -> Shape {
    match node.name {
        "SelectStmt" => select_shape(node),
        "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => Shape {
            returns_rows: node.has("returning_list") || node.has("returning_clause"),
            filtered: node.has("where_clause"),
            ..Shape::default()
        },
        "DeclareCursorStmt" => {
            let query = node.child("query").map(shape).unwrap_or_default();
            Shape { returns_rows: false, ..query }
        }
        "FetchStmt" => Shape { returns_rows: !node.has("ismove"), ..Shape::default() },
        "VariableShowStmt" | "ExplainStmt" => Shape { returns_rows: true, ..Shape::default() },
        _ => Shape::default(),
    }
}

fn select_shape(node: &Node) -> Shape {
    let limit = node.child("limit_count");
    let star = |target: &Node| {
        target.child("val").is_some_and(|value| value.nodes("fields").any(|field| field.name == "AStar"))
    };
    let mut shape = Shape {
        returns_rows: !node.has("into_clause"),
        // LIMIT ALL is a NULL.
        limited: limit.is_some_and(|count| !count.has("isnull")),
        filtered: node.has("where_clause"),
        star: node.nodes("target_list").any(star),
        ..Shape::default()
    };
    if let (Some(left), Some(right)) = (node.child("larg"), node.child("rarg")) {
        let (left, right) = (select_shape(left), select_shape(right));
        shape.filtered = left.filtered && right.filtered;
        shape.star = left.star || right.star;
    }
    shape
}
