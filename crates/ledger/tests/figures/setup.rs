//! The settings of the books that the models share.

use std::collections::BTreeMap;
use std::time::Duration;

use turn_ledger::{
    BilledDirections, BillingDay, BitRate, Bounds, BudgetMode, ByteCount, Rates, Setup, SourceTerms, Tariff,
    Terms, UsageRules,
};

/// One source, 2 Mbps for a grant, and periods from the first of a month.
pub(crate) fn setup(mode: BudgetMode, limit: u64, source: SourceTerms) -> Setup {
    let rate = BitRate::new(2_000_000);
    let promises_cap_claims = mode == BudgetMode::Strict;
    Setup {
        terms: Terms {
            ends_calls: true,
            limit: ByteCount::new(limit),
            billing_day: BillingDay::new(1).unwrap_or_else(|| unreachable!("the first is a day")),
            mode,
            rates: Rates { estimated: rate, liability: rate, promises_cap_claims },
        },
        sources: vec![source],
        unseen: vec![],
        server_limits: BTreeMap::new(),
        rules: UsageRules {
            heartbeat: Duration::from_secs(30),
            billed: BilledDirections::Egress.into(),
            estimated_rate: rate,
        },
        bounds: Bounds::default(),
        default_source: source.owner.source,
        turn_keys: vec![],
        tariff: Tariff::default(),
    }
}
