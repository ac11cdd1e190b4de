//! How large the tables may grow, and to whom the bytes of a grant are attributed. Tests: `src/books/spending/tests`.

use std::net::IpAddr;

use super::GrantRow;
use crate::clients::ClientTerms;
use crate::prelude::*;
use crate::spending::{KeptAddresses, Keys, Limited, SpenderKey, SpenderTerms, Spent, Sums};

/// The default of [`Bounds::rows_at_once`]. A step is short, so that no caller waits long for the lock.
const ROWS_AT_ONCE: usize = 250;

/// How large the tables may grow, and what one client may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most open connections. About 400 bytes each; real deployments have a few thousand.
    pub connections: usize,
    /// Most live grants. About 300 bytes each. When there are so many, no metered credential is issued.
    pub grants: usize,
    /// What one client and one user may claim and reserve.
    pub client: ClientTerms,
    /// How bytes are attributed to spenders.
    pub spenders: SpenderTerms,
    /// The most rows that one step of a long change takes.
    pub rows_at_once: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        let (client, spenders) = (ClientTerms::default(), SpenderTerms::default());
        Self { connections: 200_000, grants: 2_000_000, client, spenders, rows_at_once: ROWS_AT_ONCE }
    }
}

/// How many grants there may be, and how their bytes are attributed to spenders.
#[derive(Clone, Debug, Default)]
pub struct GrantTerms {
    /// Limits and bounds.
    pub bounds: Bounds,
    /// Bytes that each server key with a limit may use in a period.
    pub server_limits: BTreeMap<Label, ByteCount>,
    /// Whether the budget is strict. Then the limit of a user or server key counts also what its grants may still relay.
    pub is_strict: bool,
    /// Whether sessions of the SFU are watched, because the SFU is in the settings.
    pub watches_sfu: bool,
    /// The groups whose counts by grant are read.
    pub counted: Vec<CountOwner>,
    /// The margin of error of each source's count, in percent.
    pub sampling: Vec<(IceSource, u32)>,
    /// The most bytes that one grant is assumed to relay in a minute, unless the grants of its source have shown a higher rate.
    pub per_minute: u64,
}

impl GrantTerms {
    /// The margin of error of a source's count, in percent.
    pub(super) fn sampling(&self, source: IceSource) -> u32 {
        self.sampling.iter().find(|(of, _)| *of == source).map_or(0, |(_, percent)| *percent)
    }

    /// Whether each user has a limit.
    pub(super) fn limits_users(&self) -> bool {
        self.bounds.spenders.user_limit.is_some()
    }

    /// The limit of a user or a server key; `None` without one.
    pub(crate) fn limit_of(&self, of: &Limited) -> Option<ByteCount> {
        match of {
            Limited::User(_) => self.bounds.spenders.user_limit,
            Limited::Server(name) => self.server_limits.get(name).copied(),
        }
    }

    /// Whether a user or a server key has a sum: users only if they have a limit, server keys always, because they are few.
    pub(crate) fn has_sum(&self, of: &Limited) -> bool {
        matches!(of, Limited::Server(_)) || self.limits_users()
    }

    /// Whether what is promised to a user or a server key is limited. In strict mode that is so for each server key.
    pub(super) fn limits_promises_of(&self, of: &Limited) -> bool {
        self.limit_of(of).is_some() || self.is_strict && matches!(of, Limited::Server(_))
    }

    /// Whether promises count against limits of users or server keys.
    pub(crate) fn counts_promises(&self) -> bool {
        self.is_strict && (self.limits_users() || !self.server_limits.is_empty())
    }

    /// For each kind of spender, who spends what a grant relays.
    pub(super) fn keys(&self, row: &GrantRow) -> Keys {
        SpenderKind::ALL.map(|kind| self.key(row, kind))
    }

    /// The spender of this kind who spends what a grant relays.
    pub(crate) fn key(&self, row: &GrantRow, kind: SpenderKind) -> Option<SpenderKey> {
        if kind == SpenderKind::Address {
            return self.address(row);
        }
        key_of(row.spender.as_deref()?, kind)
    }

    /// Whether a grant is one of this spender. The key of a client (a prefix) also matches grants of which the whole address is kept. A
    /// whole address also matches grants of which only its prefix is kept. Without kept addresses, neither matches any grant.
    pub(crate) fn is_of(&self, row: &GrantRow, key: &SpenderKey) -> bool {
        match key {
            SpenderKey::Client(client) => self.address(row).is_some() && row.client == Some(*client),
            SpenderKey::Address(address) => self
                .address(row)
                .is_some_and(|of| of == *key || of == SpenderKey::Client(ClientKey::of(*address))),
            _ => self.key(row, key.kind()).as_ref() == Some(key),
        }
    }

    /// What is promised for a grant in time that nobody counted: from `counted_until` until the grant is over, but not after `end`. Zero if
    /// promises do not count against limits.
    pub(super) fn uncounted(&self, row: &GrantRow, counted_until: Timestamp, end: Timestamp) -> ByteCount {
        if !self.counts_promises() {
            return ByteCount::ZERO;
        }
        let until = row.over_from().min(Minute::of(end));
        row.promised_between(Minute::of(counted_until), until)
    }

    /// What is kept of the address of a grant's client; `None` for nothing.
    pub(crate) fn address(&self, row: &GrantRow) -> Option<SpenderKey> {
        let client = || row.client.map(SpenderKey::Client);
        let whole = || row.extra().address.map(|address| SpenderKey::Address(IpAddr::V6(address)));
        match self.bounds.spenders.addresses {
            KeptAddresses::Full => whole().or_else(client),
            KeptAddresses::Prefix => client(),
            KeptAddresses::None => None,
        }
    }

    /// What a grant adds to sums, if it has spent `spent`.
    pub(crate) fn share(&self, row: &GrantRow, spent: &Spent) -> Sums {
        let settled = spent.settled(self.sampling(row.source));
        let first_and_last_seen = [row.issued_at, row.issued_at.max(spent.seen_at)];
        Sums::of_grant([spent.measured, spent.claimed, settled], first_and_last_seen)
    }
}

/// The key that a spender has of a kind. The kind `Address` is not in a spender: see [`GrantTerms::address`].
pub(crate) fn key_of(spender: &Spender, kind: SpenderKind) -> Option<SpenderKey> {
    let Spender { user, label, origin, call, server, signed_in_until: _ } = spender;
    match kind {
        SpenderKind::User => user.clone().map(SpenderKey::User),
        SpenderKind::Label => label.clone().map(SpenderKey::Label),
        SpenderKind::Origin => origin.clone().map(SpenderKey::Origin),
        SpenderKind::Address => None,
        SpenderKind::Call => call.clone().map(SpenderKey::Call),
        SpenderKind::Key => server.clone().map(SpenderKey::Server),
    }
}
