//! The database with the ledger, checked without changing it: the connection, the server's settings, the time of a commit,
//! replication, and its clock.

use super::connect::judge_clock;
use super::prelude::*;
use crate::config::DatabaseConfig;
use crate::lead::lease::slowest_write;
use crate::store::postgres::connect::{Connection, Database, DatabaseError};
use crate::store::postgres::standby::{is_shared, others, refuse_shared_session};

/// How many commits are timed. The median counts.
const COMMITS: usize = 5;
/// Above this, callers notice the wait of a mint.
const SLOW: Duration = Duration::from_millis(100);
/// Above this, a mint gets 503; earlier with a short lease.
const TOO_SLOW: Duration = Duration::from_secs(2);
/// A transaction that writes to the server's write-ahead log and to no table.
const COMMIT: &str = "SELECT pg_logical_emit_message(true, 'turn-broker', 'doctor')";
const REPLICATION: &str = "SELECT current_setting('synchronous_standby_names'), \
    (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')), \
    (SELECT count(*) FROM pg_stat_replication)";
const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// The findings about the database.
pub(super) async fn check(config: &DatabaseConfig, clock: &dyn Clock) -> Vec<(Check, Verdict)> {
    match examine(config, clock).await {
        Ok(found) => found,
        Err(error) => {
            let remedy = match error {
                DatabaseError::Unfit(_) | DatabaseError::SharedSession => "do that, then run doctor again",
                _ => "check DATABASE_URL and CA_FILE, that the server runs, and what is between here and it",
            };
            vec![(Check::Database, fail(error.to_string(), remedy))]
        }
    }
}

async fn examine(config: &DatabaseConfig, clock: &dyn Clock) -> Result<Vec<(Check, Verdict)>, DatabaseError> {
    let database = Database::new(config);
    let connection = database.connect("turn-broker doctor").await?;
    let version: String = connection.one("SELECT current_setting('server_version')").await?.get(0);
    connection.check_server().await?;
    refuse_shared_session(&database, &connection).await?;
    let mut verdicts = vec![ok(format!("PostgreSQL {version} answers, and keeps what it has committed"))];
    verdicts.push(judge_commit(time_of_commit(&connection, clock).await?, config.lease));
    let row = connection.one(REPLICATION).await?;
    verdicts.push(judge_replication(row.get(0), row.get(1), row.get(2)));
    let before = clock.now();
    let theirs = Timestamp::from_millis(connection.one(CLOCK).await?.get(0));
    let ours = before.plus_millis(clock.now().millis_since(before) / 2);
    let mut found: Vec<_> = verdicts.into_iter().map(|verdict| (Check::Database, verdict)).collect();
    found.push((Check::Clock, judge_clock("the database", theirs, ours)));
    Ok(found)
}

/// Where the other live replicas are reached, and a failure if two running replicas are reached at `url`, the address of this replica.
/// Neither if the database cannot say.
pub(super) async fn check_address(config: &DatabaseConfig, url: &str) -> (Vec<String>, Option<Verdict>) {
    let Ok(connection) = Database::new(config).connect("turn-broker doctor").await else {
        return (vec![], None);
    };
    let url = url.trim_end_matches('/');
    // The queries fail if no replica has created the tables yet.
    let is_shared = is_shared(&connection, url, config.lease).await.unwrap_or(false);
    let others = others(&connection, url).await.unwrap_or_default();
    let remedy = "set ADVERTISE_URL of each replica to an address of its own: by default, it is the one from which it reaches the database";
    (others, is_shared.then(|| fail("two replicas run that are reached at this address", remedy)))
}

async fn time_of_commit(connection: &Connection, clock: &dyn Clock) -> Result<Duration, DatabaseError> {
    let mut times = [Duration::ZERO; COMMITS];
    for time in &mut times {
        let began = clock.instant();
        connection.one(COMMIT).await?;
        *time = clock.instant().saturating_duration_since(began);
    }
    times.sort_unstable();
    Ok(times[COMMITS / 2])
}

fn judge_commit(time: Duration, lease: Duration) -> Verdict {
    let seen = format!("a commit takes {:.1} ms", time.as_secs_f64() * 1_000.0);
    let remedy = "use a faster disk, or a database that is nearer: each mint waits for a commit";
    match time {
        _ if time <= SLOW => ok(seen),
        _ if time <= TOO_SLOW.min(slowest_write(lease)) => warn(seen, remedy),
        _ => fail(seen, remedy),
    }
}

/// `names`: the setting `synchronous_standby_names`. `all`: how many standbys of the database are connected. `synchronous`: how many of
/// these replicate synchronously.
fn judge_replication(names: &str, synchronous: i64, all: i64) -> Verdict {
    match (names.is_empty(), synchronous) {
        (true, _) if all == 0 => ok(
            "no standby of the database is connected: after the loss of its disk, credentials of the time since the last backup are forgotten, unless the disk is replicated",
        ),
        (true, _) => warn(
            format!(
                "the {all} standbys replicate asynchronously: a failover can forget credentials that were handed out"
            ),
            "set synchronous_standby_names, with Patroni synchronous_mode and synchronous_mode_strict",
        ),
        (false, 0) => fail(
            "synchronous_standby_names is set and no such standby is connected: no commit ends",
            "connect a standby that synchronous_standby_names names",
        ),
        (false, _) => ok(format!(
            "{synchronous} of {all} standbys of the database have each commit before it is answered"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::CheckState;
    use super::*;

    #[test]
    fn a_commit_above_100_ms_is_a_warning_and_one_above_2_s_or_two_fifths_of_the_lease_is_a_failure() {
        for (lease, millis, state) in [
            (60, 100, CheckState::Ok),
            (60, 101, CheckState::Warn),
            (60, 2_000, CheckState::Warn),
            (60, 2_001, CheckState::Fail),
            (3, 1_200, CheckState::Warn),
            (3, 1_201, CheckState::Fail),
        ] {
            let (commit, lease) = (Duration::from_millis(millis), Duration::from_secs(lease));
            assert_eq!(judge_commit(commit, lease).state, state, "{millis}");
        }
    }

    #[test]
    fn asynchronous_standbys_are_a_warning_and_missing_synchronous_ones_a_failure() {
        for (names, synchronous, all, state) in [
            ("", 0, 0, CheckState::Ok),
            ("", 0, 2, CheckState::Warn),
            ("ANY 1 (a, b)", 0, 0, CheckState::Fail),
            ("ANY 1 (a, b)", 0, 1, CheckState::Fail),
            ("ANY 1 (a, b)", 2, 2, CheckState::Ok),
        ] {
            assert_eq!(
                judge_replication(names, synchronous, all).state,
                state,
                "{names} {synchronous} {all}"
            );
        }
    }
}
