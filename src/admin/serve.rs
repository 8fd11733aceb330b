//! The bytes of one session of the console: read, answered, written, until the client or pgweir ends it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dialogue::{Dialogue, Next, is_text};
use super::{Console, Rights};
use crate::clients::{Client, Seat, Signal};
use crate::net::Stream;
use crate::wire::build::Fault;
use crate::wire::scan::HEADER;
use crate::wire::tag::client as tag;
use crate::wire::{Header, Malformed, sqlstate};

/// Bytes of answers after which they are written, whatever else has been asked.
const ENOUGH: usize = 256 * 1024;

/// A client that was greeted, and who it is.
#[derive(Debug)]
pub struct Visit {
    pub stream: Stream,
    /// What it has sent already.
    pub ahead: Vec<u8>,
    pub client: Arc<Client>,
    pub rights: Rights,
    /// Its place among the clients.
    pub seat: Seat,
}

/// Serves a client until it leaves, breaks the protocol, or pgweir shuts down.
pub(super) async fn serve(console: Arc<Console>, visit: Visit) {
    let Visit { mut stream, ahead, client, rights, seat } = visit;
    // It was accepted on a worker's runtime.
    if stream.rehome().is_err() {
        return;
    }
    let names = Arc::clone(&client.identity.names);
    let dialogue = Dialogue::new(Arc::clone(&console), rights, &names.user, &client.identity.application);
    let incoming = BytesMut::from(ahead.as_slice());
    let mut writes = false;
    let ended = tokio::select! {
        ended = converse(&console, Talk { dialogue, incoming, answers: Vec::new() }, &mut stream, &mut writes) => ended,
        () = leaving(&client) => {
            Ok(Some(Fault::fatal(sqlstate::ADMIN_SHUTDOWN, "terminating connection: pgweir is shutting down")))
        }
    };
    match ended {
        // In the middle of an answer nothing can be said.
        Ok(Some(_)) if writes => {}
        Ok(Some(fault)) => {
            let farewell = async {
                stream.write_all(&fault.to_frame()).await?;
                stream.shutdown().await
            };
            // Who does not read it misses it; an immediate end waits for nobody.
            tokio::select! {
                _ = farewell => {}
                () = ending(&client) => {}
            }
        }
        Ok(None) => drop(stream.shutdown().await),
        Err(error) => tracing::debug!(%error, "a client of the console was lost"),
    }
    drop(seat);
}

/// What is said on both sides.
struct Talk {
    dialogue: Dialogue,
    incoming: BytesMut,
    answers: Vec<u8>,
}

/// Why the conversation ended: `None` is the client's wish. `writes` is true while an answer is on its way.
async fn converse(
    console: &Console,
    mut talk: Talk,
    stream: &mut Stream,
    writes: &mut bool,
) -> io::Result<Option<Fault>> {
    loop {
        let limit = console.config.current().limits.held_message;
        // A report may take a tenth of a second, in which others want to be accepted.
        let answered = move || {
            let step = step(&mut talk, limit);
            (step, talk)
        };
        let step;
        (step, talk) = tokio::task::spawn_blocking(answered).await?;
        let waits = matches!(step, Ok(Step::Wants));
        if waits || step.is_err() || talk.answers.len() >= ENOUGH {
            *writes = true;
            stream.write_all(&talk.answers).await?;
            stream.flush().await?;
            *writes = false;
            talk.answers = Vec::new();
        }
        match step {
            Ok(Step::Answered) => {}
            Ok(Step::Wants) => {
                talk.incoming.reserve(HEADER);
                if stream.read_buf(&mut talk.incoming).await? == 0 {
                    return Ok(None);
                }
            }
            Ok(Step::Ended) => return Ok(None),
            Err(malformed) => return Ok(Some(malformed.into())),
        }
    }
}

enum Step {
    Answered,
    Ended,
    /// No whole frame is here.
    Wants,
}

/// Answers the next frame, if it is here.
fn step(Talk { dialogue, incoming, answers }: &mut Talk, limit: usize) -> Result<Step, Malformed> {
    let Some(header) = Header::read(incoming, limit)? else { return Ok(Step::Wants) };
    let Some(body) = incoming.get(HEADER..header.frame()) else { return Ok(Step::Wants) };
    if header.tag == tag::QUERY && !is_text(body) {
        return Err(Malformed::Contents { tag: header.tag });
    }
    let next = dialogue.frame(header.tag, body, answers)?;
    incoming.advance(header.frame());
    Ok(match next {
        Next::Goes => Step::Answered,
        Next::Ended => Step::Ended,
    })
}

/// Until the client is told to go, soon or at once.
async fn leaving(client: &Client) {
    signalled(client, &[Signal::Drain, Signal::End]).await;
}

async fn ending(client: &Client) {
    signalled(client, &[Signal::End]).await;
}

async fn signalled(client: &Client, wanted: &[Signal]) {
    poll_fn(|cx| {
        client.listen(cx.waker());
        let signals = client.take_signals();
        // Nothing runs here that could be cancelled.
        if signals.has(Signal::Cancel) {
            client.cancels_are_done();
        }
        if wanted.iter().any(|signal| signals.has(*signal)) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
