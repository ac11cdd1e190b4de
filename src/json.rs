//! Numbers in JSON.

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};
use turn_ledger::ByteCount;

/// A JSON number that prints a whole value without decimals (`1000`, not `1000.0`). 0 for a value that is not finite.
pub fn plain_number(value: f64) -> Number {
    let whole = ByteCount::from_whole(value).map(|whole| Number::from(whole.get()));
    whole.or_else(|| Number::from_f64(value)).unwrap_or_else(|| Number::from(0))
}

/// Reads a count that may be null. A whole number may have any form (`198`, `198.0`, `1e3`), as in JSON Schema. A number
/// above `u64::MAX` is read as `u64::MAX`.
pub fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    // The decimal text converts a large number exactly, without a cast.
    let whole = |count: f64| format!("{:.0}", count.abs()).parse().unwrap_or(u64::MAX);
    let is_whole = |count: &f64| *count >= 0.0 && count.fract() == 0.0;
    match value.as_u64().or_else(|| value.as_f64().filter(is_whole).map(whole)) {
        None if !value.is_null() => {
            let expected = "a whole number that is not negative, or null";
            Err(D::Error::invalid_value(Unexpected::Other("value"), &expected))
        }
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Option<u64>, ()> {
        count(&mut serde_json::Deserializer::from_str(json)).map_err(drop)
    }

    #[test]
    fn a_whole_number_in_any_form_is_a_count() {
        for (json, expected) in [
            ("198", Some(198)),
            ("198.0", Some(198)),
            ("1e3", Some(1_000)),
            ("1999064321523427.0", Some(1_999_064_321_523_427)),
            ("0", Some(0)),
            ("-0.0", Some(0)),
            ("9223372036854775808", Some(1 << 63)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("1e300", Some(u64::MAX)),
            ("null", None),
        ] {
            assert_eq!(read(json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn nothing_else_is_a_count() {
        for json in ["-1", "-1.0", "0.5", "1e-3", "\"1\"", "true", "[]", "{}"] {
            assert_eq!(read(json), Err(()), "{json}");
        }
    }

    #[test]
    fn whole_numbers_print_without_decimals() {
        assert_eq!(plain_number(1000.0).to_string(), "1000");
        assert_eq!(plain_number(0.5).to_string(), "0.5");
    }
}
