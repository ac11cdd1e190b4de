//! The hints of the status: the faults that are there, with what to do about each.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::schema::severity_schema;
use crate::alert::{Fault, FoundFault, found_in};
use crate::app::App;
use crate::ice::fleet::Fleet;
use crate::limit::proxies::Unread;
use turn_ledger::{ByteCount, IceSource, IdDigest, Snapshot};

/// How long credentials may be in use before a missing report is a fault.
const UNREPORTED_MIN: Duration = Duration::from_secs(600);

/// Something that makes the figures unreliable, or has stopped minting.
#[derive(Debug, Serialize, ToSchema)]
pub struct HintBody {
    /// Stable identifier for programs.
    #[schema(example = "NO_REPORTS")]
    code: &'static str,
    /// The severity.
    #[schema(schema_with = severity_schema)]
    severity: &'static str,
    /// What it means, and what to do.
    #[schema(example = "No client has reported a connection: the estimate cannot see usage.")]
    message: String,
}

/// All hints that apply, in the order of [`Fault`].
pub(super) fn of(app: &App, snapshot: &Snapshot) -> Vec<HintBody> {
    let mut faults = found_in(snapshot);
    about_counts(&mut faults, app, snapshot);
    about_minting(&mut faults, app, snapshot);
    faults.sort_by_key(|found| found.fault);
    let body = |found: FoundFault| {
        let facts = found.fault.facts();
        HintBody { code: facts.code, severity: facts.severity.name(), message: found.message() }
    };
    faults.into_iter().map(body).collect()
}

/// Adds the faults of counts and reports, and details to such faults in the snapshot.
fn about_counts(faults: &mut Vec<FoundFault>, app: &App, snapshot: &Snapshot) {
    let measured = &snapshot.measured;
    // Counted bytes need no reports. A meter counts even if `as_of` is `None`: at the start of a period, it still asks for bytes of the
    // period before. `Some(false)`: nobody lists the sessions of a coturn, so its bytes are not counted.
    let is_counted = (measured.as_of.is_some() || app.cloudflare_meter.is_some())
        && !measured.is_stale()
        && app.mint.source_states().coturn != Some(false);
    // Bytes of the SFU are charged without reports.
    let is_charged = || app.account.read(|books| books.ledger().used_of(IceSource::Sfu)) > ByteCount::ZERO;
    // A new service has no calls yet, and a page needs some seconds until its first report.
    let first_use = app.account.read(|books| books.ledger().used_since());
    let is_used = snapshot.counts.issued > 0 && snapshot.figures.now.since(first_use) >= UNREPORTED_MIN;
    let is_unreported = is_used && snapshot.counts.connections == 0 && snapshot.open_connections == 0;
    if is_unreported && !is_counted && !is_charged() {
        faults.push(Fault::NoReports.found(""));
    }
    if measured.unprobed && app.cloudflare_meter.as_ref().is_some_and(|meter| meter.api.knows_keys()) {
        faults.push(Fault::NoProbe.found(""));
    }
    if let Some(id) = measured.disbelieved.and_then(|owner| owner.issuer)
        && let Some(key) = app.config.ice.turn_keys().find(|key| IdDigest::of(&key.id) == id)
    {
        for missing in faults.iter_mut().filter(|found| found.fault == Fault::CountsMissing) {
            missing.detail = format!("{} It is that of the TURN key {}.", missing.detail, key.name);
        }
    }
    let has_keys = app.config.ice.cloudflare.is_some();
    let reads_analytics = app.config.meter.analytics.is_some();
    if has_keys && !reads_analytics && app.config.ice.sources.contains(&IceSource::Cloudflare) {
        faults.push(Fault::NoAnalytics.found("It is not read, so usage is estimated from reports only."));
    } else if reads_analytics && !has_keys {
        faults.push(Fault::NoAnalytics.found("It is read without a TURN key: all TURN bytes of the account count as those of credentials issued here, so boundHolds can be false without a cause."));
    }
    let failed_meters =
        app.coturn_meters.iter().filter_map(|meter| Some((&meter.name, meter.failure.lock().clone()?)));
    let failures: Vec<_> = failed_meters.map(|(relay, failure)| format!("{relay}: {failure}")).collect();
    let unlisted: Vec<_> = app.config.unlisted().collect();
    for found in faults.iter_mut() {
        match found.fault {
            Fault::CoturnUnreachable if !failures.is_empty() => {
                found.detail = format!("The last listing failed. {}.", failures.join("; "));
            }
            Fault::SessionsUnseen if snapshot.unseen == Some(IceSource::Coturn) && !unlisted.is_empty() => {
                found.detail = format!("It is coturn at {}.", unlisted.join(" and "));
            }
            _ => {}
        }
    }
    // The meter knows why it fails. So its fault replaces the one that was found in the snapshot.
    if let Some(failure) = app.cloudflare_meter.as_ref().and_then(|meter| meter.shown.lock().failure.clone())
    {
        faults.retain(|found| found.fault != Fault::AnalyticsStale);
        faults.push(Fault::AnalyticsStale.found(format!("{failure}.")));
    }
}

/// Adds the faults of minting, of revocations, of the replicas and of the ledger.
fn about_minting(faults: &mut Vec<FoundFault>, app: &App, snapshot: &Snapshot) {
    faults.extend(app.account.unusual_mints(snapshot));
    if !app.mint.enabled {
        faults.push(Fault::MintingOff.found("TURN_ENABLED is false."));
    }
    if let Some(Unread { forwarded, of, peer }) = app.untrusted_proxies.seen() {
        let header = &app.config.access.trusted_proxies.client_header;
        faults.push(Fault::ProxyNotTrusted.found(format!(
            "{forwarded} of the last {of} requests for credentials had the header {header}, which was not read because it came from {peer}."
        )));
    }
    if app.mint.provider_is_up() == Some(false) {
        faults.push(Fault::ProviderDown.found(app.mint.provider_cause()));
    }
    let down = app.mint.fleet().map(Fleet::down).unwrap_or_default();
    if !down.is_empty() {
        faults.push(Fault::RelayDown.found(format!("{}.", down.join("; "))));
    }
    faults.extend(app.ending.progress().fault());
    faults.extend(app.account.lost_leader());
    if let Some(fault) = app.lead.as_ref().and_then(|lead| lead.fault()) {
        faults.push(Fault::ReplicasDiffer.found(fault));
    }
    if app.account.ledger_fails() {
        faults.push(Fault::LedgerFailing.found(app.account.ledger_failure()));
    }
    if !app.is_durable() {
        let kind = app.volatile.map(|kind| format!("The file system of STATE_DIR is {kind}."));
        faults.push(Fault::NotDurable.found(kind.unwrap_or_default()));
    }
}
