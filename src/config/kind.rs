//! Kinds of keys: what may be written, how it is read, and how it is shown again.

use std::net::SocketAddr;
use std::time::Duration;

use super::mistake::nearest;
use super::model::Secret;
use super::value::{Raw, Value, quote};

/// What may be written for a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// IP addresses with ports.
    Addresses,
    Bool,
    Count {
        least: u64,
        most: u64,
    },
    /// A count, or a word that stands for none.
    CountOr {
        word: &'static str,
        least: u64,
        most: u64,
    },
    Duration {
        least: Duration,
    },
    DurationOrOff {
        least: Duration,
    },
    /// What to log, as `tracing` reads it.
    Filter,
    /// Names, addresses or folders of unix sockets, each perhaps with a port.
    Hosts,
    /// Permission bits in octal.
    Mode,
    /// Names that may be qualified, perhaps none.
    Names,
    Path,
    /// `true`, `false` or a duration.
    Ping,
    Secret,
    Size {
        least: u64,
        most: u64,
    },
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
}

/// Why a value is not taken.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) found: String,
    pub(super) expected: String,
    pub(super) hint: Option<String>,
}

/// Longest duration: added to any instant it stays within what the clock can hold.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
/// PostgreSQL's units: powers of 1024.
const UNITS: &[(&str, u64)] = &[("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

impl Kind {
    /// What may be written, as a phrase that follows "expected".
    pub(super) fn expected(self) -> String {
        match self {
            Self::Addresses => {
                r#"an IP address and port such as "127.0.0.1:6432" or "[::]:6432", or a list of them"#.into()
            }
            Self::Bool => "true or false".into(),
            Self::Count { least, most } => format!("a whole number from {least} to {most}"),
            Self::CountOr { word, least, most } => format!("a whole number from {least} to {most}, or {word:?}"),
            Self::Duration { least } => format!(r#"a duration such as "30s"{}"#, at_least(least)),
            Self::DurationOrOff { least } => format!(r#"a duration such as "30s"{}, or "off""#, at_least(least)),
            Self::Filter => r#"a log filter such as "info" or "pgweir=debug,warn""#.into(),
            Self::Hosts => {
                r#"a host such as "db1", "db1:5433" or "/run/postgresql" (folder of a unix socket), or a list of them"#
                    .into()
            }
            Self::Mode => r#"permission bits in octal such as "0777""#.into(),
            Self::Names => r#"a list of names such as ["schema.name"], which may be empty"#.into(),
            Self::Path => "the path of a file or folder".into(),
            Self::Ping => r#"true, false or a duration such as "30s""#.into(),
            Self::Secret => "a password or a stored secret as text".into(),
            Self::Size { least, most } => {
                format!(
                    r#"a size from {} to {}, such as "64KB" or a number of bytes"#,
                    show_size(least),
                    show_size(most)
                )
            }
            Self::Text => "a text that is not empty".into(),
            Self::Words(words) => {
                format!("one of {}", words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Reads what was written.
    pub(super) fn read(self, raw: &Raw) -> Result<Value, Refusal> {
        self.accept(raw).ok_or_else(|| Refusal {
            found: if self == Self::Secret { raw.shape().to_owned() } else { raw.show() },
            expected: self.expected(),
            hint: self.hint(raw),
        })
    }

    /// Reads the text of a variable or of a URL's parameter, where everything is text.
    pub(super) fn read_text(self, text: &str) -> Result<Value, Refusal> {
        let number = || text.parse().map(Raw::Integer).ok();
        let flag = || text.parse().map(Raw::Bool).ok();
        let raw = match self {
            Self::Addresses | Self::Hosts => {
                Some(Raw::List(text.split(',').map(|item| Raw::Text(item.trim().to_owned())).collect()))
            }
            Self::Names => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(Raw::List(items.map(|item| Raw::Text(item.to_owned())).collect()))
            }
            Self::Bool => flag(),
            Self::Count { .. } | Self::CountOr { .. } | Self::Duration { .. } | Self::Size { .. } => number(),
            Self::DurationOrOff { .. } | Self::Ping => flag().or_else(number),
            Self::Filter | Self::Mode | Self::Path | Self::Secret | Self::Text | Self::Words(_) => None,
        };
        self.read(&raw.unwrap_or_else(|| Raw::Text(text.to_owned())))
    }

    /// How a value of this kind is written in TOML; secrets are not shown. Absent ones give an empty text.
    pub(super) fn show(self, value: &Value) -> String {
        match value {
            Value::Absent => String::new(),
            Value::Bool(yes) => yes.to_string(),
            Value::Duration(duration) => quote(&humantime::format_duration(*duration).to_string()),
            Value::List(items) => match items.as_slice() {
                [one] if self != Self::Names => quote(one),
                many => format!("[{}]", many.iter().map(|item| quote(item)).collect::<Vec<_>>().join(", ")),
            },
            Value::Number(number) => match self {
                Self::Mode => format!("\"{number:04o}\""),
                Self::Size { .. } => quote(&show_size(*number)),
                _ => number.to_string(),
            },
            Value::Off => match self {
                Self::CountOr { word, .. } => quote(word),
                _ => quote("off"),
            },
            Value::Secret(_) => quote("…"),
            Value::Text(text) => quote(text),
        }
    }

    fn accept(self, raw: &Raw) -> Option<Value> {
        match (self, raw) {
            (Self::Addresses, raw) => list(raw, |item| read_address(item).map(|address| address.to_string())),
            (Self::Bool, Raw::Bool(yes)) => Some(Value::Bool(*yes)),
            (Self::Count { least, most } | Self::CountOr { least, most, .. }, Raw::Integer(number)) => {
                u64::try_from(*number).ok().filter(|n| (least..=most).contains(n)).map(Value::Number)
            }
            (Self::CountOr { word, .. }, Raw::Text(text)) => (text == word).then_some(Value::Off),
            (Self::DurationOrOff { .. }, Raw::Bool(false)) => Some(Value::Off),
            (Self::DurationOrOff { .. }, Raw::Text(text)) if text == "off" => Some(Value::Off),
            (Self::Duration { least } | Self::DurationOrOff { least }, Raw::Text(text)) => {
                read_duration(text).filter(|duration| *duration >= least).map(Value::Duration)
            }
            (Self::Filter, Raw::Text(text)) => (wrong_directive(text).is_none()).then(|| Value::Text(text.clone())),
            (Self::Hosts, raw) => list(raw, |item| split_host(item).map(|_| item.to_owned())),
            (Self::Mode, Raw::Text(text)) => {
                let octal = (3..=5).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
                let bits = u64::from_str_radix(text, 8).ok()?;
                (octal && bits <= 0o777).then_some(Value::Number(bits))
            }
            (Self::Names, Raw::List(items)) if items.is_empty() => Some(Value::List(Vec::new())),
            (Self::Names, raw) => list(raw, |item| is_name(item).then(|| item.to_owned())),
            (Self::Ping, Raw::Bool(yes)) => Some(Value::Bool(*yes)),
            (Self::Ping, Raw::Text(text)) => read_duration(text).filter(|d| !d.is_zero()).map(Value::Duration),
            (Self::Secret, Raw::Text(text)) => Some(Value::Secret(Secret::new(text.clone()))),
            (Self::Size { least, most }, raw) => {
                read_size(raw).filter(|bytes| (least..=most).contains(bytes)).map(Value::Number)
            }
            (Self::Path | Self::Text, Raw::Text(text)) if !text.is_empty() && !text.contains('\0') => {
                Some(Value::Text(text.clone()))
            }
            (Self::Words(words), Raw::Text(text)) => words.contains(&text.as_str()).then(|| Value::Text(text.clone())),
            _ => None,
        }
    }

    fn hint(self, raw: &Raw) -> Option<String> {
        match (self, raw) {
            (Self::DurationOrOff { .. }, Raw::Integer(0)) => Some(r#"write "off""#.into()),
            (Self::DurationOrOff { .. }, Raw::Text(text)) if read_duration(text) == Some(Duration::ZERO) => {
                Some(r#"write "off""#.into())
            }
            (Self::Duration { .. } | Self::DurationOrOff { .. } | Self::Ping, Raw::Integer(number)) if *number > 0 => {
                Some(format!("write \"{number}s\""))
            }
            (Self::Count { .. } | Self::CountOr { .. }, Raw::Text(text)) => {
                text.parse::<u64>().is_ok().then(|| format!("write {text} without quotes"))
            }
            (Self::Bool, Raw::Text(text)) => {
                text.parse::<bool>().is_ok().then(|| format!("write {text} without quotes"))
            }
            (Self::Mode, Raw::Integer(number)) => Some(format!("write \"{number:04}\"")),
            (Self::Filter, Raw::Text(text)) => {
                let (part, meant) = wrong_directive(text)?;
                let part = quote(part);
                Some(
                    meant
                        .map_or_else(|| format!("{part} is not a level"), |level| format!("{part} may mean {level:?}")),
                )
            }
            (Self::Addresses, Raw::Text(text)) => {
                let host = text.rsplit_once(':').map_or(text.as_str(), |(host, _)| host);
                (host == "localhost").then(|| format!("write \"{}\"", text.replacen(host, "127.0.0.1", 1)))
            }
            (Self::Words(words), Raw::Text(text)) => {
                nearest(text, words.iter().copied()).map(|word| format!("did you mean {word:?}?"))
            }
            _ => None,
        }
    }
}

fn at_least(least: Duration) -> String {
    if least.is_zero() { String::new() } else { format!(" of at least {}", humantime::format_duration(least)) }
}

fn list(raw: &Raw, read: impl Fn(&str) -> Option<String>) -> Option<Value> {
    let items = match raw {
        Raw::Text(text) => vec![read(text)?],
        Raw::List(items) if !items.is_empty() => {
            let texts = items.iter().map(|item| if let Raw::Text(text) = item { read(text) } else { None });
            texts.collect::<Option<Vec<_>>>()?
        }
        _ => return None,
    };
    Some(Value::List(items))
}

fn read_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|duration| *duration <= LONGEST)
}

fn read_size(raw: &Raw) -> Option<u64> {
    match raw {
        Raw::Integer(bytes) => u64::try_from(*bytes).ok(),
        Raw::Text(text) => {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            let (number, unit) = text.split_at(digits);
            let unit = unit.trim().to_ascii_uppercase().replace("IB", "B");
            let factor = UNITS.iter().find(|(name, _)| *name == unit)?.1;
            number.parse::<u64>().ok()?.checked_mul(factor)
        }
        _ => None,
    }
}

fn show_size(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    unit.map_or_else(|| format!("{bytes}B"), |(name, factor)| format!("{}{name}", bytes / factor))
}

/// An address with a port; `None` when it is not one.
pub(super) fn read_address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

/// `name` or `schema.name`, as PostgreSQL keeps them: no quotes, nothing between.
fn is_name(text: &str) -> bool {
    let part =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_control() || matches!(c, '"' | '(' | ','));
    match text.split_once('.') {
        Some((schema, name)) => part(schema) && part(name) && !name.contains('.'),
        None => part(text),
    }
}

/// A host and the port written behind it: `db1`, `db1:5433`, `::1`, `[::1]:5433`, `/run/postgresql`.
pub(super) fn split_host(text: &str) -> Option<(&str, Option<u16>)> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).map(Some);
    if text.is_empty() || text.chars().any(|c| c.is_control()) {
        return None;
    }
    if text.starts_with('/') {
        return Some((text, None));
    }
    if text.contains([' ', '/', '@', ',']) {
        return None;
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, behind) = rest.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        return match behind.strip_prefix(':') {
            Some(digits) => Some((address, port(digits)?)),
            None => behind.is_empty().then_some((address, None)),
        };
    }
    match text.split_once(':') {
        None => Some((text, None)),
        Some(("", _)) => text.parse::<std::net::Ipv6Addr>().ok().map(|_| (text, None)),
        Some((_, rest)) if rest.contains(':') => text.parse::<std::net::Ipv6Addr>().ok().map(|_| (text, None)),
        Some((host, digits)) => Some((host, port(digits)?)),
    }
}

/// The first directive of a filter that cannot be meant, and the level that may be meant by it.
/// A lone word that is no level would silently become the name of a target.
fn wrong_directive(filter: &str) -> Option<(&str, Option<&'static str>)> {
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let wrong = filter.split(',').map(str::trim).find_map(|directive| {
        let (target, level) = directive.rsplit_once('=').map_or(("", directive), |(target, level)| (target, level));
        let is_target = directive.starts_with("pgweir") || directive.contains("::");
        let fine = is_level(level) || (target.is_empty() && is_target && !directive.contains('='));
        (!fine).then_some(level)
    })?;
    Some((wrong, nearest(wrong, LEVELS.iter().copied())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Kind = Kind::Size { least: 1, most: 1 << 40 };

    fn size(text: &str) -> Option<Value> {
        SIZE.read(&Raw::Text(text.into())).ok()
    }

    #[test]
    fn sizes_are_powers_of_1024_in_any_case() {
        for text in ["64KB", "64kB", "64 kib", "65536B"] {
            assert_eq!(size(text), Some(Value::Number(65536)), "{text}");
        }
        assert_eq!(SIZE.read(&Raw::Integer(65536)), Ok(Value::Number(65536)));
        assert_eq!(SIZE.show(&Value::Number(65536)), "\"64KB\"");
        assert_eq!(SIZE.show(&Value::Number(10_000)), "\"10000B\"");
        for text in ["", "KB", "64", "64XB", "-1KB", "99999999999999999999GB", "18446744073709551615GB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn hosts_may_carry_a_port_and_be_ipv6() {
        assert_eq!(split_host("db1"), Some(("db1", None)));
        assert_eq!(split_host("db1:5433"), Some(("db1", Some(5433))));
        assert_eq!(split_host("::1"), Some(("::1", None)));
        assert_eq!(split_host("[::1]:5433"), Some(("::1", Some(5433))));
        assert_eq!(split_host("[fe80::1]"), Some(("fe80::1", None)));
        assert_eq!(split_host("/run/postgresql"), Some(("/run/postgresql", None)));
        for bad in ["", "db1:", "db1:0", "db1:70000", "a b", "[::1", "[x]:1", "db:1:2", "postgres://db", "a,b"] {
            assert_eq!(split_host(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_may_be_qualified_and_may_be_none() {
        for (text, list) in [("", &[][..]), ("audit.begin", &["audit.begin"]), ("a, b.c", &["a", "b.c"])] {
            let list: Vec<String> = list.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(Kind::Names.read_text(text), Ok(Value::List(list)), "{text}");
        }
        assert_eq!(Kind::Names.show(&Value::List(vec!["a.b".into()])), r#"["a.b"]"#);
        for bad in ["a.", ".b", "a.b.c", "f()", "\"A\""] {
            assert!(Kind::Names.read_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn permission_bits_are_octal_text() {
        assert_eq!(Kind::Mode.read_text("0770"), Ok(Value::Number(0o770)));
        assert_eq!(Kind::Mode.show(&Value::Number(0o770)), "\"0770\"");
        for bad in ["0999", "7", "17777", "rwx"] {
            assert!(Kind::Mode.read_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn off_is_a_word_or_false_and_never_zero() {
        let kind = Kind::DurationOrOff { least: Duration::from_millis(1) };
        assert_eq!(kind.read(&Raw::Bool(false)), Ok(Value::Off));
        assert_eq!(kind.read_text("off"), Ok(Value::Off));
        assert_eq!(kind.read_text("false"), Ok(Value::Off));
        assert_eq!(kind.read_text("1h 30m"), Ok(Value::Duration(Duration::from_secs(5400))));
        assert_eq!(kind.read_text("0s").unwrap_err().hint.as_deref(), Some(r#"write "off""#));
        assert!(kind.read_text("10000000years").is_err());
        assert!(kind.read(&Raw::Bool(true)).is_err());
    }

    #[test]
    fn a_filter_with_a_mistyped_level_is_refused() {
        for good in ["info", "pgweir=debug,warn", "pgweir::pool", "pgweir[session]=trace", "WARN"] {
            assert!(Kind::Filter.read_text(good).is_ok(), "{good}");
        }
        for bad in ["inof", "pgweir=loud", "", "info,,warn"] {
            assert!(Kind::Filter.read_text(bad).is_err(), "{bad}");
        }
    }
}
