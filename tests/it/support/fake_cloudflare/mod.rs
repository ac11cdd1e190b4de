//! A provider on loopback that speaks Cloudflare's TURN key API and its analytics over real HTTP and breaks when told to.
//!
//! Always true: a request is in [`History`] before its answer leaves, a fault strikes exactly one request (or all
//! of them, from [`FakeCloudflare::always`] to [`FakeCloudflare::heal`]), and the port stays ours from start to
//! drop, so that a provider that was stopped comes back where the broker looks for it.
//!
//! The tests own one each; `cargo run --example fake-cloudflare` (`main.rs`) runs the same code for people
//! without an account. How it is cut: `analytics/` counts and tells what was relayed, `provider.rs` is the faultless provider and decides what the answer
//! says, `faults.rs` what becomes of it, `wire.rs` how the bytes leave, `server.rs` pumps, `shapes.rs` and
//! `history.rs` know what their names say.

mod analytics;
mod faults;
mod history;
mod provider;
#[cfg(test)]
mod self_test;
mod server;
mod shapes;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use analytics::AnalyticsFault;
pub(crate) use faults::Fault;
pub(crate) use history::{History, Recorded};
pub(crate) use shapes::Shape;

use analytics::Analytics;
use faults::FaultPlan;
use provider::Provider;

/// Connections that may wait to be accepted after [`FakeCloudflare::restart`]; as many as tokio asks for at
/// first.
const BACKLOG: u32 = 1024;

/// The fake provider. Dropping it stops it.
pub(crate) struct FakeCloudflare {
    address: SocketAddr,
    core: Arc<Core>,
    /// Bound for as long as this lives, never listening: nobody else is given the port while the server is stopped.
    _holder: TcpSocket,
    /// `None` while it is stopped.
    server: Mutex<Option<Server>>,
}

/// What the control side and the server's tasks share.
struct Core {
    settings: Mutex<Settings>,
    history: History,
}

/// What a test or a flag may change between two requests.
#[derive(Default)]
struct Settings {
    provider: Provider,
    plan: FaultPlan,
    analytics: Analytics,
    /// How long each good mint takes, before any fault; zero at first.
    latency: Duration,
    observer: Option<Arc<Observer>>,
}

/// Called once a request's fate is known, before it is carried out; the status is `None` when no answer will
/// come.
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
            // Sockets that share a port do not see each other: ask for it alone first.
            drop(TcpListener::bind(address).await?);
        }
        let holder = bind(address)?;
        let address = holder.local_addr()?;
        let core = Arc::new(Core { settings: Mutex::default(), history: History::default() });
        let server = Mutex::new(Some(Server::start(address, Arc::clone(&core))?));
        Ok(Self { address, core, _holder: holder, server })
    }

    /// What `CLOUDFLARE_API_BASE` and `CLOUDFLARE_ANALYTICS_BASE` must be to reach it: `http://127.0.0.1:PORT`.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Queues a fault for the next request; several strike one request each, in this order, and before
    /// [`Self::always`].
    pub(crate) fn next(&self, fault: Fault) {
        self.core.settings().plan.queue(fault);
    }

    /// From now on this fault strikes every request, until [`Self::heal`].
    pub(crate) fn always(&self, fault: Fault) {
        self.core.settings().plan.keep(fault);
    }

    /// Ends every fault, those still queued included. Answers under way stay as broken as they are.
    pub(crate) fn heal(&self) {
        self.core.settings().plan.clear();
    }

    /// Lets chance pick a fault for this share of the requests, 0 to 100 percent, when none is queued or
    /// kept.
    pub(crate) fn misbehave(&self, percent: u8) {
        self.core.settings().plan.misbehave(percent);
    }

    /// The form of every good mint answer from now on.
    pub(crate) fn shape(&self, shape: Shape) {
        self.core.settings().provider.shape = shape;
    }

    /// From now on good mint answers hold these URLs and no others.
    pub(crate) fn relays_at(&self, urls: &[String]) {
        self.core.settings().provider.relays = Some(urls.to_vec());
    }

    /// How long each good mint takes from now on, as the live service takes its 120 to 450 ms.
    pub(crate) fn latency(&self, latency: Duration) {
        self.core.settings().latency = latency;
    }

    /// From now on another bearer token than this one gets a 401.
    pub(crate) fn require_token(&self, token: &str) {
        self.core.settings().provider.token = Some(token.to_owned());
    }

    /// From now on another key id than this one gets a 404.
    pub(crate) fn require_key(&self, key_id: &str) {
        self.core.settings().provider.key_id = Some(key_id.to_owned());
    }

    /// What it counts of relayed bytes, and how it tells. The faults above leave that alone.
    pub(crate) fn analytics(&self) -> analytics::Control<'_> {
        analytics::Control(&self.core)
    }

    /// Calls `observer` for each request, with the status it will get, or `None` if it will get no answer.
    pub(crate) fn observe(&self, observer: impl Fn(&Recorded, Option<u16>) + Send + Sync + 'static) {
        self.core.settings().observer = Some(Arc::new(observer));
    }

    /// What it was asked so far. A live view: it goes on counting.
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

    /// Listens again on the same port, with history, plan and settings as they were; a running one is stopped
    /// first.
    pub(crate) async fn restart(&self) {
        self.stop().await;
        let server = Server::start(self.address, Arc::clone(&self.core)).expect("the port is held for us");
        *self.server() = Some(server);
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().expect("nothing panics while it holds the server")
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
        self.settings.lock().expect("nothing panics while it holds the settings")
    }
}

/// A socket that shares its port with the holder.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}
