//! A client whose stream has ended though it is owed answers. It may have said that it says no more and still read, as
//! `nc -N` does, or be gone: both look alike until something is sent to it. So what it has asked for is done and
//! answered, as PostgreSQL does it. Where that takes long it is told something that it knows, which one that is gone
//! answers with a reset: nothing is done for nobody.

use std::time::Duration;

use tokio::time::Instant;

use super::active::{Active, Rest};
use super::ending::Ending;
use super::serve::Serve;

/// How long an answer may take before it is found out whether the client is still there. As much again passes before
/// that is asked a second time, when what was sent is answered, and twice as much each time after that.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// ParameterStatus of what is so in every session: `integer_datetimes = on`.
const KNOWN_ANYWAY: &[u8] = b"S\0\0\0\x19integer_datetimes\0on\0";

/// Since its end the client is asked whether it is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct HalfClosed {
    pub(super) ask_at: Instant,
    pause: Duration,
}

impl Serve {
    /// Nothing more will come from the client. Whether it is served on.
    pub(super) fn client_ended(&self, active: &mut Active, now: Instant) -> Result<bool, Ending> {
        if self.is_all_done(active) {
            return Err(Ending::ClientGone);
        }
        active.half_closed = Some(HalfClosed { ask_at: now + FIRST, pause: FIRST });
        Ok(true)
    }

    /// Whether everything that the client has said is done, and answered.
    pub(super) fn is_all_done(&self, active: &Active) -> bool {
        self.session.is_finished()
            && active.held.is_none()
            && active.first.is_none()
            && active.cancel.is_none()
            && active.to_backend.is_empty()
            && active.to_client.is_empty()
    }

    /// Sends something to a client that may be gone, if it is time for that.
    pub(super) fn ask_half_closed(&self, active: &mut Active, now: Instant) {
        let Some(half_closed) = active.half_closed.as_mut().filter(|half_closed| half_closed.ask_at <= now) else {
            return;
        };
        half_closed.ask_at = now + half_closed.pause;
        half_closed.pause = (half_closed.pause * 2).min(LONGEST);
        // What it does not read, or the rest of a message, finds out as much.
        if active.to_client.is_empty() && !matches!(active.backend_rest, Rest::Forward(_)) {
            active.to_client.push(KNOWN_ANYWAY);
        }
    }
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
