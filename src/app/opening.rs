//! The books as the configuration wants them, opened anew or over what was stored.

use crate::account::books::Books;
use crate::account::stored::Recovered;
use crate::budget::ledger::{LaneTerms, Ledger, Terms};
use crate::budget::reading::Assumption;
use crate::budget::timeline::Rates;
use crate::budget::verdict::BudgetMode;
use crate::config::Config;
use crate::ice::{IceSource, MINT_SLACK};
use crate::meter::coturn::CUT_TAIL;
use crate::units::{BitRate, Timestamp};
use crate::usage::connection::UsageRules;
use crate::usage::estimator::{Bounds, Estimator};
use crate::usage::grants::Coverage;

/// Opens them.
#[must_use]
pub fn books(config: &Config, recovered: Option<Recovered>, now: Timestamp) -> Books {
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
    let mut books = Books::restore(ledger, estimator, recovered);
    books.begin(now);
    books
}

/// How long a grant is covered after its expiry. In estimate mode a connection heard from after that keeps it alive;
/// strict mode promises nothing that was not admitted.
fn coverage(config: &Config) -> Coverage {
    let tail = |lane: &LaneTerms| lane.cut_tail.unwrap_or(lane.tail) + MINT_SLACK;
    let after_expiry = lanes(config).into_iter().map(|lane| (lane.source, tail(&lane)));
    Coverage { after_expiry: after_expiry.collect(), extends: config.budget.mode == BudgetMode::Estimate }
}

/// A lane for every source that hands out grants.
fn lanes(config: &Config) -> Vec<LaneTerms> {
    let sources = config.ice.sources.iter().filter(|source| **source != IceSource::Stun);
    sources.map(|source| lane(*source, config)).collect()
}

fn lane(source: IceSource, config: &Config) -> LaneTerms {
    let tail = config.budget.expiry_tail.unwrap_or(source.expiry_tail());
    let terms = LaneTerms { source, tail, cut_tail: None, sampling: 0, is_read: false };
    match source {
        IceSource::Cloudflare => {
            let is_read = config.meter.analytics.is_some();
            LaneTerms { sampling: config.meter.sampling_percent, is_read, ..terms }
        }
        IceSource::Coturn if config.meter.coturn_cli.is_some() => {
            let cut_tail = Some(config.budget.expiry_tail.unwrap_or(CUT_TAIL));
            LaneTerms { cut_tail, is_read: true, ..terms }
        }
        IceSource::Relay => LaneTerms { is_read: true, ..terms },
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
        let mut books = books(&config, Some(Recovered { now: Some(then), ..Recovered::default() }), now);
        assert_eq!(books.statement().figures.now, now);
        assert!(!books.statement().measured.is_stale());
        books.advance(now.plus_millis(600_001));
        assert!(books.statement().measured.is_stale());
    }
}
