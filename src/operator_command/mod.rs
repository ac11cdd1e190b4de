//! Commands for a running broker, such as `status`, `limit` and `block`. Each is one call of its HTTP API. What a
//! call says, and what its response means, are pure functions (`arguments`, `text`). This file sends, and writes files.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::json;
use tempfile::NamedTempFile;
use url::Url;

use crate::config::Config;
use turn_base::http_client::{CallError, ClientError, HttpClient, body, chunk, joined};

mod arguments;
mod ice;
mod text;

pub use arguments::{NewLimit, OperatorCommand, Options};
pub use ice::{IceOptions, keep_ice};
use text::failure;

/// Longest JSON response that is read. Real ones have a few KiB.
const BODY_MAX: usize = 64 * 1024;
/// Longest CSV that is read.
const CSV_MAX: usize = 16 << 20;
/// The longest backup. Ten years of a busy service have less than 256 MiB.
const BACKUP_MAX: u64 = 4 << 30;
/// The time limit of a whole backup. Other calls that only read have the time limit of the HTTP client.
const BACKUP_TIMEOUT: Duration = Duration::from_secs(600);
/// The time limit of a change. A revocation that the provider does not answer takes 7 s, with its look-ups and the write of the ledger.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a command failed. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The command needs the operator's token.
    #[error("OPERATOR_TOKEN is not set. Set it to the token of the service, or set OPERATOR_TOKEN_FILE.")]
    NoToken,
    /// `ice` needs a server key.
    #[error("SERVER_KEYS has no such key. Set it to the keys of the running service, and --key to a name.")]
    NoServerKey,
    /// The broker has no relay now.
    #[error("the broker gave no relay, so the file stays as it is. Run turn-broker status to see why.")]
    NoRelay,
    /// The command after a write failed.
    #[error("the file is written, but its command failed: {0}. Correct the command of --then.")]
    Then(String),
    /// The HTTP client cannot be built.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No response.
    #[error("no response from {url}: {error}. Start the service, or give its address with --url.")]
    Unreachable {
        /// The broker's address.
        url: String,
        /// Why not.
        error: CallError,
    },
    /// The broker refused.
    #[error("{0}")]
    Refused(String),
    /// The response is not one of a broker.
    #[error("{0} did not respond as a broker does. Give the broker's address with --url.")]
    NotABroker(String),
    /// The backup's file exists already.
    #[error("{0} exists. Choose another name: a backup overwrites nothing.")]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("{path} cannot be written: {error}. {}", remedy(error))]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The response ended early.
    #[error("the backup ended early ({error}), and {path} was not written. Read the service's log.")]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// Why it ended.
        error: CallError,
    },
}

/// What to do about a file that cannot be written.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ResourceBusy => "A mounted file cannot be replaced. Mount its directory instead.",
        _ => "Choose a directory that this user may write to, on a disk with free space.",
    }
}

/// Runs a command. Returns what to print.
pub async fn run(
    config: &Config,
    command: &OperatorCommand,
    options: &Options,
) -> Result<String, OperatorError> {
    let url = options.url.clone().unwrap_or_else(|| local(config));
    let response = perform(config, command, &url).await?;
    if let OperatorCommand::Backup { file: path } = command {
        let bytes = save(path, response, BACKUP_MAX).await?;
        let saved = json!({ "file": path.to_string_lossy(), "bytes": bytes });
        return Ok(if options.json { saved.to_string() } else { text::saved(path, bytes) });
    }
    let not_a_broker = || OperatorError::NotABroker(url.to_string());
    if command.is_csv() {
        let csv = body(CSV_MAX, response).await.map_err(|_| not_a_broker())?;
        return Ok(String::from_utf8_lossy(&csv).trim_end().to_owned());
    }
    let bytes = body(BODY_MAX, response).await.map_err(|_| not_a_broker())?;
    let body = serde_json::from_slice(&bytes).map_err(|_| not_a_broker())?;
    let summary = (command.call().text)(&body).ok_or_else(not_a_broker)?;
    Ok(if options.json { String::from_utf8_lossy(&bytes).into_owned() } else { summary })
}

/// The address of the service on this machine.
fn local(config: &Config) -> Url {
    let url = format!("http://{}", config.server.reachable()).parse();
    url.expect("an address and a port are the authority of a URL")
}

/// Sends the call of a command, and returns its response.
async fn perform(config: &Config, command: &OperatorCommand, url: &Url) -> Result<Response, OperatorError> {
    let call = command.call();
    let mut target = joined(url, &call.path);
    target.query_pairs_mut().extend_pairs(&call.query);
    let client = HttpClient::new(&config.network)?;
    let is_change = call.method != Method::GET;
    let mut request = client.request(call.method, target);
    if is_change {
        request = request.timeout(CHANGE_TIMEOUT);
    }
    // Without the token, the status has no details.
    match &config.access.operator_token {
        Some(token) => request = request.bearer_auth(token.expose_secret()),
        None if call.needs_token => return Err(OperatorError::NoToken),
        None => {}
    }
    if command.is_csv() {
        request = request.header(ACCEPT, "text/csv");
    }
    if let Some(body) = &call.body {
        request = request.json(body);
    }
    if let OperatorCommand::Backup { file: path } = command {
        // Checked before the broker makes a copy.
        if path.symlink_metadata().is_ok() {
            return Err(OperatorError::Exists(path.clone()));
        }
        request = request.timeout(BACKUP_TIMEOUT);
    }
    send(config, &client, request, url).await
}

/// Sends a request to the broker, and returns a response with status 200.
async fn send(
    config: &Config,
    client: &HttpClient,
    mut request: RequestBuilder,
    url: &Url,
) -> Result<Response, OperatorError> {
    if *url == local(config) {
        request = config.access.hosts.with_allowed_host(request);
    }
    let sent = async { client.execute(request.build()?).await };
    let response = sent.await.map_err(|error| OperatorError::Unreachable { url: url.to_string(), error })?;
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let said = body(BODY_MAX, response).await.ok();
    let said = said.and_then(|body| failure(status.as_u16(), &serde_json::from_slice(&body).ok()?));
    Err(said.map_or_else(|| OperatorError::NotABroker(url.to_string()), OperatorError::Refused))
}

/// Writes the response, of at most `max` bytes, to a new file, which only its owner can read, and which has its name only when it is
/// complete. Returns its length.
async fn save(path: &Path, mut response: Response, max: u64) -> Result<u64, OperatorError> {
    let incomplete = |error| OperatorError::Incomplete { path: path.to_owned(), error };
    let unwritten = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => OperatorError::Exists(path.to_owned()),
        _ => OperatorError::File { path: path.to_owned(), error },
    };
    let mut file = NamedTempFile::new_in(directory_of(path)).map_err(unwritten)?;
    let mut bytes = 0_u64;
    while let Some(part) = chunk(&mut response).await.map_err(incomplete)? {
        let part = part.as_ref();
        bytes = bytes.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        if bytes > max {
            return Err(incomplete(CallError::TooLong(usize::try_from(max).unwrap_or(usize::MAX))));
        }
        file.write_all(part).map_err(unwritten)?;
    }
    file.as_file().sync_all().map_err(unwritten)?;
    file.persist_noclobber(path).map_err(|error| unwritten(error.error))?;
    Ok(bytes)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_file_is_no_matter_of_space() {
        let error = io::ErrorKind::ResourceBusy.into();
        let error = OperatorError::File { path: "/f".into(), error }.to_string();
        assert!(error.contains("Mount its directory") && !error.contains("free space"), "{error}");
    }

    #[tokio::test]
    async fn a_backup_longer_than_the_maximum_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("copy");
        let response = || Response::from(axum::http::Response::new("12345"));
        assert_eq!(save(&path, response(), 5).await.unwrap(), 5);
        assert_eq!(std::fs::read(&path).unwrap(), b"12345");
        let other = directory.path().join("other");
        let error = save(&other, response(), 4).await.unwrap_err().to_string();
        assert!(error.contains("longer than 4 bytes") && !other.exists(), "{error}");
    }
}
