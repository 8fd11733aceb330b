//! What the console answers with: columns, rows and values, and how values are written in either format.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::time::{Duration, SystemTime};

use crate::wire::result::Field;

/// 2000-01-01, from which PostgreSQL counts, in seconds of Unix time.
const EPOCH: u64 = 946_684_800;

/// What a column of a report holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Type,
    /// Part of an answer that names no columns; the others are there for the asking.
    pub(super) shown: bool,
}

/// Types of PostgreSQL that the console answers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Float8,
    Int4,
    Int8,
    Text,
    Timestamptz,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Float(f64),
    Int(i64),
    Text(String),
    Time(SystemTime),
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heading {
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Type,
}

// === impl Column ===

impl Column {
    /// One that is part of every answer.
    #[must_use]
    pub(super) const fn new(name: &'static str, kind: Type) -> Self {
        Self { name, kind, shown: true }
    }

    /// One that has to be asked for.
    #[must_use]
    pub(super) const fn further(name: &'static str, kind: Type) -> Self {
        Self { name, kind, shown: false }
    }

    #[must_use]
    pub(super) fn heading(&self) -> Heading {
        Heading { name: Cow::Borrowed(self.name), kind: self.kind }
    }
}

// === impl Type ===

impl Type {
    #[must_use]
    pub(super) fn oid(self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Float8 => 701,
            Self::Int4 => 23,
            Self::Int8 => 20,
            Self::Text => 25,
            Self::Timestamptz => 1184,
        }
    }

    /// As PostgreSQL names it.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Float8 => "double precision",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Text => "text",
            Self::Timestamptz => "timestamp with time zone",
        }
    }

    fn size(self) -> i16 {
        match self {
            Self::Bool => 1,
            Self::Int4 => 4,
            Self::Float8 | Self::Int8 | Self::Timestamptz => 8,
            Self::Text => -1,
        }
    }

    /// The value that `text` means in a column of this type; `None` if it means none.
    #[must_use]
    pub(super) fn read(self, text: &str) -> Option<Value> {
        let trimmed = text.trim();
        match self {
            Self::Bool => match trimmed.to_ascii_lowercase().as_str() {
                "t" | "true" | "on" | "yes" | "1" => Some(Value::Bool(true)),
                "f" | "false" | "off" | "no" | "0" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Int4 | Self::Int8 => trimmed.parse().map(Value::Int).ok().or_else(|| float(trimmed)),
            // Times stand in milliseconds, and may be asked for with their unit.
            Self::Float8 => float(trimmed).or_else(|| humantime::parse_duration(trimmed).ok().map(Value::millis)),
            Self::Text => Some(Value::Text(text.to_owned())),
            Self::Timestamptz => {
                let plain = trimmed.strip_suffix("+00").unwrap_or(trimmed);
                humantime::parse_rfc3339_weak(plain).ok().map(Value::Time)
            }
        }
    }
}

fn float(text: &str) -> Option<Value> {
    text.parse().ok().filter(|number: &f64| !number.is_nan()).map(Value::Float)
}

// === impl Value ===

impl Value {
    #[must_use]
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    #[must_use]
    pub(super) fn count(count: u64) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    #[must_use]
    pub(super) fn size(count: usize) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Milliseconds, told apart to a microsecond.
    #[must_use]
    pub(super) fn millis(duration: Duration) -> Self {
        Self::Float((duration.as_secs_f64() * 1e6).round() / 1e3)
    }

    /// The order that `<` and ORDER BY follow; `None` where one is NULL, or they are of different types.
    #[must_use]
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        #[expect(clippy::cast_precision_loss, reason = "a fraction is compared with a count of any size")]
        let fraction = |number: i64| number as f64;
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Float(a), Self::Float(b)) => Some(a.total_cmp(b)),
            (Self::Float(a), Self::Int(b)) => Some(a.total_cmp(&fraction(*b))),
            (Self::Int(a), Self::Float(b)) => Some(fraction(*a).total_cmp(b)),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// The order of rows: NULL last, as PostgreSQL has it.
    #[must_use]
    pub(super) fn sort(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Greater,
            (_, Self::Null) => Ordering::Less,
            _ => self.compare(other).unwrap_or(Ordering::Equal),
        }
    }

    /// As PostgreSQL writes it in text; `None` is NULL.
    #[must_use]
    pub(super) fn to_text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(yes) => (if *yes { "t" } else { "f" }).to_owned(),
            Self::Float(number) => number.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Text(text) => text.replace('\0', " "),
            Self::Time(time) => {
                let written = humantime::format_rfc3339_micros(*time).to_string();
                format!("{}+00", written.trim_end_matches('Z').replace('T', " "))
            }
        })
    }

    /// As PostgreSQL writes it in the binary format of this type; `None` is NULL.
    #[must_use]
    pub(super) fn to_binary(&self, kind: Type) -> Option<Vec<u8>> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(yes) => vec![u8::from(*yes)],
            Self::Float(number) => number.to_be_bytes().to_vec(),
            Self::Int(number) if kind == Type::Int4 => i32::try_from(*number).unwrap_or(i32::MAX).to_be_bytes().into(),
            Self::Int(number) => number.to_be_bytes().to_vec(),
            Self::Text(text) => text.as_bytes().to_vec(),
            Self::Time(time) => {
                let since = |from: SystemTime, to: SystemTime| {
                    to.duration_since(from).ok().and_then(|gap| i64::try_from(gap.as_micros()).ok())
                };
                let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH);
                let micros = since(epoch, *time).or_else(|| since(*time, epoch).map(|before| -before)).unwrap_or(0);
                micros.to_be_bytes().to_vec()
            }
        })
    }
}

// === impl Heading ===

impl Heading {
    /// As RowDescription tells of it.
    #[must_use]
    pub(super) fn field(&self, binary: bool) -> Field<'_> {
        Field { name: &self.name, type_oid: self.kind.oid(), size: self.kind.size(), binary }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_postgresql_writes_them() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        assert_eq!(Value::Time(time).to_text().as_deref(), Some("2023-11-14 22:13:20.123456+00"));
        let binary = Value::Time(time).to_binary(Type::Timestamptz).expect("no NULL");
        assert_eq!(i64::from_be_bytes(binary.try_into().expect("8 bytes")), 753_315_200_123_456);
        assert_eq!(Type::Timestamptz.read("2023-11-14 22:13:20.123456+00"), Some(Value::Time(time)));
    }

    #[test]
    fn milliseconds_may_be_asked_for_with_a_unit() {
        assert_eq!(Type::Float8.read("1s"), Some(Value::Float(1000.0)));
        assert_eq!(Type::Float8.read("0.5"), Some(Value::Float(0.5)));
        assert_eq!(Type::Float8.read("soon"), None);
        assert_eq!(Value::millis(Duration::from_nanos(12_345_600)), Value::Float(12.346));
    }

    #[test]
    fn null_is_last_and_compares_with_nothing() {
        assert_eq!(Value::Null.compare(&Value::Int(1)), None);
        assert_eq!(Value::Null.sort(&Value::Int(1)), Ordering::Greater);
        assert_eq!(Value::Int(2).compare(&Value::Float(1.5)), Some(Ordering::Greater));
    }
}
