//! Credentials that the broker ends by itself: those of a chain of renewals that relayed more than `GRANT_LIMIT_GB`, and with
//! `AT_LIMIT=revoke` all of them while counted and vouched bytes alone have reached the limit. Tests: `tests/it/ending.rs`.
//! Each is revoked in the ledger, and its source is asked until it has answered. What is left to do is found in the ledger, so a crash or a
//! takeover loses none of it. A revocation releases nothing: `reservedGB` stays until counts release it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use super::Mint;
use super::revocation::RevokedAll;
use turn_base::clock::Clock;
use turn_ledger::{Books, GrantId, RevocableWalk};

/// The pause between two steps.
const STEP: Duration = Duration::from_secs(1);
/// How many credentials are revoked in one step.
const AT_ONCE: usize = 20;
/// The pause between two searches for credentials, and before a source that has not answered is asked again.
const SEARCH_PAUSE: Duration = Duration::from_secs(10);

/// What the broker ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EndingBody)]
pub struct EndingProgress {
    /// Whether all live credentials are being revoked, because the limit is reached by counted and vouched bytes.
    #[schema(example = false)]
    pub is_at_limit: bool,
    /// Credentials that wait to be revoked, as far as they were found.
    #[schema(example = 0)]
    pub left: usize,
    /// Credentials that their source has revoked since the start, because of a limit.
    #[schema(example = 0)]
    pub revoked: u64,
}

/// See the module's description.
#[derive(Debug)]
pub struct Ending {
    /// The mint and its ledger.
    pub mint: Arc<Mint>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Whether all credentials are ended at the limit: `AT_LIMIT=revoke`.
    pub at_limit: bool,
    /// Whether one chain of renewals has a limit: `GRANT_LIMIT_GB` is set.
    pub has_grant_limit: bool,
    /// What was done so far.
    pub progress: Mutex<EndingProgress>,
}

/// What is remembered from step to step.
#[derive(Debug, Default)]
pub struct EndingState {
    /// Those that may relay most come first.
    waiting: Vec<GrantId>,
    /// When credentials were last searched for.
    searched: Option<Instant>,
    /// How many revocations have failed at their source since that search. The next one finds these credentials again.
    failed: usize,
}

impl Ending {
    /// Ends credentials, if a setting says so.
    pub async fn run(&self) {
        if !self.at_limit && !self.has_grant_limit {
            return;
        }
        let mut state = EndingState::default();
        loop {
            self.step(&mut state).await;
            tokio::time::sleep(STEP).await;
        }
    }

    /// What has been done, for the operator.
    pub fn progress(&self) -> EndingProgress {
        *self.progress.lock()
    }

    /// Ends at most [`AT_ONCE`] credentials. Ends within 8 s.
    pub async fn step(&self, state: &mut EndingState) {
        let account = &self.mint.account;
        if !account.is_writable() {
            return;
        }
        let is_at_limit = self.at_limit && account.read(Books::is_limit_proven);
        if self.note_limit(is_at_limit) {
            (state.waiting, state.searched) = (vec![], None);
        }
        state.waiting.splice(0..0, account.revoke_over_limit());
        let is_due = state
            .searched
            .is_none_or(|at| self.clock.instant().saturating_duration_since(at) >= SEARCH_PAUSE);
        if state.waiting.is_empty() && is_due {
            (state.searched, state.failed) = (Some(self.clock.instant()), 0);
            state.waiting = self.search(is_at_limit).await;
        }
        let some: Vec<_> = state.waiting.drain(..state.waiting.len().min(AT_ONCE)).collect();
        self.progress.lock().left = state.waiting.len().saturating_add(state.failed);
        let rows = account.revoke_each(&some);
        // Nothing is asked for that a crash would undo.
        if rows.is_empty() || account.recorded().await.is_err() {
            return;
        }
        let RevokedAll { ended, left, .. } = self.mint.revoke_all(&rows).await;
        state.failed = state.failed.saturating_add(left);
        let mut progress = self.progress.lock();
        progress.left = progress.left.saturating_add(left);
        progress.revoked = progress.revoked.saturating_add(u64::try_from(ended).unwrap_or(u64::MAX));
    }

    /// Notes whether all credentials are being ended. Returns whether that has changed.
    fn note_limit(&self, is_at_limit: bool) -> bool {
        let was_at_limit = std::mem::replace(&mut self.progress.lock().is_at_limit, is_at_limit);
        if is_at_limit && !was_at_limit {
            self.mint.drop_pool();
            tracing::warn!(
                "the limit is reached: all credentials of sources that can revoke are being revoked"
            );
        }
        was_at_limit != is_at_limit
    }

    /// The credentials that must be revoked at the limit, or otherwise those whose source has not answered yet.
    async fn search(&self, is_at_limit: bool) -> Vec<GrantId> {
        let account = &self.mint.account;
        if !is_at_limit {
            return account.read(|books| books.grants().unanswered(books.now(), AT_ONCE));
        }
        let mut walk = RevocableWalk::default();
        account.read_in_parts(|books| walk.look(books.grants(), books.now()).then_some(())).await;
        walk.in_order().collect()
    }
}
