//! What a user says about itself: whether it has joined, speaks or raises a hand, and its tracks. Only these members are kept,
//! each with a longest length, so that the state of a room stays small whatever its users send.

use serde::{Deserialize, Serialize};

/// The longest id of a session or track, in bytes. A track's is `{session}/{name}`, about 100 characters.
const ID_MAX: usize = 256;

/// What a user says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    transceiver_session_id: Option<SfuId>,
    raised_hand: bool,
    speaking: bool,
    /// Whether the user has joined the call: before that it only sees who is there.
    pub(super) joined: bool,
    tracks: Tracks,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Tracks {
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<SfuId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_enabled: Option<bool>,
    audio_unavailable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<SfuId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    screenshare: Option<SfuId>,
    // The wire has this name, with a capital S in the middle and none in `screenshare`.
    #[serde(skip_serializing_if = "Option::is_none")]
    screen_share_enabled: Option<bool>,
}

/// The id of a session or track at the SFU: at most [`ID_MAX`] bytes, without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct SfuId(Box<str>);

impl TryFrom<String> for SfuId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_good = text.len() <= ID_MAX && !text.chars().any(char::is_control);
        if is_good { Ok(Self(text.into())) } else { Err("not an id of a session or track") }
    }
}

impl Profile {
    /// A user that has just connected.
    pub(super) fn new() -> Self {
        let off = Some(false);
        let tracks =
            Tracks { audio_enabled: off, video_enabled: off, screen_share_enabled: off, ..Tracks::default() };
        Self { tracks, ..Self::default() }
    }

    /// Whether the user has joined and sends something to the SFU.
    pub(super) fn has_media(&self) -> bool {
        let tracks = &self.tracks;
        self.joined && (tracks.audio.is_some() || tracks.video.is_some() || tracks.screenshare.is_some())
    }

    /// Turns the microphone off.
    pub(super) fn mute(&mut self) {
        self.tracks.audio_enabled = Some(false);
    }
}
