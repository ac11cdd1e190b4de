//! What the claims of clients may still be charged. A grant, an address and a /48 of addresses may each claim a rate times the time in
//! which one of their connections was open, of which the last ten minutes are saved. A claim must fit into all of them.

use turn_ledger::{ClientKey, GrantId};

use super::Facts;
use super::claims::Rules;

/// Bytes in a millisecond that one grant may claim, and one address.
const GRANT_RATE: u64 = 12_500;
const CLIENT_RATE: u64 = 6_250;
/// A /48 may claim as much as so many addresses.
const GROUP_FACTOR: u64 = 4;
/// The time that is saved, in milliseconds, unless three heartbeats take longer.
const SAVED: u64 = 600_000;

/// Connections that share what they may claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Grant(GrantId),
    Client(ClientKey),
}

/// What a group may still claim.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Saved {
    at: i64,
    bytes: u64,
}

impl Rules {
    fn rate_of(&self, group: Group, is_frozen: bool) -> u64 {
        let rate = match group {
            Group::Grant(_) if is_frozen => self.assumed,
            Group::Grant(_) => GRANT_RATE,
            Group::Client(ClientKey::V6Group(_)) => GROUP_FACTOR * CLIENT_RATE,
            Group::Client(_) => CLIENT_RATE,
        };
        rate.max(self.rate)
    }
}

/// An address, and the /48 that it lies in.
pub(in super::super) fn keys_of(client: ClientKey) -> Vec<ClientKey> {
    match client {
        ClientKey::V6(mut prefix) => {
            prefix[6..].fill(0);
            vec![client, ClientKey::V6Group(prefix)]
        }
        ClientKey::V4(_) | ClientKey::V6Group(_) => vec![client],
    }
}

impl Facts {
    /// The groups that a connection of this grant belongs to.
    fn groups(&self, grant: Option<GrantId>) -> Vec<Group> {
        let Some(known) = grant.and_then(|id| self.grants.iter().rev().find(|known| known.id == id)) else {
            return vec![];
        };
        let clients = known.client.map(keys_of).unwrap_or_default();
        std::iter::once(Group::Grant(known.id)).chain(clients.into_iter().map(Group::Client)).collect()
    }

    /// How many connections of a group are open, and how many of them are charged by time now.
    fn open_in(&self, group: Group) -> (u64, u64) {
        let theirs = || self.connections.iter().filter(|it| self.groups(it.grant()).contains(&group));
        let count = |open: usize| u64::try_from(open).unwrap_or(0);
        (count(theirs().count()), count(theirs().filter(|it| it.is_running()).count()))
    }

    /// Moves what a connection of this grant may claim to this time.
    pub(super) fn grow(&mut self, grant: Option<GrantId>, now: i64, rules: &Rules) {
        for group in self.groups(grant) {
            self.grow_one(group, now, rules);
        }
    }

    fn grow_one(&mut self, group: Group, now: i64, rules: &Rules) {
        let (rate, (open, clocks)) = (rules.rate_of(group, self.is_frozen), self.open_in(group));
        let most = rate * SAVED.max(3 * rules.heartbeat.unsigned_abs());
        let saved = self.saved.entry(group).or_default();
        let millis = u64::try_from(now - saved.at).unwrap_or(0);
        let (gained, lost) = (rate * millis, clocks * rules.rate * millis);
        saved.at = saved.at.max(now);
        saved.bytes = saved.bytes.min(most);
        if open > 0 {
            let more = gained.saturating_sub(lost);
            saved.bytes = (saved.bytes + more).min(most).saturating_sub(lost.saturating_sub(gained));
        }
    }

    /// A grant without an address is that of this client: from now on its connections claim with all of the address.
    pub(super) fn note_client(&mut self, id: GrantId, client: ClientKey, now: i64, rules: &Rules) {
        let is_it = |known: &&mut super::Known| known.id == id && known.is_live && known.client.is_none();
        if self.grants.iter_mut().rev().find(is_it).is_none() {
            return;
        }
        for group in keys_of(client).into_iter().map(Group::Client) {
            self.grow_one(group, now, rules);
        }
        if let Some(known) = self.grants.iter_mut().rev().find(is_it) {
            known.client = Some(client);
        }
    }

    /// Takes as many units of this price as all groups have left.
    pub(super) fn take(&mut self, grant: Option<GrantId>, wanted: u64, price: u64) -> u64 {
        let groups = self.groups(grant);
        let left = |group: &Group| self.saved.get(group).map_or(0, |saved| saved.bytes / price);
        let taken = groups.iter().map(left).min().unwrap_or(u64::MAX).min(wanted);
        for group in groups {
            if let Some(saved) = self.saved.get_mut(&group) {
                saved.bytes -= taken * price;
            }
        }
        taken
    }

    /// Bytes of time are given back, because it is charged in another way.
    pub(super) fn give_back(&mut self, grant: Option<GrantId>, bytes: u64) {
        for group in self.groups(grant) {
            self.saved.entry(group).or_default().bytes += bytes;
        }
    }

    /// Whether so many more connections of this grant may be charged by time.
    pub(super) fn has_rate_for(&self, grant: Option<GrantId>, more: u64, rules: &Rules) -> bool {
        self.groups(grant).iter().all(|group| {
            rules.rate * (self.open_in(*group).1 + more) <= rules.rate_of(*group, self.is_frozen)
        })
    }

    /// The last connection of a group has ended, for which nothing counts after `until`.
    pub(super) fn end_saving(&mut self, grant: Option<GrantId>, until: i64, rules: &Rules) {
        for group in self.groups(grant) {
            if self.open_in(group).0 == 0
                && let Some(saved) = self.saved.get_mut(&group)
            {
                let millis = u64::try_from(saved.at - until).unwrap_or(0);
                let rate = rules.rate_of(group, self.is_frozen);
                saved.bytes = saved.bytes.saturating_sub(rate * millis);
                // What an address has saved without a connection is dropped when it reserves nothing either.
                self.is_rough |= rules.is_strict && matches!(group, Group::Client(_));
            }
        }
    }

    /// A grant of an address has ended: what the address has saved without a connection is dropped.
    pub(super) fn forget_saved(&mut self, client: ClientKey) {
        for group in keys_of(client).into_iter().map(Group::Client) {
            if self.open_in(group).0 == 0 {
                self.saved.remove(&group);
            }
        }
    }

    /// All that was saved with grants is dropped, and if minting is stopped, also by addresses with a connection.
    pub(super) fn drop_saved(&mut self, now: i64) {
        let open: Vec<_> = self.connections.iter().flat_map(|it| self.groups(it.grant())).collect();
        for (group, saved) in &mut self.saved {
            if matches!(group, Group::Grant(_)) || (self.is_frozen && open.contains(group)) {
                *saved = Saved { at: saved.at.max(now), bytes: 0 };
            }
        }
    }

    /// Nothing that was saved is stored.
    pub(super) fn lose_saved(&mut self, now: i64) {
        let open = self.connections.iter().flat_map(|it| self.groups(it.grant()));
        self.saved = open.map(|group| (group, Saved { at: now, bytes: 0 })).collect();
    }
}
