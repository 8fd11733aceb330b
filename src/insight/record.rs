//! An hour as it is written to a file: names instead of this process's numbers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use super::insight::Shared;
use super::names::OTHER;
use super::packed::Packed;
use super::report::PatternNames;
use super::tally::Tally;
use super::view::PatternName;
use super::windows::{HEAVIEST, Span, add, heaviest};
use crate::sql::Digest;

/// Of what is written; another is not read.
const VERSION: u32 = 2;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// Databases and users, applications, tags: lines have their places here.
    places: Vec<(Arc<str>, Arc<str>)>,
    applications: Vec<Arc<str>>,
    tags: Vec<Arc<str>>,
    patterns: Vec<PatternName>,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    digest: Option<Digest>,
    place: usize,
    sums: Packed,
}

/// Gives things their place in a list, each once.
struct Index<T> {
    list: Vec<T>,
    known: HashMap<u32, u32, RandomState>,
}

impl<T> Index<T> {
    fn new() -> Self {
        Self { list: Vec::new(), known: HashMap::default() }
    }

    fn place(&mut self, number: u32, text: impl FnOnce(u32) -> T) -> u32 {
        *self.known.entry(number).or_insert_with(|| {
            self.list.push(text(number));
            u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

/// Sums as bytes; what took most of the time apart, the rest together.
pub(super) fn write(sums: &Span, shared: &Shared, names: &PatternNames) -> Vec<u8> {
    let mut record = Record { version: VERSION, ..Record::default() };
    let (mut places, mut applications, mut tags) = (Index::new(), Index::new(), Index::new());
    // What has no name is 0 there, too.
    applications.place(0, |_| OTHER.into());
    let rows = sums.iter().map(|(key, tally)| (*key, tally.clone()));
    for ((digest, place), mut tally) in heaviest(rows, HEAVIEST) {
        tally.applications.renumber(|id| applications.place(id, |id| shared.applications.text(id)));
        tally.tags.renumber(|id| tags.place(id, |id| shared.tags.single_text(id)));
        let place = places.place(place.number(), |_| shared.places.pair(place)) as usize;
        record.lines.push(Line { digest, place, sums: Packed::new(&tally) });
        if let Some(digest) = digest {
            record.patterns.push((*shared.name(names, digest)).clone());
        }
    }
    record.patterns.sort_unstable_by_key(|name| name.digest);
    record.patterns.dedup_by_key(|name| name.digest);
    (record.places, record.applications, record.tags) = (places.list, applications.list, tags.list);
    // Plain data: it cannot fail.
    serde_json::to_vec(&record).unwrap_or_default()
}

/// Adds what was written to other sums, and the names of its patterns to those that are known. False where it cannot be
/// read.
pub(super) fn read(bytes: &[u8], shared: &Shared, names: &mut PatternNames, into: &mut Span, now: SystemTime) -> bool {
    let Ok(record) = serde_json::from_slice::<Record>(bytes) else { return false };
    if record.version != VERSION {
        return false;
    }
    for name in record.patterns {
        names.entry(name.digest).or_insert_with(|| Arc::new(name));
    }
    let text = |texts: &[Arc<str>], id: u32| usize::try_from(id).ok().and_then(|id| texts.get(id)).cloned();
    let named = |text: &Arc<str>| **text != *OTHER;
    let number =
        |text: Option<Arc<str>>| text.filter(named).map_or(0, |text| shared.applications.number(text.as_bytes()));
    let tag = |text: Option<Arc<str>>| text.map_or(0, |text| shared.tags.single_number(&text));
    for line in record.lines {
        let place = record.places.get(line.place).map(|(database, user)| shared.places.place(database, user));
        let mut tally = Tally::empty(now);
        line.sums.add_to(&mut tally);
        tally.applications.renumber(|id| number(text(&record.applications, id)));
        tally.tags.renumber(|id| tag(text(&record.tags, id)));
        add(into, (line.digest, place.unwrap_or_default()), &tally);
    }
    true
}
