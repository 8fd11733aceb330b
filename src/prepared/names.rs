//! What one client calls its statements.

use std::borrow::Cow;
use std::collections::HashMap;
use std::str::Utf8Error;
use std::sync::Arc;

use super::{Description, Shape, Statement, Types};

/// Bytes that PostgreSQL keeps of a name: `NAMEDATALEN` less its zero.
const KEPT: usize = 63;

/// What a name stands for.
#[derive(Debug, Clone)]
pub struct Named {
    pub statement: Arc<Statement>,
    /// The number of the Parse that gave the name.
    pub parse: u64,
    /// What the client was told of its result.
    pub shape: Option<Shape>,
    /// What PostgreSQL has given the parameters whose types the client left open, where that is known.
    pub types: Option<Types>,
    presumed: Option<Arc<Description>>,
}

impl Named {
    #[must_use]
    pub fn new(statement: Arc<Statement>, parse: u64) -> Self {
        Self { statement, parse, shape: None, types: None, presumed: None }
    }

    /// The same where the Parse was answered without a backend: what one has said of a copy that is as good is believed,
    /// once a change was seen that must have been later.
    #[must_use]
    pub fn presumed(statement: Arc<Statement>, parse: u64, description: Description) -> Self {
        Self { presumed: Some(Arc::new(description)), ..Self::new(statement, parse) }
    }

    /// What the client was told of its result, or would have been.
    #[must_use]
    pub fn known_shape(&self) -> Option<Shape> {
        self.shape.or_else(|| self.presumption()?.shape)
    }

    /// Which types it gave open parameters.
    #[must_use]
    pub fn known_types(&self) -> Option<&Types> {
        self.types.as_ref().or_else(|| self.presumption()?.types.as_ref())
    }

    fn presumption(&self) -> Option<&Description> {
        self.presumed.as_deref().filter(|_| self.statement.is_before_a_change(self.parse))
    }

    /// Whether both are of the same Parse.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.statement.id == other.statement.id && self.parse == other.parse
    }
}

/// How many statements one client may have named, and how many bytes their texts may have.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    pub statements: usize,
    pub memory: usize,
}

/// What of an [`Allowance`] is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    Statements,
    Memory,
}

/// Names that a client has given and PostgreSQL has accepted, as their [`Names::key`]; the empty name is the unnamed
/// statement.
#[derive(Debug, Default)]
pub struct Names(
    /// An idle session that names nothing holds one null pointer.
    Option<Box<All>>,
);

#[derive(Debug, Default)]
struct All {
    unnamed: Option<Named>,
    named: HashMap<Box<[u8]>, Named, foldhash::fast::RandomState>,
    /// Bytes of the texts of those with a name.
    memory: usize,
}

impl All {
    fn remove(&mut self, name: &[u8]) {
        if let Some(gone) = self.named.remove(name) {
            self.memory -= gone.statement.text.len();
        }
    }
}

impl Names {
    /// What PostgreSQL keeps of a statement's or portal's name: two that begin alike are one.
    #[must_use]
    pub fn key(name: &[u8]) -> &[u8] {
        name.get(..KEPT).unwrap_or(name)
    }

    /// A name that PostgreSQL takes, and of which it keeps this key: one that was cut within a character of UTF-8 gets
    /// some end.
    #[must_use]
    pub fn whole(key: &[u8]) -> Cow<'_, [u8]> {
        let is_cut = |error: &Utf8Error| error.error_len().is_none() && key.len() == KEPT;
        let Some(cut) = std::str::from_utf8(key).err().filter(is_cut) else { return Cow::Borrowed(key) };
        let character = key.get(cut.valid_up_to()..).unwrap_or_default();
        // Shortest forms only (RFC 3629, section 4).
        let (bytes, second) = match character.first() {
            Some(0xe0) => (3, 0xa0),
            Some(0xe1..=0xef) => (3, 0x80),
            Some(0xf0) => (4, 0x90),
            Some(0xf1..) => (4, 0x80),
            _ => (2, 0x80),
        };
        let end = [second, 0x80, 0x80];
        [key, end.get(character.len() - 1..bytes - 1).unwrap_or_default()].concat().into()
    }

    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Named> {
        let all = self.0.as_ref()?;
        if name.is_empty() { all.unnamed.as_ref() } else { all.named.get(name) }
    }

    /// Gives `name` a statement, or takes it away.
    pub fn set(&mut self, name: &[u8], named: Option<Named>) {
        match (named, &mut self.0) {
            (None, None) => {}
            (named, all) if name.is_empty() => all.get_or_insert_default().unnamed = named,
            (Some(named), all) => {
                let all = all.get_or_insert_default();
                all.remove(name);
                all.memory += named.statement.text.len();
                all.named.insert(name.into(), named);
            }
            (None, Some(all)) => all.remove(name),
        }
    }

    /// Whether one more statement with this text may be named.
    ///
    /// # Errors
    /// What there is no room in.
    pub fn room_for(&self, text: &[u8], allowance: &Allowance) -> Result<(), Exceeded> {
        let (statements, memory) = self.0.as_ref().map_or((0, 0), |all| (all.named.len(), all.memory));
        if statements >= allowance.statements {
            return Err(Exceeded::Statements);
        }
        if memory.saturating_add(text.len()) > allowance.memory { Err(Exceeded::Memory) } else { Ok(()) }
    }

    /// The name that this Parse gave.
    #[must_use]
    pub fn of(&self, named: &Named) -> Option<&[u8]> {
        let all = self.0.as_ref()?;
        if all.unnamed.as_ref().is_some_and(|other| other.is(named)) {
            return Some(b"");
        }
        all.named.iter().find(|(_, other)| other.is(named)).map(|(name, _)| &**name)
    }

    /// Notes what the client is told of the result of what this Parse made.
    pub fn describe(&mut self, named: &Named, shape: Shape) {
        if let Some(described) = self.of_same_parse(named) {
            described.shape = Some(shape);
        }
    }

    /// Notes which types PostgreSQL has given the parameters of what this Parse made.
    pub fn give_types(&mut self, named: &Named, types: Types) {
        if let Some(described) = self.of_same_parse(named) {
            described.types = Some(types);
        }
    }

    fn of_same_parse(&mut self, named: &Named) -> Option<&mut Named> {
        let All { unnamed, named: all, .. } = self.0.as_deref_mut()?;
        unnamed.iter_mut().chain(all.values_mut()).find(|other| other.is(named))
    }

    /// Every name but that of the unnamed statement.
    pub fn named(&self) -> impl Iterator<Item = (&[u8], &Named)> {
        self.0.iter().flat_map(|all| all.named.iter()).map(|(name, named)| (&**name, named))
    }

    /// Forgets every name, as DEALLOCATE ALL does; the unnamed statement stays.
    pub fn clear_named(&mut self) {
        self.0 = self
            .0
            .take()
            .and_then(|all| all.unnamed)
            .map(|unnamed| Box::new(All { unnamed: Some(unnamed), ..All::default() }));
    }

    /// Named statements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.named.len())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|all| all.named.is_empty() && all.unnamed.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_cut_within_a_character_is_made_one_that_is_cut_alike() {
        for character in ["é", "ߐ", "ࠀ", "€", "\u{d7ff}", "𐀀", "😀", "\u{10ffff}"] {
            for before in KEPT - 4..=KEPT {
                let name = "n".repeat(before) + character;
                let key = Names::key(name.as_bytes());
                let whole = Names::whole(key);
                assert!(std::str::from_utf8(&whole).is_ok(), "{character} after {before}");
                assert_eq!(Names::key(&whole), key);
            }
        }
        assert_eq!(*Names::whole(b"a\xe9"), *b"a\xe9", "it was not cut");
    }
}
