//! One of several replicas on one ledger. It begins as a standby, which forwards. Once it leads, the same listener serves the full routes.
//! A lead ends with the process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::{DRAIN_MAX, Ended, Shutdown, serve};
use crate::app::process::{Process, Standby};
use crate::app::{self, BuildError};
use crate::config::Config;
use crate::forward::{ForwardKey, Forwarder, Leader};
use crate::lead::campaign::{self, Campaign, Candidate, Electorate, Outlook, Won};
use crate::lead::{self, Lead};
use crate::router;
use crate::telemetry::log::LostLines;
use crate::telemetry::startup;
use turn_base::clock::Clock;

/// How often the leader shows that it is there, and lists the other replicas.
const CENSUS_INTERVAL: Duration = Duration::from_secs(1);

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
        let settings = candidate.settings.clone();
        let (set_routes, routes) = watch::channel(router::standby(&standby));
        let door = Door::open(listener, routes, &process, &shutdown.soft);
        let mut campaign = Campaign::new(electorate, candidate, look, clock, metrics);
        let won = tokio::select! {
            won = campaign.run(|outlook| follow(&standby, outlook, lease)) => won.map_err(|error| error.to_string())?,
            () = shutdown.soft.cancelled() => return Ok(end_standby(door, &standby, &shutdown).await),
        };
        watch.abort();
        let Won { lead, store, contents } = won;
        let census =
            tokio::spawn(census(campaign.electorate, Arc::clone(&lead), settings, shutdown.soft.clone()));
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
    let Ok(Outlook { leader, epoch, key, is_silent, warning, fault }) = outlook else {
        // Nothing is known about the leader now, so do not treat it as silent.
        standby.forwarder.is_silent.store(false, Ordering::Relaxed);
        return None;
    };
    lead::set_and_log(&mut standby.warning.lock(), warning, |text| tracing::warn!("{text}"));
    lead::set_and_log(&mut standby.fault.lock(), fault, |text| tracing::error!("{text}"));
    let leader = leader.zip(key.map(ForwardKey::derived_from));
    standby.forwarder.is_silent.store(is_silent, Ordering::Relaxed);
    standby.forwarder.follow(leader.and_then(|(url, key)| Leader::at(url, epoch, key)));
    standby.forwarder.unreached(lease)
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

/// Shows the other replicas that the leader is there, lists the replicas for the overview, and sets the fault of the lead. Gives the lead
/// up if no other replica reaches this one. Returns at `end`.
async fn census<E: Electorate>(mut electorate: E, lead: Arc<Lead>, settings: String, end: CancellationToken) {
    loop {
        let mut fault = campaign::fault(&electorate);
        if electorate.observe().await.is_ok()
            && let Ok(replicas) = electorate.replicas().await
        {
            fault = fault.or_else(|| lead.differing(&replicas, &settings));
            if lead.is_unreached(&replicas) && electorate.give_up().await.is_ok() {
                lead.given_up.cancel();
            }
            *lead.replicas.write() = replicas;
        }
        lead.set_fault(fault);
        if timeout(CENSUS_INTERVAL, end.cancelled()).await.is_ok() {
            return;
        }
    }
}
