//! The messages of rooms, in both directions. A client's message is parsed once into a type that cannot be invalid.

use crate::prelude::*;

/// The longest `userUpdate`, in bytes. A full one has about 1 KiB.
const USER_UPDATE_MAX: usize = 8 * 1024;
/// The longest of the other messages except lines of the log, in bytes. The largest set up end-to-end encryption.
const MESSAGE_MAX: usize = 64 * 1024;

/// A frame of a client.
pub struct Frame {
    /// Passed on unread, if it is for all others.
    pub(super) text: Text,
    pub(super) message: Result<Incoming, Refusal>,
}

/// A message of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The user's new profile.
    UserUpdate(Box<Profile>),
    /// The user is still there.
    Heartbeat,
    /// The user leaves.
    UserLeft,
    /// A message for one user.
    DirectMessage(DirectMessage),
    /// Turn a user's microphone off.
    MuteUser(MuteUser),
    /// A message for all others, passed on unread.
    EndToEnd,
    /// A line of the client's log. Ignored.
    Log,
    /// Answered with a pong.
    Ping,
    /// Asks for the AI in the room, or to remove it.
    Ai { is_wanted: bool },
    /// Asks to speak with the AI, or to stop.
    ControlAi,
}

/// Why a message, or a socket, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Refusal {
    /// The message is not a JSON object with a `type`.
    NotJson,
    /// No message has this `type`.
    UnknownType,
    /// A field of the message is missing, of another type, or too long.
    InvalidMessage,
    /// The message is longer than its type allows.
    TooLarge,
    /// Only users that have joined may do this.
    NotJoined,
    /// The room has as many users as it may have.
    RoomFull,
    /// Another user is in the room with this id.
    UserIdTaken,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct UserUpdate {
    user: Profile,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct DirectMessage {
    /// The id of the user who gets it.
    pub(super) to: String,
    pub(super) message: String,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct MuteUser {
    /// The id of the user whose microphone is turned off.
    pub(super) id: String,
}

#[derive(Deserialize)]
struct EndToEnd<'a> {
    #[serde(rename = "payload", borrow)]
    _payload: Cow<'a, str>,
}

impl Incoming {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let head: Head<'_> = object::parse(text).ok_or(Refusal::NotJson)?;
        Ok(match &*head.kind {
            "callsApiHistoryEntry" => Self::Log,
            _ if text.len() > MESSAGE_MAX => return Err(Refusal::TooLarge),
            "userUpdate" if text.len() > USER_UPDATE_MAX => return Err(Refusal::TooLarge),
            "userUpdate" => Self::UserUpdate(Box::new(body::<UserUpdate>(text)?.user)),
            "heartbeat" => Self::Heartbeat,
            "userLeft" => Self::UserLeft,
            "directMessage" => Self::DirectMessage(body(text)?),
            "muteUser" => Self::MuteUser(body(text)?),
            "e2eeMlsMessage" => {
                body::<EndToEnd<'_>>(text)?;
                Self::EndToEnd
            }
            "partyserver-ping" => Self::Ping,
            "enableAi" => Self::Ai { is_wanted: true },
            "disableAi" => Self::Ai { is_wanted: false },
            // The second name is misspelled on the wire.
            "requestAiControl" | "relenquishAiControl" => Self::ControlAi,
            _ => return Err(Refusal::UnknownType),
        })
    }

    /// Whether it is passed on to other users at its full length.
    pub(super) fn is_relayed(&self) -> bool {
        matches!(self, Self::DirectMessage(_) | Self::EndToEnd)
    }
}

fn body<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|_| Refusal::InvalidMessage)
}

impl Refusal {
    /// The close frame for a socket that is refused.
    pub(super) fn close(self) -> Closing {
        match self {
            Self::RoomFull => Closing { code: 1013, reason: "try again later" },
            _ => Closing::POLICY,
        }
    }

    /// The message to the client.
    pub(super) fn text(self) -> Text {
        Outgoing::Error { error: self.into() }.text()
    }
}

/// A message to a client.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(super) enum Outgoing<'a> {
    RoomState {
        state: RoomState<'a>,
    },
    Error {
        error: &'static str,
    },
    DirectMessage {
        /// The sender's name. Not its id.
        from: &'a str,
        message: &'a str,
    },
    MuteMic,
    UserLeftNotification {
        id: &'a str,
    },
    #[serde(rename = "partyserver-pong")]
    Pong,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomState<'a> {
    pub(super) meeting_id: &'a str,
    pub(super) users: Vec<User<'a>>,
    pub(super) ai: Ai,
}

/// A user as all users of the room see it.
#[derive(Serialize)]
pub(super) struct User<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a turn_budget::User,
    #[serde(flatten)]
    pub(super) profile: &'a Profile,
}

/// The state of the AI, which is never available.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ai {
    pub(super) enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connection_pending: Option<bool>,
}

impl Outgoing<'_> {
    pub(super) fn text(&self) -> Text {
        object::json(self).into()
    }
}

// What a user says about itself: whether it has joined, speaks or raises a hand, and its tracks. Only these members are kept,
// each with a longest length, so that the state of a room stays small whatever its users send.

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
