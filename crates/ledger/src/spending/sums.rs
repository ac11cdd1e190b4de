//! The sums of one key, or the share of one grant in them. Tests: `src/books/spending/tests`.
//! The sums are signed, so that adding and subtracting shares in any order gives the same result. What is shown is never below zero.

use crate::prelude::*;

/// See the module's description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    measured: i64,
    claimed: i64,
    /// Bytes that no promise covers: counted by the source for good, assumed for time that nobody counted, or charged without a
    /// grant.
    settled: i64,
    grants: i64,
    /// When the first grant was issued; 1970 in an empty sum.
    pub first_seen: Timestamp,
    /// When the last grant was issued or something was counted for one.
    pub last_seen: Timestamp,
}

impl Sums {
    /// The share of one grant: its measured, claimed and settled bytes, and when it was seen first and last.
    pub fn of_grant(bytes: [ByteCount; 3], [first_seen, last_seen]: [Timestamp; 2]) -> Self {
        let [measured, claimed, settled] = bytes.map(signed);
        Self { measured, claimed, settled, grants: 1, first_seen, last_seen }
    }

    /// What a charge of a connection without a grant changes. Its bytes are settled, because no promise covers them.
    pub(crate) fn of_charge(before: ByteCount, after: ByteCount, at: Timestamp) -> Self {
        let claimed = signed(after).saturating_sub(signed(before));
        Self { claimed, settled: claimed, first_seen: at, last_seen: at, ..Self::default() }
    }

    /// Bytes that sources counted.
    pub fn measured(&self) -> ByteCount {
        shown(self.measured)
    }

    /// Bytes that connections reported, or that they were charged by time, since their grants were counted.
    pub fn claimed(&self) -> ByteCount {
        shown(self.claimed)
    }

    /// All bytes: those that were measured, and those that were claimed since then.
    pub fn bytes(&self) -> ByteCount {
        self.measured().plus(self.claimed())
    }

    /// Bytes that no promise covers any more, or never did.
    pub fn settled(&self) -> ByteCount {
        shown(self.settled)
    }

    /// Grants.
    pub fn grants(&self) -> u64 {
        u64::try_from(self.grants).unwrap_or(0)
    }

    /// Whether the bytes are the same.
    pub(crate) fn has_same_bytes(&self, other: &Self) -> bool {
        let bytes = |of: &Self| (of.measured, of.claimed, of.settled);
        bytes(self) == bytes(other)
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { measured, claimed, settled, grants, .. } = *self;
        [measured, claimed, settled, grants] == [0; 4]
    }

    /// These sums as they are shown. If the claims of all rows are more than the period's unmeasured bytes, those of each row are reduced
    /// in proportion. `all`: the sums of all rows.
    pub(crate) fn within(&self, all: &Self, period: &PeriodBytes) -> Self {
        let room = signed(period.used).saturating_sub(all.measured).max(0);
        let claimed =
            if all.claimed <= room { self.claimed } else { scaled(self.claimed, room, all.claimed) };
        Self { claimed, ..*self }
    }

    /// The row of the rest as it is shown: it has all bytes of the period that the rows with a key do not show. `self`: the sums of
    /// the rest. `all`: the sums of all rows. `keyed`: what the rows with a key show, measured and in all.
    pub(crate) fn as_rest(&self, all: &Self, keyed: [ByteCount; 2], period: &PeriodBytes) -> Self {
        let [keyed_measured, keyed_bytes] = keyed;
        let bytes = period.used.max(all.measured()).minus(keyed_bytes);
        let measured = period.measured.max(all.measured()).minus(keyed_measured).min(bytes);
        let [first, last] = period.seen;
        let is_seen = self.first_seen != Timestamp::default();
        Self {
            measured: signed(measured),
            claimed: signed(bytes.minus(measured)),
            first_seen: if is_seen { self.first_seen } else { first },
            last_seen: if is_seen { self.last_seen } else { last },
            ..*self
        }
    }

    /// The share of this period for a grant that goes on in the next one. The grant itself counts in the next one.
    pub(crate) fn of_part(self) -> Self {
        Self { grants: 0, ..self }
    }

    /// Adds a share.
    pub fn add(&mut self, share: &Self) {
        self.combine(share, i64::saturating_add);
        let first = share.first_seen;
        let is_first = self.first_seen == Timestamp::default() || first < self.first_seen;
        if is_first && first != Timestamp::default() {
            self.first_seen = first;
        }
        self.last_seen = self.last_seen.max(share.last_seen);
    }

    /// Takes a share away. The times stay.
    pub(crate) fn remove(&mut self, share: &Self) {
        self.combine(share, i64::saturating_sub);
    }

    fn combine(&mut self, share: &Self, operation: impl Fn(i64, i64) -> i64) {
        self.measured = operation(self.measured, share.measured);
        self.claimed = operation(self.claimed, share.claimed);
        self.settled = operation(self.settled, share.settled);
        self.grants = operation(self.grants, share.grants);
    }
}

fn signed(bytes: ByteCount) -> i64 {
    i64::try_from(bytes.get()).unwrap_or(i64::MAX)
}

/// `bytes` times `part / whole`.
fn scaled(bytes: i64, part: i64, whole: i64) -> i64 {
    let scaled = i128::from(bytes).saturating_mul(part.into()).checked_div(whole.into());
    scaled.and_then(|scaled| i64::try_from(scaled).ok()).unwrap_or(0)
}

fn shown(bytes: i64) -> ByteCount {
    ByteCount::new(u64::try_from(bytes).unwrap_or(0))
}
