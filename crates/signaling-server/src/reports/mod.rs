//! Reports of Orange's page ([`routes`]): kept for a week ([`store`]), and shown in a chat ([`feedback`]). They contain session descriptions
//! and addresses of people.

mod card;
pub(crate) mod feedback;
pub mod routes;
pub(crate) mod store;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use turn_ledger::{ClientKey, Timestamp};
use turn_limits::{ClientRate, Rate};

use feedback::Feedback;
use store::Store;
use turn_base::clock::Clock;
use turn_base::throttle::Throttle;

/// Reports of one client at once.
pub(crate) const BURST: u32 = 10;
/// One more is accepted after this time.
pub(crate) const EACH: Duration = Duration::from_secs(60);
/// Clients with a row of their own, half for each address family.
pub(crate) const CLIENTS_MAX: usize = 4_096;
/// How often old reports are removed, at least. Each new one removes old ones too.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);

/// What happens to reports.
pub(crate) struct Reports {
    /// Where they are kept. `None` without `REPORTS_DIR`. Its lock is held for work on the disk only, so that the bounds hold.
    pub(crate) store: Option<Arc<Mutex<Store>>>,
    /// Where cards of them go. `None` without `FEEDBACK_URL`.
    pub(crate) feedback: Option<Feedback>,
    rate: ClientRate,
    public_url: Option<String>,
    log: Throttle,
    clock: Arc<dyn Clock>,
}

impl Reports {
    /// `public_url`: cards link to kept reports there.
    pub(crate) fn new(
        store: Option<Store>,
        feedback: Option<Feedback>,
        public_url: Option<String>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let store = store.map(|store| Arc::new(Mutex::new(store)));
        let rate = ClientRate::new(Rate::new(BURST, EACH), CLIENTS_MAX);
        Self { store, feedback, rate, public_url, log: Throttle::new(), clock }
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Takes one report of a client. `Err`: the wait until the next one is accepted.
    pub(crate) fn take(&self, client: ClientKey) -> Result<(), Duration> {
        self.rate.take(client, 1, self.clock.since_boot()).map_err(|spent| spent.next)
    }

    /// The address of a kept report, if people know an address of this broker.
    pub(crate) fn link(&self, id: &str) -> Option<String> {
        Some(format!("{}api/debugInfo?id={id}", self.public_url.as_ref()?))
    }

    /// Does something with the directory, without holding up the other requests. `None` without a directory, and after a failure,
    /// which is logged.
    pub(crate) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store, Timestamp) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let (store, now) = (Arc::clone(self.store.as_ref()?), self.now());
        let work = move || work(&mut store.lock().unwrap_or_else(PoisonError::into_inner), now);
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
                self.on_disk(|store, now| store.sweep(now)).await;
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
