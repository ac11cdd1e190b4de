//! The errors of a query. Each has a name for metrics and a remedy. None contains a token or text of a response.

use crate::meter::prelude::*;

/// Why a query failed.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum AnalyticsError {
    /// The token is wrong or revoked, or may not read analytics.
    #[error("Cloudflare refuses the analytics token")]
    Unauthorized,
    /// The token has no access to an account with that id.
    #[error("the analytics token has no access to this Cloudflare account")]
    NoAccount,
    /// Too many queries; see [`super::RATE_LIMIT_REST`].
    #[error("Cloudflare's analytics rate limit is reached")]
    RateLimited,
    /// Another error in the response.
    #[error("Cloudflare did not run the analytics query")]
    QueryRefused,
    /// The newest queried minutes are younger by Cloudflare's clock than by ours, so they may still be filling. Also the error of a
    /// response without a readable `Date`.
    #[error("by Cloudflare's clock the queried minutes may not have settled")]
    Unsettled,
    /// The call failed, or the response is not one of the API.
    #[error("Cloudflare's analytics: {0}")]
    Call(#[from] CallError),
}

impl AnalyticsError {
    /// A short name for the metrics, from a closed set.
    pub fn outcome(&self) -> &'static str {
        if let Self::Call(error) = self { error.outcome() } else { self.into() }
    }

    /// The remedy.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unauthorized => {
                "set CLOUDFLARE_ANALYTICS_TOKEN to an API token with the permission Account Analytics: Read \
                 for this account; the TURN key's own token cannot read analytics"
            }
            Self::NoAccount => {
                "compare CLOUDFLARE_ACCOUNT_ID with the account ID in the dashboard; if it is right, the token \
                 needs Account Analytics: Read for that account"
            }
            Self::RateLimited => {
                "find out who else uses this user's tokens, or raise CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS: \
                 Cloudflare allows a user 300 queries in 5 minutes"
            }
            Self::QueryRefused => {
                "wait; if it stays, try the query of docs/PROVIDER.md by hand: the account may not query such a long \
                 span, or the API has changed"
            }
            Self::Call(CallError::Status { status, .. }) if status.is_server_error() => {
                "wait; if it stays, see https://www.cloudflarestatus.com"
            }
            Self::Call(CallError::Status { .. } | CallError::TooLong(_) | CallError::Unusable(_)) => {
                "check that CLOUDFLARE_ANALYTICS_BASE leads to Cloudflare's API, without a redirect; if it does, the API has \
                 changed"
            }
            Self::Call(_) => {
                "try curl to CLOUDFLARE_ANALYTICS_BASE from here: DNS, HTTPS_PROXY, firewall, TLS"
            }
            Self::Unsettled => {
                "set this machine's clock by NTP: it is ahead of Cloudflare's, and until then readings are ignored; if it \
                 is right, check that a proxy on the path keeps the Date header"
            }
        }
    }
}
