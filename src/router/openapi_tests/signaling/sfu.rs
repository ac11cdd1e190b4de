//! The calls of the SFU's proxy. The fields are those of `turn_sfu_proxy::request`.

use serde_json::{Value, json};

use super::{Call, answer, body, object, parameter, token, with};

/// The calls on a session: name, method, path, summary, schema of the body.
const ON_SESSION: [(&str, &str, &str, &str, Option<&str>); 9] = [
    ("getSfuSession", "get", "/partytracks/sessions/{sessionId}", "What a session sends and takes.", None),
    (
        "newSfuTracks",
        "post",
        "/partytracks/sessions/{sessionId}/tracks/new",
        "Pushes or pulls tracks.",
        Some("SfuNewTracks"),
    ),
    (
        "renegotiateSfu",
        "put",
        "/partytracks/sessions/{sessionId}/renegotiate",
        "The browser's answer to an offer.",
        Some("SfuRenegotiation"),
    ),
    (
        "closeSfuTracks",
        "put",
        "/partytracks/sessions/{sessionId}/tracks/close",
        "Closes tracks.",
        Some("SfuClosedTracks"),
    ),
    (
        "updateSfuTracks",
        "put",
        "/partytracks/sessions/{sessionId}/tracks/update",
        "Changes tracks.",
        Some("SfuUpdatedTracks"),
    ),
    (
        "establishSfuDataChannels",
        "post",
        "/partytracks/sessions/{sessionId}/datachannels/establish",
        "Prepares a session for data channels.",
        Some("SfuEstablishment"),
    ),
    (
        "newSfuDataChannels",
        "post",
        "/partytracks/sessions/{sessionId}/datachannels/new",
        "Pushes or pulls data channels.",
        Some("SfuDataChannels"),
    ),
    (
        "updateSfuDataChannels",
        "put",
        "/partytracks/sessions/{sessionId}/datachannels/update",
        "Changes data channels, such as who may reply.",
        Some("SfuDataChannels"),
    ),
    (
        "closeSfuDataChannels",
        "put",
        "/partytracks/sessions/{sessionId}/datachannels/close",
        "Closes data channels.",
        Some("SfuClosedDataChannels"),
    ),
];

pub(super) fn calls() -> Vec<Call> {
    let session = parameter("path", "sessionId", "The session.", "2a45361d5fd7cc14eface0587c276c94");
    let session = with(session, "schema", json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" }));
    let on_session = ON_SESSION.map(|(id, method, path, summary, sent)| {
        let mut call = call(id, summary, "200", "SfuAnswer");
        call["parameters"].as_array_mut().unwrap().insert(0, session.clone());
        if let Some(schema) = sent {
            call["requestBody"] = body("application/json", &reference(schema));
        }
        ("sfu", method, path, call)
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
    for status in ["400", "401", "403", "429", "502", "503", "504"] {
        let text = json!({ "text/plain": { "schema": { "type": "string" } } });
        new["responses"][status] = json!({ "description": "The code and what to do, as text: partytracks takes any JSON for a session.", "content": text });
    }
    let servers =
        |id: &str| call(id, "ICE servers for a call. Without a relay, STUN servers.", "200", "SfuIceServers");
    let fixed = [
        ("sfu", "post", "/partytracks/sessions/new", new),
        ("sfu", "get", "/partytracks/generate-ice-servers", servers("getSfuIceServers")),
        ("sfu", "post", "/partytracks/generate-ice-servers", servers("postSfuIceServers")),
    ];
    fixed.into_iter().chain(on_session).collect()
}

/// A call whose answer has this schema.
fn call(id: &str, summary: &str, status: &str, schema: &str) -> Value {
    let refused = [
        ("400", "The body has another form."),
        ("401", "The session is locked by another browser's cookie, or a token is not valid."),
        ("403", "A track of another room, a page of another origin, or a user who is blocked."),
        ("413", "The body is longer than 1 MiB."),
        ("429", "A limit of the session, the client or the budget."),
        ("502", "The SFU cannot be reached."),
        ("503", "The ledger cannot be written, or too much is open."),
        ("504", "The SFU did not answer in time."),
    ];
    let mut responses: serde_json::Map<_, _> = refused
        .map(|(status, text)| (status.to_owned(), answer(text, &reference("SfuError"))))
        .into_iter()
        .collect();
    let gone = json!({ "oneOf": [reference("SfuError"), reference("ErrorBody")] });
    responses.insert("404".to_owned(), answer("No such data channel, or no such path.", &gone));
    responses.insert(status.to_owned(), answer("As the SFU answers.", &reference(schema)));
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

fn list(schema: &str) -> Value {
    json!({ "type": "array", "items": reference(schema) })
}

fn strict(fields: &[(&str, Value, bool)]) -> Value {
    let mut object = object(fields);
    object["additionalProperties"] = false.into();
    object
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

pub(super) fn schemas() -> impl Iterator<Item = (String, Value)> {
    let all = tracks().into_iter().chain(channels()).chain(answers());
    all.map(|(name, schema)| (name.to_owned(), schema))
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
fn tracks() -> Vec<(&'static str, Value)> {
    let kind = || words(&["audio", "video"]);
    let simulcast = [
        ("preferredRid", text("h"), false),
        ("priorityOrdering", text("asciibetical"), false),
        ("ridNotAvailable", text("none"), false),
    ];
    vec![
        (
            "SfuDescription",
            strict(&[
                ("type", words(&["offer", "answer"]), true),
                ("sdp", json!({ "type": "string", "example": "v=0…" }), true),
            ]),
        ),
        ("SfuNewSessionRequest", strict(&[("sessionDescription", description(), false)])),
        (
            "SfuNewSession",
            object(&[("sessionId", session(), true), ("sessionDescription", description(), false)]),
        ),
        (
            "SfuNewTracks",
            strict(&[
                ("sessionDescription", description(), false),
                ("tracks", list("SfuTrack"), false),
                ("autoDiscover", is(), false),
            ]),
        ),
        (
            "SfuUpdatedTracks",
            strict(&[("tracks", list("SfuTrack"), true), ("sessionDescription", description(), false)]),
        ),
        ("SfuRenegotiation", strict(&[("sessionDescription", description(), true)])),
        (
            "SfuClosedTracks",
            strict(&[
                ("tracks", json!({ "type": "array", "items": strict(&[("mid", text("0"), true)]) }), true),
                ("sessionDescription", description(), false),
                ("force", is(), false),
            ]),
        ),
        ("SfuTrack", json!({ "oneOf": [reference("SfuLocalTrack"), reference("SfuRemoteTrack")] })),
        (
            "SfuLocalTrack",
            strict(&[
                ("location", words(&["local"]), true),
                ("trackName", text("camera"), true),
                ("mid", text("0"), false),
                ("kind", kind(), false),
                ("bidirectionalMediaStream", is(), false),
            ]),
        ),
        (
            "SfuRemoteTrack",
            strict(&[
                ("location", words(&["remote"]), true),
                ("sessionId", session(), true),
                ("trackName", text("camera"), true),
                ("mid", text("1"), false),
                ("kind", kind(), false),
                ("bidirectionalMediaStream", is(), false),
                ("simulcast", reference("SfuSimulcast"), false),
            ]),
        ),
        ("SfuSimulcast", strict(&simulcast)),
    ]
}

/// The bodies of requests about data channels.
fn channels() -> Vec<(&'static str, Value)> {
    let delivery = || {
        [
            ("ordered", is(), false),
            ("maxRetransmits", number(0), false),
            ("maxPacketLifeTime", number(200), false),
        ]
    };
    let local_channel = [
        ("location", words(&["local"]), true),
        ("dataChannelName", text("chat"), true),
        ("id", number(4), false),
    ];
    let remote_channel = [
        ("location", words(&["remote"]), true),
        ("sessionId", session(), true),
        ("dataChannelName", text("chat"), false),
        ("id", number(4), false),
        ("waitForAck", is(), false),
        ("canReply", is(), false),
    ];
    vec![
        ("SfuDataChannels", strict(&[("dataChannels", list("SfuDataChannel"), true)])),
        (
            "SfuDataChannel",
            json!({ "oneOf": [reference("SfuLocalDataChannel"), reference("SfuRemoteDataChannel")], "description": "At most one of `maxRetransmits` and `maxPacketLifeTime`. With `canReply`, a channel has a `dataChannelName` and no `id`." }),
        ),
        ("SfuLocalDataChannel", strict(&[&local_channel[..], &delivery()].concat())),
        ("SfuRemoteDataChannel", strict(&[&remote_channel[..], &delivery()].concat())),
        (
            "SfuEstablishment",
            strict(&[
                ("sessionDescription", description(), false),
                (
                    "dataChannel",
                    strict(&[
                        ("location", location(), true),
                        ("dataChannelName", text("server-events"), true),
                    ]),
                    false,
                ),
            ]),
        ),
        (
            "SfuClosedDataChannels",
            strict(&[(
                "dataChannels",
                json!({ "type": "array", "items": strict(&[("id", number(4), true)]) }),
                true,
            )]),
        ),
    ]
}

fn answers() -> Vec<(&'static str, Value)> {
    let error = |is_required| {
        [
            ("errorCode", text("other_room"), is_required),
            ("errorDescription", text("Close tracks."), is_required),
        ]
    };
    let state =
        [("location", location(), false), ("sessionId", session(), false), ("status", text("active"), false)];
    let of_track = [("trackName", text("camera"), false), ("mid", text("0"), false)];
    let of_channel =
        [("dataChannelName", text("chat"), false), ("id", number(4), false), ("canReply", is(), false)];
    let of_all = [
        ("requiresImmediateRenegotiation", is(), false),
        ("sessionDescription", description(), false),
        ("tracks", list("SfuAnswerTrack"), false),
        ("dataChannels", list("SfuAnswerDataChannel"), false),
    ];
    let server = object(&[
        ("urls", json!({ "type": "array", "items": { "type": "string" } }), true),
        ("username", json!({ "type": "string", "example": "1736956800:user" }), false),
        ("credential", json!({ "type": "string", "example": "kP3wJt0Jr7Qw" }), false),
    ]);
    vec![
        ("SfuAnswer", object(&[&of_all[..], &error(false)].concat())),
        ("SfuAnswerTrack", object(&[&of_track[..], &state, &error(false)].concat())),
        ("SfuAnswerDataChannel", object(&[&of_channel[..], &state, &error(false)].concat())),
        ("SfuIceServers", object(&[("iceServers", json!({ "type": "array", "items": server }), true)])),
        ("SfuError", object(&error(true))),
    ]
}
