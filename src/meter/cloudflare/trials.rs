//! The trials of the tail at Cloudflare: for how long a credential of the broker's own relays after its expiry and after its revocation,
//! and until when that is counted. [`turn_ledger::TailTrial`] says what is due; this does it, a few times a minute.

use std::collections::BTreeMap;
use std::time::Duration;

use strum::IntoEnumIterator as _;

use super::CloudflareMeter;
use super::analytics::AnalyticsError;
use crate::ice::api::MintingApi;
use crate::ice::tail_run::{BYTES, BYTES_MAX, Stepped, TailRun, identifier};
use turn_ledger::polls::lateness::Span;
use turn_ledger::polls::spans::final_after;
use turn_ledger::{CountOwner, CredentialEnd, IceSource, TailEvidence, TrialStep};

/// The first trial begins so long after the start. A process that starts again and again makes none.
const FIRST_AFTER: Duration = Duration::from_secs(600);
/// What is due is looked for so often.
const PAUSE: Duration = Duration::from_secs(15);
/// A trial goes on for so long after the end at most.
pub const TRIAL_MAX: Duration = IceSource::Cloudflare.expiry_tail();

/// The trials that run.
#[derive(Debug, Default)]
pub struct Trials(BTreeMap<(CountOwner, CredentialEnd), TailRun>);

impl CloudflareMeter {
    /// Makes trials again and again.
    pub(super) async fn run_trials(&self) {
        let mut trials = Trials::default();
        tokio::time::sleep(FIRST_AFTER).await;
        loop {
            self.step_trials(&mut trials).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Does what is due of each trial: begins it, relays, revokes, or asks for its count.
    pub async fn step_trials(&self, trials: &mut Trials) {
        for (owner, key) in &self.probers {
            for end in CredentialEnd::iter() {
                if let Err(error) = self.count_trial(*owner, end).await {
                    tracing::debug!("the count of a trial of the tail was not read: {error}");
                }
                self.step_trial(*owner, end, key, trials).await;
            }
        }
    }

    async fn step_trial(&self, owner: CountOwner, end: CredentialEnd, key: &MintingApi, trials: &mut Trials) {
        let now = self.account.time_of_provider();
        let Some(run) = trials.0.get_mut(&(owner, end)) else {
            if let Some(run) = self.begin_trial(owner, end, key).await {
                trials.0.insert((owner, end), run);
            }
            return;
        };
        let step = run.next(now, TRIAL_MAX);
        if matches!(step, TrialStep::Relay { .. }) {
            let charge = |books: &mut turn_ledger::Books| books.charge_trial(owner, BYTES);
            if self.account.record_change(charge).await.is_err() {
                // What is charged and not relayed would be charged again with each step.
                return self.fail_trial((owner, end), trials).await;
            }
        }
        match run.step(step, key, now).await {
            Stepped::Waited | Stepped::Sent { .. } | Stepped::Revoked => {}
            Stepped::Finished => {
                if let Some(run) = trials.0.remove(&(owner, end)) {
                    self.account.change(|books| books.note_trial(owner, end, run.trial));
                }
            }
            Stepped::Failed => self.fail_trial((owner, end), trials).await,
        }
    }

    async fn fail_trial(&self, of: (CountOwner, CredentialEnd), trials: &mut Trials) {
        if let Some(mut run) = trials.0.remove(&of) {
            run.close().await;
            self.metrics.tail_trials.count(["failed"]);
        }
    }

    /// Begins a trial that is due. `None`: none is, or there is no credential. Then the next one is due some hours later.
    async fn begin_trial(&self, owner: CountOwner, end: CredentialEnd, key: &MintingApi) -> Option<TailRun> {
        if !self.account.read(|books| books.ledger().needs_trial(owner, end, BYTES_MAX)) {
            return None;
        }
        self.account.record_change(|books| books.begin_trial(owner, end)).await.ok()?;
        let now = self.account.time_of_provider();
        let run = TailRun::begin(key, end, now, TRIAL_MAX).await;
        if run.is_err() {
            self.metrics.tail_trials.count(["failed"]);
        }
        run.ok()
    }

    /// Asks for the billed minutes of a trial that is over, once they are final.
    async fn count_trial(&self, owner: CountOwner, end: CredentialEnd) -> Result<(), AnalyticsError> {
        let waits = self.account.read(|books| {
            let trial = books.ledger().uncounted_trial(owner, end)?;
            Some((identifier(end, trial.began_at()), trial.span()))
        });
        let Some((identifier, (from, until))) = waits else { return Ok(()) };
        let age = final_after(self.lag_in_use());
        if self.account.time_of_provider() < until.plus(age) {
            return Ok(());
        }
        let span = Span { from, until, age };
        let billed = self.api.minutes_with_bytes(owner.turn_key, identifier, span).await?;
        let shown = self.account.change(|books| books.count_trial(owner, end, Some(&billed)));
        if let Some(shown) = shown {
            self.report_trial(end, &shown);
        }
        Ok(())
    }

    fn report_trial(&self, end: CredentialEnd, shown: &TailEvidence) {
        let outcome = if shown.tail.is_some() { "proof" } else { "no_proof" };
        self.metrics.tail_trials.count([outcome]);
        let end: &str = end.into();
        let text = |at: Option<turn_ledger::Timestamp>| at.map_or("never".to_owned(), |at| at.to_string());
        let (billed_until, relayed_until) = (text(shown.billed_until), text(shown.relayed_until));
        let refused_at = text(shown.refused_at);
        tracing::info!(
            end,
            outcome,
            billed_until,
            relayed_until,
            refused_at,
            tail_seconds = shown.tail.map(|tail| tail.as_secs()),
            "a trial of the tail was counted"
        );
    }
}
