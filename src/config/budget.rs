//! Settings of the budget, of the estimate of usage without measurements, and of the price. GB and MB are decimal, Mbps are 10^6 bit/s.

use std::path::PathBuf;

use super::form::parse_decimal;
use super::memory::grants_in;
use super::prelude::*;
use turn_ledger::{
    BilledDirections, BillingDay, BitRate, BudgetMode, BySource, KeptAddresses, Money, Price, Tariff,
};

/// The largest amount of GB, MB or Mbps: a petabyte a month, a terabit a second. More is a typing error.
pub const AMOUNT_MAX: f64 = 1_000_000.0;

/// The budget and the action at its limit.
#[derive(Clone, Debug)]
pub struct BudgetConfig {
    /// The bytes that may be relayed per period, to the nearest byte; 0 to 1,000,000 GB. `BANDWIDTH_LIMIT_GB`; 1,000 GB when unset.
    pub limit: ByteCount,
    /// The first day of the provider's billing period, 1 to 31. `BILLING_DAY`; 1 when unset.
    pub billing_day: BillingDay,
    /// The rule that admits a grant. `BUDGET_MODE`; estimate when unset.
    pub mode: BudgetMode,
    /// The directory of the ledger, created if missing. `STATE_DIR`; the ledger is in memory when unset.
    pub state_dir: Option<PathBuf>,
    /// Whether callers get the next unmetered source, and not a 429, when the budget is spent. `LIMIT_ACTION`, refuse or fallback; refuse
    /// when unset.
    pub falls_back: bool,
    /// The most that one grant is assumed to relay, above 0 up to 1,000,000 Mbps. `LIABILITY_MBPS_PER_GRANT`; the
    /// estimated rate of a connection when unset.
    pub liability_rate: BitRate,
    /// The most that the live grants of one client address may reserve in strict mode, 1 to 100 percent of the limit.
    /// `RESERVED_PERCENT_PER_CLIENT`; 5 when unset.
    pub reserved_percent_per_client: u32,
    /// The bytes that the grants of one user may relay per period, above 0 up to 1,000,000 GB. `USER_LIMIT_GB`; no limit when
    /// unset.
    pub user_limit: Option<ByteCount>,
    /// The bytes that one credential may relay in a period, together with the credentials that it renewed, above 0 up to 1,000,000 GB.
    /// `GRANT_LIMIT_GB`; no limit when unset.
    pub grant_limit: Option<ByteCount>,
    /// The bytes that the credentials of one client address without a user may relay on a UTC day, 0 (no limit) to 1,000,000 GB; an IPv6
    /// /48 has four times as much. `ADDRESS_LIMIT_GB`; a tenth of the limit, and at least 5 GB, when unset.
    pub address_limit: Option<ByteCount>,
    /// The most live credentials, about 586 bytes each, 1 to 20,000,000. `GRANTS_MAX`; when unset, what fits into half of the memory that
    /// the process may use, 2,000,000 at most.
    pub grants_max: usize,
    /// Whether live credentials of sources that can revoke are revoked when counted and vouched bytes reach the limit. `AT_LIMIT`; revoke
    /// when unset.
    pub revokes_at_limit: bool,
    /// How long relaying may outlive a credential, 0 to 7 days. `TURN_EXPIRY_TAIL_SECONDS`; each source's own when unset.
    pub expiry_tail: Option<Duration>,
}

/// Settings of the usage estimate.
#[derive(Clone, Debug)]
pub struct UsageConfig {
    /// The rate of a connection that reports no bytes, above 0 up to 1,000,000 Mbps. `ESTIMATED_MBPS_PER_CONNECTION`;
    /// 2 Mbps when unset.
    pub estimated_rate: BitRate,
    /// The directions that are charged, by source. `BILLED_DIRECTIONS`; egress when unset.
    pub billed: BySource<BilledDirections>,
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
const ACTIONS: &[(&str, bool)] = &[("refuse", false), ("fallback", true)];
const AT_LIMIT: &[(&str, bool)] = &[("none", false), ("revoke", true)];
const ADDRESSES: &[(&str, KeptAddresses)] =
    &[("full", KeptAddresses::Full), ("prefix", KeptAddresses::Prefix), ("none", KeptAddresses::None)];
/// The metered sources that are not Cloudflare's.
const OTHERS: [IceSource; 3] = [IceSource::Coturn, IceSource::Http, IceSource::Relay];
const DIRECTIONS: &[(&str, BilledDirections)] =
    &[("egress", BilledDirections::Egress), ("both", BilledDirections::Both)];

impl BudgetConfig {
    /// How long relaying may outlive a grant of this source. `TURN_EXPIRY_TAIL_SECONDS` is only for sources that issue credentials: at the
    /// others, the broker itself opens the sessions and bounds their time.
    pub fn tail_of(&self, source: IceSource) -> Duration {
        self.expiry_tail.filter(|_| source.issues_credentials()).unwrap_or(source.expiry_tail())
    }

    /// `estimated_rate`: the liability rate if `LIABILITY_MBPS_PER_GRANT` is unset.
    pub(super) fn read(settings: &mut Settings<'_>, estimated_rate: BitRate) -> Self {
        Self {
            limit: settings.about_money().get("BANDWIDTH_LIMIT_GB", "1000", gb),
            billing_day: settings.about_money().get("BILLING_DAY", "1", billing_day),
            mode: settings.about_money().get("BUDGET_MODE", "estimate", one_of(MODES)),
            state_dir: settings.about_money().optional("STATE_DIR", path("a directory")),
            falls_back: settings.about_money().get("LIMIT_ACTION", "refuse", one_of(ACTIONS)),
            liability_rate: settings
                .about_money()
                .optional("LIABILITY_MBPS_PER_GRANT", rate)
                .unwrap_or(estimated_rate),
            reserved_percent_per_client: settings.about_money().get(
                "RESERVED_PERCENT_PER_CLIENT",
                "5",
                number(1..=100),
            ),
            user_limit: settings.about_money().optional("USER_LIMIT_GB", gb_above_zero),
            grant_limit: settings.about_money().optional("GRANT_LIMIT_GB", gb_above_zero),
            address_limit: settings.about_money().optional("ADDRESS_LIMIT_GB", gb),
            grants_max: settings
                .optional("GRANTS_MAX", number(1..=20_000_000))
                .unwrap_or_else(|| grants_in(settings.environment.memory)),
            revokes_at_limit: settings.about_money().get("AT_LIMIT", "revoke", one_of(AT_LIMIT)),
            expiry_tail: settings.about_money().optional("TURN_EXPIRY_TAIL_SECONDS", seconds(0..=604_800)),
        }
    }
}

impl UsageConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        Self {
            estimated_rate: settings.about_money().get("ESTIMATED_MBPS_PER_CONNECTION", "2", rate),
            billed: settings.about_money().get("BILLED_DIRECTIONS", "egress", by_source(one_of(DIRECTIONS))),
            heartbeat: settings.get("HEARTBEAT_SECONDS", "30", seconds(1..=3_600)),
            claims_per_client: settings.about_money().get("CLAIMS_MBPS_PER_CLIENT", "50", rate),
            client_addresses: settings.get("CLIENT_ADDRESSES", "prefix", one_of(ADDRESSES)),
        }
    }
}

/// What relayed bytes cost. The price of each GB above the free ones, 0 to 1,000,000 with at most six decimals: `PRICE_PER_GB`; 0.05 when
/// unset. The free GB of a period, 0 to 1,000,000: `FREE_GB`; 1,000 when unset. Both are those of Cloudflare; `source=value` after a comma is
/// that of another source, which without it is 0. Three letters: `CURRENCY`; USD when unset.
pub(super) fn read_tariff(settings: &mut Settings<'_>) -> Tariff {
    let per_gb = form("a price from 0 to 1000000, at most six decimals", parse_price);
    let currency = form("the three letters of a currency, as USD", parse_currency);
    let per_gb = settings.about_money().get("PRICE_PER_GB", "0.05", by_source(per_gb));
    let free = settings.about_money().get("FREE_GB", "1000", by_source(gb));
    let has_price = free.own.keys().all(|source| per_gb.own.contains_key(source));
    settings.refuse_if("FREE_GB", !has_price, "expected sources that PRICE_PER_GB names");
    let price = |(source, per_gb): (IceSource, Money)| {
        (source, Price { per_gb, free: free.own.get(&source).copied().unwrap_or_default() })
    };
    Tariff {
        prices: BySource {
            usual: Price { per_gb: per_gb.usual, free: free.usual },
            own: per_gb.own.into_iter().map(price).collect(),
        },
        currency: settings.about_money().get("CURRENCY", "USD", currency),
    }
}

/// A rate that does not round to zero.
pub(super) fn rate(text: &str) -> Formed<BitRate> {
    form("Mbps above 0, at most 1000000, decimals allowed", |text| {
        parse_decimal(text, AMOUNT_MAX).and_then(BitRate::from_mbps).filter(|rate| rate.get() > 0)
    })(text)
}

/// GB, to the nearest byte. An amount above zero that rounds to zero is refused.
fn gb(text: &str) -> Formed<ByteCount> {
    form("GB from 0 to 1000000, decimals allowed", |text| {
        let gb = parse_decimal(text, AMOUNT_MAX)?;
        ByteCount::from_gb(gb).filter(|bytes| *bytes > ByteCount::ZERO || gb <= 0.0)
    })(text)
}

/// GB that do not round to zero: a limit of zero would refuse everything.
pub(super) fn gb_above_zero(text: &str) -> Formed<ByteCount> {
    form("GB above 0, at most 1000000, decimals allowed", |text| {
        gb(text).ok().filter(|bytes| *bytes > ByteCount::ZERO)
    })(text)
}

/// A list of limits: a name, and the GB that it may spend. `parse_name` gets what is before the `=`.
pub(super) fn read_limits<K: Ord>(
    settings: &mut Settings<'_>,
    setting: &'static str,
    expected_name: &str,
    parse_name: impl Fn(&str) -> Option<K>,
) -> BTreeMap<K, ByteCount> {
    let parse = |text: &str| {
        let (name, limit) = text.split_once('=')?;
        Some((parse_name(name.trim())?, gb_above_zero(limit.trim()).ok()?))
    };
    let entry = form(format!("{expected_name}=GB with GB above 0, at most 1000000"), parse);
    let listed = settings.about_money().list(setting, None, entry).unwrap_or_default();
    let (count, limits) = (listed.len(), BTreeMap::from_iter(listed));
    settings.refuse_if(setting, limits.len() < count, "expected each name once, found a repeated name");
    limits
}

fn billing_day(text: &str) -> Formed<BillingDay> {
    let day = number(1..=31);
    form("a day of the month from 1 to 31", |text| day(text).ok().and_then(BillingDay::new))(text)
}

/// A value, and those that metered sources other than Cloudflare's have of their own: `0.05,http=0.40`.
fn by_source<T>(form: impl Fn(&str) -> Formed<T>) -> impl Fn(&str) -> Formed<BySource<T>> {
    move |text| {
        let mut entries = text.split(',').map(str::trim);
        let mut values = BySource::from(form(entries.next().unwrap_or_default())?);
        for entry in entries {
            let (source, value) = entry.split_once('=').unwrap_or_default();
            let is_new = |source: &IceSource| OTHERS.contains(source) && !values.own.contains_key(source);
            let Some(source) = source.parse().ok().filter(is_new) else {
                return Err("expected a value, then coturn=, http= or relay= and theirs, each once".into());
            };
            values.own.insert(source, form(value)?);
        }
        Ok(values)
    }
}

/// A price. One with more than six decimals is refused, because it could round to zero.
fn parse_price(text: &str) -> Option<Money> {
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    parse_decimal(text, AMOUNT_MAX).filter(|_| decimals <= 6).and_then(Money::from_units)
}

fn parse_currency(text: &str) -> Option<String> {
    let is_code = text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic());
    is_code.then(|| text.to_ascii_uppercase())
}
