//! The routes of rooms. Tests: `tests/it/signaling/rooms.rs`. The user of a socket is that of its token, else the one that a trusted proxy
//! names, else the one that the visitor has chosen with `/set-username`. The name is known before the socket opens, and the client cannot
//! change it afterwards. The same name by a token, by a proxy and by choice makes three visitors. A name is marked as a guest's if users
//! can prove their names in a better way.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Path, RawQuery};
use axum::http::header::{COOKIE, LOCATION, SET_COOKIE};
use axum::routing::post;
use turn_base::{only_line, require};
use turn_budget::{USER_FORM, USER_MAX, is_dots};
use turn_signaling::rooms::user_cookie::{UserKey, Visitor};

use super::prelude::*;
use crate::form::Form;
use crate::routes::with_state;
use crate::{RoomsConfig, SocketRequest};

/// The only kind of party that this server has.
const PARTY: &str = "rooms";
/// The numbers of visitors whose names a token or a proxy proves. Visitors with chosen names have random numbers.
const BY_TOKEN: u128 = 0;
const BY_PROXY: u128 = 1;
/// Marks a name whose visitor has not signed in.
const GUEST: &str = " (guest)";
const CHOOSE_A_NAME: &str = "Send the form field `username` to /set-username, then connect again.";

/// What the routes of rooms need.
pub struct RoomRoutes {
    /// The header in which a trusted proxy names the user; `None`: no proxy does.
    header: Option<HeaderName>,
    /// The key that signs the cookie with a chosen name.
    key: UserKey,
    sockets: Arc<Sockets>,
}

type Rooms = State<Arc<RoomRoutes>>;

impl RoomRoutes {
    /// `secret`: the ledger's key, so that cookies stay valid after a restart.
    pub(crate) fn new(config: &RoomsConfig, secret: &[u8], sockets: Arc<Sockets>) -> Self {
        Self { header: config.user_header.clone(), key: UserKey::derived_from(secret), sockets }
    }

    fn service(&self) -> &Service {
        &self.sockets.service
    }

    /// The visitor that a trusted proxy names or, without one, that has a valid cookie.
    fn visitor(&self, peer: SocketAddr, headers: &HeaderMap) -> Option<Visitor> {
        let cookies = || headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let by_proxy = self.named_by_proxy(peer, headers).map(|user| Visitor { user, number: BY_PROXY });
        by_proxy.or_else(|| self.key.visitor(cookies(), self.service().clock.since_1970()))
    }

    fn named_by_proxy(&self, peer: SocketAddr, headers: &HeaderMap) -> Option<User> {
        if !self.service().trusted_proxies.contain(peer.ip()) {
            return None;
        }
        let line = only_line(headers, self.header.as_ref()?)?;
        User::new(str::from_utf8(line.as_bytes()).ok()?)
    }

    /// The name that others see: marked if users can prove theirs in a better way than this visitor.
    fn shown(&self, Visitor { user, number }: Visitor) -> User {
        let is_guest = match number {
            BY_TOKEN => false,
            BY_PROXY => self.service().broker.has_sign_in(),
            _ => self.header.is_some() || self.service().broker.has_sign_in(),
        };
        if is_guest { marked(&user) } else { user }
    }
}

/// The name of a guest, cut if it would be too long.
fn marked(user: &User) -> User {
    let kept = USER_MAX.saturating_sub(GUEST.len());
    let name: String = user.as_str().chars().take(kept).chain(GUEST.chars()).collect();
    User::new(&name).unwrap_or_else(|| user.clone())
}

/// The route with which a visitor chooses a name. A layer of the service reads the body before.
pub fn set_username<S>(rooms: Option<&Arc<RoomRoutes>>) -> Vec<(String, MethodRouter<S>)> {
    with_state(rooms, [("/set-username", post(choose_name))])
}

/// The route of the sockets.
pub fn sockets<S>(rooms: Option<&Arc<RoomRoutes>>) -> Vec<(String, MethodRouter<S>)> {
    with_state(rooms, [("/parties/{party}/{room}", get(open))])
}

async fn open(
    State(rooms): Rooms,
    Path((party, room)): Path<(String, String)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, ApiError> {
    if party != PARTY {
        return Err(ApiError::invalid(format!("Connect to /parties/{PARTY}/ and the name of a room.")));
    }
    // Clients remove such a segment from a path, so the operator could not end the room.
    if is_dots(&room) {
        return Err(ApiError::invalid("Use another name for the room: not `.` or `..`."));
    }
    let visitor = rooms.visitor(peer, request.headers());
    let mut socket = match SocketRequest::from_request(request, &rooms.sockets).await {
        Ok(socket) => socket,
        Err(refused) => return Ok(refused),
    };
    require(&*rooms.service().broker, socket.known.user.as_ref())?;
    let signed_in = socket.known.user.take().map(|user| Visitor { user, number: BY_TOKEN });
    let visitor = signed_in.or(visitor).ok_or_else(|| ApiError::unauthorized(CHOOSE_A_NAME))?;
    if let Some(kind) = rooms.service().broker.block_of(socket.holder.client(), Some(&visitor.user)) {
        return Err(ApiError::blocked(kind));
    }
    socket.known.visitor = visitor.number;
    socket.known.user = Some(rooms.shown(visitor));
    socket.known.room = Some(room.into());
    socket.open(&rooms.sockets, ProtocolName::Rooms)
}

/// Sets the cookie with the chosen name, and redirects to `return-url`. A visitor whom a proxy names is only redirected.
async fn choose_name(
    State(rooms): Rooms,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let redirect = [(LOCATION, return_path(query.as_deref().unwrap_or_default()))];
    if rooms.named_by_proxy(peer, &headers).is_some() {
        return Ok((StatusCode::FOUND, redirect).into_response());
    }
    let form = Form::parse(&headers, body).await?;
    let user = form
        .field("username")
        .and_then(|name| User::new(name.trim()))
        .ok_or_else(|| ApiError::invalid(format!("Send the form field `username`: {USER_FORM}.")))?;
    let is_https = rooms.service().trusted_proxies.state_https(peer.ip(), &headers);
    let visitor = Visitor { user, number: u128::from_be_bytes(random::bytes()?) };
    let cookie = rooms.key.set_cookie(&visitor, is_https, rooms.service().clock.since_1970());
    Ok((StatusCode::FOUND, [(SET_COOKIE, cookie)], redirect).into_response())
}

/// The path to redirect to. It must be on this host, so that nobody can use this route to lead visitors elsewhere.
fn return_path(query: &str) -> String {
    let asked = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "return-url");
    let is_own = |path: &str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    asked.map(|(_, path)| path.into_owned()).filter(|path| is_own(path)).unwrap_or_else(|| "/".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_marked_and_a_long_name_is_cut() {
        for (name, expected) in
            [("ann", "ann (guest)".to_owned()), (&"é".repeat(255), "é".repeat(247) + GUEST)]
        {
            assert_eq!(marked(&User::new(name).unwrap()).as_str(), expected);
        }
    }

    #[test]
    fn only_a_path_of_this_host_is_returned_to() {
        for (query, path) in [
            ("", "/"),
            ("return-url=", "/"),
            ("return-url=%2Froom-1%3Fa%3Db", "/room-1?a=b"),
            ("return-url=https%3A%2F%2Fevil.example", "/"),
            ("return-url=%2F%2Fevil.example", "/"),
            ("return-url=%2F%5Cevil.example", "/"),
            ("return-url=javascript%3Aalert(1)", "/"),
            ("return-url=%2Fa%0D%0ASet-Cookie%3A%20b", "/"),
            ("return-url=%2F%C3%A9", "/"),
        ] {
            assert_eq!(return_path(query), path, "{query}");
        }
    }
}
