//! The connections of the HTTP client. After a time-out, and after a connection broke, later requests use new connections: the other end
//! may accept bytes on the old ones for hours and answer nothing. Requests in progress on the old connections may still end. A request
//! whose connection broke before an answer began is repeated once on a new connection: servers close kept connections at any time, also
//! while a request is on its way. So a request may arrive twice. A second mint, session or count costs nothing, because nobody gets the
//! first one. A second revocation or alert does no harm, because it names what it is about.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use reqwest::{Client, IntoUrl, Method, NoProxy, Proxy, Request, RequestBuilder, Response, redirect};
use turn_budget::Timestamp;
use url::Url;

use super::names::{LOOKUP_MAX, Names};
use super::{CONNECT_TIMEOUT, CallError, ClientError, Network, TIMEOUT, date, successful};

const USER_AGENT: &str = concat!("turn-broker/", env!("CARGO_PKG_VERSION"));
/// How often an HTTP/2 connection is asked whether it still answers, and how long that may take.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// An idle connection is closed after this time.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Called with the time of a server's clock, when a response has just arrived.
type OnDate = Arc<dyn Fn(Timestamp) + Send + Sync>;

/// The HTTP client of this process. Clones share its connections.
#[derive(Clone)]
pub struct HttpClient {
    shared: Arc<Shared>,
    on_date: OnDate,
}

struct Shared {
    /// One for all connections: the root certificates take a megabyte.
    tls: rustls::ClientConfig,
    network: Network,
    names: Names,
    current: RwLock<Connections>,
}

/// The connections that new requests use.
#[derive(Clone)]
struct Connections {
    client: Client,
    /// How many times connections were left before these. It identifies these connections.
    number: u64,
}

/// The client, and the number of the connections over which a response came. Reading the body of the response may show that the connections
/// are broken.
#[derive(Clone)]
struct UsedConnections(HttpClient, u64);

impl HttpClient {
    /// A client without any connection. No other function makes one.
    pub fn new(network: &Network) -> Result<Self, ClientError> {
        let mut tls = network.trust.client();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let names = Names::default();
        let client = client(&tls, network, &names)?;
        let current = RwLock::new(Connections { client, number: 0 });
        let shared = Shared { tls, network: network.clone(), names, current };
        Ok(Self { shared: Arc::new(shared), on_date: Arc::new(|_| ()) })
    }

    /// This client, with the same connections, for a provider's APIs. `on_date` gets the `Date` of each response, whatever its status.
    #[must_use]
    pub fn telling_clock(&self, on_date: impl Fn(Timestamp) + Send + Sync + 'static) -> Self {
        Self { shared: Arc::clone(&self.shared), on_date: Arc::new(on_date) }
    }

    /// Asks a server for its clock and nothing else. `on_date` of this client gets the date of any response, whatever its status. Without a
    /// response nothing happens.
    pub async fn ask_date(&self, url: &Url) {
        let mut root = url.clone();
        // A path may do something.
        root.set_path("/");
        if let Ok(request) = self.request(Method::HEAD, root).build() {
            let _ = self.execute(request).await;
        }
    }

    /// A request to build and then to send with this client.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        self.shared.current.read().client.request(method, url)
    }

    /// Sends a request. A response without a status of success is an error.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, CallError> {
        successful(self.execute(request.build()?).await?)
    }

    /// Executes a request, a second time if its connection breaks before an answer. A response may have any status. The time limit is for
    /// both attempts together, and begins when the look-up of the host's name has ended.
    pub async fn execute(&self, request: Request) -> Result<Response, CallError> {
        if let Some(name) = self.shared.network.name_for(request.url()) {
            let lookup_limit = request.timeout().map_or(LOOKUP_MAX, |limit| LOOKUP_MAX.min(*limit));
            self.shared.names.prepare(name, lookup_limit).await.map_err(CallError::Connect)?;
        }
        let limit = request.timeout().map_or(TIMEOUT, |limit| *limit);
        let current = self.shared.current.read().clone();
        let (number, copy) = (current.number, request.try_clone());
        // Boxed: it is large, and so would be every future that waits for it.
        let attempts = Box::pin(async {
            match (self.attempt(request, &current).await, copy) {
                (Err(CallError::Broken(_)), Some(copy)) => {
                    // A client of its own: what other requests have opened since may be broken, too.
                    let Shared { tls, network, names, .. } = &*self.shared;
                    let client = client(tls, network, names).unwrap_or(current.client);
                    self.attempt(copy, &Connections { client, number }).await
                }
                (first, _) => first,
            }
        });
        tokio::time::timeout(limit, attempts).await.unwrap_or_else(|_| {
            self.leave(number);
            Err(CallError::Timeout)
        })
    }

    /// Sends a request once over these connections. Passes the date of the response to `on_date`.
    async fn attempt(&self, request: Request, over: &Connections) -> Result<Response, CallError> {
        let used = UsedConnections(self.clone(), over.number);
        let mut response = over.client.execute(request).await.map_err(|error| used.failed(error))?;
        response.extensions_mut().insert(used);
        if let Some(date) = date(response.headers()) {
            (self.on_date)(date);
        }
        Ok(response)
    }

    /// Makes later requests use new connections, unless the connections of this number were left before.
    fn leave(&self, number: u64) {
        let mut current = self.shared.current.write();
        if current.number == number
            // A client was built from the same settings before, so this does not fail.
            && let Ok(client) = client(&self.shared.tls, &self.shared.network, &self.shared.names)
        {
            *current = Connections { client, number: number.wrapping_add(1) };
        }
    }
}

impl UsedConnections {
    /// The error of an exchange over these connections. Leaves the connections if they may be broken.
    fn failed(&self, error: reqwest::Error) -> CallError {
        let error = CallError::from(error);
        if matches!(error, CallError::Timeout | CallError::Broken(_)) {
            let Self(client, number) = self;
            client.leave(*number);
        }
        error
    }
}

/// The next part of a response's body; `None` at its end.
pub async fn chunk(response: &mut Response) -> Result<Option<impl AsRef<[u8]> + use<>>, CallError> {
    let chunk = response.chunk().await;
    chunk.map_err(|error| match response.extensions().get::<UsedConnections>() {
        Some(used) => used.failed(error),
        None => error.into(),
    })
}

/// A client without any connection.
fn client(tls: &rustls::ClientConfig, network: &Network, names: &Names) -> Result<Client, ClientError> {
    let mut client = Client::builder().no_proxy();
    if let Some(proxy) = &network.proxy {
        let no_proxy = NoProxy::from_string(&proxy.except);
        client = client.proxy(Proxy::https(proxy.url.clone()).map_err(ClientError)?.no_proxy(no_proxy));
    }
    client
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .dns_resolver(Arc::new(names.clone()))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_INTERVAL)
        .http2_keep_alive_while_idle(true)
        .pool_idle_timeout(IDLE_MAX)
        .tls_backend_preconfigured(tls.clone())
        .build()
        .map_err(ClientError)
}
