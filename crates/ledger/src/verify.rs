//! What can be read of a ledger and yet cannot be true. A ledger that the books wrote, however they were interrupted, has
//! none of it; the simulation holds every walk against that. Pure.

use std::collections::HashSet;

use crate::changes::Recovered;
use crate::minute_usage::StoredSource;
use crate::source::IceSource;
use crate::units::Timestamp;

/// What contradicts itself, as sentences.
#[must_use]
pub fn contradictions(recovered: &Recovered) -> Vec<String> {
    let mut found = vec![];
    for (source, lane) in &recovered.lanes {
        found.extend(marks(*source, lane));
        found.extend(reading(*source, lane));
        if let Some(now) = recovered.now {
            found.extend(future(*source, lane, now));
        }
    }
    found.extend(orphans(recovered));
    if let (Some((period, _)), Some(now)) = (&recovered.counts, recovered.now)
        && period.end <= now
    {
        found.push(format!(
            "the counts are of a period that ended {} before the last write, {now}",
            period.end
        ));
    }
    if recovered.key.is_none() {
        found.push(
            "the key that signs grant tokens is missing: every open page will have to fetch anew".into(),
        );
    }
    found
}

/// As many grants end as begin, and none ends before it began.
fn marks(source: IceSource, lane: &StoredSource) -> Option<String> {
    let mut live: i64 = 0;
    for (minute, mark) in &lane.marks {
        live = live.saturating_add(mark.live);
        if live < 0 {
            return Some(format!("{source}: more grants end before {} than began", minute_at(*minute)));
        }
    }
    (live != 0).then(|| format!("{source}: {live} grants begin and never end"))
}

fn reading(source: IceSource, lane: &StoredSource) -> Option<String> {
    let reading = lane.reading?.reading;
    let (period, as_of) = (reading.period, reading.as_of);
    let is_within = period.start <= as_of && as_of <= period.end;
    (!is_within).then(|| {
        format!(
            "{source}: a reading up to {as_of} lies outside its period, {} to {}",
            period.start, period.end
        )
    })
}

/// Nobody can have said anything of a minute that had not begun.
fn future(source: IceSource, lane: &StoredSource, now: Timestamp) -> Option<String> {
    let (last, _) = lane.flows.last_key_value()?;
    let at = minute_at(*last);
    (at > now).then(|| format!("{source}: bytes at {at}, after the last write, {now}"))
}

/// A connection under a grant has that grant's row.
fn orphans(recovered: &Recovered) -> impl Iterator<Item = String> {
    let grants: HashSet<_> = recovered.grants.iter().map(|(id, _)| *id).collect();
    recovered.connections.iter().filter_map(move |stored| {
        let grant = stored.grant().filter(|grant| !grants.contains(grant))?;
        Some(format!("connection {:?} is under grant {grant}, of which there is no row", stored.name().0))
    })
}

fn minute_at(minute: i64) -> Timestamp {
    Timestamp::from_millis(minute.saturating_mul(60_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minute_usage::{LiveDelta, MinuteUsage};
    use crate::period::{BillingDay, Period};
    use crate::reading::{Assumption, Reading, StoredReading};
    use crate::units::ByteCount;

    /// 2025-01-15T12:00:00Z
    const NOON: i64 = 28_949_040;

    fn period() -> Period {
        BillingDay::new(1).unwrap().period_at(minute_at(NOON))
    }

    fn sound() -> Recovered {
        let mut lane = StoredSource::default();
        lane.marks.insert(NOON, LiveDelta { live: 1, unreported: 0 });
        lane.marks.insert(NOON + 60, LiveDelta { live: -1, unreported: 1 });
        lane.flows.insert(NOON, MinuteUsage::default());
        Recovered {
            now: Some(minute_at(NOON)),
            lanes: [(IceSource::Cloudflare, lane)].into(),
            key: Some([0; 64]),
            ..Recovered::default()
        }
    }

    fn broken(break_it: impl FnOnce(&mut Recovered, &mut StoredSource)) -> Vec<String> {
        let mut recovered = sound();
        let mut lane = recovered.lanes.remove(&IceSource::Cloudflare).unwrap();
        break_it(&mut recovered, &mut lane);
        recovered.lanes.insert(IceSource::Cloudflare, lane);
        contradictions(&recovered)
    }

    #[test]
    fn a_sound_ledger_has_none() {
        assert_eq!(contradictions(&sound()), Vec::<String>::new());
        assert_eq!(broken(|_, _| {}), Vec::<String>::new());
    }

    #[test]
    fn each_contradiction_is_told_once() {
        let outside = |lane: &mut StoredSource| {
            let as_of = minute_at(NOON + 60 * 24 * 40);
            let reading =
                Reading { period: period(), as_of, granted: ByteCount::ZERO, other: ByteCount::ZERO };
            lane.reading =
                Some(StoredReading { reading, at_most: ByteCount::ZERO, assumption: Assumption::default() });
        };
        let ended = BillingDay::new(1).unwrap().period_at(minute_at(NOON - 60 * 24 * 40));
        let cases = [
            (
                broken(|_, lane| _ = lane.marks.insert(NOON - 5, LiveDelta { live: -1, unreported: 0 })),
                "than began",
            ),
            (broken(|_, lane| _ = lane.marks.remove(&(NOON + 60))), "never end"),
            (
                broken(|_, lane| _ = lane.flows.insert(NOON + 1, MinuteUsage::default())),
                "after the last write",
            ),
            (broken(|_, lane| outside(lane)), "outside its period"),
            (broken(|all, _| all.counts = Some((ended, crate::ledger::PeriodCounts::default()))), "counts"),
            (broken(|all, _| all.key = None), "key"),
        ];
        for (found, expected) in cases {
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(expected), "{found:?}");
        }
    }
}
