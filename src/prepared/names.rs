//! What one client calls its statements.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Shape, Statement};

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
}

impl Named {
    #[must_use]
    pub fn new(statement: Arc<Statement>, parse: u64) -> Self {
        Self { statement, parse, shape: None }
    }

    fn is(&self, other: &Self) -> bool {
        self.statement.id == other.statement.id && self.parse == other.parse
    }
}

/// Names that a client has given and PostgreSQL has accepted, as their [`Names::key`]; the empty name is the unnamed
/// statement.
#[derive(Debug, Default)]
pub struct Names {
    unnamed: Option<Named>,
    #[expect(clippy::box_collection, reason = "an idle session that names nothing holds one null pointer")]
    named: Option<Box<HashMap<Box<[u8]>, Named, foldhash::fast::RandomState>>>,
}

impl Names {
    /// What PostgreSQL keeps of a statement's or portal's name: two that begin alike are one.
    #[must_use]
    pub fn key(name: &[u8]) -> &[u8] {
        name.get(..KEPT).unwrap_or(name)
    }

    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Named> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.as_ref()?.get(name) }
    }

    /// Gives `name` a statement, or takes it away.
    pub fn set(&mut self, name: &[u8], named: Option<Named>) {
        match named {
            named if name.is_empty() => self.unnamed = named,
            Some(named) => {
                self.named.get_or_insert_default().insert(name.into(), named);
            }
            None => {
                if let Some(named) = &mut self.named {
                    named.remove(name);
                }
            }
        }
    }

    /// The name that this Parse gave.
    #[must_use]
    pub fn of(&self, named: &Named) -> Option<&[u8]> {
        if self.unnamed.as_ref().is_some_and(|other| other.is(named)) {
            return Some(b"");
        }
        let mut all = self.named.iter().flat_map(|all| all.iter());
        all.find(|(_, other)| other.is(named)).map(|(name, _)| &**name)
    }

    /// Notes what the client is told of the result of what this Parse made.
    pub fn describe(&mut self, named: &Named, shape: Shape) {
        let all = self.named.iter_mut().flat_map(|all| all.values_mut());
        if let Some(described) = self.unnamed.iter_mut().chain(all).find(|other| other.is(named)) {
            described.shape = Some(shape);
        }
    }

    /// Every name but that of the unnamed statement.
    pub fn named(&self) -> impl Iterator<Item = (&[u8], &Named)> {
        self.named.iter().flat_map(|all| all.iter()).map(|(name, named)| (&**name, named))
    }

    /// Forgets every name, as DEALLOCATE ALL does; the unnamed statement stays.
    pub fn clear_named(&mut self) {
        self.named = None;
    }

    /// Named statements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.named.as_ref().map_or(0, |named| named.len())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.unnamed.is_none()
    }
}
