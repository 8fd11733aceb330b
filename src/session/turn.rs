//! What a session owes and is owed while it is active: the queue of expected replies, and effects that hold only
//! once a reply has confirmed them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::channels::{Followed, Ledger};
use super::copying::Copying;
use super::draws::Draws;
pub(super) use super::expect::{Effect, Expect, Kind, Pending, Who};
use super::functions::{Callee, Outdated};
use super::listening::Hearing;
use super::look::Look;
use super::making_way::Way;
use super::measuring::Measures;
use super::mending::Reset;
use super::portals::Portals;
use super::processes::Mentions;
use super::repeat::Batch;
use super::statements::Deferred;
use super::{Leased, Outgoing, Verdict, Wait};
use crate::prepared::{Named, Names, Statement};
use crate::settings::Profile;
use crate::sql::{Digest, Pattern, Weighed};
use crate::wire::build::Fault;
use crate::wire::view::Transaction;

/// What becomes of names and statements is looked through for each statement that is prepared, as far as it is not decided
/// yet: so many may be that.
const MOST_PENDING: usize = 1024;

/// What was found out for the frame that waits at the head of what the client has sent.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// What is known of the Query that waits at the head.
    pub(super) weighed: Option<Weighed>,
    /// The statement that the Parse that waits at the head asks for, if others have prepared it, and its plan key.
    pub(super) found: Option<(u64, Arc<Statement>)>,
    /// The frame that waits at the head is answered with this.
    pub(super) refusal: Option<Box<Fault>>,
    /// The statement that the backend has described for us, for the frame that waits.
    pub(super) described: Option<u64>,
    /// Why a statement of the client's could not be put on the backend before its Query.
    pub(super) untold: Option<Box<[u8]>>,
    pub(super) way: Way,
    pub(super) mentions: Mentions,
    pub(super) hearing: Hearing,
    /// The text that asks for them has not been sent yet.
    pub(super) channels_awaited: bool,
    /// One of the statements that the client has sent behind it asks which channels it listens to.
    pub(super) channels_asked: bool,
}

/// The active part of a session.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// What the backend is being asked about the session.
    pub(super) looking: Option<Look>,
    /// It would not answer that once.
    pub(super) look_failed: bool,
    /// The backend has not yet taken the session's settings, and perhaps never will.
    pub(super) may_be_refused: bool,
    pub(super) head: Head,
    pub(super) portals: Portals,
    /// Texts that were sent before it was known what they may do, and what they name.
    pub(super) unsure: Vec<(Digest, Vec<Callee>)>,
    /// The backend was told the session's channels, so that it can say which they are.
    pub(super) brought_channels: bool,
    /// The client's encoding has become another one.
    pub(super) recoded: bool,
    /// What the backend listens to because of the session, and is to forget.
    pub(super) told: BTreeSet<Box<[u8]>>,
    /// What the session's transaction does to its channels.
    pub(super) ledger: Option<Box<Ledger>>,
    /// DISCARD ALL was done.
    pub(super) discarded: bool,
    /// Something was sent that notifies.
    pub(super) notified: bool,
    /// The client has not been given the last ReadyForQuery yet.
    pub(super) ready_kept: bool,
    /// The statements that do that if the batch goes on.
    pub(super) mend_next: Option<Vec<Vec<u8>>>,
    /// Texts with commands that concern other connections.
    pub(super) administered: Vec<Arc<Pattern>>,
    /// One of these commands was done.
    pub(super) has_administered: bool,
    pub(super) draws: Draws,
    /// The batch at hand executes what ends a failed transaction, or goes back in it.
    pub(super) ends_failure: bool,
    /// Statements of the client's that the backend would not take: they are not valid any more.
    pub(super) invalid: Vec<Box<[u8]>>,
    /// What was called and is not known yet.
    pub(super) unknown: Vec<Callee>,
    /// What definitions make old that were sent in the transaction.
    pub(super) outdated: Option<Outdated>,
    /// One of these was given a string that may be the beginning of a setting's name.
    pub(super) began_a_name: bool,
    /// The session's settings before the transaction changed some that are reported.
    pub(super) before_reports: Option<Arc<Profile>>,
    pub(super) leased: bool,
    /// The frame that asked for the lease has not been judged again.
    pub(super) unused: bool,
    pub(super) status: Transaction,
    pub(super) deferred: Option<Deferred>,
    pub(super) copying: Copying,
    /// Replies owed that must be here before anything else is sent.
    pub(super) decisions: usize,
    /// After an error of the extended protocol: everything up to the next Sync gets no reply.
    pub(super) skipping: bool,
    /// Something was sent after the last Sync or Query.
    pub(super) open_batch: bool,
    /// Of that, something was sent after the last Flush: the backend may keep its replies to itself.
    pub(super) unflushed: bool,
    /// The client's last frame was here whole: none is partly forwarded.
    pub(super) between_frames: bool,
    /// The end of what has passed of a Query that streams past.
    pub(super) passing: Option<Vec<u8>>,
    /// A frame waits because too much is owed.
    pub(super) crowded: bool,
    /// Commands at work that may drop statements.
    pub(super) forgetting: usize,
    /// Shared statements of which the backend's copy is read by settings of the moment.
    pub(super) momentary: Vec<u64>,
    /// The backend's last words were passed on.
    pub(super) fatal: bool,
    pub(super) reset: Reset,
    pub(super) cancel_report: Option<Box<[u8]>>,
    pub(super) measured: Option<(Arc<Statement>, Instant)>,
    pub(super) measures: Measures,
    /// The batch that is being sent, where it may have to be sent again.
    pub(super) kept_batch: Batch,
    /// A reply that its failure would make undone.
    pub(super) kept_reply: Vec<u8>,
    pub(super) queue: VecDeque<Expect>,
    pub(super) pending: VecDeque<Pending>,
    pub(super) batch: u64,
}

impl Turn {
    pub(super) fn is_answered(&self) -> bool {
        self.queue.is_empty() && self.deferred.is_none() && !self.open_batch && self.copying == Copying::No
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_answered() && self.status == Transaction::Idle && !self.skipping && !self.fatal && !self.ready_kept
    }

    /// Whether no reply is to come that ends a batch, or that a Flush has asked for; none does while COPY data is wanted.
    pub(super) fn is_finished(&self) -> bool {
        let is_flushed = !self.unflushed && self.queue.iter().any(|expect| !expect.is_fake());
        let answers_come = self.is_behind() || is_flushed;
        matches!(self.copying, Copying::Open { .. }) || !answers_come
    }

    /// Whether the backend has something to answer, and needs nothing more for that than to be asked.
    pub(super) fn will_be_answered(&self) -> bool {
        let awaits_client = matches!(self.copying, Copying::Open { .. } | Copying::Failed { .. });
        self.leased && !self.fatal && !awaits_client && (self.ready_kept || !self.queue.is_empty())
    }

    /// Whether anything was sent whose outcome may be an open transaction.
    pub(super) fn has_begun(&self) -> bool {
        let may = |expect: &Expect| matches!(expect.kind, Kind::Execute | Kind::Query) && !expect.is_skipped();
        self.queue.iter().any(may)
    }

    pub(super) fn owed(&self) -> usize {
        self.queue.len()
    }

    /// Whether so much is owed, or not decided yet, that the client's next frame must wait; then it does until half of
    /// that is done.
    pub(super) fn is_crowded(&self, pipeline: usize) -> bool {
        let most = |count: usize| if self.crowded { (count / 2).max(1) } else { count };
        self.owed() >= most(pipeline) || self.pending.len() >= most(MOST_PENDING)
    }

    /// Whether the outcome of an earlier batch of the client is not known yet.
    pub(super) fn is_behind(&self) -> bool {
        self.queue.iter().any(Expect::ends_clients_batch)
    }

    /// Whether a batch of ours may begin: there is none that our Sync would end, nor may PostgreSQL be skipping what comes.
    pub(super) fn may_begin_batch(&self) -> bool {
        let since_sync = self.queue.iter().rev().take_while(|expect| expect.kind != Kind::Sync);
        !self.open_batch && since_sync.filter(|expect| !expect.is_fake()).all(Expect::is_end_of_batch)
    }

    /// Batches of the client's that are under way.
    pub(super) fn batches(&self) -> usize {
        self.queue.iter().filter(|expect| expect.ends_clients_batch()).count()
    }

    /// Whether something at work may drop statements that we believe to be there.
    pub(super) fn is_forgetting(&self) -> bool {
        self.forgetting > 0
    }

    /// Whether settings went back to the backend's defaults, and the batch that did it is about to end.
    pub(super) fn is_resetting(&self) -> bool {
        !matches!(self.reset, Reset::No) && !self.open_batch && !self.queue.iter().all(Expect::is_fake)
    }

    /// Whether all that is owed is the answer to what was said after a transaction, to make the backend tidy.
    pub(super) fn is_tidying(&self) -> bool {
        let idle = self.status == Transaction::Idle && !self.open_batch && self.deferred.is_none();
        let adopts = |pending: &Pending| matches!(pending.effect, Effect::Profile(_));
        let ours = !self.queue.is_empty() && self.queue.iter().all(Expect::is_skipped);
        idle && ours && !self.pending.iter().any(adopts)
    }

    /// Adds a reply and the effects that it will confirm.
    pub(super) fn expect<const N: usize>(&mut self, mut expect: Expect, effects: [Effect; N]) {
        expect.effects = u8::try_from(N).unwrap_or(u8::MAX);
        self.forgetting += usize::from(expect.forgets);
        self.decisions += usize::from(expect.decides);
        self.pending.extend(effects.into_iter().map(|effect| Pending { batch: self.batch, effect }));
        self.queue.push_back(expect);
    }

    /// A text is sent that decides what the session listens to.
    pub(super) fn follow(&mut self, text: Option<Followed>) {
        if let Some(text) = text {
            self.ledger.get_or_insert_default().sent(text);
        }
    }

    /// What is sent from now on is answered after another ReadyForQuery.
    pub(super) fn end_batch(&mut self) {
        self.batch += 1;
        (self.open_batch, self.unflushed, self.ends_failure) = (false, false, false);
    }

    /// Something is sent that no Sync or Query ends yet.
    pub(super) fn open_batch(&mut self) {
        (self.open_batch, self.unflushed) = (true, true);
    }

    /// Holds a frame until the backend has answered what it was sent before, which it may have to be asked for.
    pub(super) fn wait(&mut self, out: &mut Outgoing) -> Verdict {
        self.flush_now(&mut out.to_backend);
        Verdict::Hold(Wait::Replies)
    }

    // === replies ===

    /// The reply that the backend gives next, after what we answer ourselves before it.
    pub(super) fn next(&mut self, names: &mut Names, before: &mut Vec<u8>) -> Option<&Expect> {
        if self.queue.front().is_some_and(Expect::is_fake) {
            self.answer_fakes_at_head(names, before);
        }
        self.queue.front()
    }

    /// ReadyForQuery has come.
    pub(super) fn ready(&mut self, status: Transaction) {
        self.status = status;
        self.cancel_report = None;
        if status == Transaction::Idle && self.queue.len() == 1 {
            self.portals = Portals::default();
        }
    }

    /// The frame at the head of what the client has sent is skipped: what was found out for it is not for the next.
    pub(super) fn forget_head(&mut self) {
        self.head = Head::default();
    }

    /// What the next reply is about.
    pub(super) fn head_named(&self) -> Option<&Named> {
        self.queue.front()?.about.as_ref()
    }

    pub(super) fn head_kind(&self) -> Option<Kind> {
        self.queue.front().map(|expect| expect.kind)
    }

    /// The profile that the backend carries once the next reply has come; `None` for most.
    pub(super) fn adopted(&self) -> Option<&Arc<Profile>> {
        let has_effects = self.queue.front().is_some_and(|expect| expect.effects > 0);
        match self.pending.front().map(|pending| &pending.effect).filter(|_| has_effects) {
            Some(Effect::Profile(profile)) => Some(profile),
            _ => None,
        }
    }

    /// The next reply has come and confirms its effects.
    pub(super) fn confirm(&mut self, names: &mut Names, leased: &mut Leased<'_>) {
        let Some(expect) = self.pop() else { return };
        if expect.kind != Kind::Query {
            self.kept_batch.forget();
        }
        if let Some(named) = expect.about.filter(|_| expect.vouches) {
            leased.held.vouch(named.statement.id, named.parse);
        }
        for _ in 0..expect.effects {
            match self.pending.pop_front().map(|pending| pending.effect) {
                Some(Effect::Own(name, here)) => leased.held.set_own(&name, here),
                Some(Effect::Clear) => leased.held.clear(),
                Some(Effect::Discard) => self.draws.discard(),
                Some(Effect::Drop(id)) => leased.held.remove(id),
                Some(Effect::Hold(id, parse)) => leased.held.insert(id, parse),
                Some(Effect::Name(name, named)) => {
                    if let Some(named) = &named {
                        named.statement.vouch(named.parse);
                    }
                    names.set(&name, named);
                }
                // See [`Self::adopted`].
                Some(Effect::Profile(_)) => self.may_be_refused = false,
                Some(Effect::Unnamed(id)) => leased.held.set_unnamed(id),
                None => {}
            }
        }
    }

    /// Whether the next reply is to a message that will be refused, but may be warned of first.
    pub(super) fn is_doomed(&self) -> bool {
        self.queue.front().is_some_and(|expect| matches!(expect.who, Who::Doomed))
    }

    /// The next message failed, and with it all others up to the next Sync. A failed Parse leaves no unnamed
    /// statement where it was to be one.
    pub(super) fn fail(&mut self, names: &mut Names, leased: &mut Leased<'_>) {
        self.kept_batch.forget();
        let effects = self.queue.front().map_or(0, |expect| usize::from(expect.effects));
        let tried = self.queue.front().is_some_and(|expect| matches!(expect.who, Who::Try));
        for pending in self.pending.iter().take(effects) {
            match &pending.effect {
                Effect::Own(name, true) if tried => self.invalid.push(name.clone()),
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

    fn pop(&mut self) -> Option<Expect> {
        let expect = self.queue.pop_front()?;
        if let Some(ledger) = self.ledger.as_mut().filter(|_| expect.followed) {
            ledger.over();
        }
        self.forgetting -= usize::from(expect.forgets);
        self.decisions -= usize::from(expect.decides);
        Some(expect)
    }

    // === what we answer ourselves ===

    /// Answers what is ours at the head, where nothing else is owed that would carry it along.
    pub(super) fn answer_fakes(&mut self, names: &mut Names, to: &mut Vec<u8>) {
        if self.queue.iter().all(Expect::is_fake) {
            self.answer_fakes_at_head(names, to);
        }
    }

    /// Answers what is ours at the head: all before it has been answered.
    pub(super) fn answer_fakes_at_head(&mut self, names: &mut Names, to: &mut Vec<u8>) {
        while let Some(expect) = self.queue.front() {
            match &expect.who {
                Who::Fake(reply) => to.extend_from_slice(reply),
                Who::Say(reply) => to.extend_from_slice(reply),
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
