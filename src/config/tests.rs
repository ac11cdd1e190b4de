//! Tests of what all settings have in common, and of `.env.example`: the file loads unchanged, names every variable once, and
//! states the real defaults.

use secrecy::ExposeSecret;

use super::env_file::EnvFile;
use super::names::Setting;
use super::settings::shown;
use super::testing::{all_names, assert_cases, load, load_file, load_in, pairs};
use super::{Config, Environment};

fn secrets() -> Vec<&'static str> {
    all_names().iter().filter(|name| name.is_secret).map(|name| name.name).collect()
}

#[test]
fn each_setting_has_a_default_a_form_and_a_message() {
    assert_cases(include_str!("cases.txt"));
}

#[test]
fn a_list_has_256_entries_at_most() {
    let list = |count| Environment::from_pairs([("TRUSTED_PROXIES", "::1,".repeat(count))]);
    assert!(load_in(&list(256)).is_ok());
    let line = "TRUSTED_PROXIES: expected 1 to 256 entries between commas, found 257";
    assert_eq!(load_in(&list(257)).unwrap_err().to_string(), line);
}

#[test]
fn a_shown_value_is_truncated_and_escaped() {
    let errors = load_in(&Environment::from_pairs([("STATE_DIR", "/a\u{1b}[0m")])).unwrap_err();
    let line = "STATE_DIR: expected text without control characters, found \"/a\\u{1b}[0m\"";
    assert_eq!(errors.to_string(), line);
    assert_eq!(shown("a\"b"), "\"a\\\"b\"");
    assert_eq!(shown(&"ä".repeat(101)), format!("\"{}\" and more", "ä".repeat(100)));
}

#[test]
fn a_secret_may_come_from_a_file() {
    for content in [
        "0123456789abcdef0123456789abcdef",
        "0123456789abcdef0123456789abcdef\r\n\n",
        "\u{feff} 0123456789abcdef0123456789abcdef\n",
    ] {
        let config = load_file("OPERATOR_TOKEN_FILE", content).unwrap();
        assert_eq!(config.access.operator_token.unwrap().expose_secret(), "0123456789abcdef0123456789abcdef");
    }
    let line = "COTURN_CLI: expected a value because COTURN_CLI_PASSWORD is set (both or neither)";
    assert_eq!(load_file("COTURN_CLI_PASSWORD_FILE", "hush-cli-password").unwrap_err(), line);
    for (content, why) in [
        (&*vec![b'x'; 65_537], "cannot read \"FILE\": expected at most 64 KiB"),
        (&[0xff], "cannot read \"FILE\": expected UTF-8 text"),
        (b" \n", "expected a value in \"FILE\""),
        (
            b"hush",
            "expected 32 to 1024 visible ASCII characters without spaces, such as those of openssl rand -hex 32",
        ),
        (
            b"hush-hush-hush-hush\nhush\n",
            "expected 32 to 1024 visible ASCII characters without spaces, such as those of openssl rand -hex 32",
        ),
        (b"'hush-hush-hush-hush'\n", "expected a value without quotes around it in \"FILE\""),
        (b"example-only-hush-hush", "expected a value of your own, found an example, which is public"),
    ] {
        let errors = load_file("OPERATOR_TOKEN_FILE", content).unwrap_err();
        assert_eq!(errors, format!("OPERATOR_TOKEN_FILE: {why}"));
    }
    for secret in secrets() {
        let file = Setting::file(secret);
        let errors = load_in(&Environment::from_pairs([(&*file, "/run/none")])).unwrap_err().to_string();
        assert!(errors.contains(&format!("{file}: cannot read \"/run/none\"")), "{errors}");
    }
}

#[test]
fn every_known_variable_is_parsed() {
    // No value may contain this character, so each variable that is read has a problem.
    let known = all_names();
    let names = known.iter().map(|name| name.name);
    let environment = Environment::from_pairs(names.clone().map(|name| (name, "\u{7f}")));
    let errors = Config::from_env(&environment).unwrap_err();
    let mut reported: Vec<&str> = errors.problems.iter().map(|problem| &*problem.variable).collect();
    reported.dedup();
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    assert_eq!(reported, names);
}

/// Every secret, with `hush` in its value.
const SECRETS: &str = r#"OPERATOR_TOKEN=hush-operator-token-0123456789ab; REPORTER_TOKEN=hush-reporter-token-0123456789ab;
    METRICS_TOKEN=hush-metrics-token-0123456789abc; CLOUDFLARE_TURN_KEY_ID=id;
    CLOUDFLARE_TURN_API_TOKEN=hush-api-token; CLOUDFLARE_TURN_KEYS=eu=id-2:hush-key-token;
    COTURN_URLS=turn:coturn.example; COTURN_SECRET=hush-coturn; COTURN_CLI=localhost:5766; COTURN_CLI_PASSWORD=hush-cli-password;
    COTURN_STATS_LISTEN=127.0.0.1:6390; COTURN_STATS_PASSWORD=hush-stats-password;
    MANUAL_ICE_SERVERS=[{"urls": "turn:a", "username": "hush-user", "credential": "hush-password"}];
    CLOUDFLARE_ACCOUNT_ID=account; CLOUDFLARE_ANALYTICS_TOKEN=hush-analytics; ALERT_WEBHOOK_URL=https://a.example/hush?hush;
    ALERT_WEBHOOK_SECRET=hush-webhook-secret; AUTH_JWT_SECRET=hush-jwt-secret-of-at-least-32-characters; AUTH_WEBHOOK_URL=https://a.example/hush?hush;
    SIGNALING=ayame,sfu,reports; AUTHN_WEBHOOK_URL=https://a.example/hush?hush; DISCONNECT_WEBHOOK_URL=https://a.example/hush?hush;
    CALLS_APP_ID=app; CALLS_APP_SECRET=hush-app-secret; FEEDBACK_URL=https://a.example/hush?hush;
    DATABASE_URL=postgres://me:hush-password@db.example/hush; HTTP_ICE_URL=https://a.example/hush?hush;
    HTTP_ICE_AUTHORIZATION=Basic hush; SERVER_KEYS=app=hush-0123456789-0123456789-0123456789"#;

#[test]
fn no_output_contains_a_secret() {
    let settings = SECRETS.replace(";\n    ", "; ");
    let settings = pairs(&settings);
    let shown = format!("{:?}", load_in(&Environment::from_pairs(settings.clone())).unwrap());
    assert!(shown.contains("turn:coturn.example") && !shown.contains("hush"), "{shown}");
    let bad = "hush hush\u{7f}";
    for secret in secrets() {
        assert!(settings.iter().any(|(name, _)| *name == secret), "{secret} is missing in SECRETS");
        let by_value = load_in(&Environment::from_pairs([(secret, bad)])).unwrap_err();
        let by_file = load_file(&Setting::file(secret), bad).unwrap_err();
        let shown = format!("{by_value} {by_value:?} {by_file}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}

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

fn assignments(file: &str) -> Vec<(String, String)> {
    let values = EnvFile::parse(file, ".env").values.into_iter();
    values.map(|(name, value)| (name, value.expect("a value that every reader reads alike"))).collect()
}

/// The example with secrets of one's own.
fn load_example(file: &str) -> Config {
    let outcome = load_in(&Environment::of_dotenv(&file.replace("example-only", "made-at-home")));
    outcome.unwrap_or_else(|errors| panic!("a valid configuration, but:\n{errors}"))
}

#[test]
fn the_example_loads_without_warnings_and_equals_the_defaults() {
    let config = load_example(EXAMPLE);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(format!("{config:?}"), format!("{:?}", load([])));
}

#[test]
fn the_example_names_every_variable_and_every_file_form() {
    for name in all_names().variables() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(EXAMPLE.split(|c| !is_word(c)).any(|word| word == name), "{name} is missing");
    }
}

#[test]
fn the_example_assigns_each_known_variable_once() {
    let all = assignments(&uncommented(|_| true));
    let mut assigned: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let mut known: Vec<&str> = all_names().iter().map(|name| name.name).collect();
    assigned.sort_unstable();
    known.sort_unstable();
    assert_eq!(assigned, known);
}

#[test]
fn the_example_is_valid_with_every_line_uncommented_except_what_excludes_a_database() {
    // The file of authorities must be there.
    let [without_database, with_database] =
        [&["CA_FILE", "DATABASE_URL"][..], &["CA_FILE", "STATE_DIR", "REPORTS_DIR"]];
    load_example(&uncommented(|name| !without_database.contains(&name)));
    let config = load_example(&uncommented(|name| !with_database.contains(&name)));
    assert!(config.database.is_some());
}

#[test]
fn the_example_states_the_real_defaults() {
    let known = all_names();
    for (assigned, value) in assignments(&uncommented(|_| true)) {
        let name = known.iter().find(|name| name.name == assigned).expect("a setting");
        assert!(name.default.is_none_or(|default| default == value), "{assigned}");
    }
}

#[test]
fn each_secret_in_the_documents_is_an_example_that_is_refused_or_no_value() {
    let secrets = secrets();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut found = 0;
    for document in documents.filter(|path| path.is_file()).chain([root.join("README.md")]) {
        let text = std::fs::read_to_string(&document).unwrap_or_default();
        // `…` and spaces are in no token, a shell replaces `$`, and the other two are those of the simulated Cloudflare.
        let is_no_value =
            |value: &str| value.is_empty() || value.contains(['…', ' ', '$']) || value.starts_with("demo-");
        let assigned = text.lines().filter_map(|line| line.trim().split_once('='));
        for (name, value) in assigned.filter(|(name, _)| secrets.contains(name)) {
            let is_refused = Config::from_env(&Environment::from_pairs([(name, value)]))
                .is_err_and(|errors| errors.to_string().contains("found an example, which is public"));
            assert!(is_refused || is_no_value(value), "{}: {name}={value}", document.display());
            found += 1;
        }
    }
    assert!(found > 5, "{found}");
}
