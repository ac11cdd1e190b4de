//! The task that watches sessions. It asks the SFU for the state of each session with tracks, because no call says that a page was
//! closed. It closes by force the sessions that must not pull any more, every few seconds until they pull nothing. It closes nothing unless
//! this broker may act as the leader.

use std::time::Instant;

use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::sessions::{CLOSE_INTERVAL, Look};
use super::upstream::is_gone;
use crate::prelude::*;

/// How often deadlines are checked.
const TICK: Duration = Duration::from_secs(1);
/// The most looks, or closing calls, at the same time. Calls of clients do not count.
pub(crate) const AT_ONCE_MAX: usize = 64;

impl SfuProxy {
    /// Watches the sessions. Never returns.
    pub async fn watch(self: &Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut looks, mut closed_at) = (JoinSet::new(), None);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    let overdue = self.with(Sessions::elapse);
                    // Without the lease nothing is closed. Overdue sessions come up again after `CLOSE_INTERVAL`.
                    if self.service.broker.holds_lease() {
                        let overdue = self.with(|sessions, _| sessions.closable(overdue.into_iter()));
                        self.close_all(overdue).await;
                        self.close_spent(&mut closed_at).await;
                    }
                }
                Some(_) = looks.join_next() => {}
            }
            let due = self.with(|sessions, now| sessions.take_looks(AT_ONCE_MAX - looks.len(), now));
            for look in due {
                let proxy = Arc::clone(self);
                looks.spawn(async move { proxy.look(&look).await });
            }
        }
    }

    /// Asks the SFU for the state of a session, and takes the answer or its absence.
    async fn look(&self, look: &Look) {
        let returned = self.upstream.call(&look.id, SfuCall::Get, ForwardedRequest::default()).await;
        let state = returned.as_ref().ok().and_then(SfuResponse::answered);
        self.with(|sessions, now| match (&returned, state) {
            (Ok(returned), _) if is_gone(returned.status) => sessions.remove(&look.id),
            (Ok(_), Some(state)) => sessions.looked(look, &state, now),
            _ => sessions.look_failed(&look.id, now),
        });
    }

    /// Closes the tracks of the sessions that may take nothing more, as the ledger says. `closed_at`: when this last closed something.
    /// Until [`CLOSE_INTERVAL`] has passed since then, this does nothing.
    async fn close_spent(&self, closed_at: &mut Option<Instant>) {
        let now = self.service.clock.instant();
        if closed_at.is_some_and(|at| now.saturating_duration_since(at) < CLOSE_INTERVAL) {
            return;
        }
        let names = self.service.broker.to_close();
        let ids = names.iter().filter_map(|name| SessionId::new(name));
        let closing = self.with(|sessions, _| sessions.closable(ids));
        if closing.is_empty() {
            return;
        }
        *closed_at = Some(now);
        let sessions = closing.len();
        tracing::warn!(
            sessions,
            "the budget, a user's limit or the operator ends sessions of the SFU: they are closed by force"
        );
        self.close_all(closing).await;
    }

    /// Closes these tracks and data channels. Returns when the SFU has answered all calls, or not in time.
    async fn close_all(&self, sessions: Vec<(SessionId, Vec<TrackId>)>) {
        let close = async |(id, ids): (SessionId, Vec<TrackId>)| {
            for (call, body) in request::closing(&ids) {
                self.close(&id, call, &body).await;
            }
        };
        stream::iter(sessions).for_each_concurrent(AT_ONCE_MAX, close).await;
    }

    /// Makes one call that closes something. If the SFU has accepted it, a look is due, which shows what is closed.
    async fn close(&self, id: &SessionId, call: SfuCall, body: &Value) {
        let passed = ForwardedRequest::json(body);
        let Ok(returned) = self.upstream.call(id, call, passed).await else { return };
        if is_gone(returned.status) {
            self.with(|sessions, _| sessions.remove(id));
        } else if returned.answered().is_some() {
            self.with(|sessions, now| sessions.look_now(id, now));
        } else {
            let status = returned.status.as_u16();
            tracing::warn!(status, "the SFU did not close the tracks of a session");
        }
    }
}
