//! What many tests begin with.

mod dice;

pub(crate) use dice::Dice;

use std::sync::atomic::{AtomicI64, Ordering};

use crate::budget::Terms;
use crate::evidence::Reading;
use crate::promise::Rates;
use crate::units::{BillingDay, BitRate, ByteCount, Timestamp};
use crate::verdict::BudgetMode;

/// 1 GB a month, estimated, and 2 Mbps for each grant.
pub(crate) fn terms() -> Terms {
    let rate = BitRate::new(2_000_000);
    Terms {
        ends_calls: true,
        limit: ByteCount::new(1_000_000_000),
        billing_day: BillingDay::new(1).unwrap(),
        mode: BudgetMode::Estimate,
        rates: Rates { estimated: rate, liability: rate, promises_cap_claims: false },
    }
}

/// A reading that the provider gives twice, a minute apart and a minute after all others of this process.
pub(crate) fn agreeing(reading: Reading) -> [Reading; 2] {
    static ANSWERS: AtomicI64 = AtomicI64::new(1);
    [(); 2].map(|()| {
        let at = Timestamp::from_millis(ANSWERS.fetch_add(1, Ordering::Relaxed) * 60_000);
        Reading { at, ..reading }
    })
}
