//! What a process has whether it leads or not. It stays when a standby becomes the leader.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;

use super::LONG_BODIES;
use crate::config::Config;
use crate::forward::Forwarder;
use crate::limit::wrong_tokens::WrongTokens;
use crate::telemetry::log::LostLines;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::refusals::RefusalLog;
use turn_base::{Bodies, Clock, NoRandomness, RequestIds, TokenDigest, random};
use turn_ledger::Timestamp;

/// The most open sockets, if the process may open [`FILES_WANTED`] files. Further connections wait in the system's queue.
pub const SOCKETS_MAX: usize = 8_192;
/// Open files for `SOCKETS_MAX` sockets: one each, and as many for forwarded requests and the rest.
const FILES_WANTED: u64 = 2 * 8_192;

/// See the module's description.
pub struct Process {
    /// The settings.
    pub config: Config,
    /// Wall time and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// When the process started.
    pub started: Instant,
    /// The same, by the wall clock.
    pub started_at: Timestamp,
    /// Counters for `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Authorizes the operator's routes. Without it they do not exist.
    pub operator_token: Option<TokenDigest>,
    /// Authorizes `/metrics`, and nothing else.
    pub metrics_token: Option<TokenDigest>,
    /// The allowance for wrong tokens and server keys.
    pub wrong_tokens: WrongTokens,
    /// Log lines that were dropped.
    pub lost_lines: LostLines,
    /// Summarizes refusals in the log.
    pub refusal_log: RefusalLog,
    /// One permit for each open socket.
    pub sockets: Arc<Semaphore>,
    /// How many there are.
    pub sockets_max: usize,
    /// The bodies of all requests.
    pub bodies: Bodies,
    /// Makes ids for requests that have none.
    pub request_ids: RequestIds,
    /// Whether the process is shutting down.
    pub draining: AtomicBool,
}

impl Process {
    /// A process that starts now.
    pub fn new(config: Config, clock: Arc<dyn Clock>, lost: LostLines) -> Result<Arc<Self>, NoRandomness> {
        let metrics = Arc::new(Metrics::default());
        let sockets_max = sockets_for(raise_file_limit());
        Ok(Arc::new(Self {
            started: clock.instant(),
            started_at: clock.now(),
            operator_token: config.access.operator_token.as_ref().map(TokenDigest::of),
            metrics_token: config.access.metrics_token.as_ref().map(TokenDigest::of),
            wrong_tokens: WrongTokens::new(Arc::clone(&clock), Arc::clone(&metrics)),
            lost_lines: lost,
            refusal_log: RefusalLog::default(),
            sockets: Arc::new(Semaphore::new(sockets_max)),
            sockets_max,
            bodies: Bodies::new(LONG_BODIES),
            request_ids: RequestIds::new(random::bytes()?),
            draining: AtomicBool::new(false),
            config,
            clock,
            metrics,
        }))
    }
}

/// The most open sockets with so many open files.
fn sockets_for(files: u64) -> usize {
    usize::try_from(files / 2).unwrap_or(SOCKETS_MAX).min(SOCKETS_MAX)
}

/// Raises the soft limit on open files to the hard one, and returns the limit. Every socket counts as a file, and many shells allow 1,024.
fn raise_file_limit() -> u64 {
    let limits = getrlimit(Resource::Nofile);
    // With an unlimited hard limit, macOS refuses an unlimited soft limit.
    let files = limits.maximum.unwrap_or(FILES_WANTED);
    let raised = Rlimit { current: limits.current.map(|current| current.max(files)), ..limits };
    // If that fails, the soft limit stays in force.
    let _ = setrlimit(Resource::Nofile, raised);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(FILES_WANTED);
    if files < FILES_WANTED {
        let (wanted, sockets) = (FILES_WANTED, sockets_for(files));
        tracing::warn!(files, wanted, sockets, "the limit on open files is low: raise `ulimit -n`");
    }
    files
}

/// What the handlers of a standby share.
pub struct Standby {
    /// What it keeps when it becomes the leader.
    pub process: Arc<Process>,
    /// Sends requests to the leader.
    pub forwarder: Forwarder,
    /// Why this replica cannot lead, or what the operator should know before it does.
    pub warning: Mutex<Option<String>>,
    /// What the operator must do before this replica can serve.
    pub fault: Mutex<Option<String>>,
    /// Why the database could not be read at the last look.
    pub unread: Mutex<Option<String>>,
}

impl Deref for Standby {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_open_files_are_for_sockets() {
        assert_eq!([256, 4_096, FILES_WANTED, u64::MAX].map(sockets_for), [128, 2_048, 8_192, 8_192]);
    }
}
