//! The arguments of the commands, and the HTTP call that each command is.

use std::path::PathBuf;

use lexopt::ValueExt;
use serde_json::{Value, json};
use url::Url;

/// Largest limit in GB; the same as for `BANDWIDTH_LIMIT_GB`.
const LIMIT_GB_MAX: f64 = 1_000_000.0;

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
pub(super) struct Call {
    /// Without the first slash.
    pub(super) path: &'static str,
    /// The value of `by` in the query, if there is one.
    pub(super) by: Option<&'static str>,
    /// The body of a POST; `None` for a GET.
    pub(super) body: Option<Value>,
    pub(super) needs_token: bool,
}

impl OperatorCommand {
    pub(super) fn call(&self) -> Call {
        let post = |path, body| Call { path, by: None, body: Some(body), needs_token: true };
        match self {
            Self::Status => Call { path: "api/bandwidth-status", by: None, body: None, needs_token: false },
            Self::Freeze => post("api/budget/freeze", json!({ "frozen": true })),
            Self::Unfreeze => post("api/budget/freeze", json!({ "frozen": false })),
            Self::Limit(NewLimit::Gb(gb)) => post("api/budget/limit", json!({ "limitGB": gb })),
            Self::Limit(NewLimit::Configured) => post("api/budget/limit", json!({ "limitGB": null })),
            Self::Spenders(by) => {
                Call { path: "api/spenders", by: Some(by.name()), body: None, needs_token: true }
            }
            Self::Backup(_) => Call { path: "api/backup", by: None, body: None, needs_token: true },
        }
    }
}

/// Parses what follows the name of a command. `Ok(None)` if help is requested.
pub fn parse(
    name: &str,
    mut parser: lexopt::Parser,
) -> Result<Option<(OperatorCommand, Options)>, lexopt::Error> {
    use lexopt::prelude::{Long, Short, Value};
    let (mut options, mut operand) = (Options::default(), None);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("json") => options.json = true,
            Long("url") => options.url = Some(parser.value()?.parse_with(broker_url)?),
            Value(value) if operand.is_none() && matches!(name, "limit" | "backup" | "spenders") => {
                operand = Some(value);
            }
            other => return Err(other.unexpected()),
        }
    }
    let command = match (name, operand) {
        ("status", None) => OperatorCommand::Status,
        ("freeze", None) => OperatorCommand::Freeze,
        ("unfreeze", None) => OperatorCommand::Unfreeze,
        ("limit", Some(limit)) => OperatorCommand::Limit(limit.parse_with(new_limit)?),
        ("spenders", None) => OperatorCommand::Spenders(SpenderGroup::User),
        ("spenders", Some(by)) => OperatorCommand::Spenders(by.parse_with(spender_group)?),
        ("backup", Some(file)) => OperatorCommand::Backup(file.into()),
        ("limit", None) => return Err("expected limit GB, or limit default".into()),
        _ => return Err("expected backup FILE".into()),
    };
    Ok(Some((command, options)))
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
        parse(name, lexopt::Parser::from_args(rest.split_whitespace())).map_err(|error| error.to_string())
    }

    fn command(line: &str) -> OperatorCommand {
        parsed(line).unwrap().unwrap().0
    }

    #[test]
    fn each_command_is_one_call() {
        for (line, path, body) in [
            ("status", "api/bandwidth-status", None),
            ("freeze", "api/budget/freeze", Some(json!({ "frozen": true }))),
            ("unfreeze", "api/budget/freeze", Some(json!({ "frozen": false }))),
            ("limit 1500.5", "api/budget/limit", Some(json!({ "limitGB": 1500.5 }))),
            ("limit default", "api/budget/limit", Some(json!({ "limitGB": null }))),
            ("backup b.redb", "api/backup", None),
        ] {
            let needs_token = line != "status";
            assert_eq!(command(line).call(), Call { path, by: None, body, needs_token }, "{line}");
        }
        for (line, by) in [("spenders", "user"), ("spenders call", "call"), ("spenders grant", "grant")] {
            let call = Call { path: "api/spenders", by: Some(by), body: None, needs_token: true };
            assert_eq!(command(line).call(), call, "{line}");
        }
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
