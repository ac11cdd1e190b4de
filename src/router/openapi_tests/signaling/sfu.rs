//! The calls of the SFU's proxy. The fields are those of `turn_sfu_proxy::request`.

use std::slice;

use serde_json::{Map, Value, json};

use super::{Call, answer, body, errors_as, object, parameter, token, with};

/// The calls on a session: name, method, path below the session's, summary, schema of the body.
const ON_SESSION: [(&str, &str, &str, &str, &str); 9] = [
    ("getSfuSession", "get", "", "What a session sends and takes.", ""),
    ("newSfuTracks", "post", "/tracks/new", "Pushes or pulls tracks.", "SfuNewTracks"),
    ("renegotiateSfu", "put", "/renegotiate", "The browser's answer to an offer.", "SfuRenegotiation"),
    ("closeSfuTracks", "put", "/tracks/close", "Closes tracks.", "SfuClosedTracks"),
    ("updateSfuTracks", "put", "/tracks/update", "Changes tracks.", "SfuUpdatedTracks"),
    ("establishSfuDataChannels", "post", "/datachannels/establish", ESTABLISHES, "SfuEstablishment"),
    ("newSfuDataChannels", "post", "/datachannels/new", "Pushes or pulls data channels.", "SfuDataChannels"),
    ("updateSfuDataChannels", "put", "/datachannels/update", CHANGES, "SfuDataChannels"),
    ("closeSfuDataChannels", "put", "/datachannels/close", "Closes data channels.", "SfuClosedDataChannels"),
];
const ESTABLISHES: &str = "Prepares a session for data channels.";
const CHANGES: &str = "Changes data channels, such as who may reply.";

pub(super) fn calls() -> Vec<Call> {
    let session = parameter("path", "sessionId", "The session.", "2a45361d5fd7cc14eface0587c276c94");
    let session = with(session, "schema", json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" }));
    let on_session = ON_SESSION.map(|(id, method, path, summary, sent)| {
        let mut call = call(id, summary, "200", "SfuAnswer");
        call["parameters"].as_array_mut().unwrap().insert(0, session.clone());
        if !sent.is_empty() {
            call["requestBody"] = body("application/json", &reference(sent));
        }
        ("sfu", method, format!("/partytracks/sessions/{{sessionId}}{path}"), call)
    });
    let mut new = call(
        "newSfuSession",
        "Opens a session in the room that `correlationId`, the header or the token names.",
        "201",
        "SfuNewSession",
    );
    let label = parameter("query", "label", "Your own name for what the session is used for.", "room-1");
    new["parameters"].as_array_mut().unwrap().push(label);
    new["requestBody"] = body("application/json", &reference("SfuNewSessionRequest"));
    new["requestBody"]["required"] = false.into();
    let new = with_text_errors(new);
    let servers = |id: &str| {
        with_text_errors(call(
            id,
            "ICE servers for a call. Without a relay, STUN servers.",
            "200",
            "SfuIceServers",
        ))
    };
    let ice_servers = "/partytracks/generate-ice-servers";
    let fixed = [
        ("sfu", "post", "/partytracks/sessions/new".to_owned(), new),
        ("sfu", "get", ice_servers.to_owned(), servers("getSfuIceServers")),
        ("sfu", "post", ice_servers.to_owned(), servers("postSfuIceServers")),
    ];
    fixed.into_iter().chain(on_session).collect()
}

/// The call with errors as text, because partytracks takes any JSON for the result.
fn with_text_errors(mut call: Value) -> Value {
    let errors = call["responses"].as_object_mut().unwrap().iter_mut();
    for (_, error) in errors.filter(|(status, _)| status.starts_with(['4', '5'])) {
        error["content"] = json!({ "text/plain": { "schema": { "type": "string" } } });
    }
    call
}

/// A call whose answer has this schema.
fn call(id: &str, summary: &str, status: &str, schema: &str) -> Value {
    let refused = [
        (400, "The body has another form."),
        (401, "The session is locked by another browser's cookie, or a token is not valid."),
        (403, "A track of another room, a page of another origin, or a user who is blocked."),
        (404, "No such data channel, or no such path."),
        (413, "The body is longer than 1 MiB."),
        (429, "A limit of the session, the client or the budget."),
        (502, "The SFU cannot be reached."),
        (503, "The ledger cannot be written, or too much is open."),
        (504, "The SFU did not answer in time."),
    ];
    let mut responses = errors_as("SfuError", &refused);
    responses[status] = answer("As the SFU answers.", &reference(schema));
    let room = parameter("query", "correlationId", "The room.", "room-1");
    let room_header =
        parameter("header", "X-Realtime-Room", "The room, for pages that cannot set the query.", "room-1");
    json!({
        "operationId": id, "summary": summary, "security": [{}, { "user": [] }, { "grant": [] }],
        "parameters": [room, room_header, token()], "responses": responses,
    })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn list(schema: &Value) -> Value {
    json!({ "type": "array", "items": schema })
}

fn strict(fields: &[(&str, Value)]) -> Value {
    with(object(fields), "additionalProperties", false.into())
}

/// A text with its example.
fn text(example: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 256, "example": example })
}

fn number(example: u32) -> Value {
    json!({ "type": "integer", "minimum": 0, "example": example })
}

fn is() -> Value {
    json!({ "type": "boolean" })
}

fn words(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

pub(super) fn schemas() -> Map<String, Value> {
    let all = [tracks(), channels(), answers()];
    all.into_iter().flat_map(|schemas| schemas.as_object().unwrap().clone()).collect()
}

fn description() -> Value {
    reference("SfuDescription")
}

fn session() -> Value {
    text("2a45361d5fd7cc14eface0587c276c94")
}

fn location() -> Value {
    words(&["local", "remote"])
}

/// The bodies of requests without data channels.
fn tracks() -> Value {
    let offered = ("sessionDescription?", description());
    let tracks = list(&reference("SfuTrack"));
    let closed = list(&strict(&[("mid", text("0"))]));
    let kind = ("kind?", words(&["audio", "video"]));
    let both_ways = ("bidirectionalMediaStream?", is());
    let sdp = json!({ "type": "string", "example": "v=0…" });
    let local = [("location", words(&["local"])), ("trackName", text("camera")), ("mid?", text("0"))];
    let remote = [
        ("location", words(&["remote"])),
        ("sessionId", session()),
        ("trackName", text("camera")),
        ("mid?", text("1")),
    ];
    let simulcast = [
        ("preferredRid?", text("h")),
        ("priorityOrdering?", text("asciibetical")),
        ("ridNotAvailable?", text("none")),
    ];
    json!({
        "SfuDescription": strict(&[("type", words(&["offer", "answer"])), ("sdp", sdp)]),
        "SfuNewSessionRequest": strict(slice::from_ref(&offered)),
        "SfuNewSession": object(&[("sessionId", session()), offered.clone()]),
        "SfuNewTracks": strict(&[offered.clone(), ("tracks?", tracks.clone()), ("autoDiscover?", is())]),
        "SfuUpdatedTracks": strict(&[("tracks", tracks), offered.clone()]),
        "SfuRenegotiation": strict(&[("sessionDescription", description())]),
        "SfuClosedTracks": strict(&[("tracks", closed), offered, ("force?", is())]),
        "SfuTrack": { "oneOf": [reference("SfuLocalTrack"), reference("SfuRemoteTrack")] },
        "SfuLocalTrack": strict(&[&local[..], &[kind.clone(), both_ways.clone()]].concat()),
        "SfuRemoteTrack":
            strict(&[&remote[..], &[kind, both_ways, ("simulcast?", reference("SfuSimulcast"))]].concat()),
        "SfuSimulcast": strict(&simulcast),
    })
}

/// The bodies of requests about data channels.
fn channels() -> Value {
    let delivery = [("ordered?", is()), ("maxRetransmits?", number(0)), ("maxPacketLifeTime?", number(200))];
    let local = [("location", words(&["local"])), ("dataChannelName", text("chat")), ("id?", number(4))];
    let remote = [
        ("location", words(&["remote"])),
        ("sessionId", session()),
        ("dataChannelName?", text("chat")),
        ("id?", number(4)),
        ("waitForAck?", is()),
        ("canReply?", is()),
    ];
    let established = strict(&[("location", location()), ("dataChannelName", text("server-events"))]);
    let closed = list(&strict(&[("id", number(4))]));
    json!({
        "SfuDataChannels": strict(&[("dataChannels", list(&reference("SfuDataChannel")))]),
        "SfuDataChannel": {
            "oneOf": [reference("SfuLocalDataChannel"), reference("SfuRemoteDataChannel")],
            "description": "At most one of `maxRetransmits` and `maxPacketLifeTime`. With `canReply`, a channel has a `dataChannelName` and no `id`.",
        },
        "SfuLocalDataChannel": strict(&[&local[..], &delivery].concat()),
        "SfuRemoteDataChannel": strict(&[&remote[..], &delivery].concat()),
        "SfuEstablishment": strict(&[("sessionDescription?", description()), ("dataChannel?", established)]),
        "SfuClosedDataChannels": strict(&[("dataChannels", closed)]),
    })
}

fn answers() -> Value {
    let failure = [("errorCode?", text("other_room")), ("errorDescription?", text("Close tracks."))];
    let error = [("errorCode", text("other_room")), ("errorDescription", text("Close tracks."))];
    let state = [("location?", location()), ("sessionId?", session()), ("status?", text("active"))];
    let track = [("trackName?", text("camera")), ("mid?", text("0"))];
    let channel = [("dataChannelName?", text("chat")), ("id?", number(4)), ("canReply?", is())];
    let all = [
        ("requiresImmediateRenegotiation?", is()),
        ("sessionDescription?", description()),
        ("tracks?", list(&reference("SfuAnswerTrack"))),
        ("dataChannels?", list(&reference("SfuAnswerDataChannel"))),
    ];
    let server = object(&[
        ("urls", list(&json!({ "type": "string" }))),
        ("username?", json!({ "type": "string", "example": "1736956800:user" })),
        ("credential?", json!({ "type": "string", "example": "kP3wJt0Jr7Qw" })),
    ]);
    json!({
        "SfuAnswer": object(&[&all[..], &failure].concat()),
        "SfuAnswerTrack": object(&[&track[..], &state, &failure].concat()),
        "SfuAnswerDataChannel": object(&[&channel[..], &state, &failure].concat()),
        "SfuIceServers": object(&[("iceServers", list(&server))]),
        "SfuError": object(&error),
    })
}
