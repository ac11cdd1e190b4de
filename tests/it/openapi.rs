//! The `OpenAPI` document: it describes every route and every response of the layers around it. tests/api
//! compares it with the responses.

use std::collections::{BTreeSet, HashSet};

use crate::support::{Answer, StateDir, TestBroker};
use serde_json::{Value, json};

/// Every wire format.
const ALL_DOORS: [(&str, &str); 2] =
    [("DOORS", "turn,matrix,ice,cloudflare"), ("SERVER_KEYS", "app=0123456789-0123456789-0123456789")];

/// The schema of one parameter of `GET path`, or of the first of its methods.
fn parameter(document: &Value, path: &str, name: &str) -> Value {
    let operation = document["paths"][path].as_object().unwrap().values().next().unwrap();
    let mut parameters = operation["parameters"].as_array().unwrap().iter();
    parameters.find(|parameter| parameter["name"] == name).unwrap()["schema"].clone()
}

#[tokio::test]
async fn a_mint_is_described_with_the_longest_life_and_the_keys_of_this_process() {
    let keys = "us=key-us:token-of-us-fixture,eu=key-eu:token-of-eu-fixture";
    let settings =
        [("TURN_TTL_SECONDS", "7200"), ("DOORS", "turn,matrix,ice"), ("CLOUDFLARE_TURN_KEYS", keys)];
    let document = TestBroker::start(&settings).await.get("/openapi.json").await.json();
    for path in ["/api/turn-credentials", "/turn", "/_matrix/client/v3/voip/turnServer", "/ice"] {
        let ttl = parameter(&document, path, "ttl");
        assert_eq!((&ttl["minimum"], &ttl["maximum"]), (&json!(60), &json!(7_200)), "{path}");
        assert_eq!(parameter(&document, path, "region")["enum"], json!(["eu", "us", ""]), "{path}");
    }
    let document = TestBroker::start(&[]).await.get("/openapi.json").await.json();
    assert_eq!(parameter(&document, "/api/turn-credentials", "region")["enum"], json!([""]));
}

#[tokio::test]
async fn a_path_that_is_not_served_is_left_out_with_the_schemas_that_only_it_uses() {
    for (formats, has_turn, has_ice) in
        [("", false, false), ("turn", true, false), ("matrix", true, false), ("turn,ice", true, true)]
    {
        let answer = TestBroker::start(&[("DOORS", formats)]).await.get("/openapi.json").await;
        let document = answer.json();
        assert_eq!(document["paths"]["/turn"].is_object(), formats.contains("turn"), "{formats}");
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert_eq!(schemas.contains_key("TurnRestBody"), has_turn, "{formats}");
        assert_eq!(schemas.contains_key("StunnerBody"), has_ice, "{formats}");
        let references = answer.text.split("\"#/components/schemas/").skip(1);
        let referred: BTreeSet<_> = references.map(|text| text.split('"').next().unwrap()).collect();
        assert_eq!(referred, schemas.keys().map(String::as_str).collect(), "{formats}");
    }
}

/// Signaling, where its paths are settings.
const SIGNALING: [(&str, &str); 7] = [
    ("SIGNALING", "ayame,p2pcf,peerjs,reports,rooms,sfu,yjs"),
    ("P2PCF_PATH", "/polls"),
    ("SFU_PREFIXES", "/sfu"),
    ("CALLS_APP_ID", "app"),
    ("CALLS_APP_SECRET", "secret"),
    ("FEEDBACK_URL", "https://chat.example/hook"),
    ("CALLS_API_URL", "http://127.0.0.1:9/v1"),
];

#[tokio::test]
async fn every_route_of_signaling_is_described_where_it_is_served() {
    let reports = StateDir::new();
    let broker = TestBroker::start(&[&SIGNALING[..], &[("REPORTS_DIR", reports.path())]].concat()).await;
    let document = broker.get("/openapi.json").await.json();
    let without = TestBroker::start(&[]).await.get("/openapi.json").await.json();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        if without["paths"][path].is_object() {
            continue;
        }
        described.insert(path.as_str());
        let example = path.replace("{room}", "r").replace("{key}", "peerjs").replace("{sessionId}", "s1");
        for method in item.as_object().unwrap().keys() {
            let method: reqwest::Method = method.to_uppercase().parse().unwrap();
            let answer = broker.send(method.clone(), &example).await;
            let is_served = !answer.text.contains("\"NOT_FOUND\"") && answer.status != 405;
            assert!(is_served, "{method} {path}: {} {}", answer.status, answer.text);
            let status = answer.status.as_str();
            assert!(
                item[method.as_str().to_lowercase()]["responses"][status].is_object(),
                "{method} {path}: {status}"
            );
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
    assert_eq!(described, expected.split_whitespace().collect());
}

/// Tools that show it are pages of other origins.
#[tokio::test]
async fn every_page_may_read_the_document() {
    let broker = TestBroker::start(&[]).await;
    let request =
        broker.request(reqwest::Method::GET, "/openapi.json").header("origin", "https://tool.example");
    assert_eq!(Answer::of(request).await.header("access-control-allow-origin"), Some("*"));
}

/// The operations of a broker with all wire formats: `operationId` and description.
async fn described() -> Vec<(String, Value)> {
    let broker = TestBroker::start(&ALL_DOORS).await;
    let document = broker.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.values().flat_map(|item| item.as_object().unwrap().values().cloned());
    operations.map(|said| (said["operationId"].as_str().unwrap().to_owned(), said)).collect()
}

#[tokio::test]
async fn every_operation_has_a_unique_name_a_described_group_and_a_short_summary() {
    let broker = TestBroker::start(&[]).await;
    let tags = broker.get("/openapi.json").await.json()["tags"].clone();
    let operations = described().await;
    let mut names: Vec<_> = operations.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), operations.len());
    for (name, said) in operations {
        assert!(!name.contains('_'), "{name}: as JavaScript writes it");
        let tag = &said["tags"][0];
        let group = tags.as_array().unwrap().iter().find(|group| group["name"] == *tag).unwrap();
        assert!(!group["description"].as_str().unwrap().is_empty(), "{tag}");
        let summary = said["summary"].as_str().unwrap();
        assert!(
            summary.ends_with('.') && summary.len() < 110 && !summary.contains('\n'),
            "{name}: {summary}"
        );
        let mut names = HashSet::new();
        for parameter in said["parameters"].as_array().into_iter().flatten() {
            assert!(names.insert(&parameter["name"]), "{name}: {} twice", parameter["name"]);
            assert!(parameter["description"].is_string(), "{name}: {}", parameter["name"]);
        }
    }
}

#[tokio::test]
async fn an_operation_lists_the_responses_of_the_layers_around_it() {
    for (name, said) in described().await {
        let answers = &said["responses"];
        let says = |status: &str, code: &str| {
            answers[status]["description"].as_str().is_some_and(|text| text.contains(&format!("`{code}`")))
        };
        let group = said["tags"][0].as_str().unwrap();
        let is_guarded = !matches!(group, "health" | "browser");
        let mints = group == "credentials" || name.starts_with("generateIce");
        assert_eq!(says("503", "OVERLOADED"), is_guarded, "{name}");
        assert_eq!(says("500", "INTERNAL"), is_guarded, "{name}");
        assert_eq!(says("421", "MISDIRECTED_REQUEST"), group != "health", "{name}");
        assert!(says("400", "INVALID_REQUEST"), "{name}: without a Host");
        assert_eq!(says("413", "PAYLOAD_TOO_LARGE"), said["requestBody"].is_object(), "{name}");
        assert_eq!(
            says("401", "UNAUTHORIZED"),
            matches!(group, "operator" | "connections" | "credentials" | "cloudflare"),
            "{name}"
        );
        let has_origin_rule = matches!(group, "credentials" | "cloudflare");
        assert_eq!(says("403", "ORIGIN_NOT_ALLOWED"), has_origin_rule, "{name}");
        assert_eq!(says("429", "BUDGET_EXHAUSTED"), mints, "{name}");
        if group == "operator" {
            assert!(says("404", "NOT_FOUND"), "{name}");
        }
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
    let broker = TestBroker::start(&ALL_DOORS).await;
    let document = broker.get("/openapi.json").await.json();
    let mut without = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (field, of) in schema["properties"].as_object().unwrap() {
            let kinds =
                [of["type"].clone()].into_iter().chain(of["type"].as_array().cloned().unwrap_or_default());
            let is_value =
                kinds.into_iter().any(|kind| matches!(kind.as_str(), Some("string" | "integer" | "number")));
            if is_value && of.get("example").is_none() && of["enum"].is_null() {
                without.push(format!("{name}.{field}"));
            }
        }
    }
    assert_eq!(without, [""; 0], "add `example` to the attribute of the field");
}
