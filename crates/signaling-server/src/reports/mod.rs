//! Reports of Orange's page ([`routes`]): each is checked, appended to a file ([`file`]) and posted to `FEEDBACK_URL`. They contain session
//! descriptions and addresses of people.

pub mod routes;

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use turn_base::{WebhookUrl, access};
use turn_limits::{PerHolder, Rate};
use turn_signaling::uuid::uuid;

use crate::ReportsConfig;
use crate::prelude::*;

/// How many reports a client may send at once.
pub(crate) const BURST: u32 = 10;
/// After this time a client may send one more.
pub(crate) const EACH: Duration = Duration::from_secs(60);
/// How many bytes of reports a client may send at once: a sixteenth of the file. The whole allowance comes back within a day.
pub(crate) const BYTES_BURST: u32 = 1024 * 1024;
/// Clients with a row of their own, half for each address family. An IPv6 /48 has four times as many reports and bytes.
pub(crate) const CLIENTS_MAX: usize = 4_096;
/// The time limit for posting a report.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// The directory of reports cannot be created.
#[derive(Debug, thiserror::Error)]
#[error("REPORTS_DIR: {} cannot be created; check its path and permissions", .directory.display())]
pub struct NoDirectory {
    directory: PathBuf,
    #[source]
    error: io::Error,
}

/// Where reports go, and how many a client may send.
pub struct Reports {
    /// `None` without `REPORTS_DIR`. The lock is held for each work on the disk, so two appends together do not exceed the file's bound.
    file: Option<Arc<Mutex<ReportFile>>>,
    /// Who gets bug reports and dead tracks. `None` without `FEEDBACK_URL`.
    receiver: Option<WebhookUrl>,
    rate: Mutex<PerHolder>,
    bytes: Mutex<PerHolder>,
    log: Throttle,
    service: Arc<Service>,
}

/// A report as it is kept and as it is posted. A kept report is found by the start of its line, so the id comes first.
#[derive(Serialize)]
struct Line<'a, T> {
    id: String,
    at: String,
    kind: &'static str,
    report: &'a T,
}

impl Reports {
    /// Creates the directory.
    pub(crate) fn open(config: &ReportsConfig, service: Arc<Service>) -> Result<Self, NoDirectory> {
        let open = |directory: &PathBuf| match ReportFile::open(directory) {
            Ok(file) => Ok(Arc::new(Mutex::new(file))),
            Err(error) => Err(NoDirectory { directory: directory.clone(), error }),
        };
        let day = Duration::from_secs(86_400);
        let rate_of = |rate| Mutex::new(PerHolder::new(rate, CLIENTS_MAX));
        Ok(Self {
            file: config.dir.as_ref().map(open).transpose()?,
            receiver: config.feedback.clone(),
            rate: rate_of(Rate { burst: BURST, each: EACH }),
            bytes: rate_of(Rate { burst: BYTES_BURST, each: day / BYTES_BURST }),
            log: Throttle::default(),
            service,
        })
    }

    /// Takes `count` of what a client may send by this rate.
    fn take(&self, rate: &Mutex<PerHolder>, client: ClientKey, count: u32) -> Result<(), ApiError> {
        let message = "Send fewer reports: ten at once, then one a minute.";
        let taken = rate.lock().take(client, count, self.service.clock.since_boot());
        taken.map_err(|spent| ApiError::too_many("Too many reports", message, spent.next))
    }

    fn line(&self, kind: &'static str, report: &impl Serialize) -> Result<String, ApiError> {
        let id = uuid(u128::from_be_bytes(random::bytes()?));
        let line = Line { id, at: self.service.clock.now().to_string(), kind, report };
        let line = serde_json::to_string(&line).map_err(|_| ApiError::internal())?;
        // A page's own JSON is kept as the page has written it. JSON has line ends only between values, so no value changes.
        Ok(line.replace(['\n', '\r'], " ") + "\n")
    }

    /// Appends a line. `false` if there is no file, or the file is full.
    async fn keep(&self, client: ClientKey, line: String) -> Result<bool, ApiError> {
        let bytes = u32::try_from(line.len()).unwrap_or(u32::MAX);
        self.take(&self.bytes, client, bytes.min(BYTES_BURST))?;
        let kept = self.on_disk(move |file| file.append(&line)).await;
        let outcome = match kept {
            Ok(None) => return Ok(false),
            Ok(Some(true)) => "written",
            Ok(Some(false)) => "dropped",
            Err(_) => "failed",
        };
        self.service.broker.count(Counted::Report(outcome));
        kept.map(|kept| kept == Some(true))
    }

    /// Posts a line. The URL is a secret: only its host is logged.
    async fn post(&self, line: String) {
        let Some(url) = &self.receiver else { return };
        let client = &self.service.client;
        let request = client.request(Method::POST, url.expose().clone()).timeout(DEADLINE);
        let request = request.header(CONTENT_TYPE, "application/json; charset=UTF-8").body(line);
        let mut outcome = "posted";
        if let Err(error) = client.send(request).await {
            outcome = "failed";
            if let Some(held_back) = self.log.pass(self.service.clock.instant()) {
                let (host, remedy) = (url.host(), "check FEEDBACK_URL and its receiver");
                tracing::warn!(held_back, host, remedy, "a report was not posted: {error}");
            }
        }
        self.service.broker.count(Counted::Report(outcome));
    }

    /// Does `work` with the file, without holding up the other requests. `None` without a file. A failure is logged.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReportFile) -> io::Result<T> + Send + 'static,
    ) -> Result<Option<T>, ApiError> {
        let Some(file) = self.file.clone() else { return Ok(None) };
        // The panic hook has logged a panic.
        let done = tokio::task::spawn_blocking(move || work(&file.lock())).await;
        done.map_err(|_| ApiError::internal())?.map(Some).map_err(|error| {
            if let Some(held_back) = self.log.pass(self.service.clock.instant()) {
                tracing::warn!(
                    held_back,
                    "REPORTS_DIR cannot be used; check its space and permissions: {error}"
                );
            }
            ApiError::internal()
        })
    }
}

// The file of reports: one line of JSON for each, for its owner only. At its bound nothing more is appended until an operator moves it
// away.

/// The most bytes of the file.
pub(crate) const FILE_MAX: u64 = 16 * 1024 * 1024;

/// The file. It is opened for each report. The lock around it in [`Reports`] lets one thread at a time append.
#[derive(Debug)]
pub(crate) struct ReportFile(PathBuf);

impl ReportFile {
    /// Creates the directory, and its parents, for the owner only. Others lose their access to an existing directory.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        access::make_directory(directory)?;
        access::tighten(directory, "REPORTS_DIR")?;
        Ok(Self(directory.join("reports.jsonl")))
    }

    /// Appends a line. `false` if the file has no room for it. A failure leaves no part of the line behind.
    pub(crate) fn append(&self, line: &str) -> io::Result<bool> {
        let mut file = access::open_own(&self.0, File::options().append(true))?;
        let length = file.metadata()?.len();
        if length + u64::try_from(line.len()).unwrap_or(u64::MAX) > FILE_MAX {
            return Ok(false);
        }
        let written = file.write_all(line.as_bytes());
        if written.is_err() {
            let _ = file.set_len(length);
        }
        written.map(|()| true)
    }

    /// The first line that begins with `start`.
    pub(crate) fn find_line(&self, start: &str) -> io::Result<Option<String>> {
        let file = match File::open(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        // An error ends the search too.
        let is_it_or_error =
            |line: &io::Result<String>| line.as_ref().map_or(true, |line| line.starts_with(start));
        BufReader::new(file).lines().find(is_it_or_error).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_may_read_and_no_link_is_followed() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("reports");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let file = ReportFile::open(&directory).unwrap();
        assert!(file.append("{}\n").unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&file.0)), (0o700, 0o600));
        fs::remove_file(&file.0).unwrap();
        let elsewhere = parent.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, &file.0).unwrap();
        assert!(file.append("{}\n").is_err() && !elsewhere.exists());
    }

    #[test]
    fn the_file_is_bounded_and_a_line_is_found_by_its_start() {
        let directory = tempfile::tempdir().unwrap();
        let file = ReportFile::open(directory.path()).unwrap();
        assert_eq!(file.find_line("a").unwrap(), None);
        let rest = "x".repeat(16 * 1024 * 1024 - 5);
        assert!(file.append("a1\n").unwrap() && !file.append(&format!("{rest}xxx")).unwrap());
        assert!(file.append(&format!("{rest}\n")).unwrap() && file.append("b").unwrap());
        assert!(!file.append("x").unwrap());
        assert_eq!(file.find_line("a").unwrap().as_deref(), Some("a1"));
        assert_eq!(file.find_line("c").unwrap(), None);
    }
}
