//! The routes of `SIGNALING`. Their packages follow the protocols of clients, so the description is here, by hand. tests/it/openapi.rs
//! compares it with what is served, and tests/api compiles clients that are generated from it.

mod sfu;

use serde_json::{Map, Value, json};

/// The groups by the words of `SIGNALING`.
const GROUPS: [(&str, &str); 7] = [
    ("ayame", "Ayame's signaling, for `@open-ayame/ayame-web-sdk`. Only with `SIGNALING=ayame`."),
    ("p2pcf", "The polling of `p2pcf`. Only with `SIGNALING=p2pcf`, below `P2PCF_PATH`."),
    (
        "peerjs",
        "The server of `peerjs`. Only with `SIGNALING=peerjs`. Its `path: '/'` has the same calls below `/`.",
    ),
    ("reports", "Reports of Orange's page. Only with `SIGNALING=reports`."),
    ("rooms", "Rooms of Orange, for `partysocket`. Only with `SIGNALING=rooms`."),
    (
        "sfu",
        "The proxy of Cloudflare's SFU, for `partytracks`. Only with `SIGNALING=sfu`, below each of `SFU_PREFIXES`. It takes the documented fields of each body; any other field is a 400.",
    ),
    ("yjs", "Signaling of `y-webrtc`. Only with `SIGNALING=yjs`."),
];

/// Adds the routes to the document.
pub(super) fn describe(document: &mut Value) {
    let tags = GROUPS.map(|(name, description)| json!({ "name": name, "description": description }));
    document["tags"].as_array_mut().unwrap().extend(tags);
    let routes = sockets().into_iter().chain(requests()).chain(reports()).chain(sfu::calls());
    for (group, method, path, mut operation) in routes {
        operation["tags"] = json!([group]);
        let item = document["paths"].as_object_mut().unwrap().entry(path).or_insert_with(|| json!({}));
        assert!(item[method].is_null(), "{method} {path} twice");
        item[method] = operation;
    }
    document["components"]["schemas"].as_object_mut().unwrap().extend(sfu::schemas());
}

/// Group, method, path, description.
type Call = (&'static str, &'static str, &'static str, Value);

fn sockets() -> Vec<Call> {
    let socket = |id, summary: &str, parameters: Vec<Value>| {
        let mut responses = errors(&[
            (400, "`INVALID_REQUEST`: the room or a header is not valid."),
            (401, "`UNAUTHORIZED`: there is no valid token, and `AUTH_REQUIRED` is set."),
            (
                403,
                "`ORIGIN_NOT_ALLOWED`: the `Origin` is not in `CLIENT_URL`. `USER_BLOCKED`: the operator has blocked the user.",
            ),
            (426, "`UPGRADE_REQUIRED`: this is no WebSocket handshake."),
            (429, "`RATE_LIMITED`: this client has as many sockets as it may."),
            (503, "`OVERLOADED`: there are as many sockets as there may be."),
        ]);
        responses["101"] = json!({ "description": "The socket." });
        let parameters: Vec<_> = parameters.into_iter().chain([token()]).collect();
        json!({ "operationId": id, "summary": summary, "parameters": parameters, "responses": responses })
    };
    let room = parameter("path", "room", "The room.", "room-1");
    let page = parameter(
        "query",
        "_pk",
        "The id of the page. The broker makes one if it is absent.",
        "b0ff2b4c-6d6e",
    );
    let peer = ["id", "key"].map(|name| parameter("query", name, "As the client sends it.", "peerjs"));
    vec![
        ("ayame", "get", "/signaling", socket("openAyameSocket", "Opens a socket of Ayame.", vec![])),
        (
            "peerjs",
            "get",
            "/peerjs/peerjs",
            socket("openPeerjsSocket", "Opens a socket of PeerJS.", peer.to_vec()),
        ),
        (
            "rooms",
            "get",
            "/parties/rooms/{room}",
            socket("openRoomSocket", "Opens a socket of a room.", vec![room, page]),
        ),
        ("yjs", "get", "/yjs", socket("openYjsSocket", "Opens a socket of y-webrtc.", vec![])),
    ]
}

fn requests() -> Vec<Call> {
    let key = parameter("path", "key", "The client's key. Any is accepted.", "peerjs");
    let text = |description: &str| json!({ "description": description, "content": { "text/html": { "schema": { "type": "string" } } } });
    let always = json!({ "type": "string", "enum": ["Unauthorized"] });
    let private = json!({ "description": "Always.", "content": { "text/plain": { "schema": always } } });
    let entries = json!({
        "description": "The other pages of the room (`ps`), the packages for this one (`pk`), and the delete key of its entry (`dk`).",
        "content": { "application/json": { "schema": { "type": "object" } } },
    });
    let refused = json!({
        "description": "A text that says what is wrong.",
        "content": { "text/plain": { "schema": { "type": "string" } } },
    });
    let poll = |id: &str, summary: &str| {
        json!({
            "operationId": id, "summary": summary, "parameters": [token()],
            "requestBody": body("application/json", &json!({ "type": "object" })),
            "responses": { "200": entries, "400": refused, "403": refused, "404": refused, "429": refused },
        })
    };
    let username = [("username", json!({ "type": "string", "minLength": 1, "maxLength": 128 }), true)];
    vec![
        (
            "ayame",
            "get",
            "/.ok",
            json!({
                "operationId": "getAyameHealth", "summary": "Whether Ayame is served.", "responses": { "200": { "description": "It is." } },
            }),
        ),
        (
            "p2pcf",
            "post",
            "/p2pcf",
            poll("pollP2pcf", "Publishes the page's entry, and returns those of the others in the room."),
        ),
        (
            "p2pcf",
            "get",
            "/p2pcf",
            json!({ "operationId": "greetP2pcf", "summary": "Greets.", "responses": { "200": text("A greeting.") } }),
        ),
        ("p2pcf", "delete", "/p2pcf", poll("deleteP2pcf", "Removes the page's entry.")),
        (
            "peerjs",
            "get",
            "/peerjs",
            json!({
                "operationId": "describePeerjs", "summary": "Describes the server.",
                "responses": { "200": answer("What it is.", &json!({ "type": "object" })) },
            }),
        ),
        (
            "peerjs",
            "get",
            "/peerjs/{key}/id",
            json!({
                "operationId": "makePeerjsId", "summary": "Returns an id for a peer that has none.", "parameters": [key.clone()],
                "responses": with(errors(&[(429, "`RATE_LIMITED`: this client asks too often.")]), "200", text("A random id.")),
            }),
        ),
        (
            "peerjs",
            "get",
            "/peerjs/{key}/peers",
            json!({
                "operationId": "listPeerjsPeers", "summary": "The list of peers is private.", "parameters": [key],
                "responses": { "401": private },
            }),
        ),
        (
            "rooms",
            "post",
            "/set-username",
            json!({
                "operationId": "setUsername", "summary": "Sets the cookie with the name of a visitor.",
                "parameters": [parameter("query", "return-url", "The path to go to.", "/room-1")],
                "requestBody": form(&username),
                "responses": with(errors(&[(400, "`INVALID_REQUEST`: there is no name.")]), "302", json!({ "description": "The cookie is set." })),
            }),
        ),
    ]
}

fn reports() -> Vec<Call> {
    let text = || json!({ "type": "string" });
    let ok = || answer("It was taken.", &object(&[("status", text(), true)]));
    let report = |id: &str, summary: &str, status: &str, taken: Value| {
        let responses = errors(&[
            (400, "`INVALID_REQUEST`: a field is missing."),
            (404, "`NOT_FOUND`: its directory or receiver is not set."),
            (413, "`PAYLOAD_TOO_LARGE`: the report is too long."),
            (429, "`RATE_LIMITED`: this client sends too many."),
        ]);
        json!({ "operationId": id, "summary": summary, "responses": with(responses, status, taken) })
    };
    let sends = |mut report: Value, sent: Value| {
        report["requestBody"] = sent;
        report
    };
    let bug = form(&[("info", text(), true), ("description", text(), true)]);
    let required = ["pullSessionTrace", "pushedSessionTrace", "trackId"].map(|name| (name, text(), true));
    let optional = ["pullingUser", "pushingUser", "meetingId"].map(|name| (name, text(), false));
    let track = body("application/json", &object(&[required, optional].concat()));
    let issues = json!({ "type": "string", "enum": ["true", "false"] });
    let quality = form(&[("experiencedIssues", issues, true), ("meetingId", text(), true)]);
    let to_start = json!({ "description": "To the start page." });
    let kept = json!({ "description": "It is kept." });
    let stored = answer("As it was sent.", &json!({ "type": "object" }));
    let mut read = report("getDebugInfo", "Returns a kept report.", "200", stored);
    let id = parameter("query", "id", "The id of the report.", "5b4e8f0e-8e2c-4d9c-9f6e-1a2b3c4d5e6f");
    read["parameters"] = json!([with(id, "required", true.into())]);
    let bug_report = report("reportBug", "A bug, with what the page saw.", "200", ok());
    let dead_track = report("reportDeadTrack", "A track from which nothing arrives.", "200", ok());
    let call_quality = report("reportCallQuality", "How good a call was.", "302", to_start);
    let mut refresh = report("reportRefresh", "A page was loaded again during a call.", "201", kept);
    refresh["responses"]["200"] = json!({ "description": "There is no storage." });
    vec![
        ("reports", "post", "/api/bugReport", sends(bug_report, bug)),
        ("reports", "post", "/api/deadTrack", sends(dead_track, track)),
        ("reports", "post", "/call-quality-feedback", sends(call_quality, quality)),
        ("reports", "post", "/api/reportRefresh", refresh),
        ("reports", "get", "/api/debugInfo", read),
    ]
}

fn token() -> Value {
    parameter(
        "query",
        "token",
        "The user's token of your sign-in, where a client cannot set `Authorization`. Up to 8,000 bytes.",
        "eyJhbGciOi…",
    )
}

/// A text. Only those of the path are required.
fn parameter(place: &str, name: &str, description: &str, example: &str) -> Value {
    let is_required = place == "path";
    json!({ "in": place, "name": name, "required": is_required, "description": description, "schema": { "type": "string" }, "example": example })
}

fn body(content_type: &str, schema: &Value) -> Value {
    json!({ "required": true, "content": { content_type: { "schema": schema } } })
}

fn form(fields: &[(&str, Value, bool)]) -> Value {
    body("application/x-www-form-urlencoded", &object(fields))
}

fn answer(description: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

/// Fields: name, schema, whether they are required.
fn object(fields: &[(&str, Value, bool)]) -> Value {
    let properties: Map<_, _> =
        fields.iter().map(|(name, schema, _)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<_> = fields.iter().filter(|field| field.2).map(|field| field.0).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn errors(errors: &[(u16, &str)]) -> Value {
    let schema = || json!({ "$ref": "#/components/schemas/ErrorBody" });
    let of = |(status, text): &(u16, &str)| (status.to_string(), answer(text, &schema()));
    Value::Object(errors.iter().map(of).collect())
}

/// The object with one field more.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}
