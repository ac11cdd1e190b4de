use super::*;

const TAIL: Duration = Duration::from_secs(7_200);

fn minute(n: u64) -> Timestamp {
    // 2025-01-15T12:00:00Z
    Timestamp::from_millis(1_736_942_400_000).plus_millis(n * 60_000)
}

fn add(check: &mut RateCheck, n: u64, granted: u64, grant_minutes: u128) {
    let minutes = GrantMinutes { count: grant_minutes, bytes: 15_000_000 * grant_minutes };
    check.add(Point { as_of: minute(n), granted: ByteCount::new(granted), minutes });
}

fn check() -> RateCheck {
    RateCheck::new(BitRate::new(2_000_000), TAIL, RateCheckState::default())
}

#[test]
fn bytes_that_the_grants_could_relay_fit_and_show_the_rate() {
    let mut check = check();
    add(&mut check, 0, 0, 0);
    assert_eq!(check.state.observed, None, "one reading shows no rate");
    // Ten minutes of one grant at 1 Mbps.
    add(&mut check, 10, 75_000_000, 10);
    assert_eq!(check.state.observed, Some(BitRate::new(1_000_000)));
}

#[test]
fn the_excess_of_chains_is_the_most_so_far_until_the_period_ends_or_the_rate_is_assumed() {
    let mut check = check();
    let seen = |bytes, mbps: u64| Excess {
        bytes: ByteCount::new(bytes),
        rate: BitRate::new(mbps * 1_000_000),
        ..Excess::default()
    };
    for of_chains in [seen(400, 6), seen(300, 3)] {
        check.record(Excesses { of_chains, ..Excesses::default() });
        assert_eq!(check.excess(), seen(400, 6));
    }
    for (mbps, left) in [(5, seen(400, 6)), (6, Excess::default())] {
        let again = RateCheck::new(BitRate::new(mbps * 1_000_000), TAIL, check.state);
        assert_eq!(again.excess(), left, "{mbps} Mbps");
    }
    let without_grant = Excess { rate: BitRate::default(), ..seen(400, 6) };
    assert_eq!(without_grant.at(BitRate::new(100_000_000), TAIL), without_grant);
    check.begin_period();
    assert_eq!(check.excess(), Excess::default());
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
        let again = RateCheck::new(rate, tail, check.state);
        assert_eq!(again.excess().bytes.get(), left, "{assumed}");
    }
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
        add(&mut check, n, bytes, 10 * u128::from(n));
        match n {
            10 => assert_eq!(kbps(&check), 100, "a part of an hour is better than nothing"),
            60..=119 => assert_eq!(kbps(&check), 100, "minute {n}"),
            120.. => assert_eq!(kbps(&check), 200, "minute {n}"),
            _ => {}
        }
    }
    let mut fast = self::check();
    add(&mut fast, 0, 0, 0);
    add(&mut fast, 60, 15_000_000 * 60 * 200, 60);
    assert_eq!(kbps(&fast), 100_000, "no relay carries more for one grant");
    let again = RateCheck::new(BitRate::new(2_000_000), TAIL, check.state);
    assert_eq!(kbps(&again), 200, "it is stored");
    check.begin_period();
    assert_eq!(check.highest_hour(), check.state.observed);
}
