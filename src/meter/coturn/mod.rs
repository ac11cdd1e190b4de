//! The meter of coturn. Every [`COTURN_LOOK_INTERVAL`] it lists the sessions, gives their bytes to the account, and ends each session whose
//! grant has expired or is revoked. When the budget is spent, it ends all sessions. coturn itself never ends a running allocation.

use std::future::pending;

pub mod cli;
pub mod listing;
pub mod stats;

use crate::bounds::COTURN_LOOK_INTERVAL;
use crate::meter::prelude::*;
use crate::telemetry::metrics::Metrics;
use cli::{CliError, CoturnCli};
use stats::{Reports, Taken};

/// How long a session may outlive its grant when the broker ends the session. This allows for some failed or slow listings.
pub const CUT_TAIL: Duration = Duration::from_secs(30);

/// After this many broken logins coturn is asked rarely.
const BROKEN_LOGINS_MAX: u32 = 3;
/// The pause between two logins after [`BROKEN_LOGINS_MAX`].
const BROKEN_PAUSE: Duration = Duration::from_secs(300);

/// The meter of one relay.
#[derive(Debug)]
pub struct CoturnMeter {
    /// Its host.
    pub name: String,
    /// Whose sessions it lists.
    pub relay: CountOwner,
    /// The client of the CLI.
    pub cli: CoturnCli,
    /// What the relay reports of the ends of its sessions. `None` without `COTURN_STATS_LISTEN`.
    pub reports: Option<Arc<Reports>>,
    /// Receives the listings.
    pub account: Arc<Account>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Why the latest listing failed; `None` after one that succeeded.
    pub failure: Mutex<Option<String>>,
}

impl CoturnMeter {
    /// Lists sessions again and again.
    pub async fn run(&self) {
        let (mut failures, mut broken_logins) = (0, 0);
        loop {
            let looked = self.look().await;
            broken_logins = count_broken(&looked, broken_logins);
            failures = self.report(&looked, failures, broken_logins >= BROKEN_LOGINS_MAX);
            let pause = pause(broken_logins);
            tokio::time::sleep(pause / 2).await;
            // A session that has ended is counted within a second.
            let ended = async {
                match &self.reports {
                    Some(reports) => reports.ended.notified().await,
                    None => pending().await,
                }
            };
            let _ = tokio::time::timeout(pause / 2, ended).await;
        }
    }

    /// Lists sessions once, and ends those that must end, at most [`cli::CUTS_MAX`]. Returns how many it has told coturn to end. Ends none
    /// without the lease, because another replica may know of a renewal or of a higher limit.
    pub async fn look(&self) -> Result<usize, CliError> {
        let asked_at = self.account.read(Books::now);
        let mut listing = self.cli.sessions().await?;
        // After the listing, so that a session that it lacks has been reported.
        let reported = self.reports.as_ref().map(|reports| reports.take());
        let reported_all = reported.as_ref().is_none_or(|taken| taken.is_live);
        if let Some(Taken { ended, is_live, is_after_gap }) = reported {
            listing.is_complete &= is_live;
            (listing.ended, listing.is_after_gap) = (ended, is_after_gap);
        }
        let to_end = self.account.change(|books| books.take_sessions(self.relay, listing, asked_at));
        if !self.account.holds_lease() {
            return Ok(0);
        }
        let cut = self.cli.cut(&to_end).await?;
        if cut > 0 {
            self.metrics.sessions_cut.inc_by(u64::try_from(cut).unwrap_or(u64::MAX));
            tracing::info!(
                sessions = cut,
                relay = self.name,
                "coturn sessions were ended: expired, revoked, or the budget is spent"
            );
        }
        if reported_all { Ok(cut) } else { Err(CliError::Unreported) }
    }

    /// Updates metrics and log; returns the number of consecutive failures. `is_rare`: whether coturn is asked rarely now.
    fn report(&self, looked: &Result<usize, CliError>, failures: u32, is_rare: bool) -> u32 {
        let outcome = looked.as_ref().map_or_else(Into::into, |_| "taken");
        self.metrics.readings.count([IceSource::Coturn.name(), outcome]);
        *self.failure.lock() = looked.as_ref().err().map(|error| {
            let rarely = if is_rare { "; the broker asks every 5 minutes now" } else { "" };
            format!("{error}{rarely}")
        });
        let Err(error) = looked else {
            if failures > 0 {
                tracing::info!(relay = self.name, failures, "coturn's CLI responds again");
            }
            return 0;
        };
        // Log the first failure in a row, then every 150th: 150 looks, 2 s apart, are five minutes.
        // A relay reports its sessions some seconds after a start.
        let first = if matches!(error, CliError::Unreported) { 5 } else { 0 };
        if failures % 150 == first {
            tracing::warn!(
                relay = self.name,
                outcome,
                failures,
                "coturn's sessions are neither read nor ended: {error}"
            );
        }
        failures.saturating_add(1)
    }
}

/// The number of broken logins since the last listing. Each may have ended coturn, and all its calls.
fn count_broken(looked: &Result<usize, CliError>, before: u32) -> u32 {
    match looked {
        Ok(_) => 0,
        Err(CliError::LoginBroken(_)) => before.saturating_add(1),
        Err(_) => before,
    }
}

/// The pause after a listing or a failure.
fn pause(broken_logins: u32) -> Duration {
    if broken_logins < BROKEN_LOGINS_MAX { COTURN_LOOK_INTERVAL.get() } else { BROKEN_PAUSE }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn after_three_broken_logins_the_broker_asks_every_five_minutes_until_a_listing_comes() {
        let broken = || Err(CliError::LoginBroken(io::ErrorKind::UnexpectedEof.into()));
        let looks = [
            (broken(), 0),
            (Err(CliError::Timeout), 0),
            (broken(), 0),
            (Err(CliError::WrongPassword), 0),
            (broken(), 300),
            (Err(CliError::Timeout), 300),
            (Ok(0), 0),
        ];
        let mut broken_logins = 0;
        for (looked, seconds) in looks {
            broken_logins = count_broken(&looked, broken_logins);
            let expected =
                if seconds == 0 { COTURN_LOOK_INTERVAL.get() } else { Duration::from_secs(seconds) };
            assert_eq!(pause(broken_logins), expected, "{looked:?}");
        }
    }
}
