//! Names that come again and again, as numbers: what is recorded holds no text.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::RwLock;

/// What stands for all that had no room.
pub(super) const OTHER: &str = "<other>";

/// Bytes that are kept of a name.
const LONGEST: usize = 64;

/// Texts by number; the number 0 is whatever found no room.
#[derive(Debug)]
pub(super) struct Names {
    limit: usize,
    /// Bytes that are kept of a name.
    longest: usize,
    known: RwLock<Known>,
}

#[derive(Debug)]
struct Known {
    numbers: HashMap<Arc<str>, u32, RandomState>,
    texts: Vec<Arc<str>>,
}

impl Names {
    pub(super) fn new(limit: usize) -> Self {
        let other: Arc<str> = OTHER.into();
        let known = Known { numbers: HashMap::from_iter([(Arc::clone(&other), 0)]), texts: vec![other] };
        Self { limit, longest: LONGEST, known: RwLock::new(known) }
    }

    pub(super) fn longer(limit: usize, longest: usize) -> Self {
        Self { longest, ..Self::new(limit) }
    }

    /// The number of a name.
    pub(super) fn number(&self, name: &[u8]) -> u32 {
        let name = String::from_utf8_lossy(name.get(..name.len().min(self.longest)).unwrap_or_default());
        if let Some(number) = self.known.read().numbers.get(&*name) {
            return *number;
        }
        let mut known = self.known.write();
        if let Some(number) = known.numbers.get(&*name) {
            return *number;
        }
        if known.texts.len() >= self.limit {
            return 0;
        }
        let number = u32::try_from(known.texts.len()).unwrap_or(0);
        let name: Arc<str> = name.into();
        known.texts.push(Arc::clone(&name));
        known.numbers.insert(name, number);
        number
    }

    pub(super) fn text(&self, number: u32) -> Arc<str> {
        let known = self.known.read();
        let text = usize::try_from(number).ok().and_then(|number| known.texts.get(number));
        text.map_or_else(|| OTHER.into(), Arc::clone)
    }
}

/// A pair of database and user, as a number; 0 is all those that found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Place(u32);

impl Place {
    pub(super) fn number(self) -> u32 {
        self.0
    }
}

/// Pairs of database and user.
#[derive(Debug)]
pub(super) struct Places {
    limit: usize,
    known: RwLock<KnownPlaces>,
}

#[derive(Debug)]
struct KnownPlaces {
    numbers: HashMap<(Arc<str>, Arc<str>), Place, RandomState>,
    pairs: Vec<(Arc<str>, Arc<str>)>,
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        let other: (Arc<str>, Arc<str>) = (OTHER.into(), OTHER.into());
        let known = KnownPlaces { numbers: HashMap::from_iter([(other.clone(), Place(0))]), pairs: vec![other] };
        Self { limit, known: RwLock::new(known) }
    }

    pub(super) fn place(&self, database: &str, user: &str) -> Place {
        let mut known = self.known.write();
        let pair: (Arc<str>, Arc<str>) = (database.into(), user.into());
        if let Some(place) = known.numbers.get(&pair) {
            return *place;
        }
        if known.pairs.len() >= self.limit {
            return Place(0);
        }
        let place = Place(u32::try_from(known.pairs.len()).unwrap_or(0));
        known.pairs.push(pair.clone());
        known.numbers.insert(pair, place);
        place
    }

    /// Database and user.
    pub(super) fn pair(&self, place: Place) -> (Arc<str>, Arc<str>) {
        let known = self.known.read();
        let pair = usize::try_from(place.0).ok().and_then(|place| known.pairs.get(place));
        pair.cloned().unwrap_or_else(|| (OTHER.into(), OTHER.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_other() {
        let names = Names::new(3);
        let numbers: Vec<u32> = ["a", "b", "c", "a"].map(|name| names.number(name.as_bytes())).into();
        assert_eq!(numbers, [1, 2, 0, 1]);
        assert_eq!((&*names.text(2), &*names.text(0)), ("b", OTHER));
        let places = Places::new(2);
        assert_eq!(places.place("d", "u"), places.place("d", "u"));
        assert_eq!(&*places.pair(places.place("d", "v")).0, OTHER);
    }
}
