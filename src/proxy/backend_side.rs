//! From the backend: read, let the session judge what it watches, and write the rest straight on.

use std::ops::Range;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::active::{Active, Ownership, Rest};
use super::buffer::Outbox;
use super::ending::Ending;
use super::half_closed::client_deaf;
use super::listening::readdress;
use super::serve::Serve;
use crate::backend::Backend;
use crate::clients::KeptBackend;
use crate::session::{Leased, Session, Verdict};
use crate::wire::scan::HEADER;
use crate::wire::sqlstate;
use crate::wire::tag::backend;
use crate::wire::view::Transaction;
use crate::wire::{Frame, Header, Malformed};

/// Bytes of a long frame that must be here before it is judged by its beginning: enough for an error's code.
const BEGINNING: usize = 4 * 1024;
/// Longest message that a backend may send: PostgreSQL's own limit.
const LIMIT: usize = i32::MAX as usize;

impl Serve {
    /// Reads from the backend while the client takes what was read before, and judges it.
    pub(super) fn read_backend(
        &mut self,
        active: &mut Active,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<bool, Ending> {
        let Active { ownership: Ownership::Leased(lease), from_backend, .. } = active else {
            return Ok(false);
        };
        if !active.to_client.is_empty() || self.session.keeps_ready_back() {
            return Ok(false);
        }
        if !std::mem::take(&mut active.unjudged) {
            match from_backend.poll_fill(&mut lease.stream, cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0) | Err(_)) => return Err(self.lost_backend(active, now)),
                Poll::Ready(Ok(_)) => {}
            }
        }
        let stopped = self.judge_backend(active, cx, now)?;
        if active.work.transaction.is_some() && self.session.is_answered() {
            active.work.rests(self.session.is_between_transactions());
        }
        self.forget_mentioned(&mut active.mentioned);
        self.release_if_done(active, now)?;
        // The session has its backend still, and has not heard all.
        active.unjudged |= stopped && matches!(active.ownership, Ownership::Leased(_));
        Ok(true)
    }

    /// Judges what is here. Whether it stopped before the end of that, as the lease may be over.
    fn judge_backend(&mut self, active: &mut Active, cx: &mut Context<'_>, now: Instant) -> Result<bool, Ending> {
        let Active { ownership: Ownership::Leased(lease), from_backend, to_client, out, measured, .. } = active else {
            return Ok(false);
        };
        let unread = from_backend.unread();
        let pinned = lease.is_pinned();
        let Backend { held, carried, cancel, .. } = &mut ***lease;
        let leased = &mut Leased { held, carried, pinned };
        // What is forwarded from `run` on has not been copied: as long as nothing is left out or added, it need not be.
        let (mut run, mut at, mut need) = (0, 0, 0);
        let may_end = active.to_backend.is_empty() && active.client_rest == Rest::None && !self.handle.may_be_meant();
        while at < unread.len() {
            if active.backend_rest != Rest::None {
                let (bytes, forward) = active.backend_rest.take(unread.len() - at);
                at += bytes;
                measured.gives(bytes, forward);
                run = if forward { run } else { at };
                continue;
            }
            let rest = unread.get(at..).unwrap_or_default();
            let (header, here) =
                match Look::at(rest, self.session.is_looking()).map_err(|fault| Ending::desync(&fault))? {
                    Look::Judge(header, here) => (header, here),
                    Look::Pass { here, left } => {
                        at += here;
                        measured.gives(here, true);
                        active.backend_rest = Rest::of(left, true);
                        continue;
                    }
                    Look::Wait(bytes) => {
                        need = bytes;
                        break;
                    }
                };
            let frame = Frame { tag: header.tag, len: header.body, body: bytes(rest, HEADER, here) };
            let verdict = self.session.from_backend(&frame, leased, out, now).map_err(Ending::broken)?;
            let end = at + HEADER + here;
            let author = |pid: i32| self.route.hub.holders().author(&cancel.host, pid, 0).unwrap_or(pid);
            let forward =
                verdict == Verdict::Forward && !readdress(&frame, author, self.aside.subscriber.as_deref(), out);
            let ready = header.tag == backend::READY_FOR_QUERY;
            if ready {
                self.settle_with_others(&mut active.mentioned, now);
            }
            if ends_statement(header.tag) {
                active.work.goes_on(ready && self.session.transaction() == Transaction::Idle, now);
            }
            measured.gives(HEADER + here, forward && !ready);
            measured.take(out);
            run = insert(to_client, unread, run..at, &mut out.before);
            if !forward {
                to_client.push(unread.get(run..at).unwrap_or_default());
                run = end;
            }
            active.backend_rest = Rest::of(header.body - here, forward);
            run = insert(to_client, unread, run..end, &mut out.after);
            at = end;
            active.unjudged = self.session.keeps_ready_back();
            // Once the lease is over, what follows is said to nobody.
            if active.unjudged || (ready && may_end && self.session.may_release()) {
                break;
            }
        }
        let (forwarded, stopped) = (unread.get(run..at).unwrap_or_default(), need == 0 && at < unread.len());
        active.bytes_to_client += u64::try_from(at).unwrap_or(0);
        let sent = to_client.send_or_keep(forwarded, &mut self.client, cx);
        active.last_frame = Some(now);
        active.to_backend.push(&active.out.to_backend);
        active.out.to_backend.clear();
        from_backend.consume(at);
        from_backend.make_room(need.max(1));
        self.record_ended(active, now);
        if sent.is_err() { client_deaf(active).map(|_| stopped) } else { Ok(stopped) }
    }

    /// A batch is over: does for others what follows from it before the answer is there, as whoever reads that may rely
    /// on it.
    fn settle_with_others(&mut self, mentioned: &mut Vec<KeptBackend>, now: Instant) {
        self.forget_mentioned(mentioned);
        if self.session.is_between_transactions() {
            self.tell_others(now);
        }
    }

    /// The backend's connection has ended.
    fn lost_backend(&mut self, active: &mut Active, now: Instant) -> Ending {
        self.abandon(active, sqlstate::CONNECTION_FAILURE, now);
        self.route.pool.backend_lost(now);
        let in_mid_frame = matches!(active.backend_rest, Rest::Forward(_));
        let process = if let Ownership::Leased(lease) = &active.ownership { Some(lease.cancel.pid) } else { None };
        let lost = self.session.backend_lost();
        tracing::warn!(
            database = self.route.database,
            user = self.route.user,
            process,
            reason = if lost.is_some() {
                "its connection ended"
            } else {
                "PostgreSQL ended it, with an error for its client"
            },
            "a backend was lost while it was leased"
        );
        match lost {
            Some(fault) if !in_mid_frame => Ending::told(fault),
            _ => Ending::Passed,
        }
    }
}

/// Gives the client what was read up to here and then bytes of ours, if there are any. Where what is not given begins.
fn insert(to_client: &mut Outbox, unread: &[u8], run: Range<usize>, ours: &mut Vec<u8>) -> usize {
    if ours.is_empty() {
        return run.start;
    }
    to_client.push(unread.get(run.clone()).unwrap_or_default());
    to_client.push(ours);
    ours.clear();
    run.end
}

/// Whether a reply says that a statement has ended, well or not.
fn ends_statement(tag: u8) -> bool {
    matches!(
        tag,
        backend::COMMAND_COMPLETE
            | backend::EMPTY_QUERY_RESPONSE
            | backend::ERROR_RESPONSE
            | backend::PORTAL_SUSPENDED
            | backend::READY_FOR_QUERY
    )
}

/// So many bytes from `from` on.
fn bytes(of: &[u8], from: usize, count: usize) -> &[u8] {
    of.get(from..from + count).unwrap_or_default()
}

/// What can be done with the frame at the head of what was read.
enum Look {
    /// It is here as far as it must be: its header, and how much of its body that is.
    Judge(Header, usize),
    /// Nobody looks at it: its bytes here, and those to come.
    Pass { here: usize, left: usize },
    /// So many bytes must be here.
    Wait(usize),
}

impl Look {
    /// `rows`: the session wants to see rows too.
    fn at(rest: &[u8], rows: bool) -> Result<Self, Malformed> {
        let Some(header) = Header::read(rest, LIMIT)? else { return Ok(Self::Wait(HEADER)) };
        let here = (rest.len() - HEADER).min(header.body);
        if !Session::watches(header.tag) && !rows {
            return Ok(Self::Pass { here: HEADER + here, left: header.body - here });
        }
        let whole = matches!(
            header.tag,
            backend::COMMAND_COMPLETE
                | backend::DATA_ROW
                | backend::NOTIFICATION_RESPONSE
                | backend::PARAMETER_DESCRIPTION
                | backend::PARAMETER_STATUS
                | backend::ROW_DESCRIPTION
        );
        let needed = if whole { header.body } else { header.body.min(BEGINNING) };
        Ok(if here < needed { Self::Wait(HEADER + needed) } else { Self::Judge(header, here) })
    }
}
