//! The readings of coturn's sessions in billing periods. Listings in close succession show all relayed bytes. After a gap,
//! the ledger's estimate of that time counts if it is higher, because sessions may have begun and ended between the
//! listings.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::listing::{Listing, SessionId};
use super::sessions::{SessionRow, SessionSums, Sessions};
use crate::period::Period;
use crate::reading::Reading;
use crate::token::GrantId;
use crate::units::{ByteCount, Timestamp};
use crate::usage_rules::UsageRules;

/// Two listings that are further apart than this have a gap between them. The service reads one every two seconds.
pub(crate) const LISTING_GAP: Duration = Duration::from_secs(5);

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct CoturnUsage {
    sessions: Sessions,
    counts: PeriodSums,
    cut_until: Timestamp,
    /// Billed bytes of each grant since the last [`Self::take_by_grant`].
    by_grant: BTreeMap<GrantId, ByteCount>,
}

/// A reading from a listing that showed all sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListingRead {
    /// What they have carried in the period.
    pub reading: Reading,
    /// Whether sessions may have come and gone since the last listing.
    pub is_after_gap: bool,
}

/// The bytes of the sessions in one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PeriodSums {
    period: Option<Period>,
    granted: ByteCount,
    other: ByteCount,
}

/// The stored sums over all sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoturnSums {
    sessions: SessionSums,
    counts: PeriodSums,
    /// The last complete listing without a session that should have been cut.
    cut_until: Timestamp,
}

impl PeriodSums {
    /// Begins another period. A period that overlaps the last one, because the billing day has changed, takes its sums over:
    /// they may contain too much and never too little.
    fn begin(&mut self, period: Period) {
        if self.period.is_none_or(|last| !last.overlaps(&period)) {
            *self = Self::default();
        }
        self.period = Some(period);
    }
}

impl CoturnUsage {
    /// The usage as stored. From here on, changes are recorded.
    #[must_use]
    pub fn restore(sums: CoturnSums, sessions: BTreeMap<SessionId, SessionRow>) -> Self {
        Self {
            sessions: Sessions::restore(sums.sessions, sessions),
            counts: sums.counts,
            cut_until: sums.cut_until,
            ..Self::default()
        }
    }

    /// Sessions that have changed since the last call; `None` for one that has ended.
    pub fn take_changes(&mut self) -> BTreeMap<SessionId, Option<SessionRow>> {
        self.sessions.take_changes()
    }

    /// The sums over all sessions, for storing.
    #[must_use]
    pub fn sums(&self) -> CoturnSums {
        CoturnSums { sessions: self.sessions.sums(), counts: self.counts, cut_until: self.cut_until }
    }

    /// Takes the listing at `now`, which lies in `period`. `used` is the books' figure for this source so far. Returns
    /// `None` if the listing does not show all sessions and so is not a reading.
    pub fn take(
        &mut self,
        listing: &Listing,
        now: Timestamp,
        period: Period,
        used: ByteCount,
        rules: &UsageRules,
    ) -> Option<ListingRead> {
        let complete_at = self.complete_at();
        let delta = self.sessions.take(listing, now, rules.estimated_rate);
        if self.counts.period != Some(period) {
            self.counts.begin(period);
        }
        let PeriodSums { granted, other, .. } = &mut self.counts;
        for (grant, traffic) in delta.added {
            let bytes = traffic.billed(rules.billed);
            let sum = if grant.is_some() { &mut *granted } else { &mut *other };
            *sum = sum.plus(bytes);
            if let Some(grant) = grant {
                let sum = self.by_grant.entry(grant).or_default();
                *sum = sum.plus(bytes);
            }
        }
        if !listing.is_complete {
            return None;
        }
        let is_after_gap = now.since(complete_at) > LISTING_GAP;
        if is_after_gap {
            *granted = (*granted).max(used.minus(*other));
        }
        let reading = Reading { period, as_of: now, granted: *granted, other: *other };
        Some(ListingRead { reading, is_after_gap })
    }

    /// Takes the billed bytes of each grant since the last call.
    pub fn take_by_grant(&mut self) -> BTreeMap<GrantId, ByteCount> {
        std::mem::take(&mut self.by_grant)
    }

    /// The instant of the last complete listing that showed no session of an expired credential that the listing before it should
    /// have cut; 1970 before the first.
    #[must_use]
    pub fn cut_until(&self) -> Timestamp {
        self.cut_until
    }

    /// Notes such a listing.
    pub fn set_cut_until(&mut self, until: Timestamp) {
        self.cut_until = until;
    }

    /// Notes that coturn accepted the command to end these sessions at `now`.
    pub fn cut(&mut self, ids: &[SessionId], now: Timestamp) {
        self.sessions.cut(ids, now);
    }

    /// The time of the last listing that showed all sessions; 1970 before the first.
    #[must_use]
    pub fn complete_at(&self) -> Timestamp {
        self.sessions.sums().complete_at()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coturn::listing::{Reach, Session};
    use crate::period::BillingDay;
    use crate::traffic::Traffic;
    use crate::units::BitRate;
    use crate::usage_rules::BilledDirections;

    /// 2025-01-31T23:00Z: an hour before a reset.
    const START: i64 = 1_738_364_400_000;
    const NONE: ByteCount = ByteCount::ZERO;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(START).plus_millis(seconds * 1_000)
    }

    fn read(
        book: &mut CoturnUsage,
        seconds: u64,
        used: u64,
        sessions: &[(u64, bool, u64)],
    ) -> Option<Reading> {
        let session = |&(id, is_ours, sent): &(u64, bool, u64)| Session {
            id: SessionId::new(id).unwrap(),
            user: format!("user-{id}"),
            expires_at: None,
            grant: is_ours.then(|| GrantId::new([7; 16])),
            age: Some(Duration::from_secs(seconds)),
            packets: 1,
            traffic: Traffic::new(0, sent),
            reach: Reach::Nobody,
        };
        let listing =
            Listing { sessions: sessions.iter().map(session).collect(), is_complete: true, forger: None };
        let rules = UsageRules {
            heartbeat: Duration::from_secs(30),
            billed: BilledDirections::Egress,
            estimated_rate: BitRate::new(2_000_000),
        };
        let period = BillingDay::new(1).unwrap().period_at(at(seconds));
        book.take(&listing, at(seconds), period, ByteCount::new(used), &rules).map(|read| read.reading)
    }

    #[test]
    fn the_sums_of_our_sessions_and_of_others_are_separate() {
        let mut book = CoturnUsage::default();
        let first = read(&mut book, 10, 0, &[(1, true, 500), (2, false, 70)]).unwrap();
        assert_eq!(
            (first.granted, first.other, first.as_of),
            (ByteCount::new(500), ByteCount::new(70), at(10))
        );
        let second = read(&mut book, 12, 0, &[(1, true, 900), (3, true, 5)]).unwrap();
        assert_eq!((second.granted, second.other), (ByteCount::new(905), ByteCount::new(70)));
    }

    #[test]
    fn after_a_gap_the_estimate_counts_if_it_is_higher() {
        let mut book = CoturnUsage::default();
        let first = read(&mut book, 10, 4_000, &[(1, true, 500)]).unwrap();
        assert_eq!(first.granted, ByteCount::new(4_000), "the estimate before the first listing");
        let near = read(&mut book, 15, 9_000, &[(1, true, 600)]).unwrap();
        assert_eq!(near.granted, ByteCount::new(4_100));
        let far = read(&mut book, 600, 9_000, &[(1, true, 700)]).unwrap();
        assert_eq!(far.granted, ByteCount::new(9_000));
    }

    #[test]
    fn a_new_period_begins_with_the_bytes_since_the_last_listing() {
        let mut book = CoturnUsage::default();
        read(&mut book, 3_598, 0, &[(1, true, 500)]).unwrap();
        let next = read(&mut book, 3_601, 0, &[(1, true, 800)]).unwrap();
        assert_eq!((next.granted, next.period.start), (ByteCount::new(300), at(3_600)));
    }

    #[test]
    fn an_incomplete_listing_is_no_reading_but_its_bytes_count_later() {
        let mut book = CoturnUsage::default();
        read(&mut book, 10, 0, &[(1, true, 500)]).unwrap();
        let rules = UsageRules {
            heartbeat: Duration::from_secs(30),
            billed: BilledDirections::Egress,
            estimated_rate: BitRate::new(2_000_000),
        };
        let partial = Listing { sessions: vec![], is_complete: false, forger: None };
        let period = BillingDay::new(1).unwrap().period_at(at(12));
        assert_eq!(book.take(&partial, at(12), period, NONE, &rules), None);
        let whole = read(&mut book, 14, 0, &[(1, true, 700)]).unwrap();
        assert_eq!(whole.granted, ByteCount::new(700));
    }
}
