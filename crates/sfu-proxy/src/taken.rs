//! What sessions take from others, at assumed and at estimated rates.

use turn_budget::BitRate;

/// The rates of a track with video, and of a data channel, in kbit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoRates {
    /// The most that is assumed. `LIABILITY_MBPS_PER_GRANT`.
    pub assumed: u32,
    /// What is charged. `ESTIMATED_MBPS_PER_CONNECTION`.
    pub estimated: u32,
}

impl VideoRates {
    /// Rounds both rates up to kbit/s.
    pub fn new(assumed: BitRate, estimated: BitRate) -> Self {
        Self { assumed: kbps(assumed), estimated: kbps(estimated) }
    }
}

/// A rate in kbit/s, rounded up.
pub fn kbps(rate: BitRate) -> u32 {
    u32::try_from(rate.get().div_ceil(1_000)).unwrap_or(u32::MAX)
}

/// What a session takes from others with its tracks and data channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// What it has asked for and the SFU has not refused, at assumed rates, in kbit/s.
    pub kbps: u32,
    /// What the SFU has confirmed, at estimated rates, in kbit/s.
    pub charged_kbps: u32,
}
