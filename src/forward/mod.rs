//! How a request reaches the leader from another replica. It goes out on a connection on which a leader has proven itself, so no second
//! replica forwards it. Until the head of a response arrives, the request has one place and one deadline, whatever it waits for: a
//! leader, a connection, or the response. It is sent again only if that can do no harm: if nothing was done, or if its method is safe and
//! no leader has answered it. A WebSocket ends when its leader no longer leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, EXPECT, HOST, UPGRADE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tower_http::timeout::TimeoutBody;

use crate::telemetry::metrics::Metrics;
use turn_base::{ApiError, BODY_MAX, Clock, Throttle};
use turn_ledger::ClientKey;
use turn_limits::{Bounds, MemoryQuota, MemoryUse, SHARES};

mod connections;
mod headers;
mod mac;
mod upgrade;

pub use connections::{CONNECTING_MAX, Leader};
pub use mac::{CHALLENGE, CountedSocket, FORWARDED, ForwardKey, Hop, Nonce, PROOF};

use connections::{Connection, Connections, Target};
use headers::{is_upgrade, remove_of_connection};
use upgrade::{GOING_AWAY, SERVICE_RESTART};

/// The longest time until the head of a response.
pub const ANSWER_MAX: Duration = Duration::from_secs(8);
/// The longest pause within a response. A response that keeps coming may take as long as it needs.
const PROGRESS_MAX: Duration = Duration::from_secs(30);
/// The most requests that wait: for a leader that is not there yet, or for the response of the leader.
const HELD_MAX: usize = 1_024;
/// While fewer requests than this wait, one client may have all of them, because it can be a proxy that is not in `TRUSTED_PROXIES`.
pub const HELD_BY_ANYBODY_MAX: usize = HELD_MAX / 8;
/// The most waiting requests of one client, once [`HELD_BY_ANYBODY_MAX`] wait.
pub const HELD_PER_CLIENT_MAX: usize = HELD_MAX / SHARES;
/// The longest time for the leader to say whether it is ready. The checks of balancers take about a second.
const PROBE_MAX: Duration = Duration::from_millis(800);
/// How often a replica asks its leader whether it is there.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// The pause before a leader that could not be reached, or has refused a request, is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Marks a response that is passed on as it is. It is one of the response's extensions.
#[derive(Clone, Copy, Debug)]
pub struct PassedOn;

/// What [`Forwarder::find`] has found.
enum Found {
    /// The leader has responded.
    Response(Response),
    /// This replica leads.
    Here(Router),
}

/// Why the leader gave no response.
enum Failure {
    /// The request was not sent, or nothing was done.
    NotDone,
    /// The request may have had its effect.
    Sent,
}

/// Sends requests to the leader.
#[derive(Debug)]
pub struct Forwarder {
    target: watch::Sender<Target>,
    /// Whether the leader has written nothing lately.
    pub is_silent: AtomicBool,
    connections: Connections,
    /// Counts the requests that wait, each as one. The memory of their bodies is bounded where the bodies are read.
    held: MemoryQuota,
    /// Asks for a look at who leads.
    look: Arc<Notify>,
    /// The upgraded sockets between clients and the leader.
    sockets: TaskTracker,
    /// Ends the upgraded sockets.
    end: CancellationToken,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// Limits the log lines about a leader that is not reached.
    unreached: Throttle,
    /// When the leader last responded, as the time since boot.
    reached: Mutex<Option<Duration>>,
    /// Since when checks have not reached the leader, as the time since boot. `None` once it was reached again, and for a new leader.
    unreached_since: Mutex<Option<Duration>>,
}

impl Forwarder {
    /// A forwarder that knows no leader yet. `look` is notified when the leader cannot be reached.
    pub fn new(look: Arc<Notify>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let held = MemoryQuota::new(0, Bounds { client_max: HELD_PER_CLIENT_MAX, all_max: HELD_MAX });
        Self {
            target: watch::Sender::new(Target::Leader(None)),
            is_silent: AtomicBool::default(),
            connections: Connections::default(),
            held,
            look,
            sockets: TaskTracker::default(),
            end: CancellationToken::default(),
            clock,
            metrics,
            unreached: Throttle::default(),
            reached: Mutex::default(),
            unreached_since: Mutex::default(),
        }
    }

    /// The host of the leader; `None` if there is none, or it is not known.
    pub fn leader_host(&self) -> Option<String> {
        match &*self.target.borrow() {
            Target::Leader(Some(leader)) => Some(leader.address.host().to_owned()),
            Target::Leader(None) | Target::Here(_) => None,
        }
    }

    /// Sends requests to this leader from now on. `None`: they wait for a leader.
    pub fn follow(&self, leader: Option<Leader>) {
        self.target.send_if_modified(|target| {
            let is_other = !target.is_leader(leader.as_ref());
            if is_other {
                if let Some(leader) = &leader {
                    tracing::info!(leader = leader.url, "requests are forwarded to the leader");
                }
                *target = Target::Leader(leader.map(Arc::new));
                *self.unreached_since.lock() = None;
            }
            is_other
        });
    }

    /// This replica leads, with these routes.
    pub fn lead(&self, routes: Router) {
        self.target.send_replace(Target::Here(routes));
    }

    /// The response of the replica that leads. If this replica has become the leader meanwhile, its own response. `NO_LEADER` if too many
    /// requests wait, or after [`ANSWER_MAX`].
    pub async fn forward(&self, request: Request<Bytes>) -> Result<Response, ApiError> {
        let hop = Hop::of(&request).ok_or_else(ApiError::internal)?;
        if *request.method() == Method::CONNECT {
            return Err(ApiError::invalid("Send a path."));
        }
        let found = match self.place(ClientKey::of(hop.client)) {
            Some(_place) => timeout(ANSWER_MAX, self.find(&request, hop)).await.unwrap_or(Err("late")),
            None => Err("not_held"),
        };
        match found {
            Ok(Found::Response(response)) => Ok(response),
            Ok(Found::Here(router)) => Ok(here(router, request).await),
            Err(outcome) => {
                self.metrics.forwarded.count([outcome]);
                Err(ApiError::no_leader())
            }
        }
    }

    /// A place among the requests that wait. `None` if there is none for this client. A client beyond its share still gets a place while
    /// fewer than [`HELD_BY_ANYBODY_MAX`] wait.
    fn place(&self, client: ClientKey) -> Option<MemoryUse> {
        let mut place = self.held.open(client);
        if !place.try_resize(1) {
            // Whether `HELD_BY_ANYBODY_MAX` requests or more wait.
            if self.held.largest_above(HELD_BY_ANYBODY_MAX - 1).is_some() {
                return None;
            }
            place.resize(1);
        }
        Some(place)
    }

    /// Whether requests at this replica are served. An error if the leader says that its ledger cannot be written, or if no leader was
    /// reached in the last [`ANSWER_MAX`], the time for which requests wait for the next leader. No error if this replica leads.
    pub async fn probe(&self) -> Result<(), ApiError> {
        let Target::Leader(leader) = self.target.borrow().clone() else { return Ok(()) };
        let answer = match &leader {
            Some(leader) => timeout(PROBE_MAX, self.ask_ready(leader)).await.ok().flatten(),
            None => None,
        };
        let was_reached =
            self.reached.lock().is_some_and(|at| self.clock.since_boot().saturating_sub(at) < ANSWER_MAX);
        match (answer, leader) {
            (Some((StatusCode::OK, _)), _) => Ok(()),
            // The body has the code of the error.
            (Some((_, body)), _) if body.contains("LEDGER_UNAVAILABLE") => Err(ApiError::not_recorded()),
            _ if was_reached => Ok(()),
            (None, Some(leader)) => {
                let remedy =
                    format!("Check ADVERTISE_URL of the leader: none answers at {} from here.", leader.url);
                if let Some(held_back) = self.unreached.pass(self.clock.instant()) {
                    tracing::warn!(held_back, "{remedy}");
                }
                Err(ApiError::no_leader().message(remedy))
            }
            _ => Err(ApiError::no_leader()),
        }
    }

    /// Asks the leader again and again whether it is there, until this replica leads. Notes since when the leader has not answered.
    pub async fn watch(&self) {
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let leader = match &*self.target.borrow() {
                Target::Here(_) => return,
                Target::Leader(leader) => leader.clone(),
            };
            if let Some(leader) = leader
                && !matches!(timeout(PROBE_MAX, self.ask_ready(&leader)).await, Ok(Some(_)))
            {
                self.unreached_since.lock().get_or_insert(self.clock.since_boot());
            }
        }
    }

    /// The epoch of the leader, if this replica has not reached it for at least `span`. `None` if this replica has reached the leader, or
    /// if no other replica leads.
    pub fn unreached(&self, span: Duration) -> Option<i64> {
        let Target::Leader(leader) = self.target.borrow().clone() else { return None };
        let since = (*self.unreached_since.lock())?;
        if self.clock.since_boot().saturating_sub(since) >= span { Some(leader?.epoch) } else { None }
    }

    /// Ends the upgraded sockets, and waits for their ends.
    pub async fn finish(&self) {
        self.end.cancel();
        self.sockets.close();
        self.sockets.wait().await;
    }

    /// The leader's response, or this replica's routes once it leads. An error if the request may not be sent again; the error is the
    /// outcome in the metrics.
    async fn find(&self, request: &Request<Bytes>, hop: Hop) -> Result<Found, &'static str> {
        let (mut target, is_safe) = (self.target.subscribe(), request.method().is_safe());
        let (mut is_held, mut is_lost) = (false, false);
        loop {
            let leader = match target.borrow_and_update().clone() {
                Target::Here(router) => return Ok(Found::Here(router)),
                Target::Leader(leader) => leader,
            };
            if let Some(leader) = &leader {
                let asked = tokio::select! {
                    biased;
                    asked = self.ask(leader, request, hop) => asked,
                    // If the leader changes, send a safe request to the new one. An unsafe request must not be sent again, so wait: a
                    // leader that hands over finishes the requests in progress.
                    Ok(()) = target.changed(), if is_safe => {
                        is_lost = false;
                        continue;
                    }
                };
                // A silent leader may be cut off from the database, while this replica reaches it. Then a 503 to a safe request is not the
                // answer yet: another replica may take over.
                let may_refuse = !is_safe || !self.is_silent.load(Ordering::Relaxed);
                match asked {
                    Ok(response) if may_refuse || response.status() != StatusCode::SERVICE_UNAVAILABLE => {
                        self.metrics.forwarded.count(["answered"]);
                        return Ok(Found::Response(response));
                    }
                    Err(Failure::Sent) if !is_safe => return Err("sent"),
                    // The connection may have ended between two requests. Send a safe request once more to the same leader.
                    Err(Failure::Sent) if !std::mem::replace(&mut is_lost, true) => continue,
                    Ok(_) | Err(Failure::Sent | Failure::NotDone) => {}
                }
            }
            self.look.notify_one();
            if !std::mem::replace(&mut is_held, true) {
                self.metrics.forwarded.count(["held"]);
            }
            // A leader at which a request was lost gets one more attempt. If that fails too, wait for another leader.
            tokio::select! {
                Ok(()) = target.changed() => is_lost = false,
                () = tokio::time::sleep(RETRY_PAUSE), if leader.is_some() && !is_lost => {}
            }
        }
    }

    /// Sends a request once. Notes that the leader was reached if it has answered.
    async fn ask(&self, leader: &Arc<Leader>, asked: &Request<Bytes>, hop: Hop) -> Result<Response, Failure> {
        let connected = self.connections.get(leader, is_upgrade(asked)).await;
        let mut connection = connected.ok_or(Failure::NotDone)?;
        let outgoing = outgoing(leader, &connection, asked, hop).ok_or(Failure::NotDone)?;
        connection.sender.ready().await.map_err(|_| Failure::NotDone)?;
        let response = connection.sender.try_send_request(outgoing).await.map_err(|mut error| {
            if error.take_message().is_some() { Failure::NotDone } else { Failure::Sent }
        })?;
        // The replica has done nothing and refused the request, which is for the next leader.
        if response.headers().contains_key(FORWARDED) {
            return Err(Failure::NotDone);
        }
        *self.reached.lock() = Some(self.clock.since_boot());
        *self.unreached_since.lock() = None;
        Ok(self.incoming(leader, connection, asked, response))
    }

    /// The leader's response to `/ready`, as status and body. `None` if there is none.
    async fn ask_ready(&self, leader: &Arc<Leader>) -> Option<(StatusCode, String)> {
        let mut request = Request::default();
        *request.uri_mut() = Uri::from_static("/ready");
        let (head, body) = self.ask(leader, &request, Hop::NO_CLIENT).await.ok()?.into_parts();
        let body = to_bytes(body, BODY_MAX).await.ok()?;
        Some((head.status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The leader's response as this replica passes it on. Keeps the connection for later requests, unless this one was for a WebSocket. A
    /// task passes on the bytes of a WebSocket.
    fn incoming(
        &self,
        leader: &Arc<Leader>,
        connection: Connection,
        request: &Request<Bytes>,
        mut response: hyper::Response<hyper::body::Incoming>,
    ) -> Response {
        let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if is_upgraded && let Some(client) = request.extensions().get::<OnUpgrade>() {
            let (client, leader_side) = (client.clone(), hyper::upgrade::on(&mut response));
            let (end, mut target, leader) = (self.end.clone(), self.target.subscribe(), Arc::clone(leader));
            self.sockets.spawn(async move {
                let cut = async {
                    tokio::select! {
                        () = end.cancelled() => GOING_AWAY,
                        _ = target.wait_for(|target| !target.is_leader(Some(&leader))) => SERVICE_RESTART,
                    }
                };
                upgrade::pass_on(client, leader_side, cut).await;
            });
        } else if !is_upgrade(request) {
            self.connections.keep(connection);
        }
        // `Connection` names `Upgrade` also in a response that only says that an upgrade is required.
        let names_upgrade = response.headers().contains_key(UPGRADE);
        remove_of_connection(response.headers_mut(), names_upgrade);
        response.extensions_mut().insert(PassedOn);
        response.map(|body| Body::new(TimeoutBody::new(PROGRESS_MAX, body)))
    }
}

/// A request as it goes out on a connection.
fn outgoing(
    leader: &Leader,
    connection: &Connection,
    request: &Request<Bytes>,
    hop: Hop,
) -> Option<hyper::Request<Full<Bytes>>> {
    let mut outgoing = hyper::Request::new(Full::new(request.body().clone()));
    outgoing.method_mut().clone_from(request.method());
    *outgoing.uri_mut() = request.uri().path_and_query().cloned().map(Uri::from)?;
    let headers = outgoing.headers_mut();
    headers.clone_from(request.headers());
    remove_of_connection(headers, is_upgrade(request));
    for name in [CONTENT_LENGTH, EXPECT] {
        headers.remove(name);
    }
    if !headers.contains_key(HOST) {
        headers.insert(HOST, HeaderValue::from_str(leader.address.as_str()).ok()?);
    }
    headers.insert(FORWARDED, leader.key.sign(connection.nonce, hop, request)?);
    Some(outgoing)
}

/// The response of this replica's own routes.
async fn here(router: Router, request: Request<Bytes>) -> Response {
    let Ok(mut response) = router.oneshot(request.map(Body::from)).await;
    response.extensions_mut().insert(PassedOn);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_base::SystemClock;

    #[test]
    fn a_client_has_an_eighth_of_the_places_or_its_share_if_others_wait_and_four_48s_leave_places_for_others()
    {
        let forwarder = Forwarder::new(Arc::default(), Arc::new(SystemClock), Arc::default());
        let fill = |address: &str| {
            let client = ClientKey::of(address.parse().unwrap());
            (0..HELD_MAX).map_while(|_| forwarder.place(client)).collect::<Vec<_>>()
        };
        let first = fill("192.0.2.1");
        assert_eq!(first.len(), HELD_BY_ANYBODY_MAX);
        drop(first);
        let of_48s: Vec<_> = (0..64).flat_map(|n| fill(&format!("2001:db8:{}:{n}::1", n / 16))).collect();
        let others = [2, 3].map(|n| fill(&format!("192.0.2.{n}")));
        assert_eq!(others.map(|places| places.len()), [HELD_PER_CLIENT_MAX; 2]);
        // The fourth gets no more than it leaves free.
        assert_eq!(of_48s.len(), (3 * 4 + 2) * HELD_PER_CLIENT_MAX);
    }
}
