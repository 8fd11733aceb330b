//! The future that serves one session.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::active::{Active, Ownership, Rest};
use super::ending::Ending;
use super::{Route, Worker};
use crate::clients::{Client, Seat, Signal};
use crate::net::Stream;
use crate::pool::BackendId;
use crate::session::Session;
use crate::wire::build::Fault;
use crate::wire::sqlstate;

/// A session that has logged in.
#[derive(Debug)]
pub struct Serve {
    pub(super) client: Stream,
    pub(super) session: Session,
    pub(super) handle: Arc<Client>,
    pub(super) worker: Arc<Worker>,
    pub(super) route: Arc<Route>,
    pub(super) last_backend: Option<BackendId>,
    pub(super) active: Option<Box<Active>>,
    pub(super) draining: bool,
}

/// Serves a client from its first ReadyForQuery to its end.
pub async fn serve(client: Stream, session: Session, seat: Seat, handle: Arc<Client>, worker: Arc<Worker>, route: Arc<Route>) {
    let mut serve = Serve { client, session, handle, worker, route, last_backend: None, active: None, draining: false };
    let ending = (&mut serve).await;
    Box::pin(serve.finish(ending)).await;
    drop(seat);
}

impl Future for Serve {
    type Output = Ending;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ending> {
        let this = self.get_mut();
        this.handle.listen(cx.waker());
        let now = Instant::now();
        let mut active = this.active.take().unwrap_or_else(|| this.worker.take_active());
        let outcome = this.run(&mut active, cx, now);
        if let Err(ending) = outcome {
            this.active = Some(active);
            return Poll::Ready(ending);
        }
        if active.is_idle() && this.session.is_between_transactions() {
            this.worker.give_active(active);
        } else {
            this.set_alarm(&active);
            this.active = Some(active);
        }
        Poll::Pending
    }
}

impl Serve {
    /// Does all that can be done now.
    fn run(&mut self, active: &mut Active, cx: &mut Context<'_>, now: Instant) -> Result<(), Ending> {
        self.heed_signals(active, cx, now)?;
        loop {
            let mut progress = self.flush_client(active, cx)?;
            progress |= self.take_lease(active, cx, now)?;
            progress |= self.flush_backend(active, cx)?;
            progress |= self.read_backend(active, cx, now)?;
            progress |= self.read_client(active, cx, now)?;
            if !progress {
                return self.leave_if_draining(active);
            }
        }
    }

    fn heed_signals(&mut self, active: &mut Active, cx: &mut Context<'_>, now: Instant) -> Result<(), Ending> {
        let signals = self.handle.take_signals();
        if signals.is_empty() {
            return Ok(());
        }
        if signals.has(Signal::End) {
            return Err(Ending::Told(shutting_down()));
        }
        if signals.has(Signal::Drain) {
            self.draining = true;
        }
        if signals.has(Signal::Cancel) {
            self.cancelled(active);
        }
        self.check_deadlines(active, cx, now)
    }

    /// While pgweir drains, a session ends as soon as it has no transaction and is owed nothing.
    fn leave_if_draining(&self, active: &Active) -> Result<(), Ending> {
        let nothing_owed = self.session.is_between_transactions()
            && active.from_client.is_empty()
            && active.to_client.is_empty()
            && active.client_rest == Rest::None
            && !matches!(active.ownership, Ownership::Waiting { .. });
        if self.draining && nothing_owed { Err(Ending::Told(shutting_down())) } else { Ok(()) }
    }

    fn flush_client(&mut self, active: &mut Active, cx: &mut Context<'_>) -> Result<bool, Ending> {
        if active.to_client.is_empty() {
            return Ok(false);
        }
        match active.to_client.poll_send(&mut self.client, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(_)) => Err(Ending::ClientGone),
        }
    }

    fn flush_backend(&mut self, active: &mut Active, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let Active { to_backend, ownership: Ownership::Leased { lease, .. }, .. } = active else {
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
