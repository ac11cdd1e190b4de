//! Why there is no count. Every error has a name for the metrics and says what to do; none holds a token, or a word of
//! what Cloudflare wrote.

use reqwest::StatusCode;

use super::{BODY_MAX, DEADLINE};

/// Why there is no count.
#[derive(Debug, thiserror::Error)]
pub enum AnalyticsError {
    /// The token is wrong or withdrawn, or may not read analytics.
    #[error("Cloudflare refuses the analytics token")]
    Unauthorized,
    /// The token sees no account of that id.
    #[error("Cloudflare shows this analytics token no such account")]
    NoAccount,
    /// Too many queries; see [`super::RATE_LIMIT_REST`].
    #[error("Cloudflare takes no more analytics queries for now")]
    RateLimited,
    /// Cloudflare answered with errors, and none of the kinds above.
    #[error("Cloudflare did not run the analytics query")]
    QueryRefused,
    /// Another status than 200, and none of the kinds above.
    #[error("Cloudflare's analytics answered {0}")]
    Status(StatusCode),
    /// The deadline passed.
    #[error("Cloudflare's analytics gave no answer within {} s", DEADLINE.as_secs())]
    Timeout,
    /// No connection (DNS, refused, TLS), or it broke in mid-exchange.
    #[error("no connection to Cloudflare's analytics")]
    Unreachable(#[source] reqwest::Error),
    /// By Cloudflare's clock, what was asked for has not come yet: a count of it says nothing.
    #[error("this machine's clock is ahead of Cloudflare's")]
    ClockAhead,
    /// 200, with a body that cannot be an answer to the query.
    #[error("Cloudflare's analytics answer cannot be used: {0}")]
    BadBody(BadBody),
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// Longer than any real answer.
    #[error("longer than {BODY_MAX} bytes")]
    TooLong,
    /// No JSON object.
    #[error("not JSON")]
    NotJson,
    /// JSON without the counts that were asked for.
    #[error("not the form that was asked for")]
    Shape,
    /// A count that is negative, has a fraction, or is above 9,007,199 GB.
    #[error("a count that is no whole number of bytes, or absurdly large")]
    Number,
}

impl AnalyticsError {
    /// A short name for the metrics, from a closed set.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::NoAccount => "no_account",
            Self::RateLimited => "rate_limited",
            Self::QueryRefused => "query_refused",
            Self::Status(_) => "status",
            Self::Timeout => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::ClockAhead => "clock_ahead",
            Self::BadBody(_) => "bad_body",
        }
    }

    /// What an operator can do about it.
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
                "Cloudflare allows a user 300 queries in 5 minutes: look at who else asks with this user's \
                 tokens, or raise CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS"
            }
            Self::QueryRefused => {
                "if it does not pass by itself, the account may not be allowed to ask for so long a time, or \
                 the API has changed: docs/PROVIDER.md shows the query to try by hand"
            }
            Self::Status(status) if status.is_server_error() => {
                "it passes by itself; if not, see https://www.cloudflarestatus.com"
            }
            Self::Status(_) => {
                "check CLOUDFLARE_ANALYTICS_BASE and what is on the way there; redirects are not followed"
            }
            Self::Timeout | Self::Unreachable(_) => {
                "try curl to CLOUDFLARE_ANALYTICS_BASE from this machine: DNS, firewall, TLS; HTTPS_PROXY is \
                 not honoured"
            }
            Self::ClockAhead => "mend the clock (NTP): until then no count is believed",
            Self::BadBody(_) => {
                "check that CLOUDFLARE_ANALYTICS_BASE leads to Cloudflare's API; if it does, the API has changed"
            }
        }
    }

    /// A fault of the connection, without the URL.
    pub(super) fn of_exchange(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_timeout() && !error.is_connect() { Self::Timeout } else { Self::Unreachable(error) }
    }
}
