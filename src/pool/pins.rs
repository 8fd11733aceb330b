//! Pins: which leases outlive their transaction, what for, and how many more may. Pure.
//!
//! A pin belongs to one backend for as long as one lease of it lasts; who waits for a backend that it will pin is
//! promised one first. Pins and promises together never exceed the limit that is asked about, so that what is left
//! can always serve transactions.

use std::collections::HashMap;
use std::fmt;
use std::ops::{BitOr, BitOrAssign};
use std::time::Duration;

use tokio::time::Instant;

use super::slots::BackendId;

/// What a session left on its backend that can be carried to no other. The pool only counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinReason {
    AdvisoryLock,
    /// Something asked which backend it is.
    BackendIdentity,
    /// A seed, a replication slot or origin, a base backup.
    BackendState,
    HeldCursor,
    Library,
    Listening,
    PreparedStatement,
    Sequence,
    /// Settings with names that are not known, with too many, or beyond the session's reach.
    Setting,
    TemporaryObject,
    /// What could leave anything, and cannot be read.
    Unknown,
}

impl PinReason {
    pub const ALL: [Self; 11] = [
        Self::AdvisoryLock,
        Self::BackendIdentity,
        Self::BackendState,
        Self::HeldCursor,
        Self::Library,
        Self::Listening,
        Self::PreparedStatement,
        Self::Sequence,
        Self::Setting,
        Self::TemporaryObject,
        Self::Unknown,
    ];

    /// One word, for metrics and tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::AdvisoryLock => "advisory_lock",
            Self::BackendIdentity => "backend_identity",
            Self::BackendState => "backend_state",
            Self::HeldCursor => "held_cursor",
            Self::Library => "library",
            Self::Listening => "listening",
            Self::PreparedStatement => "prepared_statement",
            Self::Sequence => "sequence",
            Self::Setting => "setting",
            Self::TemporaryObject => "temporary_object",
            Self::Unknown => "unknown",
        }
    }

    /// What follows "a pin for".
    #[must_use]
    pub fn phrase(self) -> &'static str {
        match self {
            Self::AdvisoryLock => "session advisory locks",
            Self::BackendIdentity => "the identity of the backend",
            Self::BackendState => "a seed, a replication slot or origin, or a base backup",
            Self::HeldCursor => "cursors WITH HOLD",
            Self::Library => "a loaded library",
            Self::Listening => "LISTEN",
            Self::PreparedStatement => "SQL-level PREPARE",
            Self::Sequence => "values drawn from sequences",
            Self::Setting => "settings that cannot be carried",
            Self::TemporaryObject => "temporary objects",
            Self::Unknown => "what cannot be read",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of reasons.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PinReasons(u16);

impl PinReasons {
    pub const NONE: Self = Self(0);

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub fn contains(self, reason: PinReason) -> bool {
        self.0 & reason.bit() != 0
    }

    /// Those of `self` that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those of `self` that are in `other` too.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = PinReason> {
        PinReason::ALL.into_iter().filter(move |reason| self.contains(*reason))
    }
}

impl From<PinReason> for PinReasons {
    fn from(reason: PinReason) -> Self {
        Self(reason.bit())
    }
}

impl FromIterator<PinReason> for PinReasons {
    fn from_iter<I: IntoIterator<Item = PinReason>>(reasons: I) -> Self {
        reasons.into_iter().fold(Self::NONE, |all, reason| all | reason.into())
    }
}

impl BitOr for PinReasons {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for PinReasons {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for PinReasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for PinReasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        listed(f, self.iter().map(|reason| reason.phrase().to_owned()))
    }
}

/// A number for each reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PinCounts([u64; PinReason::ALL.len()]);

impl PinCounts {
    #[must_use]
    pub fn of(&self, reason: PinReason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// Every reason with its number, zeros too.
    pub fn iter(&self) -> impl Iterator<Item = (PinReason, u64)> {
        PinReason::ALL.into_iter().zip(self.0)
    }

    /// Counts one more of each of these.
    pub fn count(&mut self, reasons: PinReasons) {
        for reason in reasons.iter() {
            if let Some(count) = self.0.get_mut(reason as usize) {
                *count += 1;
            }
        }
    }
}

impl fmt::Display for PinCounts {
    /// As in "2 for temporary objects and 1 for LISTEN"; nothing where all are zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.iter().filter(|(_, count)| *count > 0);
        listed(f, held.map(|(reason, count)| format!("{count} for {}", reason.phrase())))
    }
}

/// `a, b and c`
fn listed(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = String>) -> fmt::Result {
    let items: Vec<String> = items.collect();
    match items.split_last() {
        None => Ok(()),
        Some((last, [])) => f.write_str(last),
        Some((last, others)) => write!(f, "{} and {last}", others.join(", ")),
    }
}

/// One lease that outlives its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    pub reasons: PinReasons,
    /// [`super::Wish::holder`].
    pub holder: u64,
    pub since: Instant,
}

/// The pin that was taken first of those that are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongestPin {
    pub holder: u64,
    pub reasons: PinReasons,
    pub held: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Pins {
    held: HashMap<BackendId, Pin>,
    promised: usize,
}

impl Pins {
    /// Pins held and promised.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.held.len() + self.promised
    }

    /// Leases that are pinned.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    #[must_use]
    pub fn get(&self, id: BackendId) -> Option<&Pin> {
        self.held.get(&id)
    }

    /// Every pin, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (BackendId, &Pin)> {
        self.held.iter().map(|(id, pin)| (*id, pin))
    }

    /// Pins a backend that is not pinned, or adds reasons to its pin. False if that would be one more than `limit`.
    pub fn add(&mut self, id: BackendId, pin: Pin, limit: usize) -> bool {
        if let Some(known) = self.held.get_mut(&id) {
            known.reasons |= pin.reasons;
            return true;
        }
        if self.taken() >= limit {
            return false;
        }
        self.held.insert(id, pin);
        true
    }

    /// Leaves a pinned backend only those of its reasons that are among these; with none the pin ends. Whether it did.
    pub fn leave(&mut self, id: BackendId, reasons: PinReasons) -> bool {
        let Some(pin) = self.held.get_mut(&id) else { return false };
        pin.reasons = pin.reasons.and(reasons);
        pin.reasons.is_empty() && self.end(id)
    }

    /// Ends a pin; false if there is none.
    pub fn end(&mut self, id: BackendId) -> bool {
        self.held.remove(&id).is_some()
    }

    /// Promises a pin for a backend that is still to come; false if that would be one more than `limit`.
    pub fn promise(&mut self, limit: usize) -> bool {
        let free = self.taken() < limit;
        self.promised += usize::from(free);
        free
    }

    /// Takes a promise back.
    pub fn unpromise(&mut self) {
        debug_assert!(self.promised > 0, "only what was promised is taken back");
        self.promised = self.promised.saturating_sub(1);
    }

    /// The backend that a promise was for has come.
    pub fn keep_promise(&mut self, id: BackendId, pin: Pin) {
        self.unpromise();
        self.held.insert(id, pin);
    }

    /// The backend that a promise was for was broken, and another will come.
    pub fn promise_again(&mut self, id: BackendId) {
        if self.end(id) {
            self.promised += 1;
        }
    }

    /// How many are held for what; one that is held for two reasons counts twice.
    #[must_use]
    pub fn counts(&self) -> PinCounts {
        let mut counts = PinCounts::default();
        for pin in self.held.values() {
            counts.count(pin.reasons);
        }
        counts
    }

    #[must_use]
    pub fn longest(&self, now: Instant) -> Option<LongestPin> {
        let pin = self.held.values().min_by_key(|pin| pin.since)?;
        let held = now.saturating_duration_since(pin.since);
        Some(LongestPin { holder: pin.holder, reasons: pin.reasons, held })
    }
}

/// Why a session may not keep its backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinFault {
    #[error("pool.pin = \"deny\"")]
    Denied,
    #[error("{0}")]
    Exhausted(Box<PinsExhausted>),
}

/// No further session may keep its backend beyond its transaction. Shown, it is what a client should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinsExhausted {
    /// `max_pinned`, or what it is when it is "auto".
    pub limit: usize,
    /// Promises to those who wait for a backend included.
    pub taken: usize,
    /// Sessions that wait for a pin.
    pub waiting: usize,
    pub counts: PinCounts,
    pub longest: Option<LongestPin>,
}

impl fmt::Display for PinsExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, taken, waiting, counts, longest } = self;
        write!(f, "Pinned sessions: {taken}")?;
        if *counts != PinCounts::default() {
            write!(f, " ({counts})")?;
        }
        write!(f, "; pool.max_pinned allows {limit}")?;
        if let Some(LongestPin { holder, reasons, held }) = longest {
            write!(f, "; longest, for {held:.1?}, the client with process id {holder} for {reasons}")?;
        }
        if *waiting > 0 {
            write!(f, "; waiting for a pin: {waiting}")?;
        }
        f.write_str(".")
    }
}
