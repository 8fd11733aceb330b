//! What the book and the mailbox promise, step by step; `tests/it/listeners.rs` does it with a real PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::book::{Book, Heard, Phase};
use super::channel::Channel;
use super::mailbox::{Full, Mailbox};
use super::ticket::{Calls, NotHeard, Promise, Ticket};
use crate::clients::{Client, Clients, Identity, Seat, Signal};

/// A book with a backend whose messages are looked at.
struct Desk {
    book: Book,
    moment: u64,
    notice: Arc<[u8]>,
}

struct Person {
    client: Arc<Client>,
    mailbox: Arc<Mailbox>,
    _seat: Seat,
}

fn person(clients: &Arc<Clients>) -> Person {
    let mut seat = clients.seat().expect("room");
    let client = seat.log_in(Identity::of("app", "bob"), false, [0; 32]);
    let mailbox = Mailbox::new(&client, 1000);
    Person { client, mailbox, _seat: seat }
}

fn people<const N: usize>() -> [Person; N] {
    let clients = Arc::new(Clients::new(N));
    std::array::from_fn(|_| person(&clients))
}

fn channel(name: &str) -> Channel {
    Channel::new(name.as_bytes()).expect("a name")
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

impl Person {
    fn mail(&self) -> String {
        let mut bytes = Vec::new();
        self.mailbox.take(&mut bytes, usize::MAX).expect("room");
        String::from_utf8(bytes).expect("text")
    }
}

impl Desk {
    fn connected() -> Self {
        let mut desk = Self { book: Book::default(), moment: 0, notice: Arc::from(&b"<missed>"[..]) };
        desk.book.connected();
        assert_eq!(desk.sent(), ["Sync"]);
        desk.answer();
        desk
    }

    /// What is sent now.
    fn sent(&mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        self.book.send(&mut bytes, || {
            self.moment += 1;
            self.moment
        });
        let mut sent = Vec::new();
        let mut rest = &bytes[..];
        while let Some((head, after)) = rest.split_first_chunk::<5>() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
            let (body, next) = after.split_at(length);
            let text = String::from_utf8_lossy(body.strip_suffix(b"\0").unwrap_or(body)).into_owned();
            sent.push(if head[0] == b'S' { "Sync".to_owned() } else { text });
            rest = next;
        }
        sent
    }

    fn answer(&mut self) -> Option<Heard> {
        let mut calls = Calls::default();
        let heard = self.book.answered(&self.notice, &mut calls);
        calls.ring();
        heard
    }

    fn hold(&mut self, who: &Person, name: &str) -> Ticket {
        let (promise, ticket) = Promise::new(&who.client);
        self.book.hold(&who.mailbox, &channel(name), Phase::Armed, promise, soon());
        ticket
    }

    fn barrier(&mut self, who: &Person) -> Ticket {
        let (promise, ticket) = Promise::new(&who.client);
        let mut calls = Calls::default();
        self.book.barrier(promise, soon(), &mut calls);
        calls.ring();
        ticket
    }

    fn notify(&mut self, name: &str, text: &str) {
        let mut calls = Calls::default();
        for full in self.book.deliver(name.as_bytes(), || Arc::from(text.as_bytes()), &mut calls) {
            self.book.expel(full);
        }
        calls.ring();
    }

    fn lose(&mut self) {
        let mut calls = Calls::default();
        self.book.lost(&mut calls);
        calls.ring();
    }
}

fn is_done(ticket: &Ticket) -> bool {
    matches!(ticket.outcome(), Some(Ok(())))
}

#[test]
fn a_channel_is_listened_to_once_and_left_with_its_last_session() {
    let [one, two] = people();
    let mut desk = Desk::connected();
    let first = desk.hold(&one, "a");
    assert_eq!(desk.sent(), ["LISTEN \"a\""]);
    let second = desk.hold(&two, "a");
    assert_eq!(desk.sent(), ["Sync"]);
    desk.notify("a", "early");
    assert!(!is_done(&first));
    desk.answer();
    assert!(is_done(&first) && !is_done(&second));
    assert!(one.client.take_signals().has(Signal::Notify));
    desk.notify("a", "between");
    desk.answer();
    assert!(is_done(&second));
    desk.notify("a", "late");
    assert_eq!((one.mail(), two.mail()), ("betweenlate".to_owned(), "late".to_owned()));
    desk.book.release(one.client.pid, [&channel("a")]);
    assert!(desk.sent().is_empty());
    desk.book.release(two.client.pid, [&channel("a")]);
    assert_eq!(desk.sent(), ["UNLISTEN \"a\""]);
    assert!(!desk.book.is_unused());
    desk.answer();
    assert!(desk.book.is_unused());
}

#[test]
fn sessions_that_wait_for_a_barrier_share_the_next_sync() {
    let people: [Person; 4] = people();
    let mut desk = Desk::connected();
    let _ = desk.hold(&people[0], "a");
    desk.sent();
    desk.answer();
    let first = desk.barrier(&people[0]);
    assert_eq!(desk.sent(), ["Sync"]);
    let others: Vec<_> = people[1..].iter().map(|who| desk.barrier(who)).collect();
    assert!(desk.sent().is_empty(), "one at a time");
    desk.answer();
    assert!(is_done(&first) && !others.iter().any(is_done));
    assert_eq!(desk.sent(), ["Sync"]);
    assert_eq!(desk.answer(), Some(Heard::Until(desk.moment)));
    assert!(others.iter().all(is_done));
}

#[test]
fn a_refused_channel_fails_all_who_asked_for_it_and_nobody_else() {
    let [one, two, three] = people();
    let mut desk = Desk::connected();
    let refused = [desk.hold(&one, "a"), desk.hold(&two, "a")];
    let fine = desk.hold(&three, "b");
    assert_eq!(desk.sent(), ["LISTEN \"a\"", "LISTEN \"b\""]);
    desk.book.complained(NotHeard::TooLong);
    assert_eq!(desk.answer(), Some(Heard::Until(2)));
    desk.answer();
    assert!(refused.iter().all(|ticket| matches!(ticket.outcome(), Some(Err(NotHeard::TooLong)))));
    assert!(is_done(&fine));
    let again = desk.hold(&one, "a");
    assert_eq!(desk.sent(), ["LISTEN \"a\""]);
    desk.answer();
    assert!(is_done(&again));
}

#[test]
fn after_a_loss_all_channels_are_asked_for_again_and_only_those_who_heard_are_told() {
    let [one, two, three] = people();
    let mut desk = Desk::connected();
    let _ = desk.hold(&one, "a");
    desk.sent();
    desk.answer();
    let asked = desk.hold(&two, "b");
    desk.sent();
    let barrier = desk.barrier(&one);
    desk.lose();
    assert!(is_done(&barrier), "nothing more can come");
    let late = desk.hold(&three, "a");
    assert!(!is_done(&asked) && desk.sent().is_empty());
    desk.book.connected();
    let mut sent = desk.sent();
    assert_eq!(sent.pop().as_deref(), Some("Sync"));
    sent.sort();
    assert_eq!(sent, ["LISTEN \"a\"", "LISTEN \"b\""]);
    for _ in 0..3 {
        desk.answer();
    }
    assert!(is_done(&asked) && is_done(&late));
    assert_eq!([one.mail(), two.mail(), three.mail()], ["<missed>", "", ""]);
}

#[test]
fn a_backend_that_may_not_listen_to_what_sessions_hear_is_of_no_use() {
    let [one] = people();
    let mut desk = Desk::connected();
    let _ = desk.hold(&one, "a");
    desk.sent();
    desk.answer();
    desk.lose();
    desk.book.connected();
    desk.sent();
    desk.book.complained(NotHeard::NoAnswer);
    assert_eq!(desk.answer(), Some(Heard::Useless));
}

#[test]
fn what_waits_too_long_fails_and_is_not_listened_to() {
    let [one] = people();
    let mut desk = Desk::connected();
    desk.lose();
    let ticket = desk.hold(&one, "a");
    let mut calls = Calls::default();
    desk.book.give_up(Some(Instant::now()), &NotHeard::NoSeat, &mut calls);
    assert!(ticket.outcome().is_none());
    desk.book.give_up(Some(soon() + Duration::from_secs(1)), &NotHeard::NoSeat, &mut calls);
    calls.ring();
    assert!(matches!(ticket.outcome(), Some(Err(NotHeard::NoSeat))));
    assert!(desk.book.is_unused());
}

#[test]
fn a_full_mailbox_ends_its_session_and_nobody_elses() {
    let [one, two] = people();
    let mut desk = Desk::connected();
    for who in [&one, &two] {
        let _ = desk.hold(who, "a");
    }
    desk.sent();
    desk.answer();
    desk.answer();
    for _ in 0..20 {
        desk.notify("a", &"x".repeat(100));
        assert_eq!(two.mail().len(), 100);
    }
    assert_eq!(one.mailbox.take(&mut Vec::new(), 1), Err(Full { limit: 1000 }));
    assert_eq!(desk.book.counts(), (1, 1));
}

#[test]
fn mail_is_taken_in_whole_frames_and_leaves_with_its_channel() {
    let [one] = people();
    let mut calls = Calls::default();
    for (name, text) in [("a", "1"), ("b", "22"), ("a", "333"), ("b", "4444")] {
        assert!(one.mailbox.put(Some(&channel(name)), &Arc::from(text.as_bytes()), &mut calls));
    }
    calls.ring();
    let mut taken = Vec::new();
    assert_eq!(one.mailbox.take(&mut taken, 2), Ok(true));
    assert_eq!(taken, b"122");
    one.mailbox.retain(|kept| *kept == channel("b"));
    assert_eq!(one.mail(), "4444");
    assert!(!one.mailbox.has_mail());
}
