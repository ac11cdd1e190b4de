//! Bytes, bit rates and instants of wall time. Tests: below.
//! All units are decimal: a GB is 10^9 bytes, a Mbps is 10^6 bit/s, and there are no binary multiples. Arithmetic saturates and never
//! wraps, so no input can turn a large bill into a small one.

mod clock;
mod interval;
mod period;
mod slot;

pub use {clock::*, interval::*, period::*, slot::*};

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes in one GB, as the provider bills them.
const BYTES_PER_GB: f64 = 1e9;
/// Bits per second in one Mbps.
const BITS_PER_MBPS: f64 = 1e6;
/// Milliseconds in a second times bits in a byte: `bit/s × ms / 8000 = bytes`.
const BIT_MILLIS_PER_BYTE: u128 = 8_000;
/// An `f64` holds every whole number up to this one exactly.
const EXACT_F64_MAX: f64 = 9_007_199_254_740_992.0;

/// The highest rate of one allocation. Cloudflare documents 50 to 100 Mbps.
pub const RELAY_RATE_MAX: BitRate = BitRate::new(100_000_000);

/// A whole number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ByteCount(u64);

impl ByteCount {
    /// No bytes.
    pub const ZERO: Self = Self(0);

    /// A count of `bytes`.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// From decimal GB, rounded to the nearest byte; `None` when negative, not a number, or above 9,007,199 GB.
    pub fn from_gb(gb: f64) -> Option<Self> {
        whole(gb * BYTES_PER_GB).map(Self)
    }

    /// From a whole number in floating point; `None` if it is negative, has a fraction, or is above 9,007,199 GB.
    pub fn from_whole(bytes: f64) -> Option<Self> {
        whole(bytes).filter(|_| bytes.fract() == 0.0).map(Self)
    }

    /// From a sum that may exceed `u64`; capped at `u64::MAX`.
    pub fn saturating(bytes: u128) -> Self {
        Self(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Sum, capped at `u64::MAX`.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Difference, at least zero.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `percent` of it, in bytes, rounded up.
    pub fn share_up(self, percent: u32) -> u128 {
        u128::from(self.0).saturating_mul(percent.into()).div_ceil(100)
    }

    /// In percent of `whole`, two decimals, halves up. 100 if `whole` is zero.
    pub fn percent_of(self, whole: Self) -> f64 {
        if whole == Self::ZERO {
            return 100.0;
        }
        (lossy(self.0) / lossy(whole.0) * 10_000.0).round() / 100.0
    }

    /// Decimal GB, for display only.
    pub fn as_gb(self) -> f64 {
        lossy(self.0) / BYTES_PER_GB
    }

    /// GB with two decimals, to the nearest 10 MB, halves up: the format of the status.
    pub fn gb_nearest(self) -> String {
        centi_gb(self.0.saturating_add(5_000_000) / 10_000_000)
    }

    /// GB with two decimals, rounded up: for amounts that may still be billed.
    pub fn gb_up(self) -> String {
        centi_gb(self.0.div_ceil(10_000_000))
    }

    /// GB with four decimals, to the nearest 100 kB, halves up: the format of the log.
    pub fn gb_four_decimals(self) -> String {
        let units = self.0.saturating_add(50_000) / 100_000;
        format!("{}.{:04}", units / 10_000, units % 10_000)
    }
}

fn centi_gb(units: u64) -> String {
    format!("{}.{:02}", units / 100, units % 100)
}

/// Bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct BitRate(u64);

impl BitRate {
    /// A rate of `bits_per_second`.
    pub const fn new(bits_per_second: u64) -> Self {
        Self(bits_per_second)
    }

    /// From decimal Mbps, rounded to the nearest bit/s; `None` when negative, not a number, or above 9,007,199,254 Mbps.
    pub fn from_mbps(mbps: f64) -> Option<Self> {
        whole(mbps * BITS_PER_MBPS).map(Self)
    }

    /// The average rate of these bytes over so many minutes of grants, rounded up; at least one minute.
    pub fn average(bytes: ByteCount, minutes: u128) -> Self {
        let bits = u128::from(bytes.get()).saturating_mul(8);
        let rate = bits.div_ceil(minutes.max(1).saturating_mul(60));
        Self(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// Decimal Mbps, for display only.
    pub fn as_mbps(self) -> f64 {
        lossy(self.0) / BITS_PER_MBPS
    }

    /// Bits per second.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Bytes at this rate in `millis`, rounded up. 128 bits wide, so months of many connections fit.
    pub fn over_millis(self, millis: u128) -> u128 {
        u128::from(self.0).saturating_mul(millis).div_ceil(BIT_MILLIS_PER_BYTE)
    }

    /// Bytes at this rate in a minute, rounded up.
    pub fn per_minute(self) -> u64 {
        ByteCount::saturating(self.over_millis(60_000)).get()
    }
}

impl fmt::Display for BitRate {
    /// `2 Mbps`, with at most two decimals, rounded up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = self.0.div_ceil(10_000);
        write!(f, "{} Mbps", lossy(hundredths) / 100.0)
    }
}

/// An instant of wall time: milliseconds since 1970 UTC. On the wire RFC 3339 with `Z` and three decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970 UTC.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970 UTC.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970 UTC, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Milliseconds from `earlier` to here; zero when `earlier` is later.
    pub fn millis_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// Time from `earlier` to here; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.millis_since(earlier))
    }

    /// `span` later, in whole milliseconds.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        self.plus_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }

    /// `millis` later.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add_unsigned(millis))
    }

    /// `span` earlier, in whole milliseconds.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub_unsigned(millis))
    }

    /// As a calendar date and time. Instants outside the calendar, on either side, give its last one.
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at.timestamp_millis())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl FromStr for Timestamp {
    type Err = chrono::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(DateTime::parse_from_rfc3339(text)?.to_utc().into())
    }
}

/// In JSON its text, in binary rows milliseconds since 1970.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return text.parse().map_err(|_| D::Error::custom("expected an instant by RFC 3339"));
        }
        i64::deserialize(deserializer).map(Self)
    }
}

/// A wait in whole seconds, rounded up, at least 1. A client that waits exactly this long is admitted.
pub fn wait_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// The nearest whole number; `None` if it is negative, not a number, or above [`EXACT_F64_MAX`].
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked one line above"
)]
fn whole(value: f64) -> Option<u64> {
    let rounded = value.round();
    (0.0..=EXACT_F64_MAX).contains(&rounded).then_some(rounded as u64)
}

/// For display only. Exact up to 9,007,199 GB; beyond that, to about 16 digits.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "display only, as the name says")]
pub fn lossy(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;

    #[test]
    fn a_gb_is_1_000_000_000_bytes() {
        assert_eq!(ByteCount::from_gb(1.0), Some(ByteCount::new(1_000_000_000)));
    }

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

    #[test]
    fn a_float_without_an_exact_byte_count_is_refused() {
        for (bytes, taken) in [(0.0, Some(0)), (-0.0, Some(0)), (1.5e9, Some(1_500_000_000))] {
            assert_eq!(ByteCount::from_whole(bytes), taken.map(ByteCount::new), "{bytes}");
        }
        assert_eq!(ByteCount::from_whole(EXACT_F64_MAX), Some(ByteCount::new(1 << 53)));
        for bytes in [-1.0, 0.5, 1e300, f64::NAN, f64::INFINITY, EXACT_F64_MAX + 2.0] {
            assert_eq!(ByteCount::from_whole(bytes), None, "{bytes}");
        }
    }

    #[test]
    fn two_mbps_for_four_seconds_is_one_megabyte() {
        assert_eq!(BitRate::from_mbps(2.0).unwrap().over_millis(4_000), 1_000_000);
        assert_eq!(BitRate::new(1).over_millis(1), 1, "a part of a byte counts as one");
    }

    #[test]
    fn negative_infinite_and_huge_amounts_are_refused() {
        for bad in [-0.1, f64::NAN, f64::INFINITY, 1e10] {
            assert_eq!(ByteCount::from_gb(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_timestamp_prints_as_javascript_prints_it() {
        let at = Timestamp::from_millis(1_738_368_000_000);
        assert_eq!(at.to_string(), "2025-02-01T00:00:00.000Z");
    }

    #[test]
    fn waits_round_up_and_are_never_zero() {
        assert_eq!(wait_seconds(Duration::from_millis(29_001)), 30);
        assert_eq!(wait_seconds(Duration::from_secs(29)), 29);
        assert_eq!(wait_seconds(Duration::ZERO), 1);
    }

    #[test]
    fn the_parts_of_a_time_span_cost_at_least_as_much_as_the_whole() {
        for (_, mut dice) in Dice::cases(256) {
            let [rate, first, second] = [(); 3].map(|()| dice.roll() >> (24 + dice.below(40)));
            let rate = BitRate::new(rate);
            let parts = rate.over_millis(first.into()) + rate.over_millis(second.into());
            assert!(parts >= rate.over_millis(u128::from(first) + u128::from(second)));
        }
    }
}
