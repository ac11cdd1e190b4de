//! What a crash, a restart or a copy leaves.

use super::prelude::*;
use crate::restart::check_restart;
use crate::walk::settings;

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

/// The billing day changed from the 29th to the 28th in a February of 28 days: the period began on the same day. The sums began
/// at zero, and the rows of grants did not.
#[test]
fn another_billing_day_that_begins_the_same_period_changes_no_sum() {
    let ops = vec![
        Wait { millis: 27 * DAY + 19 * HOUR + 32 * MINUTE, share: 256 },
        Mint { life: 3_600, delay: 2_966 },
        Open { nth: 0, relayed: Some(true) },
        Change(settings::Change::BillingDay(29)),
        RenewWhenDue { nth: 0, life: 3_600, delay: 0 },
        Change(settings::Change::BillingDay(28)),
        Pause { millis: 903_547, share: 47 },
        MintFromPool { life: 300, age: 30 },
        Read { back: 477_339, missed: 23 },
        MintUnwritten { life: 86_400, written: Written::No },
        Mint { life: 300, delay: 2_216 },
        Open { nth: 0, relayed: None },
        Wait { millis: 876_427, share: 256 },
        Beat { nth: 0, bytes: Some(509_972_727), relayed: None },
        Read { back: 1, missed: 0 },
    ];
    let settings =
        Settings { limit: 100_000_000_000, user_limit: Some(2_000_000_000), percent: 100, ..ESTIMATE };
    check(&Scenario { settings, before_reset: 4 * HOUR, ops });
}

/// A lost volume was a new ledger whose bound held.
#[test]
fn a_new_ledger_lacks_the_credentials_that_the_provider_has_counted_before_it_began() {
    let mut ops = vec![
        Mint { life: 172_800, delay: 0 },
        Wait { millis: HOUR, share: 256 },
        LoseLedger,
        Read { back: 0, missed: 0 },
    ];
    ops.extend([Wait { millis: HOUR, share: 256 }; 50]);
    check(&Scenario { settings: ESTIMATE, before_reset: 20 * DAY, ops });
}

/// A ledger without a write knows no time from before the machine started, so its time is certain.
#[test]
fn a_lost_ledger_knows_no_time_before_the_machine_started() {
    let ops = vec![
        Wait { millis: 31 * DAY, share: 256 },
        LoseLedger,
        Reboot { millis: 26_080, share: 250, behind: 0 },
    ];
    let settings = Settings { sources: &[IceSource::Relay], clients: 3, ..ESTIMATE };
    check(&Scenario { settings, before_reset: 20 * DAY, ops });
}

/// The process was paused over a reset and then crashed. What its relay had carried in between was not written.
#[test]
fn what_a_relay_carries_while_the_time_is_in_doubt_is_lost_with_the_process() {
    let ops = vec![
        Wait { millis: 7_252_151, share: 256 },
        Wait { millis: 5_841_127, share: 256 },
        Read { back: 1_258_031, missed: 23 },
        Pause { millis: 4_382_207, share: 226 },
        Join { life: 300 },
        Wait { millis: 698_707, share: 256 },
        Crash,
        Wait { millis: 370_072_555, share: 256 },
    ];
    let sources = &[IceSource::Relay, IceSource::Cloudflare];
    check(&Scenario { settings: Settings { sources, clients: 3, ..ESTIMATE }, before_reset: 4 * HOUR, ops });
}

/// What a page pulled while the machine was off belonged to the last period. With another billing day it belongs to the present one.
#[test]
fn what_nobody_watched_comes_back_with_another_billing_day() {
    let wait = |millis, share| Wait { millis, share };
    let ops = vec![
        wait(82_411, 106),
        wait(1_967_861, 256),
        wait(116_243, 26),
        wait(112_897, 128),
        Freeze(true),
        wait(33_013, 45),
        wait(475_432, 247),
        wait(3_191_294, 256),
        OpenPage,
        wait(82_582, 128),
        Pull { nth: 1_294_285_108_162_880_064, more: 9_544_948_408_550_032_761, is_answered: true },
        wait(39_735, 160),
        wait(13_749, 128),
        wait(186_707, 128),
        wait(196_938, 256),
        wait(20_931, 196),
        wait(325_461, 256),
        Pause { millis: 16_272, share: 142 },
        wait(37_724, 140),
        Coturn(Cli::Late),
        wait(33_072, 30),
        Reboot { millis: 7_165_934, share: 114, behind: 0 },
        wait(574_451, 256),
        Change(settings::Change::BillingDay(31)),
    ];
    let settings = Settings { sfu: true, limit: 10_000_000_000, lag: 600_000, ..STRICT };
    let settings = Settings { sources: settings::COTURN, cli: true, probes: true, clients: 2, ..settings };
    let settings = Settings { is_fast: true, unlisted: true, has_addresses: true, rows_max: 12, ..settings };
    check(&Scenario { settings, before_reset: 4 * HOUR, ops });
}

/// With another billing day, days that nobody has counted belong to this period again. What was promised for their minutes must come back
/// with them: what the page has reported is nearly nothing.
#[test]
fn days_that_come_back_keep_what_is_promised_for_their_minutes() {
    let ops = vec![
        Mint { life: 86_400, delay: 0 },
        Open { nth: 0, relayed: Some(true) },
        Wait { millis: MINUTE, share: 256 },
        Beat { nth: 0, bytes: Some(1_000), relayed: Some(true) },
        Wait { millis: HOUR, share: 256 },
        Wait { millis: 4 * HOUR, share: 256 },
        Change(settings::Change::BillingDay(15)),
        Wait { millis: 1_000, share: 256 },
    ];
    check(&Scenario { settings: ESTIMATE, before_reset: 4 * HOUR, ops });
}

/// A session of the SFU whose life had ended with the period went on. Its new row was removed instead of the old one, and its promise
/// with it.
#[test]
fn a_session_that_goes_on_after_its_life_and_its_period_is_promised() {
    let settings = Settings { sources: &[IceSource::Relay, IceSource::Cloudflare], sfu: true, ..ESTIMATE };
    let ops = vec![
        OpenPage,
        Wait { millis: 4 * HOUR + MINUTE, share: 256 },
        Pull { nth: 0, more: 9_639_829_635_888_859_065, is_answered: true },
    ];
    check(&Scenario { settings, before_reset: 4 * HOUR, ops });
}
