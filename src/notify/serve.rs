//! The life of a shared backend: it is opened when somebody listens, opened again when it was lost, and closed when
//! nobody has listened for a while. One task for each listener.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::book::Heard;
use super::link::Link;
use super::listener::Listener;
use super::ticket::NotHeard;
use crate::backend::{Endpoint, Login, Refusal, Report};
use crate::pool::{Berth, Reach};
use crate::wire::tag::backend;
use crate::wire::{build, view};

/// Silence after which the backend is asked for a sign of life.
const PROBE_AFTER: Duration = Duration::from_secs(30);
/// Silence after which a backend that owes an answer is given up. Sessions wait for these answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// PostgreSQL's "name_too_long", as a notice: it has cut the name off.
const NAME_TOO_LONG: &[u8] = b"42622";

/// Why there is no shared backend any more.
#[derive(Debug)]
enum Ended {
    /// It was lost, or could not be opened.
    Lost,
    /// Another place or other credentials are configured.
    Moved,
    Stopped,
    Unused,
}

/// Serves a listener for as long as anybody wants something of it.
pub(super) async fn serve(listener: Arc<Listener>) {
    let notice = build::warning(
        "01000",
        "notifications may have been missed: the connection that listens for this session was lost and is open again",
    );
    let mut attendant = Attendant {
        listener: Arc::clone(&listener),
        reach: Reach::default(),
        failures: RandomState::new().hash_one(&listener.key),
        why: NotHeard::NoSeat,
        notice: notice.into(),
    };
    loop {
        let ended = Box::pin(attendant.attend()).await.unwrap_or_else(|ended| ended);
        listener.on_book(|book, calls| book.lost(calls));
        let stopped = matches!(ended, Ended::Stopped);
        if stopped {
            listener.on_book(|book, calls| book.give_up(None, &NotHeard::Closed, calls));
        }
        if listener.retire(stopped) {
            listener.hub.has_closed(&listener);
            return;
        }
    }
}

struct Attendant {
    listener: Arc<Listener>,
    reach: Reach,
    /// Differs from listener to listener and from one failure to the next.
    failures: u64,
    /// What those are told who wait in vain.
    why: NotHeard,
    notice: Arc<[u8]>,
}

impl Attendant {
    /// One shared backend from the attempt to open it to its end.
    async fn attend(&mut self) -> Result<Ended, Ended> {
        if let Some(at) = self.reach.retry_at() {
            self.meanwhile(sleep_until(at)).await?;
        }
        let plan = self.listener.plan();
        let (endpoint, login) = (plan.target.endpoint(), plan.target.login());
        let berth = Berth::new(&plan.budget);
        let before = std::mem::replace(&mut self.why, NotHeard::NoSeat);
        self.meanwhile(berth.acquire()).await?;
        // Until this attempt has come to something, the last one says more than that it lasts.
        self.why = if let NotHeard::NoBackend(_) = before { before } else { NotHeard::NoAnswer };
        let listener = Arc::clone(&self.listener);
        let open = || Link::open(&listener.key, &endpoint, login.clone());
        let mut opened = self.meanwhile(open()).await?;
        if opened.as_ref().is_err_and(Refusal::is_for_all) && berth.give_back_refused() {
            self.meanwhile(berth.acquire()).await?;
            opened = self.meanwhile(open()).await?;
        }
        match opened {
            Ok(link) => {
                self.why = NotHeard::NoAnswer;
                let mut talk = Talk {
                    reached: (&endpoint, &login),
                    berth: &berth,
                    link,
                    heard: 0,
                    settling: true,
                    last_read: Instant::now(),
                    owed_since: None,
                    unused_since: None,
                };
                let ended = self.talk(&mut talk).await;
                if matches!(ended, Ended::Lost) && talk.heard == 0 {
                    self.failed();
                }
                // It is over; only the manner of leaving is at stake.
                let _ = timeout(GOODBYE, talk.link.close()).await;
                Ok(ended)
            }
            Err(refusal) => {
                let key = &self.listener.key.pool;
                tracing::warn!(database = key.database, user = key.user, %refusal, "no listening backend could be opened");
                self.failed();
                self.why = NotHeard::NoBackend(refusal.clone());
                if !refusal.is_temporary() {
                    self.listener.on_book(|book, calls| book.give_up(None, &self.why, calls));
                }
                Ok(Ended::Lost)
            }
        }
    }

    fn failed(&mut self) {
        self.failures = self.failures.wrapping_add(1);
        self.reach.fail(&self.listener.plan().backoff, Instant::now(), self.failures);
    }

    /// Waits for `doing` while sessions come, go and lose patience; nobody does because of what is done at once.
    async fn meanwhile<T>(&self, doing: impl Future<Output = T>) -> Result<T, Ended> {
        let mut doing = pin!(doing);
        loop {
            let deadline = self.listener.on_book(|book, _| book.deadline());
            tokio::select! {
                biased;
                done = &mut doing => return Ok(done),
                () = self.listener.hub.stopped().cancelled() => return Err(Ended::Stopped),
                () = self.listener.wake.notified() => {
                    if self.listener.on_book(|book, _| book.is_unused()) {
                        return Err(Ended::Unused);
                    }
                }
                () = at(deadline) => self.listener.on_book(|book, calls| {
                    book.give_up(Some(Instant::now()), &self.why, calls);
                }),
            }
        }
    }

    async fn talk(&mut self, talk: &mut Talk<'_>) -> Ended {
        self.listener.on_book(|book, _| book.connected());
        loop {
            if let Some(ended) = self.tend(talk, Instant::now()) {
                return ended;
            }
            let deadline = self.next_look(talk);
            let progress = tokio::select! {
                progress = talk.link.progress() => progress,
                () = self.listener.hub.stopped().cancelled() => return Ended::Stopped,
                () = self.listener.wake.notified() => {
                    let plan = self.listener.plan();
                    let (endpoint, login) = talk.reached;
                    if !plan.target.endpoint().is_same_place(endpoint) || plan.target.login() != *login {
                        return Ended::Moved;
                    }
                    continue;
                }
                () = talk.berth.recalled() => return Ended::Unused,
                () = at(deadline) => continue,
            };
            let heard = match progress {
                Ok(()) => self.hear(talk),
                Err(error) => Err(error.to_string()),
            };
            if let Err(reason) = heard {
                let key = &self.listener.key.pool;
                tracing::warn!(database = key.database, user = key.user, reason, "the listening backend was lost");
                return Ended::Lost;
            }
        }
    }

    /// Queues what is to be asked, and does what is due.
    fn tend(&mut self, talk: &mut Talk<'_>, now: Instant) -> Option<Ended> {
        let holders = Arc::clone(self.listener.hub.holders());
        let (owed, unused) = self.listener.on_book(|book, calls| {
            book.give_up(Some(now), &NotHeard::NoAnswer, calls);
            if talk.last_read + PROBE_AFTER <= now && !book.is_owed() {
                book.probe();
            }
            book.send(&mut talk.link.out, || holders.ask());
            (book.is_owed() || talk.settling, book.is_unused())
        });
        talk.owed_since = owed.then(|| talk.owed_since.unwrap_or(now));
        talk.unused_since = unused.then(|| talk.unused_since.unwrap_or(now));
        talk.berth.set_spare(unused);
        if talk.answer_due().is_some_and(|at| at <= now) {
            tracing::warn!(user = self.listener.key.pool.user, "the listening backend does not answer");
            return Some(Ended::Lost);
        }
        self.unused_until(talk).is_some_and(|at| at <= now).then_some(Ended::Unused)
    }

    fn unused_until(&self, talk: &Talk<'_>) -> Option<Instant> {
        Some(talk.unused_since? + self.listener.idle_timeout()?)
    }

    fn next_look(&self, talk: &Talk<'_>) -> Option<Instant> {
        let waited = self.listener.on_book(|book, _| book.deadline());
        let probe = if talk.owed_since.is_none() { Some(talk.last_read + PROBE_AFTER) } else { talk.answer_due() };
        [waited, probe, self.unused_until(talk)].into_iter().flatten().min()
    }

    /// Takes every frame that is whole.
    ///
    /// # Errors
    /// Why the connection is of no use any more.
    fn hear(&mut self, talk: &mut Talk<'_>) -> Result<(), String> {
        talk.last_read = Instant::now();
        let Talk { link, heard, settling, .. } = talk;
        let host = link.key.host.clone();
        while let Some((tag, body)) = link.next_frame().map_err(|error| error.to_string())? {
            match tag {
                backend::NOTIFICATION_RESPONSE => {
                    let notification = view::Notification::read(body).map_err(|malformed| malformed.to_string())?;
                    self.deliver(&notification, &host, *heard);
                }
                backend::READY_FOR_QUERY if *settling => *settling = false,
                backend::READY_FOR_QUERY => {
                    match self.listener.on_book(|book, calls| book.answered(&self.notice, calls)) {
                        Some(Heard::Until(moment)) => {
                            *heard = moment;
                            self.reach = Reach::Up;
                        }
                        Some(Heard::Useless) => {
                            // As after a loss before the first answer: not at once again.
                            *heard = 0;
                            return Err("it may not listen any more".to_owned());
                        }
                        None => return Err("it answered what nobody had asked".to_owned()),
                    }
                }
                backend::ERROR_RESPONSE => {
                    let report = view::Report::read(body);
                    if report.is_fatal() {
                        return Err(String::from_utf8_lossy(report.message).into_owned());
                    }
                    if !*settling {
                        let why = NotHeard::Report(Arc::new(Report::new(body)));
                        self.listener.on_book(|book, _| book.complained(why));
                    }
                }
                backend::NOTICE_RESPONSE if view::Report::read(body).code == NAME_TOO_LONG => {
                    self.listener.on_book(|book, _| book.complained(NotHeard::TooLong));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn deliver(&self, notification: &view::Notification<'_>, host: &crate::config::Host, heard: u64) {
        let view::Notification { pid, channel, payload } = *notification;
        let frame = || {
            let pid = self.listener.hub.holders().author(host, pid, heard).unwrap_or(pid);
            let mut frame = Vec::new();
            build::notification_response(&mut frame, pid, channel, payload);
            frame.into()
        };
        self.listener.on_book(|book, calls| {
            for full in book.deliver(channel, frame, calls) {
                book.expel(full);
            }
        });
    }
}

/// One connection while it lasts.
struct Talk<'a> {
    /// Where it was opened, and with what.
    reached: (&'a Endpoint, &'a Login),
    berth: &'a Berth,
    link: Link,
    /// Everything committed before this moment has arrived; 0 before the first answer.
    heard: u64,
    /// The first answer is that to the connection's settings.
    settling: bool,
    last_read: Instant,
    owed_since: Option<Instant>,
    unused_since: Option<Instant>,
}

impl Talk<'_> {
    fn answer_due(&self) -> Option<Instant> {
        Some(self.owed_since?.max(self.last_read) + ANSWER_LIMIT)
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
