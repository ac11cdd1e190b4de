//! The table of routes: every path, who may call it, and the layers around it. The `OpenAPI` document is generated from this
//! table, so every route in it is described.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::HeaderValue;
use axum::http::header::ALLOW;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use tower::ServiceBuilder;
use tower_http::validate_request::ValidateRequestHeaderLayer;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::app::App;
use crate::app::process::Standby;
use crate::config::WireFormat;
use crate::http::{
    alerts, backup, bandwidth_status, calls_live, connections, credentials, envelope, health, metrics,
    openapi, operator, origin, overrides, overview, spenders, standby, unknown, users, wire_formats,
};
use crate::web;
use crate::web::{navigation, pages};
use turn_base::body::BodyLimit;
use turn_base::error::ApiError;
use turn_signaling_server::{p2pcf, peerjs, polls, reports, rooms, routes};

/// All routes with their layers.
pub fn build(app: &Arc<App>) -> Router {
    // For pages that mint. Foreign origins are rejected before the handler.
    let mut mint = OpenApiRouter::new().routes(routes!(credentials::get_turn_credentials).map(get_only));
    for format in &app.wire_formats {
        let route = match format {
            WireFormat::Turn => routes!(wire_formats::get_turn_rest_credentials),
            WireFormat::Matrix => routes!(wire_formats::get_matrix_turn_server),
            WireFormat::Ice => routes!(wire_formats::get_stunner_ice),
        };
        mint = mint.routes(route.map(get_only));
    }
    openapi::describe_mint(mint.get_openapi_mut(), app);

    // Pages and app servers: the handler checks the token.
    let mut reports = OpenApiRouter::new()
        .routes(routes!(connections::open_connection))
        .routes(routes!(connections::heartbeat_connection))
        .routes(routes!(connections::close_connection))
        .routes(routes!(connections::delete_connection));
    openapi::describe_group(
        reports.get_openapi_mut(),
        "connections",
        &["grant", "reporter"],
        &openapi::REPORT_ERRORS,
    );

    let mut status = OpenApiRouter::new().routes(routes!(bandwidth_status::get_bandwidth_status));
    openapi::describe_group(status.get_openapi_mut(), "budget", &[], &[]);

    // The operator: without an OPERATOR_TOKEN these routes do not exist.
    let mut overrides = OpenApiRouter::new()
        .routes(routes!(overrides::set_limit).map(|route| operator_path(route, app)))
        .routes(routes!(overrides::set_frozen).map(|route| operator_path(route, app)))
        .routes(routes!(overrides::drop_reading).map(|route| operator_path(route, app)))
        .routes(routes!(overrides::revoke_credential).map(|route| operator_path(route, app)))
        .routes(routes!(users::revoke_user).map(|route| operator_path(route, app)))
        .routes(routes!(calls_live::end_room).map(|route| operator_path(route, app)))
        .routes(routes!(users::block_user, users::unblock_user).map(|route| operator_path(route, app)));
    openapi::describe_overrides(overrides.get_openapi_mut());
    let mut operator = overrides
        .routes(routes!(operator::list_connections).map(|route| operator_method(route, app)))
        .routes(routes!(calls_live::list_live_calls).map(|route| operator_path(route, app)))
        .routes(routes!(spenders::list_spenders).map(|route| operator_path(route, app)))
        .routes(routes!(spenders::list_grants).map(|route| operator_path(route, app)))
        .routes(routes!(operator::get_usage).map(|route| operator_path(route, app)))
        .routes(routes!(overview::get_overview).map(|route| operator_path(route, app)))
        .routes(routes!(alerts::get_alerts).map(|route| operator_path(route, app)))
        .routes(routes!(overrides::list_actions).map(|route| operator_path(route, app)))
        .routes(routes!(backup::get_backup).map(|route| operator_path(get_only(route), app)))
        .routes(routes!(metrics::get_metrics).map(|route| operator_path(route, app)));
    openapi::describe_group(operator.get_openapi_mut(), "operator", &["operator"], &openapi::OPERATOR_ERRORS);

    // Health checks: never rejected because of overload.
    let mut health = OpenApiRouter::new()
        .routes(routes!(health::get_health))
        .routes(routes!(health::get_ready))
        .routes(routes!(health::get_leader));
    openapi::describe_group(health.get_openapi_mut(), "health", &[], &[]);

    // Static files for any page.
    let mut web = OpenApiRouter::new();
    let listed = pages::served(app);
    let demo = app.is_demo.then_some(&pages::DEMO);
    let public = [&pages::RELAY_CHECK, &pages::DOCS].into_iter().chain(demo);
    let public = public.flat_map(|page| page.routes(&listed));
    let dashboard = pages::DASHBOARD.routes(&listed).map(|route| route.map(|route| if_operator(route, app)));
    for route in web::module().into_iter().chain(dashboard).chain(public) {
        web = web.routes(route);
    }

    let mut api = status.merge(reports).merge(operator);
    for routes in [&mut mint, &mut api] {
        openapi::describe_guard(routes.get_openapi_mut());
    }
    // The outermost first. CORS is outside, so an allowed page can read the response to an overload or a panic. Added one by one, each
    // layer would cost every request a boxed service and a boxed future.
    let guard = || {
        ServiceBuilder::new()
            .layer(origin::cors(&app.origins))
            .layer(from_fn_with_state((Arc::clone(app), BodyLimit::SHORT), envelope::admit))
            .layer(envelope::catch_panic(app))
    };
    let foreign = check(app, origin::refuse_foreign);
    let (served, mut document) = OpenApiRouter::with_openapi(openapi::head())
        .merge(mint.layer(ServiceBuilder::new().layer(foreign).layer(guard())))
        .merge(api.layer(guard()))
        .merge(health)
        .merge(web)
        .split_for_parts();
    openapi::describe_heads(&mut document);
    openapi::describe_waits(&mut document);
    let document = openapi::Document::from(&document);
    served
        .route("/", navigation::start(&listed))
        .route("/openapi.json", get(async move || openapi::get_open_api(document.clone())))
        .merge(sockets(app))
        .merge(reported(app))
        .merge(sfu(app))
        .merge(p2pcf(app))
        .fallback(unknown::unknown.layer(origin::cors(&app.origins)))
        .layer(from_fn_with_state(Arc::clone(app), envelope::envelope))
        .with_state(Arc::clone(app))
}

/// The routes of a standby: what a replica says of itself. It forwards everything else, also other methods of these paths.
pub fn standby(standby: &Arc<Standby>) -> Router {
    let own = |route: MethodRouter<Arc<Standby>>| route.fallback(standby::forward);
    Router::new()
        .route("/health", own(get(standby::get_health)))
        .route("/ready", own(get(standby::get_ready)))
        .route("/leader", own(get(standby::get_leader)))
        .route("/metrics", own(get(standby::get_metrics)))
        .fallback(standby::forward)
        .layer(from_fn_with_state(Arc::clone(standby), standby::envelope))
        .with_state(Arc::clone(standby))
}

/// The proxy of the SFU, whose calls have CORS headers of their own.
fn sfu(app: &Arc<App>) -> Router<Arc<App>> {
    let layers =
        ServiceBuilder::new().layer(origin::sfu_cors(&app.origins)).layer(envelope::catch_panic(app));
    let routes = app.sfu.as_ref().map(turn_sfu_proxy::routes::routes).unwrap_or_default();
    routes.layer(layers).layer(check(app, origin::refuse_foreign))
}

/// The protocols with sockets. A panic in one of them is an error response.
fn sockets(app: &Arc<App>) -> Router<Arc<App>> {
    let admit = from_fn_with_state((Arc::clone(app), BodyLimit::SHORT), envelope::admit);
    let readable = ServiceBuilder::new().layer(from_fn(peerjs::readable)).layer(envelope::catch_panic(app));
    routes::sockets(&app.signaling)
        .merge(rooms::set_username(&app.signaling).layer(admit))
        .merge(peerjs::routes(&app.signaling).layer(readable))
        .layer(envelope::catch_panic(app))
        .layer(check(app, origin::refuse_foreign))
}

/// Reports: pages send them, and people open a kept one from a chat.
fn reported(app: &Arc<App>) -> Router<Arc<App>> {
    let layers = ServiceBuilder::new().layer(origin::cors(&app.origins)).layer(envelope::catch_panic(app));
    let kept = reports::routes::kept(&app.signaling).layer(envelope::catch_panic(app));
    reports::routes::routes(&app.signaling)
        .layer(layers)
        .layer(check(app, origin::refuse_foreign))
        .merge(kept)
}

/// P2PCF, with layers like those of the API, but another rule about origins, a rate of its own and longer bodies.
fn p2pcf(app: &Arc<App>) -> Router<Arc<App>> {
    let limit = BodyLimit::long(turn_signaling::p2pcf::BODY_MAX, &app.long_bodies);
    let layers = ServiceBuilder::new()
        .layer(map_response(async |response| p2pcf::readable(response)))
        .layer(from_fn_with_state(Arc::clone(&app.signaling), polls::limit))
        .layer(from_fn_with_state((Arc::clone(app), limit), envelope::admit))
        .layer(envelope::catch_panic(app));
    p2pcf::routes(&app.signaling).layer(layers)
}

type Route = MethodRouter<Arc<App>>;

/// A layer that passes on what a rule lets through. It costs a request no boxed future.
#[expect(clippy::result_large_err, reason = "tower-http chooses the type")]
fn check<E: IntoResponse + 'static>(
    app: &Arc<App>,
    rule: fn(&App, &Request) -> Result<(), E>,
) -> ValidateRequestHeaderLayer<
    impl FnMut(&mut Request) -> Result<(), Response> + Clone + Send + Sync + 'static,
> {
    let app = Arc::clone(app);
    ValidateRequestHeaderLayer::custom(move |request: &mut Request| {
        rule(&app, request).map_err(IntoResponse::into_response)
    })
}

/// Only GET: a HEAD would do the work and discard its result, such as a credential. `any` adds no `Allow`, also not to the response to a
/// preflight. axum's own would name HEAD.
fn get_only(route: Route) -> Route {
    let refuse = async || ([(ALLOW, HeaderValue::from_static("GET"))], ApiError::method_not_allowed());
    any(refuse).head(refuse).merge(route)
}

/// Every method of the path needs the operator's token.
fn operator_path(route: Route, app: &Arc<App>) -> Route {
    route.layer(check(app, operator::require_operator))
}

/// Public, but only while `OPERATOR_TOKEN` is set.
fn if_operator(route: Route, app: &Arc<App>) -> Route {
    route.layer(check(app, pages::only_with_operator))
}

/// One method needs the operator's token. The path also has methods for other callers.
fn operator_method(route: Route, app: &Arc<App>) -> Route {
    route.route_layer(check(app, operator::require_operator))
}
