//! The protocols that are on, and what they share: sockets, timers, webhooks and mints.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use ipnet::IpNet;
use reqwest::Client;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use turn_base::clock::{self, Clock};
use turn_base::throttle::Throttle;
use turn_ledger::User;
use turn_limits::{ClientRate, MemoryQuota};
use turn_signaling::call::ProtocolName;
use turn_signaling::p2pcf::DeleteKeys;
use turn_signaling::protocol::{Closing, Event, Text};

use crate::backlog::backlog;
use crate::broker::ServerBroker;
use crate::effects;
use crate::hub::{AnyHub, BLOCKED, Shared};
use crate::occupancy::Occupancy;
use crate::p2pcf::P2pcfShell;
use crate::polls::{POLLING_CLIENTS_MAX, POLLS};
use crate::protocols;
use crate::reports::Reports;
use crate::reports::feedback::Feedback;
use crate::reports::store::Store;
use crate::rooms::RoomUsers;
use crate::settings::{AyameConfig, Protocols, ReportsConfig};

/// What every handler gets.
pub(crate) type Server = State<Arc<Signaling>>;

/// What the service gives to signaling.
pub struct Service {
    /// The broker.
    pub broker: Arc<dyn ServerBroker>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// For webhooks. It must not follow redirects.
    pub client: Client,
    /// What the long bodies in memory have.
    pub long_bodies: MemoryQuota,
    /// The ICE servers of a reply without a credential, as JSON.
    pub stun: Box<RawValue>,
    /// Peers whose headers about the client are read.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The address at which people open this broker, with a slash at its end.
    pub public_url: Option<String>,
    /// Whether users can sign in.
    pub has_sign_in: bool,
}

/// The directory of reports cannot be created.
#[derive(Debug)]
pub struct NoDirectory {
    /// The directory.
    pub directory: PathBuf,
    /// Why.
    pub error: io::Error,
}

/// The protocols that are on, and what they share.
pub struct Signaling {
    /// The protocols with sockets.
    pub(crate) hubs: Vec<Arc<dyn AnyHub>>,
    /// Where the names of users in rooms come from. `None` if rooms are off.
    pub(crate) room_users: Option<RoomUsers>,
    /// P2PCF. `None` if it is off.
    pub(crate) p2pcf: Option<P2pcfShell>,
    /// The key that clients of `PeerJS` name. `None` if it is off.
    pub(crate) peerjs_key: Option<String>,
    /// What happens to reports. `None` if they are off.
    pub(crate) reports: Option<Arc<Reports>>,
    /// The open sockets of all protocols.
    pub(crate) occupancy: Arc<Occupancy>,
    /// What has arrived of incomplete messages at all sockets.
    pub(crate) incomplete: MemoryQuota,
    /// How often pages may poll.
    pub(crate) polls: ClientRate,
    /// The webhooks of Ayame.
    pub(crate) ayame: Option<AyameConfig>,
    /// Lines about webhooks that failed.
    pub(crate) webhook_log: Throttle,
    /// Webhooks and mints in progress.
    pub tasks: TaskTracker,
    pub(crate) service: Service,
    /// Whether the process is shutting down.
    pub(crate) is_draining: AtomicBool,
}

impl Signaling {
    /// Without sockets. It does no I/O except to create the directory of reports. `secret`: the key of the ledger, for keys that must
    /// outlive a restart.
    pub fn new(config: &Protocols, secret: &[u8; 64], service: Service) -> Result<Self, NoDirectory> {
        let Service { broker, clock, client, .. } = &service;
        let started = clock::deadline(Duration::ZERO);
        let shared = Shared { started, broker: Arc::clone(broker), backlog: backlog() };
        let p2pcf = config.p2pcf.as_ref().map(|p2pcf| {
            let keys = DeleteKeys::derived_from(secret);
            P2pcfShell::new(p2pcf, keys, Arc::clone(clock), Arc::clone(broker))
        });
        let reports = config.reports.as_ref().map(|config| {
            let chat = |url: &_| Feedback::new(client.clone(), Clone::clone(url), Arc::clone(broker));
            let (store, feedback) = (store(config)?, config.feedback.as_ref().map(chat));
            Ok(Arc::new(Reports::new(store, feedback, &service)))
        });
        Ok(Self {
            hubs: protocols::hubs(config, service.has_sign_in, &shared),
            room_users: config.rooms.as_ref().map(|rooms| RoomUsers::new(rooms, secret)),
            p2pcf,
            peerjs_key: config.peerjs.clone(),
            reports: reports.transpose()?,
            occupancy: Arc::new(Occupancy::new(config.sockets_per_client)),
            incomplete: backlog(),
            polls: ClientRate::new(POLLS, POLLING_CLIENTS_MAX),
            ayame: config.ayame.clone(),
            webhook_log: Throttle::new(),
            tasks: TaskTracker::new(),
            is_draining: AtomicBool::new(false),
            service,
        })
    }

    /// The hub of a protocol. `None` if it is off, or has no sockets.
    pub(crate) fn hub(&self, protocol: ProtocolName) -> Option<&Arc<dyn AnyHub>> {
        self.hubs.iter().find(|hub| hub.common().name == protocol)
    }

    /// The number of open sockets.
    pub fn sockets(&self) -> usize {
        self.occupancy.open()
    }

    /// Gives an event to a protocol, and begins what follows from it.
    pub(crate) fn take(self: &Arc<Self>, hub: &Arc<dyn AnyHub>, event: Event<Text>) {
        effects::begin(self, hub, hub.take(event));
    }

    /// Ends a room in every protocol. Clients of P2PCF hold no socket that could be closed.
    pub fn end_room(self: &Arc<Self>, room: &str) {
        for hub in &self.hubs {
            self.take(hub, Event::EndRoom { room: room.into() });
        }
    }

    /// Closes every socket of a user who has been blocked.
    pub fn close_blocked(&self, user: &User) {
        self.hubs.iter().for_each(|hub| hub.close(Some(user), BLOCKED));
    }

    /// Closes every socket, because another replica has the calls from now on.
    pub fn close_all(&self) {
        self.hubs.iter().for_each(|hub| hub.close(None, Closing::RESTART));
    }

    /// Removes what has expired without a request.
    pub fn tidy(&self) {
        if let Some(p2pcf) = &self.p2pcf {
            p2pcf.expire();
        }
        self.hubs.iter().for_each(|hub| hub.common().sweep());
        self.polls.sweep(self.service.clock.since_boot());
    }

    /// Runs the timers of all protocols until `end`. Then tells every client that the process stops, and returns once all sockets
    /// have closed and the application has been told of each.
    pub async fn run(self: &Arc<Self>, end: &CancellationToken) {
        let timers = self.hubs.iter().map(|hub| {
            let (server, hub, end) = (Arc::clone(self), Arc::clone(hub), end.clone());
            tokio::spawn(async move { server.run_timers(&hub, &end).await })
        });
        let timers: Vec<_> = timers.collect();
        if let Some(reports) = &self.reports {
            reports.run(end).await;
        }
        for timer in timers {
            // The panic hook has logged a panic.
            let _ = timer.await;
        }
        end.cancelled().await;
        self.occupancy.emptied().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn run_timers(self: &Arc<Self>, hub: &Arc<dyn AnyHub>, end: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = end.cancelled() => break,
                () = hub.common().rescheduled.notified() => {}
                () = sleep(hub.until_due()) => self.take(hub, Event::Due),
            }
        }
        self.is_draining.store(true, Ordering::Relaxed);
        self.take(hub, Event::Drain);
    }
}

fn store(config: &ReportsConfig) -> Result<Option<Store>, NoDirectory> {
    let Some(directory) = &config.dir else { return Ok(None) };
    let opened = Store::open(directory.clone());
    opened.map(Some).map_err(|error| NoDirectory { directory: directory.clone(), error })
}

/// Sleeps; for ever if there is no time.
async fn sleep(span: Option<Duration>) {
    match span {
        Some(span) => tokio::time::sleep_until(clock::deadline(span)).await,
        None => std::future::pending().await,
    }
}
