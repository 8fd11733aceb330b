//! A configuration that can be replaced while the process runs.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::model::Config;
use super::schema::{Applies, SECTIONS, Section, Shape};
use super::value::{Sheet, Value, Values};

/// The configuration that holds now. Reading it is a few nanoseconds and never waits.
#[derive(Debug)]
pub struct Live {
    now: ArcSwap<Config>,
}

/// What differs between two configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the order of the reference.
    pub all: Vec<Change>,
}

/// One key that differs, or a database or user that came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `pool.size`, `users.bob.password`, or `users.bob` for a user that came or went.
    pub key: String,
    pub applies: Applies,
}

// === impl Live ===

impl Live {
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { now: ArcSwap::from_pointee(config) }
    }

    #[must_use]
    pub fn current(&self) -> Arc<Config> {
        self.now.load_full()
    }

    /// Puts `new` in force, but for the keys that need a restart: these keep their values, and are in the answer
    /// at every replacement until the process is started anew.
    pub fn replace(&self, new: &Config) -> Changes {
        let old = self.now.load();
        let changes = diff(&old, new);
        let next = if changes.needing_restart().next().is_none() { new.clone() } else { keep_fixed(&old, new) };
        self.now.store(Arc::new(next));
        changes
    }
}

/// What differs between two configurations.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Changes {
    let (old, new) = (old.write(), new.write());
    let mut changes = Changes::default();
    for section in SECTIONS {
        match section.shape {
            Shape::Single => {
                let pair = (old.sections.get(section.path), new.sections.get(section.path));
                let none = Values::default();
                changes.table(section, section.path, pair.0.unwrap_or(&none), pair.1.unwrap_or(&none));
            }
            Shape::Named => {
                let names: BTreeSet<&String> = old.databases.keys().chain(new.databases.keys()).collect();
                for name in names {
                    changes.entry(section, name, old.databases.get(name), new.databases.get(name));
                }
            }
            Shape::Listed => {
                let names: BTreeSet<&str> = names(&old).chain(names(&new)).collect();
                for name in names {
                    changes.entry(section, name, user(&old, name), user(&new, name));
                }
            }
        }
    }
    changes
}

/// `new` with the values of `old` for the keys that need a restart.
fn keep_fixed(old: &Config, new: &Config) -> Config {
    let (old, mut sheet) = (old.write(), new.write());
    for section in SECTIONS {
        for key in section.keys.iter().filter(|key| key.applies == Applies::AtStart) {
            let value = old.sections.get(section.path).map_or(Value::Absent, |values| values.value(key.name).clone());
            sheet.section(section.path).set(key.name, value);
        }
    }
    super::draft::add_defaults(&mut sheet);
    Config::read(&sheet)
}

fn names(sheet: &Sheet) -> impl Iterator<Item = &str> {
    sheet.users.iter().filter_map(|values| match values.value("name") {
        Value::Text(name) => Some(name.as_str()),
        _ => None,
    })
}

fn user<'a>(sheet: &'a Sheet, name: &str) -> Option<&'a Values> {
    sheet.users.iter().find(|values| matches!(values.value("name"), Value::Text(text) if text == name))
}

// === impl Changes ===

impl Changes {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The keys that take effect only at the next start.
    pub fn needing_restart(&self) -> impl Iterator<Item = &str> {
        self.all.iter().filter(|change| change.applies == Applies::AtStart).map(|change| change.key.as_str())
    }

    /// Whether a key changed, or any key below a section.
    #[must_use]
    pub fn touch(&self, path: &str) -> bool {
        let below = |key: &str| key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.all.iter().any(|change| below(&change.key))
    }

    fn table(&mut self, section: &'static Section, label: &str, old: &Values, new: &Values) {
        for key in section.all_keys().filter(|key| old.value(key.name) != new.value(key.name)) {
            self.all.push(Change { key: format!("{label}.{}", key.name), applies: key.applies });
        }
    }

    fn entry(&mut self, section: &'static Section, name: &str, old: Option<&Values>, new: Option<&Values>) {
        let key = format!("{}.{name}", section.path);
        match (old, new) {
            (Some(old), Some(new)) => self.table(section, &key, old, new),
            _ => self.all.push(Change { key, applies: Applies::AtOnce }),
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, change) in self.all.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            let note = match change.applies {
                Applies::AtOnce => "",
                Applies::AtLogin => " (for clients that log in from now on)",
                Applies::AtStart => " (at the next start)",
            };
            write!(f, "{separator}{}{note}", change.key)?;
        }
        Ok(())
    }
}
