//! What one client calls its statements.

use std::collections::HashMap;
use std::sync::Arc;

use super::Statement;

/// Names that a client has given and PostgreSQL has accepted; the empty name is the unnamed statement.
#[derive(Debug, Default)]
pub struct Names {
    unnamed: Option<Arc<Statement>>,
    named: Option<Box<HashMap<Box<[u8]>, Arc<Statement>, foldhash::fast::RandomState>>>,
}

impl Names {
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.as_ref()?.get(name) }
    }

    /// Gives `name` a statement, or takes it away.
    pub fn set(&mut self, name: &[u8], statement: Option<Arc<Statement>>) {
        match statement {
            statement if name.is_empty() => self.unnamed = statement,
            Some(statement) => {
                self.named.get_or_insert_default().insert(name.into(), statement);
            }
            None => {
                if let Some(named) = &mut self.named {
                    named.remove(name);
                }
            }
        }
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
