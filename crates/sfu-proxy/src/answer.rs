//! The answers of the SFU. They come from Cloudflare, so they are read leniently: unknown parts are ignored.

use std::collections::BTreeMap;

use serde_json::Value;

use super::name::Name;
use super::session_id::SessionId;
use super::track::{Direction, TrackId};

/// A track or a data channel of an answer that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmedTrack {
    /// What it is.
    pub id: TrackId,
    /// Which way it goes, if the answer says so.
    pub direction: Option<Direction>,
    /// The session that sends it, if it is another one.
    pub session: Option<SessionId>,
    /// The name under which others pull it.
    pub name: Option<Name>,
    /// Whether media flows. In a data channel that is not closed anything may flow at any time.
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
pub(crate) fn answered(body: &[u8]) -> Option<SfuAnswer> {
    let answer: BTreeMap<String, Value> = serde_json::from_slice(body).ok()?;
    if is_error(answer.get("errorCode")) {
        return None;
    }
    let entries = |list: &str| answer.get(list).and_then(Value::as_array).into_iter().flatten();
    let tracks = entries("tracks").filter_map(|entry| {
        let id = TrackId::Mid(Name::new(entry.get("mid")?.as_str()?)?);
        confirmed(id, entry, entry.get("status").is_none_or(|status| status == "active"))
    });
    let channels = entries("dataChannels").filter_map(|entry| {
        let id = TrackId::Channel(entry.get("id")?.as_u64()?);
        confirmed(id, entry, entry.get("status").is_none_or(|status| status != "inactive"))
    });
    let session = answer.get("sessionId").and_then(Value::as_str).and_then(SessionId::new);
    Some(SfuAnswer { session, tracks: tracks.chain(channels).collect() })
}

/// An entry of an answer. `None` if it reports an error.
fn confirmed(id: TrackId, entry: &Value, is_active: bool) -> Option<ConfirmedTrack> {
    if is_error(entry.get("errorCode")) {
        return None;
    }
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let session = text("sessionId").and_then(SessionId::new);
    let direction = match text("location") {
        Some("local") => Some(Direction::Local),
        Some("remote") => Some(Direction::Remote),
        _ => session.as_ref().map(|_| Direction::Remote),
    };
    let name = text("trackName").or_else(|| text("dataChannelName")).and_then(Name::new);
    Some(ConfirmedTrack { id, direction, session, name, is_active })
}

fn is_error(code: Option<&Value>) -> bool {
    code.is_some_and(|code| !matches!(code, Value::Null) && code != "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directions(answer: &SfuAnswer) -> Vec<(Option<Direction>, bool)> {
        answer.tracks.iter().map(|track| (track.direction, track.is_active)).collect()
    }

    #[test]
    fn an_answer_names_the_session_and_the_tracks_that_succeeded() {
        let new = answered(br#"{"sessionId":"s1","sessionDescription":{"type":"answer","sdp":""}}"#).unwrap();
        assert_eq!(new.session, SessionId::new("s1"));
        let pull = br#"{"requiresImmediateRenegotiation":true,"tracks":[
            {"trackName":"a","mid":"0","sessionId":"s2"},
            {"trackName":"b","mid":"1"},
            {"trackName":"c","mid":"2","sessionId":"s2","errorCode":"not_found_track_error"},
            {"trackName":"d"},7]}"#;
        let answer = answered(pull).unwrap();
        assert_eq!(directions(&answer), [(Some(Direction::Remote), true), (None, true)]);
        assert_eq!(answer.tracks[0].session, SessionId::new("s2"));
        assert_eq!(answer.tracks[1].name, Name::new("b"));
    }

    #[test]
    fn the_state_of_a_session_says_which_tracks_are_active() {
        let state = br#"{"tracks":[
            {"location":"local","mid":"0","trackName":"a","status":"active"},
            {"location":"remote","mid":"1","sessionId":"s2","trackName":"b","status":"inactive"},
            {"location":"remote","mid":"2","sessionId":"s2","trackName":"c","status":"waiting"}],
            "dataChannels":[{"location":"remote","id":3,"sessionId":"s2","status":"initializing"},
            {"location":"local","id":4,"dataChannelName":"chat"},{"id":5,"errorCode":"not_found"},
            {"location":"remote","id":6,"sessionId":"s2","status":"inactive"}]}"#;
        let answer = answered(state).unwrap();
        let (local, remote) = (Some(Direction::Local), Some(Direction::Remote));
        let tracks = [(local, true), (remote, false), (remote, false)];
        assert_eq!(directions(&answer)[..3], tracks);
        assert_eq!(
            directions(&answer)[3..],
            [(remote, true), (local, true), (remote, false)],
            "data channels"
        );
        assert_eq!(answer.tracks[3].id, TrackId::Channel(3));
        assert_eq!(answer.tracks[4].name, Name::new("chat"));
    }

    #[test]
    fn an_answer_with_an_error_says_nothing() {
        assert_eq!(answered(br#"{"errorCode":"session_error","tracks":[{"mid":"0"}]}"#), None);
        assert_eq!(answered(b"<html>"), None);
        assert_eq!(answered(br#"{"errorCode":null}"#), Some(SfuAnswer::default()));
        assert_eq!(answered(br#"{"tracks":7,"sessionId":9}"#), Some(SfuAnswer::default()));
    }
}
