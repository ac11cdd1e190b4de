//! What grants relay after their expiry, by Cloudflare's analytics. Each grant that relayed around its expiry is asked for once, when its
//! minutes have settled. Pure: the meter asks, and passes the answers.

use super::analytics::by_grant::ROWS_MAX;
use crate::meter::prelude::*;
use turn_ledger::{Grants, Tails};

/// For how long after the assumed tail a query still asks for minutes. The grants of one query also expire within this time of each
/// other, so that the number of its rows has a bound.
const BEYOND: Duration = Duration::from_secs(3_600);
/// The most grants of one query.
const BATCH_MAX: usize = 100;
const MINUTE_SECONDS: u64 = 60;

/// The grants of the next query; `None` if none is due. `tail`: the assumed tail. `settled_after`: the age at which counts are final.
pub(super) fn due_tails(
    grants: &Grants,
    source: IceSource,
    now: Timestamp,
    tail: Duration,
    settled_after: Duration,
) -> Option<Tails> {
    let asked_for = asked_for(tail);
    let is_due = |expires_at| now >= end_of(expires_at, asked_for).plus(settled_after);
    grants.tails(source, is_due, grants_max(asked_for), BEYOND)
}

/// For how long after its expiry each grant is asked for, so that no byte is missed that only the default tail covers.
fn asked_for(tail: Duration) -> Duration {
    tail.saturating_add(BEYOND).max(IceSource::Cloudflare.expiry_tail())
}

/// The most grants of one query. The query has one row for each grant and minute. Its span is at most the sum of [`BEYOND`], for the
/// different expiries, and of `asked_for`, the time after its expiry for which each grant is asked for. The beginning and the end of the
/// span are rounded to whole minutes, which adds up to two minutes.
fn grants_max(asked_for: Duration) -> usize {
    let minutes = (BEYOND + asked_for).as_secs() / MINUTE_SECONDS + 2;
    let count = ROWS_MAX / usize::try_from(minutes).unwrap_or(usize::MAX);
    count.clamp(1, BATCH_MAX)
}

/// The span that the query for these grants asks for; `None` without a grant.
pub(super) fn span_of(tails: &Tails, tail: Duration, settled_after: Duration) -> Option<Span> {
    let (first, last) = (tails.grants.values().min()?, tails.grants.values().max()?);
    let until = end_of(*last, asked_for(tail));
    Some(Span { from: Minute::of(*first).start(), until, age: settled_after })
}

/// The bytes in the minutes that begin after the tail of their grant, and not before `since`; and the longest time from an expiry to the
/// end of a minute after the tail, also before `since`. The clocks may differ, so the tail counts as longer by this difference.
pub(super) fn after_tails(
    tails: &Tails,
    minutes: &BTreeMap<String, BTreeMap<Minute, Traffic>>,
    tail: Duration,
    since: Timestamp,
) -> (Traffic, Duration) {
    let tail = tail.saturating_add(IceSource::Cloudflare.clocks_differ_by());
    let (mut sum, mut longest) = (Traffic::ZERO, Duration::ZERO);
    for (id, expires_at) in &tails.grants {
        let Some(minutes) = minutes.get(&id.to_string()) else { continue };
        for (minute, bytes) in minutes.range(Minute::from_end(expires_at.plus(tail))..) {
            if minute.start() >= since {
                sum = sum.plus(*bytes);
            }
            longest = longest.max(minute.end().since(*expires_at));
        }
    }
    (sum, longest)
}

/// The end of the last minute for which a grant is asked for.
fn end_of(expires_at: Timestamp, asked_for: Duration) -> Timestamp {
    Minute::of(expires_at.plus(asked_for)).end()
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

    #[test]
    fn bytes_count_in_the_minutes_after_the_tail_and_after_the_reset() {
        let [one, two] = [1, 2].map(|number| GrantId::new([number; 16]));
        let tails = Tails { grants: [(one, NOON), (two, after(5))].into(), last: (Minute::of(NOON), two) };
        let span = span_of(&tails, TAIL, SETTLED_AFTER).unwrap();
        assert_eq!(span, Span { from: NOON, until: after(186), age: SETTLED_AFTER });
        let relayed = [(one, minutes(&[-3, 121, 122, 125])), (two, minutes(&[126, 128]))];
        let relayed = relayed.map(|(id, minutes)| (id.to_string(), minutes)).into();
        let (bytes, longest) = after_tails(&tails, &relayed, TAIL, NOON);
        // Three of the minutes.
        assert_eq!((bytes.sent.get(), longest), (7 * 3, Duration::from_secs(126 * 60)));
        let (bytes, longest) = after_tails(&tails, &relayed, TAIL, after(127));
        // The others were in the period before.
        assert_eq!((bytes.sent.get(), longest), (7, Duration::from_secs(126 * 60)));
        assert_eq!(after_tails(&tails, &BTreeMap::new(), TAIL, NOON), Default::default());
    }

    #[test]
    fn a_query_has_no_more_rows_than_one_answer_can_have() {
        for tail in [0, 600, 7_200, 172_800, 5_000_000] {
            let look = Duration::from_secs(tail) + BEYOND;
            let grants = grants_max(look);
            let minutes = usize::try_from((look + BEYOND).as_secs() / 60).unwrap();
            assert!(grants == 1 || grants * (minutes + 2) <= ROWS_MAX, "{tail}: {grants}");
        }
    }
}
