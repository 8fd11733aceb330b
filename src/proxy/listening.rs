//! LISTEN by a backend that many sessions share: asking for it, and giving a client what was heard.

use tokio::time::Instant;

use super::active::{Active, Moving, Ownership};
use super::ending::Ending;
use super::serve::Serve;
use crate::notify::{Channel, Full, NotHeard, Subscriber, Ticket, When};
use crate::session::{Change, Outgoing, Wait, Wanted};
use crate::settings::CLIENT_ENCODING;
use crate::sql::{Command, Pattern, name_bytes};
use crate::stats::Limit;
use crate::wire::Frame;
use crate::wire::build::{self, Fault};
use crate::wire::sqlstate;
use crate::wire::tag::backend;
use crate::wire::view::Notification;

/// Bytes of notifications that are given to a client at once; the others follow when it has read these.
const GIVEN_AT_ONCE: usize = 64 * 1024;

impl Serve {
    /// Goes on with what waits for a listening backend, and gives the client its notifications where it is between
    /// two transactions. Whether anything happened.
    pub(super) fn hear(&mut self, active: &mut Active, now: Instant) -> Result<bool, Ending> {
        let no_ticket = active.first.is_none() && active.settling.is_none();
        if self.aside.subscriber.is_none() && active.held.is_none() && no_ticket && !self.session.keeps_ready_back() {
            return Ok(false);
        }
        let mut progress = match active.held {
            Some((Wait::Listen, _)) => self.go_on_listening(active),
            Some((Wait::Channels, _)) => self.bring_channels(active),
            _ => false,
        };
        if let Some(full) = self.aside.subscriber.as_ref().and_then(|subscriber| subscriber.overflow()) {
            return Err(self.too_much_mail(full));
        }
        if self.session.take_discarded() {
            self.aside.subscriber = None;
            self.session.set_listening(false);
        }
        if active.first.as_ref().is_some_and(|ticket| ticket.outcome().is_some()) {
            active.first = None;
            progress = true;
        }
        if self.session.keeps_ready_back() {
            progress |= self.give_ready(active, now)?;
        } else if active.settling.as_ref().is_some_and(|ticket| ticket.outcome().is_some()) {
            active.settling = None;
            self.release_if_done(active, now)?;
            progress = true;
        } else if self.session.is_between_transactions() && active.to_client.is_empty() {
            progress |= self.give_mail(active)?;
        }
        Ok(progress)
    }

    /// A statement comes between two transactions: what was committed before it is heard before it, as by a backend
    /// that reads it. It cannot run meanwhile, or its own notifications could come before its answer. Whether it must
    /// wait.
    pub(super) fn must_hear_first(&self, active: &mut Active) -> bool {
        let Some(subscriber) = &self.aside.subscriber else { return false };
        if self.session.is_between_transactions() && !std::mem::replace(&mut active.asked_first, true) {
            active.first = Some(subscriber.barrier()).filter(|barrier| barrier.outcome().is_none());
        }
        active.first.is_some()
    }

    /// A text with LISTEN or UNLISTEN waits.
    fn go_on_listening(&mut self, active: &mut Active) -> bool {
        let Some(wanted) = self.session.wants_to_listen() else { return false };
        if active.listening.is_none() {
            let asked = match &wanted {
                Wanted::Ahead { listens, armed } => self.hold(listens.as_deref(), *armed),
                Wanted::Alone(pattern) => self.listen(pattern),
            };
            match asked {
                Ok(ticket) => active.listening = Some(ticket),
                Err(fault) => {
                    active.held = None;
                    self.session.listened(Err(fault.to_frame()));
                    return true;
                }
            }
        }
        let Some(outcome) = active.listening.as_ref().and_then(Ticket::outcome) else { return false };
        active.listening = None;
        active.held = None;
        if let (Wanted::Alone(_), Some(subscriber)) = (&wanted, &mut self.aside.subscriber) {
            match outcome {
                Ok(()) => subscriber.commit(),
                Err(_) => subscriber.rollback(),
            }
            let listening = subscriber.channels().next().is_some();
            self.session.set_listening(listening);
        }
        if matches!(outcome, Err(NotHeard::TooMany { .. })) {
            self.route.limit_hits.hit(Limit::Channels);
        }
        self.session.listened(outcome.map_err(|not_heard| not_heard.to_frame()));
        true
    }

    /// Before a text runs that listens, or commits what has listened.
    fn hold(&mut self, listens: Option<&Pattern>, armed: bool) -> Result<Ticket, Fault> {
        let mut tickets = Vec::new();
        for command in listens.map_or(&[][..], |pattern| &pattern.traits.commands) {
            if let Command::Listen(name) = command {
                let channel = channel(name)?;
                tickets.push(self.subscriber()?.hold(&channel, When::AtCommit));
            }
        }
        if armed && let Some(subscriber) = &self.aside.subscriber {
            tickets.extend(subscriber.arm());
        }
        Ok(Ticket::all(tickets))
    }

    /// The transactions that have ended are known to have done this to what the session listens to.
    fn settle_channels(&mut self, changes: Vec<Change>) {
        let Some(subscriber) = &mut self.aside.subscriber else { return };
        for change in changes {
            match change {
                Change::Listen(name) => _ = channel(&name).map(|channel| subscriber.listened(channel)),
                // Nothing can have listened to a name that no channel has.
                Change::Unlisten(name) => _ = channel(&name).map(|channel| subscriber.unlisten(channel)),
                Change::UnlistenAll => subscriber.unlisten_all(),
            }
        }
        subscriber.commit();
        let listening = subscriber.channels().next().is_some();
        self.session.set_listening(listening);
    }

    fn listen(&mut self, pattern: &Pattern) -> Result<Ticket, Fault> {
        let subscriber = self.subscriber()?;
        match &*pattern.traits.commands {
            [Command::Listen(name)] => Ok(subscriber.listen(channel(name)?, When::Now)),
            [Command::Unlisten(Some(name))] => {
                subscriber.unlisten(channel(name)?);
                Ok(Ticket::done())
            }
            _ => {
                subscriber.unlisten_all();
                Ok(Ticket::done())
            }
        }
    }

    /// The session's side of its listening backend, which it has from now on.
    fn subscriber(&mut self) -> Result<&mut Subscriber, Fault> {
        let encoding = self.session.profile().get(CLIENT_ENCODING);
        let subscriber = match self.aside.subscriber.take() {
            Some(subscriber) if !(subscriber.is_idle() && subscriber.is_foreign_to(encoding)) => subscriber,
            _ => {
                let subscriber = self.route.subscriber(encoding, &self.handle).map_err(|full| {
                    self.route.limit_hits.hit(Limit::Listeners);
                    Fault::error(sqlstate::TOO_MANY_CONNECTIONS, full.to_string())
                        .hint("Raise limits.listeners in pgweir's configuration.")
                })?;
                Box::new(subscriber)
            }
        };
        Ok(self.aside.subscriber.insert(subscriber))
    }

    /// A statement waits that reads which channels its session listens to: its backend must know them.
    fn bring_channels(&mut self, active: &mut Active) -> bool {
        let mut told = Vec::new();
        let channels = self.aside.subscriber.iter().flat_map(|subscriber| subscriber.channels().map(Channel::name));
        self.session.listen_there(channels, &mut told);
        active.to_backend.push(&told);
        active.held = None;
        true
    }

    /// A ReadyForQuery is kept back: before it the client is given what was notified before.
    fn give_ready(&mut self, active: &mut Active, now: Instant) -> Result<bool, Ending> {
        if let Some(changes) = self.session.take_changes() {
            self.settle_channels(changes);
        }
        if self.waits_to_move(active) {
            return Ok(false);
        }
        if let Some(subscriber) = &self.aside.subscriber {
            let barrier = active.barrier.get_or_insert_with(|| subscriber.barrier());
            if barrier.outcome().is_none() {
                return Ok(false);
            }
            active.barrier = None;
            self.give_mail(active)?;
        }
        if let Some(Moving { mut to, .. }) = active.moving.take() {
            to.commit();
            self.aside.subscriber = Some(to);
        }
        let mut ready = Vec::new();
        self.session.give_ready(&mut ready);
        active.to_client.push(&ready);
        if !active.unjudged {
            self.release_if_done(active, now)?;
        }
        Ok(true)
    }

    /// A client whose encoding has become another one hears in that from now on, by another listening backend: once that
    /// listens, the one of before is left with all that it has heard. Whether that must be waited for.
    fn waits_to_move(&mut self, active: &mut Active) -> bool {
        let Some(subscriber) = &mut self.aside.subscriber else { return false };
        let encoding = self.session.profile().get(CLIENT_ENCODING);
        if active.moving.is_none() && subscriber.is_foreign_to(encoding) {
            active.moving = self.route.subscriber(encoding, &self.handle).ok().and_then(|to| {
                let mut to = Box::new(to);
                let ticket = subscriber.follow_to(&mut to)?;
                Some(Moving { to, ticket })
            });
            if active.moving.is_none() {
                subscriber.stay_for(encoding);
            }
        }
        match active.moving.as_ref().map(|moving| moving.ticket.outcome()) {
            Some(None) => true,
            Some(Some(Err(_))) => {
                active.moving = None;
                subscriber.stay_for(encoding);
                false
            }
            Some(Some(Ok(()))) | None => false,
        }
    }

    fn give_mail(&self, active: &mut Active) -> Result<bool, Ending> {
        let mail = self.mail()?;
        active.to_client.push(mail.as_deref().unwrap_or_default());
        Ok(mail.is_some())
    }

    fn mail(&self) -> Result<Option<Vec<u8>>, Ending> {
        let Some(subscriber) = self.aside.subscriber.as_ref().filter(|subscriber| subscriber.has_mail()) else {
            return Ok(None);
        };
        let mut mail = Vec::new();
        subscriber.take(&mut mail, GIVEN_AT_ONCE).map_err(|full| self.too_much_mail(full))?;
        Ok(Some(mail))
    }

    /// The client is told that more waits for it than may, and closed.
    fn too_much_mail(&self, full: Full) -> Ending {
        self.route.limit_hits.hit(Limit::Notifications);
        Ending::told(full.fault())
    }

    /// The transaction that has ended has notified: its backend is kept until those who listen have heard it, so that
    /// they are told who it was. Whether that must be waited for.
    pub(super) fn is_being_heard(&mut self, active: &mut Active) -> bool {
        if self.session.take_notified() {
            if let Ownership::Leased(lease) = &active.ownership {
                // It may have turned out only now.
                lease.holder.notifies();
            }
            active.settling = self.route.hub.barrier(&self.route.target.endpoint(), &self.handle);
        }
        active.settling.is_some()
    }
}

fn channel(name: &str) -> Result<Channel, Fault> {
    Channel::new(&name_bytes(name)).map_err(|bad| Fault::error(sqlstate::NAME_TOO_LONG, bad.to_string()))
}

/// Gives the client a notification of its own backend as from the client that `author` says had the backend with a
/// process id: others are known by the ids that they were given. What comes by a shared backend, too, is dropped.
/// `false` for any other frame.
pub(super) fn readdress(
    frame: &Frame<'_>,
    author: impl Fn(i32) -> i32,
    shared: Option<&Subscriber>,
    out: &mut Outgoing,
) -> bool {
    if frame.tag != backend::NOTIFICATION_RESPONSE {
        return false;
    }
    let Ok(notification) = Notification::read(frame.body) else { return false };
    if shared.is_some_and(|subscriber| subscriber.hears(notification.channel)) {
        return true;
    }
    build::write_frame(&mut out.before, frame.tag, |to| {
        to.extend_from_slice(&author(notification.pid).to_be_bytes());
        to.extend_from_slice(frame.body.get(4..).unwrap_or_default());
    });
    true
}
