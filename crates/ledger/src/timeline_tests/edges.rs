//! Readings at the edges: a margin that is raised, a key that is replaced and put back, a span that was not observed.

use super::*;
use crate::Carried;

fn day() -> BillingDay {
    BillingDay::new(1).unwrap()
}

/// The timeline that the next process opens, with this margin.
fn reopened(timeline: &Timeline, rates: Rates, sampling: u32) -> Timeline {
    Timeline::open(terms(sampling), day(), rates, timeline.now, &counts_of(timeline))
}

#[test]
fn a_raised_margin_counts_for_the_stored_reading() {
    let mut timeline = timeline_of(rates(true), START);
    timeline.advance(at(START + 10 * MINUTE));
    assert_eq!(count(&mut timeline, START + 10 * MINUTE, 950_000, 0), ReadingOutcome::Taken);
    assert_eq!(timeline.minutes.committed(), ByteCount::new(1_000_000), "5 % may be missing");
    assert_eq!(reopened(&timeline, rates(true), 5).minutes.committed(), ByteCount::new(1_000_000));
    assert_eq!(reopened(&timeline, rates(true), 20).minutes.committed(), ByteCount::new(1_187_500));
    assert_eq!(
        reopened(&timeline, rates(true), 0).minutes.committed(),
        ByteCount::new(1_000_000),
        "never less"
    );
}

#[test]
fn the_margin_is_part_of_the_bound_in_either_mode() {
    for strict in [false, true] {
        let mut timeline = timeline_of(rates(strict), START);
        timeline.advance(at(START + 10 * MINUTE));
        assert_eq!(count(&mut timeline, START + 10 * MINUTE, 950_000, 95_000), ReadingOutcome::Taken);
        assert_eq!(timeline.minutes.used(), ByteCount::new(1_045_000));
        assert_eq!(
            timeline.minutes.committed().plus(timeline.minutes.margin()),
            ByteCount::new(1_100_000),
            "strict: {strict}"
        );
        assert_eq!(timeline.minutes.margin() == ByteCount::ZERO, strict);
    }
}

/// The operator replaces the TURN key and puts the old one back an hour later. Its bytes change their side twice.
#[test]
fn bytes_that_come_back_with_their_key_did_not_flow_now() {
    let mut timeline = timeline(START);
    timeline.minutes.change_live(minutes(at(START), at(START + 600 * MINUTE)), ONE);
    let gb = 1_000_000_000;
    for (minute, granted, other) in
        [(1, 100_000, 0), (2, 200_000, 0), (3, 0, 100 * gb), (4, 50_000, 100 * gb), (5, 100 * gb, 300_000)]
    {
        timeline.advance(at(START + minute * MINUTE));
        let taken = count(&mut timeline, START + minute * MINUTE, granted, other);
        assert_eq!(taken, ReadingOutcome::Taken);
        assert!(timeline.trial.verdict().holds, "minute {minute}: {:?}", timeline.trial.verdict());
    }
    assert_eq!(timeline.minutes.rates.liability, rates(false).liability);
}

#[test]
fn a_span_that_was_not_observed_stays_promised_until_the_reset() {
    let mut timeline = timeline_of(rates(true), START);
    timeline.minutes.change_live(minutes(at(START), at(START + 10 * MINUTE)), ONE);
    timeline.advance(at(START + 20 * MINUTE));
    timeline.carry(&Carried { as_of: timeline.now, is_after_gap: true, ..Carried::default() }, true);
    let promised = ByteCount::new(10 * 3_000_000 / 8 * 60);
    assert_eq!((timeline.minutes.used(), timeline.minutes.committed()), (ByteCount::ZERO, promised));
    assert_eq!(reopened(&timeline, rates(true), 5).minutes.committed(), promised);
    timeline.advance(at(1_738_368_000_000));
    assert_eq!(timeline.minutes.committed(), ByteCount::ZERO);
}

/// An excess of a tenth shows only over days. A broker that restarts each hour sees it too.
#[test]
fn restarts_do_not_hide_an_excess_that_is_small_in_each_hour() {
    const HOUR: i64 = 60 * MINUTE;
    let begin = START - 10 * 24 * HOUR;
    let mut timeline = timeline(begin);
    let alive = minutes(at(begin), at(begin + 10 * 24 * HOUR));
    timeline.minutes.change_live(alive.clone(), ONE);
    let mut total = Total::default();
    let deltas = BTreeMap::from([(alive.start, ONE), (alive.end, ONE.negated())]);
    // 3 Mbps are promised, 22.5 MB a minute. A fifth more flows.
    for minute in (1..9 * 24 * 60).step_by(10) {
        let now = begin + minute * MINUTE;
        timeline.advance(at(now));
        let bytes = u64::try_from(minute).unwrap() * 27_000_000;
        total.count(&mut timeline, now, bytes);
        if minute % 120 == 1 {
            let stored = SourceRows { deltas: deltas.clone(), ..counts_of(&timeline) };
            timeline = Timeline::open(terms(SAMPLING), day(), rates(false), timeline.now, &stored);
        }
    }
    assert!(timeline.trial.hour_count() > 24, "{}", timeline.trial.hour_count());
    assert!(!timeline.trial.verdict().holds);
}
