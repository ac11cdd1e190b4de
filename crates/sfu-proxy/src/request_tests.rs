//! Tests of bodies of requests.

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn pull_of(session: &str, name: &str) -> Pull {
    let session = SessionId::new(session).unwrap();
    Pull { session, name: Name::new(name), mid: None, kind: MediaKind::Video }
}

/// What goes upstream, as a value.
fn sent(call: SfuCall, body: &str) -> Value {
    serde_json::from_slice(&of_call(call, body.as_bytes()).unwrap().body).unwrap()
}

#[test]
fn a_push_has_the_kind_of_its_media_line() {
    let sdp = "v=0\\r\\nm=audio 9 UDP/TLS/RTP/SAVPF 111\\r\\na=mid:0\\r\\nm=video 9 UDP/TLS/RTP/SAVPF 96\\r\\na=mid:1\\r\\n";
    let body = format!(
        r#"{{"sessionDescription":{{"type":"offer","sdp":"{sdp}"}},"tracks":[{{"location":"local","trackName":"a","mid":"0"}},{{"location":"local","trackName":"v","mid":"1"}},{{"location":"local","trackName":"x","mid":"7"}}]}}"#
    );
    let request = of_call(SfuCall::NewTracks, body.as_bytes()).unwrap();
    let push = |mid: &str, of: &str, kind| Push { mid: Name::new(mid), name: Name::new(of), kind };
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
    let pulled = vec![Pull { kind: MediaKind::Data, ..pull_of("s1", "chat") }];
    assert_eq!(request.wanted, RequestedTracks { pulled, channel_count: 1, ..RequestedTracks::default() });
}

#[test]
fn a_channel_on_which_a_session_may_reply_is_named() {
    for call in [SfuCall::NewDataChannels, SfuCall::UpdateDataChannels] {
        let of = |rest: &str| {
            let body = format!(r#"{{"dataChannels":[{{"location":"remote","sessionId":"s1",{rest}}}]}}"#);
            of_call(call, body.as_bytes()).map(|request| request.wanted.replies)
        };
        let chat = Pull { kind: MediaKind::Data, ..pull_of("s1", "chat") };
        assert_eq!(of(r#""dataChannelName":"chat","canReply":true"#), Ok(vec![chat]));
        assert_eq!(of(r#""dataChannelName":"chat","canReply":false"#), Ok(vec![]));
        assert_eq!(of(r#""id":3,"canReply":false"#), Ok(vec![]));
        assert_eq!(of(r#""id":3,"canReply":true"#), Err(SfuFault::MALFORMED), "the charge needs a name");
        let both = r#""id":3,"dataChannelName":"chat","canReply":true"#;
        assert_eq!(of(both), Err(SfuFault::MALFORMED), "the id could be that of another channel");
    }
}

#[test]
fn a_push_without_an_offer_has_the_kind_that_the_sfu_offers() {
    let pushed = |tracks: &str| {
        let body = format!(r#"{{"tracks":[{tracks}]}}"#);
        of_call(SfuCall::NewTracks, body.as_bytes()).unwrap().wanted.pushed
    };
    let push = |kind| vec![Push { mid: None, name: Name::new("a"), kind }];
    let local = r#""location":"local","trackName":"a""#;
    assert_eq!(pushed(&format!(r#"{{{local},"kind":"audio"}}"#)), push(MediaKind::Audio));
    assert_eq!(pushed(&format!(r#"{{{local},"kind":"video"}}"#)), push(MediaKind::Video));
    assert_eq!(pushed(&format!("{{{local}}}")), push(MediaKind::Video));
    let with_mid = pushed(&format!(r#"{{{local},"kind":"audio","mid":"0"}}"#));
    assert_eq!(with_mid[0].kind, MediaKind::Video, "a hint is no offer");
}

#[test]
fn each_track_of_an_offer_that_the_sfu_names_is_a_push() {
    let pushed = |sdp: &str| {
        let offer = json!({ "type": "offer", "sdp": sdp });
        let named = json!([{ "location": "local", "trackName": "v", "mid": "1" }]);
        let body = json!({ "sessionDescription": offer, "tracks": named, "autoDiscover": true });
        of_call(SfuCall::NewTracks, body.to_string().as_bytes()).map(|request| request.wanted.pushed)
    };
    let push = |mid: &str, of: Option<Name>, kind| Push { mid: Name::new(mid), name: of, kind };
    let offer = "v=0\r\nm=video 9 UDP 96\r\na=mid:1\r\nm=audio 9 UDP 111\r\na=mid:2\r\n";
    let expected = [push("1", Name::new("v"), MediaKind::Video), push("2", None, MediaKind::Audio)];
    assert_eq!(pushed(offer), Ok(expected.to_vec()));
    // It cannot be read.
    assert_eq!(pushed("v=0\r\n\rm=video 9 UDP 96\r\na=mid:1\r\n"), Err(SfuFault::MALFORMED));
}

#[test]
fn each_call_sends_its_own_fields() {
    let description = r#"{"type":"answer","sdp":"v=0"}"#;
    for (call, body) in [
        (SfuCall::Renegotiate, format!(r#"{{"sessionDescription":{description}}}"#)),
        (SfuCall::CloseTracks, format!(r#"{{"tracks":[{{"mid":"0"}}],"sessionDescription":{description},"force":false}}"#)),
        (SfuCall::CloseTracks, r#"{"tracks":[{"mid":"0"}],"force":true}"#.into()),
        (SfuCall::UpdateTracks, r#"{"tracks":[{"location":"remote","sessionId":"s1","trackName":"a","mid":"1","simulcast":{"preferredRid":"l"}}]}"#.into()),
        (SfuCall::UpdateTracks, format!(r#"{{"tracks":[],"sessionDescription":{description}}}"#)),
        (SfuCall::NewTracks, r#"{"tracks":[{"location":"local","trackName":"a","kind":"audio","bidirectionalMediaStream":true}]}"#.into()),
        (SfuCall::NewTracks, r##"{"tracks":[{"location":"remote","sessionId":"s1","trackName":"a","mid":"#mic","kind":"video","bidirectionalMediaStream":false}]}"##.into()),
        (SfuCall::NewTracks, r#"{"autoDiscover":true,"sessionDescription":{"type":"offer","sdp":"m=audio 9 UDP 111\r\na=mid:0\r\n"}}"#.into()),
        (SfuCall::NewDataChannels, r#"{"dataChannels":[{"location":"local","dataChannelName":"state","ordered":false,"maxRetransmits":0}]}"#.into()),
        (SfuCall::NewDataChannels, r#"{"dataChannels":[{"location":"remote","sessionId":"s1","dataChannelName":"state","ordered":false,"maxPacketLifeTime":200,"waitForAck":true,"canReply":true}]}"#.into()),
        (SfuCall::UpdateDataChannels, r#"{"dataChannels":[{"location":"remote","sessionId":"s1","dataChannelName":"state","canReply":false}]}"#.into()),
        (SfuCall::CloseDataChannels, r#"{"dataChannels":[{"id":3}]}"#.into()),
        (SfuCall::UpdateDataChannels, r#"{"dataChannels":[{"location":"remote","sessionId":"s1","id":3}]}"#.into()),
        (SfuCall::EstablishDataChannels, format!(r#"{{"sessionDescription":{description},"dataChannel":{{"location":"remote","dataChannelName":"server-events"}}}}"#)),
    ] {
        assert_eq!(sent(call, &body), serde_json::from_str::<Value>(&body).unwrap(), "{call:?}");
    }
    assert_eq!(new_session(b""), Ok(SfuRequest::default()));
    let offer = br#"{"sessionDescription":{"sdp":"v=0","type":"offer"}}"#;
    assert_eq!(new_session(offer).unwrap().body, offer);
}

/// The document of the API names the method and the path of each call, and no field that would not be sent.
#[test]
fn what_the_document_says_of_a_body_is_sent() {
    let document: Value = serde_json::from_str(include_str!("../../../src/web/openapi.json")).unwrap();
    for call in SfuCall::VARIANTS {
        let (method, path) = crate::path::upstream(&SessionId::new("s1").unwrap(), *call);
        let path = format!("/partytracks/{}", path.replace("s1", "{sessionId}"));
        let operation = &document["paths"][&path][method.to_lowercase()];
        assert!(operation["operationId"].is_string(), "{method} {path}");
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        for body in samples(&document, schema) {
            assert_eq!(sent(*call, &body.to_string()), body, "{call:?}");
        }
    }
}

/// Values of a schema, with all fields but one of two retransmission limits.
fn samples(document: &Value, schema: &Value) -> Vec<Value> {
    if let Some(name) = schema["$ref"].as_str() {
        return samples(document, document.pointer(&name[1..]).unwrap());
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices.iter().flat_map(|choice| samples(document, choice)).collect();
    }
    match schema["type"].as_str() {
        Some("array") => vec![samples(document, &schema["items"]).into()],
        Some("boolean") => vec![false.into()],
        Some("object") => {
            let properties = schema["properties"].as_object().unwrap().iter();
            let fields = properties.filter(|(name, _)| *name != "maxPacketLifeTime");
            let of = |(name, schema): (&String, &Value)| (name.clone(), samples(document, schema).remove(0));
            vec![fields.map(of).collect()]
        }
        Some(_) => vec![schema["enum"].get(0).unwrap_or(&schema["example"]).clone()],
        None => vec![],
    }
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
        (UpdateTracks, r#"{"tracks":[],"autoDiscover":true}"#),
        (NewDataChannels, r#"{"tracks":[]}"#),
        (NewTracks, r#"{"tracks":[{"location":"local","trackName":"a","kind":"data"}]}"#),
        (NewTracks, r#"{"tracks":[{"location":"local","trackName":"a","mid":"0","sessionId":"s1"}]}"#),
    ] {
        assert_eq!(of_call(call, body.as_bytes()), Err(SfuFault::MALFORMED), "{call:?} {body}");
    }
    let both_limits = r#""maxRetransmits":0,"maxPacketLifeTime":0"#;
    for rest in [r#""waitForAck":true"#, r#""canReply":true"#, both_limits, r#""maxRetransmits":-1"#] {
        let channel = format!(r#"{{"location":"local","dataChannelName":"a",{rest}}}"#);
        let body = format!(r#"{{"dataChannels":[{channel}]}}"#);
        assert_eq!(of_call(NewDataChannels, body.as_bytes()), Err(SfuFault::MALFORMED), "{body}");
    }
    assert_eq!(new_session(format!(r#"{{"tracks":[{remote}]}}"#).as_bytes()), Err(SfuFault::MALFORMED));
}

#[test]
fn a_request_that_two_parsers_could_read_differently_is_refused() {
    let long = "x".repeat(257);
    let too_long = format!(r#"{{"tracks":[{{"location":"local","trackName":"{long}","mid":"0"}}]}}"#);
    let remote = r#""location":"remote","sessionId":"s1","trackName":"a""#;
    let tracks = [
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
        r#"{"tracks":[{"location":"local","trackName":"","mid":"0"}]}"#.into(),
        too_long,
        format!(r#"{{"trackſ":[{{{remote}}}]}}"#),
    ];
    let texts = [r#"{"tracks":{"0":{}}}"#, r#"{"tracks":[["local"]]}"#, "[]", "", "{", "{} {}", "null"];
    for body in tracks.into_iter().chain(texts.map(str::to_owned)) {
        assert_eq!(of_call(SfuCall::NewTracks, body.as_bytes()), Err(SfuFault::MALFORMED), "{body}");
    }
}

#[test]
fn tracks_are_closed_by_force_and_data_channels_by_a_call_of_their_own() {
    let mid = |text| TrackId::Mid(name(text));
    let calls = closing(&[mid("0"), mid("1"), TrackId::Channel(3)]);
    let tracks = json!({ "tracks": [{ "mid": "0" }, { "mid": "1" }], "force": true });
    let channels = json!({ "dataChannels": [{ "id": 3 }] });
    assert_eq!(calls, [(SfuCall::CloseTracks, tracks), (SfuCall::CloseDataChannels, channels)]);
    assert_eq!(closing(&[]), []);
}
