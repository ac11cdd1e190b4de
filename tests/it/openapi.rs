//! The `OpenAPI` document: it describes every route and every response of the layers around it. Its snapshot has the rest (src/router).
//! tests/api compares it with the responses.

use std::collections::{BTreeSet, HashSet};

use crate::support::{Answer, StateDir, TestBroker};
use serde_json::{Value, json};

async fn document(settings: &[(&str, &str)]) -> Value {
    TestBroker::start(settings).await.get("/openapi.json").await.json()
}

/// The schema of one parameter of `GET path`.
fn parameter(document: &Value, path: &str, name: &str) -> Value {
    let mut parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap().iter();
    parameters.find(|parameter| parameter["name"] == name).unwrap()["schema"].clone()
}

#[tokio::test]
async fn a_mint_is_described_with_the_longest_life_and_the_keys_of_this_process() {
    let keys = "us=key-us:token-of-us-fixture,eu=key-eu:token-of-eu-fixture";
    let settings =
        [("TURN_TTL_SECONDS", "7200"), ("DOORS", "turn,matrix,ice"), ("CLOUDFLARE_TURN_KEYS", keys)];
    let described = document(&settings).await;
    for path in [
        "/api/turn-credentials",
        "/turn",
        "/_matrix/client/v3/voip/turnServer",
        "/_matrix/client/r0/voip/turnServer",
        "/_matrix/client/unstable/voip/turnServer",
        "/_matrix/client/api/v1/voip/turnServer",
        "/ice",
    ] {
        let ttl = parameter(&described, path, "ttl");
        assert_eq!((&ttl["minimum"], &ttl["maximum"]), (&json!(60), &json!(7_200)), "{path}");
        assert_eq!(parameter(&described, path, "region")["enum"], json!(["eu", "us", ""]), "{path}");
    }
    let without = document(&[]).await;
    assert_eq!(parameter(&without, "/api/turn-credentials", "region")["enum"], json!([""]));
}

#[tokio::test]
async fn a_path_that_is_not_served_is_left_out_with_the_schemas_that_only_it_uses() {
    for (formats, has_turn, has_ice) in
        [("", false, false), ("turn", true, false), ("matrix", true, false), ("turn,ice", true, true)]
    {
        let document = document(&[("DOORS", formats)]).await;
        assert_eq!(document["paths"]["/turn"].is_object(), formats.contains("turn"), "{formats}");
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert_eq!(schemas.contains_key("TurnRestBody"), has_turn, "{formats}");
        assert_eq!(schemas.contains_key("StunnerBody"), has_ice, "{formats}");
        let text = document.to_string();
        let references = text.split("\"#/components/schemas/").skip(1);
        let referred: BTreeSet<_> = references.map(|text| text.split('"').next().unwrap()).collect();
        assert_eq!(referred, schemas.keys().map(String::as_str).collect(), "{formats}");
    }
}

/// Signaling, where its paths are settings.
const SIGNALING: [(&str, &str); 7] = [
    ("SIGNALING", "ayame,p2pcf,peerjs,reports,rooms,sfu,yjs"),
    ("P2PCF_PATH", "/polls"),
    ("SFU_PREFIXES", "/sfu,/api/calls"),
    ("CALLS_APP_ID", "app"),
    ("CALLS_APP_SECRET", "secret"),
    ("FEEDBACK_URL", "https://chat.example/hook"),
    ("CALLS_API_URL", "http://127.0.0.1:9/v1"),
];

#[tokio::test]
async fn every_route_of_signaling_is_described_where_it_is_served() {
    let reports = StateDir::new();
    let broker = TestBroker::start(&[&SIGNALING[..], &[("REPORTS_DIR", reports.path())]].concat()).await;
    let (with, without) = (broker.get("/openapi.json").await.json(), document(&[]).await);
    let mut described = BTreeSet::new();
    let mut names = HashSet::new();
    for (path, item) in with["paths"].as_object().unwrap() {
        if without["paths"][path].is_object() {
            continue;
        }
        described.insert(path.as_str());
        let example = path.replace("{room}", "r").replace("{key}", "peerjs").replace("{sessionId}", "s1");
        for (method, operation) in item.as_object().unwrap() {
            assert!(names.insert(operation["operationId"].clone()), "{method} {path}: the name is taken");
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
        /parties/rooms/{room} /peerjs /peerjs/peerjs /peerjs/{key}/id /peerjs/{key}/peers /polls /set-username
        /sfu/generate-ice-servers /sfu/sessions/new /sfu/sessions/{sessionId}
        /sfu/sessions/{sessionId}/datachannels/close /sfu/sessions/{sessionId}/datachannels/establish
        /sfu/sessions/{sessionId}/datachannels/new /sfu/sessions/{sessionId}/datachannels/update
        /sfu/sessions/{sessionId}/renegotiate /sfu/sessions/{sessionId}/tracks/close
        /sfu/sessions/{sessionId}/tracks/new /sfu/sessions/{sessionId}/tracks/update /signaling /yjs";
    let calls = expected.replace("/sfu/", "/api/calls/");
    let expected = expected.split_whitespace();
    assert_eq!(described, expected.chain(calls.split_whitespace()).collect());
}

/// Tools that show it are pages of other origins.
#[tokio::test]
async fn every_page_may_read_the_document() {
    let broker = TestBroker::start(&[]).await;
    let answer = broker.get_with("/openapi.json", &[("origin", "https://tool.example")]).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

/// The document of a broker with all wire formats.
async fn with_all_doors() -> Value {
    let keys = ("SERVER_KEYS", "app=0123456789-0123456789-0123456789");
    document(&[("DOORS", "turn,matrix,ice,cloudflare"), keys]).await
}

/// The operations of a document: `operationId` and description.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.values().flat_map(|item| item.as_object().unwrap().values());
    operations.map(|said| (said["operationId"].as_str().unwrap(), said))
}

#[tokio::test]
async fn every_operation_has_a_unique_name_a_described_group_and_a_short_summary() {
    let document = with_all_doors().await;
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

#[tokio::test]
async fn an_operation_lists_the_responses_of_the_layers_around_it() {
    for (name, said) in operations(&with_all_doors().await) {
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
            assert_eq!(is_there("200") || is_there("201"), mints, "{name}: {header}");
        }
    }
}

/// Tools make the example of a response from those of its fields.
#[tokio::test]
async fn every_text_and_number_of_a_schema_has_an_example() {
    let document = with_all_doors().await;
    let mut without = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (field, of) in schema["properties"].as_object().unwrap() {
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
