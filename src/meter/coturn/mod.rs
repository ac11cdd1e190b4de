//! Looks at a coturn's sessions every [`LOOK_INTERVAL`], hands what they have carried to the account, and ends those whose
//! grant is over or revoked, or whose budget is spent. coturn itself never cuts a running allocation.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub mod cli;

use crate::account::Account;
use crate::telemetry::metrics::Metrics;
use cli::{CliError, CoturnCli};
use turn_ledger::source::IceSource;

/// How often: what a spent budget can still cost is what flows in this time, and what coturn does not show yet.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long relaying may outlive a grant that we end: looks that fail or are slow for a while are allowed for.
pub const CUT_TAIL: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub struct CoturnMeter {
    /// Who is asked.
    pub cli: CoturnCli,
    /// Who gets what it says.
    pub account: Arc<Account>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

impl CoturnMeter {
    /// Looks until the end.
    pub async fn run(&self, end: &CancellationToken) {
        let mut failures = 0;
        loop {
            let looked = tokio::select! {
                biased;
                () = end.cancelled() => return,
                looked = self.look() => looked,
            };
            failures = self.report(&looked, failures);
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    /// Looks once, and ends what is to end; how many sessions that was.
    pub async fn look(&self) -> Result<usize, CliError> {
        let listing = self.cli.sessions().await?;
        let dead = self.account.take_sessions(&listing);
        let cut = self.cli.cut(&dead).await?;
        if cut > 0 {
            self.account.cut_sessions(&dead[..cut]);
            self.metrics.sessions_cut.inc_by(u64::try_from(cut).unwrap_or(u64::MAX));
            tracing::info!(
                sessions = cut,
                "coturn sessions were ended: expired, revoked, or the budget is spent"
            );
        }
        Ok(cut)
    }

    /// Counts and logs; how many failures there were in a row.
    fn report(&self, looked: &Result<usize, CliError>, failures: u32) -> u32 {
        match looked {
            Ok(_) => {
                self.metrics.reading(IceSource::Coturn.name(), "taken");
                if failures > 0 {
                    tracing::info!(failures, "coturn's command line answers again");
                }
                0
            }
            Err(error) => {
                self.account.miss_sessions();
                self.metrics.reading(IceSource::Coturn.name(), error.outcome());
                // The first of a row, and one in five minutes: the rest would say the same.
                if failures.is_multiple_of(150) {
                    tracing::warn!(
                        outcome = error.outcome(),
                        failures,
                        "coturn's sessions are neither read nor ended: {error}"
                    );
                }
                failures.saturating_add(1)
            }
        }
    }
}
