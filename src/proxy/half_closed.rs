//! A client whose stream has ended though it is owed answers. It may have said that it says no more and still read, as
//! `nc -N` does, or be gone: both look alike until something is sent to it. So what it has asked for is done and
//! answered, as PostgreSQL does it. Where that takes long it is told something that it knows, which one that is gone
//! answers with a reset: nothing is done for nobody. One whose last word is Terminate wants what it has asked for before,
//! whether it reads the answers or not.

use std::time::Duration;

use tokio::time::Instant;

use super::active::{Active, Rest};
use super::ending::Ending;
use super::serve::Serve;
use crate::wire::Header;
use crate::wire::tag::client;

/// How long an answer may take before it is found out whether the client is still there. As much again passes before
/// that is asked a second time, when what was sent is answered, and twice as much each time after that.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// ParameterStatus of what is so in every session: `integer_datetimes = on`.
const KNOWN_ANYWAY: &[u8] = b"S\0\0\0\x19integer_datetimes\0on\0";

/// What a client whose stream has ended is to pgweir.
#[derive(Debug, Clone, Copy)]
pub(super) enum HalfClosed {
    /// It has said goodbye, which has not been judged yet.
    Leaving,
    /// It may be gone, and is asked now and then.
    Silent { ask_at: Instant, pause: Duration },
}

impl HalfClosed {
    /// When it is to be asked whether it is there.
    pub(super) fn ask_at(self) -> Option<Instant> {
        match self {
            Self::Leaving => None,
            Self::Silent { ask_at, .. } => Some(ask_at),
        }
    }
}

impl Serve {
    /// Nothing more will come from the client. Whether it is served on.
    pub(super) fn client_ended(&self, active: &mut Active, now: Instant) -> Result<bool, Ending> {
        if self.is_all_done(active) {
            return Err(Ending::ClientGone);
        }
        active.half_closed = Some(match says_goodbye(active) {
            true => HalfClosed::Leaving,
            false => HalfClosed::Silent { ask_at: now + FIRST, pause: FIRST },
        });
        Ok(true)
    }

    /// Whether everything that the client has said is done, and answered.
    pub(super) fn is_all_done(&self, active: &Active) -> bool {
        self.session.is_finished()
            && active.held.is_none()
            && active.first.is_none()
            && active.cancel.is_none()
            && !self.handle.is_in_doubt()
            && active.to_backend.is_empty()
            && active.to_client.is_empty()
    }

    /// Sends something to a client that may be gone, if it is time for that.
    pub(super) fn ask_half_closed(&self, active: &mut Active, now: Instant) {
        let Some(HalfClosed::Silent { ask_at, pause }) = &mut active.half_closed else { return };
        if *ask_at > now {
            return;
        }
        *ask_at = now + *pause;
        *pause = (*pause * 2).min(LONGEST);
        // What it does not read, or the rest of a message, finds out as much.
        if active.to_client.is_empty() && !matches!(active.backend_rest, Rest::Forward(_)) {
            active.to_client.push(KNOWN_ANYWAY);
        }
    }
}

/// The client's connection is broken, or takes no more bytes. Whether it is served on: one that says goodbye need not
/// listen, any other has gone.
pub(super) fn client_deaf(active: &mut Active) -> Result<bool, Ending> {
    if !active.leaving && !says_goodbye(active) {
        return Err(Ending::ClientGone);
    }
    active.half_closed = Some(HalfClosed::Leaving);
    active.to_client.deafen();
    Ok(true)
}

/// Whether the last of what is here of a client is its Terminate.
fn says_goodbye(active: &Active) -> bool {
    let (here, mut rest, mut last) = (active.from_client.unread(), active.client_rest, None);
    let (of_last_frame, _) = rest.take(here.len());
    let mut unread = here.get(of_last_frame..).unwrap_or_default();
    while let Ok(Some(header)) = Header::read(unread, usize::MAX) {
        last = Some(header.tag);
        unread = unread.get(header.frame()..).unwrap_or_default();
    }
    unread.is_empty() && last == Some(client::TERMINATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::build;

    #[test]
    fn what_is_sent_to_find_out_is_a_parameter_that_never_changes() {
        assert_eq!(KNOWN_ANYWAY, build::parameter_status("integer_datetimes", "on"));
    }
}
