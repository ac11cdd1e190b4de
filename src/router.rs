//! The one table of routes: every path, who may call it, and what stands around it. The `OpenAPI` document is made from
//! the same table, so a route cannot be served and not described.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Response};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::app::App;
use crate::config::WireFormat;
use crate::http::error::ApiError;
use crate::http::renewal;
use crate::http::{
    alerts, bandwidth_status, body, connections, credentials, envelope, health, metrics, openapi, operator,
    origin, overrides, overview, wire_formats,
};
use crate::web::{self, pages};

/// Everything that is served.
pub fn build(app: &Arc<App>) -> Router {
    // Pages mint: foreign origins and too many requests are turned away before the handler.
    let mut mint = OpenApiRouter::new()
        .routes(routes!(credentials::get_credentials).map(|route| get_only(limited(route, app))));
    for format in &app.wire_formats {
        let route = match format {
            WireFormat::Turn => routes!(wire_formats::get_turn),
            WireFormat::Matrix => routes!(wire_formats::get_matrix),
            WireFormat::Ice => routes!(wire_formats::get_ice),
        };
        mint = mint.routes(route.map(|route| get_only(limited(route, app))));
    }
    openapi::describe_mint(mint.get_openapi_mut());

    // Pages and app servers: a token decides, where there is one.
    let mut reports = OpenApiRouter::new()
        .routes(routes!(connections::open_connection))
        .routes(routes!(connections::heartbeat_connection))
        .routes(routes!(connections::close_connection))
        .routes(routes!(connections::delete_connection));
    openapi::describe_reports(reports.get_openapi_mut());

    let status = OpenApiRouter::new().routes(routes!(bandwidth_status::get_status));

    // The operator: these do not exist without an OPERATOR_TOKEN.
    let mut overrides = OpenApiRouter::new()
        .routes(routes!(overrides::override_limit).map(|route| operators_own(route, app)))
        .routes(routes!(overrides::override_freeze).map(|route| operators_own(route, app)))
        .routes(routes!(overrides::revoke_credential).map(|route| operators_own(route, app)));
    openapi::describe_overrides(overrides.get_openapi_mut());
    let mut operator = overrides
        .routes(routes!(operator::list_connections).map(|route| for_operator(route, app)))
        .routes(routes!(operator::get_usage).map(|route| operators_own(route, app)))
        .routes(routes!(overview::get_overview).map(|route| operators_own(route, app)))
        .routes(routes!(alerts::get_alerts).map(|route| operators_own(route, app)))
        .routes(routes!(metrics::get_metrics).map(|route| operators_own(route, app)));
    openapi::describe_operator(operator.get_openapi_mut());

    // Whoever runs the container: never shed.
    let health = OpenApiRouter::new().routes(routes!(health::get_health)).routes(routes!(health::get_ready));

    // Any page: code, not data.
    let mut web = OpenApiRouter::new()
        .routes(routes!(web::get_turn_client))
        .routes(routes!(web::get_turn_client_types))
        .routes(routes!(pages::get_dashboard).map(|route| with_operator(route, app)))
        .routes(routes!(pages::get_dashboard_file).map(|route| with_operator(route, app)))
        .routes(routes!(pages::get_relay_check))
        .routes(routes!(pages::get_relay_check_file))
        .routes(routes!(pages::get_docs))
        .routes(routes!(pages::get_docs_file));
    if app.is_demo {
        web = web.routes(routes!(pages::get_demo)).routes(routes!(pages::get_demo_file));
    }

    let foreign = from_fn_with_state(Arc::clone(app), origin::refuse_foreign);
    let (served, mut document) = OpenApiRouter::with_openapi(openapi::head())
        .merge(guarded(mint, app).layer(foreign))
        .merge(guarded(status.merge(reports).merge(operator), app))
        .merge(health)
        .merge(web)
        .split_for_parts();
    openapi::describe_waits(&mut document);
    let document = openapi::Document::from(&document);
    served
        .route("/openapi.json", get(async move || openapi::get_document(document.clone())))
        .fallback(async || ApiError::NotFound)
        .layer(from_fn_with_state(Arc::clone(app), envelope::envelope))
        .with_state(Arc::clone(app))
}

/// A panic and an overload are answers that an allowed page may read. Nothing is under way before its body is there.
fn guarded(mut routes: OpenApiRouter<Arc<App>>, app: &Arc<App>) -> OpenApiRouter<Arc<App>> {
    openapi::describe_guard(routes.get_openapi_mut());
    // The outermost first. Added one by one, each would cost every request a boxed service and a boxed future.
    let layers = ServiceBuilder::new()
        .layer(origin::cors(&app.origins))
        .layer(from_fn(body::gather))
        .layer(from_fn_with_state(Arc::clone(app), envelope::shed))
        .layer(CatchPanicLayer::custom(on_panic(app)));
    routes.layer(layers)
}

type Route = MethodRouter<Arc<App>>;

fn limited(route: Route, app: &Arc<App>) -> Route {
    route
        .route_layer(app.rate_limit.layer(|rejected| ApiError::from(rejected).into_response()))
        .route_layer(map_response(app.rate_limit.standard_headers()))
        .route_layer(from_fn_with_state(Arc::clone(app), renewal::recognise))
}

/// A HEAD would mint and throw away.
fn get_only(route: Route) -> Route {
    let refuse = async || ApiError::MethodNotAllowed { allow: Some(HeaderValue::from_static("GET")) };
    route.head(refuse).fallback(refuse)
}

/// No method of it exists without a token.
fn operators_own(route: Route, app: &Arc<App>) -> Route {
    route.layer(from_fn_with_state(Arc::clone(app), operator::require_operator))
}

/// Without a token it does not exist; with one anybody may ask.
fn with_operator(route: Route, app: &Arc<App>) -> Route {
    route.layer(from_fn_with_state(Arc::clone(app), pages::only_with_operator))
}

/// The path is shared with methods that are for others.
fn for_operator(route: Route, app: &Arc<App>) -> Route {
    route.route_layer(from_fn_with_state(Arc::clone(app), operator::require_operator))
}

fn on_panic(
    app: &Arc<App>,
) -> impl Fn(Box<dyn Any + Send>) -> Response<Body> + Clone + Send + Sync + 'static {
    let app = Arc::clone(app);
    move |_| envelope::panicked(&app)
}
