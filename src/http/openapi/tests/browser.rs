//! The files for browsers. Their handlers get no description of their own: there is one for each page, and one for its files.

use utoipa::PartialSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, Paths};
use utoipa::openapi::{Content, Ref, Required, Response, ResponseBuilder};

/// Path, `operationId`, summary, what the response is, and its type.
const MODULE: [[&str; 5]; 3] = [
    [
        "/turn-client.js",
        "getTurnClient",
        "The browser module: credentials, renewal, reports.",
        "An ES module, for any origin",
        "text/javascript",
    ],
    [
        "/turn-client.d.ts",
        "getTurnClientTypes",
        "TypeScript types of the browser module.",
        "TypeScript declarations, for any origin",
        "application/typescript",
    ],
    [
        "/turn-client.tgz",
        "getTurnClientPackage",
        "The browser module as an npm package of the broker's version: `npm install https://BROKER/turn-client.tgz`.",
        "A gzipped tar archive, for any origin",
        "application/gzip",
    ],
];

/// Path, `operationId` and summary. The `operationId` of the page's files ends in `File`.
const PAGES: [[&str; 3]; 3] = [
    [DASHBOARD, "getDashboard", "The operator's page. It has no data before the operator enters the token."],
    [
        "/relay-check",
        "getRelayCheck",
        "A page that tests every ICE server from this browser. Each check mints credentials.",
    ],
    [
        "/demo",
        "getDemo",
        "A call of two windows over the broker's own signaling and relay, and its effect on the budget. With `turn-broker demo` only.",
    ],
];

/// The page that exists only with an `OPERATOR_TOKEN`.
const DASHBOARD: &str = "/dashboard";

/// The module, the pages and their files.
pub(super) fn files() -> Paths {
    let mut paths = Paths::new();
    let mut add = |path: &str, operation| paths.add_path_operation(path, vec![HttpMethod::Get], operation);
    for [path, id, summary, description, content_type] in MODULE {
        add(path, operation(id, summary, description, content_type));
    }
    for [path, id, summary] in PAGES {
        let mut page = operation(id, summary, "A page", "text/html");
        if path == DASHBOARD {
            page = page.response("404", not_found("there is no `OPERATOR_TOKEN`"));
        }
        add(path, page);
        add(&format!("{path}/{{file}}"), file(&format!("{id}File")));
    }
    paths
}

/// Describes a `GET` that serves a file with an `ETag`.
fn operation(id: &str, summary: &str, description: &str, content_type: &str) -> OperationBuilder {
    let text = ResponseBuilder::new().description(description);
    let unchanged = ResponseBuilder::new().description("`If-None-Match` names this version");
    OperationBuilder::new()
        .operation_id(Some(id))
        .tag("browser")
        .summary(Some(summary))
        .response("200", text.content(content_type, Content::new(Some(String::schema()))).build())
        .response("304", unchanged.build())
}

fn file(id: &str) -> OperationBuilder {
    let name = ParameterBuilder::new()
        .name("file")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The file's name in the page"))
        .schema(Some(String::schema()))
        .example(Some("main.js".into()));
    operation(id, "The page's scripts and styles.", "A script or a style", "text/javascript")
        .parameter(name)
        .response("404", not_found("the page has no such file."))
}

fn not_found(why: &str) -> Response {
    let body = Content::new(Some(Ref::from_schema_name("ErrorBody")));
    let response = ResponseBuilder::new().description(format!("`NOT_FOUND`: {why}"));
    response.content("application/json", body).build()
}
