//! The words and signs by which clauses, lists and signs of numbers are known.

use super::hash::{Words, known};

/// What stands before a token, as far as it decides what the token means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landmark {
    /// The beginning of a statement.
    Start,
    /// A name, a literal, a closing bracket: what follows can't be a sign.
    Operand,
    Operator,
    Comma,
    Dot,
    Open,
    Array,
    Boolean,
    By,
    Distinct,
    /// A reserved word before an expression.
    Expression,
    Group,
    /// ROLLUP, CUBE, GROUPING SETS
    Grouping,
    In,
    Is,
    /// LIMIT, OFFSET, FETCH
    Limit,
    Not,
    Null,
    On,
    Order,
    /// SELECT, WITH, TABLE: what begins a query.
    Query,
    Returns,
    Set,
    /// UNION, INTERSECT, EXCEPT
    SetOperation,
    Uescape,
    Values,
}

/// Those of up to eight letters.
static SHORT: Words<Landmark> = Words::of(&[
    ("all", Landmark::Expression),
    ("and", Landmark::Expression),
    ("any", Landmark::Expression),
    ("array", Landmark::Array),
    ("as", Landmark::Expression),
    ("between", Landmark::Expression),
    ("by", Landmark::By),
    ("case", Landmark::Expression),
    ("cube", Landmark::Grouping),
    ("default", Landmark::Expression),
    ("distinct", Landmark::Distinct),
    ("else", Landmark::Expression),
    ("except", Landmark::SetOperation),
    ("false", Landmark::Boolean),
    ("fetch", Landmark::Limit),
    ("for", Landmark::Expression),
    ("from", Landmark::Expression),
    ("group", Landmark::Group),
    ("having", Landmark::Expression),
    ("ilike", Landmark::Expression),
    ("in", Landmark::In),
    ("is", Landmark::Is),
    ("like", Landmark::Expression),
    ("limit", Landmark::Limit),
    ("not", Landmark::Not),
    ("null", Landmark::Null),
    ("offset", Landmark::Limit),
    ("on", Landmark::On),
    ("or", Landmark::Expression),
    ("order", Landmark::Order),
    ("returns", Landmark::Returns),
    ("rollup", Landmark::Grouping),
    ("select", Landmark::Query),
    ("set", Landmark::Set),
    ("sets", Landmark::Grouping),
    ("similar", Landmark::Expression),
    ("some", Landmark::Expression),
    ("table", Landmark::Query),
    ("then", Landmark::Expression),
    ("to", Landmark::Expression),
    ("true", Landmark::Boolean),
    ("uescape", Landmark::Uescape),
    ("union", Landmark::SetOperation),
    ("using", Landmark::Expression),
    ("values", Landmark::Values),
    ("variadic", Landmark::Expression),
    ("when", Landmark::Expression),
    ("where", Landmark::Expression),
    ("with", Landmark::Query),
]);

impl Landmark {
    /// What a word is, by its [`super::hash::head`] and its length.
    #[inline]
    pub(super) fn of(first: u64, length: usize) -> Self {
        const INTERSECT: u64 = known(b"intersect");
        const RETURNING: u64 = known(b"returning");
        match (length, first) {
            (0..=8, _) => SHORT.get(first).unwrap_or(Self::Operand),
            (9, INTERSECT) => Self::SetOperation,
            (9, RETURNING) => Self::Expression,
            _ => Self::Operand,
        }
    }

    /// Whether a word is `set_config`.
    #[inline]
    pub(super) fn is_set_config(first: u64, length: usize, word: &[u8]) -> bool {
        const SET_CONF: u64 = known(b"set_conf");
        length == 10 && first == SET_CONF && word.eq_ignore_ascii_case(b"set_config")
    }

    /// Whether NULL after it is a keyword of the clause, not a value.
    pub(super) fn keeps_null(self) -> bool {
        matches!(self, Self::Is | Self::Not | Self::Set | Self::On | Self::Returns)
    }

    /// Whether a `-` after it stands between two operands.
    pub(super) fn ends_operand(self) -> bool {
        matches!(self, Self::Operand | Self::Null | Self::Boolean | Self::Returns | Self::Grouping | Self::Uescape)
    }
}
