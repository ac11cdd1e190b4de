//! One of several replicas on one ledger. It begins as a standby, which forwards. Once it leads, the same listener serves the full routes.
//! A lead ends with the process.

use futures_util::future::join_all;
use reqwest::Method;
use tokio::sync::Notify;

use super::door::Door;
use super::prelude::*;
use super::{DRAIN_MAX, Ended, Shutdown, serve};
use crate::app::process::{Process, Standby};
use crate::app::{self, BuildError};
use crate::config::Config;
use crate::forward::{ForwardKey, Forwarder, Leader};
use crate::lead::campaign::{self, Campaign, Candidate, Electorate, Outlook, Won};
use crate::lead::{self, Lead};
use crate::meter::coturn::stats;
use crate::router;
use crate::telemetry::log::LostLines;
use crate::telemetry::startup;
use turn_base::http_client::HttpClient;

/// How often the leader shows that it is there, and lists the other replicas.
const CENSUS_INTERVAL: Duration = Duration::from_secs(1);
/// The longest time for another replica to show the leader that it can be reached.
const REACH_MAX: Duration = Duration::from_millis(800);
/// For how long a replica must have been out of reach before this is a fault. One that has ended counts as live for 3 s.
const CLOSED_MIN: Duration = Duration::from_secs(5);

/// What a replica starts with.
pub struct Replica<E> {
    /// The settings.
    pub config: Config,
    /// `LEASE_SECONDS`.
    pub lease: Duration,
    /// The database with the ledger.
    pub electorate: E,
    /// Wall time and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Log lines that were dropped.
    pub lost_lines: LostLines,
}

impl<E: Electorate> Replica<E> {
    /// Serves until `shutdown` is triggered, or until a lead is lost.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) -> Result<Ended, BuildError> {
        // A setting that cannot work ends the process now, and not when it is needed.
        drop(app::build(&self.config, Arc::clone(&self.clock), None, self.lost_lines.clone())?);
        let look = Arc::new(Notify::new());
        let Self { config, lease, electorate, clock, lost_lines } = self;
        let candidate = Candidate { lease, settings: app::settings_digest(&config) };
        let process = Process::new(config, Arc::clone(&clock), lost_lines)?;
        let metrics = Arc::clone(&process.metrics);
        let forwarder = Forwarder::new(Arc::clone(&look), Arc::clone(&clock), Arc::clone(&metrics));
        let standby = Arc::new(Standby {
            process: Arc::clone(&process),
            forwarder,
            warning: Mutex::default(),
            fault: Mutex::default(),
            unread: Mutex::default(),
        });
        let watch = tokio::spawn({
            let standby = Arc::clone(&standby);
            async move { standby.forwarder.watch().await }
        });
        // What relays report to this replica goes to the leader.
        let reports = tokio::spawn({
            let standby = Arc::clone(&standby);
            async move {
                if let Some(stats) = &standby.config.meter.coturn_stats {
                    let of_forwarder = Arc::clone(&standby);
                    stats::pass_on(stats, move || of_forwarder.forwarder.leader_host()).await;
                }
            }
        });
        let settings = candidate.settings.clone();
        let (set_routes, routes) = watch::channel(router::standby(&standby));
        let door = Door::open(listener, routes, &process, &shutdown.soft);
        let mut campaign = Campaign::new(electorate, candidate, look, clock, metrics);
        let won = tokio::select! {
            won = campaign.run(|outlook| follow(&standby, outlook, lease)) => won.map_err(|error| error.to_string())?,
            () = shutdown.soft.cancelled() => return Ok(end_standby(door, &standby, &shutdown).await),
        };
        watch.abort();
        reports.abort();
        let Won { lead, store, contents } = won;
        let census = Census {
            electorate: campaign.electorate,
            lead: Arc::clone(&lead),
            client: HttpClient::new(&process.config.network)?,
            clock: Arc::clone(&process.clock),
            lease,
            settings,
            closed_since: None,
        };
        let census = tokio::spawn(census.run(shutdown.soft.clone()));
        // Outside of the threads that serve, because opening the books may take half a second.
        let open = move || app::build_leading(&process, Some((store, contents)), Some(lead));
        let built = tokio::task::spawn_blocking(open).await;
        let app = built.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        startup::report_books(&app.account.snapshot());
        // The lease counts from before the ledger was read, so it may be over already. A write renews the lease. If the write fails,
        // requests get an error.
        let _ = app.account.recorded().await;
        let leading = router::build(&app);
        standby.forwarder.lead(leading.clone());
        set_routes.send_modify(|routes| *routes = leading);
        let ended = serve(door, app, &shutdown).await;
        census.abort();
        Ok(ended)
    }
}

/// Makes the standby forward to the leader that was seen. Without the key no leader can prove that it leads, so nothing is forwarded. Keeps
/// what the operator should know. Returns the epoch of the leader, if this replica has not reached it for the time of a lease.
fn follow(standby: &Standby, outlook: Result<Outlook<'_>, &str>, lease: Duration) -> Option<i64> {
    *standby.unread.lock() = outlook.as_ref().err().map(ToString::to_string);
    let Ok(Outlook { own_url, leader, epoch, key, is_silent, warning, fault }) = outlook else {
        // Nothing is known about the leader now, so do not treat it as silent.
        standby.forwarder.is_silent.store(false, Ordering::Relaxed);
        return None;
    };
    lead::set_and_log(&mut standby.fault.lock(), fault, |text| tracing::error!("{text}"));
    let with_key = leader.zip(key.map(ForwardKey::derived_from));
    standby.forwarder.is_silent.store(is_silent, Ordering::Relaxed);
    standby.forwarder.follow(with_key.and_then(|(url, key)| Leader::at(url, epoch, key)));
    let unreached = standby.forwarder.unreached(lease);
    let closed = unreached.and(leader).map(|url| lead::closed_port(url, own_url));
    lead::set_and_log(&mut standby.warning.lock(), warning.or(closed), |text| tracing::warn!("{text}"));
    unreached
}

/// Ends a replica that never led.
async fn end_standby(door: Door, standby: &Standby, shutdown: &Shutdown) -> Ended {
    standby.draining.store(true, Ordering::Relaxed);
    tracing::info!("shutting down: no new connections, requests in progress may finish");
    let drained = async { tokio::join!(door.wait_for_connections(), standby.forwarder.finish()) };
    let ended = tokio::select! {
        _ = drained => Ended::Drained,
        () = tokio::time::sleep(DRAIN_MAX) => Ended::TimedOut,
        () = shutdown.hard.cancelled() => Ended::Forced,
    };
    door.0.cut.cancel();
    ended
}

/// What a leader knows of the other replicas.
struct Census<E> {
    electorate: E,
    lead: Arc<Lead>,
    client: HttpClient,
    clock: Arc<dyn Clock>,
    /// `LEASE_SECONDS`.
    lease: Duration,
    /// The digest of this replica's settings.
    settings: String,
    /// Since when a live replica is not reached, as the time since boot.
    closed_since: Option<Duration>,
}

impl<E: Electorate> Census<E> {
    /// Shows the other replicas that the leader is there, lists the replicas for the overview, and sets the fault of the lead. Gives the
    /// lead up if neither clients nor the other replicas reach this one. Returns at `end`.
    async fn run(mut self, end: CancellationToken) {
        loop {
            let mut fault = campaign::fault(&self.electorate);
            if self.electorate.observe().await.is_ok()
                && let Ok(mut replicas) = self.electorate.replicas().await
            {
                self.reach(&mut replicas).await;
                let (lead, now) = (&self.lead, self.clock.since_boot());
                fault = fault.or_else(|| lead.differing(&replicas, &self.settings));
                let closed = lead.closed(&replicas);
                let since = *self.closed_since.get_or_insert(now);
                if closed.is_none() {
                    self.closed_since = None;
                } else if now.saturating_sub(since) >= CLOSED_MIN {
                    fault = fault.or(closed);
                }
                if lead.gives_up(&replicas, now, self.lease) && self.electorate.give_up().await.is_ok() {
                    lead.given_up.cancel();
                }
                *lead.replicas.write() = replicas;
            }
            self.lead.set_fault(fault);
            if timeout(CENSUS_INTERVAL, end.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// Asks the replicas that no leader has reached yet, and notes which of them answer.
    async fn reach(&mut self, replicas: &mut [lead::Replica]) {
        let (lead, client) = (&self.lead, &self.client);
        let unknown = replicas.iter_mut().filter(|replica| lead.is_other(replica) && !replica.was_reached);
        let asked = unknown.map(async |replica| {
            let request = client.request(Method::GET, format!("{}/health", replica.url));
            replica.was_reached = matches!(timeout(REACH_MAX, client.send(request)).await, Ok(Ok(_)));
            replica.was_reached.then(|| replica.url.clone())
        });
        for url in join_all(asked).await.into_iter().flatten() {
            // If this fails, the replica is asked again in a second.
            let _ = self.electorate.set_reached(&url).await;
        }
    }
}
