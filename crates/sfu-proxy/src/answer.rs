//! The answers of the SFU. They come from Cloudflare, so they are read leniently: unknown parts are ignored.

use super::name::Name;
use crate::prelude::*;

/// A track or a data channel of an answer, or of the state of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id in the session. `None` if the SFU gives none.
    pub id: Option<TrackId>,
    /// Whether it is a data channel.
    pub is_channel: bool,
    /// Which way it goes, if the answer says so.
    pub direction: Option<Direction>,
    /// The session that sends it, if it is another one.
    pub session: Option<SessionId>,
    /// The name under which others pull it.
    pub name: Option<Name>,
    /// Whether the SFU refuses it.
    pub is_refused: bool,
    /// Whether the SFU says that nothing flows.
    pub is_inactive: bool,
}

/// What an answer says of the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SfuAnswer {
    /// The new session. `None` if the answer names none.
    pub session: Option<SessionId>,
    /// Its tracks and data channels.
    pub entries: Vec<Entry>,
}

/// Reads an answer. `None` if it reports an error of the whole call, or is not a JSON object.
pub(crate) fn parse_answer(body: &[u8]) -> Option<SfuAnswer> {
    let answer: BTreeMap<String, Value> = serde_json::from_slice(body).ok()?;
    if is_error(answer.get("errorCode")) {
        return None;
    }
    let entries = |list: &str| answer.get(list).and_then(Value::as_array).into_iter().flatten();
    let tracks = entries("tracks").filter(|entry| entry.is_object()).map(|entry| {
        let mid = entry.get("mid").and_then(Value::as_str).and_then(Name::new);
        entry_of(entry, mid.map(TrackId::Mid), false)
    });
    let channels = entries("dataChannels")
        .map(|entry| entry_of(entry, entry.get("id").and_then(Value::as_u64).map(TrackId::Channel), true));
    let session = answer.get("sessionId").and_then(Value::as_str).and_then(SessionId::new);
    Some(SfuAnswer { session, entries: tracks.chain(channels).collect() })
}

/// Reads an entry. One with a session and without a direction is taken from that session.
fn entry_of(entry: &Value, id: Option<TrackId>, is_channel: bool) -> Entry {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let session = text("sessionId").and_then(SessionId::new);
    let direction = match text("location") {
        Some("local") => Some(Direction::Local),
        Some("remote") => Some(Direction::Remote),
        _ => session.as_ref().map(|_| Direction::Remote),
    };
    let name = text("trackName").or_else(|| text("dataChannelName")).and_then(Name::new);
    let (is_refused, is_inactive) = (is_error(entry.get("errorCode")), text("status") == Some("inactive"));
    Entry { id, is_channel, direction, session, name, is_refused, is_inactive }
}

fn is_error(code: Option<&Value>) -> bool {
    code.is_some_and(|code| !matches!(code, Value::Null) && code != "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Direction, and whether it is refused or inactive.
    fn parts(answer: &SfuAnswer) -> Vec<(Option<Direction>, bool, bool)> {
        answer.entries.iter().map(|entry| (entry.direction, entry.is_refused, entry.is_inactive)).collect()
    }

    const REMOTE: Option<Direction> = Some(Direction::Remote);

    #[test]
    fn an_answer_names_the_session_and_what_it_grants_or_refuses() {
        let new =
            parse_answer(br#"{"sessionId":"s1","sessionDescription":{"type":"answer","sdp":""}}"#).unwrap();
        assert_eq!(new.session, SessionId::new("s1"));
        let pull = br#"{"requiresImmediateRenegotiation":true,"tracks":[
            {"trackName":"a","mid":"0","sessionId":"s2"},
            {"trackName":"b","mid":"1"},
            {"trackName":"c","sessionId":"s2","errorCode":"not_found_track_error"},7]}"#;
        let answer = parse_answer(pull).unwrap();
        assert_eq!(parts(&answer), [(REMOTE, false, false), (None, false, false), (REMOTE, true, false)]);
        assert_eq!((&answer.entries[0].session, &answer.entries[2].id), (&SessionId::new("s2"), &None));
        assert_eq!(answer.entries[1].name, Name::new("b"));
    }

    #[test]
    fn the_state_of_a_session_says_what_is_inactive() {
        let state = br#"{"tracks":[
            {"location":"local","mid":"0","trackName":"a","status":"active"},
            {"location":"remote","mid":"1","sessionId":"s2","trackName":"b","status":"inactive"},
            {"location":"remote","mid":"2","sessionId":"s2","trackName":"c","status":"waiting"}],
            "dataChannels":[{"location":"remote","id":3,"sessionId":"s2","status":"initializing"},
            {"location":"local","id":4,"dataChannelName":"chat"},{"id":5,"errorCode":"not_found"}]}"#;
        let answer = parse_answer(state).unwrap();
        let local = Some(Direction::Local);
        let tracks = [(local, false, false), (REMOTE, false, true), (REMOTE, false, false)];
        assert_eq!(parts(&answer)[..3], tracks);
        assert_eq!(parts(&answer)[3..], [(REMOTE, false, false), (local, false, false), (None, true, false)]);
        assert_eq!(answer.entries[3].id, Some(TrackId::Channel(3)));
        assert_eq!(answer.entries[4].name, Name::new("chat"));
    }

    #[test]
    fn an_answer_with_an_error_says_nothing() {
        assert_eq!(parse_answer(br#"{"errorCode":"session_error","tracks":[{"mid":"0"}]}"#), None);
        assert_eq!(parse_answer(b"<html>"), None);
        assert_eq!(parse_answer(br#"{"errorCode":null}"#), Some(SfuAnswer::default()));
        assert_eq!(parse_answer(br#"{"tracks":7,"sessionId":9}"#), Some(SfuAnswer::default()));
    }
}
