//! The result of a write, and what its writer does next. Pure: the answer and the row of `shard` decide. A writer sends a batch until it is
//! certain that the batch was committed once.

use crate::takeovers::Takeovers;

/// Why a process may never write the ledger again. What it has in memory is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Another replica leads, or this process has released the ledger.
    #[error("another replica leads")]
    Fenced,
    /// The database is older than what this process has answered.
    #[error("the database has lost {0} answered writes")]
    Writes(u64),
}

/// What came back from a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The row of `shard` was changed, and the server has not said that the commit may be missing on its synchronous standby. Those who
    /// wait get their answer.
    Written,
    /// The row was not changed: its epoch or its number is another one. The writer reads the row.
    Refused,
    /// The row may have been changed, or may be changed later. The writer gives the connection up, and reads the row in another one.
    Unknown,
}

impl Answer {
    /// `changed`: how many rows of `shard` were changed; `None` after an error, or without an answer in time. `is_unconfirmed`: whether the
    /// server said that the commit may not be on its synchronous standby.
    pub const fn of(changed: Option<i64>, is_unconfirmed: bool) -> Self {
        match (changed, is_unconfirmed) {
            (Some(1), false) => Self::Written,
            (Some(_), false) => Self::Refused,
            (None, _) | (_, true) => Self::Unknown,
        }
    }
}

/// The term of a writer: its epoch, the random name of its session, and the number of its last completed write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The number of its lead.
    pub epoch: i64,
    /// The number of its last completed write.
    pub seq: i64,
    /// The random name of its session. Two replicas have the same epoch if the database was restored to an earlier state and another
    /// election followed.
    pub session: String,
    /// The number of the write that elected it.
    elected: i64,
    /// Why it may not write any more: the ledger was released or lost.
    over: Option<Lost>,
}

/// The row of `shard`, read with its lock: no write that was sent before is still running in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The number of the last write.
    pub seq: i64,
    /// The latest changes of the lead.
    pub takeovers: Takeovers,
}

/// What the writer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It reads the row of `shard`.
    Read,
    /// It sends the batch again with the same number, so a copy that is still on its way changes nothing.
    Send,
    /// The batch was committed. The writer sends an empty one, and answers after that: only a later commit that has completed proves that
    /// the batch is on the synchronous standby, too.
    Confirm,
    /// Those who wait get their answer.
    Done,
    /// The writer never writes again.
    End(Lost),
}

impl Term {
    /// The term of a replica whose election is committed.
    pub const fn new(epoch: i64, seq: i64, session: String) -> Self {
        Self { epoch, seq, session, elected: seq, over: None }
    }

    /// Called before a batch is sent for the first time.
    pub fn begin(&self) -> Result<(), Lost> {
        self.over.map_or(Ok(()), Err)
    }

    /// After an answer. `is_held`: whether the writer keeps the ledger after this write.
    pub fn after_answer(&mut self, answer: Answer, is_held: bool) -> Step {
        if answer != Answer::Written {
            return Step::Read;
        }
        self.seq += 1;
        self.over = (!is_held).then_some(Lost::Fenced);
        Step::Done
    }

    /// After the row was read. `shard`: `None` if it is not there.
    pub fn after_read(&mut self, shard: Option<&Shard>) -> Step {
        let step = self.judge(shard);
        match step {
            Step::Confirm => self.seq += 1,
            Step::End(lost) => self.over = Some(lost),
            Step::Read | Step::Send | Step::Done => {}
        }
        step
    }

    fn judge(&self, shard: Option<&Shard>) -> Step {
        let Some(shard) = shard else { return Step::End(lost_since(0, self.seq)) };
        let kept = shard.takeovers.kept(&self.session, self.seq, shard.seq);
        // The election itself is lost, with all that was written since. Whether more is lost is not known.
        let Some(kept) = kept else { return Step::End(lost_since(self.elected - 1, self.seq)) };
        let is_ours = shard.takeovers.latest() == Some(&self.session);
        // `kept` is less than `seq`: completed writes are lost. Equal: the batch was not committed. One more: the batch was committed.
        // A writer that is not the latest session is fenced in both cases.
        match kept.saturating_sub(self.seq) {
            ..0 => Step::End(lost_since(kept, self.seq)),
            0 if is_ours => Step::Send,
            1 if is_ours => Step::Confirm,
            _ => Step::End(Lost::Fenced),
        }
    }
}

fn lost_since(kept: i64, seq: i64) -> Lost {
    Lost::Writes(seq.saturating_sub(kept).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row with these takeovers, newest first.
    fn shard(seq: i64, takeovers: &[(i64, &str)]) -> Shard {
        let sessions = takeovers.iter().map(|(_, session)| (*session).to_owned());
        let takeovers =
            Takeovers::new(takeovers.iter().map(|(began, _)| *began).collect(), sessions.collect());
        Shard { seq, takeovers }
    }

    /// Elected with the number 41, and written up to 100.
    fn term() -> Term {
        let mut term = Term::new(3, 41, "a".into());
        term.seq = 100;
        term
    }

    #[test]
    fn the_row_says_what_has_become_of_the_write() {
        let ours = (40, "a");
        for (row, step) in [
            (shard(100, &[ours]), Step::Send),
            (shard(101, &[ours]), Step::Confirm),
            (shard(102, &[ours]), Step::End(Lost::Fenced)),
            (shard(99, &[ours]), Step::End(Lost::Writes(1))),
            (shard(101, &[(100, "b"), ours]), Step::End(Lost::Fenced)),
            (shard(102, &[(101, "b"), ours]), Step::End(Lost::Fenced)),
            (shard(120, &[(119, "c"), (110, "b"), ours]), Step::End(Lost::Fenced)),
            // Elected after the database was set back, and perhaps replaced since.
            (shard(98, &[(97, "b"), ours]), Step::End(Lost::Writes(3))),
            (shard(150, &[(97, "b"), ours]), Step::End(Lost::Writes(3))),
            (shard(150, &[(140, "c"), (97, "b"), ours]), Step::End(Lost::Writes(3))),
            // To a time before its election.
            (shard(100, &[(30, "b")]), Step::End(Lost::Writes(60))),
            (shard(160, &[(150, "c"), (40, "b")]), Step::End(Lost::Writes(60))),
            (shard(0, &[]), Step::End(Lost::Writes(60))),
            // Somebody has stated it.
            (shard(160, &[(101, "c"), (100, ""), (97, "b"), ours]), Step::End(Lost::Fenced)),
        ] {
            assert_eq!(term().after_read(Some(&row)), step, "{row:?}");
        }
        assert_eq!(term().after_read(None), Step::End(Lost::Writes(100)));
    }

    #[test]
    fn nothing_is_sent_after_a_release_or_a_loss() {
        let (mut released, mut lost) = (term(), term());
        assert_eq!(released.after_answer(Answer::Written, false), Step::Done);
        assert_eq!(lost.after_read(Some(&shard(98, &[(97, "b"), (40, "a")]))), Step::End(Lost::Writes(3)));
        assert_eq!((released.begin(), lost.begin()), (Err(Lost::Fenced), Err(Lost::Writes(3))));
        assert_eq!(term().begin(), Ok(()));
    }
}
