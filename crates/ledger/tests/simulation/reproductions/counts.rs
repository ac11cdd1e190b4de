//! What a provider or coturn counts late, sampled, or under another key.

use turn_ledger::{IceSource, Written};

use super::{DAY, ESTIMATE, HOUR, MINUTE, STRICT};
use crate::check;
use crate::walk::Scenario;
use crate::walk::coturn::Cli;
use crate::walk::ops::Op::{
    Change, Coturn, CrashAfterCommit, Join, Mint, MintFromPool, MintUnwritten, OpenPage, Pause, Pull, Read,
    ReadAhead, ReplaceKey, Stream, Wait,
};
use crate::walk::settings::{self, Settings};

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
