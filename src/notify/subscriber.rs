//! A session's side of a shared listening backend.
//!
//! LISTEN and UNLISTEN belong to their transaction (manual: "LISTEN", "NOTIFY"): they are noted as they come, undone
//! with a savepoint, and hold from the commit on. A LISTEN takes hold of its channel at once, so that it fails where it
//! stands and not in the commit, but nothing is kept for it before the transaction's end.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::book::Phase;
use super::channel::Channel;
use super::listener::Listener;
use super::mailbox::{Full, Mailbox};
use super::ticket::{NotHeard, Ticket};

/// What a session listens to, and the mail it has got. Owned by the session, made when it first listens; dropping it
/// is UNLISTEN *.
#[derive(Debug)]
pub struct Subscriber {
    listener: Arc<Listener>,
    mailbox: Arc<Mailbox>,
    /// As of the last commit.
    active: BTreeSet<Channel>,
    /// The same, by when they were listened to.
    order: Vec<Channel>,
    /// Taken hold of for the open transaction.
    held: BTreeSet<Channel>,
    changes: Vec<Change>,
    /// Most channels that it may listen to.
    limit: usize,
    /// The client's encoding as far as it was followed, or could not be.
    heeded: Option<Box<[u8]>>,
}

/// What the open transaction does, in order.
#[derive(Debug)]
enum Change {
    Listen(Channel),
    Unlisten(Channel),
    UnlistenAll,
}

/// When a LISTEN becomes effective.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// With the COMMIT of a transaction block.
    AtCommit,
    /// It is a transaction of its own: what comes once the ticket is settled is delivered, provided that
    /// [`Subscriber::commit`] follows.
    Now,
}

/// A point in the transaction that [`Subscriber::rollback_to`] returns to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(usize);

impl Subscriber {
    pub(super) fn new(listener: Arc<Listener>, mailbox: Arc<Mailbox>, limit: usize) -> Self {
        let (active, held) = (BTreeSet::new(), BTreeSet::new());
        let heeded = listener.key.encoding.clone();
        Self { listener, mailbox, active, order: Vec::new(), held, changes: Vec::new(), limit, heeded }
    }

    // === the encoding ===

    /// Whether a session whose client has this encoding is to hear otherwise than by this backend, which reads and
    /// writes another one.
    #[must_use]
    pub fn is_foreign_to(&self, encoding: Option<&[u8]>) -> bool {
        encoding != self.listener.key.encoding.as_deref() && encoding != self.heeded.as_deref()
    }

    /// The client's encoding has become this one, and it goes on hearing in the one of before.
    pub fn stay_for(&mut self, encoding: Option<&[u8]>) {
        self.heeded = encoding.map(Into::into);
    }

    /// Has `other`, which reads and writes another encoding, listen to the same channels; `None` where a name is not the
    /// same in both. What the ticket waits for is heard twice from then on.
    pub fn follow_to(&self, other: &mut Self) -> Option<Ticket> {
        let ascii = self.order.iter().all(|channel| channel.name().is_ascii());
        let listen = |channel: &Channel| other.listen(channel.clone(), When::Now);
        ascii.then(|| Ticket::all(self.order.iter().map(listen).collect::<Vec<_>>()))
    }

    // === the transaction ===

    /// LISTEN. Its reply must wait for the ticket; where that fails the statement has failed, and so has its
    /// transaction.
    pub fn listen(&mut self, channel: Channel, when: When) -> Ticket {
        let ticket = self.hold(&channel, when);
        if !matches!(ticket.outcome(), Some(Err(_))) {
            self.changes.push(Change::Listen(channel));
        }
        ticket
    }

    /// Takes hold of a channel that the open transaction is about to listen to; whether it does is said by
    /// [`Self::listened`] before the commit. The LISTEN must wait for the ticket.
    pub fn hold(&mut self, channel: &Channel, when: When) -> Ticket {
        let known = self.active.contains(channel) || self.held.contains(channel);
        if !known && self.active.len() + self.held.len() >= self.limit {
            return Ticket::failed(NotHeard::TooMany { limit: self.limit });
        }
        if self.active.contains(channel) {
            return Ticket::done();
        }
        let phase = match when {
            When::AtCommit => Phase::Held,
            When::Now => Phase::Armed,
        };
        self.held.insert(channel.clone());
        self.listener.hold(&self.mailbox, channel, phase)
    }

    /// A LISTEN of a channel that is held has been done.
    pub fn listened(&mut self, channel: Channel) {
        self.changes.push(Change::Listen(channel));
    }

    /// UNLISTEN of one channel.
    pub fn unlisten(&mut self, channel: Channel) {
        self.changes.push(Change::Unlisten(channel));
    }

    /// UNLISTEN *, also as a part of DISCARD ALL.
    pub fn unlisten_all(&mut self) {
        self.changes.push(Change::UnlistenAll);
    }

    /// Where the transaction is: for SAVEPOINT.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.changes.len())
    }

    /// ROLLBACK TO SAVEPOINT.
    pub fn rollback_to(&mut self, mark: Mark) {
        self.changes.truncate(mark.0);
    }

    /// To be called before a COMMIT is sent to PostgreSQL, which must wait for the ticket: what comes from then on is
    /// kept for the channels that this transaction listens to, so that nothing is missed between the commit and
    /// [`Self::commit`], its own notifications included. `None` if there is nothing to wait for.
    #[must_use]
    pub fn arm(&self) -> Option<Ticket> {
        let held: Vec<_> = self.held.iter().cloned().collect();
        (!held.is_empty()).then(|| self.listener.arm(&self.mailbox, held))
    }

    /// The transaction has committed. What it unlistened from is not delivered any more, even if it has come.
    pub fn commit(&mut self) {
        if self.changes.is_empty() && self.held.is_empty() {
            return;
        }
        let mut after = self.active.clone();
        for change in self.changes.drain(..) {
            match change {
                Change::Listen(channel) => {
                    if after.insert(channel.clone()) {
                        self.order.push(channel);
                    }
                }
                Change::Unlisten(channel) => {
                    after.remove(&channel);
                    self.order.retain(|listened| *listened != channel);
                }
                Change::UnlistenAll => {
                    after.clear();
                    self.order.clear();
                }
            }
        }
        let before: BTreeSet<_> = self.active.union(&self.held).cloned().collect();
        self.settle(&before, after);
    }

    /// The transaction is undone.
    pub fn rollback(&mut self) {
        self.changes.clear();
        if !self.held.is_empty() {
            let before: BTreeSet<_> = self.active.union(&self.held).cloned().collect();
            self.settle(&before, self.active.clone());
        }
    }

    fn settle(&mut self, before: &BTreeSet<Channel>, after: BTreeSet<Channel>) {
        let pid = self.mailbox.client.pid;
        let mut gone = before.difference(&after).peekable();
        if gone.peek().is_some() {
            self.listener.release(pid, gone);
            self.mailbox.retain(|channel| after.contains(channel));
        }
        self.listener.activate(pid, after.difference(&self.active));
        self.active = after;
        self.held.clear();
    }

    /// Whether notifications of this channel come here, or may once the open transaction has committed.
    #[must_use]
    pub fn hears(&self, channel: &[u8]) -> bool {
        self.active.contains(channel) || self.held.contains(channel)
    }

    // === mail ===

    /// Whether [`Self::take`] would give something.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.mailbox.has_mail()
    }

    /// Appends whole NotificationResponse (and NoticeResponse) frames to `to` until there are no more or `most` bytes
    /// were added, at least one. Whether there are more. To be called between transactions only, before the
    /// ReadyForQuery that ends one, and when the client was signalled.
    ///
    /// # Errors
    /// [`Full`]: the session must end.
    pub fn take(&self, to: &mut Vec<u8>, most: usize) -> Result<bool, Full> {
        self.mailbox.take(to, most)
    }

    /// Whether more came than may wait, though the session is in a transaction: it must end.
    #[must_use]
    pub fn overflow(&self) -> Option<Full> {
        self.mailbox.overflow()
    }

    /// Settles when everything that is committed now is in the mailbox; also when that cannot be known because the
    /// shared backend was lost, of which the client is told once it is back. A session that listens owes its client
    /// the notifications of what was committed before its message came, and of its own commit, before ReadyForQuery.
    pub fn barrier(&self) -> Ticket {
        if self.active.is_empty() { Ticket::done() } else { self.listener.barrier(&self.mailbox) }
    }

    // === the session ===

    /// The channels as of the last commit, in the order in which they were listened to: what pg_listening_channels
    /// would say.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.order.iter()
    }

    /// It listens to nothing and has nothing: the session can do without it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.active.is_empty() && self.held.is_empty() && self.changes.is_empty() && !self.has_mail()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let all = self.active.union(&self.held);
        self.listener.release(self.mailbox.client.pid, all);
        self.listener.leave();
    }
}
