//! LISTEN without a pin: shared listening backends and the sessions that hear by them.
//!
//! The sessions of one database, user and client encoding share one connection that listens to all their channels. It
//! is opened with the first subscription and closed when nobody has listened for a while. What a session hears is put
//! into its mailbox, bounded in bytes, and its task is woken; *when* it is written to the client is decided by the
//! session, and what a statement asks for is read elsewhere. No bytes of a client pass here. A session whose encoding
//! changes moves to another listener.
//!
//! | to read about | go to |
//! |---|---|
//! | a session's side: LISTEN, UNLISTEN, commits, barriers, its mail | [`subscriber`] |
//! | names of channels | [`channel`] |
//! | who listens to what, and what the backend is asked in which order | `book` (pure) |
//! | the shared backend's life: opening, losing, closing | `serve` |
//! | all listeners of the process | [`hub`] |
//! | whose process id a notification shows | [`crate::backend::holder`] |
//!
//! **What PostgreSQL guarantees**, found by experiment with 15 and true since 9.5: a backend that reads a message while
//! idle first delivers every notification that was committed before the message was sent, because the signal of the
//! notifying backend comes before that one's own answer, and is acted upon before what was read. So one bare Sync is a
//! barrier: when its ReadyForQuery is here, so is everything that was committed before it was asked for.
//!
//! **Locks.** A listener has one mutex, a mailbox has one; the mailbox's may be taken while the listener's is held. A
//! session is never woken while either is.

mod book;
pub mod channel;
pub mod hub;
mod link;
mod listener;
mod mailbox;
mod serve;
pub mod subscriber;
#[cfg(test)]
mod tests;
mod ticket;

pub use channel::{BadChannel, Channel};
pub use hub::{Hub, Limits, ListenKey, Plan, TooManyListeners};
pub use mailbox::Full;
pub use subscriber::{Mark, Subscriber, When};
pub use ticket::{NotHeard, Ticket};
