//! The routes of `SIGNALING`. Their packages follow the protocols of clients, so the description is here, by hand. tests/it/openapi.rs
//! compares it with what is served, and tests/api compiles clients that are generated from it.

mod sfu;

use serde_json::{Map, Value, json};

use super::shared::{MALFORMED, MISDIRECTED};

const FOREIGN: &str =
    "`ORIGIN_NOT_ALLOWED`: the `Origin` is not in `CLIENT_URL`, or another site loads or opens this URL.";
const NO_USER: &str = "`UNAUTHORIZED`: there is no valid token, and `AUTH_REQUIRED` is set. `INVALID_TOKEN`: the token is a JWT that is not valid.";

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
        for (status, text) in layer_errors(group, &path) {
            let responses = operation["responses"].as_object_mut().unwrap();
            responses.entry(status.to_string()).or_insert_with(|| error(text));
        }
        let item = document["paths"].as_object_mut().unwrap().entry(&*path).or_insert_with(|| json!({}));
        assert!(item[method].is_null(), "{method} {path} twice");
        item[method] = operation;
    }
    document["components"]["schemas"].as_object_mut().unwrap().extend(sfu::schemas());
}

/// The errors of the layers around a route. An error in the form of a protocol is described with its route.
fn layer_errors(group: &str, path: &str) -> Vec<(u16, &'static str)> {
    let mut errors = vec![(400, MALFORMED), (421, MISDIRECTED)];
    // A kept report is opened from a link in a chat, which is a page of another site.
    if group != "p2pcf" && path != "/api/debugInfo" {
        errors.push((403, FOREIGN));
    }
    if group == "p2pcf" || path == "/set-username" {
        errors.extend([
            (413, "`PAYLOAD_TOO_LARGE`: the body is too long."),
            (503, "`OVERLOADED`: too many requests are in progress."),
        ]);
    }
    errors
}

/// Group, method, path, description.
type Call = (&'static str, &'static str, String, Value);

fn sockets() -> Vec<Call> {
    let socket = |group, path: &str, id, summary: &str, parameters: Vec<Value>| {
        let mut responses = broker_errors(&[
            (400, "`INVALID_REQUEST`: the room or a header is not valid."),
            (401, NO_USER),
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
        let call = json!({ "operationId": id, "summary": summary, "parameters": parameters, "responses": responses });
        (group, "get", path.to_owned(), call)
    };
    let room = parameter("path", "room", "The room.", "room-1");
    let page = "The id of the page. The broker makes one if it is absent.";
    let page = parameter("query", "_pk", page, "b0ff2b4c-6d6e");
    let peer = ["id", "key"].map(|name| parameter("query", name, "As the client sends it.", "peerjs"));
    vec![
        socket("ayame", "/signaling", "openAyameSocket", "Opens a socket of Ayame.", vec![]),
        socket("peerjs", "/peerjs/peerjs", "openPeerjsSocket", "Opens a socket of PeerJS.", peer.to_vec()),
        socket(
            "rooms",
            "/parties/rooms/{room}",
            "openRoomSocket",
            "Opens a socket of a room.",
            vec![room, page],
        ),
        socket("yjs", "/yjs", "openYjsSocket", "Opens a socket of y-webrtc.", vec![]),
    ]
}

fn requests() -> Vec<Call> {
    let any = || json!({ "type": "object" });
    let text = |content_type, description: &str| content(content_type, description, &string());
    let private = content("text/plain", "Always.", &json!({ "type": "string", "enum": ["Unauthorized"] }));
    let refused = text("text/plain", "A text that says what is wrong.");
    let entries = "The other pages of the room (`ps`), the packages for this one (`pk`), and the delete key of its entry (`dk`).";
    let mut unknown = error(&format!("{NO_USER} Or, as text: the `Origin` is not in `CLIENT_URL`."));
    unknown["content"]["text/plain"] = json!({ "schema": string() });
    let polled = json!({ "200": answer(entries, &any()), "400": refused, "401": unknown, "403": refused, "404": refused, "429": refused });
    let poll = |method, id, summary| {
        let call = call("p2pcf", method, "/p2pcf", id, summary, polled.clone());
        taking(taking(call, "parameters", json!([token()])), "requestBody", body("application/json", &any()))
    };
    let one = |status: &str, response: Value| with(json!({}), status, response);
    let is = one("200", json!({ "description": "It is." }));
    let publishes = "Publishes the page's entry, and returns those of the others in the room.";
    let foreign = text("text/plain", "The `Origin` is not in `CLIENT_URL`.");
    let greets = with(one("200", text("text/html", "A greeting.")), "401", foreign);
    let server = one("200", answer("What it is.", &any()));
    let key = json!([parameter("path", "key", "The client's key. Any is accepted.", "peerjs")]);
    let too_often = broker_errors(&[(429, "`RATE_LIMITED`: this client asks too often.")]);
    let id = with(too_often, "200", text("text/html", "A random id."));
    let returns = "Returns an id for a peer that has none.";
    let id = call("peerjs", "get", "/peerjs/{key}/id", "makePeerjsId", returns, id);
    let peers = "The list of peers is private.";
    let peers = call("peerjs", "get", "/peerjs/{key}/peers", "listPeerjsPeers", peers, one("401", private));
    let no_name = broker_errors(&[(400, "`INVALID_REQUEST`: there is no name.")]);
    let is_set = with(no_name, "302", json!({ "description": "The cookie is set." }));
    let sets = "Sets the cookie with the name of a visitor.";
    let name = call("rooms", "post", "/set-username", "setUsername", sets, is_set);
    let to = json!([parameter("query", "return-url", "The path to go to.", "/room-1")]);
    let username = form(&[("username", json!({ "type": "string", "minLength": 1, "maxLength": 128 }))]);
    vec![
        call("ayame", "get", "/.ok", "getAyameHealth", "Whether Ayame is served.", is),
        poll("post", "pollP2pcf", publishes),
        call("p2pcf", "get", "/p2pcf", "greetP2pcf", "Greets.", greets),
        poll("delete", "deleteP2pcf", "Removes the page's entry."),
        call("peerjs", "get", "/peerjs", "describePeerjs", "Describes the server.", server),
        taking(id, "parameters", key.clone()),
        taking(peers, "parameters", key),
        taking(taking(name, "parameters", to), "requestBody", username),
    ]
}

fn reports() -> Vec<Call> {
    let taken = || answer("It was taken.", &object(&[("status", string())]));
    let report = |method, path, id, summary, status, taken| {
        let responses = broker_errors(&[
            (400, "`INVALID_REQUEST`: a field is missing."),
            (404, "`NOT_FOUND`: its directory or receiver is not set."),
            (413, "`PAYLOAD_TOO_LARGE`: the report is too long."),
            (429, "`RATE_LIMITED`: this client sends too many."),
        ]);
        call("reports", method, path, id, summary, with(responses, status, taken))
    };
    let bug = form(&[("info", string()), ("description", string())]);
    let required = ["pullSessionTrace", "pushedSessionTrace", "trackId"];
    let optional = ["pullingUser?", "pushingUser?", "meetingId?"];
    let track = [required, optional].concat().into_iter().map(|name| (name, string()));
    let track = body("application/json", &object(&track.collect::<Vec<_>>()));
    let issues = json!({ "type": "string", "enum": ["true", "false"] });
    let quality = form(&[("experiencedIssues", issues), ("meetingId", string())]);
    let to_start = json!({ "description": "To the start page." });
    let kept = json!({ "description": "It is kept." });
    let stored = answer("As it was sent.", &json!({ "type": "object" }));
    let id = parameter("query", "id", "The id of the report.", "5b4e8f0e-8e2c-4d9c-9f6e-1a2b3c4d5e6f");
    let id = json!([with(id, "required", true.into())]);
    let saw = "A bug, with what the page saw.";
    let bug_report = report("post", "/api/bugReport", "reportBug", saw, "200", taken());
    let dead = "A track from which nothing arrives.";
    let dead_track = report("post", "/api/deadTrack", "reportDeadTrack", dead, "200", taken());
    let call_quality = report(
        "post",
        "/call-quality-feedback",
        "reportCallQuality",
        "How good a call was.",
        "302",
        to_start,
    );
    let again = "A page was loaded again during a call.";
    let mut refresh = report("post", "/api/reportRefresh", "reportRefresh", again, "201", kept);
    refresh.3["responses"]["200"] = json!({ "description": "There is no storage." });
    let read = report("get", "/api/debugInfo", "getDebugInfo", "Returns a kept report.", "200", stored);
    vec![
        taking(bug_report, "requestBody", bug),
        taking(dead_track, "requestBody", track),
        taking(call_quality, "requestBody", quality),
        refresh,
        taking(read, "parameters", id),
    ]
}

fn call(
    group: &'static str,
    method: &'static str,
    path: &str,
    id: &str,
    summary: &str,
    responses: Value,
) -> Call {
    let call = json!({ "operationId": id, "summary": summary });
    (group, method, path.to_owned(), with(call, "responses", responses))
}

/// The call with one field more.
fn taking((group, method, path, call): Call, name: &str, value: Value) -> Call {
    (group, method, path, with(call, name, value))
}

fn token() -> Value {
    let description =
        "The user's token of your sign-in, where a client cannot set `Authorization`. Up to 8,000 bytes.";
    parameter("query", "token", description, "eyJhbGciOi…")
}

/// A text. Only those of the path are required.
fn parameter(place: &str, name: &str, description: &str, example: &str) -> Value {
    let is_required = place == "path";
    json!({ "in": place, "name": name, "required": is_required, "description": description, "schema": string(), "example": example })
}

fn string() -> Value {
    json!({ "type": "string" })
}

fn body(content_type: &str, schema: &Value) -> Value {
    json!({ "required": true, "content": { content_type: { "schema": schema } } })
}

fn form(fields: &[(&str, Value)]) -> Value {
    body("application/x-www-form-urlencoded", &object(fields))
}

fn answer(description: &str, schema: &Value) -> Value {
    content("application/json", description, schema)
}

fn content(content_type: &str, description: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { content_type: { "schema": schema } } })
}

/// Fields. The name of an optional one ends in `?`.
fn object(fields: &[(&str, Value)]) -> Value {
    let properties =
        fields.iter().map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone()));
    let required: Vec<_> = fields.iter().map(|(name, _)| name).filter(|name| !name.ends_with('?')).collect();
    json!({ "type": "object", "properties": properties.collect::<Map<_, _>>(), "required": required })
}

fn broker_errors(errors: &[(u16, &str)]) -> Value {
    errors_as("ErrorBody", errors)
}

/// Errors whose body has this schema.
fn errors_as(schema: &str, errors: &[(u16, &str)]) -> Value {
    let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
    errors.iter().map(|(status, text)| (status.to_string(), answer(text, &schema))).collect()
}

fn error(text: &str) -> Value {
    answer(text, &json!({ "$ref": "#/components/schemas/ErrorBody" }))
}

/// The object with one field more.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}
