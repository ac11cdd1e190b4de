//! What a request for a credential asks for, and for whom. Tests: `tests/it/renewal.rs`.
//! A bearer token is a server's key, a user's token, or a grant; any other token is ignored. A mint with a grant that may renew counts
//! against the allowance for renewals, and keeps the grant's user. Where users must sign in, it needs a sign-in that is not over: of the
//! token that the grant was minted with, or of a token beside it. The right to renew is taken before the mint; if the mint fails or is
//! refused, dropping it gives it back.
//!
//! A caller without a valid token counts against its address before it is refused. A request whose form is not valid costs nothing: it
//! cannot mint, and the advice to raise a rate would hide what is wrong.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use super::parameter_forms::LabelOrNone;
use super::refusals::{grant_limit_reached, too_many_mints};
use super::server_mint::{
    IdentifiedRequest, ServerMint, ShownKey, for_server, named_user, refuse_mistyped_key, shown_key,
    wrong_key,
};
use crate::account::RenewalRight;
use crate::app::{App, BearerToken};
use crate::auth::Auth;
use crate::bounds::TTL_MIN;
use crate::ice::key_name::KeyName;
use crate::limit::Allowance;
use crate::mint::token::GrantToken;
use crate::mint::{MintRequest, client_at};
use turn_base::broker::{Broker, Requester, Verified};
use turn_base::error::ApiError;
use turn_base::request::bearer::bearer;
use turn_base::request::client_addr::ClientAddr;
use turn_base::request::header::page_origin;
use turn_base::request::query::{form_or_none, parse_query};
use turn_ledger::{GrantRow, Label, Spender};

/// What a label is.
pub(super) const LABEL_FORM: &str = "at most 64 characters of A-Z a-z 0-9 . _ : @ / -";

/// The query parameters of every route that mints.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MintQuery {
    /// Requested lifetime in whole seconds. The default, and the longest, is `TURN_TTL_SECONDS` (86400 unless set).
    #[param(value_type = Option<u64>, minimum = 60, maximum = 172_800, example = 3600)]
    #[serde(default, deserialize_with = "seconds")]
    ttl: Option<Duration>,
    /// A name of your own for what this credential is used for: a room, a customer. It is stored with the grant and never
    /// trusted.
    #[param(inline, value_type = LabelOrNone, required = false, example = "room-1")]
    #[serde(default, deserialize_with = "label")]
    label: Option<Label>,
    /// The name of the TURN key to mint with, if the operator has several. If that key does not work, another one mints.
    #[param(value_type = Option<String>)]
    #[serde(default, deserialize_with = "key")]
    region: Option<KeyName>,
}

fn seconds<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Duration>, D::Error> {
    let text = Cow::<str>::deserialize(text)?;
    let seconds = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    // What is no number is refused with the bounds, as a number outside them is.
    Ok(Some(Duration::from_secs(seconds.unwrap_or(0))))
}

fn label<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Label>, D::Error> {
    form_or_none(text, Label::new, LABEL_FORM)
}

fn key<'de, D: Deserializer<'de>>(text: D) -> Result<Option<KeyName>, D::Error> {
    form_or_none(text, KeyName::new, "the name of a TURN key of this service")
}

/// The user's token beside a grant that is renewed.
const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// What the tokens of a request prove: a user, the right to renew a grant, or both.
#[derive(Clone, Default)]
struct Proven {
    signed_in: Option<Verified>,
    renewal: Option<Arc<RenewalRight>>,
}

/// Finds out who asks for what, and charges the allowance. `form`: whether the rest of the query is valid.
pub(super) async fn identify(
    app: &App,
    request: &Parts,
    form: Result<(), ApiError>,
) -> Result<IdentifiedRequest, ApiError> {
    let ClientAddr(address) = request.extensions.get().copied().ok_or_else(ApiError::internal)?;
    app.untrusted_proxies.record(forwarded_unread_from(app, request));
    let query = parse_query::<MintQuery>(request.uri.query());
    let label = query.as_ref().ok().and_then(|query| query.label.clone());
    let origin = page_origin(&request.headers);
    let form = form.and(query).and_then(|MintQuery { ttl, region, .. }| {
        Ok((accepted_life(ttl, app.config.ice.ttl_max)?, accepted_region(app, region)?))
    });
    match shown_key(app, &request.headers, &request.uri) {
        ShownKey::None => {}
        ShownKey::Right(key) => {
            let asked = form.and_then(|(ttl, region)| {
                Ok(ServerMint { ttl, user: named_user(request.uri.query())?, label, region })
            });
            return Ok(for_server(app, key, asked, request));
        }
        ShownKey::Wrong => return Err(wrong_key(app, request.extensions.get().copied())),
    }
    let proven = match refuse_mistyped_key(app, request) {
        Ok(()) => proven(app, &request.headers, Requester { address, origin: origin.clone() }).await,
        Err(refused) => Err(refused),
    };
    let Proven { signed_in, renewal } = proven.clone().unwrap_or_default();
    let label = signed_in.as_ref().and_then(|of| of.label.clone()).or(label);
    let (user, signed_in_until) = signed_in.map(|of| (of.user, of.until)).unzip();
    let spender = Spender { user, label, origin, signed_in_until, ..Spender::default() };
    let (kind, spender) = match &renewal {
        Some(right) => (Allowance::Renewal, spender.renewing(right.spender())),
        None => (Allowance::Mint, spender),
    };
    let is_charged = proven.is_err() || form.is_ok();
    let taken = is_charged.then(|| app.rate_limit.take(kind, address, spender.user.as_ref()));
    let spender = spender.known();
    let asked = match taken {
        Some(Err(over)) => Err(too_many_mints(over.reset)),
        _ => proven.and(form).and_then(|(ttl, region)| {
            let request = MintRequest::new(app.clock.now(), client_at(address, spender.clone()), ttl)?;
            Ok(MintRequest { key: region, renewal, ..request })
        }),
    };
    let left = taken.map(|taken| taken.unwrap_or_else(|over| over));
    Ok(IdentifiedRequest { asked, spender, left })
}

/// Whether a bearer token may be a user's: a JWT, or anything unknown that the application is asked about. A grant of an earlier ledger is not.
fn is_of_user(auth: &Auth, token: &str, recognized: &BearerToken<'_>) -> bool {
    match recognized {
        BearerToken::Jwt => true,
        BearerToken::Unknown => auth.asks_application() && !GrantToken::has_form(token),
        _ => false,
    }
}

async fn proven(app: &App, headers: &HeaderMap, requester: Requester) -> Result<Proven, ApiError> {
    let grant = match (&app.auth, bearer(headers).map(|token| (token, app.recognize(token)))) {
        (Some(auth), Some((token, of))) if is_of_user(auth, token, &of) => {
            return Ok(Proven { signed_in: Some(auth.user_of(token, &requester).await?), renewal: None });
        }
        (_, Some((_, BearerToken::Grant(grant)))) => Some(grant),
        _ => None,
    };
    let beside = headers.get(AUTH_TOKEN).filter(|_| grant.is_some()).and_then(|token| token.to_str().ok());
    let signed_in = match (&app.auth, beside) {
        (Some(auth), Some(token)) if auth.has_keys() || auth.asks_application() => {
            Some(auth.user_of(token, &requester).await?)
        }
        _ => None,
    };
    if let Some(grant) = &grant
        && app.account.read(|books| books.grants().was_over_limit(grant.id))
    {
        return Err(grant_limit_reached());
    }
    // A grant without a row names no user. Its renewal would be nobody's, so no limit or block of a user would apply.
    let (is_required, now) = (app.needs_sign_in(), app.clock.now());
    let user = signed_in.as_ref().map(|of| &of.user);
    let is_signed_in = |spender: &Spender| {
        let is_current = user.is_some() || spender.signed_in_until.is_some_and(|until| until > now);
        spender.server.is_some() || (spender.user.is_some() && is_current)
    };
    let is_allowed = |row: Option<&GrantRow>| {
        let spender = row.and_then(|row| row.spender.as_deref());
        let is_theirs =
            user.is_none_or(|user| spender.and_then(|spender| spender.user.as_ref()) == Some(user));
        let may_renew = row.is_some() && (!is_required || spender.is_some_and(is_signed_in));
        is_theirs && (app.auth.is_none() || may_renew)
    };
    match grant.and_then(|grant| app.account.take_renewal(&grant, is_allowed)) {
        Some(right) => Ok(Proven { signed_in, renewal: Some(Arc::new(right)) }),
        // With a token beside its grant, a user gets a new credential also if the grant does not renew.
        None if is_required && signed_in.is_none() => Err(ApiError::no_token("a token of your sign-in")),
        None => Ok(Proven { signed_in, renewal: None }),
    }
}

/// The request's peer, if the request has a `CLIENT_ADDRESS_HEADER` that is not read because the peer is not among `TRUSTED_PROXIES`.
fn forwarded_unread_from(app: &App, request: &Parts) -> Option<IpAddr> {
    let ConnectInfo(peer) = request.extensions.get::<ConnectInfo<SocketAddr>>()?;
    let proxies = &app.config.access.trusted_proxies;
    let is_unread = request.headers.contains_key(&proxies.client_header) && !proxies.contain(peer.ip());
    is_unread.then(|| peer.ip().to_canonical())
}

/// The TURN key that should mint.
fn accepted_region(app: &App, region: Option<KeyName>) -> Result<Option<KeyName>, ApiError> {
    if region.is_some_and(|name| app.mint.turn_keys().iter().all(|key| key.name != name)) {
        return Err(ApiError::invalid("Set `region` to the name of a TURN key of this service."));
    }
    Ok(region)
}

/// The requested lifetime; `ttl_max` without one.
fn accepted_life(ttl: Option<Duration>, ttl_max: Duration) -> Result<Duration, ApiError> {
    let (min, ttl) = (TTL_MIN.get(), ttl.unwrap_or(ttl_max));
    if (min..=ttl_max).contains(&ttl) {
        return Ok(ttl);
    }
    let (min, max) = (min.as_secs(), ttl_max.as_secs());
    Err(ApiError::invalid(format!("Set `ttl` to a whole number of seconds from {min} to {max}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_whole_number_of_seconds_within_its_bounds() {
        let max = Duration::from_secs(86_400);
        let ttl = |query| {
            let query = parse_query::<MintQuery>(query).ok()?;
            accepted_life(query.ttl, max).ok().map(|ttl| ttl.as_secs())
        };
        let good = [None, Some("other=1"), Some("ttl=60"), Some("ttl=86400")];
        assert_eq!(good.map(ttl), [86_400, 86_400, 60, 86_400].map(Some));
        for query in "ttl=59 ttl=86401 ttl= ttl ttl=1e3 ttl=-60 ttl=+60 ttl=60.5 ttl=60&ttl=60".split(' ') {
            assert_eq!(ttl(Some(query)), None, "{query}");
        }
    }

    #[test]
    fn a_label_is_optional_and_has_few_characters() {
        let label = |query: &str| {
            let query = parse_query::<MintQuery>(Some(query));
            query.map(|query| query.label.map(|label| label.as_str().to_owned()))
        };
        assert_eq!((label("ttl=60"), label("label=")), (Ok(None), Ok(None)));
        assert_eq!(label("label=team%2Froom-1:a@b.c_d"), Ok(Some("team/room-1:a@b.c_d".into())));
        assert!(label(&format!("label={}", "x".repeat(64))).is_ok());
        for query in ["label=a b", "label=a+b", "label=%C3%BC", "label=%FF", "label=a&label=a", "label=%00"] {
            assert!(label(query).is_err(), "{query}");
        }
        assert!(label(&format!("label={}", "x".repeat(65))).is_err());
    }
}
