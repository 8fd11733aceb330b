//! Reads a TOML file into a draft, key by key, so that every mistake is found with its line.

use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draft::{Draft, Table};
use super::mistake::{Mistake, Origin, Problem, nearest};
use super::schema::{self, SECTIONS, Section, Shape};
use super::value::Raw;

/// Lays the values of a file. After a syntax error nothing else of it is judged.
pub(super) fn lay(draft: &mut Draft, name: &str, text: &str) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut walk = Walk { draft, name, ends: memchr::memchr_iter(b'\n', text.as_bytes()).collect() };
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let origin = walk.at(&span);
        let place = text.get(span.clone()).filter(|_| error.message().starts_with("duplicate"));
        let problem = Problem::Syntax(match place {
            Some(key) => format!("{} `{}`", error.message(), key.trim()),
            None => without_quotes(text, span.start).unwrap_or_else(|| error.message().to_owned()),
        });
        walk.draft.astray(None, Mistake { origin, key: String::new(), problem });
    }
    if errors.is_empty() {
        walk.root(document.get_ref());
    }
}

/// What is wrong with a line, if a word stands there where TOML wants quotes around it. Passwords are not shown.
fn without_quotes(text: &str, at: usize) -> Option<String> {
    let (before, behind) = (text.get(..at)?, text.get(at..)?);
    let line = before.rsplit('\n').next()?.to_owned() + behind.lines().next()?;
    let (key, value) = line.split('#').next()?.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let is_word = value.chars().all(|c| c.is_alphanumeric() || "-_.:/*@".contains(c)) && !value.is_empty();
    let is_text = is_word && toml::Value::from_str(value).is_err();
    let shown = if key.ends_with("password") { "…" } else { value };
    is_text.then(|| format!("text is written in quotes: {key} = \"{shown}\""))
}

struct Walk<'a> {
    draft: &'a mut Draft,
    name: &'a str,
    /// Where the lines of the text end.
    ends: Vec<usize>,
}

impl Walk<'_> {
    fn root(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref();
            match schema::section(name) {
                Some(section) => self.enter(section, &key.span(), value),
                None => self.unknown_section(name, &key.span(), value),
            }
        }
    }

    fn enter(&mut self, section: &'static Section, span: &Range<usize>, value: &Spanned<DeValue<'_>>) {
        match (section.shape, value.get_ref()) {
            (Shape::Single, DeValue::Table(table)) => self.keys(&Table::Section(section.path), section, table),
            (Shape::Named, DeValue::Table(table)) => self.named(section, table),
            (Shape::Listed, DeValue::Array(items)) => {
                for item in items {
                    self.listed(section, item);
                }
            }
            (_, value) => self.not_a_section(section, section.path.to_owned(), span, value),
        }
    }

    fn named(&mut self, section: &'static Section, tables: &DeTable<'_>) {
        for (name, value) in tables {
            match value.get_ref() {
                DeValue::Table(table) => {
                    let database = self.draft.add_database(name.get_ref());
                    self.keys(&database, section, table);
                }
                other => {
                    let path = format!("{}.{}", section.path, name.get_ref());
                    self.not_a_section(section, path, &name.span(), other);
                }
            }
        }
    }

    fn listed(&mut self, section: &'static Section, item: &Spanned<DeValue<'_>>) {
        match item.get_ref() {
            DeValue::Table(table) => {
                let user = self.draft.add_user(table.get("name").and_then(|name| name.get_ref().as_str()));
                self.keys(&user, section, table);
            }
            other => self.not_a_section(section, section.path.to_owned(), &item.span(), other),
        }
    }

    fn keys(&mut self, at: &Table, section: &'static Section, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = format!("{}.{}", section.path, name.get_ref());
            if let Some(key) = section.key(name.get_ref()) {
                let origin = self.at(&name.span());
                self.draft.lay(at, key, key.kind.read(&Raw::from_toml(value.get_ref())), origin);
            } else if let Some(inside) = schema::section(&path).filter(|_| section.shape == Shape::Single) {
                self.enter(inside, &name.span(), value);
            } else {
                self.unknown_key(at, section, name, value.get_ref());
            }
        }
    }

    fn unknown_key(&mut self, at: &Table, section: &Section, name: &Spanned<impl AsRef<str>>, value: &DeValue<'_>) {
        let word = name.get_ref().as_ref();
        let inside: Vec<&str> = schema::below(section.path).filter_map(|s| s.path.rsplit('.').next()).collect();
        let problem = if let (true, Some(meant)) = (value.is_table(), nearest(word, inside.iter().copied())) {
            Problem::Unknown {
                what: "section",
                nearest: Some(format!("[{}.{meant}]", section.path)),
                known: inside.into_iter().map(str::to_owned).collect(),
            }
        } else {
            let names: Vec<&str> = section.all_keys().map(|key| key.name).collect();
            let near = || nearest(word, names.iter().copied()).map(|name| format!("{name:?}"));
            Problem::Unknown {
                what: "key",
                nearest: elsewhere(word).or_else(near),
                known: names.iter().map(|name| (*name).to_owned()).collect(),
            }
        };
        let key = format!("{}.{word}", self.draft.label(at));
        let origin = self.at(&name.span());
        self.draft.wrong(at, Mistake { origin, key, problem });
    }

    fn unknown_section(&mut self, name: &str, span: &Range<usize>, value: &DeValueSpan<'_>) {
        let paths = || SECTIONS.iter().map(|section| section.path);
        let (what, meant) = match value.get_ref() {
            DeValue::Array(_) | DeValue::Table(_) => ("section", None),
            _ => ("key", elsewhere(name)),
        };
        let near = nearest(name, paths()).and_then(schema::section);
        let problem = Problem::Unknown {
            what,
            nearest: meant.or_else(|| near.map(Section::header)),
            known: SECTIONS.iter().map(Section::header).collect(),
        };
        let origin = self.at(span);
        self.draft.astray(near.map(|section| section.path), Mistake { origin, key: name.to_owned(), problem });
    }

    fn not_a_section(&mut self, section: &Section, key: String, span: &Range<usize>, value: &DeValue<'_>) {
        let problem = Problem::BadValue {
            found: match value {
                DeValue::Table(_) => format!("[{key}]"),
                other => Raw::from_toml(other).shape().to_owned(),
            },
            expected: format!("a section {}", section.header()),
            hint: None,
        };
        let origin = self.at(span);
        self.draft.astray(Some(section.path), Mistake { origin, key, problem });
    }

    fn at(&self, span: &Range<usize>) -> Origin {
        Origin::File { name: self.name.to_owned(), line: 1 + self.ends.partition_point(|end| *end < span.start) }
    }
}

type DeValueSpan<'i> = Spanned<DeValue<'i>>;

/// The sections that have a key of this name, as a hint.
fn elsewhere(word: &str) -> Option<String> {
    let has = |section: &&Section| section.keys.iter().any(|key| key.name == word);
    let headers: Vec<String> = SECTIONS.iter().filter(has).map(Section::header).collect();
    (!headers.is_empty()).then(|| format!("{word:?} of {}", headers.join(" or ")))
}
