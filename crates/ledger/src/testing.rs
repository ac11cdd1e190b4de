//! What many tests begin with.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::books::Books;
use crate::grants::summing::SpenderWalk;
use crate::grants::terms::Bounds;
use crate::ledger::Terms;
use crate::open::Setup;
use crate::rates::Rates;
use crate::source::IceSource;
use crate::spenders::key::SpenderKind;
use crate::spenders::listing::SpenderSums;
use crate::timeline::terms::SourceTerms;
use crate::units::period::BillingDay;
use crate::units::{BitRate, ByteCount};
use crate::usage_rules::{BilledDirections, UsageRules};
use crate::verdict::BudgetMode;

/// A report each 30 s. A connection is charged this rate while it reports no bytes.
pub(crate) fn rules(rate: u64) -> UsageRules {
    UsageRules {
        heartbeat: Duration::from_secs(30),
        billed: BilledDirections::Egress,
        estimated_rate: BitRate::new(rate),
    }
}

/// 1 GB a month and 2 Mbps for each grant, of Cloudflare alone, whose count may miss 5 %.
pub(crate) fn setup(mode: BudgetMode) -> Setup {
    let rules = rules(2_000_000);
    let rate = rules.estimated_rate;
    let promises_cap_claims = mode == BudgetMode::Strict;
    let source = IceSource::Cloudflare;
    Setup {
        terms: Terms {
            limit: ByteCount::new(1_000_000_000),
            billing_day: BillingDay::new(1).unwrap(),
            mode,
            rates: Rates { estimated: rate, liability: rate, promises_cap_claims },
        },
        sources: vec![SourceTerms {
            source,
            tail: Duration::from_secs(7_200),
            cut_tail: None,
            sampling: 5,
            is_read: true,
            is_probed: false,
        }],
        unseen: vec![],
        server_limits: BTreeMap::new(),
        rules,
        bounds: Bounds::default(),
        default_source: source,
    }
}

/// Who has spent in this period, looked at in one step.
pub(crate) fn walk(books: &Books, kind: SpenderKind) -> SpenderWalk {
    let mut walk = SpenderWalk::new(kind, None);
    while !walk.look(books.grants(), books.now()) {}
    walk
}

/// The rows of who spends, most bytes first.
pub(crate) fn spenders(books: &Books, kind: SpenderKind) -> Vec<SpenderSums> {
    walk(books, kind).rows(&books.period_bytes())
}
