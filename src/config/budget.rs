//! Settings of the budget, of the estimate of usage without measurements, and of the price. GB and MB are decimal, Mbps are 10^6 bit/s.

use std::path::PathBuf;
use std::time::Duration;

use super::form::{Formed, form, number, one_of, parse_decimal, parsed, seconds};
use super::settings::Settings;
use crate::cost::{Money, Price};
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

/// What relayed bytes cost at the provider. The figures in money are for the operator: no admission depends on them.
#[derive(Clone, Debug)]
pub struct PriceConfig {
    /// For each GB above the free ones, 0 to 1,000,000 with at most six decimals. `PRICE_PER_GB`; 0.05 when unset. The free
    /// GB of a period, 0 to 1,000,000. `FREE_GB`; 1,000 when unset.
    pub price: Price,
    /// Three capital letters, as in ISO 4217. `CURRENCY`; USD when unset.
    pub currency: String,
}

impl BudgetConfig {
    /// `estimated_rate`: the liability rate when its variable is unset.
    pub(super) fn read(settings: &mut Settings<'_>, estimated_rate: BitRate) -> Self {
        let (limit, limit_gb) = settings.get("BANDWIDTH_LIMIT_GB", "1000", gb);
        Self {
            limit,
            limit_gb,
            billing_day: settings.get("BILLING_DAY", "1", billing_day),
            mode: settings.get("BUDGET_MODE", "estimate", one_of(MODES)),
            state_dir: settings.optional("STATE_DIR", parsed("the path of a directory")),
            limit_action: settings.get("LIMIT_ACTION", "refuse", one_of(ACTIONS)),
            liability_rate: settings.optional("LIABILITY_MBPS_PER_GRANT", rate).unwrap_or(estimated_rate),
            reserved_percent_per_client: settings.get("RESERVED_PERCENT_PER_CLIENT", "5", number(1..=100)),
            user_limit: settings.optional("USER_LIMIT_GB", gb_above_zero),
            expiry_tail: settings.optional("TURN_EXPIRY_TAIL_SECONDS", seconds(0..=604_800)),
        }
    }
}

impl UsageConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        Self {
            estimated_rate: settings.get("ESTIMATED_MBPS_PER_CONNECTION", "2", rate),
            billed: settings.get("BILLED_DIRECTIONS", "egress", one_of(DIRECTIONS)),
            heartbeat: settings.get("HEARTBEAT_SECONDS", "30", seconds(1..=3_600)),
            claims_per_client: settings.get("CLAIMS_MBPS_PER_CLIENT", "50", rate),
            client_addresses: settings.get("CLIENT_ADDRESSES", "prefix", one_of(ADDRESSES)),
        }
    }
}

impl PriceConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let per_gb = form("a price from 0 to 1000000, at most six decimals", parse_price);
        let currency = form("the three letters of a currency, as USD", parse_currency);
        Self {
            price: Price {
                per_gb: settings.get("PRICE_PER_GB", "0.05", per_gb),
                free: settings.get("FREE_GB", "1000", gb).0,
            },
            currency: settings.get("CURRENCY", "USD", currency),
        }
    }
}

/// A rate that does not round to zero.
pub(super) fn rate(text: &str) -> Formed<BitRate> {
    form("Mbps above 0, at most 1000000, decimals allowed", |text| {
        parse_decimal(text, AMOUNT_MAX).and_then(BitRate::from_mbps).filter(|rate| rate.get() > 0)
    })(text)
}

/// In bytes, and as written.
fn gb(text: &str) -> Formed<(ByteCount, f64)> {
    form("GB from 0 to 1000000, decimals allowed", |text| {
        let gb = parse_decimal(text, AMOUNT_MAX)?;
        Some((ByteCount::from_gb(gb)?, gb))
    })(text)
}

/// A limit of zero would refuse every user.
fn gb_above_zero(text: &str) -> Formed<ByteCount> {
    form("GB above 0, at most 1000000, decimals allowed", |text| {
        gb(text).ok().map(|(bytes, _)| bytes).filter(|bytes| *bytes > ByteCount::ZERO)
    })(text)
}

fn billing_day(text: &str) -> Formed<BillingDay> {
    let day = number(1..=31);
    form("a day of the month from 1 to 31", |text| day(text).ok().and_then(BillingDay::new))(text)
}

/// A price with more than six decimals could round to zero.
fn parse_price(text: &str) -> Option<Money> {
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    parse_decimal(text, AMOUNT_MAX).filter(|_| decimals <= 6).and_then(Money::from_units)
}

fn parse_currency(text: &str) -> Option<String> {
    let is_code = text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic());
    is_code.then(|| text.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_setting_has_a_default_a_form_and_a_message() {
        crate::config::testing::assert_cases(
            r#"
            PORT=
            = budget: BudgetConfig { limit: ByteCount(1000000000000), limit_gb: 1000.0, billing_day: BillingDay(1), mode: Estimate, state_dir: None, limit_action: Refuse, liability_rate: BitRate(2000000), reserved_percent_per_client: 5, user_limit: None, expiry_tail: None }
            = usage: UsageConfig { estimated_rate: BitRate(2000000), billed: Egress, heartbeat: 30s, claims_per_client: BitRate(50000000), client_addresses: Prefix }
            = price: Price { per_gb: Money(50000), free: ByteCount(1000000000000) }, currency: "USD" }
            BANDWIDTH_LIMIT_GB=0.5; BILLING_DAY=31; BUDGET_MODE=Strict; STATE_DIR=/a; LIMIT_ACTION=fallback; LIABILITY_MBPS_PER_GRANT=0.000001; RESERVED_PERCENT_PER_CLIENT=6; USER_LIMIT_GB=0.001; TURN_EXPIRY_TAIL_SECONDS=0
            = budget: BudgetConfig { limit: ByteCount(500000000), limit_gb: 0.5, billing_day: BillingDay(31), mode: Strict, state_dir: Some("/a"), limit_action: Fallback, liability_rate: BitRate(1), reserved_percent_per_client: 6, user_limit: Some(ByteCount(1000000)), expiry_tail: Some(0ns) }
            ESTIMATED_MBPS_PER_CONNECTION=1.5; BILLED_DIRECTIONS=both; HEARTBEAT_SECONDS=7; CLAIMS_MBPS_PER_CLIENT=8; CLIENT_ADDRESSES=none
            = usage: UsageConfig { estimated_rate: BitRate(1500000), billed: Both, heartbeat: 7s, claims_per_client: BitRate(8000000), client_addresses: None }
            = liability_rate: BitRate(1500000)
            PRICE_PER_GB=0.000001; FREE_GB=0.5; CURRENCY=eur
            = price: Price { per_gb: Money(1), free: ByteCount(500000000) }, currency: "EUR" }
            BANDWIDTH_LIMIT_GB=0 | 1000000 | .5 | 5. | 007
            BANDWIDTH_LIMIT_GB=-1 | 1000000.1 | 1 TB
            ! BANDWIDTH_LIMIT_GB: expected GB from 0 to 1000000, decimals allowed, found <value>
            FREE_GB=-1 | 1000000.1
            ! FREE_GB: expected GB from 0 to 1000000, decimals allowed, found <value>
            USER_LIMIT_GB=0 | 0.0 | 1000000.1
            ! USER_LIMIT_GB: expected GB above 0, at most 1000000, decimals allowed, found <value>
            ESTIMATED_MBPS_PER_CONNECTION=0 | 0.0000001 | 1000000.1
            ! ESTIMATED_MBPS_PER_CONNECTION: expected Mbps above 0, at most 1000000, decimals allowed, found <value>
            LIABILITY_MBPS_PER_GRANT=0
            ! LIABILITY_MBPS_PER_GRANT: expected Mbps above 0, at most 1000000, decimals allowed, found <value>
            CLAIMS_MBPS_PER_CLIENT=0
            ! CLAIMS_MBPS_PER_CLIENT: expected Mbps above 0, at most 1000000, decimals allowed, found <value>
            PRICE_PER_GB=0.0000001 | $0.05 | 1000000.1
            ! PRICE_PER_GB: expected a price from 0 to 1000000, at most six decimals, found <value>
            CURRENCY=$ | US | EURO | U5D
            ! CURRENCY: expected the three letters of a currency, as USD, found <value>
            BILLING_DAY=0 | 32 | -1 | +1 | 1.5 | first
            ! BILLING_DAY: expected a day of the month from 1 to 31, found <value>
            RESERVED_PERCENT_PER_CLIENT from 1 to 100
            TURN_EXPIRY_TAIL_SECONDS from 0 to 604800
            HEARTBEAT_SECONDS from 1 to 3600
            BUDGET_MODE=maybe
            ! BUDGET_MODE: expected estimate or strict, found <value>
            LIMIT_ACTION=maybe
            ! LIMIT_ACTION: expected refuse or fallback, found <value>
            BILLED_DIRECTIONS=maybe
            ! BILLED_DIRECTIONS: expected egress or both, found <value>
            CLIENT_ADDRESSES=FULL | prefix | none
            CLIENT_ADDRESSES=maybe
            ! CLIENT_ADDRESSES: expected full, prefix or none, found <value>
            "#,
        );
    }
}
