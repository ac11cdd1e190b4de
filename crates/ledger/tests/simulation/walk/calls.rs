//! Calls of a simulated broker: members join, their sessions report for them, and they leave. The relay ends what relays on a
//! revoked grant and refuses it from then on, so the books release what is promised for it. A crash can undo a revocation. Then the
//! relay accepts the credential again, and its holder goes on. A crash also ends all sessions, but not what is relayed. coturn ends
//! sessions too, and accepts the credential again at once.

use super::prelude::*;

const RELAY: IceSource = IceSource::Relay;

impl<D: Disk> Broker<D> {
    pub(super) fn join_call(&mut self, life: u64, world: &mut World) {
        let before = self.grants.len();
        self.mint_for_client(life, 0, world);
        if let Some(Held { grant, .. }) = self.grants.get(before).copied()
            && let Some(member) = self.books.member_with(grant.id)
        {
            self.open(member, "s", None);
            self.members.insert(grant.id);
        }
    }

    /// The connection of a grant on which nothing can be relayed any more is closed.
    pub(super) fn keep_calls(&mut self) {
        let next = self.books.now().plus(self.books.connections().rules.heartbeat);
        for grant in self.members.clone() {
            let Some(member) = self.books.member_with(grant) else { continue };
            let until = self.books.grants().get(grant).and_then(GrantRow::alive_until);
            if until.is_none_or(|until| until.start() < next) {
                self.close(member, "s");
            } else if !self.beat(member, "s", Report::default()) {
                self.open(member, "s", None);
            }
        }
    }

    pub(super) fn leave_call(&mut self, nth: u64) {
        let Some(Held { grant, .. }) = self.held(nth) else { return };
        if let Some(member) = self.books.member_with(grant.id) {
            self.close(member, "s");
        }
        self.members.remove(&grant.id);
        for grant in self.books.grants().with_renewals(grant.id).collect::<Vec<_>>() {
            if self.books.revoke_and_ask(grant).is_some() {
                self.check_revoked(grant);
            }
        }
    }

    /// What the relay does each second: it counts, ends what relays on revoked grants, and says which of them are gone.
    pub(super) fn look_at_relay(&mut self, is_slow: bool, world: &mut World) {
        if !self.settings.sources.contains(&RELAY) {
            return;
        }
        self.read_relay(world);
        let is_late = |id: GrantId| is_slow && !id.as_bytes()[7].is_multiple_of(2);
        let ended: Vec<_> = self.grants.iter().filter(|held| self.is_over(held)).copied().collect();
        for held in ended.iter().filter(|held| !is_late(held.grant.id)) {
            if world.end(RELAY, held.number, self.rest_of(held)) {
                self.cut_off.push(*held);
            }
        }
        let late: BTreeSet<_> = ended.iter().map(|held| held.grant.id).filter(|id| is_late(*id)).collect();
        self.release_gone(&late);
    }

    fn is_over(&self, held: &Held) -> bool {
        held.grant.source == RELAY && self.books.grants().is_revoked(held.grant.id)
    }

    /// Until when the holder of a revoked credential may relay with another one of the same call.
    fn rest_of(&self, held: &Held) -> Option<(u64, u64)> {
        let others = self.grants.iter().filter(|other| other.number == held.number && !self.is_over(other));
        others.map(|other| (other.expires, other.end)).max_by_key(|(_, end)| *end)
    }

    /// The relay of a new process knows only the revocations that are on disk.
    pub(super) fn admit_again(&mut self, world: &mut World) {
        if !self.settings.sources.contains(&RELAY) {
            return;
        }
        for held in std::mem::take(&mut self.cut_off) {
            if self.is_over(&held) {
                self.cut_off.push(held);
            } else if held.end > world.now {
                let client = Relaying { tail: 0, ..self.settings.client(RELAY, held.number) };
                let assumed = self.settings.assumed(RELAY);
                let again = world.hand_out(RELAY, held.grant.id, held.expires, client, assumed);
                let number = world.join(RELAY, held.number, again);
                for of_call in self.grants.iter_mut().filter(|other| other.number == held.number) {
                    of_call.number = number;
                }
            }
        }
    }
}
