//! The account's interface for the SFU proxy.

use super::Account;

impl Account {
    /// Sets how many tracks the SFU sends to clients from now on. Each is charged by time.
    pub fn set_sfu_tracks(&self, tracks: u64) {
        self.with(|books| books.set_sfu_tracks(tracks));
    }
}
