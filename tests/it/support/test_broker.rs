//! A broker in this process: real configuration, router and socket on a free port, with a manual clock. It ends with the
//! test.

use std::ops::Deref;

use turn_broker::app::App;
use turn_broker::listen::Shutdown;
use turn_broker::store::Store;
use turn_broker::{listen, router};

use super::{Api, MONITOR, ManualClock, OPERATOR, REPORTER, once_free};
use crate::support::prelude::*;

/// The start time of tests: in the middle of a period, at a whole second.
pub(crate) const START: &str = "2025-01-15T12:00:00Z";

pub(crate) struct TestBroker {
    pub(crate) app: Arc<App>,
    pub(crate) address: SocketAddr,
    clock: Arc<ManualClock>,
    api: Api,
    shutdown: Shutdown,
    service: JoinHandle<Ended>,
}

/// The configuration with operator and reporter tokens, a high rate limit, and these settings. The last one of each name counts.
pub(crate) fn config(settings: &[(&str, &str)]) -> Config {
    let base = [
        ("OPERATOR_TOKEN", OPERATOR),
        ("REPORTER_TOKEN", REPORTER),
        ("METRICS_TOKEN", MONITOR),
        ("RATE_LIMIT_REQUESTS", "1000"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("RELAY_PROBE", "off"),
    ];
    Config::from_env(&Environment::from_pairs(base.iter().chain(settings).copied())).unwrap()
}

/// Opens the ledger. A broker that has just ended in this process may still hold it for a moment.
async fn open_store(directory: &Path) -> (Store, Contents) {
    let directory = directory.to_owned();
    let opened = tokio::task::spawn_blocking(move || once_free(|| FileStorage::open(&directory)));
    Store::open(opened.await.unwrap().unwrap()).unwrap()
}

impl TestBroker {
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_at(settings, Arc::new(ManualClock::at(START))).await
    }

    /// The same with the clock of an earlier process.
    pub(crate) async fn start_at(settings: &[(&str, &str)], clock: Arc<ManualClock>) -> Self {
        Self::start_with(&config(settings), clock).await
    }

    pub(crate) async fn start_with(config: &Config, clock: Arc<ManualClock>) -> Self {
        let store = match &config.budget.state_dir {
            Some(directory) => Some(open_store(directory).await),
            None => None,
        };
        let app = turn_broker::app::build(config, clock.clone(), store, LostLines::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::default();
        let router = router::build(&app);
        let service = tokio::spawn(listen::run(listener, app.clone(), router, shutdown.clone()));
        let api = Api::new(format!("http://{address}"));
        Self { app, address, clock, api, shutdown, service }
    }

    /// The error of a broker that does not start with these settings.
    pub(crate) fn build_error(settings: &[(&str, &str)]) -> String {
        let config = Config::from_env(&Environment::from_pairs(settings.iter().copied())).unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let built = turn_broker::app::build(&config, clock, None, LostLines::default());
        built.err().expect("it is refused").to_string()
    }

    /// The clock, which outlives this process.
    pub(crate) fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.clock)
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Advances the clock to this time.
    pub(crate) fn advance_to(&self, wall: &str) {
        self.clock.advance_to(wall);
    }

    /// Suspends the machine for this time.
    pub(crate) fn suspend(&self, seconds: u64) {
        self.clock.suspend(Duration::from_secs(seconds));
    }

    /// Sets only the wall clock.
    pub(crate) fn set_wall(&self, wall: &str) {
        self.clock.set_wall(wall);
    }

    /// Makes handlers that read wall time panic from now on.
    pub(crate) fn break_clock(&self) {
        self.clock.set_broken(true);
    }

    /// Ends the effect of [`Self::break_clock`].
    pub(crate) fn repair_clock(&self) {
        self.clock.set_broken(false);
    }

    /// Shuts down softly, and waits for the end.
    pub(crate) async fn finish(mut self) {
        self.shutdown.soft.cancel();
        (&mut self.service).await.unwrap();
    }

    /// Ends like a killed process, without further writes.
    pub(crate) async fn kill(mut self) {
        self.service.abort();
        let _ = (&mut self.service).await;
    }

    /// Starts a soft shutdown without waiting.
    pub(crate) fn shut_down(&self) {
        self.shutdown.soft.cancel();
    }
}

impl Deref for TestBroker {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        self.shutdown.soft.cancel();
        self.shutdown.hard.cancel();
    }
}
