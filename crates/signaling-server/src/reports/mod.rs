//! Reports of Orange's page ([`routes`]): kept for a week ([`store`]), and shown in a chat ([`feedback`]). They contain session descriptions
//! and addresses of people.

mod card;
pub(crate) mod feedback;
pub mod routes;
pub(crate) mod store;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use turn_base::body::BodyLimit;
use turn_base::clock::Clock;
use turn_base::error::ApiError;
use turn_base::throttle::Throttle;
use turn_ledger::{ClientKey, Timestamp};
use turn_limits::{ClientRate, MemoryQuota, Rate};

use crate::broker::Service;
use feedback::Feedback;
use store::{FILES_MAX, KEPT, KEPT_BURST, NOTE_BYTES_BURST, Store, notes};

/// Reports of one client at once.
pub(crate) const BURST: u32 = 10;
/// One more is accepted after this time.
pub(crate) const EACH: Duration = Duration::from_secs(60);
/// Clients with a row of their own, half for each address family. An IPv6 /48 has four times as much of everything.
pub(crate) const CLIENTS_MAX: usize = 4_096;
/// How often old reports are removed, at least. Each new one removes old ones too.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);

/// What happens to reports.
pub struct Reports {
    /// Where they are kept. `None` without `REPORTS_DIR`. Its lock is held for work on the disk only, so that the bounds hold.
    pub(crate) store: Option<Arc<Mutex<Store>>>,
    /// Where cards of them go. `None` without `FEEDBACK_URL`.
    pub(crate) feedback: Option<Feedback>,
    rate: ClientRate,
    kept: ClientRate,
    note_bytes: ClientRate,
    public_url: Option<String>,
    long_bodies: MemoryQuota,
    log: Throttle,
    clock: Arc<dyn Clock>,
}

/// The client must wait before it sends another report.
fn too_many(retry_in: Duration) -> ApiError {
    let message = "Send fewer reports: ten at once, then one a minute.";
    ApiError::too_many("Too many reports", message, retry_in)
}

impl Reports {
    /// `service`: its `public_url` is where cards link to kept reports.
    pub(crate) fn new(store: Option<Store>, feedback: Option<Feedback>, service: &Service) -> Self {
        // Within this time, a client gets its whole burst back.
        let each_client = |burst, within: Duration| {
            let burst = u32::try_from(burst).unwrap_or(u32::MAX);
            ClientRate::new(Rate::new(burst, within / burst), CLIENTS_MAX)
        };
        Self {
            store: store.map(|store| Arc::new(Mutex::new(store))),
            feedback,
            rate: ClientRate::new(Rate::new(BURST, EACH), CLIENTS_MAX),
            kept: each_client(KEPT_BURST, KEPT),
            note_bytes: each_client(NOTE_BYTES_BURST, Duration::from_secs(86_400)),
            public_url: service.public_url.clone(),
            long_bodies: service.long_bodies.clone(),
            log: Throttle::new(),
            clock: Arc::clone(&service.clock),
        }
    }

    /// Takes this much of what a client may do.
    fn take(&self, rate: &ClientRate, client: ClientKey, count: u32) -> Result<(), ApiError> {
        rate.take(client, count, self.clock.since_boot()).map_err(|spent| too_many(spent.next))
    }

    /// The bound on the body of a report.
    fn limit(&self, bytes_max: usize) -> BodyLimit {
        BodyLimit::long(bytes_max, &self.long_bodies)
    }

    /// Adds a note with the time. `false` if it is not kept: the notes of the day are full, or those of this client.
    async fn note(&self, kind: &'static str, client: ClientKey, mut note: Value) -> bool {
        note["at"] = json!(self.clock.now().to_string());
        let line = format!("{note}\n");
        let bytes = u32::try_from(line.len()).unwrap_or(u32::MAX);
        let add = move |store: &Store, now| store.append(&notes(kind, now), line.as_bytes(), now);
        self.take(&self.note_bytes, client, bytes).is_ok() && self.on_disk(add).await.unwrap_or(false)
    }

    /// The address of a kept report, if people know an address of this broker.
    fn link(&self, id: &str) -> Option<String> {
        Some(format!("{}api/debugInfo?id={id}", self.public_url.as_ref()?))
    }

    /// Does something with the directory, without holding up the other requests. `None` without a directory, and after a failure,
    /// which is logged.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store, Timestamp) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let (store, now) = (Arc::clone(self.store.as_ref()?), self.clock.now());
        let work = move || work(&store.lock(), now);
        // The panic hook has logged a panic.
        let done = tokio::task::spawn_blocking(work).await.ok()?;
        if let Err(error) = &done
            && let Some(held_back) = self.log.pass(self.clock.instant())
        {
            tracing::warn!(held_back, "REPORTS_DIR cannot be used; check its space and permissions: {error}");
        }
        done.ok()
    }

    /// Delivers cards and removes old reports, until `end`.
    pub(crate) async fn run(&self, end: &CancellationToken) {
        let sweep = async {
            loop {
                self.on_disk(|store, now| store.sweep(FILES_MAX, now)).await;
                tokio::time::sleep(SWEEP_INTERVAL).await;
            }
        };
        let deliver = async {
            if let Some(feedback) = &self.feedback {
                feedback.deliver().await;
            }
        };
        let work = async { tokio::join!(sweep, deliver) };
        end.run_until_cancelled(work).await;
    }
}
