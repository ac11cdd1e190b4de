//! The tail as Cloudflare's analytics show it: for how long grants relayed after their expiry. Each grant that relays around
//! its expiry is looked at once, when its minutes have settled. Pure: the meter asks and publishes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::analytics::by_grant::ROWS_MAX;
use super::lateness::{Span, settled_minute};
use turn_ledger::{GrantId, Minute, Timestamp};

/// A grant that relayed in this time before its expiry was in use at its expiry. One that did not says nothing about the tail.
const BEFORE: Duration = Duration::from_secs(600);
/// How far beyond the configured tail is looked.
const BEYOND: Duration = Duration::from_secs(3_600);
/// The most grants of one query.
const BATCH_MAX: usize = 100;
/// The most grants that wait until their minutes have settled.
const WAITING_MAX: usize = 1_000;
const MINUTE_SECONDS: u64 = 60;

/// What was seen of the tail since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ObservedTailBody)]
pub struct ObservedTail {
    /// The longest time after an expiry in which a grant relayed, rounded up to the end of a minute.
    #[schema(example = 540)]
    pub longest_seconds: u64,
    /// Grants that were in use at their expiry and were looked at, hours later.
    #[schema(example = 40)]
    pub grants: u64,
    /// How many of them relayed after it.
    #[schema(example = 12)]
    pub relayed_after_expiry: u64,
    /// Grants that were not looked at, because too many waited.
    #[schema(example = 0)]
    pub left_out: u64,
}

/// The grants that wait, and what was seen of the others.
#[derive(Clone, Debug, Default)]
pub struct TailWatch {
    waiting: BTreeSet<(Timestamp, GrantId)>,
    seen: ObservedTail,
}

/// One query for the minutes of some grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TailQuery {
    pub(super) grants: BTreeMap<GrantId, Timestamp>,
    pub(super) span: Span,
}

impl ObservedTail {
    /// Adds a grant that expired at `expires_at` and relayed in these minutes.
    pub fn add(&mut self, expires_at: Timestamp, minutes: &BTreeSet<Minute>) {
        let Some(tail) = tail_of(expires_at, minutes) else { return };
        self.grants += 1;
        self.relayed_after_expiry += u64::from(!tail.is_zero());
        self.longest_seconds = self.longest_seconds.max(tail.as_secs());
    }
}

impl TailWatch {
    /// What has been seen.
    pub fn seen(&self) -> ObservedTail {
        self.seen
    }

    /// Adds a grant that has relayed and expires soon. A second time it changes nothing.
    pub(super) fn wait_for(&mut self, grant: GrantId, expires_at: Timestamp) {
        if self.waiting.contains(&(expires_at, grant)) {
            return;
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.insert((expires_at, grant));
        } else {
            self.seen.left_out += 1;
        }
    }

    /// The query that is due. `tail`: the configured one. `settled_after`: the age at which counts are final.
    pub(super) fn due(&self, now: Timestamp, tail: Duration, settled_after: Duration) -> Option<TailQuery> {
        let look = tail.saturating_add(BEYOND);
        let (first, _) = self.waiting.first()?;
        // All grants of a query expire within an hour, so that its rows have a bound.
        let minutes = (BEFORE + BEYOND + look).as_secs() / MINUTE_SECONDS + 2;
        let count = ROWS_MAX / usize::try_from(minutes).unwrap_or(usize::MAX);
        let is_due = |expires_at: Timestamp| {
            expires_at <= first.plus(BEYOND) && now >= end_of(expires_at, look).plus(settled_after)
        };
        let due = self.waiting.iter().take_while(|(expires_at, _)| is_due(*expires_at));
        let due: Vec<_> = due.take(count.clamp(1, BATCH_MAX)).collect();
        let (last, _) = due.last()?;
        let span =
            Span { from: settled_minute(*first, BEFORE)?, until: end_of(*last, look), age: settled_after };
        Some(TailQuery {
            grants: due.into_iter().map(|(expires_at, grant)| (*grant, *expires_at)).collect(),
            span,
        })
    }

    /// Takes the answer to a query.
    pub(super) fn take(&mut self, query: &TailQuery, minutes: &BTreeMap<GrantId, BTreeSet<Minute>>) {
        for (grant, expires_at) in &query.grants {
            self.waiting.remove(&(*expires_at, *grant));
            if let Some(minutes) = minutes.get(grant) {
                self.seen.add(*expires_at, minutes);
            }
        }
    }
}

/// The whole minute after which a grant is not looked at.
fn end_of(expires_at: Timestamp, look: Duration) -> Timestamp {
    Minute::of(expires_at.plus(look)).end()
}

/// The time from the expiry to the end of the last minute in which the grant relayed. Zero if that minute began before
/// the expiry. `None` if the grant was not in use at its expiry.
fn tail_of(expires_at: Timestamp, minutes: &BTreeSet<Minute>) -> Option<Duration> {
    let last = minutes.last()?;
    if last.start() >= expires_at {
        return Some(last.end().since(expires_at));
    }
    (last.end().plus(BEFORE) > expires_at).then_some(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2025-01-15T12:00:00Z
    const NOON: Timestamp = Timestamp::from_millis(1_736_942_400_000);
    const TAIL: Duration = Duration::from_secs(7_200);
    const SETTLED_AFTER: Duration = Duration::from_secs(4_200);

    fn after(minutes: u64) -> Timestamp {
        NOON.plus_millis(minutes * 60_000)
    }

    fn minutes(numbers: &[i64]) -> BTreeSet<Minute> {
        numbers.iter().map(|number| Minute::new(Minute::of(NOON).number() + number)).collect()
    }

    fn grant(number: usize) -> GrantId {
        GrantId::new(u128::try_from(number).unwrap().to_be_bytes())
    }

    #[test]
    fn the_tail_ends_with_the_last_minute_in_which_the_grant_relayed() {
        let seconds = |expires_at: Timestamp, numbers: &[i64]| {
            tail_of(expires_at, &minutes(numbers)).map(|tail| tail.as_secs())
        };
        assert_eq!(seconds(NOON, &[-5, 0]), Some(60));
        assert_eq!(seconds(NOON, &[1, 90]), Some(91 * 60));
        assert_eq!(seconds(NOON, &[-1]), Some(0));
        // The minute of the expiry may have ended before its bytes flowed.
        assert_eq!(seconds(NOON.plus_millis(20_000), &[0]), Some(0));
        assert_eq!(seconds(NOON.plus_millis(20_000), &[0, 1]), Some(100));
    }

    #[test]
    fn a_grant_that_was_idle_at_its_expiry_says_nothing_about_the_tail() {
        let mut seen = ObservedTail::default();
        for idle in [&[][..], &[-60], &[-11]] {
            seen.add(NOON, &minutes(idle));
        }
        assert_eq!(seen, ObservedTail::default());
        seen.add(NOON, &minutes(&[-10]));
        seen.add(NOON, &minutes(&[-60, 30]));
        seen.add(NOON, &minutes(&[3]));
        assert_eq!(
            seen,
            ObservedTail { longest_seconds: 31 * 60, grants: 3, relayed_after_expiry: 2, left_out: 0 }
        );
    }

    #[test]
    fn each_grant_is_asked_for_once_when_its_minutes_have_settled() {
        let mut watch = TailWatch::default();
        watch.wait_for(grant(1), NOON);
        watch.wait_for(grant(1), NOON);
        watch.wait_for(grant(2), after(5));
        // The tail and an hour, the minute in which they end, then a lag of 10 minutes and an hour.
        let (first, second) = (180 + 1 + 70, 180 + 6 + 70);
        let due = |watch: &TailWatch, minutes| watch.due(after(minutes), TAIL, SETTLED_AFTER);
        assert_eq!(due(&watch, first - 1), None);
        assert_eq!(due(&watch, first).unwrap().grants, [(grant(1), NOON)].into());
        let both = due(&watch, second).unwrap();
        assert_eq!(both.grants.len(), 2);
        assert_eq!((both.span.until, both.span.age), (after(186), SETTLED_AFTER));
        assert_eq!(both.span.from.as_millis(), NOON.as_millis() - 600_000);
        watch.take(&both, &[(grant(1), minutes(&[2]))].into());
        assert_eq!((due(&watch, 10_000), watch.seen().grants), (None, 1));
    }

    #[test]
    fn a_query_has_no_more_rows_than_one_answer_can_have() {
        let mut watch = TailWatch::default();
        for number in 0..WAITING_MAX + 3 {
            watch.wait_for(grant(number), NOON.plus_millis(u64::try_from(number).unwrap()));
        }
        assert_eq!(watch.seen().left_out, 3);
        for tail in [0, 600, 7_200, 172_800, 5_000_000] {
            let query = watch.due(after(1_000_000), Duration::from_secs(tail), SETTLED_AFTER).unwrap();
            let minutes = usize::try_from(query.span.until.since(query.span.from).as_secs() / 60).unwrap();
            let rows = query.grants.len() * minutes;
            assert!(query.grants.len() == 1 || rows < ROWS_MAX, "{tail}: {rows}");
        }
        watch.wait_for(grant(9_999), after(61));
        watch.waiting.retain(|(expires_at, _)| *expires_at <= NOON || *expires_at == after(61));
        let query = watch.due(after(1_000_000), TAIL, SETTLED_AFTER).unwrap();
        assert_eq!(
            query.grants.len(),
            1,
            "those that expire more than an hour later are asked for in a second query"
        );
    }
}
