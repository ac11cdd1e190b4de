//! The protocols that are on: what their routes need, their timers, and how they end.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use turn_signaling::p2pcf::DeleteKeys;
use turn_signaling::{Ayame, Peerjs, Protocol, Rooms, SignIn, Yjs};

use super::prelude::*;
use crate::hub::{BLOCKED, Shared};
use crate::occupancy::SIGNALING_SOCKETS_MAX;
use crate::{AnyHub, Hub, Memory, NoDirectory, Occupancy, P2pcfShell, Polls, Protocols, Reports, RoomRoutes};

/// The protocols that are on. One that is off is `None`.
pub struct Signaling {
    /// The protocols with sockets, and their sockets.
    pub(crate) sockets: Arc<Sockets>,
    /// Orange rooms.
    pub rooms: Option<Arc<RoomRoutes>>,
    /// P2PCF.
    pub p2pcf: Option<Arc<P2pcfShell>>,
    /// Orange's reports.
    pub reports: Option<Arc<Reports>>,
    /// How often pages may poll.
    pub polls: Arc<Polls>,
    /// Webhooks, sign-ins and mints in progress.
    pub tasks: TaskTracker,
}

impl Signaling {
    /// The protocols without clients. This does no I/O except to create the directory of reports. `secret`: the ledger's key. The keys that
    /// sign Orange's cookies and P2PCF's deletions are derived from it, so they outlive a restart.
    pub fn new(config: &Protocols, secret: &[u8; 64], service: Service) -> Result<Self, NoDirectory> {
        let service = Arc::new(service);
        let started = clock::timer_now();
        let memory = Memory::new(Arc::clone(&service.broker));
        let shared = Shared { started, broker: Arc::clone(&service.broker), memory: memory.clone() };
        let sockets = Arc::new(Sockets {
            hubs: hubs(config, service.has_sign_in, &shared),
            occupancy: Arc::new(Occupancy::new(config.sockets_per_client)),
            memory,
            ayame: config.ayame.clone(),
            webhook_log: Throttle::default(),
            tasks: TaskTracker::new(),
            polls: Arc::new(Polls::new(Arc::clone(&service))),
            service: Arc::clone(&service),
        });
        let rooms = config.rooms.as_ref().map(|config| RoomRoutes::new(config, secret, Arc::clone(&sockets)));
        let p2pcf = config.p2pcf.as_ref().map(|p2pcf| {
            Arc::new(P2pcfShell::new(p2pcf, DeleteKeys::derived_from(secret), Arc::clone(&service)))
        });
        let reports = config.reports.as_ref().map(|reports| Reports::open(reports, Arc::clone(&service)));
        Ok(Self {
            rooms: rooms.map(Arc::new),
            p2pcf,
            reports: reports.transpose()?.map(Arc::new),
            polls: Arc::clone(&sockets.polls),
            tasks: sockets.tasks.clone(),
            sockets,
        })
    }

    /// What the routes of a protocol with sockets need. `None` if it is off.
    pub(crate) fn sockets_of(&self, protocol: ProtocolName) -> Option<&Arc<Sockets>> {
        self.sockets.hub(protocol).map(|_| &self.sockets)
    }

    /// How many sockets are open, and the most.
    pub fn sockets(&self) -> (usize, usize) {
        (self.sockets.occupancy.open(), SIGNALING_SOCKETS_MAX)
    }

    /// Ends a room in every protocol. Clients of P2PCF hold no socket that could be closed.
    pub fn end_room(&self, room: &str) {
        for hub in &self.sockets.hubs {
            self.sockets.take(hub, Event::EndRoom { room: room.into() });
        }
    }

    /// Closes every socket of the holders that `is_meant` accepts. `reason`: the code that their clients read.
    pub fn close(&self, is_meant: impl Fn(&Holder) -> bool, reason: &'static str) {
        self.sockets.hubs.iter().for_each(|hub| hub.close(&is_meant, Closing { reason, ..BLOCKED }));
    }

    /// Closes every socket, because another replica has the calls from now on.
    pub fn close_all(&self) {
        self.sockets.hubs.iter().for_each(|hub| hub.close(&|_| true, Closing::RESTART));
    }

    /// Removes what has expired, also if no request comes.
    pub fn tidy(&self) {
        if let Some(p2pcf) = &self.p2pcf {
            p2pcf.expire();
        }
        self.sockets.hubs.iter().for_each(|hub| hub.common().sweep());
        self.polls.sweep();
    }

    /// Runs the timers of all protocols until `end`. Then tells every client that the process stops, and returns once all sockets
    /// have closed and the application has been told of each.
    pub async fn run(&self, end: &CancellationToken) {
        let mut timers = JoinSet::new();
        for hub in &self.sockets.hubs {
            timers.spawn(run_timers(Arc::clone(&self.sockets), Arc::clone(hub), end.clone()));
        }
        // The panic hook has logged a panic.
        while timers.join_next().await.is_some() {}
        end.cancelled().await;
        self.sockets.occupancy.places.close();
        self.sockets.occupancy.places.wait().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A hub for each protocol that is on and uses sockets. `has_sign_in`: whether users can sign in.
fn hubs(config: &Protocols, has_sign_in: bool, shared: &Shared) -> Vec<Arc<dyn AnyHub>> {
    let sign_in = match (has_sign_in, shared.broker.needs_sign_in()) {
        (false, _) => SignIn::Off,
        (true, true) => SignIn::Required,
        (true, false) => SignIn::Optional,
    };
    let ayame = config.ayame.as_ref().map(|ayame| Ayame::new(ayame.settings.clone(), sign_in));
    let rooms = config.rooms.as_ref().map(|rooms| Rooms::new(rooms.settings));
    let peerjs = config.peerjs.clone().map(Peerjs::new);
    let yjs = config.is_yjs_on.then(Yjs::default);
    let hubs = [
        hub(ProtocolName::Ayame, ayame, shared),
        hub(ProtocolName::Rooms, rooms, shared),
        hub(ProtocolName::Peerjs, peerjs, shared),
        hub(ProtocolName::Yjs, yjs, shared),
    ];
    hubs.into_iter().flatten().collect()
}

fn hub<P: Protocol + 'static>(
    name: ProtocolName,
    protocol: Option<P>,
    shared: &Shared,
) -> Option<Arc<dyn AnyHub>> {
    Some(Arc::new(Hub::new(name, protocol?, shared.clone())))
}

async fn run_timers(sockets: Arc<Sockets>, hub: Arc<dyn AnyHub>, end: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = end.cancelled() => break,
            () = hub.common().rescheduled.notified() => {}
            () = tokio::time::sleep(hub.until_due().unwrap_or(Duration::MAX)) => sockets.take(&hub, Event::Due),
        }
    }
    sockets.begin(&hub, hub.drain());
}
