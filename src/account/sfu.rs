//! The account's interface for the SFU proxy.

use super::Account;
use turn_ledger::sfu_sessions::{SfuSession, SfuSessionId};

impl Account {
    /// Sets how many tracks the SFU sends to clients from now on. Each is charged by time. `found`: how many of them it has sent
    /// to which session since before this process.
    pub fn set_sfu_tracks<'a>(&self, tracks: u64, found: impl IntoIterator<Item = (&'a str, u64)>) {
        self.with(|books| books.set_sfu_tracks(tracks, found));
    }

    /// Remembers a session of the SFU over a restart, or forgets it. It is on disk within the interval of the journal.
    pub fn set_sfu_session(&self, id: &str, session: Option<SfuSession>) {
        self.with(|books| books.set_sfu_session(id.into(), session));
    }

    /// The sessions of the SFU that were open when the process before this one ended.
    #[must_use]
    pub fn sfu_sessions(&self) -> Vec<(SfuSessionId, SfuSession)> {
        self.with(|books| books.sfu_sessions().map(|(id, session)| (id.clone(), session.clone())).collect())
    }
}
