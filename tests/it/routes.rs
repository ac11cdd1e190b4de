//! Every route has a line in routes.txt that says what a stranger could take there, which attack or test shows the bound, and who may call
//! it: as the table of rights in the code has it, and as the route answers.

use std::collections::BTreeSet;
use std::str::FromStr;

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use strum::VariantArray;
use turn_broker::app::rights::{Action, CallerKind, Extent, may, may_any};
use turn_broker::config::{Config, Environment};

use crate::openapi::{document, is_of_signaling, tag};
use crate::support::fake_issuer::{USERS, user_token};
use crate::support::repository::sources;
use crate::support::{Answer, COTURN, OPERATOR, REPORTER, StateDir, TestBroker};

const TABLE: &str = include_str!("routes.txt");

/// The cells of the table of routes: the routes, what could be taken, what shows the bound, the action, and who may call.
fn rows() -> Vec<[&'static str; 10]> {
    let lines = TABLE.lines().filter(|line| line.starts_with("| `"));
    lines.map(|line| line.split('|').skip(1).take(10).collect::<Vec<_>>().try_into().unwrap()).collect()
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The paths in calls of `route`. Those of a setting are written as `{path}`.
fn routed(source: &str) -> impl Iterator<Item = String> {
    source.split(".route(").skip(1).map(|call| {
        let call = call.trim_start_matches(['&', ' ', '\n']).trim_start_matches("format!(");
        match call.strip_prefix('"') {
            Some(literal) => literal.split('"').next().unwrap().to_owned(),
            None if call.starts_with("path,") => "{path}".to_owned(),
            None => panic!("tests/it/routes.rs cannot read the path of .route({}", &call[..20]),
        }
    })
}

/// Every path that is served. Those of signaling are as the code has them: the document shows the defaults of settings.
fn served() -> BTreeSet<String> {
    let document = document();
    let described = document["paths"].as_object().unwrap().iter();
    let described = described.filter(|(_, item)| !is_of_signaling(tag(item))).map(|(path, _)| path.clone());
    let of_signaling: Vec<_> =
        ["crates/signaling-server/src", "crates/sfu-proxy/src"].into_iter().flat_map(sources).collect();
    let signaling = of_signaling.iter().flat_map(|(_, source)| routed(source));
    described.chain(signaling).chain(pages()).collect()
}

/// The paths of the pages and of their files, which the document does not describe.
fn pages() -> Vec<String> {
    let paths = include_str!("../../src/web/pages.rs").split("path: \"").skip(1);
    let paths = paths.map(|rest| rest.split('"').next().unwrap());
    paths.flat_map(|path| [path.to_owned(), format!("{path}/{{file}}")]).collect()
}

#[test]
fn a_path_of_the_settings_hides_no_other_route() {
    let served = served();
    let fixed = served.iter().filter(|path| !path.contains("{path}"));
    for path in fixed {
        let chosen = path.replace(['{', '}', '*'], "");
        let read = Config::from_env(&Environment::from_pairs([("P2PCF_PATH", &chosen)]));
        let problems = read.err().map(|errors| errors.to_string()).unwrap_or_default();
        // Older versions of Orange use this one.
        assert_eq!(problems.contains("no other route has"), path != "/api/calls", "{path}: {problems}");
    }
}

#[test]
fn every_route_has_a_line_about_what_a_stranger_may_take() {
    let served = served();
    assert!(served.contains("/yjs") && served.contains("{path}/id"), "{served:?}");
    let listed: BTreeSet<_> = rows().into_iter().flat_map(|[route, ..]| in_backticks(route)).collect();
    let served: BTreeSet<_> = served.iter().map(String::as_str).collect();
    assert_eq!(listed, served, "tests/it/routes.txt, beside the routes that are served");
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

/// A broker with every door, and its state.
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
    let broker = TestBroker::start(&[&COTURN[..], &settings].concat()).await;
    (state, broker)
}

/// The methods of a route that belong to an action.
fn methods(path: &str, action: &str) -> Vec<Method> {
    let document = document();
    let Some(item) = document["paths"][path].as_object() else { return vec![Method::GET] };
    let described = item.keys().map(|name| name.to_uppercase().parse::<Method>().unwrap());
    described
        .filter(|method| (method == Method::GET) == (action == "read") || matches!(action, "-" | "mint"))
        .collect()
}

/// A request that fits into a route.
fn example(route: &str) -> String {
    let of_setting = match route {
        "{path}" => "/partytracks/sessions/new?correlationId=r",
        "{path}/" => "/p2pcf/",
        "{path}/id" => "/peerjs/peerjs/id",
        "{path}/peers" => "/peerjs/peerjs/peers",
        "/ice" => return format!("{route}?service=turn"),
        route => route,
    };
    let named = [("{user}", "eve"), ("{room}", "r"), ("{party}", "rooms"), ("{file}", "main.js")];
    let filled = named.iter().fold(of_setting.to_owned(), |path, (name, value)| path.replace(name, value));
    filled.replace(['{', '}'], "")
}

#[tokio::test]
async fn each_caller_may_do_at_each_route_what_the_table_of_rights_says() {
    let (_state, broker) = with_every_door().await;
    let (grant, user) = (broker.grant().await, user_token("ann"));
    let tokens = [None, Some(&*grant), Some(&*user), Some(KEY), Some(REPORTER), Some(OPERATOR)];
    let callers: Vec<_> = CallerKind::VARIANTS.iter().zip(tokens).collect();
    let (mut calls, mut wrong) = (0_u8, vec![]);
    let mut requests = 0;
    for [routes, _, _, action, who @ ..] in rows() {
        let action = action.trim();
        for (cell, (kind, token)) in who.iter().zip(&callers) {
            let is_allowed = cell.trim() == "yes";
            // `mint of a server` and `end own`: the doors of one kind of caller.
            if let Ok(action) = Action::from_str(action) {
                let extent = may(**kind, action);
                // What an operator reads and ends is everybody's.
                let is_own_enough = !matches!(action, Action::Read | Action::End);
                let may_call = extent == Extent::All || (extent == Extent::Own && is_own_enough);
                assert_eq!(is_allowed, may_call, "{routes} {kind:?}: {action:?}");
            }
            for path in in_backticks(routes) {
                for method in methods(path, action) {
                    calls = calls.wrapping_add(1);
                    requests += 1;
                    // Each from another address, because wrong tokens are counted.
                    let from = format!("10.{}.{}.{calls}", requests / 256, requests % 256);
                    let request =
                        broker.request(method.clone(), &example(path)).header("x-forwarded-for", from);
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
async fn only_who_may_name_a_user_does_so() {
    let (_state, broker) = with_every_door().await;
    let (grant, user) = (broker.grant().await, user_token("ann"));
    let tokens = [None, Some(&*grant), Some(&*user), Some(KEY), Some(REPORTER), Some(OPERATOR)];
    for (kind, token) in CallerKind::VARIANTS.iter().zip(tokens) {
        let request = broker.request(Method::GET, "/api/turn-credentials?user=bob");
        let request = token.iter().fold(request, RequestBuilder::bearer_auth);
        let mints = may_any(*kind, Action::NameUser) && may_any(*kind, Action::Mint);
        assert_eq!(Answer::of(request).await.status == 200, mints, "{kind:?}");
        let Some(token) = token.filter(|_| may_any(*kind, Action::Report)) else { continue };
        let body = json!({"connectionId": format!("{kind:?}"), "user": "bob"});
        assert_eq!(broker.post(token, "/api/connections", body).await.status, 201, "{kind:?}");
    }
    let open = broker.operator("/api/connections").await.json();
    let named = open["connections"].as_array().unwrap().iter();
    let named: Vec<_> = named.filter(|row| row["user"] == "bob").map(|row| &row["connectionId"]).collect();
    assert_eq!(named, ["Reporter", "ServerKey"]);
}
