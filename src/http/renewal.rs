//! Who asks for a credential. A bearer token is a user's JWT, or a grant; any other token is ignored. A mint with a grant that
//! may renew counts against the allowance for renewals, and keeps the grant's user. The right to renew is taken before the mint; if
//! the mint fails or is refused, dropping it gives it back.
//!
//! A caller without a valid token counts against its address before it is refused.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::header::ORIGIN;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::AppState;
use super::error::ApiError;
use super::key_choice::by_country;
use super::request_log::MintNote;
use crate::account::RenewalRight;
use crate::app::App;
use crate::auth::{NoUser, is_jwt};
use crate::limit::Kind;
use crate::request::bearer::bearer;
use crate::request::client_addr::{ClientAddr, FORWARDED_FOR, is_trusted};
use crate::request::trace::TraceParent;
use turn_ledger::{ClientKey, GrantRow, KeyName, ORIGIN_MAX, User};

/// Who asks for a credential, and what the log needs.
pub struct Asker {
    /// The client.
    pub client: Option<ClientKey>,
    /// Its whole address, if it is an IPv6 address.
    pub address: Option<Ipv6Addr>,
    /// The user, by a token. For a renewal, the renewed grant says it.
    pub user: Option<User>,
    /// The origin of the page.
    pub origin: Option<Arc<str>>,
    /// The TURN key of the client's country.
    pub country_key: Option<KeyName>,
    /// The right to renew.
    pub renewal: Option<Arc<RenewalRight>>,
    /// The trace that the request belongs to.
    pub trace: Option<TraceParent>,
    /// Takes the result for the log line.
    pub note: MintNote,
}

/// What the token proves. It is among the extensions of the request.
#[derive(Clone)]
enum Proof {
    Nothing,
    User(User),
    Renewal(Arc<RenewalRight>),
    /// The request is refused.
    Refused(Refused),
}

/// The TURN key of the client's country. It is among the extensions of the request.
#[derive(Clone, Copy)]
struct CountryKey(Option<KeyName>);

#[derive(Clone, Copy)]
enum Refused {
    /// There is no token, but `AUTH_REQUIRED` is set.
    NoToken,
    /// There is a JWT that names no user.
    NoUser(NoUser),
}

impl Proof {
    /// The user whose allowance the request counts against.
    fn user(&self) -> Option<&User> {
        match self {
            Self::User(user) => Some(user),
            Self::Renewal(right) => right.spender()?.user.as_ref(),
            Self::Nothing | Self::Refused(_) => None,
        }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Renewal(_) => Kind::Renewal,
            Self::Nothing | Self::User(_) | Self::Refused(_) => Kind::Mint,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let address = parts.extensions.get::<ClientAddr>().map(|client| client.0);
        let asker = Self {
            client: address.map(ClientKey::of),
            address: match address {
                Some(IpAddr::V6(address)) => Some(address),
                Some(IpAddr::V4(_)) | None => None,
            },
            user: None,
            origin: origin(&parts.headers),
            country_key: parts.extensions.get().and_then(|CountryKey(key)| *key),
            renewal: None,
            trace: parts.extensions.get().copied(),
            note: parts.extensions.get().cloned().unwrap_or_default(),
        };
        match parts.extensions.get::<Proof>() {
            None | Some(Proof::Nothing) => Ok(asker),
            Some(Proof::User(user)) => Ok(Self { user: Some(user.clone()), ..asker }),
            Some(Proof::Renewal(right)) => Ok(Self { renewal: Some(Arc::clone(right)), ..asker }),
            Some(Proof::Refused(Refused::NoToken)) => Err(ApiError::no_token("a token of your sign-in")),
            Some(Proof::Refused(Refused::NoUser(why))) => Err((*why).into()),
        }
    }
}

/// Finds out what the token proves, for the mint, and rejects a request over the rate.
pub async fn recognise(app: AppState, mut request: Request, next: Next) -> Response {
    let proof = proof(&app, bearer(request.headers())).await;
    app.untrusted_proxies.note(forwarded_unread_from(&app, &request));
    if let (Some(note), Some(user)) = (request.extensions().get::<MintNote>(), proof.user()) {
        note.note_user(user);
    }
    let Some(ClientAddr(address)) = request.extensions().get().copied() else {
        return ApiError::internal().into_response();
    };
    let standing = match app.rate_limit.take(proof.kind(), address, proof.user()) {
        Ok(standing) => standing,
        Err(over) => {
            let mut response = ApiError::too_many_mints(over.reset).into_response();
            over.describe(response.headers_mut());
            return response;
        }
    };
    request.extensions_mut().insert(proof);
    let country = CountryKey(by_country(&app, &request));
    request.extensions_mut().insert(country);
    let mut response = next.run(request).await;
    standing.describe(response.headers_mut());
    response
}

async fn proof(app: &App, token: Option<&str>) -> Proof {
    if let (Some(auth), Some(token)) = (&app.auth, token)
        && is_jwt(token)
    {
        return match auth.user(token).await {
            Ok(user) => Proof::User(user),
            Err(why) => Proof::Refused(Refused::NoUser(why)),
        };
    }
    let grant = token.and_then(|token| app.grant_key.verify(token));
    // A grant without a row names no user. Its renewal would be nobody's, so no limit or block of a user would apply.
    let is_allowed = |row: Option<&GrantRow>| match &app.auth {
        None => true,
        Some(auth) => row.is_some_and(|row| !auth.required || row.user().is_some()),
    };
    match grant.and_then(|grant| app.account.take_renewal(&grant, is_allowed)) {
        Some(right) => Proof::Renewal(Arc::new(right)),
        None if app.auth.as_ref().is_some_and(|auth| auth.required) => Proof::Refused(Refused::NoToken),
        None => Proof::Nothing,
    }
}

/// The origin of the page, which the origin rule has allowed. One that is too long is left out.
fn origin(headers: &HeaderMap) -> Option<Arc<str>> {
    let origin = headers.get(ORIGIN)?.to_str().ok()?;
    (1..=ORIGIN_MAX).contains(&origin.len()).then(|| origin.into())
}

/// The request's peer, if the request has an `X-Forwarded-For` that is not read because the peer is not among `TRUSTED_PROXIES`.
fn forwarded_unread_from(app: &App, request: &Request) -> Option<IpAddr> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    let is_unread =
        request.headers().contains_key(FORWARDED_FOR) && !is_trusted(peer.ip(), &app.trusted_proxies);
    is_unread.then(|| peer.ip().to_canonical())
}
