//! One walk over the tree of a text, which gathers what its statements touch and do.

use std::collections::BTreeSet;

use pg_query::SummaryResult;
use pg_query::protobuf::ObjectType;
use pg_query::protobuf::summary_result::Context;

use super::command::{command, enumerated};
use super::functions::{Called, is_set_config};
use super::outdates::outdates;
use super::statement;
use super::tree::{Node, Tree};
use super::words::Words;
use crate::sql::definitions::Definitions;
use crate::sql::effects::Effects;
use crate::sql::identifiers::dotted;
use crate::sql::pattern::{Command, Kind, Shape, Traits};

/// What was met so far.
#[derive(Debug, Default)]
pub(super) struct Survey<'a> {
    reads: BTreeSet<String>,
    writes: BTreeSet<String>,
    functions: BTreeSet<String>,
    ambiguous: BTreeSet<String>,
    /// Columns that stand behind a name, which are functions where that is no row but a value.
    columns: BTreeSet<&'a str>,
    /// What is selected from are functions, too, whose rows may be values.
    ranges_over_values: bool,
    effects: Effects,
    outdates: Definitions,
    /// Something is written somewhere within, as in a WITH.
    modifies: bool,
    locks_rows: bool,
    computes: bool,
    joins: u16,
    /// A setting is set whose name stands in a column.
    sets_by_column: bool,
    /// The walk stands in a SELECT of nothing but pg_settings.
    lists_settings: bool,
    /// Names that WITH has given to queries, where the walk stands.
    with: Vec<&'a str>,
    kind: Kind,
    shape: Shape,
    commands: Vec<Command>,
}

impl<'a> Survey<'a> {
    /// Takes a statement into account.
    pub(super) fn statement(&mut self, node: &'a Node) {
        self.modifies = false;
        self.commands.push(command(node));
        self.walk(node);
        let kind = match statement::kind(node) {
            Kind::Read if self.modifies => Kind::Write,
            kind => kind,
        };
        self.kind = self.kind.max(kind);
        self.shape = statement::shape(node);
    }

    /// Takes a statement into account that was not parsed, by what its words may mean.
    pub(super) fn unparsed(&mut self, words: Words) {
        self.commands.push(Command::Other);
        if words.effects.any_of(Effects::DEFINES) {
            self.outdates = Definitions::all();
        }
        self.effects |= words.effects;
        self.functions.extend(words.functions);
        self.ambiguous.extend(words.ambiguous);
        self.computes = true;
        self.shape = Shape::default();
    }

    /// Takes a statement into account of which there is only a summary, and what its words may mean. More than calls
    /// and draws can't be placed then.
    pub(super) fn summary(&mut self, summary: &SummaryResult, mut words: Words) {
        if !words.effects.without(Effects::CALLS | Effects::DRAWS).is_empty() {
            words.effects |= Effects::ANYTHING;
        }
        self.unparsed(words);
        let writes = |context: &Context| matches!(context, Context::Dml | Context::Ddl);
        for table in &summary.tables {
            let names = if writes(&table.context) { &mut self.writes } else { &mut self.reads };
            names.insert(table.name.clone());
        }
        let is_read = summary.statement_types.iter().all(|statement| statement == "SelectStmt");
        let kind = match summary.tables.iter().map(|table| &table.context).max() {
            Some(Context::Ddl) => Kind::Ddl,
            Some(Context::Dml) => Kind::Write,
            _ if is_read => Kind::Read,
            _ => Kind::Utility,
        };
        self.kind = self.kind.max(kind);
        self.shape.returns_rows = kind == Kind::Read;
    }

    pub(super) fn traits(mut self) -> Traits {
        let mut effects = self.effects;
        if self.ranges_over_values {
            self.ambiguous.extend(self.columns.iter().map(|column| (*column).to_owned()));
        }
        if self.kind == Kind::Ddl {
            effects |= Effects::DEFINES;
        }
        if !self.functions.is_empty() {
            effects |= Effects::CALLS;
        }
        if self.sets_by_column && !effects.any_of(Effects::HOLDS) {
            // Without a table or a function the text itself holds the name.
            let elsewhere = !self.reads.is_empty() || !self.functions.is_empty();
            effects |= if elsewhere { Effects::HOLDS } else { Effects::SETS_GIVEN };
        }
        Traits {
            kind: self.kind,
            statements: self.commands.len(),
            reads: boxed(self.reads),
            writes: boxed(self.writes),
            functions: boxed(self.functions),
            ambiguous: boxed(self.ambiguous),
            effects,
            outdates: self.outdates,
            computes: self.computes,
            commands: self.commands.into(),
            shape: Shape { locks_rows: self.locks_rows, joins: self.joins, ..self.shape },
        }
    }

    fn walk_tree(&mut self, tree: &'a Tree) {
        match tree {
            Tree::Node(node) => self.walk(node),
            Tree::List(list) => list.iter().for_each(|tree| self.walk_tree(tree)),
            Tree::Nothing | Tree::Number(_) | Tree::Text(_) => {}
        }
    }

    fn walk(&mut self, node: &'a Node) {
        self.effects |= statement::effects(node);
        self.outdates |= outdates(node);
        match node.name {
            "RangeVar" => return self.table(node),
            "FuncCall" => self.call(node),
            "AIndirection" => self.ambiguous.extend(node.names("indirection").into_iter().map(str::to_owned)),
            "ColumnRef" => self.columns.extend(node.names("fields").into_iter().skip(1).last()),
            name if name.starts_with("Json") => self.ambiguous.extend(JSON.map(str::to_owned)),
            "RangeFunction" => self.ranges_over_values = true,
            "JoinExpr" => self.joins = self.joins.saturating_add(1),
            // Whatever has the type of a domain is checked: also a column of XMLTABLE, or of a function's rows.
            // So is what is bound. And a row that a query in FROM gives may be given to a function, as if that were a
            // column of it.
            "AExpr" | "TypeName" | "RangeSubselect" | "ParamRef" => self.computes = true,
            "LockingClause" => self.locks_rows = true,
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.modifies = true,
            "DropStmt" => self.dropped(node),
            "SelectStmt" => {
                let commas = u16::try_from(node.list("from_clause").len().saturating_sub(1)).unwrap_or(u16::MAX);
                self.joins = self.joins.saturating_add(commas);
            }
            "ExplainStmt" => return self.explained(node),
            "PrepareStmt" => return self.prepared(node),
            _ => {}
        }
        let outside = self.with.len();
        let listed = if node.name == "SelectStmt" {
            std::mem::replace(&mut self.lists_settings, is_of_settings(node))
        } else {
            self.lists_settings
        };
        if let Some(with) = node.child("with_clause") {
            self.with_clause(with);
        }
        for (field, tree) in node.fields() {
            if field == "with_clause" || statement::is_for_later(node.name, field) {
                continue;
            }
            match tree {
                Tree::Node(table) if table.name == "RangeVar" && statement::writes(node, field) => self.written(table),
                Tree::List(tables) if statement::writes(node, field) => {
                    tables.iter().filter_map(Tree::node).for_each(|table| self.written(table));
                }
                _ => self.walk_tree(tree),
            }
        }
        self.with.truncate(outside);
        self.lists_settings = listed;
    }

    /// The queries of WITH. Where it is recursive each may name all; otherwise those that follow it.
    fn with_clause(&mut self, with: &'a Node) {
        let recursive = with.has("recursive");
        if recursive {
            self.with.extend(with.nodes("ctes").map(|query| query.text("ctename")));
        }
        for query in with.nodes("ctes") {
            for (_, tree) in query.fields() {
                self.walk_tree(tree);
            }
            if !recursive {
                self.with.push(query.text("ctename"));
            }
        }
    }

    fn table(&mut self, table: &Node) {
        let name = table_name(table);
        if table.text("schemaname").is_empty() && self.with.contains(&name.as_str()) {
            return;
        }
        if matches!(table.text("schemaname"), "" | "pg_catalog") && table.text("relname") == "pg_prepared_statements" {
            self.effects |= Effects::READS_PREPARED;
        }
        self.reads.insert(name);
    }

    fn written(&mut self, table: &Node) {
        if table.name != "RangeVar" {
            return;
        }
        // An UPDATE of this view is set_config by another name.
        if matches!(table.text("schemaname"), "" | "pg_catalog") && table.text("relname") == "pg_settings" {
            self.effects |= Effects::SETTINGS | Effects::ROLE;
        }
        self.writes.insert(table_name(table));
    }

    fn call(&mut self, call: &Node) {
        let name = call.names("funcname");
        if Called::by_name(&name) != Called::Other {
            self.ambiguous.extend(name.last().map(|name| (*name).to_owned()));
        }
        if is_set_config(&name) {
            self.sets_by_column |= is_named_by_column(call, self.lists_settings);
            self.effects |= set_config(call) | Effects::UNSETS;
            return;
        }
        match Called::by_name(&name) {
            Called::BuiltIn(effects) if !effects.any_of(Effects::RUNS) => self.effects |= effects,
            called => {
                self.effects |= if let Called::BuiltIn(effects) = called { effects } else { Effects::NONE };
                self.functions.insert(dotted(name));
            }
        }
    }

    /// EXPLAIN runs what it explains only with ANALYZE; but planning may call functions.
    fn explained(&mut self, node: &'a Node) {
        let Some(query) = node.child("query") else { return };
        let before = (self.effects, self.modifies);
        self.walk(query);
        if !statement::analyzes(node) {
            let planned = [Effects::EXECUTES, Effects::CALLS, Effects::RUNS];
            let kept = planned.into_iter().filter(|effect| self.effects.any_of(*effect));
            self.effects = kept.fold(before.0, Effects::with);
            self.modifies = before.1;
        }
    }

    /// What is prepared runs later, by a name alone: whom it calls must be known by then, and what it tells.
    fn prepared(&mut self, node: &'a Node) {
        let Some(query) = node.child("query") else { return };
        let before = (self.effects, self.modifies, self.locks_rows, self.joins, self.sets_by_column);
        self.walk(query);
        let tells = self.effects.among(Effects::TELLS);
        (self.effects, self.modifies, self.locks_rows, self.joins, self.sets_by_column) = before;
        self.effects |= tells;
    }

    fn dropped(&mut self, node: &Node) {
        let drops_relations = matches!(
            ObjectType::try_from(enumerated(node, "remove_type")),
            Ok(ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectMatview
                | ObjectType::ObjectSequence
                | ObjectType::ObjectForeignTable
                | ObjectType::ObjectIndex)
        );
        if drops_relations {
            for name in node.nodes("objects") {
                self.writes.insert(dotted(name.names("items")));
            }
        }
    }
}

/// What is syntax to the parser, and to PostgreSQL before 16 or 17 a name like any other.
const JSON: [&str; 9] = [
    "json",
    "json_array",
    "json_arrayagg",
    "json_exists",
    "json_objectagg",
    "json_query",
    "json_scalar",
    "json_serialize",
    "json_value",
];

fn table_name(table: &Node) -> String {
    let parts = ["catalogname", "schemaname", "relname"].map(|part| table.text(part));
    dotted(parts.into_iter().filter(|part| !part.is_empty()))
}

/// Whether the only table of a SELECT is pg_settings, which has no settings with names of a user's own.
fn is_of_settings(select: &Node) -> bool {
    let mut tables = select.nodes("from_clause");
    let is_settings = |table: &Node| {
        let schema = table.text("schemaname");
        table.text("relname") == "pg_settings" && matches!(schema, "" | "pg_catalog")
    };
    tables.next().is_some_and(is_settings) && tables.next().is_none()
}

/// What a call of set_config does: nothing that lasts where it says so with a plain TRUE; to the role where it names
/// that, or where its name is not a plain string; what nobody can ask for where the name is neither a string, nor
/// bound, nor in a column.
fn set_config(call: &Node) -> Effects {
    let arguments: Vec<&Node> = call.nodes("args").collect();
    let computed = Effects::SETTINGS | Effects::ROLE | Effects::HOLDS;
    let [name, _, is_local] = arguments.as_slice() else { return computed };
    let constant = |argument: &Node, kind: &str| {
        let constant = Some(argument).filter(|node| node.name == "AConst")?.child("val")?.clone();
        Some(constant).filter(|value| value.name == kind)
    };
    if constant(is_local, "Boolean").is_some_and(|value| value.has("boolval")) {
        return Effects::NONE;
    }
    let mut name = *name;
    while let Some(inner) = Some(name).filter(|name| name.name == "TypeCast").and_then(|name| name.child("arg")) {
        name = inner;
    }
    // The folded text keeps no strings but those that name a role.
    match constant(name, "String") {
        Some(value) if value.text("sval").is_empty() => Effects::SETTINGS,
        Some(_) => Effects::SETTINGS | Effects::ROLE,
        None if matches!(name.name, "ParamRef" | "ColumnRef") => Effects::SETTINGS | Effects::ROLE,
        None => computed,
    }
}

/// Whether a call of set_config that lasts takes its name from a column.
fn is_named_by_column(call: &Node, lists_settings: bool) -> bool {
    let Some(name) = call.nodes("args").next().filter(|name| name.name == "ColumnRef") else { return false };
    let listed = lists_settings && name.names("fields").last() == Some(&"name");
    !listed && set_config(call).any_of(Effects::SETTINGS)
}

fn boxed(names: BTreeSet<String>) -> Box<[Box<str>]> {
    names.into_iter().map(String::into_boxed_str).collect()
}
