//! What one backend has prepared.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Description, OUT_OF_DATE, Shape, Types};

/// The statements that a backend is known to hold; only successes are entered here.
#[derive(Debug)]
pub struct Held {
    /// By statement id.
    statements: HashMap<u64, HeldCopy, foldhash::fast::RandomState>,
    /// The statement that the unnamed one is at the moment.
    unnamed: Option<u64>,
    /// What is known of its result.
    unnamed_shape: Option<Shape>,
    /// Statements of the session that has the backend, under its own names.
    own: Vec<Box<[u8]>>,
    clock: u64,
    limit: usize,
}

#[derive(Debug)]
struct HeldCopy {
    /// The number of the Parse that made it.
    parse: u64,
    /// What is known of its result.
    shape: Option<Shape>,
    /// What is known of its parameters where their types were left open.
    types: Option<Types>,
    /// When it was last used, by the set's own clock.
    used: u64,
}

impl Held {
    /// An empty set that wants to stay within `limit` named statements.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { statements: HashMap::default(), unnamed: None, unnamed_shape: None, own: Vec::new(), clock: 0, limit }
    }

    /// The number of the Parse that made the backend's copy of a statement, if it has one.
    #[must_use]
    pub fn parse_of(&self, id: u64) -> Option<u64> {
        self.statements.get(&id).map(|copy| copy.parse)
    }

    /// The columns of a statement's result, as the backend has described its copy.
    #[must_use]
    pub fn shape_of(&self, id: u64) -> Option<Shape> {
        match self.statements.get(&id) {
            Some(copy) => copy.shape,
            None => self.unnamed_shape.filter(|_| self.unnamed == Some(id)),
        }
    }

    /// The types that PostgreSQL has given the parameters of its copy of a statement that leaves them open.
    #[must_use]
    pub fn types_of(&self, id: u64) -> Option<&Types> {
        self.statements.get(&id)?.types.as_ref()
    }

    /// What the backend has said of its copy of a statement.
    #[must_use]
    pub fn description_of(&self, id: u64) -> Description {
        Description { shape: self.shape_of(id), types: self.types_of(id).cloned() }
    }

    /// Notes that a copy was still good when this Parse had been: it is as good as one that it has made.
    pub fn vouch(&mut self, id: u64, parse: u64) {
        // What was read by settings of the moment is good for nobody after it.
        if let Some(copy) = self.statements.get_mut(&id).filter(|copy| copy.parse != OUT_OF_DATE) {
            copy.parse = copy.parse.max(parse);
        }
    }

    /// Notes how the backend has described its copy of a statement.
    pub fn describe(&mut self, id: u64, shape: Shape) {
        match self.statements.get_mut(&id) {
            Some(copy) => copy.shape = Some(shape),
            None if self.unnamed == Some(id) => self.unnamed_shape = Some(shape),
            None => {}
        }
    }

    /// Notes which types PostgreSQL has given the parameters of its copy of a statement.
    pub fn give_types(&mut self, id: u64, types: &Types) {
        if let Some(copy) = self.statements.get_mut(&id) {
            copy.types = Some(Arc::clone(types));
        }
    }

    /// Notes that a statement is being used.
    pub fn touch(&mut self, id: u64) {
        self.clock += 1;
        if let Some(copy) = self.statements.get_mut(&id) {
            copy.used = self.clock;
        }
    }

    /// Notes a copy that the Parse with this number has made.
    pub fn insert(&mut self, id: u64, parse: u64) {
        self.clock += 1;
        self.statements.insert(id, HeldCopy { parse, shape: None, types: None, used: self.clock });
    }

    pub fn remove(&mut self, id: u64) {
        self.statements.remove(&id);
    }

    #[must_use]
    pub fn unnamed(&self) -> Option<u64> {
        self.unnamed
    }

    pub fn set_unnamed(&mut self, id: Option<u64>) {
        self.unnamed = id;
        self.unnamed_shape = None;
    }

    /// The statement to close before one more is parsed: the least recently used one that is not `leaving` already,
    /// where `coming` more have been parsed but are not known to be held yet. `None` while there is room.
    #[must_use]
    pub fn surplus(&self, coming: usize, leaving: impl FnOnce() -> BTreeSet<u64>) -> Option<u64> {
        if self.statements.len() + coming < self.limit {
            return None;
        }
        let leaving = leaving();
        let staying = || self.statements.iter().filter(|(id, _)| !leaving.contains(id));
        if staying().count() + coming < self.limit {
            return None;
        }
        staying().min_by_key(|(_, copy)| copy.used).map(|(id, _)| *id)
    }

    /// The ids of all named statements.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.statements.keys().copied()
    }

    /// The names under which the session that has the backend finds its own statements there.
    #[must_use]
    pub fn own(&self) -> &[Box<[u8]>] {
        &self.own
    }

    /// Notes that a statement of the session is there under its own name, or is not any more.
    pub fn set_own(&mut self, name: &[u8], here: bool) {
        self.own.retain(|own| **own != *name);
        if here {
            self.own.push(name.into());
        }
    }

    /// Forgets every named statement, as DEALLOCATE ALL does; the unnamed one stays.
    pub fn clear(&mut self) {
        self.own.clear();
        self.statements.clear();
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_statement_goes_first_unless_it_is_going_already() {
        let mut held = Held::new(2);
        held.insert(1, 1);
        assert_eq!(held.surplus(0, BTreeSet::new), None);
        assert_eq!(held.surplus(1, BTreeSet::new), Some(1));
        held.insert(2, 1);
        held.touch(1);
        assert_eq!(held.surplus(0, BTreeSet::new), Some(2));
        assert_eq!(held.surplus(0, || BTreeSet::from([2])), None);
        assert_eq!(held.surplus(1, || BTreeSet::from([2])), Some(1));
    }

    #[test]
    fn a_copy_of_the_moment_stays_one_however_often_it_was_good() {
        let mut held = Held::new(2);
        held.insert(1, OUT_OF_DATE);
        held.insert(2, 1);
        held.vouch(1, 7);
        held.vouch(2, 7);
        assert_eq!((held.parse_of(1), held.parse_of(2)), (Some(OUT_OF_DATE), Some(7)));
    }

    #[test]
    fn deallocate_all_spares_the_unnamed_statement() {
        let mut held = Held::new(2);
        held.insert(1, 1);
        held.set_unnamed(Some(2));
        held.clear();
        assert_eq!((held.len(), held.unnamed()), (0, Some(2)));
    }
}
