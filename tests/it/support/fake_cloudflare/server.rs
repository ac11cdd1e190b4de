//! The server: it accepts connections, reads requests, and executes the decided outcome.
//!
//! Invariants: a deliberately broken connection ends with a reset. A client could mistake an orderly close for the end of a
//! response. When `serve` returns, all its tasks and connections have ended.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName, HeaderValue, USER_AGENT};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::faults::{Delivery, Outcome};
use super::history::Recorded;
use super::provider::{Answer, Target, clock};
use super::wire::{BrokenOnPurpose, WireBody, body};
use super::{Core, Settings};

/// Maximum length of a request body in bytes. A mint needs about a hundred.
const REQUEST_BODY_MAX: usize = 64 * 1024;
/// The identifier of a broker's probe after its start. It takes no fault of the plan and is in no count of mints.
const PROBE: &str = "turn-broker-probe";
/// Pause after a failed accept, which most likely means that there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Serves until `stop`, then ends every connection.
pub(super) async fn serve(listener: TcpListener, core: Arc<Core>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => drop(connections.spawn(serve_connection(socket, Arc::clone(&core)))),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve_connection(socket: TcpStream, core: Arc<Core>) {
    let _ = socket.set_nodelay(true);
    let service = service_fn(|request| exchange(request, &core));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    if (&mut connection).await.is_err() {
        // The drop then resets the connection. It was broken on purpose, or the client has closed it already.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

async fn exchange(request: Request<Incoming>, core: &Core) -> Result<Response<WireBody>, BrokenOnPurpose> {
    let request = read(request).await?;
    let mut released = core.released.subscribe();
    let (outcome, latency) = decide(request, core);
    match outcome {
        Outcome::Reset => Err(BrokenOnPurpose),
        Outcome::Silence => std::future::pending().await,
        Outcome::Answer { answer, delivery } => {
            pause(latency).await;
            match delivery {
                Delivery::After(delay) => pause(delay).await,
                Delivery::AfterRelease => released.changed().await.map_err(|_| BrokenOnPurpose)?,
                _ => {}
            }
            let date = core.settings().date.clone().map(|date| date());
            Ok(respond(answer, delivery, date.as_deref()))
        }
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// The outcome of a request, and the latency of a correct response. When this returns, the request is in the
/// history.
fn decide(request: Recorded, core: &Core) -> (Outcome, Duration) {
    let path = request.path.clone();
    let target = Target::of(&request.method, &path);
    let is_mint = matches!(target, Target::Mint { .. });
    let mut settings = core.settings();
    if is_mint && request.custom_identifier.as_deref() == Some(PROBE) {
        core.history.record_probe();
        let answer = settings.provider.answer_probe(&request);
        return (Outcome::Answer { answer, delivery: Delivery::Whole }, Duration::ZERO);
    }
    if path == "/client/v4/accounts/account/billable-usage/info" {
        let said = settings.billing.clone().map(|body| Answer::json(StatusCode::OK, body));
        let answer = said.unwrap_or_else(|| Answer::error(StatusCode::NOT_FOUND));
        return (Outcome::Answer { answer, delivery: Delivery::Whole }, Duration::ZERO);
    }
    let outcome = match target {
        Target::Clock => {
            return (Outcome::Answer { answer: clock(), delivery: Delivery::Whole }, Duration::ZERO);
        }
        Target::Analytics => settings.analytics.outcome(&request),
        Target::TurnKeys => {
            let Settings { turn_keys, provider, .. } = &mut *settings;
            Outcome::Answer { answer: turn_keys.answer(&request, provider), delivery: Delivery::Whole }
        }
        Target::AfterRedirect => {
            let answer = settings.provider.answer(&request, &core.history);
            Outcome::Answer { answer, delivery: Delivery::Whole }
        }
        Target::Mint { .. } | Target::Revoke { .. } | Target::Unknown => {
            let fault = settings.plan.take();
            let good = || settings.provider.answer(&request, &core.history);
            match fault {
                Some(fault) => fault.apply(good),
                None => Outcome::Answer { answer: good(), delivery: Delivery::Whole },
            }
        }
    };
    let observer = settings.observer.clone();
    let latency = if is_mint { settings.latency } else { Duration::ZERO };
    drop(settings);
    if let Some(observer) = observer {
        observer(&request, outcome.status());
    }
    core.history.record(target, request);
    (outcome, latency)
}

async fn read(request: Request<Incoming>) -> Result<Recorded, BrokenOnPurpose> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_BODY_MAX).collect().await.map_err(|_| BrokenOnPurpose)?.to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let header = |name: HeaderName| {
        let value = head.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let key_id = Target::of(head.method.as_str(), head.uri.path()).key_id().map(str::to_owned);
    Ok(Recorded {
        key_id,
        authorization: header(AUTHORIZATION),
        user_agent: header(USER_AGENT),
        content_type: header(CONTENT_TYPE),
        ttl: body["ttl"].as_u64(),
        custom_identifier: body["customIdentifier"].as_str().map(str::to_owned),
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        body,
    })
}

fn respond(answer: Answer, delivery: Delivery, date: Option<&str>) -> Response<WireBody> {
    let mut response = Response::new(body(answer.body, delivery));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if let Some(date) = date.and_then(|date| HeaderValue::from_str(date).ok()) {
        headers.insert(DATE, date);
    }
    if let Some((name, value)) = answer.header {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
