//! The settings of a simulated broker, and how it opens its books with them.

use std::time::Duration;

use turn_ledger::books::Books;
use turn_ledger::changes::Stored;
use turn_ledger::connections::Bounds;
use turn_ledger::ledger::{SourceTerms, Terms};
use turn_ledger::open::Setup;
use turn_ledger::period::BillingDay;
use turn_ledger::source::IceSource;
use turn_ledger::spenders::SpenderTerms;
use turn_ledger::time::Moment;
use turn_ledger::timeline::Rates;
use turn_ledger::units::{BitRate, ByteCount};
use turn_ledger::usage_rules::{BilledDirections, UsageRules};
use turn_ledger::verdict::BudgetMode;

use super::lateness::Lateness;

/// The settings. The world relays within all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) strict: bool,
    /// The configured limit in bytes.
    pub(crate) limit: u64,
    pub(crate) billing_day: u32,
    /// The configured tail in seconds; `None`: that of the source.
    pub(crate) tail: Option<u64>,
    /// The highest rate that a grant is assumed to relay at.
    pub(crate) mbps: u64,
    /// How much of the true bytes the provider's count may miss, in percent.
    pub(crate) sampling: u32,
    /// `ICE_SOURCES`.
    pub(crate) sources: &'static [IceSource],
    /// Whether coturn's command line is configured.
    pub(crate) cli: bool,
    /// `USER_LIMIT_GB` in bytes. With a limit, every credential has a user.
    pub(crate) user_limit: Option<u64>,
    /// Whether a client that renews relays with both credentials at the full rate. The limit of a user holds, the budget may not.
    pub(crate) relays_with_both: bool,
}

/// How long relaying may outlive a grant that the broker ends: the value of the service.
const CUT_TAIL: Duration = Duration::from_secs(30);

/// One setting that is changed at a restart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Strict(bool),
    BillingDay(u32),
    Tail(Option<u64>),
    Mbps(u64),
    Sampling(u32),
    Sources(&'static [IceSource]),
    Cli(bool),
}

/// The sources of a scenario with coturn's command line.
pub(crate) const COTURN: &[IceSource] = &[IceSource::Coturn, IceSource::Cloudflare];
/// The sources of most scenarios.
pub(crate) const ONE: &[IceSource] = &[IceSource::Cloudflare];

impl Default for Settings {
    fn default() -> Self {
        // The limit is low enough to be reached.
        Self {
            strict: false,
            limit: 10_000_000_000,
            billing_day: 1,
            tail: None,
            mbps: 2,
            sampling: 5,
            sources: ONE,
            cli: false,
            user_limit: None,
            relays_with_both: false,
        }
    }
}

/// The source whose count is sampled and late.
pub(crate) const SOURCE: IceSource = IceSource::Cloudflare;

impl Settings {
    pub(crate) fn billing_day(&self) -> BillingDay {
        BillingDay::new(self.billing_day).unwrap_or_else(|| unreachable!("it is a day"))
    }

    /// How long a holder relays after the expiry of a credential of this source.
    pub(crate) fn tail(&self, source: IceSource) -> Duration {
        self.tail.map_or(source.expiry_tail(), Duration::from_secs)
    }

    /// The test of the lag, as the service begins it with these books.
    pub(super) fn lateness(&self, books: &Books) -> Lateness {
        Lateness::new(Duration::ZERO, self.sampling, books.snapshot().measured.late_counts)
    }

    /// The books with these settings.
    pub(crate) fn open(&self, stored: Stored, moment: Moment) -> Books {
        let terms = Terms {
            limit: ByteCount::new(self.limit),
            billing_day: self.billing_day(),
            rates: Rates {
                estimated: BitRate::new(2_000_000),
                liability: BitRate::new(self.mbps * 1_000_000),
                promises_cap_claims: self.strict,
            },
            mode: if self.strict { BudgetMode::Strict } else { BudgetMode::Estimate },
        };
        let rules = UsageRules {
            heartbeat: Duration::from_secs(600),
            billed: BilledDirections::Egress,
            estimated_rate: BitRate::new(2_000_000),
        };
        // Cloudflare's count is read also while it does not mint.
        let is_only_read = !self.sources.contains(&SOURCE);
        let sources = self.sources.iter().chain(is_only_read.then_some(&SOURCE));
        let sources = sources.map(|source| self.terms_of(*source)).collect();
        let user_limit = self.user_limit.map(ByteCount::new);
        // Few ended grants are kept, so that their shares move into the sums.
        let spenders = SpenderTerms { user_limit, ended_max: 5, ..SpenderTerms::default() };
        let bounds = Bounds { spenders, ..Bounds::default() };
        let setup = Setup { terms, sources, rules, bounds, default_source: self.sources[0] };
        setup.open(Some(stored), moment)
    }

    fn terms_of(&self, source: IceSource) -> SourceTerms {
        let sampling = if source == SOURCE { self.sampling } else { 0 };
        let cuts = source == IceSource::Coturn && self.cli;
        let cut_tail = cuts.then(|| self.tail.map_or(CUT_TAIL, Duration::from_secs));
        let is_read = source != IceSource::Coturn || self.cli;
        SourceTerms { source, tail: self.tail(source), cut_tail, sampling, is_read }
    }

    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Strict(strict) => self.strict = strict,
            Change::BillingDay(day) => self.billing_day = day,
            Change::Tail(tail) => self.tail = tail,
            Change::Mbps(mbps) => self.mbps = mbps,
            Change::Sampling(sampling) => self.sampling = sampling,
            Change::Sources(sources) => self.sources = sources,
            Change::Cli(cli) => self.cli = cli,
        }
    }
}

/// In milliseconds.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
