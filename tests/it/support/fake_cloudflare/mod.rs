//! A fake Cloudflare on loopback: the TURN key API and the analytics, over real HTTP, with faults that a test chooses.
//!
//! Invariants: a request is in [`History`] before its response is sent. A fault affects exactly one request, or all from
//! [`FakeCloudflare::always`] to [`FakeCloudflare::heal`]. The port stays reserved from start to drop, so a stopped
//! provider restarts at the same address.
//!
//! Each test starts its own fake. `cargo run --example fake-cloudflare` (`main.rs`) runs the same code for people without
//! an account. `server.rs` accepts connections. `provider.rs` builds the correct response, `faults.rs` corrupts it, and
//! `wire.rs` sends the bytes. `analytics/` counts usage and responds to queries. `shapes.rs` has the forms of responses,
//! `history.rs` the recorded requests, `turn_keys.rs` the API for TURN keys.

mod analytics;
mod faults;
mod history;
mod provider;
mod server;
mod shapes;
mod turn_keys;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use analytics::AnalyticsFault;
pub(crate) use faults::Fault;
pub(crate) use history::{History, Recorded};
pub(crate) use shapes::Shape;

use analytics::Analytics;
use faults::FaultPlan;
use provider::Provider;
use turn_keys::TurnKeys;

/// Connections that may wait to be accepted. The same as the default of [`TcpListener::bind`].
const BACKLOG: u32 = 1024;

/// The fake provider. Dropping it stops it.
pub(crate) struct FakeCloudflare {
    address: SocketAddr,
    core: Arc<Core>,
    /// Bound but never listening: it reserves the port while the server is stopped.
    _holder: TcpSocket,
    /// `None` while it is stopped.
    server: Mutex<Option<Server>>,
}

/// The state that the control side and the server's tasks share.
#[derive(Default)]
struct Core {
    settings: Mutex<Settings>,
    history: History,
    /// Changes with each [`FakeCloudflare::release`].
    released: watch::Sender<()>,
}

/// The settings that may change between two requests.
#[derive(Default)]
struct Settings {
    provider: Provider,
    plan: FaultPlan,
    analytics: Analytics,
    turn_keys: TurnKeys,
    /// What it says of billing cycles; 404 without it.
    billing: Option<String>,
    /// The latency of a correct mint, before any fault; initially zero.
    latency: Duration,
    observer: Option<Arc<Observer>>,
    /// Makes the header `Date` of each response. `None`: the real time.
    date: Option<Arc<dyn Fn() -> String + Send + Sync>>,
}

/// Called when the response of a request is known, before it is sent. The status is `None` if there is no response.
type Observer = dyn Fn(&Recorded, Option<u16>) + Send + Sync;

/// Dropping the guard ends the accept loop and, with it, every connection.
struct Server {
    _stop_on_drop: DropGuard,
    task: JoinHandle<()>,
}

impl FakeCloudflare {
    /// Starts on a free port of 127.0.0.1.
    pub(crate) async fn start() -> Self {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into()).await.expect("loopback has a free port")
    }

    /// Starts on the given address; port 0 takes a free one.
    pub(crate) async fn start_on(address: SocketAddr) -> io::Result<Self> {
        if address.port() != 0 {
            // Sockets that share a port do not conflict, so bind exclusively first.
            drop(TcpListener::bind(address).await?);
        }
        let holder = bind(address)?;
        let address = holder.local_addr()?;
        let core = Arc::new(Core::default());
        let server = Mutex::new(Some(Server::start(address, Arc::clone(&core))?));
        Ok(Self { address, core, _holder: holder, server })
    }

    /// The value of `CLOUDFLARE_API_BASE` and `CLOUDFLARE_ANALYTICS_BASE`: `http://127.0.0.1:PORT`.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Queues a fault for the next request. Queued faults affect one request each, in order, before [`Self::always`].
    pub(crate) fn next(&self, fault: Fault) {
        self.core.settings().plan.queue(fault);
    }

    /// Applies this fault to every request until [`Self::heal`].
    pub(crate) fn always(&self, fault: Fault) {
        self.core.settings().plan.set_permanent(fault);
    }

    /// Ends every fault, including queued ones. Responses in progress stay broken.
    pub(crate) fn heal(&self) {
        self.core.settings().plan.clear();
    }

    /// Sends the responses that [`Fault::Held`] keeps back until now.
    pub(crate) fn release(&self) {
        self.core.released.send_replace(());
    }

    /// Sets the form of correct mint responses.
    pub(crate) fn shape(&self, shape: Shape) {
        self.core.settings().provider.shape = shape;
    }

    /// Sets the clock: the header `Date` of each response from now on, such as `Wed, 15 Jan 2025 12:00:00 GMT`.
    pub(crate) fn set_date(&self, date: &str) {
        let date = date.to_owned();
        self.core.settings().date = Some(Arc::new(move || date.clone()));
    }

    /// The same with this clock, unless one was set before.
    pub(crate) fn follow(&self, clock: impl Fn() -> String + Send + Sync + 'static) {
        self.core.settings().date.get_or_insert_with(|| Arc::new(clock));
    }

    /// Sets the URLs of correct mint responses.
    pub(crate) fn relays_at(&self, urls: &[String]) {
        self.core.settings().provider.relays = Some(urls.to_vec());
    }

    /// Sets the latency of correct mints; the live service takes 120 to 450 ms.
    pub(crate) fn latency(&self, latency: Duration) {
        self.core.settings().latency = latency;
    }

    /// Accepts only this bearer token. Any other gets 401.
    pub(crate) fn require_token(&self, token: &str) {
        self.core.settings().provider.token = Some(token.to_owned());
    }

    /// Says this of the account's billing cycles.
    pub(crate) fn bills(&self, answer: &serde_json::Value) {
        self.core.settings().billing = Some(answer.to_string());
    }

    /// Accepts only this key id. Any other gets 404.
    pub(crate) fn require_key(&self, key_id: &str) {
        self.core.settings().provider.key_id = Some(key_id.to_owned());
    }

    /// Accepts this key with this token too. Once a key is required or added, no other is accepted.
    pub(crate) fn add_key(&self, key_id: &str, token: &str) {
        let provider = &mut self.core.settings().provider;
        provider.key_id.get_or_insert_default();
        provider.keys.insert(key_id.to_owned(), token.to_owned());
    }

    /// Forgets a key that was added.
    pub(crate) fn remove_key(&self, key_id: &str) {
        self.core.settings().provider.keys.remove(key_id);
    }

    /// The API that creates TURN keys. The faults above do not affect it.
    pub(crate) fn turn_keys(&self) -> turn_keys::Control<'_> {
        turn_keys::Control(&self.core)
    }

    /// The analytics. The faults above do not affect them.
    pub(crate) fn analytics(&self) -> analytics::Control<'_> {
        analytics::Control(&self.core)
    }

    /// Calls `observer` for each request with its status, or `None` without a response.
    pub(crate) fn observe(&self, observer: impl Fn(&Recorded, Option<u16>) + Send + Sync + 'static) {
        self.core.settings().observer = Some(Arc::new(observer));
    }

    /// The recorded requests. Later requests appear in the same history.
    pub(crate) fn history(&self) -> History {
        self.core.history.clone()
    }

    /// Breaks every connection and refuses new ones until [`Self::restart`]. Stopping twice is harmless.
    pub(crate) async fn stop(&self) {
        let running = self.server().take();
        if let Some(Server { _stop_on_drop: stop, task }) = running {
            drop(stop);
            task.await.expect("the server task neither panics nor is aborted");
        }
    }

    /// Listens again on the same port, with the same history, plan and settings. Stops a running server first.
    pub(crate) async fn restart(&self) {
        self.stop().await;
        let server = Server::start(self.address, Arc::clone(&self.core)).expect("the port is held for us");
        *self.server() = Some(server);
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().expect("no code panics while it holds this lock")
    }
}

impl Server {
    fn start(address: SocketAddr, core: Arc<Core>) -> io::Result<Self> {
        let listener = bind(address)?.listen(BACKLOG)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(server::serve(listener, core, stop.clone()));
        Ok(Self { _stop_on_drop: stop.drop_guard(), task })
    }
}

impl Core {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().expect("no code panics while it holds this lock")
    }
}

/// A socket on a port that other sockets of this process can also use.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}
