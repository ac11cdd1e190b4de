//! A mint that a server asks for, with its key: for which user, and at which rate. Tests: `tests/it/server_keys`.
//! The key is the bearer token or, in the formats in which programs such as Janus ask, also a parameter, `X-API-Key` or the password of
//! `Basic`. Without `SERVER_KEYS` none of them is read.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::operator::wrong_token;
use super::refusals::too_many_of_server;
use crate::app::rights::{Action, CallerKind, may_any};
use crate::app::{App, BearerToken};
use crate::auth::Auth;
use crate::auth::server_keys::ServerKey;
use crate::ice::key_name::KeyName;
use crate::limit::RateLeft;
use crate::limit::wrong_tokens::Role;
use crate::mint::MintRequest;
use crate::mint::token::GrantToken;
use turn_base::error::{ApiError, Code};
use turn_base::request::bearer::bearer;
use turn_base::request::client_addr::ClientAddr;
use turn_base::request::header::page_origin;
use turn_base::request::query::parameters;
use turn_ledger::{Label, Requester, Spender, User};

/// The paths of the formats with a key in the query, in a form that is read as one, or in a header.
const WITH_KEY: [&str; 4] = ["/turn", "/ice", "/link", "/api/v1/turn/credentials"];
/// Its names there.
const KEY_PARAMETERS: [&str; 4] = ["key", "api", "api_key", "apiKey"];
/// Its header there.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");
/// The parameters that name a user, the first that is set.
const USER_PARAMETERS: [&str; 3] = [USER, "username", "customIdentifier"];
/// The one that has no other meaning.
const USER: &str = "user";

/// The server key of a request.
pub(super) enum ShownKey<'a> {
    /// There is none. A bearer token that is no key may be something else.
    None,
    /// One of `SERVER_KEYS`.
    Right(&'a ServerKey),
    /// Another text where only a key can be.
    Wrong,
}

/// Which server key a request has.
pub(super) fn shown_key<'a>(app: &'a App, headers: &HeaderMap, uri: &Uri) -> ShownKey<'a> {
    if app.server_keys.is_empty() {
        return ShownKey::None;
    }
    let of_bearer = bearer(headers).map(|token| app.recognize(token));
    let mut found = match of_bearer {
        Some(BearerToken::Server(key)) => ShownKey::Right(key),
        _ => ShownKey::None,
    };
    if WITH_KEY.contains(&uri.path()) {
        let shown = KEY_PARAMETERS.into_iter().flat_map(|name| parameters(uri.query(), name));
        let in_header = headers.get_all(KEY_HEADER).iter().map(|key| String::from_utf8_lossy(key.as_bytes()));
        let shown = shown.chain(in_header).chain(basic(headers).map(Cow::Owned));
        // Programs without a key send an empty one.
        for text in shown.filter(|text| !text.is_empty()) {
            found = match app.server_keys.find(&text) {
                Some(key) => ShownKey::Right(key),
                None => return ShownKey::Wrong,
            };
        }
    }
    found
}

/// The password of `Authorization: Basic`; the name, if the password is empty.
fn basic(headers: &HeaderMap) -> Option<String> {
    let (scheme, pair) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = STANDARD.decode(pair.trim()).ok()?;
    let pair = String::from_utf8_lossy(&pair);
    let (name, password) = pair.split_once(':')?;
    Some(if password.is_empty() { name } else { password }.to_owned())
}

/// A key that is none, counted.
pub(super) fn wrong_key(app: &App, client: Option<ClientAddr>) -> ApiError {
    let refusal = ApiError::unauthorized("Check the key: it is none of the SERVER_KEYS of this service.");
    wrong_token(&app.wrong_tokens, Role::Server, client, refusal)
}

/// Refuses what looks like a server that has mistyped its key: a bearer token that is neither a grant nor a user's, or a named user without a
/// key. It must not become an anonymous credential.
pub(super) fn refuse_mistyped_key(app: &App, request: &Parts) -> Result<(), ApiError> {
    if app.server_keys.is_empty() {
        return Ok(());
    }
    let shown = bearer(&request.headers).map(|token| (token, app.recognize(token).kind()));
    let client = request.extensions.get().copied();
    let invalid = |message| ApiError::new(Code::InvalidToken, "Invalid token").message(message);
    let asks_application = app.auth.as_ref().is_some_and(Auth::asks_application);
    let may_mint = |kind| match kind {
        // The application says whether it is a user's.
        CallerKind::Anonymous => asks_application,
        kind => may_any(kind, Action::Mint),
    };
    match shown {
        Some((token, kind)) if !may_mint(kind) && !GrantToken::has_form(token) => {
            let refusal =
                invalid("Check the bearer token: it is no server key, no grant and no token of a sign-in.");
            Err(wrong_token(&app.wrong_tokens, Role::Server, client, refusal))
        }
        _ if parameters(request.uri.query(), USER).iter().any(|user| !user.is_empty()) => {
            Err(invalid("Send a server key with `user`: only a server may name one."))
        }
        _ => Ok(()),
    }
}

/// A request for a credential, once it is known who asks.
pub(super) struct IdentifiedRequest {
    /// What the mint is asked for, or why it is not asked.
    pub(super) asked: Result<MintRequest, ApiError>,
    /// Who would spend it, as far as known.
    pub(super) spender: Option<Arc<Spender>>,
    /// What the rate limit has left. `None` if the request costs nothing.
    pub(super) left: Option<RateLeft>,
}

/// What a server asks for.
pub(super) struct ServerMint {
    pub(super) ttl: Duration,
    /// For whom.
    pub(super) user: Option<User>,
    pub(super) label: Option<Label>,
    pub(super) region: Option<KeyName>,
}

/// What a user's name looks like.
pub(super) const USER_FORM: &str =
    "1 to 128 characters, none of them a control character, and not `.` or `..`";

/// The user that a query names.
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

/// A user by the name that a server gives.
pub(super) fn checked_user(text: &str) -> Result<User, ApiError> {
    User::new(text).ok_or_else(|| ApiError::invalid(format!("Name a user of {USER_FORM}.")))
}

/// Refuses tokens as names, which are in the log. Only a caller with a token may find out here whether a text is another one, and such a
/// guess counts as a wrong token.
pub(super) fn refuse_tokens<'a>(
    app: &App,
    client: Option<ClientAddr>,
    names: impl IntoIterator<Item = Option<&'a str>>,
) -> Result<(), ApiError> {
    let is_token = |name| !matches!(app.recognize(name), BearerToken::Unknown);
    if names.into_iter().flatten().any(is_token) {
        let refusal = ApiError::invalid("Send no token as an id, a user or a label: they are in the log.");
        return Err(wrong_token(&app.wrong_tokens, Role::Server, client, refusal));
    }
    Ok(())
}

/// The request of a server, which is taken out of the allowance of its key. No origin and no address matters.
pub(super) fn for_server(
    app: &App,
    key: &ServerKey,
    asked: Result<ServerMint, ApiError>,
    request: &Parts,
) -> IdentifiedRequest {
    let asked = asked.and_then(|asked| {
        let names = [asked.user.as_ref().map(User::as_str), asked.label.as_ref().map(Label::as_str)];
        refuse_tokens(app, request.extensions.get().copied(), names).map(|()| asked)
    });
    let named = asked.as_ref().ok();
    let taken = named.map(|_| app.rate_limit.take_of_server(key.index));
    let spender = Spender {
        user: named.and_then(|asked| asked.user.clone()),
        label: named.and_then(|asked| asked.label.clone()).or_else(|| Some(key.name.clone())),
        origin: page_origin(&request.headers),
        server: Some(key.name.clone()),
        ..Spender::default()
    };
    let asked = match taken {
        Some(Err(over)) => Err(too_many_of_server(over.reset)),
        _ => asked.and_then(|ServerMint { ttl, region, .. }| {
            // It is vouched for, so no allowance of an address applies.
            let requester = Requester { spender: spender.clone().known(), ..Requester::default() };
            Ok(MintRequest { key: region, ..MintRequest::new(app.clock.now(), requester, ttl)? })
        }),
    };
    let left = taken.map(|taken| taken.unwrap_or_else(|over| over));
    IdentifiedRequest { asked, spender: Some(Arc::new(spender)), left }
}
