//! Backends that wait a moment for a session with the settings they carry, though others stand in the queue.
//!
//! To give a backend other settings costs the server a query. Where many sessions with different settings keep a pool
//! busy, strict order would cost that query for nearly every transaction: the session that left its settings on a
//! backend asks again at once, and somebody else has got it by then. So a backend may be kept for such a session, for
//! [`LINGER`], and only as long as the first of the queue has not waited for `pool.settings_affinity`. Whether that
//! pays is learnt from what came of it before.
//!
//! Pure: every moment is an argument. A lingering backend counts as leased.

use std::time::Duration;

use tokio::time::Instant;

use super::slots::{BackendId, Home};
use super::state::Came;

/// How long a backend waits at most. Sessions that have more to ask, ask within a round trip to their client; a longer
/// wait would leave the server idle.
const LINGER: Duration = Duration::from_millis(2);
/// What is won by one success, and lost by one wait in vain, which makes others wait for nothing.
const WON: u8 = 1;
const LOST: u8 = 2;
const CREDIT: u8 = 16;
/// Without credit it is tried again once in so many returns.
const TRY_AGAIN: u8 = 32;

/// A backend that waits.
#[derive(Debug)]
struct Kept<B> {
    came: Came<B>,
    until: Instant,
    /// Nobody's patience ends before its time does.
    alone: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lingering<B> {
    kept: Vec<Kept<B>>,
    credit: u8,
    /// Returns since it was last tried.
    untried: u8,
}

impl<B> Default for Lingering<B> {
    fn default() -> Self {
        Self { kept: Vec::new(), credit: CREDIT / 2, untried: 0 }
    }
}

impl<B> Lingering<B> {
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether a backend that comes back now is worth keeping. To be asked once for each.
    pub(super) fn is_worth(&mut self) -> bool {
        if self.credit > 0 {
            return true;
        }
        self.untried = (self.untried + 1) % TRY_AGAIN;
        self.untried == 0
    }

    /// Keeps a backend that was returned now, but not beyond `patience`, when the first of the queue is to be served.
    pub(super) fn keep(&mut self, came: Came<B>, now: Instant, patience: Instant) {
        let own = now + LINGER;
        self.kept.push(Kept { came, until: own.min(patience), alone: own <= patience });
    }

    /// One with these settings, rather one that is registered at `home`.
    pub(super) fn take_alike(&mut self, profile: usize, home: Home) -> Option<Came<B>> {
        let alike = |kept: &Kept<B>| kept.came.profile == profile;
        let place = self.kept.iter().position(|kept| alike(kept) && kept.came.home == home);
        let place = place.or_else(|| self.kept.iter().position(alike))?;
        self.credit = self.credit.saturating_add(WON).min(CREDIT);
        Some(self.kept.swap_remove(place).came)
    }

    /// One whose time is over, or that `wanted` says is needed now.
    pub(super) fn take_due(&mut self, now: Instant, wanted: impl Fn(BackendId) -> bool) -> Option<Came<B>> {
        let place = self.kept.iter().position(|kept| kept.until <= now || wanted(kept.came.id))?;
        let kept = self.kept.swap_remove(place);
        if kept.alone && kept.until <= now {
            self.credit = self.credit.saturating_sub(LOST);
        }
        Some(kept.came)
    }

    /// When the first of them has to be given to somebody else.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.kept.iter().map(|kept| kept.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seat: u32) -> BackendId {
        BackendId { generation: std::num::NonZeroU32::MIN, seat }
    }

    fn keep(lingering: &mut Lingering<()>, seat: u32, profile: usize, now: Instant, patience: Duration) {
        let came = Came { id: id(seat), backend: (), profile, home: Some(0), returned: true };
        lingering.keep(came, now, now + patience);
    }

    #[test]
    fn a_backend_waits_for_its_settings_until_its_time_or_anothers_patience_is_over() {
        let (mut lingering, now) = (Lingering::default(), Instant::now());
        keep(&mut lingering, 0, 7, now, LINGER * 2);
        keep(&mut lingering, 1, 8, now, LINGER / 2);
        assert_eq!(lingering.next_due(), Some(now + LINGER / 2));
        assert!(lingering.take_alike(9, Some(0)).is_none());
        assert!(lingering.take_due(now, |_| false).is_none());
        assert_eq!(lingering.take_due(now + LINGER / 2, |_| false).map(|kept| kept.id), Some(id(1)));
        assert_eq!(lingering.take_alike(7, Some(3)).map(|kept| kept.id), Some(id(0)));
        assert_eq!((lingering.len(), lingering.next_due()), (0, None));
    }

    #[test]
    fn who_keeps_waiting_in_vain_hardly_waits_any_more_until_it_pays_again() {
        let (mut lingering, mut now) = (Lingering::default(), Instant::now());
        let mut tried = 0;
        for _ in 0..10 * u32::from(TRY_AGAIN) {
            if lingering.is_worth() {
                tried += 1;
                keep(&mut lingering, 0, 1, now, LINGER * 2);
                now += LINGER;
                assert!(lingering.take_due(now, |_| false).is_some());
            }
        }
        assert!((10..=14).contains(&tried), "{tried}");
        while !lingering.is_worth() {}
        keep(&mut lingering, 0, 1, now, LINGER);
        assert!(lingering.take_alike(1, None).is_some());
        assert!(lingering.is_worth());
    }

    #[test]
    fn a_wait_that_another_cut_short_is_no_failure() {
        let (mut lingering, now) = (Lingering::default(), Instant::now());
        for _ in 0..100 {
            keep(&mut lingering, 0, 1, now, LINGER / 2);
            assert!(lingering.take_due(now + LINGER / 2, |_| false).is_some());
        }
        assert!(lingering.is_worth());
    }
}
