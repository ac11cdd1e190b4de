//! What can go wrong, and be over again, with everything that an alert says about it and how urgent that is.

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    /// Nothing to do.
    Info,
    /// Look at it today.
    Warning,
    /// Calls fail or the bill grows until the operator acts.
    Critical,
}

impl Severity {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What can go wrong, and be over again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::VariantArray)]
pub enum Fault {
    /// The provider does not mint.
    ProviderDown,
    /// Grants relay faster than the assumed rate: the overshoot bound does not hold.
    AssumptionBroken,
    /// The provider's count is too old.
    AnalyticsStale,
    /// coturn's command line does not answer: its sessions are neither counted nor cut.
    CoturnUnreachable,
    /// The provider's counts settle later than the lag: the overshoot bound does not hold. It is over when they have settled within the
    /// longer lag for an hour.
    CountsLate,
    /// The provider counted many bytes under identifiers that this ledger does not know.
    CountsUnknown,
    /// The ledger lacks credentials that were handed out: the overshoot bound does not hold. It is over when the last of them has ended.
    LedgerIncomplete,
    /// Minting waits, because the machine's clock is far ahead of the ledger's time.
    ClockAhead,
}

/// What alerts say about a fault.
pub(super) struct FaultFacts {
    /// The names of its two alerts: it has begun, it is over.
    pub(super) names: (&'static str, &'static str),
    pub(super) severity: Severity,
    /// What has happened.
    pub(super) began: &'static str,
    /// What is well again, up to "since" and when it began.
    pub(super) ended: &'static str,
    /// What the operator should do first.
    pub(super) first_step: &'static str,
    /// The part of the dashboard where the operator acts, by its id in the page.
    pub(super) section: &'static str,
}

impl Fault {
    pub(super) const fn facts(self) -> FaultFacts {
        match self {
            Self::ProviderDown => FaultFacts {
                names: ("provider.down", "provider.up"),
                severity: Severity::Critical,
                began: "The TURN provider issues no credentials.",
                ended: "The TURN provider issues credentials again; it had been down",
                first_step: "Run turn-broker doctor: it asks the provider for a credential and says what is wrong.",
                section: "alerts-card",
            },
            Self::AssumptionBroken => FaultFacts {
                names: ("assumption.broken", "assumption.holds"),
                severity: Severity::Critical,
                began: "Credentials relay more or longer than is assumed, so usage can pass the limit by more than the status says.",
                ended: "Credentials relay no more than assumed again; they had relayed more",
                first_step: "Revoke the credential that relays most, under \"Who spends\" on the dashboard; if the rate is normal, set LIABILITY_MBPS_PER_GRANT above it and restart.",
                section: "spenders",
            },
            Self::AnalyticsStale => FaultFacts {
                names: ("analytics.stale", "analytics.fresh"),
                severity: Severity::Warning,
                began: "The provider's own count of usage is too old, so the newest usage is only an estimate.",
                ended: "The provider's own count of usage is read again; it had been too old",
                first_step: "Run turn-broker doctor: it reads the count once and says what is wrong.",
                section: "budget",
            },
            Self::CoturnUnreachable => FaultFacts {
                names: ("coturn.unreachable", "coturn.reachable"),
                severity: Severity::Critical,
                began: "coturn's command line does not answer, so its sessions are neither counted nor ended, and usage can pass the limit by more than the status says.",
                ended: "coturn's command line answers again; it had not answered",
                first_step: "Check that coturn runs, then run turn-broker doctor: it tries COTURN_CLI and says what is wrong.",
                section: "budget",
            },
            Self::CountsLate => FaultFacts {
                names: ("counts.late", "counts.settled"),
                severity: Severity::Warning,
                began: "The provider's counts become final later than ANALYTICS_LAG_SECONDS, so usage can pass the limit by more than the status says.",
                ended: "The provider's counts become final in time again; they had been late",
                first_step: "Set ANALYTICS_LAG_SECONDS to the lag that turn-broker status shows at COUNTS_LATE, and restart.",
                section: "budget",
            },
            Self::CountsUnknown => FaultFacts {
                names: ("counts.unknown", "counts.known"),
                severity: Severity::Warning,
                began: "More than 5 % of the bytes that the provider counted are under identifiers that this broker did not issue.",
                ended: "At most 5 % of the used bytes are under unknown identifiers again; there had been more",
                first_step: "Find out whether another broker or program uses the TURN key; if none should, create a new key and delete this one.",
                section: "spenders",
            },
            Self::LedgerIncomplete => FaultFacts {
                names: ("ledger.incomplete", "ledger.complete"),
                severity: Severity::Warning,
                began: "The ledger lacks credentials that were issued, because it was restored from a copy, because it is new and its TURN keys are not, because a page has one that it does not know, or because a tail became longer after they had left the table; usage can pass the limit by more than the status says",
                ended: "The last credential that the ledger may lack has ended; it had lacked some",
                first_step: "Wait, or replace the TURN key or secret to end the unknown credentials now.",
                section: "budget",
            },
            Self::ClockAhead => FaultFacts {
                names: ("clock.ahead", "clock.right"),
                severity: Severity::Critical,
                began: "Minting waits, because the machine's clock is more than two days ahead of the ledger's time and Cloudflare's clock does not confirm it.",
                ended: "Minting goes on: the machine's clock is no longer ahead of the ledger's time; it had been",
                first_step: "Check the machine's clock and correct it; if it is right, check that the broker reaches Cloudflare.",
                section: "budget",
            },
        }
    }
}
