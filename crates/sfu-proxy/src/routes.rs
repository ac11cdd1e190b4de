//! The routes of the proxy: `{prefix}/…` for each of `SFU_PREFIXES`. Tests: `tests/it/signaling/sfu/mod.rs`. This module reads a request:
//! who calls, from where, and what goes upstream. Errors have the form of the SFU's API instead of ours, because the same clients read
//! them.

use std::borrow::Cow;
use std::net::IpAddr;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderName;
use axum::http::header::{ALLOW, COOKIE, RETRY_AFTER};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use turn_base::{
    ApiError, ClientAddr, ErrorBody, Unverified, Verbatim, WebClient, bearer, body, is_known_enough,
    page_origin, parameters, signed_in,
};
use turn_budget::{Label, wait_seconds};
use url::form_urlencoded;

use crate::path::{Route, route};
use crate::prelude::*;
use crate::upstream::{SENT, passing};

/// The longest body of a request, in bytes. Chromium's description of a session that pulls from 24 people has 156,000.
pub const BODY_MAX: usize = 1024 * 1024;
/// The room of a session, for a page that has no `correlationId`. It is not sent upstream.
const ROOM: HeaderName = HeaderName::from_static("x-realtime-room");
/// The parameters that go upstream.
const QUERY_SENT: [&str; 3] = ["CreatingSession", "correlationId", "thirdparty"];
/// The code in the log when the SFU itself refuses.
const REFUSED: &str = "sfu_refused";

/// The paths with their handlers, without layers.
pub fn routes<S>(proxy: &Arc<SfuProxy>) -> Vec<(String, MethodRouter<S>)> {
    let route = |prefix: &String| {
        let path = format!("{prefix}/{{*sfu}}");
        let prefix: Arc<str> = prefix.as_str().into();
        let serve = move |State(proxy): State<Arc<SfuProxy>>, request: Request| {
            let prefix = Arc::clone(&prefix);
            async move { serve(&proxy, &prefix, request).await }
        };
        (path, any(serve).with_state(Arc::clone(proxy)))
    };
    proxy.config.prefixes.iter().map(route).collect()
}

async fn serve(proxy: &Arc<SfuProxy>, prefix: &Arc<str>, request: Request) -> Response {
    let path = request.uri().path().strip_prefix(&**prefix).unwrap_or_default();
    match route(request.method().as_str(), path) {
        Route::IceServers => ice_servers(proxy, prefix, request).await,
        Route::NewSession => answer(open(proxy, prefix, request).await, true),
        Route::Session { id, call } => answer(on_session(proxy, id, call, request).await, false),
        Route::Unknown => ApiError::no_route().into_response(),
        Route::OtherMethod { allow } => {
            let mut response = answer(Err(SfuFault::METHOD), false);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            response
        }
    }
}

async fn open(proxy: &Arc<SfuProxy>, prefix: &Arc<str>, request: Request) -> Returned {
    let (parts, body) = request.into_parts();
    let (owner, room_in_token) = caller(proxy, &parts, Expiry::Counts).await?;
    let is_in_token = room_in_token.is_some();
    let room = if is_in_token { room_in_token } else { named_room(&parts)? };
    if proxy.config.rooms_by_token && room.is_some() && !is_in_token {
        return Err(SfuFault::NOT_IN_TOKEN);
    }
    let has_token = owner.user.is_some() || owner.grant.is_some();
    if (!has_token && room.is_none()) || !is_known_enough(&*proxy.service.broker, signed_in_user(&owner)) {
        return Err(SfuFault::UNAUTHORIZED);
    }
    let label = query(&parts, "label").and_then(|text| Label::new(&text));
    let origin = page_origin(&parts.headers);
    let removed = proxy.removed_locks(&cookies(&parts), prefix);
    let passed = read(proxy, &parts, body).await?;
    proxy.open(Opening { owner, room, prefix: Arc::clone(prefix), label, origin, removed }, passed).await
}

async fn on_session(proxy: &Arc<SfuProxy>, id: SessionId, call: SfuCall, request: Request) -> Returned {
    let (parts, body) = request.into_parts();
    // The lock still proves the browser: a token may expire during a long call.
    let (caller, _) = caller(proxy, &parts, Expiry::Ignored).await?;
    proxy.authorize(&id, &caller, &cookies(&parts))?;
    let passed = read(proxy, &parts, body).await?;
    proxy.call(id, call, passed).await
}

fn cookies(parts: &Parts) -> Vec<&str> {
    parts.headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).collect()
}

/// What happens to a user's token that has expired.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expiry {
    /// It is refused.
    Counts,
    /// It counts as none.
    Ignored,
}

/// Who calls, and the room that the token names. A user's token that is not valid is refused, even where none is needed. Any other
/// bearer token that is not a valid grant is ignored. A blocked user or address is refused.
async fn caller(proxy: &SfuProxy, parts: &Parts, expiry: Expiry) -> SfuResult<(Caller, Option<Arc<str>>)> {
    let address = ClientKey::of(address(parts).ok_or(SfuFault::UNAUTHORIZED)?);
    let mut caller = Caller { user: None, grant: None, address };
    let broker = &*proxy.service.broker;
    if broker.block_of(address, None).is_some() {
        return Err(SfuFault::ADDRESS_BLOCKED);
    }
    match signed_in(broker, &parts.headers, parts.uri.query(), address).await {
        Ok(Some(verified)) => {
            caller.user = Some(verified.user);
            let named = verified.room.map(|name| room(&name).ok_or(SfuFault::BAD_ROOM)).transpose()?;
            return Ok((caller, named));
        }
        Ok(None) => {}
        Err(Unverified::Expired(_)) if expiry == Expiry::Ignored => return Ok((caller, None)),
        Err(why) => return Err(refused(&why.into())),
    }
    let Some((grant, user)) = bearer(&parts.headers).and_then(|token| broker.holder(token)) else {
        return Ok((caller, None));
    };
    (caller.grant, caller.user) = (Some(grant), user);
    if broker.block_of(address, caller.user.as_ref()).is_some() {
        return Err(SfuFault::BLOCKED);
    }
    Ok((caller, None))
}

/// The user who has signed in with a token of the application. A grant may have a user too, but it allows no mint, and does not say which
/// room the user's token allows.
fn signed_in_user(caller: &Caller) -> Option<&User> {
    caller.user.as_ref().filter(|_| caller.grant.is_none())
}

/// The fault for the broker's refusal of a token.
fn refused(why: &ApiError) -> SfuFault {
    match why.status {
        StatusCode::FORBIDDEN => SfuFault::BLOCKED,
        StatusCode::SERVICE_UNAVAILABLE => SfuFault::NO_KEYS,
        _ => SfuFault::BAD_TOKEN,
    }
}

/// The room that the page names. An empty name is none.
fn named_room(parts: &Parts) -> SfuResult<Option<Arc<str>>> {
    let name = match parts.headers.get(ROOM) {
        Some(name) => Some(name.to_str().map_err(|_| SfuFault::BAD_ROOM)?.into()),
        None => query(parts, "correlationId"),
    };
    let name = name.filter(|name| !name.is_empty());
    name.map(|name| room(&name).ok_or(SfuFault::BAD_ROOM)).transpose()
}

fn query<'a>(parts: &'a Parts, name: &str) -> Option<Cow<'a, str>> {
    parameters(parts.uri.query(), name).into_iter().next()
}

/// The parts of a request that go upstream.
async fn read(proxy: &SfuProxy, parts: &Parts, body: Body) -> SfuResult<ForwardedRequest> {
    let query = parts.uri.query().and_then(query_sent);
    let headers = passing(&parts.headers, &SENT);
    let (body, kept) = body::read(&proxy.service.bodies, parts, body, BODY_MAX).await.map_err(|error| {
        match error.status {
            StatusCode::PAYLOAD_TOO_LARGE => SfuFault::TOO_LARGE,
            StatusCode::SERVICE_UNAVAILABLE => SfuFault::FULL,
            _ => SfuFault::MALFORMED,
        }
    })?;
    Ok(ForwardedRequest { query, headers, body, kept })
}

/// The query that goes upstream: the parameters that the SFU or partytracks documents, as they came. An empty part stays. `None` if no part
/// is left.
fn query_sent(query: &str) -> Option<String> {
    let is_known = |pair: &&str| {
        let mut named = form_urlencoded::parse(pair.as_bytes());
        named.next().is_none_or(|(name, _)| QUERY_SENT.contains(&name.as_ref()))
    };
    let sent: Vec<_> = query.split('&').filter(is_known).collect();
    (!sent.is_empty()).then(|| sent.join("&"))
}

fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ClientAddr>().map(|client| client.0)
}

/// The response to a client. `is_new`: the request asked for a new session.
fn answer(returned: Returned, is_new: bool) -> Response {
    let code = match &returned {
        Ok(returned) => (!returned.status.is_success()).then_some(REFUSED),
        Err(fault) => Some(fault.code),
    };
    let SfuResponse { status, headers, body } = returned.unwrap_or_else(|fault| answer_of(fault, is_new));
    let mut response = (status, body).into_response();
    response.headers_mut().remove(CONTENT_TYPE);
    response.headers_mut().extend(headers);
    response.extensions_mut().insert(Verbatim);
    if let Some(code) = code {
        response.extensions_mut().insert(ErrorBody { code, ..ErrorBody::default() });
    }
    response
}

fn answer_of(fault: SfuFault, is_new: bool) -> SfuResponse {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (content_type, body) = fault.body(is_new);
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    if let Some(wait) = fault.retry_in {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait_seconds(wait)));
    }
    SfuResponse { status, headers, body: body.into() }
}

/// ICE servers, minted here. If no relay can be had, or a token is refused, the answer is a list of STUN servers, because partytracks hangs
/// without a list.
async fn ice_servers(proxy: &SfuProxy, prefix: &str, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let relays = match caller(proxy, &parts, Expiry::Counts).await {
        Ok(caller) => relay_servers(proxy, prefix, &parts, caller).await,
        Err(_) => None,
    };
    let (servers, cookie) = relays.unwrap_or_else(|| (proxy.service.stun.clone(), None));
    let mut response = Json(json!({ "iceServers": servers })).into_response();
    response.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
    response
}

/// ICE servers that this browser got a moment ago, or new ones with a cookie for its next request. `None` if the caller has not signed in
/// and must, or if nothing was minted.
async fn relay_servers(
    proxy: &SfuProxy,
    prefix: &str,
    parts: &Parts,
    (caller, room_in_token): (Caller, Option<Arc<str>>),
) -> Option<(Value, Option<HeaderValue>)> {
    let address = address(parts)?;
    let user = signed_in_user(&caller);
    if !is_known_enough(&*proxy.service.broker, user) {
        return None;
    }
    // partytracks names no room here, so the sessions of the caller may tell the room.
    let cookies = cookies(parts);
    let own_room = || proxy.room_of(&caller, &cookies);
    let room = room_in_token.or_else(|| named_room(parts).ok().flatten()).or_else(own_room);
    let call = room.map(|room| turn_budget::Call::of(ProtocolName::Sfu.as_str(), &room));
    let origin = page_origin(&parts.headers);
    let spender = Spender { user: user.cloned(), origin: origin.clone(), call, ..Spender::default() };
    let spender = spender.known();
    if let Some(servers) = proxy.given_servers(&cookies, spender.as_deref()) {
        return Some((servers, None));
    }
    let minted = proxy.service.broker.mint(&WebClient { address, origin }, spender).await?;
    let servers = json!(minted.ice_servers);
    let cookie = proxy.servers_cookie(minted.grant, servers.clone(), prefix);
    Some((servers, cookie))
}

#[cfg(test)]
mod tests {
    use super::query_sent;

    #[test]
    fn only_known_parameters_go_upstream_as_they_came() {
        for (query, sent) in [
            ("", Some("")),
            ("CreatingSession&correlationId=a%20b&", Some("CreatingSession&correlationId=a%20b&")),
            ("token=a.b.c&label=x", None),
            (
                "a=1&token=a.b.c&thirdparty=true&%74oken=x&correlationId=%3D",
                Some("thirdparty=true&correlationId=%3D"),
            ),
            ("correlationid=1&correlationId2=2&x=correlationId", None),
        ] {
            assert_eq!(query_sent(query).as_deref(), sent, "{query}");
        }
    }
}
