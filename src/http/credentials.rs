//! `GET /api/turn-credentials`: the mint. Tests: `tests/it/credentials.rs`.
//! The response is a credential, public STUN servers with a reason, or a refusal.

use axum::Extension;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::mint_request::{KnownRequest, MintQuery, identify};
use super::parameter_forms::UserInPath;
use super::prelude::*;
use super::refusals::{address_limit_reached, budget_exhausted, not_minted};
use super::request_log::Minted;
use crate::alert::StopCode;
use crate::ice::server::{IceServer, IceServerList};
use crate::mint::{GrantToken, IceResponse, MintRequest};
use turn_ledger::NotAdmitted;

/// ICE servers with their lifetime and source.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsBody {
    /// For `new RTCPeerConnection({iceServers})`.
    #[schema(value_type = Vec<IceServer>)]
    ice_servers: IceServerList,
    /// Lifetime in seconds. Absent with STUN servers only, which do not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false, example = 86_400)]
    ttl: Option<u64>,
    /// When the request to the source began; for a credential minted ahead, when it was handed out. Absent with STUN servers
    /// only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false, example = "2025-01-15T12:00:00Z")]
    issued_at: Option<Timestamp>,
    /// The earliest instant at which the credential can expire. Absent with STUN servers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false, example = "2025-01-16T12:00:00Z")]
    expires_at: Option<Timestamp>,
    /// When to fetch the next credential: after three quarters of the lifetime. Absent with STUN servers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false, example = "2025-01-16T06:00:00Z")]
    refresh_after: Option<Timestamp>,
    /// The source of the ICE servers.
    #[schema(schema_with = schema::source)]
    source: IceSource,
    /// Whether the first of `ICE_SOURCES` was skipped, or its relay is in another region than asked for or fails the broker's probes.
    degraded: bool,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::reason, required = false)]
    reason: Option<&'static str>,
    /// Proof that these credentials were issued here: the bearer token for reporting connections and for one renewal. It gives
    /// no access to a TURN server. Absent with STUN servers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "AZ09LWzTBDYa_xlvnJeEngEAAAGUad7A…")]
    grant: Option<GrantToken>,
}

/// Returns ICE servers for `new RTCPeerConnection`.
///
/// With `Authorization: Bearer <grant>`, from the grant's `refreshAfter` on, the request is a renewal. Each grant allows one
/// renewal. Renewals have a rate limit of their own, which is wider. Any other token is ignored. Only `GET` is allowed,
/// because a `HEAD` would mint a credential and discard it.
#[utoipa::path(
    get, path = "/api/turn-credentials",
    params(MintQuery, ("user" = inline(Option<UserInPath>), Query, description = "With a server key alone: the user of that server who spends. `username` and `customIdentifier` mean the same.")),
    responses(
        (status = 200, description = "A credential. If no source can mint one: public STUN servers, with `degraded: true` and a reason.", body = CredentialsBody, examples(
            ("credential" = (summary = "A credential", value = json!({
                "iceServers": [
                    {"urls": ["stun:stun.cloudflare.com:3478"]},
                    {
                        "urls": ["turn:turn.cloudflare.com:3478?transport=udp", "turns:turn.cloudflare.com:443?transport=tcp"],
                        "username": "1736956800:nT3k1s0wQ2Gv8Zb5yXhJ4A",
                        "credential": "kP3wJt0Jr7Qw5m0mX2m1cQ8hVbE=",
                    },
                ],
                "ttl": 86_400,
                "issuedAt": "2025-01-15T12:00:00Z",
                "expiresAt": "2025-01-16T12:00:00Z",
                "refreshAfter": "2025-01-16T06:00:00Z",
                "source": "cloudflare",
                "degraded": false,
                "grant": "AZ09LWzTBDYa_xlvnJeEngEAAAGUad7A…",
            }))),
            ("stun" = (summary = "Public STUN servers only", value = json!({
                "iceServers": [{"urls": ["stun:stun.l.google.com:19302"]}],
                "source": "stun",
                "degraded": true,
                "reason": "BUDGET_EXHAUSTED",
            }))),
        )),
    )
)]
pub async fn get_turn_credentials(app: AppState, request: Request) -> Result<Response, ApiError> {
    Ok(mint(&app, request, |answer, IgnoredAny| Json(body(&app, answer))).await)
}

/// Mints, and responds in one of the wire formats. `Q`: the parameters that only this format has.
pub(super) async fn mint<Q: DeserializeOwned, T: IntoResponse>(
    app: &App,
    request: Request,
    body: impl FnOnce(IceResponse, Q) -> T,
) -> Response {
    let (request, _) = request.into_parts();
    let mut known = KnownRequest::default();
    let asked = identify(app, &request, &mut known).await;
    answer(app, asked, known, body).await
}

/// Mints what is asked for, or refuses. `Q`: the parameters of the wire format, which go to `body`. Counts the result, and adds the
/// headers of the rate limit. For the log, the extensions of the response have the spender and what was minted.
pub(super) async fn answer<Q, T: IntoResponse>(
    app: &App,
    asked: Result<(MintRequest, Q), ApiError>,
    known: KnownRequest,
    body: impl FnOnce(IceResponse, Q) -> T,
) -> Response {
    let minted = async {
        let (asked, of_format) = asked?;
        Ok::<_, ApiError>((app.mint.answer(&asked).await.map_err(refused)?, of_format))
    };
    let mut response = match minted.await {
        Ok((answer, of_format)) => {
            let minted = Minted::of(&answer);
            let reason = minted.reason.map_or("none", StopCode::reason);
            app.metrics.credentials.count([minted.source.name(), reason]);
            (Extension(minted), body(answer, of_format)).into_response()
        }
        Err(error) => error.into_response(),
    };
    if let Some(server) = known.spender.as_ref().and_then(|spender| spender.server.as_ref()) {
        let outcome = response.extensions().get().map_or("refused", Minted::outcome);
        app.metrics.server_key_mint(server.as_str(), outcome);
    }
    response.extensions_mut().insert(known.spender);
    // The rate limit and the layers around this add so many.
    response.headers_mut().reserve(13);
    if let Some(left) = known.left {
        left.describe(response.headers_mut());
    }
    response
}

fn refused(why: NotAdmitted) -> ApiError {
    match why {
        NotAdmitted::Refused(refusal) => budget_exhausted(&refusal),
        NotAdmitted::Blocked(kind) => ApiError::blocked(kind),
        NotAdmitted::AddressLimit { retry_in } => address_limit_reached(retry_in),
        NotAdmitted::TooManyUsers => ApiError::full(
            "Try again later. The operator raises GRANTS_MAX: users with a limit have a quarter as many rows, and those of one server key a quarter of these.",
        ),
        // `Mint::answer` never returns `Stopped` or `Uncut`: it answers with another source, or with STUN servers.
        NotAdmitted::NotRecorded
        | NotAdmitted::ClockInDoubt
        | NotAdmitted::TooManyGrants
        | NotAdmitted::Stopped
        | NotAdmitted::Uncut => not_minted(StopCode::of(&why).unwrap_or(StopCode::LedgerUnavailable)),
    }
}

fn body(app: &App, answer: IceResponse) -> CredentialsBody {
    let (reason, minted) = match answer {
        IceResponse::Minted(minted) => (minted.degraded, Some(*minted)),
        IceResponse::Stun(reason) => (reason, None),
    };
    CredentialsBody {
        ttl: minted.as_ref().map(|minted| minted.ttl.as_secs()),
        issued_at: minted.as_ref().map(|minted| minted.issued_at),
        expires_at: minted.as_ref().map(|minted| minted.expires_at),
        refresh_after: minted.as_ref().map(|minted| minted.refresh_after),
        source: minted.as_ref().map_or(IceSource::Stun, |minted| minted.source),
        degraded: reason.is_some(),
        reason: reason.map(StopCode::reason),
        grant: minted.as_ref().map(|minted| minted.token.clone()),
        ice_servers: minted.map_or_else(|| app.stun.clone(), |minted| minted.ice_servers),
    }
}
