//! `turn-broker ice`: keeps ICE servers in a file, for a program that reads them from its configuration.
//!
//! The file is replaced as a whole, and only by servers with a relay. With `--every`, the next write comes before the credential in the
//! file ends, unless mints or writes fail until then. If the credential is revoked, the next write comes within [`RETRY`].

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::process::Command;
use tokio::time::sleep;
use url::Url;

use super::{BODY_MAX, OperatorError, Options, directory_of, local, send};
use crate::config::Config;
use crate::http::parameter_forms::span;
use crate::ice::server::{IceServer, IceServerList, OnBadUrl, RawIceServer};
use crate::ice::url::IceUrl;
use turn_base::access::foreign_owner;
use turn_base::http_client::{HttpClient, body, joined};

/// The pause after a failed write, the shortest pause after any write, and how often the broker is asked whether the credential is revoked.
const RETRY: Duration = Duration::from_secs(30);
/// The permissions that a new file keeps: nobody but the owner may write it.
const READ_OF_OTHERS: u32 = 0o644;
/// How long the command after a write may take.
const THEN_MAX: Duration = Duration::from_secs(60);

/// What to write, for whom and when.
#[derive(Clone, Debug, Args)]
pub struct IceOptions {
    /// The file, replaced as a whole; the old one's readers can read it, a new one only this user
    #[arg(long, value_name = "FILE")]
    write: PathBuf,
    /// The program that reads the file
    #[arg(long, value_enum, default_value = "json", value_name = "PROGRAM")]
    form: Form,
    /// Write again after this time, 1m to 365d, before the credential ends, and when it is revoked; without it, write once
    #[arg(long, value_name = "1h", value_parser = |text: &str| span(text).ok_or("give minutes, hours or days, such as 1h"))]
    every: Option<Duration>,
    /// A command for the shell after each write, such as one that makes the program read its configuration again
    #[arg(long, value_name = "COMMAND")]
    then: Option<String>,
    /// The key to mint with, by its name in `SERVER_KEYS`; the first one unless given
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// The user who spends
    #[arg(long)]
    user: Option<String>,
    /// The credential's lifetime in seconds; the longest one unless given
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<String>,
}

/// The form of a program's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// An object with `iceServers`
    Json,
    /// data/ice-servers.json
    Galene,
    /// The file of `RTC_CONFIG`
    Pairdrop,
    /// A further -config
    Go2rtc,
    /// A part of mediamtx.yml
    Mediamtx,
}

/// The part of a mint's response that this command uses.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Minted {
    ice_servers: Vec<RawIceServer>,
    #[serde(default)]
    ttl: u64,
    grant: Option<String>,
}

/// Writes the file; with `--every` again and again, until the process ends.
pub async fn keep_ice(
    config: &Config,
    wanted: &IceOptions,
    options: &Options,
) -> Result<String, OperatorError> {
    let url = options.url.clone().unwrap_or_else(|| local(config));
    loop {
        let (outcome, written) = match write(config, wanted, &url).await {
            Ok(written) => (after(wanted, written.ttl).await, Some(written)),
            Err(error) => (Err(error), None),
        };
        let Some(every) = wanted.every else { return outcome };
        // The reader of a pipe may have gone.
        let _ = writeln!(io::stderr(), "turn-broker: {}", outcome.unwrap_or_else(|error| error.to_string()));
        match written {
            // If only the command failed, the file has a good credential, so the next write is no sooner.
            Some(written) => next_write(config, &url, &written, every).await,
            None => sleep(RETRY).await,
        }
    }
}

/// Runs the command after a write. Returns what to print.
async fn after(wanted: &IceOptions, life: u64) -> Result<String, OperatorError> {
    if let Some(command) = &wanted.then {
        run_in_shell(command).await.map_err(OperatorError::Then)?;
    }
    Ok(format!("{} is written, with a credential of {} s", wanted.write.display(), life))
}

/// Waits until the next write is due: after [`pause`], or once the credential is revoked.
async fn next_write(config: &Config, url: &Url, written: &Minted, every: Duration) {
    let mut left = pause(every, Duration::from_secs(written.ttl));
    while left > RETRY {
        sleep(RETRY).await;
        left -= RETRY;
        if let Some(grant) = &written.grant
            && is_refused(config, url, grant).await
        {
            return;
        }
    }
    sleep(left).await;
}

/// Whether the broker refuses this grant. The request closes a connection that is not open, which changes nothing.
async fn is_refused(config: &Config, url: &Url, grant: &str) -> bool {
    let Ok(client) = HttpClient::new(&config.network) else { return false };
    let close = client.request(Method::POST, joined(url, &["api", "connections", "ice", "close"]));
    let closed = send(config, &client, close.bearer_auth(grant), url).await;
    matches!(closed, Err(OperatorError::Refused(said)) if said.contains("INVALID_GRANT"))
}

/// The time until the next write: at most three quarters of the credential's life, so that there is time for attempts that fail, but at
/// least [`RETRY`].
fn pause(every: Duration, life: Duration) -> Duration {
    every.min(life.saturating_sub(life / 4)).max(RETRY)
}

/// Writes the file once.
async fn write(config: &Config, wanted: &IceOptions, url: &Url) -> Result<Minted, OperatorError> {
    let path = &wanted.write;
    let (servers, written) = mint(config, wanted, url).await?;
    let text = text_of(wanted.form, &servers);
    replace(path, text.as_bytes()).map_err(|error| OperatorError::File { path: path.clone(), error })?;
    Ok(written)
}

async fn mint(
    config: &Config,
    wanted: &IceOptions,
    url: &Url,
) -> Result<(IceServerList, Minted), OperatorError> {
    let is_wanted = |name: &str| wanted.key.as_deref().is_none_or(|key| key == name);
    let key = config.server_keys.keys.iter().find(|key| is_wanted(key.name.as_str()));
    let key = key.ok_or(OperatorError::NoServerKey)?;
    let mut target = joined(url, &["api", "turn-credentials"]);
    let query = [("user", &wanted.user), ("ttl", &wanted.ttl)];
    let given = query.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    target.query_pairs_mut().extend_pairs(given);
    let client = HttpClient::new(&config.network)?;
    let request = client.request(Method::GET, target).bearer_auth(key.key.expose_secret());
    let response = send(config, &client, request, url).await?;
    let not_a_broker = || OperatorError::NotABroker(url.to_string());
    let body = body(BODY_MAX, response).await.map_err(|_| not_a_broker())?;
    let mut minted: Minted = serde_json::from_slice(&body).map_err(|_| not_a_broker())?;
    let servers = IceServerList::clean(std::mem::take(&mut minted.ice_servers), OnBadUrl::Drop)
        .map_err(|_| not_a_broker())?;
    if servers.relays() { Ok((servers, minted)) } else { Err(OperatorError::NoRelay) }
}

/// Replaces the file as a whole, so that no program reads a part of it. Others may read the new file as they may read the old one, unless
/// somebody else has put that there.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(owner) = foreign_owner(path) {
        return Err(io::Error::other(format!(
            "it belongs to user {owner}, who is neither this user nor root"
        )));
    }
    let mut file = NamedTempFile::new_in(directory_of(path))?;
    file.write_all(text)?;
    if let Ok(old) = path.symlink_metadata()
        && old.is_file()
    {
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
        file.as_file().set_permissions(Permissions::from_mode(old.mode() & READ_OF_OTHERS))?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Runs the command after a write. The error says how it failed.
async fn run_in_shell(command: &str) -> Result<(), String> {
    let ended = Command::new("sh").args(["-c", command]).kill_on_drop(true).status();
    match tokio::time::timeout(THEN_MAX, ended).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no end within 60 s".to_owned()),
    }
}

/// The servers in the form of a program. A JSON value is valid YAML too.
fn text_of(form: Form, servers: &IceServerList) -> String {
    let of_each = |entry: fn((&IceServer, &IceUrl)) -> Value| servers.entries().map(entry).collect::<Value>();
    match form {
        Form::Json => format!("{}\n", json!({"iceServers": servers})),
        Form::Galene => format!("{}\n", json!(servers)),
        Form::Pairdrop => format!("{}\n", json!({"sdpSemantics": "unified-plan", "iceServers": servers})),
        Form::Go2rtc => format!("webrtc:\n  ice_servers: {}\n", json!(servers)),
        Form::Mediamtx => format!("webrtcICEServers2: {}\n", of_each(of_mediamtx)),
    }
}

fn of_mediamtx((server, url): (&IceServer, &IceUrl)) -> Value {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    json!({"url": url.as_str(), "username": text(&server.username), "password": text(&server.credential)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_again_before_its_credential_ends() {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        assert_eq!(pause(hours(1), hours(24)), hours(1));
        assert_eq!(pause(hours(30), hours(24)), hours(18));
        assert_eq!(pause(hours(1), Duration::ZERO), RETRY);
    }

    #[test]
    fn a_file_that_somebody_else_has_put_there_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ice.json");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o644, "nobody else may write it");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, b"newer").unwrap();
        assert!(link.symlink_metadata().unwrap().is_file(), "a link is not followed");
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        // Only root can make a file that belongs to another user.
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
            assert!(replace(&path, b"newest").unwrap_err().to_string().contains("user 65534"));
            assert_eq!(std::fs::read(&path).unwrap(), b"new");
        }
    }

    #[test]
    fn each_program_gets_the_form_of_its_own_documentation() {
        let raw = json!([
            {"urls": "stun:s.example"},
            {"urls": ["turn:t.example", "turn:t.example:80?transport=tcp", "turns:[::1]:443"], "username": "u", "credential": "c\"\\"},
        ]);
        let servers = IceServerList::clean(serde_json::from_value(raw).unwrap(), OnBadUrl::Refuse).unwrap();
        let list = r#"[{"urls":["stun:s.example"]},{"credential":"c\"\\","urls":["turn:t.example","turn:t.example:80?transport=tcp","turns:[::1]:443"],"username":"u"}]"#;
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(value(&text_of(Form::Galene, &servers)), value(list));
        assert_eq!(value(&text_of(Form::Json, &servers)), json!({"iceServers": value(list)}));
        let pairdrop = json!({"sdpSemantics": "unified-plan", "iceServers": value(list)});
        assert_eq!(value(&text_of(Form::Pairdrop, &servers)), pairdrop);
        let yaml = |form, head: &str| value(text_of(form, &servers).strip_prefix(head).unwrap());
        assert_eq!(yaml(Form::Go2rtc, "webrtc:\n  ice_servers: "), value(list));
        let entry = |url: &str, [name, password]: [&str; 2]| json!({"url": url, "username": name, "password": password});
        let of_mediamtx = json!([
            entry("stun:s.example", ["", ""]),
            entry("turn:t.example", ["u", "c\"\\"]),
            entry("turn:t.example:80?transport=tcp", ["u", "c\"\\"]),
            entry("turns:[::1]:443", ["u", "c\"\\"]),
        ]);
        assert_eq!(yaml(Form::Mediamtx, "webrtcICEServers2: "), of_mediamtx);
    }
}
