//! The timeline against a naive model that remembers every event and adds it all up for each question.

use std::collections::BTreeMap;

use super::*;
use crate::budget::flow::Mark;
use crate::units::BitRate;
use proptest::prelude::*;

const MINUTE: i64 = 60_000;
/// 2025-01-30T00:00Z: two days before a reset on the first.
const START: i64 = 1_738_195_200_000;

fn rates(promises_cap_claims: bool) -> Rates {
    Rates {
        estimated: BitRate::new(2_000_000),
        liability: BitRate::new(3_000_000),
        silent_grant: ByteCount::new(7_000_000),
        promises_cap_claims,
    }
}

/// How far a count may lie off the truth, in percent.
const SAMPLING: u32 = 5;

fn timeline(now: i64) -> Timeline {
    timeline_of(rates(false), now)
}

fn timeline_of(rates: Rates, now: i64) -> Timeline {
    Timeline::new(BillingDay::new(1).unwrap(), rates, SAMPLING, at(now))
}

fn reading(as_of: i64, granted: u64, other: u64) -> Reading {
    let period = BillingDay::new(1).unwrap().period_at(at(as_of - 1));
    let (granted, other) = (ByteCount::new(granted), ByteCount::new(other));
    Reading { period, as_of: at(as_of), granted, other }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[derive(Clone, Debug)]
enum Op {
    Advance { millis: i64 },
    Start { basis: Basis },
    Stop { basis: Basis },
    Bytes { basis: Basis, bytes: u64, back: i64 },
    Time { basis: Basis, back: i64 },
    Grant { life: i64 },
    Release { nth: usize },
    TakeBack { nth: usize },
    Read { back: i64, granted: u64, other: u64 },
}

fn basis() -> impl Strategy<Value = Basis> {
    prop_oneof![Just(Basis::Granted), Just(Basis::Ungranted)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0i64..30 * MINUTE).prop_map(|millis| Op::Advance { millis }),
        1 => (0i64..26 * 60 * MINUTE).prop_map(|millis| Op::Advance { millis }),
        3 => basis().prop_map(|basis| Op::Start { basis }),
        2 => basis().prop_map(|basis| Op::Stop { basis }),
        3 => (basis(), 0u64..1 << 34, 0i64..4 * 60 * MINUTE)
            .prop_map(|(basis, bytes, back)| Op::Bytes { basis, bytes, back }),
        2 => (basis(), 0i64..4 * 60 * MINUTE).prop_map(|(basis, back)| Op::Time { basis, back }),
        3 => (1i64..30 * 60 * MINUTE).prop_map(|life| Op::Grant { life }),
        1 => (0usize..20).prop_map(|nth| Op::Release { nth }),
        1 => (0usize..20).prop_map(|nth| Op::TakeBack { nth }),
        2 => (0i64..20 * MINUTE, 0u64..1 << 36, 0u64..1 << 36)
            .prop_map(|(back, granted, other)| Op::Read { back, granted, other }),
    ]
}

/// Every stretch, grant and claim that ever was, added up from scratch.
struct Model {
    rates: Rates,
    now: i64,
    running: Vec<(Basis, i64)>,
    stretches: Vec<(Basis, i64, i64)>,
    claims: Vec<(Basis, u64, i64, i64)>,
    grants: Vec<(i64, i64)>,
    /// The latest reading that was taken, and the most that it can stand for.
    reading: Option<Reading>,
    at_most: u128,
}

impl Model {
    fn new(promises_cap_claims: bool) -> Self {
        Self {
            rates: rates(promises_cap_claims),
            now: START,
            running: vec![],
            stretches: vec![],
            claims: vec![],
            grants: vec![],
            reading: None,
            at_most: 0,
        }
    }

    /// The most that the reading of this period can stand for.
    fn at_most(&self) -> u128 {
        let period = BillingDay::new(1).unwrap().period_at(at(self.now));
        if self.reading.is_some_and(|reading| reading.period == period) { self.at_most } else { 0 }
    }

    /// Up to where this period was counted by the provider, and its counts.
    fn measured(&self) -> (i64, u128, u128) {
        let period = BillingDay::new(1).unwrap().period_at(at(self.now));
        match self.reading.filter(|reading| reading.period == period) {
            Some(Reading { as_of, granted, other, .. }) => {
                (as_of.as_millis(), granted.get().into(), other.get().into())
            }
            None => (period.start.as_millis(), 0, 0),
        }
    }

    fn minutes(&self) -> impl Iterator<Item = i64> {
        let period = BillingDay::new(1).unwrap().period_at(at(self.now));
        (period.start.as_millis()..period.end.as_millis()).step_by(usize::try_from(MINUTE).unwrap())
    }

    fn time_in(&self, basis: Basis, minute: i64) -> u128 {
        let open = self.running.iter().map(|(basis, from)| (*basis, *from, self.now));
        let all = self.stretches.iter().copied().chain(open).filter(|(of, _, _)| *of == basis);
        let millis: i64 = all.map(|(_, from, to)| (to.min(minute + MINUTE) - from.max(minute)).max(0)).sum();
        u128::try_from(millis).unwrap()
    }

    fn bytes_in(&self, basis: Basis, minute: i64) -> u128 {
        let end = minute + MINUTE;
        let share = |bytes: u64, from: i64, to: i64, t: i64| {
            let span = u128::try_from(to - from).unwrap();
            let elapsed = u128::try_from((t.min(to) - from).max(0)).unwrap();
            (u128::from(bytes) * elapsed).checked_div(span).unwrap_or(0)
        };
        let of_basis = self.claims.iter().filter(|(of, ..)| *of == basis);
        let in_minute = of_basis.map(|&(_, bytes, from, to)| {
            if from == to {
                u128::from(bytes) * u128::from(minute <= to && to < end)
            } else {
                share(bytes, from, to, end) - share(bytes, from, to, minute)
            }
        });
        in_minute.sum()
    }

    fn estimate(&self, minute: i64) -> u128 {
        let bytes = |basis| {
            self.rates.estimated.over_millis(self.time_in(basis, minute)) + self.bytes_in(basis, minute)
        };
        let cap = if self.rates.promises_cap_claims { self.promised(minute) } else { u128::MAX };
        bytes(Basis::Granted).min(cap) + bytes(Basis::Ungranted)
    }

    fn promised(&self, minute: i64) -> u128 {
        let alive = |&&(from, until): &&(i64, i64)| from < minute + MINUTE && until > minute;
        let live = u128::try_from(self.grants.iter().filter(alive).count()).unwrap();
        self.rates.liability.over_millis(60_000) * live
    }

    fn used(&self) -> u128 {
        let (as_of, granted, other) = self.measured();
        let later = self.minutes().filter(|minute| *minute >= as_of);
        granted + other + later.map(|minute| self.estimate(minute)).sum::<u128>()
    }

    fn committed(&self) -> u128 {
        let (as_of, granted, other) = self.measured();
        let worst = |minute| match () {
            () if minute >= as_of => self.estimate(minute).max(self.promised(minute)),
            () => self.promised_between(minute.max(as_of), minute + MINUTE),
        };
        let settled = if self.rates.promises_cap_claims {
            self.at_most() + (other * 100).div_ceil(u128::from(100 - SAMPLING))
        } else {
            granted + other
        };
        let unmeasured = self.minutes().filter(|minute| minute + MINUTE > as_of);
        settled + unmeasured.map(worst).sum::<u128>()
    }

    /// What was promised in `[from, to)`, each part of a minute rounded down.
    fn promised_between(&self, from: i64, to: i64) -> u128 {
        let part = |minute: i64| {
            let millis = u128::try_from((to.min(minute + MINUTE) - from.max(minute)).max(0)).unwrap();
            self.promised(minute) * millis / 60_000
        };
        self.minutes().map(part).sum()
    }

    /// A reading was taken: what sampling may have missed of it is no more than was promised since the one before, if
    /// the data fit that.
    fn take(&mut self, reading: Reading) {
        let (before, ..) = self.measured();
        let known =
            if self.reading.is_some_and(|held| held.period == reading.period) { self.at_most } else { 0 };
        let promised = known + self.promised_between(before, reading.as_of.as_millis());
        let granted = u128::from(reading.granted.get());
        let sampled = (granted * 100).div_ceil(u128::from(100 - SAMPLING));
        self.at_most = if granted > promised { sampled } else { sampled.min(promised) };
        self.reading = Some(reading);
    }

    fn committed_next(&self) -> u128 {
        let end = BillingDay::new(1).unwrap().period_at(at(self.now)).end.as_millis();
        let last = self.grants.iter().map(|(_, until)| *until).max().unwrap_or(end);
        let minutes = (end..last.max(end)).step_by(usize::try_from(MINUTE).unwrap());
        minutes.map(|minute| self.promised(minute)).sum()
    }
}

fn run(ops: &[Op], promises_cap_claims: bool) -> (Timeline, Model) {
    let mut model = Model::new(promises_cap_claims);
    let mut timeline = timeline_of(model.rates, START);
    for op in ops {
        apply(op, &mut timeline, &mut model);
    }
    (timeline, model)
}

fn apply(op: &Op, timeline: &mut Timeline, model: &mut Model) {
    let now = model.now;
    match *op {
        Op::Advance { millis } => {
            model.now += millis;
            timeline.advance(at(model.now));
        }
        Op::Start { basis } => {
            model.running.push((basis, now));
            timeline.start_clock(basis);
        }
        Op::Stop { basis } => {
            if let Some(nth) = model.running.iter().position(|(of, _)| *of == basis) {
                let (_, from) = model.running.remove(nth);
                model.stretches.push((basis, from, now));
                timeline.stop_clock(basis);
            }
        }
        Op::Bytes { basis, bytes, back } => {
            let from = (now - back).max(START);
            model.claims.push((basis, bytes, from, now));
            timeline.add_bytes(basis, ByteCount::new(bytes), at(from), at(now));
        }
        Op::Time { basis, back } => {
            let from = (now - back).max(START);
            model.stretches.push((basis, from, now));
            timeline.add_time(basis, at(from), at(now));
        }
        Op::Grant { life } => {
            model.grants.push((now, now + life));
            timeline.add_grant(at(now), at(now + life));
        }
        Op::Release { nth } => {
            if nth < model.grants.len() {
                let (from, until) = model.grants.remove(nth);
                timeline.remove_grant(at(from), at(until));
            }
        }
        Op::TakeBack { nth } => {
            if nth < model.stretches.len() {
                let (basis, from, to) = model.stretches.remove(nth);
                timeline.remove_time(basis, at(from), at(to));
            }
        }
        Op::Read { back, granted, other } => {
            let reading = reading(now - back, granted, other);
            if timeline.take_reading(&reading) == Taken::Yes && reading.period == timeline.period() {
                model.take(*timeline.reading().unwrap());
                model.rates.liability = timeline.liability();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn running_sums_equal_the_naive_model(ops in prop::collection::vec(op(), 1..40), caps in any::<bool>()) {
        let (timeline, model) = run(&ops, caps);
        prop_assert_eq!(u128::from(timeline.used().get()), model.used());
        prop_assert_eq!(u128::from(timeline.committed().get()), model.committed());
        prop_assert_eq!(u128::from(timeline.committed_next().get()), model.committed_next());
    }
}

proptest! {
    #[test]
    fn used_never_exceeds_committed(ops in prop::collection::vec(op(), 1..60), caps in any::<bool>()) {
        let (timeline, _) = run(&ops, caps);
        prop_assert!(timeline.used() <= timeline.committed());
    }

    #[test]
    fn usage_is_monotone_within_a_period(ops in prop::collection::vec(op(), 1..60)) {
        let mut timeline = timeline(START);
        let mut model = Model::new(false);
        for op in ops.iter().filter(|op| !matches!(op, Op::TakeBack { .. } | Op::Read { .. })) {
            let before = (timeline.period(), timeline.used());
            apply(op, &mut timeline, &mut model);
            if timeline.period() == before.0 {
                prop_assert!(timeline.used() >= before.1, "{op:?} lowered usage");
            }
        }
    }

    #[test]
    fn no_byte_is_lost_or_doubled_at_the_reset(bytes in 0u64..1 << 50, before in 0i64..MINUTE * 90, after in 0i64..MINUTE * 90) {
        const RESET: i64 = 1_738_368_000_000;
        let mut timeline = timeline(RESET - before);
        timeline.advance(at(RESET + after));
        timeline.add_bytes(Basis::Granted, ByteCount::new(bytes), at(RESET - before), at(RESET + after));
        let previous = timeline.previous().map_or(0, |(_, used)| used.get());
        prop_assert_eq!(previous + timeline.used().get(), bytes);
    }
}

#[test]
fn strict_rules_let_no_claim_count_beyond_what_its_minutes_were_promised() {
    let mut timeline = timeline_of(rates(true), START);
    timeline.add_grant(at(START), at(START + MINUTE));
    let promised = ByteCount::new(3_000_000 / 8 * 60);
    timeline.advance(at(START + MINUTE / 2));
    timeline.add_bytes(Basis::Granted, ByteCount::new(u64::MAX), at(START), at(START + MINUTE / 2));
    assert_eq!((timeline.used(), timeline.committed()), (promised, promised));
    let word = ByteCount::new(5);
    timeline.add_bytes(Basis::Ungranted, word, at(START), at(START + MINUTE / 2));
    assert_eq!(
        timeline.used(),
        promised.plus(word),
        "an app server's word is no promise of ours and counts in full"
    );
}

#[test]
fn usage_rises_while_a_connection_runs() {
    let mut timeline = timeline(START);
    timeline.start_clock(Basis::Granted);
    timeline.advance(at(START + 4_000));
    assert_eq!(timeline.used(), ByteCount::new(1_000_000));
    timeline.advance(at(START + 8_000));
    assert_eq!(timeline.used(), ByteCount::new(2_000_000));
}

#[test]
fn a_grant_that_crosses_the_reset_is_committed_in_both_periods_each_its_part() {
    let mut timeline = timeline(1_738_368_000_000 - 10 * MINUTE);
    timeline.add_grant(at(1_738_368_000_000 - 10 * MINUTE), at(1_738_368_000_000 + 5 * MINUTE));
    let per_minute = 3_000_000 / 8 * 60;
    assert_eq!(timeline.committed(), ByteCount::new(10 * per_minute));
    timeline.advance(at(1_738_368_000_000));
    assert_eq!(timeline.used(), ByteCount::ZERO);
    assert_eq!(timeline.committed(), ByteCount::new(5 * per_minute));
}

#[test]
fn a_part_of_a_minute_is_committed_as_a_whole_one() {
    let mut timeline = timeline(START + 59_999);
    timeline.add_grant(at(START + 59_999), at(START + 60_001));
    assert_eq!(timeline.committed(), ByteCount::new(2 * 3_000_000 / 8 * 60));
}

#[test]
fn a_silent_grant_is_charged_once_when_it_ends_and_a_heard_one_is_not() {
    let mut timeline = timeline(START);
    timeline.expect_report(at(START + 10 * MINUTE));
    timeline.expect_report(at(START + 10 * MINUTE));
    timeline.heard_from_grant(at(START + 10 * MINUTE));
    timeline.advance(at(START + 10 * MINUTE));
    assert_eq!(timeline.used(), ByteCount::ZERO);
    timeline.advance(at(START + 60 * MINUTE));
    assert_eq!(timeline.used(), ByteCount::new(7_000_000));
}

#[test]
fn a_sleep_of_years_is_one_step_and_starts_at_zero() {
    let mut timeline = timeline(START);
    timeline.add_bytes(Basis::Granted, ByteCount::new(5), at(START), at(START));
    timeline.advance(at(START + 200 * 365 * 24 * 60 * MINUTE));
    assert_eq!(timeline.used(), ByteCount::ZERO);
    assert!(timeline.previous().is_none(), "the period before this one was slept through");
    timeline.start_clock(Basis::Granted);
    timeline.advance(at(START + 200 * 365 * 24 * 60 * MINUTE + 4_000));
    assert_eq!(timeline.used(), ByteCount::new(1_000_000));
}

#[test]
fn a_clock_that_steps_back_lowers_nothing() {
    let mut timeline = timeline(START);
    timeline.start_clock(Basis::Granted);
    timeline.advance(at(START + 8_000));
    timeline.advance(at(START - 31 * 24 * 60 * MINUTE));
    assert_eq!(timeline.used(), ByteCount::new(2_000_000));
}

#[test]
fn bytes_from_two_periods_ago_are_not_booked_on_the_previous_one() {
    let day = 24 * 60 * MINUTE;
    // 2025-01-16 to 2025-03-01 is 44 days, 28 of them in February.
    let start = START - 14 * day;
    let mut timeline = timeline(start);
    timeline.add_grant(at(start), at(start + 44 * day));
    timeline.advance(at(start + 44 * day));
    timeline.add_bytes(Basis::Granted, ByteCount::new(44_000), at(start), at(start + 44 * day));
    assert_eq!(timeline.previous().map(|(_, used)| used), Some(ByteCount::new(28_000)));
}

#[test]
fn what_silent_grants_will_cost_is_committed_before_it_falls_due() {
    let mut timeline = timeline(START);
    timeline.expect_report(at(START + 10 * MINUTE));
    timeline.expect_report(at(START + 10 * MINUTE));
    assert_eq!(timeline.committed(), ByteCount::new(14_000_000));
    timeline.heard_from_grant(at(START + 10 * MINUTE));
    assert_eq!(timeline.committed(), ByteCount::new(7_000_000));
    timeline.advance(at(START + 60 * MINUTE));
    assert_eq!(
        (timeline.used(), timeline.committed()),
        (ByteCount::new(7_000_000), ByteCount::new(7_000_000))
    );
}

#[test]
fn a_reading_replaces_the_estimate_of_the_time_that_it_covers_and_nothing_else() {
    let mut timeline = timeline(START);
    timeline.start_clock(Basis::Granted);
    timeline.advance(at(START + 20 * MINUTE));
    let a_minute = 2_000_000 / 8 * 60;
    assert_eq!(timeline.used(), ByteCount::new(20 * a_minute));
    assert_eq!(timeline.take_reading(&reading(START + 10 * MINUTE, 1_000, 7)), Taken::Yes);
    assert_eq!(timeline.used(), ByteCount::new(1_007 + 10 * a_minute));
    let late = ByteCount::new(500);
    timeline.add_bytes(Basis::Granted, late, at(START), at(START + 10 * MINUTE));
    assert_eq!(timeline.used(), ByteCount::new(1_007 + 10 * a_minute), "the provider has counted that time");
}

#[test]
fn a_reading_gives_promises_back_that_were_not_kept() {
    let mut timeline = timeline_of(rates(true), START);
    timeline.add_grant(at(START), at(START + 60 * MINUTE));
    timeline.advance(at(START + 60 * MINUTE));
    let promised = 60 * 3_000_000 / 8 * 60;
    assert_eq!(timeline.committed(), ByteCount::new(promised));
    assert_eq!(timeline.take_reading(&reading(START + 50 * MINUTE, 950, 0)), Taken::Yes);
    assert_eq!(
        timeline.committed(),
        ByteCount::new(promised / 6 + 1_000),
        "with what sampling may have missed"
    );
}

#[test]
fn in_the_worst_case_a_reading_stands_for_no_more_than_was_promised() {
    let mut timeline = timeline_of(rates(true), START);
    timeline.add_grant(at(START), at(START + 60 * MINUTE));
    timeline.advance(at(START + 60 * MINUTE));
    let before = timeline.committed();
    assert_eq!(timeline.take_reading(&reading(START + 60 * MINUTE, before.get(), 0)), Taken::Yes);
    assert_eq!((timeline.committed(), timeline.assumption().holds), (before, true));
}

#[test]
fn a_reading_of_another_period_counts_only_as_the_sum_of_the_one_before() {
    const RESET: i64 = 1_738_368_000_000;
    let mut timeline = timeline(START);
    timeline.add_bytes(Basis::Granted, ByteCount::new(5), at(START), at(START));
    timeline.advance(at(RESET + 20 * MINUTE));
    assert_eq!(timeline.take_reading(&reading(RESET - MINUTE, 900, 0)), Taken::OtherPeriod);
    assert_eq!(timeline.previous().map(|(_, used)| used), Some(ByteCount::new(5)));
    assert_eq!(timeline.take_reading(&reading(RESET, 900, 77)), Taken::Yes);
    assert_eq!(timeline.previous().map(|(_, used)| used), Some(ByteCount::new(977)));
    assert_eq!(timeline.used(), ByteCount::ZERO);
    assert_eq!(timeline.reading(), None);
}

#[test]
fn more_bytes_than_promised_raise_the_rate_until_the_data_fit_again() {
    let mut timeline = timeline_of(rates(false), START);
    timeline.add_grant(at(START), at(START + 600 * MINUTE));
    timeline.advance(at(START + 10 * MINUTE));
    let _ = timeline.take_reading(&reading(START, 0, 0));
    let before = timeline.committed();
    let _ = timeline.take_reading(&reading(START + 10 * MINUTE, 4_000_000_000, 0));
    assert!(!timeline.assumption().holds);
    assert!(
        timeline.committed() > before.plus(ByteCount::new(4_000_000_000)),
        "the rest at the observed rate"
    );
    for minute in 11..90 {
        timeline.advance(at(START + minute * MINUTE));
        let _ = timeline.take_reading(&reading(START + minute * MINUTE, 4_000_000_000, 0));
    }
    assert!(timeline.assumption().holds);
    let rest = 510 * 3_000_000 / 8 * 60;
    // The reading of minute 89 leaves that one and those after it.
    assert_eq!(timeline.committed(), ByteCount::new(4_000_000_000 + rest + 3_000_000 / 8 * 60));
}

#[test]
fn what_a_reading_taught_goes_to_disk_though_its_period_is_over() {
    let end = BillingDay::new(1).unwrap().period_at(at(START)).end.as_millis();
    let mut timeline = timeline(end - 30 * MINUTE);
    timeline.add_grant(at(end - 30 * MINUTE), at(end + 60 * MINUTE));
    for (minute, bytes) in [(20, 0), (25, 100_000_000_000)] {
        timeline.advance(at(end - (30 - minute) * MINUTE));
        assert_eq!(timeline.take_reading(&reading(end - (30 - minute) * MINUTE, bytes, 0)), Taken::Yes);
    }
    assert!(!timeline.assumption().holds);
    timeline.advance(at(end));
    let stored = StoredLane { reading: timeline.stored_reading(), ..StoredLane::default() };
    let again = Timeline::restore(BillingDay::new(1).unwrap(), rates(false), SAMPLING, timeline.now, &stored);
    assert_eq!((again.reading(), again.assumption()), (None, timeline.assumption()));
}

/// The operator replaces the TURN key: what the old one relayed is another key's from then on.
#[test]
fn bytes_that_change_their_key_are_not_counted_twice() {
    let mut timeline = timeline(START);
    timeline.advance(at(START + 60 * MINUTE));
    assert_eq!(timeline.take_reading(&reading(START + 10 * MINUTE, 500_000, 1_000)), Taken::Yes);
    assert_eq!(timeline.take_reading(&reading(START + 20 * MINUTE, 70, 501_000)), Taken::Yes);
    assert_eq!(timeline.used(), ByteCount::new(501_070));
    assert_eq!(timeline.take_reading(&reading(START + 30 * MINUTE, 80, 501_000)), Taken::Yes);
    assert_eq!(timeline.used(), ByteCount::new(501_080));
}

#[test]
fn restarts_between_readings_hide_nothing() {
    let mut timeline = timeline(START);
    timeline.add_grant(at(START), at(START + 600 * MINUTE));
    let day = BillingDay::new(1).unwrap();
    let live = |minute: i64, live| (START / MINUTE + minute, Mark { live, silent: 0 });
    let marks = BTreeMap::from([live(0, 1), live(600, -1)]);
    for minute in 1..6u32 {
        let now = START + i64::from(minute) * MINUTE;
        timeline.advance(at(now));
        let _ = timeline.take_reading(&reading(now, u64::from(minute) * 1_000_000_000, 0));
        let stored =
            StoredLane { marks: marks.clone(), reading: timeline.stored_reading(), ..StoredLane::default() };
        timeline = Timeline::restore(day, rates(false), SAMPLING, timeline.now, &stored);
    }
    assert!(!timeline.assumption().holds, "a GB a minute at 3 Mbps");
}

#[test]
fn a_little_too_much_each_hour_is_too_much_in_the_end() {
    const DAY: i64 = 24 * 60;
    let begin = START - 20 * DAY * MINUTE;
    let mut timeline = timeline(begin);
    timeline.add_grant(at(begin), at(begin + 20 * DAY * MINUTE));
    // 3 Mbps are promised, 22.5 MB a minute; after ten days four times as much flows.
    let (mut bytes, mut promised) = (0_u64, 0_u64);
    for minute in (0..20 * DAY).step_by(10) {
        timeline.advance(at(begin + minute * MINUTE));
        let _ = timeline.take_reading(&reading(begin + minute * MINUTE, bytes, 0));
        let excess = bytes - promised;
        assert!(timeline.assumption().holds || excess > 0, "no more than was promised at minute {minute}");
        assert!(!timeline.assumption().holds || excess <= bytes / 20 + 1_000_000_000, "{excess} of {bytes}");
        promised += 225_000_000;
        bytes += if minute < 10 * DAY { 225_000_000 } else { 900_000_000 };
    }
    assert!(!timeline.assumption().holds);
}
