//! How amounts are shown: decimal GB, and percent. A GB has 10^9 bytes, as the provider bills it.

use turn_ledger::{ByteCount, lossy};

/// A number of bytes, shown to people.
pub trait Shown: Copy {
    /// Decimal GB.
    fn as_gb(self) -> f64;

    /// In percent of `whole`, two decimals, halves up. 100 if `whole` is zero.
    fn percent_of(self, whole: Self) -> f64;

    /// GB with two decimals, to the nearest 10 MB, halves up: the format of the status.
    fn gb_nearest(self) -> String;

    /// GB with two decimals, rounded up: for amounts that may still be billed.
    fn gb_up(self) -> String;

    /// GB with four decimals, to the nearest 100 kB, halves up: the format of the log.
    fn gb_four_decimals(self) -> String;
}

impl Shown for ByteCount {
    fn as_gb(self) -> f64 {
        lossy(self.get()) / 1e9
    }

    fn percent_of(self, whole: Self) -> f64 {
        if whole == Self::ZERO {
            return 100.0;
        }
        (lossy(self.get()) / lossy(whole.get()) * 10_000.0).round() / 100.0
    }

    fn gb_nearest(self) -> String {
        centi_gb(self.get().saturating_add(5_000_000) / 10_000_000)
    }

    fn gb_up(self) -> String {
        centi_gb(self.get().div_ceil(10_000_000))
    }

    fn gb_four_decimals(self) -> String {
        let units = self.get().saturating_add(50_000) / 100_000;
        format!("{}.{:04}", units / 10_000, units % 10_000)
    }
}

fn centi_gb(units: u64) -> String {
    format!("{}.{:02}", units / 100, units % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_shown_rounded_to_the_nearest_and_bounds_rounded_up() {
        assert_eq!(ByteCount::new(1_073_741_824).gb_nearest(), "1.07");
        assert_eq!(ByteCount::new(45_234_999_999).gb_nearest(), "45.23");
        assert_eq!(ByteCount::new(45_235_000_000).gb_nearest(), "45.24");
        assert_eq!(ByteCount::new(1).gb_nearest(), "0.00");
        assert_eq!(ByteCount::new(1).gb_up(), "0.01");
        assert_eq!(ByteCount::new(23_449_999).gb_four_decimals(), "0.0234");
    }

    #[test]
    fn a_percentage_has_two_decimals_and_a_limit_of_zero_is_fully_used() {
        let limit = ByteCount::new(1_000_000_000_000);
        assert_eq!(ByteCount::new(45_230_000_000).percent_of(limit).to_string(), "4.52");
        assert_eq!(limit.percent_of(limit).to_string(), "100");
        assert_eq!(ByteCount::ZERO.percent_of(ByteCount::ZERO).to_string(), "100");
    }
}
