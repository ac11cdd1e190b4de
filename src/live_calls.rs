//! The calls of all protocols behind one lock. Each event of a call changes the ledger at once and in order. What takes time is
//! queued: a revocation is written to disk, and its source is asked to end the credential.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use turn_ledger::{GrantId, GrantRow};
use turn_signaling::call::{CallEvent, CallName};
use turn_signaling::calls::{Call, CallAction, Calls};

use crate::account::Account;
use crate::telemetry::metrics::Metrics;
use turn_base::clock::Clock;

/// The most revocations that wait for their source. More than all sockets together can cause at once.
pub const CUTS_QUEUED_MAX: usize = 8_192;

/// The running calls.
#[derive(Debug)]
pub struct LiveCalls {
    state: Mutex<CallsState>,
    has_cuts: Notify,
    account: Arc<Account>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct CallsState {
    calls: Calls,
    /// Revoked grants whose source has not been asked yet.
    cuts: VecDeque<(GrantId, GrantRow)>,
}

impl LiveCalls {
    /// No calls.
    pub fn new(account: Arc<Account>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { state: Mutex::default(), has_cuts: Notify::new(), account, clock, metrics }
    }

    /// Handles an event of a call.
    pub fn take(&self, event: CallEvent) {
        let mut state = self.state.lock();
        for action in state.calls.step(event, self.clock.now()) {
            self.carry_out(&mut state, action);
        }
    }

    /// Reports to the ledger that the connections of all calls go on. A member that leaves meanwhile waits for the lock, so no
    /// connection is reported after its end.
    pub fn keep_alive(&self) {
        let mut state = self.state.lock();
        for action in state.calls.connections().collect::<Vec<_>>() {
            self.carry_out(&mut state, action);
        }
    }

    /// The grants of members who are not alone in their call.
    pub fn grants(&self) -> Vec<GrantId> {
        let state = self.state.lock();
        let calls = state.calls.iter().map(|(_, call)| &call.members).filter(|members| members.len() > 1);
        calls.flat_map(|members| members.values()).filter_map(|member| member.grant).collect()
    }

    /// Revokes the grants of everybody in a call. Returns how many were revoked.
    pub fn cut(&self, call: &CallName) -> usize {
        let mut state = self.state.lock();
        let of_call = state.calls.iter().filter(|(name, _)| *name == call);
        let grants: Vec<_> =
            of_call.flat_map(|(_, call)| call.members.values()).filter_map(|it| it.grant).collect();
        grants.into_iter().map(|grant| self.revoke(&mut state, grant)).sum()
    }

    /// The first `limit` calls in the order of their names, and the number of all.
    pub fn list(&self, limit: usize) -> (Vec<(CallName, Call)>, usize) {
        let state = self.state.lock();
        let call = |(name, call): (&CallName, &Call)| (name.clone(), call.clone());
        (state.calls.iter().take(limit).map(call).collect(), state.calls.iter().count())
    }

    /// The calls in rooms of this name, with the number of their members.
    pub fn in_room(&self, room: &str) -> Vec<(CallName, usize)> {
        let state = self.state.lock();
        let of_room = state.calls.iter().filter(|(name, _)| &*name.room == room);
        of_room.map(|(name, call)| (name.clone(), call.members.len())).collect()
    }

    /// The next revoked grants whose source has not been asked, at most `most`, as soon as there is one.
    pub async fn next_cuts(&self, most: usize) -> Vec<(GrantId, GrantRow)> {
        loop {
            let cuts = self.take_cuts(most);
            if !cuts.is_empty() {
                return cuts;
            }
            self.has_cuts.notified().await;
        }
    }

    /// The same, without waiting.
    pub fn take_cuts(&self, most: usize) -> Vec<(GrantId, GrantRow)> {
        let mut state = self.state.lock();
        let most = most.min(state.cuts.len());
        state.cuts.drain(..most).collect()
    }

    fn carry_out(&self, state: &mut CallsState, action: CallAction) {
        match action {
            CallAction::Open(member, grant) => self.account.keep_member(grant, &member.0),
            CallAction::Close(member, grant) => self.account.close_member(grant, &member.0),
            CallAction::Cut(grant) => {
                self.revoke(state, grant);
            }
        }
    }

    /// Revokes a grant with its renewals. Returns how many were not revoked before.
    fn revoke(&self, state: &mut CallsState, grant: GrantId) -> usize {
        let revoked = self.account.cut(grant);
        let count = revoked.len();
        for cut in revoked {
            if state.cuts.len() < CUTS_QUEUED_MAX {
                state.cuts.push_back(cut);
                self.has_cuts.notify_one();
            } else {
                // The ledger has the revocation, and the credential expires.
                self.metrics.signaling_limited.count(["not_asked"]);
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use turn_signaling::call::{MediaAfter, MemberId, ProtocolName};

    use super::*;
    use crate::account::testing;
    use turn_base::clock::SystemClock;

    struct World {
        account: Arc<Account>,
        calls: LiveCalls,
    }

    impl World {
        fn new() -> Self {
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let account = testing::account(Arc::clone(&clock));
            let calls = LiveCalls::new(Arc::clone(&account), clock, Arc::new(Metrics::default()));
            Self { account, calls }
        }

        /// A member joins the room with a new grant.
        async fn join(&self, room: &str, id: u8) -> GrantId {
            let grant = testing::mint(&self.account, id).await;
            let (call, member) = (call(room), member(id));
            self.calls.take(CallEvent::Joined { call, member, user: None, grant: Some(grant) });
            grant
        }

        fn leave(&self, room: &str, id: u8, media: MediaAfter) {
            self.calls.take(CallEvent::Left { call: call(room), member: member(id), media });
        }

        /// The names of the open connections.
        fn open(&self) -> Vec<String> {
            self.account
                .read(|books| books.connections().iter().map(|open| open.name.id().to_owned()).collect())
        }

        fn revoked(&self) -> Vec<GrantId> {
            self.account.read(|books| books.grants().revoked().map(|revoked| revoked.grant).collect())
        }
    }

    fn call(room: &str) -> CallName {
        CallName { protocol: ProtocolName::Ayame, room: room.into() }
    }

    fn member(id: u8) -> MemberId {
        MemberId(id.to_string().into())
    }

    #[tokio::test]
    async fn a_member_that_the_ledger_does_not_know_makes_no_difference() {
        let world = World::new();
        let unknown = Some(GrantId::new([9; 16]));
        for (id, grant) in [(1, unknown), (2, None)] {
            let (call, member) = (call("r"), member(id));
            world.calls.take(CallEvent::Joined { call, member, user: None, grant });
        }
        world.calls.take(CallEvent::Connected { call: call("r") });
        assert_eq!(world.calls.in_room("r"), [(call("r"), 2)]);
        world.leave("r", 1, MediaAfter::Ends);
        world.leave("r", 2, MediaAfter::Ends);
        assert!(world.open().is_empty() && world.calls.take_cuts(10).is_empty());
    }

    #[tokio::test]
    async fn a_member_that_leaves_loses_its_renewals_too() {
        let world = World::new();
        let first = world.join("r", 1).await;
        let second = testing::renew(&world.account, Some(first), 2).await;
        let third = testing::renew(&world.account, Some(second), 3).await;
        world.leave("r", 1, MediaAfter::Ends);
        let asked: Vec<_> = world.calls.take_cuts(10).into_iter().map(|(grant, _)| grant).collect();
        assert_eq!(asked, [first, second, third]);
        assert_eq!(world.revoked().len(), 3);
    }

    #[tokio::test]
    async fn the_queue_of_revocations_is_bounded_and_the_ledger_has_all_of_them() {
        let world = World::new();
        let row = {
            world.join("r", 1).await;
            world.calls.cut(&call("r"));
            world.calls.take_cuts(1).remove(0)
        };
        world.calls.state.lock().cuts = vec![row; CUTS_QUEUED_MAX - 1].into();
        for id in [2, 3] {
            world.join("s", id).await;
            world.leave("s", id, MediaAfter::Ends);
        }
        assert_eq!(world.calls.take_cuts(usize::MAX).len(), CUTS_QUEUED_MAX);
        assert_eq!(world.revoked().len(), 3);
    }
}
