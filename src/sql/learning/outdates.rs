//! Which knowledge of a database a kind of node makes old.

use pg_query::protobuf::{AlterTableType, ConstrType, ObjectType, TransactionStmtKind};

use super::command::enumerated;
use super::statement::creates_temporary;
use super::tree::{Node, Tree};
use crate::sql::definitions::Definitions;

/// What views, rules and policies say.
const RELATIONS: Definitions = Definitions::READS.union(Definitions::WRITES).union(Definitions::ALL_TABLES);
const TRIGGERS: Definitions = Definitions::WRITES.union(Definitions::ALL_TABLES).union(Definitions::TRUNCATES);

/// What is not true any more once this has run, apart from what stands within it. Nothing for what changes privileges,
/// comments, roles and other things that no statement calls; everything for what is not known.
pub(super) fn outdates(node: &Node) -> Definitions {
    if !node.name.ends_with("Stmt") {
        return if node.name == "IntoClause" { meaning(node, Definitions::NAMED) } else { Definitions::empty() };
    }
    match node.name {
        "CreateStmt" | "CreateForeignTableStmt" => meaning(node, table(node)),
        // A materialised view keeps its query.
        "CreateTableAsStmt" => Definitions::ALL_TABLES,
        "ViewStmt" => meaning(node, RELATIONS),
        "CreateSeqStmt" => meaning(node, Definitions::empty()),
        "IndexStmt" if indexes_columns(node) => Definitions::empty(),
        "IndexStmt" => Definitions::WRITES | Definitions::ALL_TABLES,
        // What was prepared in another transaction may be anything.
        "TransactionStmt" if commits_prepared(node) => Definitions::all(),
        // Where names are found.
        "GrantStmt" if is_about(node, "objtype", ObjectType::ObjectSchema) => Definitions::MEANINGS,
        "RuleStmt" | "CreatePolicyStmt" | "AlterPolicyStmt" => RELATIONS,
        "CreateTrigStmt" => TRIGGERS,
        "AlterTableStmt" if node.nodes("cmds").all(alters_no_meaning) => Definitions::empty(),
        "AlterTableStmt" => Definitions::all() - Definitions::FUNCTIONS - Definitions::OPERATORS - Definitions::EVENTS,
        "ImportForeignSchemaStmt" => Definitions::WRITES | Definitions::ALL_TABLES | Definitions::MEANINGS,
        "CreateEventTrigStmt" | "AlterEventTrigStmt" => Definitions::EVENTS,
        "CreateFunctionStmt" => meaning(node, Definitions::FUNCTIONS | Definitions::OPERATORS),
        "AlterFunctionStmt" => Definitions::FUNCTIONS | Definitions::OPERATORS,
        "CreateEnumStmt" | "AlterEnumStmt" | "CompositeTypeStmt" => meaning(node, Definitions::empty()),
        "CreateRangeStmt" | "CreateCastStmt" | "CreateOpClassStmt" | "CreateOpFamilyStmt" | "AlterOpFamilyStmt"
        | "AlterOperatorStmt" => meaning(node, Definitions::OPERATORS),
        "DropStmt" => dropped(node),
        _ if changes_no_meaning(node.name) => Definitions::empty(),
        _ => Definitions::all(),
    }
}

/// These, and what prepared statements mean, but for what is temporary and nobody else's.
fn meaning(node: &Node, definitions: Definitions) -> Definitions {
    if creates_temporary(node) { definitions } else { definitions | Definitions::MEANINGS }
}

/// Others are written along with a new table only if it is said to be a part of theirs, or refers to them.
fn table(node: &Node) -> Definitions {
    let own = Definitions::NAMED | Definitions::ALL_TABLES;
    let is_part = ["inh_relations", "partbound", "base_stmt"].iter().any(|field| node.has(field));
    if is_part || refers(node.get("table_elts")) { own | Definitions::WRITES } else { own }
}

/// Whether an index calls no function when its table is written: no expression, condition or class of operators.
fn indexes_columns(index: &Node) -> bool {
    let is_plain = |element: &Node| !element.has("expr") && !element.has("opclass");
    !index.has("where_clause") && index.nodes("index_params").all(is_plain)
}

fn commits_prepared(node: &Node) -> bool {
    TransactionStmtKind::try_from(enumerated(node, "kind")) == Ok(TransactionStmtKind::TransStmtCommitPrepared)
}

fn is_about(node: &Node, field: &str, kind: ObjectType) -> bool {
    ObjectType::try_from(enumerated(node, field)) == Ok(kind)
}

/// Owners, keys, storage: what statements do by a table is the same.
fn alters_no_meaning(command: &Node) -> bool {
    match AlterTableType::try_from(enumerated(command, "subtype")) {
        Ok(
            AlterTableType::AtChangeOwner
            | AlterTableType::AtSetNotNull
            | AlterTableType::AtDropNotNull
            | AlterTableType::AtSetStatistics
            | AlterTableType::AtSetStorage
            | AlterTableType::AtSetCompression
            | AlterTableType::AtSetOptions
            | AlterTableType::AtResetOptions
            | AlterTableType::AtSetRelOptions
            | AlterTableType::AtResetRelOptions
            | AlterTableType::AtSetTableSpace
            | AlterTableType::AtSetAccessMethod
            | AlterTableType::AtSetLogged
            | AlterTableType::AtSetUnLogged
            | AlterTableType::AtClusterOn
            | AlterTableType::AtDropCluster
            | AlterTableType::AtReplicaIdentity
            | AlterTableType::AtValidateConstraint,
        ) => true,
        Ok(AlterTableType::AtAddConstraint) => command.child("def").is_some_and(|constraint| {
            let kind = ConstrType::try_from(enumerated(constraint, "contype"));
            matches!(kind, Ok(ConstrType::ConstrPrimary | ConstrType::ConstrUnique))
        }),
        _ => false,
    }
}

/// Whether there is a foreign key among the columns and constraints of a table.
fn refers(tree: &Tree) -> bool {
    let is_foreign_key = |node: &Node| {
        node.name == "Constraint" && ConstrType::try_from(enumerated(node, "contype")) == Ok(ConstrType::ConstrForeign)
    };
    match tree {
        Tree::List(list) => list.iter().any(refers),
        Tree::Node(node) => is_foreign_key(node) || refers(node.get("constraints")),
        _ => false,
    }
}

/// What is gone was known by its name, or among others of its kind.
fn dropped(node: &Node) -> Definitions {
    match ObjectType::try_from(enumerated(node, "remove_type")) {
        Ok(
            ObjectType::ObjectTable
            | ObjectType::ObjectView
            | ObjectType::ObjectMatview
            | ObjectType::ObjectSequence
            | ObjectType::ObjectForeignTable
            | ObjectType::ObjectIndex
            | ObjectType::ObjectSchema,
        ) => Definitions::NAMED,
        Ok(ObjectType::ObjectEventTrigger) => Definitions::EVENTS,
        Ok(ObjectType::ObjectTrigger) => TRIGGERS,
        Ok(ObjectType::ObjectPolicy | ObjectType::ObjectRule) => RELATIONS,
        _ => Definitions::all() - Definitions::MEANINGS,
    }
}

/// Statements that read, write or keep something of the session, and those that define what no statement of others
/// calls or means.
fn changes_no_meaning(name: &str) -> bool {
    matches!(
        name,
        "SelectStmt"
            | "InsertStmt"
            | "UpdateStmt"
            | "DeleteStmt"
            | "MergeStmt"
            | "CopyStmt"
            | "TruncateStmt"
            | "DeclareCursorStmt"
            | "FetchStmt"
            | "ClosePortalStmt"
            | "TransactionStmt"
            | "ConstraintsSetStmt"
            | "VariableSetStmt"
            | "VariableShowStmt"
            | "DiscardStmt"
            | "ListenStmt"
            | "UnlistenStmt"
            | "NotifyStmt"
            | "PrepareStmt"
            | "ExecuteStmt"
            | "DeallocateStmt"
            | "LoadStmt"
            | "ExplainStmt"
            | "VacuumStmt"
            | "ClusterStmt"
            | "ReindexStmt"
            | "LockStmt"
            | "CheckPointStmt"
            | "DoStmt"
            | "CallStmt"
            | "ReturnStmt"
            | "PlassignStmt"
            | "CommentStmt"
            | "SecLabelStmt"
            | "GrantStmt"
            | "GrantRoleStmt"
            | "AlterDefaultPrivilegesStmt"
            | "AlterOwnerStmt"
            | "ReassignOwnedStmt"
            | "CreateRoleStmt"
            | "AlterRoleStmt"
            | "AlterRoleSetStmt"
            | "DropRoleStmt"
            | "CreatedbStmt"
            | "AlterDatabaseStmt"
            | "AlterDatabaseSetStmt"
            | "AlterDatabaseRefreshCollStmt"
            | "DropdbStmt"
            | "AlterSystemStmt"
            | "CreateTableSpaceStmt"
            | "DropTableSpaceStmt"
            | "AlterTableSpaceOptionsStmt"
            | "AlterTableMoveAllStmt"
            | "CreateSchemaStmt"
            | "AlterSeqStmt"
            | "CreateStatsStmt"
            | "AlterStatsStmt"
            | "RefreshMatViewStmt"
            | "ReplicaIdentityStmt"
            | "CreatePublicationStmt"
            | "AlterPublicationStmt"
            | "CreateSubscriptionStmt"
            | "AlterSubscriptionStmt"
            | "DropSubscriptionStmt"
            | "CreateUserMappingStmt"
            | "AlterUserMappingStmt"
            | "DropUserMappingStmt"
    )
}
