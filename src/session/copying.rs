//! COPY from the client.
//!
//! From a command that may ask for COPY data until its outcome is known nothing but that data is sent: what a frame
//! means, and whether it is answered, is certain then. Syncs among the data are passed on and counted. PostgreSQL
//! ignores those that it reads before the COPY ends, and answers those that it reads after the COPY has failed (manual:
//! "COPY Operations"). How many that are only its answers can tell.

use super::turn::{Expect, Kind, Turn, Who};
use super::{Outgoing, Verdict, Wait};
use crate::prepared::NEVER;
use crate::wire::Frame;
use crate::wire::build;
use crate::wire::tag::client;

/// How far a COPY from the client is. `syncs`: of the client's, since its data began.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copying {
    #[default]
    No,
    /// The backend waits for data.
    Open { syncs: usize },
    /// The client has sent all of its data; the outcome has not come.
    Ended { syncs: usize },
    /// The backend has refused it. So many Syncs are answered, or fewer.
    Failed { syncs: usize },
    /// As `Failed`, and the backend was asked for something that it answers after them.
    Asked,
}

impl Turn {
    /// What becomes of a frame while a COPY is, or may be, under way; `None` where it is to be judged as any other.
    pub(super) fn judge_copy(&mut self, frame: &Frame<'_>, out: &mut Outgoing) -> Option<Verdict> {
        match self.copying {
            Copying::No if self.decisions == 0 => None,
            Copying::No | Copying::Ended { .. } | Copying::Asked => Some(self.wait(out)),
            Copying::Open { syncs } => {
                match frame.tag {
                    client::COPY_DATA | client::FLUSH => {}
                    client::SYNC => self.copying = Copying::Open { syncs: syncs + 1 },
                    // Whatever it is, it ends the data; that the COPY is done is not said by itself.
                    _ => (self.copying, self.unflushed) = (Copying::Ended { syncs }, true),
                }
                Some(Verdict::Forward)
            }
            Copying::Failed { .. } => match frame.tag {
                client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL | client::FLUSH => Some(Verdict::Swallow),
                _ => {
                    self.ask_for_syncs(&mut out.to_backend);
                    Some(Verdict::Hold(Wait::Replies))
                }
            },
        }
    }

    /// The backend asks for data. `false` where nothing was sent that could make it do so.
    pub(super) fn begin_copy(&mut self) -> bool {
        self.copying = Copying::Open { syncs: 0 };
        self.queue.front().is_some_and(|expect| expect.decides)
    }

    /// The command at work is done, or the part of it that wanted data.
    pub(super) fn complete_copy(&mut self) {
        if matches!(self.copying, Copying::Open { .. } | Copying::Ended { .. }) {
            self.copying = Copying::No;
        }
    }

    /// The command at work has failed, and its COPY with it.
    pub(super) fn fail_copy(&mut self, to_backend: &mut Vec<u8>) {
        let (Copying::Open { syncs } | Copying::Ended { syncs }) = self.copying else { return };
        self.copying = if syncs == 0 { Copying::No } else { Copying::Failed { syncs } };
        if syncs > 0 && self.between_frames {
            self.ask_for_syncs(to_backend);
        }
    }

    /// Whether ReadyForQuery, come now, answers one of the Syncs that were sent among data.
    pub(super) fn answers_sync_in_copy(&mut self) -> bool {
        let answers = matches!(self.head_kind(), None | Some(Kind::Close));
        match self.copying {
            Copying::Failed { syncs } if answers => {
                self.copying = if syncs == 1 { Copying::No } else { Copying::Failed { syncs: syncs - 1 } };
            }
            Copying::Asked if answers => {}
            _ => return false,
        }
        self.skipping = false;
        self.end_batch();
        true
    }

    /// All Syncs that were sent among data have been answered if they ever are.
    pub(super) fn end_asking(&mut self) {
        if self.copying == Copying::Asked {
            self.copying = Copying::No;
        }
    }

    /// Asks for the end of the replies to Syncs among data. A Sync comes first: what follows is read even if all of
    /// the client's were ignored. It changes nothing else, and the client's frames are skipped by us.
    fn ask_for_syncs(&mut self, to_backend: &mut Vec<u8>) {
        self.copying = Copying::Asked;
        to_backend.extend_from_slice(&build::SYNC);
        build::write_close_statement(to_backend, NEVER);
        to_backend.extend_from_slice(&build::SYNC);
        for kind in [Kind::Sync, Kind::Close, Kind::Sync] {
            self.expect(Expect::new(kind, Who::Skip), []);
        }
        self.end_batch();
    }
}
