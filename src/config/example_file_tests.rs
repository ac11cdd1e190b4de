//! Tests of `.env.example`: the file loads unchanged, names every variable once, and states the real defaults.

use super::names;
use super::testing::load_in;
use super::{Config, Environment};

const EXAMPLE: &str = include_str!("../../.env.example");

/// The file with the commented assignments (`# NAME=value`) uncommented that `choose` selects.
fn uncommented(choose: impl Fn(&str) -> bool) -> String {
    let uncomment = |line: &'static str| match line.strip_prefix("# ") {
        Some(assignment) if name_of(assignment).is_some_and(&choose) => assignment,
        _ => line,
    };
    EXAMPLE.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

/// The name before `=`, if `line` is an assignment.
fn name_of(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('=')?;
    let is_name = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    (!name.is_empty() && name.bytes().all(is_name)).then_some(name)
}

fn pairs(file: &str) -> Vec<(String, String)> {
    dotenvy::from_read_iter(file.as_bytes()).collect::<Result<_, _>>().expect("lines that dotenvy reads")
}

fn load(file: &str) -> Config {
    let outcome = load_in(&Environment::from_pairs(pairs(file)));
    outcome.unwrap_or_else(|errors| panic!("a valid configuration, but:\n{errors}"))
}

#[test]
fn the_example_loads_without_warnings_and_equals_the_defaults() {
    let config = load(EXAMPLE);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(format!("{config:?}"), format!("{:?}", load("")));
}

#[test]
fn the_example_names_every_variable_and_every_file_form() {
    for name in names::variables() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(EXAMPLE.split(|c| !is_word(c)).any(|word| word == name), "{name} is missing");
    }
}

#[test]
fn the_example_assigns_each_known_variable_once() {
    let all = pairs(&uncommented(|_| true));
    let mut assigned: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let mut known: Vec<&str> = names::ALL.iter().map(|name| name.name).collect();
    assigned.sort_unstable();
    known.sort_unstable();
    assert_eq!(assigned, known);
}

#[test]
fn the_example_is_valid_with_every_line_uncommented() {
    load(&uncommented(|_| true));
}

#[test]
fn the_example_states_the_real_defaults() {
    for (assigned, value) in pairs(&uncommented(|_| true)) {
        let name = names::ALL.iter().find(|name| name.name == assigned).expect("a setting");
        assert!(name.default.is_none_or(|default| default == value), "{assigned}");
    }
}

#[test]
fn using_an_example_secret_gives_a_warning() {
    let warnings = load(&uncommented(|name| name == "OPERATOR_TOKEN")).warnings;
    assert_eq!(warnings, ["OPERATOR_TOKEN holds an example value, which is public; replace it"]);
}
