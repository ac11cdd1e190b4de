//! The latest takeovers of a ledger, as the row of `shard` lists them. They show whether a write is still in the ledger, however many
//! replicas have led since a failover of the database. Pure.

/// In place of a session's name: no replica took over, but one has stated that writes up to `began` are lost.
pub const LOSS_STATED: &str = "";

/// The latest takeovers, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Takeovers(Vec<Takeover>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Takeover {
    /// The number of the last write before it.
    began: i64,
    /// The random name of the session that has written since.
    session: String,
}

impl Takeovers {
    /// The takeovers of a row: both lists are newest first.
    pub fn new(began: Vec<i64>, sessions: Vec<String>) -> Self {
        Self(began.into_iter().zip(sessions).map(|(began, session)| Takeover { began, session }).collect())
    }

    /// The session that writes now; [`LOSS_STATED`] if no replica took over since a loss was stated.
    pub fn latest(&self) -> Option<&str> {
        self.0.first().map(|takeover| takeover.session.as_str())
    }

    /// Whether the session that writes now has written since its takeover, which is itself the write with the number `began + 1`.
    /// `last`: the number of the last write of all. `true` if no takeover is listed.
    pub fn has_written(&self, last: i64) -> bool {
        self.0.first().is_none_or(|takeover| last > takeover.began + 1)
    }

    /// The number of the last write of this session that is in the ledger. `seq`: the last one that the session has completed. The result
    /// is at least `seq` if nothing is lost, or if the loss was stated since. `last`: the number of the last write of all. `None`: the
    /// session is not listed, so nothing of it is there, or nobody knows.
    pub fn kept(&self, session: &str, seq: i64, last: i64) -> Option<i64> {
        // The last write of a session is the one before the next takeover.
        let mut last = last;
        for takeover in &self.0 {
            if takeover.session == session {
                return Some(last);
            }
            if takeover.session == LOSS_STATED && takeover.began >= seq {
                return Some(seq);
            }
            last = takeover.began;
        }
        None
    }
}
