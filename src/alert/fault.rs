//! The faults that can begin and end. Each fault has its name, severity, sentence and first step here once. The hints of the status, the
//! alerts, the rows of docs/RUNBOOK.md and the rules of deploy/prometheus-rules.yml are made of these texts.

use serde::{Deserialize, Serialize};
use strum::VariantArray;
use turn_ledger::Timestamp;

use super::Act;

/// How urgent a fault or an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    /// No call fails, and no figure is wrong. There is no alert.
    Info,
    /// Calls will fail, or a figure is wrong: look at it today.
    Warning,
    /// Calls fail now, or the bill grows and the broker cannot stop it.
    Critical,
}

impl Severity {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// How a first step begins that needs `turn-broker doctor`. What follows is the remedy that the doctor itself shows.
pub(super) const ASK_DOCTOR: &str = "Run turn-broker doctor. ";

macro_rules! faults {
    ($($fault:ident: $severity:ident, $code:literal $(, alerts $begins:literal $ends:literal)? $(, at $section:literal)? => $act:expr;
        $sentence:literal, $first_step:literal;)*) => {
        /// A fault that can begin and end. [`FaultFacts::sentence`] says what each is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, VariantArray)]
        #[expect(missing_docs, reason = "the sentence of each says what it is")]
        pub enum Fault { $($fault),* }

        impl Fault {
            /// What is said about it.
            pub const fn facts(self) -> FaultFacts {
                match self {
                    $(Self::$fault => FaultFacts {
                        code: $code,
                        events: [$(Some(($begins, $ends)),)? None][0],
                        severity: Severity::$severity,
                        sentence: $sentence,
                        first_step: $first_step,
                        section: [$($section,)? "budget"][0],
                        act: $act,
                    }),*
                }
            }
        }
    };
}

// Each with its severity and the code of its hint, the names of its alerts, its part of the dashboard, the act that it states or `None`, its
// sentence and its first step.
faults! {
    NoReports: Warning, "NO_REPORTS", alerts "reports.missing" "reports.found" => None;
        "No client has reported a connection: the estimate cannot see usage.",
        "Report connections from the page or the app server (POST /api/connections).";
    MintsUnreported: Warning, "MINTS_UNREPORTED", alerts "mints.unreported" "mints.usual", at "spenders" => None;
        "Over four times as many credentials as usual at this hour are minted, most without a reported connection: a link to your page may have leaked.",
        "Find who mints, under \"Who spends\", to block or revoke them.";
    NoAnalytics: Info, "NO_ANALYTICS" => None;
        "Cloudflare's own count is not set up in full.",
        "Set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_ANALYTICS_TOKEN, and the TURN key (CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN).";
    AnalyticsStale: Warning, "ANALYTICS_STALE", alerts "analytics.stale" "analytics.fresh" => None;
        "The provider's own count of usage cannot be read, so the newest usage is only an estimate.",
        "Run turn-broker doctor. Do what the line analytics says; if that is ok for an hour, restart the service.";
    AssumptionBroken: Warning, "ASSUMPTION_BROKEN", alerts "assumption.broken" "assumption.holds", at "spenders" => None;
        "Credentials relay more than is assumed, so usage can pass the limit by more than the status says.",
        "Revoke the credential that relays most, under \"Who spends\". If this is normal, set what is named above and restart.";
    AssumptionRaised: Warning, "ASSUMPTION_RAISED", alerts "assumption.raised" "assumption.restored", at "spenders" => Some(Act::RaiseRate);
        "Credentials relay more than LIABILITY_MBPS_PER_GRANT, so the bound assumes the rate that was seen.",
        "Find who relays so fast, under \"Who spends\". Until the reset, each credential reserves this rate. If this is normal, set LIABILITY_MBPS_PER_GRANT to the rate above, and restart.";
    TailExceeded: Warning, "ASSUMPTION_RAISED", alerts "tail.exceeded" "tail.reset" => Some(Act::RaiseRate);
        "Credentials relay for longer after their expiry than TURN_EXPIRY_TAIL_SECONDS, so promises take the default tail until the next start.",
        "Set TURN_EXPIRY_TAIL_SECONDS to what turn-broker doctor --tail prints or to the tail above, whichever is more, or remove it, and restart.";
    LimitNear: Warning, "LIMIT_NEAR", alerts "limit.near" "limit.far", at "spenders" => None;
        "At the present rate the limit is reached within a day.",
        "Find who spends, under \"Who spends\", to block or revoke them; or raise the limit.";
    LimitVeryNear: Critical, "LIMIT_NEAR", alerts "limit.imminent" "limit.postponed", at "spenders" => None;
        "At the present rate the limit is reached within an hour.",
        "Find who spends, under \"Who spends\", to block or revoke them; or raise the limit.";
    CoturnUnreachable: Critical, "ASSUMPTION_BROKEN", alerts "coturn.unreachable" "coturn.reachable" => None;
        "coturn's sessions are not ended: its command line gives no complete listing, its reports have stopped, or an expired session stays listed, so usage can pass the limit by more than the status says.",
        "Run turn-broker doctor. Check that coturn runs, and do what the lines coturn-cli and coturn-stats say.";
    CountsUnknown: Warning, "UNKNOWN_BYTES", alerts "counts.unknown" "counts.known", at "spenders" => None;
        "The provider counted bytes under identifiers that this broker did not issue: more than 5 % of what was used, or 1 % of the limit.",
        "Find out whether another broker or program uses the TURN key or COTURN_SECRET; if none should, replace it (docs/OPERATE.md, Replacing tokens and keys).";
    CountsMissing: Warning, "COUNTS_MISSING", alerts "counts.missing" "counts.believed" => None;
        "A count is not believed.",
        "Run turn-broker doctor. Compare a count of Cloudflare with its dashboard, and do what the line analytics says; if an earlier count was too high and still counts, raise the limit by the difference.";
    NoProbe: Info, "NO_PROBE" => None;
        "Counts of Cloudflare without bytes are believed, and nothing shows that bytes are counted: a wrong CLOUDFLARE_ACCOUNT_ID would not be noticed.",
        "Allow UDP from the broker to turn.cloudflare.com, and leave RELAY_PROBE at its default, on.";
    CountsLate: Warning, "COUNTS_LATE", alerts "counts.late" "counts.settled" => None;
        "The provider's counts become final later than ANALYTICS_LAG_SECONDS, so usage can pass the limit by more than the status says.",
        "Double ANALYTICS_LAG_SECONDS, up to 3600, and restart.";
    MintingOff: Critical, "DISABLED", alerts "minting.stopped" "minting.resumed" => None;
        "Minting is stopped: new callers get STUN only.",
        "Run turn-broker unfreeze to resume; if TURN_ENABLED is false, set it to true and restart.";
    PromisedInFull: Critical, "PROMISED_IN_FULL", alerts "reserved.full" "reserved.free" => Some(Act::StopMints);
        "Strict mode cannot reserve another credential, because live credentials could use up the limit.",
        "Wait for the next count or the reset, raise the limit, or lower TURN_EXPIRY_TAIL_SECONDS and restart.";
    GrantsFull: Critical, "GRANTS_FULL", alerts "grants.exhausted" "grants.available" => Some(Act::StopMints);
        "Nothing metered is minted, because there are GRANTS_MAX live credentials.",
        "Raise GRANTS_MAX if the machine has memory for it, or shorten TURN_TTL_SECONDS, and restart.";
    PlacesNearlyFull: Warning, "PLACES_NEARLY_FULL", alerts "places.full" "places.free", at "spenders" => None;
        "80 % of one kind of shared places are taken; at 100 %, newcomers are refused.",
        "Find who takes them, under \"Who spends\", or raise the setting above.";
    AddressLimited: Warning, "ADDRESS_LIMIT", alerts "address.limited" "address.free", at "spenders" => Some(Act::RefuseAddress);
        "An address has used ADDRESS_LIMIT_GB: until the next UTC day only its signed-in users get credentials.",
        "Block it if its bytes are no calls; if many people share it, raise ADDRESS_LIMIT_GB.";
    ProxyNotTrusted: Info, "PROXY_NOT_TRUSTED" => None;
        "Requests come through an address that is not in TRUSTED_PROXIES: if it is a proxy, all clients behind it share the allowances of one client.",
        "Add the address to TRUSTED_PROXIES, if it is that of your proxy.";
    ProviderDown: Critical, "PROVIDER_DOWN", alerts "provider.down" "provider.up", at "provider-title" => Some(Act::PauseProvider);
        "The TURN provider issues no credentials, or none of your relays answers the broker's probes.",
        "Run turn-broker doctor. Do what the line provider says; if that is ok, restart the service.";
    RelayDown: Warning, "RELAY_DOWN", alerts "relay.down" "relay.up" => Some(Act::WithholdRelay);
        "A relay fails the broker's probes: callers get it, marked degraded, only while nothing else serves.",
        "Start it, or open its UDP ports; if clients reach it (/relay-check), set RELAY_PROBE=off, which also ends Cloudflare's probes.";
    NotRevoked: Critical, "NOT_REVOKED", alerts "revocation.refused" "revocation.accepted" => None;
        "The provider refuses to revoke credentials that must end.",
        "Run turn-broker doctor. Do what the line revoke says; if that is ok, replace the TURN key (docs/OPERATE.md, Replacing tokens and keys).";
    // No alert: another replica may lead, and sends its own. Before, this one has sent `ledger.failing` if the database fails.
    NotLeading: Critical, "NOT_LEADING" => Some(Act::LoseLead);
        "This replica has not written to the database for most of LEASE_SECONDS, so it may have lost the lead: it issues no metered credential, and its figures can be old.",
        "Run turn-broker doctor. Check the database and the network to it.";
    LeaderLost: Warning, "LEADER_LOST", alerts "leader.lost" "leader.stays", at "alerts-card" => Some(Act::LoseLead);
        "The leader was lost, and another replica leads.",
        "Find in the log of the lost replica why it ended, and start it again.";
    ReplicasDiffer: Warning, "REPLICAS_DIFFER", alerts "replicas.differ" "replicas.fit" => None;
        "The replicas do not match.",
        "Correct what differs.";
    LedgerFailing: Critical, "LEDGER_FAILING", alerts "ledger.failing" "ledger.written" => Some(Act::StopMints);
        "The ledger cannot be written, so nothing metered is minted.",
        "Run turn-broker doctor. Free disk space in STATE_DIR, or check the database; the broker recovers by itself.";
    NotDurable: Info, "NOT_DURABLE" => None;
        "A restart loses the ledger.",
        "Set STATE_DIR to a directory on a disk.";
    ClockWrong: Warning, "CLOCK_WRONG", alerts "clock.wrong" "clock.corrected" => Some(Act::BeginPeriod);
        "The machine's clock contradicts the ledger, which keeps its own time.",
        "Correct the machine's clock if it is wrong.";
    ClockAhead: Critical, "CLOCK_WRONG", alerts "clock.ahead" "clock.right" => Some(Act::StopMints);
        "Nothing metered is minted, because the machine's clock is more than two days ahead of the ledger's time and nothing confirms it yet.",
        "Correct the machine's clock; if it is right, wait 5 minutes: the ledger follows it.";
    ClockDisagrees: Warning, "CLOCK_DISAGREES", alerts "clock.uncertain" "clock.certain" => Some(Act::BeginPeriod);
        "The time is uncertain, so usage can pass the limit by more than the status says.",
        "Correct the machine's clock if it is wrong, and wait.";
    LedgerNew: Warning, "LEDGER_NEW", alerts "ledger.new" "ledger.known" => None;
        "The ledger is new, but Cloudflare has counted earlier bytes under its TURN keys: credentials unknown to the ledger may relay.",
        "Wait, or replace the TURN key (docs/OPERATE.md, Replacing tokens and keys) to end the unknown credentials sooner; if the ledger was lost, put STATE_DIR on a volume.";
    LedgerIncomplete: Warning, "LEDGER_LOST_WRITES", alerts "ledger.incomplete" "ledger.complete" => None;
        "The ledger lacks credentials that were issued: it was restored, its database has lost writes, a page has an unknown one, or a tail became longer after ended ones were removed.",
        "Wait, or replace the TURN key or secret (docs/OPERATE.md, Replacing tokens and keys) to end the unknown credentials sooner; after a restore, repeat later blocks, limits, freezes and revocations.";
    BoundAboveLimit: Info, "BOUND_ABOVE_LIMIT" => None;
        "Usage can pass the limit.",
        "Wait until some credentials have ended, or raise the limit.";
    SessionsUnseen: Warning, "SESSIONS_UNSEEN", alerts "sessions.unseen" "sessions.seen" => None;
        "Nobody knows how long sessions of a source last, and nothing counts or ends them.",
        "Set COTURN_CLI for every coturn, HTTP_ICE_TTL_SECONDS and TURN_EXPIRY_TAIL_SECONDS for another provider, and restart.";
    SessionsHidden: Warning, "SESSIONS_HIDDEN", alerts "sessions.hidden" "sessions.shown" => None;
        "coturn lists no bytes of a session below 2,048 packets, so usage can pass the limit by more than the status says.",
        "Set COTURN_STATS_LISTEN and COTURN_STATS_PASSWORD, add the line redis-statsdb of docs/turnserver.conf, and restart both.";
}

/// What is said about a fault.
#[derive(Clone, Copy, Debug)]
pub struct FaultFacts {
    /// The code of its hint.
    pub code: &'static str,
    /// The names of its two alerts: it has begun, it is over. `None`: a hint alone, as for all of [`Severity::Info`].
    pub events: Option<(&'static str, &'static str)>,
    /// How urgent it is at most.
    pub severity: Severity,
    /// What has happened.
    pub sentence: &'static str,
    /// What the operator should do first. A step after `turn-broker doctor` follows [`ASK_DOCTOR`].
    pub first_step: &'static str,
    /// The part of the dashboard where the operator acts, by its id in the page.
    pub section: &'static str,
    /// What the broker does by itself, which the alert states. `None`: nothing, or the fault is the operator's own act.
    pub act: Option<Act>,
}

/// A fault that is there. Only this module makes one: see [`faults`](super::faults).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFault {
    /// The fault.
    pub fault: Fault,
    /// How urgent it is now.
    pub severity: Severity,
    /// What is known of this case, in sentences; empty if nothing.
    pub detail: String,
    /// When it ends, if that is known.
    pub until: Option<Timestamp>,
}

impl FoundFault {
    /// What has happened.
    pub fn what(&self) -> String {
        [self.fault.facts().sentence, &self.detail].join(" ").trim_end().to_owned()
    }

    /// The message of the hint.
    pub fn message(&self) -> String {
        [&self.what(), self.fault.facts().first_step].join(" ")
    }
}

impl Fault {
    /// The faults that have alerts.
    pub fn alerted() -> impl Iterator<Item = Self> {
        Self::VARIANTS.iter().copied().filter(|fault| fault.facts().events.is_some())
    }

    /// Whether the limit is near.
    pub const fn is_near_limit(self) -> bool {
        matches!(self, Self::LimitNear | Self::LimitVeryNear)
    }

    /// The cause and the remedy in the message of a hint or a stop, for somebody who has run `turn-broker doctor`.
    pub fn cause_and_remedy(message: &str) -> Option<(&str, &str)> {
        let of_fault = Self::VARIANTS.iter().find_map(|fault| {
            let step = fault.facts().first_step;
            Some((message.strip_suffix(step)?.trim_end(), step.strip_prefix(ASK_DOCTOR).unwrap_or(step)))
        });
        of_fault.or_else(|| message.split_once(". "))
    }

    /// This fault as one that is there. `detail`: see [`FoundFault::detail`].
    pub(super) fn found(self, detail: impl Into<String>) -> FoundFault {
        FoundFault { fault: self, severity: self.facts().severity, detail: detail.into(), until: None }
    }
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
