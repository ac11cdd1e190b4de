//! The counts of the trials of the tail at Cloudflare: until when a credential of the broker's own was billed after its end.

use strum::IntoEnumIterator as _;

use super::CloudflareMeter;
use super::analytics::{AnalyticsError, RATE_LIMIT_REST};
use crate::ice::tail_run::identifier;
use crate::meter::trials::{MakesTrials, Trials};
use turn_ledger::polls::spans::{Span, final_after};
use turn_ledger::{CountOwner, CredentialEnd};

impl MakesTrials for CloudflareMeter {
    /// Asks for the counts of trials that are over, and continues the other trials.
    async fn step_trials(&self, trials: &mut Trials) {
        let now = self.account.time_of_provider();
        if now >= trials.counts_from && self.count_trials().await {
            trials.counts_from = now.plus(RATE_LIMIT_REST);
        }
        self.trials.step_trials(trials).await;
    }
}

impl CloudflareMeter {
    /// Asks for the counts of all trials that are over. Returns whether the provider limits queries now; the rest is not asked for then.
    async fn count_trials(&self) -> bool {
        for (owner, _) in &self.trials.providers {
            for end in CredentialEnd::iter() {
                let Err(error) = self.count_trial(*owner, end).await else { continue };
                tracing::debug!("the count of a trial of the tail was not read: {error}");
                if matches!(error, AnalyticsError::RateLimited) {
                    return true;
                }
            }
        }
        false
    }

    /// Asks for the billed minutes of a trial that is over, once they are final.
    async fn count_trial(&self, owner: CountOwner, end: CredentialEnd) -> Result<(), AnalyticsError> {
        let waiting = self.account.read(|books| {
            let trial = books.ledger().uncounted_trial(owner, end)?;
            Some((identifier(end, trial.began_at()), trial.span()))
        });
        let Some((identifier, (from, until))) = waiting else { return Ok(()) };
        let age = final_after(self.lag);
        if self.account.time_of_provider() < until.plus(age) {
            return Ok(());
        }
        let span = Span { from, until, age };
        let billed = self.api.minutes_with_bytes(owner.issuer, identifier, span).await?;
        let shown = self.account.change(|books| books.count_trial(owner, end, Some(&billed)));
        if let Some(shown) = shown {
            self.trials.report_trial(end, &shown);
        }
        Ok(())
    }
}
