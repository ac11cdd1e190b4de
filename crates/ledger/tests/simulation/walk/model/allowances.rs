//! What may still be charged for the connections of clients. What a relay carries for a grant in the time in which one of its connections
//! was open limits all of it, and what a reporter vouches for is limited by that only. The rest limits the claims of clients. A grant, an address, a /48 of addresses and a user may each claim a rate times the
//! time in which one of their connections was open, of which the last ten minutes are saved. A claim must fit into all of them. With
//! users an address may claim ten times as much, apart from what it claims without.

use turn_ledger::{ClientKey, GrantId};

use super::Facts;
use super::claims::Rules;

/// Bytes in a millisecond that one grant may claim, and one address.
const GRANT_RATE: u64 = 12_500;
const CLIENT_RATE: u64 = 6_250;
/// A /48 may hold as much as so many addresses.
const GROUP_FACTOR: u64 = 4;
/// All users at an address may hold as much as so many of them.
const USERS_FACTOR: u64 = 10;
/// The time that is saved, in milliseconds, unless three heartbeats take longer.
const SAVED: u64 = 600_000;

/// Connections that share what they may claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Those of a grant, whoever reports.
    Relay(GrantId),
    Grant(GrantId),
    Holder(Holder),
}

/// Who has a share or an allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Holder {
    /// An address or a /48, without users or with them.
    Client(ClientKey, bool),
    User(u64),
}

impl Holder {
    /// Those of a grant with this address and user.
    pub(in super::super) fn of(client: Option<ClientKey>, user: Option<u64>) -> Vec<Self> {
        let addresses = client.map(keys_of).unwrap_or_default().into_iter();
        addresses.map(|key| Self::Client(key, user.is_some())).chain(user.map(Self::User)).collect()
    }

    /// How many times the share of one address it has.
    pub(in super::super) fn factor(self) -> u64 {
        match self {
            Self::Client(key, with_users) => {
                let group = if matches!(key, ClientKey::V6Group(_)) { GROUP_FACTOR } else { 1 };
                group * if with_users { USERS_FACTOR } else { 1 }
            }
            Self::User(_) => 1,
        }
    }
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
            Group::Grant(_) | Group::Relay(_) => GRANT_RATE,
            Group::Holder(holder) => holder.factor() * CLIENT_RATE,
        };
        rate.max(self.rate)
    }
}

/// An address, and the /48 that it lies in.
fn keys_of(client: ClientKey) -> Vec<ClientKey> {
    match client {
        ClientKey::V6(mut prefix) => {
            prefix[6..].fill(0);
            vec![client, ClientKey::V6Group(prefix)]
        }
        ClientKey::V4(_) | ClientKey::V6Group(_) => vec![client],
    }
}

impl super::Known {
    /// Whose shares and allowances it uses.
    pub(super) fn holders(&self) -> Vec<Holder> {
        Holder::of(self.client, self.user)
    }
}

impl Facts {
    /// The groups that a connection of this grant belongs to.
    fn groups(&self, grant: Option<GrantId>) -> Vec<Group> {
        let Some(known) = grant.and_then(|id| self.grants.iter().rev().find(|known| known.id == id)) else {
            return vec![];
        };
        [Group::Relay(known.id), Group::Grant(known.id)]
            .into_iter()
            .chain(known.holders().into_iter().map(Group::Holder))
            .collect()
    }

    /// Those that limit a report of it.
    fn limits(&self, grant: Option<GrantId>, is_vouched: bool) -> Vec<Group> {
        let mut groups = self.groups(grant);
        groups.retain(|group| !is_vouched || matches!(group, Group::Relay(_)));
        groups
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
        let is_limited = !matches!(group, Group::Relay(_));
        let most = if is_limited { rate * SAVED.max(3 * rules.heartbeat.unsigned_abs()) } else { u64::MAX };
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
        let Some(known) = self.grants.iter_mut().rev().find(is_it) else { return };
        for group in Holder::of(Some(client), known.user).into_iter().map(Group::Holder) {
            self.grow_one(group, now, rules);
        }
        if let Some(known) = self.grants.iter_mut().rev().find(is_it) {
            known.client = Some(client);
        }
    }

    /// Takes as many units of this price as all groups have left that limit the report.
    pub(super) fn take(&mut self, grant: Option<GrantId>, is_vouched: bool, wanted: u64, price: u64) -> u64 {
        let groups = self.limits(grant, is_vouched);
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
    pub(super) fn has_rate_for(
        &self,
        grant: Option<GrantId>,
        is_vouched: bool,
        more: u64,
        rules: &Rules,
    ) -> bool {
        self.limits(grant, is_vouched).iter().all(|group| {
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
                self.is_rough |= rules.is_strict && matches!(group, Group::Holder(_));
            }
        }
    }

    /// A grant has ended: what its holder has saved without a connection is dropped.
    pub(super) fn forget_saved(&mut self, holder: Holder) {
        let group = Group::Holder(holder);
        if self.open_in(group).0 == 0 {
            self.saved.remove(&group);
        }
    }

    /// All that clients have saved with grants is dropped, and if minting is stopped, also by addresses with a connection.
    pub(super) fn drop_saved(&mut self, now: i64) {
        let open: Vec<_> = self.connections.iter().flat_map(|it| self.groups(it.grant())).collect();
        for (group, saved) in &mut self.saved {
            let is_dropped = match group {
                Group::Relay(_) => false,
                Group::Grant(_) => true,
                Group::Holder(_) => self.is_frozen && open.contains(group),
            };
            if is_dropped {
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
