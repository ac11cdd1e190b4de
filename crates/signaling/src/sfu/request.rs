//! The bodies of requests. Each is read into a type with exactly the fields that go upstream, and that type is sent, so the SFU gets
//! nothing that was not checked here. An unknown field, a field that occurs twice and a field in other letters are refused.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::SessionId;
use super::name::Name;
use super::path::SfuCall;
use super::track::{Direction, MediaKind, TrackId, TrackKey};

/// A request, as it goes to the SFU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SfuRequest {
    /// What it wants to push and pull.
    pub wanted: RequestedTracks,
    /// Its body, in JSON. Empty for a request without one.
    pub body: Vec<u8>,
}

/// What a request wants to push and pull.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedTracks {
    /// Tracks that the session sends.
    pub pushed: Vec<Push>,
    /// Tracks and data channels that it takes from other sessions.
    pub pulled: Vec<Pull>,
    /// Data channels that the session sends.
    pub channels: usize,
}

/// A track that a session sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
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
    /// Its kind. Video until the table of sessions says what was pushed under this name.
    pub kind: MediaKind,
}

/// The body does not have the form that the call expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a JSON object with the fields of the call, each once")]
pub struct NotUnderstood;

/// Reads the body of a request for a new session. It may be empty.
pub fn new_session(body: &[u8]) -> Result<SfuRequest, NotUnderstood> {
    if body.is_empty() {
        return Ok(SfuRequest::default());
    }
    without_tracks::<NewSession>(body)
}

/// Reads the body of a call on a session.
pub fn of_call(call: SfuCall, body: &[u8]) -> Result<SfuRequest, NotUnderstood> {
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
pub fn closing(tracks: &[TrackKey]) -> Vec<(SfuCall, Value)> {
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
                    wanted.pulled.push(Pull { session, name: None, kind: MediaKind::Data });
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
            Track::Remote { session_id: session, track_name, .. } => {
                wanted.pulled.push(Pull { session, name: Some(track_name), kind: MediaKind::Video });
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
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn pull_of(session: &str, name: &str) -> Pull {
        let session = SessionId::new(session).unwrap();
        Pull { session, name: Name::new(name), kind: MediaKind::Video }
    }

    /// What goes upstream, as a value.
    fn sent(call: SfuCall, body: &str) -> Value {
        serde_json::from_slice(&of_call(call, body.as_bytes()).unwrap().body).unwrap()
    }

    #[test]
    fn a_description_that_can_be_read_in_two_ways_is_video() {
        let audio = |sdp: &str| kinds(sdp).iter().filter(|(_, kind)| *kind == MediaKind::Audio).count();
        assert_eq!(audio("v=0\r\nm=audio 9 UDP 111\r\na=mid:0\r\n"), 1);
        for sdp in [
            "v=0\r\nm=audio 9 UDP 111\r\n\ra=mid:0\r\n\rm=video 9 UDP 96\r\na=mid:1\r\n",
            "m=audio 9 UDP 111\r\n m=video 9 UDP 96\r\na=mid:1\r\n",
            "m=audio 9 UDP 111\rm=video 9 UDP 96\na=mid:1\n",
        ] {
            assert_eq!(kinds(sdp), [], "{sdp:?}");
        }
        let twice = "m=audio 9 UDP 111\na=mid:0\na=mid:1\nm=video 9 UDP 96\na=mid:1\n";
        assert_eq!(audio(twice), 1, "only the first mid of a section has its kind");
    }

    #[test]
    fn a_push_has_the_kind_of_its_media_line() {
        let sdp = "v=0\\r\\nm=audio 9 UDP/TLS/RTP/SAVPF 111\\r\\na=mid:0\\r\\nm=video 9 UDP/TLS/RTP/SAVPF 96\\r\\na=mid:1\\r\\n";
        let body = format!(
            r#"{{"sessionDescription":{{"type":"offer","sdp":"{sdp}"}},"tracks":[{{"location":"local","trackName":"a","mid":"0"}},{{"location":"local","trackName":"v","mid":"1"}},{{"location":"local","trackName":"x","mid":"7"}}]}}"#
        );
        let request = of_call(SfuCall::NewTracks, body.as_bytes()).unwrap();
        let push = |mid: &str, of: &str, kind| Push { mid: name(mid), name: name(of), kind };
        let pushed = vec![
            push("0", "a", MediaKind::Audio),
            push("1", "v", MediaKind::Video),
            push("7", "x", MediaKind::Video),
        ];
        assert_eq!(request.wanted, RequestedTracks { pushed, ..RequestedTracks::default() });
    }

    #[test]
    fn a_pull_names_the_session_that_sends() {
        let body = r#"{"tracks":[{"location":"remote","sessionId":"s1","trackName":"a"},{"location":"remote","sessionId":"s2","trackName":"b","simulcast":{"preferredRid":"h"}}]}"#;
        let request = of_call(SfuCall::NewTracks, body.as_bytes()).unwrap();
        assert_eq!(request.wanted.pulled, [pull_of("s1", "a"), pull_of("s2", "b")]);
        let body = r#"{"dataChannels":[{"location":"remote","dataChannelName":"chat","sessionId":"s1"},{"location":"local","dataChannelName":"mine"}]}"#;
        let request = of_call(SfuCall::NewDataChannels, body.as_bytes()).unwrap();
        let pulled = vec![Pull { name: None, kind: MediaKind::Data, ..pull_of("s1", "-") }];
        assert_eq!(request.wanted, RequestedTracks { pulled, channels: 1, pushed: vec![] });
    }

    #[test]
    fn each_call_sends_its_own_fields() {
        let description = r#"{"type":"answer","sdp":"v=0"}"#;
        for (call, body) in [
            (SfuCall::Renegotiate, format!(r#"{{"sessionDescription":{description}}}"#)),
            (SfuCall::CloseTracks, format!(r#"{{"tracks":[{{"mid":"0"}}],"sessionDescription":{description},"force":false}}"#)),
            (SfuCall::CloseTracks, r#"{"tracks":[{"mid":"0"}],"force":true}"#.into()),
            (SfuCall::UpdateTracks, r#"{"tracks":[{"location":"remote","sessionId":"s1","trackName":"a","mid":"1","simulcast":{"preferredRid":"l"}}]}"#.into()),
            (SfuCall::CloseDataChannels, r#"{"dataChannels":[{"id":3}]}"#.into()),
            (SfuCall::UpdateDataChannels, r#"{"dataChannels":[{"location":"remote","sessionId":"s1","id":3}]}"#.into()),
            (SfuCall::EstablishDataChannels, format!(r#"{{"sessionDescription":{description},"dataChannel":{{"location":"remote","dataChannelName":"server-events"}}}}"#)),
        ] {
            assert_eq!(sent(call, &body), serde_json::from_str::<Value>(&body).unwrap(), "{call:?}");
        }
        assert_eq!(new_session(b""), Ok(SfuRequest::default()));
        let offer = br#"{"sessionDescription":{"type":"offer","sdp":"v=0"}}"#;
        assert_eq!(new_session(offer).unwrap().body, offer);
    }

    /// Whatever else a body has is refused: what is not read does not pass.
    #[test]
    fn a_body_with_a_field_of_another_call_is_refused() {
        use SfuCall::{
            CloseDataChannels, CloseTracks, EstablishDataChannels, NewDataChannels, NewTracks, Renegotiate,
            UpdateTracks,
        };
        let remote = r#"{"location":"remote","sessionId":"s1","trackName":"a"}"#;
        for (call, body) in [
            (CloseTracks, r#"{"tracks":[],"dataChannels":[{"mid":"1"}]}"#),
            (CloseTracks, r#"{"tracks":[{"mid":"1","sessionId":"s1"}]}"#),
            (CloseDataChannels, r#"{"dataChannels":[{"mid":"1"}]}"#),
            (Renegotiate, r#"{"sessionDescription":{"type":"answer","sdp":""},"tracks":[]}"#),
            (Renegotiate, "{}"),
            (EstablishDataChannels, r#"{"sessionId":"s1"}"#),
            (
                EstablishDataChannels,
                r#"{"dataChannel":{"location":"remote","dataChannelName":"a","sessionId":"s1"}}"#,
            ),
            (NewTracks, r#"{"tracks":[],"dataChannels":[]}"#),
            (NewTracks, r#"{"tracks":[],"autoDiscover":true}"#),
            (UpdateTracks, r#"{"tracks":[],"sessionDescription":{"type":"offer","sdp":""}}"#),
            (NewDataChannels, r#"{"tracks":[]}"#),
            (NewTracks, r#"{"tracks":[{"location":"local","trackName":"a","mid":"0","sessionId":"s1"}]}"#),
        ] {
            assert_eq!(of_call(call, body.as_bytes()), Err(NotUnderstood), "{call:?} {body}");
        }
        assert_eq!(new_session(format!(r#"{{"tracks":[{remote}]}}"#).as_bytes()), Err(NotUnderstood));
    }

    #[test]
    fn a_request_that_two_parsers_could_read_differently_is_refused() {
        let long = "x".repeat(257);
        let too_long = format!(r#"{{"tracks":[{{"location":"local","trackName":"{long}","mid":"0"}}]}}"#);
        let remote = r#""location":"remote","sessionId":"s1","trackName":"a""#;
        for body in [
            format!(r#"{{"tracks":[],"tracks":[{{{remote}}}]}}"#),
            format!(r#"{{"Tracks":[{{{remote}}}]}}"#),
            r#"{"tracks":[],"TRACKS":[]}"#.into(),
            format!(r#"{{"tracks":[{{"location":"local",{remote}}}]}}"#),
            format!(r#"{{"tracks":[{{{remote},"location":"local","mid":"0"}}]}}"#),
            format!(r#"{{"tracks":[{{{remote},"Location":"local"}}]}}"#),
            format!(r#"{{"tracks":[{{{remote},"sessionid":"s2"}}]}}"#),
            format!(r#"{{"tracks":[{{{remote},"sessionId":"s2"}}]}}"#),
            r#"{"tracks":[{"location":"Remote","sessionId":"s1","trackName":"a"}]}"#.into(),
            r#"{"tracks":[{"sessionId":"s1","trackName":"a"}]}"#.into(),
            r#"{"tracks":[{"location":"remote","trackName":"a"}]}"#.into(),
            r#"{"tracks":[{"location":"remote","sessionId":"a/b","trackName":"a"}]}"#.into(),
            r#"{"tracks":[{"location":"remote","sessionId":7,"trackName":"a"}]}"#.into(),
            r#"{"tracks":[{"location":["local"],"sessionId":"s1"}]}"#.into(),
            r#"{"tracks":{"0":{}}}"#.into(),
            r#"{"tracks":[["local"]]}"#.into(),
            r#"{"tracks":[{"location":"local","trackName":"","mid":"0"}]}"#.into(),
            too_long,
            format!(r#"{{"trackſ":[{{{remote}}}]}}"#),
            "[]".into(),
            String::new(),
            "{".into(),
            "{} {}".into(),
            "null".into(),
        ] {
            assert_eq!(of_call(SfuCall::NewTracks, body.as_bytes()), Err(NotUnderstood), "{body}");
        }
    }

    #[test]
    fn tracks_are_closed_by_force_and_data_channels_by_a_call_of_their_own() {
        let mid = |text, direction| TrackKey { id: TrackId::Mid(name(text)), direction };
        let channel = TrackKey { id: TrackId::Channel(3), direction: Direction::Remote };
        let both = [mid("0", Direction::Local), mid("0", Direction::Remote), mid("1", Direction::Remote)];
        let calls = closing(&[&both[..], &[channel]].concat());
        let tracks = json!({ "tracks": [{ "mid": "0" }, { "mid": "1" }], "force": true });
        let channels = json!({ "dataChannels": [{ "id": 3 }] });
        assert_eq!(calls, [(SfuCall::CloseTracks, tracks), (SfuCall::CloseDataChannels, channels)]);
        assert_eq!(closing(&[]), []);
    }
}
