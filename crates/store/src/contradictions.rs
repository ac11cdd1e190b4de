//! Contradictions in a stored ledger. The books never write one, even if they are interrupted; the simulation checks
//! that. Pure.

use turn_budget::{CountOwner, SourceRows, Timestamp};
use turn_ledger::{Head, Stored};

/// The contradictions as sentences; empty for a consistent ledger.
pub fn contradictions(stored: &Stored) -> Vec<String> {
    let mut found = vec![];
    for (owner, rows) in &stored.sources {
        found.extend(count_outside_its_day(*owner, rows));
        if let Some(now) = stored.now() {
            found.extend(minute_after_the_last_write(*owner, rows, now));
        }
    }
    found.extend(connections_of_missing_grants(stored));
    if let Some(Head { now, counts: (period, _), .. }) = &stored.head
        && period.end <= *now
    {
        found.push(format!(
            "the period of the counts ended at {}, before the last write at {now}",
            period.end
        ));
    }
    // Whether anything was ever written is not known here.
    found.extend(missing(stored, false).map(str::to_owned));
    let grants = stored.grants.len();
    found.extend(stored.head.as_ref().filter(|head| head.grants != grants).map(|head| {
        format!("the number of grants is wrong: {} were written and {grants} are there", head.grants)
    }));
    found
}

/// The row that is missing, of those that every stored ledger has and that no write removes. A ledger without it must not be opened,
/// because its books would begin anew. `was_written`: whether anything is known to have been written.
pub fn missing(stored: &Stored, was_written: bool) -> Option<&'static str> {
    let has_rows = !(stored.sources.is_empty()
        && stored.grants.is_empty()
        && stored.spenders.is_empty()
        && stored.connections.is_empty()
        && stored.sessions.is_empty()
        && stored.blocks.is_empty());
    match (&stored.keys, &stored.head) {
        (None, Some(_)) => Some("the key of grant tokens is missing"),
        (None, None) if has_rows || was_written => Some("the key of grant tokens is missing"),
        (Some(_), None) if has_rows => Some("what is written with each batch is missing"),
        _ => None,
    }
}

/// Checks that no count ends outside its day.
fn count_outside_its_day(owner: CountOwner, rows: &SourceRows) -> Option<String> {
    let days = rows.days.iter().filter_map(|(day, count)| Some((*day, count.as_ref()?.as_of)));
    let (day, as_of) = days.into_iter().find(|(day, as_of)| *as_of < day.start() || day.end() < *as_of)?;
    Some(format!("{owner}: a count up to {as_of} lies outside its day, which begins at {}", day.start()))
}

/// Checks that no usage lies in a minute that had not begun at the last write.
fn minute_after_the_last_write(owner: CountOwner, rows: &SourceRows, now: Timestamp) -> Option<String> {
    let (last, _) = rows.minutes.last_key_value()?;
    let at = last.start();
    (at > now).then(|| format!("{owner}: bytes at {at}, after the last write, {now}"))
}

/// Checks that the grant of each connection has a row.
fn connections_of_missing_grants(stored: &Stored) -> impl Iterator<Item = String> {
    stored.connections.keys().filter_map(|name| {
        let grant = name.grant().filter(|grant| !stored.grants.contains_key(grant))?;
        Some(format!("connection {:?} is under grant {grant}, which has no row", name.id()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_budget::{BillingDay, Day, DayCount, IceSource, Minute, MinuteRow, PeriodCounts};
    use turn_ledger::{TokenKey, TokenKeys};

    /// 2025-01-15T12:00:00Z
    const NOON: i64 = 28_949_040;

    fn minute_at(number: i64) -> Timestamp {
        Minute::new(number).start()
    }

    fn consistent() -> Stored {
        let mut rows = SourceRows::default();
        rows.minutes.insert(Minute::new(NOON), MinuteRow::default());
        let counts = (BillingDay::new(1).unwrap().period_at(minute_at(NOON)), PeriodCounts::default());
        Stored {
            head: Some(Head { now: minute_at(NOON), counts, ..Head::default() }),
            sources: [(IceSource::Cloudflare.into(), rows)].into(),
            keys: Some(TokenKeys::new(TokenKey::new([0; 64]))),
            ..Stored::default()
        }
    }

    fn broken(break_it: impl FnOnce(&mut Stored, &mut SourceRows)) -> Vec<String> {
        let mut stored = consistent();
        let mut rows = stored.sources.remove(&IceSource::Cloudflare.into()).unwrap();
        break_it(&mut stored, &mut rows);
        stored.sources.insert(IceSource::Cloudflare.into(), rows);
        contradictions(&stored)
    }

    #[test]
    fn a_consistent_ledger_has_no_contradiction() {
        assert_eq!(contradictions(&consistent()), Vec::<String>::new());
        assert_eq!(broken(|_, _| {}), Vec::<String>::new());
    }

    #[test]
    fn each_contradiction_is_reported_once() {
        let outside = |rows: &mut SourceRows| {
            let as_of = minute_at(NOON + 60 * 24 * 40);
            let day = Day::of(minute_at(NOON));
            let mut count = DayCount::none(day);
            count.as_of = as_of;
            rows.days.insert(day, Some(count));
        };
        let ended = BillingDay::new(1).unwrap().period_at(minute_at(NOON - 60 * 24 * 40));
        let cases = [
            (
                broken(|_, rows| _ = rows.minutes.insert(Minute::new(NOON + 1), MinuteRow::default())),
                "after the last write",
            ),
            (broken(|_, rows| outside(rows)), "outside its day"),
            (broken(|all, _| all.head.as_mut().unwrap().counts.0 = ended), "counts"),
            (broken(|all, _| all.keys = None), "key"),
            (broken(|all, _| all.head = None), "each batch"),
            (broken(|all, _| all.head.as_mut().unwrap().grants = 3), "3 were written and 0 are there"),
        ];
        for (found, expected) in cases {
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(expected), "{found:?}");
        }
    }
}
