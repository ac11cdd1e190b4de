//! The meter of coturn. Every [`COTURN_LOOK_INTERVAL`] it lists the sessions, gives their bytes to the account, and ends those whose
//! grant has expired or is revoked, and all when the budget is spent. coturn itself never ends a running allocation.

use std::sync::Arc;
use std::time::Duration;

pub mod cli;
pub mod listing;

use parking_lot::Mutex;

use crate::account::Account;
use crate::bounds::COTURN_LOOK_INTERVAL;
use crate::telemetry::metrics::Metrics;
use cli::{CliError, CoturnCli};
use turn_ledger::{Books, CountOwner, IceSource};

/// How long relaying may outlive a grant that we end. It allows for some failed or slow listings.
pub const CUT_TAIL: Duration = Duration::from_secs(30);

/// The meter of one relay.
#[derive(Debug)]
pub struct CoturnMeter {
    /// Its host.
    pub name: String,
    /// Whose sessions it lists.
    pub relay: CountOwner,
    /// The client of the CLI.
    pub cli: CoturnCli,
    /// Receives the listings.
    pub account: Arc<Account>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Why the latest listing failed; `None` after one that did not.
    pub failure: Mutex<Option<String>>,
}

impl CoturnMeter {
    /// Lists sessions again and again.
    pub async fn run(&self) {
        let mut failures = 0;
        loop {
            failures = self.report(&self.look().await, failures);
            tokio::time::sleep(COTURN_LOOK_INTERVAL.get()).await;
        }
    }

    /// Lists sessions once, and ends those that must end; returns how many. Without the lease none: another replica may know of a renewal or
    /// of a higher limit.
    pub async fn look(&self) -> Result<usize, CliError> {
        let asked_at = self.account.read(Books::now);
        let listing = self.cli.sessions().await?;
        let dead = self.account.change(|books| books.take_sessions(self.relay, listing, asked_at));
        if !self.account.holds_lease() {
            return Ok(0);
        }
        let cut = self.cli.cut(&dead).await?;
        if cut > 0 {
            self.account.change(|books| books.cut_sessions(self.relay, &dead[..cut]));
            self.metrics.sessions_cut.inc_by(u64::try_from(cut).unwrap_or(u64::MAX));
            tracing::info!(
                sessions = cut,
                relay = self.name,
                "coturn sessions were ended: expired, revoked, or the budget is spent"
            );
        }
        Ok(cut)
    }

    /// Updates metrics and log; returns the number of consecutive failures.
    fn report(&self, looked: &Result<usize, CliError>, failures: u32) -> u32 {
        let outcome = looked.as_ref().map_or_else(CliError::outcome, |_| "taken");
        self.metrics.readings.count([IceSource::Coturn.name(), outcome]);
        *self.failure.lock() = looked.as_ref().err().map(ToString::to_string);
        let Err(error) = looked else {
            if failures > 0 {
                tracing::info!(relay = self.name, failures, "coturn's CLI responds again");
            }
            return 0;
        };
        // Log the first failure in a row, then one in five minutes.
        if failures.is_multiple_of(150) {
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
