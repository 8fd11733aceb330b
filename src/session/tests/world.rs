//! Sessions between scripted clients and model backends, moved one step at a time by whoever holds the schedule.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::super::{Broken, Hold, Leased, Outgoing, Rules, Session, Verdict, Wait};
use super::model::Model;
use crate::prepared::{Held, Registry};
use crate::settings::{Carried, Profiles};
use crate::wire::tag::client;
use crate::wire::{Frame, Header, view};

/// What a fresh backend reports.
pub(super) const FRESH: [(&str, &str); 3] = [("DateStyle", "ISO, MDY"), ("TimeZone", "GMT"), ("application_name", "")];

/// One step of a client's script.
#[derive(Debug, Clone)]
pub(super) enum Say {
    Frame(Vec<u8>),
    /// Waits until everything said so far has been worked off and answered.
    Pause,
}

/// What a client does, and the settings it starts with.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    pub(super) startup: Vec<(&'static str, &'static str)>,
    pub(super) says: Vec<Say>,
}

impl Script {
    /// Says everything without waiting.
    pub(super) fn at_once(frames: Vec<Vec<u8>>) -> Self {
        Self { startup: Vec::new(), says: frames.into_iter().map(Say::Frame).collect() }
    }

    /// Waits after every frame.
    pub(super) fn patient(frames: Vec<Vec<u8>>) -> Self {
        let says = frames.into_iter().flat_map(|frame| [Say::Frame(frame), Say::Pause]).collect();
        Self { startup: Vec::new(), says }
    }

    pub(super) fn startup(self, startup: Vec<(&'static str, &'static str)>) -> Self {
        Self { startup, ..self }
    }

    fn settings(&self) -> Vec<(&'static str, &'static str)> {
        let value = |name: &str, fresh| self.startup.iter().find(|(n, _)| *n == name).map_or(fresh, |(_, v)| *v);
        FRESH.iter().map(|(name, fresh)| (*name, value(name, *fresh))).collect()
    }
}

/// What a client reads without pgweir: all of it, how much of it at each pause, and what its backend committed.
pub(super) struct Direct {
    pub(super) read: Vec<u8>,
    pub(super) at_pause: Vec<usize>,
    pub(super) committed: Vec<String>,
}

pub(super) fn direct(script: &Script) -> Direct {
    let mut model = Model::new(&script.settings());
    let mut at_pause = Vec::new();
    for say in &script.says {
        match say {
            Say::Frame(frame) => model.feed(frame),
            Say::Pause => at_pause.push(model.output.len()),
        }
    }
    Direct { read: model.output, at_pause, committed: model.committed }
}

pub(super) struct Client {
    pub(super) session: Session,
    script: VecDeque<Say>,
    pub(super) read: Vec<u8>,
    /// How much had been read at each pause.
    at_pause: Vec<usize>,
    pub(super) seat: Option<usize>,
    /// The rest of a frame whose beginning was judged, to be forwarded.
    partly: Vec<u8>,
    pub(super) closed: bool,
}

/// A backend with what the pool knows of it.
pub(super) struct Seat {
    pub(super) model: Model,
    pub(super) held: Held,
    pub(super) carried: Carried,
    /// Written to it, not yet read by it.
    unread: Vec<u8>,
    user: Option<usize>,
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
}

impl World {
    pub(super) fn new(scripts: &[Script], wish: Wish) -> Self {
        let rules = Arc::new(Rules {
            hold: wish.hold,
            promote_unnamed: wish.promote,
            client_statements: 50,
            pipeline: wish.pipeline,
            registry: Arc::new(Registry::new(1000)),
            profiles: Arc::new(Profiles::new(100)),
        });
        let fresh = FRESH.map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into())).to_vec();
        let seat = || Seat {
            model: Model::new(&FRESH),
            held: Held::new(wish.held),
            carried: Carried { profile: rules.profiles.fresh(), fresh: fresh.clone() },
            unread: Vec::new(),
            user: None,
        };
        let seats = (0..wish.backends).map(|_| seat()).collect();
        let client = |script: &Script| {
            let startup = script.startup.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            Client {
                session: Session::new(Arc::clone(&rules), rules.profiles.intern(startup)),
                script: script.says.iter().cloned().collect(),
                read: Vec::new(),
                at_pause: Vec::new(),
                seat: None,
                partly: Vec::new(),
                closed: false,
            }
        };
        Self { clients: scripts.iter().map(client).collect(), seats, now: Instant::now(), wish, rules }
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
            client.seat.is_none_or(|seat| self.seats[seat].unread.is_empty() && self.seats[seat].model.output.is_empty())
        };
        match client.script.front() {
            _ if client.closed => false,
            Some(Say::Pause) => client.partly.is_empty() && quiet(),
            Some(Say::Frame(_)) => true,
            None => !client.partly.is_empty(),
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
        loop {
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
        let stuck: Vec<_> = (0..self.clients.len()).filter(|n| self.has_work(*n)).collect();
        assert!(stuck.is_empty(), "clients {stuck:?} wait for ever: {:?}", self.clients[stuck[0]].session);
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
            Verdict::Hold(Wait::Lease) => return self.lease(number),
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
            client::BIND if self.wish.cut => view::Bind::read(body).expect("a bind").names_len(),
            tag if self.wish.cut && !Session::needs_whole(tag) => body.len() / 2,
            _ => body.len(),
        };
        let frame = Frame { tag: header.tag, len: header.body, body: &body[..seen] };
        let (client, mut out) = (&mut self.clients[number], Outgoing::default());
        let verdict = match client.seat {
            None => client.session.from_client(&frame, None, &mut out, self.now),
            Some(seat) => {
                let Seat { held, carried, .. } = &mut self.seats[seat];
                client.session.from_client(&frame, Some(&mut Leased { held, carried }), &mut out, self.now)
            }
        };
        self.deliver(number, out);
        (verdict.expect("a client that keeps to the protocol"), 5 + seen)
    }

    fn deliver(&mut self, number: usize, mut out: Outgoing) {
        self.write(number, &out.to_backend);
        self.clients[number].read.append(&mut out.before);
        self.clients[number].read.append(&mut out.after);
    }

    fn lease(&mut self, number: usize) -> bool {
        assert!(self.clients[number].seat.is_none(), "a client with a backend asks for none");
        let Some(seat) = self.seats.iter().position(|seat| seat.user.is_none() && !seat.model.dead) else {
            return false;
        };
        self.seats[seat].user = Some(number);
        self.clients[number].seat = Some(seat);
        let (Seat { held, carried, .. }, mut out) = (&mut self.seats[seat], Outgoing::default());
        self.clients[number].session.leased(&mut Leased { held, carried }, &mut out);
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
        assert!(backend.unread.is_empty() && backend.model.output.is_empty(), "released while bytes are under way");
        assert!(backend.model.is_clean() && backend.model.is_at_boundary(), "released unclean: {:?}", backend.model);
        client.session.released();
        client.seat = None;
        backend.user = None;
    }

    fn reply(&mut self, seat: usize) -> bool {
        let number = self.seats[seat].user.expect("only a leased backend speaks");
        match self.judge_reply(seat, number) {
            Ok(()) => self.release(number),
            Err(broken) => panic!("{broken} for client {number}: {:?}", self.clients[number].session),
        }
        true
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
        let verdict = client.session.from_backend(&view, &mut Leased { held, carried }, &mut out, self.now)?;
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
            assert_eq!(show(&client.read), show(&direct.read));
            assert_eq!(client.read, direct.read);
            for (read, direct) in client.at_pause.iter().zip(&direct.at_pause) {
                assert!(read >= direct, "the client was not answered when it waited");
            }
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

/// What is known of a backend is what it holds.
pub(super) fn check_held(seat: &Seat) {
    let held: Vec<_> = seat.model.named.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    for name in &held {
        let id = name.strip_prefix("__pgweir_").expect("pgweir's name").parse().expect("a number");
        assert!(seat.held.contains(id), "{name} is not known to be held");
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

/// Runs scripts in every way that a few schedules give, over pools of one to three backends, and compares.
pub(super) fn same_as_direct(scripts: &[Script]) {
    for backends in 1..=3 {
        for (promote, held, pipeline, cut) in [(true, 100, 1000, false), (false, 2, 1000, true), (true, 1, 4, false)] {
            same_under(scripts, Wish { backends, promote, held, pipeline, cut, ..Wish::default() });
        }
    }
}

pub(super) fn same_under(scripts: &[Script], wish: Wish) {
    let alone: Vec<_> = scripts.iter().map(direct).collect();
    let run = |choose: &mut dyn FnMut(usize) -> usize| {
        let mut world = World::new(scripts, wish);
        world.run(choose);
        world.check(&alone);
    };
    // Clients first, replies first, and every point at which the one gives way to the other.
    run(&mut |_| 0);
    run(&mut |len| len - 1);
    let frames: usize = scripts.iter().map(|script| script.says.len()).sum();
    for turn in 1..(frames * 4).min(60) {
        let mut steps = 0;
        run(&mut |len| {
            steps += 1;
            if steps <= turn { 0 } else { len - 1 }
        });
        let mut steps = 0;
        run(&mut |len| {
            steps += 1;
            if steps % (turn + 1) == 0 { len - 1 } else { steps % len.max(1) }
        });
    }
}
