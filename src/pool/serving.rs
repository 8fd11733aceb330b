//! Who waits is served: the decisions about waiters that [`State`] makes, under the pool's lock.

use tokio::time::Instant;

use super::choice::Taken;
use super::lease::Duty;
use super::pins::{Pin, PinFault, PinsExhausted};
use super::queue::{Claim, Line, Ticket};
use super::slots::{BackendId, Home};
use super::state::{Account, Came, Chores, Outcome, State, Waiter};
use super::{LeaseError, Manager, Wish};
use crate::config::Pinning;

fn line_for(wish: &Wish) -> Line {
    wish.must.map_or(Line::Any, Line::One)
}

/// Whom a backend waits for, or goes to.
enum Next {
    Waiter(Ticket),
    /// Whoever comes with the settings that it carries, until the first of the queue must be served.
    Alike {
        until: Instant,
    },
    Nobody,
}

impl<M: Manager> State<M> {
    // === coming and going ===

    /// Lets one more wait, from `since` on; `promised` says that a pin is kept for it already.
    pub(super) fn admit(&mut self, wish: Wish, since: Instant, promised: bool, account: Account<'_>) -> Ticket {
        let promised = promised || (!wish.pin.is_empty() && self.promise(account));
        let line = if wish.pin.is_empty() || promised { line_for(&wish) } else { Line::Pin };
        let claim = Claim { worker: wish.worker, priority: wish.priority, arrived: since };
        self.queue.join(line, claim, Waiter { wish, waker: None, outcome: Outcome::Open, promised })
    }

    /// Waiters of any kind.
    pub(super) fn waiters(&self) -> usize {
        self.queue.waiting() + self.queue.aside()
    }

    /// Fails the first `count` of those whom any backend would serve.
    pub(super) fn fail(&mut self, count: usize, error: &LeaseError<M::Error>, chores: &mut Chores<M>) {
        for _ in 0..count {
            let Some(ticket) = self.queue.call(None) else { return };
            self.turn_away(ticket, error.clone(), chores);
        }
    }

    /// Fails those who wait for a pin.
    pub(super) fn fail_for_pins(&mut self, error: &LeaseError<M::Error>, chores: &mut Chores<M>) {
        while let Some(ticket) = self.queue.call_pin() {
            self.turn_away(ticket, error.clone(), chores);
        }
    }

    /// Fails everybody.
    pub(super) fn fail_all(&mut self, error: &LeaseError<M::Error>, chores: &mut Chores<M>) {
        self.fail(usize::MAX, error, chores);
        self.fail_for_pins(error, chores);
        for id in self.queue.wanted_ones().collect::<Vec<_>>() {
            self.fail_for_one(id, error, chores);
        }
    }

    fn fail_for_one(&mut self, id: BackendId, error: &LeaseError<M::Error>, chores: &mut Chores<M>) {
        while let Some(ticket) = self.queue.call_one(id) {
            self.turn_away(ticket, error.clone(), chores);
        }
    }

    fn turn_away(&mut self, ticket: Ticket, error: LeaseError<M::Error>, chores: &mut Chores<M>) {
        let Some(waiter) = self.queue.waiter_mut(ticket) else { return };
        waiter.outcome = Outcome::Failed(error);
        chores.wakers.extend(waiter.waker.take());
        if std::mem::take(&mut waiter.promised) {
            self.pins.unpromise();
        }
    }

    /// How many waiters a refused connect fails: those that only connects could serve.
    pub(super) fn refused_waiters(&self) -> usize {
        let alive = self.slots.idle() + self.slots.leased();
        if alive == 0 { self.queue.waiting() } else { self.slots.connecting() + self.slots.room(true) }
    }

    // === pins ===

    /// Leases that may be pinned: with "auto" all but one of the backends that there may be, so that one is left for
    /// transactions.
    pub(super) fn pin_limit(&self, account: Account<'_>) -> usize {
        self.config.max_pinned.unwrap_or_else(|| {
            let ceiling = self.slots.limits().ceiling();
            let most = account.budget.max().map_or(ceiling, |max| max.min(ceiling));
            most.saturating_sub(1).max(1)
        })
    }

    /// Why no pin will ever be granted.
    pub(super) fn never_pins(&self, account: Account<'_>, now: Instant) -> Option<PinFault> {
        if self.config.pin == Pinning::Deny {
            return Some(PinFault::Denied);
        }
        (self.pin_limit(account) == 0).then(|| PinFault::Exhausted(Box::new(self.pins_exhausted(account, now))))
    }

    pub(super) fn pins_exhausted(&self, account: Account<'_>, now: Instant) -> PinsExhausted {
        PinsExhausted {
            limit: self.pin_limit(account),
            taken: self.pins.taken(),
            waiting: self.waiting_for_pin(),
            counts: self.pins.counts(),
            longest: self.pins.longest(now),
        }
    }

    /// Pins a leased backend, or adds to what it is pinned for. False if there is no pin for it.
    pub(super) fn pin(&mut self, id: BackendId, wish: &Wish, account: Account<'_>, now: Instant) -> bool {
        let known = self.pins.get(id).map(|pin| pin.reasons).unwrap_or_default();
        let pin = Pin { reasons: wish.pin, holder: wish.holder, since: now };
        let pinned = self.pins.add(id, pin, self.pin_limit(account));
        if pinned {
            self.totals.pins.count(wish.pin.without(known));
        }
        pinned
    }

    fn promise(&mut self, account: Account<'_>) -> bool {
        let limit = self.pin_limit(account);
        self.pins.promise(limit)
    }

    /// Those who wait for a pin get what there is, and wait for a backend from then on, in their old place.
    fn grant_pins(&mut self, account: Account<'_>) {
        while let Some(ticket) = self.queue.first_for_pin() {
            if !self.promise(account) {
                return;
            }
            let Some(waiter) = self.queue.waiter_mut(ticket) else {
                debug_assert!(false, "who waits for a pin is still there");
                return self.pins.unpromise();
            };
            waiter.promised = true;
            let line = line_for(&waiter.wish);
            self.queue.move_to(ticket, line);
        }
    }

    // === backends ===

    /// A usable backend comes back to, or arrives at, `home`: to a waiter, to its shelf, or closed.
    pub(super) fn take_back(
        &mut self,
        came: Came<M::Backend>,
        account: Account<'_>,
        now: Instant,
        chores: &mut Chores<M>,
    ) {
        self.settle(chores);
        let rests = self.rests(now);
        let wanted = self.queue.wants_one(came.id);
        let keeps = if wanted {
            self.slots.keeps_for_one(came.id)
        } else {
            let waited_for = self.queue.waiting() > 0;
            self.slots.keeps(came.id, waited_for, now)
                && (waited_for || !rests)
                && !account.budget.must_yield(account.member, now)
        };
        // What another pool is to have must be free at the server first.
        if !keeps && (rests || account.budget.contended()) {
            return self.see_off(came.id, came.backend, chores);
        }
        if !keeps {
            return self.close_seat(came.id, Some(came.backend), chores);
        }
        match self.next_for(&came, wanted, now) {
            Next::Waiter(ticket) => {
                self.totals.handed_over += u64::from(came.returned);
                self.hand(ticket, came.id, came.backend, now, chores);
            }
            Next::Alike { until } => self.lingering.keep(came, now, until),
            Next::Nobody => self.park(came, now, chores),
        }
    }

    fn park(&mut self, came: Came<M::Backend>, now: Instant, chores: &mut Chores<M>) {
        if let Err(stray) = self.slots.park(came.id, came.backend, came.profile, now) {
            debug_assert!(false, "what comes back was leased");
            chores.close([stray]);
        }
    }

    /// Who gets a backend that came back; `wanted` says that somebody waits for it and no other.
    fn next_for(&mut self, came: &Came<M::Backend>, wanted: bool, now: Instant) -> Next {
        let affinity = self.config.settings_affinity.filter(|_| came.returned && !wanted);
        if let Some(patience) = affinity
            && let Some((first, arrived)) = self.queue.first()
            && first.wish.profile != came.profile
            && now < arrived + patience
        {
            let alike = |waiter: &Waiter<M>| waiter.wish.profile == came.profile;
            if let Some(ticket) = self.queue.call_alike(came.home, patience, alike) {
                return Next::Waiter(ticket);
            }
            if self.lingering.is_worth() {
                return Next::Alike { until: arrived + patience };
            }
        }
        self.queue.call_for(came.id, came.home).map_or(Next::Nobody, Next::Waiter)
    }

    /// What one who comes now gets without waiting: an idle backend if nobody waits for one, else one that was kept for
    /// its settings.
    pub(super) fn take_at_once(&mut self, wish: &Wish, now: Instant) -> Option<Taken<M::Backend>> {
        let home = Some(wish.worker);
        if self.queue.waiting() > 0 {
            return self.take_lingering(wish, now);
        }
        let fresh = self.fresh(now);
        match wish.must {
            Some(id) => self.slots.take_one(id, home, wish, now, fresh),
            None => self.slots.take(home, wish, now, fresh),
        }
    }

    fn take_lingering(&mut self, wish: &Wish, now: Instant) -> Option<Taken<M::Backend>> {
        let patience = self.config.settings_affinity?;
        let particular = !wish.pin.is_empty() || wish.must.is_some();
        if self.lingering.is_empty() || particular || !self.queue.is_near(now, wish.priority, patience) {
            return None;
        }
        let Came { id, backend, .. } = self.lingering.take_alike(wish.profile, Some(wish.worker))?;
        let from = self.slots.pass_on(id, wish, now);
        Some(Taken { id, backend, from, expired: false })
    }

    /// Backends for whose settings nobody came are for everybody.
    fn end_lingering(&mut self, account: Account<'_>, now: Instant, chores: &mut Chores<M>) {
        loop {
            let needless = self.closed || self.lingers_needlessly();
            let Some(came) = self.lingering.take_due(now, |id| needless || self.queue.wants_one(id)) else { return };
            self.take_back(Came { returned: false, ..came }, account, now, chores);
        }
    }

    /// Whether backends are kept from others though nobody waits any more.
    pub(super) fn lingers_needlessly(&self) -> bool {
        !self.lingering.is_empty() && self.queue.waiting() == 0
    }

    fn hand(&mut self, ticket: Ticket, id: BackendId, backend: M::Backend, now: Instant, chores: &mut Chores<M>) {
        let Some(waiter) = self.queue.waiter_mut(ticket) else {
            debug_assert!(false, "who was called is still there");
            return self.close_seat(id, Some(backend), chores);
        };
        let wish = waiter.wish;
        let from = self.slots.pass_on(id, &wish, now);
        waiter.outcome = Outcome::Handed { id, backend, from };
        chores.wakers.extend(waiter.waker.take());
        if std::mem::take(&mut waiter.promised) {
            self.pins.keep_promise(id, Pin { reasons: wish.pin, holder: wish.holder, since: now });
            self.totals.pins.count(wish.pin);
        }
    }

    /// Whether all that may be had is with sessions, so that only the end of a lease can serve those who wait.
    fn is_at_full_stretch(&self) -> bool {
        let at_work = self.slots.connecting() + self.proving + self.lingering.len();
        let particular = self.hopefuls.len() + self.queue.aside();
        let had = self.slots.idle() + self.slots.room(true);
        self.queue.waiting() > 0 && at_work == 0 && particular == 0 && had == 0
    }

    /// Sees to it that everything that can be done for those who wait is under way. Tasks will run on `home`.
    pub(super) fn pump(&mut self, account: Account<'_>, home: Home, now: Instant, chores: &mut Chores<M>) {
        if !self.lingering.is_empty() {
            self.end_lingering(account, now, chores);
        }
        if self.closed || self.is_at_full_stretch() {
            return;
        }
        if !self.hopefuls.is_empty() {
            self.grant_hopefuls(account, chores);
        }
        if self.queue.aside() > 0 {
            self.grant_pins(account);
            self.serve_ones(home, now, chores);
        }
        self.hand_out_idle(now, chores);
        self.prove_idle(home, now, chores);
        let opened = self.open_for_waiters(account, home, now, chores);
        if opened {
            self.open_ahead(account, home, now, chores);
        }
        if self.lingers_needlessly() {
            self.end_lingering(account, now, chores);
        }
        chores.look_again([self.lingering.next_due()]);
    }

    /// Those who wait for one backend get it if it is idle, and are told if it is gone.
    fn serve_ones(&mut self, home: Home, now: Instant, chores: &mut Chores<M>) {
        let fresh = self.fresh(now);
        for id in self.queue.wanted_ones().collect::<Vec<_>>() {
            if !self.slots.exists(id) {
                self.fail_for_one(id, &LeaseError::BackendGone, chores);
            }
            if !self.slots.is_idle(id) {
                continue;
            }
            let proof = Wish::default();
            if let Some(taken) = self.slots.take_one(id, home, &proof, now, &fresh) {
                self.slots.set_home(id, taken.from);
                if let Some(ticket) = self.queue.call_one(id) {
                    self.hand(ticket, id, taken.backend, now, chores);
                }
            } else if let Some(taken) = self.slots.take_one(id, home, &proof, now, |_| true) {
                self.slots.send_on_errand(id);
                chores.rare().proofs.push((taken, Duty::ProofForOne));
            }
        }
    }

    fn hand_out_idle(&mut self, now: Instant, chores: &mut Chores<M>) {
        while self.slots.idle() > 0 {
            let Some((first, _)) = self.queue.first() else { return };
            let wish = first.wish;
            let home = Some(wish.worker);
            let Some(taken) = self.slots.take(home, &wish, now, self.fresh(now)) else { return };
            if taken.expired {
                self.close_seat(taken.id, Some(taken.backend), chores);
                continue;
            }
            let Some(ticket) = self.queue.call(None) else { return };
            self.slots.set_home(taken.id, taken.from);
            self.hand(ticket, taken.id, taken.backend, now, chores);
        }
    }

    fn prove_idle(&mut self, home: Home, now: Instant, chores: &mut Chores<M>) {
        while self.uncovered() > 0 {
            let Some((first, _)) = self.queue.first() else { return };
            let wish = Wish { holder: 0, ..first.wish };
            let Some(taken) = self.slots.take(home, &wish, now, |_| true) else { return };
            if taken.expired {
                self.close_seat(taken.id, Some(taken.backend), chores);
            } else {
                self.proving += 1;
                self.slots.send_on_errand(taken.id);
                chores.rare().proofs.push((taken, Duty::Proof));
            }
        }
    }
}
