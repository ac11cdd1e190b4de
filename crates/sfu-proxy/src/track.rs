//! What a session sends and takes: tracks and data channels.

use super::name::Name;
use crate::prelude::*;

/// Whether other sessions may reply on a data channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replies {
    /// None may.
    Refused,
    /// One has asked, and the SFU has not answered.
    Asked,
    /// At least one may.
    Granted,
}

/// What names a track or a data channel within its session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrackId {
    /// The mid of a track.
    Mid(Name),
    /// The id of a data channel.
    Channel(u64),
}

/// Which way a track goes, seen from its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The session sends it.
    Local,
    /// The session takes it from another one.
    Remote,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MediaKind {
    /// Sound: [`AUDIO_KBPS`].
    Audio,
    /// Pictures, or something of which the kind is not known: [`VideoRates`](super::taken::VideoRates).
    Video,
    /// A data channel, in which anything may flow at any time: the rates of video. No request names this kind.
    #[serde(skip)]
    Data,
}

/// The rate of a track with sound, assumed and charged, in kbit/s. Opus in a browser sends about 40.
pub(crate) const AUDIO_KBPS: u32 = 100;

impl MediaKind {
    /// The kind that all of these have. Video if `kinds` is empty, or if they differ.
    pub(crate) fn of_all(kinds: impl Iterator<Item = Self>) -> Self {
        kinds.reduce(|a, b| if a == b { a } else { Self::Video }).unwrap_or(Self::Video)
    }

    /// Its rate, in kbit/s. `video`: that of video.
    pub(crate) const fn kbps(self, video: u32) -> u32 {
        match self {
            Self::Audio => AUDIO_KBPS,
            Self::Video | Self::Data => video,
        }
    }
}

// What sessions take from others, at assumed and at estimated rates.

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
pub(crate) fn kbps(rate: BitRate) -> u32 {
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
