//! The running calls of all protocols except the SFU's, behind one lock. Each event of a call changes the ledger at once and in order.
//! `src/mint/ending.rs` later asks the sources to end the credentials that an event has revoked.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use turn_ledger::GrantId;
use turn_signaling::calls::{Call, CallAction, CallEvent, CallName, Calls};

use crate::account::Account;
use turn_base::clock::Clock;

/// The running calls.
#[derive(Debug)]
pub struct LiveCalls {
    calls: Mutex<Calls>,
    account: Arc<Account>,
    clock: Arc<dyn Clock>,
}

impl LiveCalls {
    /// No calls.
    pub fn new(account: Arc<Account>, clock: Arc<dyn Clock>) -> Self {
        Self { calls: Mutex::default(), account, clock }
    }

    /// Handles an event of a call.
    pub fn take(&self, event: CallEvent) {
        let mut calls = self.calls.lock();
        for action in calls.step(event, self.clock.now()) {
            self.carry_out(action);
        }
    }

    /// Reports to the ledger that the connections of all calls go on. A member that leaves meanwhile waits for the lock, so no
    /// connection is reported after its end.
    pub fn keep_alive(&self) {
        let calls = self.calls.lock();
        for action in calls.connections() {
            self.carry_out(action);
        }
    }

    /// The grants of members who are not alone in their call.
    pub fn grants(&self) -> Vec<GrantId> {
        let calls = self.calls.lock();
        let not_alone = calls.iter().map(|(_, call)| &call.members).filter(|members| members.len() > 1);
        not_alone.flat_map(|members| members.values()).filter_map(|member| member.grant).collect()
    }

    /// Revokes the grants of everybody in a call, with their renewals. Returns how many credentials that has revoked.
    pub fn cut(&self, call: &CallName) -> usize {
        let calls = self.calls.lock();
        let of_call = calls.iter().filter(|(name, _)| *name == call);
        let grants = of_call.flat_map(|(_, call)| call.members.values()).filter_map(|member| member.grant);
        grants.map(|grant| self.account.cut(grant)).sum()
    }

    /// All calls.
    pub fn list(&self) -> BTreeMap<CallName, Call> {
        let calls = self.calls.lock();
        calls.iter().map(|(name, call)| (name.clone(), call.clone())).collect()
    }

    /// The calls in rooms of this name, with the number of their members.
    pub fn in_room(&self, room: &str) -> Vec<(CallName, usize)> {
        let calls = self.calls.lock();
        let of_room = calls.iter().filter(|(name, _)| &*name.room == room);
        of_room.map(|(name, call)| (name.clone(), call.members.len())).collect()
    }

    fn carry_out(&self, action: CallAction) {
        match action {
            CallAction::Open(member, grant) => self.account.keep_member(grant, &member.0),
            CallAction::Close(member, grant) => self.account.close_member(grant, &member.0),
            CallAction::Cut(grant) => {
                self.account.cut(grant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use turn_signaling::calls::{MediaAfter, MemberId, ProtocolName};

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
            let calls = LiveCalls::new(Arc::clone(&account), clock);
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
        assert!(world.open().is_empty() && world.revoked().is_empty());
    }

    #[tokio::test]
    async fn a_member_that_leaves_loses_its_renewals_too() {
        let world = World::new();
        let first = world.join("r", 1).await;
        let second = testing::renew(&world.account, Some(first), 2).await;
        let third = testing::renew(&world.account, Some(second), 3).await;
        world.leave("r", 1, MediaAfter::Ends);
        let revoked = BTreeSet::from_iter(world.revoked());
        assert_eq!(revoked, BTreeSet::from([first, second, third]));
    }
}
