//! The texts of all alerts, with those of [`Fault`]: what happened, what it means for callers, what to do first, and the part of
//! the dashboard where the operator does it. Each text is one plain sentence. `texts.txt` shows a message of each form as it is delivered;
//! a test compares it with the code.

use super::{AlertInput, AtLimitState};
use crate::alert::body::size_of;
use crate::alert::fault::ASK_DOCTOR;
use crate::alert::message::{LINKED_MAX, commands_ending, escaped, minute, quoted};
use crate::alert::spending::is_proven;
use crate::alert::{
    Alert, AlertKind, BudgetFigures, Fault, FoundFault, MintStop, ServiceFacts, Severity, Spending,
    SpentGrant, StopCode, TopSpender,
};
use crate::config::PERCENT_MAX;
use crate::rate::VERY_NEAR;
use turn_ledger::{EndedBy, IceSource, OnRevocation, SourceFacts, SpenderKind, Timestamp};

const TEST: &str = "This is a test from turn-broker doctor --send-test-alert; nothing has happened.";
const RAISE: &str = "Or raise the limit: turn-broker limit GB.";
const TEST_CALLERS: &str = "Nothing changes.";

impl Alert {
    /// A test alert. It is never stored.
    pub fn test(at: Timestamp, budget: BudgetFigures) -> Self {
        let (id, kind, spending) = (format!("test/{}", at.as_millis()), AlertKind::Test, Spending::default());
        let (what, callers) = (TEST.into(), TEST_CALLERS.into());
        Self { id, kind, at, what, callers, budget, spending, rate: None, ends: None }
    }

    /// What the operator should do first.
    pub fn first_step(&self) -> String {
        let step = self.acts_as().first_step();
        let Some((by, spender, share)) = self.culprit() else { return step.to_owned() };
        let (kind, name) = (by.name(), quoted(spender, by));
        let others = match by {
            SpenderKind::User => String::new(),
            _ => format!(" This also ends others with this {kind}: {} credentials.", spender.usable),
        };
        let then = match self.kind {
            AlertKind::Used(100..) => "Then raise the limit: turn-broker limit GB.",
            AlertKind::Used(_) => RAISE,
            AlertKind::Began(fault) if fault.is_near_limit() => RAISE,
            _ => step.find("If this is normal").map_or(step, |at| &step[at..]),
        };
        format!(
            "Stop {kind} {name}, who used {share}, with \"Block\" under \"Who spends\" on the dashboard.{others} {then}"
        )
    }

    /// The commands of the first step, to be pasted into a shell.
    pub fn command(&self) -> Option<String> {
        let culprit = || self.culprit().and_then(|(by, spender, _)| Some((by, spender.key.clone()?)));
        let ends = self.ends.clone().or_else(culprit).map(|(by, key)| commands_ending(by, &key));
        ends.or_else(|| self.first_step().starts_with(ASK_DOCTOR).then(|| "turn-broker doctor".to_owned()))
    }

    /// How urgent it is.
    pub fn severity(&self) -> Severity {
        self.acts_as().severity()
    }

    /// The kind whose severity, first step and section this alert has. A limit that is reached within a day at the present rate is as urgent
    /// as one of which 80 % are used, and within an hour as one of which 95 % are.
    fn acts_as(&self) -> AlertKind {
        let left = self.rate.and_then(|rate| rate.left(self.at));
        match self.kind {
            AlertKind::Used(..95) if left.is_some_and(|left| left < VERY_NEAR) => AlertKind::Used(95),
            AlertKind::Used(..80) if left.is_some() => AlertKind::Used(80),
            kind => kind,
        }
    }

    /// The part of the dashboard where the operator acts, by its id in the page; for a spender, its list and its name.
    pub fn section(&self) -> String {
        let section = self.acts_as().section();
        if let Some((by, spender, _)) = self.culprit() {
            let linked = |key| {
                Some(escaped(key, |byte| format!("%{byte:02x}"))).filter(|name| name.len() <= LINKED_MAX)
            };
            let name = spender.key.as_deref().and_then(linked);
            return format!("by-{}{}", by.name(), name.map(|name| format!("={name}")).unwrap_or_default());
        }
        let Spending { by, now, .. } = &self.spending;
        match now.as_ref().map(|now| now.by).or(*by) {
            Some(by) if section == "spenders" => format!("by-{}", by.name()),
            _ => section.to_owned(),
        }
    }

    /// Whom to act on in an alert about usage or the assumed rate: a large spender of the last minutes, or, at the limit, one of the period. It
    /// is proven who that is, and there is something left to end. Returns the kind, the spender, and the words for the share.
    pub(in crate::alert) fn culprit(&self) -> Option<(SpenderKind, &TopSpender, String)> {
        let kind = self.acts_as();
        let asks_who = match kind {
            AlertKind::Used(percent) => percent >= 80,
            _ => kind.is_about_rate(),
        };
        let Spending { now, by, top, .. } = &self.spending;
        let now = now.as_ref().filter(|_| asks_who).map(|now| (now.by, &now.spender, now.all, now.time()));
        let of_period = by.zip(top.first()).filter(|_| matches!(kind, AlertKind::Used(100..)));
        let of_period = of_period.map(|(by, first)| (by, first, self.all_bytes(), "this period".to_owned()));
        let mut found = now.into_iter().chain(of_period);
        let (by, spender, all, time) =
            found.find(|(by, spender, all, _)| is_proven(*by) && spender.is_to_be_ended(*all))?;
        Some((by, spender, format!("{:.0} % in {time}", spender.bytes.percent_of(all))))
    }
}

/// What happened. `since`: for the end of a fault, when the fault began.
pub(super) fn what(kind: AlertKind, input: &AlertInput, since: Timestamp) -> String {
    match kind {
        AlertKind::Used(100) => format!("The bandwidth limit is reached: {}.", usage(input)),
        AlertKind::Used(percent) => {
            let all = input.budget.used.percent_of(input.budget.limit).floor();
            let percent = if percent < PERCENT_MAX { percent.into() } else { all };
            format!("{percent} % of the bandwidth limit is used: {}.", usage(input))
        }
        AlertKind::Began(fault) => input.found(fault).map(FoundFault::what).unwrap_or_default(),
        AlertKind::Ended(fault) => {
            format!("Over: {} It began at {}.", fault.facts().sentence, minute(since))
        }
        AlertKind::GrantLimit => input.spent_grants.first().map(SpentGrant::sentence).unwrap_or_default(),
        AlertKind::Test => TEST.into(),
    }
}

/// What it means for the callers of a credential that relayed too much.
const GRANT_LIMIT_CALLERS: &str = "This credential is not renewed, and its source was asked to refuse it; a call in progress may go on for a while.";

/// What the event, and the present state of minting, mean for callers.
pub(super) fn callers(kind: AlertKind, input: &AlertInput) -> String {
    match kind {
        AlertKind::Test => return TEST_CALLERS.into(),
        AlertKind::GrantLimit => return GRANT_LIMIT_CALLERS.into(),
        AlertKind::Used(_) | AlertKind::Began(_) | AlertKind::Ended(_) => {}
    }
    if let Err(MintStop { code, until, .. }) = &input.minting {
        let why = match (code, until) {
            (StopCode::BudgetExhausted, Some(end)) if !input.has(Fault::PromisedInFull) => {
                let (end, calls) = (minute(*end), calls_at_limit(input));
                &format!("until {end}, or until the limit is raised{calls}")
            }
            (StopCode::BudgetExhausted, until) => {
                let until = until.map_or("for now".into(), |end| format!("until {}", minute(end)));
                &format!("{until}, because live credentials reserve the rest of the budget")
            }
            (StopCode::Frozen | StopCode::Disabled, _) => "until minting is allowed again",
            (StopCode::NotConfigured, _) => "until a metered source has its settings",
            (StopCode::LedgerUnavailable, _) => "until the ledger can be written",
            (StopCode::ClockDisagrees, _) => "until the clock is settled",
            (StopCode::GrantsFull, _) => "until some of the live ones have ended",
            (StopCode::ProviderUnavailable, _) => {
                "until a provider mints; if the next entry of ICE_SOURCES is STUN, calls that need a relay fail"
            }
        };
        let code: &str = (*code).into();
        return format!("New callers get no metered credentials ({code}) {why}.");
    }
    if input.has(Fault::ProviderDown) {
        let or_else = match input.facts.relays_down {
            Some(_) => " or, while none serves, a relay that fails the probes",
            None => "",
        };
        return format!("New callers get the next entry of ICE_SOURCES{or_else}.");
    }
    if input.has(Fault::CoturnUnreachable) && !matches!(kind, AlertKind::Used(95..)) {
        return "Credentials are still issued, except for coturn in strict mode: there new callers get the next entry of ICE_SOURCES, and if that is STUN, calls that need a relay fail.".into();
    }
    match kind {
        AlertKind::Used(95..) => {
            "Credentials are still issued; at the limit, new callers get none for a metered relay.".into()
        }
        _ => "Credentials are still issued.".into(),
    }
}

/// What happens at the limit to the calls in progress over each source that is used, as the end of a sentence. A coturn whose
/// command line does not answer counts as used.
fn calls_at_limit(input: &AlertInput) -> String {
    let ServiceFacts { coturn, used, at_limit: revocation, .. } = &input.facts;
    let is_unreachable = input.has(Fault::CoturnUnreachable);
    let texts = IceSource::ALL.into_iter().filter_map(|source| {
        let SourceFacts { title, ended_by, on_revocation, at_limit, .. } = source.facts();
        let text = match ended_by {
            EndedBy::CommandLine if is_unreachable => {
                format!("calls over {title} continue until its command line answers")
            }
            EndedBy::CommandLine if *coturn == Some(false) => {
                format!("calls over {title} continue, because only COTURN_CLI could end them")
            }
            EndedBy::CommandLine | EndedBy::ThisProcess | EndedBy::Api
                if *revocation == AtLimitState::Nothing =>
            {
                format!("calls over {title} continue (AT_LIMIT=none)")
            }
            EndedBy::Nobody if on_revocation == OnRevocation::IsAsked => match revocation {
                AtLimitState::Nothing => at_limit.to_owned(),
                AtLimitState::WaitsForCount => {
                    format!(
                        "{at_limit}, until counted bytes reach the limit: then AT_LIMIT revokes credentials"
                    )
                }
                AtLimitState::Revokes => {
                    format!("credentials at {title} are being revoked; calls may go on and are billed")
                }
            },
            _ => at_limit.to_owned(),
        };
        let is_used = used.contains(&source) || (ended_by == EndedBy::CommandLine && is_unreachable);
        (is_used && !text.is_empty()).then(|| format!("; {text}"))
    });
    texts.collect()
}

impl AlertKind {
    /// What the operator should do first.
    pub const fn first_step(self) -> &'static str {
        match self {
            Self::Used(..80) => "Compare the forecast with the limit; nothing needs to happen now.",
            Self::Used(80..100) => {
                "Find who spends now, under \"Who spends\" or with turn-broker spenders --since 15m, to block or revoke them; or raise the limit: turn-broker limit GB."
            }
            Self::Used(100..) => {
                "Raise the limit to issue credentials again, with \"Set\" under \"Actions\" on the dashboard or with turn-broker limit GB; or wait."
            }
            Self::Began(fault) => fault.facts().first_step,
            Self::GrantLimit => {
                "Find out whether this credential was leaked, under \"Who spends\" on the dashboard, and block its user; if such calls are normal, raise GRANT_LIMIT_GB and restart."
            }
            Self::Ended(_) | Self::Test => "Nothing to do.",
        }
    }

    /// The part of the dashboard where the operator acts, by its id in the page.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Used(80..100) | Self::GrantLimit => "spenders",
            Self::Used(100..) => "limit-input",
            Self::Began(fault) => fault.facts().section,
            Self::Used(..80) | Self::Ended(_) | Self::Test => "budget",
        }
    }

    /// Whether it is about usage and the limit.
    pub const fn is_about_usage(self) -> bool {
        matches!(self, Self::Used(_))
    }

    /// Whether usage or the rate may be too high, so that it has the rate, and first names who spends now.
    pub const fn is_about_rate(self) -> bool {
        match self {
            Self::Used(_) | Self::Began(Fault::AssumptionBroken | Fault::AssumptionRaised) => true,
            Self::Began(fault) => fault.is_near_limit(),
            Self::Ended(_) | Self::GrantLimit | Self::Test => false,
        }
    }

    /// Whether the largest spenders and the cost help the operator: not after a recovery, and not in a test.
    pub const fn shows_spending(self) -> bool {
        !matches!(self, Self::Ended(_) | Self::Test)
    }
}

fn usage(input: &AlertInput) -> String {
    let BudgetFigures { used, limit, reset, .. } = input.budget;
    format!("{}, and the period ends at {}", size_of(used, limit), minute(reset))
}

#[cfg(test)]
#[path = "texts_tests.rs"]
mod tests;
