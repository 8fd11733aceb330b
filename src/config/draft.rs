//! A configuration in the making: values laid one source over the other, with their origins and all mistakes so far.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeValue;

use super::check;
use super::kind::Refusal;
use super::mistake::{Mistake, Mistakes, Origin, Problem};
use super::model::Config;
use super::schema::{Key, SECTIONS, Shape, Unwritten};
use super::value::{Raw, Sheet, Value, Values};
use super::{Loaded, Origins};

/// The table that a value belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Table {
    Database(String),
    Section(&'static str),
    /// By its place in the list.
    User(usize),
}

#[derive(Debug)]
pub(super) struct Draft {
    pub(super) sheet: Sheet,
    origins: BTreeMap<String, Origin>,
    mistakes: Vec<Mistake>,
    /// Tables with a mistake: what was meant by them is unknown, so nothing is concluded from them.
    unclear: BTreeSet<String>,
    /// How messages call the file.
    file: Option<String>,
    /// How messages call each user: `users.bob`, or `users[2]` before its name is known.
    users: Vec<String>,
}

impl Draft {
    pub(super) fn new(file: Option<&str>) -> Self {
        Self {
            sheet: Sheet::default(),
            origins: BTreeMap::new(),
            mistakes: Vec::new(),
            unclear: BTreeSet::new(),
            file: file.map(str::to_owned),
            users: Vec::new(),
        }
    }

    /// Lays a value over what earlier sources said, or notes that it was refused.
    pub(super) fn lay(&mut self, table: &Table, key: &'static Key, read: Result<Value, Refusal>, origin: Origin) {
        let path = format!("{}.{}", self.label(table), key.name);
        match read {
            Ok(value) => {
                self.values(table).set(key.name, value);
                self.origins.insert(path, origin);
            }
            Err(Refusal { found, expected, hint }) => {
                self.wrong(table, Mistake { origin, key: path, problem: Problem::BadValue { found, expected, hint } });
            }
        }
    }

    /// Notes a mistake inside a table.
    pub(super) fn wrong(&mut self, table: &Table, mistake: Mistake) {
        self.unclear.insert(self.label(table));
        self.mistakes.push(mistake);
    }

    /// Notes a mistake outside of any table; `meant` is the section that was probably meant.
    pub(super) fn astray(&mut self, meant: Option<&str>, mistake: Mistake) {
        self.unclear.extend(meant.map(str::to_owned));
        self.mistakes.push(mistake);
    }

    /// A further user; `name` is how messages call it.
    pub(super) fn add_user(&mut self, name: Option<&str>) -> Table {
        let place = self.users.len();
        self.users.push(name.map_or_else(|| format!("users[{}]", place + 1), |name| format!("users.{name}")));
        self.sheet.users.push(Values::default());
        Table::User(place)
    }

    pub(super) fn add_database(&mut self, name: &str) -> Table {
        self.sheet.databases.entry(name.to_owned()).or_default();
        Table::Database(name.to_owned())
    }

    /// The names of the users so far, with their tables.
    pub(super) fn user_names(&self) -> impl Iterator<Item = (Table, &str)> {
        self.sheet.users.iter().enumerate().filter_map(|(place, values)| match values.value("name") {
            Value::Text(name) => Some((Table::User(place), name.as_str())),
            _ => None,
        })
    }

    /// How messages and origins call a table.
    pub(super) fn label(&self, table: &Table) -> String {
        match table {
            Table::Database(name) => format!("databases.{name}"),
            Table::Section(path) => (*path).to_owned(),
            Table::User(place) => self.users.get(*place).cloned().unwrap_or_else(|| "users".to_owned()),
        }
    }

    pub(super) fn is_written(&self, path: &str) -> bool {
        self.origins.contains_key(path)
    }

    fn values(&mut self, table: &Table) -> &mut Values {
        match table {
            Table::Database(name) => self.sheet.databases.entry(name.clone()).or_default(),
            Table::Section(path) => self.sheet.section(path),
            Table::User(place) => {
                if self.sheet.users.len() <= *place {
                    self.sheet.users.resize_with(place + 1, Values::default);
                }
                &mut self.sheet.users[*place]
            }
        }
    }

    /// Fills in the defaults and judges the whole.
    pub(super) fn finish(mut self) -> Result<Loaded, Mistakes> {
        if self.mistakes.iter().any(|mistake| matches!(mistake.problem, Problem::Syntax(_))) {
            return Err(Mistakes { all: self.mistakes, rest: None });
        }
        self.name_users();
        add_defaults(&mut self.sheet);
        let config = Config::read(&self.sheet);
        let plain = !self.is_written("listen.tls.mode");
        let of_file = self.file.is_some();
        for check::Finding { keys, problem } in check::findings(&config, &self.sheet, &self.users, plain, of_file) {
            self.conclude(&keys, problem);
        }
        let loaded = Loaded { config, origins: Origins(self.origins) };
        match Mistakes::of(self.mistakes) {
            Some(mistakes) => Err(Mistakes { rest: Some(Box::new(loaded)), ..mistakes }),
            None => Ok(loaded),
        }
    }

    /// Notes what follows from several keys, unless one of them lies in a table that is unclear.
    /// It is shown at the first of them that somebody wrote, else where the table of the first begins.
    fn conclude(&mut self, keys: &[String], problem: Problem) {
        let table = |key: &String| key.rsplit_once('.').map_or_else(|| key.clone(), |(table, _)| table.to_owned());
        if keys.iter().any(|key| self.unclear.contains(key) || self.unclear.contains(&table(key))) {
            return;
        }
        let written = keys.iter().find_map(|key| self.origins.get(key)).cloned();
        let origin = written.unwrap_or_else(|| self.origin_of_table(&keys.first().map(table).unwrap_or_default()));
        self.mistakes.push(Mistake { origin, key: keys.first().cloned().unwrap_or_default(), problem });
    }

    /// Where the first key of a table was written; the file as a whole when none was.
    fn origin_of_table(&self, label: &str) -> Origin {
        let first = self.origins.iter().filter(|(path, _)| is_inside(path, label)).map(|(_, origin)| origin).min();
        let whole = || self.file.clone().map_or(Origin::Default, |name| Origin::File { name, line: 0 });
        first.cloned().unwrap_or_else(whole)
    }

    fn name_users(&mut self) {
        for place in 0..self.users.len() {
            let table = Table::User(place);
            if *self.values(&table).value("name") == Value::Absent {
                let key = format!("{}.name", self.label(&table));
                let origin = self.origin_of_table(&self.label(&table));
                if !self.unclear.contains(&self.label(&table)) {
                    let problem = Problem::Missing(r#"is needed, such as name = "app" or name = "*""#.to_owned());
                    self.wrong(&table, Mistake { origin, key, problem });
                }
                self.values(&table).set("name", Value::Text(String::new()));
            }
            self.call_by_name(place);
        }
    }

    /// A user that the environment has given another name is called by that from now on.
    fn call_by_name(&mut self, place: usize) {
        let before = self.label(&Table::User(place));
        let Value::Text(name) = self.values(&Table::User(place)).value("name") else { return };
        let now = format!("users.{name}");
        if name.is_empty() || now == before {
            return;
        }
        let keys: Vec<String> = self.origins.keys().filter(|path| is_inside(path, &before)).cloned().collect();
        for key in keys {
            if let (Some(origin), Some(key)) = (self.origins.remove(&key), key.strip_prefix(&before)) {
                self.origins.insert(format!("{now}{key}"), origin);
            }
        }
        if self.unclear.contains(&before) {
            self.unclear.insert(now.clone());
        }
        if let Some(label) = self.users.get_mut(place) {
            *label = now;
        }
    }
}

/// Whether this is a key of the table.
fn is_inside(path: &str, label: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(table, _)| table == label)
}

/// Gives every key of a single section that nobody wrote its default.
pub(super) fn add_defaults(sheet: &mut Sheet) {
    for section in SECTIONS.iter().filter(|section| section.shape == Shape::Single) {
        let values = sheet.section(section.path);
        for key in section.keys {
            if *values.value(key.name) == Value::Absent {
                values.set(key.name, default_of(key));
            }
        }
    }
}

/// The value that holds when nobody writes the key.
pub(super) fn default_of(key: &Key) -> Value {
    let Unwritten::Default(text) = key.default else { return Value::Absent };
    let raw = DeValue::parse(text).map(|value| Raw::from_toml(value.get_ref()));
    let value = raw.ok().and_then(|raw| key.kind.read(&raw).ok());
    value.unwrap_or_else(|| panic!("the default of {} is of its kind: {text}", key.name))
}
