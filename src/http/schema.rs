//! The schemas of strings from a closed set: the strings, and what the document says of them.

use strum::VariantArray;
use turn_base::one_of;
use turn_ledger::{IceSource, SpenderKind, spender_lists};
use turn_signaling::ProtocolName;
use utoipa::openapi::{RefOr, Schema};

use crate::alert::{Severity, StopCode};
use crate::mint::Revocation;

/// The evidence for bytes.
pub(super) const MEASURED: &str = "measured";
pub(super) const CLAIMED: &str = "claimed";

macro_rules! schemas {
    ($($name:ident: $strings:expr, $description:literal;)*) => {
        $(pub(super) fn $name() -> RefOr<Schema> {
            one_of($strings, $description)
        })*
    };
}

schemas! {
    budget_status: ["OK", "LIMIT_EXCEEDED"], "`LIMIT_EXCEEDED` as soon as usage has reached the limit.";
    evidence: [MEASURED, CLAIMED],
        "`measured` if the source counted at least as much as was claimed, else `claimed`.";
    grant_source: IceSource::ALL.map(IceSource::name), "An entry of `ICE_SOURCES`, or `sfu`.";
    knowledge: ["measured+estimate", "estimate"],
        "Where the figure comes from. `measured` is the provider's own count up to `asOf`.";
    protocol: ProtocolName::ALL.map(ProtocolName::as_str), "The signaling protocol.";
    provider: ["up", "down"],
        "Whether the provider mints, and one of the relays answers the probes. Absent if no provider is configured.";
    reason: StopCode::REASONS.map(StopCode::reason),
        "Why the answer is degraded. Only with `degraded: true`.";
    relay_state: ["up", "down", "unlisted", "draining", "used up"],
        "`down`: it fails the probes, and gets new credentials only while nothing else serves. `used up`: it has reached its limit. `draining`: the operator has drained it. These two get no new credentials. `unlisted`: nobody lists and ends its sessions now.";
    revocation: Revocation::VARIANTS.iter().map(<&str>::from),
        "`revoked`: the source has revoked the credential. `unknown`: the source does not know it. `failed`: the source could not be reached or did not accept it, and is asked again every 10 s. `cut`: its sessions are ended within seconds. `unsupported`: the source cannot revoke; the credential works until it expires.";
    role: ["leader", "standby"], "Whether this replica leads. Absent without `DATABASE_URL`.";
    severity: [Severity::Info, Severity::Warning, Severity::Critical].map(Severity::name), "The severity.";
    source: IceSource::named().map(IceSource::name), "An entry of `ICE_SOURCES`.";
    spender_kind: SpenderKind::ALL.map(SpenderKind::name), "What kind of spender it is.";
    spender_list: spender_lists(), "What the sums are grouped by.";
}
