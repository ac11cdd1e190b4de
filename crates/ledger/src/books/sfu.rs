//! The SFU, as a part of the books: what its sessions take from each other is charged by time, also while no process ran.

use super::Books;
use crate::sfu_sessions::{SfuSession, SfuSessionId};

impl Books {
    /// Sets how many tracks the SFU sends to clients. `found`: how many of them it has sent to a session since before this process,
    /// so they are charged since the last write of the last process that charged for that session.
    pub fn set_sfu_tracks<'a>(&mut self, tracks: u64, found: impl IntoIterator<Item = (&'a str, u64)>) {
        let now = self.now();
        for (id, found) in found {
            if let Some(since) = self.sfu.found(id) {
                self.ledger.add_sfu_time(found, since, now);
            }
        }
        self.ledger.set_sfu_tracks(tracks);
    }

    /// Remembers a session of the SFU, or forgets it.
    pub fn set_sfu_session(&mut self, id: SfuSessionId, session: Option<SfuSession>) {
        self.sfu.set(id, session);
    }

    /// The sessions of the SFU that are open, or were when the process before ended.
    pub fn sfu_sessions(&self) -> impl Iterator<Item = (&SfuSessionId, &SfuSession)> {
        self.sfu.iter()
    }
}
