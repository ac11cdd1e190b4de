//! The books as the configuration wants them, opened anew or over what was stored.

use crate::account::books::Books;
use crate::account::stored::Recovered;
use crate::budget::ledger::{LaneTerms, Ledger, Terms};
use crate::budget::reading::Assumption;
use crate::budget::timeline::Rates;
use crate::budget::verdict::BudgetMode;
use crate::config::Config;
use crate::ice::IceSource;
use crate::mint::MINT_SLACK;
use crate::units::{BitRate, Timestamp};
use crate::usage::connection::UsageRules;
use crate::usage::estimator::{Bounds, Estimator};
use crate::usage::grants::Coverage;

/// Opens them.
pub(super) fn books(config: &Config, recovered: Option<Recovered>, now: Timestamp) -> Books {
    let terms = Terms {
        limit: config.budget.limit,
        billing_day: config.budget.billing_day,
        mode: config.budget.mode,
        rates: Rates {
            estimated: config.usage.estimated_rate,
            liability: config.budget.liability_rate,
            silent_grant: config.usage.unreported_grant,
            promises_cap_claims: config.budget.mode == BudgetMode::Strict,
        },
    };
    let rules = UsageRules {
        heartbeat: config.usage.heartbeat,
        billed: config.usage.billed,
        estimated_rate: config.usage.estimated_rate,
    };
    let first = config.ice.sources.first().copied().unwrap_or(IceSource::Stun);
    let estimator = Estimator::new(rules, Bounds::default(), coverage(config), first);
    let Some(recovered) = recovered else {
        return Books::new(Ledger::new(terms, &lanes(config), now), estimator);
    };
    // A clock that is behind what was stored is not believed: time goes on from there.
    let then = recovered.now.unwrap_or(now);
    let period = terms.billing_day.period_at(then);
    let counts = recovered.counts.filter(|(of, _)| *of == period).map(|(_, counts)| counts);
    let ledger = Ledger::restore(terms, &lanes(config), then, counts.unwrap_or_default(), &recovered.lanes);
    Books::restore(ledger, estimator, recovered)
}

/// How long a grant is covered after its expiry. In estimate mode a connection heard from after that keeps it alive;
/// strict mode promises nothing that was not admitted.
fn coverage(config: &Config) -> Coverage {
    let after_expiry = lanes(config).into_iter().map(|lane| (lane.source, lane.tail + MINT_SLACK));
    Coverage { after_expiry: after_expiry.collect(), extends: config.budget.mode == BudgetMode::Estimate }
}

/// A lane for every source that hands out grants.
fn lanes(config: &Config) -> Vec<LaneTerms> {
    let sources = config.ice.sources.iter().filter(|source| **source != IceSource::Stun);
    sources.map(|source| lane(*source, config)).collect()
}

fn lane(source: IceSource, config: &Config) -> LaneTerms {
    let is_sampled = source == IceSource::Cloudflare;
    LaneTerms {
        source,
        tail: config.budget.expiry_tail.unwrap_or(source.expiry_tail()),
        sampling: if is_sampled { config.meter.sampling_percent } else { 0 },
        is_read: is_sampled && config.meter.analytics.is_some(),
    }
}

/// What the published bound rests on: a rate, and times.
#[derive(Clone, Debug)]
pub struct BoundTerms {
    assumed: BitRate,
    /// `7200 s after expiry`; with several tails, each by its source. `None` where nothing is metered.
    until: Option<String>,
}

impl BoundTerms {
    pub(super) fn of(config: &Config) -> Self {
        let metered: Vec<_> = lanes(config).into_iter().filter(|lane| lane.source.is_metered()).collect();
        let until = metered.first().map(|first| {
            if metered.iter().all(|lane| lane.tail == first.tail) {
                return format!("{} s", first.tail.as_secs());
            }
            let each = metered.iter().map(|lane| format!("{} s ({})", lane.tail.as_secs(), lane.source));
            each.collect::<Vec<_>>().join(", ")
        });
        Self { assumed: config.budget.liability_rate, until }
    }

    /// `2 Mbps per grant until 7200 s after expiry`. Where the data contradict that rate, the one that took its place.
    #[must_use]
    pub fn in_words(&self, assumption: Assumption) -> String {
        let Some(until) = &self.until else { return "no metered source is configured".into() };
        let assumed = self.assumed;
        match assumption.observed.filter(|observed| !assumption.holds && *observed > assumed) {
            None => format!("{assumed} per grant until {until} after expiry"),
            Some(observed) => {
                format!("{observed} per grant (observed; {assumed} were assumed) until {until} after expiry")
            }
        }
    }
}
