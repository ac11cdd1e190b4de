//! Every route has a line in routes.txt that says what a stranger could take there, and which attack or test shows the bound.

use std::collections::BTreeSet;

use turn_broker::config::{Config, Environment};

use crate::openapi::{document, is_of_signaling, tag};
use crate::support::repository::sources;

const TABLE: &str = include_str!("routes.txt");

/// The cells of the table of routes.
fn rows() -> Vec<[&'static str; 3]> {
    let lines = TABLE.lines().filter(|line| line.starts_with("| `"));
    lines.map(|line| line.split('|').skip(1).take(3).collect::<Vec<_>>().try_into().unwrap()).collect()
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
    for [route, _, shown_by] in rows() {
        let names: Vec<_> = in_backticks(shown_by).collect();
        assert!(!names.is_empty(), "{route} has no proof");
        for name in names {
            let forms = [format!("\"{name}\""), format!("fn {name}(")];
            let exists = sources.iter().any(|(_, source)| forms.iter().any(|form| source.contains(form)));
            assert!(exists, "there is no attack and no test named `{name}`, for {route}");
        }
    }
}
