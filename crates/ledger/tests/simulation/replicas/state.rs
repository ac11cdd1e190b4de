//! What is committed in the database: the row of `shard`, and the ledger's rows.

use turn_store::takeovers::Takeovers;

use super::prelude::*;

/// So many takeovers are listed.
const LISTED: usize = 16;

/// What is committed.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) epoch: i64,
    pub(super) seq: i64,
    pub(super) is_held: bool,
    /// Whether nothing was written since an election.
    pub(super) is_new: bool,
    pub(super) leader: Option<String>,
    pub(super) pid: u64,
    /// The restarts before the last write.
    pub(super) restarts: u64,
    /// The takeovers, newest first.
    pub(super) began: Vec<i64>,
    pub(super) sessions: Vec<String>,
    pub(super) rows: Rc<Rows>,
}

impl State {
    /// The session that writes.
    pub(super) fn session(&self) -> Option<&String> {
        self.sessions.first()
    }

    pub(super) fn takeovers(&self) -> Takeovers {
        Takeovers::new(self.began.clone(), self.sessions.clone())
    }

    pub(super) fn take_over(&mut self, began: i64, session: &str) {
        self.is_new = true;
        (self.epoch, self.seq) = (self.epoch + 1, began + 1);
        self.began.insert(0, began);
        self.sessions.insert(0, session.to_owned());
        self.began.truncate(LISTED);
        self.sessions.truncate(LISTED);
    }
}
