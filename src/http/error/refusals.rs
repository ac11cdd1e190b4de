//! The errors of a refused mint: foreign pages, rates, the budget and the limit of a user.

use std::time::Duration;

use serde_json::Number;

use super::{ApiError, Code};
use crate::amounts::Shown;
use crate::json::plain_number;
use turn_ledger::{ByteCount, Refusal, UserUsage, wait_seconds};

/// Why a request may not mint.
#[derive(Debug, PartialEq)]
pub enum ForeignRequest {
    /// The page's origin is not allowed. The origin, shortened.
    Origin(String),
    /// Another site loads or opens the URL.
    Site,
    /// A browser prefetches or prerenders the URL.
    Prefetch,
}

impl ApiError {
    /// Another site's page, or a browser's prefetch, may not mint.
    pub(crate) fn origin_not_allowed(foreign: ForeignRequest) -> Self {
        let mut error = Self::new(Code::OriginNotAllowed, "Origin not allowed");
        match foreign {
            ForeignRequest::Origin(origin) => {
                // Browsers send `null` for a file and for a sandboxed frame. CLIENT_URL does not take it.
                let message = if origin.contains("://") {
                    format!("Add {origin} to CLIENT_URL if the page is yours.")
                } else {
                    format!(
                        "Serve the page from an address, and add that to CLIENT_URL: {origin:?} names no page."
                    )
                };
                error.body.refused_origin = Some(origin);
                error.message(message)
            }
            ForeignRequest::Site => error.message(
                "Call `fetch` in a page whose origin is in CLIENT_URL, or type the URL: a link mints nothing.",
            ),
            ForeignRequest::Prefetch => {
                error.message("Send the request when a call begins: a prefetch mints nothing.")
            }
        }
    }

    /// The client is over its rate of mints.
    pub(crate) fn too_many_mints(retry_in: Duration) -> Self {
        let message = format!(
            "Try again in {} s. Raise RATE_LIMIT_REQUESTS, or RATE_LIMIT_RENEWALS for renewals, if your pages need more.",
            wait_seconds(retry_in)
        );
        Self::too_many("Too many credential requests, please try again later", message, retry_in).remedy(
            "Raise RATE_LIMIT_REQUESTS, or RATE_LIMIT_RENEWALS for renewals, if your pages need more; set TRUSTED_PROXIES if all clients have one address.",
        )
    }

    /// The budget, or the limit of the user, has no room.
    pub(crate) fn budget_exhausted(refusal: &Refusal) -> Self {
        if let Some(user) = refusal.user {
            return user_limit_reached(refusal, user);
        }
        let figures = &refusal.figures;
        let limit = plain_number(figures.limit.as_gb());
        let is_of_address = refusal.client_frees_at.is_some();
        let state = if is_of_address {
            "has room, but your address or your user has reserved its share of it with credentials already issued. Please try again later."
        } else if figures.is_spent() {
            "has been reached. Please wait until next month."
        } else {
            "is reserved in full by credentials already issued. Please try again later."
        };
        let (error, remedy) = if is_of_address {
            (
                "Address or user has reserved its share",
                "Raise RESERVED_PERCENT_PER_CLIENT if many users share this address.",
            )
        } else {
            (
                "Bandwidth limit reached",
                "Raise BANDWIDTH_LIMIT_GB, or block who spends most: turn-broker spenders.",
            )
        };
        Self::new(Code::BudgetExhausted, error)
            .message(format!("Monthly bandwidth limit of {limit} GB {state}"))
            .remedy(remedy)
            .with_figures(refusal, figures.used, limit)
    }

    /// The same with what was used of a limit in GB, and when to try again.
    fn with_figures(mut self, refusal: &Refusal, used: ByteCount, limit: Number) -> Self {
        self.body.bandwidth_used = Some(used.gb_nearest());
        self.body.bandwidth_limit = Some(limit);
        self.body.reset_date = Some(refusal.figures.period.end.to_string());
        self.retry_in(refusal.retry_in())
    }
}

fn user_limit_reached(refusal: &Refusal, user: UserUsage) -> ApiError {
    let limit = plain_number(user.limit.as_gb());
    let state = if user.is_spent() {
        "has been reached. Please wait until next month."
    } else {
        "is reserved in full by credentials already issued to you. Please try again later."
    };
    ApiError::new(Code::UserLimitReached, "User limit reached")
        .message(format!("Your monthly bandwidth limit of {limit} GB {state}"))
        .remedy("Raise USER_LIMIT_GB if users may spend more.")
        .with_figures(refusal, user.used, limit)
}
