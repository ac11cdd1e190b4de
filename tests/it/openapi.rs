//! The `OpenAPI` document: it describes every route and every response of the layers around it. Its snapshot has the rest (src/router).
//! tests/api compares it with the responses.

use std::collections::HashSet;

use crate::support::prelude::*;

/// What every broker serves at `/openapi.json`.
pub(crate) fn document() -> Value {
    serde_json::from_str(include_str!("../../src/web/openapi.json")).unwrap()
}

/// Whether the routes of this tag exist only where `SIGNALING` names it.
pub(crate) fn is_of_signaling(tag: &Value) -> bool {
    tag.as_str().is_some_and(|tag| MODULES.split(',').any(|module| module == tag))
}

/// The tag of the calls of a path.
pub(crate) fn tag(path: &Value) -> &Value {
    &path.as_object().unwrap().values().next().unwrap()["tags"][0]
}

#[test]
fn every_schema_is_used_and_every_one_that_is_used_is_there() {
    let document = document();
    let text = document.to_string();
    let references = text.split("\"#/components/schemas/").skip(1);
    let referred: BTreeSet<_> = references.map(|text| text.split('"').next().unwrap()).collect();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert_eq!(referred, schemas.keys().map(String::as_str).collect());
}

/// All that `SIGNALING` can name.
const MODULES: &str = "ayame,p2pcf,peerjs,reports,rooms,sfu,yjs";

const SIGNALING: [(&str, &str); 6] = [
    ("SIGNALING", MODULES),
    ("CALLS_APP_ID", "app"),
    ("CALLS_APP_SECRET", "secret"),
    ("FEEDBACK_URL", "https://chat.example/hook"),
    ("CALLS_API_URL", "http://127.0.0.1:9/v1"),
    // A session that is over is not refused because of its lock.
    ("SFU_LOCK", "false"),
];

#[tokio::test]
async fn a_parameter_that_an_operator_call_does_not_have_is_refused() {
    let broker = TestBroker::start(&[]).await;
    let mut refused = 0;
    for (path, item) in document()["paths"].as_object().unwrap() {
        let example = path.replace(['{', '}'], "");
        for (method, operation) in item.as_object().unwrap() {
            if operation["tags"][0] == "operator" {
                let method = method.to_uppercase().parse().unwrap();
                let answer = broker.order(method, &format!("{example}?usr=ann")).await;
                assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{path}");
                refused += 1;
            }
        }
    }
    assert!(refused > 15, "{refused}");
}

#[tokio::test]
async fn every_route_of_signaling_is_described_where_it_is_served() {
    let reports = StateDir::new();
    let broker = TestBroker::start(&[&SIGNALING[..], &[("REPORTS_DIR", reports.path())]].concat()).await;
    let document = document();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        if !is_of_signaling(tag(item)) {
            continue;
        }
        described.insert(path.as_str());
        let example = path.replace("{room}", "r").replace("{key}", "peerjs").replace("{sessionId}", "s1");
        for (method, operation) in item.as_object().unwrap() {
            for status in ["400", "421"] {
                assert!(operation["responses"][status].is_object(), "{method} {path}: {status}");
            }
            let answer = broker.send(method.to_uppercase().parse().unwrap(), &example).await;
            let is_served = !answer.text.contains("\"NOT_FOUND\"") && answer.status != 405;
            let foreign = broker.request(method.to_uppercase().parse().unwrap(), &example);
            let foreign = Answer::of(foreign.header("origin", "https://evil.example")).await;
            for answer in [&answer, &foreign] {
                let is_described = operation["responses"][answer.status.as_str()].is_object();
                assert!(is_served && is_described, "{method} {path}: {} {}", answer.status, answer.text);
            }
        }
    }
    let expected =
        "/.ok /api/bugReport /api/deadTrack /api/debugInfo /api/reportRefresh /call-quality-feedback
        /p2pcf /parties/rooms/{room}
        /partytracks/generate-ice-servers /partytracks/sessions/new /partytracks/sessions/{sessionId}
        /partytracks/sessions/{sessionId}/datachannels/close /partytracks/sessions/{sessionId}/datachannels/establish
        /partytracks/sessions/{sessionId}/datachannels/new /partytracks/sessions/{sessionId}/datachannels/update
        /partytracks/sessions/{sessionId}/renegotiate /partytracks/sessions/{sessionId}/tracks/close
        /partytracks/sessions/{sessionId}/tracks/new /partytracks/sessions/{sessionId}/tracks/update
        /peerjs /peerjs/id /peerjs/peerjs /peerjs/{key}/id /peerjs/{key}/peers /set-username /signaling /yjs";
    assert_eq!(described, expected.split_whitespace().collect());
}

/// The operations of a document: `operationId` and description.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.values().flat_map(|item| item.as_object().unwrap().values());
    operations.map(|said| (said["operationId"].as_str().unwrap(), said))
}

#[test]
fn every_operation_has_a_unique_name_a_described_group_and_a_short_summary() {
    let document = document();
    let mut operation_names = HashSet::new();
    for (name, said) in operations(&document) {
        assert!(operation_names.insert(name) && !name.contains('_'), "{name}: as JavaScript writes it");
        let tag = &said["tags"][0];
        let group = document["tags"].as_array().unwrap().iter().find(|group| group["name"] == *tag).unwrap();
        assert!(!group["description"].as_str().unwrap().is_empty(), "{tag}");
        let summary = said["summary"].as_str().unwrap();
        let is_short = summary.ends_with('.') && summary.len() < 110 && !summary.contains('\n');
        assert!(is_short, "{name}: {summary}");
        let mut names = HashSet::new();
        for parameter in said["parameters"].as_array().into_iter().flatten() {
            assert!(names.insert(&parameter["name"]), "{name}: {} twice", parameter["name"]);
            assert!(parameter["description"].is_string(), "{name}: {}", parameter["name"]);
        }
    }
}

#[test]
fn an_operation_lists_the_responses_of_the_layers_around_it() {
    let document = document();
    for (name, said) in operations(&document).filter(|(_, said)| !is_of_signaling(&said["tags"][0])) {
        let answers = &said["responses"];
        let says = |status: &str, code: &str| {
            answers[status]["description"].as_str().is_some_and(|text| text.contains(&format!("`{code}`")))
        };
        let group = said["tags"][0].as_str().unwrap();
        let is_guarded = !matches!(group, "health" | "browser");
        let mints = group == "credentials" || name.starts_with("generateIce");
        let takes_token = matches!(group, "operator" | "connections" | "credentials" | "cloudflare");
        let has_origin_rule = group == "credentials";
        for (status, code, expected) in [
            ("503", "OVERLOADED", is_guarded),
            ("500", "INTERNAL", is_guarded),
            ("421", "MISDIRECTED_REQUEST", group != "health"),
            // Without a Host.
            ("400", "INVALID_REQUEST", true),
            ("413", "PAYLOAD_TOO_LARGE", is_guarded),
            ("401", "UNAUTHORIZED", takes_token),
            ("403", "ORIGIN_NOT_ALLOWED", has_origin_rule),
            ("429", "BUDGET_EXHAUSTED", mints),
        ] {
            assert_eq!(says(status, code), expected, "{name}: {status} {code}");
        }
        assert!(group != "operator" || says("404", "NOT_FOUND"), "{name}");
        for status in ["429", "503"] {
            let is_there = answers[status].is_object();
            assert_eq!(answers[status]["headers"]["Retry-After"].is_object(), is_there, "{name}: {status}");
        }
        for header in ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"] {
            let is_there = |status: &str| answers[status]["headers"][header].is_object();
            assert_eq!(["200", "201", "204"].into_iter().any(is_there), mints, "{name}: {header}");
        }
    }
}

/// Tools make the example of a response from those of its fields.
#[test]
fn every_text_and_number_of_a_schema_has_an_example() {
    let document = document();
    let mut without = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (field, of) in schema["properties"].as_object().into_iter().flatten() {
            let kinds = of["type"].as_array().map_or(std::slice::from_ref(&of["type"]), Vec::as_slice);
            let is_value =
                kinds.iter().any(|kind| matches!(kind.as_str(), Some("string" | "integer" | "number")));
            if is_value && of.get("example").is_none() && of["enum"].is_null() {
                without.push(format!("{name}.{field}"));
            }
        }
    }
    assert_eq!(without, [""; 0], "add `example` to the attribute of the field");
}
