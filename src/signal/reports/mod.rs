//! Reports of Orange's page: kept for a week ([`store`]), and shown in a chat ([`feedback`]). They contain session descriptions
//! and addresses of people.

pub mod feedback;
pub mod store;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use turn_ledger::ClientKey;
use turn_limits::{Bucket, PerAddress, Rate};

use crate::clock::Clock;
use crate::config::PublicUrl;
use crate::telemetry::log::Throttle;
use feedback::Feedback;
use store::Store;

/// Reports of one client at once.
pub const BURST: u32 = 10;
/// One more is accepted after this time.
pub const EACH: Duration = Duration::from_secs(60);
/// Clients with a row of their own, half for each address family.
pub const CLIENTS_MAX: usize = 4_096;
/// The most long reports in memory at the same time.
pub const UPLOADS_MAX: usize = 16;
/// How often old reports are removed, at least. Each new one removes old ones too.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);
/// One log line about a failing directory in this time.
const LOG_WINDOW: Duration = Duration::from_secs(10);

/// What happens to reports.
#[derive(Debug)]
pub struct Reports {
    /// Where they are kept. `None` without `REPORTS_DIR`.
    pub store: Option<Arc<Store>>,
    /// Where cards of them go. `None` without `FEEDBACK_URL`.
    pub feedback: Option<Feedback>,
    /// A permit for each long report in memory.
    pub uploads: Arc<Semaphore>,
    buckets: Mutex<PerAddress<Bucket>>,
    public_url: Option<PublicUrl>,
    log: Throttle,
    clock: Arc<dyn Clock>,
}

impl Reports {
    /// `public_url`: cards link to kept reports there.
    pub fn new(
        store: Option<Store>,
        feedback: Option<Feedback>,
        public_url: Option<PublicUrl>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store: store.map(Arc::new),
            feedback,
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            buckets: Mutex::new(PerAddress::new(CLIENTS_MAX)),
            public_url,
            log: Throttle::new(LOG_WINDOW),
            clock,
        }
    }

    /// Takes one report of a client. `Err`: the wait until the next one is accepted.
    pub fn take(&self, client: ClientKey) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = buckets.take(client, Rate::new(BURST, EACH), self.clock.since_boot());
        taken.map_err(|spent| spent.next)
    }

    /// The address of a kept report, if people know an address of this broker.
    pub fn link(&self, id: &str) -> Option<String> {
        Some(format!("{}api/debugInfo?id={id}", self.public_url.as_ref()?))
    }

    /// Does something with the directory, without holding up the other requests. `None` after a failure, which is logged.
    pub async fn with_store<T: Send + 'static>(
        &self,
        store: &Arc<Store>,
        work: impl FnOnce(&Store, turn_ledger::Timestamp) -> std::io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let (store, now) = (Arc::clone(store), self.clock.now());
        let done = tokio::task::spawn_blocking(move || work(&store, now)).await;
        let error = match done {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => error,
            // The panic hook has logged it.
            Err(_) => return None,
        };
        if let Some(held_back) = self.log.pass(self.clock.instant()) {
            tracing::warn!(held_back, "REPORTS_DIR cannot be used; check its space and permissions: {error}");
        }
        None
    }

    /// Delivers cards and removes old reports, until `end`.
    pub async fn run(&self, end: &CancellationToken) {
        tokio::select! {
            biased;
            () = end.cancelled() => {}
            () = self.sweep() => {}
            () = self.deliver() => {}
        }
    }

    async fn sweep(&self) {
        loop {
            if let Some(store) = &self.store {
                self.with_store(store, Store::sweep).await;
            }
            tokio::time::sleep(SWEEP_INTERVAL).await;
        }
    }

    async fn deliver(&self) {
        match &self.feedback {
            Some(feedback) => feedback.deliver().await,
            None => std::future::pending().await,
        }
    }
}
