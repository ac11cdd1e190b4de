//! How a request reaches the leader from another replica. A request is forwarded once at most. While nobody leads, or the leader that has
//! it is silent, it waits. It is sent again only if that can do no harm: if it was not sent yet, or once if its method is safe, or if its
//! method is safe and a leader that cannot write has refused it. A WebSocket ends with the lead of the replica that has it.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use http_body_util::{BodyExt, Full, Limited};
use hyper::upgrade::OnUpgrade;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::telemetry::metrics::Metrics;
use turn_base::body::BODY_MAX;
use turn_base::clock::{self, Clock};
use turn_base::error::ApiError;
use turn_base::request::client_addr::ClientAddr;
use turn_ledger::ClientKey;

mod client;
mod headers;
mod hold;
mod mac;
mod target;
mod upgrade;

pub use hold::{HELD_MAX, HELD_PER_CLIENT_MAX, HOLD_MAX};
pub use mac::{CountedSocket, FORWARDED, ForwardKey, Forwarded, Hop};
pub use target::{Leader, Target};

use client::{LeaderClient, client, socket_client};
use headers::remove_of_connection;
use hold::{Hold, NotHeld, Wait};
use upgrade::{GOING_AWAY, SERVICE_RESTART};

/// The longest time to the head of a response. A leader that is paused has been replaced before: the longest lease is 60 s.
const ANSWER_MAX: Duration = Duration::from_secs(70);
/// The longest time for the leader to say whether it is ready. The checks of balancers take about a second.
const PROBE_MAX: Duration = Duration::from_millis(800);
/// When a leader is there, the requests that have waited are not sent all at once: so many wait for a response, or have waited for this
/// time. The leader counts a new connection for one client until it has read its request.
pub const WOKEN_MAX: usize = 128;
const WOKEN_TIME: Duration = Duration::from_millis(500);

/// A response that is passed on as it is. Among its extensions.
#[derive(Clone, Copy, Debug)]
pub struct PassedOn;

/// Why the leader gave no response.
enum Failure {
    /// The request cannot be forwarded at all.
    Invalid,
    /// The request was not sent.
    NotSent,
    /// The request may have had its effect.
    Sent,
    /// The request may not wait any longer: for its turn, or for a leader that has it and is silent.
    Silent,
    /// The leader is silent and has refused the request, so it may be cut off from the database, which this replica reaches.
    Refused,
}

/// Sends requests to the leader.
#[derive(Debug)]
pub struct Forwarder {
    target: watch::Receiver<Target>,
    /// Whether the leader has written nothing lately.
    is_silent: watch::Receiver<bool>,
    client: LeaderClient,
    /// For the requests that open sockets.
    socket_client: LeaderClient,
    hold: Hold,
    /// For requests that have waited, while they are sent.
    woken: Semaphore,
    /// Asks for a look at who leads.
    look: Arc<Notify>,
    /// The sockets that are passed on.
    sockets: TaskTracker,
    /// Ends them.
    end: CancellationToken,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// When the leader last responded: milliseconds since boot, and one more. 0: never.
    reached: AtomicU64,
}

impl Forwarder {
    /// `look` is notified when the leader cannot be reached. `end` ends the upgraded sockets.
    pub fn new(
        target: watch::Receiver<Target>,
        is_silent: watch::Receiver<bool>,
        look: Arc<Notify>,
        end: CancellationToken,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            target,
            is_silent,
            client: client(),
            socket_client: socket_client(),
            hold: Hold::default(),
            woken: Semaphore::new(WOKEN_MAX),
            look,
            sockets: TaskTracker::new(),
            end,
            clock,
            metrics,
            reached: AtomicU64::new(0),
        }
    }

    /// Gets a response from the replica that leads, which may be this one by then.
    pub async fn forward(&self, request: Request<Bytes>) -> Result<Response, ApiError> {
        let ClientAddr(client) = *request.extensions().get().ok_or_else(ApiError::internal)?;
        let mut wait = self.hold.wait(ClientKey::of(client));
        let mut may_repeat = request.method().is_safe();
        loop {
            let target = self.target.borrow().clone();
            if target.ends(&request, self.clock.now()) {
                return Err(self.refuse("hops"));
            }
            let mut is_refused = false;
            let address = match target {
                Target::Here(router) => return Ok(here(router, request).await),
                Target::At(leader) => {
                    match self.ask(&leader, &request, &mut wait).await {
                        Ok(response) => return Ok(response),
                        Err(Failure::Invalid) => return Err(ApiError::invalid("Send a path.")),
                        Err(Failure::Sent) if !may_repeat => return Err(self.refuse("sent")),
                        Err(Failure::Sent) => may_repeat = false,
                        Err(Failure::Silent) => return Err(self.refuse("not_held")),
                        Err(Failure::Refused) => is_refused = true,
                        Err(Failure::NotSent) => {}
                    }
                    self.look.notify_one();
                    Some(leader.address)
                }
                Target::Nobody(_) => None,
            };
            if !wait.has_begun() {
                self.metrics.forwarded.count("held");
            }
            let has_changed = async {
                tokio::select! {
                    () = self.left(address.as_ref()) => {}
                    () = self.speaks(), if is_refused => {}
                }
            };
            let may_answer = address.is_some() && !is_refused;
            wait.pause(may_answer, has_changed).await.map_err(|NotHeld| self.refuse("not_held"))?;
        }
    }

    fn refuse(&self, outcome: &'static str) -> ApiError {
        self.metrics.forwarded.count(outcome);
        ApiError::no_leader()
    }

    /// Whether another replica has forwarded this request, although this one does not lead.
    pub fn ends<B>(&self, request: &Request<B>) -> bool {
        self.target.borrow().ends(request, self.clock.now())
    }

    /// Whether the leader serves: the code of its answer, or an error if it cannot be reached. A leader that was reached so shortly ago that
    /// requests still wait for the next one counts as one that serves.
    pub async fn probe(&self) -> Result<(), ApiError> {
        let target = self.target.borrow().clone();
        let answer = match &target {
            Target::Here(_) => return Ok(()),
            Target::At(leader) => {
                tokio::time::timeout(PROBE_MAX, self.ask_ready(leader)).await.ok().flatten()
            }
            Target::Nobody(_) => None,
        };
        match answer {
            Some((StatusCode::OK, _)) => Ok(()),
            Some((_, body)) if is_of_ledger(&body) => Err(ApiError::not_recorded()),
            _ if self.was_reached() => Ok(()),
            _ => Err(ApiError::no_leader()),
        }
    }

    /// Ends the upgraded sockets, and waits for their ends.
    pub async fn finish(&self) {
        self.end.cancel();
        self.sockets.close();
        self.sockets.wait().await;
    }

    /// `None` also from a replica that does not lead, which the signature stops from asking further.
    async fn ask_ready(&self, leader: &Leader) -> Option<(StatusCode, Bytes)> {
        let uri = leader.uri(PathAndQuery::from_static("/ready"))?;
        let mut request = hyper::Request::get(uri).body(Full::default()).ok()?;
        let signature = leader.key.sign(Hop::NO_CLIENT, &request, self.clock.now())?;
        request.headers_mut().insert(FORWARDED, signature);
        let (head, body) = self.client.request(request).await.ok()?.into_parts();
        if head.headers.contains_key(FORWARDED) {
            return None;
        }
        self.note_reached();
        let body = Limited::new(body, BODY_MAX).collect().await.ok()?.to_bytes();
        Some((head.status, body))
    }

    async fn ask(
        &self,
        leader: &Leader,
        request: &Request<Bytes>,
        wait: &mut Wait<'_>,
    ) -> Result<Response, Failure> {
        let outgoing = self.outgoing(leader, request).ok_or(Failure::Invalid)?;
        let woken = self.turn(leader, wait).await?;
        let is_sent = async move {
            if let Some(_place) = woken {
                tokio::time::sleep(WOKEN_TIME).await;
            }
            pending::<Infallible>().await
        };
        let client = if is_upgrade(request) { &self.socket_client } else { &self.client };
        let (mut is_silent, held) = (self.is_silent.clone(), || self.metrics.forwarded.count("held"));
        let response = tokio::select! {
            biased;
            response = client.request(outgoing) => response.map_err(|error| {
                if error.is_connect() { Failure::NotSent } else { Failure::Sent }
            })?,
            never = is_sent => match never {},
            () = self.replaced(leader, request) => return Err(Failure::Sent),
            NotHeld = wait.sit_out(&mut is_silent, held) => return Err(Failure::Silent),
            () = tokio::time::sleep(ANSWER_MAX) => return Err(Failure::Sent),
        };
        // It does not lead any more, and has done nothing.
        if response.headers().contains_key(FORWARDED) {
            return Err(Failure::NotSent);
        }
        self.note_reached();
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            if request.method().is_safe() && *self.is_silent.borrow() {
                return Err(Failure::Refused);
            }
            self.look.notify_one();
        }
        self.metrics.forwarded.count("answered");
        Ok(self.incoming(leader, request, response))
    }

    /// The place of a request that has waited among those that are sent to a leader.
    async fn turn(
        &self,
        leader: &Leader,
        wait: &mut Wait<'_>,
    ) -> Result<Option<SemaphorePermit<'_>>, Failure> {
        if !wait.has_begun() {
            return Ok(None);
        }
        let woken = wait.until_end(self.woken.acquire()).await.map_err(|NotHeld| Failure::Silent)?;
        if self.target.borrow().has_left(Some(&leader.address)) {
            Err(Failure::NotSent)
        } else {
            Ok(woken.ok())
        }
    }

    fn outgoing(&self, leader: &Leader, request: &Request<Bytes>) -> Option<hyper::Request<Full<Bytes>>> {
        let mut outgoing = hyper::Request::new(Full::new(request.body().clone()));
        *outgoing.method_mut() = Some(request.method()).filter(|method| *method != Method::CONNECT)?.clone();
        *outgoing.uri_mut() = leader.uri(request.uri().path_and_query()?.clone())?;
        let headers = outgoing.headers_mut();
        headers.clone_from(request.headers());
        remove_of_connection(headers, is_upgrade(request));
        for name in [CONTENT_LENGTH, EXPECT] {
            headers.remove(name);
        }
        headers.insert(FORWARDED, leader.key.sign(Hop::of(request)?, request, self.clock.now())?);
        Some(outgoing)
    }

    fn incoming(
        &self,
        leader: &Leader,
        request: &Request<Bytes>,
        mut response: hyper::Response<hyper::body::Incoming>,
    ) -> Response {
        let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if let Some(client) = request.extensions().get::<OnUpgrade>().filter(|_| is_upgraded) {
            let (client, leader_side) = (client.clone(), hyper::upgrade::on(&mut response));
            let (end, mut target) = (self.end.clone(), self.target.clone());
            let address = leader.address.clone();
            self.sockets.spawn(async move {
                let cut = async {
                    tokio::select! {
                        () = end.cancelled() => GOING_AWAY,
                        () = left(&mut target, Some(&address)) => SERVICE_RESTART,
                    }
                };
                upgrade::pass_on(client, leader_side, cut).await;
            });
        }
        remove_of_connection(response.headers_mut(), is_upgraded);
        response.extensions_mut().insert(PassedOn);
        response.map(Body::new)
    }

    /// Resolves when the leader was replaced, and its response is not worth waiting for. One that hands the lead over finishes what it has,
    /// so a request that must not be sent again has the rest of its time.
    async fn replaced(&self, leader: &Leader, request: &Request<Bytes>) {
        let end = clock::deadline(HOLD_MAX);
        self.left(Some(&leader.address)).await;
        if !request.method().is_safe() {
            tokio::time::sleep_until(end).await;
        }
    }

    async fn left(&self, address: Option<&Authority>) {
        left(&mut self.target.clone(), address).await;
    }

    /// Resolves when the leader has written again.
    async fn speaks(&self) {
        hold::until(&mut self.is_silent.clone(), false).await;
    }

    fn note_reached(&self) {
        self.reached.store(self.millis(), Ordering::Relaxed);
    }

    fn was_reached(&self) -> bool {
        let reached = self.reached.load(Ordering::Relaxed);
        reached > 0 && u128::from(self.millis().saturating_sub(reached)) < HOLD_MAX.as_millis()
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.clock.since_boot().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

fn is_upgrade(request: &Request<Bytes>) -> bool {
    request.extensions().get::<OnUpgrade>().is_some()
}

async fn here(router: Router, request: Request<Bytes>) -> Response {
    let Ok(mut response) = router.oneshot(request.map(Body::from)).await;
    response.extensions_mut().insert(PassedOn);
    response
}

/// Resolves when requests do not go to this address any more. `None`: when there is a leader.
async fn left(target: &mut watch::Receiver<Target>, address: Option<&Authority>) {
    if target.wait_for(|target| target.has_left(address)).await.is_err() {
        // Nobody looks any more: the process ends.
        pending::<()>().await;
    }
}

/// Whether an error response says that the leader cannot write the ledger.
fn is_of_ledger(body: &[u8]) -> bool {
    let code = serde_json::from_slice::<serde_json::Value>(body).ok().map(|body| body["code"].clone());
    code.is_some_and(|code| code == "LEDGER_UNAVAILABLE")
}
