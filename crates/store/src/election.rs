//! When a replica stands for election. Pure: an observation of the ledger's row and this machine's time since boot in, an action out. No
//! clock of another machine is compared with this one's: what counts is for how long this replica itself has seen nothing change. A wrong
//! action costs a takeover and never more, because the takeover itself succeeds only if the row is still the one that was observed.

use std::time::Duration;

use crate::observation::Observation;
use turn_budget::Timestamp;

/// How long the leader's session must be gone before a replica stands. A leader whose connection broke has this time to come back. A leader
/// whose session may have ended with the database has the whole lease.
const GONE_MIN: Duration = Duration::from_millis(500);

/// After how long without a change of the row its leader counts as silent. A leader writes each second, and an observation
/// shows that within a quarter of a second.
const SILENCE_MIN: Duration = Duration::from_millis(1_500);

/// How long a new leader may read the ledger. It writes nothing meanwhile, and needs half a second for each 100,000 live grants. It is
/// replaced earlier if its session ends.
pub const OPENING_MAX: Duration = Duration::from_secs(60);

/// What a replica does after an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// There is no leader to forward to, and it is too early to stand.
    Wait,
    /// Forward to the leader at this URL.
    Forward(String),
    /// Stand for election.
    Stand,
    /// The database has lost writes up to this number. The lost writes may have been answered. State the loss.
    StateLoss(i64),
    /// The replica could stand, but the ledger has this format, which is newer than this version.
    CannotLead(i32),
}

/// What one replica knows of the others.
#[derive(Debug)]
pub struct Election {
    /// The newest format that this version reads.
    format: i32,
    /// `LEASE_SECONDS`.
    lease: Duration,
    /// The latest session that was seen, also before an interruption, and the number of the last write then.
    latest: Option<(String, i64)>,
    /// `None` before the first observation and after an interruption.
    view: Option<View>,
}

/// What was seen without an interruption. All times are since boot.
#[derive(Clone, Copy, Debug)]
struct View {
    /// Epoch and number of the last write.
    row: (i64, i64),
    /// When the row was first seen like this.
    unchanged_since: Duration,
    /// Through which connection it was seen.
    connection: u64,
    /// Whether the leader was there during this connection, by its session or by a write. A restart or a failover of the database ends all
    /// sessions and this connection, too. So a missing session means that the leader has ended it only if this is `true`.
    was_there: bool,
    /// Since when the leader's session is gone.
    gone_since: Option<Duration>,
    /// When the last observation came.
    seen_at: Duration,
    /// The time of the books and when it was first seen. `None` until a change was seen: an unchanged row can be of any age.
    followed: Option<(Timestamp, Duration)>,
}

impl Election {
    /// Nothing was seen yet.
    pub fn new(format: i32, lease: Duration) -> Self {
        Self { format, lease, latest: None, view: None }
    }

    /// Takes an observation that arrived at `now`. `own_url`: where this replica is reached. A row that names it was written by an earlier
    /// process.
    pub fn observe(&mut self, seen: &Observation, own_url: &str, now: Duration) -> Action {
        let lost = self.lost(seen);
        if lost.is_none() {
            self.latest = seen.takeovers.latest().map(|session| (session.to_owned(), seen.seq));
        }
        let view = View::after(self.view_at(now), seen, now);
        self.view = Some(view);
        let lasts = |since: Duration, span| now.saturating_sub(since) >= span;
        let may_stand = lost.is_some()
            || !seen.is_held
            || view.gone_since.is_some_and(|since| lasts(since, GONE_MIN))
            || lasts(view.unchanged_since, self.patience(seen));
        match &seen.leader {
            _ if may_stand && seen.format > self.format => Action::CannotLead(seen.format),
            _ if may_stand => lost.map_or(Action::Stand, Action::StateLoss),
            Some(leader) if leader != own_url => Action::Forward(leader.clone()),
            _ => Action::Wait,
        }
    }

    /// Called when the database could not be read: nobody knows what has happened meanwhile, so the silence before does not count.
    pub fn interrupt(&mut self) {
        self.view = None;
    }

    /// Whether the leader has written nothing for longer than it does while all is well, or has ended its session, as far as this replica
    /// could see.
    pub fn is_silent(&self) -> bool {
        self.view.is_some_and(|view| {
            view.gone_since.is_some() || view.seen_at.saturating_sub(view.unchanged_since) > SILENCE_MIN
        })
    }

    /// The latest time of the books, and this machine's time since boot when it was first seen. `None` if no write was seen since
    /// the last interruption.
    pub fn followed(&self) -> Option<(Timestamp, Duration)> {
        self.view?.followed
    }

    /// The number of the latest write that was seen, if the ledger lacks it and nobody has stated the loss.
    fn lost(&self, seen: &Observation) -> Option<i64> {
        let (session, seq) = self.latest.as_ref()?;
        let is_kept = seen.takeovers.kept(session, *seq, seen.seq).is_some_and(|kept| kept >= *seq);
        (!is_kept).then_some(*seq)
    }

    /// For how long the row may stay unchanged before this replica stands.
    fn patience(&self, seen: &Observation) -> Duration {
        let is_opening = seen.has_session && !seen.takeovers.has_written(seen.seq);
        if is_opening { OPENING_MAX } else { self.lease }
    }

    /// The view, unless it is so old that this process must have stood still.
    fn view_at(&self, now: Duration) -> Option<View> {
        self.view.filter(|view| now.saturating_sub(view.seen_at) <= self.lease / 2)
    }
}

impl View {
    /// The view after one more observation.
    fn after(before: Option<Self>, seen: &Observation, now: Duration) -> Self {
        let row = (seen.epoch, seen.seq);
        let unchanged = before.filter(|view| view.row == row);
        let connected = before.filter(|view| view.connection == seen.connection);
        // This process knows nothing from before its first connection. But the database knows what was written since the database started.
        let was_there = seen.has_session
            || seen.connection == 0 && seen.has_written
            || connected.is_some_and(|view| view.was_there || view.row != row);
        let is_gone = was_there && !seen.has_session;
        let followed = match unchanged {
            Some(view) => view.followed,
            // A change was seen only if there is an earlier view.
            None => before.and(seen.books_now).map(|books| (books, now)),
        };
        Self {
            row,
            unchanged_since: unchanged.map_or(now, |view| view.unchanged_since),
            connection: seen.connection,
            was_there,
            gone_since: is_gone.then(|| unchanged.and_then(|view| view.gone_since).unwrap_or(now)),
            seen_at: now,
            followed,
        }
    }
}

#[cfg(test)]
#[path = "election_tests.rs"]
mod tests;
