//! How many requests the pages of one origin may send in a calendar month (UTC). A restart forgets the counts:
//! the quota only keeps strangers from using the service as their own.

use turn_budget::{BillingDay, ORIGIN_MAX};

use super::Refusal;
use crate::prelude::*;

/// Origins that are counted. When the table is full, the origin with the fewest requests is forgotten. A program can invent
/// origins, but each of them has few requests.
const ORIGINS_MAX: usize = 4_096;

/// Where a page comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// The request has no `Origin`: no page sent it, or a page of the broker's own origin.
    Unnamed,
    /// The operator serves this origin without a limit.
    Listed,
    /// Any other origin.
    Other(&'a str),
}

/// The requests of each origin in this month.
#[derive(Debug)]
pub(super) struct OriginQuota {
    quota: u64,
    month_end: Option<Timestamp>,
    counts: HashMap<Box<str>, u64>,
}

impl OriginQuota {
    pub(super) fn new(quota: u64) -> Self {
        Self { quota, month_end: None, counts: HashMap::new() }
    }

    /// Counts a request, or refuses it.
    pub(super) fn spend(
        &mut self,
        origin: Origin<'_>,
        wall: Timestamp,
        actions: &mut Actions,
    ) -> Result<(), Refusal> {
        let Origin::Other(origin) = origin else { return Ok(()) };
        if self.quota == 0 || origin.len() > ORIGIN_MAX {
            return Err(Refusal::Origin);
        }
        // A clock that steps back begins no month.
        if self.month_end.is_none_or(|end| wall >= end) {
            self.month_end = BillingDay::new(1).map(|first| first.period_at(wall).end);
            self.counts.clear();
        }
        let count = self.counts.get(origin).copied().unwrap_or(0);
        if count >= self.quota {
            return Err(Refusal::OverQuota);
        }
        if count == 0 && self.counts.len() >= ORIGINS_MAX {
            let fewest = self.counts.iter().min_by_key(|(_, count)| **count);
            if let Some(fewest) = fewest.map(|(fewest, _)| fewest.clone()) {
                self.counts.remove(&fewest);
            }
            actions.dropped(Dropped::Forgotten);
        }
        self.counts.insert(origin.into(), count + 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Result<(), Refusal> = Ok(());
    const DAY_MS: i64 = 86_400_000;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_millis(day * DAY_MS)
    }

    #[test]
    fn each_origin_has_its_quota_in_each_calendar_month() {
        let mut quota = OriginQuota::new(2);
        let mut spend = |origin, at| quota.spend(Origin::Other(origin), at, &mut Actions::default());
        assert_eq!([spend("a", day(0)), spend("a", day(30))], [GOOD, GOOD]);
        assert_eq!(spend("a", day(30)), Err(Refusal::OverQuota));
        assert_eq!(spend("b", day(30)), GOOD);
        assert_eq!(spend("a", day(31)), GOOD, "1 February");
        assert_eq!(spend("a", day(30)), GOOD, "the clock steps back");
        assert_eq!(spend("a", day(31)), Err(Refusal::OverQuota));
    }

    #[test]
    fn without_a_quota_other_origins_are_refused_and_the_rest_is_served() {
        let mut quota = OriginQuota::new(0);
        let mut spend = |origin| quota.spend(origin, day(0), &mut Actions::default());
        assert_eq!(spend(Origin::Other("a")), Err(Refusal::Origin));
        assert_eq!(spend(Origin::Listed), GOOD);
        assert_eq!(spend(Origin::Unnamed), GOOD);
    }

    #[test]
    fn invented_origins_do_not_displace_one_that_is_used() {
        let mut quota = OriginQuota::new(3);
        let mut actions = Actions::default();
        let mut spend = |origin: &str| {
            let spent = quota.spend(Origin::Other(origin), day(0), &mut actions);
            (spent, actions.take().len())
        };
        // An action forgets an origin.
        assert_eq!([spend("used"), spend("used"), spend("used")], [(GOOD, 0), (GOOD, 0), (GOOD, 0)]);
        for n in 1..ORIGINS_MAX + 100 {
            // There is one that is used beside the n - 1 that were invented before.
            let is_full = n >= ORIGINS_MAX;
            assert_eq!(spend(&format!("invented-{n}")), (GOOD, usize::from(is_full)));
        }
        assert_eq!(spend("used").0, Err(Refusal::OverQuota));
        assert_eq!(spend(&"a".repeat(ORIGIN_MAX + 1)).0, Err(Refusal::Origin));
        assert_eq!(quota.counts.len(), ORIGINS_MAX);
    }
}
