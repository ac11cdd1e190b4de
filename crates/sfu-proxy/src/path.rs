//! The list of paths that go upstream. No other path does, because the proxy adds the app's secret to what it sends. The upstream
//! path is built from the route, never from the request's text.

use crate::prelude::*;

/// The path of a new session, after the prefix.
pub(crate) const NEW_SESSION: &str = "/sessions/new";

pub(crate) const ICE_SERVERS: &str = "/generate-ice-servers";

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// ICE servers, which the broker mints itself.
    IceServers,
    /// A new session.
    NewSession,
    /// A call on a session.
    Session {
        /// The session.
        id: SessionId,
        /// The call.
        call: SfuCall,
    },
    /// The path is in the list, but not with this method.
    OtherMethod {
        /// The value of the `Allow` header.
        allow: &'static str,
    },
    /// The path is not in the list.
    Unknown,
}

/// A call on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum SfuCall {
    /// The session's state.
    Get,
    /// Push or pull tracks.
    NewTracks,
    /// The browser's answer to an offer.
    Renegotiate,
    /// Close tracks.
    CloseTracks,
    /// Change tracks, such as the layer of a simulcast.
    UpdateTracks,
    /// Push or pull data channels.
    NewDataChannels,
    /// Prepare a session for data channels.
    EstablishDataChannels,
    /// Change data channels.
    UpdateDataChannels,
    /// Close data channels.
    CloseDataChannels,
}

impl SfuCall {
    /// The only method of the call, and its path after the session's id.
    const fn form(self) -> (&'static str, &'static str) {
        match self {
            Self::Get => ("GET", ""),
            Self::NewTracks => ("POST", "/tracks/new"),
            Self::Renegotiate => ("PUT", "/renegotiate"),
            Self::CloseTracks => ("PUT", "/tracks/close"),
            Self::UpdateTracks => ("PUT", "/tracks/update"),
            Self::NewDataChannels => ("POST", "/datachannels/new"),
            Self::EstablishDataChannels => ("POST", "/datachannels/establish"),
            Self::UpdateDataChannels => ("PUT", "/datachannels/update"),
            Self::CloseDataChannels => ("PUT", "/datachannels/close"),
        }
    }
}

/// The route of a request. `path`: what follows the prefix, with its slash.
pub(crate) fn route(method: &str, path: &str) -> Route {
    match path {
        ICE_SERVERS if matches!(method, "GET" | "POST") => Route::IceServers,
        ICE_SERVERS => Route::OtherMethod { allow: "GET, POST" },
        NEW_SESSION if method == "POST" => Route::NewSession,
        NEW_SESSION => Route::OtherMethod { allow: "POST" },
        _ => of_session(method, path).unwrap_or(Route::Unknown),
    }
}

/// The route of a path below `/sessions/`. `None` if the path is not in the list.
fn of_session(method: &str, path: &str) -> Option<Route> {
    let rest = path.strip_prefix("/sessions/")?;
    let (id, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let id = SessionId::new(id)?;
    let call = SfuCall::VARIANTS.iter().copied().find(|call| call.form().1 == rest)?;
    let (allow, _) = call.form();
    Some(if method == allow { Route::Session { id, call } } else { Route::OtherMethod { allow } })
}

/// The method of a call on a session, and its path below that of the app.
pub(crate) fn upstream(id: &SessionId, call: SfuCall) -> (&'static str, String) {
    let (method, path) = call.form();
    (method, format!("sessions/{}{path}", id.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::SESSION_ID_MAX;

    fn session(call: SfuCall) -> Route {
        Route::Session { id: SessionId::new("a1b2").unwrap(), call }
    }

    #[test]
    fn each_path_has_a_route_only_with_its_own_methods() {
        for (method, path, expected) in [
            ("POST", "/sessions/new", Route::NewSession),
            ("POST", "/sessions/a1b2/tracks/new", session(SfuCall::NewTracks)),
            ("PUT", "/sessions/a1b2/renegotiate", session(SfuCall::Renegotiate)),
            ("PUT", "/sessions/a1b2/tracks/close", session(SfuCall::CloseTracks)),
            ("PUT", "/sessions/a1b2/tracks/update", session(SfuCall::UpdateTracks)),
            ("POST", "/sessions/a1b2/datachannels/new", session(SfuCall::NewDataChannels)),
            ("POST", "/sessions/a1b2/datachannels/establish", session(SfuCall::EstablishDataChannels)),
            ("PUT", "/sessions/a1b2/datachannels/update", session(SfuCall::UpdateDataChannels)),
            ("PUT", "/sessions/a1b2/datachannels/close", session(SfuCall::CloseDataChannels)),
            ("GET", "/sessions/a1b2", session(SfuCall::Get)),
            ("GET", "/generate-ice-servers", Route::IceServers),
            ("POST", "/generate-ice-servers", Route::IceServers),
        ] {
            assert_eq!(route(method, path), expected, "{method} {path}");
        }
        for (method, path, allow) in [
            ("GET", "/sessions/new", "POST"),
            ("HEAD", "/sessions/a1b2", "GET"),
            ("DELETE", "/sessions/a1b2", "GET"),
            ("PUT", "/sessions/a1b2/tracks/new", "POST"),
            ("POST", "/sessions/a1b2/renegotiate", "PUT"),
            ("HEAD", "/generate-ice-servers", "GET, POST"),
        ] {
            assert_eq!(route(method, path), Route::OtherMethod { allow }, "{method} {path}");
        }
    }

    #[test]
    fn any_other_path_is_not_found() {
        let paths = " / /sessions /sessions/ /sessions//tracks/new /sessions/a1b2/ /sessions/a1b2/tracks /sessions/a1b2/tracks/new/ \
            /sessions/a%2fb /sessions/../apps /sessions/a1b2/../../x /SESSIONS/new /apps/other/sessions/new /generate-ice-servers/";
        for path in paths.split(' ') {
            for method in ["GET", "POST", "PUT"] {
                assert_eq!(route(method, path), Route::Unknown, "{method} {path}");
            }
        }
        let long = |length| format!("/sessions/{}", "a".repeat(length));
        assert!(matches!(route("GET", &long(SESSION_ID_MAX)), Route::Session { .. }));
        assert_eq!(route("GET", &long(SESSION_ID_MAX + 1)), Route::Unknown);
    }

    #[test]
    fn the_upstream_path_is_built_from_the_route() {
        let id = SessionId::new("a1b2").unwrap();
        assert_eq!(upstream(&id, SfuCall::Get), ("GET", "sessions/a1b2".to_owned()));
        assert_eq!(upstream(&id, SfuCall::NewTracks), ("POST", "sessions/a1b2/tracks/new".to_owned()));
    }
}
