//! The table of routes: who may call each handler, and the layers around it. `openapi.json` describes every route of the
//! table, except the pages and the older Matrix paths.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::HeaderValue;
use axum::http::header::ALLOW;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use tower::ServiceBuilder;
use tower_http::validate_request::ValidateRequestHeaderLayer;

use crate::app::App;
use crate::app::process::Standby;
use crate::config::WireFormat;
use crate::http::route::{Handlers, Route, route};
use crate::http::{
    addresses, alerts, backup, bandwidth_status, cloudflare_door, connections, credentials, drain, envelope,
    health, live_rooms, metrics, operator, origin, overrides, overview, spenders, standby, unknown, users,
    wire_formats,
};
use crate::web;
use crate::web::navigation::{self, Link};
use crate::web::pages;
use turn_base::body::BodyLimit;
use turn_base::error::ApiError;
use turn_signaling_server::{p2pcf, peerjs, polls, reports, rooms, routes};

/// The routes of this table, in the groups of the `OpenAPI` document. Sockets, reports, the proxy of the SFU and P2PCF have routes
/// elsewhere.
struct Table {
    /// Mints, in all formats but Cloudflare's: for pages, and for servers with a key.
    credentials: Vec<Route>,
    /// Cloudflare's API: mint and revoke. Only for servers with a key.
    cloudflare: Vec<Route>,
    /// Pages and app servers report here. The handler checks the token.
    connections: Vec<Route>,
    budget: Vec<Route>,
    operator: Vec<Route>,
    health: Vec<Route>,
    /// The pages of this service, and static files for any page.
    browser: Vec<Route>,
}

impl Table {
    /// The routes that this process serves. Its pages link to the `listed` ones.
    fn of(app: &Arc<App>, listed: &[Link]) -> Self {
        Self {
            credentials: mint_routes(app),
            cloudflare: cloudflare_routes(app),
            connections: vec![
                route!(connections::open_connection),
                route!(connections::heartbeat_connection),
                route!(connections::close_connection),
                route!(connections::delete_connection),
            ],
            budget: vec![route!(bandwidth_status::get_bandwidth_status)],
            operator: operator_routes(app),
            health: vec![route!(health::get_health), route!(health::get_ready), route!(health::get_leader)],
            browser: browser_routes(app, listed),
        }
    }
}

fn mint_routes(app: &App) -> Vec<Route> {
    let mut routes = vec![route!(credentials::get_turn_credentials).map(get_only)];
    for format in &app.config.wire_formats {
        match format {
            WireFormat::Turn => {
                let get = route!(wire_formats::get_turn_rest_credentials);
                let both = get.and(route!(wire_formats::post_turn_rest_credentials));
                routes.push(both.map(|handlers| only(handlers, "GET,POST")));
            }
            WireFormat::Matrix => {
                routes.push(route!(wire_formats::get_matrix_turn_server).map(get_only));
                let older = wire_formats::OLDER_MATRIX_PATHS;
                let handlers = || get_only(get(wire_formats::get_matrix_turn_server));
                routes.extend(older.map(|path| Route::new(path, handlers())));
            }
            WireFormat::Ice => routes.push(route!(wire_formats::get_stunner_ice).map(get_only)),
            WireFormat::Link => routes.push(route!(wire_formats::get_ice_links).map(get_only)),
            WireFormat::Metered => routes.push(route!(wire_formats::get_metered_credentials).map(get_only)),
            // In `cloudflare_routes`.
            WireFormat::Cloudflare => {}
        }
    }
    routes
}

fn cloudflare_routes(app: &App) -> Vec<Route> {
    if !app.config.wire_formats.contains(&WireFormat::Cloudflare) {
        return vec![];
    }
    vec![
        route!(cloudflare_door::generate_ice_servers),
        route!(cloudflare_door::generate_ice_server),
        route!(cloudflare_door::revoke_server_credential),
    ]
}

/// Without an `OPERATOR_TOKEN` these routes answer 404.
fn operator_routes(app: &Arc<App>) -> Vec<Route> {
    let with_query = vec![
        route!(users::revoke_spender),
        route!(addresses::block_address),
        route!(spenders::list_spenders),
        route!(spenders::list_grants),
        route!(operator::get_usage),
    ];
    let without_query = vec![
        route!(overrides::set_limit),
        route!(overrides::set_frozen),
        route!(overrides::revoke_credential),
        route!(users::block_user),
        route!(users::unblock_user),
        route!(users::forget_user),
        route!(drain::drain_relay),
        route!(drain::undrain_relay),
        route!(live_rooms::end_room),
        route!(live_rooms::list_live_calls),
        route!(overview::get_overview),
        route!(alerts::get_alerts),
        route!(backup::get_backup).map(get_only),
        route!(metrics::get_metrics),
    ];
    let any_query = || check(app, operator::require_operator);
    let no_query = || check(app, operator::require_operator_without_query);
    let with_query = with_query.into_iter().map(|route| route.map(|handlers| handlers.layer(any_query())));
    let without_query =
        without_query.into_iter().map(|route| route.map(|handlers| handlers.layer(no_query())));
    // These paths have other methods, too, with rules of their own: `route_layer` leaves the other methods alone.
    let beside_others = [route!(addresses::unblock_address), route!(operator::list_connections)];
    let beside_others = beside_others.map(|route| route.map(|handlers| handlers.route_layer(no_query())));
    with_query.chain(without_query).chain(beside_others).collect()
}

fn browser_routes(app: &Arc<App>, listed: &[Link]) -> Vec<Route> {
    let dashboard = pages::DASHBOARD.routes(listed);
    let dashboard =
        dashboard.map(|page| page.map(|handlers| handlers.layer(check(app, pages::only_with_operator))));
    let demo = app.config.is_demo.then_some(&pages::DEMO);
    let public = [&pages::RELAY_CHECK].into_iter().chain(demo).flat_map(|page| page.routes(listed));
    let files = [
        route!(web::get_open_api),
        route!(web::get_turn_client_package),
        route!(web::get_turn_client),
        route!(web::get_turn_client_types),
    ];
    files.into_iter().chain(dashboard).chain(public).collect()
}

/// All routes with their layers.
pub fn build(app: &Arc<App>) -> Router {
    let listed = pages::served(app);
    let table = Table::of(app, &listed);
    // The outermost layer is first. CORS is outside, so an allowed page can read the response to an overload or a panic. One
    // `ServiceBuilder`, because layers that are added one by one cost every request a boxed service and a boxed future each.
    let guard = || {
        ServiceBuilder::new()
            .layer(origin::cors(&app.config.access.origins))
            .layer(from_fn_with_state((Arc::clone(app), BodyLimit::short(&app.long_bodies)), envelope::admit))
            .layer(envelope::catch_panic(&app.metrics))
    };
    // For mints: foreign origins are rejected before the handler. The other routes of the API demand a token, or mint nothing.
    let refuse_foreign = check(app, origin::refuse_foreign);
    let api = table.connections.into_iter().chain(table.budget).chain(table.operator);
    // Only a server with a key may call Cloudflare's API, from any origin.
    let api = api.chain(table.cloudflare);
    // A POST to `TURN_REST_PATH` can have a server key in its form, so its layer reads the form before it checks the origin.
    let (with_form, mints): (Vec<_>, Vec<_>) =
        table.credentials.into_iter().partition(|route| route.path == wire_formats::TURN_REST_PATH);
    let refuse_foreign_form = from_fn_with_state(Arc::clone(app), wire_formats::refuse_foreign_form);
    // Health checks are never rejected because of overload.
    router(table.health)
        .merge(router(mints).layer(ServiceBuilder::new().layer(refuse_foreign).layer(guard())))
        .merge(router(with_form).layer(ServiceBuilder::new().layer(refuse_foreign_form).layer(guard())))
        .merge(router(api).layer(guard()))
        .merge(router(table.browser))
        .route("/", navigation::start(&listed))
        .merge(sockets(app))
        .merge(reported(app))
        .merge(sfu(app))
        .merge(p2pcf(app))
        .fallback(unknown::unknown.layer(origin::cors(&app.config.access.origins)))
        .layer(
            ServiceBuilder::new()
                .layer(from_fn_with_state(Arc::clone(app), envelope::envelope))
                .layer(envelope::catch_panic(&app.metrics)),
        )
        .with_state(Arc::clone(app))
}

fn router(routes: impl IntoIterator<Item = Route>) -> Router<Arc<App>> {
    routes.into_iter().fold(Router::new(), |router, route| router.route(&route.path, route.handlers))
}

/// The routes of a standby: what a replica says of itself. A standby forwards all other requests, also those with other methods for
/// these paths.
pub fn standby(standby: &Arc<Standby>) -> Router {
    let own = |route: MethodRouter<Arc<Standby>>| route.fallback(standby::forward);
    Router::new()
        .route("/health", own(get(standby::get_health)))
        .route("/ready", own(get(standby::get_ready)))
        .route("/leader", own(get(standby::get_leader)))
        .route("/metrics", own(get(standby::get_metrics)))
        .fallback(standby::forward)
        .layer(
            ServiceBuilder::new()
                .layer(from_fn_with_state(Arc::clone(standby), standby::envelope))
                .layer(envelope::catch_panic(&standby.metrics)),
        )
        .with_state(Arc::clone(standby))
}

/// The proxy of the SFU, whose calls have CORS headers of their own.
fn sfu(app: &Arc<App>) -> Router<Arc<App>> {
    let layers = ServiceBuilder::new()
        .layer(origin::sfu_cors(&app.config.access.origins))
        .layer(envelope::catch_panic(&app.metrics));
    let routes = app.sfu.as_ref().map(turn_sfu_proxy::routes::routes).unwrap_or_default();
    routes.layer(layers).layer(check(app, origin::refuse_foreign))
}

/// The protocols with sockets.
fn sockets(app: &Arc<App>) -> Router<Arc<App>> {
    let admit = from_fn_with_state((Arc::clone(app), BodyLimit::short(&app.long_bodies)), envelope::admit);
    // For the routes that pages call with `fetch`. A socket needs no CORS.
    let fetched = ServiceBuilder::new()
        .layer(origin::cors(&app.config.access.origins))
        .layer(envelope::catch_panic(&app.metrics));
    rooms::set_username(app.signaling.rooms.as_ref())
        .layer(admit)
        .merge(peerjs::routes(app.signaling.peerjs.as_ref()))
        .layer(fetched)
        .merge(routes::sockets(&app.signaling))
        .layer(check(app, origin::refuse_foreign))
}

/// The routes of reports: pages send reports, and people open a kept report from a chat.
fn reported(app: &Arc<App>) -> Router<Arc<App>> {
    let layers = ServiceBuilder::new()
        .layer(origin::cors(&app.config.access.origins))
        .layer(envelope::catch_panic(&app.metrics));
    reports::routes::routes(app.signaling.reports.as_ref())
        .layer(layers)
        .layer(check(app, origin::refuse_foreign))
        .merge(
            reports::routes::kept(app.signaling.reports.as_ref())
                .layer(origin::cors(&app.config.access.origins)),
        )
}

/// P2PCF, with layers like those of the API, but another rule about origins, a rate of its own and longer bodies.
fn p2pcf(app: &Arc<App>) -> Router<Arc<App>> {
    let limit = BodyLimit::long(turn_signaling::p2pcf::BODY_MAX, &app.long_bodies);
    let layers = ServiceBuilder::new()
        .layer(map_response(async |response| p2pcf::readable(response)))
        .layer(from_fn_with_state(Arc::clone(&app.signaling.polls), polls::limit))
        .layer(from_fn_with_state((Arc::clone(app), limit), envelope::admit))
        .layer(envelope::catch_panic(&app.metrics));
    p2pcf::routes(app.signaling.p2pcf.as_ref()).layer(layers)
}

/// A layer that passes on the requests that a rule accepts. It needs no boxed future for a request.
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

/// Only GET: a HEAD would do the work and discard its result, such as a credential.
fn get_only(route: Handlers) -> Handlers {
    only(route, "GET")
}

/// Refuses HEAD and all methods that `route` does not have. `allowed`: the text of the header `Allow`. axum's own `Allow` would name HEAD.
/// `any` adds no `Allow`, also not to the response to a preflight.
fn only(route: Handlers, allowed: &'static str) -> Handlers {
    let refuse = async move || ([(ALLOW, HeaderValue::from_static(allowed))], ApiError::method_not_allowed());
    any(refuse).head(refuse).merge(route)
}

#[cfg(test)]
mod openapi_tests;
