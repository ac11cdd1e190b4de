//! The settings of a simulated broker, and how it opens its books with them.

use std::time::Duration;

use turn_ledger::books::Books;
use turn_ledger::changes::Stored;
use turn_ledger::connection::{BilledDirections, UsageRules};
use turn_ledger::connections::Bounds;
use turn_ledger::ledger::{SourceTerms, Terms};
use turn_ledger::open::Setup;
use turn_ledger::period::BillingDay;
use turn_ledger::source::IceSource;
use turn_ledger::timeline::Rates;
use turn_ledger::units::{BitRate, ByteCount, Timestamp};
use turn_ledger::verdict::BudgetMode;

use super::lateness::Lateness;
use super::world::RATE;

/// The settings. The world relays within all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) strict: bool,
    /// The configured limit in bytes.
    pub(crate) limit: u64,
}

impl Default for Settings {
    fn default() -> Self {
        // The limit is low enough to be reached.
        Self { strict: false, limit: 10_000_000_000 }
    }
}

/// The source of a mint.
pub(crate) const SOURCE: IceSource = IceSource::Cloudflare;
/// How much of the true bytes the provider's count may miss, in percent.
const SAMPLING: u32 = 5;

impl Settings {
    pub(crate) fn billing_day(&self) -> BillingDay {
        BillingDay::new(1).unwrap_or_else(|| unreachable!("the first is a day"))
    }

    /// How long a holder relays after the expiry of a credential of this source.
    pub(crate) fn tail(&self, source: IceSource) -> Duration {
        source.expiry_tail()
    }

    pub(super) fn lateness(&self) -> Lateness {
        Lateness::new(Duration::ZERO, SAMPLING)
    }

    /// The books with these settings, at the stored time.
    pub(crate) fn open(&self, stored: Stored, now: Timestamp) -> Books {
        let terms = Terms {
            limit: ByteCount::new(self.limit),
            billing_day: self.billing_day(),
            rates: Rates {
                estimated: BitRate::new(2_000_000),
                liability: BitRate::new(RATE * 8_000),
                unreported_grant: ByteCount::ZERO,
                promises_cap_claims: self.strict,
            },
            mode: if self.strict { BudgetMode::Strict } else { BudgetMode::Estimate },
        };
        let rules = UsageRules {
            heartbeat: Duration::from_secs(600),
            billed: BilledDirections::Egress,
            estimated_rate: BitRate::new(2_000_000),
        };
        let sources = vec![self.terms_of(SOURCE)];
        let setup = Setup { terms, sources, rules, bounds: Bounds::default(), default_source: SOURCE };
        let then = stored.now.unwrap_or(now);
        setup.open(Some(stored), then)
    }

    fn terms_of(&self, source: IceSource) -> SourceTerms {
        SourceTerms { source, tail: self.tail(source), cut_tail: None, sampling: SAMPLING, is_read: true }
    }
}
