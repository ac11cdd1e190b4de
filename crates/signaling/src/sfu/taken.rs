//! What sessions take from others, at assumed rates.

use std::time::Duration;

use super::request::Pull;

/// What a session takes from others, at the assumed rates of its tracks and data channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// All of them, those that the SFU is being asked for included, in kbit/s.
    pub kbps: u32,
    /// Those on which media flow, in kbit/s.
    pub active_kbps: u32,
}

/// What was active for some time before the SFU said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateTrack {
    /// Its assumed rate, in kbit/s.
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
    /// What these ask for. `video`: the assumed rate of video, in kbit/s.
    pub fn of(pulled: &[Pull], video: u32) -> Self {
        let kbps = pulled.iter().fold(0_u32, |sum, pull| sum.saturating_add(pull.kind.kbps(video)));
        Self { tracks: pulled.len(), kbps }
    }
}
