//! Values between the written text and the model: few shapes, so that every kind of key can share them.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::DeValue;

use super::model::Secret;

/// A value as somebody wrote it, before its key says what it must be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    Bool(bool),
    Integer(i64),
    List(Vec<Self>),
    /// What no key takes; holds its name with article.
    Other(&'static str),
    Text(String),
}

/// A value that its key accepts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Nobody set it, and it has no default.
    Absent,
    Bool(bool),
    Duration(Duration),
    List(Vec<String>),
    /// Counts, bytes, permission bits.
    Number(u64),
    /// The key's word for none: "off", "auto".
    Off,
    Secret(Secret),
    Text(String),
}

/// The values of one section, by key.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Values(pub(super) BTreeMap<&'static str, Value>);

/// The values of a whole configuration: what `form` turns into the model and back.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sheet {
    /// By path: `pool`, `listen.tls`.
    pub(super) sections: BTreeMap<&'static str, Values>,
    pub(super) databases: BTreeMap<String, Values>,
    pub(super) users: Vec<Values>,
}

// === impl Raw ===

impl Raw {
    pub(super) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::Array(items) => Self::List(items.iter().map(|item| Self::from_toml(item.get_ref())).collect()),
            DeValue::Boolean(yes) => Self::Bool(*yes),
            DeValue::Datetime(_) => Self::Other("a date or time"),
            DeValue::Float(_) => Self::Other("a fraction"),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Self::Other("a number out of range"), Self::Integer),
            DeValue::String(text) => Self::Text(text.clone().into_owned()),
            DeValue::Table(_) => Self::Other("a table"),
        }
    }

    /// How a message shows it.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Bool(yes) => yes.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::List(items) => format!("[{}]", items.iter().map(Self::show).collect::<Vec<_>>().join(", ")),
            Self::Other(what) => (*what).to_owned(),
            Self::Text(text) => quote(text),
        }
    }

    /// What it is, without what it says: for secrets.
    pub(super) fn shape(&self) -> &'static str {
        match self {
            Self::Bool(_) => "true or false",
            Self::Integer(_) => "a number",
            Self::List(_) => "a list",
            Self::Other(what) => what,
            Self::Text(text) if text.is_empty() => "an empty text",
            Self::Text(_) => "a text",
        }
    }
}

// === impl Values ===

impl Values {
    pub(super) fn value(&self, key: &str) -> &Value {
        self.0.get(key).unwrap_or(&Value::Absent)
    }

    pub(super) fn set(&mut self, key: &'static str, value: Value) {
        self.0.insert(key, value);
    }
}

// === impl Sheet ===

impl Sheet {
    pub(super) fn section(&mut self, path: &'static str) -> &mut Values {
        self.sections.entry(path).or_default()
    }
}

/// A TOML basic string, TOML 1.0 §String.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
