//! What one client calls its statements.

use std::collections::HashMap;
use std::sync::Arc;

use super::Statement;

/// Bytes that PostgreSQL keeps of a name: `NAMEDATALEN` less its zero.
const KEPT: usize = 63;

/// What a name stands for.
#[derive(Debug, Clone)]
pub struct Named {
    pub statement: Arc<Statement>,
    /// The number of the Parse that gave the name.
    pub parse: u64,
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

    /// A name of the statement with this id.
    #[must_use]
    pub fn of(&self, id: u64) -> Option<&[u8]> {
        if self.unnamed.as_ref().is_some_and(|named| named.statement.id == id) {
            return Some(b"");
        }
        let mut all = self.named.iter().flat_map(|all| all.iter());
        all.find(|(_, named)| named.statement.id == id).map(|(name, _)| &**name)
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
