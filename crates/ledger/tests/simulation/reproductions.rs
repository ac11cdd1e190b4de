//! Scenarios that failed once. They are literal operations, so a change of the random choice does not change them.

use turn_ledger::{IceSource, Written};

use crate::check;
use crate::restart::check_restart;
use crate::walk::Scenario;
use crate::walk::coturn::Cli;
use crate::walk::ops::Op::{
    Beat, Change, ClockGlitch, Copy, Coturn, Crash, CrashAfterCommit, Down, Flush, Freeze, From, Join, Leave,
    LeavePage, Mint, MintFromPool, MintUnwritten, Open, OpenPage, Pause, Pull, Read, ReadAhead, ReadLast,
    ReadRelay, Reboot, RenewWhenDue, ReplaceKey, Restore, Stream, Wait,
};
use crate::walk::settings::{self, COTURN, Settings};

const ESTIMATE: Settings = Settings::DEFAULT;
const STRICT: Settings = Settings { strict: true, ..ESTIMATE };
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A grant was admitted because a reading had released budget, and the process died before the reading was on disk.
#[test]
fn a_strict_grant_is_stored_with_the_reading_that_admitted_it() {
    let mut ops = vec![Mint { life: 300, delay: 0 }; 20];
    ops.extend([Wait { millis: 3 * HOUR, share: 0 }, Read { back: 0, missed: 0 }]);
    ops.extend(vec![CrashAfterCommit { life: 300 }; 12]);
    ops.push(Wait { millis: 3 * HOUR, share: 256 });
    check(&Scenario { settings: STRICT, before_reset: 20 * DAY, ops });
}

/// A connection that was silent over a reset was charged for the time before it. The ended period shows more than was promised.
#[test]
fn what_is_charged_late_for_an_ended_period_is_at_most_one_heartbeat() {
    let ops = vec![
        Mint { life: 300, delay: 1_990 },
        Open { nth: 0, relayed: None },
        Wait { millis: 226_761, share: 256 },
        Beat { nth: 0, bytes: Some(119_653_438), relayed: None },
        Wait { millis: 1_779_230_278, share: 256 },
    ];
    check(&Scenario { settings: Settings { clients: 2, ..STRICT }, before_reset: 300_000, ops });
}

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

/// coturn was asked before a reset and answered after it. What it had carried was used, but not measured.
#[test]
fn a_listing_that_is_on_its_way_over_a_reset_is_measured() {
    let settings =
        Settings { sources: &[IceSource::Coturn, IceSource::Cloudflare], cli: true, clients: 3, ..ESTIMATE };
    let mut ops = vec![Join { life: 600 }];
    ops.extend(
        [30_506, 17_088, 17_088, 17_088, 43_481, 17_088, 63_758].map(|millis| Wait { millis, share: 256 }),
    );
    ops.extend([Coturn(Cli::Late), Wait { millis: 91_111, share: 235 }, Join { life: 3_600 }]);
    check(&Scenario { settings, before_reset: 300_000, ops });
}

/// A day that had settled was counted again after the key was replaced. What might be missing in the old count stayed committed beside
/// the new one.
#[test]
fn bytes_of_a_replaced_key_are_committed_once() {
    let ops = vec![
        Wait { millis: 23 * HOUR, share: 0 },
        Mint { life: 300, delay: 0 },
        Wait { millis: 3 * HOUR, share: 256 },
        Read { back: 0, missed: 49 },
        ReplaceKey,
    ];
    for settings in [ESTIMATE, STRICT] {
        check(&Scenario { settings, before_reset: 20 * DAY, ops: ops.clone() });
    }
}

/// No process ran during a whole period. After a restart, the sum of an older period was shown as the previous one.
#[test]
fn a_period_that_no_process_saw_has_no_sum() {
    let ops = vec![
        Mint { life: 3_600, delay: 0 },
        Wait { millis: HOUR, share: 256 },
        Read { back: 0, missed: 0 },
        Wait { millis: DAY, share: 0 },
        Flush,
        Wait { millis: 70 * DAY, share: 0 },
    ];
    check_restart(&Scenario { settings: ESTIMATE, before_reset: 4 * HOUR, ops });
}

/// A grant that could not be written is undone. The other changes of its batch stay.
#[test]
fn a_grant_that_was_not_written_is_not_found_after_a_restart() {
    for written in [Written::No, Written::Unknown] {
        let ops = vec![
            Mint { life: 300, delay: 0 },
            MintUnwritten { life: 86_400, written },
            Wait { millis: MINUTE, share: 256 },
            Flush,
        ];
        check_restart(&Scenario { settings: STRICT, before_reset: 20 * DAY, ops });
    }
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

/// The margin of sampling was a share of the bytes that flowed, and these were counted lower than what sampling may miss.
#[test]
fn what_sampling_missed_of_another_key_is_no_excess() {
    let ops = vec![
        Wait { millis: 3_119_586_436, share: 256 },
        Mint { life: 300, delay: 2_012 },
        Wait { millis: 8_125, share: 182 },
        ReplaceKey,
        Mint { life: 86_400, delay: 1_190 },
        Wait { millis: 11_014_988, share: 256 },
        Read { back: 252_219, missed: 24 },
        Wait { millis: 1_314_033_676, share: 256 },
        Read { back: 1_034_571, missed: 50 },
        ReadAhead { millis: 1_559_318 },
    ];
    check(&Scenario { settings: ESTIMATE, before_reset: 4 * HOUR, ops });
}

/// The margin of sampling was a share of the bytes under the new key only, and what the old one relayed was counted anew.
#[test]
fn what_sampling_missed_before_the_key_was_replaced_is_no_excess() {
    let ops = vec![
        Mint { life: 86_400, delay: 2_844 },
        Pause { millis: 253_063_894, share: 225 },
        Read { back: 891_442, missed: 24 },
        ReadAhead { millis: 1_513_528 },
        ReplaceKey,
        ReadAhead { millis: 1_952_722 },
    ];
    check(&Scenario { settings: ESTIMATE, before_reset: 5 * MINUTE, ops });
}

/// The same after several replaced keys: the bytes that flowed were fewer than the bytes that had been counted.
#[test]
fn what_sampling_missed_before_two_replaced_keys_is_no_excess() {
    let ops = vec![
        Mint { life: 86_400, delay: 2_841 },
        Wait { millis: 12_978_559, share: 256 },
        Pause { millis: 2_916_131, share: 239 },
        Wait { millis: 116_601, share: 19 },
        Wait { millis: 12_105_900, share: 256 },
        ReplaceKey,
        Wait { millis: 48_373, share: 56 },
        Mint { life: 86_400, delay: 1_995 },
        Pause { millis: 101_104_926, share: 216 },
        ReplaceKey,
        Mint { life: 300, delay: 1_316 },
        ReadAhead { millis: 3_273_193 },
        Wait { millis: 3_892_998, share: 256 },
        Wait { millis: 5_735_605, share: 256 },
        Read { back: 371_145, missed: 39 },
        Wait { millis: 76_616, share: 16 },
        ReadAhead { millis: 581_435 },
        ReplaceKey,
        ReadAhead { millis: 5_643_195 },
    ];
    check(&Scenario { settings: ESTIMATE, before_reset: 4 * HOUR, ops });
}

/// No process ran for longer than the tails of coturn's sessions. They went on for the long tail and ended, and what they
/// relayed after the short one was in no figure.
#[test]
fn sessions_that_were_not_cut_for_a_while_are_promised_the_long_tail() {
    let settings = Settings { limit: 1_000_000_000, sources: COTURN, cli: true, ..STRICT };
    let mut ops = vec![Mint { life: 60, delay: 0 }; 5];
    ops.extend([Down { millis: 3 * HOUR, share: 256 }, Wait { millis: 10 * MINUTE, share: 256 }]);
    check(&Scenario { settings, before_reset: 20 * DAY, ops });
}

/// coturn stopped answering, and the machine was paused before the broker noticed. Nobody cut its sessions in the pause.
#[test]
fn a_pause_without_coturns_answer_ends_the_short_tails() {
    let ops = vec![
        Mint { life: 3_600, delay: 3_635 },
        Mint { life: 300, delay: 2_145 },
        Coturn(Cli::Silent),
        Mint { life: 172_800, delay: 715 },
        Mint { life: 172_800, delay: 2_043 },
        Pause { millis: 12_150_004, share: 252 },
    ];
    let settings = Settings { sources: COTURN, cli: true, ..ESTIMATE };
    check(&Scenario { settings, before_reset: 4 * HOUR, ops });
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

/// A grant of the relay was revoked and had ended when its tail became longer. The relay had no session of it, and what the tail added
/// was never released.
#[test]
fn a_revoked_grant_that_a_longer_tail_revives_is_released() {
    let settings = Settings {
        sources: &[IceSource::Cloudflare, IceSource::Relay],
        sfu: true,
        clients: 3,
        ended_max: 5,
        ..STRICT
    };
    let ops = vec![
        From { nth: 1 },
        MintUnwritten { life: 2 * 86_400, written: Written::Unknown },
        Join { life: 300 },
        Leave { nth: 3_062_975_811_419_835_504 },
        Wait { millis: 4_222_249, share: 256 },
        Change(settings::Change::Tail(Some(20_000))),
        ReadRelay { is_slow: true },
    ];
    check(&Scenario { settings, before_reset: 5 * MINUTE, ops });
}

/// Two settled days were counted again, this time almost without a sampling error. What the margin of the first counts covered was
/// committed a second time.
#[test]
fn a_better_count_of_a_settled_day_commits_no_more() {
    let settings = Settings { limit: 10_000_000_000, billing_day: 29, clients: 2, ..STRICT };
    let ops = vec![
        Mint { life: 60, delay: 1_826 },
        Mint { life: 86_400, delay: 1_757 },
        Mint { life: 86_400, delay: 884 },
        Wait { millis: 1_334_582_410, share: 256 },
        MintUnwritten { life: 3_600, written: Written::No },
        MintUnwritten { life: 86_400, written: Written::Unknown },
        MintFromPool { life: 172_800, age: 14_763 },
        Read { back: 1_356_554, missed: 50 },
        MintFromPool { life: 172_800, age: 2_011 },
        Wait { millis: 9_970_319, share: 256 },
        Read { back: 834_703, missed: 42 },
        MintUnwritten { life: 3_600, written: Written::No },
        Mint { life: 3_600, delay: 408 },
        Wait { millis: 10_589_197, share: 256 },
        Read { back: 1_527_569, missed: 37 },
        Mint { life: 3_600, delay: 2_619 },
        Mint { life: 3_600, delay: 830 },
        CrashAfterCommit { life: 60 },
        Read { back: 602_186, missed: 19 },
    ];
    check(&Scenario { settings, before_reset: 5 * MINUTE, ops });
}

/// Minting was stopped for a while. Afterwards a client could claim 100 Mbps for that time, too.
#[test]
fn the_time_of_a_stop_is_not_claimed_at_the_rate_after_it() {
    let ops = vec![
        Mint { life: 3_600, delay: 0 },
        Freeze(true),
        Open { nth: 0, relayed: Some(true) },
        Wait { millis: 11 * MINUTE, share: 64 },
        Freeze(false),
        Beat { nth: 0, bytes: None, relayed: Some(true) },
    ];
    check(&Scenario { settings: ESTIMATE, before_reset: DAY, ops });
}

/// The interval between reports became shorter. A connection that had not reported since was given up before the end of the time that it
/// was charged.
#[test]
fn a_connection_is_charged_the_same_in_all_places_when_the_interval_becomes_shorter() {
    let ops = vec![
        Mint { life: 3_600, delay: 0 },
        Open { nth: 0, relayed: None },
        Change(settings::Change::Heartbeat(30)),
        Wait { millis: HOUR, share: 64 },
    ];
    check(&Scenario { settings: STRICT, before_reset: DAY, ops });
}

/// The relay is not configured any more, and the process dies. What the connections of its grants had claimed was taken back, as if the
/// relay had counted them.
#[test]
fn a_crash_without_a_relay_counts_nothing_of_it() {
    const WITH_RELAY: &[IceSource] = &[IceSource::Relay, IceSource::Cloudflare];
    let ops = vec![
        Mint { life: 3_600, delay: 0 },
        Change(settings::Change::Sources(COTURN)),
        Open { nth: 0, relayed: None },
        Wait { millis: 45 * MINUTE, share: 64 },
        Crash,
    ];
    check(&Scenario { settings: Settings { sources: WITH_RELAY, ..ESTIMATE }, before_reset: DAY, ops });
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

/// A tail that became longer at a restart also covers minutes that were counted before it.
#[test]
fn a_count_after_a_longer_tail_is_compared_with_what_is_promised_since_the_one_before() {
    let settings = Settings { unlisted: true, is_fast: true, clients: 3, ..ESTIMATE };
    let ops = vec![
        Mint { life: 172_800, delay: 3_487 },
        Mint { life: 172_800, delay: 370 },
        Change(settings::Change::Tail(Some(0))),
        Wait { millis: 537_424_454, share: 256 },
        Mint { life: 60, delay: 3_141 },
        Wait { millis: 1_900_659_677, share: 256 },
        Mint { life: 86_400, delay: 2_121 },
        Mint { life: 60, delay: 3_176 },
        Mint { life: 3_600, delay: 431 },
        Mint { life: 3_600, delay: 3_001 },
        Wait { millis: 926_710, share: 128 },
        Read { back: 0, missed: 0 },
        Wait { millis: 10_521_484, share: 256 },
        Change(settings::Change::Tail(Some(600))),
        Read { back: 1_592_575, missed: 40 },
    ];
    check(&Scenario { settings, before_reset: 300_000, ops });
}

/// A later count missed more of what grants had relayed, and less than that had flowed through the SFU meanwhile: the sum was lower.
#[test]
fn what_sampling_missed_of_grants_hides_no_byte_of_the_sfu() {
    let settings = Settings { sampling: 5, sources: &[IceSource::Cloudflare], sfu: true, ..STRICT };
    let ops = vec![
        Mint { life: 300, delay: 3_927 },
        Mint { life: 86_400, delay: 1_897 },
        Mint { life: 3_600, delay: 3_478 },
        Wait { millis: 13_163_260, share: 256 },
        Mint { life: 60, delay: 2_568 },
        Wait { millis: 12_747_208, share: 256 },
        Change(settings::Change::Mbps(8)),
        Read { back: 609_361, missed: 47 },
        Read { back: 374_758, missed: 13 },
        OpenPage,
        OpenPage,
        Pull { nth: 1, more: 2, is_answered: true },
        Pull { nth: 0, more: 2, is_answered: true },
        Wait { millis: 9_251_032, share: 256 },
        Pull { nth: 0, more: 5, is_answered: false },
        Stream { nth: 1, active: 3 },
        Wait { millis: 13_610_484, share: 256 },
        Read { back: 149_299, missed: 35 },
        Mint { life: 300, delay: 3_710 },
    ];
    check(&Scenario { settings: Settings { clients: 2, ..settings }, before_reset: 5 * MINUTE, ops });
}

/// What the relay had carried since the copy was in no figure, and the bound held again before the period ended.
#[test]
fn what_was_carried_after_a_copy_is_missing_until_the_period_ends() {
    let ops = vec![
        Copy,
        Change(settings::Change::Sources(&[IceSource::Relay])),
        Join { life: 300 },
        RenewWhenDue { nth: 1, life: 300, delay: 281 },
        Restore,
        ReadRelay { is_slow: true },
        ReadAhead { millis: 1_845_551 },
    ];
    let settings = Settings { sources: settings::COTURN, cli: true, clients: 3, ..ESTIMATE };
    check(&Scenario { settings, before_reset: 5 * MINUTE, ops });
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

/// A client relayed twice as fast as was promised, and the count missed so much that it did not show.
#[test]
fn what_sampling_missed_of_a_client_that_was_too_fast_is_within_the_margin() {
    let settings = Settings {
        limit: 1_000_000_000_000_000,
        billing_day: 30,
        user_limit: Some(3_000_000_000),
        percent: 100,
        is_fast: true,
        clients: 3,
        ..STRICT
    };
    let ops = vec![
        Wait { millis: 44 * MINUTE, share: 256 },
        Mint { life: 300, delay: 1_759 },
        Wait { millis: 17 * MINUTE, share: 256 },
        Read { back: 0, missed: 0 },
        Mint { life: 300, delay: 2_614 },
        ReplaceKey,
        Wait { millis: 17 * DAY, share: 256 },
        Read { back: 9 * MINUTE, missed: 48 },
    ];
    check(&Scenario { settings, before_reset: 5 * MINUTE, ops });
}
