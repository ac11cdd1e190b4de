//! The arguments of the commands, and the HTTP call that each command is.

use std::path::PathBuf;

use lexopt::ValueExt;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

/// Largest limit in GB; the same as for `BANDWIDTH_LIMIT_GB`.
const LIMIT_GB_MAX: f64 = 1_000_000.0;

/// How many spenders or grants are listed.
const ROWS_SHOWN: &str = "20";

/// The names of the commands.
pub const NAMES: [&str; 10] =
    ["status", "spenders", "grants", "freeze", "unfreeze", "limit", "block", "allow", "revoke", "backup"];

/// A command for a running broker.
#[derive(Clone, Debug, PartialEq)]
pub enum OperatorCommand {
    /// Shows the state of the budget.
    Status,
    /// Stops all minting.
    Freeze,
    /// Resumes minting.
    Unfreeze,
    /// Sets the limit.
    Limit(NewLimit),
    /// Lists who spends most.
    Spenders(SpenderGroup),
    /// Lists live credentials; of this user, if one is given.
    Grants(Option<String>),
    /// Blocks a user.
    Block(String),
    /// Unblocks a user.
    Allow(String),
    /// Revokes the credential with this id or token.
    Revoke(String),
    /// Revokes all credentials of a user.
    RevokeUser(String),
    /// Copies the ledger into this file.
    Backup(PathBuf),
}

/// What `spenders` groups by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpenderGroup {
    /// By user.
    User,
    /// By label.
    Label,
    /// By origin.
    Origin,
    /// By client address.
    Address,
    /// By call.
    Call,
    /// By grant.
    Grant,
}

impl SpenderGroup {
    const ALL: [Self; 6] = [Self::User, Self::Label, Self::Origin, Self::Address, Self::Call, Self::Grant];

    const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Label => "label",
            Self::Origin => "origin",
            Self::Address => "address",
            Self::Call => "call",
            Self::Grant => "grant",
        }
    }
}

/// The argument of `limit`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NewLimit {
    /// From 0 to 1,000,000 GB.
    Gb(f64),
    /// `BANDWIDTH_LIMIT_GB` again.
    Configured,
}

/// The options of every command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The broker's address; `None`: `HOST` and `PORT` of the configuration.
    pub url: Option<Url>,
    /// Whether to print JSON.
    pub json: bool,
}

/// A call of the HTTP API.
#[derive(Debug, PartialEq)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// The segments of the path.
    pub(super) path: Vec<&'a str>,
    pub(super) query: Vec<(&'static str, &'a str)>,
    pub(super) body: Option<Value>,
    pub(super) needs_token: bool,
}

impl OperatorCommand {
    pub(super) fn call(&self) -> Call<'_> {
        let call = |method, path: &[&'static str], body| Call {
            method,
            path: path.to_vec(),
            query: vec![],
            body,
            needs_token: true,
        };
        let get = |path, query| Call { query, ..call(Method::GET, &["api", path], None) };
        let set = |what, body| call(Method::POST, &["api", "budget", what], Some(body));
        let act =
            |method, of, on, action| Call { path: vec!["api", of, on, action], ..call(method, &[], None) };
        match self {
            Self::Status => Call { needs_token: false, ..get("bandwidth-status", vec![]) },
            Self::Freeze => set("freeze", json!({ "frozen": true })),
            Self::Unfreeze => set("freeze", json!({ "frozen": false })),
            Self::Limit(NewLimit::Gb(gb)) => set("limit", json!({ "limitGB": gb })),
            Self::Limit(NewLimit::Configured) => set("limit", json!({ "limitGB": null })),
            Self::Spenders(by) => get("spenders", vec![("by", by.name()), ("limit", ROWS_SHOWN)]),
            Self::Grants(user) => {
                let user = user.iter().map(|user| ("user", user.as_str()));
                get("grants", [("live", "true"), ("limit", ROWS_SHOWN)].into_iter().chain(user).collect())
            }
            Self::Block(user) => act(Method::POST, "users", user, "block"),
            Self::Allow(user) => act(Method::DELETE, "users", user, "block"),
            Self::Revoke(grant) => act(Method::POST, "credentials", grant, "revoke"),
            Self::RevokeUser(user) => act(Method::POST, "users", user, "revoke"),
            Self::Backup(_) => get("backup", vec![]),
        }
    }
}

/// Parses what follows the name of a command. `options`: those before the name. `Ok(None)` if help is requested.
pub fn parse(
    name: &str,
    mut options: Options,
    mut parser: lexopt::Parser,
) -> Result<Option<(OperatorCommand, Options)>, lexopt::Error> {
    use lexopt::prelude::{Long, Short, Value};
    let (mut operand, mut user) = (None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("json") => options.json = true,
            Long("url") => options.url = Some(url(&mut parser)?),
            Long("user") if matches!(name, "grants" | "revoke") => user = Some(parser.value()?.string()?),
            Value(value)
                if operand.is_none() && !matches!(name, "status" | "grants" | "freeze" | "unfreeze") =>
            {
                operand = Some(value);
            }
            other => return Err(other.unexpected()),
        }
    }
    let command = match (name, operand, user) {
        ("status", ..) => OperatorCommand::Status,
        ("freeze", ..) => OperatorCommand::Freeze,
        ("unfreeze", ..) => OperatorCommand::Unfreeze,
        ("limit", Some(limit), _) => OperatorCommand::Limit(limit.parse_with(new_limit)?),
        ("spenders", None, _) => OperatorCommand::Spenders(SpenderGroup::User),
        ("spenders", Some(by), _) => OperatorCommand::Spenders(by.parse_with(spender_group)?),
        ("grants", _, user) => OperatorCommand::Grants(user),
        ("block", Some(user), _) => OperatorCommand::Block(user.string()?),
        ("allow", Some(user), _) => OperatorCommand::Allow(user.string()?),
        ("revoke", Some(grant), None) => OperatorCommand::Revoke(grant.string()?),
        ("revoke", None, Some(user)) => OperatorCommand::RevokeUser(user),
        ("backup", Some(file), _) => OperatorCommand::Backup(file.into()),
        ("limit", ..) => return Err("expected limit GB, or limit default".into()),
        ("revoke", ..) => return Err("expected revoke GRANT, or revoke --user USER".into()),
        ("backup", ..) => return Err("expected backup FILE".into()),
        (name, ..) => return Err(format!("expected {name} USER").into()),
    };
    Ok(Some((command, options)))
}

/// Parses the value of `--url`.
pub fn url(parser: &mut lexopt::Parser) -> Result<Url, lexopt::Error> {
    parser.value()?.parse_with(broker_url)
}

fn broker_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or("expected an address such as https://broker.example or http://127.0.0.1:3001")
}

fn new_limit(text: &str) -> Result<NewLimit, &'static str> {
    if text == "default" {
        return Ok(NewLimit::Configured);
    }
    let gb = text.parse().ok().filter(|gb| (0.0..=LIMIT_GB_MAX).contains(gb));
    gb.map(NewLimit::Gb).ok_or("expected GB from 0 to 1000000, or default")
}

fn spender_group(text: &str) -> Result<SpenderGroup, &'static str> {
    let group = SpenderGroup::ALL.into_iter().find(|group| group.name() == text);
    group.ok_or("expected user, label, origin, address, call or grant")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<(OperatorCommand, Options)>, String> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        parse(name, Options::default(), lexopt::Parser::from_args(rest.split_whitespace()))
            .map_err(|error| error.to_string())
    }

    fn command(line: &str) -> OperatorCommand {
        parsed(line).unwrap().unwrap().0
    }

    #[test]
    fn each_command_is_one_call() {
        for (line, method, path, query, body) in [
            ("status", Method::GET, "api/bandwidth-status", "", None),
            ("freeze", Method::POST, "api/budget/freeze", "", Some(json!({ "frozen": true }))),
            ("unfreeze", Method::POST, "api/budget/freeze", "", Some(json!({ "frozen": false }))),
            ("limit 1500.5", Method::POST, "api/budget/limit", "", Some(json!({ "limitGB": 1500.5 }))),
            ("limit default", Method::POST, "api/budget/limit", "", Some(json!({ "limitGB": null }))),
            ("backup b.redb", Method::GET, "api/backup", "", None),
            ("spenders", Method::GET, "api/spenders", "by=user&limit=20", None),
            ("spenders grant", Method::GET, "api/spenders", "by=grant&limit=20", None),
            ("grants", Method::GET, "api/grants", "live=true&limit=20", None),
            ("grants --user ann", Method::GET, "api/grants", "live=true&limit=20&user=ann", None),
            ("block ann", Method::POST, "api/users/ann/block", "", None),
            ("allow ann", Method::DELETE, "api/users/ann/block", "", None),
            ("revoke id-1", Method::POST, "api/credentials/id-1/revoke", "", None),
            ("revoke --user ann", Method::POST, "api/users/ann/revoke", "", None),
        ] {
            let command = command(line);
            let call = command.call();
            let asked = call.query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
            assert_eq!((call.path.join("/").as_str(), asked.join("&").as_str()), (path, query), "{line}");
            assert_eq!(
                (call.method, call.body, call.needs_token),
                (method, body, line != "status"),
                "{line}"
            );
        }
    }

    #[test]
    fn a_user_is_one_segment_of_the_path() {
        assert_eq!(command("block a/b").call().path, ["api", "users", "a/b", "block"]);
    }

    #[test]
    fn options_stand_anywhere_after_the_name() {
        let (command, options) = parsed("limit --json 5 --url https://broker.example/base").unwrap().unwrap();
        assert_eq!(command, OperatorCommand::Limit(NewLimit::Gb(5.0)));
        assert_eq!((options.url.unwrap().as_str(), options.json), ("https://broker.example/base", true));
        assert_eq!(parsed("limit 5 --help"), Ok(None));
    }

    #[test]
    fn other_arguments_are_wrong_usage() {
        for (line, expected) in [
            ("limit", "limit GB"),
            ("limit -1", "-1"),
            ("limit 1000001", "from 0 to 1000000"),
            ("limit NaN", "from 0 to 1000000"),
            ("limit much", "from 0 to 1000000"),
            ("limit 1 2", "unexpected argument"),
            ("backup", "backup FILE"),
            ("freeze now", "unexpected argument"),
            ("freeze --user ann", "--user"),
            ("block", "block USER"),
            ("allow", "allow USER"),
            ("block ann ben", "unexpected argument"),
            ("revoke", "revoke GRANT, or revoke --user USER"),
            ("revoke id-1 --user ann", "revoke GRANT, or revoke --user USER"),
            ("grants ann", "unexpected argument"),
            ("spenders everybody", "expected user, label"),
            ("status --url broker.example", "an address"),
            ("status --url ftp://broker.example", "an address"),
            ("status --verbose", "--verbose"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
