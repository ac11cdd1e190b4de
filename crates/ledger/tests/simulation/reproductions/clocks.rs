//! Clocks that are wrong, and machines that were off or paused.

use turn_ledger::IceSource;

use super::{DAY, ESTIMATE, HOUR, MINUTE, STRICT};
use crate::check;
use crate::walk::Scenario;
use crate::walk::ops::Op::{
    ClockGlitch, Crash, LeavePage, Mint, OpenPage, Pause, Pull, Read, ReadLast, Reboot, Stream, Wait,
};
use crate::walk::settings::Settings;

/// A credential was minted while the wall clock was ahead and right. Its sessions were ended by the books' time, and began again.
#[test]
fn a_credential_from_a_time_in_doubt_is_not_cut_before_it_expires() {
    let settings = Settings { sources: &[IceSource::Coturn, IceSource::Cloudflare], cli: true, ..STRICT };
    let ops = vec![
        Mint { life: 3_600, delay: 881 },
        Reboot { millis: 528_123, share: 256, behind: 0 },
        Mint { life: 300, delay: 2_585 },
        ReadLast { missed: 22 },
        Mint { life: 3_600, delay: 3_048 },
        Wait { millis: 5_521, share: 22 },
        Mint { life: 300, delay: 2_174 },
        Mint { life: 60, delay: 1_726 },
        Mint { life: 3_600, delay: 413 },
        Wait { millis: 215_719, share: 256 },
    ];
    check(&Scenario {
        settings: Settings { has_addresses: true, unlisted: true, clients: 3, ..settings },
        before_reset: 300_000,
        ops,
    });
}

/// Grants minted while the wall clock was ahead and not accepted lost the whole jump once it was accepted.
#[test]
fn grants_minted_while_the_clock_is_in_doubt_are_promised_until_they_end() {
    for settings in [ESTIMATE, STRICT] {
        let mut ops = vec![Pause { millis: 8 * HOUR, share: 0 }];
        for _ in 0..2 {
            ops.extend(vec![Mint { life: 300, delay: 0 }; 5]);
            ops.extend([Wait { millis: 6 * MINUTE, share: 0 }, Read { back: 0, missed: 0 }]);
        }
        ops.push(Wait { millis: 3 * HOUR, share: 256 });
        check(&Scenario { settings, before_reset: 20 * DAY, ops });
    }
}

/// The clock was 8 h behind at one start and right at the next. The time that the machine was off was added to the books at once, and
/// grants that had been minted meanwhile lost it.
#[test]
fn a_clock_behind_at_a_start_and_right_at_the_next_does_not_shorten_promises() {
    for settings in [ESTIMATE, STRICT] {
        let off = |behind| Reboot { millis: 8 * HOUR, share: 0, behind };
        let mut ops = vec![Mint { life: 3_600, delay: 0 }, off(8 * 3_600_000)];
        ops.extend(vec![Mint { life: 86_400, delay: 0 }; 5]);
        ops.extend([Wait { millis: 10 * MINUTE, share: 0 }, off(0), Read { back: 0, missed: 0 }]);
        ops.extend(vec![Mint { life: 86_400, delay: 0 }; 5]);
        ops.extend([Wait { millis: 6 * MINUTE, share: 256 }, Wait { millis: 30 * HOUR, share: 256 }]);
        check(&Scenario { settings, before_reset: 20 * DAY, ops });
    }
}

/// A new process accepted a jump of the wall clock at once that the one before had doubted.
#[test]
fn a_crash_does_not_end_the_doubt_about_a_jump() {
    for settings in [ESTIMATE, STRICT] {
        let mut ops = vec![Mint { life: 3_600, delay: 0 }; 5];
        ops.push(Pause { millis: 8 * HOUR, share: 0 });
        ops.extend(vec![Mint { life: 3_600, delay: 0 }; 5]);
        ops.push(Crash);
        ops.extend(vec![Mint { life: 3_600, delay: 0 }; 5]);
        ops.extend([Wait { millis: 6 * MINUTE, share: 0 }, Read { back: 0, missed: 0 }]);
        ops.push(Wait { millis: 3 * HOUR, share: 256 });
        check(&Scenario { settings, before_reset: 20 * DAY, ops });
    }
}

/// The machine was off for hours while media flowed to a page, and the page left before the time was known. What it had taken was not
/// charged.
#[test]
fn a_page_that_leaves_while_the_time_is_in_doubt_is_charged_for_it() {
    let ops = vec![
        OpenPage,
        Pull { nth: 0, more: 1, is_answered: true },
        Stream { nth: 0, active: 2 },
        Reboot { millis: 4 * HOUR - MINUTE, share: 128, behind: 0 },
        LeavePage { nth: 0 },
        Wait { millis: 20 * MINUTE, share: 256 },
    ];
    for settings in [ESTIMATE, STRICT] {
        let settings = Settings { sfu: true, limit: 100_000_000_000, ..settings };
        check(&Scenario { settings, before_reset: 20 * DAY, ops: ops.clone() });
    }
}

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
