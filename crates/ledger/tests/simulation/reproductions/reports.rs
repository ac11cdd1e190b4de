//! What clients report of their connections.

use super::prelude::*;

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

/// The simulation kept only its first excuse: that an app server had opened a connection. It lost the second one, which holds for users:
/// nobody watched an SFU session for four hours.
#[test]
fn a_user_may_exceed_a_limit_while_nobody_watches() {
    let ops = vec![
        ReporterOpens { relayed: None },
        OpenPage,
        Pull { nth: 0, more: 2_368_152_043_018_861_732, is_answered: false },
        Down { millis: 4 * HOUR, share: 256 },
    ];
    let (limit, user_limit) = (100_000_000_000, Some(2_600_000_000));
    let settings = Settings { sfu: true, limit, user_limit, percent: 100, billing_day: 30, ..STRICT };
    check(&Scenario { settings, before_reset: 4 * HOUR, ops });
}

/// An app server said of a client's connection more than any client relays. Its word counts in full, so the rate that it shows is assumed.
pub(super) fn a_rate_that_is_vouched_for() -> Scenario {
    let ops = vec![
        Mint { life: 3_600, delay: 0 },
        Open { nth: 0, relayed: None },
        Wait { millis: 10 * MINUTE, share: 256 },
        ReporterVouches { nth: 0, bytes: Some(2_000_000_000), relayed: None },
    ];
    Scenario { settings: Settings { limit: 100_000_000_000, ..ESTIMATE }, before_reset: 20 * DAY, ops }
}

#[test]
fn a_rate_that_an_app_server_vouches_for_is_assumed_though_nobody_relays_so_fast() {
    check(&a_rate_that_is_vouched_for());
}
