//! PostgreSQL's keywords, for what must be shown although nothing parses, and for names that need their quotes.
//!
//! Manual: "SQL Key Words". The list is that of PostgreSQL 18; a word that another version lacks only looks like a
//! keyword where nothing else tells.

use super::hash::{Words, head};

/// Whether a word is a keyword of any kind, in any case.
pub(super) fn is_keyword(word: &[u8]) -> bool {
    holds(UNRESERVED, word) || is_reserved(head(word), word)
}

/// Whether a word means something else than the quoted name of the same letters: no table or column bears it unquoted.
/// `first` is its [`head`].
#[inline]
pub(super) fn is_reserved(first: u64, word: &[u8]) -> bool {
    match RESERVED_HEADS.get(first) {
        Some(goes_on) if goes_on == (word.len() > 8) => !goes_on || holds(RESERVED, word),
        _ => false,
    }
}

/// Whether a keyword may be the name of a function without quotes, in some version at least.
pub(super) fn may_name_function(word: &[u8]) -> bool {
    !holds(NO_FUNCTIONS, word)
}

/// What those of [`RESERVED`] begin with, and whether they go on after it: they are asked for with every quoted name.
static RESERVED_HEADS: Words<bool> = Words::of(&reserved());

const fn reserved() -> [(&'static str, bool); RESERVED.len()] {
    let mut words = [("", false); RESERVED.len()];
    let mut at = 0;
    while at < RESERVED.len() {
        words[at] = (RESERVED[at], RESERVED[at].len() > 8);
        at += 1;
    }
    words
}

/// Whether a sorted list of lower-case words holds this one, in any case. Out of the way of [`is_reserved`], which seldom
/// asks.
#[inline(never)]
pub(super) fn holds(list: &[&str], word: &[u8]) -> bool {
    let lower = |byte: &u8| byte.to_ascii_lowercase();
    list.binary_search_by(|entry| entry.bytes().cmp(word.iter().map(lower))).is_ok()
}

#[rustfmt::skip]
const UNRESERVED: &[&str] = &[
    "abort", "absent", "absolute", "access", "action", "add", "admin", "after", "aggregate", "also", "alter",
    "always", "asensitive", "assertion", "assignment", "at", "atomic", "attach", "attribute", "backward",
    "before", "begin", "between", "bigint", "bit", "boolean", "breadth", "by", "cache", "call", "called",
    "cascade", "cascaded", "catalog", "chain", "char", "character", "characteristics", "checkpoint", "class",
    "close", "cluster", "coalesce", "columns", "comment", "comments", "commit", "committed", "compression",
    "conditional", "configuration", "conflict", "connection", "constraints", "content", "continue",
    "conversion", "copy", "cost", "csv", "cube", "current", "cursor", "cycle", "data", "database", "day",
    "deallocate", "dec", "decimal", "declare", "defaults", "deferred", "definer", "delete", "delimiter",
    "delimiters", "depends", "depth", "detach", "dictionary", "disable", "discard", "document", "domain",
    "double", "drop", "each", "empty", "enable", "encoding", "encrypted", "enforced", "enum", "error",
    "escape", "event", "exclude", "excluding", "exclusive", "execute", "exists", "explain", "expression",
    "extension", "external", "extract", "family", "filter", "finalize", "first", "float", "following", "force",
    "format", "forward", "function", "functions", "generated", "global", "granted", "greatest", "grouping",
    "groups", "handler", "header", "hold", "hour", "identity", "if", "immediate", "immutable", "implicit",
    "import", "include", "including", "increment", "indent", "index", "indexes", "inherit", "inherits",
    "inline", "inout", "input", "insensitive", "insert", "instead", "int", "integer", "interval", "invoker",
    "isolation", "json", "json_array", "json_arrayagg", "json_exists", "json_object", "json_objectagg",
    "json_query", "json_scalar", "json_serialize", "json_table", "json_value", "keep", "key", "keys", "label",
    "language", "large", "last", "leakproof", "least", "level", "listen", "load", "local", "location", "lock",
    "locked", "logged", "mapping", "match", "matched", "materialized", "maxvalue", "merge", "merge_action",
    "method", "minute", "minvalue", "mode", "month", "move", "name", "names", "national", "nchar", "nested",
    "new", "next", "nfc", "nfd", "nfkc", "nfkd", "no", "none", "normalize", "normalized", "nothing", "notify",
    "nowait", "nullif", "nulls", "numeric", "object", "objects", "of", "off", "oids", "old", "omit",
    "operator", "option", "options", "ordinality", "others", "out", "over", "overlay", "overriding", "owned",
    "owner", "parallel", "parameter", "parser", "partial", "partition", "passing", "password", "path",
    "period", "plan", "plans", "policy", "position", "preceding", "precision", "prepare", "prepared",
    "preserve", "prior", "privileges", "procedural", "procedure", "procedures", "program", "publication",
    "quote", "quotes", "range", "read", "real", "reassign", "recursive", "ref", "referencing", "refresh",
    "reindex", "relative", "release", "rename", "repeatable", "replace", "replica", "reset", "restart",
    "restrict", "return", "returns", "revoke", "role", "rollback", "rollup", "routine", "routines", "row",
    "rows", "rule", "savepoint", "scalar", "schema", "schemas", "scroll", "search", "second", "security",
    "sequence", "sequences", "serializable", "server", "session", "set", "setof", "sets", "share", "show",
    "simple", "skip", "smallint", "snapshot", "source", "sql", "stable", "standalone", "start", "statement",
    "statistics", "stdin", "stdout", "storage", "stored", "strict", "string", "strip", "subscription",
    "substring", "support", "sysid", "system", "tables", "tablespace", "target", "temp", "template",
    "temporary", "text", "ties", "time", "timestamp", "transaction", "transform", "treat", "trigger", "trim",
    "truncate", "trusted", "type", "types", "uescape", "unbounded", "uncommitted", "unconditional",
    "unencrypted", "unknown", "unlisten", "unlogged", "until", "update", "vacuum", "valid", "validate",
    "validator", "value", "values", "varchar", "varying", "version", "view", "views", "virtual", "volatile",
    "whitespace", "within", "without", "work", "wrapper", "write", "xml", "xmlattributes", "xmlconcat",
    "xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize",
    "xmltable", "year", "yes", "zone",
];

#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization",
    "binary", "both", "case", "cast", "check", "collate", "collation", "column", "concurrently", "constraint",
    "create", "cross", "current_catalog", "current_date", "current_role", "current_schema", "current_time",
    "current_timestamp", "current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end",
    "except", "false", "fetch", "for", "foreign", "freeze", "from", "full", "grant", "group", "having",
    "ilike", "in", "initially", "inner", "intersect", "into", "is", "isnull", "join", "lateral", "leading",
    "left", "like", "limit", "localtime", "localtimestamp", "natural", "not", "notnull", "null", "offset",
    "on", "only", "or", "order", "outer", "overlaps", "placing", "primary", "references", "returning", "right",
    "select", "session_user", "similar", "some", "symmetric", "system_user", "table", "tablesample", "then",
    "to", "trailing", "true", "union", "unique", "user", "using", "variadic", "verbose", "when", "where",
    "window", "with",
];

/// Of both, those that are reserved or stand for expressions and types of their own.
#[rustfmt::skip]
const NO_FUNCTIONS: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "between", "bigint", "bit",
    "boolean", "both", "case", "cast", "char", "character", "check", "coalesce", "collate", "column",
    "constraint", "create", "current_catalog", "current_date", "current_role", "current_time",
    "current_timestamp", "current_user", "dec", "decimal", "default", "deferrable", "desc", "distinct", "do",
    "else", "end", "except", "exists", "extract", "false", "fetch", "float", "for", "foreign", "from",
    "grant", "greatest", "group", "grouping", "having", "in", "initially", "inout", "int", "integer",
    "intersect", "interval", "into", "lateral", "leading", "least", "limit", "localtime", "localtimestamp",
    "national", "nchar", "none", "not", "null", "nullif", "numeric", "offset", "on", "only", "or", "order",
    "out", "overlay", "placing", "position", "precision", "primary", "real", "references", "returning", "row",
    "select", "session_user", "setof", "smallint", "some", "substring", "symmetric", "table", "then", "time",
    "timestamp", "to", "trailing", "treat", "trim", "true", "union", "unique", "user", "using", "values",
    "varchar", "variadic", "when", "where", "window", "with", "xmlattributes", "xmlconcat", "xmlelement",
    "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize", "xmltable",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_reserved_as_a_whole_and_in_any_case() {
        let tells = |word: &str| is_reserved(head(word.as_bytes()), word.as_bytes());
        for word in RESERVED {
            assert!(tells(word) && tells(&word.to_uppercase()), "{word}");
            assert!(!tells(&format!("{word}_")), "{word}_");
        }
        for word in ["", "id", "current_", "current_thing", "authoriz", "tenant_id"] {
            assert!(!tells(word), "{word}");
        }
    }
}
