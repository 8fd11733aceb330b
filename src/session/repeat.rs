//! A batch that can be sent again.
//!
//! A client whose Parse was answered without the backend is bound to a copy that is older than that Parse; if the
//! columns of its result changed in between, the backend refuses what it would not have refused directly. Where that
//! is the first that it says in a batch, nothing has happened yet: the copy is parsed anew, the batch sent once more.

use super::Verdict;
use super::turn::{Effect, Expect, Kind, Pending, Turn, Who};
use crate::prepared::Named;
use crate::wire::Frame;
use crate::wire::build;
use crate::wire::tag::client;
use crate::wire::view::Transaction;

/// Bytes of the longest batch that is kept.
const LIMIT: usize = 64 * 1024;

/// Bytes of memory that stay for the next one.
const KEPT: usize = 4 * 1024;

/// Asks a backend for what it has to say so far.
const FLUSH: [u8; 5] = [client::FLUSH, 0, 0, 0, 4];

/// What the backend was sent, from the first use of an older copy on.
#[derive(Debug, Default)]
pub(super) struct Batch {
    sent: Vec<u8>,
    keeping: Keeping,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    /// There is none that could be sent again.
    #[default]
    Nothing,
    Open,
    /// Its Sync was sent, too: nothing can be added.
    Ended,
}

impl Batch {
    /// It will not be sent again.
    pub(super) fn forget(&mut self) {
        self.keeping = Keeping::Nothing;
        self.sent.clear();
        self.sent.shrink_to(KEPT);
    }

    fn is_kept(&self) -> bool {
        self.keeping != Keeping::Nothing
    }

    /// Adds what a frame became. Whether the batch can still be sent again.
    fn add(&mut self, injected: &[u8], frame: &Frame<'_>, verdict: &Verdict) -> bool {
        let tags = [client::BIND, client::CLOSE, client::DESCRIBE, client::EXECUTE, client::FLUSH, client::PARSE];
        let repeatable = frame.tag == client::SYNC || tags.contains(&frame.tag);
        let fits = self.sent.len() + injected.len() + frame.len < LIMIT;
        if self.keeping == Keeping::Ended || !fits || !frame.is_whole() || !repeatable {
            return false;
        }
        self.sent.extend_from_slice(injected);
        match verdict {
            Verdict::Forward => build::copy_frame(&mut self.sent, frame.tag, frame.body),
            Verdict::Replace(from) => self.sent.extend_from_slice(frame.body.get(*from..).unwrap_or_default()),
            Verdict::Hold(_) | Verdict::Swallow | Verdict::Terminate => {}
        }
        if frame.tag == client::SYNC && *verdict == Verdict::Forward {
            self.keeping = Keeping::Ended;
        }
        true
    }
}

impl Turn {
    /// An older copy is about to be used: keeps the batch if this is the first of it, outside of a transaction.
    pub(super) fn keep_batch(&mut self) {
        let is_ours = |expect: &Expect| expect.is_fake() || (expect.kind == Kind::Query && expect.is_skipped());
        if self.status == Transaction::Idle && !self.open_batch && self.queue.iter().all(is_ours) {
            self.kept_batch.forget();
            self.kept_batch.keeping = Keeping::Open;
        }
    }

    /// A frame of the client has become this, after bytes of ours.
    pub(super) fn sent(&mut self, injected: &[u8], frame: &Frame<'_>, verdict: &Verdict) {
        if self.kept_batch.is_kept() && !self.kept_batch.add(injected, frame, verdict) {
            self.kept_batch.forget();
        }
    }

    /// What was sent is being flushed. Whether anything had been kept back.
    pub(super) fn flush(&mut self) -> bool {
        std::mem::take(&mut self.unflushed)
    }

    /// What was sent is being flushed on our own account.
    pub(super) fn flush_now(&mut self, to_backend: &mut Vec<u8>) {
        if self.flush() {
            to_backend.extend_from_slice(&FLUSH);
            if self.kept_batch.is_kept() {
                self.kept_batch.sent.extend_from_slice(&FLUSH);
            }
        }
    }

    /// Keeps a ParameterDescription back until it is known whether the rest of the description follows: PostgreSQL
    /// looks at the columns after it has sent the parameters. `false` where it may be forwarded.
    pub(super) fn keep_reply(&mut self, frame: &Frame<'_>) -> bool {
        let keep = self.kept_batch.is_kept() && frame.is_whole();
        if keep {
            build::copy_frame(&mut self.kept_reply, frame.tag, frame.body);
        }
        keep
    }

    /// Lets go of what was kept back.
    pub(super) fn give_reply(&mut self, to_client: &mut Vec<u8>) {
        to_client.append(&mut self.kept_reply);
    }

    /// Has the backend parse a statement anew and do the whole batch again. `false` where that is not possible (any
    /// more), or a change was seen since the client has prepared it, of which it must be told.
    pub(super) fn send_again(&mut self, Named { statement, parse, .. }: &Named, to_backend: &mut Vec<u8>) -> bool {
        let batch = std::mem::take(&mut self.kept_batch);
        if !batch.is_kept() || statement.is_before_a_change(*parse) {
            return false;
        }
        let ended = batch.keeping == Keeping::Ended;
        self.kept_reply.clear();
        if !ended {
            // The backend ignores everything until then.
            to_backend.extend_from_slice(&build::SYNC);
        }
        build::write_close_statement(to_backend, &statement.name);
        build::write_parse(to_backend, &statement.name, &statement.text, &statement.types);
        to_backend.extend_from_slice(&batch.sent);
        // What the batch is owed stays as it is; before that comes the end of its first failure.
        let effects = [Effect::Hold(statement.id, statement.next_parse()), Effect::Drop(statement.id)];
        let number = self.batch.saturating_sub(u64::from(ended));
        for effect in effects {
            self.pending.push_front(Pending { batch: number, effect });
        }
        self.queue.push_front(Expect { effects: 1, ..Expect::new(Kind::Parse, Who::Skip) });
        self.queue.push_front(Expect { effects: 1, ..Expect::new(Kind::Close, Who::Skip) });
        self.queue.push_front(Expect::new(Kind::Sync, Who::Skip));
        true
    }
}
