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
use tower_http::cors::CorsLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;

use crate::app::{Action, App, CallerKind, Standby, may};
use crate::config::WireFormat;
use crate::http::route::ErrorForm::{self, Own};
use crate::http::route::{Group, Handlers, Route, route};
use crate::http::{
    alerts, backup, bandwidth_status, blocks, cloudflare_door, connections, credentials, drain, envelope,
    health, live_rooms, metrics, operator, origin, overrides, overview, spenders, standby, unknown, users,
    wire_formats,
};
use crate::web::{self, pages};
use turn_base::{ApiError, BODY_MAX};
use turn_signaling_server::{Signaling, p2pcf, peerjs, polls, reports, rooms, routes};

/// All routes. [`build`] adds the outermost layers.
pub fn table(app: &Arc<App>) -> Vec<Group> {
    // The outermost layer is first. CORS is outside, so an allowed page can read the response to an overload or a panic. One
    // `ServiceBuilder`, because layers that are added one by one cost every request a boxed service and a boxed future each.
    let guard = || {
        ServiceBuilder::new()
            .layer(origin::cors(&app.config.access.origins))
            .layer(from_fn_with_state((Arc::clone(app), BODY_MAX), envelope::admit))
    };
    let guarded = |handlers: Handlers| handlers.layer(guard());
    // For mints: foreign origins are rejected before the handler. The other routes of the API demand a token, or mint nothing.
    let for_pages = |handlers: Handlers| {
        let refuse_foreign = check(app, origin::refuse_foreign);
        only(handlers, "GET").layer(ServiceBuilder::new().layer(refuse_foreign).layer(guard()))
    };
    // A POST to this path can have a server key in its form, so its layer reads the form before it checks the origin.
    let with_form = |handlers: Handlers| {
        let refuse_foreign = from_fn_with_state(Arc::clone(app), wire_formats::refuse_foreign_form);
        only(handlers, "GET,POST").layer(ServiceBuilder::new().layer(refuse_foreign).layer(guard()))
    };
    let may_mint = |caller| may(caller, Action::Mint);
    let is_server = |caller| may(caller, Action::Mint) && may(caller, Action::NameUser);
    let mint = |route: Route| group("mint", Own, may_mint, [route], for_pages);
    let formats = app.config.wire_formats.iter().map(|format| match format {
        WireFormat::Turn => {
            let get = route!(wire_formats::get_turn_rest_credentials);
            let both = get.and(route!(wire_formats::post_turn_rest_credentials));
            group("mint", Own, may_mint, [both], with_form)
        }
        WireFormat::Matrix => {
            let older = wire_formats::OLDER_MATRIX_PATHS.into_iter();
            let older = older.map(|path| Route::new(path, get(wire_formats::get_matrix_turn_server)));
            let all = older.chain([route!(wire_formats::get_matrix_turn_server)]);
            group("mint", ErrorForm::Matrix, may_mint, all, for_pages)
        }
        WireFormat::Ice => mint(route!(wire_formats::get_stunner_ice)),
        WireFormat::Link => mint(route!(wire_formats::get_ice_links)),
        WireFormat::Metered => mint(route!(wire_formats::get_metered_credentials)),
        // Only a server with a key may call Cloudflare's API, from any origin.
        WireFormat::Cloudflare => {
            let routes = [
                route!(cloudflare_door::generate_ice_servers),
                route!(cloudflare_door::generate_ice_server),
                route!(cloudflare_door::revoke_server_credential),
            ];
            group("mint", ErrorForm::Cloudflare, is_server, routes, guarded)
        }
    });
    let connections = [
        route!(connections::open_connection),
        route!(connections::heartbeat_connection),
        route!(connections::close_connection),
        route!(connections::delete_connection),
    ];
    let health = [route!(health::get_health), route!(health::get_ready), route!(health::get_leader)];
    let own = [
        mint(route!(credentials::get_turn_credentials)),
        group("connections", Own, |caller| may(caller, Action::Report), connections, guarded),
        group("budget", Own, |_| true, [route!(bandwidth_status::get_bandwidth_status)], guarded),
        // Health checks are never rejected because of overload.
        group("health", Own, |_| true, health, |handlers| handlers),
        group("browser", Own, |_| true, browser_routes(app), |handlers| handlers),
    ];
    let operators = operator_groups(app, guarded);
    own.into_iter().chain(formats).chain(operators).chain(signaling_groups(app)).collect()
}

/// A group of routes with layers around their handlers.
fn group(
    kind: &'static str,
    errors: ErrorForm,
    may_call: fn(CallerKind) -> bool,
    routes: impl IntoIterator<Item = impl Into<Route>>,
    layer: impl Fn(Handlers) -> Handlers,
) -> Group {
    let routes = routes.into_iter().map(|route| route.into().map(&layer)).collect();
    Group { kind, errors, may_call, routes }
}

/// Without an `OPERATOR_TOKEN` these routes answer 404; `/metrics` needs it or a `METRICS_TOKEN`.
fn operator_groups(app: &Arc<App>, guarded: impl Fn(Handlers) -> Handlers) -> [Group; 4] {
    let with_query = vec![
        route!(users::revoke_spender),
        route!(blocks::block_spender),
        route!(blocks::allow_spender),
        route!(blocks::block_named),
        route!(users::forget_named),
        route!(spenders::list_spenders),
        route!(spenders::list_grants),
        route!(operator::get_usage),
    ];
    let without_query = vec![
        route!(overrides::set_limit),
        route!(overrides::set_frozen),
        route!(overrides::revoke_credential),
        route!(users::forget_user),
        route!(drain::drain_relay),
        route!(drain::undrain_relay),
        route!(live_rooms::end_room),
        route!(live_rooms::list_live_calls),
        route!(overview::get_overview),
        route!(alerts::get_alerts),
        route!(backup::get_backup).map(|handlers| only(handlers, "GET")),
    ];
    let is_operator = |caller| caller == CallerKind::Operator;
    let any_query = |handlers: Handlers| guarded(handlers.layer(check(app, operator::require_operator)));
    let no_query = || check(app, operator::require_operator_without_query);
    let may_monitor = |caller| may(caller, Action::ReadMetrics);
    let for_monitor =
        |handlers: Handlers| guarded(handlers.layer(check(app, operator::require_monitor_without_query)));
    // These paths have other methods, too, with rules of their own: `route_layer` leaves the other methods alone.
    let beside_others =
        [route!(blocks::list_blocks), route!(blocks::allow_named), route!(operator::list_connections)];
    [
        group("operator", Own, is_operator, with_query, any_query),
        group("operator", Own, is_operator, without_query, |handlers| guarded(handlers.layer(no_query()))),
        group("operator", Own, may_monitor, [route!(metrics::get_metrics)], for_monitor),
        group("operator", Own, is_operator, beside_others, |it| guarded(it.route_layer(no_query()))),
    ]
}

/// The pages of this service, and static files for any page.
fn browser_routes(app: &Arc<App>) -> Vec<Route> {
    let listed = pages::served(app);
    let dashboard = pages::DASHBOARD.routes(&listed);
    let dashboard =
        dashboard.map(|page| page.map(|handlers| handlers.layer(check(app, pages::only_with_operator))));
    let demo = app.config.is_demo.then_some(&pages::DEMO);
    let public = [&pages::RELAY_CHECK].into_iter().chain(demo).flat_map(|page| page.routes(&listed));
    let files = [
        route!(web::get_open_api),
        route!(web::get_turn_client_package),
        route!(web::get_turn_client),
        route!(web::get_turn_client_types),
        Route::new("/", pages::start(&listed)),
    ];
    files.into_iter().chain(dashboard).chain(public).collect()
}

/// The routes of signaling and of the proxy of the SFU.
fn signaling_groups(app: &Arc<App>) -> Vec<Group> {
    let cors = || origin::cors(&app.config.access.origins);
    let socket = |handlers: Handlers| handlers.layer(check(app, origin::refuse_foreign));
    // For the routes that pages call with `fetch`. A socket needs no CORS.
    let fetched_with = |cors: CorsLayer, handlers: Handlers| {
        let without_panic = from_fn_with_state(Arc::clone(app), envelope::without_panic);
        socket(handlers.layer(ServiceBuilder::new().layer(cors).layer(without_panic)))
    };
    let fetched = |handlers: Handlers| fetched_with(cors(), handlers);
    let admit = |bytes_max: usize| from_fn_with_state((Arc::clone(app), bytes_max), envelope::admit);
    let named = |handlers: Handlers| fetched(handlers.layer(admit(BODY_MAX)));
    // The calls of the SFU have CORS headers of their own.
    let of_sfu = |handlers: Handlers| fetched_with(origin::sfu_cors(&app.config.access.origins), handlers);
    // Layers like those of the API, but another rule about origins, a rate of its own and longer bodies.
    let of_p2pcf = |handlers: Handlers| {
        let layers = ServiceBuilder::new()
            .layer(map_response(async |response| p2pcf::readable(response)))
            .layer(from_fn_with_state(Arc::clone(&app.signaling.polls), polls::limit))
            .layer(admit(turn_signaling::p2pcf::BODY_MAX));
        handlers.layer(layers)
    };
    let Signaling { rooms, reports, p2pcf, .. } = &*app.signaling;
    let (rooms, reports) = (rooms.as_ref(), reports.as_ref());
    let sfu = app.sfu.as_ref().map(turn_sfu_proxy::routes::routes).unwrap_or_default();
    vec![
        group("ayame", Own, |_| true, routes::of_ayame(&app.signaling), socket),
        group("yjs", Own, |_| true, routes::of_yjs(&app.signaling), socket),
        group("rooms", Own, |_| true, rooms::sockets(rooms), socket),
        group("rooms", Own, |_| true, rooms::set_username(rooms), named),
        group("peerjs", Own, |_| true, peerjs::routes(&app.signaling), fetched),
        group("peerjs", Own, |_| false, peerjs::peers(&app.signaling), fetched),
        group("reports", Own, |_| true, reports::routes::routes(reports), fetched),
        group("reports", Own, |_| true, reports::routes::kept(reports), |handlers| handlers.layer(cors())),
        group("p2pcf", Own, |_| true, p2pcf::routes(p2pcf.as_ref()), of_p2pcf),
        group("sfu", ErrorForm::Sfu, |_| true, sfu, of_sfu),
    ]
}

/// All routes with their layers.
pub fn build(app: &Arc<App>) -> Router {
    let envelope = |kind: &'static str| from_fn_with_state((Arc::clone(app), kind), envelope::envelope);
    let mut router = Router::new();
    for Group { kind, errors, routes, .. } in table(app) {
        for Route { path, handlers, .. } in routes {
            let handlers = handlers.layer(envelope(kind));
            let handlers = match errors {
                Own => handlers,
                ErrorForm::Matrix => handlers.layer(map_response(wire_formats::readable)),
                ErrorForm::Cloudflare => handlers.layer(map_response(cloudflare_door::readable)),
                ErrorForm::Sfu => {
                    handlers.layer(from_fn_with_state(Arc::clone(app), envelope::readable_by_sfu))
                }
            };
            router = router.route(&path, handlers);
        }
    }
    let cors = origin::cors(&app.config.access.origins);
    let unmatched = ServiceBuilder::new().layer(envelope("unmatched")).layer(cors);
    router.fallback(unknown::unknown.layer(unmatched)).with_state(Arc::clone(app))
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
        .layer(from_fn_with_state(Arc::clone(standby), standby::envelope))
        .with_state(Arc::clone(standby))
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

/// Refuses HEAD, which would do the work and discard its result, such as a credential, and all methods that `route` does not have.
/// `allowed`: the text of the header `Allow`. axum's own `Allow` would name HEAD.
/// `any` adds no `Allow`, also not to the response to a preflight.
fn only(route: Handlers, allowed: &'static str) -> Handlers {
    let refuse = async move || ([(ALLOW, HeaderValue::from_static(allowed))], ApiError::method_not_allowed());
    any(refuse).head(refuse).merge(route)
}

#[cfg(test)]
mod openapi_tests;
