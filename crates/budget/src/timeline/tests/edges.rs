//! Readings at the edges: a margin that is raised, a key that is replaced and put back, a span that was not observed.

use super::*;
use crate::evidence::Carried;

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
    // Never less.
    assert_eq!(reopened(&timeline, rates(true), 0).minutes.committed(), ByteCount::new(1_000_000));
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

#[test]
fn a_count_of_the_same_time_adds_what_its_margin_did_not_cover() {
    let committed = |granted, other| {
        let mut timeline = timeline_of(rates(true), START);
        timeline.advance(at(START + 10 * MINUTE));
        for (granted, other) in [(950_000, 0), (granted, other)] {
            assert_eq!(count(&mut timeline, START + 10 * MINUTE, granted, other), ReadingOutcome::Taken);
        }
        timeline.minutes.committed().get()
    };
    assert_eq!(committed(960_000, 0), 1_000_000, "sampling had missed them");
    assert_eq!(committed(1_007_000, 0), 1_000_000 + 7_369, "7000 arrived late");
    // The TURN key was replaced.
    assert_eq!(committed(95, 949_905), 100 + 999_900);
}

/// Bytes of the SFU that stay under grants, because a count never falls, are in no promise. Each of two answers has them.
#[test]
fn bytes_of_others_that_stay_under_grants_have_a_margin_of_their_own() {
    let mut timeline = timeline_of(rates(true), START);
    timeline.minutes.change_live(minutes(at(START), at(START + MINUTE)), ONE);
    timeline.advance(at(START + 10 * MINUTE));
    for (minute, granted, other, most) in
        [(1, 22_400_000, 0, 22_500_000), (2, 22_000_000, 285_000, 23_100_000)]
    {
        assert_eq!(count(&mut timeline, START + minute * MINUTE, granted, other), ReadingOutcome::Taken);
        assert_eq!(timeline.minutes.committed().get(), most);
    }
}

#[test]
fn a_span_that_was_not_observed_stays_promised_until_the_reset() {
    let mut timeline = timeline_of(rates(true), START);
    timeline.minutes.change_live(minutes(at(START), at(START + 10 * MINUTE)), ONE);
    timeline.advance(at(START + 20 * MINUTE));
    timeline.carry(&Carried { as_of: timeline.now, is_after_gap: true, ..Carried::default() });
    let promised = ByteCount::new(10 * 3_000_000 / 8 * 60);
    assert_eq!((timeline.minutes.used(), timeline.minutes.committed()), (ByteCount::ZERO, promised));
    assert_eq!(reopened(&timeline, rates(true), 5).minutes.committed(), promised);
    timeline.advance(at(1_738_368_000_000));
    assert_eq!(timeline.minutes.committed(), ByteCount::ZERO);
}

#[test]
fn what_was_carried_unobserved_is_the_greater_of_count_and_estimate() {
    for (counted, used) in [(100, 600), (1_000, 1_000)] {
        let mut timeline = timeline_of(rates(true), START);
        timeline.minutes.change_live(minutes(at(START), at(START + 10 * MINUTE)), ONE);
        timeline.advance(at(START + 10 * MINUTE));
        timeline
            .add_bytes(Basis::Granted, Spread::new(ByteCount::new(600), at(START), at(START + 10 * MINUTE)));
        let (as_of, granted) = (timeline.now, ByteCount::new(counted));
        timeline.carry(&Carried { as_of, granted, is_after_gap: true, ..Carried::default() });
        assert_eq!(timeline.minutes.used().get(), used);
    }
}

/// Another billing day brings a day back that was never counted, before one that was.
#[test]
fn a_day_that_nobody_counted_stays_promised_when_the_next_one_is_counted() {
    const TODAY: i64 = START + 24 * 60 * MINUTE;
    let mut timeline = timeline_of(rates(true), START);
    timeline.minutes.change_live(minutes(at(START), at(START + 10 * MINUTE)), ONE);
    timeline.advance(at(TODAY + 20 * MINUTE));
    let promised = timeline.minutes.committed();
    assert_eq!(count(&mut timeline, TODAY + 10 * MINUTE, 0, 0), ReadingOutcome::Taken);
    timeline.carry(&Carried { as_of: timeline.now, ..Carried::default() });
    assert_eq!(timeline.minutes.committed(), promised);
}
