//! What a crash, a restart or a copy leaves.

use turn_ledger::{IceSource, Written};

use super::{DAY, ESTIMATE, HOUR, MINUTE, STRICT};
use crate::check;
use crate::restart::check_restart;
use crate::walk::Scenario;
use crate::walk::ops::Op::{
    Beat, Change, Copy, Crash, CrashAfterCommit, Flush, Join, Mint, MintFromPool, MintUnwritten, Open, Pause,
    Read, ReadAhead, ReadRelay, RenewWhenDue, Restore, Wait,
};
use crate::walk::settings::{self, COTURN, Settings};

/// A grant was admitted because a reading had released budget, and the process died before the reading was on disk.
#[test]
fn a_strict_grant_is_stored_with_the_reading_that_admitted_it() {
    let mut ops = vec![Mint { life: 300, delay: 0 }; 20];
    ops.extend([Wait { millis: 3 * HOUR, share: 0 }, Read { back: 0, missed: 0 }]);
    ops.extend(vec![CrashAfterCommit { life: 300 }; 12]);
    ops.push(Wait { millis: 3 * HOUR, share: 256 });
    check(&Scenario { settings: STRICT, before_reset: 20 * DAY, ops });
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
