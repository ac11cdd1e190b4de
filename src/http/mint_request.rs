//! What a request for a credential asks for, and for whom. Tests: `tests/it/renewal.rs`, `tests/it/server_keys`.
//! A bearer token is a server's key, a user's token, or a grant. Any other token is ignored. With `SERVER_KEYS`, it is refused instead,
//! unless it has the form of a grant token, because a server may have mistyped its key. A mint with a grant that may renew counts against
//! the allowance for renewals, and keeps the grant's user. Where users must sign in, a renewal needs a sign-in that has not expired: the
//! sign-in with which the grant was minted, or that of a token beside the grant. The right to renew is taken before the mint. If the mint
//! fails or is refused, the right is dropped, which gives it back.
//!
//! A request takes one from the rate limit of its address also if `check_tokens` or `refuse_mistyped_key` refuses it. A request with wrong
//! parameters takes nothing: it cannot mint, and the advice to raise the rate limit would hide what is wrong.
//!
//! A server's key is the bearer token or, in the formats in which programs such as Janus ask, also a parameter, `X-API-Key` or the password
//! of `Basic`. Without `SERVER_KEYS` none of them is read.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderName, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserializer;
use serde::de::DeserializeOwned;
use turn_base::{
    Broker, ClientAddr, Code, Verified, WebClient, bearer, form_or_none, is_jwt, page_origin, parameters,
    parse_query,
};
use turn_ledger::{GrantRow, Label, Requester, Spender, USER_FORM, User};

use super::operator::wrong_token;
use super::parameter_forms::LabelOrNone;
use super::prelude::*;
use super::refusals::{grant_limit_reached, too_many_mints, too_many_of_server};
use crate::account::RenewalRight;
use crate::app::{Action, BearerToken, CallerKind, may};
use crate::auth::Auth;
use crate::auth::server_keys::ServerKey;
use crate::bounds::TTL_MIN;
use crate::config::parse_number;
use crate::ice::http_ice::LIFE_MAX;
use crate::ice::{IceUrl, KeyName};
use crate::limit::wrong_tokens::Role;
use crate::limit::{Allowance, RateLeft};
use crate::mint::{GrantToken, MintRequest, Place, client_at};

/// The broker's own route for credentials.
pub(super) const MINT_PATH: &str = "/api/turn-credentials";
/// What a label is.
pub(super) const LABEL_FORM: &str = "at most 64 characters of A-Z a-z 0-9 . _ : @ / -";

/// The query parameters of every route that mints.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MintQuery {
    /// Requested lifetime in whole seconds. The default, and the longest, is `TURN_TTL_SECONDS` (86400 unless set).
    #[param(value_type = Option<u64>, minimum = 60, maximum = 172_800, example = 3600)]
    #[serde(default, deserialize_with = "text")]
    ttl: Option<Box<str>>,
    /// In place of `ttl`: as many seconds, or `TURN_TTL_SECONDS` if that is less.
    #[param(value_type = Option<u64>, minimum = 60, maximum = 172_800, example = 3600)]
    #[serde(rename = "ttlAtMost", default, deserialize_with = "text")]
    ttl_at_most: Option<Box<str>>,
    /// A name of your own for what this credential is used for: a room, a customer. It is stored with the grant and never
    /// trusted.
    #[param(inline, value_type = LabelOrNone, required = false, example = "room-1")]
    #[serde(default, deserialize_with = "label")]
    label: Option<Label>,
    /// The name of the TURN key to mint with, or the region or host of the operator's own relay to use. If that does not work, another one
    /// serves.
    #[param(value_type = Option<String>)]
    #[serde(default, deserialize_with = "text")]
    region: Option<Box<str>>,
    /// A relay that this page could not use: its host, or one of its URLs. If another one works, the credential is for that.
    #[param(value_type = Option<String>, example = "turn:eu.example.com:3478")]
    #[serde(default, deserialize_with = "text")]
    failed: Option<Box<str>>,
}

/// A parameter that is there. To serde, [`Parameters`] are texts, which are never `None`.
fn text<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Box<str>>, D::Error> {
    Box::deserialize(text).map(Some)
}

fn label<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Label>, D::Error> {
    form_or_none(text, Label::new, LABEL_FORM)
}

/// The header for a user's token, if the bearer token is a grant to renew.
const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// What the tokens of a request prove: a user, the right to renew a grant, both, or nothing.
struct Proven {
    signed_in: Option<Verified>,
    renewal: Option<RenewalRight>,
}

/// What is known of a request for the log and for the headers of the response, also if the request is refused.
#[derive(Default)]
pub(super) struct KnownRequest {
    /// Who would spend what the credential relays. `None`: nothing is known of the spender.
    pub(super) spender: Option<Arc<Spender>>,
    /// What the rate limit has left. `None` if the request has taken nothing from it.
    pub(super) left: Option<RateLeft>,
}

impl KnownRequest {
    /// Records what an allowance has left. Refuses if the allowance was used up already. `taken`: the result of taking one from it.
    pub(super) fn charge(
        &mut self,
        taken: Result<RateLeft, RateLeft>,
        refusal: fn(Duration) -> ApiError,
    ) -> Result<(), ApiError> {
        let (Ok(left) | Err(left)) = taken;
        self.left = Some(left);
        taken.map(drop).map_err(|over| refusal(over.reset))
    }
}

/// Finds out who asks for what, and charges the allowance. Records what it learns in `known`, also if it refuses the request. `Q`: the
/// parameters that only this wire format has.
pub(super) async fn identify<Q: DeserializeOwned>(
    app: &App,
    request: &Parts,
    known: &mut KnownRequest,
) -> Result<(MintRequest, Q), ApiError> {
    let ClientAddr(address) = request.extensions.get().copied().ok_or_else(ApiError::internal)?;
    app.untrusted_proxies.record(unread_header_from(app, request));
    let query = request.uri.query();
    let common = parse_query::<MintQuery>(query);
    let label = common.as_ref().ok().and_then(|common| common.label.clone());
    // Wrong parameters are refused only below, when the spender is known for the log.
    let asked = parse_query(query).and_then(|of_format| {
        let MintQuery { ttl, ttl_at_most, region, failed, .. } = common?;
        let place = accepted_place(app, region, failed)?;
        let life_max = app.config.ice.ttl_max;
        let at_most = accepted_life("ttlAtMost", ttl_at_most.as_deref(), LIFE_MAX)?;
        let life = accepted_life("ttl", ttl.as_deref(), life_max)?;
        Ok((life.unwrap_or(life_max).min(at_most.unwrap_or(life_max)), place, of_format))
    });
    let client = Some(ClientAddr(address));
    if let Some(key) = shown_key(app, &request.headers, &request.uri, client)? {
        let asked = asked.and_then(|(ttl, place, of_format)| {
            refuse_mistyped_name(&request.uri)?;
            Ok((ServerMint { ttl, user: named_user(query)?, label, place }, of_format))
        });
        return for_server(app, &key, asked, request, known);
    }
    let origin = page_origin(&request.headers);
    let anonymous = Spender { label, origin: origin.clone(), ..Spender::default() };
    known.spender = anonymous.clone().known();
    let proven = match refuse_mistyped_key(app, request) {
        Ok(()) => check_tokens(app, &request.headers, WebClient { address, origin }).await,
        Err(refused) => Err(refused),
    };
    let Proven { signed_in, renewal } = match proven {
        Ok(proven) => proven,
        Err(refused) => {
            known.charge(app.core.rate_limit.take(Allowance::Mint, address, None), too_many_mints)?;
            return Err(refused);
        }
    };
    // A label that the application names replaces that of the query.
    let label = signed_in.as_ref().and_then(|verified| verified.label.clone()).or(anonymous.label);
    let (user, signed_in_until) = signed_in.map(|verified| (verified.user, verified.until)).unzip();
    let spender = Spender { user, label, signed_in_until, ..anonymous };
    let (allowance, spender) = match &renewal {
        Some(right) => (Allowance::Renewal, spender.renewing(right.spender.as_deref())),
        None => (Allowance::Mint, spender),
    };
    known.spender = spender.clone().known();
    let (ttl, place, of_format) = asked?;
    let names = [spender.user.as_ref().map(User::as_str), spender.label.as_ref().map(Label::as_str)];
    refuse_tokens(names)?;
    known.charge(app.core.rate_limit.take(allowance, address, spender.user.as_ref()), too_many_mints)?;
    let mint_request = MintRequest::new(app.clock.now(), client_at(address, known.spender.clone()), ttl)?;
    Ok((MintRequest { place, renewal, ..mint_request }, of_format))
}

/// Whether a bearer token may be a user's: a JWT or, if the application is asked, a token that is unknown here. A grant token of an earlier
/// ledger is unknown, but no user's.
fn may_be_of_user(auth: &Auth, token: &str, recognized: &BearerToken) -> bool {
    match recognized {
        BearerToken::User => true,
        BearerToken::Anonymous => auth.asks_application() && !GrantToken::has_form(token),
        _ => false,
    }
}

/// Checks the tokens of a request without a server key: the bearer token, and if that is a grant, the token beside it. If the grant may
/// renew, takes its right to renew. Other bearer tokens are ignored. Refuses a request that has no sign-in where users
/// must sign in.
async fn check_tokens(app: &App, headers: &HeaderMap, web_client: WebClient) -> Result<Proven, ApiError> {
    let client = Some(ClientAddr(web_client.address));
    let recognized = bearer(headers).map(|token| (token, app.recognize(token, client)));
    let grant = match (&app.core.auth, recognized) {
        (Some(auth), Some((token, recognized))) if may_be_of_user(auth, token, &recognized) => {
            return Ok(Proven { signed_in: Some(auth.user_of(token, &web_client).await?), renewal: None });
        }
        (_, Some((_, BearerToken::Grant(grant)))) => Some(grant),
        _ => None,
    };
    let beside_grant = if grant.is_some() { headers.get(AUTH_TOKEN) } else { None };
    let signed_in = match (&app.core.auth, beside_grant.and_then(|token| token.to_str().ok())) {
        // Without keys or an application, nothing can check the token: it is ignored.
        (Some(auth), Some(token)) if auth.has_keys() || auth.asks_application() => {
            // A secret of this service is no user's token, and the application is not told of it.
            if !matches!(app.recognize(token, client), BearerToken::User | BearerToken::Anonymous) {
                return Err(invalid_token("Send a token of your sign-in in `X-Auth-Token`."));
            }
            Some(auth.user_of(token, &web_client).await?)
        }
        _ => None,
    };
    if let Some(grant) = &grant
        && app.account.read(|books| books.grants().was_over_limit(grant.id))
    {
        return Err(grant_limit_reached());
    }
    let (needs_sign_in, now) = (app.core.needs_sign_in(), app.clock.now());
    let user = signed_in.as_ref().map(|verified| &verified.user);
    let is_signed_in = |spender: &Spender| {
        let is_current = user.is_some() || spender.signed_in_until.is_some_and(|until| until > now);
        // A server key is a sign-in while it is in `SERVER_KEYS`.
        let is_of_key = spender.server.as_ref().is_some_and(|name| app.server_keys.has(name));
        is_of_key || (spender.user.is_some() && is_current)
    };
    let is_allowed = |row: Option<&GrantRow>| {
        let spender = row.and_then(|row| row.spender.as_deref());
        // A token beside the grant must name the user of the grant.
        let has_same_user =
            user.is_none_or(|user| spender.and_then(|spender| spender.user.as_ref()) == Some(user));
        // With users (`app.core.auth`), a grant without a row may not renew: it names no user, so no limit or block of a user would apply.
        let may_renew = row.is_some() && (!needs_sign_in || spender.is_some_and(is_signed_in));
        has_same_user && (app.core.auth.is_none() || may_renew)
    };
    match grant.and_then(|grant| app.account.take_renewal(&grant, is_allowed)) {
        Some(right) => Ok(Proven { signed_in, renewal: Some(right) }),
        // With a token beside its grant, a user gets a new credential also if the grant does not renew.
        None if needs_sign_in && signed_in.is_none() => Err(ApiError::no_token("a token of your sign-in")),
        None => Ok(Proven { signed_in, renewal: None }),
    }
}

/// The request's peer, if the request has a `CLIENT_ADDRESS_HEADER` that is not read because the peer is not among `TRUSTED_PROXIES`.
fn unread_header_from(app: &App, request: &Parts) -> Option<IpAddr> {
    let ConnectInfo(peer) = request.extensions.get::<ConnectInfo<SocketAddr>>()?;
    let proxies = &app.config.access.trusted_proxies;
    let is_unread = request.headers.contains_key(&proxies.client_header) && !proxies.contain(peer.ip());
    is_unread.then(|| peer.ip().to_canonical())
}

/// Where the credential should relay. `region`: the name of a TURN key, or the region or host of an own relay; another name is refused.
/// `failed`: the host or URL of a relay that the page could not use.
fn accepted_place(app: &App, region: Option<Box<str>>, failed: Option<Box<str>>) -> Result<Place, ApiError> {
    // HTML forms send an empty text.
    let [region, failed] = [region, failed].map(|name| name.filter(|name| !name.is_empty()));
    let key_name = region.as_deref().and_then(KeyName::new);
    let turn_key = key_name.filter(|name| app.mint.turn_keys().iter().any(|key| key.name == *name));
    let is_relay =
        |name: &str| app.mint.fleet().is_some_and(|fleet| fleet.0.iter().any(|relay| relay.is_named(name)));
    let is_known = region.as_deref().is_none_or(|name| turn_key.is_some() || is_relay(name));
    if !is_known {
        return Err(ApiError::invalid("Set `region` to the name of a TURN key or a relay of this service."));
    }
    let host_of = |text: Box<str>| {
        IceUrl::parse(&text).map_or_else(|_| text.to_lowercase(), |url| url.host.to_lowercase())
    };
    let region = region.filter(|name| is_relay(name));
    Ok(Place { turn_key, region, failed: failed.map(|text| host_of(text).into()) })
}

/// The lifetime that the parameter `name` requests.
fn accepted_life(name: &str, text: Option<&str>, ttl_max: Duration) -> Result<Option<Duration>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let range = TTL_MIN.get().as_secs()..=ttl_max.as_secs();
    let (min, max) = (range.start(), range.end());
    let expected = || format!("Set `{name}` to a whole number of seconds from {min} to {max}.");
    let life = parse_number(text, &range).map(Duration::from_secs);
    life.map(Some).ok_or_else(|| ApiError::invalid(expected()))
}

/// The paths at which a server key may also be in the query, in a form that is read as a query, or in another header.
const WITH_KEY: [&str; 4] = ["/turn", "/ice", "/link", "/api/v1/turn/credentials"];
/// The parameters that can have the server key at these paths.
const KEY_PARAMETERS: [&str; 4] = ["key", "api", "api_key", "apiKey"];
/// The header that can have the server key at these paths.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");
/// The parameters that name a user. Those that are set must name the same user.
const USER_PARAMETERS: [&str; 3] = [USER, "username", "customIdentifier"];
/// The only one of these parameters that has no other meaning.
const USER: &str = "user";

/// The server key of a request; `None` if it has none. A bearer token that is no server key may be something else. In the other places only
/// a key can be, so any other text there is refused.
pub(super) fn shown_key(
    app: &App,
    headers: &HeaderMap,
    uri: &Uri,
    client: Option<ClientAddr>,
) -> Result<Option<ServerKey>, ApiError> {
    if app.server_keys.is_empty() {
        return Ok(None);
    }
    let mut found = match bearer(headers).map(|token| app.recognize(token, client)) {
        Some(BearerToken::ServerKey(key)) => Some(key),
        _ => None,
    };
    if WITH_KEY.contains(&uri.path()) {
        let in_query = KEY_PARAMETERS.into_iter().flat_map(|name| parameters(uri.query(), name));
        let in_header = headers.get_all(KEY_HEADER).iter().map(|key| String::from_utf8_lossy(key.as_bytes()));
        let shown = in_query.chain(in_header).chain(basic_password(headers).map(Cow::Owned));
        // Programs without a key send an empty one.
        for text in shown.filter(|text| !text.is_empty()) {
            let BearerToken::ServerKey(key) = app.recognize(&text, client) else {
                return Err(wrong_key(app, client));
            };
            found = Some(key);
        }
    }
    Ok(found)
}

/// The password of `Authorization: Basic`; the name, if the password is empty.
fn basic_password(headers: &HeaderMap) -> Option<String> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let pair = String::from_utf8_lossy(&decoded);
    let (name, password) = pair.split_once(':')?;
    Some(if password.is_empty() { name } else { password }.to_owned())
}

/// Whether `Authorization` is one word: perhaps a key without its scheme.
fn is_one_word(headers: &HeaderMap) -> bool {
    headers.get(AUTHORIZATION).is_some_and(|value| !value.is_empty() && !value.as_bytes().contains(&b' '))
}

/// Counts a wrong server key. Returns its refusal.
pub(super) fn wrong_key(app: &App, client: Option<ClientAddr>) -> ApiError {
    let refusal = ApiError::unauthorized("Check the key: it is none of the SERVER_KEYS of this service.");
    wrong_token(&app.wrong_tokens, Role::Server, client, refusal)
}

fn invalid_token(message: &'static str) -> ApiError {
    ApiError::new(Code::InvalidToken, "Invalid token").message(message)
}

/// Refuses the request of a server that seems to have mistyped its key: a bearer token that is neither a grant nor a user's, an
/// `Authorization` of one word, or a named user without a key. Such a server must not get an anonymous credential. Only with `SERVER_KEYS`.
pub(super) fn refuse_mistyped_key(app: &App, request: &Parts) -> Result<(), ApiError> {
    if app.server_keys.is_empty() {
        return Ok(());
    }
    let client = request.extensions.get().copied();
    let shown = bearer(&request.headers).map(|token| (token, CallerKind::from(app.recognize(token, client))));
    let asks_application = app.core.auth.as_ref().is_some_and(Auth::asks_application);
    let may_mint = |kind| match kind {
        // The application will say whether the token is a user's.
        CallerKind::Anonymous => asks_application,
        kind => may(kind, Action::Mint),
    };
    match shown {
        Some((token, kind)) if !may_mint(kind) && !GrantToken::has_form(token) => {
            let refusal = invalid_token(
                "Check the bearer token: it is no server key, no grant and no token of a sign-in.",
            );
            Err(wrong_token(&app.wrong_tokens, Role::Server, client, refusal))
        }
        None if is_one_word(&request.headers) => {
            Err(invalid_token("Send the key as `Authorization: Bearer KEY`."))
        }
        _ if !parameters(request.uri.query(), USER).is_empty() => {
            Err(invalid_token("Send a server key with `user`: only a server may name one."))
        }
        _ => Ok(()),
    }
}

/// What a server asks for.
pub(super) struct ServerMint {
    pub(super) ttl: Duration,
    /// For whom.
    pub(super) user: Option<User>,
    pub(super) label: Option<Label>,
    pub(super) place: Place,
}

/// The user that a query names; `None` if it names none. An error if it names several.
pub(super) fn named_user(query: Option<&str>) -> Result<Option<User>, ApiError> {
    let mut named = vec![];
    for name in USER_PARAMETERS {
        let values = parameters(query, name);
        if values.len() > 1 {
            return Err(ApiError::invalid(format!("Send `{name}` once.")));
        }
        named.extend(values.into_iter().filter(|user| !user.is_empty()));
    }
    named.dedup();
    match &named[..] {
        [] => Ok(None),
        [user] => checked_user(user).map(Some),
        _ => Err(ApiError::invalid(format!(
            "Name one user, not different ones in {}.",
            USER_PARAMETERS.join(", ")
        ))),
    }
}

/// Refuses a parameter that a server may have mistyped, because its credential would have no user: an empty `user`, and on the broker's own
/// route an empty name of another parameter, and each parameter that is not known. In the other formats programs send more.
fn refuse_mistyped_name(uri: &Uri) -> Result<(), ApiError> {
    let is_own = uri.path() == MINT_PATH;
    let names = if is_own { &USER_PARAMETERS[..] } else { &[USER] };
    for name in names {
        if parameters(uri.query(), name).iter().any(|user| user.is_empty()) {
            return Err(ApiError::invalid(format!(
                "Set `{name}` to a user of {USER_FORM}, or leave it out."
            )));
        }
    }
    let mut known: Vec<_> = MintQuery::into_params(|| None).into_iter().map(|one| one.name).collect();
    known.extend(USER_PARAMETERS.map(str::to_owned));
    let sent: HashMap<String, String> = parse_query(uri.query())?;
    if !is_own || sent.keys().all(|name| known.contains(name)) {
        return Ok(());
    }
    Err(ApiError::invalid(format!("Use no other name than `{}`.", known.join("`, `"))))
}

/// A user by the name that a server gives.
pub(super) fn checked_user(text: &str) -> Result<User, ApiError> {
    User::new(text).ok_or_else(|| ApiError::invalid(format!("Name a user of {USER_FORM}.")))
}

/// Refuses what has the form of a token of a page as a name, because names are in the log. Whether a name equals a secret is not asked, so
/// nobody can guess one here: the log itself hides secrets.
pub(super) fn refuse_tokens<'a>(names: impl IntoIterator<Item = Option<&'a str>>) -> Result<(), ApiError> {
    if names.into_iter().flatten().any(|name| GrantToken::has_form(name) || is_jwt(name)) {
        return Err(ApiError::invalid("Send no token as an id, a user or a label: they are in the log."));
    }
    Ok(())
}

/// The request of a server. It is charged to the allowance of the server's key. The origin is stored with the grant, but not checked.
pub(super) fn for_server<Q>(
    app: &App,
    key: &ServerKey,
    asked: Result<(ServerMint, Q), ApiError>,
    request: &Parts,
    known: &mut KnownRequest,
) -> Result<(MintRequest, Q), ApiError> {
    let of_key = Spender {
        user: None,
        label: Some(key.name.clone()),
        origin: page_origin(&request.headers),
        call: None,
        server: Some(key.name.clone()),
        signed_in_until: None,
    };
    known.spender = Some(Arc::new(of_key.clone()));
    let (ServerMint { ttl, user, label, place }, of_format) = asked?;
    let names = [user.as_ref().map(User::as_str), label.as_ref().map(Label::as_str)];
    refuse_tokens(names)?;
    let spender = Some(Arc::new(Spender { user, label: label.or(of_key.label), ..of_key }));
    known.spender.clone_from(&spender);
    let user = spender.as_ref().and_then(|spender| spender.user.as_ref());
    known.charge(app.core.rate_limit.take_of_server(key.index, user), too_many_of_server)?;
    // The server mints for its users, so the mint has no client address whose share it could use up.
    let requester = Requester { spender, ..Requester::default() };
    Ok((MintRequest { place, ..MintRequest::new(app.clock.now(), requester, ttl)? }, of_format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_whole_number_of_seconds_within_its_bounds() {
        let max = Duration::from_secs(86_400);
        let ttl = |query| {
            let query = parse_query::<MintQuery>(query).ok()?;
            accepted_life("ttl", query.ttl.as_deref(), max).ok().map(|ttl| ttl.map(|ttl| ttl.as_secs()))
        };
        let good = [None, Some("other=1"), Some("ttl=60"), Some("ttl=86400")];
        assert_eq!(good.map(ttl), [None, None, Some(60), Some(86_400)].map(Some));
        for query in "ttl=59 ttl=86401 ttl= ttl ttl=1e3 ttl=-60 ttl=+60 ttl=60.5 ttl=60&ttl=60".split(' ') {
            assert_eq!(ttl(Some(query)), None, "{query}");
        }
    }

    #[test]
    fn a_label_is_optional_and_of_one_form_only() {
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
