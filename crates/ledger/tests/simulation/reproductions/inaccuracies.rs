//! Each inaccuracy of the books that the checks accept is stated in docs/BUDGET.md, and has a scenario whose checks need it.

use strum::VariantArray;

use super::prelude::*;
use super::{counts, reports};
use crate::walk::inaccuracies::Inaccuracy;

const BUDGET: &str = include_str!("../../../../../docs/BUDGET.md");

fn wait(millis: u64) -> Op {
    Wait { millis, share: 256 }
}

/// A count lacks the last ten minutes, and what sampling missed of it is limited without them. The credential relays as long as was promised.
fn a_count_that_lacks_minutes_limits_what_sampling_missed() -> Scenario {
    let read = Read { back: 0, missed: 48 };
    let ops = vec![
        Late { millis: 10 * MINUTE },
        Mint { life: 3_600, delay: 0 },
        wait(HOUR),
        read,
        Late { millis: 0 },
        wait(3 * HOUR),
        read,
        wait(HOUR),
        wait(HOUR),
    ];
    let settings = Settings { limit: 1_000_000_000_000, ..ESTIMATE };
    Scenario { settings, before_reset: 20 * DAY, ops }
}

/// The provider loses two hours of a credential's bytes, and the broker reads again when the period is over.
fn hours_before_a_reset_are_lost() -> Scenario {
    let mint = Mint { life: 14_400, delay: 0 };
    let ops = vec![mint, wait(HOUR), LoseCounts { millis: 2 * HOUR }, wait(5 * HOUR), ReadLast { missed: 0 }];
    let settings = Settings { limit: 1_000_000_000_000, ..ESTIMATE };
    Scenario { settings, before_reset: 4 * HOUR, ops }
}

/// A report after the reset takes back what its connection was charged by time before the reset, and then the days of that time belong to the
/// period again.
fn a_report_takes_back_what_a_past_day_was_charged() -> Scenario {
    let ops = vec![
        Mint { life: 3_600, delay: 0 },
        Open { nth: 0, relayed: None },
        wait(10 * MINUTE),
        Beat { nth: 0, bytes: Some(0), relayed: None },
        Change(BillingDay(28)),
    ];
    Scenario { settings: ESTIMATE, before_reset: 5 * MINUTE, ops }
}

/// A scenario that passes only because the inaccuracy is accepted.
fn shown_by(inaccuracy: Inaccuracy) -> Scenario {
    match inaccuracy {
        Inaccuracy::Sampled => a_count_that_lacks_minutes_limits_what_sampling_missed(),
        Inaccuracy::LostHours => hours_before_a_reset_are_lost(),
        Inaccuracy::TakenBack => a_report_takes_back_what_a_past_day_was_charged(),
        Inaccuracy::VouchedRate | Inaccuracy::VouchedDay => reports::a_rate_that_is_vouched_for(),
        Inaccuracy::ForeignSessions => counts::sessions_that_nothing_promises(),
    }
}

#[test]
fn each_inaccuracy_that_is_accepted_is_stated_and_still_occurs() {
    for inaccuracy in Inaccuracy::VARIANTS {
        assert!(BUDGET.contains(inaccuracy.stated()), "docs/BUDGET.md does not state {inaccuracy:?}");
    }
    let is_needed = |inaccuracy: &Inaccuracy| check(&shown_by(*inaccuracy)).of((*inaccuracy).into()) > 0;
    let gone: Vec<_> = Inaccuracy::VARIANTS.iter().filter(|inaccuracy| !is_needed(inaccuracy)).collect();
    assert!(gone.is_empty(), "the books have become better than these entries, which must go: {gone:?}");
}
