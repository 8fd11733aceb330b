//! What others' statements about a client find where it has no backend: a connection that is opened for as long as
//! they run.

use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::{Backend, Client, KeptBackend, Rest, Signal};

/// What stands in for a client's backend.
#[derive(Debug)]
pub(super) enum StandIn {
    Asked {
        /// Those who wait for it; they are told by the end of their channels.
        askers: Vec<oneshot::Sender<()>>,
        /// Its client is about to open it.
        heard: bool,
    },
    Present {
        backend: Backend,
        /// It is told by the end of this channel that nobody needs it any more.
        _needed: oneshot::Sender<()>,
    },
    /// Nobody needs it any more. It has not said yet whether it was told to end, and until then its client does nothing.
    Dismissed {
        /// Those who want another one.
        askers: Vec<oneshot::Sender<()>>,
    },
    /// It was told to end, which was meant for its client.
    Terminated(Box<[u8]>),
}

/// What a client must do for those who mention it.
#[derive(Debug, PartialEq, Eq)]
pub enum Demand {
    /// End, with these last words of PostgreSQL: the body of an ErrorResponse.
    End(Box<[u8]>),
    /// Have something stand in for its backend.
    Open,
    Nothing,
}

impl Rest {
    fn stand_in_mut(&mut self) -> Option<&mut StandIn> {
        self.awaited.as_mut()?.stand_in.as_mut()
    }

    fn set_stand_in(&mut self, stand_in: Option<StandIn>) {
        if stand_in.is_some() || self.awaited.is_some() {
            self.awaited.get_or_insert_default().stand_in = stand_in;
        }
    }
}

impl Client {
    /// What is demanded since [`Signal::StandIn`].
    #[must_use]
    pub fn demand(&self) -> Demand {
        match self.rest.lock().stand_in_mut() {
            Some(StandIn::Asked { heard: heard @ false, .. }) => {
                *heard = true;
                Demand::Open
            }
            Some(StandIn::Terminated(words)) => Demand::End(words.clone()),
            Some(StandIn::Asked { .. } | StandIn::Present { .. } | StandIn::Dismissed { .. }) | None => Demand::Nothing,
        }
    }

    /// This stands in for its backend until what is returned ends: nobody needs it then.
    #[must_use]
    pub fn is_stood_in_by(&self, backend: Backend) -> oneshot::Receiver<()> {
        let (needed, not_needed) = oneshot::channel();
        let mut rest = self.rest.lock();
        rest.set_stand_in(Some(if self.is_kept() {
            StandIn::Present { backend, _needed: needed }
        } else {
            StandIn::Dismissed { askers: Vec::new() }
        }));
        not_needed
    }

    /// Nothing stands in for it, now or soon.
    pub fn is_not_stood_in(&self) {
        let mut rest = self.rest.lock();
        rest.set_stand_in(None);
        self.in_doubt.store(false, Ordering::Release);
    }

    /// What stood in for it has gone, and was not told to end.
    pub fn is_spared(&self) {
        let mut rest = self.rest.lock();
        let askers = match rest.stand_in_mut() {
            Some(StandIn::Dismissed { askers }) => std::mem::take(askers),
            _ => Vec::new(),
        };
        let asked = !askers.is_empty();
        rest.set_stand_in(asked.then_some(StandIn::Asked { askers, heard: false }));
        self.in_doubt.store(false, Ordering::Release);
        drop(rest);
        self.signal(if asked { Signal::StandIn } else { Signal::Tick });
    }

    /// Whether it may have been told to end by what stood in for it, which is known soon.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Acquire)
    }

    /// What stood in for it was told to end, with these last words.
    pub fn is_terminated(&self, words: &[u8]) {
        let mut rest = self.rest.lock();
        rest.set_stand_in(Some(StandIn::Terminated(words.into())));
        // Its task may be at work: it does nothing more.
        self.in_doubt.store(true, Ordering::Release);
        drop(rest);
        self.signal(Signal::StandIn);
    }

    pub(super) fn stood_in_by(&self) -> Option<Backend> {
        match self.rest.lock().stand_in_mut() {
            Some(StandIn::Present { backend, .. }) => Some(*backend),
            _ => None,
        }
    }

    /// Somebody needs it no more; perhaps nobody does.
    pub(super) fn part_with_stand_in(&self) {
        let mut rest = self.rest.lock();
        // Who comes after this look finds none.
        if matches!(rest.stand_in_mut(), Some(StandIn::Present { .. })) && !self.is_kept() {
            self.in_doubt.store(true, Ordering::Release);
            rest.set_stand_in(Some(StandIn::Dismissed { askers: Vec::new() }));
        }
    }
}

impl KeptBackend {
    /// Asks for something that stands in for its client's backend, where there is none; what is returned ends when
    /// that is there, or will not be.
    #[must_use]
    pub fn ask_for_it(&self) -> Option<oneshot::Receiver<()>> {
        if self.backend().is_some() {
            return None;
        }
        let (asker, answer) = oneshot::channel();
        let mut rest = self.0.rest.lock();
        match rest.stand_in_mut() {
            Some(StandIn::Asked { askers, .. } | StandIn::Dismissed { askers }) => askers.push(asker),
            Some(StandIn::Present { .. } | StandIn::Terminated(_)) => return None,
            None => rest.set_stand_in(Some(StandIn::Asked { askers: vec![asker], heard: false })),
        }
        drop(rest);
        self.0.signal(Signal::StandIn);
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clients::{Clients, Identity, Seat};

    const PROCESS: Backend = Backend { server: 1, process: 77 };

    fn client() -> (Arc<Client>, Seat) {
        let mut seat = Arc::new(Clients::new(1)).seat().expect("room");
        (seat.log_in(Identity::of("app", "bob"), false, [7; 32]), seat)
    }

    #[test]
    fn a_stand_in_is_there_for_as_long_as_anybody_needs_it() {
        let (client, _seat) = client();
        let (one, other) = (client.keep_backend(), client.keep_backend());
        let mut waiting = one.ask_for_it().expect("there is none");
        assert_eq!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert_eq!(client.demand(), Demand::Open);
        assert_eq!(client.demand(), Demand::Nothing, "it is being opened");
        let mut not_needed = client.is_stood_in_by(PROCESS);
        assert_eq!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(one.backend(), Some(PROCESS));
        drop(one);
        assert_eq!(other.backend(), Some(PROCESS));
        drop(other);
        assert_eq!(not_needed.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(client.backend(), None);
    }

    #[test]
    fn one_that_comes_too_late_is_not_needed() {
        let (client, _seat) = client();
        assert!(client.keep_backend().ask_for_it().is_some());
        assert_eq!(client.demand(), Demand::Open);
        let mut not_needed = client.is_stood_in_by(PROCESS);
        assert_eq!(not_needed.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }

    #[test]
    fn its_end_is_its_clients() {
        let (client, _seat) = client();
        let kept = client.keep_backend();
        let _not_needed = client.is_stood_in_by(PROCESS);
        client.is_terminated(b"words");
        assert!(client.take_signals().has(Signal::StandIn));
        assert_eq!(client.demand(), Demand::End(b"words".as_slice().into()));
        assert!(kept.ask_for_it().is_none(), "nothing is to be waited for");
        assert_eq!(kept.backend(), None);
    }
}
