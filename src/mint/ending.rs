//! Credentials that the broker ends by itself: those of members that have left their call, of a chain of renewals that relayed more than
//! `GRANT_LIMIT_GB`, and with `AT_LIMIT=revoke` all live credentials while counted and vouched bytes alone have reached the limit. Also
//! credentials that somebody else revoked while the source did not answer. Tests: `tests/it/ending.rs`.
//! Each credential is revoked in the ledger, and its source is asked until the source has answered. The ledger records which credentials
//! wait for an answer, so with a ledger on disk, a crash or a takeover loses none. A revocation releases nothing: `reservedGB` stays
//! until counts release it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{Mint, RevokedAll};
use crate::alert::rules::AtLimitState;
use turn_base::Clock;
use turn_ledger::{GrantId, RevocableWalk};

/// The time from one step to the next.
const STEP: Duration = Duration::from_secs(1);
/// For how many credentials a source is asked in one step.
const AT_ONCE: usize = 60;
/// The pause between two searches for credentials at the limit.
const SEARCH_PAUSE: Duration = Duration::from_secs(10);

/// How long the last steps may take when the process stops.
const LAST_MAX: Duration = Duration::from_secs(3);

/// What the broker ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EndingBody)]
pub struct EndingProgress {
    /// Whether all live credentials are being revoked, because the limit is reached by counted and vouched bytes.
    #[schema(example = false)]
    pub is_at_limit: bool,
    /// Credentials that wait to be revoked, as far as they were found, and revoked ones for which Cloudflare has not answered.
    #[schema(example = 0)]
    pub left: usize,
    /// Credentials that Cloudflare has revoked since the start when the broker asked by itself: because of a limit, because a member left
    /// its call, or again after a failure.
    #[schema(example = 0)]
    pub revoked: u64,
    /// Whether the source has refused all credentials of the last step.
    #[serde(skip)]
    #[schema(ignore)]
    pub is_refused: bool,
}

/// See the module's description.
pub struct Ending {
    /// The mint and its ledger.
    pub mint: Arc<Mint>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Whether all credentials are ended at the limit: `AT_LIMIT=revoke`.
    pub at_limit: bool,
    /// What was done so far.
    pub progress: Mutex<EndingProgress>,
}

/// What is remembered from step to step.
#[derive(Debug, Default)]
pub struct EndingState {
    /// Credentials to revoke because the limit is reached. Those with the most counted bytes come first.
    waiting: Vec<GrantId>,
    /// When credentials to revoke because the limit is reached were last searched for.
    searched: Option<Instant>,
}

impl EndingProgress {
    /// How many credentials still run because the source refuses. 0 if it has ended a credential in the last step.
    pub fn refused(self) -> usize {
        if self.is_refused { self.left } else { 0 }
    }
}

impl Ending {
    /// Ends credentials until `end` is cancelled. Then ends those that still wait, without pauses and within 3 s. Credentials that are left
    /// after this time are ended after the next start, or expire.
    pub async fn run(&self, end: &CancellationToken) {
        let mut state = EndingState::default();
        let mut next = tokio::time::interval(STEP);
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while end.run_until_cancelled(next.tick()).await.is_some() {
            self.step(&mut state).await;
        }
        let last = async { while self.step(&mut state).await > 0 {} };
        let _ = tokio::time::timeout(LAST_MAX, last).await;
    }

    /// Revokes in the ledger what a limit ends. Asks the sources to end at most [`AT_ONCE`] revoked credentials. Returns the number of
    /// these credentials: 0 while another replica may lead. Takes 8 s at most.
    pub async fn step(&self, state: &mut EndingState) -> usize {
        let account = &self.mint.account;
        // Another replica may lead: its limit may be higher, and it would not learn what is revoked in these books.
        if !account.holds_lease() {
            return 0;
        }
        account.revoke_over_limit();
        let is_at_limit = self.state_at_limit() == AtLimitState::Revokes;
        if self.note_limit(is_at_limit) {
            *state = EndingState::default();
        }
        let is_due = match state.searched {
            None => true,
            Some(at) => self.clock.instant().saturating_duration_since(at) >= SEARCH_PAUSE,
        };
        if is_at_limit && state.waiting.is_empty() && is_due {
            state.searched = Some(self.clock.instant());
            state.waiting = self.search().await;
        }
        // If credentials wait to be revoked at the limit, half of the step is for them, and half for unanswered ones. So neither kind makes
        // the other wait.
        let most = if state.waiting.is_empty() { AT_ONCE } else { AT_ONCE / 2 };
        let (mut ids, unanswered_count) =
            account.change(|books| (books.take_unanswered(most), books.grants().unanswered_count()));
        let unanswered_left = unanswered_count.saturating_sub(ids.len());
        let of_waiting = state.waiting.len().min(AT_ONCE.saturating_sub(ids.len()));
        ids.extend(state.waiting.drain(..of_waiting));
        self.progress.lock().left = state.waiting.len().saturating_add(unanswered_left);
        let rows = account.revoke_each(&ids);
        // Revocations that cannot be written now are written later. So the source is asked even then, unless another replica may lead.
        if rows.is_empty() || account.recorded().await.is_err() && !account.holds_lease() {
            return 0;
        }
        let RevokedAll { ended, left, .. } = self.mint.revoke_all(&rows).await;
        let mut progress = self.progress.lock();
        progress.left = progress.left.saturating_add(left);
        progress.is_refused = left > 0 && ended == 0;
        progress.revoked = progress.revoked.saturating_add(u64::try_from(ended).unwrap_or(u64::MAX));
        rows.len()
    }

    /// What is done with live credentials at the limit: see the variants of [`AtLimitState`].
    pub fn state_at_limit(&self) -> AtLimitState {
        if !self.at_limit {
            AtLimitState::Nothing
        } else if self.mint.account.read(|books| books.budget().is_limit_proven()) {
            AtLimitState::Revokes
        } else {
            AtLimitState::WaitsForCount
        }
    }

    /// Records whether all credentials are being ended. Returns whether that has changed. When it begins, discards the pool.
    fn note_limit(&self, is_at_limit: bool) -> bool {
        let was_at_limit = std::mem::replace(&mut self.progress.lock().is_at_limit, is_at_limit);
        if is_at_limit && !was_at_limit {
            if let Some(provider) = self.mint.provider() {
                provider.drop_pool();
            }
            tracing::warn!("the limit is reached: all credentials that can be revoked are revoked now");
        }
        was_at_limit != is_at_limit
    }

    /// The credentials that must be revoked at the limit, those with the most counted bytes first.
    async fn search(&self) -> Vec<GrantId> {
        let account = &self.mint.account;
        let mut walk = RevocableWalk::default();
        // `look` returns whether it has seen the last grants; `Some` ends the walk.
        account.read_in_parts(|books| walk.look(books.grants(), books.now()).then_some(())).await;
        walk.in_order().collect()
    }
}
