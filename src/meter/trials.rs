//! Trials of the tail: for how long a credential of the broker's own relays after its end. [`turn_ledger::TailTrial`] says what is due, and
//! this module does it, a few times a minute. Where a provider counts, its meter asks for the count. Elsewhere the last data that came back
//! replace the count.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strum::IntoEnumIterator as _;

use crate::account::Account;
use crate::ice::api::MintingApi;
use crate::ice::tail_run::{BYTES, BYTES_MAX, Stepped, TailRun};
use crate::telemetry::metrics::Metrics;
use turn_ledger::{CountOwner, CredentialEnd, TailEvidence, Timestamp, TrialStep};

/// How long after the start of the process the first trial begins. A process that restarts again and again makes no trials.
const FIRST_AFTER: Duration = Duration::from_secs(600);
/// The pause between two checks of what is due.
const PAUSE: Duration = Duration::from_secs(15);

/// The trials that run.
#[derive(Debug, Default)]
pub struct Trials {
    running: BTreeMap<(CountOwner, CredentialEnd), TailRun>,
    /// No count of a trial is asked for before this time, because the provider has limited queries; 1970 if it has not.
    pub(super) counts_from: Timestamp,
}

/// A meter that makes trials.
pub trait MakesTrials: Sync {
    /// Does, for each trial, the step that is due.
    fn step_trials(&self, trials: &mut Trials) -> impl Future<Output = ()> + Send;
}

/// Makes trials again and again.
pub async fn make_trials(meter: &impl MakesTrials) {
    let mut trials = Trials::default();
    tokio::time::sleep(FIRST_AFTER).await;
    loop {
        meter.step_trials(&mut trials).await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Makes trials at some providers.
#[derive(Debug)]
pub struct TrialMeter {
    /// The APIs that mint the credentials, each with the owner of the count of the credentials' bytes.
    pub providers: Vec<(CountOwner, MintingApi)>,
    /// The lifetime of a credential whose end is its expiry. A credential that is to be revoked lives longer.
    pub life: Duration,
    /// Keeps what trials show.
    pub account: Arc<Account>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

impl MakesTrials for TrialMeter {
    /// Makes one step of each trial: begins it, relays, revokes or finishes.
    async fn step_trials(&self, trials: &mut Trials) {
        for (owner, api) in &self.providers {
            let can_revoke = owner.source.revokes_by_name();
            for end in CredentialEnd::iter().filter(|end| can_revoke || *end == CredentialEnd::Expiry) {
                self.step_trial(*owner, end, api, trials).await;
            }
        }
    }
}

impl TrialMeter {
    /// Begins a trial of this owner if one is due, or makes the next step of the one that runs.
    async fn step_trial(&self, owner: CountOwner, end: CredentialEnd, api: &MintingApi, trials: &mut Trials) {
        // `max`: for how long after the end of the credential the trial goes on at most.
        let (now, max) = (self.account.time_of_provider(), owner.source.expiry_tail());
        let Some(run) = trials.running.get_mut(&(owner, end)) else {
            if let Some(run) = self.begin_trial(owner, end, api).await {
                trials.running.insert((owner, end), run);
            }
            return;
        };
        let step = run.next(now, max);
        if matches!(step, TrialStep::Relay { .. }) {
            let charge = |books: &mut turn_ledger::Books| books.charge_trial(owner, BYTES);
            if self.account.record_change(charge).await.is_err() {
                // The bytes are charged in the books but not relayed. End the trial, because each later step would charge them again.
                return self.fail_trial((owner, end), trials).await;
            }
        }
        match run.step(step, api, now).await {
            Stepped::Waited | Stepped::Sent { .. } | Stepped::Revoked => {}
            Stepped::Finished => {
                if let Some(run) = trials.running.remove(&(owner, end)) {
                    self.finish_trial(owner, end, run);
                }
            }
            Stepped::Failed => self.fail_trial((owner, end), trials).await,
        }
    }

    /// Stores a trial that is over. Where the provider counts, the trial now waits for the count; elsewhere its result is known now.
    fn finish_trial(&self, owner: CountOwner, end: CredentialEnd, run: TailRun) {
        let shown = self.account.change(|books| {
            books.note_trial(owner, end, run.trial);
            if owner.source.is_counted_by_provider() { None } else { books.count_trial(owner, end, None) }
        });
        if let Some(shown) = shown {
            self.report_trial(end, &shown);
        }
    }

    /// Ends a trial without a result.
    async fn fail_trial(&self, trial: (CountOwner, CredentialEnd), trials: &mut Trials) {
        if let Some(mut run) = trials.running.remove(&trial) {
            run.close().await;
            self.metrics.tail_trials.count(["failed"]);
        }
    }

    /// Begins a trial that is due. `None`: no trial is due, the ledger could not be written, or the credential could not be minted. After a
    /// failed mint the next trial is due some hours later.
    async fn begin_trial(&self, owner: CountOwner, end: CredentialEnd, api: &MintingApi) -> Option<TailRun> {
        if !self.account.read(|books| books.ledger().needs_trial(owner, end, BYTES_MAX)) {
            return None;
        }
        self.account.record_change(|books| books.begin_trial(owner, end)).await.ok()?;
        let now = self.account.time_of_provider();
        let run = TailRun::begin(api, end, self.life, now).await;
        if run.is_err() {
            self.metrics.tail_trials.count(["failed"]);
        }
        run.ok()
    }

    /// Updates metrics and log with the result of a trial.
    pub fn report_trial(&self, end: CredentialEnd, shown: &TailEvidence) {
        let outcome = if shown.tail.is_some() { "proof" } else { "no_proof" };
        self.metrics.tail_trials.count([outcome]);
        let end: &str = end.into();
        let text = |at: Option<Timestamp>| at.map_or("never".to_owned(), |at| at.to_string());
        let (billed_until, relayed_until) = (text(shown.billed_until), text(shown.relayed_until));
        let refused_at = text(shown.refused_at);
        tracing::info!(
            end,
            outcome,
            billed_until,
            relayed_until,
            refused_at,
            tail_seconds = shown.tail.map(|tail| tail.as_secs()),
            "a trial of the tail is over"
        );
    }
}
