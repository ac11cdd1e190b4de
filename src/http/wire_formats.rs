//! The mint in other wire formats: TURN REST draft, Matrix, stunner. Tests: `tests/it/wire_formats.rs`.
//! The same origin rule, rate limit and budget apply as on `/api/turn-credentials`. A format is not served until `DOORS` names it.

use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::AppState;
use super::credentials::{MintQuery, mint};
use crate::app::App;
use crate::ice::server::{IceServer, IceServerList};
use crate::mint::IceResponse;
use turn_base::error::{ApiError, ErrorBody};
use turn_base::request::query::parameter;

/// Life of a response with STUN servers only. It is short because a relay may be available again soon.
const DEGRADED_TTL: Duration = Duration::from_secs(300);
/// The only value of `?service=`.
const SERVICE: &str = "turn";

/// The query parameter of the TURN REST draft and of stunner.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub struct ServiceQuery {
    /// Always `turn`.
    #[param(pattern = "^turn$", example = "turn")]
    service: String,
}

/// One credential, in the format of the TURN REST draft and of Matrix.
#[derive(Debug, Serialize, ToSchema)]
pub struct TurnRestBody {
    /// Empty if there are only STUN servers.
    #[schema(example = "1736956800:nT3k1s0wQ2Gv8Zb5yXhJ4A")]
    username: String,
    /// Empty if there are only STUN servers.
    #[schema(example = "kP3wJt0Jr7Qw5m0mX2m1cQ8hVbE=")]
    password: String,
    /// Life in seconds. 300 if there are only STUN servers.
    #[schema(example = 86_400)]
    ttl: u64,
    /// URLs of the TURN servers that accept the credential, and of STUN servers.
    #[schema(value_type = Vec<String>, example = json!(["turn:turn.cloudflare.com:3478?transport=udp"]))]
    uris: Vec<String>,
}

/// ICE servers in stunner's format.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StunnerBody {
    /// For `new RTCPeerConnection({iceServers})`.
    #[schema(value_type = Vec<IceServer>)]
    ice_servers: IceServerList,
    /// Always `all`: the client may also connect without a relay.
    #[schema(example = "all")]
    ice_transport_policy: &'static str,
}

/// Returns a credential in the format of the TURN REST draft.
///
/// The same mint as `/api/turn-credentials`, renewals included. Only with `turn` in `DOORS`.
#[utoipa::path(
    get, path = "/turn",
    params(
        ServiceQuery,
        ("username" = Option<String>, Query, description = "Ignored. The service chooses the user name."),
        MintQuery,
    ),
    responses(
        (status = 200, description = "A credential, or public STUN servers with an empty user name.", body = TurnRestBody),
        (status = 400, description = "`INVALID_REQUEST`: `service` is not `turn`.", body = ErrorBody),
    )
)]
pub async fn get_turn_rest_credentials(app: AppState, request: Request) -> Result<Response, ApiError> {
    mint(&app, request, check_service, |answer| turn_rest(&app, &answer)).await
}

/// Returns a credential in the format that Matrix clients read.
///
/// The same mint as `/api/turn-credentials`, renewals included. Only with `matrix` in `DOORS`. Matrix access tokens are not
/// checked here: put a homeserver or a proxy in front.
#[utoipa::path(
    get, path = "/_matrix/client/v3/voip/turnServer",
    params(MintQuery),
    responses(
        (status = 200, description = "A credential, or public STUN servers with an empty user name.", body = TurnRestBody),
    )
)]
pub async fn get_matrix_turn_server(app: AppState, request: Request) -> Result<Response, ApiError> {
    mint(&app, request, |_| Ok(()), |answer| turn_rest(&app, &answer)).await
}

/// Returns ICE servers in stunner's format.
///
/// The same mint as `/api/turn-credentials`, renewals included. Only with `ice` in `DOORS`.
#[utoipa::path(
    get, path = "/ice",
    params(ServiceQuery, MintQuery),
    responses(
        (status = 200, description = "ICE servers.", body = StunnerBody),
        (status = 400, description = "`INVALID_REQUEST`: `service` is not `turn`.", body = ErrorBody),
    )
)]
pub async fn get_stunner_ice(app: AppState, request: Request) -> Result<Response, ApiError> {
    let body = |answer| StunnerBody {
        ice_servers: match answer {
            IceResponse::Minted(minted) => minted.ice_servers,
            IceResponse::Stun(_) => app.stun.clone(),
        },
        ice_transport_policy: "all",
    };
    mint(&app, request, check_service, body).await
}

fn turn_rest(app: &App, answer: &IceResponse) -> TurnRestBody {
    match answer {
        IceResponse::Minted(minted) => one_credential(&minted.ice_servers, minted.ttl),
        IceResponse::Stun(_) => one_credential(&app.stun, DEGRADED_TTL),
    }
}

/// The list in a format that has only one credential: the first one, its URLs, and the URLs that need none.
fn one_credential(servers: &IceServerList, ttl: Duration) -> TurnRestBody {
    let username = servers.username();
    let usable = servers
        .as_slice()
        .iter()
        .filter(|server| server.username.is_none() || server.username.as_deref() == username);
    let uris = usable.clone().flat_map(|server| server.urls.as_slice());
    let password = usable.clone().find_map(|server| server.credential.clone());
    TurnRestBody {
        username: username.unwrap_or_default().to_owned(),
        password: password.unwrap_or_default(),
        ttl: ttl.as_secs(),
        uris: uris.map(ToString::to_string).collect(),
    }
}

fn check_service(query: Option<&str>) -> Result<(), ApiError> {
    let wrong = || ApiError::invalid("Set `service` to `turn`.");
    parameter(query, "service", |text| (text == SERVICE).then_some(()), wrong)?.ok_or_else(wrong)
}
