//! The tracks in a request and in an answer. A request is read as strictly as possible, because what is checked here must be
//! what Cloudflare reads: a key that occurs twice, or in other letters (`Tracks`), is refused, since parsers differ in which one
//! they take. An answer comes from Cloudflare, so it is read leniently: unknown parts are ignored.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::SessionId;
use super::path::SfuCall;

/// The longest mid of a track, in bytes. Browsers use small numbers.
const MID_MAX: usize = 64;

/// What names a track or a data channel within its session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrackId {
    /// The mid of a track.
    Mid(Arc<str>),
    /// The id of a data channel.
    Channel(u64),
}

impl TrackId {
    /// The mid of a track. `None` for an empty text and for one that is too long.
    pub fn mid(text: &str) -> Option<Self> {
        (1..=MID_MAX).contains(&text.len()).then(|| Self::Mid(text.into()))
    }

    /// What an entry of an answer is about, of a list of this kind.
    fn of(entry: &Value, kind: Listed) -> Option<Self> {
        match kind {
            Listed::Tracks => Self::mid(entry.get("mid")?.as_str()?),
            Listed::Channels => Some(Self::Channel(entry.get("id")?.as_u64()?)),
        }
    }
}

/// The two lists of a request and of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Tracks,
    Channels,
}

impl Listed {
    const BOTH: [(Self, &str); 2] = [(Self::Tracks, "tracks"), (Self::Channels, "dataChannels")];
}

/// What a request wants to push and pull.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedTracks {
    /// Tracks or data channels that the session sends.
    pub pushed: usize,
    /// The sessions that it takes tracks or data channels from, one entry for each of them.
    pub pulled: Vec<SessionId>,
}

/// The body does not have the form that the call expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a JSON object with each key once")]
pub struct NotUnderstood;

/// The tracks and data channels of a request.
pub fn wanted(body: &[u8]) -> Result<RequestedTracks, NotUnderstood> {
    let mut wanted = RequestedTracks::default();
    for item in items(body)? {
        match item {
            Item { is_local: true, .. } => wanted.pushed = wanted.pushed.saturating_add(1),
            Item { session: Some(session), .. } => wanted.pulled.push(session),
            Item { .. } => return Err(NotUnderstood),
        }
    }
    Ok(wanted)
}

/// Checks a request that closes tracks or data channels. What it closes is what the answer says.
pub fn check(body: &[u8]) -> Result<(), NotUnderstood> {
    items(body).map(|_| ())
}

/// The calls that close these, each with its body. Tracks are closed without the browser's consent; data channels need none.
pub fn closing(tracks: &[TrackId]) -> Vec<(SfuCall, Value)> {
    let (mut mids, mut channels) = (vec![], vec![]);
    for track in tracks {
        match track {
            TrackId::Mid(mid) => mids.push(json!({ "mid": **mid })),
            TrackId::Channel(id) => channels.push(json!({ "id": id })),
        }
    }
    let mut calls = vec![];
    if !mids.is_empty() {
        calls.push((SfuCall::CloseTracks, json!({ "tracks": mids, "force": true })));
    }
    if !channels.is_empty() {
        calls.push((SfuCall::CloseDataChannels, json!({ "dataChannels": channels })));
    }
    calls
}

/// An object as its keys and values, in their order.
struct Pairs<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Reader<V> {
            type Value = Pairs<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<V>, A::Error> {
                let mut pairs = vec![];
                while let Some((key, value)) = map.next_entry::<String, V>()? {
                    // Some parsers take certain letters of other scripts for ASCII ones.
                    if !key.is_ascii() {
                        return Err(A::Error::custom("a key is not ASCII"));
                    }
                    pairs.push((key, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

impl<V> Pairs<V> {
    /// The value of a key. An error if the key occurs twice, or in other letters.
    fn get(&self, name: &str) -> Result<Option<&V>, NotUnderstood> {
        let mut alike = self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        match (alike.next(), alike.next()) {
            (None, _) => Ok(None),
            (Some((key, value)), None) if key == name => Ok(Some(value)),
            _ => Err(NotUnderstood),
        }
    }
}

type Fields = Pairs<Value>;

/// The entries of `tracks` and of `dataChannels`.
fn items(body: &[u8]) -> Result<Vec<Item>, NotUnderstood> {
    let object: Pairs<Box<RawValue>> = serde_json::from_slice(body).map_err(|_| NotUnderstood)?;
    let mut items = vec![];
    for (_, list) in Listed::BOTH {
        if let Some(list) = object.get(list)?.filter(|list| list.get() != "null") {
            let list: Vec<Fields> = serde_json::from_str(list.get()).map_err(|_| NotUnderstood)?;
            for fields in list {
                items.push(read(&fields)?);
            }
        }
    }
    Ok(items)
}

/// One track or data channel of a request.
struct Item {
    is_local: bool,
    session: Option<SessionId>,
}

fn read(fields: &Fields) -> Result<Item, NotUnderstood> {
    let text = |name| match fields.get(name)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(NotUnderstood),
    };
    let session = text("sessionId")?.map(|text| SessionId::new(text).ok_or(NotUnderstood));
    Ok(Item { is_local: text("location")? == Some("local"), session: session.transpose()? })
}

/// A track or a data channel of an answer that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmedTrack {
    /// What it is.
    pub id: TrackId,
    /// Whether it comes from another session.
    pub is_pulled: bool,
    /// Whether media flows, as far as the answer says. In a data channel anything may flow at any time.
    pub is_active: bool,
}

/// What an answer says of the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SfuAnswer {
    /// The new session.
    pub session: Option<SessionId>,
    /// Tracks and data channels that succeeded.
    pub tracks: Vec<ConfirmedTrack>,
}

/// Reads an answer. `None` for one that reports an error as a whole, or is not JSON.
pub fn answered(body: &[u8]) -> Option<SfuAnswer> {
    let answer: BTreeMap<String, Value> = serde_json::from_slice(body).ok()?;
    if is_error(answer.get("errorCode")) {
        return None;
    }
    let mut answered = SfuAnswer {
        session: answer.get("sessionId").and_then(Value::as_str).and_then(SessionId::new),
        tracks: vec![],
    };
    for (kind, list) in Listed::BOTH {
        for track in answer.get(list).and_then(Value::as_array).into_iter().flatten() {
            let Some(id) = TrackId::of(track, kind) else { continue };
            if is_error(track.get("errorCode")) {
                continue;
            }
            let is_inactive = track.get("status").is_some_and(|status| status == "inactive");
            let is_active = kind == Listed::Channels || !is_inactive;
            answered.tracks.push(ConfirmedTrack { id, is_pulled: is_pulled(track), is_active });
        }
    }
    Some(answered)
}

fn is_error(code: Option<&Value>) -> bool {
    code.is_some_and(|code| !matches!(code, Value::Null) && code != "")
}

/// Whether an entry of an answer comes from another session.
fn is_pulled(item: &Value) -> bool {
    match item.get("location").and_then(Value::as_str) {
        Some(location) => location == "remote",
        None => item.get("sessionId").is_some_and(|session| !session.is_null()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(text: &str) -> SessionId {
        SessionId::new(text).unwrap()
    }

    fn mid(text: &str) -> TrackId {
        TrackId::mid(text).unwrap()
    }

    #[test]
    fn a_push_and_a_pull_are_told_apart() {
        let push = br#"{"sessionDescription":{"type":"offer","sdp":"v=0"},"tracks":[{"location":"local","trackName":"a","mid":"0"}]}"#;
        assert_eq!(wanted(push), Ok(RequestedTracks { pushed: 1, pulled: vec![] }));
        let pull = br#"{"tracks":[{"location":"remote","sessionId":"s1","trackName":"a"},{"location":"remote","sessionId":"s2","trackName":"b","simulcast":{"preferredRid":"h"}}]}"#;
        assert_eq!(
            wanted(pull),
            Ok(RequestedTracks { pushed: 0, pulled: vec![session("s1"), session("s2")] })
        );
        let channel =
            br#"{"dataChannels":[{"location":"remote","dataChannelName":"chat","sessionId":"s1"}]}"#;
        assert_eq!(wanted(channel), Ok(RequestedTracks { pushed: 0, pulled: vec![session("s1")] }));
        assert_eq!(wanted(b"{}"), Ok(RequestedTracks::default()));
        assert_eq!(wanted(br#"{"tracks":null}"#), Ok(RequestedTracks::default()));
    }

    #[test]
    fn whatever_is_not_local_is_a_pull() {
        let other = br#"{"tracks":[{"location":"Remote","sessionId":"s1"},{"sessionId":"s2"},{"location":null,"sessionId":"s3"}]}"#;
        let pulled = vec![session("s1"), session("s2"), session("s3")];
        assert_eq!(wanted(other), Ok(RequestedTracks { pushed: 0, pulled }));
    }

    #[test]
    fn a_request_that_two_parsers_could_read_differently_is_refused() {
        for body in [
            r#"{"tracks":[],"tracks":[{"location":"remote","sessionId":"s1"}]}"#,
            r#"{"Tracks":[{"location":"remote","sessionId":"s1"}]}"#,
            r#"{"tracks":[],"TRACKS":[]}"#,
            r#"{"tracks":[{"location":"local","location":"remote","sessionId":"s1"}]}"#,
            r#"{"tracks":[{"location":"local","Location":"remote","sessionId":"s1"}]}"#,
            r#"{"tracks":[{"location":"remote","sessionId":"s1","sessionid":"s2"}]}"#,
            r#"{"tracks":[{"location":"remote"}]}"#,
            r#"{"tracks":[{"location":"remote","sessionId":"a/b"}]}"#,
            r#"{"tracks":[{"location":"remote","sessionId":7}]}"#,
            r#"{"tracks":[{"location":["local"],"sessionId":"s1"}]}"#,
            r#"{"tracks":{"0":{}}}"#,
            r#"{"tracks":[["local"]]}"#,
            r#"{"datachannels":[]}"#,
            r#"{"trackſ":[{"location":"remote","sessionId":"s1"}]}"#,
            "[]",
            "",
            "{",
            "{} {}",
            "null",
        ] {
            assert_eq!(wanted(body.as_bytes()), Err(NotUnderstood), "{body}");
        }
    }

    #[test]
    fn tracks_are_closed_by_force_and_data_channels_by_a_call_of_their_own() {
        let calls = closing(&[mid("0"), TrackId::Channel(3), mid("1")]);
        let tracks = json!({ "tracks": [{ "mid": "0" }, { "mid": "1" }], "force": true });
        let channels = json!({ "dataChannels": [{ "id": 3 }] });
        assert_eq!(calls, [(SfuCall::CloseTracks, tracks), (SfuCall::CloseDataChannels, channels)]);
        assert_eq!(closing(&[]), []);
    }

    #[test]
    fn an_answer_names_the_session_and_the_tracks_that_succeeded() {
        let new = answered(br#"{"sessionId":"s1","sessionDescription":{"type":"answer","sdp":""}}"#).unwrap();
        assert_eq!(new.session, Some(session("s1")));
        let pull = br#"{"requiresImmediateRenegotiation":true,"tracks":[
            {"trackName":"a","mid":"0","sessionId":"s2"},
            {"trackName":"b","mid":"1"},
            {"trackName":"c","mid":"2","sessionId":"s2","errorCode":"not_found_track_error"},
            {"trackName":"d"},7]}"#;
        let track = |name, is_pulled| ConfirmedTrack { id: mid(name), is_pulled, is_active: true };
        let answer = answered(pull).unwrap();
        assert_eq!(answer.tracks, [track("0", true), track("1", false)]);
    }

    #[test]
    fn the_state_of_a_session_says_which_tracks_are_active() {
        let state = br#"{"tracks":[
            {"location":"local","mid":"0","trackName":"a","status":"active"},
            {"location":"remote","mid":"1","sessionId":"s2","trackName":"b","status":"inactive"},
            {"location":"remote","mid":"2","sessionId":"s2","trackName":"c","status":"waiting"}],
            "dataChannels":[{"location":"remote","id":3,"sessionId":"s2"},{"location":"local","id":4},
            {"id":5,"errorCode":"not_found"}]}"#;
        let answer = answered(state).unwrap();
        let flags: Vec<_> = answer.tracks.iter().map(|track| (track.is_pulled, track.is_active)).collect();
        assert_eq!(flags, [(false, true), (true, false), (true, true), (true, true), (false, true)]);
        assert_eq!(answer.tracks[3].id, TrackId::Channel(3));
    }

    #[test]
    fn an_answer_with_an_error_says_nothing() {
        assert_eq!(answered(br#"{"errorCode":"session_error","tracks":[{"mid":"0"}]}"#), None);
        assert_eq!(answered(b"<html>"), None);
        assert_eq!(answered(br#"{"errorCode":null}"#), Some(SfuAnswer::default()));
        assert_eq!(answered(br#"{"tracks":7,"sessionId":9}"#), Some(SfuAnswer::default()));
    }
}
