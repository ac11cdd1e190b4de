//! Tests of the timeline: usage and promises minute by minute without readings, and with [readings]. Random histories are the simulation's.

mod edges;
mod readings;

use std::ops::Range;

use super::*;
use crate::evidence::{Reading, ReadingOutcome};
use crate::promise::LiveDelta;
use crate::source::IceSource;
use crate::testing::{self, Dice};
use crate::units::Day;

const MINUTE: i64 = 60_000;
/// One grant at the assumed rate, 3 Mbps.
const ONE: LiveDelta = LiveDelta { live: 1, per_minute: 22_500_000 };
/// 2025-01-30T00:00Z: two days before a reset on the first.
const START: i64 = 1_738_195_200_000;

fn rates(promises_cap_claims: bool) -> Rates {
    Rates { estimated: BitRate::new(2_000_000), liability: BitRate::new(3_000_000), promises_cap_claims }
}

/// How much of the relayed bytes a count may miss, in percent.
const SAMPLING: u32 = 5;

fn terms(sampling: u32) -> SourceTerms {
    SourceTerms { sampling, ..SourceTerms::of_unconfigured(IceSource::Coturn) }
}

fn timeline(now: i64) -> Timeline {
    timeline_of(rates(false), now)
}

fn timeline_of(rates: Rates, now: i64) -> Timeline {
    Timeline::open(terms(SAMPLING), BillingDay::new(1).unwrap(), rates, at(now), &SourceRows::default())
}

fn reading(as_of: i64, granted: u64, other: u64) -> Reading {
    let (granted, other) = (ByteCount::new(granted), ByteCount::new(other));
    Reading { day: Day::until(at(as_of)), as_of: at(as_of), at: at(as_of), granted, other }
}

/// Takes two answers with the same count of one day.
fn count(timeline: &mut Timeline, as_of: i64, granted: u64, other: u64) -> ReadingOutcome {
    let [first, second] = testing::agreeing(reading(as_of, granted, other));
    let _ = timeline.take_reading(&first);
    timeline.take_reading(&second)
}

/// What the ledger stores of the counts.
fn counts_of(timeline: &Timeline) -> SourceRows {
    let all = Period { start: at(0), end: at(i64::MAX / 2) };
    let days = timeline.minutes.days.of(all).map(|(day, count)| (day, Some(*count))).collect();
    SourceRows { days, state: Some(timeline.state()), ..SourceRows::default() }
}

/// The period before the current one.
fn previous(timeline: &Timeline) -> Option<ByteCount> {
    let last = Timestamp::from_millis(timeline.minutes.period.start.as_millis() - 1);
    timeline.minutes.days.used(BillingDay::new(1).unwrap().period_at(last))
}

/// The minutes that a time span touches.
fn minutes(from: Timestamp, until: Timestamp) -> Range<Minute> {
    Minute::of(from)..Minute::from_end(until)
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[test]
fn in_strict_mode_reports_count_at_most_what_their_minutes_were_promised() {
    let mut timeline = timeline_of(rates(true), START);
    timeline.minutes.change_live(minutes(at(START), at(START + MINUTE)), ONE);
    let promised = ByteCount::new(3_000_000 / 8 * 60);
    timeline.advance(at(START + MINUTE / 2));
    timeline
        .add_bytes(Basis::Granted, Spread::new(ByteCount::new(u64::MAX), at(START), at(START + MINUTE / 2)));
    assert_eq!((timeline.minutes.used(), timeline.minutes.committed()), (promised, promised));
    let reported = ByteCount::new(5);
    timeline.add_bytes(Basis::Ungranted, Spread::new(reported, at(START), at(START + MINUTE / 2)));
    assert_eq!(timeline.minutes.used(), promised.plus(reported), "a report of an app server is not capped");
}

#[test]
fn a_grant_that_crosses_the_reset_is_committed_in_part_in_each_period() {
    let mut timeline = timeline(1_738_368_000_000 - 10 * MINUTE);
    timeline
        .minutes
        .change_live(minutes(at(1_738_368_000_000 - 10 * MINUTE), at(1_738_368_000_000 + 5 * MINUTE)), ONE);
    let per_minute = 3_000_000 / 8 * 60;
    assert_eq!(timeline.minutes.committed(), ByteCount::new(10 * per_minute));
    timeline.advance(at(1_738_368_000_000));
    assert_eq!(timeline.minutes.used(), ByteCount::ZERO);
    assert_eq!(timeline.minutes.committed(), ByteCount::new(5 * per_minute));
}

#[test]
fn after_a_sleep_of_years_usage_starts_at_zero() {
    let mut timeline = timeline(START);
    timeline.add_bytes(Basis::Granted, Spread::new(ByteCount::new(5), at(START), at(START)));
    timeline.advance(at(START + 200 * 365 * 24 * 60 * MINUTE));
    assert_eq!(timeline.minutes.used(), ByteCount::ZERO);
    assert!(previous(&timeline).is_none(), "no process saw the previous period");
    timeline.change_clocks(Basis::Granted, 0, 1);
    timeline.advance(at(START + 200 * 365 * 24 * 60 * MINUTE + 4_000));
    assert_eq!(timeline.minutes.used(), ByteCount::new(1_000_000));
}

#[test]
fn bytes_from_two_periods_ago_are_not_charged_to_the_previous_one() {
    let day = 24 * 60 * MINUTE;
    // 2025-01-16 to 2025-03-01 is 44 days, 28 of them in February.
    let start = START - 14 * day;
    let mut timeline = timeline(start);
    timeline.minutes.change_live(minutes(at(start), at(start + 44 * day)), ONE);
    timeline.advance(at(start + 44 * day));
    timeline.add_bytes(Basis::Granted, Spread::new(ByteCount::new(44_000), at(start), at(start + 44 * day)));
    assert_eq!(previous(&timeline), Some(ByteCount::new(28_000)));
}

#[test]
fn no_byte_is_lost_or_doubled_at_the_reset() {
    const RESET: i64 = 1_738_368_000_000;
    for (seed, mut dice) in Dice::cases(256) {
        let bytes = dice.roll() >> (14 + dice.below(50));
        let [before, after] = [(); 2].map(|()| i64::try_from(dice.below(90)).unwrap() * MINUTE + 7_919);
        let mut timeline = timeline(RESET - before);
        timeline.advance(at(RESET + after));
        timeline.add_bytes(
            Basis::Granted,
            Spread::new(ByteCount::new(bytes), at(RESET - before), at(RESET + after)),
        );
        let previous = previous(&timeline).map_or(0, ByteCount::get);
        assert_eq!(previous + timeline.minutes.used().get(), bytes, "seed {seed}");
    }
}
