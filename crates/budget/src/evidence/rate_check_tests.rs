use super::*;
use crate::testing::Dice;

const TAIL: Duration = Duration::from_secs(7_200);

fn minute(n: u64) -> Timestamp {
    // 2025-01-15T12:00:00Z
    Timestamp::from_millis(1_736_942_400_000).plus_millis(n * 60_000)
}

fn add(check: &mut RateCheck, n: u64, granted: u64, grant_minutes: u128, live: u32) {
    let granted = ByteCount::new(granted);
    let minutes = |count| GrantMinutes { count, bytes: 15_000_000 * count };
    let (settled, live) = (minutes(grant_minutes), minutes(live.into()));
    let point = Point { as_of: minute(n), granted, minutes: settled, settled, live };
    check.add(point, granted);
}

fn check() -> RateCheck {
    RateCheck::new(BitRate::new(2_000_000), TAIL, 0, RateCheckState::default())
}

fn holds(check: &RateCheck) -> bool {
    check.excess() == Excess::default()
}

#[test]
fn bytes_that_the_grants_could_relay_fit_and_show_the_rate() {
    let mut check = check();
    add(&mut check, 0, 0, 0, 1);
    assert_eq!(check.observed(), None, "one reading shows no rate");
    // Ten minutes of one grant at 1 Mbps.
    add(&mut check, 10, 75_000_000, 10, 1);
    assert_eq!(check.observed(), Some(BitRate::new(1_000_000)));
    assert_eq!(check.excess(), Excess::default());
}

#[test]
fn the_excess_is_the_most_of_one_span_until_the_period_ends_or_the_rate_is_assumed() {
    let mut check = check();
    add(&mut check, 0, 0, 0, 1);
    // Ten minutes at 8 Mbps. With the minute at either end twelve are promised at 2 Mbps.
    add(&mut check, 10, 600_000_000, 10, 1);
    let excess =
        Excess { bytes: ByteCount::new(420_000_000), rate: BitRate::new(6_666_667), ..Excess::default() };
    assert_eq!(check.excess(), excess);
    for n in 11..130 {
        add(&mut check, n, 600_000_000, u128::from(n), 1);
    }
    assert_eq!(check.excess(), excess);
    for (mbps, left) in [(2, excess), (6, excess), (7, Excess::default())] {
        let again = RateCheck::new(BitRate::new(mbps * 1_000_000), TAIL, 0, check.state());
        assert_eq!(again.excess(), left, "{mbps} Mbps");
    }
    let without_grant = Excess { rate: BitRate::default(), ..excess };
    assert_eq!(without_grant.at(BitRate::new(100_000_000), TAIL), without_grant);
    check.begin_period();
    assert_eq!(check.excess(), Excess::default());
}

#[test]
fn a_new_grant_does_not_hide_an_excess_that_goes_on() {
    let mut check = check();
    // One grant at 8 Mbps. After ten minutes there are a hundred others, which relay nothing.
    for n in 0..120 {
        let live = if n < 10 { 1 } else { 101 };
        add(&mut check, n, 60_000_000 * n, u128::from(n) + 100 * u128::from(n.saturating_sub(10)), live);
        assert_eq!(holds(&check), n == 0, "minute {n}");
    }
}

#[test]
fn bytes_after_tails_add_up_until_the_longest_tail_is_assumed() {
    let mut check = check();
    let after = |bytes, seconds| Excess {
        bytes: ByteCount::new(bytes),
        tail: Duration::from_secs(seconds),
        ..Excess::default()
    };
    for (bytes, seconds) in [(3, 7_500), (4, 7_800), (5, 7_260)] {
        check.record(Excesses { after_tails: after(bytes, seconds), ..Excesses::default() });
    }
    assert_eq!(check.excess(), after(12, 7_800));
    for (assumed, left) in [(7_799, 12), (7_800, 0)] {
        let (rate, tail) = (BitRate::new(2_000_000), Duration::from_secs(assumed));
        let again = RateCheck::new(rate, tail, 0, check.state());
        assert_eq!(again.excess().bytes.get(), left, "{assumed}");
    }
}

#[test]
fn a_burst_is_seen_after_a_quiet_hour() {
    let mut check = check();
    for n in 0..50 {
        add(&mut check, n, 0, 10 * u128::from(n), 10);
    }
    // Five minutes of ten grants at 4 Mbps: far less than they may relay in an hour.
    add(&mut check, 54, 1_500_000_000, 540, 10);
    assert!(!holds(&check));
}

#[test]
fn the_highest_hour_is_an_average_over_whole_hours_and_ends_with_the_period() {
    let mut check = check();
    assert_eq!(check.highest_hour(), None);
    let kbps = |check: &RateCheck| check.highest_hour().unwrap().get() / 1_000;
    // Ten grants, of which one relays at 2 Mbps in each second minute, then in each minute of one hour.
    let mut bytes = 0;
    for n in 0..=240 {
        bytes += if n % 2 == 0 || (61..=120).contains(&n) { 15_000_000 } else { 0 };
        add(&mut check, n, bytes, 10 * u128::from(n), 10);
        match n {
            10 => assert_eq!(kbps(&check), 100, "a part of an hour is better than nothing"),
            60..=119 => assert_eq!(kbps(&check), 100, "minute {n}"),
            120.. => assert_eq!(kbps(&check), 200, "minute {n}"),
            _ => {}
        }
    }
    let mut fast = self::check();
    add(&mut fast, 0, 0, 0, 1);
    add(&mut fast, 60, 15_000_000 * 60 * 200, 60, 1);
    assert_eq!(kbps(&fast), 100_000, "no relay carries more for one grant");
    let again = RateCheck::new(BitRate::new(2_000_000), TAIL, 0, check.state());
    assert_eq!(kbps(&again), 200, "it is stored");
    check.begin_period();
    assert_eq!(check.highest_hour(), check.observed());
}

#[test]
fn bytes_without_any_grant_break_the_assumption_without_a_rate() {
    let mut check = check();
    add(&mut check, 0, 0, 0, 0);
    add(&mut check, 1, 1, 0, 0);
    assert_eq!(check.excess(), Excess { bytes: ByteCount::new(1), ..Excess::default() });
}

#[test]
fn an_excess_within_the_sampling_margin_is_accepted() {
    let mut check = RateCheck::new(BitRate::new(2_000_000), TAIL, 5, RateCheckState::default());
    add(&mut check, 0, 1_000_000_000_000, 0, 0);
    add(&mut check, 1, 1_050_000_000_000, 0, 0);
    assert!(holds(&check));
    add(&mut check, 2, 1_110_000_000_000, 0, 0);
    assert!(!holds(&check));
}

#[test]
fn the_second_reading_of_a_minute_is_compared_with_the_first() {
    let mut check = check();
    add(&mut check, 0, 0, 0, 1);
    add(&mut check, 0, 100_000_000_000, 0, 1);
    assert!(!holds(&check));
}

#[test]
fn grants_within_the_assumed_rate_never_break_the_assumption() {
    for (seed, mut dice) in Dice::cases(128) {
        let mut check = check();
        let (mut bytes, mut minutes) = (0, 0);
        for n in 0..200 {
            let (live, share) = (dice.below(50), dice.below(61));
            bytes += 15_000_000 * live * share / 60;
            minutes += u128::from(live);
            add(&mut check, n, bytes, minutes, u32::try_from(live).unwrap());
            assert!(holds(&check), "seed {seed}");
        }
    }
}
