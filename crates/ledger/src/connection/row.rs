//! The stored form of a connection: a few dozen bytes. Numbers have variable length, and instants count from the opening.
//! The first byte is the version of the form, so a later version recognizes an older row.

use std::sync::Arc;

use super::by_time::{Clock, ESTIMATES_MAX, Span};
use super::{Connection, Owner};
use crate::source::IceSource;
use crate::spender::{Label, Spender, User};
use crate::token::{GrantId, source_code};
use crate::units::{ByteCount, Timestamp};

/// Without a spender.
const VERSION: u8 = 1;
/// With a spender at the end: user, label and origin, each with its length before it.
const VERSION_WITH_SPENDER: u8 = 2;
const DIRECT: u8 = 1;
const RELAYED: u8 = 2;
const HAS_CLOCK: u8 = 4;
const CLOCK_RUNS: u8 = 8;

impl Owner {
    /// The stored form: the grant's id, or nothing for the reporter.
    #[must_use]
    pub fn to_row(&self) -> &[u8] {
        match self {
            Self::Grant(id) => id.as_bytes(),
            Self::Reporter => &[],
        }
    }

    /// The owner in a stored row.
    #[must_use]
    pub fn from_row(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] => Some(Self::Reporter),
            bytes => bytes.try_into().ok().map(GrantId::new).map(Self::Grant),
        }
    }
}

impl Connection {
    /// The stored form, without the name.
    #[must_use]
    pub fn to_row(&self) -> Vec<u8> {
        let mut row = Writer { bytes: Vec::with_capacity(64), start: self.opened_at };
        let relayed = self.relayed.map_or(0, |relayed| if relayed { RELAYED } else { DIRECT });
        let clock = self.clock.map_or(0, |clock| HAS_CLOCK | if clock.running { CLOCK_RUNS } else { 0 });
        let version = if self.spender.is_some() { VERSION_WITH_SPENDER } else { VERSION };
        row.bytes.extend([version, relayed | clock, source_code(self.source)]);
        row.signed(self.opened_at.as_millis());
        row.at(self.last_seen);
        row.number(self.bytes_sent);
        row.number(self.bytes_received);
        if let Some(clock) = self.clock {
            row.at(clock.since);
            row.at(clock.stops_at);
        }
        row.number(self.estimates.len().try_into().unwrap_or(u64::MAX));
        for estimate in &self.estimates {
            row.at(estimate.from);
            row.at(estimate.to);
        }
        row.number(self.counted);
        row.at(self.counted_until);
        row.number(self.claimed.get());
        row.number(self.settled_millis);
        if let Some(spender) = &self.spender {
            row.text(spender.user.as_ref().map(User::as_str));
            row.text(spender.label.as_ref().map(Label::as_str));
            row.text(spender.origin.as_deref());
        }
        row.bytes
    }

    /// The connection of that name from its stored form; `None` if this is not one.
    #[must_use]
    pub fn from_row(id: &str, owner: Owner, bytes: &[u8]) -> Option<Self> {
        let (&[version, flags, source], rest) = bytes.split_first_chunk()?;
        if !matches!(version, VERSION | VERSION_WITH_SPENDER) {
            return None;
        }
        let source = IceSource::ALL.into_iter().find(|known| source_code(*known) == source)?;
        let relayed = match flags & (DIRECT | RELAYED) {
            0 => None,
            DIRECT => Some(false),
            RELAYED => Some(true),
            _ => return None,
        };
        let mut row = Reader { bytes: rest, start: Timestamp::default() };
        let opened_at = Timestamp::from_millis(row.signed()?);
        row.start = opened_at;
        let last_seen = row.at()?;
        let (bytes_sent, bytes_received) = (row.number()?, row.number()?);
        let clock = if flags & HAS_CLOCK == 0 {
            None
        } else {
            Some(Clock { since: row.at()?, stops_at: row.at()?, running: flags & CLOCK_RUNS != 0 })
        };
        let count = usize::try_from(row.number()?).ok().filter(|count| *count <= ESTIMATES_MAX)?;
        let estimate = |_| Some(Span { from: row.at()?, to: row.at()? });
        let estimates = (0..count).map(estimate).collect::<Option<_>>()?;
        let connection = Self {
            id: Arc::from(id),
            owner,
            source,
            opened_at,
            last_seen,
            relayed,
            bytes_sent,
            bytes_received,
            clock,
            estimates,
            counted: row.number()?,
            counted_until: row.at()?,
            claimed: ByteCount::new(row.number()?),
            settled_millis: row.number()?,
            spender: None,
        };
        if version == VERSION_WITH_SPENDER {
            let (user, label, origin) = (row.text()?, row.text()?, row.text()?);
            let spender = Spender {
                user: if user.is_empty() { None } else { Some(User::new(user)?) },
                label: if label.is_empty() { None } else { Some(Label::new(label)?) },
                origin: (!origin.is_empty()).then(|| origin.into()),
                // Only a grant belongs to a call.
                call: None,
            };
            let connection = Self { spender: Some(Arc::new(spender)), ..connection };
            return row.bytes.is_empty().then_some(connection);
        }
        row.bytes.is_empty().then_some(connection)
    }
}

struct Writer {
    bytes: Vec<u8>,
    /// Instants count from here.
    start: Timestamp,
}

impl Writer {
    /// Seven bits in each byte, the lowest first. The highest bit says that more follow.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
            number >>= 7;
        }
        self.bytes.push(u8::try_from(number).unwrap_or_default());
    }

    /// The sign is the lowest bit.
    fn signed(&mut self, number: i64) {
        self.number((number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
    }

    /// Nothing is stored as an empty text.
    fn text(&mut self, text: Option<&str>) {
        let text = text.unwrap_or_default();
        self.number(text.len().try_into().unwrap_or(u64::MAX));
        self.bytes.extend(text.as_bytes());
    }

    fn at(&mut self, at: Timestamp) {
        self.signed(at.as_millis().wrapping_sub(self.start.as_millis()));
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    start: Timestamp,
}

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            let part = u64::from(byte & 0x7f);
            number |= part.checked_shl(shift).filter(|shifted| shifted >> shift == part)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ (number & 1).cast_signed().wrapping_neg())
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        std::str::from_utf8(text).ok()
    }

    fn at(&mut self) -> Option<Timestamp> {
        Some(Timestamp::from_millis(self.start.as_millis().wrapping_add(self.signed()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span() -> impl Strategy<Value = Span> {
        (any::<i64>(), any::<i64>()).prop_map(|(from, to)| Span {
            from: Timestamp::from_millis(from),
            to: Timestamp::from_millis(to),
        })
    }

    prop_compose! {
        fn connection()(
            times in any::<[i64; 3]>(), numbers in any::<[u64; 5]>(), relayed: Option<bool>,
            clock in prop::option::of((span(), any::<bool>())), is_reported: bool, is_named: bool,
            estimates in prop::collection::vec(span(), 0..=ESTIMATES_MAX), source in 0usize..5,
        ) -> Connection {
            let [opened_at, last_seen, counted_until] = times.map(Timestamp::from_millis);
            let [bytes_sent, bytes_received, counted, claimed, settled_millis] = numbers;
            Connection {
                id: "call-42".into(),
                owner: if is_reported { Owner::Reporter } else { Owner::Grant(GrantId::new([7; 16])) },
                source: IceSource::ALL[source],
                opened_at,
                last_seen,
                relayed,
                bytes_sent,
                bytes_received,
                clock: clock.map(|(span, running)| Clock { since: span.from, stops_at: span.to, running }),
                estimates,
                counted,
                counted_until,
                claimed: ByteCount::new(claimed),
                settled_millis,
                spender: is_named.then(|| Arc::new(Spender { label: Label::new("room-1"), ..Spender::default() })),
            }
        }
    }

    proptest! {
        #[test]
        fn a_connection_is_read_back_from_its_row(connection in connection()) {
            let owner = Owner::from_row(connection.owner.to_row()).unwrap();
            prop_assert_eq!(Connection::from_row("call-42", owner, &connection.to_row()), Some(connection));
        }

        #[test]
        fn a_row_that_was_cut_off_or_continued_is_refused(connection in connection(), at: prop::sample::Index) {
            let row = connection.to_row();
            prop_assert_eq!(Connection::from_row("call-42", connection.owner, &row[..at.index(row.len())]), None);
            let longer = [&row[..], &[0]].concat();
            prop_assert_eq!(Connection::from_row("call-42", connection.owner, &longer), None);
        }

        #[test]
        fn other_bytes_cause_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Connection::from_row("c", Owner::Reporter, &bytes);
            bytes.splice(0..0, [VERSION, HAS_CLOCK, 1]);
            let _ = Connection::from_row("c", Owner::Reporter, &bytes);
            let _ = Owner::from_row(&bytes);
        }
    }

    #[test]
    fn a_typical_row_is_small() {
        let at = |millis: i64| Timestamp::from_millis(1_736_942_400_000 + millis);
        let connection = Connection {
            id: "call-42".into(),
            owner: Owner::Reporter,
            source: IceSource::Cloudflare,
            opened_at: at(0),
            last_seen: at(600_000),
            relayed: Some(true),
            bytes_sent: 150_000_000,
            bytes_received: 150_000_000,
            clock: None,
            estimates: vec![],
            counted: 150_000_000,
            counted_until: at(600_000),
            claimed: ByteCount::new(150_000_000),
            settled_millis: 0,
            spender: None,
        };
        assert!(connection.to_row().len() < 40, "{} bytes", connection.to_row().len());
    }
}
