//! What grants relay after their expiry, by Cloudflare's analytics. Each grant that relays around its expiry is looked at once, when its
//! minutes have settled. Pure: the meter asks and says what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::analytics::by_grant::ROWS_MAX;
use super::lateness::Span;
use turn_ledger::{GrantId, Minute, Timestamp, Traffic};

/// How far beyond the configured tail is looked.
const BEYOND: Duration = Duration::from_secs(3_600);
/// The most grants of one query.
const BATCH_MAX: usize = 100;
/// The most grants that wait until their minutes have settled.
const WAITING_MAX: usize = 1_000;
const MINUTE_SECONDS: u64 = 60;

/// The grants that wait until their minutes have settled.
#[derive(Clone, Debug, Default)]
pub(super) struct TailWatch(BTreeSet<(Timestamp, GrantId)>);

/// One query for the minutes of some grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TailQuery {
    pub(super) grants: BTreeMap<GrantId, Timestamp>,
    pub(super) span: Span,
}

impl TailWatch {
    /// Adds a grant that has relayed and expires soon. A second time it changes nothing. `false` if too many wait.
    pub(super) fn wait_for(&mut self, grant: GrantId, expires_at: Timestamp) -> bool {
        let fits = self.0.len() < WAITING_MAX;
        if fits {
            self.0.insert((expires_at, grant));
        }
        fits
    }

    /// The query that is due. `tail`: the configured one. `settled_after`: the age at which counts are final.
    pub(super) fn due(&self, now: Timestamp, tail: Duration, settled_after: Duration) -> Option<TailQuery> {
        let look = tail.saturating_add(BEYOND);
        let (first, _) = self.0.first()?;
        // All grants of a query expire within an hour, so that its rows have a bound.
        let minutes = (BEYOND + look).as_secs() / MINUTE_SECONDS + 2;
        let count = ROWS_MAX / usize::try_from(minutes).unwrap_or(usize::MAX);
        let is_due = |expires_at: Timestamp| {
            expires_at <= first.plus(BEYOND) && now >= end_of(expires_at, look).plus(settled_after)
        };
        let due = self.0.iter().take_while(|(expires_at, _)| is_due(*expires_at));
        let due: Vec<_> = due.take(count.clamp(1, BATCH_MAX)).collect();
        let (last, _) = due.last()?;
        let span = Span { from: Minute::of(*first).start(), until: end_of(*last, look), age: settled_after };
        Some(TailQuery {
            grants: due.into_iter().map(|(expires_at, grant)| (*grant, *expires_at)).collect(),
            span,
        })
    }

    /// Takes the answer to a query. Returns the bytes in the minutes after both the tail and `since`, and the longest time from an expiry to
    /// the end of such a minute.
    pub(super) fn take(
        &mut self,
        query: &TailQuery,
        minutes: &BTreeMap<GrantId, BTreeMap<Minute, Traffic>>,
        tail: Duration,
        since: Timestamp,
    ) -> (Traffic, Duration) {
        self.0.retain(|(_, grant)| !query.grants.contains_key(grant));
        // The provider's minutes may differ from ours by one.
        let after = |expires_at: Timestamp| Minute::from_end(expires_at.plus(tail).max(since)).next();
        let rows = query.grants.iter().filter_map(|(id, expires_at)| Some((*expires_at, minutes.get(id)?)));
        let rows = rows.flat_map(|(expires_at, minutes)| {
            minutes
                .range(after(expires_at)..)
                .map(move |(minute, bytes)| (minute.end().since(expires_at), *bytes))
        });
        rows.fold(Default::default(), |(sum, longest): (Traffic, Duration), (age, bytes)| {
            (sum.plus(bytes), longest.max(age))
        })
    }
}

/// The whole minute after which a grant is not looked at.
fn end_of(expires_at: Timestamp, look: Duration) -> Timestamp {
    Minute::of(expires_at.plus(look)).end()
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

    /// So many minutes after noon, with 7 bytes each.
    fn minutes(numbers: &[i64]) -> BTreeMap<Minute, Traffic> {
        let minute = |number: &i64| Minute::new(Minute::of(NOON).number() + number);
        numbers.iter().map(|number| (minute(number), Traffic::new(0, 7))).collect()
    }

    fn grant(number: usize) -> GrantId {
        GrantId::new(u128::try_from(number).unwrap().to_be_bytes())
    }

    #[test]
    fn each_grant_is_asked_for_once_when_its_minutes_have_settled() {
        let mut watch = TailWatch::default();
        assert!(watch.wait_for(grant(1), NOON) && watch.wait_for(grant(1), NOON));
        assert!(watch.wait_for(grant(2), after(5)));
        // The tail and an hour, the minute in which they end, then a lag of 10 minutes and an hour.
        let (first, second) = (180 + 1 + 70, 180 + 6 + 70);
        let due = |watch: &TailWatch, minutes| watch.due(after(minutes), TAIL, SETTLED_AFTER);
        assert_eq!(due(&watch, first - 1), None);
        assert_eq!(due(&watch, first).unwrap().grants, [(grant(1), NOON)].into());
        let both = due(&watch, second).unwrap();
        assert_eq!(both.grants.len(), 2);
        assert_eq!((both.span.until, both.span.age), (after(186), SETTLED_AFTER));
        assert_eq!(both.span.from, NOON);
        let relayed = [(grant(1), minutes(&[-3, 120, 121, 125])), (grant(2), minutes(&[125, 128]))].into();
        let (bytes, longest) = watch.take(&both, &relayed, TAIL, NOON);
        assert_eq!(
            (bytes.sent.get(), longest),
            (7 * 3, Duration::from_secs(126 * 60)),
            "three of the minutes"
        );
        let (bytes, _) = watch.take(&both, &relayed, TAIL, after(127));
        assert_eq!(bytes.sent.get(), 7, "the others were in the period before");
        assert_eq!(due(&watch, 10_000), None);
        assert_eq!(watch.take(&both, &BTreeMap::new(), TAIL, NOON), Default::default());
    }

    #[test]
    fn a_query_has_no_more_rows_than_one_answer_can_have() {
        let mut watch = TailWatch::default();
        for number in 0..WAITING_MAX + 3 {
            let waits = watch.wait_for(grant(number), NOON.plus_millis(u64::try_from(number).unwrap()));
            assert_eq!(waits, number < WAITING_MAX);
        }
        for tail in [0, 600, 7_200, 172_800, 5_000_000] {
            let query = watch.due(after(1_000_000), Duration::from_secs(tail), SETTLED_AFTER).unwrap();
            let minutes = usize::try_from(query.span.until.since(query.span.from).as_secs() / 60).unwrap();
            let rows = query.grants.len() * minutes;
            assert!(query.grants.len() == 1 || rows < ROWS_MAX, "{tail}: {rows}");
        }
        watch.0.retain(|(expires_at, _)| *expires_at <= NOON);
        assert!(watch.wait_for(grant(9_999), after(61)));
        let query = watch.due(after(1_000_000), TAIL, SETTLED_AFTER).unwrap();
        assert_eq!(
            query.grants.len(),
            1,
            "those that expire more than an hour later are asked for in a second query"
        );
    }
}
