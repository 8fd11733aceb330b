//! What belongs to one worker thread and is borrowed by its sessions: buffers, alarms.

use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::active::Active;
use crate::clients::{Client, Signal};
use crate::insight;
use crate::net::OwnTime;

/// Bytes first read from a client; a client that fills them gets the larger buffer.
pub const SMALL_BUFFER: usize = 8 * 1024;
/// What one worker keeps for reuse at most, and how often it gives back what was not used.
const KEPT: usize = 256;
const TIDYING: Duration = Duration::from_secs(1);
/// How exactly deadlines are kept.
const TICK: Duration = Duration::from_millis(20);
/// How long messages are let gather, and of how many sessions at work some are expected within that.
const GATHERING: Duration = Duration::from_micros(100);
const MANY: usize = 8;
/// The share of a core that a worker may need before every moment of it is needed.
const BUSY: f64 = 0.75;

/// One thread that serves sessions.
#[derive(Debug)]
pub struct Worker {
    /// From 0.
    pub index: usize,
    /// Bytes of a large buffer.
    pub buffer: usize,
    /// Where executions are written down, if they are.
    pub insight: Option<Arc<insight::Recorder>>,
    sessions: AtomicUsize,
    at_work: AtomicUsize,
    /// Has next to no time to spare.
    is_busy: AtomicBool,
    started: Instant,
    spare_actives: Mutex<Spares<Box<Active>>>,
    spare_rooms: Mutex<Spares<Vec<u8>>>,
    alarms: Mutex<Vec<Weak<Alarm>>>,
}

/// What is kept for reuse, the last one to come in front.
#[derive(Debug)]
struct Spares<T> {
    list: Vec<T>,
    /// How many were here at every moment since the last [`tidying`](Self::tidy): so many are not needed.
    unused: usize,
}

impl<T> Default for Spares<T> {
    fn default() -> Self {
        Self { list: Vec::new(), unused: 0 }
    }
}

impl<T> Spares<T> {
    fn take(&mut self) -> Option<T> {
        let taken = self.list.pop();
        self.unused = self.unused.min(self.list.len());
        taken
    }

    fn give(&mut self, spare: T) {
        if self.list.len() < KEPT {
            self.list.push(spare);
        }
    }

    /// Drops what nobody has used since the last time.
    fn tidy(&mut self) {
        self.list.drain(..self.unused);
        self.unused = self.list.len();
    }
}

/// A deadline that one active session may have at a time, in the worker's list for as long as the session's active
/// part lives.
#[derive(Debug, Default)]
pub struct Alarm {
    /// Milliseconds since the worker started; 0 is none.
    due: AtomicU64,
    client: Mutex<Option<Arc<Client>>>,
    /// Whether `client` is anybody: most sessions end without a deadline.
    owned: AtomicBool,
}

impl Alarm {
    /// Whoever it was for wants nothing of it any more.
    fn disown(&self) {
        self.due.store(0, Ordering::Relaxed);
        if self.owned.load(Ordering::Relaxed) {
            self.owned.store(false, Ordering::Relaxed);
            *self.client.lock() = None;
        }
    }
}

impl Worker {
    #[must_use]
    pub fn new(index: usize, buffer: usize, insight: Option<Arc<insight::Recorder>>) -> Self {
        Self {
            index,
            buffer,
            insight,
            sessions: AtomicUsize::new(0),
            at_work: AtomicUsize::new(0),
            is_busy: AtomicBool::new(false),
            started: Instant::now(),
            spare_actives: Mutex::default(),
            spare_rooms: Mutex::default(),
            alarms: Mutex::default(),
        }
    }

    /// Sessions that were given to this worker and have not ended.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Counts a session for as long as the guard lives.
    #[must_use]
    pub fn occupy(self: &Arc<Self>) -> Occupied {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        Occupied(Arc::clone(self))
    }

    /// Lets messages come for a moment before the thread asks for them, if many sessions are at work. Where others keep
    /// all cores busy, a thread that is woken for each message takes a core from those that make the messages, twice for
    /// each; what has gathered is handled for one waking. Where a core is free, or where it is this thread that the
    /// others wait for, it would only make everyone wait.
    pub fn let_messages_gather(&self) {
        if self.at_work.load(Ordering::Relaxed) >= MANY && !self.is_busy.load(Ordering::Relaxed) {
            std::thread::sleep(GATHERING);
        }
    }

    /// Rings alarms until the worker ends.
    pub async fn tick(self: Arc<Self>) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tidied = Instant::now();
        let mut own_time = OwnTime::of_this_thread();
        loop {
            let now = ticks.tick().await;
            self.ring(Instant::now());
            if now >= tidied + TIDYING {
                tidied = now;
                self.is_busy.store(own_time.share() > BUSY, Ordering::Relaxed);
                self.spare_actives.lock().tidy();
                self.spare_rooms.lock().tidy();
            }
        }
    }

    fn ring(&self, now: Instant) {
        let now = self.millis(now);
        let mut due = Vec::new();
        self.alarms.lock().retain(|alarm| {
            let Some(alarm) = alarm.upgrade() else { return false };
            let at = alarm.due.load(Ordering::Relaxed);
            if at != 0 && at <= now {
                alarm.due.store(0, Ordering::Relaxed);
                due.push(alarm);
            }
            true
        });
        for alarm in due {
            let client = alarm.client.lock().clone();
            if let Some(client) = client {
                client.signal(Signal::Tick);
            }
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// Signals `client` at about `at`, once; `None` takes that back.
    pub(super) fn set_alarm(&self, alarm: &Alarm, client: &Arc<Client>, at: Option<Instant>) {
        let due = at.map_or(0, |at| self.millis(at).max(1));
        if alarm.due.load(Ordering::Relaxed) == due {
            return;
        }
        if due != 0 {
            let mut known = alarm.client.lock();
            if !known.as_ref().is_some_and(|known| Arc::ptr_eq(known, client)) {
                *known = Some(Arc::clone(client));
                alarm.owned.store(true, Ordering::Relaxed);
            }
        }
        alarm.due.store(due, Ordering::Relaxed);
    }

    // === what sessions borrow ===

    pub(super) fn take_active(&self) -> Box<Active> {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        let spare = self.spare_actives.lock().take();
        spare.unwrap_or_else(|| {
            let active = Box::new(Active::new(self.room(SMALL_BUFFER)));
            self.alarms.lock().push(Arc::downgrade(&active.alarm));
            active
        })
    }

    pub(super) fn give_active(&self, mut active: Box<Active>) {
        self.at_work.fetch_sub(1, Ordering::Relaxed);
        active.alarm.disown();
        active.clear();
        self.spare_actives.lock().give(active);
    }

    pub(super) fn take_room(&self) -> Vec<u8> {
        let spare = self.spare_rooms.lock().take();
        spare.unwrap_or_else(|| self.room(self.buffer))
    }

    pub(super) fn give_room(&self, room: Vec<u8>) {
        if room.len() != self.buffer {
            return;
        }
        self.spare_rooms.lock().give(room);
    }

    fn room(&self, bytes: usize) -> Vec<u8> {
        vec![0; bytes.min(self.buffer)]
    }
}

/// Counts one session of a worker.
#[derive(Debug)]
pub struct Occupied(Arc<Worker>);

impl Occupied {
    /// The worker that it counts for.
    #[must_use]
    pub fn worker(&self) -> &Arc<Worker> {
        &self.0
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_kept_though_one_before_was_at_the_same_moment_and_nobodys_any_more() {
        use crate::clients::{Clients, Identity};
        let clients = Arc::new(Clients::new(2));
        let (mut one, mut two) = (clients.seat().unwrap(), clients.seat().unwrap());
        let before = one.log_in(Identity::of("d", "a"), false, [1; 32]);
        let client = two.log_in(Identity::of("d", "b"), false, [2; 32]);
        let (worker, at) = (Worker::new(0, 65536, None), Instant::now() + Duration::from_millis(5));
        for client in [&before, &client] {
            let active = worker.take_active();
            worker.set_alarm(&active.alarm, client, Some(at));
            if Arc::ptr_eq(client, &before) {
                worker.give_active(active);
            } else {
                worker.ring(at + Duration::from_secs(1));
            }
        }
        assert!(client.take_signals().has(Signal::Tick) && !before.take_signals().has(Signal::Tick));
    }

    #[test]
    fn what_nobody_used_since_the_last_tidying_is_given_back() {
        let mut spares = Spares::default();
        (0..10).for_each(|number| spares.give(number));
        spares.tidy();
        assert_eq!(spares.list.len(), 10, "they have only come");
        let taken: Vec<i32> = (0..3).filter_map(|_| spares.take()).collect();
        assert_eq!(taken, [9, 8, 7]);
        taken.into_iter().for_each(|number| spares.give(number));
        spares.tidy();
        assert_eq!(spares.list, [9, 8, 7], "three are enough");
        spares.tidy();
        assert!(spares.list.is_empty());
        (0..2 * KEPT).for_each(|number| spares.give(i32::try_from(number).unwrap()));
        assert_eq!(spares.list.len(), KEPT);
    }
}
