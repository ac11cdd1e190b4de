//! A front with TLS and HTTP/2 before a plain server. It stops answering on connections that are open, as a balancer does whose worker
//! hangs: it still acknowledges what it receives. Or it closes each connection after some requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::http_client;
use super::tls::acceptor;

/// The front. It ends with the runtime of the test.
pub(crate) struct Http2Front {
    pub(crate) port: u16,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    /// So many of the oldest connections answer no request.
    silent: AtomicUsize,
}

impl Http2Front {
    /// Starts before the server at this `http:` URL.
    pub(crate) async fn start(plain: &str) -> Self {
        Self::closing_after(usize::MAX, plain).await
    }

    /// The same, but each connection is closed after so many answers, whatever is on its way.
    pub(crate) async fn closing_after(requests: usize, plain: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::<Counts>::default();
        let (shared, plain) = (Arc::clone(&counts), plain.to_owned());
        tokio::spawn(async move {
            let acceptor = acceptor(&[b"h2"]);
            while let Ok((socket, _)) = listener.accept().await {
                let number = shared.accepted.fetch_add(1, Ordering::SeqCst) + 1;
                let (acceptor, shared, plain) = (acceptor.clone(), Arc::clone(&shared), plain.clone());
                tokio::spawn(async move {
                    let Ok(secure) = acceptor.accept(socket).await else { return };
                    let (answered, enough) = (AtomicUsize::new(0), Arc::new(Notify::new()));
                    let closes = Arc::clone(&enough);
                    let answer = service_fn(move |request| {
                        if answered.fetch_add(1, Ordering::SeqCst) == requests {
                            closes.notify_one();
                        }
                        let (is_silent, plain) =
                            (number <= shared.silent.load(Ordering::SeqCst), plain.clone());
                        async move {
                            if is_silent {
                                std::future::pending::<()>().await;
                            }
                            Ok::<_, Infallible>(passed_on(request, &plain).await)
                        }
                    });
                    let serve = http2::Builder::new(TokioExecutor::new());
                    tokio::select! {
                        _ = serve.serve_connection(TokioIo::new(secure), answer) => {}
                        () = enough.notified() => {}
                    }
                });
            }
        });
        Self { port, counts }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// From now on the connections that are open get no answers. New ones do.
    pub(crate) fn silence_open(&self) {
        self.counts.silent.store(self.accepted(), Ordering::SeqCst);
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }
}

async fn passed_on(request: Request<Incoming>, plain: &str) -> Response<Body> {
    let (mut head, body) = request.into_parts();
    head.headers.remove("host");
    let body = to_bytes(Body::new(body), usize::MAX).await.unwrap();
    let target = format!("{plain}{}", head.uri.path_and_query().unwrap());
    let asked = http_client().request(head.method, target).headers(head.headers).body(body);
    let answer = asked.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for name in ["content-type", "date"] {
        if let Some(value) = answer.headers().get(name) {
            response = response.header(name, value);
        }
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}
