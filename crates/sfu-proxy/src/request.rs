//! The bodies of requests. Each is read into a type with exactly the fields that go upstream, and that type is sent, so the SFU gets
//! nothing that was not checked here. An unknown field, a field that occurs twice and a field in other letters are refused.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::name::Name;
use super::path::SfuCall;
use super::session_id::SessionId;
use super::track::{Direction, MediaKind, TrackId, TrackKey};

/// A request, as it goes to the SFU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SfuRequest {
    /// What it wants to push and pull.
    pub wanted: RequestedTracks,
    /// Its body, in JSON. Empty for a request without one.
    pub body: Vec<u8>,
}

/// What a request wants to push and pull.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestedTracks {
    /// Tracks that the session sends.
    pub pushed: Vec<Push>,
    /// Tracks and data channels that it takes from other sessions.
    pub pulled: Vec<Pull>,
    /// Data channels that the session sends.
    pub channels: usize,
}

impl RequestedTracks {
    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        self.pushed.len().saturating_add(self.pulled.len()).saturating_add(self.channels)
    }
}

/// A track that a session sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Push {
    /// Its mid.
    pub mid: Name,
    /// The name under which others pull it.
    pub name: Name,
    /// Its kind, by the session description.
    pub kind: MediaKind,
}

/// A track or a data channel that a session takes from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The session that sends it.
    pub session: SessionId,
    /// The name that this session gave it. `None` for a data channel.
    pub name: Option<Name>,
    /// The mid at which it is or was pulled, if the request names it.
    pub mid: Option<Name>,
    /// Its kind. Video until the table of sessions says what was pushed under this name.
    pub kind: MediaKind,
}

/// The body does not have the form that the call expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a JSON object with the fields of the call, each once")]
pub(crate) struct NotUnderstood;

/// Reads the body of a request for a new session. It may be empty.
pub(crate) fn new_session(body: &[u8]) -> Result<SfuRequest, NotUnderstood> {
    if body.is_empty() {
        return Ok(SfuRequest::default());
    }
    without_tracks::<NewSession>(body)
}

/// Reads the body of a call on a session.
pub(crate) fn of_call(call: SfuCall, body: &[u8]) -> Result<SfuRequest, NotUnderstood> {
    match call {
        SfuCall::Get => Ok(SfuRequest::default()),
        SfuCall::Renegotiate => without_tracks::<Renegotiation>(body),
        SfuCall::EstablishDataChannels => without_tracks::<Establishment>(body),
        SfuCall::CloseTracks => without_tracks::<ClosedTracks>(body),
        SfuCall::CloseDataChannels => without_tracks::<ClosedChannels>(body),
        SfuCall::NewTracks => with_tracks(body, NewTracks::wanted),
        SfuCall::UpdateTracks => with_tracks(body, |request: UpdatedTracks| wanted(request.tracks, &[])),
        SfuCall::NewDataChannels | SfuCall::UpdateDataChannels => with_tracks(body, Channels::wanted),
    }
}

/// The calls that close these, each with its body. Tracks are closed without the browser's consent; data channels need none.
pub(crate) fn closing(tracks: &[TrackKey]) -> Vec<(SfuCall, Value)> {
    let (mut mids, mut channels) = (vec![], vec![]);
    for TrackKey { id, direction: _ } in tracks {
        match id {
            TrackId::Mid(mid) => mids.push(json!({ "mid": mid })),
            TrackId::Channel(id) => channels.push(json!({ "id": id })),
        }
    }
    mids.dedup();
    let mut calls = vec![];
    if !mids.is_empty() {
        calls.push((SfuCall::CloseTracks, json!({ "tracks": mids, "force": true })));
    }
    if !channels.is_empty() {
        calls.push((SfuCall::CloseDataChannels, json!({ "dataChannels": channels })));
    }
    calls
}

fn without_tracks<T: DeserializeOwned + Serialize>(body: &[u8]) -> Result<SfuRequest, NotUnderstood> {
    with_tracks(body, |_: T| RequestedTracks::default())
}

/// Reads a body as its type, and writes it again from this type.
fn with_tracks<T: DeserializeOwned + Serialize>(
    body: &[u8],
    wanted: impl FnOnce(T) -> RequestedTracks,
) -> Result<SfuRequest, NotUnderstood> {
    let request: T = serde_json::from_slice(body).map_err(|_| NotUnderstood)?;
    let body = serde_json::to_vec(&request).map_err(|_| NotUnderstood)?;
    Ok(SfuRequest { wanted: wanted(request), body })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewSession {
    #[serde(skip_serializing_if = "Option::is_none")]
    session_description: Option<Description>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Renegotiation {
    session_description: Description,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewTracks {
    #[serde(skip_serializing_if = "Option::is_none")]
    session_description: Option<Description>,
    tracks: Vec<Track>,
}

impl NewTracks {
    fn wanted(self) -> RequestedTracks {
        let kinds = self.session_description.map(|description| kinds(&description.sdp));
        wanted(self.tracks, &kinds.unwrap_or_default())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdatedTracks {
    tracks: Vec<Track>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClosedTracks {
    tracks: Vec<ClosedTrack>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_description: Option<Description>,
    #[serde(skip_serializing_if = "Option::is_none")]
    force: Option<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClosedTrack {
    mid: Name,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Channels {
    data_channels: Vec<Channel>,
}

impl Channels {
    fn wanted(self) -> RequestedTracks {
        let mut wanted = RequestedTracks::default();
        for channel in self.data_channels {
            match channel {
                Channel::Local { .. } => wanted.channels = wanted.channels.saturating_add(1),
                Channel::Remote { session_id: session, .. } => {
                    wanted.pulled.push(Pull { session, name: None, mid: None, kind: MediaKind::Data });
                }
            }
        }
        wanted
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClosedChannels {
    data_channels: Vec<ClosedChannel>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClosedChannel {
    id: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Establishment {
    #[serde(skip_serializing_if = "Option::is_none")]
    session_description: Option<Description>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_channel: Option<FirstChannel>,
}

/// The channel over which the SFU reports events. It belongs to no other session.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FirstChannel {
    location: Direction,
    data_channel_name: Name,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    r#type: DescriptionType,
    sdp: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DescriptionType {
    Offer,
    Answer,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "location", rename_all = "lowercase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Track {
    Local {
        mid: Name,
        track_name: Name,
    },
    Remote {
        session_id: SessionId,
        track_name: Name,
        #[serde(skip_serializing_if = "Option::is_none")]
        mid: Option<Name>,
        #[serde(skip_serializing_if = "Option::is_none")]
        simulcast: Option<Simulcast>,
    },
}

/// The layers of a track that a session wants.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Simulcast {
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_rid: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority_ordering: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rid_not_available: Option<Name>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "location", rename_all = "lowercase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Channel {
    Local {
        data_channel_name: Name,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
    },
    Remote {
        session_id: SessionId,
        #[serde(skip_serializing_if = "Option::is_none")]
        data_channel_name: Option<Name>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
    },
}

/// The tracks of a request. `kinds`: those of the mids in its session description.
fn wanted(tracks: Vec<Track>, kinds: &[(String, MediaKind)]) -> RequestedTracks {
    let mut wanted = RequestedTracks::default();
    for track in tracks {
        match track {
            Track::Local { mid, track_name: name } => {
                let of_mid = kinds.iter().filter(|(of, _)| of == mid.as_str());
                let kind = MediaKind::of_all(of_mid.map(|(_, kind)| *kind));
                wanted.pushed.push(Push { mid, name, kind });
            }
            Track::Remote { session_id: session, track_name, mid, .. } => {
                wanted.pulled.push(Pull { session, name: Some(track_name), mid, kind: MediaKind::Video });
            }
        }
    }
    wanted
}

/// The kind of each mid in a session description (RFC 8866): the media line, and the first attribute `mid` below it. None if a line has
/// another form than a letter and a value: another parser could read it as something else.
fn kinds(sdp: &str) -> Vec<(String, MediaKind)> {
    let is_line = |line: &str| {
        let mut bytes = line.bytes();
        let begins =
            bytes.next().is_some_and(|letter| letter.is_ascii_lowercase()) && bytes.next() == Some(b'=');
        begins && !line.chars().any(char::is_control)
    };
    if !sdp.lines().all(is_line) {
        return vec![];
    }
    let (mut kind, mut kinds) = (MediaKind::Video, vec![]);
    for line in sdp.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            kind = if media.starts_with("audio ") { MediaKind::Audio } else { MediaKind::Video };
        } else if let Some(mid) = line.strip_prefix("a=mid:") {
            kinds.push((mid.to_owned(), kind));
            kind = MediaKind::Video;
        }
    }
    kinds
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
