//! Runs a script against one server and records every frame.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::script::{Action, Deed, Script};
use crate::harness::frame::{self, Frame};
use crate::harness::{Cluster, WireClient, eventually};

/// What each connection received, in order.
#[derive(Debug, Default)]
pub struct Transcript {
    pub connections: BTreeMap<String, Vec<Frame>>,
}

/// What may go wrong while a script runs, for people.
pub type Failure = String;

/// Runs `script` on the server at `address`. `check` tells whether the script's expectations count.
pub async fn run(script: &Script, address: SocketAddr, cluster: &Cluster, check: bool) -> Result<Transcript, Failure> {
    for sql in &script.reset {
        cluster.execute(sql).await;
    }
    let mut run = Run {
        address,
        check,
        live: BTreeMap::new(),
        numbers: Vec::new(),
        unchecked: BTreeMap::new(),
        transcript: Transcript::default(),
    };
    for step in &script.steps {
        let done = AssertUnwindSafe(run.step(&step.action, cluster)).catch_unwind().await;
        let at = || format!("{}:{}", script.name, step.line);
        match done {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => return Err(format!("{}: {failure}", at())),
            Err(panic) => return Err(format!("{}: {}\n{}", at(), panic_text(panic.as_ref()), run.so_far())),
        }
    }
    let finished = AssertUnwindSafe(run.finish()).catch_unwind().await;
    finished
        .map_err(|panic| format!("{}, at its end: {}\n{}", script.name, panic_text(panic.as_ref()), run.so_far()))?;
    run.transcript.normalise(script, &run.numbers);
    Ok(run.transcript)
}

struct Run {
    address: SocketAddr,
    check: bool,
    live: BTreeMap<String, WireClient>,
    /// Process ids that the server announced, with the connection they were told to.
    numbers: Vec<(String, i32)>,
    /// Frames read since the last expectation.
    unchecked: BTreeMap<String, Vec<Frame>>,
    transcript: Transcript,
}

impl Run {
    async fn step(&mut self, action: &Action, cluster: &Cluster) -> Result<(), Failure> {
        match action {
            Action::Await(sql) => {
                let admin = cluster.admin().await;
                eventually(sql, async || admin.query_one(sql.as_str(), &[]).await.is_ok_and(|row| row.get(0))).await;
                Ok(())
            }
            Action::On(name, deed) => self.deed(name, deed).await,
        }
    }

    async fn deed(&mut self, name: &str, deed: &Deed) -> Result<(), Failure> {
        match deed {
            Deed::Open => {
                self.live.insert(name.to_owned(), WireClient::open(self.address).await);
            }
            Deed::Connect(parameters) => self.connect(name, parameters).await,
            Deed::Close => drop(self.live.remove(name)),
            Deed::Expect(patterns) => {
                let frames = self.unchecked.remove(name).unwrap_or_default();
                let summaries: Vec<String> = frames.iter().map(Frame::summary).collect();
                if self.check && !matches(&summaries, patterns) {
                    return Err(format!("expected {}\n     read {}", patterns.join(" "), summaries.join(" ")));
                }
            }
            _ => {
                let Some(client) = self.live.get_mut(name) else {
                    return Err(format!("{name} is not open"));
                };
                let frames = match deed {
                    Deed::Send { bytes, pieces } => {
                        let bytes = with_processes(bytes, &self.numbers);
                        exchange(client, &Deed::Send { bytes: bytes.into(), pieces: *pieces }).await
                    }
                    _ => exchange(client, deed).await,
                };
                self.record(name, frames);
            }
        }
        Ok(())
    }

    async fn connect(&mut self, name: &str, parameters: &[(String, String)]) {
        let mut client = WireClient::open(self.address).await;
        let borrowed: Vec<_> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        client.send(&frame::startup(3, 0, &borrowed)).await;
        let frames = client.until(b'Z').await;
        self.numbers.push((name.to_owned(), client.process_id()));
        if frames.last() != Some(&Frame::End) {
            self.live.insert(name.to_owned(), client);
        }
        self.record(name, frames);
        // A login that went well is compared, but is nothing that every script should have to expect.
        if self.live.contains_key(name) {
            self.unchecked.remove(name);
        }
    }

    fn record(&mut self, name: &str, frames: Vec<Frame>) {
        self.unchecked.entry(name.to_owned()).or_default().extend(frames.iter().cloned());
        self.transcript.connections.entry(name.to_owned()).or_default().extend(frames);
    }

    /// Ends every connection properly; whatever was still on its way belongs to the transcript.
    async fn finish(&mut self) {
        for (name, mut client) in std::mem::take(&mut self.live) {
            client.send(&frame::terminate()).await;
            let frames = client.until_end().await;
            self.record(&name, frames);
        }
    }

    fn so_far(&self) -> String {
        let connections = self.transcript.connections.iter();
        let lines = connections
            .map(|(name, frames)| format!("  {name} had read {:?}", &frames[frames.len().saturating_sub(12)..]));
        lines.collect::<Vec<_>>().join("\n")
    }
}

async fn exchange(client: &mut WireClient, deed: &Deed) -> Vec<Frame> {
    let mut frames = Vec::new();
    match deed {
        Deed::Answer => frames.push(client.answer().await),
        Deed::Cancel => client.cancel().await,
        Deed::End => frames = client.until_end().await,
        Deed::Read(count) => {
            for _ in 0..*count {
                frames.push(client.frame().await);
            }
        }
        Deed::Until { tag, times } => {
            for _ in 0..*times {
                frames.extend(client.until(*tag).await);
            }
        }
        Deed::Send { bytes, pieces: None } => client.send(bytes).await,
        Deed::Send { bytes, pieces: Some(size) } => client.drip(bytes, *size).await,
        Deed::Close | Deed::Connect(_) | Deed::Expect(_) | Deed::Open => {}
    }
    frames
}

impl Transcript {
    /// Takes out what must differ between two servers, and what the script says may.
    fn normalise(&mut self, script: &Script, numbers: &[(String, i32)]) {
        for frames in self.connections.values_mut() {
            // The order in which a server reports parameters one after the other means nothing.
            for reported in frames.chunk_by_mut(|one, other| one.tag() == b'S' && other.tag() == b'S') {
                reported.sort_by(|one, other| one.body().cmp(other.body()));
            }
        }
        for frame in self.connections.values_mut().flatten() {
            let name = frame.name();
            let Frame::Message(tag, body) = frame else { continue };
            if *tag == b'K' || script.ignored_bodies.contains(&name) {
                *body = Bytes::new();
            } else if *tag == b'A' {
                *body = with_sender_named(body, numbers);
            } else if matches!(tag, b'E' | b'N') {
                *body = without_fields(body, &script.ignored_fields);
            }
        }
    }
}

/// What is to be sent with process ids for `{pid:a}`, which take as many bytes.
fn with_processes(bytes: &[u8], numbers: &[(String, i32)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (name, number) in numbers.iter().rev() {
        let place = format!("{{pid:{name}}}").into_bytes();
        let digits = format!("{number:0width$}", width = place.len()).into_bytes();
        assert_eq!(digits.len(), place.len(), "the process id {number} fits its place");
        while let Some(at) = bytes.windows(place.len()).position(|window| window == place) {
            bytes.splice(at..at + place.len(), digits.iter().copied());
        }
    }
    bytes
}

/// A NotificationResponse whose process id is replaced by the name of the connection that was told that id.
fn with_sender_named(body: &Bytes, numbers: &[(String, i32)]) -> Bytes {
    let Some((number, rest)) = body.split_first_chunk::<4>() else { return body.clone() };
    let number = i32::from_be_bytes(*number);
    match numbers.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => [b"from", name.as_bytes(), b":", rest].concat().into(),
        None => body.clone(),
    }
}

fn without_fields(body: &Bytes, letters: &[u8]) -> Bytes {
    let fields = body.split_inclusive(|byte| *byte == 0);
    let kept = fields.filter(|field| field.first().is_none_or(|letter| !letters.contains(letter)));
    kept.flatten().copied().collect::<Vec<u8>>().into()
}

/// Whether summaries fit patterns: `...` fits any number of them, a name without parentheses fits any content.
fn matches(summaries: &[String], patterns: &[String]) -> bool {
    let Some((pattern, patterns)) = patterns.split_first() else { return summaries.is_empty() };
    if pattern == "..." {
        return (0..=summaries.len()).any(|skipped| matches(&summaries[skipped..], patterns));
    }
    let Some((summary, rest)) = summaries.split_first() else { return false };
    let fits = summary == pattern || summary.split_once('(').is_some_and(|(name, _)| name == pattern);
    fits && matches(rest, patterns)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
