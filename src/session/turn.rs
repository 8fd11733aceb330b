//! What a session owes and is owed while it is active: the queue of expected replies, and effects that hold only
//! once a reply has confirmed them.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::Leased;
use crate::prepared::{Names, Statement};
use crate::settings::Profile;
use crate::wire::view::Transaction;

/// The message that a reply will answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bind,
    Close,
    /// The end of the client's data: no reply of its own, but Syncs before it get none either.
    CopyEnd,
    Describe,
    Execute,
    FunctionCall,
    Parse,
    Query,
    Sync,
}

/// Who gets the reply.
#[derive(Debug)]
pub(super) enum Who {
    /// We answer the client; the backend was not asked.
    Fake(&'static [u8]),
    /// As [`Who::Fake`], with a reply of its own.
    Say(Box<[u8]>),
    Forward,
    /// We asked; the client must not see the reply.
    Skip,
    /// Sent to fail: the client gets this error instead of the backend's.
    Substitute(Box<[u8]>),
}

/// One expected reply.
#[derive(Debug)]
pub(super) struct Expect {
    pub(super) kind: Kind,
    pub(super) who: Who,
    /// How many of the pending effects this reply confirms.
    effects: u8,
}

impl Expect {
    pub(super) fn new(kind: Kind, who: Who) -> Self {
        Self { kind, who, effects: 0 }
    }

    fn is_fake(&self) -> bool {
        matches!(self.who, Who::Fake(_) | Who::Say(_))
    }

}

/// What becomes true when a reply says so.
#[derive(Debug)]
pub(super) enum Effect {
    /// The backend lacks a statement from now on.
    Drop(u64),
    /// The backend holds a statement.
    Hold(u64),
    /// The client's name stands for a statement, or for none.
    Name(Box<[u8]>, Option<Arc<Statement>>),
    /// The backend carries these settings.
    Profile(Arc<Profile>),
    /// The backend's unnamed statement.
    Unnamed(Option<u64>),
}

#[derive(Debug)]
struct Pending {
    batch: u64,
    effect: Effect,
}

/// What is known of a name or statement while replies are outstanding.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known<T> {
    Now(T),
    /// A batch that was sent before must be answered first.
    Later,
}

/// A Parse that is neither forwarded nor answered until the next frame tells how.
#[derive(Debug)]
pub(super) struct Deferred {
    pub(super) name: Box<[u8]>,
    pub(super) statement: Arc<Statement>,
}

/// The active part of a session.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) leased: bool,
    pub(super) status: Transaction,
    pub(super) deferred: Option<Deferred>,
    /// The backend waits for the client's COPY data.
    pub(super) copy_in: bool,
    /// After an error of the extended protocol: everything up to the next Sync gets no reply.
    pub(super) skipping: bool,
    /// Something was sent after the last Sync or Query.
    pub(super) open_batch: bool,
    /// The backend's last words were passed on.
    pub(super) fatal: bool,
    /// A command put all settings back to their defaults; until the next ReadyForQuery.
    pub(super) settings_reset: bool,
    pub(super) cancel_report: Option<Box<[u8]>>,
    pub(super) measured: Option<(Arc<Statement>, Instant)>,
    queue: VecDeque<Expect>,
    pending: VecDeque<Pending>,
    batch: u64,
}

impl Turn {
    pub(super) fn is_answered(&self) -> bool {
        self.queue.is_empty() && self.deferred.is_none() && !self.open_batch && !self.copy_in
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_answered() && self.status == Transaction::Idle && !self.skipping && !self.fatal
    }

    pub(super) fn owed(&self) -> usize {
        self.queue.len()
    }

    /// Adds a reply and the effects that it will confirm.
    pub(super) fn expect<const N: usize>(&mut self, mut expect: Expect, effects: [Effect; N]) {
        expect.effects = u8::try_from(N).unwrap_or(u8::MAX);
        self.pending.extend(effects.into_iter().map(|effect| Pending { batch: self.batch, effect }));
        self.queue.push_back(expect);
    }

    /// What is sent from now on is answered after another ReadyForQuery.
    pub(super) fn end_batch(&mut self) {
        self.batch += 1;
        self.open_batch = false;
    }

    /// The statement that a client's name stands for.
    pub(super) fn named(&self, names: &Names, name: &[u8]) -> Known<Option<Arc<Statement>>> {
        let pending = self.newest(|effect| match effect {
            Effect::Name(other, statement) if **other == *name => Some(statement.clone()),
            _ => None,
        });
        pending.unwrap_or_else(|| Known::Now(names.get(name).cloned()))
    }

    /// Whether the backend holds a shared statement.
    pub(super) fn holds(&self, leased: &Leased<'_>, id: u64) -> Known<bool> {
        let pending = self.newest(|effect| match effect {
            Effect::Drop(other) if *other == id => Some(false),
            Effect::Hold(other) if *other == id => Some(true),
            _ => None,
        });
        pending.unwrap_or_else(|| Known::Now(leased.held.contains(id)))
    }

    /// Which statement is the backend's unnamed one.
    pub(super) fn unnamed(&self, leased: &Leased<'_>) -> Known<Option<u64>> {
        let pending = self.newest(|effect| match effect {
            Effect::Unnamed(id) => Some(*id),
            _ => None,
        });
        pending.unwrap_or_else(|| Known::Now(leased.held.unnamed()))
    }

    /// Whether a statement is going to be closed already.
    pub(super) fn is_dropping(&self, id: u64) -> bool {
        self.pending.iter().any(|pending| matches!(pending.effect, Effect::Drop(other) if other == id))
    }

    fn newest<T>(&self, read: impl Fn(&Effect) -> Option<T>) -> Option<Known<T>> {
        self.pending.iter().rev().find_map(|pending| {
            let value = read(&pending.effect)?;
            Some(if pending.batch == self.batch { Known::Now(value) } else { Known::Later })
        })
    }

    // === replies ===

    /// The reply that the backend gives next, after what we answer ourselves before it.
    pub(super) fn next(&mut self, names: &mut Names, before: &mut Vec<u8>) -> Option<&Expect> {
        self.answer_fakes_at_head(names, before);
        self.queue.front()
    }

    /// The next reply has come and confirms its effects.
    pub(super) fn confirm(&mut self, names: &mut Names, leased: &mut Leased<'_>) {
        let Some(expect) = self.queue.pop_front() else { return };
        for _ in 0..expect.effects {
            match self.pending.pop_front().map(|pending| pending.effect) {
                Some(Effect::Drop(id)) => leased.held.remove(id),
                Some(Effect::Hold(id)) => leased.held.insert(id),
                Some(Effect::Name(name, statement)) => names.set(&name, statement),
                Some(Effect::Profile(profile)) => leased.carried.profile = profile,
                Some(Effect::Unnamed(id)) => leased.held.set_unnamed(id),
                None => {}
            }
        }
    }

    /// The next message failed, and with it all others up to the next Sync. A failed Parse leaves no unnamed
    /// statement where it was to be one.
    pub(super) fn fail(&mut self, names: &mut Names, leased: &mut Leased<'_>) {
        let effects = self.queue.front().map_or(0, |expect| usize::from(expect.effects));
        for pending in self.pending.iter().take(effects) {
            match &pending.effect {
                Effect::Unnamed(_) => leased.held.set_unnamed(None),
                Effect::Name(name, Some(_)) if name.is_empty() => names.set(name, None),
                _ => {}
            }
        }
        while self.queue.front().is_some_and(|expect| expect.kind != Kind::Sync) {
            self.discard_head();
        }
        self.skipping = self.queue.is_empty();
        if self.skipping {
            self.deferred = None;
        }
    }

    /// The backend stopped reading COPY data. What was sent between the command and the end of the data got no
    /// reply: Syncs, and the end itself.
    pub(super) fn end_copy(&mut self) {
        self.copy_in = false;
        let end = self.queue.iter().position(|expect| expect.kind == Kind::CopyEnd).unwrap_or(self.queue.len());
        let mut index = 0;
        self.queue.retain(|expect| {
            index += 1;
            index == 1 || index > end + 1 || !matches!(expect.kind, Kind::CopyEnd | Kind::Sync)
        });
    }

    /// Answers what is ours at the head, where nothing else is owed that would carry it along.
    pub(super) fn answer_fakes(&mut self, names: &mut Names, to: &mut Vec<u8>) {
        if self.queue.iter().all(|expect| expect.is_fake() || expect.kind == Kind::CopyEnd) {
            self.answer_fakes_at_head(names, to);
        }
    }

    fn answer_fakes_at_head(&mut self, names: &mut Names, to: &mut Vec<u8>) {
        while let Some(expect) = self.queue.front() {
            match &expect.who {
                Who::Fake(reply) => to.extend_from_slice(reply),
                Who::Say(reply) => to.extend_from_slice(reply),
                _ if expect.kind == Kind::CopyEnd && !self.copy_in => {}
                _ => return,
            }
            for _ in 0..expect.effects {
                // What we answer ourselves changes names only: the backend was not asked.
                if let Some(Pending { effect: Effect::Name(name, statement), .. }) = self.pending.pop_front() {
                    names.set(&name, statement);
                }
            }
            self.queue.pop_front();
        }
    }

    /// What the client gets instead of the error that has come.
    pub(super) fn take_substitute(&mut self) -> Option<Box<[u8]>> {
        match &mut self.queue.front_mut()?.who {
            Who::Substitute(words) => Some(std::mem::take(words)),
            _ => None,
        }
    }

    /// No reply is owed any more.
    pub(super) fn forget_replies(&mut self) {
        while !self.queue.is_empty() {
            self.discard_head();
        }
    }

    fn discard_head(&mut self) {
        if let Some(expect) = self.queue.pop_front() {
            self.pending.drain(..usize::from(expect.effects).min(self.pending.len()));
        }
    }
}
