//! What each error tells the caller: status, code, texts and wait. No text is a secret, or comes from a provider.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode};

use super::ForeignRequest;
use crate::amounts::Shown;
use crate::json::plain_number;
use turn_ledger::{ByteCount, Refusal, UserUsage, wait_seconds};

use super::ApiError;
use super::body::{CODES, ErrorBody};

const TOO_MANY_MINTS: &str = "Too many credential requests, please try again later";
const CHOOSE_A_NAME: &str = "Send the form field `username` to /set-username, then connect again.";

/// An error as a response.
pub(super) struct Described {
    pub(super) status: StatusCode,
    pub(super) retry_in: Option<Duration>,
    pub(super) allow: Option<HeaderValue>,
    /// Without the request's id.
    pub(super) body: ErrorBody,
}

impl Described {
    fn new(status: StatusCode, code: &'static str, error: &'static str) -> Self {
        debug_assert!(CODES.contains(&code), "{code} is not in CODES");
        let body = ErrorBody { error, code, ..ErrorBody::default() };
        Self { status, retry_in: None, allow: None, body }
    }

    fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Unauthorized").message(message)
    }

    fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.body.message = Some(message.into());
        self
    }

    /// What the operator can do, for the log. Where it is missing, the log has the message.
    fn remedy(mut self, remedy: &'static str) -> Self {
        self.body.remedy = Some(remedy);
        self
    }

    fn retry_in(self, wait: Duration) -> Self {
        Self { retry_in: Some(wait), ..self }
    }

    /// The same with what was used of a limit in GB, and when to try again.
    fn with_figures(self, refusal: &Refusal, used: ByteCount, limit: serde_json::Number) -> Self {
        let body = ErrorBody {
            bandwidth_used: Some(used.gb_nearest()),
            bandwidth_limit: Some(limit),
            reset_date: Some(refusal.figures.period.end.to_string()),
            ..self.body
        };
        Self { body, ..self }.retry_in(refusal.retry_in())
    }
}

impl ApiError {
    /// Status, code, texts and wait.
    pub(super) fn describe(self) -> Described {
        match self {
            Self::InvalidRequest(message) => {
                Described::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "Invalid request").message(message)
            }
            Self::Unauthorized { expected } => {
                Described::unauthorized(format!("Send {expected} as `Authorization: Bearer <token>`."))
            }
            Self::WrongOperatorToken => {
                Described::unauthorized("Check the token: it is not the OPERATOR_TOKEN of this service.")
            }
            Self::NoRoomUser => Described::unauthorized(CHOOSE_A_NAME),
            Self::InvalidGrant => {
                Described::new(StatusCode::UNAUTHORIZED, "INVALID_GRANT", "Invalid grant token").message(
                    "Fetch new credentials and send the `grant` in that response. For an app server: check REPORTER_TOKEN.",
                )
            }
            Self::InvalidToken(fault) => {
                Described::new(StatusCode::UNAUTHORIZED, "INVALID_TOKEN", "Invalid token")
                    .message(format!("Sign in again and send a new token: {fault}."))
            }
            Self::KeysUnreachable => {
                Described::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", "Keys unreachable")
                    .message("Try again in 10 seconds. The operator checks AUTH_JWKS_URL: its keys cannot be fetched.")
                    .retry_in(Duration::from_secs(10))
            }
            Self::GrantRevoked => {
                Described::new(StatusCode::UNAUTHORIZED, "INVALID_GRANT", "Grant revoked")
                    .message("Fetch new credentials: the operator has revoked these.")
            }
            Self::OriginNotAllowed(foreign) => origin_not_allowed(foreign),
            Self::NotFound => not_found(
                "Open / in a browser, or see /docs for all routes. This is turn-broker: GET /api/turn-credentials returns ICE servers.",
            ),
            Self::SignalingOff(name) => not_found(format!(
                "Add {name} to the setting SIGNALING to serve this path (docs/SIGNALING.md)."
            )),
            Self::NoOperator => {
                not_found("Set OPERATOR_TOKEN to enable the dashboard and the operator's routes.")
            }
            Self::UnknownConnection => not_found(
                "This connection is not open, or another grant opened it. Open it again with POST /api/connections.",
            ),
            Self::UnknownGrant => {
                not_found("No live credential has this grant: it has expired, or was not issued here.")
            }
            Self::EmptyRoom => not_found("Nobody is in this room. See GET /api/calls-live."),
            Self::MethodNotAllowed { allow } => {
                let described = Described::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "METHOD_NOT_ALLOWED",
                    "Method not allowed",
                );
                Described { allow, ..described.message("See /openapi.json for the methods of this route.") }
            }
            Self::UpgradeRequired => {
                Described::new(StatusCode::UPGRADE_REQUIRED, "INVALID_REQUEST", "Upgrade required")
                    .message("Open a WebSocket here: docs/SIGNALING.md names the clients.")
            }
            Self::PayloadTooLarge { bytes_max } => {
                Described::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "Payload too large")
                    .message(format!("Send at most {bytes_max} bytes."))
            }
            Self::MisdirectedRequest => misdirected(),
            Self::RateLimited { retry_in } => too_many_mints(retry_in),
            Self::OverLimit { error, message, retry_in } => {
                over_rate(error).message(message).retry_in(retry_in)
            }
            Self::BudgetExhausted(refusal) => match refusal.user {
                Some(user) => user_limit_reached(&refusal, user),
                None => budget_exhausted(&refusal),
            },
            Self::UserBlocked => Described::new(StatusCode::FORBIDDEN, "USER_BLOCKED", "User blocked")
                .message("Ask the operator of this service to unblock you."),
            Self::TooManyUsers => overloaded(
                "Try again later. The operator removes USER_LIMIT_GB: the table of users is full until the period ends.",
            ),
            Self::TooManyBlocked => overloaded("Unblock a user first: as many as possible are blocked."),
            Self::LedgerUnavailable => ledger_unavailable(
                "The ledger cannot be written, or the clock is in doubt. Check the log, the disk that holds STATE_DIR, and the hints of the status.",
            )
            .retry_in(Duration::from_secs(1)),
            Self::OverrideNotRecorded => ledger_unavailable(
                "The change is in effect, but it could not be written, so a restart undoes it. Check the log and the disk that holds STATE_DIR.",
            ),
            Self::NothingToBackUp => {
                not_found("Set STATE_DIR: without it there is no ledger on disk to back up.")
            }
            Self::BackupRunning => overloaded("Try again when the other backup has ended."),
            Self::NotBackedUp => ledger_unavailable(
                "Check the log, and free disk space beside STATE_DIR: a backup needs twice the size of the ledger.",
            ),
            Self::Overloaded => overloaded("Try again in a second."),
            Self::ShuttingDown => {
                Described::new(StatusCode::SERVICE_UNAVAILABLE, "SHUTTING_DOWN", "Shutting down")
            }
            Self::Internal => {
                Described::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "Internal error")
                    .message("Report the requestId to the operator of this service.")
            }
        }
    }
}

fn origin_not_allowed(foreign: ForeignRequest) -> Described {
    let described = Described::new(StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED", "Origin not allowed");
    match foreign {
        ForeignRequest::Origin(origin) => {
            // Browsers send `null` for a file and for a sandboxed frame. CLIENT_URL does not take it.
            let mut described = described.message(if origin.contains("://") {
                format!("Add {origin} to CLIENT_URL if the page is yours.")
            } else {
                format!(
                    "Serve the page from an address, and add that to CLIENT_URL: {origin:?} names no page."
                )
            });
            described.body.refused_origin = Some(origin);
            described
        }
        ForeignRequest::Site => described.message(
            "Call `fetch` in a page whose origin is in CLIENT_URL, or type the URL: a link mints nothing.",
        ),
        ForeignRequest::Prefetch => {
            described.message("Send the request when a call begins: a prefetch mints nothing.")
        }
    }
}

fn misdirected() -> Described {
    Described::new(StatusCode::MISDIRECTED_REQUEST, "MISDIRECTED_REQUEST", "Misdirected request")
        .message("Use the address of this service. Its operator adds host names to ALLOWED_HOSTS.")
}

fn not_found(message: impl Into<Cow<'static, str>>) -> Described {
    Described::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Not found").message(message)
}

fn over_rate(error: &'static str) -> Described {
    Described::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", error)
}

fn too_many_mints(retry_in: Duration) -> Described {
    let message = format!(
        "Try again in {} s. Raise RATE_LIMIT_REQUESTS, or RATE_LIMIT_RENEWALS for renewals, if your pages need more.",
        wait_seconds(retry_in)
    );
    over_rate(TOO_MANY_MINTS).message(message).retry_in(retry_in).remedy(
        "Raise RATE_LIMIT_REQUESTS, or RATE_LIMIT_RENEWALS for renewals, if your pages need more; set TRUSTED_PROXIES if all clients have one address.",
    )
}

fn overloaded(message: &'static str) -> Described {
    Described::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", "Overloaded")
        .message(message)
        .retry_in(Duration::from_secs(1))
}

fn ledger_unavailable(message: &'static str) -> Described {
    Described::new(StatusCode::SERVICE_UNAVAILABLE, "LEDGER_UNAVAILABLE", "Ledger unavailable")
        .message(message)
}

fn budget_exhausted(refusal: &Refusal) -> Described {
    let figures = &refusal.figures;
    let limit = plain_number(figures.limit.as_gb());
    let state = if refusal.client_frees_at.is_some() {
        "has room, but your address has reserved its share of it with credentials already issued. Please try again later."
    } else if figures.is_spent() {
        "has been reached. Please wait until next month."
    } else {
        "is reserved in full by credentials already issued. Please try again later."
    };
    let described =
        Described::new(StatusCode::TOO_MANY_REQUESTS, "BUDGET_EXHAUSTED", "Bandwidth limit reached")
            .message(format!("Monthly bandwidth limit of {limit} GB {state}"))
            .remedy(if refusal.client_frees_at.is_some() {
                "Raise RESERVED_PERCENT_PER_CLIENT if many users share this address."
            } else {
                "Raise BANDWIDTH_LIMIT_GB, or block who spends most: turn-broker spenders."
            });
    described.with_figures(refusal, figures.used, limit)
}

fn user_limit_reached(refusal: &Refusal, user: UserUsage) -> Described {
    let limit = plain_number(user.limit.as_gb());
    let state = if user.is_spent() {
        "has been reached. Please wait until next month."
    } else {
        "is reserved in full by credentials already issued to you. Please try again later."
    };
    let described = Described::new(StatusCode::TOO_MANY_REQUESTS, "USER_LIMIT_REACHED", "User limit reached")
        .message(format!("Your monthly bandwidth limit of {limit} GB {state}"))
        .remedy("Raise USER_LIMIT_GB if users may spend more.");
    described.with_figures(refusal, user.used, limit)
}
