//! One shared backend as its sessions see it: every call is short and waits for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::book::{Book, Phase};
use super::channel::Channel;
use super::hub::{Hub, ListenKey, Plan};
use super::mailbox::Mailbox;
use super::serve::serve;
use super::ticket::{Calls, Promise, Ticket};

/// The listening backend of one key, there or not.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) key: ListenKey,
    pub(super) hub: Arc<Hub>,
    /// The task has something to look at.
    pub(super) wake: Notify,
    /// Subscribers that exist; grows only under the lock of the hub's table.
    users: AtomicUsize,
    /// It is to be closed as soon as nobody needs it.
    dismissed: AtomicBool,
    desk: Mutex<Desk>,
}

#[derive(Debug)]
struct Desk {
    book: Book,
    plan: Plan,
    /// A task serves it.
    served: bool,
}

impl Listener {
    pub(super) fn new(key: ListenKey, plan: Plan, hub: &Arc<Hub>) -> Arc<Self> {
        let desk = Mutex::new(Desk { book: Book::default(), plan, served: false });
        Arc::new(Self {
            key,
            hub: Arc::clone(hub),
            wake: Notify::new(),
            users: AtomicUsize::new(0),
            dismissed: AtomicBool::new(false),
            desk,
        })
    }

    // === sessions ===

    /// As [`Book::hold`]; makes sure that somebody sees to it.
    pub(super) fn hold(self: &Arc<Self>, mailbox: &Arc<Mailbox>, channel: &Channel, phase: Phase) -> Ticket {
        let (promise, ticket) = Promise::new(&mailbox.client);
        let mut desk = self.desk.lock();
        self.dismissed.store(false, Ordering::Release);
        let until = Instant::now() + desk.plan.timeout;
        desk.book.hold(mailbox, channel, phase, promise, until);
        let unserved = !std::mem::replace(&mut desk.served, true);
        drop(desk);
        if unserved {
            self.hub.spawn(serve(Arc::clone(self)));
        }
        self.wake.notify_one();
        ticket
    }

    pub(super) fn arm(&self, mailbox: &Arc<Mailbox>, channels: Vec<Channel>) -> Ticket {
        let (promise, ticket) = Promise::new(&mailbox.client);
        self.change(|book, until, _| book.arm(channels, promise, until));
        ticket
    }

    pub(super) fn barrier(&self, mailbox: &Arc<Mailbox>) -> Ticket {
        let (promise, ticket) = Promise::new(&mailbox.client);
        self.change(|book, until, calls| book.barrier(promise, until, calls));
        ticket
    }

    pub(super) fn activate<'a>(&self, pid: i32, channels: impl IntoIterator<Item = &'a Channel>) {
        self.desk.lock().book.activate(pid, channels);
    }

    pub(super) fn release<'a>(&self, pid: i32, channels: impl IntoIterator<Item = &'a Channel>) {
        self.change(|book, _, _| book.release(pid, channels));
    }

    /// Whether anybody would be told of a notification.
    pub(super) fn is_heard(&self) -> bool {
        self.desk.lock().book.is_heard()
    }

    fn change(&self, change: impl FnOnce(&mut Book, Instant, &mut Calls)) {
        self.with_book(|desk, calls| {
            let until = Instant::now() + desk.plan.timeout;
            change(&mut desk.book, until, calls);
        });
        self.wake.notify_one();
    }

    // === the task ===

    /// Does something under the lock, and wakes sessions after it.
    pub(super) fn on_book<T>(&self, act: impl FnOnce(&mut Book, &mut Calls) -> T) -> T {
        self.with_book(|desk, calls| act(&mut desk.book, calls))
    }

    fn with_book<T>(&self, act: impl FnOnce(&mut Desk, &mut Calls) -> T) -> T {
        let mut calls = Calls::default();
        let result = act(&mut self.desk.lock(), &mut calls);
        calls.ring();
        result
    }

    pub(super) fn plan(&self) -> Plan {
        self.desk.lock().plan.clone()
    }

    pub(super) fn set_plan(&self, plan: Plan) {
        self.desk.lock().plan = plan;
        self.wake.notify_one();
    }

    /// Counts a subscriber.
    pub(super) fn enter(&self) {
        self.users.fetch_add(1, Ordering::AcqRel);
    }

    /// A subscriber has gone.
    pub(super) fn leave(self: &Arc<Self>) {
        self.users.fetch_sub(1, Ordering::AcqRel);
        self.hub.forget_if_unused(self);
    }

    /// Without subscribers it is not to be kept for those who may come later. Whether that is so.
    pub(super) fn dismiss_if_disused(&self) -> bool {
        let disused = self.users.load(Ordering::Acquire) == 0;
        if disused {
            self.dismissed.store(true, Ordering::Release);
            self.wake.notify_one();
        }
        disused
    }

    /// Without anybody who listens it is to be closed. Whether that is so.
    pub(super) fn dismiss_if_unheard(&self) -> bool {
        let desk = self.desk.lock();
        let dismissed = desk.served && desk.book.is_silent();
        if dismissed {
            self.dismissed.store(true, Ordering::Release);
            self.wake.notify_one();
        }
        dismissed
    }

    /// Whether a task serves it.
    pub(super) fn is_served(&self) -> bool {
        self.desk.lock().served
    }

    /// Nobody has it, and no task serves it.
    pub(super) fn is_abandoned(&self) -> bool {
        self.users.load(Ordering::Acquire) == 0 && !self.desk.lock().served
    }

    /// How long a backend that listens to nothing is kept; `None` is for ever.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        if self.dismissed.load(Ordering::Acquire) { Some(Duration::ZERO) } else { self.desk.lock().plan.idle_timeout }
    }

    /// Ends the task's duty if nobody wants anything, or in any case if `at_once`; whoever comes later begins a new
    /// one. Whether it has ended.
    pub(super) fn retire(&self, at_once: bool) -> bool {
        let mut desk = self.desk.lock();
        let ended = at_once || desk.book.is_unused();
        desk.served &= !ended;
        ended
    }
}
