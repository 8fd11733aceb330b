//! Frames from the client: what they need, what they become, and which replies they will have.
//!
//! A body that breaks its format is PostgreSQL's to refuse: the frame goes there as it came.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::channels::{Ahead, Followed};
use super::measuring::Measure;
use super::mending::{Mended, Mending};
use super::outstanding::Known;
use super::own_names::drops;
use super::processes::may_mention;
use super::state::will_keep;
use super::turn::{Effect, Expect, Kind, Who};
use super::{Broken, Hold, Leased, Outgoing, Sequences, Session, Verdict, Wait};
use crate::prepared::{Names, may_copy, may_forget};
use crate::sql::{Effects, Weighed, first_word};
use crate::wire::Frame;
use crate::wire::build::{self, Fault};
use crate::wire::sqlstate;
use crate::wire::tag::client;
use crate::wire::view::{Bind, Parse, Target, Transaction, query_text, split_cstr};

/// What has to be known of a Query beside its reply; nothing of most.
#[derive(Default)]
struct Remarks {
    followed: Option<Followed>,
    /// What is sent in its place, and where that has changed it.
    mended: Option<(Vec<u8>, Mended)>,
    /// The statements that it drops by name.
    drops: VecDeque<Box<[u8]>>,
    /// It may drop any statements.
    forgets: bool,
    executes_copy: bool,
}

/// What PostgreSQL fails at: its error is replaced by ours, but for its log.
const FAILING_TEXT: &[u8] = b"refused by pgweir";

impl Session {
    /// Judges one frame of the client. `leased` is the backend, where there is one.
    ///
    /// # Errors
    /// A frame that breaks the protocol: the client is told and closed.
    pub fn from_client(
        &mut self,
        frame: &Frame<'_>,
        leased: Option<&mut Leased<'_>>,
        out: &mut Outgoing,
        now: Instant,
    ) -> Result<Verdict, Broken> {
        self.end_idleness(now, out);
        if frame.tag == client::TERMINATE {
            return Ok(Verdict::Terminate);
        }
        let turn = self.turn.get_or_insert_with(|| out.spare.take().unwrap_or_default());
        turn.between_frames = frame.is_whole();
        turn.passing = None;
        if let Some(verdict) = turn.judge_copy(frame, out) {
            if verdict == Verdict::Forward {
                self.measure_frame(frame);
            }
            return Ok(verdict);
        }
        if turn.skipping && frame.tag != client::SYNC {
            turn.forget_head();
            return is_known(frame.tag).map(|()| Verdict::Swallow);
        }
        if turn.is_crowded(self.rules.pipeline) {
            turn.answer_fakes(&mut self.names, &mut out.before);
            if turn.is_crowded(self.rules.pipeline) {
                let met = !std::mem::replace(&mut turn.crowded, true) && turn.owed() >= self.rules.pipeline;
                self.rules.met.pipeline.fetch_add(u64::from(met), Ordering::Relaxed);
                return Ok(turn.wait(out));
            }
        }
        turn.crowded = false;
        let ends_batch = turn.open_batch && matches!(frame.tag, client::SYNC | client::FLUSH);
        // What the backend is being asked decides where the next statement may run.
        let asks = turn.is_forgetting() || turn.is_resetting() || turn.looking.is_some();
        // Nor can it be told the session's settings in the middle of something.
        let carried = leased.as_ref().map(|leased| &leased.carried.profile);
        let waits = asks || (turn.is_tidying() && carried.is_some_and(|carried| *carried != self.profile));
        // What comes next could notify, which must not be heard before the ReadyForQuery of what came before.
        let listens = self.listening || turn.ledger.is_some();
        let unheard = listens && (turn.ready_kept || turn.is_behind());
        if unheard || (waits && !ends_batch) {
            return Ok(turn.wait(out));
        }
        let Some(leased) = leased else {
            return self.without_lease(frame, out, now);
        };
        turn.unused = false;
        if turn.is_settled() && leased.carried.profile != self.profile {
            self.apply_profile(leased, out);
        }
        if self.must_not_outrun_settings(frame) {
            return Ok(self.turn.get_or_insert_default().wait(out));
        }
        let before = out.to_backend.len();
        self.settle_deferred(frame, out, now);
        let verdict = self.with_lease(frame, leased, out, now)?;
        if let Some(turn) = &mut self.turn {
            turn.sent(out.to_backend.get(before..).unwrap_or_default(), frame, &verdict);
        }
        if !matches!(verdict, Verdict::Hold(_)) && matches!(frame.tag, client::BIND | client::DESCRIBE | client::PARSE)
        {
            self.measure_frame(frame);
        }
        Ok(verdict)
    }

    /// Whether a frame would run with other settings than its session's if PostgreSQL refused these: the failed
    /// transaction block that it is left in guards one batch, as long as that does not end the block.
    fn must_not_outrun_settings(&self, frame: &Frame<'_>) -> bool {
        let Some(turn) = self.turn.as_ref().filter(|turn| turn.may_be_refused) else { return false };
        let text = match frame.tag {
            client::QUERY => query_text(frame.body),
            client::PARSE => Parse::read(frame.body).map_or(b"".as_slice(), |parse| parse.text),
            client::BIND => {
                let named = Bind::read(frame.body).ok().and_then(|bind| self.names.get(bind.statement));
                named.map_or(b"".as_slice(), |named| &named.statement.text)
            }
            _ => b"",
        };
        let ends = [&b"abort"[..], b"commit", b"end", b"prepare", b"rollback"];
        turn.batches() > 0 || ends.iter().any(|word| first_word(text).eq_ignore_ascii_case(word))
    }

    /// The frame at hand ends the session. What came before it is answered first, as PostgreSQL reads one message after
    /// the other: whether the backend owes such answers, which it may have to be asked for.
    pub fn is_owed_answers(&mut self, out: &mut Outgoing) -> bool {
        self.answer_fakes(out);
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.will_be_answered()) else { return false };
        // What was said since is no part of it.
        turn.kept_batch.forget();
        turn.flush_now(&mut out.to_backend);
        true
    }

    fn with_lease(
        &mut self,
        frame: &Frame<'_>,
        leased: &mut Leased<'_>,
        out: &mut Outgoing,
        now: Instant,
    ) -> Result<Verdict, Broken> {
        self.mend_before(frame, out);
        match frame.tag {
            client::QUERY => Ok(self.query(frame, leased, out, now)),
            client::PARSE => Ok(self.parse(frame, leased, out, now)),
            client::BIND => Ok(self.bind(frame, leased, out, now)),
            client::DESCRIBE => Ok(self.describe(frame, leased, out)),
            client::CLOSE => Ok(self.close(frame, Some(leased), now, out)),
            client::EXECUTE => Ok(self.execute(frame, out, now)),
            client::SYNC => Ok(self.ending_batch(Kind::Sync)),
            client::FLUSH if frame.len > 0 => {
                self.fail_there(&invalid_format(), out);
                Ok(Verdict::Swallow)
            }
            client::FLUSH => Ok(self.flush(out)),
            client::FUNCTION_CALL => Ok(self.function_call()),
            // Nothing asks for it: PostgreSQL ignores it.
            client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL => Ok(Verdict::Swallow),
            tag => Err(unknown(tag)),
        }
    }

    /// What can be answered without a backend, or needs no answer.
    fn without_lease(&mut self, frame: &Frame<'_>, out: &mut Outgoing, now: Instant) -> Result<Verdict, Broken> {
        match frame.tag {
            client::SYNC => {
                self.answer_fakes(out);
                if frame.len > 0 {
                    out.before.extend_from_slice(&invalid_format().to_frame());
                }
                out.before.extend_from_slice(&build::ready_for_query(Transaction::Idle));
                self.turn = None;
                Ok(Verdict::Swallow)
            }
            client::FLUSH => {
                self.answer_fakes(out);
                if frame.len > 0 {
                    out.before.extend_from_slice(&invalid_format().to_frame());
                    self.turn.get_or_insert_default().skipping = true;
                }
                Ok(Verdict::Swallow)
            }
            client::CLOSE if matches!(Target::read(frame.tag, frame.body), Ok(Target::Statement(_))) => {
                Ok(self.close(frame, None, now, out))
            }
            client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL => Ok(Verdict::Swallow),
            client::QUERY if self.rules.hold == Hold::Statement && opens_block(frame.body) => {
                self.answer_fakes(out);
                out.before.extend_from_slice(&block_refused().to_frame());
                out.before.extend_from_slice(&build::ready_for_query(Transaction::Idle));
                Ok(Verdict::Swallow)
            }
            client::QUERY => {
                let turn = self.turn.get_or_insert_default();
                let weighed = turn.head.weighed.take();
                let weighed = weighed.unwrap_or_else(|| self.weigh_query(frame));
                if let Some(pattern) = self.shared_listen(&weighed) {
                    self.answer_fakes(out);
                    let verdict = self.listen_by_query(&pattern, out);
                    if verdict == Verdict::Swallow {
                        self.turn = None;
                    } else {
                        self.turn.get_or_insert_default().head.weighed = Some(weighed);
                    }
                    return Ok(verdict);
                }
                let effects = self.effects_of(&weighed, query_text(frame.body));
                self.turn.get_or_insert_default().head.weighed = Some(weighed);
                Ok(Verdict::Hold(self.lease_with(effects)))
            }
            tag => is_known(tag).map(|()| Verdict::Hold(self.lease_for(frame))),
        }
    }

    /// Gives the client the replies that are owed by nobody else.
    fn answer_fakes(&mut self, out: &mut Outgoing) {
        let Self { turn: Some(turn), names, .. } = self else { return };
        turn.answer_fakes(names, &mut out.before);
    }

    /// What kind of lease a frame needs.
    fn lease_for(&mut self, frame: &Frame<'_>) -> Wait {
        let weighed = match frame.tag {
            client::BIND => {
                let named = Bind::read(frame.body).ok().and_then(|bind| self.names.get(Names::key(bind.statement)));
                named.map(|named| {
                    let statement = &named.statement;
                    (statement.weighed().clone(), self.effects_of(statement.weighed(), &statement.text))
                })
            }
            client::PARSE => Parse::read(frame.body).ok().map(|parse| {
                let weighed = self.weigh_parse(&parse);
                let effects = self.effects_of(&weighed, parse.text);
                (weighed, effects)
            }),
            _ => None,
        };
        self.measure_waiting(weighed.as_ref().map(|(weighed, _)| weighed));
        self.lease_with(weighed.map(|(_, effects)| effects).unwrap_or_default())
    }

    /// What kind of lease a text with these effects needs.
    fn lease_with(&self, effects: Effects) -> Wait {
        let keeps = will_keep(effects);
        if self.rules.hold == Hold::Session {
            Wait::Lease
        } else if !keeps.is_empty() {
            Wait::PinnedLease(keeps)
        } else if effects.any_of(Effects::READS_SEQUENCE) && !matches!(self.rules.sequences, Sequences::Off) {
            Wait::SameLease
        } else {
            Wait::Lease
        }
    }

    /// The leased backend may not be kept: the frame that needed it is answered with this when it is judged again.
    pub fn pin_refused(&mut self, fault: Fault) {
        self.turn.get_or_insert_default().head.refusal = Some(Box::new(fault));
    }

    /// Whether a text with these effects must wait until its backend may be kept.
    pub(super) fn must_pin(&self, effects: Effects, leased: &Leased<'_>) -> Option<Verdict> {
        let keeps = will_keep(effects);
        let free = leased.pinned || keeps.is_empty() || self.rules.hold == Hold::Session;
        (!free).then_some(Verdict::Hold(Wait::Pin(keeps)))
    }

    fn function_call(&mut self) -> Verdict {
        // Which function it is only PostgreSQL knows.
        self.state.note(Effects::CALLS);
        self.state.note_unnamed();
        self.ending_batch(Kind::FunctionCall)
    }

    fn query(&mut self, frame: &Frame<'_>, leased: &Leased<'_>, out: &mut Outgoing, now: Instant) -> Verdict {
        let turn = self.turn.get_or_insert_default();
        if self.rules.hold == Hold::Statement && opens_block(frame.body) {
            let mut reply = block_refused().to_frame();
            reply.extend_from_slice(&build::ready_for_query(turn.status));
            turn.expect(Expect::new(Kind::Query, Who::Say(reply.into())), []);
            turn.answer_fakes(&mut self.names, &mut out.before);
            return Verdict::Swallow;
        }
        let weighed = turn.head.weighed.take();
        let weighed = weighed.unwrap_or_else(|| self.weigh_query(frame));
        let effects = self.effects_of(&weighed, query_text(frame.body));
        let refusal = self.turn.as_mut().and_then(|turn| turn.head.refusal.take());
        let measure = self.measure_query(&weighed, frame, now);
        if let Some(fault) = refusal {
            return self.fail_query(fault.to_frame().into(), measure, out);
        }
        let text = query_text(frame.body);
        let remarks = if effects.is_empty() && frame.is_whole() && self.is_bare_read(&weighed) {
            Remarks::default()
        } else {
            match self.remark((&weighed, effects), frame, leased, out) {
                Ok(remarks) => remarks,
                Err(Ahead::Failed(error)) => return self.fail_query(error, measure, out),
                Err(Ahead::Wait(verdict)) => {
                    self.turn.get_or_insert_default().head.weighed =
                        Some(weighed).filter(|_| verdict != Verdict::Swallow);
                    return verdict;
                }
            }
        };
        let Remarks { followed, mended, drops, forgets, executes_copy } = remarks;
        let (mended, places) = mended.unzip();
        let copies = executes_copy || !frame.is_whole() || may_copy(text);
        let turn = self.turn.get_or_insert_default();
        let mut expect = Expect::new(Kind::Query, Who::Forward).forgetting(forgets).deciding(copies);
        expect.mended = places.map(Box::new);
        expect.followed = followed.is_some();
        expect.measure = measure.map(Box::new);
        expect.drops = (!drops.is_empty()).then(|| Box::new(drops));
        turn.measures.begin_query();
        turn.follow(followed);
        // A simple query drops the unnamed statement (manual: "Extended Query").
        if self.names.get(b"").is_some() || !matches!(turn.named(&self.names, b""), Known::Now(None)) {
            turn.expect(expect, [Effect::Name(Box::default(), None), Effect::Unnamed(None)]);
        } else {
            turn.expect(expect, [Effect::Unnamed(None)]);
        }
        turn.end_batch();
        self.note(&weighed, text, now);
        self.begin_passing(frame);
        let Some(mended) = mended else { return Verdict::Forward };
        build::write_query(&mut out.to_backend, &mended);
        Verdict::Replace(frame.len)
    }

    /// Whether a text is one query that has nothing to do with the session, as most are: there is nothing to be
    /// [remarked](Self::remark) of it.
    fn is_bare_read(&self, weighed: &Weighed) -> bool {
        let Weighed::Known(pattern) = weighed else { return false };
        let heeds_all = self.listening
            || self.hides_draws()
            || self.turn.as_ref().is_some_and(|turn| turn.ledger.is_some())
            || self.rules.functions.may_tell(Effects::LISTS);
        !heeds_all && pattern.is_bare_read() && !may_mention(pattern)
    }

    /// What has to be known of a Query beside its reply. `Err` where it may not be sent yet, or fails.
    fn remark(
        &mut self,
        (weighed, effects): (&Weighed, Effects),
        frame: &Frame<'_>,
        leased: &Leased<'_>,
        out: &mut Outgoing,
    ) -> Result<Remarks, Ahead> {
        if self.turn.as_ref().is_none_or(|turn| turn.is_settled() && turn.ledger.is_none())
            && let Some(pattern) = self.shared_listen(weighed)
        {
            return Err(Ahead::Wait(self.listen_by_query(&pattern, out)));
        }
        let text = query_text(frame.body);
        let begins = self.turn.as_ref().is_none_or(|turn| turn.may_begin_batch());
        let tells = if begins { self.perhaps_told(weighed, text) } else { Effects::NONE };
        let waits = self.must_pin(effects, leased).or_else(|| self.query_waits((weighed, effects | tells), frame));
        let waits = waits.or_else(|| self.discard_draws(weighed, text, out).err());
        if let Some(verdict) = waits {
            return Err(Ahead::Wait(verdict));
        }
        let followed = self.followed(weighed, text);
        self.hear_ahead(followed.as_ref(), !frame.is_whole())?;
        self.bring_own_names((weighed, effects | tells), begins, leased, out);
        Ok(Remarks {
            followed,
            mended: self.mended_query(weighed, text).filter(|_| frame.is_whole()),
            drops: drops(weighed).collect(),
            forgets: !frame.is_whole() || (!weighed.is_plain() && may_forget(text)),
            executes_copy: effects.any_of(Effects::EXECUTES)
                && self.names.named().any(|(_, named)| named.statement.copies),
        })
    }

    /// Whether a Query must wait for something else than its backend.
    fn query_waits(&mut self, (weighed, effects): (&Weighed, Effects), frame: &Frame<'_>) -> Option<Verdict> {
        self.bring_channels((weighed, effects), query_text(frame.body))
            .or_else(|| self.must_make_way(weighed))
            .or_else(|| self.must_name_in_text(weighed, frame))
            .or_else(|| {
                (self.is_naming(weighed, effects) || self.mends_later(weighed)).then_some(Verdict::Hold(Wait::Replies))
            })
    }

    /// Answers a Query with an error of ours. In a transaction, or where one may be open, the backend must fail too,
    /// so that it cannot be committed.
    fn fail_query(&mut self, error: Box<[u8]>, measure: Option<Measure>, out: &mut Outgoing) -> Verdict {
        build::write_query(&mut out.to_backend, FAILING_TEXT);
        let turn = self.turn.get_or_insert_default();
        let expect = Expect::new(Kind::Query, Who::Substitute(error)).measuring(measure);
        turn.expect(expect, [Effect::Name(Box::default(), None), Effect::Unnamed(None)]);
        turn.end_batch();
        Verdict::Swallow
    }

    fn execute(&mut self, frame: &Frame<'_>, out: &mut Outgoing, now: Instant) -> Verdict {
        let portal = split_cstr(frame.body).map(|(portal, _)| portal).unwrap_or_default();
        let measure = self.measure_execute(frame, now);
        let turn = self.turn.get_or_insert_default();
        let meant = turn.portals.meant(portal);
        let (followed, dropped) = meant.map(|meant| (meant.listens.clone(), meant.drops.clone())).unwrap_or_default();
        let mending = meant.and_then(|meant| meant.mends.clone());
        turn.ends_failure |= meant.is_some_and(|meant| meant.ends_failure);
        // Its rows pass unseen: what is ours must not come after them.
        turn.answer_fakes(&mut self.names, &mut out.before);
        let expect = turn.portals.execution(portal).following(followed.is_some()).measuring(measure);
        match dropped {
            Some(dropped) => turn.expect(expect, [Effect::Name(dropped.clone(), None), Effect::Own(dropped, false)]),
            None => turn.expect(expect, []),
        }
        turn.follow(followed);
        turn.open_batch();
        let mending = match mending.filter(|_| frame.is_whole()) {
            Some(Mending::AtOnce(mending)) => mending,
            Some(Mending::BeforeMore(mending)) => {
                turn.mend_next = Some(mending);
                return Verdict::Forward;
            }
            None => return Verdict::Forward,
        };
        build::copy_frame(&mut out.to_backend, frame.tag, frame.body);
        for statement in &mending {
            self.execute_mending(statement, &mut out.to_backend);
        }
        Verdict::Replace(frame.len)
    }

    fn flush(&mut self, out: &mut Outgoing) -> Verdict {
        let turn = self.turn.get_or_insert_default();
        turn.answer_fakes(&mut self.names, &mut out.before);
        if turn.flush() { Verdict::Forward } else { Verdict::Swallow }
    }

    pub(super) fn forward(&mut self, kind: Kind) -> Verdict {
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(kind, Who::Forward), []);
        turn.open_batch();
        Verdict::Forward
    }

    fn ending_batch(&mut self, kind: Kind) -> Verdict {
        let turn = self.turn.get_or_insert_default();
        turn.skipping = false;
        turn.expect(Expect::new(kind, Who::Forward), []);
        turn.end_batch();
        Verdict::Forward
    }
}

fn is_known(tag: u8) -> Result<(), Broken> {
    match tag {
        client::BIND | client::CLOSE | client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL | client::DESCRIBE => {
            Ok(())
        }
        client::EXECUTE | client::FLUSH | client::FUNCTION_CALL | client::PARSE | client::QUERY | client::SYNC => {
            Ok(())
        }
        tag => Err(unknown(tag)),
    }
}

/// What PostgreSQL says of a message that is to have no body and has one.
fn invalid_format() -> Fault {
    Fault::error(sqlstate::PROTOCOL_VIOLATION, "invalid message format")
}

fn unknown(tag: u8) -> Broken {
    Fault::fatal(sqlstate::PROTOCOL_VIOLATION, format!("invalid frontend message type {tag}")).into()
}

pub(super) fn block_refused() -> Fault {
    Fault::error(sqlstate::FEATURE_NOT_SUPPORTED, "transaction blocks are not allowed in statement mode")
        .detail("pgweir's pool for this database and user lends a backend for one statement at a time.")
        .hint("Use a pool with mode = \"transaction\", or send the statements in autocommit mode.")
}

/// Whether a text begins with the command that opens a transaction block.
pub(super) fn opens_block(text: &[u8]) -> bool {
    let mut word = first_word(text);
    word.make_ascii_lowercase();
    matches!(word.as_slice(), b"begin" | b"start")
}
