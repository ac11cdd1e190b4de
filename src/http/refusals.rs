//! The errors of a refused mint: foreign requests, rates, tokens of users, the budget, and the limits of a user and of a server key.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Number;

use crate::alert::{MintStop, StopCode};
use crate::auth::TokenFault;
use crate::json::plain_number;
use turn_base::{ApiError, Code, Unverified};
use turn_ledger::{ByteCount, LimitKind, LimitUsage, Refusal, wait_seconds};

/// The refusal of a foreign request. `message`: what to do instead.
pub(super) fn foreign(message: impl Into<Cow<'static, str>>) -> ApiError {
    ApiError::new(Code::OriginNotAllowed, "Origin not allowed").message(message)
}

/// The refusal of a page whose origin, shortened, is not allowed.
pub(super) fn origin_not_allowed(origin: String) -> ApiError {
    // Browsers send `null` for a file and for a sandboxed frame.
    let message = match origin.as_str() {
        "null" => "Serve the page from an address, and add that to CLIENT_URL. If it cannot have one, add null: then every file and every sandboxed frame may mint.".into(),
        address if address.contains("://") => format!("Add {address} to CLIENT_URL if the page is yours."),
        other => format!("Serve the page from an address, and add that to CLIENT_URL: {other:?} names no page."),
    };
    let mut error = foreign(message);
    error.body.refused_origin = Some(origin);
    error
}

/// The client is over its rate of mints.
pub(super) fn too_many_mints(retry_in: Duration) -> ApiError {
    let message = format!(
        "Try again in {} s. Raise RATE_LIMIT_REQUESTS, or RATE_LIMIT_RENEWALS for renewals, if your pages need more.",
        wait_seconds(retry_in)
    );
    ApiError::too_many("Too many credential requests, please try again later", message, retry_in).remedy(
        "Raise RATE_LIMIT_REQUESTS, or RATE_LIMIT_RENEWALS for renewals, if your pages need more; set TRUSTED_PROXIES if all clients have one address.",
    )
}

/// The chain of the grant to renew has relayed more than `GRANT_LIMIT_GB`.
pub(super) fn grant_limit_reached() -> ApiError {
    ApiError::new(Code::GrantLimitReached, "Credential limit reached")
        .message("Call again without this grant: its credentials have relayed more than one may, so they are not renewed.")
        .remedy("Raise GRANT_LIMIT_GB if one credential may relay more.")
}

/// The server key is over its rate.
pub(super) fn too_many_of_server(retry_in: Duration) -> ApiError {
    let message = format!(
        "Try again in {} s. Raise SERVER_KEY_REQUESTS if this server needs more.",
        wait_seconds(retry_in)
    );
    ApiError::too_many("Too many requests of this server key", message, retry_in)
}

/// No metered credential is issued, for the reason `stop`. The operator finds in the status why the ledger cannot be written.
pub(super) fn not_minted(stop: StopCode) -> ApiError {
    let (code, error) = match stop {
        StopCode::GrantsFull => (Code::GrantsFull, "Too many live credentials"),
        StopCode::ClockDisagrees => (Code::ClockDisagrees, "Clock disagrees"),
        _ => (Code::LedgerUnavailable, "Ledger unavailable"),
    };
    ApiError::new(code, error).message(MintStop::of(stop, "").message).retry_in(Duration::from_secs(1))
}

/// The budget, the share of the client or of the user in it, or the limit of the user or of the server key, has no room.
pub(super) fn budget_exhausted(refusal: &Refusal) -> ApiError {
    if let Some(usage) = refusal.limited {
        return limit_reached(refusal, usage);
    }
    let figures = &refusal.figures;
    let limit = plain_number(figures.limit.as_gb());
    let is_client_share_full = refusal.client_frees_at.is_some();
    let state = if is_client_share_full {
        "has room, but your address or your user has reserved its share of it with credentials already issued. Please try again later."
    } else if figures.is_spent() {
        "has been reached. Please wait until next month."
    } else {
        "is reserved in full by credentials already issued. Please try again later."
    };
    let remedy = if is_client_share_full {
        "Raise RESERVED_PERCENT_PER_CLIENT if many users share this address."
    } else {
        "Raise BANDWIDTH_LIMIT_GB, or block who spends most: turn-broker spenders."
    };
    let error = ApiError::new(Code::BudgetExhausted, "Bandwidth limit reached")
        .message(format!("Monthly bandwidth limit of {limit} GB {state}"))
        .remedy(remedy);
    with_figures(error, refusal, figures.used, limit)
}

/// The limit of the user or of the server key, with this usage, has no room.
fn limit_reached(refusal: &Refusal, usage: LimitUsage) -> ApiError {
    let limit = plain_number(usage.limit.as_gb());
    let state = |whose: &str| {
        if usage.is_spent() {
            "has been reached. Please wait until next month.".to_owned()
        } else {
            format!("is reserved in full by credentials already issued {whose}. Please try again later.")
        }
    };
    let error = match usage.kind {
        LimitKind::User => ApiError::new(Code::UserLimitReached, "User limit reached")
            .message(format!("Your monthly bandwidth limit of {limit} GB {}", state("to you")))
            .remedy("Raise USER_LIMIT_GB if users may spend more."),
        LimitKind::Server => ApiError::new(Code::KeyLimitReached, "Server key limit reached")
            .message(format!("Monthly bandwidth limit of {limit} GB of this server key {}", state("with it")))
            .remedy("Raise its limit in SERVER_KEY_LIMITS if this server may spend more."),
    };
    with_figures(error, refusal, usage.used, limit)
}

/// The address has used its limit of this day.
pub(super) fn address_limit_reached(retry_in: Duration) -> ApiError {
    ApiError::new(Code::AddressLimitReached, "Address limit reached")
        .message("Try again tomorrow (UTC): this address has used its bandwidth of the day. Calls go on.")
        .remedy("Raise ADDRESS_LIMIT_GB if many people share this address, or give callers a user.")
        .retry_in(retry_in)
}

/// Adds to an error how much of a limit in GB was used, and when to try again.
fn with_figures(mut error: ApiError, refusal: &Refusal, used: ByteCount, limit: Number) -> ApiError {
    error.body.bandwidth_used = Some(used.gb_nearest());
    error.body.bandwidth_limit = Some(limit);
    error.body.reset_date = Some(refusal.figures.period.end.to_string());
    error.retry_in(refusal.retry_in())
}

impl From<TokenFault> for Unverified {
    fn from(fault: TokenFault) -> Self {
        let error = match fault {
            TokenFault::KeysUnreachable => ApiError::new(Code::Overloaded, "Keys unreachable")
                .message("Try again in 10 s. The operator checks AUTH_JWKS_URL: its keys cannot be fetched.")
                .retry_in(Duration::from_secs(10)),
            _ => ApiError::new(Code::InvalidToken, "Invalid token")
                .message(format!("Sign in again and send a new token: {fault}.")),
        };
        if fault == TokenFault::Expired { Self::Expired(error) } else { Self::Refused(error) }
    }
}
