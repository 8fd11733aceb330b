//! LISTEN by a backend that many sessions share: asking for it, and giving a client what was heard.

use tokio::time::Instant;

use super::active::Active;
use super::ending::Ending;
use super::serve::Serve;
use crate::notify::{Channel, Ticket, When};
use crate::session::{Outgoing, Wait};
use crate::sql::{Command, Pattern};
use crate::wire::Frame;
use crate::wire::build::{self, Fault};
use crate::wire::sqlstate;
use crate::wire::tag::backend;

/// Bytes of notifications that are given to a client at once; the others follow when it has read these.
const GIVEN_AT_ONCE: usize = 64 * 1024;

impl Serve {
    /// Goes on with what waits for a listening backend, and gives the client its notifications where it is between
    /// two transactions. Whether anything happened.
    pub(super) fn hear(&mut self, active: &mut Active, now: Instant) -> Result<bool, Ending> {
        let mut progress = match active.held {
            Some((Wait::Listen, _)) => self.go_on_listening(active),
            Some((Wait::Channels, _)) => self.bring_channels(active),
            _ => false,
        };
        if let Some(full) = self.subscriber.as_ref().and_then(|subscriber| subscriber.overflow()) {
            return Err(Ending::Told(full.fault()));
        }
        if self.session.take_discarded() {
            self.subscriber = None;
            self.session.set_listening(false);
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

    /// A LISTEN or UNLISTEN that is a transaction of its own waits.
    fn go_on_listening(&mut self, active: &mut Active) -> bool {
        let Some(pattern) = self.session.wants_to_listen() else { return false };
        if active.listening.is_none() {
            match self.listen(&pattern) {
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
        if let Some(subscriber) = &mut self.subscriber {
            match outcome {
                Ok(()) => subscriber.commit(),
                Err(_) => subscriber.rollback(),
            }
            let listening = subscriber.channels().next().is_some();
            self.session.set_listening(listening);
        }
        self.session.listened(outcome.map(|()| pattern).map_err(|not_heard| not_heard.to_frame()));
        true
    }

    fn listen(&mut self, pattern: &Pattern) -> Result<Ticket, Fault> {
        let channel = |name: &str| {
            Channel::new(name.as_bytes()).map_err(|bad| Fault::error(sqlstate::NAME_TOO_LONG, bad.to_string()))
        };
        if self.subscriber.is_none() {
            let encoding = self.session.profile().get(b"client_encoding");
            let subscriber = self.route.subscriber(encoding, &self.handle).map_err(|full| {
                Fault::error(sqlstate::TOO_MANY_CONNECTIONS, full.to_string())
                    .hint("Raise limits.listeners in pgweir's configuration.")
            })?;
            self.subscriber = Some(Box::new(subscriber));
        }
        let Some(subscriber) = &mut self.subscriber else { return Ok(Ticket::done()) };
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

    /// A statement waits that reads which channels its session listens to: its backend must know them.
    fn bring_channels(&mut self, active: &mut Active) -> bool {
        let mut told = Vec::new();
        let channels = self.subscriber.iter().flat_map(|subscriber| subscriber.channels().map(Channel::name));
        self.session.listen_there(channels, &mut told);
        active.to_backend.push(&told);
        active.held = None;
        true
    }

    /// A ReadyForQuery is kept back: before it the client is given what was notified before.
    fn give_ready(&mut self, active: &mut Active, now: Instant) -> Result<bool, Ending> {
        if let Some(subscriber) = &self.subscriber {
            let barrier = active.barrier.get_or_insert_with(|| subscriber.barrier());
            if barrier.outcome().is_none() {
                return Ok(false);
            }
            active.barrier = None;
            self.give_mail(active)?;
        }
        let mut ready = Vec::new();
        self.session.give_ready(&mut ready);
        active.to_client.push(&ready);
        self.release_if_done(active, now)?;
        Ok(true)
    }

    fn give_mail(&self, active: &mut Active) -> Result<bool, Ending> {
        let Some(subscriber) = self.subscriber.as_ref().filter(|subscriber| subscriber.has_mail()) else {
            return Ok(false);
        };
        let mut mail = Vec::new();
        subscriber.take(&mut mail, GIVEN_AT_ONCE).map_err(|full| Ending::Told(full.fault()))?;
        active.to_client.push(&mail);
        Ok(true)
    }

    /// The transaction that has ended has notified: its backend is kept until those who listen have heard it, so that
    /// they are told who it was. Whether that must be waited for.
    pub(super) fn is_being_heard(&mut self, active: &mut Active) -> bool {
        if self.session.take_notified() {
            active.settling = self.route.hub.barrier(&self.route.target.endpoint(), &self.handle);
        }
        active.settling.is_some()
    }
}

/// Gives the client a notification of its own backend as from the client that `author` says had the backend with a
/// process id: others are known by the ids that they were given. `false` for any other frame.
pub(super) fn readdress(frame: &Frame<'_>, author: impl Fn(i32) -> i32, out: &mut Outgoing) -> bool {
    let Some((pid, rest)) = frame.body.split_first_chunk::<4>() else { return false };
    if frame.tag != backend::NOTIFICATION_RESPONSE || !frame.is_whole() {
        return false;
    }
    build::write_frame(&mut out.before, frame.tag, |to| {
        to.extend_from_slice(&author(i32::from_be_bytes(*pid)).to_be_bytes());
        to.extend_from_slice(rest);
    });
    true
}
