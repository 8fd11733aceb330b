//! Sessions between scripted clients and model backends, moved one step at a time by whoever holds the schedule.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::super::turn::Turn;
use super::super::{Broken, Event, Hold, Leased, Outgoing, Rules, Session, Verdict, Wait};
use super::model::Model;
use super::script::{Direct, FRESH, Say, Script};
use crate::prepared::{Allowance, Held, Registry};
use crate::settings::{Carried, Profiles};
use crate::wire::{Frame, Header, tag::client, view};

pub(super) struct Client {
    pub(super) session: Session,
    /// What served its last turn.
    spare: Option<Box<Turn>>,
    script: VecDeque<Say>,
    pub(super) read: Vec<u8>,
    /// How much had been read at each pause.
    at_pause: Vec<usize>,
    pub(super) seat: Option<usize>,
    /// The rest of a frame whose beginning was judged, to be forwarded.
    partly: Vec<u8>,
    pub(super) closed: bool,
    /// Executions that were told of: those that succeeded, those that failed.
    told: (usize, usize),
    /// Closed by pgweir, which could not tell any more what an answer meant.
    broken: bool,
}

/// A backend with what the pool knows of it.
pub(super) struct Seat {
    pub(super) model: Model,
    pub(super) held: Held,
    pub(super) carried: Carried,
    /// Written to it, not yet read by it.
    unread: Vec<u8>,
    pub(super) user: Option<usize>,
}

/// What one wants of a world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) backends: usize,
    pub(super) held: usize,
    pub(super) pipeline: usize,
    pub(super) promote: bool,
    pub(super) hold: Hold,
    /// Frames that may be judged by their beginning are.
    pub(super) cut: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self { backends: 1, held: 100, pipeline: 1000, promote: true, hold: Hold::Transaction, cut: false }
    }
}

/// One thing that can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Client(usize),
    /// The backend reads what was written to it.
    Backend(usize),
    /// One frame of the backend's output is judged.
    Reply(usize),
}

pub(super) struct World {
    pub(super) clients: Vec<Client>,
    pub(super) seats: Vec<Seat>,
    pub(super) rules: Arc<Rules>,
    pub(super) now: Instant,
    wish: Wish,
    broken: Vec<String>,
}

impl World {
    pub(super) fn new(scripts: &[Script], wish: Wish) -> Self {
        Self::with_registry(scripts, wish, &Arc::new(Registry::new(1000, usize::MAX)))
    }

    pub(super) fn with_registry(scripts: &[Script], wish: Wish, registry: &Arc<Registry>) -> Self {
        let rules = Arc::new(Rules {
            hold: wish.hold,
            promote_unnamed: wish.promote,
            allowance: Allowance { statements: 50, memory: 1 << 20 },
            pipeline: wish.pipeline,
            met: crate::session::LimitsMet::default(),
            registry: Arc::clone(registry),
            scope: 0,
            profiles: Arc::new(Profiles::new(100)),
            sequences: crate::session::Sequences::Off,
            channels_asked_late: std::sync::atomic::AtomicBool::new(false),
            patterns: Arc::new(crate::sql::Patterns::new(100)),
            functions: Arc::new(crate::session::Functions::new(100, &[], Arc::default())),
            measuring: Some(crate::session::Measuring { tags: None, parameters: true, texts: true }),
        });
        let fresh = FRESH.map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into())).to_vec();
        let defaults = rules.profiles.intern_defaults(fresh.into());
        let database = Model::new(&FRESH);
        let seat = || Seat {
            model: database.beside(&FRESH),
            held: Held::new(wish.held),
            carried: Carried::new(rules.profiles.fresh(), Arc::clone(&defaults)),
            unread: Vec::new(),
            user: None,
        };
        let seats = (0..wish.backends).map(|_| seat()).collect();
        let client = |script: &Script| {
            let startup = script.startup.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            Client {
                session: Session::new(Arc::clone(&rules), rules.profiles.intern(startup), Arc::clone(&defaults)),
                spare: None,
                script: script.says.iter().cloned().collect(),
                read: Vec::new(),
                at_pause: Vec::new(),
                seat: None,
                partly: Vec::new(),
                closed: false,
                told: (0, 0),
                broken: false,
            }
        };
        Self {
            clients: scripts.iter().map(client).collect(),
            seats,
            now: Instant::now(),
            wish,
            rules,
            broken: Vec::new(),
        }
    }

    /// Lets one client say this and everything be worked off. What the client reads then, as text.
    pub(super) fn say(&mut self, client: usize, frames: Vec<Vec<u8>>) -> String {
        let read = self.clients[client].read.len();
        self.clients[client].script.extend(frames.into_iter().map(Say::Frame));
        self.run(|_| 0);
        show(&self.clients[client].read[read..])
    }

    /// Every step that can be taken now; a step may turn out to change nothing.
    pub(super) fn steps(&self) -> Vec<Step> {
        let clients = (0..self.clients.len()).filter(|n| self.has_work(*n)).map(Step::Client);
        let backends = (0..self.seats.len()).filter(|n| !self.seats[*n].unread.is_empty()).map(Step::Backend);
        let replies = (0..self.seats.len()).filter(|n| !self.seats[*n].model.output.is_empty()).map(Step::Reply);
        clients.chain(backends).chain(replies).collect()
    }

    fn has_work(&self, client: usize) -> bool {
        let client = &self.clients[client];
        let quiet = || {
            client
                .seat
                .is_none_or(|seat| self.seats[seat].unread.is_empty() && self.seats[seat].model.output.is_empty())
        };
        match client.script.front() {
            _ if client.closed => false,
            _ if !client.partly.is_empty() => true,
            Some(Say::Pause) => quiet(),
            Some(Say::Frame(_)) => true,
            None => false,
        }
    }

    /// Takes one step. `false` if nothing came of it.
    pub(super) fn step(&mut self, step: Step) -> bool {
        match step {
            Step::Client(client) => self.client(client),
            Step::Backend(seat) => {
                let Seat { model, unread, .. } = &mut self.seats[seat];
                model.feed(&std::mem::take(unread));
                true
            }
            Step::Reply(seat) => self.reply(seat),
        }
    }

    /// Takes steps in the order that `choose` says until all is done.
    pub(super) fn run(&mut self, mut choose: impl FnMut(usize) -> usize) {
        let mut vain = Vec::new();
        for taken in 0.. {
            assert!(
                taken < 20_000,
                "no end: {:?}",
                self.clients.iter().map(|client| &client.script).collect::<Vec<_>>()
            );
            let mut steps = self.steps();
            steps.retain(|step| !vain.contains(step));
            if steps.is_empty() {
                break;
            }
            let step = steps[choose(steps.len()) % steps.len()];
            if self.step(step) {
                vain.clear();
            } else {
                vain.push(step);
            }
        }
        for client in self.clients.iter().filter(|client| !client.closed) {
            let turn = client.session.turn.as_ref();
            assert!(client.script.is_empty(), "waits for ever: {:?} {turn:?} {}", client.script, show(&client.read));
        }
    }

    /// Takes the first steps of a run, the oldest first. `false` if there are fewer.
    pub(super) fn run_for(&mut self, count: usize) -> bool {
        (0..count).all(|_| self.steps().into_iter().any(|step| self.step(step)))
    }

    fn client(&mut self, number: usize) -> bool {
        let client = &mut self.clients[number];
        if !client.partly.is_empty() {
            let rest = std::mem::take(&mut client.partly);
            self.write(number, &rest);
            self.release(number);
            return true;
        }
        let frame = match client.script.front() {
            Some(Say::Frame(frame)) => frame.clone(),
            _ => {
                client.script.pop_front();
                client.at_pause.push(client.read.len());
                return true;
            }
        };
        let (verdict, seen) = self.judge_client(number, &frame);
        match verdict {
            Verdict::Hold(Wait::Lease | Wait::PinnedLease(_) | Wait::SameLease) => return self.lease(number),
            Verdict::Hold(Wait::Channels | Wait::Listen | Wait::Pin(_) | Wait::Processes | Wait::Way) => {
                panic!("the model knows nothing that could be left behind")
            }
            Verdict::Hold(Wait::Replies) => {
                assert!(self.clients[number].seat.is_some(), "replies come from a leased backend");
                return false;
            }
            Verdict::Terminate => self.clients[number].closed = true,
            Verdict::Swallow => {}
            Verdict::Forward => self.pass(number, &frame, seen, 0),
            Verdict::Replace(from) => self.pass(number, &frame, seen, 5 + from),
        }
        self.clients[number].script.pop_front();
        self.release(number);
        true
    }

    /// Forwards a frame from byte `from` on; what lies beyond the judged beginning comes with the next step.
    fn pass(&mut self, number: usize, frame: &[u8], seen: usize, from: usize) {
        let (from, until) = (from.min(frame.len()), seen.max(from).min(frame.len()));
        self.write(number, &frame[from..until]);
        self.clients[number].partly = frame[until..].to_vec();
    }

    fn write(&mut self, number: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let seat = self.clients[number].seat.expect("only a leased backend is written to");
        self.seats[seat].unread.extend_from_slice(bytes);
    }

    /// The verdict, and how many bytes of the frame the session has seen.
    fn judge_client(&mut self, number: usize, frame: &[u8]) -> (Verdict, usize) {
        let header = Header::read(frame, 1 << 20).expect("a frame").expect("whole");
        let body = &frame[5..];
        let seen = match header.tag {
            client::BIND if self.wish.cut => view::Bind::read(body).map_or(body.len(), |bind| bind.names_len()),
            tag if self.wish.cut && !Session::needs_whole(tag, body.len(), 1 << 16) => body.len() / 2,
            _ => body.len(),
        };
        let frame = Frame { tag: header.tag, len: header.body, body: &body[..seen] };
        let client = &mut self.clients[number];
        let mut out = Outgoing { spare: client.spare.take(), ..Outgoing::default() };
        let verdict = match client.seat {
            None => client.session.from_client(&frame, None, &mut out, self.now),
            Some(seat) => {
                let Seat { held, carried, .. } = &mut self.seats[seat];
                client.session.from_client(
                    &frame,
                    Some(&mut Leased { held, carried, pinned: false }),
                    &mut out,
                    self.now,
                )
            }
        };
        self.deliver(number, out);
        match verdict {
            Ok(verdict) => (verdict, 5 + seen),
            Err(broken) => {
                self.break_off(number, &broken);
                (Verdict::Swallow, 5 + seen)
            }
        }
    }

    /// The session could not tell any more what an answer means.
    fn break_off(&mut self, number: usize, broken: &Broken) {
        let Client { session, read, script, .. } = &self.clients[number];
        self.broken.push(format!("{broken}: {:?} after {}, to say {script:?}", session.turn, show(read)));
        self.clients[number].broken = true;
        self.bury(number);
    }

    fn deliver(&mut self, number: usize, mut out: Outgoing) {
        self.write(number, &out.to_backend);
        self.clients[number].read.append(&mut out.before);
        self.clients[number].read.append(&mut out.after);
        for event in out.events {
            if let Event::Ended(ended) = event {
                let told = &mut self.clients[number].told;
                *(if ended.failure.is_none() { &mut told.0 } else { &mut told.1 }) += 1;
            }
        }
    }

    fn lease(&mut self, number: usize) -> bool {
        assert!(self.clients[number].seat.is_none(), "a client with a backend asks for none");
        let Some(seat) = self.seats.iter().position(|seat| seat.user.is_none() && !seat.model.dead) else {
            return false;
        };
        self.seats[seat].user = Some(number);
        self.clients[number].seat = Some(seat);
        let (Seat { held, carried, .. }, mut out) = (&mut self.seats[seat], Outgoing::default());
        self.clients[number].session.leased(&mut Leased { held, carried, pinned: false }, &mut out);
        self.deliver(number, out);
        true
    }

    fn release(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let Some(seat) = client.seat else { return };
        if !client.session.may_release() || !client.partly.is_empty() {
            return;
        }
        let backend = &mut self.seats[seat];
        // COPY data that no COPY wants is ignored whenever it arrives.
        backend.model.feed(&std::mem::take(&mut backend.unread));
        assert!(backend.model.output.is_empty(), "released while replies are under way");
        assert!(backend.model.is_clean() && backend.model.is_at_boundary(), "released unclean: {:?}", backend.model);
        let mut out = Outgoing::default();
        client.session.released(&mut out);
        client.spare = out.spare;
        client.seat = None;
        backend.user = None;
    }

    fn reply(&mut self, seat: usize) -> bool {
        let number = self.seats[seat].user.expect("only a leased backend speaks");
        match self.judge_reply(seat, number) {
            Ok(()) if self.clients[number].session.turn.as_ref().is_some_and(|turn| turn.fatal) => self.bury(number),
            Ok(()) => self.release(number),
            Err(broken) => self.break_off(number, &broken),
        }
        true
    }

    /// Closes a client, and replaces its backend.
    pub(super) fn bury(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let _ = client.session.backend_lost();
        client.closed = true;
        let seat = &mut self.seats[client.seat.take().expect("a backend to bury")];
        let committed = std::mem::take(&mut seat.model.committed);
        seat.model = seat.model.beside(&FRESH);
        seat.model.committed = committed;
        seat.held = Held::new(self.wish.held);
        seat.carried.profile = self.rules.profiles.fresh();
        seat.unread.clear();
        seat.user = None;
    }

    /// Judges one frame of a backend.
    pub(super) fn judge_reply(&mut self, seat: usize, number: usize) -> Result<(), Broken> {
        let Seat { model, held, carried, .. } = &mut self.seats[seat];
        let header = Header::read(&model.output, 1 << 20).expect("a frame").expect("whole");
        let frame: Vec<u8> = model.output.drain(..header.frame()).collect();
        let (client, mut out) = (&mut self.clients[number], Outgoing::default());
        if !Session::watches(header.tag) {
            client.read.extend_from_slice(&frame);
            return Ok(());
        }
        let view = Frame { tag: header.tag, len: header.body, body: &frame[5..] };
        let verdict =
            client.session.from_backend(&view, &mut Leased { held, carried, pinned: false }, &mut out, self.now)?;
        client.read.append(&mut out.before);
        match verdict {
            Verdict::Forward => client.read.extend_from_slice(&frame),
            Verdict::Swallow => {}
            verdict => panic!("a reply is forwarded or not: {verdict:?}"),
        }
        assert!(out.to_backend.is_empty() || client.partly.is_empty(), "bytes in the middle of a client's frame");
        self.deliver(number, out);
        Ok(())
    }

    /// Compares everything with what the clients would have got alone.
    pub(super) fn check(&self, alone: &[Direct]) {
        for (client, direct) in self.clients.iter().zip(alone) {
            if client.broken {
                assert!(direct.may_break, "{:?}", self.broken);
                assert!(direct.read.starts_with(&client.read), "{} {}", show(&direct.read), show(&client.read));
                continue;
            }
            assert_eq!(show(&client.read), show(&direct.read));
            assert_eq!(client.read, direct.read);
            check_told(client);
            for (read, direct) in client.at_pause.iter().zip(&direct.at_pause) {
                assert!(read >= direct, "the client was not answered when it waited");
            }
        }
        if self.clients.iter().any(|client| client.broken) {
            return;
        }
        let sorted = |mut list: Vec<String>| {
            list.sort();
            list
        };
        let committed = self.seats.iter().flat_map(|seat| seat.model.committed.clone()).collect();
        let alone = alone.iter().flat_map(|direct| direct.committed.clone()).collect();
        assert_eq!(sorted(committed), sorted(alone));
        self.seats.iter().for_each(check_held);
    }
}

/// Nothing that ended is told of twice. Errors may be those of no statement: of names that nothing has, or of a commit.
fn check_told(client: &Client) {
    let shown = show(&client.read);
    let replies = |tag: char| shown.split(' ').filter(move |reply| reply.starts_with(tag));
    let (done, failed) = client.told;
    assert!(done <= replies('C').count() + replies('s').count(), "{done} of {shown}");
    assert!(failed <= replies('E').count(), "{failed} of {shown}");
}

/// What is known of a backend is what it holds.
pub(super) fn check_held(seat: &Seat) {
    let held: Vec<_> = seat.model.named.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    for name in &held {
        let id = name.strip_prefix("__pgweir_").expect("pgweir's name").parse().expect("a number");
        assert!(seat.held.parse_of(id).is_some(), "{name} is not known to be held");
    }
    assert_eq!(seat.held.len(), held.len(), "{:?} against {held:?}", seat.held);
    assert!(seat.held.unnamed().is_none() || seat.model.unnamed.is_some(), "an unnamed statement that is not there");
}

/// Frames as text: tags, and what tells them apart.
pub(super) fn show(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while let Ok(Some(header)) = Header::read(bytes, 1 << 20) {
        let Some(body) = bytes.get(5..header.frame()) else { break };
        text.push(char::from(header.tag));
        match header.tag {
            b'E' => text.push_str(&String::from_utf8_lossy(view::Report::read(body).code)),
            b'Z' | b'C' | b'S' | b'D' => text.push_str(&String::from_utf8_lossy(body).replace('\0', ".")),
            _ => {}
        }
        text.push(' ');
        bytes = &bytes[header.frame()..];
    }
    text
}
