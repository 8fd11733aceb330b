//! Gives the processes that a client's frame mentions their backends' ids, and keeps those backends with their
//! sessions until the statement is done: whoever has one next must not be hit by a signal that was another's.

use super::active::{Active, Ownership};
use super::serve::Serve;
use crate::clients::Backend;
use crate::session::{Mention, Wait};
use crate::wire::scan::HEADER;

impl Serve {
    /// Replaces what the frame that waits for it mentions. Whether anything happened.
    pub(super) fn name_processes(&mut self, active: &mut Active) -> bool {
        if !matches!(active.held, Some((Wait::Processes, _))) {
            return false;
        }
        for mention in self.session.mentions() {
            self.name_process(active, mention);
        }
        self.session.processes_are_named();
        active.held = None;
        true
    }

    fn name_process(&self, active: &mut Active, mention: Mention) {
        let Ownership::Leased { lease, .. } = &active.ownership else { return };
        let at = HEADER + mention.at;
        let Some(bytes) = active.from_client.unread_mut().get_mut(at..at + mention.len) else { return };
        let Some(given) = mention.process(bytes) else { return };
        let process = if given == self.handle.pid {
            lease.cancel.pid
        } else {
            let Some(client) = self.route.clients.find(given) else { return };
            let kept = client.keep_backend();
            let Some(Backend { server, process }) = kept.backend() else { return };
            if server != lease.cancel.server {
                return;
            }
            active.mentioned.push(kept);
            process
        };
        write(bytes, process, mention.binary);
    }

    /// The statement that mentioned sessions has been answered: they may part with their backends.
    pub(super) fn forget_mentioned(&self, active: &mut Active) {
        if !active.mentioned.is_empty() && self.session.is_answered() && !self.session.is_about_to_mention() {
            active.mentioned.clear();
        }
    }
}

/// Writes a number in as many bytes as there are.
fn write(bytes: &mut [u8], process: i32, binary: bool) {
    if binary {
        let number = i64::from(process).to_be_bytes();
        let from = number.len().saturating_sub(bytes.len());
        bytes.copy_from_slice(number.get(from..).unwrap_or_default());
        return;
    }
    let digits = format!("{process:0width$}", width = bytes.len());
    if digits.len() == bytes.len() {
        bytes.copy_from_slice(digits.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_with_as_many_bytes_as_there_were() {
        let mut digits = *b"4194310";
        write(&mut digits, 731, false);
        assert_eq!(&digits, b"0000731");
        for bytes in [&mut [0xff_u8; 4][..], &mut [0xff_u8; 8][..]] {
            write(bytes, 731, true);
            let mention = Mention { at: 0, len: bytes.len(), binary: true };
            assert_eq!(mention.process(bytes), Some(731));
        }
    }
}
