//! Sizes in the units of the dashboard: GB, or MB and kB where two decimals of a GB say nothing.

use turn_ledger::ByteCount;

/// From here on, two decimals of a GB are enough.
const GB_FROM: u64 = 95_000_000;
const GB: u64 = 1_000_000_000;

/// `12.30 GB`, `41.0 MB`, `37.5 kB`.
pub(super) fn size(bytes: ByteCount) -> String {
    match bytes.get() {
        0 | GB_FROM.. => format!("{} GB", bytes.gb_nearest()),
        1_000_000.. => format!("{:.1} MB", bytes.as_gb() * 1e3),
        _ => format!("{:.1} kB", bytes.as_gb() * 1e6),
    }
}

/// A size rounded up: `12.30 GB`, `41.1 MB`. Never in kB.
pub(super) fn size_up(bytes: ByteCount) -> String {
    match bytes.get() {
        0 | GB_FROM.. => format!("{} GB", bytes.gb_up()),
        _ => format!("{:.1} MB", (bytes.as_gb() * 1e4).ceil() / 10.0),
    }
}

/// `812.34 of 1000 GB`, and `41.0 of 250 MB` where both are less than 1 GB.
pub(super) fn size_of(used: ByteCount, limit: ByteCount) -> String {
    if used.max(limit).get() >= GB {
        return format!("{} of {} GB", used.gb_nearest(), limit.as_gb());
    }
    format!("{:.1} of {} MB", used.as_gb() * 1e3, (limit.as_gb() * 1e6).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_budget_is_in_mb() {
        let bytes = ByteCount::new;
        let sizes = [0, 37_500, 3_500_000, 94_999_999, 95_000_000, 1_234_500_000_000].map(|n| size(bytes(n)));
        assert_eq!(sizes, ["0.00 GB", "37.5 kB", "3.5 MB", "95.0 MB", "0.10 GB", "1234.50 GB"]);
        assert_eq!([1, 4_010_001, 95_000_001].map(|n| size_up(bytes(n))), ["0.1 MB", "4.1 MB", "0.10 GB"]);
        assert_eq!(size_of(bytes(40_960_000), bytes(41_000_000)), "41.0 of 41 MB");
        assert_eq!(size_of(bytes(812_344_000_000), bytes(750_500_000_000)), "812.34 of 750.5 GB");
        assert_eq!(size_of(bytes(2_000_000_000), bytes(0)), "2.00 of 0 GB");
    }
}
