//! `GET /api/turn-credentials`: the mint. The response is a credential, public STUN servers with a reason, or a refusal with
//! the time after which to try again.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use strum::VariantArray;
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema, Type};
use utoipa::{IntoParams, ToSchema};

use super::AppState;
use super::parameter_forms::LabelOrNone;
use super::refusals::budget_exhausted;
use super::request_log::Minted;
use super::schema::source_schema;
use crate::app::App;
use crate::ice::server::IceServerList;
use crate::mint::token::GrantToken;
use crate::mint::{DegradedReason, IceResponse, IssuedCredential, MintRequest, NoAnswer};
use turn_base::error::ApiError;
use turn_base::request::query::parameters;
use turn_base::schema::one_of;
use turn_ledger::{IceSource, Label, Timestamp};

/// Shortest lifetime that a client may request.
pub const TTL_MIN: Duration = Duration::from_secs(60);

/// An entry of `iceServers`, as `RTCPeerConnection` takes it.
#[derive(ToSchema)]
#[schema(as = IceServer)]
#[expect(dead_code, reason = "describes the wire form for the OpenAPI document")]
pub struct IceServerSchema {
    /// One URL or a list of URLs.
    #[schema(schema_with = urls_schema)]
    urls: Vec<String>,
    /// Present only with `turn:` and `turns:` URLs.
    #[schema(value_type = String, required = false, example = "1736956800:nT3k1s0wQ2Gv8Zb5yXhJ4A")]
    username: Option<String>,
    /// Present only with `turn:` and `turns:` URLs.
    #[schema(value_type = String, required = false, example = "kP3wJt0Jr7Qw5m0mX2m1cQ8hVbE=")]
    credential: Option<String>,
}

/// ICE servers with their lifetime and source.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsBody {
    /// For `new RTCPeerConnection({iceServers})`.
    #[schema(value_type = Vec<IceServerSchema>)]
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
    #[schema(schema_with = source_schema)]
    source: IceSource,
    /// Whether the first of `ICE_SOURCES` was skipped.
    degraded: bool,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = reason_schema, required = false)]
    reason: Option<&'static str>,
    /// Proof that these credentials were issued here: the bearer token for reporting connections and for one renewal. It gives
    /// no access to a TURN server. Absent with STUN servers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "AZ09LWzTBDYa_xlvnJeEngEAAAGUad7A…")]
    grant: Option<GrantToken>,
}

/// The query parameters of every route that mints.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub struct MintQuery {
    /// Requested lifetime in whole seconds. The default, and the longest, is `TURN_TTL_SECONDS` (86400 unless set).
    #[param(minimum = 60, example = 3600)]
    ttl: Option<u64>,
    /// A name of your own for what this credential is used for: a room, a customer. It is stored with the grant and never
    /// trusted.
    #[param(inline, value_type = LabelOrNone, required = false, example = "room-1")]
    label: Option<String>,
    /// The name of the TURN key to mint with, if the operator has several. If that key does not work, another one mints.
    region: Option<String>,
}

/// Returns ICE servers for `new RTCPeerConnection`.
///
/// With `Authorization: Bearer <grant>`, from the grant's `refreshAfter` on, the request is a renewal. Each grant allows one
/// renewal. Renewals have a rate limit of their own, which is wider. Any other token is ignored. Only `GET` is allowed,
/// because a `HEAD` would mint a credential and discard it.
#[utoipa::path(
    get, path = "/api/turn-credentials",
    params(MintQuery),
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
                "iceServers": [{"urls": ["stun:stun.cloudflare.com:3478"]}],
                "source": "stun",
                "degraded": true,
                "reason": "BUDGET_EXHAUSTED",
            }))),
        )),
    )
)]
pub async fn get_turn_credentials(
    app: AppState,
    Extension(asked): Extension<MintRequest>,
) -> Result<Response, ApiError> {
    mint(&app, &asked, |answer| body(&app, answer)).await
}

fn urls_schema() -> RefOr<Schema> {
    let url = || ObjectBuilder::new().schema_type(Type::String).build();
    let schema = OneOfBuilder::new()
        .item(url())
        .item(ArrayBuilder::new().items(url()))
        .description(Some("One URL or a list of URLs: `stun:`, `stuns:`, `turn:` or `turns:`."))
        .examples([serde_json::json!(["turn:turn.cloudflare.com:3478?transport=udp"])]);
    RefOr::T(schema.build().into())
}

/// The schema of the reason of a degraded response.
fn reason_schema() -> RefOr<Schema> {
    one_of(
        DegradedReason::VARIANTS.iter().map(<&str>::from),
        "Why the first source was skipped. Only with `degraded: true`.",
    )
}

/// Mints, and responds with a body in one of the wire formats. What was minted is among the extensions of the response, for the log.
pub(super) async fn mint<T: Serialize>(
    app: &App,
    asked: &MintRequest,
    body: impl FnOnce(IceResponse) -> T,
) -> Result<Response, ApiError> {
    let answer = app.mint.answer(asked).await.map_err(refused)?;
    let minted = Minted::of(&answer);
    app.metrics.credential(minted.source.name(), minted.reason.map_or("none", DegradedReason::code));
    Ok((Extension(minted), Json(body(answer))).into_response())
}

fn refused(why: NoAnswer) -> ApiError {
    match why {
        NoAnswer::Refused(refusal) => budget_exhausted(&refusal),
        NoAnswer::NotRecorded => ApiError::not_recorded(),
        NoAnswer::UserBlocked => ApiError::user_blocked(),
        NoAnswer::TooManyUsers => ApiError::full(
            "Try again later. The operator removes USER_LIMIT_GB: the table of users is full until the period ends.",
        ),
    }
}

fn body(app: &App, answer: IceResponse) -> CredentialsBody {
    match answer {
        IceResponse::Minted(minted) => minted_body(*minted),
        IceResponse::Stun(reason) => CredentialsBody {
            ice_servers: app.stun.clone(),
            ttl: None,
            issued_at: None,
            expires_at: None,
            refresh_after: None,
            source: IceSource::Stun,
            degraded: reason.is_some(),
            reason: reason.map(DegradedReason::code),
            grant: None,
        },
    }
}

fn minted_body(minted: IssuedCredential) -> CredentialsBody {
    CredentialsBody {
        ice_servers: minted.ice_servers,
        ttl: Some(minted.ttl.as_secs()),
        issued_at: Some(minted.issued_at),
        expires_at: Some(minted.expires_at),
        refresh_after: Some(minted.refresh_after),
        source: minted.source,
        degraded: minted.degraded.is_some(),
        reason: minted.degraded.map(DegradedReason::code),
        grant: Some(minted.token),
    }
}

/// `?ttl=` in whole seconds; `ttl_max` without it.
pub(super) fn requested_ttl(query: Option<&str>, ttl_max: Duration) -> Result<Duration, ApiError> {
    let seconds = match parameters(query, "ttl").as_slice() {
        [] => return Ok(ttl_max),
        [text] => text.parse::<u64>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit())),
        _ => None,
    };
    let ttl = seconds.map(Duration::from_secs).filter(|ttl| (TTL_MIN..=ttl_max).contains(ttl));
    ttl.ok_or_else(|| {
        let (min, max) = (TTL_MIN.as_secs(), ttl_max.as_secs());
        ApiError::invalid(format!("Set `ttl` to a whole number of seconds from {min} to {max}."))
    })
}

/// `?label=`. An empty one is none.
pub(super) fn requested_label(query: Option<&str>) -> Result<Option<Label>, ApiError> {
    match parameters(query, "label").as_slice() {
        [] => Ok(None),
        [text] if text.is_empty() => Ok(None),
        [text] => checked_label(text).map(Some),
        _ => Err(ApiError::invalid("Set `label` once.")),
    }
}

/// The label of a request.
pub(super) fn checked_label(text: &str) -> Result<Label, ApiError> {
    let invalid = || ApiError::invalid("Set `label` to at most 64 characters of A-Z a-z 0-9 . _ : @ / -.");
    Label::new(text).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_client_may_request_a_shorter_lifetime() {
        assert_eq!(requested_ttl(None, MAX), Ok(MAX));
        assert_eq!(requested_ttl(Some("other=1"), MAX), Ok(MAX));
        assert_eq!(requested_ttl(Some("ttl=60"), MAX), Ok(TTL_MIN));
        assert_eq!(requested_ttl(Some("ttl=86400"), MAX), Ok(MAX));
    }

    #[test]
    fn a_label_is_optional_and_has_few_characters() {
        let label = |query: &str| {
            requested_label(Some(query)).map(|label| label.map(|label| label.as_str().to_owned()))
        };
        assert_eq!((label("ttl=60"), label("label=")), (Ok(None), Ok(None)));
        assert_eq!(label("label=team%2Froom-1:a@b.c_d"), Ok(Some("team/room-1:a@b.c_d".into())));
        assert!(label(&format!("label={}", "x".repeat(64))).is_ok());
        for query in ["label=a b", "label=a+b", "label=%C3%BC", "label=%FF", "label=a&label=a", "label=%00"] {
            assert!(label(query).is_err(), "{query}");
        }
        assert!(label(&format!("label={}", "x".repeat(65))).is_err());
    }

    #[test]
    fn any_other_ttl_is_an_invalid_request() {
        for query in [
            "ttl=59",
            "ttl=86401",
            "ttl=",
            "ttl",
            "ttl=1e3",
            "ttl=-60",
            "ttl=+60",
            "ttl=60.5",
            "ttl=60&ttl=60",
        ] {
            assert!(requested_ttl(Some(query), MAX).is_err(), "{query}");
        }
    }
}
