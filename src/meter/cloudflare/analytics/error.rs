//! The errors of a query. Each has a name for metrics and a remedy. None contains a token or text of a response.

use reqwest::StatusCode;

use super::DEADLINE;

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
    /// Another error status.
    #[error("Cloudflare's analytics answered {0}")]
    Status(StatusCode),
    /// The deadline passed.
    #[error("Cloudflare's analytics did not respond within {} s", DEADLINE.as_secs())]
    Timeout,
    /// No connection (DNS, refused, TLS), or it broke.
    #[error("no connection to Cloudflare's analytics")]
    Unreachable(#[source] reqwest::Error),
    /// The queried span is in the future of Cloudflare's clock, so its count means nothing.
    #[error("this machine's clock is ahead of Cloudflare's")]
    ClockAhead,
    /// The newest queried minutes are younger by Cloudflare's clock than by ours, so they may still be filling. Also without
    /// a readable `Date`.
    #[error("by Cloudflare's clock the queried minutes may not have settled")]
    Unsettled,
    /// 200 with an unusable body.
    #[error("the response of Cloudflare's analytics cannot be used: {0}")]
    BadBody(BadBody),
}

/// Why a body is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// Longer than any real response.
    #[error("longer than any real one")]
    TooLong,
    /// Not a JSON object.
    #[error("not JSON")]
    NotJson,
    /// JSON without the requested counts.
    #[error("not the requested form")]
    Shape,
    /// A count that is negative, has a fraction, or is above 9,007,199 GB.
    #[error("a count is not a whole number of bytes, or absurdly large")]
    Number,
    /// All keys have bytes, and the count of our own key is missing.
    #[error("the count of our TURN key is missing")]
    OwnKey,
    /// The count of the SFU is missing, and sessions go through this service.
    #[error("the count of the SFU is missing")]
    Sfu,
    /// A page has a row of the page before.
    #[error("its pages overlap")]
    Order,
}

impl AnalyticsError {
    /// A short name for the metrics, from a closed set.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        self.into()
    }

    /// The remedy.
    #[must_use]
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
            Self::Status(status) if status.is_server_error() => {
                "wait; if it stays, see https://www.cloudflarestatus.com"
            }
            Self::Status(_) => {
                "check CLOUDFLARE_ANALYTICS_BASE and proxies on the path; redirects are not followed"
            }
            Self::Timeout | Self::Unreachable(_) => {
                "try curl to CLOUDFLARE_ANALYTICS_BASE from this machine: DNS, firewall, TLS; HTTPS_PROXY is ignored"
            }
            Self::ClockAhead => "set the clock by NTP: until then readings are ignored",
            Self::Unsettled => {
                "set this machine's clock by NTP: it is ahead of Cloudflare's, and until then readings are ignored; if it \
                 is right, check that a proxy on the path keeps the Date header"
            }
            Self::BadBody(_) => {
                "check that CLOUDFLARE_ANALYTICS_BASE leads to Cloudflare's API; if it does, the API has changed"
            }
        }
    }

    /// A connection error, without the URL.
    pub(super) fn of_exchange(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_timeout() && !error.is_connect() { Self::Timeout } else { Self::Unreachable(error) }
    }
}
