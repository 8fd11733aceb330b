//! From the client: read, find frames, let the session judge them, hand them on.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::active::{Active, Ownership, Rest};
use super::buffer::Inbox;
use super::ending::Ending;
use super::half_closed::client_deaf;
use super::leases::for_session;
use super::route::MessageLimits;
use super::serve::Serve;
use super::worker::SMALL_BUFFER;
use crate::session::{Session, Verdict, Wait};
use crate::stats::Limit;
use crate::wire::scan::HEADER;
use crate::wire::view::Bind;
use crate::wire::{Frame, Header, Malformed, tag};

/// Bytes of a long frame that must be here before it is judged by its beginning: enough for two names.
const BEGINNING: usize = 4 * 1024;

impl Serve {
    /// Reads from the client while the backend takes what was read before, and judges it.
    pub(super) fn read_client(
        &mut self,
        active: &mut Active,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<bool, Ending> {
        if active.leaving {
            return Ok(false);
        }
        let held = active.first.is_some() || active.held.is_some_and(|(wait, _)| wait != Wait::Replies);
        if held || !active.to_backend.is_empty() {
            return self.watch_for_loss(active, cx, now);
        }
        let mut progress = false;
        if !active.from_client.is_empty() {
            progress = self.judge_client(active, cx, now)?;
            if progress || active.held.is_some() {
                return Ok(progress);
            }
        }
        if !active.to_client.is_empty() {
            // A client that does not read its answers gets no more of its requests read.
            return Ok(progress);
        }
        if active.half_closed.is_some() {
            return Ok(progress);
        }
        if active.from_client.unread().len() == active.from_client.room() {
            // A frame's beginning fills the buffer: judging it asked for what room it needs.
            return Ok(progress);
        }
        match active.from_client.poll_fill(&mut self.client, cx) {
            Poll::Pending => Ok(progress),
            Poll::Ready(Ok(0)) => self.client_ended(active, now),
            Poll::Ready(Err(_)) => client_deaf(active),
            Poll::Ready(Ok(bytes)) => {
                active.bytes_from_client += u64::try_from(bytes).unwrap_or(0);
                self.judge_client(active, cx, now)?;
                if bytes >= SMALL_BUFFER && active.from_client.room() < self.worker().buffer {
                    active.from_client.make_room(self.worker().buffer);
                }
                Ok(true)
            }
        }
    }

    /// Nothing more can be taken from the client, but its leaving must be noticed. Bytes that are already here
    /// hide its end; they are few, and read later.
    fn watch_for_loss(&mut self, active: &mut Active, cx: &mut Context<'_>, now: Instant) -> Result<bool, Ending> {
        if active.half_closed.is_some() || active.from_client.unread().len() >= active.from_client.room() {
            return Ok(false);
        }
        match active.from_client.poll_fill(&mut self.client, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => self.client_ended(active, now),
            Poll::Ready(Err(_)) => client_deaf(active),
            Poll::Ready(Ok(bytes)) => {
                active.bytes_from_client += u64::try_from(bytes).unwrap_or(0);
                Ok(true)
            }
        }
    }

    /// Judges what is here. Whether anything was consumed.
    pub(super) fn judge_client(&mut self, active: &mut Active, cx: &Context<'_>, now: Instant) -> Result<bool, Ending> {
        let judged = self.judge_frames(active, cx, now);
        if active.measured.has_ended() {
            self.record(active, now);
        }
        judged
    }

    fn judge_frames(&mut self, active: &mut Active, cx: &Context<'_>, now: Instant) -> Result<bool, Ending> {
        let mut progress = false;
        // A cancel that is on its way must not hit what comes after the statement that it was for.
        let may_be_hit = active.cancel.is_some() && self.session.is_answered();
        if may_be_hit || self.handle.is_in_doubt() || self.must_hear_first(active) {
            return Ok(false);
        }
        active.held = None;
        let limits = active.limits.messages;
        while !active.from_client.is_empty() && active.to_backend.len() < self.worker().buffer {
            if active.client_rest != Rest::None {
                let (bytes, forward) = active.client_rest.take(active.from_client.unread().len());
                if forward {
                    let piece = active.from_client.unread().get(..bytes).unwrap_or_default();
                    self.session.passes(piece);
                    active.to_backend.push(piece);
                }
                active.from_client.consume(bytes);
                progress = true;
                continue;
            }
            match self.judge_frame(active, limits, now)? {
                Step::Consumed => {
                    active.asked_first = false;
                    progress = true;
                }
                Step::NeedsMore => break,
                Step::Held { wait: wait @ Wait::Pin(keeps), tag, .. } => {
                    progress = true;
                    if !self.ask_for_pin(active, keeps, now) {
                        active.held = Some((wait, tag));
                        return Ok(true);
                    }
                }
                Step::Held { wait, tag, spoken } => {
                    active.held = Some((wait, tag));
                    // A lease that is asked for is progress: it may be there at once. So is what must be sent now.
                    let asks = matches!(wait, Wait::Channels | Wait::Listen | Wait::Processes | Wait::Way);
                    return Ok(progress | spoken | asks | self.ask_for_lease(active, cx, (wait, tag), now)?);
                }
            }
        }
        if progress {
            // It may all have been answered without the backend.
            self.release_if_done(active, now)?;
        }
        Ok(progress)
    }

    /// Ends the session for the frame at the head, once what came before it is answered.
    fn end_when_answered(&mut self, active: &mut Active, refused: Refused) -> Result<Step, Ending> {
        let owed = self.session.is_owed_answers(&mut active.out);
        let spoken = active.hear_session();
        if owed {
            let tag = active.from_client.unread().first().copied().unwrap_or_default();
            return Ok(Step::Held { wait: Wait::Replies, tag, spoken });
        }
        if let Some(limit) = refused.limit {
            self.route.limit_hits.hit(limit);
        }
        Err(refused.ending)
    }

    fn judge_frame(&mut self, active: &mut Active, limits: MessageLimits, now: Instant) -> Result<Step, Ending> {
        let header = match next_frame(&mut active.from_client, limits) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(Step::NeedsMore),
            Err(refused) => return self.end_when_answered(active, refused),
        };
        let unread = active.from_client.unread();
        let here = unread.len() - HEADER;
        let body = unread.get(HEADER..HEADER + here.min(header.body)).unwrap_or_default();
        let (whole, rest) = (HEADER + body.len(), header.body - body.len());
        let frame = Frame { tag: header.tag, len: header.body, body };
        if self.aside.subscriber.is_some() {
            self.session.look_ahead(unread);
        }
        let judged = match &mut active.ownership {
            Ownership::Leased(lease) => {
                self.session.from_client(&frame, Some(&mut for_session(lease)), &mut active.out, now)
            }
            Ownership::None | Ownership::Waiting { .. } => self.session.from_client(&frame, None, &mut active.out, now),
        };
        let verdict = match judged {
            Ok(verdict) => verdict,
            Err(broken) => {
                let refused = Refused { ending: Ending::broken(broken), limit: None };
                return self.end_when_answered(active, refused);
            }
        };
        active.measured.take(&mut active.out);
        // Also a frame that is held may have made the session say something, so that it will be let go.
        let spoken = active.hear_session();
        let unread = active.from_client.unread();
        let forwarded = match verdict {
            Verdict::Forward => Some(0),
            Verdict::Replace(from) => Some(HEADER + from),
            Verdict::Swallow => None,
            Verdict::Hold(wait) => return Ok(Step::Held { wait, tag: header.tag, spoken }),
            Verdict::Terminate => {
                active.leaving = true;
                let everything = active.from_client.unread().len();
                active.from_client.consume(everything);
                return Ok(Step::Consumed);
            }
        };
        if header.tag == tag::client::QUERY && header.body > limits.query {
            self.route.limit_hits.hit(Limit::HeldQuery);
        }
        if let Some(from) = forwarded {
            active.to_backend.push(unread.get(from..whole).unwrap_or_default());
        }
        if self.session.has_notified()
            && let Ownership::Leased(lease) = &active.ownership
        {
            lease.holder.notifies();
        }
        active.client_rest = Rest::of(rest, forwarded.is_some());
        active.from_client.consume(whole);
        active.last_frame = Some(now);
        if active.work.statement.is_none() && !self.session.is_answered() {
            active.work.begins(now);
        }
        Ok(Step::Consumed)
    }
}

/// A frame that ends its session.
struct Refused {
    ending: Ending,
    /// The limit that it exceeds.
    limit: Option<Limit>,
}

/// The header of the frame at the head, once enough of the frame is here for it to be judged.
fn next_frame(inbox: &mut Inbox, limits: MessageLimits) -> Result<Option<Header>, Refused> {
    let unread = inbox.unread();
    let header = Header::read(unread, limits.any).map_err(|malformed| Refused {
        limit: matches!(malformed, Malformed::TooLong { .. }).then_some(Limit::Message),
        ending: Ending::malformed(malformed),
    })?;
    let Some(header) = header else {
        inbox.make_room(HEADER);
        return Ok(None);
    };
    let needed = needed(header, unread.get(HEADER..).unwrap_or_default(), limits);
    if needed > limits.held {
        return Err(Refused { ending: Ending::too_long(header, limits.held), limit: Some(Limit::HeldMessage) });
    }
    if unread.len() - HEADER < needed {
        inbox.make_room(HEADER + needed);
        return Ok(None);
    }
    Ok(Some(header))
}

/// Bytes of a frame's body that must be here before it is judged, given those that are.
fn needed(header: Header, here: &[u8], limits: MessageLimits) -> usize {
    if Session::needs_whole(header.tag, header.body, limits.query) {
        return header.body;
    }
    let beginning = header.body.min(BEGINNING);
    let names_go_on =
        header.tag == tag::client::BIND && (beginning..header.body).contains(&here.len()) && Bind::read(here).is_err();
    if names_go_on { header.body.min(here.len() * 2) } else { beginning }
}

/// What became of the frame at the head of the inbox.
enum Step {
    Consumed,
    Held {
        wait: Wait,
        tag: u8,
        /// It made the session say something.
        spoken: bool,
    },
    NeedsMore,
}
