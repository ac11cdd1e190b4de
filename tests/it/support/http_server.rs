//! What the fakes of HTTP services share: a server on loopback, and a request as it arrived.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A server. Dropping it stops it.
pub(crate) struct HttpServer {
    pub(crate) address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl HttpServer {
    /// Starts on a free port of 127.0.0.1.
    pub(crate) async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, _task: AbortOnDropHandle::new(task) }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) async fn of(request: Request) -> Self {
        let (head, body) = request.into_parts();
        let (method, path, headers) = (head.method, head.uri.to_string(), head.headers);
        Self { method, path, headers, body: to_bytes(body, usize::MAX).await.unwrap() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
