//! Revocation at the source. The ledger has revoked the credentials before: the source is only asked to end them too. The source's answer
//! is recorded with the grant. So when all credentials of a user are revoked later, the source is not asked again about credentials for
//! which it has answered.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::{CredentialSource, Mint, Provider, Source};
use crate::account::Account;
use turn_ledger::{
    EndedBy, GrantId, GrantRow, IdDigest, Minute, OnRevocation, RevocationAnswer, SourceFacts, Timestamp,
};

/// Calls to the provider at the same time.
const AT_ONCE: usize = 8;
/// No call to the provider begins later than this. The dashboard waits 10 s, and a call and the ledger take up to 5 s in addition.
const BEGIN_MAX: Duration = Duration::from_secs(4);

/// The result of revoking a credential at its source. As a text: its name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Revocation {
    /// The provider reports that it revoked the credential.
    #[strum(to_string = "revoked")]
    Done,
    /// The provider does not know the credential.
    Unknown,
    /// The source could not be reached, or did not accept the revocation; or this process cannot end the sessions of a coturn now.
    Failed,
    /// The source cannot revoke, but this process ends the credential's sessions within seconds, also new ones.
    Cut,
    /// The source cannot revoke.
    Unsupported,
}

impl From<RevocationAnswer> for Revocation {
    fn from(answer: RevocationAnswer) -> Self {
        match answer {
            RevocationAnswer::Unknown => Self::Unknown,
            RevocationAnswer::Revoked => Self::Done,
        }
    }
}

/// The results of revoking several credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevokedAll {
    /// How many of them the source has revoked, now or before, or this process ends within seconds. The others work until they expire.
    #[schema(example = 280)]
    pub ended: usize,
    /// For how many of the others the source is asked again by itself: it could not be reached or did not accept it, or there was no time.
    #[schema(example = 20)]
    pub left: usize,
    /// How many of them this process cuts: their calls end within seconds.
    #[schema(example = 0)]
    pub cut: usize,
    /// Until when calls of the credentials that are not cut may go on, at the latest; null if all are cut.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = "2025-01-16T14:01:00Z")]
    pub calls_until: Option<Timestamp>,
}

impl Mint {
    /// Revokes a credential at its source. Its allocations may continue for a while, so its promise stays. Also returns the status with
    /// which the source refused; `None` without such a status.
    pub async fn revoke(&self, id: GrantId, grant: &GrantRow) -> (Revocation, Option<u16>) {
        match self.call_for(id, grant) {
            Ok(call) => call.make().await,
            Err(without_call) => (without_call, None),
        }
    }

    /// Revokes credentials at their sources, except those for which the source has answered before. Ends within 7 s.
    pub async fn revoke_all(&self, grants: &[(GrantId, GrantRow)]) -> RevokedAll {
        let (mut results, mut calls, mut calls_until) = (vec![], vec![], None);
        for (id, grant) in grants {
            let call = match grant.extra().revocation_answer {
                Some(answer) => Err(answer.into()),
                None => self.call_for(*id, grant),
            };
            if !matches!(call, Err(Revocation::Cut)) {
                // A credential that is not cut may relay until its promises end or, without a promise, until it expires.
                calls_until =
                    calls_until.max(Some(grant.alive_until().map_or(grant.expires_at, Minute::start)));
            }
            match call {
                Ok(call) => calls.push(call),
                Err(without_call) => results.push(without_call),
            }
        }
        // Tasks, so that a panic in one call does not end the others.
        let calls = calls.into_iter().map(|call| async move {
            tokio::spawn(call.make()).await.map_or(Revocation::Failed, |(revocation, _)| revocation)
        });
        results.extend(make_all(calls, tokio::time::sleep(BEGIN_MAX)).await);
        let count = |wanted| results.iter().filter(|result| **result == wanted).count();
        let cut = count(Revocation::Cut);
        let not_asked = grants.len().saturating_sub(results.len());
        RevokedAll {
            ended: count(Revocation::Done).saturating_add(cut),
            left: count(Revocation::Failed).saturating_add(not_asked),
            cut,
            calls_until,
        }
    }

    /// The call that revokes a credential. `Err`: the result, if its source takes no calls.
    fn call_for(&self, id: GrantId, grant: &GrantRow) -> Result<RevocationCall, Revocation> {
        let SourceFacts { ended_by, on_revocation, .. } = grant.source.facts();
        let mut ready = self.sources.iter().filter_map(Source::ready);
        let source = ready.find(|credentials| credentials.source() == grant.source);
        match (on_revocation, &grant.username, source.and_then(CredentialSource::provider)) {
            (OnRevocation::IsAsked, Some(username), Some(provider)) => Ok(RevocationCall {
                provider: Arc::clone(provider),
                account: Arc::clone(&self.account),
                id,
                username: username.clone(),
                turn_key: grant.issuer,
            }),
            // The sessions of at least one coturn cannot be ended now, perhaps those of this credential.
            _ if ended_by == EndedBy::CommandLine && self.account.snapshot().measured.uncut => {
                Err(Revocation::Failed)
            }
            _ if self.cut_here.contains(&grant.source) => Err(Revocation::Cut),
            _ => Err(Revocation::Unsupported),
        }
    }
}

/// Why a revocation has failed, for people.
pub fn why_failed(status: Option<u16>) -> String {
    match status {
        Some(status) => format!("the source did not accept the revocation (status {status})"),
        None => "the source could not be reached".to_owned(),
    }
}

/// One call to the provider.
struct RevocationCall {
    provider: Arc<Provider>,
    account: Arc<Account>,
    id: GrantId,
    username: Box<str>,
    turn_key: Option<IdDigest>,
}

impl RevocationCall {
    /// Makes the call, and records the answer with the grant. Also returns the status with which the source refused; `None` without such a
    /// status.
    async fn make(self) -> (Revocation, Option<u16>) {
        match self.provider.revoke(&self.username, self.turn_key).await {
            Ok(answer) => {
                self.account.change(|books| books.note_revocation_answer(self.id, answer));
                (answer.into(), None)
            }
            Err(error) => {
                self.provider.log_failed_revocation(&error);
                (Revocation::Failed, error.status())
            }
        }
    }
}

/// Makes calls, at most [`AT_ONCE`] at the same time. Once `end` is ready, no further call begins. Returns the results of all calls
/// that began.
async fn make_all<T>(
    calls: impl Iterator<Item: Future<Output = T>>,
    end: impl Future<Output = ()>,
) -> Vec<T> {
    stream::iter(calls).take_until(end).buffer_unordered(AT_ONCE).collect().await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn all_calls_are_made_and_few_at_the_same_time() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let call = |n: usize| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                n
            }
        };
        let mut made = make_all((0..300).map(call), std::future::pending()).await;
        made.sort_unstable();
        assert_eq!(made, (0..300).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
    }

    #[tokio::test]
    async fn at_the_end_no_call_begins_and_those_that_began_are_waited_for() {
        let (end, ended) = tokio::sync::oneshot::channel();
        let mut end = Some(end);
        // The last of the first calls ends the time.
        let calls = (0..300).map(|n| {
            let end = end.take_if(|_| n + 1 == AT_ONCE);
            async move {
                end.map(|end| end.send(()));
                tokio::task::yield_now().await;
                n
            }
        });
        let made = make_all(calls, async { ended.await.unwrap() }).await;
        assert!((AT_ONCE..300).contains(&made.len()), "{}", made.len());
        let none = make_all((0..3).map(std::future::ready), std::future::ready(())).await;
        assert!(none.is_empty());
    }
}
