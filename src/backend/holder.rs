//! Who held a backend lately.
//!
//! A NotificationResponse names the backend that notified, and clients compare that number with the one they were
//! given at their login. So the number of a backend of ours is replaced by that of the client that held it. The
//! notification comes by another connection than the transaction's end, and the backend may have passed on by then:
//! therefore the last few holders are remembered, and [`Holders::author`] rules out those whose notifications must
//! have arrived before. Proof of that is a round trip on the connection that receives: whatever was committed before
//! the question has arrived with its answer. Such moments are counted here, without a clock.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::Host;

/// Holders of one backend that are remembered: more can hardly hold it within one round trip.
const KEPT: usize = 8;
/// How long a closed backend is remembered, and how many of them.
const REMEMBERED: Duration = Duration::from_secs(10);
const REMEMBERED_MOST: usize = 1024;

/// The backends of the process and their holders, by the server's host and the backend's process id.
#[derive(Default)]
pub struct Holders {
    /// Counts questions to shared listening backends.
    moment: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    backends: HashMap<Host, HashMap<i32, Arc<Record>>>,
    /// Closed ones, in the order of their ends.
    gone: VecDeque<Gone>,
}

struct Gone {
    at: Instant,
    host: Host,
    pid: i32,
    record: Arc<Record>,
}

type Record = Mutex<VecDeque<Tenure>>;

/// One session's time with a backend.
#[derive(Debug)]
struct Tenure {
    client: i32,
    /// It listens itself, so that it may take a notification of its own for nothing new.
    listens: bool,
    /// It is known to have notified.
    notified: bool,
    /// The moment at which its last transaction was over; `None` while one may be open.
    over: Option<u64>,
}

/// A backend's own note of who holds it.
pub struct Holder {
    holders: Arc<Holders>,
    host: Host,
    pid: i32,
    record: Arc<Record>,
}

impl Holders {
    /// Enters a backend that was opened at `host` and has this process id there.
    #[must_use]
    pub fn enter(self: &Arc<Self>, host: &Host, pid: i32) -> Holder {
        let record: Arc<Record> = Arc::default();
        self.known.lock().backends.entry(host.clone()).or_default().insert(pid, Arc::clone(&record));
        Holder { holders: Arc::clone(self), host: host.clone(), pid, record }
    }

    /// Marks that a listening connection asks something now; [`Self::author`] takes what this returns once the
    /// answer has come.
    pub fn ask(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The process id that the client was given which notified by the backend `pid`, when everything that was
    /// committed before the moment `heard` had arrived; `None` for a backend that is not ours or that nobody held.
    ///
    /// It is exact where one session comes into question, or one is known to have notified. Otherwise nobody is told
    /// that a notification is its own who might only have come after its author.
    #[must_use]
    pub fn author(&self, host: &Host, pid: i32, heard: u64) -> Option<i32> {
        let record = Arc::clone(self.known.lock().backends.get(host)?.get(&pid)?);
        let tenures = record.lock();
        let possible = || tenures.iter().rev().filter(|tenure| tenure.over.is_none_or(|over| over >= heard));
        possible()
            .find(|tenure| tenure.notified)
            .or_else(|| possible().find(|tenure| !tenure.listens))
            .or_else(|| possible().next())
            .or_else(|| tenures.back())
            .map(|tenure| tenure.client)
    }

    fn forget(&self, gone: Gone) {
        let mut known = self.known.lock();
        let now = gone.at;
        known.gone.push_back(gone);
        while known.gone.len() > REMEMBERED_MOST
            || known.gone.front().is_some_and(|first| now.saturating_duration_since(first.at) > REMEMBERED)
        {
            let Some(Gone { host, pid, record, .. }) = known.gone.pop_front() else { break };
            let Some(backends) = known.backends.get_mut(&host) else { continue };
            // Its number may be another backend's by now.
            if backends.get(&pid).is_some_and(|present| Arc::ptr_eq(present, &record)) {
                backends.remove(&pid);
            }
            if backends.is_empty() {
                known.backends.remove(&host);
            }
        }
    }
}

impl Holder {
    /// A transaction of this client begins, or may begin; `listens` is whether it has subscribed to anything.
    pub fn lend(&self, client: i32, listens: bool) {
        let mut tenures = self.record.lock();
        if let Some(last) = tenures.back_mut().filter(|last| last.client == client) {
            (last.over, last.listens) = (None, listens);
            return;
        }
        if tenures.len() >= KEPT {
            tenures.pop_front();
        }
        tenures.push_back(Tenure { client, listens, notified: false, over: None });
    }

    /// The client that holds it has sent NOTIFY or called pg_notify.
    pub fn notifies(&self) {
        if let Some(last) = self.record.lock().back_mut() {
            last.notified = true;
        }
    }

    /// The backend has said that no transaction is open any more.
    pub fn over(&self) {
        let now = self.holders.moment.load(Ordering::SeqCst);
        if let Some(last) = self.record.lock().back_mut() {
            last.over = Some(now);
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.over();
        let (host, pid, record) = (self.host.clone(), self.pid, Arc::clone(&self.record));
        self.holders.forget(Gone { at: Instant::now(), host, pid, record });
    }
}

impl fmt::Debug for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holders").field("moment", &self.moment).finish_non_exhaustive()
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder").field("pid", &self.pid).field("tenures", &*self.record.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: i32 = 77;

    fn host() -> Host {
        Host::Tcp { name: "db".to_owned(), port: 5432 }
    }

    fn backend() -> (Arc<Holders>, Holder) {
        let holders = Arc::new(Holders::default());
        let holder = holders.enter(&host(), PID);
        (holders, holder)
    }

    #[test]
    fn the_only_holder_is_the_author_and_strangers_have_none() {
        let (holders, holder) = backend();
        assert_eq!(holders.author(&host(), PID, 0), None, "nobody has held it");
        holder.lend(1, true);
        assert_eq!(holders.author(&host(), PID, 0), Some(1));
        assert_eq!(holders.author(&host(), PID + 1, 0), None);
        assert_eq!(holders.author(&Host::Tcp { name: "other".to_owned(), port: 5432 }, PID, 0), None);
    }

    #[test]
    fn a_round_trip_rules_out_who_was_done_before_it() {
        let (holders, holder) = backend();
        holder.lend(1, false);
        holder.over();
        let asked = holders.ask();
        holder.lend(2, true);
        assert_eq!(holders.author(&host(), PID, asked), Some(2));
        holder.over();
        assert_eq!(holders.author(&host(), PID, asked), Some(2), "its notification may come after its end");
    }

    #[test]
    fn in_doubt_nobody_who_listens_is_told_that_a_notification_is_its_own() {
        let (holders, holder) = backend();
        holder.lend(1, false);
        holder.over();
        holder.lend(2, true);
        assert_eq!(holders.author(&host(), PID, 0), Some(1));
        holder.notifies();
        assert_eq!(holders.author(&host(), PID, 0), Some(2), "unless it is known to have notified");
    }

    #[test]
    fn a_backend_that_was_closed_is_remembered_until_its_number_is_anothers() {
        let (holders, holder) = backend();
        holder.lend(1, false);
        drop(holder);
        assert_eq!(holders.author(&host(), PID, holders.ask()), Some(1));
        let holder = holders.enter(&host(), PID);
        holder.lend(2, false);
        assert_eq!(holders.author(&host(), PID, 0), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_backend_is_forgotten_in_the_end_and_its_successor_is_not() {
        let (holders, holder) = backend();
        drop(holder);
        let second = holders.enter(&host(), PID);
        second.lend(2, false);
        let other = holders.enter(&host(), PID + 1);
        other.lend(3, false);
        drop(other);
        tokio::time::advance(REMEMBERED * 2).await;
        drop(holders.enter(&host(), PID + 2));
        assert_eq!(holders.author(&host(), PID + 1, 0), None);
        assert_eq!(holders.author(&host(), PID, 0), Some(2));
    }
}
