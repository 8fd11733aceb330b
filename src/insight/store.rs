//! The file that keeps hours: an embedded table from the hour to its record.

use std::ops::Range;
use std::path::Path;

use redb::{AccessGuard, Database, ReadableDatabase, TableDefinition};

/// Hours since 1970 began.
pub(super) type Hour = u64;

/// Hours that are kept: thirty days.
const KEPT: Hour = 30 * 24;
const HOURS: TableDefinition<'_, Hour, &[u8]> = TableDefinition::new("hours");

/// What the table gives for an hour.
type Entry<'a> = Result<(AccessGuard<'a, Hour>, AccessGuard<'a, &'static [u8]>), redb::StorageError>;

/// See the module. All of it blocks.
#[derive(Debug)]
pub(super) struct Store(Database);

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
#[error("insight.store: {0}")]
pub struct StoreFault(#[from] redb::Error);

impl Store {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, StoreFault> {
        Ok(Self(Database::create(path).map_err(redb::Error::from)?))
    }

    /// Writes an hour, in place of what was there, and forgets those that are too old.
    pub(super) fn put(&self, hour: Hour, record: &[u8]) -> Result<(), StoreFault> {
        let change = || -> Result<(), redb::Error> {
            let transaction = self.0.begin_write()?;
            {
                let mut hours = transaction.open_table(HOURS)?;
                hours.insert(hour, record)?;
                hours.retain_in(..hour.saturating_sub(KEPT), |_, _| false)?;
            }
            transaction.commit()?;
            Ok(())
        };
        Ok(change()?)
    }

    /// The records of these hours, in order.
    pub(super) fn read(&self, hours: Range<Hour>) -> Result<Vec<(Hour, Vec<u8>)>, StoreFault> {
        let record = |entry: Entry<'_>| entry.map(|(hour, record)| (hour.value(), record.value().to_vec()));
        self.look(hours, |entries| entries.map(record).collect())
    }

    /// Whether there is any hour before this one.
    pub(super) fn has_before(&self, hour: Hour) -> Result<bool, StoreFault> {
        self.look(0..hour, |mut entries| Ok(entries.next().transpose()?.is_some()))
    }

    fn look<T: Default>(
        &self,
        hours: Range<Hour>,
        at: impl FnOnce(redb::Range<'_, Hour, &[u8]>) -> Result<T, redb::StorageError>,
    ) -> Result<T, StoreFault> {
        let look = || -> Result<T, redb::Error> {
            let transaction = self.0.begin_read()?;
            let table = match transaction.open_table(HOURS) {
                // Nothing was ever written.
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(T::default()),
                opened => opened?,
            };
            Ok(at(table.range(hours)?)?)
        };
        Ok(look()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_found_again_by_whoever_opens_the_file_next_and_forgotten_after_thirty_days() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("insight.redb");
        let open = || Store::open(&path).expect("a store");
        assert!(open().read(0..Hour::MAX).expect("nothing").is_empty());
        let store = open();
        store.put(1000, b"first").expect("written");
        store.put(1000, b"second").expect("written");
        drop(store);
        assert_eq!(open().read(0..2000).expect("read"), [(1000, b"second".to_vec())]);
        assert_eq!([1000, 1001].map(|hour| open().has_before(hour).expect("read")), [false, true]);
        open().put(1000 + KEPT, b"third").expect("written");
        assert_eq!(open().read(0..2000).expect("read").len(), 2);
        open().put(1001 + KEPT, b"fourth").expect("written");
        assert_eq!(open().read(0..2000).expect("read").len(), 2);
    }
}
