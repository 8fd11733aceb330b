//! Lays variables over a draft: `PGWEIR_POOL__SIZE` is `size` of `[pool]`, `PGWEIR_USERS__bob__PASSWORD` is
//! `password` of the user bob.

use super::draft::{Draft, Table};
use super::mistake::{Mistake, Origin, Problem, nearest};
use super::schema::{self, SECTIONS, Section, Shape};

pub(super) const PREFIX: &str = "PGWEIR_";

/// Lays all variables that name a key; others that look as if they should are mistakes.
pub(super) fn lay(draft: &mut Draft, env: &[(String, String)]) {
    for (variable, text) in env {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        let origin = Origin::Environment(variable.clone());
        let Some((section, name, key)) = split(rest) else {
            if is_meant(rest, text) {
                unknown(draft, variable, variables());
            }
            continue;
        };
        let Some(key) = section.key(&key) else {
            let of_table = section.all_keys().map(|key| of_named(section, name, key.name));
            match section.shape {
                Shape::Single => unknown(draft, variable, variables()),
                Shape::Listed | Shape::Named => unknown(draft, variable, of_table),
            }
            continue;
        };
        let table = table(draft, section, name, &origin);
        draft.lay(&table, key, key.kind.read_text(text), origin);
    }
}

/// The variable of a key in a single section.
pub(super) fn variable(section: &Section, key: &str) -> String {
    format!("{PREFIX}{}__{}", section.path.replace('.', "__"), key).to_uppercase()
}

/// The variable of a key of one database or user.
fn of_named(section: &Section, name: &str, key: &str) -> String {
    format!("{PREFIX}{}__{name}__{}", section.path.to_uppercase(), key.to_uppercase())
}

/// Section, name (of a database or user) and key; names keep their case and may hold `__`.
fn split(rest: &str) -> Option<(&'static Section, &str, String)> {
    let (path, key) = rest.rsplit_once("__")?;
    let key = key.to_lowercase();
    if let Some(section) = schema::section(&path.to_lowercase().replace("__", ".")) {
        return (section.shape == Shape::Single).then_some((section, "", key));
    }
    let (head, name) = path.split_once("__")?;
    let section = schema::section(&head.to_lowercase()).filter(|section| section.shape != Shape::Single)?;
    (!name.is_empty()).then_some((section, name, key))
}

/// Whether an unknown variable is a mistake. Without `__` it is one only where a key was written with single
/// underscores; such names also come from container systems, with an address as their value.
fn is_meant(rest: &str, text: &str) -> bool {
    let single = |name: &str| name.replace("__", "_");
    let is_key = || variables().any(|known| single(known.trim_start_matches(PREFIX)) == rest.to_uppercase());
    rest.contains("__") || (is_key() && !text.starts_with("tcp://"))
}

/// The database or user that a variable names; it comes into being when no earlier source has it.
/// Another letter case does, if only one has that: many systems know only upper-case variables.
fn table(draft: &mut Draft, section: &'static Section, name: &str, origin: &Origin) -> Table {
    let same = |other: &str| other.eq_ignore_ascii_case(name);
    match section.shape {
        Shape::Single => Table::Section(section.path),
        Shape::Named => {
            let exact = draft.sheet.databases.contains_key(name);
            let alike: Vec<String> = draft.sheet.databases.keys().filter(|other| same(other)).cloned().collect();
            match alike.as_slice() {
                [only] if !exact => Table::Database(only.clone()),
                _ => draft.add_database(name),
            }
        }
        Shape::Listed => {
            let exact = draft.user_names().find(|(_, other)| *other == name).map(|(table, _)| table);
            let mut alike = draft.user_names().filter(|(_, other)| same(other)).map(|(table, _)| table);
            let only = alike.next().filter(|_| alike.next().is_none());
            drop(alike);
            exact.or(only).unwrap_or_else(|| {
                let table = draft.add_user(Some(name));
                if let Some(key) = section.key("name") {
                    draft.lay(&table, key, key.kind.read_text(name), origin.clone());
                }
                table
            })
        }
    }
}

fn unknown(draft: &mut Draft, variable: &str, candidates: impl Iterator<Item = String>) {
    let names: Vec<String> = candidates.collect();
    let near = nearest(variable, names.iter().map(String::as_str)).map(str::to_owned);
    let known = vec![format!("{PREFIX}SECTION__KEY, such as PGWEIR_POOL__SIZE")];
    let meant = near.as_deref().and_then(|near| near.strip_prefix(PREFIX)).and_then(|rest| split(rest));
    let meant = meant.map(|(section, ..)| section.path);
    let problem = Problem::Unknown { what: "variable", nearest: near, known };
    let origin = Origin::Environment(variable.to_owned());
    draft.astray(meant, Mistake { origin, key: String::new(), problem });
}

fn variables() -> impl Iterator<Item = String> {
    let single = SECTIONS.iter().filter(|section| section.shape == Shape::Single);
    single.flat_map(|section| section.keys.iter().map(move |key| variable(section, key.name)))
}
