//! What is known of a session's names and of the statements on its backend while replies are outstanding.

use std::collections::{BTreeMap, BTreeSet};

use super::Leased;
use super::turn::{Effect, Pending, Turn};
use crate::prepared::{Named, Names};

/// What is known of a name or statement while replies are outstanding.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known<T> {
    Now(T),
    /// A batch that was sent before must be answered first.
    Later,
}

impl Turn {
    /// The statement that a client's name stands for.
    pub(super) fn named(&self, names: &Names, name: &[u8]) -> Known<Option<Named>> {
        let pending = self.newest(|effect| match effect {
            Effect::Name(other, named) if **other == *name => Some(named.clone()),
            _ => None,
        });
        pending.unwrap_or_else(|| Known::Now(names.get(name).cloned()))
    }

    /// The number of the Parse that made the backend's copy of a shared statement, if it has one.
    pub(super) fn holds(&self, leased: &Leased<'_>, id: u64) -> Known<Option<u64>> {
        let pending = self.newest(|effect| match effect {
            Effect::Clear => Some(None),
            Effect::Drop(other) if *other == id => Some(None),
            Effect::Hold(other, parse) if *other == id => Some(Some(*parse)),
            _ => None,
        });
        pending.unwrap_or_else(|| Known::Now(leased.held.parse_of(id)))
    }

    /// Whether the batch at hand parses a statement.
    pub(super) fn parses(&self, id: u64) -> bool {
        let parses = |effect: &Effect| match effect {
            Effect::Hold(other, _) | Effect::Unnamed(Some(other)) => *other == id,
            _ => false,
        };
        self.pending.iter().any(|pending| pending.batch == self.batch && parses(&pending.effect))
    }

    /// Whether the backend's copy of a shared statement is being made anew.
    pub(super) fn renews(&self, id: u64) -> bool {
        self.pending.iter().any(|pending| matches!(pending.effect, Effect::Hold(other, _) if other == id))
    }

    /// Which statement is the backend's unnamed one.
    pub(super) fn unnamed(&self, leased: &Leased<'_>) -> Known<Option<u64>> {
        let pending = self.newest(|effect| match effect {
            Effect::Unnamed(id) => Some(*id),
            _ => None,
        });
        pending.unwrap_or_else(|| Known::Now(leased.held.unnamed()))
    }

    /// The statement to close before the backend parses one more.
    pub(super) fn surplus(&self, leased: &Leased<'_>) -> Option<u64> {
        let coming = self.pending.iter().filter(|pending| matches!(pending.effect, Effect::Hold(..))).count();
        let left = |pending: &Pending| match pending.effect {
            Effect::Drop(id) => Some(id),
            _ => None,
        };
        let leaving = || self.pending.iter().filter_map(left).collect();
        leased.held.surplus(coming, leaving)
    }

    /// Whether an earlier batch puts statements on the backend, or takes them off, or gives names to them.
    pub(super) fn is_naming(&self) -> bool {
        self.pending.iter().any(|pending| match &pending.effect {
            Effect::Clear | Effect::Own(..) | Effect::Hold(..) | Effect::Drop(_) => pending.batch != self.batch,
            Effect::Name(name, _) => pending.batch != self.batch && !name.is_empty(),
            Effect::Discard | Effect::Profile(_) | Effect::Unnamed(_) => false,
        })
    }

    /// Whether a statement of the client is on the backend under its own name.
    pub(super) fn has_own(&self, leased: &Leased<'_>, name: &[u8]) -> Known<bool> {
        let pending = self.newest(|effect| match effect {
            Effect::Clear => Some(false),
            Effect::Own(own, here) if **own == *name => Some(*here),
            _ => None,
        });
        pending.unwrap_or_else(|| Known::Now(leased.held.own().iter().any(|own| **own == *name)))
    }

    /// All that the client has given names, if nothing that is at work fails.
    pub(super) fn all_named(&self, names: &Names) -> Vec<(Box<[u8]>, Named)> {
        let mut all: BTreeMap<&[u8], &Named> = names.named().collect();
        for pending in &self.pending {
            match &pending.effect {
                Effect::Name(name, Some(named)) if !name.is_empty() => {
                    all.insert(name, named);
                }
                Effect::Name(name, None) => {
                    all.remove(&**name);
                }
                _ => {}
            }
        }
        all.into_iter().map(|(name, named)| (name.into(), named.clone())).collect()
    }

    /// All shared statements that the backend holds, if nothing that is at work fails.
    pub(super) fn all_held(&self, leased: &Leased<'_>) -> BTreeSet<u64> {
        let mut all: BTreeSet<u64> = leased.held.ids().collect();
        for pending in &self.pending {
            match pending.effect {
                Effect::Clear => all.clear(),
                Effect::Hold(id, _) => _ = all.insert(id),
                Effect::Drop(id) => _ = all.remove(&id),
                _ => {}
            }
        }
        all
    }

    fn newest<T>(&self, read: impl Fn(&Effect) -> Option<T>) -> Option<Known<T>> {
        self.pending.iter().rev().find_map(|pending| {
            let value = read(&pending.effect)?;
            Some(if pending.batch == self.batch { Known::Now(value) } else { Known::Later })
        })
    }
}
