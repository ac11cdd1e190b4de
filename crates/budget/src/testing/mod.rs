//! What many tests begin with.

mod dice;

pub(crate) use dice::Dice;

use crate::budget::Terms;
use crate::promise::rates::Rates;
use crate::units::period::BillingDay;
use crate::units::{BitRate, ByteCount};
use crate::verdict::BudgetMode;

/// 1 GB a month, estimated, and 2 Mbps for each grant.
pub(crate) fn terms() -> Terms {
    let rate = BitRate::new(2_000_000);
    Terms {
        limit: ByteCount::new(1_000_000_000),
        billing_day: BillingDay::new(1).unwrap(),
        mode: BudgetMode::Estimate,
        rates: Rates { estimated: rate, liability: rate, promises_cap_claims: false },
    }
}
