//! LISTEN and UNLISTEN without a backend: what is shared, and when a client hears.
//!
//! A LISTEN that is a transaction of its own is done by a listening backend that many sessions share. In a transaction
//! block or among other statements the session's own backend runs it first: see `channels`. In a function it is done by
//! that backend alone, which the session then keeps.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::from_client::opens_block;
use super::state::Keeps;
use super::telling::told_in;
use super::turn::{Effect, Expect, Kind, Who};
use super::{Hold, Outgoing, Session, Verdict, Wait};
use crate::prepared::Statement;
use crate::sql::{Command, Effects, LONGEST_NAME, Name, Pattern, Weighed};
use crate::wire::Header;
use crate::wire::build;
use crate::wire::tag::{backend, client};
use crate::wire::view::Transaction;

/// How far a shared LISTEN or UNLISTEN is.
#[derive(Debug, Default)]
pub(super) enum Hearing {
    Done(Result<(), Box<[u8]>>),
    #[default]
    No,
    Wanted(Wanted),
}

/// What a shared backend is to do before a text goes on.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// To listen to the channels of a text that is about to run, and then, if `armed`, to keep what it hears of these
    /// and of earlier ones, because the text may commit.
    Ahead { listens: Option<Arc<Pattern>>, armed: bool },
    /// All of a text that is a transaction of its own.
    Alone(Arc<Pattern>),
}

impl Session {
    /// The pattern of a text that is to be done by a shared listening backend.
    pub(super) fn shared_listen(&self, weighed: &Weighed) -> Option<Arc<Pattern>> {
        let Weighed::Known(pattern) = weighed else { return None };
        // PostgreSQL says so when it cuts off a name.
        let is_whole = |name: &Name| name.len() < LONGEST_NAME;
        let alone = match &*pattern.traits.commands {
            [Command::Listen(name) | Command::Unlisten(Some(name))] => is_whole(name),
            [Command::Unlisten(None)] => true,
            _ => false,
        };
        // What its own backend listens to must end there, too.
        let own =
            self.state.keeps().contains(Keeps::CHANNELS) && matches!(&*pattern.traits.commands, [Command::Unlisten(_)]);
        // Nor does its own backend know what is shared while it has been told the session's channels.
        let brought = self.turn.as_ref().is_some_and(|turn| turn.brought_channels);
        let in_block = self.turn.as_ref().is_some_and(|turn| turn.status != Transaction::Idle || turn.has_begun());
        let shared =
            alone && !own && !brought && !in_block && self.rules.hold != Hold::Session && self.is_shared(pattern);
        shared.then(|| Arc::clone(pattern))
    }

    /// What the text that waits wants of a shared backend.
    #[must_use]
    pub fn wants_to_listen(&self) -> Option<Wanted> {
        match &self.turn.as_ref()?.head.hearing {
            Hearing::Wanted(wanted) => Some(wanted.clone()),
            Hearing::Done(_) | Hearing::No => None,
        }
    }

    /// It is done, or has failed with this ErrorResponse; the frame that waits can be judged again.
    pub fn listened(&mut self, outcome: Result<(), Vec<u8>>) {
        self.turn.get_or_insert_default().head.hearing = Hearing::Done(outcome.map_err(Vec::into_boxed_slice));
    }

    /// Whether the session listens to anything by a shared backend.
    pub fn set_listening(&mut self, listening: bool) {
        self.listening = listening;
    }

    /// The outcome of a shared LISTEN, or that it must be waited for.
    fn hear(&mut self, pattern: &Arc<Pattern>) -> Result<Result<&'static [u8], Box<[u8]>>, Verdict> {
        let turn = self.turn.get_or_insert_default();
        match std::mem::take(&mut turn.head.hearing) {
            Hearing::Done(outcome) => Ok(outcome.map(|()| match &*pattern.traits.commands {
                [Command::Unlisten(_)] => b"UNLISTEN".as_slice(),
                _ => b"LISTEN".as_slice(),
            })),
            Hearing::No | Hearing::Wanted(_) => {
                turn.head.hearing = Hearing::Wanted(Wanted::Alone(Arc::clone(pattern)));
                Err(Verdict::Hold(Wait::Listen))
            }
        }
    }

    /// A Query that is nothing but a LISTEN or UNLISTEN, while nothing is owed.
    pub(super) fn listen_by_query(&mut self, pattern: &Arc<Pattern>, out: &mut Outgoing) -> Verdict {
        match self.hear(pattern) {
            Err(verdict) => return verdict,
            Ok(Ok(tag)) => out.before.extend_from_slice(&completed(tag)),
            Ok(Err(error)) => out.before.extend_from_slice(&error),
        }
        out.before.extend_from_slice(&build::ready_for_query(Transaction::Idle));
        self.names.set(b"", None);
        Verdict::Swallow
    }

    /// Before a text that asks which channels the session listens to, or opens a transaction block in which one may ask:
    /// its backend is told them, and listens as long as it has it. `None` where there is nothing to do.
    pub(super) fn bring_channels(&mut self, (weighed, effects): (&Weighed, Effects), text: &[u8]) -> Option<Verdict> {
        self.listening.then_some(())?;
        let (asks, late) = (effects.any_of(Effects::READS_CHANNELS), &self.rules.channels_asked_late);
        let asks = asks || self.perhaps_told(weighed, text).any_of(Effects::READS_CHANNELS);
        let later = || late.load(Ordering::Relaxed) || self.turn.as_ref().is_some_and(|turn| turn.head.channels_asked);
        (asks || later() || opens_a_block(weighed, text)).then_some(())?;
        let turn = self.turn.get_or_insert_default();
        turn.head.channels_awaited = false;
        if turn.brought_channels {
            return None;
        }
        // In a transaction that has begun it would be too late: LISTEN takes effect with the commit.
        if turn.status != Transaction::Idle {
            return None;
        }
        if turn.has_begun() {
            late.fetch_or(asks, Ordering::Relaxed);
            return None;
        }
        Some(Verdict::Hold(Wait::Channels))
    }

    /// Looks whether one of the client's next statements asks which channels it listens to, where a batch of a session
    /// that listens is about to begin. `unread` is what is here of the client's bytes.
    pub fn look_ahead(&mut self, unread: &[u8]) {
        if !self.listening || self.turn.as_ref().is_some_and(|turn| turn.has_begun()) {
            return;
        }
        let asks = |statement: &Statement| self.effects_of_statement(statement).any_of(Effects::READS_CHANNELS);
        let asked = told_in(unread).any_of(Effects::READS_CHANNELS)
            || self.names.named().any(|(_, named)| asks(&named.statement))
            // By what it calls a statement may ask without a word of it.
            || (self.rules.functions.may_tell(Effects::READS_CHANNELS) && !is_of_one_statement(unread));
        if asked || self.turn.is_some() {
            self.turn.get_or_insert_default().head.channels_asked = asked;
        }
    }

    /// Has the backend listen to these channels too, so that it knows them.
    pub fn listen_there<'a>(&mut self, channels: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
        let mut text = Vec::new();
        let turn = self.turn.get_or_insert_default();
        (turn.brought_channels, turn.head.channels_awaited) = (true, true);
        for channel in channels {
            write_command(&mut text, b"LISTEN", channel);
            turn.told.insert(channel.into());
        }
        self.ask_alone(&text, out);
    }

    /// What has the backend forget them again; `None` where it was told none.
    pub fn listen_no_more(&mut self) -> Option<Vec<u8>> {
        let turn = self.turn.as_mut()?;
        turn.brought_channels = false;
        let told = std::mem::take(&mut turn.told);
        if told.is_empty() {
            return None;
        }
        let (mut text, mut query) = (Vec::new(), Vec::new());
        if turn.recoded && !told.iter().all(|channel| channel.is_ascii()) {
            // The same bytes are other names by now.
            text.extend_from_slice(b"UNLISTEN *");
        } else {
            // One by one: a function may have listened to others.
            for channel in &told {
                write_command(&mut text, b"UNLISTEN", channel);
            }
        }
        self.ask_alone(&text, &mut query);
        Some(query)
    }

    /// Whether everything was unlistened by DISCARD ALL since this was last asked.
    pub fn take_discarded(&mut self) -> bool {
        self.turn.as_mut().is_some_and(|turn| std::mem::take(&mut turn.discarded))
    }

    /// Whether the session has sent something that notifies.
    #[must_use]
    pub fn has_notified(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.notified)
    }

    /// Whether the session has notified since this was last asked.
    pub fn take_notified(&mut self) -> bool {
        self.turn.as_mut().is_some_and(|turn| std::mem::take(&mut turn.notified))
    }

    /// Whether a ReadyForQuery is kept back until everything that was notified before it has been heard.
    #[must_use]
    pub fn keeps_ready_back(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.ready_kept)
    }

    /// Everything has been heard: gives the ReadyForQuery.
    pub fn give_ready(&mut self, to_client: &mut Vec<u8>) {
        let Self { turn: Some(turn), names, .. } = self else { return };
        if std::mem::take(&mut turn.ready_kept) {
            to_client.extend_from_slice(&build::ready_for_query(turn.status));
            turn.answer_fakes_at_head(names, to_client);
        }
    }
}

impl Session {
    /// Has the backend run a text for us, between two batches.
    pub(super) fn ask_alone(&mut self, text: &[u8], out: &mut Vec<u8>) {
        build::write_query(out, text);
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Query, Who::Skip), [Effect::Unnamed(None)]);
        turn.end_batch();
    }
}

/// Whether a transaction block is open once a text has run, or was while it did.
fn opens_a_block(weighed: &Weighed, text: &[u8]) -> bool {
    match weighed {
        Weighed::Known(pattern) => pattern.traits.commands.contains(&Command::Begin),
        Weighed::Later(_) | Weighed::Anything => opens_block(text),
    }
}

/// Whether the client's next batch is here, and runs no more than one statement.
fn is_of_one_statement(unread: &[u8]) -> bool {
    let (mut rest, mut executed) = (unread, 0);
    while let Ok(Some(header)) = Header::read(rest, usize::MAX) {
        match header.tag {
            client::EXECUTE => executed += 1,
            client::SYNC | client::QUERY => return executed <= 1,
            _ => {}
        }
        rest = rest.get(header.frame()..).unwrap_or_default();
    }
    false
}

fn write_command(text: &mut Vec<u8>, verb: &[u8], channel: &[u8]) {
    text.extend_from_slice(verb);
    text.extend_from_slice(b" \"");
    for byte in channel {
        text.extend_from_slice(if *byte == b'"' { b"\"\"" } else { std::slice::from_ref(byte) });
    }
    text.extend_from_slice(b"\";");
}

fn completed(tag: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    build::write_frame(&mut frame, backend::COMMAND_COMPLETE, |to| {
        to.extend_from_slice(tag);
        to.push(0);
    });
    frame
}
