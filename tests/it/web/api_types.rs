//! `src/web/api.d.ts`, the types of the responses that the pages read. This test generates the file from `/openapi.json`, and
//! tests/web checks the pages against it. So a page cannot read a field that the broker does not send. The pages name the types
//! in comments only, so no browser loads the file. After a change of a response, write the file again:
//! `UPDATE_API_TYPES=1 cargo test --locked -p turn-broker --test it api_types`.

use std::fmt::Write;

use crate::openapi::{document, is_of_signaling, tag};
use serde_json::Value;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/api.d.ts");

#[test]
fn the_types_of_the_pages_are_those_of_the_document() {
    let mut document = document();
    // No page calls signaling.
    document["paths"].as_object_mut().unwrap().retain(|_, item| !is_of_signaling(tag(item)));
    document["components"]["schemas"].as_object_mut().unwrap().retain(|name, _| !name.starts_with("Sfu"));
    let expected = types(&document);
    if std::env::var_os("UPDATE_API_TYPES").is_some() {
        std::fs::write(PATH, &expected).unwrap();
    }
    let found = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        found == expected,
        "src/web/api.d.ts is not what /openapi.json describes: see tests/it/web/api_types.rs"
    );
}

fn types(document: &Value) -> String {
    let mut text = "// Responses of the broker. Generated from /openapi.json by tests/it/web/api_types.rs. Not sent to browsers.\n".to_owned();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        writeln!(text, "\nexport interface {name} {}", fields(schema)).unwrap();
    }
    for (name, method) in [("Got", "get"), ("Posted", "post")] {
        let about =
            format!("Bodies of responses to `{}`, by path below the broker's URL.", method.to_uppercase());
        writeln!(text, "\n/** {about} */\nexport interface {name} {{\n{}}}", responses(document, method))
            .unwrap();
    }
    text
}

/// The fields of an object, one per line.
fn fields(schema: &Value) -> String {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let lines = schema["properties"].as_object().unwrap().iter().map(|(name, field)| {
        let mark = if required.contains(&name.as_str().into()) { "" } else { "?" };
        format!("  {name}{mark}: {};\n", type_of(field))
    });
    format!("{{\n{}}}", lines.collect::<String>())
}

/// The TypeScript type of a schema.
fn type_of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap().to_owned();
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices.iter().map(type_of).collect::<Vec<_>>().join(" | ");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(|kind| kind_of(kind, schema)).collect::<Vec<_>>().join(" | "),
        kind => kind_of(kind, schema),
    }
}

fn kind_of(kind: &Value, schema: &Value) -> String {
    match kind.as_str() {
        Some(kind @ ("string" | "boolean" | "null")) => kind.to_owned(),
        Some("integer" | "number") => "number".to_owned(),
        Some("array") => format!("Array<{}>", type_of(&schema["items"])),
        Some("object") => format!("Record<string, {}>", type_of(&schema["additionalProperties"])),
        _ => panic!("no type for {schema}"),
    }
}

/// The paths of `method` whose response is described by a schema with a name.
fn responses(document: &Value, method: &str) -> String {
    let mut lines = String::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let operation = &operations[method];
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        if schema["$ref"].is_null() {
            continue;
        }
        let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let has_query = parameters.iter().any(|parameter| parameter["in"] == "query");
        let (path, body) = (path.trim_start_matches('/'), type_of(schema));
        let is_pattern = path.contains('{');
        if !is_pattern {
            writeln!(lines, "  '{path}': {body};").unwrap();
        }
        if is_pattern || has_query {
            let steps = path.split('/').map(|step| if step.starts_with('{') { "${string}" } else { step });
            let query = if has_query { "?${string}" } else { "" };
            writeln!(lines, "  [path: `{}{query}`]: {body};", steps.collect::<Vec<_>>().join("/")).unwrap();
        }
    }
    lines
}
