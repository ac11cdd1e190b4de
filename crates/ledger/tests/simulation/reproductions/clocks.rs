//! Clocks that are wrong, and machines that were off or paused.

use super::prelude::*;

/// A glitch of the clock made promises longer than they were when they fitted. The limit of the user was then exceeded in the next period, and
/// a grant of the present one was taken for a mistake.
#[test]
fn a_grant_that_ends_in_this_period_needs_no_room_in_the_next() {
    let lives =
        [(86_400, 2_809), (3_600, 2_702), (60, 3_601), (86_400, 2_191), (172_800, 2_003), (86_400, 3_097)];
    let mut ops: Vec<_> = lives.into_iter().map(|(life, delay)| Mint { life, delay }).collect();
    ops.extend([ClockGlitch { millis: 349_627_118 }, Mint { life: 60, delay: 3_599 }]);
    let settings = Settings {
        limit: 100_000_000_000,
        sources: &[IceSource::Coturn, IceSource::Cloudflare],
        cli: true,
        user_limit: Some(4_000_000_000),
        relays_with_both: true,
        has_addresses: true,
        rows_max: 12,
        percent: 5,
        ended_max: 5,
        sfu: true,
        unlisted: true,
        clients: 2,
        ..STRICT
    };
    check(&Scenario { settings, before_reset: 300_000, ops });
}

/// Cloudflare's clock came only with what was refused: mints, and counts for those who read them.
#[test]
fn after_days_off_nobody_is_refused_for_longer_than_the_provider_takes_to_tell_the_time() {
    let mint = Mint { life: 3_600, delay: 0 };
    let read = Read { back: 0, missed: 0 };
    let off = [Pause { millis: 3 * DAY, share: 0 }, Reboot { millis: 3 * DAY, share: 0, behind: 0 }];
    for off in off {
        for ops in [vec![mint, off, mint], vec![read, mint, off, mint], vec![mint, off, Crash, mint]] {
            let settings = Settings { tells_time: true, ..ESTIMATE };
            check(&Scenario { settings, before_reset: 20 * DAY, ops });
        }
    }
}

/// What the copy lacks was counted from the time at which the copy was made.
#[test]
fn a_copy_from_before_a_day_off_lacks_what_was_minted_until_it_is_opened() {
    let read = Read { back: 0, missed: 0 };
    for off in [Pause { millis: 30 * HOUR, share: 0 }, Reboot { millis: 30 * HOUR, share: 0, behind: 0 }] {
        let mint = Mint { life: 172_800, delay: 0 };
        let mut ops = vec![read, Copy, off, mint, Restore, read];
        ops.extend([Wait { millis: HOUR, share: 256 }; 50]);
        let settings = Settings { tells_time: true, ..ESTIMATE };
        check(&Scenario { settings, before_reset: 20 * DAY, ops });
    }
}

/// The relay was not counted while the clock was in doubt, and the period began meanwhile. All bytes of that time were compared with what
/// was promised in the new period.
#[test]
fn what_a_relay_carried_before_a_reset_is_no_excess_of_the_new_period() {
    let ops = vec![
        From { nth: 1 },
        Join { life: 3_600 },
        ClockStep { millis: 13_334_704 },
        Wait { millis: 7_828_565, share: 256 },
    ];
    let settings = Settings {
        limit: 100_000_000_000,
        sources: &[IceSource::Cloudflare, IceSource::Relay],
        user_limit: Some(2_660_000_000),
        at_limit: true,
        percent: 100,
        ended_max: 5,
        unlisted: true,
        probes: true,
        provider_ahead: 118_000,
        clients: 2,
        ..ESTIMATE
    };
    check(&Scenario { settings, before_reset: 300_000, ops });
}

/// Each promised minute had the same share of what a relay carried over a reset. The share of somebody who relayed only after the reset was too
/// small.
#[test]
fn what_a_relay_carries_over_a_reset_is_of_the_new_period_as_far_as_its_promise_allows() {
    let wait = |millis| Wait { millis, share: 256 };
    let ops = vec![From { nth: 1 }, wait(11_599_088), Join { life: 172_800 }, wait(6_502_304)];
    let settings = Settings {
        limit: 100_000_000_000,
        sources: &[IceSource::Cloudflare, IceSource::Relay],
        user_limit: Some(4_720_000_000),
        percent: 100,
        ended_max: 5,
        lag: 600_000,
        provider_ahead: -118_000,
        tells_time: true,
        clients: 1,
        ..STRICT
    };
    check(&Scenario { settings, before_reset: 14_400_000, ops });
}

/// The oracle excused what was minted while the clock was behind until the reset, but not what the ended period says of it.
#[test]
fn what_was_minted_while_the_clock_was_behind_may_be_missing_in_an_ended_period() {
    let read = Read { back: 0, missed: 1 };
    let wait = |millis| Wait { millis, share: 256 };
    let ops = vec![
        Reboot { millis: 8 * HOUR, share: 256, behind: 28_800_000 },
        Mint { life: 86_400, delay: 0 },
        TakeOver { lost: 0, millis: 1_000, share: 256, behind: 0 },
        read,
        wait(HOUR),
        read,
        wait(20 * HOUR),
        wait(25 * DAY),
    ];
    let settings = Settings { limit: 1_000_000_000_000, percent: 100, clients: 2, ..STRICT };
    check(&Scenario { settings, before_reset: 20 * DAY, ops });
}
