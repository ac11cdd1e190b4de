//! The bodies of requests. Each is read into a type with exactly the fields that go upstream, and that type is sent, so the SFU gets
//! nothing that was not checked here. An unknown field, a field that occurs twice and a field in other letters are refused. The fields are
//! those of Cloudflare's `OpenAPI` document; docs/SIGNALING.md names the day on which it was read.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::name::Name;
use crate::prelude::*;

/// A request, as it goes to the SFU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SfuRequest {
    /// What the request wants to push and pull.
    pub wanted: RequestedTracks,
    /// Its body, in JSON. Empty for a request without one.
    pub body: Vec<u8>,
}

/// What a request wants to push and pull.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestedTracks {
    /// Tracks that the session sends.
    pub pushed: Vec<Push>,
    /// Tracks and data channels that the session takes from other sessions.
    pub pulled: Vec<Pull>,
    /// How many data channels the session sends.
    pub channel_count: usize,
    /// Those data channels of `pulled` on which the session wants to reply.
    pub replies: Vec<Pull>,
}

impl RequestedTracks {
    /// How many tracks and data channels it adds to the session.
    pub(crate) fn count(&self) -> usize {
        self.pushed.len().saturating_add(self.pulled.len()).saturating_add(self.channel_count)
    }

    /// Whether a session takes more because of it: this one what it pulls, another one the replies on its data channel.
    pub(crate) fn takes(&self) -> bool {
        !self.pulled.is_empty() || !self.replies.is_empty()
    }
}

/// A track that a session sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Push {
    /// Its mid. `None` if the SFU chooses it, or finds the transceiver by a name.
    pub mid: Option<Name>,
    /// The name under which others pull it. `None` if the SFU chooses it.
    pub name: Option<Name>,
    /// Its kind, by the session description or, without one, by the request.
    pub kind: MediaKind,
}

/// A track or a data channel that a session takes from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pull {
    /// The session that sends it.
    pub session: SessionId,
    /// The name that the sending session gave it. `None` if the request only has the id of a data channel.
    pub name: Option<Name>,
    /// The mid at which it is or was pulled, if the request names it.
    pub mid: Option<Name>,
    /// Its kind. Video until the table of sessions says what was pushed under this name.
    pub kind: MediaKind,
}

/// Reads the body of a request for a new session. It may be empty.
pub(crate) fn new_session(body: &[u8]) -> SfuResult<SfuRequest> {
    if body.is_empty() {
        return Ok(SfuRequest::default());
    }
    without_tracks::<NewSession>(body)
}

/// Reads the body of a call on a session.
pub(crate) fn of_call(call: SfuCall, body: &[u8]) -> SfuResult<SfuRequest> {
    match call {
        SfuCall::Get => Ok(SfuRequest::default()),
        SfuCall::Renegotiate => without_tracks::<Renegotiation>(body),
        SfuCall::EstablishDataChannels => without_tracks::<Establishment>(body),
        SfuCall::CloseTracks => without_tracks::<ClosedTracks>(body),
        SfuCall::CloseDataChannels => without_tracks::<ClosedChannels>(body),
        SfuCall::NewTracks => rewritten(body, NewTracks::wanted),
        SfuCall::UpdateTracks => {
            // Without kinds of an offer: a pushed track counts as video.
            rewritten(body, |request: UpdatedTracks| Ok(tracks_of(request.tracks, Some(&BTreeMap::new()))))
        }
        SfuCall::NewDataChannels | SfuCall::UpdateDataChannels => rewritten(body, Channels::wanted),
    }
}

/// The calls that close tracks and data channels, each with its body. Tracks are closed without the browser's consent; data channels need
/// none.
pub(crate) fn closing(ids: &[TrackId]) -> Vec<(SfuCall, Value)> {
    let (mut mids, mut channels) = (vec![], vec![]);
    for id in ids {
        match id {
            TrackId::Mid(mid) => mids.push(json!({ "mid": mid })),
            TrackId::Channel(id) => channels.push(json!({ "id": id })),
        }
    }
    let has_tracks = !mids.is_empty();
    let tracks = has_tracks.then(|| (SfuCall::CloseTracks, json!({ "tracks": mids, "force": true })));
    let has_channels = !channels.is_empty();
    let channels = has_channels.then(|| (SfuCall::CloseDataChannels, json!({ "dataChannels": channels })));
    tracks.into_iter().chain(channels).collect()
}

/// Reads a body as `T`, which pushes and pulls nothing.
fn without_tracks<T: DeserializeOwned + Serialize>(body: &[u8]) -> SfuResult<SfuRequest> {
    rewritten(body, |_: T| Ok(RequestedTracks::default()))
}

/// Reads a body as `T`, and writes the body to send from that. `wanted`: what a `T` wants.
fn rewritten<T: DeserializeOwned + Serialize>(
    body: &[u8],
    wanted: impl FnOnce(T) -> SfuResult<RequestedTracks>,
) -> SfuResult<SfuRequest> {
    let request: T = serde_json::from_slice(body).map_err(|_| SfuFault::MALFORMED)?;
    let mut body = serde_json::to_value(&request).map_err(|_| SfuFault::MALFORMED)?;
    remove_nulls(&mut body);
    Ok(SfuRequest { wanted: wanted(request)?, body: body.to_string().into() })
}

/// Removes the fields that the client has left out.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// Bodies and their parts: read and sent in camel case, and with no further field.
macro_rules! bodies {
    ($($(#[$doc:meta])* struct $name:ident $fields:tt)*) => {$(
        $(#[$doc])*
        #[derive(Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct $name $fields
    )*};
}

bodies! {
    struct NewSession {
        session_description: Option<Description>,
    }

    struct Renegotiation {
        session_description: Description,
    }

    struct NewTracks {
        session_description: Option<Description>,
        tracks: Option<Vec<Track>>,
        /// Whether the SFU names each new track of the offer that is not in `tracks`.
        auto_discover: Option<bool>,
    }

    struct UpdatedTracks {
        tracks: Vec<Track>,
        session_description: Option<Description>,
    }

    struct ClosedTracks {
        tracks: Vec<ClosedTrack>,
        session_description: Option<Description>,
        force: Option<bool>,
    }

    struct ClosedTrack {
        mid: Name,
    }

    struct Channels {
        data_channels: Vec<Channel>,
    }

    struct ClosedChannels {
        data_channels: Vec<ClosedChannel>,
    }

    struct ClosedChannel {
        id: u64,
    }

    struct Establishment {
        session_description: Option<Description>,
        data_channel: Option<FirstChannel>,
    }

    /// The channel over which the SFU reports events. It belongs to no other session.
    struct FirstChannel {
        location: Direction,
        data_channel_name: Name,
    }

    /// The layers of a track that a session wants.
    struct Simulcast {
        preferred_rid: Option<Name>,
        priority_ordering: Option<Name>,
        rid_not_available: Option<Name>,
    }
}

impl NewTracks {
    fn wanted(self) -> SfuResult<RequestedTracks> {
        let offered = self.session_description.map(|description| kinds(&description.sdp));
        let mut wanted = tracks_of(self.tracks.unwrap_or_default(), offered.as_ref());
        if self.auto_discover == Some(true) {
            let offered = offered.unwrap_or_default();
            // A description that cannot be read here could have any number of tracks for the SFU.
            if offered.is_empty() {
                return Err(SfuFault::MALFORMED);
            }
            let named: BTreeSet<_> = wanted.pushed.iter().filter_map(|push| push.mid.clone()).collect();
            let discovered = offered.into_iter().filter(|(mid, _)| !named.contains(mid));
            wanted.pushed.extend(discovered.map(|(mid, kind)| Push { mid: Some(mid), name: None, kind }));
        }
        Ok(wanted)
    }
}

impl Channels {
    fn wanted(self) -> SfuResult<RequestedTracks> {
        let mut wanted = RequestedTracks::default();
        for channel in self.data_channels {
            match channel {
                // Two limits of retransmissions are refused. Replies are charged to the channel of this name, so a request with replies
                // must have the name and no id: then the SFU finds the same channel.
                Channel::Local { max_retransmits: Some(_), max_packet_life_time: Some(_), .. }
                | Channel::Remote { max_retransmits: Some(_), max_packet_life_time: Some(_), .. }
                | Channel::Remote { can_reply: Some(true), id: Some(_), .. }
                | Channel::Remote { can_reply: Some(true), data_channel_name: None, .. } => {
                    return Err(SfuFault::MALFORMED);
                }
                Channel::Local { .. } => wanted.channel_count = wanted.channel_count.saturating_add(1),
                Channel::Remote { session_id: session, data_channel_name: name, can_reply, .. } => {
                    let pull = Pull { session, name, mid: None, kind: MediaKind::Data };
                    if can_reply == Some(true) {
                        wanted.replies.push(pull.clone());
                    }
                    wanted.pulled.push(pull);
                }
            }
        }
        Ok(wanted)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "location", rename_all = "lowercase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Track {
    Local {
        mid: Option<Name>,
        track_name: Name,
        /// What the SFU offers a transceiver for, if it makes the offer.
        kind: Option<MediaKind>,
        bidirectional_media_stream: Option<bool>,
    },
    Remote {
        session_id: SessionId,
        track_name: Name,
        mid: Option<Name>,
        kind: Option<MediaKind>,
        bidirectional_media_stream: Option<bool>,
        simulcast: Option<Simulcast>,
    },
}

/// A data channel. A retransmission limit is a number or a time, not both.
#[derive(Serialize, Deserialize)]
#[serde(tag = "location", rename_all = "lowercase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Channel {
    Local {
        data_channel_name: Name,
        id: Option<u64>,
        ordered: Option<bool>,
        max_retransmits: Option<u32>,
        max_packet_life_time: Option<u32>,
    },
    Remote {
        session_id: SessionId,
        data_channel_name: Option<Name>,
        id: Option<u64>,
        ordered: Option<bool>,
        max_retransmits: Option<u32>,
        max_packet_life_time: Option<u32>,
        /// Whether the SFU sends nothing on it before the first message of this session.
        wait_for_ack: Option<bool>,
        /// Whether the SFU sends what this session replies to the session that opened the channel.
        can_reply: Option<bool>,
    },
}

/// The tracks of a request. `offered`: the kinds of the mids in its session description, if it has one.
fn tracks_of(tracks: Vec<Track>, offered: Option<&BTreeMap<Name, MediaKind>>) -> RequestedTracks {
    let mut wanted = RequestedTracks::default();
    for track in tracks {
        match track {
            Track::Local { mid, track_name, kind: hint, .. } => {
                let kind = match (offered, &mid) {
                    // The SFU will offer a new transceiver of this kind. An unknown kind is charged as video.
                    (None, None) if hint == Some(MediaKind::Audio) => MediaKind::Audio,
                    (Some(offered), Some(mid)) => offered.get(mid).copied().unwrap_or(MediaKind::Video),
                    _ => MediaKind::Video,
                };
                wanted.pushed.push(Push { mid, name: Some(track_name), kind });
            }
            Track::Remote { session_id: session, track_name, mid, .. } => {
                wanted.pulled.push(Pull { session, name: Some(track_name), mid, kind: MediaKind::Video });
            }
        }
    }
    wanted
}

// Session descriptions, as far as the proxy reads them: the kind of each mid.

/// A session description in the body of a request.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    r#type: DescriptionType,
    /// The text.
    pub sdp: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DescriptionType {
    Offer,
    Answer,
}

/// The kind of each mid in a session description (RFC 8866): the kind of the media line above it, if the mid is the first one below that
/// line. Any further mid there counts as video, and so does a mid with several kinds. Empty if any line is not a letter, `=` and a value:
/// another parser could read such a line differently.
pub(crate) fn kinds(sdp: &str) -> BTreeMap<Name, MediaKind> {
    let is_line = |line: &str| {
        let mut bytes = line.bytes();
        let begins =
            bytes.next().is_some_and(|letter| letter.is_ascii_lowercase()) && bytes.next() == Some(b'=');
        begins && !line.chars().any(char::is_control)
    };
    if !sdp.lines().all(is_line) {
        return BTreeMap::new();
    }
    let (mut kind, mut kinds) = (MediaKind::Video, BTreeMap::new());
    for line in sdp.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            kind = if media.starts_with("audio ") { MediaKind::Audio } else { MediaKind::Video };
        } else if let Some(mid) = line.strip_prefix("a=mid:") {
            if let Some(mid) = Name::new(mid) {
                let entry = kinds.entry(mid);
                entry.and_modify(|of| *of = MediaKind::of_all([*of, kind].into_iter())).or_insert(kind);
            }
            kind = MediaKind::Video;
        }
    }
    kinds
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;

#[cfg(test)]
mod description_tests {
    use super::*;

    #[test]
    fn a_description_that_can_be_read_in_two_ways_is_video() {
        let audio = |sdp: &str| kinds(sdp).values().filter(|kind| **kind == MediaKind::Audio).count();
        assert_eq!(audio("v=0\r\nm=audio 9 UDP 111\r\na=mid:0\r\n"), 1);
        for sdp in [
            "v=0\r\nm=audio 9 UDP 111\r\n\ra=mid:0\r\n\rm=video 9 UDP 96\r\na=mid:1\r\n",
            "m=audio 9 UDP 111\r\n m=video 9 UDP 96\r\na=mid:1\r\n",
            "m=audio 9 UDP 111\rm=video 9 UDP 96\na=mid:1\n",
        ] {
            assert!(kinds(sdp).is_empty(), "{sdp:?}");
        }
        let twice = "m=audio 9 UDP 111\na=mid:0\na=mid:1\nm=video 9 UDP 96\na=mid:1\n";
        assert_eq!(audio(twice), 1, "only the first mid of a section has its kind");
    }
}
