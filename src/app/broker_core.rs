//! What the handlers share with signaling and the proxy of the SFU, and the interface for these two: sign-in, mints, calls, and the charges
//! for sessions.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderValue};
use serde_json::value::to_raw_value;
use turn_base::{ApiError, Broker, Minted, Unverified, Verified, WebClient, is_jwt};
use turn_ledger::{
    Books, ClientKey, GrantId, NotAdmitted, SfuSession, Spender, SpenderKey, SpenderKind, Timestamp, User,
};
use turn_signaling::CallEvent;

use super::process::Process;
use crate::auth::Auth;
use crate::limit::{Allowance, RateLimit};
use crate::live_calls::LiveCalls;
use crate::mint::{IceResponse, Mint, MintRequest, client_at};
use turn_sfu_proxy::SfuBroker;
use turn_signaling_server::{Counted, ServerBroker};

/// See the module's description.
pub struct BrokerCore {
    /// What the process has whether it leads or not.
    pub process: Arc<Process>,
    /// Verifies users' tokens. `None` without `AUTH_JWT_SECRET` and `AUTH_JWKS_URL`.
    pub auth: Option<Auth>,
    /// The running calls.
    pub calls: LiveCalls,
    /// The sources in the order of `ICE_SOURCES`.
    pub mint: Arc<Mint>,
    /// The rate limit of each client address, each user and each server key.
    pub rate_limit: RateLimit,
    /// The life of a credential that is minted for a call.
    pub call_ttl: Duration,
}

#[async_trait]
impl Broker for BrokerCore {
    async fn verified(&self, token: &str, client: ClientKey) -> Result<Option<Verified>, Unverified> {
        let (Some(auth), true) = (&self.auth, is_jwt(token)) else { return Ok(None) };
        let verified = auth.verified(token, client).await?;
        match self.block_of(client, Some(&verified.user)) {
            Some(kind) => Err(Unverified::Refused(ApiError::blocked(kind))),
            None => Ok(Some(verified)),
        }
    }

    fn has_sign_in(&self) -> bool {
        self.auth.as_ref().is_some_and(Auth::has_keys)
    }

    fn needs_sign_in(&self) -> bool {
        self.auth.as_ref().is_some_and(|auth| auth.config.required)
    }

    fn block_of(&self, client: ClientKey, user: Option<&User>) -> Option<SpenderKind> {
        let user = user.cloned().map(SpenderKey::User);
        let mut both = user.into_iter().chain([SpenderKey::Client(client)]);
        self.mint.account.read(|books| both.find(|key| books.is_blocked(key))).map(|key| key.kind())
    }

    async fn mint(&self, web_client: &WebClient, spender: Option<Arc<Spender>>) -> Option<Minted> {
        let user = spender.as_ref().and_then(|spender| spender.user.as_ref());
        self.rate_limit.take(Allowance::Mint, web_client.address, user).ok()?;
        let now = self.mint.account.read(Books::now);
        let request = MintRequest::new(now, client_at(web_client.address, spender), self.call_ttl).ok()?;
        match self.mint.answer(&request).await {
            Ok(IceResponse::Minted(issued)) => {
                Some(Minted { ice_servers: to_raw_value(&issued.ice_servers).ok()?, grant: issued.grant })
            }
            Ok(IceResponse::Stun(_)) | Err(_) => None,
        }
    }
}

impl ServerBroker for BrokerCore {
    fn foreign_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        self.process.config.access.origins.foreign(headers)
    }

    fn call(&self, event: CallEvent) {
        self.calls.take(event);
    }

    fn count(&self, what: Counted) {
        match what {
            Counted::Limited(why) => self.process.metrics.signaling_limited.count([why]),
            Counted::Dropped(protocol, why) => {
                self.process.metrics.signaling_dropped.count([protocol.as_str(), why.into()]);
            }
            Counted::Report(outcome) => self.process.metrics.page_reports.count([outcome]),
            Counted::ForeignOrigin => drop(self.process.metrics.origins_refused.inc()),
            Counted::TooManyPolls => drop(self.process.metrics.rate_limited.inc()),
        }
    }
}

#[async_trait]
impl SfuBroker for BrokerCore {
    fn holder(&self, token: &str) -> Option<(GrantId, Option<User>)> {
        let grant = self.mint.grant_keys.verify(token)?.id;
        let user = self.mint.account.read(|books| {
            let row = books.grants().valid(grant).filter(|row| row.expires_at > books.now())?;
            Some(row.spender.as_ref().and_then(|spender| spender.user.clone()))
        })?;
        Some((grant, user))
    }

    fn are_of_one_chain(&self, one: GrantId, other: GrantId) -> bool {
        self.mint.account.read(|books| {
            let is_before = |first, later| books.grants().with_renewals(first).any(|id| id == later);
            is_before(one, other) || is_before(other, one)
        })
    }

    fn may_reuse(&self, grant: GrantId, spender: Option<&Spender>) -> bool {
        self.mint.account.read(|books| {
            let may_mint = !books.is_frozen() && !books.budget().figures().is_spent();
            may_mint && books.grants().valid(grant).is_some_and(|row| row.spender.as_deref() == spender)
        })
    }

    fn is_frozen(&self) -> bool {
        self.mint.account.read(Books::is_frozen)
    }

    fn pull(&self, session: &str, more_kbps: u32) -> Result<(), NotAdmitted> {
        self.mint.account.pull(session, more_kbps)
    }

    async fn recorded(&self) -> bool {
        self.mint.account.recorded().await.is_ok()
    }

    fn remember(&self, id: &Arc<str>, row: &dyn Fn(Timestamp) -> Option<SfuSession>, is_found: bool) -> bool {
        self.mint.account.change(|books| {
            let is_noted = books.set_sfu_session(id, row(books.now()).as_ref());
            if is_found {
                books.extend_sfu_session(id);
            }
            is_noted
        })
    }

    fn holds_lease(&self) -> bool {
        self.mint.account.holds_lease()
    }

    fn to_close(&self) -> Vec<Arc<str>> {
        self.mint.account.read(Books::sfu_sessions_to_close)
    }
}
