//! Numbers in JSON.

use serde_json::Number;
use turn_ledger::units::ByteCount;

/// A JSON number that prints a whole value without decimals (`1000`, not `1000.0`).
#[must_use]
pub fn plain_number(value: f64) -> Number {
    let whole = ByteCount::from_whole(value).map(|whole| Number::from(whole.get()));
    whole.or_else(|| Number::from_f64(value)).unwrap_or_else(|| Number::from(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_print_without_decimals() {
        assert_eq!(plain_number(1000.0).to_string(), "1000");
        assert_eq!(plain_number(0.5).to_string(), "0.5");
    }
}
