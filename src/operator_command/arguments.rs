//! The arguments of the commands, and the HTTP call that each command is.

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
        /// The period that began in this month: this one, or one of the twelve before it
        #[arg(long, value_name = "MONTH", conflicts_with = "since")]
        period: Option<String>,
        /// Print a CSV with the costs, in the columns of FOCUS
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
    /// Refuse credentials to a user or an address, and close a user's sockets and SFU sessions; `allow` ends it
    #[command(
        override_usage = "turn-broker block <USER>\n       turn-broker block --address <ADDRESS> [--for <1h>]"
    )]
    Block {
        /// The user or the address
        #[command(flatten)]
        whom: Whom,
        /// For how long, in minutes, hours or days, 1m to 365d; without it, until `allow`
        #[arg(long = "for", value_name = "1h", requires = "address", conflicts_with = "user")]
        lasting: Option<String>,
    },
    /// Give a blocked user or address credentials again
    #[command(override_usage = "turn-broker allow <USER>\n       turn-broker allow --address <ADDRESS>")]
    Allow {
        /// The user or the address
        #[command(flatten)]
        whom: Whom,
    },
    /// Revoke a credential by id or token, or all credentials of a spender
    #[command(
        override_usage = "turn-broker revoke <GRANT>\n       turn-broker revoke --user <USER> | --key <NAME> | --label <LABEL> | --address <ADDRESS> | --origin <ORIGIN> | --call <CALL>",
        group(ArgGroup::new("what").required(true))
    )]
    Revoke {
        /// The id of the credential's grant, or its token
        #[arg(value_name = "GRANT", value_parser = path_segment, group = "what")]
        grant: Option<String>,
        /// Revoke all credentials of this user instead
        #[arg(long, value_parser = path_segment, group = "what")]
        user: Option<String>,
        /// Revoke all credentials that this key of `SERVER_KEYS` has minted instead
        #[arg(long, value_name = "NAME", value_parser = path_segment, group = "what")]
        key: Option<String>,
        /// Revoke all credentials with this label instead
        #[arg(long, group = "what")]
        label: Option<String>,
        /// Revoke all credentials of this client address instead, as spenders lists it
        #[arg(long, group = "what")]
        address: Option<String>,
        /// Revoke all credentials of pages of this origin instead
        #[arg(long, group = "what")]
        origin: Option<String>,
        /// Revoke all credentials of this call instead
        #[arg(long, group = "what")]
        call: Option<String>,
    },
    /// Give a relay no new credentials; calls go on
    Drain {
        /// Its host
        #[arg(value_name = "RELAY", value_parser = path_segment)]
        relay: String,
    },
    /// End `drain`
    Undrain {
        /// Its host
        #[arg(value_name = "RELAY", value_parser = path_segment)]
        relay: String,
    },
    /// Remove a person's credentials, name, labels and addresses
    Forget {
        /// The user, as spenders lists it
        #[arg(value_name = "USER", value_parser = path_segment)]
        user: String,
    },
    /// Copy the ledger into a new file, readable by its owner
    Backup {
        /// A path that does not exist yet
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Who is blocked or allowed.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[group(required = true, multiple = false)]
pub struct Whom {
    /// The user, as in the application's tokens
    #[arg(value_name = "USER", value_parser = path_segment)]
    user: Option<String>,
    /// A client address instead, or an IPv6 prefix as spenders lists it
    #[arg(long, value_parser = path_segment)]
    address: Option<String>,
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

impl Whom {
    /// The path of the block.
    fn path(&self) -> Vec<&str> {
        let [kind, name] = match self {
            Self { user: Some(user), .. } => ["users", user],
            Self { address, .. } => ["addresses", address.as_deref().unwrap_or_default()],
        };
        vec!["api", kind, name, "block"]
    }
}

impl OperatorCommand {
    /// Whether its response is a CSV.
    pub(super) const fn is_csv(&self) -> bool {
        matches!(self, Self::Spenders { csv: true, .. })
    }

    pub(super) fn call(&self) -> ApiCall<'_> {
        let call =
            |method, path, body, text| ApiCall { method, path, query: vec![], body, needs_token: true, text };
        let get = |path, query, text| ApiCall { query, ..call(Method::GET, vec!["api", path], None, text) };
        let set = |what, body| call(Method::POST, vec!["api", "budget", what], Some(body), text::summary);
        let block = |method, path| call(method, path, None, text::block);
        let drain = |method, relay| call(method, vec!["api", "relays", relay, "drain"], None, text::drain);
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
            Self::Block { whom, lasting } => {
                let query = lasting.iter().map(|lasting| ("for", lasting.as_str())).collect();
                ApiCall { query, ..block(Method::POST, whom.path()) }
            }
            Self::Allow { whom } => block(Method::DELETE, whom.path()),
            Self::Drain { relay } => drain(Method::POST, relay),
            Self::Undrain { relay } => drain(Method::DELETE, relay),
            Self::Revoke { grant: Some(grant), .. } => {
                call(Method::POST, vec!["api", "credentials", grant, "revoke"], None, text::revocation)
            }
            Self::Revoke { grant: None, user, key, label, address, origin, call: of_call } => {
                let all = [
                    ("user", user),
                    ("key", key),
                    ("label", label),
                    ("address", address),
                    ("origin", origin),
                    ("call", of_call),
                ];
                let query =
                    all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
                ApiCall { query, ..call(Method::POST, vec!["api", "revoke"], None, text::revocations) }
            }
            Self::Forget { user } => {
                call(Method::DELETE, vec!["api", "users", user], None, text::revocations)
            }
            // Its response is a file.
            Self::Backup { .. } => get("backup", vec![], |_| None),
        }
    }
}

fn new_limit(text: &str) -> Result<NewLimit, &'static str> {
    if text == "default" {
        return Ok(NewLimit::Configured);
    }
    let gb = parse_decimal(text, AMOUNT_MAX);
    gb.map(NewLimit::Gb).ok_or("expected GB from 0 to 1000000, decimals allowed, or default")
}

/// A name that stands in the path of a call.
fn path_segment(text: &str) -> Result<String, &'static str> {
    let is_named = !text.is_empty() && !is_dots(text);
    is_named
        .then(|| text.to_owned())
        .ok_or("expected a name other than . and .., as spenders and grants list it")
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
    fn all_credentials_of_one_spender_can_be_revoked_whatever_its_kind() {
        for name in SpenderKind::ALL.map(SpenderKind::name) {
            assert_eq!(command(&format!("revoke --{name} x")).call().query, [(name, "x")]);
        }
    }

    #[test]
    fn a_user_is_one_segment_of_the_path() {
        assert_eq!(command("block a/b").call().path, ["api", "users", "a/b", "block"]);
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
