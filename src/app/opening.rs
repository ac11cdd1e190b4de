//! What the configuration says about the books.

use crate::config::Config;
use crate::meter::coturn::CUT_TAIL;
use turn_ledger::connection::UsageRules;
use turn_ledger::connections::Bounds;
use turn_ledger::ledger::{SourceTerms, Terms};
use turn_ledger::open::Setup;
use turn_ledger::source::IceSource;
use turn_ledger::timeline::Rates;
use turn_ledger::trial::Assumption;
use turn_ledger::units::BitRate;
use turn_ledger::verdict::BudgetMode;

/// The books as the configuration wants them.
#[must_use]
pub fn setup(config: &Config) -> Setup {
    Setup {
        terms: Terms {
            limit: config.budget.limit,
            billing_day: config.budget.billing_day,
            mode: config.budget.mode,
            rates: Rates {
                estimated: config.usage.estimated_rate,
                liability: config.budget.liability_rate,
                unreported_grant: config.usage.unreported_grant,
                promises_cap_claims: config.budget.mode == BudgetMode::Strict,
            },
        },
        sources: lanes(config),
        rules: UsageRules {
            heartbeat: config.usage.heartbeat,
            billed: config.usage.billed,
            estimated_rate: config.usage.estimated_rate,
        },
        bounds: Bounds::default(),
        default_source: config.ice.sources.first().copied().unwrap_or(IceSource::Stun),
    }
}

/// A lane for every source that hands out grants.
fn lanes(config: &Config) -> Vec<SourceTerms> {
    let sources = config.ice.sources.iter().filter(|source| **source != IceSource::Stun);
    sources.map(|source| lane(*source, config)).collect()
}

fn lane(source: IceSource, config: &Config) -> SourceTerms {
    let tail = config.budget.expiry_tail.unwrap_or(source.expiry_tail());
    let terms = SourceTerms { source, tail, cut_tail: None, sampling: 0, is_read: false };
    match source {
        IceSource::Cloudflare => {
            let is_read = config.meter.analytics.is_some();
            SourceTerms { sampling: config.meter.sampling_percent, is_read, ..terms }
        }
        IceSource::Coturn if config.meter.coturn_cli.is_some() => {
            let cut_tail = Some(config.budget.expiry_tail.unwrap_or(CUT_TAIL));
            SourceTerms { cut_tail, is_read: true, ..terms }
        }
        IceSource::Relay => SourceTerms { is_read: true, ..terms },
        _ => terms,
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
        let metered = lanes(config).into_iter().filter(|lane| lane.source.is_metered());
        let tails: Vec<_> = metered.map(|lane| (lane.cut_tail.unwrap_or(lane.tail), lane.source)).collect();
        let until = tails.first().map(|(first, _)| {
            if tails.iter().all(|(tail, _)| tail == first) {
                return format!("{} s", first.as_secs());
            }
            let each = tails.iter().map(|(tail, source)| format!("{} s ({source})", tail.as_secs()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use turn_ledger::changes::Stored;
    use turn_ledger::units::Timestamp;

    #[test]
    fn what_was_not_read_while_no_process_ran_is_not_stale() {
        let environment = Environment::from_pairs([
            ("CLOUDFLARE_TURN_KEY_ID", "key-id"),
            ("CLOUDFLARE_TURN_API_TOKEN", "token"),
            ("CLOUDFLARE_ACCOUNT_ID", "account"),
            ("CLOUDFLARE_ANALYTICS_TOKEN", "token"),
        ]);
        let config = Config::from_env(&environment).expect("a valid configuration");
        // 2025-01-15T12:00:00Z
        let then = Timestamp::from_millis(1_736_942_400_000);
        let now = then.plus_millis(3_600_000);
        let mut books = setup(&config).open(Some(Stored { now: Some(then), ..Stored::default() }), now);
        assert_eq!(books.snapshot().figures.now, now);
        assert!(!books.snapshot().measured.is_stale());
        books.advance(now.plus_millis(600_001));
        assert!(books.snapshot().measured.is_stale());
    }
}
