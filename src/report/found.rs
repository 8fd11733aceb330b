//! What a running pgweir answered, as it came: columns by name, so that a newer one may tell more than is known here.

use std::time::SystemTime;

use serde_json::{Map, Value};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// One report's rows.
#[derive(Debug, Clone, Default)]
pub struct Records {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Bool(bool),
    Float(f64),
    Int(i64),
    Null,
    Text(String),
    Time(SystemTime),
}

/// A row whose values are asked for by name. What is absent or of another type is empty or zero.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    columns: &'a [String],
    cells: &'a [Cell],
}

/// All parts of a report.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub summary: Records,
    pub patterns: Records,
    pub slow: Records,
    pub repetitions: Records,
    /// Of what was slow.
    pub plans: Records,
    /// What a reader must know of the figures: sentences.
    pub notes: Vec<String>,
}

impl Records {
    /// # Errors
    /// A value that is not what its type says.
    pub fn read(rows: &[Row]) -> Result<Self, tokio_postgres::Error> {
        let columns = rows.first().map(Row::columns).unwrap_or_default();
        let names = columns.iter().map(|column| column.name().to_owned()).collect();
        let cells = |row: &Row| (0..row.len()).map(|place| cell(row, place)).collect::<Result<Vec<_>, _>>();
        Ok(Self { columns: names, rows: rows.iter().map(cells).collect::<Result<_, _>>()? })
    }

    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.rows.iter().map(|cells| Record { columns: &self.columns, cells })
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Keeps only these rows.
    pub fn keep(&mut self, wanted: impl Fn(Record<'_>) -> bool) {
        let Self { columns, rows } = self;
        rows.retain(|cells| wanted(Record { columns, cells }));
    }

    /// The first of those that agree in a column, with a further column `times` that counts them; `most` such.
    #[must_use]
    pub fn first_of_each(self, column: &str, most: usize) -> Self {
        let Self { mut columns, rows } = self;
        let place = columns.iter().position(|name| name == column);
        columns.push("times".to_owned());
        let mut kept: Vec<(Vec<Cell>, i64)> = Vec::new();
        for row in rows {
            let key = place.and_then(|place| row.get(place));
            let alike = kept.iter_mut().find(|(first, _)| place.and_then(|place| first.get(place)) == key);
            match alike {
                Some((_, times)) => *times += 1,
                None => kept.push((row, 1)),
            }
        }
        kept.truncate(most);
        let rows = kept.into_iter().map(|(mut row, times)| {
            row.push(Cell::Int(times));
            row
        });
        Self { columns, rows: rows.collect() }
    }

    /// Gives a column another value in each row, or adds it.
    pub fn put(&mut self, column: &str, value: impl Fn(Record<'_>) -> Cell) {
        let Self { columns, rows } = self;
        let known = columns.iter().position(|name| name == column);
        for cells in rows {
            let new = value(Record { columns, cells });
            match known.and_then(|place| cells.get_mut(place)) {
                Some(cell) => *cell = new,
                None => cells.push(new),
            }
        }
        if known.is_none() {
            columns.push(column.to_owned());
        }
    }

    /// A list of objects.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let object = |row: &Vec<Cell>| {
            let pairs = self.columns.iter().zip(row).map(|(name, cell)| (name.clone(), cell.to_json()));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        Value::Array(self.rows.iter().map(object).collect())
    }
}

fn cell(row: &Row, place: usize) -> Result<Cell, tokio_postgres::Error> {
    let kind = row.columns().get(place).map(|column| column.type_().clone()).unwrap_or(Type::TEXT);
    Ok(match kind {
        Type::BOOL => row.try_get::<_, Option<bool>>(place)?.map(Cell::Bool),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(place)?.map(Cell::Float),
        Type::INT8 => row.try_get::<_, Option<i64>>(place)?.map(Cell::Int),
        Type::INT4 => row.try_get::<_, Option<i32>>(place)?.map(|number| Cell::Int(number.into())),
        Type::TIMESTAMPTZ => row.try_get::<_, Option<SystemTime>>(place)?.map(Cell::Time),
        _ => row.try_get::<_, Option<String>>(place)?.map(Cell::Text),
    }
    .unwrap_or(Cell::Null))
}

impl Cell {
    /// As a table without types writes it; NULL is empty.
    #[must_use]
    pub fn plain(&self) -> String {
        match self {
            Self::Bool(yes) => yes.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Null => String::new(),
            Self::Text(text) => text.clone(),
            Self::Time(time) => humantime::format_rfc3339_millis(*time).to_string(),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Bool(yes) => Value::Bool(*yes),
            Self::Float(number) => serde_json::Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Self::Int(number) => Value::from(*number),
            Self::Null => Value::Null,
            Self::Text(text) => Value::from(text.as_str()),
            Self::Time(_) => Value::from(self.plain()),
        }
    }
}

impl<'a> Record<'a> {
    #[must_use]
    pub fn get(self, name: &str) -> &'a Cell {
        let place = self.columns.iter().position(|column| column == name);
        place.and_then(|place| self.cells.get(place)).unwrap_or(&Cell::Null)
    }

    #[must_use]
    pub fn count(self, name: &str) -> i64 {
        if let Cell::Int(count) = self.get(name) { *count } else { 0 }
    }

    #[must_use]
    pub fn float(self, name: &str) -> f64 {
        if let Cell::Float(number) = self.get(name) { *number } else { 0.0 }
    }

    #[must_use]
    pub fn text(self, name: &str) -> &'a str {
        if let Cell::Text(text) = self.get(name) { text } else { "" }
    }

    #[must_use]
    pub fn time(self, name: &str) -> Option<SystemTime> {
        if let Cell::Time(time) = self.get(name) { Some(*time) } else { None }
    }
}

#[cfg(test)]
impl Records {
    /// Made up, for tests.
    pub(super) fn of(columns: &[&str], rows: Vec<Vec<Cell>>) -> Self {
        Self { columns: columns.iter().map(|name| (*name).to_owned()).collect(), rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_each_pattern_stands_for_all_of_it() {
        let row = |digest: &str, ms: f64| vec![Cell::Text(digest.to_owned()), Cell::Float(ms)];
        let all =
            Records::of(&["digest", "total_ms"], vec![row("a", 9.0), row("b", 8.0), row("a", 7.0), row("c", 1.0)]);
        let folded = all.first_of_each("digest", 2);
        let shown: Vec<_> = folded.iter().map(|r| (r.text("digest"), r.float("total_ms"), r.count("times"))).collect();
        assert_eq!(shown, [("a", 9.0, 2), ("b", 8.0, 1)]);
    }
}
