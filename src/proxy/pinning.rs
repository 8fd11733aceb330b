//! Keeping a backend beyond its transaction: asking for a pin, and waiting for one with the lease in hand.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::active::{Active, Ownership};
use super::ending::Ending;
use super::serve::Serve;
use super::shortage::{pin_fault, pins_in_vain};
use crate::backend::Dialer;
use crate::pool::{self, PinFault, PinReason, PinReasons};
use crate::session::{Keeps, Wait};
use crate::stats::Limit;
use crate::wire::build::Fault;

/// How long a session must rest before it gives up what is only better kept, and how often it looks who needs it.
const COURTESY: Duration = Duration::from_millis(100);
/// How long others may wait for it: most who wait get another backend sooner.
const PATIENCE: Duration = Duration::from_millis(400);

/// A pin that is waited for.
#[derive(Debug)]
pub(super) struct Pinning {
    waiting: pool::Pinning<Dialer>,
    keeps: Keeps,
    pub(super) asked: Instant,
}

impl Serve {
    /// The session has left something on its backend that can be carried to no other, and keeps it. Where no pin is
    /// free one is waited for: the backend is nobody else's meanwhile.
    pub(super) fn keep_backend(&mut self, active: &mut Active, now: Instant) -> Result<(), Ending> {
        let Ownership::Leased(lease) = &mut active.ownership else { return Ok(()) };
        let keeps = self.session.keeps();
        match self.route.pool.try_pin(lease, reasons(keeps), now) {
            Ok(()) => active.pinning = None,
            Err(_) if Keeps::BETTER_KEPT.contains(keeps) => self.session.forgo(keeps),
            Err(PinFault::Exhausted(_)) => self.wait_for_pin(active, keeps, now),
            Err(denied) => {
                let fault = pin_fault(&self.route.database, &self.route.user, keeps, &denied);
                return Err(Ending::told(fault.into_fatal()));
            }
        }
        Ok(())
    }

    /// When to look next whether others need the backend more than this session does, that has it only because it is
    /// better kept.
    pub(super) fn courtesy_due(&self, active: &Active) -> Option<Instant> {
        let Ownership::Leased(lease) = &active.ownership else { return None };
        (lease.is_pinned() && self.session.may_forgo_backend()).then(|| Instant::now() + COURTESY)
    }

    /// Gives up a backend that is only better kept, and that has not been used for a moment, where others have waited
    /// for one or for a pin whenever it looked.
    pub(super) fn make_room_for_others(&mut self, active: &mut Active, now: Instant) -> Result<(), Ending> {
        let Ownership::Leased(lease) = &active.ownership else { return Ok(()) };
        let rests = lease.is_pinned() && active.last_frame.is_none_or(|last| last + COURTESY <= now);
        if !rests || !self.session.may_forgo_backend() || !self.route.pool.is_wanted() {
            active.wanted_since = None;
            return Ok(());
        }
        if *active.wanted_since.get_or_insert(now) + PATIENCE > now {
            return Ok(());
        }
        let keeps = self.session.keeps();
        if keeps.contains(Keeps::SEQUENCES) {
            self.aside.drew_on = Some(lease.id());
        }
        self.session.forgo(keeps);
        self.release_if_done(active, now)
    }

    /// A statement is about to leave something on the backend that can be carried to no other. Whether it can be
    /// judged again; otherwise it waits for a pin.
    pub(super) fn ask_for_pin(&mut self, active: &mut Active, keeps: Keeps, now: Instant) -> bool {
        let Ownership::Leased(lease) = &mut active.ownership else { return true };
        match self.route.pool.try_pin(lease, reasons(keeps), now) {
            Ok(()) => active.pinning = None,
            Err(PinFault::Exhausted(pins)) if pins.limit > 0 => {
                self.wait_for_pin(active, keeps, now);
                return false;
            }
            Err(refused) => {
                self.session.pin_refused(pin_fault(&self.route.database, &self.route.user, keeps, &refused));
            }
        }
        true
    }

    fn wait_for_pin(&self, active: &mut Active, keeps: Keeps, now: Instant) {
        let Ownership::Leased(lease) = &active.ownership else { return };
        if active.pinning.is_none() {
            let waiting = self.route.pool.wait_for_pin(lease, reasons(keeps), now);
            active.pinning = Some(Pinning { waiting, keeps, asked: now });
        }
    }

    /// Takes the pin that was waited for, if it has come or was waited for too long. Whether anything happened.
    pub(super) fn take_pin(&mut self, active: &mut Active, cx: &mut Context<'_>, now: Instant) -> Result<bool, Ending> {
        let Some(Pinning { waiting, keeps, asked }) = &mut active.pinning else { return Ok(false) };
        let (keeps, asked) = (*keeps, *asked);
        if Pin::new(waiting).poll(cx).is_ready() {
            active.pinning = None;
            if let Ownership::Leased(lease) = &mut active.ownership {
                lease.now_pinned();
            }
            if matches!(active.held, Some((Wait::Pin(_), _))) {
                active.measured.waited += now.saturating_duration_since(asked);
                active.held = None;
            }
            return Ok(true);
        }
        let patience = self.route.pool.timeout();
        if now < asked + patience {
            return Ok(false);
        }
        self.route.limit_hits.hit(Limit::MaxPinned);
        let pins = self.route.pool.pins_exhausted(now);
        let fault = pins_in_vain(&self.route.database, &self.route.user, keeps, &pins, patience);
        if self.refuse_pin(active, fault.clone()) { Ok(true) } else { Err(Ending::told(fault.into_fatal())) }
    }

    /// The frame that waits for a pin is answered with this. Whether there is one; the wait is over in any case.
    pub(super) fn refuse_pin(&mut self, active: &mut Active, fault: Fault) -> bool {
        let asked = active.pinning.take().map(|pinning| pinning.asked);
        if !matches!(active.held, Some((Wait::Pin(_), _))) {
            return false;
        }
        active.measured.waited += asked.map(|asked| asked.elapsed()).unwrap_or_default();
        self.session.pin_refused(fault);
        active.held = None;
        true
    }
}

/// What the pool counts a pin as.
pub(super) fn reasons(keeps: Keeps) -> PinReasons {
    let named = [
        (Keeps::ADVISORY_LOCKS, PinReason::AdvisoryLock),
        (Keeps::BACKEND_STATE, PinReason::BackendState),
        (Keeps::CHANNELS, PinReason::Listening),
        (Keeps::HELD_CURSORS, PinReason::HeldCursor),
        (Keeps::LIBRARY, PinReason::Library),
        (Keeps::PREPARED_STATEMENTS, PinReason::PreparedStatement),
        (Keeps::PROCESS_ID, PinReason::BackendIdentity),
        (Keeps::SEQUENCES, PinReason::Sequence),
        (Keeps::SETTINGS, PinReason::Setting),
        (Keeps::TEMPORARY_OBJECTS, PinReason::TemporaryObject),
        (Keeps::UNKNOWN.union(Keeps::UNREADABLE), PinReason::Unknown),
    ];
    named.into_iter().filter(|(keep, _)| keeps.intersects(*keep)).map(|(_, reason)| reason).collect()
}
