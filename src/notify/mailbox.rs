//! What a session has heard and not yet been given, bounded in bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::channel::Channel;
use super::ticket::Calls;
use crate::clients::Client;
use crate::wire::build::Fault;
use crate::wire::sqlstate;

/// Bytes that one piece of mail is counted with beside its frame.
const OVERHEAD: usize = size_of::<Mail>();

/// A session's mailbox. Frames are shared by all who hear them.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) client: Arc<Client>,
    contents: Mutex<Contents>,
}

#[derive(Debug)]
struct Contents {
    mail: VecDeque<Mail>,
    bytes: usize,
    limit: usize,
    full: bool,
}

#[derive(Debug)]
struct Mail {
    /// `None` for what is not about one channel.
    channel: Option<Channel>,
    frame: Arc<[u8]>,
}

/// More came than the session may leave waiting: what came since is lost, and the session must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {limit} bytes of notifications wait for the client")]
pub struct Full {
    pub limit: usize,
}

impl Full {
    /// The client's last words.
    #[must_use]
    pub fn fault(self) -> Fault {
        Fault::fatal(sqlstate::PROGRAM_LIMIT_EXCEEDED, "too many notifications are waiting for the client")
            .detail(format!(
                "They came while the client was in a transaction or did not read; pgweir's limit is \
                 limits.notifications = {} bytes.",
                self.limit
            ))
            .hint("Listen in a session that is not in long transactions, or raise the limit.")
    }
}

impl Mailbox {
    pub(super) fn new(client: &Arc<Client>, limit: usize) -> Arc<Self> {
        let contents = Contents { mail: VecDeque::new(), bytes: 0, limit, full: false };
        Arc::new(Self { client: Arc::clone(client), contents: Mutex::new(contents) })
    }

    /// Adds a frame; false if there is no room, and from then on.
    pub(super) fn put(&self, channel: Option<&Channel>, frame: &Arc<[u8]>, calls: &mut Calls) -> bool {
        let mut contents = self.contents.lock();
        if contents.full {
            return false;
        }
        let was_empty = contents.mail.is_empty();
        let bytes = contents.bytes + frame.len() + OVERHEAD;
        if bytes > contents.limit {
            contents.full = true;
            contents.bytes = 0;
            contents.mail = VecDeque::new();
            drop(contents);
            calls.add(&self.client);
            return false;
        }
        contents.bytes = bytes;
        contents.mail.push_back(Mail { channel: channel.cloned(), frame: Arc::clone(frame) });
        drop(contents);
        if was_empty {
            calls.add(&self.client);
        }
        true
    }

    /// Appends whole frames to `to`, in order, until there are no more or `to` has grown by `most` bytes. Whether
    /// there are more.
    ///
    /// # Errors
    /// [`Full`].
    pub(super) fn take(&self, to: &mut Vec<u8>, most: usize) -> Result<bool, Full> {
        let enough = to.len().saturating_add(most);
        let mut contents = self.contents.lock();
        if contents.full {
            return Err(Full { limit: contents.limit });
        }
        while to.len() < enough {
            let Some(mail) = contents.mail.pop_front() else { break };
            contents.bytes = contents.bytes.saturating_sub(mail.frame.len() + OVERHEAD);
            to.extend_from_slice(&mail.frame);
        }
        if contents.mail.is_empty() {
            contents.mail = VecDeque::new();
        }
        Ok(!contents.mail.is_empty())
    }

    /// Whether more came than may wait: the session must end.
    pub(super) fn overflow(&self) -> Option<Full> {
        let contents = self.contents.lock();
        contents.full.then_some(Full { limit: contents.limit })
    }

    /// Throws away what is about channels that `keep` does not want.
    pub(super) fn retain(&self, keep: impl Fn(&Channel) -> bool) {
        let mut contents = self.contents.lock();
        let mut freed = 0;
        contents.mail.retain(|mail| {
            let kept = mail.channel.as_ref().is_none_or(&keep);
            freed += if kept { 0 } else { mail.frame.len() + OVERHEAD };
            kept
        });
        contents.bytes = contents.bytes.saturating_sub(freed);
    }

    /// Whether there is something to take, if only the news that too much came.
    pub(super) fn has_mail(&self) -> bool {
        let contents = self.contents.lock();
        contents.full || !contents.mail.is_empty()
    }
}
