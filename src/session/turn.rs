//! What a session owes and is owed while it is active: the queue of expected replies, and effects that hold only
//! once a reply has confirmed them.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::Leased;
use super::repeat::Batch;
use crate::prepared::{Named, Names, Statement};
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
    /// The statement that the message named.
    pub(super) about: Option<Arc<Statement>>,
    /// How many of the pending effects this reply confirms.
    pub(super) effects: u8,
    /// Whether what runs may drop statements that we believe to be there.
    pub(super) forgets: bool,
}

impl Expect {
    pub(super) fn new(kind: Kind, who: Who) -> Self {
        Self { kind, who, about: None, effects: 0, forgets: false }
    }

    pub(super) fn about(self, statement: Arc<Statement>) -> Self {
        Self { about: Some(statement), ..self }
    }

    pub(super) fn forgetting(self, forgets: bool) -> Self {
        Self { forgets, ..self }
    }

    pub(super) fn is_end_of_batch(&self) -> bool {
        matches!(self.kind, Kind::FunctionCall | Kind::Query | Kind::Sync)
    }

    /// Whether the client must not see the reply.
    pub(super) fn is_skipped(&self) -> bool {
        matches!(self.who, Who::Skip)
    }

    pub(super) fn is_fake(&self) -> bool {
        matches!(self.who, Who::Fake(_) | Who::Say(_))
    }
}

/// What becomes true when a reply says so.
#[derive(Debug)]
pub(super) enum Effect {
    /// The backend lacks a statement from now on.
    Drop(u64),
    /// The backend holds a statement, made by the Parse with this number.
    Hold(u64, u64),
    /// The client's name stands for a statement, or for none.
    Name(Box<[u8]>, Option<Named>),
    /// The backend carries these settings.
    Profile(Arc<Profile>),
    /// The backend's unnamed statement.
    Unnamed(Option<u64>),
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) batch: u64,
    pub(super) effect: Effect,
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
    pub(super) named: Named,
}

/// Whether commands since the last ReadyForQuery put settings back to their defaults.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Reset {
    #[default]
    No,
    Some,
    /// All of them; before that the client had been told these.
    All(Arc<Profile>),
}

/// Syncs at the head of the queue that a failed COPY may or may not have eaten.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    #[default]
    None,
    /// This many, and nothing was done about it yet.
    Syncs(usize),
    /// This many; the reply to a Close of ours will tell.
    Asked(usize),
}

/// The active part of a session.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Rows of the answer to what was asked about settings, while it comes.
    pub(super) looking: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    pub(super) leased: bool,
    /// The frame that asked for the lease has not been judged again.
    pub(super) unused: bool,
    pub(super) status: Transaction,
    pub(super) deferred: Option<Deferred>,
    /// The backend waits for the client's COPY data.
    pub(super) copy_in: bool,
    /// After an error of the extended protocol: everything up to the next Sync gets no reply.
    pub(super) skipping: bool,
    /// Something was sent after the last Sync or Query.
    pub(super) open_batch: bool,
    /// Of that, something was sent after the last Flush: the backend may keep its replies to itself.
    pub(super) unflushed: bool,
    /// The client's last frame was a Sync: there is none that is partly forwarded.
    pub(super) after_sync: bool,
    pub(super) doubt: Doubt,
    /// Portals whose execution may drop statements.
    forgetful: Vec<Box<[u8]>>,
    /// Commands at work that may drop statements.
    pub(super) forgetting: usize,
    /// The backend's last words were passed on.
    pub(super) fatal: bool,
    pub(super) reset: Reset,
    pub(super) cancel_report: Option<Box<[u8]>>,
    pub(super) measured: Option<(Arc<Statement>, Instant)>,
    /// The batch that is being sent, where it may have to be sent again.
    pub(super) kept_batch: Option<Batch>,
    /// A reply that its failure would make undone.
    pub(super) kept_reply: Vec<u8>,
    pub(super) queue: VecDeque<Expect>,
    pub(super) pending: VecDeque<Pending>,
    pub(super) batch: u64,
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

    /// Whether the outcome of an earlier batch of the client is not known yet.
    pub(super) fn is_behind(&self) -> bool {
        self.queue.iter().any(|expect| expect.is_end_of_batch() && !expect.is_skipped())
    }

    /// Whether something at work may drop statements that we believe to be there.
    pub(super) fn is_forgetting(&self) -> bool {
        self.forgetting > 0
    }

    /// Whether settings went back to the backend's defaults, and the batch that did it is about to end.
    pub(super) fn is_resetting(&self) -> bool {
        self.reset != Reset::No && !self.open_batch && !self.queue.is_empty()
    }

    /// Adds a reply and the effects that it will confirm.
    pub(super) fn expect<const N: usize>(&mut self, mut expect: Expect, effects: [Effect; N]) {
        expect.effects = u8::try_from(N).unwrap_or(u8::MAX);
        self.forgetting += usize::from(expect.forgets);
        self.pending.extend(effects.into_iter().map(|effect| Pending { batch: self.batch, effect }));
        self.queue.push_back(expect);
    }

    /// What is sent from now on is answered after another ReadyForQuery.
    pub(super) fn end_batch(&mut self) {
        self.batch += 1;
        self.open_batch = false;
        self.unflushed = false;
    }

    /// Something is sent that no Sync or Query ends yet.
    pub(super) fn open_batch(&mut self) {
        self.open_batch = true;
        self.unflushed = true;
    }

    /// What was sent is being flushed. Whether anything had been kept back.
    pub(super) fn flush(&mut self) -> bool {
        std::mem::take(&mut self.unflushed)
    }

    /// A portal stands for a statement from now on.
    pub(super) fn bound(&mut self, portal: &[u8], statement: &Statement) {
        let portal = Names::key(portal);
        if statement.forgets || !self.forgetful.is_empty() {
            self.forgetful.retain(|other| **other != *portal);
        }
        if statement.forgets {
            self.forgetful.push(portal.into());
        }
    }

    pub(super) fn is_forgetful(&self, portal: &[u8]) -> bool {
        self.forgetful.iter().any(|other| **other == *Names::key(portal))
    }

    /// The statement that a client's name stands for.
    pub(super) fn named(&self, names: &Names, name: &[u8]) -> Known<Option<Named>> {
        let pending = self.newest(|effect| match effect {
            Effect::Name(other, named) if **other == *name => Some(named.clone()),
            _ => None,
        });
        pending.unwrap_or_else(|| Known::Now(names.get(name).cloned()))
    }

    /// The number of the Parse that made the backend's copy of a shared statement, if it has one.
    pub(super) fn holds(&self, leased: &Leased<'_>, id: u64) -> Known<Option<u64>> {
        let pending = self.newest(|effect| match effect {
            Effect::Drop(other) if *other == id => Some(None),
            Effect::Hold(other, parse) if *other == id => Some(Some(*parse)),
            _ => None,
        });
        pending.unwrap_or_else(|| Known::Now(leased.held.parse_of(id)))
    }

    /// Which statement is the backend's unnamed one.
    pub(super) fn unnamed(&self, leased: &Leased<'_>) -> Known<Option<u64>> {
        let pending = self.newest(|effect| match effect {
            Effect::Unnamed(id) => Some(*id),
            _ => None,
        });
        pending.unwrap_or_else(|| Known::Now(leased.held.unnamed()))
    }

    /// The statement to close before the backend parses one more.
    pub(super) fn surplus(&self, leased: &Leased<'_>) -> Option<u64> {
        let coming = self.pending.iter().filter(|pending| matches!(pending.effect, Effect::Hold(..))).count();
        let leaving =
            |id| self.pending.iter().any(|pending| matches!(pending.effect, Effect::Drop(gone) if gone == id));
        leased.held.surplus(coming, leaving)
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

    /// ReadyForQuery has come: for a Sync whose fate was in doubt, others are certain now or fewer are in doubt.
    pub(super) fn ready(&mut self, status: Transaction) {
        self.status = status;
        self.copy_in = false;
        self.cancel_report = None;
        if status == Transaction::Idle && self.queue.len() == 1 {
            self.forgetful.clear();
        }
        if self.doubt == Doubt::None || self.head_kind() != Some(Kind::Sync) {
            return;
        }
        let others = self.leading_syncs(1);
        self.doubt = match self.doubt {
            Doubt::Syncs(count) if others > 0 => Doubt::Syncs(count.min(others)),
            Doubt::Asked(count) if others > 0 => Doubt::Asked(count.min(others)),
            _ => Doubt::None,
        };
        // One of them was read after the failure, at least.
        self.skipping = false;
    }

    /// Syncs that stand together from this place in the queue on; stray ends of COPY data do not count.
    pub(super) fn leading_syncs(&self, from: usize) -> usize {
        let answered = self.queue.iter().skip(from).filter(|expect| expect.kind != Kind::CopyEnd);
        answered.take_while(|expect| expect.kind == Kind::Sync).count()
    }

    /// Whether anything but Syncs is owed from this place in the queue on.
    pub(super) fn owes_more_than_syncs(&self, from: usize) -> bool {
        self.queue.iter().skip(from).any(|expect| !matches!(expect.kind, Kind::CopyEnd | Kind::Sync))
    }

    /// The statement that the next reply is about.
    pub(super) fn head_statement(&self) -> Option<&Arc<Statement>> {
        self.queue.front()?.about.as_ref()
    }

    pub(super) fn head_kind(&self) -> Option<Kind> {
        self.queue.front().map(|expect| expect.kind)
    }

    /// The next reply has come and confirms its effects.
    pub(super) fn confirm(&mut self, names: &mut Names, leased: &mut Leased<'_>) {
        let Some(expect) = self.pop() else { return };
        if expect.kind != Kind::Query {
            self.kept_batch = None;
        }
        for _ in 0..expect.effects {
            match self.pending.pop_front().map(|pending| pending.effect) {
                Some(Effect::Drop(id)) => leased.held.remove(id),
                Some(Effect::Hold(id, parse)) => leased.held.insert(id, parse),
                Some(Effect::Name(name, named)) => names.set(&name, named),
                Some(Effect::Profile(profile)) => leased.carried.profile = profile,
                Some(Effect::Unnamed(id)) => leased.held.set_unnamed(id),
                None => {}
            }
        }
    }

    /// The next message failed, and with it all others up to the next Sync. A failed Parse leaves no unnamed
    /// statement where it was to be one.
    pub(super) fn fail(&mut self, names: &mut Names, leased: &mut Leased<'_>) {
        self.kept_batch = None;
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
        let doubtful = if let Doubt::Syncs(count) = self.doubt { count } else { 0 };
        self.skipping = self.leading_syncs(0) <= doubtful && !self.owes_more_than_syncs(0);
        if self.skipping {
            self.deferred = None;
        }
    }

    fn pop(&mut self) -> Option<Expect> {
        let expect = self.queue.pop_front()?;
        self.forgetting -= usize::from(expect.forgets);
        Some(expect)
    }

    // === what we answer ourselves ===

    /// Answers what is ours at the head, where nothing else is owed that would carry it along.
    pub(super) fn answer_fakes(&mut self, names: &mut Names, to: &mut Vec<u8>) {
        if self.queue.iter().all(|expect| expect.is_fake() || expect.kind == Kind::CopyEnd) {
            self.answer_fakes_at_head(names, to);
        }
    }

    /// Answers what is ours at the head: all before it has been answered.
    pub(super) fn answer_fakes_at_head(&mut self, names: &mut Names, to: &mut Vec<u8>) {
        while let Some(expect) = self.queue.front() {
            match &expect.who {
                Who::Fake(reply) => to.extend_from_slice(reply),
                Who::Say(reply) => to.extend_from_slice(reply),
                _ if expect.kind == Kind::CopyEnd && !self.copy_in => {}
                _ => return,
            }
            for _ in 0..expect.effects {
                // What we answer ourselves changes names only: the backend was not asked.
                if let Some(Pending { effect: Effect::Name(name, named), .. }) = self.pending.pop_front() {
                    names.set(&name, named);
                }
            }
            self.pop();
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

    pub(super) fn discard_head(&mut self) {
        if let Some(expect) = self.pop() {
            self.pending.drain(..usize::from(expect.effects).min(self.pending.len()));
        }
    }
}
