//! Who listens to what, and what the shared backend is asked, in which order. Pure: bytes out, answers in.
//!
//! Every question is a message of its own with a ReadyForQuery of its own, so questions are answered in the order in
//! which they were asked, and what a session waits for hangs on the question whose answer proves it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::channel::Channel;
use super::mailbox::Mailbox;
use super::ticket::{Calls, NotHeard, Promise};
use crate::wire::build;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Book {
    channels: HashMap<Channel, Entry>,
    /// Questions that were not sent yet.
    waiting: VecDeque<Question>,
    /// Questions whose answer has not come, and the moment of each.
    asked: VecDeque<(Question, u64)>,
    /// Who may have missed something since the last backend was lost.
    missed: Vec<Arc<Mailbox>>,
    /// A backend is there, and all channels of old are listened to or asked for.
    up: bool,
    /// Nobody's patience ends before.
    patient_until: Option<Instant>,
}

/// A channel that somebody wants to hear; by the client's process id.
#[derive(Debug, Default)]
struct Entry {
    interests: HashMap<i32, Interest>,
    /// The backend listens to it once all questions are answered.
    on: bool,
}

#[derive(Debug)]
struct Interest {
    mailbox: Arc<Mailbox>,
    phase: Phase,
}

/// How far a session is with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The backend has not confirmed it.
    Asked,
    /// Nothing is delivered before the transaction's end.
    Held,
    /// The end of the transaction is under way: mail is kept for the case that it commits.
    Armed,
    Active,
}

#[derive(Debug)]
struct Question {
    what: What,
    then: Vec<Then>,
    /// PostgreSQL's complaint, while the ReadyForQuery is awaited.
    fault: Option<NotHeard>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Listen(Channel),
    /// All channels of a lost backend have been asked for again before.
    Resume,
    Sync,
    Unlisten(Channel),
}

/// What follows an answer.
#[derive(Debug)]
struct Then {
    promise: Promise,
    effect: Effect,
    /// When it is no longer waited for.
    until: Instant,
}

#[derive(Debug)]
enum Effect {
    Arm(Vec<Channel>),
    Confirm(Channel, Phase),
    None,
}

/// What an answer means for the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// Everything committed before this moment has arrived.
    Until(u64),
    /// Of no use any more: a channel that sessions hear cannot be listened to.
    Useless,
}

impl Book {
    // === sessions ===

    /// Wants `channel` to be heard, first in this phase once the backend has confirmed it.
    pub(super) fn hold(
        &mut self,
        mailbox: &Arc<Mailbox>,
        channel: &Channel,
        phase: Phase,
        promise: Promise,
        until: Instant,
    ) {
        let entry = self.channels.entry(channel.clone()).or_default();
        let fresh = || Interest { mailbox: Arc::clone(mailbox), phase: Phase::Asked };
        entry.interests.entry(mailbox.client.pid).or_insert_with(fresh);
        let then = Then { promise, effect: Effect::Confirm(channel.clone(), phase), until };
        if std::mem::replace(&mut entry.on, true) {
            self.follow(then);
        } else {
            self.ask(What::Listen(channel.clone()), Vec::new());
            self.follow(then);
        }
    }

    /// Keeps mail of these held channels from a moment that follows now.
    pub(super) fn arm(&mut self, channels: Vec<Channel>, promise: Promise, until: Instant) {
        self.follow(Then { promise, effect: Effect::Arm(channels), until });
    }

    /// Delivers these channels from now on.
    pub(super) fn activate<'a>(&mut self, pid: i32, channels: impl IntoIterator<Item = &'a Channel>) {
        for channel in channels {
            if let Some(interest) = self.interest(channel, pid) {
                interest.phase = Phase::Active;
            }
        }
    }

    /// The session does not want these channels any more.
    pub(super) fn release<'a>(&mut self, pid: i32, channels: impl IntoIterator<Item = &'a Channel>) {
        for channel in channels {
            let Some(entry) = self.channels.get_mut(channel) else { continue };
            entry.interests.remove(&pid);
            self.leave_if_unheard(channel);
        }
    }

    /// Settles when everything that is committed now has been delivered; at once when no backend could deliver it.
    pub(super) fn barrier(&mut self, promise: Promise, until: Instant, calls: &mut Calls) {
        if self.up {
            self.follow(Then { promise, effect: Effect::None, until });
        } else {
            promise.settle(Ok(()), calls);
        }
    }

    /// Nobody wants anything, and nothing is owed.
    pub(super) fn is_unused(&self) -> bool {
        self.is_silent() && (!self.up || (self.waiting.is_empty() && self.asked.is_empty()))
    }

    /// Whether nobody listens to anything or wants to.
    pub(super) fn is_silent(&self) -> bool {
        self.channels.is_empty()
    }

    /// Whether anybody's notifications would be delivered.
    pub(super) fn is_heard(&self) -> bool {
        self.up && !self.is_silent()
    }

    /// Channels and the sessions that wait for each, added up.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.channels.len(), self.channels.values().map(|entry| entry.interests.len()).sum())
    }

    fn interest(&mut self, channel: &Channel, pid: i32) -> Option<&mut Interest> {
        self.channels.get_mut(channel)?.interests.get_mut(&pid)
    }

    fn leave_if_unheard(&mut self, channel: &Channel) {
        if self.channels.get(channel).is_none_or(|entry| !entry.interests.is_empty()) {
            return;
        }
        let was_on = self.channels.remove(channel).is_some_and(|entry| entry.on);
        if was_on && self.up {
            self.ask(What::Unlisten(channel.clone()), Vec::new());
        }
    }

    // === questions ===

    fn ask(&mut self, what: What, then: Vec<Then>) {
        self.waiting.push_back(Question { what, then, fault: None });
    }

    /// Hangs something on a question that was not sent yet.
    fn follow(&mut self, then: Then) {
        self.patient_until = Some(self.patient_until.map_or(then.until, |until| until.min(then.until)));
        match self.waiting.back_mut() {
            Some(last) => last.then.push(then),
            None => self.ask(What::Sync, vec![then]),
        }
    }

    /// Asks for a sign of life.
    pub(super) fn probe(&mut self) {
        if self.waiting.is_empty() {
            self.ask(What::Sync, Vec::new());
        }
    }

    /// Appends the questions that may be sent now; `moment` names the time of each. One Sync is under way at a time:
    /// sessions that come meanwhile share the next.
    pub(super) fn send(&mut self, to: &mut Vec<u8>, mut moment: impl FnMut() -> u64) {
        if !self.up {
            return;
        }
        while let Some(first) = self.waiting.front() {
            match &first.what {
                What::Sync if self.asked.iter().any(|(question, _)| question.what == What::Sync) => return,
                What::Sync | What::Resume => to.extend_from_slice(&build::SYNC),
                What::Listen(channel) => build::write_query(to, &command(b"LISTEN ", channel)),
                What::Unlisten(channel) => build::write_query(to, &command(b"UNLISTEN ", channel)),
            }
            let Some(question) = self.waiting.pop_front() else { return };
            self.asked.push_back((question, moment()));
        }
    }

    /// Whether an answer is owed.
    pub(super) fn is_owed(&self) -> bool {
        !self.asked.is_empty()
    }

    /// PostgreSQL complains about the question that it answers just now.
    pub(super) fn complained(&mut self, why: NotHeard) {
        if let Some((question, _)) = self.asked.front_mut() {
            question.fault.get_or_insert(why);
        }
    }

    /// A ReadyForQuery has come. `notice` is what those are told who may have missed something. `None` if nothing was
    /// asked.
    pub(super) fn answered(&mut self, notice: &Arc<[u8]>, calls: &mut Calls) -> Option<Heard> {
        let (Question { what, then, fault }, moment) = self.asked.pop_front()?;
        let refused = match (&what, fault) {
            (What::Listen(channel), Some(fault)) => Some((channel, fault)),
            _ => None,
        };
        let useless = refused.as_ref().is_some_and(|(channel, fault)| self.refuse(channel, fault, calls));
        for Then { promise, effect, .. } in then {
            let why =
                refused.as_ref().filter(|(channel, _)| matches!(&effect, Effect::Confirm(of, _) if of == *channel));
            let outcome = why.map_or(Ok(()), |(_, fault)| Err(fault.clone()));
            self.take_effect(promise.pid(), effect);
            promise.settle(outcome, calls);
        }
        if useless {
            return Some(Heard::Useless);
        }
        if what == What::Resume {
            for mailbox in std::mem::take(&mut self.missed) {
                mailbox.put(None, notice, calls);
            }
        }
        Some(Heard::Until(moment))
    }

    fn take_effect(&mut self, pid: i32, effect: Effect) {
        match effect {
            Effect::Arm(channels) => {
                for channel in &channels {
                    if let Some(interest) = self.interest(channel, pid) {
                        interest.phase = interest.phase.max(Phase::Armed);
                    }
                }
            }
            Effect::Confirm(channel, phase) => {
                if let Some(interest) = self.interest(&channel, pid) {
                    interest.phase = interest.phase.max(phase);
                }
            }
            Effect::None => {}
        }
    }

    /// The channel cannot be listened to: those who asked for it hear why. Whether others believe that they hear it.
    fn refuse(&mut self, channel: &Channel, why: &NotHeard, calls: &mut Calls) -> bool {
        let Some(mut entry) = self.channels.remove(channel) else { return false };
        for question in self.waiting.iter_mut().chain(self.asked.iter_mut().map(|(question, _)| question)) {
            let concerns = |then: &mut Then| matches!(&then.effect, Effect::Confirm(of, _) if of == channel);
            for then in question.then.extract_if(.., concerns) {
                then.promise.settle(Err(why.clone()), calls);
            }
        }
        entry.interests.retain(|_, interest| interest.phase > Phase::Asked);
        let others = !entry.interests.is_empty();
        if others {
            self.channels.insert(channel.clone(), entry);
        }
        others
    }

    // === mail ===

    /// Puts a notification into the mailboxes of all who hear the channel. `frame` is made only if somebody does.
    /// Returns the clients whose mailbox is full.
    pub(super) fn deliver(&mut self, channel: &[u8], frame: impl FnOnce() -> Arc<[u8]>, calls: &mut Calls) -> Vec<i32> {
        let Some((channel, entry)) = self.channels.get_key_value(channel) else { return Vec::new() };
        let frame = frame();
        let mut full = Vec::new();
        for (pid, interest) in entry.interests.iter().filter(|(_, interest)| interest.phase >= Phase::Armed) {
            if !interest.mailbox.put(Some(channel), &frame, calls) {
                full.push(*pid);
            }
        }
        full
    }

    /// A session that hears no more: its mailbox is full.
    pub(super) fn expel(&mut self, pid: i32) {
        let its: Vec<_> = self
            .channels
            .iter()
            .filter(|(_, entry)| entry.interests.contains_key(&pid))
            .map(|(c, _)| c.clone())
            .collect();
        self.release(pid, &its);
    }

    // === the connection ===

    /// A backend is there that listens to nothing yet.
    pub(super) fn connected(&mut self) {
        let mut confirms: HashMap<Channel, Vec<Then>> = HashMap::new();
        let mut others = Vec::new();
        let asked = std::mem::take(&mut self.asked).into_iter().map(|(question, _)| question);
        for then in asked.chain(std::mem::take(&mut self.waiting)).flat_map(|question| question.then) {
            match &then.effect {
                Effect::Confirm(channel, _) => confirms.entry(channel.clone()).or_default().push(then),
                Effect::Arm(_) | Effect::None => others.push(then),
            }
        }
        for (channel, entry) in &mut self.channels {
            entry.on = true;
            let then = confirms.remove(channel).unwrap_or_default();
            self.waiting.push_back(Question { what: What::Listen(channel.clone()), then, fault: None });
        }
        // Who waits for a channel that was given up meanwhile waits no longer.
        others.extend(confirms.into_values().flatten());
        self.ask(What::Resume, others);
        self.up = true;
    }

    /// The backend is gone. What sessions heard of it may be incomplete; whoever waited for that waits no longer.
    pub(super) fn lost(&mut self, calls: &mut Calls) {
        self.up = false;
        let mut known: HashSet<i32> = self.missed.iter().map(|mailbox| mailbox.client.pid).collect();
        for interest in self.channels.values().flat_map(|entry| entry.interests.values()) {
            if interest.phase >= Phase::Armed && known.insert(interest.mailbox.client.pid) {
                self.missed.push(Arc::clone(&interest.mailbox));
            }
        }
        for question in self.waiting.iter_mut().chain(self.asked.iter_mut().map(|(question, _)| question)) {
            for then in question.then.extract_if(.., |then| matches!(then.effect, Effect::None)) {
                then.promise.settle(Ok(()), calls);
            }
        }
    }

    // === time ===

    /// Nothing will have been waited for long enough before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.patient_until
    }

    /// Fails what has waited long enough, or with `now` absent everything.
    pub(super) fn give_up(&mut self, now: Option<Instant>, why: &NotHeard, calls: &mut Calls) {
        let is_over = |until: Instant| now.is_none_or(|now| until <= now);
        if !self.patient_until.is_some_and(is_over) {
            return;
        }
        let mut failed = Vec::new();
        let mut next: Option<Instant> = None;
        for question in self.waiting.iter_mut().chain(self.asked.iter_mut().map(|(question, _)| question)) {
            failed.extend(question.then.extract_if(.., |then| is_over(then.until)));
            next = question.then.iter().map(|then| then.until).chain(next).min();
        }
        self.patient_until = next;
        for Then { promise, effect, .. } in failed {
            if let Effect::Confirm(channel, _) = effect {
                let unconfirmed =
                    self.interest(&channel, promise.pid()).is_some_and(|interest| interest.phase == Phase::Asked);
                if unconfirmed {
                    self.release(promise.pid(), [&channel]);
                }
            }
            promise.settle(Err(why.clone()), calls);
        }
    }
}

fn command(verb: &[u8], channel: &Channel) -> Vec<u8> {
    let mut text = verb.to_vec();
    channel.write_quoted(&mut text);
    text
}
