//! What a write has led to. Pure: what came back, and the row of `shard`, decide.

use crate::journal::Lost;

/// What came back from a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The row of `shard` was changed, and the commit has ended without a warning. Those who wait have their answer.
    Written,
    /// It was not changed: its epoch or its number is another one. The writer reads the row.
    Refused,
    /// It may have been changed, and may still be. The writer gives the connection up, and reads the row in another one.
    Unknown,
}

impl Answer {
    /// `changed`: how many rows of `shard`; `None` after an error, or without an answer in time. `has_warned`: whether the server said that
    /// the commit may not be on its synchronous standby.
    pub(super) const fn of(changed: Option<i64>, has_warned: bool) -> Self {
        match (changed, has_warned) {
            (Some(1), false) => Self::Written,
            (Some(_), false) => Self::Refused,
            (None, _) | (_, true) => Self::Unknown,
        }
    }
}

/// The writer: its epoch, the random name of its session, and the number of its last completed write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) epoch: i64,
    pub(super) seq: i64,
    /// Two replicas have the same epoch if the database was restored to an earlier state and another election followed.
    pub(super) session: String,
}

/// The row of `shard`, read with its lock: no write that was sent before is still running in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) epoch: i64,
    pub(super) seq: i64,
    /// The number of the last write before this epoch.
    pub(super) began: i64,
    pub(super) session: Option<String>,
}

/// What the writer does once it has read the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The batch was not committed. It is sent again with the same number, so a copy that is still on its way changes nothing.
    SendAgain,
    /// The batch was committed. An empty one is sent, and the answer waits for that: only a commit that has completed proves that the one
    /// before is on the synchronous standby, too.
    Confirm,
    /// The writer never writes again.
    End(Lost),
}

/// `shard`: `None` if the row is not there.
pub(super) fn after_read(term: &Term, shard: Option<&Shard>) -> Action {
    let Some(shard) = shard else { return Action::End(lost_since(0, term.seq)) };
    let is_ours = shard.epoch == term.epoch && shard.session.as_deref() == Some(&term.session);
    match shard.seq.saturating_sub(term.seq) {
        0 if is_ours => Action::SendAgain,
        1 if is_ours => Action::Confirm,
        ..0 if is_ours => Action::End(lost_since(shard.seq, term.seq)),
        _ if !is_ours && shard.began < term.seq => Action::End(lost_since(shard.began, term.seq)),
        _ => Action::End(Lost::Fenced),
    }
}

fn lost_since(kept: i64, seq: i64) -> Lost {
    Lost::Writes(seq.saturating_sub(kept).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(epoch: i64, seq: i64, began: i64, session: &str) -> Shard {
        Shard { epoch, seq, began, session: Some(session.into()) }
    }

    #[test]
    fn only_a_completed_commit_without_a_warning_is_certain() {
        for (changed, has_warned, answer) in [
            (Some(1), false, Answer::Written),
            (Some(0), false, Answer::Refused),
            (Some(1), true, Answer::Unknown),
            (Some(0), true, Answer::Unknown),
            (None, false, Answer::Unknown),
        ] {
            assert_eq!(Answer::of(changed, has_warned), answer);
        }
    }

    #[test]
    fn the_row_says_what_has_become_of_the_write() {
        let term = Term { epoch: 3, seq: 100, session: "a".into() };
        for (row, action) in [
            (Some(shard(3, 100, 40, "a")), Action::SendAgain),
            (Some(shard(3, 101, 40, "a")), Action::Confirm),
            (Some(shard(3, 102, 40, "a")), Action::End(Lost::Fenced)),
            (Some(shard(3, 99, 40, "a")), Action::End(Lost::Writes(1))),
            (Some(shard(4, 101, 100, "b")), Action::End(Lost::Fenced)),
            (Some(shard(4, 102, 101, "b")), Action::End(Lost::Fenced)),
            (Some(shard(9, 120, 119, "b")), Action::End(Lost::Fenced)),
            // Elected after the database was set back.
            (Some(shard(4, 98, 97, "b")), Action::End(Lost::Writes(3))),
            (Some(shard(4, 150, 97, "b")), Action::End(Lost::Writes(3))),
            (Some(shard(3, 100, 97, "b")), Action::End(Lost::Writes(3))),
            (Some(shard(3, 101, 97, "b")), Action::End(Lost::Writes(3))),
            (Some(shard(2, 60, 40, "b")), Action::End(Lost::Writes(60))),
            (Some(Shard { session: None, ..shard(0, 0, 0, "") }), Action::End(Lost::Writes(100))),
            (None, Action::End(Lost::Writes(100))),
        ] {
            assert_eq!(after_read(&term, row.as_ref()), action, "{row:?}");
        }
    }
}
