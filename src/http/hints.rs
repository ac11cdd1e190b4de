//! The hints of the status: what makes its figures unreliable or has stopped minting, and what to do about it.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::amounts::Shown;
use crate::app::App;
use crate::ice::cloudflare::remedy;
use crate::limit::proxies::Unread;
use crate::telemetry::words;
use turn_ledger::{
    BitRate, BudgetMode, ByteCount, CLOCK_DIFFERENCE_TOLERATED, ExceededRate, IceSource, LateCounts,
    MeasuredUsage, Snapshot,
};

/// How long after a clamped claim the hint is shown.
const CLAMPED_SHOWN: Duration = Duration::from_secs(3_600);

// The hints whose text is always the same.
const NO_REPORTS: &str = "no client has reported a connection: the estimate cannot see usage. Report connections from the page or the app server (POST /api/connections).";
const NO_ANALYTICS: &str = "usage is estimated from reports only, because Cloudflare's own count is not read. Set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_ANALYTICS_TOKEN.";
const NO_TURN_KEY: &str = "Cloudflare's count is read without a TURN key: all TURN bytes of the account count as those of credentials issued here, so boundHolds can be false without a cause. Set CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN.";
const UNCUT: &str = "coturn's sessions are not cut: its command line gave no complete listing for 15 s, or an expired session stays in it. Each credential of coturn counts with the long tail meanwhile. Check coturn, COTURN_CLI and COTURN_CLI_PASSWORD with turn-broker doctor.";
const OUTLIVED: &str = "a client reports a connection that relays although its credential has expired and the tail has passed. Raise TURN_EXPIRY_TAIL_SECONDS, unless you do not believe that client.";
const COUNT_DOUBTED: &str = "Cloudflare's count grew by more than ten times what live credentials could relay, and by a tenth of the limit: it is ignored until the next count confirms it. If it is right, the bound is wrong. Compare it with Cloudflare's dashboard.";
const COUNTS_MISSING: &str = "Cloudflare counts less of a day than it did before, by more than ANALYTICS_MARGIN_PERCENT. The higher count stays, and the bound is unreliable until the day is counted in full again. Check CLOUDFLARE_ACCOUNT_ID and the TURN keys with turn-broker doctor; if the higher count was wrong, raise the limit by the difference.";
const FROZEN: &str = "the operator has stopped minting: new callers get STUN only. Resume with turn-broker unfreeze or on the dashboard.";
const PROMISED_IN_FULL: &str = "strict mode cannot reserve another credential of 5 minutes: live credentials could use up the limit. Wait for the next count or the reset, raise the limit, or shorten the tail.";
const NOT_LEADING: &str = "this replica has not written to the database for most of LEASE_SECONDS, so it does not know whether it still leads: it issues no metered credential, ends no session and sends no alert, and these figures can be old. Check the database with turn-broker doctor.";
const NOT_DURABLE: &str = "the ledger is in memory only: a restart loses this period's usage. Set STATE_DIR.";
const CLOCK_BEHIND: &str = "the machine's clock is behind the ledger: it was set back, or was ahead before. The ledger keeps the later time. Correct the clock.";
const CLOCK_AHEAD: &str = "the machine's clock has jumped ahead: the ledger keeps its own time until Cloudflare's clock confirms the jump, or for 5 minutes if no response of Cloudflare says otherwise. Check the clock.";
const CLOCK_IN_DOUBT: &str = "the machine has started again, and it is not known how long it was off: the bound is unreliable until Cloudflare's clock confirms the time, or for 5 minutes if no response of Cloudflare says otherwise. Wait, and check the clock.";
const CLOCK_JUMPED: &str = "the ledger has followed a jump of the machine's clock. If the clock was wrong before or is wrong now, credentials minted before the jump relay for longer than is reserved: the bound is unreliable until they have ended. Check the clock.";

const CLOCK_FAR_AHEAD: &str = "the machine's clock is more than two days ahead of the ledger's time: nothing metered is minted until Cloudflare's clock confirms the jump, or for 5 minutes if no response of Cloudflare says otherwise. Check the clock; if it is right, check that Cloudflare can be reached.";

/// Something that makes the figures unreliable.
#[derive(Debug, Serialize, ToSchema)]
pub struct HintBody {
    /// Stable identifier for programs.
    #[schema(example = "NO_REPORTS")]
    code: &'static str,
    /// What it means, and what to do.
    #[schema(example = "No client reports its connections, so usage is estimated by time.")]
    message: String,
}

/// All hints that apply, in a fixed order.
pub(super) fn of(app: &App, snapshot: &Snapshot) -> Vec<HintBody> {
    let mut hints = Hints(Vec::new());
    about_counts(&mut hints, app, snapshot);
    about_minting(&mut hints, app, snapshot);
    about_clock_and_bound(&mut hints, snapshot, app.lead.is_some());
    hints.0
}

struct Hints(Vec<HintBody>);

impl Hints {
    fn add(&mut self, applies: bool, code: &'static str, message: &str) {
        if applies {
            self.0.push(HintBody { code, message: message.to_owned() });
        }
    }
}

/// Whether and by whom usage is counted.
fn about_counts(hints: &mut Hints, app: &App, snapshot: &Snapshot) {
    let measured = &snapshot.measured;
    // What is counted needs no reports. At the start of a period, the provider is still asked for the last one.
    let is_counted = (measured.as_of.is_some() || app.cloudflare_meter.is_some())
        && !measured.is_stale()
        && app.mint.source_states().coturn != Some(false);
    // What the SFU sends is charged without reports.
    let is_charged = || app.account.read(|books| books.ledger().used_of(IceSource::Sfu)) > ByteCount::ZERO;
    let is_silent = snapshot.counts.connections == 0 && snapshot.open_connections == 0;
    hints.add(is_silent && !is_counted && !is_charged(), "NO_REPORTS", NO_REPORTS);
    hints.add(app.bills_unread, "NO_ANALYTICS", NO_ANALYTICS);
    hints.add(app.reads_all_keys, "NO_TURN_KEY", NO_TURN_KEY);
    let failure = app.cloudflare_meter.as_ref().and_then(|meter| meter.shown().failure.clone());
    let why = failure.as_deref().unwrap_or("See the log");
    let text = format!(
        "the provider's count could not be read for more than 10 minutes: usage after asOf is estimated. {why}."
    );
    hints.add(measured.is_stale(), "ANALYTICS_STALE", &text);
    let text = format!(
        "the latest attempt to read Cloudflare's count failed: usage after asOf is estimated. {why}."
    );
    hints.add(failure.is_some() && !measured.is_stale(), "ANALYTICS_FAILING", &text);
    let broken = broken_assumptions(measured, snapshot.assumed_rate);
    hints.add(!broken.is_empty(), "ASSUMPTION_BROKEN", &broken);
    let text = format!(
        "the provider counted {} GB under identifiers that this ledger does not know: another broker, an older ledger, or a stolen key uses the TURN key. Find who does, or create a new key.",
        snapshot.unknown_bytes.gb_nearest()
    );
    hints.add(snapshot.has_unknown_bytes(), "UNKNOWN_BYTES", &text);
    hints.add(measured.doubted, "COUNT_DOUBTED", COUNT_DOUBTED);
    hints.add(measured.has_fallen, "COUNTS_MISSING", COUNTS_MISSING);
    if let Some(LateCounts { lag, grows }) = measured.late_counts {
        let doubt = if grows { ": the bound is unreliable until an hour without growth" } else { "" };
        let lag = lag.as_secs();
        let text = format!(
            "Cloudflare's counts grew after ANALYTICS_LAG_SECONDS{doubt}. The broker now waits {lag} s. Set ANALYTICS_LAG_SECONDS to {lag}."
        );
        hints.add(true, "COUNTS_LATE", &text);
    }
}

/// Which assumptions of the bound do not hold, each with its remedy; empty if they hold.
fn broken_assumptions(measured: &MeasuredUsage, assumed: BitRate) -> String {
    let exceeded = measured.exceeded.map(|ExceededRate { observed: rate, source }| {
        if rate > assumed {
            format!(
                "live credentials of {source} relay {rate} each on average, more than the assumed {assumed}. If your calls need that rate, set LIABILITY_MBPS_PER_GRANT above it. If not, revoke the one that relays most (turn-broker grants), and check who else uses the TURN key or secret."
            )
        } else {
            format!(
                "live credentials of {source} relayed {rate} each on average within the last hour, more than was assumed then. Now {assumed} are assumed. Wait: an hour without such a count ends this."
            )
        }
    });
    let unexplained = measured.unexplained.map(|source| {
        format!(
            "{source} counted bytes while no credential was live. Check who else uses the TURN key or secret."
        )
    });
    let causes = exceeded.into_iter().chain(unexplained);
    let causes = causes.chain(measured.uncut.then(|| UNCUT.to_owned()));
    let causes: Vec<_> = causes.chain(measured.outlived.then(|| OUTLIVED.to_owned())).collect();
    let causes = causes.join(" Also, ");
    if causes.is_empty() { causes } else { format!("the bound is unreliable: {causes}") }
}

/// Whether credentials are issued, and to whom.
fn about_minting(hints: &mut Hints, app: &App, snapshot: &Snapshot) {
    hints.add(snapshot.frozen, "FROZEN", FROZEN);
    hints.add(!app.mint.enabled, "DISABLED", "TURN_ENABLED is false: new callers get STUN only.");
    hints.add(snapshot.promised_in_full, "PROMISED_IN_FULL", PROMISED_IN_FULL);
    if let Some(Unread { forwarded, of, peer }) = app.untrusted_proxies.seen() {
        let header = &app.trusted_proxies.client_header;
        let text = format!(
            "{forwarded} of the last {of} requests for credentials had the header {header}, which was not read because it came from {peer}, which is not in TRUSTED_PROXIES. If that is a proxy, all clients behind it share the allowances of one client: add {peer} to TRUSTED_PROXIES."
        );
        hints.add(true, "PROXY_NOT_TRUSTED", &text);
    }
    let why = app.mint.provider_failure().map(|error| format!(": {error}. To fix it, {}", remedy(&error)));
    let why = why.unwrap_or_default();
    let text = format!("Cloudflare does not mint{why}. New callers get the next of ICE_SOURCES.");
    hints.add(app.mint.provider_is_up() == Some(false), "PROVIDER_DOWN", &text);
    let clamped_at = snapshot.counts.clamped_at.filter(|at| snapshot.figures.now.since(*at) <= CLAMPED_SHOWN);
    if let Some(at) = clamped_at {
        // Counters begin at the start of the process.
        let before = if app.metrics.claims_clamped.get() == 0 { ", before the present start" } else { "" };
        let text = format!(
            "a client has reported more bytes than its grant or its address may claim, last at {at}{before}, and the excess was not charged. If many people share an address, raise CLAIMS_MBPS_PER_CLIENT; otherwise somebody reports falsely."
        );
        hints.add(true, "CLAIMS_CLAMPED", &text);
    }
    hints.add(!app.account.holds_lease(), "NOT_LEADING", NOT_LEADING);
    hints.add(!app.account.is_durable(), "NOT_DURABLE", NOT_DURABLE);
}

/// The clock, and what live credentials can still relay.
fn about_clock_and_bound(hints: &mut Hints, snapshot: &Snapshot, in_database: bool) {
    let (figures, bound) = (snapshot.figures, snapshot.figures.overshoot_bound());
    hints.add(snapshot.clock_behind > CLOCK_DIFFERENCE_TOLERATED, "CLOCK_BEHIND", CLOCK_BEHIND);
    let ahead = if snapshot.waits_for_clock() { CLOCK_FAR_AHEAD } else { CLOCK_AHEAD };
    hints.add(snapshot.clock_ahead > CLOCK_DIFFERENCE_TOLERATED, "CLOCK_AHEAD", ahead);
    hints.add(snapshot.clock_in_doubt, "CLOCK_IN_DOUBT", CLOCK_IN_DOUBT);
    hints.add(snapshot.jumped_until > snapshot.figures.now, "CLOCK_JUMPED", CLOCK_JUMPED);
    if let Some((code, text)) = words::lacks(snapshot, in_database) {
        hints.add(true, code, &text);
    }
    // Estimate mode promises no bound, so there it is a hint only if calls as they were would pass the limit.
    let likely = snapshot.likely_overshoot.unwrap_or_default();
    let is_strict = snapshot.mode == BudgetMode::Strict;
    let text = if figures.committed <= figures.used {
        format!("usage, with what sampling may have missed, is {} GB past the limit.", bound.gb_up())
    } else if is_strict {
        // Strict mode itself shortens lifetimes as far as that helps.
        format!(
            "live credentials could take usage {} GB past the limit. Wait until some have ended, or raise the limit.",
            bound.gb_up()
        )
    } else {
        format!(
            "live credentials take usage {} GB past the limit if each relays {}, the highest hourly average of this period. Raise the limit, or shorten TURN_TTL_SECONDS.",
            likely.gb_up(),
            snapshot.measured.highest_hour.unwrap_or_default()
        )
    };
    let is_above = if is_strict { bound } else { likely } > ByteCount::ZERO;
    hints.add(is_above, "BOUND_ABOVE_LIMIT", &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_assumption_is_named_with_its_source_and_its_remedy() {
        let words = |measured: MeasuredUsage| broken_assumptions(&measured, BitRate::new(4_000_000));
        let fine = MeasuredUsage::default();
        assert_eq!(words(fine), "");
        let at = |mbps: u64| {
            let observed = BitRate::new(mbps * 1_000_000);
            MeasuredUsage { exceeded: Some(ExceededRate { observed, source: IceSource::Cloudflare }), ..fine }
        };
        let fast = words(at(13));
        let cause =
            "live credentials of cloudflare relay 13 Mbps each on average, more than the assumed 4 Mbps.";
        assert!(fast.contains(cause) && fast.contains("set LIABILITY_MBPS_PER_GRANT above it"), "{fast}");
        // The assumed rate was raised since.
        let raised = words(at(3));
        assert!(raised.contains("Now 4 Mbps are assumed. Wait: an hour without"), "{raised}");
        let unexplained = "coturn counted bytes while no credential was live. Check who else";
        let two = words(MeasuredUsage { unexplained: Some(IceSource::Coturn), ..at(13) });
        assert!(two.contains(cause) && two.contains(&format!(" Also, {unexplained}")), "{two}");
        let uncut = MeasuredUsage { uncut: true, ..fine };
        assert_eq!(words(uncut), format!("the bound is unreliable: {UNCUT}"));
        assert_eq!(
            words(MeasuredUsage { outlived: true, ..fine }),
            format!("the bound is unreliable: {OUTLIVED}")
        );
        let both = words(MeasuredUsage { outlived: true, ..uncut });
        assert_eq!(both, format!("the bound is unreliable: {UNCUT} Also, {OUTLIVED}"));
    }
}
