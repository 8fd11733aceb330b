//! Runs steps on PostgreSQL itself and records the replies; runs the same steps through pgweir and compares.
//!
//! One session acts at a time, so both runs are the same but for what differs. Notifications arrive when they like: they
//! are taken out of the replies and compared by themselves, in their order, and a session acts only when it has
//! heard what it had heard at that point of the direct run.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio_postgres::Client;

use super::features::{Feature, support};
use super::program::{self, Cast, Deed, Step, letter};
use crate::harness::{Cluster, Frame, WireClient, eventually, frame};

/// How long a reply is waited for. A pool that is exhausted says so earlier.
const PATIENCE: Duration = Duration::from_secs(8);

/// Errors that pgweir raises itself, in PostgreSQL's words but from no line of its source.
const OWN_ERRORS: &[&str] = &["26000", "42P05"];

/// Locks and temporary tables of a database: what a session that left may hold for a moment.
const LEFT_OVER: &str = "select (select count(*) from pg_locks where locktype = 'advisory' and database = \
    (select oid from pg_database where datname = current_database())) \
    + (select count(*) from pg_class where relpersistence = 't')";

/// Whether the session that asks has something that can be in one backend only.
const HELD: &str = "select (exists (select from pg_cursors where is_holdable) \
    or exists (select from pg_prepared_statements where from_sql) \
    or exists (select from pg_class where relnamespace = pg_my_temp_schema()) \
    or exists (select from pg_proc where pronamespace = pg_my_temp_schema()) \
    or exists (select from pg_type where typnamespace = pg_my_temp_schema()) \
    or exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) \
    or exists (select from pg_listening_channels()))::int";

/// One database of the cluster, and how to reach it.
#[derive(Debug)]
pub struct Side {
    database: String,
    admin: Client,
}

impl Side {
    /// Makes the database.
    pub async fn make(cluster: &Cluster, database: &str) -> Self {
        let admin = cluster.admin().await;
        admin.batch_execute(&format!("drop database if exists {database}")).await.expect("drop database");
        admin.batch_execute(&format!("create database {database}")).await.expect("create database");
        Self { admin: cluster.connect("postgres", database).await, database: database.to_owned() }
    }

    /// Everything as it was at the beginning; whoever is still here is sent away.
    pub async fn reset(&self) {
        let others = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
            where datname = current_database() and pid <> pg_backend_pid()";
        eventually("the database is ours alone", async || self.count(others).await == 0).await;
        self.admin.batch_execute(include_str!("schema.sql")).await.expect("schema.sql");
    }

    async fn count(&self, sql: &str) -> i64 {
        self.admin.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }
}

/// What a session got for one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    pub frames: Vec<Frame>,
    /// Notifications that it had heard in its life when the first frame came, and when the last one had come.
    told: (usize, usize),
    /// For [`Deed::Reconnect`]: what was left over once the session had gone.
    left_over: i64,
}

/// A step that was done, and the reply.
#[derive(Debug, Clone)]
pub struct Done {
    pub step: Step,
    pub reply: Reply,
}

/// A direct run.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    pub logins: Vec<Vec<Frame>>,
    pub done: Vec<Done>,
    /// What each session was told, over all its connections.
    told: Vec<Vec<Frame>>,
}

/// Where pgweir's answer was another one.
#[derive(Debug)]
pub struct Difference {
    /// Steps that were done before.
    pub at: usize,
    pub direct: Vec<Frame>,
    pub pgweir: Vec<Frame>,
    /// What came instead of an end of the reply.
    pub trouble: Option<String>,
}

/// What the next step may depend on.
#[derive(Debug)]
pub struct View {
    /// Of each session what its last ReadyForQuery said; 0 when its connection is closed.
    pub status: Vec<u8>,
    /// Whether it holds what keeps its backend, where that is asked.
    holds: Vec<bool>,
    backends: usize,
}

impl View {
    /// Whether this session could get a backend: it has one, or not all backends are had.
    pub fn may_act(&self, session: usize) -> bool {
        let has = |session: &usize| matches!(self.status[*session], b'T' | b'E') || self.holds[*session];
        let had = (0..self.status.len()).filter(has).count();
        self.status[session] != 0 && (has(&session) || had < self.backends)
    }

    /// Whether a session has a backend through pgweir, too.
    pub fn has_transaction(&self, session: usize) -> bool {
        matches!(self.status[session], b'T' | b'E')
    }

    /// The session whose process is `{pid:next}` to this one.
    pub fn next(&self, session: usize) -> usize {
        (session + 1) % self.status.len()
    }
}

/// Sessions of one run.
struct Sessions<'a> {
    address: SocketAddr,
    side: &'a Side,
    cast: &'a Cast,
    live: Vec<Option<WireClient>>,
    status: Vec<u8>,
    holds: Vec<bool>,
    told: Vec<Vec<Frame>>,
    /// Process ids that were announced, with the session they were announced to.
    numbers: Vec<(i32, usize)>,
}

/// Runs what `next` gives, until it gives nothing more, directly. Steps of sessions that could get no backend of a
/// pool of this size are left out, as are those that ask for the process of one that has no backend there.
pub async fn direct(
    (address, side): (SocketAddr, &Side),
    cast: &Cast,
    mut next: impl FnMut(&View) -> Option<Step>,
) -> Recording {
    side.reset().await;
    let mut sessions = Sessions::new(address, side, cast);
    let mut recording = Recording::default();
    for session in 0..cast.startups.len() {
        recording.logins.push(sessions.login(session).await.expect("direct login"));
    }
    loop {
        let (status, holds) = (sessions.status.clone(), sessions.holds.clone());
        let view = View { status, holds, backends: cast.backends };
        let Some(step) = next(&view) else { break };
        if !view.may_act(step.session) || (step.asks_of_next() && !view.has_transaction(view.next(step.session))) {
            continue;
        }
        match sessions.act(&step, None).await {
            (reply, None) => {
                sessions.ask_what_is_held(step.session).await;
                recording.done.push(Done { step, reply });
            }
            (_, Some(trouble)) => {
                let steps: Vec<Step> = recording.done.into_iter().map(|done| done.step).chain([step]).collect();
                panic!("PostgreSQL itself: {trouble}, in the end of\n{}", program::script(cast, &steps));
            }
        }
    }
    sessions.leave().await;
    recording.told = sessions.told;
    recording
}

/// Runs the recorded steps through pgweir at `address`, up to the first difference.
pub async fn pooled((address, side): (SocketAddr, &Side), cast: &Cast, recording: &Recording) -> Option<Difference> {
    side.reset().await;
    let mut sessions = Sessions::new(address, side, cast);
    if cast.asks_drawn {
        sessions.ask_for_drawn().await;
    }
    for (session, direct) in recording.logins.iter().enumerate() {
        let (pgweir, trouble) = match sessions.login(session).await {
            Ok(frames) => (frames, None),
            Err(trouble) => (Vec::new(), Some(trouble)),
        };
        if trouble.is_some() || *direct != pgweir {
            return Some(Difference { at: 0, direct: direct.clone(), pgweir, trouble });
        }
    }
    for (at, Done { step, reply }) in recording.done.iter().enumerate() {
        let (got, trouble) = sessions.act(step, Some(reply)).await;
        if trouble.is_some() || got.frames != reply.frames || got.left_over != reply.left_over {
            return Some(Difference { at, direct: reply.frames.clone(), pgweir: got.frames, trouble });
        }
        let told = (&recording.told[step.session][..reply.told.1], &sessions.told[step.session][..]);
        if told.0 != told.1 {
            let (direct, pgweir) = (told.0.to_vec(), told.1.to_vec());
            return Some(Difference { at, direct, pgweir, trouble: Some("notifications differ".to_owned()) });
        }
    }
    sessions.leave().await;
    None
}

impl<'a> Sessions<'a> {
    fn new(address: SocketAddr, side: &'a Side, cast: &'a Cast) -> Self {
        let count = cast.startups.len();
        Self {
            address,
            side,
            cast,
            live: (0..count).map(|_| None).collect(),
            status: vec![0; count],
            holds: vec![false; count],
            told: vec![Vec::new(); count],
            numbers: Vec::new(),
        }
    }

    /// Has somebody ask for what was drawn, so that it is known that draws matter here.
    async fn ask_for_drawn(&self) {
        let mut client = WireClient::open(self.address).await;
        client
            .send(&frame::startup(3, 0, &[("user", self.cast.user), ("database", self.side.database.as_str())]))
            .await;
        client.until(b'Z').await;
        client.send(&frame::query("select lastval()")).await;
        client.until(b'Z').await;
        client.send(&frame::terminate()).await;
        client.until_end().await;
    }

    /// Asks the session itself, beside the program: by a statement and a portal that are gone at once.
    async fn ask_what_is_held(&mut self, session: usize) {
        if !self.cast.frees || self.status[session] != b'I' {
            return;
        }
        let Some(mut client) = self.live[session].take() else { return };
        let question = [
            frame::parse("held", HELD, &[]),
            frame::bind("held", "held", &[]),
            frame::execute("held", 0),
            frame::named(b'C', b'S', "held"),
            frame::sync(),
        ];
        client.send(&question.concat()).await;
        let mut reply = Reply::default();
        while self.hear(session, &mut client, &mut reply).await {
            if reply.frames.last().is_some_and(|frame| frame.tag() == b'Z') {
                break;
            }
        }
        let row = reply.frames.iter().find(|frame| frame.tag() == b'D').map(Frame::cells);
        self.holds[session] = row.unwrap_or_else(|| panic!("{HELD}: {:?}", reply.frames)) == [Some("1".to_owned())];
        self.live[session] = Some(client);
    }

    async fn login(&mut self, session: usize) -> Result<Vec<Frame>, String> {
        let mut client = WireClient::open(self.address).await;
        let mut parameters = vec![("user", self.cast.user), ("database", self.side.database.as_str())];
        parameters.extend(&self.cast.startups[session]);
        client.send(&frame::startup(3, 0, &parameters)).await;
        let frames = tokio::time::timeout(PATIENCE, client.until(b'Z')).await;
        let frames = frames.map_err(|_| format!("no login within {PATIENCE:?}"))?;
        self.numbers.push((client.process_id(), session));
        self.status[session] = if frames.last() == Some(&Frame::End) { 0 } else { b'I' };
        self.live[session] = Some(client);
        Ok(normalised(frames))
    }

    /// Does one step. `wanted` is the reply of the direct run: how many notifications are to be waited for. With the
    /// reply comes what hindered its end.
    async fn act(&mut self, step: &Step, wanted: Option<&Reply>) -> (Reply, Option<String>) {
        let mut reply = Reply::default();
        let done = tokio::time::timeout(PATIENCE, self.act_now(step, wanted, &mut reply)).await;
        let trouble = match done {
            Ok(trouble) => trouble,
            Err(_) => Some(format!("no end within {PATIENCE:?}")),
        };
        reply.frames = normalised(std::mem::take(&mut reply.frames));
        (reply, trouble)
    }

    async fn act_now(&mut self, step: &Step, wanted: Option<&Reply>, reply: &mut Reply) -> Option<String> {
        let session = step.session;
        let Some(mut client) = self.live[session].take() else { return Some("its connection is closed".to_owned()) };
        if let Some(wanted) = wanted {
            while self.told[session].len() < wanted.told.0 && self.hear(session, &mut client, reply).await {}
        }
        let next = (session + 1) % self.status.len();
        let pids = [("{pid:own}", self.number(session)), ("{pid:next}", self.number(next))];
        client.send(&step.bytes(&pids)).await;
        let mut left = step.answers();
        let leaves = step.deed == Deed::Reconnect;
        while (left > 0 || leaves) && self.hear(session, &mut client, reply).await {
            left -= usize::from(left > 0 && reply.frames.last().is_some_and(|frame| frame.tag() == b'Z'));
        }
        if let Some(wanted) = wanted {
            while self.told[session].len() < wanted.told.1 && self.hear(session, &mut client, reply).await {}
        }
        reply.told.1 = self.told[session].len();
        if leaves {
            drop(client);
            let login = self.come_again(wanted, reply).await;
            match login {
                Ok(()) => return self.login(session).await.map(|frames| reply.frames.extend(frames)).err(),
                Err(trouble) => return Some(trouble),
            }
        }
        self.status[session] = match reply.frames.last() {
            Some(last) if last.tag() == b'Z' => last.body().first().copied().unwrap_or_default(),
            _ => 0,
        };
        self.live[session] = Some(client);
        None
    }

    /// After a session has left: what it held is gone a moment later.
    async fn come_again(&self, wanted: Option<&Reply>, reply: &mut Reply) -> Result<(), String> {
        reply.left_over = self.side.count(LEFT_OVER).await;
        let Some(wanted) = wanted else { return Ok(()) };
        let gone = async {
            while reply.left_over != wanted.left_over {
                tokio::task::yield_now().await;
                reply.left_over = self.side.count(LEFT_OVER).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE / 2, gone).await;
        waited.map_err(|_| format!("{} locks and temporary tables, wanted {}", reply.left_over, wanted.left_over))
    }

    /// Reads one frame: a notification, or a part of the reply. False at the end of the stream.
    async fn hear(&mut self, session: usize, client: &mut WireClient, reply: &mut Reply) -> bool {
        let frame = client.frame().await;
        if frame.tag() == b'A' {
            let named = self.with_sender_named(&frame);
            self.told[session].push(named);
            return true;
        }
        if reply.frames.is_empty() {
            reply.told.0 = self.told[session].len();
        }
        let goes_on = frame != Frame::End;
        reply.frames.push(self.with_pids_named(frame));
        goes_on
    }

    /// A row in which texts with process ids, as the client wrote them, have letters in place of digits.
    fn with_pids_named(&self, frame: Frame) -> Frame {
        let Frame::Message(b'D', body) = &frame else { return frame };
        let mut named = body.to_vec();
        for (number, session) in &self.numbers {
            let digits = format!("{number:07}");
            while let Some(at) = named.windows(digits.len()).position(|piece| piece == digits.as_bytes()) {
                named[at..at + digits.len()].fill(letter(*session) as u8);
            }
        }
        Frame::Message(b'D', named.into())
    }

    /// A NotificationResponse in which the sender's process id is its session's letter.
    fn with_sender_named(&self, frame: &Frame) -> Frame {
        let Some((number, rest)) = frame.body().split_first_chunk::<4>() else { return frame.clone() };
        let number = i32::from_be_bytes(*number);
        // The first four bytes stay what a process id is, so that summaries can be made of it.
        let senders = !support(Feature::Senders).is_missing();
        let known = self.numbers.iter().rev().find(|(known, _)| *known == number);
        let sender = known.filter(|_| senders).map_or(0, |(_, session)| u32::from(letter(*session)));
        let mut body = BytesMut::new();
        body.put_u32(sender);
        body.put_slice(rest);
        Frame::Message(b'A', body.freeze())
    }

    /// The process id that a session was told last.
    fn number(&self, session: usize) -> String {
        let told = self.numbers.iter().rev().find(|(_, owner)| *owner == session);
        // As long on both sides, so that errors stand at the same places.
        told.map_or_else(String::new, |(number, _)| format!("{number:07}"))
    }

    async fn leave(&mut self) {
        for client in self.live.iter_mut().filter_map(Option::take) {
            let mut client = client;
            client.send(&frame::terminate()).await;
            let _ = tokio::time::timeout(PATIENCE, client.until_end()).await;
        }
    }
}

/// Undefined: a schema, a table, a function, an object of another kind.
const ABSENT: [&str; 4] = ["3F000", "42P01", "42883", "42704"];

/// Takes out what must differ between two servers.
fn normalised(mut frames: Vec<Frame>) -> Vec<Frame> {
    // The order in which a server reports parameters one after the other means nothing.
    for reported in frames.chunk_by_mut(|one, other| one.tag() == b'S' && other.tag() == b'S') {
        reported.sort_by(|one, other| one.body().cmp(other.body()));
    }
    let in_failed_transaction = frames.last().is_some_and(|last| last.tag() == b'Z' && last.body() == b"E");
    for frame in &mut frames {
        let own = frame.field(b'C').is_some_and(|code| OWN_ERRORS.contains(&code.as_str()));
        // A backend that others have used has a temporary schema already.
        let lacks_temporary = frame.field(b'C').is_some_and(|code| ABSENT.contains(&code.as_str()))
            && frame.field(b'M').is_some_and(|message| message.contains("pg_temp"));
        // A backend that lacks the statement in a failed transaction cannot count its parameters.
        let miscounts = in_failed_transaction && matches!(frame.field(b'C').as_deref(), Some("08P01" | "25P02"));
        let Frame::Message(tag, body) = frame else { continue };
        match tag {
            b'K' => *body = Bytes::new(),
            b'T' => *body = without_table_oids(body),
            b'E' if miscounts => *body = Bytes::from_static(b"Mrefused in a failed transaction\0\0"),
            b'E' if own => *body = without_place(body),
            b'E' if lacks_temporary => *body = Bytes::from_static(b"Mnothing of this name in pg_temp\0\0"),
            _ => {}
        }
    }
    frames
}

/// A RowDescription whose columns come from no known table: each database numbers its own.
fn without_table_oids(body: &Bytes) -> Bytes {
    let mut copy = BytesMut::from(&body[..]);
    let mut at = 2;
    while let Some(end) = copy.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0)) {
        let oid = at + end + 1;
        if let Some(oid) = copy.get_mut(oid..oid + 4) {
            oid.fill(0);
        }
        at = oid + 18;
    }
    copy.freeze()
}

/// An error without file, line and routine.
fn without_place(body: &Bytes) -> Bytes {
    let fields = body.split_inclusive(|byte| *byte == 0);
    let kept = fields.filter(|field| !matches!(field.first(), Some(b'F' | b'L' | b'R')));
    kept.flatten().copied().collect::<Vec<u8>>().into()
}
