//! What sessions take from others, at assumed rates.

use std::time::Duration;

use turn_ledger::BitRate;

use super::request::Pull;

/// The rates of a track with video, and of a data channel, in kbit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoRates {
    /// The most that is assumed. `LIABILITY_MBPS_PER_GRANT`.
    pub assumed: u32,
    /// What is charged while media flow. `ESTIMATED_MBPS_PER_CONNECTION`.
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
    /// All of them at assumed rates, those that the SFU is being asked for included, in kbit/s.
    pub kbps: u32,
    /// Those on which media flow, at estimated rates, in kbit/s.
    pub active_kbps: u32,
}

/// What was active for some time before the SFU said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateTrack {
    /// Its estimated rate, in kbit/s.
    pub kbps: u32,
    /// For how long, until now.
    pub span: Duration,
}

/// Tracks and data channels of others that a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// How many.
    pub tracks: usize,
    /// Their assumed rates together, in kbit/s.
    pub kbps: u32,
}

impl Demand {
    /// What these ask for.
    pub fn of(pulled: &[Pull], video: VideoRates) -> Self {
        let kbps = pulled.iter().fold(0_u32, |sum, pull| sum.saturating_add(pull.kind.kbps(video.assumed)));
        Self { tracks: pulled.len(), kbps }
    }
}
