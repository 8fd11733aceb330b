//! Portals of which something must be known when they are executed.

use super::channels::Followed;
use super::expect::{Expect, Kind, Who};
use super::mending::Mending;
use crate::prepared::{Names, Statement};

/// Portals whose execution needs care, the unnamed one among them; they end with their transaction.
#[derive(Debug, Default)]
pub(super) struct Portals {
    /// Those whose execution may drop statements or ask for COPY data.
    wary: Vec<Wary>,
    meant: Vec<(Box<[u8]>, Meant)>,
}

/// What the execution of a portal means to the session.
#[derive(Debug, Default)]
pub(super) struct Meant {
    /// It decides what the session listens to.
    pub(super) listens: Option<Followed>,
    /// Settings are to be set to what the client started with afterwards.
    pub(super) mends: Option<Mending>,
    /// The statement with this name is dropped.
    pub(super) drops: Option<Box<[u8]>>,
    /// It ends a failed transaction, or goes back in it.
    pub(super) ends_failure: bool,
}

/// A portal whose execution needs care.
#[derive(Debug)]
struct Wary {
    portal: Box<[u8]>,
    forgets: bool,
    copies: bool,
}

impl Portals {
    /// A portal is to stand for a statement. Where that fails a named one may stay what it was.
    pub(super) fn bound(&mut self, portal: &[u8], statement: &Statement, meant: Meant) {
        self.meant.retain(|(other, _)| **other != *portal);
        if meant.listens.is_some() || meant.mends.is_some() || meant.drops.is_some() || meant.ends_failure {
            self.meant.push((portal.into(), meant));
        }
        if portal.is_empty() {
            self.wary.retain(|other| !other.portal.is_empty());
        }
        let Statement { forgets, copies, .. } = *statement;
        let portal = Names::key(portal);
        let is_known = |other: &Wary| (&*other.portal, other.forgets, other.copies) == (portal, forgets, copies);
        if (forgets || copies) && !self.wary.iter().any(is_known) {
            self.wary.push(Wary { portal: portal.into(), forgets, copies });
        }
    }

    /// What the execution of a portal means; `None` for most.
    pub(super) fn meant(&self, portal: &[u8]) -> Option<&Meant> {
        self.meant.iter().find(|(name, _)| **name == *portal).map(|(_, meant)| meant)
    }

    /// The reply to the execution of a portal.
    pub(super) fn execution(&self, portal: &[u8]) -> Expect {
        let named = || self.wary.iter().filter(|other| *other.portal == *Names::key(portal));
        let forgets = named().any(|portal| portal.forgets);
        let copies = named().any(|portal| portal.copies);
        Expect::new(Kind::Execute, Who::Forward).forgetting(forgets).deciding(copies)
    }
}
