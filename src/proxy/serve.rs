//! The future that serves one session.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::active::{Active, Ownership, Rest};
use super::ending::Ending;
use super::half_closed::client_deaf;
use super::worker::Occupied;
use super::{Route, Worker};
use crate::clients::{Client, Seat, Signal};
use crate::net::Stream;
use crate::notify::Subscriber;
use crate::pool::BackendId;
use crate::session::Session;
use crate::wire::build::Fault;
use crate::wire::sqlstate;

/// A session that has logged in.
#[derive(Debug)]
pub(super) struct Serve {
    pub(super) client: Stream,
    pub(super) session: Session,
    pub(super) handle: Arc<Client>,
    pub(super) route: Arc<Route>,
    pub(super) active: Option<Box<Active>>,
    pub(super) aside: Box<Aside>,
}

/// The rest of a session: in a box, because tokio rounds the size of a task up to a multiple of 128.
#[derive(Debug)]
pub(super) struct Aside {
    /// What it occupies until its end.
    _seat: Seat,
    occupied: Occupied,
    pub(super) last_backend: Option<BackendId>,
    /// Where it last drew from a sequence, as long as nobody else has drawn there since.
    pub(super) drew_on: Option<BackendId>,
    /// What it listens to by a shared backend; nothing for most.
    pub(super) subscriber: Option<Box<Subscriber>>,
    pub(super) draining: bool,
    /// Signals wake this task. A task has one waker for its life, so they need to know it once.
    pub(super) listens: bool,
}

/// A session from its first ReadyForQuery to its end: the task of a client that has logged in. Written by hand,
/// because an `async fn` would hold all of its arguments twice.
#[derive(Debug)]
pub struct Serving(State);

enum State {
    Ending(Pin<Box<dyn Future<Output = ()> + Send>>),
    Serving(Serve),
    Over,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ending(_) => "Ending",
            Self::Serving(_) => "Serving",
            Self::Over => "Over",
        })
    }
}

impl Serving {
    /// Serves a client that has been told that it may begin. `place` is what it occupies until its end, `ahead`
    /// what it has sent already.
    #[must_use]
    pub fn new(
        client: Stream,
        session: Session,
        handle: Arc<Client>,
        route: Arc<Route>,
        place: (Seat, Occupied),
        ahead: &[u8],
    ) -> Self {
        let (seat, occupied) = place;
        let active = (!ahead.is_empty()).then(|| {
            let mut active = occupied.worker().take_active();
            active.from_client.put(ahead);
            active
        });
        let aside = Box::new(Aside {
            _seat: seat,
            occupied,
            last_backend: None,
            drew_on: None,
            subscriber: None,
            draining: false,
            listens: false,
        });
        Self(State::Serving(Serve { client, session, handle, route, active, aside }))
    }
}

impl Future for Serving {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if let State::Serving(serve) = &mut this.0 {
            let Poll::Ready(ending) = serve.advance(cx) else { return Poll::Pending };
            if let State::Serving(serve) = std::mem::replace(&mut this.0, State::Over) {
                this.0 = State::Ending(Box::pin(serve.finish(ending)));
            }
        }
        match &mut this.0 {
            State::Ending(ending) => ending.as_mut().poll(cx),
            State::Serving(_) | State::Over => Poll::Ready(()),
        }
    }
}

impl Serve {
    /// Where it runs.
    pub(super) fn worker(&self) -> &Arc<Worker> {
        self.aside.occupied.worker()
    }

    /// Does what can be done now; ready when the session is over.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if !std::mem::replace(&mut self.aside.listens, true) {
            self.handle.listen(cx.waker());
        }
        let now = Instant::now();
        let mut active = self.active.take().unwrap_or_else(|| self.worker().take_active());
        let limits = self.route.limits.load();
        if !Arc::ptr_eq(&limits, &active.limits) {
            active.limits = Arc::clone(&limits);
        }
        drop(limits);
        active.asked_just_now = false;
        let outcome = self.run(&mut active, cx, now);
        if let Err(ending) = outcome {
            self.active = Some(active);
            return Poll::Ready(ending);
        }
        if active.is_idle() && self.session.is_between_transactions() {
            if active.cancel_wanted {
                // What it was for has been answered before it could be heeded.
                self.handle.cancels_are_done();
            }
            self.worker().give_active(active);
        } else {
            // What a client has not read yet keeps back what comes after it.
            let looks = active.to_client.is_empty() && self.session.is_looking();
            active.work.looks = looks.then(|| active.work.looks.unwrap_or(now));
            self.set_alarm(&active);
            self.active = Some(active);
        }
        Poll::Pending
    }

    /// Does all that can be done now.
    fn run(&mut self, active: &mut Active, cx: &mut Context<'_>, now: Instant) -> Result<(), Ending> {
        self.heed_signals(active, now)?;
        loop {
            // What is sent lets only those go on that follow here.
            self.flush_client(active, cx, now)?;
            let mut progress = self.take_lease(active, cx, now)?;
            progress |= self.take_pin(active, cx, now)?;
            progress |= self.make_way(active, cx);
            progress |= self.name_processes(active, cx);
            progress |= self.hear(active, now)?;
            self.flush_backend(active, cx)?;
            self.heed_cancel(active);
            progress |= self.read_backend(active, cx, now)?;
            let more = self.read_client(active, cx, now)?;
            // Between two transactions there is nothing to go round again for, unless something was heard meanwhile.
            let rests = !more && active.is_idle() && self.aside.subscriber.is_none();
            if rests || !(progress || more) {
                self.leave_if_done(active)?;
                return self.leave_if_draining(active);
            }
        }
    }

    fn heed_signals(&mut self, active: &mut Active, now: Instant) -> Result<(), Ending> {
        let signals = self.handle.take_signals();
        if signals.is_empty() {
            return Ok(());
        }
        if signals.has(Signal::End) {
            return Err(Ending::told(shutting_down()));
        }
        if signals.has(Signal::Drain) {
            self.aside.draining = true;
        }
        if signals.has(Signal::Cancel) {
            self.cancelled(active);
        }
        if signals.has(Signal::StandIn) {
            self.heed_mentions(active)?;
        }
        self.check_deadlines(active, now)
    }

    /// After its Terminate, or the end of its stream, a session ends as soon as what it asked for before is done.
    fn leave_if_done(&self, active: &Active) -> Result<(), Ending> {
        if active.half_closed.is_some() && self.is_all_done(active) {
            return Err(Ending::ClientGone);
        }
        let done = active.leaving
            && self.session.is_finished()
            && active.held.is_none()
            && active.to_backend.is_empty()
            && (active.to_client.is_empty() || active.to_client.is_deaf());
        if done { Err(Ending::Terminated) } else { Ok(()) }
    }

    /// While pgweir drains, a session ends as soon as it has no transaction and is owed nothing.
    fn leave_if_draining(&self, active: &Active) -> Result<(), Ending> {
        let nothing_owed = self.session.is_between_transactions()
            // What is left of what it sent is no whole message: that is not waited for.
            && active.held.is_none()
            && active.to_client.is_empty()
            && active.client_rest == Rest::None
            && !matches!(active.ownership, Ownership::Waiting { .. });
        if self.aside.draining && nothing_owed { Err(Ending::told(shutting_down())) } else { Ok(()) }
    }

    fn flush_client(&mut self, active: &mut Active, cx: &mut Context<'_>, now: Instant) -> Result<(), Ending> {
        if active.to_client.is_empty() {
            return Ok(());
        }
        match active.to_client.poll_send(&mut self.client, cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.record_ended(active, now);
                Ok(())
            }
            Poll::Ready(Err(_)) => client_deaf(active).map(|_| ()),
        }
    }

    pub(super) fn flush_backend(&mut self, active: &mut Active, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let Active { to_backend, ownership: Ownership::Leased(lease), .. } = active else {
            return Ok(false);
        };
        if to_backend.is_empty() {
            return Ok(false);
        }
        match to_backend.poll_send(&mut lease.stream, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(())) => Ok(true),
            // Its last words may still be there to be read: the end is noticed by the read.
            Poll::Ready(Err(_)) => {
                to_backend.clear(0);
                Ok(false)
            }
        }
    }
}

pub(super) fn shutting_down() -> Fault {
    Fault::fatal(sqlstate::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
        .detail("pgweir is shutting down.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_a_small_task() {
        // With what tokio keeps beside it, it is a task of 256 bytes; the next larger one has 384.
        assert!(size_of::<Serving>() <= 152, "{}", size_of::<Serving>());
    }
}
