//! The account's interface for the SFU proxy.

use std::sync::Arc;

use super::Account;
use turn_ledger::books::NotAdmitted;
use turn_ledger::grants::SfuSession;
use turn_ledger::spender::{Label, Spender};

impl Account {
    /// Notes what the SFU says of a session; `None`: it has ended. It is on disk within the interval of the journal.
    pub fn set_sfu_session(&self, name: &Arc<str>, session: Option<&SfuSession>) {
        self.with(|books| books.set_sfu_session(name, session));
    }

    /// Promises that a session takes so many tracks more. [`Self::recorded`] waits until that is on disk, so that the SFU can be asked
    /// for them.
    pub fn pull(&self, name: &str, more: u32) -> Result<(), NotAdmitted> {
        self.with(|books| books.pull(name, more)).inspect_err(|why| self.count_refusal(why))
    }

    /// Notes what the page says of a session that it has opened.
    pub fn label_sfu_session(&self, name: &str, label: Option<Label>, origin: Option<Arc<str>>) {
        self.with(|books| books.describe_session(name, Spender { label, origin, ..Spender::default() }));
    }

    /// The sessions of the SFU that were open when the process before this one ended.
    #[must_use]
    pub fn sfu_sessions(&self) -> Vec<(Arc<str>, SfuSession)> {
        self.with(|books| books.sfu_sessions().collect())
    }

    /// The sessions of the SFU that take something and must not.
    #[must_use]
    pub fn sfu_sessions_to_close(&self) -> Vec<Arc<str>> {
        self.with(|books| books.sfu_sessions_to_close())
    }
}
