//! The keys of the sums: who spends, as a user, a label, an origin, an address, a call or a server key. Tests: below.

use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;

use super::Sums;
use crate::prelude::*;

/// The name of the lists whose rows are single grants.
pub const GRANT: &str = "grant";

/// The names of all lists of who spends: one for each kind, and that of single grants. HTTP, commands, dashboard and documents use them.
pub fn spender_lists() -> [&'static str; SpenderKind::ALL.len() + 1] {
    std::array::from_fn(|at| SpenderKind::ALL.get(at).map_or(GRANT, |kind| kind.name()))
}

/// A key for each kind, in the order of [`SpenderKind::ALL`].
pub(crate) type Keys = [Option<SpenderKey>; SpenderKind::ALL.len()];

/// Who spends. Its kind and its text identify a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpenderKey {
    /// A user.
    User(User),
    /// A label.
    Label(Label),
    /// An origin.
    Origin(Arc<str>),
    /// An IPv4 address or an IPv6 prefix.
    Client(ClientKey),
    /// A whole IPv6 address.
    Address(IpAddr),
    /// A call.
    Call(Call),
    /// The name of a server key.
    Server(Label),
}

impl SpenderKey {
    /// Its kind.
    pub const fn kind(&self) -> SpenderKind {
        match self {
            Self::User(_) => SpenderKind::User,
            Self::Label(_) => SpenderKind::Label,
            Self::Origin(_) => SpenderKind::Origin,
            Self::Client(_) | Self::Address(_) => SpenderKind::Address,
            Self::Call(_) => SpenderKind::Call,
            Self::Server(_) => SpenderKind::Key,
        }
    }

    /// The key of the client, for an address; else the same key.
    #[must_use]
    pub fn of_client(&self) -> Self {
        match self {
            Self::Address(address) => Self::Client(ClientKey::of(*address)),
            _ => self.clone(),
        }
    }

    /// The key with this text; `None` if the text is not one of that kind.
    pub fn parse(kind: SpenderKind, text: &str) -> Option<Self> {
        match kind {
            SpenderKind::User => User::parse(text).map(Self::User),
            SpenderKind::Label => Label::new(text).map(Self::Label),
            SpenderKind::Origin => (1..=ORIGIN_MAX).contains(&text.len()).then(|| Self::Origin(text.into())),
            SpenderKind::Address => match text.parse::<ClientKey>() {
                Ok(client) => Some(Self::Client(client)),
                Err(_) => text.parse().ok().map(Self::Address),
            },
            SpenderKind::Call => Call::new(text).map(Self::Call),
            SpenderKind::Key => Label::new(text).map(Self::Server),
        }
    }
}

impl fmt::Display for SpenderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => f.write_str(user.as_str()),
            Self::Label(label) => f.write_str(label.as_str()),
            Self::Origin(origin) => f.write_str(origin),
            Self::Client(client) => client.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Call(call) => f.write_str(call.as_str()),
            Self::Server(name) => f.write_str(name.as_str()),
        }
    }
}

// The rows in the order in which an operator reads them: most bytes first, in pages. Tests: `src/books/spending/tests/listing.rs`.

/// One row, as an operator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpenderSums {
    /// Who; `None` for the rest, which has no key.
    pub key: Option<SpenderKey>,
    /// The sums of this period, or of the last minutes.
    pub sums: Sums,
    /// Live grants.
    pub live: u64,
    /// How many of them were not revoked.
    pub usable: u64,
}

/// A place in the order: rows with more bytes come first. Of rows with the same bytes, the rest comes first, then the others by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bytes of the row at this place.
    pub bytes: ByteCount,
    /// Its key.
    pub key: Option<SpenderKey>,
}

impl SpenderSums {
    /// Adds the sums of another row, of the same spender.
    pub(crate) fn join(&mut self, other: &Self) {
        self.sums.add(&other.sums);
        self.live = self.live.saturating_add(other.live);
        self.usable = self.usable.saturating_add(other.usable);
    }

    /// Its place in the order.
    pub fn place(&self) -> Place {
        Place { bytes: self.sums.bytes(), key: self.key.clone() }
    }

    /// What rows are sorted by: see [`Place`].
    pub fn order(&self) -> (Reverse<ByteCount>, &Option<SpenderKey>) {
        (Reverse(self.sums.bytes()), &self.key)
    }

    /// Whether it comes after a place.
    pub fn is_after(&self, place: &Place) -> bool {
        self.order() > (Reverse(place.bytes), &place.key)
    }
}

/// A block of a spender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// When it ends; `None`: with [`crate::Books::allow`].
    pub until: Option<Timestamp>,
    /// When it began; `None` if an earlier version has stored it.
    pub since: Option<Timestamp>,
}

impl Block {
    /// Whether it holds at this instant.
    pub fn is_in_effect(self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_from_its_kind_and_text() {
        let keys = [
            SpenderKey::User(User::new("ann").unwrap()),
            SpenderKey::Label(Label::new("room-1").unwrap()),
            SpenderKey::Origin("https://a.example".into()),
            SpenderKey::Client("203.0.113.9".parse().unwrap()),
            SpenderKey::Client("2001:db8:1:2::/64".parse().unwrap()),
            SpenderKey::Address("2001:db8::1".parse().unwrap()),
            SpenderKey::Call(Call::of("ayame", "room-1")),
            SpenderKey::Server(Label::new("app").unwrap()),
        ];
        let has = |kind: &SpenderKind| keys.iter().any(|key| key.kind() == *kind);
        assert!(SpenderKind::ALL.iter().all(has));
        for key in keys {
            assert_eq!(SpenderKey::parse(key.kind(), &key.to_string()), Some(key));
        }
        assert_eq!(SpenderKey::parse(SpenderKind::Address, "here"), None);
        assert_eq!(SpenderKey::parse(SpenderKind::User, ""), None);
        for kind in SpenderKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
    }
}
