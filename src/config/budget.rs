//! Budget settings, and how usage is estimated without measurements. GB and MB are decimal, Mbps are 10^6 bit/s.

use std::path::PathBuf;
use std::time::Duration;

use super::names::{
    BANDWIDTH_LIMIT_GB, BILLED_DIRECTIONS, BILLING_DAY, BUDGET_MODE, CLAIMS_MBPS_PER_CLIENT,
    CLIENT_ADDRESSES, ESTIMATED_MBPS_PER_CONNECTION, HEARTBEAT_SECONDS, LIABILITY_MBPS_PER_GRANT,
    LIMIT_ACTION, RESERVED_PERCENT_PER_CLIENT, STATE_DIR, TURN_EXPIRY_TAIL_SECONDS, USER_LIMIT_GB,
};
use super::settings::{Read, Settings};
use super::value::parse_decimal;
use turn_ledger::{BilledDirections, BillingDay, BitRate, BudgetMode, ByteCount, KeptAddresses};

/// The largest amount of GB, MB or Mbps: a petabyte a month, a terabit a second. More is a typing error.
pub const AMOUNT_MAX: f64 = 1_000_000.0;

/// The budget and the action at its limit.
#[derive(Clone, Debug)]
pub struct BudgetConfig {
    /// The bytes that may be relayed per period, to the nearest byte; 0 to 1,000,000 GB. `BANDWIDTH_LIMIT_GB`; 1,000 GB when unset.
    pub limit: ByteCount,
    /// The same in GB, as the operator wrote it: for responses and the log.
    pub limit_gb: f64,
    /// The first day of the provider's billing period, 1 to 31. `BILLING_DAY`; 1 when unset.
    pub billing_day: BillingDay,
    /// The rule that admits a grant. `BUDGET_MODE`; estimate when unset.
    pub mode: BudgetMode,
    /// The directory of the ledger, created if missing. `STATE_DIR`; the ledger is in memory when unset.
    pub state_dir: Option<PathBuf>,
    /// The action when the budget is spent. `LIMIT_ACTION`; refuse when unset.
    pub limit_action: LimitAction,
    /// The most that one grant is assumed to relay, above 0 up to 1,000,000 Mbps. `LIABILITY_MBPS_PER_GRANT`; the
    /// estimated rate of a connection when unset.
    pub liability_rate: BitRate,
    /// The most that the live grants of one client address may reserve in strict mode, 1 to 100 percent of the limit.
    /// `RESERVED_PERCENT_PER_CLIENT`; 5 when unset.
    pub reserved_percent_per_client: u32,
    /// The bytes that the grants of one user may relay per period, above 0 up to 1,000,000 GB. `USER_LIMIT_GB`; no limit when
    /// unset.
    pub user_limit: Option<ByteCount>,
    /// How long relaying may outlive a credential, 0 to 7 days. `TURN_EXPIRY_TAIL_SECONDS`; each source's own when unset.
    pub expiry_tail: Option<Duration>,
}

/// The action when the budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitAction {
    /// Respond 429.
    Refuse,
    /// Use the next unmetered source.
    Fallback,
}

/// Settings of the usage estimate.
#[derive(Clone, Debug)]
pub struct UsageConfig {
    /// The rate of a connection that reports no bytes, above 0 up to 1,000,000 Mbps. `ESTIMATED_MBPS_PER_CONNECTION`;
    /// 2 Mbps when unset.
    pub estimated_rate: BitRate,
    /// The directions that are charged. `BILLED_DIRECTIONS`; egress when unset.
    pub billed: BilledDirections,
    /// The interval between heartbeats of a connection, 1 s to 1 h; three missed ones close it. `HEARTBEAT_SECONDS`; 30 s when
    /// unset.
    pub heartbeat: Duration,
    /// The most that all grants of one client address may claim, above 0 up to 1,000,000 Mbps. An IPv6 /48 has four times as
    /// much. `CLAIMS_MBPS_PER_CLIENT`; 50 Mbps when unset.
    pub claims_per_client: BitRate,
    /// What of a client's address is kept with a grant for the sums by address. `CLIENT_ADDRESSES`; prefix when unset.
    pub client_addresses: KeptAddresses,
}

const MODES: &[(&str, BudgetMode)] = &[("estimate", BudgetMode::Estimate), ("strict", BudgetMode::Strict)];
const ACTIONS: &[(&str, LimitAction)] =
    &[("refuse", LimitAction::Refuse), ("fallback", LimitAction::Fallback)];
const ADDRESSES: &[(&str, KeptAddresses)] =
    &[("full", KeptAddresses::Full), ("prefix", KeptAddresses::Prefix), ("none", KeptAddresses::None)];
const DIRECTIONS: &[(&str, BilledDirections)] =
    &[("egress", BilledDirections::Egress), ("both", BilledDirections::Both)];

impl BudgetConfig {
    /// `estimated_rate`: the liability rate when its variable is unset.
    pub(super) fn read(settings: &mut Settings<'_>, estimated_rate: Read<BitRate>) -> Read<Self> {
        let limit = settings.required(BANDWIDTH_LIMIT_GB, "GB from 0 to 1000000, decimals allowed", parse_gb);
        let billing_day = settings.required(BILLING_DAY, "a day of the month from 1 to 31", parse_day);
        let mode = settings.word(BUDGET_MODE, MODES);
        let state_dir =
            settings.optional(STATE_DIR, "the path of a directory", |text| Some(PathBuf::from(text)));
        let limit_action = settings.word(LIMIT_ACTION, ACTIONS);
        let liability_rate = settings.optional(LIABILITY_MBPS_PER_GRANT, RATE, parse_rate);
        let reserved_percent = settings.number(RESERVED_PERCENT_PER_CLIENT, 1..=100);
        let user_limit =
            settings.optional(USER_LIMIT_GB, "GB above 0, at most 1000000, decimals allowed", parse_some_gb);
        let expiry_tail = settings.optional_seconds(TURN_EXPIRY_TAIL_SECONDS, 0..=604_800);
        let (limit, limit_gb) = limit?;
        Ok(Self {
            limit,
            limit_gb,
            billing_day: billing_day?,
            mode: mode?,
            state_dir: state_dir?,
            limit_action: limit_action?,
            liability_rate: liability_rate?.map_or(estimated_rate, Ok)?,
            reserved_percent_per_client: reserved_percent?,
            user_limit: user_limit?,
            expiry_tail: expiry_tail?,
        })
    }
}

impl UsageConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let estimated_rate = settings.required(ESTIMATED_MBPS_PER_CONNECTION, RATE, parse_rate);
        let billed = settings.word(BILLED_DIRECTIONS, DIRECTIONS);
        let heartbeat = settings.seconds(HEARTBEAT_SECONDS, 1..=3_600);
        let claims_per_client = settings.required(CLAIMS_MBPS_PER_CLIENT, RATE, parse_rate);
        let client_addresses = settings.word(CLIENT_ADDRESSES, ADDRESSES);
        Ok(Self {
            estimated_rate: estimated_rate?,
            billed: billed?,
            heartbeat: heartbeat?,
            claims_per_client: claims_per_client?,
            client_addresses: client_addresses?,
        })
    }
}

const RATE: &str = "Mbps above 0, at most 1000000, decimals allowed";

/// A rate that does not round to zero.
fn parse_rate(text: &str) -> Option<BitRate> {
    parse_decimal(text, AMOUNT_MAX).and_then(BitRate::from_mbps).filter(|rate| rate.get() > 0)
}

fn parse_gb(text: &str) -> Option<(ByteCount, f64)> {
    let gb = parse_decimal(text, AMOUNT_MAX)?;
    ByteCount::from_gb(gb).map(|bytes| (bytes, gb))
}

/// More than zero: a limit of zero would refuse every user.
fn parse_some_gb(text: &str) -> Option<ByteCount> {
    parse_gb(text).map(|(bytes, _)| bytes).filter(|bytes| *bytes > ByteCount::ZERO)
}

fn parse_day(text: &str) -> Option<BillingDay> {
    text.parse().ok().filter(|_| !text.starts_with('+')).and_then(BillingDay::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{assert_refused, load};

    #[test]
    fn the_limit_is_kept_in_bytes_and_in_gb_as_written() {
        for (text, bytes, gb) in [
            ("1000", 1_000_000_000_000, 1000.0),
            ("0.5", 500_000_000, 0.5),
            ("0", 0, 0.0),
            ("1000000", 1_000_000_000_000_000, 1e6),
        ] {
            let budget = load([("BANDWIDTH_LIMIT_GB", text)]).budget;
            assert_eq!(budget.limit, ByteCount::new(bytes));
            assert!((budget.limit_gb - gb).abs() < f64::EPSILON, "{text}");
        }
    }

    #[test]
    fn the_liability_rate_defaults_to_the_estimated_rate() {
        let estimated = ("ESTIMATED_MBPS_PER_CONNECTION", "1.5");
        let config = load([estimated]);
        assert_eq!(config.usage.estimated_rate, BitRate::new(1_500_000));
        assert_eq!(config.budget.liability_rate, BitRate::new(1_500_000));
        let config = load([estimated, ("LIABILITY_MBPS_PER_GRANT", "0.000001")]);
        assert_eq!(config.budget.liability_rate, BitRate::new(1));
    }

    #[test]
    fn words_select_mode_action_and_directions() {
        let config =
            load([("BUDGET_MODE", "Strict"), ("LIMIT_ACTION", "fallback"), ("BILLED_DIRECTIONS", "both")]);
        assert_eq!(config.budget.mode, BudgetMode::Strict);
        assert_eq!(config.budget.limit_action, LimitAction::Fallback);
        assert_eq!(config.usage.billed, BilledDirections::Both);
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }

    #[test]
    fn a_tail_of_zero_differs_from_an_unset_tail() {
        assert_eq!(load([("TURN_EXPIRY_TAIL_SECONDS", "0")]).budget.expiry_tail, Some(Duration::ZERO));
        assert_eq!(load([("TURN_EXPIRY_TAIL_SECONDS", "")]).budget.expiry_tail, None);
    }

    #[test]
    fn each_bad_value_is_refused_with_what_was_expected() {
        let gb = "expected GB from 0 to 1000000, decimals allowed";
        let rate = "expected Mbps above 0, at most 1000000, decimals allowed";
        let day = "expected a day of the month from 1 to 31";
        let cases: [(&str, &str, &[&str]); 13] = [
            ("BANDWIDTH_LIMIT_GB", gb, &["-1", "-0", "nan", "inf", "1e3", "1,000", "1000000.1", "1 TB"]),
            (
                "ESTIMATED_MBPS_PER_CONNECTION",
                rate,
                &["0", "0.0", "-2", "1000001", "0.0000001", "nan", "two"],
            ),
            ("LIABILITY_MBPS_PER_GRANT", rate, &["0", "-2", "1000001", "infinity"]),
            ("CLAIMS_MBPS_PER_CLIENT", rate, &["0", "-2", "1000001", "fast"]),
            ("RESERVED_PERCENT_PER_CLIENT", "expected a number from 1 to 100", &["0", "101", "5%", "2.5"]),
            ("BILLING_DAY", day, &["0", "32", "-1", "+1", "1.5", "first"]),
            ("BUDGET_MODE", "expected estimate or strict", &["lax"]),
            ("LIMIT_ACTION", "expected refuse or fallback", &["ignore"]),
            ("BILLED_DIRECTIONS", "expected egress or both", &["ingress"]),
            (
                "USER_LIMIT_GB",
                "expected GB above 0, at most 1000000, decimals allowed",
                &["0", "-1", "1000001"],
            ),
            ("CLIENT_ADDRESSES", "expected full, prefix or none", &["some"]),
            ("HEARTBEAT_SECONDS", "expected a number from 1 to 3600", &["0", "3601", "0.5"]),
            ("TURN_EXPIRY_TAIL_SECONDS", "expected a number from 0 to 604800", &["-1", "604801"]),
        ];
        for (name, expected, values) in cases {
            for value in values {
                assert_refused([(name, *value)], &[&format!("{name}: {expected}, found {value:?}")]);
            }
        }
    }
}
