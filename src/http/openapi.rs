//! The head of the `OpenAPI` document; its paths come from the table of routes.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};

/// Title, version and the three kinds of bearer token.
#[must_use]
pub fn head() -> OpenApi {
    let info = InfoBuilder::new()
        .title("turn-broker")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("TURN credentials for WebRTC, under a monthly bandwidth budget."));
    let components = ComponentsBuilder::new()
        .security_scheme("grant", bearer("The `grant` that came with credentials"))
        .security_scheme("reporter", bearer("REPORTER_TOKEN"))
        .security_scheme("operator", bearer("OPERATOR_TOKEN"));
    OpenApiBuilder::new().info(info.build()).components(Some(components.build())).build()
}

fn bearer(description: &str) -> SecurityScheme {
    SecurityScheme::Http(
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build(),
    )
}
