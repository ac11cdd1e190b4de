//! What the billed bytes of a period cost: so far, and at its end if the average rate since its first use continues. Tests: below.
//! Costs are rounded up. No admission depends on them.

use std::fmt;

use crate::prelude::*;

/// There is no forecast before so much time has passed since the first use in the period: the rate of a few hours is not that of whole
/// days.
pub const FORECAST_AFTER: Duration = Duration::from_secs(86_400);

/// Millionths of a currency's unit in one unit, and in its hundredth.
const MICROS_PER_UNIT: f64 = 1e6;
const MICROS_PER_HUNDREDTH: u64 = 10_000;
const BYTES_PER_GB: u128 = 1_000_000_000;

/// An amount of money, in millionths of a currency's unit. It does not know the currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Money(u64);

impl Money {
    /// From units with decimals, rounded to the nearest millionth; `None` when negative, not a number, or above
    /// 9,007,199,254.
    pub fn from_units(units: f64) -> Option<Self> {
        // As whole numbers in floating point, micros and bytes have the same range.
        ByteCount::from_whole((units * MICROS_PER_UNIT).round()).map(|micros| Self(micros.get()))
    }

    /// Units with decimals, for display only.
    pub fn as_units(self) -> f64 {
        lossy(self.0) / MICROS_PER_UNIT
    }
}

impl fmt::Display for Money {
    /// Two decimals, rounded up: `12.35`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = self.0.div_ceil(MICROS_PER_HUNDREDTH);
        write!(f, "{}.{:02}", hundredths / 100, hundredths % 100)
    }
}

/// Divides a cost in proportion to bytes. Each share is the cost of all bytes up to the end of its own, minus the cost of all bytes before
/// its own, both rounded down. So the shares add up to the cost, if the bytes add up to `all`.
pub fn shares(cost: Money, bytes: impl Iterator<Item = ByteCount>, all: ByteCount) -> Vec<Money> {
    let cost_of = |bytes: u128| {
        let part = bytes.saturating_mul(cost.0.into()).checked_div(all.get().into()).unwrap_or(0);
        u64::try_from(part).unwrap_or(u64::MAX)
    };
    let mut sum = 0_u128;
    let share = |bytes: ByteCount| {
        let cost_before = cost_of(sum);
        sum = sum.saturating_add(bytes.get().into());
        Money(cost_of(sum).saturating_sub(cost_before))
    };
    bytes.map(share).collect()
}

/// What the provider charges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Price {
    /// For each GB above the free ones.
    pub per_gb: Money,
    /// Bytes of a period that cost nothing.
    pub free: ByteCount,
}

impl Price {
    /// The cost of the bytes of a whole period so far, rounded up to a millionth.
    pub fn of(&self, used: ByteCount) -> Money {
        let billed = u128::from(used.minus(self.free).get());
        let micros = billed.saturating_mul(self.per_gb.0.into()).div_ceil(BYTES_PER_GB);
        Money(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

/// What relayed bytes cost. The figures in money are for the operator: no admission depends on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tariff {
    /// What Cloudflare's TURN service and SFU charge, which share a price and the free bytes. Other sources, such as own relays, cost nothing
    /// unless they have a price of their own.
    pub prices: BySource<Price>,
    /// Three capital letters, as in ISO 4217.
    pub currency: String,
}

impl Tariff {
    /// The cost of what the sources have relayed in a whole period so far.
    pub fn cost_of(&self, used: &BTreeMap<IceSource, ByteCount>) -> Money {
        let is_cloudflares = |source: &IceSource| matches!(source, IceSource::Cloudflare | IceSource::Sfu);
        let of_cloudflare = used.iter().filter(|(source, _)| is_cloudflares(source)).map(|(_, bytes)| *bytes);
        let of_cloudflare = self.prices.usual.of(of_cloudflare.fold(ByteCount::ZERO, ByteCount::plus));
        let of_other = |(source, price): (&IceSource, &Price)| Some(price.of(*used.get(source)?));
        let of_others = self.prices.own.iter().filter_map(of_other);
        of_others.fold(of_cloudflare, |sum, cost| Money(sum.0.saturating_add(cost.0)))
    }
}

/// The most tariffs that are kept: that of this period, and those of the twelve before it, which are shown.
const PERIODS_SHOWN: usize = 13;

/// The tariffs, each under the beginning of its first period. A period has the tariff with which the broker last started in it or before
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Tariffs(BTreeMap<Timestamp, Tariff>);

impl Tariffs {
    /// Takes the tariff of a start in this period.
    pub(crate) fn begin(&mut self, tariff: &Tariff, period: Period) {
        // With another billing day, a period can have begun after this one.
        self.0.retain(|start, _| *start <= period.start);
        if self.of(period) != Some(tariff) {
            self.0.insert(period.start, tariff.clone());
        }
        while self.0.len() > PERIODS_SHOWN {
            self.0.pop_first();
        }
    }

    /// The tariff of a period; for one before the first that is known, the first. `None` before the first start.
    pub(crate) fn of(&self, period: Period) -> Option<&Tariff> {
        self.0.range(..=period.start).next_back().or(self.0.first_key_value()).map(|(_, tariff)| tariff)
    }
}

/// The bytes at the end of the period if the average rate since `since` continues, rounded up. `None` in the first day after `since`. The
/// rate is `used` / `elapsed`, and the whole time is from `since` to the end.
pub fn forecast(period: Period, since: Timestamp, now: Timestamp, used: ByteCount) -> Option<ByteCount> {
    let elapsed = now.min(period.end).since(since);
    if elapsed < FORECAST_AFTER {
        return None;
    }
    let whole = period.end.since(since).as_millis();
    let bytes = u128::from(used.get()).saturating_mul(whole).div_ceil(elapsed.as_millis().max(1));
    Some(ByteCount::saturating(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use turn_budget::BillingDay;

    const GB: u64 = 1_000_000_000;
    const DAY_MILLIS: u64 = 86_400_000;

    fn price(per_gb: f64, free_gb: u64) -> Price {
        Price { per_gb: Money::from_units(per_gb).unwrap(), free: ByteCount::new(free_gb * GB) }
    }

    fn cost(price: Price, bytes: u64) -> String {
        price.of(ByteCount::new(bytes)).to_string()
    }

    /// 2025-01-01 to 2025-02-01: 31 days.
    fn january() -> Period {
        BillingDay::new(1).unwrap().period_at(Timestamp::from_millis(1_736_942_400_000))
    }

    #[test]
    fn the_free_bytes_cost_nothing_and_each_further_gb_has_its_price() {
        let cloudflare = price(0.05, 1_000);
        assert_eq!(cost(cloudflare, 0), "0.00");
        assert_eq!(cost(cloudflare, 1_000 * GB), "0.00");
        assert_eq!(cost(cloudflare, 1_001 * GB), "0.05");
        assert_eq!(cost(cloudflare, 3_000 * GB), "100.00");
        assert_eq!(cost(price(0.0, 0), 3_000 * GB), "0.00");
    }

    #[test]
    fn each_source_has_its_price_and_own_relays_use_no_free_bytes() {
        let mut tariff = Tariff { prices: price(0.05, 1_000).into(), ..Tariff::default() };
        tariff.prices.own.insert(IceSource::Http, price(0.4, 0));
        let used = |bytes: &[(IceSource, u64)]| {
            bytes.iter().map(|(source, gb)| (*source, ByteCount::new(gb * GB))).collect()
        };
        let cost = |bytes: &[(IceSource, u64)]| tariff.cost_of(&used(bytes)).to_string();
        assert_eq!(cost(&[(IceSource::Coturn, 5_000), (IceSource::Cloudflare, 1_000)]), "0.00");
        assert_eq!(cost(&[(IceSource::Cloudflare, 600), (IceSource::Sfu, 600)]), "10.00");
        assert_eq!(cost(&[(IceSource::Cloudflare, 1_100), (IceSource::Http, 2_000)]), "805.00");
    }

    #[test]
    fn a_period_has_the_last_tariff_of_a_start_in_it_or_before_it() {
        let period = |on, days: u64| {
            BillingDay::new(on).unwrap().period_at(january().start.plus_millis(days * DAY_MILLIS))
        };
        let tariff = |currency: &str| Tariff { currency: currency.into(), ..Tariff::default() };
        let mut tariffs = Tariffs::default();
        for (currency, period) in
            [("A", period(1, 40)), ("B", period(1, 50)), ("B", period(1, 70)), ("C", period(15, 110))]
        {
            tariffs.begin(&tariff(currency), period);
        }
        tariffs.begin(&tariff("D"), period(1, 111));
        let of = |days| tariffs.of(period(1, days)).unwrap().currency.clone();
        assert_eq!([0, 40, 70, 100, 111, 200].map(of), ["B", "B", "B", "D", "D", "D"]);
        (12..40).for_each(|month| tariffs.begin(&tariff(&month.to_string()), period(1, month * 31)));
        assert_eq!(tariffs.0.len(), PERIODS_SHOWN);
    }

    #[test]
    fn shares_add_up_to_the_cost() {
        let all = [7, 5, 1, 0, 20].map(ByteCount::new);
        let of = |micros| {
            shares(Money(micros), all.into_iter(), ByteCount::new(33))
                .iter()
                .map(|of| of.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(33), [7, 5, 1, 0, 20]);
        assert_eq!((of(100).iter().sum::<u64>(), of(0)), (100, vec![0; 5]));
        assert_eq!(shares(Money(5), all.into_iter(), ByteCount::ZERO), [Money(0); 5]);
    }

    #[test]
    fn an_amount_is_rounded_up() {
        assert_eq!(cost(price(0.05, 0), 1), "0.01");
        assert_eq!(cost(price(0.05, 0), GB + 1), "0.06");
        assert_eq!(price(0.000_001, 0).of(ByteCount::new(1)).0, 1);
    }

    #[test]
    fn the_largest_bill_is_capped_and_never_wraps() {
        assert_eq!(price(1e6, 0).of(ByteCount::new(u64::MAX)).0, u64::MAX);
    }

    #[test]
    fn money_is_neither_negative_nor_without_a_bound() {
        for units in [-0.01, f64::NAN, f64::INFINITY, 1e10] {
            assert_eq!(Money::from_units(units), None, "{units}");
        }
        assert_eq!(Money::from_units(0.05).unwrap().0, 50_000);
    }

    #[test]
    fn a_forecast_continues_the_average_rate_since_the_first_use() {
        let at = |days: u64| january().start.plus_millis(days * DAY_MILLIS);
        let used = ByteCount::new(100 * GB);
        assert_eq!(forecast(january(), january().start, at(10), used), Some(ByteCount::new(310 * GB)));
        assert_eq!(forecast(january(), january().start, at(31), used), Some(used));
        assert_eq!(forecast(january(), january().start, at(40), used), Some(used), "the period has ended");
        let begun_late = forecast(january(), at(20), at(22), used);
        assert_eq!(begun_late, Some(ByteCount::new(550 * GB)), "50 GB on each of the last 11 days");
    }

    #[test]
    fn there_is_no_forecast_in_the_first_day() {
        let at = |millis: u64| january().start.plus_millis(millis);
        let used = ByteCount::new(GB);
        assert_eq!(forecast(january(), january().start, at(0), used), None);
        assert_eq!(forecast(january(), january().start, at(DAY_MILLIS - 1), used), None);
        assert_eq!(forecast(january(), january().start, at(DAY_MILLIS), used), Some(ByteCount::new(31 * GB)));
    }

    proptest! {
        #[test]
        fn a_forecast_is_never_below_what_is_used(used: u64, millis in DAY_MILLIS..=31 * DAY_MILLIS) {
            let used = ByteCount::new(used);
            let expected = forecast(january(), january().start, january().start.plus_millis(millis), used).unwrap();
            prop_assert!(expected >= used);
        }
    }
}
