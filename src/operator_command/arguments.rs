//! The arguments of the commands, and the HTTP call that each command is.

use std::iter;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::text;
use crate::config::{AMOUNT_MAX, parse_decimal};
use turn_ledger::{is_dots, spender_lists};

/// How many spenders or grants are listed.
const ROWS_SHOWN: &str = "20";

/// What `spenders --since` takes.
const MINUTES: [&str; 15] =
    ["1m", "2m", "3m", "4m", "5m", "6m", "7m", "8m", "9m", "10m", "11m", "12m", "13m", "14m", "15m"];

/// A command for a running broker.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub enum OperatorCommand {
    /// Show the state of the budget
    Status,
    /// List who spends most in a period or the last minutes
    Spenders {
        /// What to list: users, labels, origins, addresses, calls, server keys or single credentials
        #[arg(default_value = "user", value_parser = PossibleValuesParser::new(spender_lists()))]
        by: String,
        /// Only the last minutes, 1m to 15m: who spends now
        #[arg(long, value_name = "5m", value_parser = MINUTES, hide_possible_values = true)]
        since: Option<String>,
        /// The period that began in this month, one of the last 13: with `BILLING_DAY=15`, 2030-10 is 15 October to 15 November
        #[arg(long, value_name = "MONTH", conflicts_with = "since")]
        period: Option<String>,
        /// Print a CSV with the costs; its first columns are some of FOCUS 1.2
        #[arg(long, conflicts_with = "since")]
        csv: bool,
    },
    /// List the live credentials with the most bytes
    Grants {
        /// Only those of this user
        #[arg(long)]
        user: Option<String>,
    },
    /// Stop all minting; running calls continue
    Freeze,
    /// Resume minting
    Unfreeze,
    /// Set the limit in GB; `limit default` restores `BANDWIDTH_LIMIT_GB`
    Limit {
        /// GB, or default
        #[arg(value_name = "GB", value_parser = new_limit)]
        to: NewLimit,
    },
    /// Refuse credentials to a spender, and close a user's or an address's sockets and SFU sessions; `allow` ends it
    #[command(group(ArgGroup::new("what").required(true)))]
    Block {
        /// The user, as in the application's tokens
        #[arg(value_name = "USER", value_parser = name, group = "what")]
        user: Option<String>,
        /// Or another spender
        #[command(flatten)]
        other: Other,
        /// For how long, in minutes, hours or days, 1m to 365d; without it, until `allow`
        #[arg(long = "for", value_name = "1h")]
        lasting: Option<String>,
    },
    /// Give a blocked spender credentials again
    #[command(group(ArgGroup::new("what").required(true)))]
    Allow {
        /// The user, as in the application's tokens
        #[arg(value_name = "USER", value_parser = name, group = "what")]
        user: Option<String>,
        /// Or another spender
        #[command(flatten)]
        other: Other,
    },
    /// Revoke a credential by id or token, or all credentials of a spender
    #[command(group(ArgGroup::new("what").required(true)))]
    Revoke {
        /// The id of the credential's grant, or its token
        #[arg(value_name = "GRANT", value_parser = name, group = "what")]
        grant: Option<String>,
        /// All of this user instead
        #[arg(long, value_parser = name, group = "what")]
        user: Option<String>,
        /// Or of another spender
        #[command(flatten)]
        other: Other,
    },
    /// Give a relay no new credentials; calls go on
    Drain {
        /// Its host
        #[arg(value_name = "RELAY", value_parser = name)]
        relay: String,
    },
    /// End `drain`
    Undrain {
        /// Its host
        #[arg(value_name = "RELAY", value_parser = name)]
        relay: String,
    },
    /// Remove a person's credentials, name, labels and addresses
    Forget {
        /// The user, as spenders lists it
        #[arg(value_name = "USER", value_parser = name)]
        user: String,
    },
    /// Copy the ledger into a new file, readable by its owner
    Backup {
        /// A path that does not exist yet
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// A spender in place of a user.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Other {
    /// A client address, or an IPv6 prefix, as spenders lists it
    #[arg(long, group = "what")]
    address: Option<String>,
    /// A key of `SERVER_KEYS`
    #[arg(long, value_name = "NAME", value_parser = name, group = "what")]
    key: Option<String>,
    /// A label
    #[arg(long, group = "what")]
    label: Option<String>,
    /// The origin of pages
    #[arg(long, group = "what")]
    origin: Option<String>,
    /// A call
    #[arg(long, group = "what")]
    call: Option<String>,
}

/// The argument of `limit`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NewLimit {
    /// From 0 to 1,000,000 GB.
    Gb(f64),
    /// `BANDWIDTH_LIMIT_GB` again.
    Configured,
}

/// What every command takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The broker's address; `None`: `HOST` and `PORT` of the configuration.
    pub url: Option<Url>,
    /// Whether to print JSON.
    pub json: bool,
    /// The file with the settings; `None`: `.env`, if there is one.
    pub env_file: Option<PathBuf>,
}

/// A call of the HTTP API.
pub(super) struct ApiCall<'a> {
    pub(super) method: Method,
    /// The segments of the path.
    pub(super) path: Vec<&'a str>,
    pub(super) query: Vec<(&'static str, &'a str)>,
    pub(super) body: Option<Value>,
    pub(super) needs_token: bool,
    /// What a person reads about the body of the response; `None` if it is not a broker's.
    pub(super) text: fn(&Value) -> Option<String>,
}

impl OperatorCommand {
    pub(super) const fn is_csv(&self) -> bool {
        matches!(self, Self::Spenders { csv: true, .. })
    }

    pub(super) fn call(&self) -> ApiCall<'_> {
        let call =
            |method, path, body, text| ApiCall { method, path, query: vec![], body, needs_token: true, text };
        let about =
            |method, path, query, text| ApiCall { query, ..call(method, vec!["api", path], None, text) };
        let get = |path, query, text| about(Method::GET, path, query, text);
        let set = |what, body| call(Method::POST, vec!["api", "budget", what], Some(body), text::summary);
        let drain = |method, relay| {
            call(method, vec!["api", "relays", relay, "drain"], None, |body| text::message(body, "draining"))
        };
        let (blocked, revoked) =
            (|body: &Value| text::message(body, "blocked"), |body: &Value| text::message(body, "revoked"));
        match self {
            Self::Status => ApiCall { needs_token: false, ..get("bandwidth-status", vec![], text::summary) },
            Self::Freeze => set("freeze", json!({ "frozen": true })),
            Self::Unfreeze => set("freeze", json!({ "frozen": false })),
            Self::Limit { to: NewLimit::Gb(gb) } => set("limit", json!({ "limitGB": gb })),
            Self::Limit { to: NewLimit::Configured } => set("limit", json!({ "limitGB": null })),
            Self::Spenders { by, since, period, .. } => {
                let time = [("since", since), ("period", period)];
                let time = time.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
                let query = [("by", by.as_str()), ("limit", ROWS_SHOWN)].into_iter().chain(time).collect();
                get("spenders", query, text::spenders)
            }
            Self::Grants { user } => {
                let user = user.iter().map(|user| ("user", user.as_str()));
                let query = [("live", "true"), ("limit", ROWS_SHOWN)].into_iter().chain(user).collect();
                get("grants", query, text::grants)
            }
            Self::Block { user, other, lasting } => {
                about(Method::POST, "block", named(user.as_ref(), other, lasting.as_ref()), blocked)
            }
            Self::Allow { user, other } => {
                about(Method::DELETE, "block", named(user.as_ref(), other, None), blocked)
            }
            Self::Drain { relay } => drain(Method::POST, relay),
            Self::Undrain { relay } => drain(Method::DELETE, relay),
            Self::Revoke { grant: Some(grant), .. } => {
                call(Method::POST, vec!["api", "credentials", grant, "revoke"], None, text::revocation)
            }
            Self::Revoke { grant: None, user, other } => {
                about(Method::POST, "revoke", named(user.as_ref(), other, None), revoked)
            }
            Self::Forget { user } => about(Method::DELETE, "users", vec![("user", user)], revoked),
            // Its response is a file.
            Self::Backup { .. } => get("backup", vec![], |_| None),
        }
    }
}

/// The query that names a spender.
fn named<'a>(
    user: Option<&'a String>,
    other: &'a Other,
    lasting: Option<&'a String>,
) -> Vec<(&'static str, &'a str)> {
    let Other { address, key, label, origin, call } = other;
    let others = [("address", address), ("key", key), ("label", label), ("origin", origin), ("call", call)];
    let others = others.into_iter().map(|(name, value)| (name, value.as_ref()));
    let all = iter::once(("user", user)).chain(others).chain([("for", lasting)]);
    all.filter_map(|(name, value)| Some((name, value?.as_str()))).collect()
}

fn new_limit(text: &str) -> Result<NewLimit, &'static str> {
    if text == "default" {
        return Ok(NewLimit::Configured);
    }
    let gb = parse_decimal(text, AMOUNT_MAX);
    gb.map(NewLimit::Gb).ok_or("expected GB from 0 to 1000000, decimals allowed, or default")
}

/// A name that can stand in the path of a call.
fn name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || is_dots(text) {
        return Err("expected a name other than . and .., as spenders and grants list it");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_ledger::SpenderKind;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: OperatorCommand,
    }

    fn command(line: &str) -> OperatorCommand {
        let line = std::iter::once("turn-broker").chain(line.split_whitespace());
        <Line as clap::Parser>::try_parse_from(line).unwrap().command
    }

    #[test]
    fn each_kind_of_spender_can_be_blocked_allowed_and_revoked() {
        for name in SpenderKind::ALL.map(SpenderKind::name) {
            assert_eq!(command(&format!("revoke --{name} x")).call().query, [(name, "x")]);
            let option = if name == "user" { String::new() } else { format!("--{name} ") };
            assert_eq!(command(&format!("allow {option}x")).call().query, [(name, "x")]);
            let block = command(&format!("block {option}x --for 1h"));
            assert_eq!(block.call().query, [(name, "x"), ("for", "1h")]);
        }
    }

    #[test]
    fn a_name_is_not_empty_and_no_dots() {
        for command in [&["block"][..], &["allow"], &["revoke"], &["revoke", "--user"], &["revoke", "--key"]]
        {
            for name in ["", ".", ".."] {
                let line = ["turn-broker"].iter().chain(command).chain([&name]);
                let error = <Line as clap::Parser>::try_parse_from(line).unwrap_err().to_string();
                assert!(error.contains("expected a name other than . and .."), "{command:?} {name}: {error}");
            }
        }
    }
}
