//! What a client started with is where its settings return to. A backend knows nothing of that: its RESET goes back to
//! the server's default. So a statement that puts a setting back is followed by one of pgweir's, in the same message
//! and transaction, that sets what the client started with; the client sees no reply to it. So is one that makes a
//! session's first temporary object by one that discards `plans`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::turn::{Effect, Expect, Kind, Pending, Turn, Who};
use super::{Outgoing, Session, Verdict, plans, reports};
use crate::prepared::Statement;
use crate::settings::{AUTHORIZATION, Profile, ROLE, Scope, select_set, set, write_text};
use crate::sql::{Command, Discard, Effects, Lexer, Lexing, Token, TokenKind, Weighed, statements};
use crate::wire::Frame;
use crate::wire::build;
use crate::wire::tag::client;
use crate::wire::view::{self, Transaction};

/// The name of pgweir's statement and portal for a client that uses the extended protocol.
const NAME: &[u8] = b"__pgweir_mending";

/// A value to set: its name, the value, for how long.
type Wanted<'a> = (&'a [u8], &'a [u8], Scope);

/// Statements that set settings to what the client started with, and when they are executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mending {
    AtOnce(Vec<Vec<u8>>),
    /// When more comes in the same batch.
    BeforeMore(Vec<Vec<u8>>),
}

/// Whether commands since the last ReadyForQuery put settings back to their defaults.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Reset {
    #[default]
    No,
    Some,
    /// All of them.
    All {
        /// What the client had been told before.
        told: Arc<Profile>,
        /// What the backend has said of who statements run as, which no profile follows: name, value.
        who: Vec<(Box<[u8]>, Box<[u8]>)>,
    },
}

/// Statements of pgweir's among those of a Query.
#[derive(Debug)]
pub(super) struct Mended {
    /// How many follow which of the client's, by its place.
    after: Vec<(usize, usize)>,
    /// How many of the client's are done.
    done: usize,
    /// So many of pgweir's come next.
    ours: usize,
    /// Where pgweir's words stand, and how many characters the text has more for them.
    inserted: Vec<(usize, usize)>,
}

impl Mended {
    /// The position in the client's own text, in characters from 1, that is this one in the text that was sent.
    fn position(&self, sent: usize) -> usize {
        let before = self.inserted.iter().filter(|(start, more)| start + more < sent);
        sent.saturating_sub(before.map(|(_, more)| more).sum())
    }
}

impl Turn {
    /// Whether what the backend says of the Query at the head is about a statement of pgweir's.
    pub(super) fn is_mending(&self) -> bool {
        self.queue.front().and_then(|expect| expect.mended.as_ref()).is_some_and(|mended| mended.ours > 0)
    }

    /// An error or a notice about the Query at the head whose position is one in the client's own text; `None` where it
    /// is that already.
    pub(super) fn repositioned(&self, Frame { tag, body, .. }: &Frame<'_>) -> Option<Box<[u8]>> {
        let mended = self.queue.front()?.mended.as_ref()?;
        reports::moved(*tag, body, |position| mended.position(position))
    }

    /// What the client is told that `frame` says.
    pub(super) fn notice(&self, frame: &Frame<'_>, out: &mut Outgoing) -> Verdict {
        if self.head_kind() == Some(Kind::Parse)
            && let Some(Pending { effect: Effect::Name(_, Some(named)), .. }) = self.pending.front()
        {
            named.statement.warned();
        }
        let Some(words) = self.repositioned(frame) else { return Verdict::Forward };
        out.before.extend_from_slice(&words);
        Verdict::Swallow
    }

    /// A statement of the Query at the head is done. Whether it was one of pgweir's.
    pub(super) fn end_of_statement(&mut self) -> bool {
        let Some(mended) = self.queue.front_mut().and_then(|expect| expect.mended.as_mut()) else { return false };
        if mended.ours > 0 {
            mended.ours -= 1;
            return true;
        }
        let follow = mended.after.iter().find(|(place, _)| *place == mended.done);
        mended.ours = follow.map_or(0, |(_, count)| *count);
        mended.done += 1;
        false
    }
}

impl Session {
    /// The text of a Query with all that brings back what the client started with, and after which of its statements
    /// pgweir's stand; `None` where the text may go as it is.
    pub(super) fn mended_query(&self, weighed: &Weighed, text: &[u8]) -> Option<(Vec<u8>, Mended)> {
        let (unsets, masks) = (self.unsetting(weighed).is_some(), self.may_mask(weighed));
        let Weighed::Known(pattern) = weighed else { return None };
        if !unsets && !masks {
            return None;
        }
        let commands = &pattern.traits.commands;
        let mut pieces: Vec<_> = statements(text, &self.lexing()).collect();
        if pieces.len() != commands.len() {
            // Their ends are not known.
            pieces.clear();
            pieces.push(0..text.len());
        }
        let mut mended = Vec::with_capacity(text.len() + 64);
        let mut after = Vec::new();
        let mut inserted = Vec::new();
        let mut from = 0;
        for (place, piece) in pieces.iter().enumerate() {
            mended.extend_from_slice(text.get(from..piece.start).unwrap_or_default());
            from = piece.end;
            let statement = text.get(piece.clone()).unwrap_or_default();
            self.write_with_values(&mut mended, statement, &mut inserted);
            let command = commands.get(place).filter(|_| unsets && pieces.len() == commands.len());
            let mut mending = command.and_then(|command| self.mending(command, pieces.len())).unwrap_or_default();
            if masks && (pieces.len() == 1 || self.may_mask(&Weighed::Known(self.learn(statement)))) {
                mending.push(plans::DISCARD.to_vec());
            }
            if mending.is_empty() {
                continue;
            }
            for statement in &mending {
                inserted.push((characters(&mended), characters(statement) + 1));
                mended.push(b';');
                mended.extend_from_slice(statement);
            }
            after.push((place, mending.len()));
        }
        mended.extend_from_slice(text.get(from..).unwrap_or_default());
        (mended != text).then_some((mended, Mended { after, done: 0, ours: 0, inserted }))
    }

    /// Whether only the replies that are owed tell if anything must be brought back: SET LOCAL … TO DEFAULT does nothing
    /// outside a transaction, and is warned of only where nothing of pgweir's follows it.
    pub(super) fn mends_later(&self, weighed: &Weighed) -> bool {
        let Some(pattern) = self.unsetting(weighed) else { return false };
        let [Command::Unset { name, local: true }] = &*pattern.traits.commands else { return false };
        self.started_with(name, true).is_some() && self.turn.as_ref().is_some_and(|turn| turn.is_behind())
    }

    /// The statement that brings back what the client started with, after one that is executed on its own.
    pub(super) fn mending_of(&self, weighed: &Weighed) -> Option<Mending> {
        if is_discard_all(weighed) {
            return self.mending(&Command::Reset(None), 0).map(Mending::BeforeMore);
        }
        if self.may_mask(weighed) {
            return Some(Mending::AtOnce(vec![plans::DISCARD.to_vec()]));
        }
        match &*self.unsetting(weighed)?.traits.commands {
            [command] => self.mending(command, 0).map(Mending::AtOnce),
            _ => None,
        }
    }

    /// Brings back what the client started with where its batch goes on after DISCARD ALL, which has committed by then:
    /// what follows must neither undo that nor find itself in a transaction that has begun.
    pub(super) fn mend_before(&mut self, frame: &Frame<'_>, out: &mut Outgoing) {
        let decides =
            matches!(frame.tag, client::SYNC | client::QUERY | client::FUNCTION_CALL | client::PARSE | client::BIND);
        let Some(turn) = self.turn.as_mut().filter(|_| decides) else { return };
        if let Some(mending) = turn.mend_next.take().filter(|_| frame.tag != client::SYNC) {
            for statement in &mending {
                self.execute_mending(statement, &mut out.to_backend);
            }
            self.end_own_batch(out);
            self.state.note(Effects::SETTINGS);
        }
    }

    /// Executes a statement of pgweir's in the batch at hand.
    pub(super) fn execute_mending(&mut self, mending: &[u8], to_backend: &mut Vec<u8>) {
        self.execute_own(mending, || Who::Skip, [], to_backend);
    }

    /// The same for a statement whose execution has an effect.
    pub(super) fn execute_for(&mut self, statement: &[u8], effect: Effect, to_backend: &mut Vec<u8>) {
        self.execute_own(statement, || Who::Skip, [effect], to_backend);
    }

    /// The same for statements that may fail, and as a batch of their own.
    pub(super) fn try_mending(&mut self, statements: &[&[u8]], out: &mut Outgoing) {
        for statement in statements {
            self.execute_own(statement, || Who::Try, [], &mut out.to_backend);
        }
        self.end_own_batch(out);
        // What has failed is not closed yet, as the rest of its batch was skipped.
        build::write_close_portal(&mut out.to_backend, NAME);
        build::write_close_statement(&mut out.to_backend, NAME);
        for _ in 0..2 {
            self.turn.get_or_insert_default().expect(Expect::new(Kind::Close, Who::Skip), []);
        }
        self.end_own_batch(out);
    }

    fn execute_own<const N: usize>(
        &mut self,
        text: &[u8],
        who: impl Fn() -> Who,
        effects: [Effect; N],
        to_backend: &mut Vec<u8>,
    ) {
        build::write_parse(to_backend, NAME, text, &[0, 0]);
        build::write_bind_head(to_backend, NAME, NAME, 6);
        // No formats, no values, no formats of columns.
        to_backend.extend_from_slice(&[0; 6]);
        build::write_execute(to_backend, NAME);
        build::write_close_portal(to_backend, NAME);
        build::write_close_statement(to_backend, NAME);
        let turn = self.turn.get_or_insert_default();
        for kind in [Kind::Parse, Kind::Bind] {
            turn.expect(Expect::new(kind, who()), []);
        }
        turn.expect(Expect::new(Kind::Execute, who()), effects);
        for kind in [Kind::Close, Kind::Close] {
            turn.expect(Expect::new(kind, who()), []);
        }
        turn.open_batch();
    }

    fn unsetting<'a>(&self, weighed: &'a Weighed) -> Option<&'a crate::sql::Pattern> {
        match weighed {
            Weighed::Known(pattern) if !self.startup.is_empty() && pattern.traits.effects.any_of(Effects::UNSETS) => {
                Some(pattern)
            }
            _ => None,
        }
    }

    /// The statements that follow a command: one of so many of a Query, none for one that is executed on its own.
    fn mending(&self, command: &Command, statements: usize) -> Option<Vec<Vec<u8>>> {
        let is_who = |name: &[u8]| name == ROLE || name == AUTHORIZATION;
        let wanted: Vec<Wanted<'_>> = match command {
            Command::Reset(None) => self
                .startup
                .iter()
                .filter(|(name, _)| !is_who(name))
                .map(|(name, value)| (name, value, Scope::Session))
                .collect(),
            // PostgreSQL warns of it, and does nothing.
            Command::Unset { local: true, .. } if statements == 1 && self.is_outside() => Vec::new(),
            Command::Reset(Some(name)) => self.started_with(name, false).into_iter().collect(),
            Command::Unset { name, local } => self.started_with(name, *local).into_iter().collect(),
            _ => Vec::new(),
        };
        if wanted.is_empty() {
            return None;
        }
        // PostgreSQL warns of SET LOCAL where there is no block, nor several statements in one Query.
        let has_block = statements > 1 || !self.is_outside();
        let say = |(name, value, scope)| match scope {
            Scope::Transaction if !has_block => select_set((name, value), scope),
            _ => set((name, value), scope, &self.profile),
        };
        Some(wanted.into_iter().map(say).collect())
    }

    /// Whether no transaction is open, nor about to be.
    fn is_outside(&self) -> bool {
        self.transaction() == Transaction::Idle && !self.turn.as_ref().is_some_and(|turn| turn.has_begun())
    }

    fn started_with(&self, name: &str, local: bool) -> Option<Wanted<'_>> {
        let scope = if local { Scope::Transaction } else { Scope::Session };
        self.startup.iter().find(|(known, _)| *known == name.as_bytes()).map(|(name, value)| (name, value, scope))
    }

    /// Writes a statement in which set_config('x', NULL, …) says the value that the client started with instead.
    fn write_with_values(&self, to: &mut Vec<u8>, statement: &[u8], inserted: &mut Vec<(usize, usize)>) {
        let mut from = 0;
        for Call { name, value } in calls(statement, self.lexing()) {
            if !value.of(statement).eq_ignore_ascii_case(b"null") {
                continue;
            }
            let Some(value_then) = quoted(&name, statement).and_then(|name| self.startup.get(&name)) else { continue };
            to.extend_from_slice(statement.get(from..value.start).unwrap_or_default());
            let start = characters(to);
            write_text(to, value_then);
            inserted.push((start, (characters(to) - start).saturating_sub(value.end - value.start)));
            from = value.end;
        }
        to.extend_from_slice(statement.get(from..).unwrap_or_default());
    }

    /// A text to prepare in which set_config('x', NULL, …) says the value that the client started with; `None` where
    /// it may go as it is.
    pub(super) fn mended_text(&self, weighed: &Weighed, text: &[u8]) -> Option<Vec<u8>> {
        self.unsetting(weighed)?;
        let mut mended = Vec::with_capacity(text.len());
        self.write_with_values(&mut mended, text, &mut Vec::new());
        (mended != text).then_some(mended)
    }

    /// The same for set_config('x', $1, …) where a Bind, whose body this is, gives NULL: the body with values
    /// instead. The name may be bound, too.
    pub(super) fn mended_values(&self, statement: &Statement, body: &[u8]) -> Option<Vec<u8>> {
        self.unsetting(statement.weighed())?;
        let bound = view::bound(body)?;
        let parameter = |token: &Token| {
            let number = token.of(&statement.text).strip_prefix(b"$")?;
            let number: usize = std::str::from_utf8(number).ok()?.parse().ok()?;
            bound.get(number.checked_sub(1)?)
        };
        let mut values = BTreeMap::new();
        for Call { name, value } in calls(&statement.text, self.lexing()) {
            let Some(Err(at)) = parameter(&value) else { continue };
            let name = match parameter(&name) {
                Some(Ok(value)) => Some(value.bytes.to_ascii_lowercase()),
                Some(Err(_)) => None,
                None => quoted(&name, &statement.text),
            };
            let value = name.and_then(|name| self.startup.get(&name));
            let value = value.filter(|value| value.is_ascii() || self.profile.is_utf8());
            // One value for two settings can't be right for both.
            values.entry(*at).and_modify(|other| *other = value.filter(|_| *other == value)).or_insert(value);
        }
        let mut mended = Vec::with_capacity(body.len() + 64);
        let mut from = 0;
        for (at, value) in values {
            let Some(value) = value else { continue };
            mended.extend_from_slice(body.get(from..at).unwrap_or_default());
            mended.extend_from_slice(&i32::try_from(value.len()).ok()?.to_be_bytes());
            mended.extend_from_slice(value);
            from = at + size_of::<i32>();
        }
        mended.extend_from_slice(body.get(from..).unwrap_or_default());
        (from > 0).then_some(mended)
    }
}

fn is_discard_all(weighed: &Weighed) -> bool {
    matches!(weighed, Weighed::Known(pattern) if matches!(&*pattern.traits.commands, [Command::Discard(Discard::All)]))
}

/// The beginning of a call of set_config.
struct Call {
    name: Token,
    value: Token,
}

/// The calls of set_config in a statement whose first two arguments are one token each, casts aside.
fn calls(statement: &[u8], lexing: Lexing) -> Vec<Call> {
    let tokens: Vec<Token> = Lexer::new(statement, lexing).collect();
    let is_call = |pair: &[Token]| {
        let [call, open] = pair else { return false };
        call.of(statement).eq_ignore_ascii_case(b"set_config") && open.kind == TokenKind::Open
    };
    let starts = (0..tokens.len()).filter(|at| tokens.get(*at..at + 2).is_some_and(is_call));
    let call = |at: usize| {
        let mut rest = tokens.get(at + 2..)?.iter();
        let name = rest.next()?;
        let mut rest = rest.as_slice();
        while let [Token { kind: TokenKind::Cast, .. }, Token { kind: TokenKind::Word, .. }, after @ ..] = rest {
            rest = after;
        }
        let [Token { kind: TokenKind::Comma, .. }, value, Token { kind, .. }, ..] = rest else { return None };
        matches!(kind, TokenKind::Comma | TokenKind::Cast).then_some(Call { name: *name, value: *value })
    };
    starts.filter_map(call).collect()
}

/// The setting that a string names.
fn quoted(token: &Token, statement: &[u8]) -> Option<Vec<u8>> {
    let TokenKind::Text(_) = token.kind else { return None };
    let named = token.of(statement).strip_prefix(b"'")?.strip_suffix(b"'")?;
    Some(named.to_ascii_lowercase())
}

/// How many characters a text in UTF-8, or in an encoding of single bytes that are no part of one, has.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}
