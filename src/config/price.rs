//! What relayed bytes cost at the provider. The figures in money are for the operator: no admission depends on them.

use super::budget::AMOUNT_MAX;
use super::names::{CURRENCY, FREE_GB, PRICE_PER_GB};
use super::settings::{Read, Settings};
use super::value::parse_decimal;
use crate::cost::{Money, Price};
use turn_ledger::ByteCount;

/// Price and currency.
#[derive(Clone, Debug)]
pub struct PriceConfig {
    /// For each GB above the free ones, 0 to 1,000,000 with at most six decimals. `PRICE_PER_GB`; 0.05 when unset. The free
    /// GB of a period, 0 to 1,000,000. `FREE_GB`; 1,000 when unset.
    pub price: Price,
    /// Three capital letters, as in ISO 4217. `CURRENCY`; USD when unset.
    pub currency: String,
}

impl PriceConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let expected = "a price from 0 to 1000000, at most six decimals";
        let per_gb = settings.required(PRICE_PER_GB, expected, parse_price);
        let free = settings.required(FREE_GB, "GB from 0 to 1000000, decimals allowed", parse_gb);
        let currency = settings.required(CURRENCY, "the three letters of a currency, as USD", parse_currency);
        Ok(Self { price: Price { per_gb: per_gb?, free: free? }, currency: currency? })
    }
}

/// A price with more than six decimals could round to zero.
fn parse_price(text: &str) -> Option<Money> {
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    parse_decimal(text, AMOUNT_MAX).filter(|_| decimals <= 6).and_then(Money::from_units)
}

fn parse_gb(text: &str) -> Option<ByteCount> {
    parse_decimal(text, AMOUNT_MAX).and_then(ByteCount::from_gb)
}

fn parse_currency(text: &str) -> Option<String> {
    let is_code = text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic());
    is_code.then(|| text.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{assert_refused, load};
    use turn_ledger::ByteCount;

    #[test]
    fn the_defaults_are_the_prices_of_cloudflare() {
        let prices = load([]).prices;
        assert_eq!((prices.price.per_gb.micros(), &*prices.currency), (50_000, "USD"));
        assert_eq!(prices.price.free, ByteCount::new(1_000_000_000_000));
    }

    #[test]
    fn price_free_gb_and_currency_can_be_set() {
        let prices = load([("PRICE_PER_GB", "0.000001"), ("FREE_GB", "0.5"), ("CURRENCY", "eur")]).prices;
        assert_eq!((prices.price.per_gb.micros(), &*prices.currency), (1, "EUR"));
        assert_eq!(prices.price.free, ByteCount::new(500_000_000));
        assert_eq!(load([("PRICE_PER_GB", "0")]).prices.price.per_gb.micros(), 0);
    }

    #[test]
    fn each_bad_value_is_refused_with_what_was_expected() {
        let price = "expected a price from 0 to 1000000, at most six decimals";
        let currency = "expected the three letters of a currency, as USD";
        let cases: [(&str, &str, &[&str]); 3] = [
            ("PRICE_PER_GB", price, &["-0.05", "0.0000001", "$0.05", "0,05", "1000000.1"]),
            ("FREE_GB", "expected GB from 0 to 1000000, decimals allowed", &["-1", "1e3", "1000001"]),
            ("CURRENCY", currency, &["$", "US", "EURO", "U5D"]),
        ];
        for (name, expected, values) in cases {
            for value in values {
                assert_refused([(name, *value)], &[&format!("{name}: {expected}, found {value:?}")]);
            }
        }
    }
}
