//! Every route has a line in routes.txt that says what a stranger could take there, and which attack or test shows the bound. Who may call it
//! is in the table of routes, and each route answers so.

use turn_broker::app::bearer::{Action, CallerKind, may};
use turn_broker::http::route::{ErrorForm, Route};
use turn_broker::router::table;

use crate::openapi::document;
use crate::support::prelude::*;
use crate::support::test_broker::config;

const TABLE: &str = include_str!("routes.txt");

/// The cells of each row: the routes, what could be taken, what shows the bound.
fn rows() -> Vec<[&'static str; 3]> {
    let lines = TABLE.lines().filter(|line| line.starts_with("| `"));
    lines.map(|line| line.split('|').skip(1).take(3).collect::<Vec<_>>().try_into().unwrap()).collect()
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[tokio::test]
async fn a_path_of_the_settings_hides_no_other_route() {
    let (_state, broker) = with_every_door().await;
    let of_settings = ["p2pcf", "peerjs", "sfu"];
    let groups = table(&broker.app).into_iter().filter(|group| !of_settings.contains(&group.kind));
    for Route { path, .. } in groups.flat_map(|group| group.routes).filter(|route| route.path != "/") {
        let chosen = path.replace(['{', '}'], "");
        let read = Config::from_env(&Environment::from_pairs([("P2PCF_PATH", &chosen)]));
        let problems = read.err().map(|errors| errors.to_string()).unwrap_or_default();
        assert!(problems.contains("no other route has"), "{path}: {problems}");
    }
}

#[tokio::test]
async fn every_route_has_a_line_about_what_a_stranger_may_take() {
    let (_state, broker) = with_every_door().await;
    let served: BTreeSet<_> =
        table(&broker.app).into_iter().flat_map(|group| group.routes).map(|route| route.path).collect();
    let listed = rows().into_iter().flat_map(|[route, ..]| in_backticks(route)).map(str::to_owned);
    assert_eq!(
        listed.collect::<BTreeSet<_>>(),
        served,
        "tests/it/routes.txt, beside the routes that are served"
    );
}

#[test]
fn each_line_names_attacks_or_tests_that_exist() {
    let sources: Vec<_> = ["tests", "src", "crates"].into_iter().flat_map(sources).collect();
    for [route, _, shown_by, ..] in rows() {
        let names: Vec<_> = in_backticks(shown_by).collect();
        assert!(!names.is_empty(), "{route} has no proof");
        for name in names {
            let forms = [format!("\"{name}\""), format!("fn {name}(")];
            let exists = sources.iter().any(|(_, source)| forms.iter().any(|form| source.contains(form)));
            assert!(exists, "there is no attack and no test named `{name}`, for {route}");
        }
    }
}

const KEY: &str = "app-fixture-key-0123456789-0123456789";

async fn with_every_door() -> (StateDir, TestBroker) {
    let state = StateDir::new();
    let settings = [
        ("SERVER_KEYS", "app=app-fixture-key-0123456789-0123456789"),
        ("DOORS", "turn,matrix,ice,link,metered,cloudflare"),
        ("SIGNALING", "ayame,p2pcf,peerjs,reports,rooms,sfu,yjs"),
        ("REPORTS_DIR", state.path()),
        ("CALLS_APP_ID", "app"),
        ("CALLS_APP_SECRET", "secret-of-the-app"),
        ("CALLS_API_URL", "http://127.0.0.1:9/v1"),
        USERS,
    ];
    let mut config = config(&[&COTURN[..], &settings].concat());
    config.is_demo = true;
    let broker = TestBroker::start_with(&config, Arc::new(ManualClock::at(START))).await;
    (state, broker)
}

fn methods(route: &Route) -> Vec<Method> {
    let document = document();
    let described = document["paths"][&route.path].as_object().into_iter().flatten();
    let described = described.map(|(name, _)| name.to_uppercase());
    let own: Vec<_> =
        route.methods.iter().map(|method| json!(method).as_str().unwrap().to_uppercase()).collect();
    let names = if own.is_empty() { described.collect() } else { own };
    let methods: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    if methods.is_empty() { vec![Method::GET] } else { methods }
}

/// A request that fits into a route.
fn example(route: &str) -> String {
    if route == "/ice" {
        return format!("{route}?service=turn");
    }
    let named = [
        ("{user}", "eve"),
        ("{room}", "r"),
        ("{party}", "rooms"),
        ("{file}", "main.js"),
        ("{key}", "peerjs"),
        ("{*sfu}", "sessions/new?correlationId=r"),
    ];
    let filled = named.iter().fold(route.to_owned(), |path, (name, value)| path.replace(name, value));
    filled.replace(['{', '}'], "")
}

#[tokio::test]
async fn each_caller_may_do_at_each_route_what_the_table_of_rights_says() {
    let (_state, broker) = with_every_door().await;
    let (grant, user) = (broker.grant().await, user_token("ann"));
    let tokens =
        [None, Some(&*grant), Some(&*user), Some(KEY), Some(REPORTER), Some(MONITOR), Some(OPERATOR)];
    let (mut calls, mut wrong) = (0_u8, vec![]);
    let mut requests = 0;
    for group in table(&broker.app) {
        for (kind, token) in CallerKind::VARIANTS.iter().zip(&tokens) {
            let is_allowed = (group.may_call)(*kind);
            for route in &group.routes {
                for method in methods(route) {
                    calls = calls.wrapping_add(1);
                    requests += 1;
                    // Each from another address, because wrong tokens are counted.
                    let from = format!("10.{}.{}.{calls}", requests / 256, requests % 256);
                    let path = example(&route.path);
                    let request = broker.request(method.clone(), &path).header("x-forwarded-for", from);
                    let request = token.iter().fold(request, RequestBuilder::bearer_auth);
                    let answer = Answer::of(request).await;
                    let is_refused = matches!(answer.status.as_u16(), 401 | 403);
                    if is_refused == is_allowed {
                        wrong.push(format!("{method} {path} {kind:?}: {} {}", answer.status, answer.text));
                    }
                    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{method} {path}");
                }
            }
        }
    }
    assert!(wrong.is_empty() && requests > 300, "{requests}: {wrong:#?}");
}

#[tokio::test]
async fn each_route_has_its_kind() {
    let (_state, broker) = with_every_door().await;
    let groups = table(&broker.app);
    for (method, path, kind) in [
        ("get", "/api/turn-credentials", "mint"),
        ("get", "/turn", "mint"),
        ("get", "/link", "mint"),
        ("get", "/_matrix/client/v3/voip/turnServer", "mint"),
        ("post", "/v1/turn/keys/{key}/credentials/generate", "mint"),
        ("post", "/api/connections", "connections"),
        ("post", "/api/connections/{id}/heartbeat", "connections"),
        ("delete", "/api/connections/{id}", "connections"),
        ("", "/parties/{party}/{room}", "rooms"),
        ("get", "/api/connections", "operator"),
        ("", "/partytracks/{*sfu}", "sfu"),
        ("get", "/metrics", "operator"),
        ("post", "/api/budget/freeze", "operator"),
        ("", "/yjs", "yjs"),
    ] {
        let is_this = |route: &Route| {
            let is_method = route.methods.is_empty() || route.methods.iter().any(|it| json!(it) == method);
            route.path == path && is_method
        };
        let found = groups.iter().filter(|group| group.routes.iter().any(is_this));
        assert_eq!(found.map(|group| group.kind).collect::<Vec<_>>(), [kind], "{method} {path}");
    }
}

/// Each error has the form that the route's callers read, also where the request reaches no handler.
#[tokio::test]
async fn every_error_has_the_form_of_the_route() {
    let (_state, broker) = with_every_door().await;
    for group in table(&broker.app) {
        for route in &group.routes {
            // The head is refused before the route's own layers.
            let request =
                broker.request(Method::GET, &example(&route.path)).header("x-large", "x".repeat(20_000));
            let answer = Answer::of(request).await;
            assert_eq!(answer.status, 431, "{}", route.path);
            let fields = ["errcode", "errors", "error_code"]
                .map(|field| answer.text.contains(&format!("\"{field}\":")));
            let is_text = answer.text.starts_with("invalid_request: ");
            let expected = match group.errors {
                ErrorForm::Own => ([false; 3], false),
                ErrorForm::Matrix => ([true, false, false], false),
                ErrorForm::Cloudflare => ([false, true, false], false),
                // A new session.
                ErrorForm::Sfu => ([false; 3], true),
            };
            assert_eq!((fields, is_text), expected, "{}: {}", route.path, answer.text);
        }
    }
}

#[tokio::test]
async fn only_who_may_name_a_user_does_so() {
    let (_state, broker) = with_every_door().await;
    let (grant, user) = (broker.grant().await, user_token("ann"));
    let tokens =
        [None, Some(&*grant), Some(&*user), Some(KEY), Some(REPORTER), Some(MONITOR), Some(OPERATOR)];
    for (kind, token) in CallerKind::VARIANTS.iter().zip(tokens) {
        let request = broker.request(Method::GET, "/api/turn-credentials?user=bob");
        let request = token.iter().fold(request, RequestBuilder::bearer_auth);
        let mints = may(*kind, Action::NameUser) && may(*kind, Action::Mint);
        assert_eq!(Answer::of(request).await.status == 200, mints, "{kind:?}");
        let Some(token) = token.filter(|_| may(*kind, Action::Report)) else { continue };
        let body = json!({"connectionId": format!("{kind:?}"), "user": "bob"});
        assert_eq!(broker.post(token, "/api/connections", body).await.status, 201, "{kind:?}");
    }
    let open = broker.operator("/api/connections").await.json();
    let named = open["connections"].as_array().unwrap().iter();
    let named: Vec<_> = named.filter(|row| row["user"] == "bob").map(|row| &row["connectionId"]).collect();
    assert_eq!(named, ["Reporter", "ServerKey"]);
}
