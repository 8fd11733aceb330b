//! LISTEN and UNLISTEN that the leased backend runs: in a transaction block, among other statements, by the extended
//! protocol.
//!
//! PostgreSQL runs them, refuses them and undoes them; what has become of each it says in its replies. What is
//! committed is then done by the shared backend, which was told of the channels beforehand: before a LISTEN runs it
//! listens to them, before a COMMIT it keeps what it hears of them. The leased backend is told to forget them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::listening::{Hearing, Wanted};
use super::{Hold, Session, Verdict, Wait};
use crate::sql::{Command, Name, Pattern, Weighed, is_ambiguous, is_exact, name_bytes, savepoints};
use crate::wire::view::Transaction;

/// What a committed transaction did to what its session listens to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Listen(Name),
    Unlisten(Name),
    UnlistenAll,
}

/// A text whose statements decide what the session listens to.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    pattern: Arc<Pattern>,
    /// One for each command that names a savepoint.
    savepoints: Arc<[Box<[u8]>]>,
}

/// A text that was sent, and how much of it is done.
#[derive(Debug)]
struct Running {
    text: Followed,
    done: usize,
    /// Commands that name a savepoint, of those that are done.
    named: usize,
}

impl Running {
    /// The next command is done.
    fn step(&mut self) -> Option<Step> {
        let command = self.text.pattern.traits.commands.get(self.done)?.clone();
        self.done += 1;
        let names = matches!(command, Command::Savepoint | Command::RollbackTo | Command::Release);
        let savepoint = self.text.savepoints.get(self.named).filter(|_| names).cloned().unwrap_or_default();
        self.named += usize::from(names);
        Some(Step { command, savepoint })
    }
}

/// A command that is done; which savepoint it names.
struct Step {
    command: Command,
    savepoint: Box<[u8]>,
}

/// What the session's transactions do to its channels.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    running: VecDeque<Running>,
    /// By the open transaction, in order.
    open: Vec<Change>,
    /// Those of the open transaction, and how many changes came before each.
    savepoints: Vec<(Box<[u8]>, usize)>,
    committed: Vec<Change>,
    /// Something has failed since the last ReadyForQuery.
    failed: bool,
    /// So many changes were open when a text that was not read rolled back since then, if only to a savepoint.
    undone: Option<usize>,
    /// A channel is held of which no notification is kept yet.
    unarmed: bool,
}

/// Why a text cannot be sent now.
#[derive(Debug)]
pub(super) enum Ahead {
    Failed(Box<[u8]>),
    Wait(Verdict),
}

impl Ledger {
    /// A text with commands that count is sent.
    pub(super) fn sent(&mut self, text: Followed) {
        self.running.push_back(Running { text, done: 0, named: 0 });
    }

    /// No more replies will come to the text at the head.
    pub(super) fn over(&mut self) {
        self.running.pop_front();
    }

    pub(super) fn failed(&mut self) {
        self.failed = true;
    }

    /// A statement of the text at the head is done, or one of a text that is not `followed`. Channels that the backend
    /// listens to because of it are added to `told`.
    pub(super) fn done(&mut self, tag: &[u8], followed: bool, told: &mut BTreeSet<Box<[u8]>>) {
        let Some(Step { command, savepoint }) = self.running.front_mut().filter(|_| followed).and_then(Running::step)
        else {
            return self.unread(tag);
        };
        match command {
            Command::Listen(name) => {
                told.insert(name_bytes(&name).into());
                self.open.push(Change::Listen(name));
            }
            Command::Unlisten(Some(name)) => self.open.push(Change::Unlisten(name)),
            Command::Unlisten(None) => self.open.push(Change::UnlistenAll),
            Command::Savepoint => self.savepoints.push((savepoint, self.open.len())),
            Command::RollbackTo => self.rolled_back_to(&savepoint),
            Command::Release => self.savepoints.truncate(self.place(&savepoint).unwrap_or(0)),
            _ if tag == b"COMMIT\0" => self.commit(),
            // That is also the answer to the COMMIT of a transaction that has failed.
            _ if tag == b"ROLLBACK\0" => self.roll_back(),
            _ => {}
        }
    }

    /// A statement of a text that is not known is done. Rather too much is heard of than too little: what may have been
    /// rolled back to a savepoint stands.
    fn unread(&mut self, tag: &[u8]) {
        match tag {
            b"SAVEPOINT\0" => self.savepoints.push((Box::default(), self.open.len())),
            b"ROLLBACK\0" => self.undone = Some(self.open.len()),
            b"BEGIN\0" | b"START TRANSACTION\0" => self.forget_undone(),
            b"COMMIT\0" => self.commit(),
            _ => {}
        }
    }

    /// ReadyForQuery has come: outside of a transaction block everything is decided.
    pub(super) fn ready(&mut self, status: Transaction) {
        match (status, std::mem::take(&mut self.failed)) {
            (Transaction::Idle, true) => self.roll_back(),
            (Transaction::Idle, false) => {
                self.forget_undone();
                self.commit();
            }
            _ => self.undone = None,
        }
    }

    /// What was rolled back was the whole transaction: what came before it is gone, what came after it is not.
    fn forget_undone(&mut self) {
        let Some(gone) = self.undone.take().map(|changes| changes.min(self.open.len())) else { return };
        self.open.drain(..gone);
        self.savepoints.retain(|(_, changes)| *changes >= gone);
        self.savepoints.iter_mut().for_each(|(_, changes)| *changes -= gone);
    }

    fn commit(&mut self) {
        self.committed.append(&mut self.open);
        self.savepoints.clear();
        self.undone = None;
    }

    fn roll_back(&mut self) {
        self.open.clear();
        self.savepoints.clear();
        self.undone = None;
    }

    /// A savepoint that is not known is older than all changes.
    fn rolled_back_to(&mut self, name: &[u8]) {
        let place = self.place(name);
        let kept = place.and_then(|place| self.savepoints.get(place)).map_or(0, |(_, changes)| *changes);
        self.open.truncate(kept);
        self.savepoints.truncate(place.map_or(0, |place| place + 1));
    }

    /// One without a name may be any.
    fn place(&self, name: &[u8]) -> Option<usize> {
        self.savepoints.iter().rposition(|(known, _)| **known == *name || known.is_empty())
    }
}

impl Session {
    /// Whether what a text listens to is heard by a shared backend.
    pub(super) fn is_shared(&self, pattern: &Pattern) -> bool {
        let is_known = |name: &Name| is_exact(name) && (!is_ambiguous(name) || self.profile.is_utf8());
        let exact = |command: &Command| !matches!(command, Command::Listen(name) if !is_known(name));
        self.rules.hold != Hold::Session && pattern.traits.commands.iter().all(exact)
    }

    /// A text, if its statements decide what the session listens to.
    pub(super) fn followed(&self, weighed: &Weighed, text: &[u8]) -> Option<Followed> {
        let begun = self.turn.as_ref().is_some_and(|turn| turn.ledger.is_some());
        let pattern = match weighed {
            Weighed::Known(pattern) => Arc::clone(pattern),
            Weighed::Later(_) if begun => self.learn(text),
            Weighed::Anything | Weighed::Later(_) => return None,
        };
        let counts = |command: &Command| is_about_channels(command) || (begun && is_about_transactions(command));
        let followed = pattern.traits.commands.iter().any(counts) && self.is_shared(&pattern);
        followed.then(|| Followed { savepoints: savepoints(text, &self.lexing()).into(), pattern })
    }

    /// Has the shared backend prepared for a text: `followed`, or one that may be anything.
    pub(super) fn hear_ahead(&mut self, followed: Option<&Followed>, unread: bool) -> Result<(), Ahead> {
        let Some(turn) = self.turn.as_mut().filter(|turn| followed.is_some() || (unread && turn.ledger.is_some()))
        else {
            return Ok(());
        };
        match std::mem::take(&mut turn.head.hearing) {
            Hearing::Done(outcome) => return outcome.map_err(Ahead::Failed),
            Hearing::No | Hearing::Wanted(_) => {}
        }
        let commands = followed.map_or(&[][..], |text| &text.pattern.traits.commands);
        if turn.status == Transaction::Failed && !turn.has_begun() && !commands.first().is_some_and(ends_failure) {
            return Ok(());
        }
        let listens = commands.iter().any(|command| matches!(command, Command::Listen(_)));
        let unarmed = turn.ledger.as_ref().is_some_and(|ledger| ledger.unarmed);
        // Of what was sent and not answered it is not known whether it opens a block: rather too early than too late.
        let may_commit = unread || turn.has_begun() || commits(commands, turn.status != Transaction::Idle);
        let armed = may_commit && (listens || unarmed);
        if !listens && !armed {
            return Ok(());
        }
        if turn.is_behind() {
            // What an earlier batch notifies must not be heard.
            return Err(Ahead::Wait(Verdict::Hold(Wait::Replies)));
        }
        turn.ledger.get_or_insert_default().unarmed = !armed;
        let listens = followed.filter(|_| listens).map(|text| Arc::clone(&text.pattern));
        turn.head.hearing = Hearing::Wanted(Wanted::Ahead { listens, armed });
        Err(Ahead::Wait(Verdict::Hold(Wait::Listen)))
    }

    /// What the transactions that have ended did to what the session listens to, once that is decided.
    pub fn take_changes(&mut self) -> Option<Vec<Change>> {
        let turn = self.turn.as_mut()?;
        let decided = turn.status == Transaction::Idle && !turn.open_batch && matches!(turn.head.hearing, Hearing::No);
        let ledger = turn.ledger.take_if(|ledger| decided && ledger.running.is_empty())?;
        Some(ledger.committed)
    }
}

fn is_about_channels(command: &Command) -> bool {
    matches!(command, Command::Listen(_) | Command::Unlisten(_))
}

fn is_about_transactions(command: &Command) -> bool {
    matches!(
        command,
        Command::Begin
            | Command::Commit { .. }
            | Command::PrepareTransaction
            | Command::Release
            | Command::Rollback { .. }
            | Command::RollbackTo
            | Command::Savepoint
    )
}

fn ends_failure(command: &Command) -> bool {
    matches!(command, Command::Commit { .. } | Command::Rollback { .. } | Command::RollbackTo)
}

/// Whether a transaction can commit while these run, given whether they begin in a block.
fn commits(commands: &[Command], mut in_block: bool) -> bool {
    let mut commits = false;
    for command in commands {
        match command {
            Command::Begin => in_block = true,
            Command::Commit { chain } => (commits, in_block) = (true, *chain),
            Command::Rollback { chain } => in_block = *chain,
            Command::PrepareTransaction => in_block = false,
            _ => {}
        }
    }
    commits || !in_block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_commits_with_its_commit_or_as_a_whole_outside_of_a_block() {
        let commit = Command::Commit { chain: false };
        let (begin, listen, rollback) =
            (Command::Begin, Command::Listen("a".into()), Command::Rollback { chain: false });
        assert!(commits(std::slice::from_ref(&listen), false));
        assert!(!commits(std::slice::from_ref(&listen), true));
        assert!(!commits(&[begin.clone(), listen.clone()], false));
        assert!(commits(&[begin.clone(), listen.clone(), commit], false));
        assert!(commits(&[rollback.clone(), listen.clone()], true));
        assert!(!commits(&[rollback, begin, listen], true));
    }

    /// What is committed when these statements are done one after the other, each with its tag.
    fn committed(statements: &[(Command, &str, &[u8])], fails: bool) -> Vec<Change> {
        let (mut ledger, mut told) = (Ledger::default(), BTreeSet::new());
        let mut pattern = Pattern {
            digest: crate::sql::Patterns::new(1).learn(b"select 1", &crate::sql::Lexing::default()).digest,
            fingerprint: None,
            normalised: "".into(),
            traits: crate::sql::Traits::default(),
            parts: Box::default(),
            note: crate::sql::Note::default(),
        };
        pattern.traits.commands = statements.iter().map(|(command, ..)| command.clone()).collect();
        let named = statements.iter().map(|(_, savepoint, _)| savepoint.as_bytes());
        let savepoints = named.filter(|savepoint| !savepoint.is_empty()).map(Box::from).collect();
        ledger.sent(Followed { pattern: Arc::new(pattern), savepoints });
        for (.., tag) in statements {
            ledger.done(tag, true, &mut told);
        }
        if fails {
            ledger.failed();
        }
        ledger.over();
        ledger.ready(Transaction::Idle);
        ledger.committed
    }

    #[test]
    fn what_follows_a_savepoint_is_undone_with_it_and_kept_when_it_is_released() {
        let listen = |name: &str| (Command::Listen(name.into()), "", b"LISTEN\0".as_slice());
        let savepoint = |name: &'static str| (Command::Savepoint, name, b"SAVEPOINT\0".as_slice());
        let back = |name: &'static str| (Command::RollbackTo, name, b"ROLLBACK\0".as_slice());
        let release = |name: &'static str| (Command::Release, name, b"RELEASE\0".as_slice());
        let commit = (Command::Commit { chain: false }, "", b"COMMIT\0".as_slice());
        let change = |name: &str| Change::Listen(name.into());
        let undone = [listen("a"), savepoint("s"), listen("b"), back("s"), listen("c"), commit.clone()];
        assert_eq!(committed(&undone, false), [change("a"), change("c")]);
        let twice = [savepoint("s"), listen("a"), savepoint("s"), listen("b"), release("s"), back("s"), commit.clone()];
        assert_eq!(committed(&twice, false), []);
        let older = [listen("a"), savepoint("s"), back("older"), listen("b"), commit.clone()];
        assert_eq!(committed(&older, false), [change("b")]);
        let released = [savepoint("s"), listen("a"), release("s"), commit];
        assert_eq!(committed(&released, false), [change("a")]);
    }

    #[test]
    fn what_a_text_that_was_not_read_went_back_to_is_known_when_it_is_over() {
        let after = |tags: &[&[u8]], status| {
            let (mut ledger, mut told) = (Ledger::default(), BTreeSet::new());
            ledger.open.push(Change::Listen("a".into()));
            tags.iter().for_each(|tag| ledger.done(tag, false, &mut told));
            ledger.ready(status);
            (ledger.open.len(), ledger.committed.len())
        };
        let (savepoint, rollback) = (b"SAVEPOINT\0".as_slice(), b"ROLLBACK\0".as_slice());
        let (begin, commit) = (b"BEGIN\0".as_slice(), b"COMMIT\0".as_slice());
        assert_eq!(after(&[savepoint, rollback], Transaction::Open), (1, 0));
        assert_eq!(after(&[rollback, begin], Transaction::Open), (0, 0));
        assert_eq!(after(&[rollback], Transaction::Idle), (0, 0));
        assert_eq!(after(&[savepoint, rollback, commit], Transaction::Idle), (0, 1));
    }

    #[test]
    fn a_commit_stands_and_what_follows_it_fails_with_its_transaction() {
        let listen = |name: &str| (Command::Listen(name.into()), "", b"LISTEN\0".as_slice());
        let commit = |tag: &'static [u8]| (Command::Commit { chain: false }, "", tag);
        let all = [listen("a"), commit(b"COMMIT\0"), listen("b")];
        assert_eq!(committed(&all, true), [Change::Listen("a".into())]);
        assert_eq!(committed(&[listen("a"), commit(b"ROLLBACK\0")], false), []);
    }
}
