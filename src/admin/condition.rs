//! WHERE: which rows of a report are answered.

use std::cmp::Ordering;

use super::table::{Column, Type, Value};
use super::tokens::INVALID_TEXT;
use crate::wire::build::Fault;

/// What a row must fulfil. As in SQL, a comparison with NULL is neither true nor false.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Compare { column: usize, comparison: Comparison, with: Operand },
    In { column: usize, list: Vec<Operand> },
    IsNull { column: usize },
    Like { column: usize, pattern: Operand, any_case: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Different,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a column is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// Another column of the same row, by its place.
    Column(usize),
    Value(Value),
    /// `$1` is 0; its type is that of what it is compared with.
    Parameter(usize, Type),
}

// === impl Comparison ===

impl Comparison {
    /// By its signs.
    pub(super) fn read(signs: &str) -> Option<Self> {
        Some(match signs {
            "=" => Self::Equal,
            "<>" | "!=" => Self::Different,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Different => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

// === impl Operand ===

impl Operand {
    /// The value, with what is bound to parameters; `None` there is NULL, and so is a column outside of rows.
    ///
    /// # Errors
    /// A text that means no value of the type.
    pub(super) fn bound(&self, bound: &[Option<String>]) -> Result<Value, Fault> {
        match self {
            Self::Column(_) => Ok(Value::Null),
            Self::Value(value) => Ok(value.clone()),
            Self::Parameter(index, kind) => match bound.get(*index).and_then(Option::as_deref) {
                Some(text) => kind.read(text).ok_or_else(|| no_such_value(*kind, text)),
                None => Ok(Value::Null),
            },
        }
    }

    fn bind(&self, bound: &[Option<String>]) -> Result<Self, Fault> {
        match self {
            Self::Column(place) => Ok(Self::Column(*place)),
            _ => self.bound(bound).map(Self::Value),
        }
    }

    fn of<'a>(&'a self, row: &'a [Value]) -> &'a Value {
        match self {
            Self::Column(place) => row.get(*place).unwrap_or(&Value::Null),
            Self::Value(value) => value,
            Self::Parameter(..) => &Value::Null,
        }
    }
}

/// A text that no value of the type is written as.
pub(super) fn no_such_value(kind: Type, text: &str) -> Fault {
    let fault = Fault::error(INVALID_TEXT, format!("invalid input for type {}: \"{text}\"", kind.name()));
    match kind {
        Type::Float8 => fault.hint("Times are in milliseconds, or have a unit: 250 or '250ms'."),
        Type::Timestamptz => fault.hint("A time is written '2026-01-31 12:00:00' and is in UTC."),
        _ => fault,
    }
}

// === impl Condition ===

impl Condition {
    /// The same with values in place of parameters.
    ///
    /// # Errors
    /// A text that means no value of the column's type.
    pub(super) fn bind(&self, bound: &[Option<String>]) -> Result<Self, Fault> {
        let each = |parts: &[Self]| parts.iter().map(|part| part.bind(bound)).collect::<Result<Vec<_>, _>>();
        Ok(match self {
            Self::All(parts) => Self::All(each(parts)?),
            Self::Any(parts) => Self::Any(each(parts)?),
            Self::Not(part) => Self::Not(Box::new(part.bind(bound)?)),
            Self::Compare { column, comparison, with } => {
                Self::Compare { column: *column, comparison: *comparison, with: with.bind(bound)? }
            }
            Self::In { column, list } => {
                let list = list.iter().map(|operand| operand.bind(bound)).collect::<Result<Vec<_>, _>>()?;
                Self::In { column: *column, list }
            }
            Self::IsNull { column } => Self::IsNull { column: *column },
            Self::Like { column, pattern, any_case } => {
                Self::Like { column: *column, pattern: pattern.bind(bound)?, any_case: *any_case }
            }
        })
    }

    /// Whether it is known to be true of a row.
    pub(super) fn holds(&self, row: &[Value]) -> bool {
        self.truth(row) == Some(true)
    }

    fn truth(&self, row: &[Value]) -> Option<bool> {
        let at = |column: &usize| row.get(*column).unwrap_or(&Value::Null);
        match self {
            Self::All(parts) => together(parts.iter().map(|part| part.truth(row)), false),
            Self::Any(parts) => together(parts.iter().map(|part| part.truth(row)), true),
            Self::Not(part) => part.truth(row).map(|truth| !truth),
            Self::Compare { column, comparison, with } => {
                at(column).compare(with.of(row)).map(|order| comparison.holds(order))
            }
            Self::In { column, list } => {
                let equal = |operand: &Operand| at(column).compare(operand.of(row)).map(Ordering::is_eq);
                together(list.iter().map(equal), true)
            }
            Self::IsNull { column } => Some(*at(column) == Value::Null),
            Self::Like { column, pattern, any_case } => match (at(column), pattern.of(row)) {
                (Value::Text(text), Value::Text(pattern)) if *any_case => {
                    Some(is_like(&text.to_lowercase(), &pattern.to_lowercase()))
                }
                (Value::Text(text), Value::Text(pattern)) => Some(is_like(text, pattern)),
                _ => None,
            },
        }
    }
}

/// One that is `decisive` decides; without it, one that is unknown leaves all unknown.
fn together(truths: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut all = Some(!decisive);
    for truth in truths {
        match truth {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => all = None,
        }
    }
    all
}

/// LIKE: `%` is anything, `_` one character, a backslash takes the next one as it is. Takes time that grows with the
/// product of the lengths, never more.
fn is_like(text: &str, pattern: &str) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum Part {
        Anything,
        One,
        Just(char),
    }
    let mut parts = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        parts.push(match character {
            '%' => Part::Anything,
            '_' => Part::One,
            '\\' => Part::Just(characters.next().unwrap_or('\\')),
            other => Part::Just(other),
        });
    }
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut part) = (0, 0);
    // Where the last `%` stands, and up to where it was taken to reach.
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match parts.get(part) {
            Some(Part::Anything) => {
                retry = Some((part + 1, at));
                part += 1;
            }
            Some(Part::One) => (at, part) = (at + 1, part + 1),
            Some(Part::Just(character)) if text.get(at) == Some(character) => (at, part) = (at + 1, part + 1),
            _ => {
                let Some((after, reached)) = retry else { return false };
                retry = Some((after, reached + 1));
                (at, part) = (reached + 1, after);
            }
        }
    }
    parts.iter().skip(part).all(|rest| *rest == Part::Anything)
}

/// The place of a column by its name.
pub(super) fn place(columns: &[Column], name: &str) -> Option<usize> {
    columns.iter().position(|column| column.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_matches_as_in_sql() {
        for (text, pattern, is) in [
            ("select 1", "select%", true),
            ("select 1", "%1", true),
            ("select 1", "s_lect _", true),
            ("select 1", "SELECT%", false),
            ("100%", "100\\%", true),
            ("1000", "100\\%", false),
            ("aXbXc", "a%b%c", true),
            ("", "%", true),
            ("", "_", false),
            ("aab", "%ab", true),
        ] {
            assert_eq!(is_like(text, pattern), is, "{text} LIKE {pattern}");
        }
    }

    #[test]
    fn what_is_unknown_is_neither_true_nor_false() {
        let row = [Value::Null, Value::Int(3)];
        let null = Condition::Compare { column: 0, comparison: Comparison::Equal, with: Operand::Value(Value::Int(1)) };
        let three = Condition::In { column: 1, list: vec![Operand::Value(Value::Int(3))] };
        assert!(!null.holds(&row) && !Condition::Not(Box::new(null.clone())).holds(&row));
        assert!(Condition::Any(vec![null.clone(), three.clone()]).holds(&row));
        assert!(!Condition::All(vec![null, three]).holds(&row));
        assert!(Condition::IsNull { column: 0 }.holds(&row));
    }
}
